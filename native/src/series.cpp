#include "series.hpp"

#include <cmath>
#include <cstring>

namespace gfpq {
namespace {

constexpr unsigned kBucketShift = 18;  // 2^5 buckets of a mantissa of 23 bits

/// a * b + c rounded once to float, on machines with and without such an instruction. The product is exact in double;
/// the sum is rounded to odd there, so that rounding it again to float does no harm.
float fused(float a, float b, float c) noexcept {
    const double product = static_cast<double>(a) * static_cast<double>(b);
    const double addend = static_cast<double>(c);
    double sum = product + addend;
    const double shadow = sum - product;
    const double error = (product - (sum - shadow)) + (addend - shadow);
    std::uint64_t bits;
    std::memcpy(&bits, &sum, sizeof bits);
    if (error != 0.0 && (bits & 1) == 0) {
        bits += (error > 0.0) == (sum > 0.0) ? 1u : ~std::uint64_t{0};
        std::memcpy(&sum, &bits, sizeof sum);
    }
    return static_cast<float>(sum);
}

float mantissa_of(std::uint32_t mantissa) noexcept {
    const std::uint32_t bits = mantissa | 0x3F800000u;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

/// 0, 1, -1, 2, -2, ...
int alternating(int index) noexcept { return index % 2 == 0 ? -index / 2 : (index + 1) / 2; }

/// Moves a number around `start` until `good` holds, and then to the middle of where it does.
template <class Good>
bool settle(float& number, double start, double stride, const Good& good) noexcept {
    constexpr int reach = 64;
    int first = reach + 1, last = -reach - 1;
    const auto good_at = [&](double strides) {
        number = static_cast<float>(start + strides * stride);
        return good();
    };
    for (int step = 0; step <= 2 * reach && first > last; ++step)
        if (good_at(alternating(step))) first = last = alternating(step);
    if (first > last) return false;
    while (last < reach && good_at(last + 1)) ++last;
    while (first > -reach && good_at(first - 1)) --first;
    return good_at(0.5 * (first + last));
}

/// One bucket of the octave, and whether the series reproduces its codes and values.
class Bucket {
public:
    Bucket(Series& series, const Tables<std::uint32_t>& tables, int number) noexcept
        : series_(series), tables_(tables), number_(number), begin_(static_cast<std::uint32_t>(number) << kBucketShift),
          end_(begin_ + (1u << kBucketShift)), first_code_(code_at(begin_)), last_code_(code_at(end_ - 1)) {
        for (int code = first_code_ + 1; code <= last_code_; ++code) changes_[code - first_code_] = first_mantissa(code);
    }

    /// Finds numbers that give every code and value of the bucket.
    bool fill() noexcept {
        // Any code near the middle will do, and any float near its power as the larger part of it; not every pair of
        // them lets all sums round to the right side.
        constexpr int neighbours = 17;
        for (int attempt = 0; attempt < 3 * neighbours; ++attempt) {
            middle_ = (first_code_ + last_code_) / 2 + alternating(attempt / neighbours);
            if (fill(alternating(attempt % neighbours))) return true;
        }
        return false;
    }

private:
    bool fill(int ulps) noexcept {
        const double power = std::pow(2.0, middle_ / 128.0);
        float& value = series_.value[number_];
        float& reciprocal = series_.reciprocal[number_];
        value = static_cast<float>(power + ulps * 0x1p-23);
        reciprocal = static_cast<float>(1.0 / power);
        const double cut_off = power - static_cast<double>(value);
        const double lost = -128.0 * std::log2(static_cast<double>(reciprocal) * power);
        return settle(series_.offset[number_], lost, 4e-8, [this] { return codes_are_right(); }) &&
               settle(series_.rest[number_], cut_off, 4e-10, [this] { return values_are_right(); });
    }

    int code_at(std::uint32_t mantissa) const noexcept {
        const std::uint32_t bucket = mantissa >> tables_.bucket_shift & (tables_.bucket_count - 1);
        return static_cast<int>((mantissa + tables_.adjust[bucket]) >> tables_.key_shift);
    }

    std::uint32_t first_mantissa(int code) const noexcept {
        std::uint32_t low = begin_, high = end_;
        while (low < high) {
            const std::uint32_t between = (low + high) / 2;
            if (code_at(between) < code) low = between + 1;
            else high = between;
        }
        return low;
    }

    int code_from_series(std::uint32_t mantissa) const noexcept {
        const float r = fused(mantissa_of(mantissa), series_.reciprocal[number_], -1.0f);
        const float slope = fused(r, fused(r, Series::cubic, Series::square), Series::linear);
        const float steps = fused(r, slope, series_.offset[number_]);
        return middle_ + static_cast<int>((steps + Series::rounder) - Series::rounder);
    }

    bool codes_are_right() const noexcept {
        for (int code = first_code_ + 1; code <= last_code_; ++code) {
            const std::uint32_t change = changes_[code - first_code_];
            if (code_from_series(change) != code || code_from_series(change - 1) != code - 1) return false;
        }
        return code_from_series(begin_) == first_code_ && code_from_series(end_ - 1) == last_code_;
    }

    bool values_are_right() const noexcept {
        const float value = series_.value[number_];
        for (int code = first_code_; code <= last_code_; ++code) {
            const float growth = series_.growth[static_cast<unsigned>(code - middle_) & 15u];
            const float sum = value + fused(value, growth, series_.rest[number_]);
            if (sum != static_cast<float>(std::pow(2.0, code / 128.0))) return false;
        }
        return true;
    }

    Series& series_;
    const Tables<std::uint32_t>& tables_;
    int number_;
    std::uint32_t begin_, end_;
    int first_code_, last_code_;
    int middle_ = 0;
    std::uint32_t changes_[16];  // first mantissa of each code but the first
};

Series make_series() noexcept {
    FloatPlan plan;
    Series series;
    series.exact = make_plan(*grid_of(16), 0, plan);
    for (int i = 0; i < 16; ++i) {
        const int k = i < 8 ? i : i - 16;
        series.growth[i] = static_cast<float>(std::pow(2.0, k / 128.0) - 1.0);
    }
    for (int number = 0; number < 32; ++number) series.exact &= Bucket(series, *plan.tables, number).fill();
    return series;
}

}  // namespace

const Series& series16() noexcept {
    static const Series series = make_series();
    return series;
}

}  // namespace gfpq
