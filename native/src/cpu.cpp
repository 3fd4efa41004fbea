#include "cpu.hpp"

#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
#include <immintrin.h>
#include <intrin.h>
#endif

namespace gfpq {

#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))

namespace {

struct Features {
    bool avx2 = false;
    bool avx512 = false;

    Features() noexcept {
        int registers[4];
        __cpuid(registers, 0);
        if (registers[0] < 7) return;
        __cpuid(registers, 1);
        const bool fma = (registers[2] >> 12 & 1) != 0;
        const bool saves_registers = (registers[2] >> 27 & 1) != 0;
        if (!saves_registers) return;
        const unsigned long long saved = _xgetbv(0);
        __cpuidex(registers, 7, 0);
        const auto has = [&](int bit) { return (registers[1] >> bit & 1) != 0; };
        avx2 = fma && (saved & 0x06) == 0x06 && has(5);
        avx512 = avx2 && (saved & 0xE6) == 0xE6 && has(16) && has(17) && has(30) && has(31);
    }
};

const Features& features() noexcept {
    static const Features value;
    return value;
}

}  // namespace

bool cpu_has_avx2() noexcept { return features().avx2; }
bool cpu_has_avx512() noexcept { return features().avx512; }

#elif defined(__x86_64__) || defined(__i386__)

bool cpu_has_avx2() noexcept { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool cpu_has_avx512() noexcept {
    return cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

#else

bool cpu_has_avx2() noexcept { return false; }
bool cpu_has_avx512() noexcept { return false; }

#endif

}  // namespace gfpq
