// The arithmetic of GFPQ for one value, as a GPU does it.
//
// The same text is compiled three times: by nvcc into libgfpq_gpu, by CuPy (NVRTC) for the GPU at hand, and by a host
// compiler for the test that compares it with the scalar reference. So it includes nothing and allocates nothing.
//
// No logarithm is taken for float32. Within one octave the grid's S values and the S places between them are constants,
// so a value's code follows from its exponent and from comparing its mantissa with one threshold. float64 inputs can lie
// within the rounding error of a logarithm from such a place, where the CPU's answer depends on that error: they are
// compared with thresholds that the host found by asking its own logarithm (see `TableGrid`).
#pragma once

#include "gfpq_roots.cuh"

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define GFPQ_FUNCTION __device__ __forceinline__
#define GFPQ_HOST_FUNCTION __host__ __device__ __forceinline__
#else
#include <cmath>
#include <cstring>
#define GFPQ_FUNCTION inline
#define GFPQ_HOST_FUNCTION inline
#endif

namespace gfpq_device {

typedef unsigned int Word;
typedef unsigned long long LongWord;

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
GFPQ_FUNCTION Word bits_of(float value) { return __float_as_uint(value); }
GFPQ_FUNCTION float float_of(Word bits) { return __uint_as_float(bits); }
GFPQ_FUNCTION LongWord bits_of(double value) { return (LongWord)__double_as_longlong(value); }
GFPQ_FUNCTION double double_of(LongWord bits) { return __longlong_as_double((long long)bits); }
#if defined(__CUDA_ARCH__)
// Spelled out, because CuPy has NVRTC flush subnormal numbers, whatever options it is given: written as casts, these
// would take and give zero for them.
GFPQ_FUNCTION double widen(float value) { double wide; asm("cvt.f64.f32 %0, %1;" : "=d"(wide) : "f"(value)); return wide; }
GFPQ_FUNCTION float narrow(double value) {
    float result;
    asm("cvt.rn.f32.f64 %0, %1;" : "=f"(result) : "d"(value));
    return result;
}
#else  // nvcc's pass for the host, which only has to accept it
GFPQ_FUNCTION double widen(float value) { return (double)value; }
GFPQ_FUNCTION float narrow(double value) { return (float)value; }
#endif
#else
GFPQ_FUNCTION Word bits_of(float value) { Word bits; std::memcpy(&bits, &value, sizeof bits); return bits; }
GFPQ_FUNCTION float float_of(Word bits) { float value; std::memcpy(&value, &bits, sizeof value); return value; }
GFPQ_FUNCTION LongWord bits_of(double value) { LongWord bits; std::memcpy(&bits, &value, sizeof bits); return bits; }
GFPQ_FUNCTION double double_of(LongWord bits) { double value; std::memcpy(&value, &bits, sizeof value); return value; }
GFPQ_FUNCTION double widen(float value) { return (double)value; }
GFPQ_FUNCTION float narrow(double value) { return (float)value; }
#endif

const Word float_one = 0x3F800000u;
const Word float_infinity = 0x7F800000u;
const Word float_mantissa = 0x007FFFFFu;
const Word float_sign = 0x80000000u;
const LongWord double_infinity = 0x7FF0000000000000ull;
const LongWord double_sign = 0x8000000000000000ull;

// What distinguishes the two grids: STEPS to an octave, and the highest code.
template <int STEPS>
struct Shape;
template <>
struct Shape<16> {
    enum { log2_steps = 4, top_code = 127, largest_delta = 511 };
};
template <>
struct Shape<128> {
    enum { log2_steps = 7, top_code = 1407, largest_delta = 4095 };
};

// ---------------------------------------------------------------------------------------------- float32, common deltas

// Mantissa bits from which on a float32 of any octave rounds up from step `k` to step `k + 1`; for k = STEPS, never.
template <int STEPS>
GFPQ_FUNCTION Word threshold_word(int k) {
    if (k >= STEPS) return float_mantissa + 1;
    const double place = roots[(2 * k + 1) * (128 / STEPS)];
    const float nearest = (float)place;
    return bits_of(nearest) + ((double)nearest < place ? 1u : 0u) - float_one;
}

// What step `k` of an octave adds to the bits of that octave's power of two; for k = STEPS, one whole octave.
template <int STEPS>
GFPQ_FUNCTION Word value_word(int k) {
    return k >= STEPS ? float_mantissa + 1 : bits_of((float)roots[k * (256 / STEPS)]) - float_one;
}

// 2^(n / STEPS) as float32, for an n whose result is a normal number.
template <int STEPS>
GFPQ_FUNCTION Word power_bits(int n) {
    return float_one + value_word<STEPS>(n & (STEPS - 1)) + ((Word)(n >> Shape<STEPS>::log2_steps) << 23);
}

// The largest float32 not above 2^(n / STEPS) / 2: magnitudes up to it become zero.
template <int STEPS>
GFPQ_FUNCTION Word zero_bits(int n) {
    const double root = roots[(n & (STEPS - 1)) * (256 / STEPS)];
    const float nearest = (float)root;
    const Word below = bits_of(nearest) - ((double)nearest > root ? 1u : 0u);
    return below + ((Word)((n >> Shape<STEPS>::log2_steps) - 1) << 23);
}

// Bits of the magnitudes at the ends of one tensor's grid. Index 0 is for positive values, 1 for negative ones.
struct FloatGrid {
    Word zero[2];
    Word lowest[2];
    Word highest;
};

// Whether all of a grid, the zero thresholds included, lies among the normal float32 numbers. Any delta that comes from
// data does; a delta that a caller made up may not, and then `table_quantize_dequantize` does the work.
template <int STEPS>
GFPQ_HOST_FUNCTION bool is_common(int delta) {
    return delta >= -125 * STEPS && delta <= 127 * STEPS - Shape<STEPS>::top_code - 1;
}

template <int STEPS>
GFPQ_FUNCTION FloatGrid float_grid(int delta) {
    FloatGrid grid;
    for (int negative = 0; negative < 2; ++negative) {
        grid.zero[negative] = zero_bits<STEPS>(delta + negative);
        grid.lowest[negative] = power_bits<STEPS>(delta + negative);
    }
    grid.highest = power_bits<STEPS>(delta + Shape<STEPS>::top_code);
    return grid;
}

// The step of an octave that a mantissa rounds to, or the one below it; never another.
//
// A cubic approximates log2 on 1 ... 2 within 6.4e-4, which is 0.09 of a step at 128 steps; adding 1.5 * 2^23 rounds
// and leaves the integer in the low bits. One comparison with a threshold then settles the step exactly.
template <int STEPS>
GFPQ_FUNCTION int candidate_step(Word mantissa) {
    const float x = float_of(mantissa | float_one);
    const float s = (float)STEPS;
    const float steps = ((0.15824905f * s * x - 1.0518770f * s) * x + 3.0478878f * s) * x - (2.1536229f * s + 0.5f);
    return (int)(bits_of(steps + 12582912.0f) & (2 * STEPS - 1));
}

// Quantizes one float32, given and returned as bits.
//
// `thresholds` and `values` hold `threshold_word(k)` and `value_word(k)` for k in 0 ... STEPS, STRIDE words apart: a GPU
// keeps several copies of both side by side, so that neighbouring threads do not wait for the same bank.
template <int STEPS, int STRIDE>
GFPQ_FUNCTION Word quantize_dequantize(Word bits, const Word* thresholds, const Word* values, const FloatGrid& grid) {
    const Word magnitude = bits & ~float_sign;
    const Word mantissa = bits & float_mantissa;
    const bool negative = (bits & float_sign) != 0;
    int step = candidate_step<STEPS>(mantissa);
    step += mantissa >= thresholds[step * STRIDE] ? 1 : 0;
    Word result = magnitude - mantissa + values[step * STRIDE];
    const Word lowest = negative ? grid.lowest[1] : grid.lowest[0];
    result = result < lowest ? lowest : result;
    result = result > grid.highest ? grid.highest : result;
    // One unsigned comparison for "above the zero threshold and not NaN".
    const Word zero = negative ? grid.zero[1] : grid.zero[0];
    return magnitude - zero - 1 < float_infinity - zero ? result | (bits & float_sign) : 0u;
}

// ------------------------------------------------------------------------------------- float64, and unusual coefficients

// One tensor's grid, spelled out by the host: `thresholds[c]` is the smallest magnitude whose code is at least c, for
// c in 1 ... top_code (entry 0 is not read); `values[c]` is the value of code c.
struct TableGrid {
    const double* thresholds;
    const double* values;
    double zero[2];
    int delta;
};

// Quantizes one value with a spelled-out grid. The sign stays on a result that underflows to zero, but not on a value
// that is flushed to zero.
template <int STEPS>
GFPQ_FUNCTION double table_quantize_dequantize(double value, const TableGrid& grid) {
    const bool negative = (bits_of(value) & double_sign) != 0;
    const double magnitude = double_of(bits_of(value) & ~double_sign);
    const double zero = negative ? grid.zero[1] : grid.zero[0];
    if (!(magnitude > zero)) return 0.0;  // NaN too
    // Subnormal numbers are brought into the normal range first; 54 octaves are undone below.
    const bool subnormal = magnitude < 2.2250738585072014e-308;
    const LongWord bits = bits_of(subnormal ? magnitude * 18014398509481984.0 : magnitude);
    const int octave = (int)(bits >> 52) - 1023 - (subnormal ? 54 : 0);
    const int step = candidate_step<STEPS>((Word)(bits >> 29) & float_mantissa);
    // 64 bits because a delta may be any 32-bit number.
    const long long first = (long long)octave * STEPS + step - grid.delta;
    const int top = Shape<STEPS>::top_code;
    int code = first < 0 ? 0 : first > top - 1 ? top - 1 : (int)first;
    code += magnitude >= grid.thresholds[code + 1] ? 1 : 0;
    if (negative && code == 0) code = 1;
    return negative ? -grid.values[code] : grid.values[code];
}

// ----------------------------------------------------------------------------------------------------------- coefficient

// The coefficient of a float32 tensor from its largest finite magnitude (as bits) and from whether it has infinities:
// floor(STEPS * log2(m)) - top code, within the range of the format; m is 1e-6 for a tensor without magnitude.
template <int STEPS>
GFPQ_FUNCTION int coefficient(Word magnitude, bool infinite) {
    if (magnitude == 0 && infinite) return Shape<STEPS>::largest_delta;
    if (magnitude == 0) magnitude = bits_of(1e-6f);
    int octave = (int)(magnitude >> 23) - 127;
    Word mantissa = magnitude & float_mantissa;
    if (octave == -127) {
        for (octave = -126; mantissa <= float_mantissa; mantissa <<= 1) --octave;
        mantissa &= float_mantissa;
    }
    // The last step whose value, rounded up to float32, is not above the magnitude.
    int step = 0;
    for (int half = STEPS / 2; half > 0; half /= 2) {
        const double value = roots[(step + half) * (256 / STEPS)];
        if (value <= (double)float_of(mantissa | float_one)) step += half;
    }
    const int delta = octave * STEPS + step - Shape<STEPS>::top_code;
    const int limit = Shape<STEPS>::largest_delta;
    return delta > limit ? limit : delta < -limit ? -limit : delta;
}

}  // namespace gfpq_device
