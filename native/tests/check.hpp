// The few things that a test program needs: a check that says what failed, and bits of numbers.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "codec.hpp"

namespace check {

inline int failures = 0;

/// Prints the first failures, counts all.
#define CHECK(condition, ...)                                                                \
    do {                                                                                     \
        if (!(condition) && ++check::failures <= 20) {                                       \
            std::fprintf(stderr, "%s:%d: %s  ", __FILE__, __LINE__, #condition);             \
            __VA_OPT__(std::fprintf(stderr, __VA_ARGS__);)                                   \
            std::fprintf(stderr, "\n");                                                      \
        }                                                                                    \
    } while (false)

inline int result(const char* name) {
    if (failures == 0) std::printf("%s: ok\n", name);
    else std::printf("%s: %d checks failed\n", name, failures);
    return failures == 0 ? 0 : 1;
}

inline std::uint32_t bits(float x) {
    std::uint32_t word;
    std::memcpy(&word, &x, sizeof word);
    return word;
}

inline std::uint64_t bits(double x) {
    std::uint64_t word;
    std::memcpy(&word, &x, sizeof word);
    return word;
}

inline float float_of(std::uint32_t word) {
    float x;
    std::memcpy(&x, &word, sizeof x);
    return x;
}

inline double double_of(std::uint64_t word) {
    double x;
    std::memcpy(&x, &word, sizeof x);
    return x;
}

/// The kernels that this machine has, the reference left out.
inline std::vector<const char*> instruction_sets() {
    std::vector<const char*> names;
    for (const char* name : {"baseline", "neon", "avx2", "avx512"})
        if (gfpq::has_instruction_set(name)) names.push_back(name);
    return names;
}

/// The same sequence in every run.
class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next() {
        state_ += 0x9E3779B97F4A7C15u;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return z ^ (z >> 31);
    }

    std::uint64_t below(std::uint64_t bound) { return next() % bound; }

private:
    std::uint64_t state_;
};

}  // namespace check
