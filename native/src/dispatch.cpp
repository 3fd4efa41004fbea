// Chooses the kernel of this machine, and cuts large arrays into ranges for the pool.
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "codec.hpp"
#include "cpu.hpp"
#include "kernel_scalar.hpp"
#include "kernels.hpp"
#include "pool.hpp"

namespace gfpq {
namespace {

// A range is small enough for the second-level cache, and large enough that starting it costs nothing.
constexpr std::size_t kRangeBytes = std::size_t{1} << 18;
// Below this, waking a thread costs more than it brings.
constexpr std::size_t kParallelBytes = std::size_t{1} << 20;
// Outputs of this size do not stay in a cache anyway, so they are written past it.
constexpr std::size_t kStreamBytes = std::size_t{1} << 25;

// Stands for the reference in the choice below; its pointers are never called.
constexpr Kernels kReference{"reference", nullptr, nullptr, nullptr, nullptr, {}, {}, {}, false};

const Kernels* best() noexcept {
#if defined(GFPQ_HAVE_AVX512)
    if (cpu_has_avx512()) return &kAvx512Kernels;
#endif
#if defined(GFPQ_HAVE_AVX2)
    if (cpu_has_avx2()) return &kAvx2Kernels;
#endif
#if defined(GFPQ_HAVE_NEON)
    return &kNeonKernels;
#else
    return &kBaselineKernels;
#endif
}

const Kernels* find(const char* name) noexcept {
    const auto is = [name](const char* other) { return std::strcmp(name, other) == 0; };
    if (is("reference")) return &kReference;
    if (is("baseline")) return &kBaselineKernels;
#if defined(GFPQ_HAVE_AVX2)
    if (is("avx2") && cpu_has_avx2()) return &kAvx2Kernels;
#endif
#if defined(GFPQ_HAVE_AVX512)
    if (is("avx512") && cpu_has_avx512()) return &kAvx512Kernels;
#endif
#if defined(GFPQ_HAVE_NEON)
    if (is("neon")) return &kNeonKernels;
#endif
    return nullptr;
}

std::atomic<const Kernels*> chosen{nullptr};

const Kernels* choose() noexcept {
    const Kernels* current = chosen.load(std::memory_order_acquire);
    if (current != nullptr) return current;
    const char* wanted = std::getenv("GFPQ_INSTRUCTION_SET");
    const Kernels* found = wanted != nullptr ? find(wanted) : nullptr;
    if (found == nullptr) found = best();
    chosen.store(found, std::memory_order_release);
    return found;
}

template <class T>
struct Element;

template <>
struct Element<float> {
    using Plan = FloatPlan;
    using Word = std::uint32_t;
    static constexpr Word infinity = 0x7F800000u;
    static constexpr auto apply = &Kernels::apply_float;
    static constexpr auto largest = &Kernels::largest_float;
};

template <>
struct Element<double> {
    using Plan = DoublePlan;
    using Word = std::uint64_t;
    static constexpr Word infinity = 0x7FF0000000000000u;
    static constexpr auto apply = &Kernels::apply_double;
    static constexpr auto largest = &Kernels::largest_double;
};

/// Calls work(begin, end) on ranges that together are 0 ... count, last range first: what was read last is still in
/// the cache.
template <class T, class Work>
void over_ranges(std::size_t count, Work&& work) noexcept {
    if (count * sizeof(T) < kParallelBytes || threads() == 1) return work(std::size_t{0}, count);
    constexpr std::size_t range = kRangeBytes / sizeof(T);
    const std::size_t ranges = (count + range - 1) / range;
    parallel(ranges, [&](std::size_t index) {
        const std::size_t begin = (ranges - 1 - index) * range;
        work(begin, begin + range < count ? begin + range : count);
    });
}

template <class Word>
void raise_to(std::atomic<Word>& largest, Word value) noexcept {
    Word seen = largest.load(std::memory_order_relaxed);
    while (value > seen && !largest.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
    }
}

}  // namespace

const Kernels* kernels() noexcept {
    const Kernels* current = choose();
    return current == &kReference ? nullptr : current;
}

const char* instruction_set() noexcept { return choose()->name; }

bool has_instruction_set(const char* name) noexcept { return find(name) != nullptr; }

bool set_instruction_set(const char* name) noexcept {
    const Kernels* found = find(name);
    if (found == nullptr) return false;
    chosen.store(found, std::memory_order_release);
    return true;
}

template <class T>
Extremes largest_magnitude(const T* data, std::size_t count) noexcept {
    using Word = typename Element<T>::Word;
    const Kernels* table = kernels();
    if (table == nullptr) {
        Extremes extremes = magnitude(data, count);
        extremes.zero_count = 0;
        return extremes;
    }
    std::atomic<Word> largest{0};
    over_ranges<T>(count, [&](std::size_t begin, std::size_t end) {
        raise_to(largest, (table->*Element<T>::largest)(data + begin, end - begin));
    });
    const Word bits = largest.load(std::memory_order_relaxed);
    if (bits >= Element<T>::infinity) {  // rare: look at every element
        Extremes extremes = magnitude(data, count);
        extremes.zero_count = 0;
        return extremes;
    }
    T value;
    std::memcpy(&value, &bits, sizeof value);
    Extremes extremes;
    extremes.largest = static_cast<double>(value);
    return extremes;
}

template <class T>
void apply(const T* input, T* output, std::size_t count, const Grid& grid, int delta) noexcept {
    typename Element<T>::Plan plan;
    const Kernels* table = kernels();
    if (table == nullptr || !make_plan(grid, delta, plan)) {
        return over_ranges<T>(count, [&](std::size_t begin, std::size_t end) {
            apply_reference(input + begin, output + begin, end - begin, grid, delta);
        });
    }
    const bool stream = input != output && count * sizeof(T) >= kStreamBytes;
    over_ranges<T>(count, [&](std::size_t begin, std::size_t end) {
        (table->*Element<T>::apply)(input + begin, output + begin, end - begin, plan, stream);
    });
}

template Extremes largest_magnitude(const float*, std::size_t) noexcept;
template Extremes largest_magnitude(const double*, std::size_t) noexcept;
template void apply(const float*, float*, std::size_t, const Grid&, int) noexcept;
template void apply(const double*, double*, std::size_t, const Grid&, int) noexcept;

}  // namespace gfpq
