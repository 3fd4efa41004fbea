// One element through the tables: the portable kernel, and the tail of the others.
#pragma once

#include <cstdint>
#include <cstring>

#include "prefetch.hpp"
#include "tables.hpp"

namespace gfpq {
namespace {  // each instruction set compiles its own copy: never shared between files

inline float apply_one(float x, const FloatPlan& plan) noexcept {
    const Tables<std::uint32_t>& tables = *plan.tables;
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const std::uint32_t negative = bits >> 31;
    const std::uint32_t bucket = (bits >> tables.bucket_shift) & (tables.bucket_count - 1);
    std::uint32_t key = ((bits & 0x7FFFFFFFu) + tables.adjust[bucket]) >> tables.key_shift;
    const std::uint32_t lowest_key = plan.lowest_key + negative;
    key = key < lowest_key ? lowest_key : key;
    key = key > plan.highest_key ? plan.highest_key : key;
    const std::uint32_t steps_mask = (1u << tables.step_bits) - 1;
    std::uint32_t result = (bits & 0x80000000u) | (key >> tables.step_bits) << 23 | tables.fraction[key & steps_mask];
    // The comparisons are false for NaN, which thereby becomes zero.
    const bool stays = (x > plan.flush_positive) | (x < -plan.flush_negative);
    result = stays ? result : 0u;
    float value;
    std::memcpy(&value, &result, sizeof value);
    return value;
}

inline double apply_one(double x, const DoublePlan& plan) noexcept {
    const Tables<std::uint64_t>& tables = *plan.tables;
    if (!((x > plan.flush_positive) | (x < -plan.flush_negative))) return 0.0;
    std::uint64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const std::uint32_t upper = static_cast<std::uint32_t>(bits >> 32);
    const std::uint32_t negative = upper >> 31;
    const std::uint32_t bucket = (upper >> tables.bucket_shift) & (tables.bucket_count - 1);
    const std::uint32_t sum = (upper & 0x7FFFFFFFu) + tables.adjust[bucket];
    const std::uint32_t undecided = (1u << tables.key_shift) - 1;
    if ((sum & undecided) == undecided) {
        double value;
        apply_reference(&x, &value, 1, *plan.grid, plan.delta);
        return value;
    }
    std::uint32_t key = sum >> tables.key_shift;
    const std::uint32_t lowest_key = plan.lowest_key + negative;
    key = key < lowest_key ? lowest_key : key;
    key = key > plan.highest_key ? plan.highest_key : key;
    const std::uint32_t steps_mask = (1u << tables.step_bits) - 1;
    const std::uint64_t result = (bits & 0x8000000000000000u) |
                                 static_cast<std::uint64_t>(key >> tables.step_bits) << 52 |
                                 tables.fraction[key & steps_mask];
    double value;
    std::memcpy(&value, &result, sizeof value);
    return value;
}

inline std::uint32_t magnitude_bits(float x) noexcept {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits & 0x7FFFFFFFu;
}

inline std::uint64_t magnitude_bits(double x) noexcept {
    std::uint64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits & 0x7FFFFFFFFFFFFFFFu;
}

template <class T, class P>
inline void apply_scalar(const T* input, T* output, std::size_t count, const P& plan) {
    constexpr std::size_t line = kLine / sizeof(T);
    std::size_t i = 0;
    for (; i + line <= count; i += line) {
        prefetch_line(input + i, kAhead);
        for (std::size_t j = i; j < i + line; ++j) output[j] = apply_one(input[j], plan);
    }
    for (; i < count; ++i) output[i] = apply_one(input[i], plan);
}

/// Largest bit pattern without its sign.
template <class T, class Word>
inline Word largest_scalar(const T* data, std::size_t count) {
    constexpr std::size_t line = kLine / sizeof(T);
    Word largest = 0;
    std::size_t i = 0;
    for (; i + line <= count; i += line) {
        prefetch_line(data + i, kAhead);
        for (std::size_t j = i; j < i + line; ++j) {
            const Word bits = magnitude_bits(data[j]);
            largest = bits > largest ? bits : largest;
        }
    }
    for (; i < count; ++i) {
        const Word bits = magnitude_bits(data[i]);
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

}  // namespace
}  // namespace gfpq
