// One float for the float kernels of the similarity sums, in portable C++; part of kernel_baseline.cpp.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>

#include "similarity_float_kernel.hpp"
#include "similarity_scalar.hpp"

namespace gfpq {
namespace {

/// a * b + c, rounded once. The product of two floats is exact in double, and the sum rounded to double leads to the same
/// float as the exact one unless it lies half-way between two floats, or where floats are denormal.
inline float fused_float(float a, float b, float c) {
    const double sum = static_cast<double>(a) * static_cast<double>(b) + static_cast<double>(c);
    std::uint64_t bits;
    std::memcpy(&bits, &sum, sizeof bits);
    const bool half_way = (bits & 0x1FFFFFFFu) == 0x10000000u;
    const bool small = ((bits >> 52) & 0x7FF) < 1023 - 126 && sum != 0.0;
    return half_way || small ? std::fma(a, b, c) : static_cast<float>(sum);
}

struct Floats1 {
    static constexpr std::size_t width = 1;
    float v;

    static Floats1 load(const float* p) { return {*p}; }
    static Floats1 load_unaligned(const float* p) { return {*p}; }
    static Floats1 zero() { return {0.0f}; }
    static Floats1 all(float value) { return {value}; }
    void store(float* p) const { *p = v; }

    /// Adds sixteen sums, each divided by its scale, to eight partial ones.
    static void hand_on(const float* part, const double* inverse, double* sums) {
        for (std::size_t i = 0; i < kColumns; ++i) sums[i % kPartialSums] += static_cast<double>(part[i]) * inverse[i];
    }

    static void hand_on(const float* part, const double* inverse, double* sums, double* squares) {
        for (std::size_t i = 0; i < kColumns; ++i) {
            const double one = static_cast<double>(part[i]) * inverse[i];
            sums[i % kPartialSums] += one;
            squares[i % kPartialSums] += one * one;
        }
    }

    class Unequal {
    public:
        void add(Floats1 a, Floats1 b, std::size_t) { count_ += same_bits(a.v, b.v) ? 0u : 1u; }
        std::uint64_t count() const { return count_; }

    private:
        std::uint64_t count_ = 0;
    };
};

inline Floats1 operator*(Floats1 a, Floats1 b) { return {a.v * b.v}; }
inline Floats1 operator+(Floats1 a, Floats1 b) { return {a.v + b.v}; }
inline Floats1 operator-(Floats1 a, Floats1 b) { return {a.v - b.v}; }
inline Floats1 fused(Floats1 a, Floats1 b, Floats1 c) { return {fused_float(a.v, b.v, c.v)}; }
inline Floats1 fused_minus(Floats1 a, Floats1 b, Floats1 c) { return {fused_float(a.v, b.v, -c.v)}; }
inline Floats1 magnitude(Floats1 a) { return {std::fabs(a.v)}; }
/// Without the last kLowBits bits.
inline Floats1 shortened(Floats1 a) { return {std::bit_cast<float>(std::bit_cast<std::uint32_t>(a.v) & (0u - (1u << kLowBits)))}; }
/// The second where neither is smaller (larger), as with a NaN.
inline Floats1 smaller(Floats1 a, Floats1 b) { return a.v < b.v ? a : b; }
inline Floats1 larger(Floats1 a, Floats1 b) { return a.v > b.v ? a : b; }

}  // namespace
}  // namespace gfpq
