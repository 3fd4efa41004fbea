// What one coefficient does to one tensor, in one read.
#include <cmath>
#include <limits>
#include <mutex>
#include <type_traits>

#include "coder.hpp"
#include "evidence.hpp"
#include "kernels.hpp"

namespace gfpq {
namespace {

/// Adds one element to the counts: the definition, and the way for what the fast one leaves.
template <class T>
void count_one(T x, const Grid& grid, int delta, const Coder<T>& coder, CodeStatistics& counts,
               std::int64_t* histogram) noexcept {
    const double magnitude = std::fabs(static_cast<double>(x));
    if (!(magnitude <= std::numeric_limits<double>::max())) {
        ++counts.nonfinite;
        return;
    }
    ++counts.finite;
    if (magnitude == 0.0) {
        ++counts.zeros;
        return;
    }
    const double above = value_of(grid.highest_code + 1, grid, delta);
    if (magnitude >= above) ++counts.beyond;
    else if (magnitude > value_of(grid.highest_code, grid, delta)) ++counts.snapped;
    const int code = coder(x);
    if (code == kZero) ++counts.flushed;
    else ++histogram[(x < T(0) ? grid.highest_code + 1 : 0) + code];
}

void add(CodeStatistics& all, const CodeStatistics& part) noexcept {
    all.finite += part.finite;
    all.nonfinite += part.nonfinite;
    all.zeros += part.zeros;
    all.flushed += part.flushed;
    all.snapped += part.snapped;
    all.beyond += part.beyond;
}

std::uint32_t upper_word(float x) noexcept {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

std::uint32_t upper_word(double x) noexcept {
    std::uint64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return static_cast<std::uint32_t>(bits >> 32);
}

/// Counts codes by what the kernels make of a block. Two neighbours of the grid never share a bucket of the tables, so
/// the bucket (with the exponent before it) names the code, and counting needs no further look-up.
template <class T>
class BlockCounter {
public:
    BlockCounter(const Grid& grid, int delta, const typename PlanOf<T>::type& plan) noexcept
        : grid_(grid), delta_(delta), plan_(plan), coder_(grid, delta), shift_(plan.tables->bucket_shift),
          lowest_(place(plan.lowest_positive)), places_(place(plan.highest) - lowest_ + 2),
          top_(plan.highest), above_(round_up(value_of(grid.highest_code + 1, grid, delta))) {
        for (auto& counters : counters_)
            for (std::uint32_t i = 0; i < 2 * places_; ++i) counters[i] = 0;
        for (int i = 0; i < 2 * (grid.highest_code + 1); ++i) careful_histogram_[i] = 0;
        // Whatever is larger than the top as a number of type T is larger than value(T) itself, or it would be the top.
        if (static_cast<double>(top_) > value_of(grid.highest_code, grid, delta)) top_ = std::nextafter(top_, T(0));
    }

    void add(const T* data, std::size_t count) noexcept {
        for (std::size_t begin = 0; begin < count; begin += kBlock)
            add_block(data + begin, count - begin < kBlock ? count - begin : kBlock);
    }

    void finish(CodeStatistics& all, std::int64_t* histogram) noexcept {
        const std::size_t codes = static_cast<std::size_t>(grid_.highest_code) + 1;
        for (std::size_t code = 0; code < codes; ++code) {
            const std::uint32_t slot = place_of_key(plan_.lowest_key + static_cast<std::uint32_t>(code)) - lowest_ + 1;
            for (std::uint32_t negative = 0; negative < 2; ++negative)
                for (const auto& counters : counters_)
                    histogram[negative * codes + code] += counters[negative * places_ + slot];
        }
        for (std::size_t code = 0; code < 2 * codes; ++code) histogram[code] += careful_histogram_[code];
        gfpq::add(all, counts_);
    }

private:
    static constexpr std::size_t kBlock = 1024;
    static constexpr std::uint32_t kMostPlaces = 12 * 256 + 2;

    static T round_up(double x) noexcept {
        const T nearest = static_cast<T>(x);
        return static_cast<double>(nearest) < x ? std::nextafter(nearest, std::numeric_limits<T>::infinity()) : nearest;
    }

    std::uint32_t place(T value) const noexcept { return (upper_word(value) & 0x7FFFFFFFu) >> shift_; }

    /// As `place`, of the value that a key of the tables stands for.
    std::uint32_t place_of_key(std::uint32_t key) const noexcept {
        using Word = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
        const auto& tables = *plan_.tables;
        const Word fraction = tables.fraction[key & ((1u << tables.step_bits) - 1)];
        const Word bits = static_cast<Word>(key >> tables.step_bits) << (sizeof(T) == 4 ? 23 : 52) | fraction;
        return static_cast<std::uint32_t>(bits >> (8 * sizeof(T) - 32)) >> shift_;
    }

    void add_block(const T* data, std::size_t count) noexcept {
        std::uint32_t finite = 0, zeros = 0, larger = 0, beyond = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const T magnitude = std::fabs(data[i]);
            finite += magnitude <= std::numeric_limits<T>::max() ? 1u : 0u;
            zeros += magnitude == T(0) ? 1u : 0u;
            larger += magnitude > top_ ? 1u : 0u;
            beyond += magnitude >= above_ ? 1u : 0u;
        }
        if (finite != count) {
            for (std::size_t i = 0; i < count; ++i) count_one(data[i], grid_, delta_, coder_, counts_, careful_histogram_);
            return;
        }
        const Kernels* table = kernels();
        apply_with(table != nullptr ? *table : kBaselineKernels, data, count);
        std::uint32_t vanished = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint32_t word = upper_word(values_[i]);
            const std::uint32_t magnitude = (word & 0x7FFFFFFFu) >> shift_;
            vanished += magnitude == 0 ? 1u : 0u;
            const std::uint32_t slot = magnitude == 0 ? 0 : magnitude - lowest_ + 1;
            ++counters_[i & 1][(word >> 31) * places_ + slot];
        }
        counts_.finite += finite;
        counts_.zeros += zeros;
        counts_.flushed += vanished - zeros;
        counts_.snapped += larger - beyond;
        counts_.beyond += beyond;
    }

    void apply_with(const Kernels& table, const float* data, std::size_t count) noexcept {
        table.apply_float(data, values_, count, plan_, false);
    }
    void apply_with(const Kernels& table, const double* data, std::size_t count) noexcept {
        table.apply_double(data, values_, count, plan_, false);
    }

    const Grid& grid_;
    int delta_;
    const typename PlanOf<T>::type& plan_;
    Coder<T> coder_;
    unsigned shift_;
    std::uint32_t lowest_;
    std::uint32_t places_;  // buckets from the lowest to the highest value, and one for zero
    T top_;
    T above_;
    CodeStatistics counts_;
    std::int64_t careful_histogram_[2 * kMostCodes];
    // Two sets of counters: a run of equal codes would otherwise wait for its own last increment.
    std::uint32_t counters_[2][2 * kMostPlaces];
    alignas(64) T values_[kBlock];
};

}  // namespace

template <class T>
CodeStatistics code_statistics(const T* data, std::size_t count, const Grid& grid, int delta,
                               std::int64_t* histogram) noexcept {
    CodeStatistics all;
    std::mutex mutex;
    typename PlanOf<T>::type plan;
    const bool planned = make_plan(grid, delta, plan);
    over_ranges(count, [&](std::size_t begin, std::size_t end) {
        if (planned) {
            BlockCounter<T> counter(grid, delta, plan);
            counter.add(data + begin, end - begin);
            const std::lock_guard<std::mutex> lock(mutex);
            counter.finish(all, histogram);
            return;
        }
        const std::lock_guard<std::mutex> lock(mutex);
        const Coder<T> coder(grid, delta);
        for (std::size_t i = begin; i < end; ++i) count_one(data[i], grid, delta, coder, all, histogram);
    });
    return all;
}

template CodeStatistics code_statistics(const float*, std::size_t, const Grid&, int, std::int64_t*) noexcept;
template CodeStatistics code_statistics(const double*, std::size_t, const Grid&, int, std::int64_t*) noexcept;

}  // namespace gfpq
