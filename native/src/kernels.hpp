// One row of function pointers per instruction set. A kernel works on one range with one thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "similarity_float_tile.hpp"
#include "similarity_tile.hpp"
#include "tables.hpp"

namespace gfpq {

/// `stream`: write past the caches (large outputs that nobody reads back soon).
struct Kernels {
    const char* name;
    void (*apply_float)(const float* input, float* output, std::size_t count, const FloatPlan& plan, bool stream);
    void (*apply_double)(const double* input, double* output, std::size_t count, const DoublePlan& plan, bool stream);
    /// Largest bit pattern without its sign; at or above that of infinity when anything is not finite.
    std::uint32_t (*largest_float)(const float* data, std::size_t count);
    std::uint64_t (*largest_double)(const double* data, std::size_t count);
    TileKernels<float> tile_float;
    TileKernels<double> tile_double;
    FloatTileKernels float_tile;
    /// Whether large chunks of floats are summed by these. Without a fused multiply-add they are three times slower than
    /// sums in double, and only show what the others must give.
    bool sums_in_float;
};

extern const Kernels kBaselineKernels;
#if defined(GFPQ_HAVE_AVX2)
extern const Kernels kAvx2Kernels;
#endif
#if defined(GFPQ_HAVE_AVX512)
extern const Kernels kAvx512Kernels;
#endif
#if defined(GFPQ_HAVE_NEON)
extern const Kernels kNeonKernels;
#endif

/// The row in use; nullptr means that the reference was asked for.
const Kernels* kernels() noexcept;

}  // namespace gfpq
