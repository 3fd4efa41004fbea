// The definition of the format, written to be read. Everything fast is tested against this file.
#include <cmath>

#include "codec.hpp"

namespace gfpq {
namespace {

/// 2^((delta + code) / S) in double.
double value_of(int code, const Grid& grid, int delta) noexcept {
    return std::pow(2.0, (static_cast<double>(delta) + code) / grid.steps_per_octave);
}

template <class T>
T quantize_dequantize_one(T x, const Grid& grid, int delta) noexcept {
    const double magnitude = std::fabs(static_cast<double>(x));
    if (!(magnitude > 0.0)) return T(0);  // both zeros and NaN

    // Code 0 of the negative side is the pattern that stands for zero, so negative values start at code 1.
    const int lowest_code = x > T(0) ? 0 : 1;
    if (magnitude <= value_of(lowest_code, grid, delta) / 2) return T(0);

    const double step = std::round(grid.steps_per_octave * std::log2(magnitude));  // halves away from zero
    const double wanted = step - delta;  // infinite for an infinity, which saturates below
    int code = grid.highest_code;
    if (wanted < lowest_code) code = lowest_code;
    else if (wanted < code) code = static_cast<int>(wanted);

    const T value = static_cast<T>(value_of(code, grid, delta));
    return x > T(0) ? value : -value;
}

}  // namespace

template <class T>
void apply_reference(const T* input, T* output, std::size_t count, const Grid& grid, int delta) noexcept {
    for (std::size_t i = 0; i < count; ++i) output[i] = quantize_dequantize_one(input[i], grid, delta);
}

template <class T>
Extremes magnitude(const T* data, std::size_t count) noexcept {
    Extremes extremes;
    for (std::size_t i = 0; i < count; ++i) {
        const double value = std::fabs(static_cast<double>(data[i]));
        if (std::isnan(value)) ++extremes.nan_count;
        else if (std::isinf(value)) ++extremes.infinity_count;
        else if (value == 0.0) ++extremes.zero_count;
        else if (value > extremes.largest) extremes.largest = value;
    }
    return extremes;
}

template void apply_reference(const float*, float*, std::size_t, const Grid&, int) noexcept;
template void apply_reference(const double*, double*, std::size_t, const Grid&, int) noexcept;
template Extremes magnitude(const float*, std::size_t) noexcept;
template Extremes magnitude(const double*, std::size_t) noexcept;

}  // namespace gfpq
