// What the processor (and the operating system, for the wide registers) offers.
#pragma once

namespace gfpq {

/// AVX2 and FMA.
bool cpu_has_avx2() noexcept;
/// AVX-512 F, BW, DQ and VL.
bool cpu_has_avx512() noexcept;

}  // namespace gfpq
