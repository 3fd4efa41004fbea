// The float kernels, written once. V is a vector of V::width floats with the operations of the instruction set: every
// one of them rounds as IEEE 754 says, `fused` once, so that all sets (and one element after the other) give the same bits.
#pragma once

#include "prefetch.hpp"
#include "similarity_float_tile.hpp"

namespace gfpq {
namespace {  // each instruction set compiles its own copy

inline constexpr std::size_t kProductsAtOnce = 2;

// Where all eight rows at once do not fit the registers, GCC keeps much of them in memory.
#if defined(__GNUC__) && !defined(__clang__) && !defined(__AVX512F__)
#define GFPQ_UNROLL_ROWS _Pragma("GCC unroll 2")
#else
#define GFPQ_UNROLL_ROWS
#endif

/// Sums of some rows of a lane's tile.
template <class V, std::size_t Products>
struct LaneBlock {
    V d, abs_d, xd, dd;
    V products[Products + 1];  // one more than used: there is no array of nothing

    LaneBlock() : d(V::zero()), abs_d(V::zero()), xd(V::all(kSeed)), dd(V::all(kSeed)) {
        for (V& one : products) one = V::all(kSeed);
    }

    void add(const LaneBlock& other) {
        d = d + other.d;
        abs_d = abs_d + other.abs_d;
        xd = xd + other.xd;
        dd = dd + other.dd;
        for (std::size_t k = 0; k < Products; ++k) products[k] = products[k] + other.products[k];
    }
};

template <class V>
void float_reference(const float* x, const TileScale& scale, FloatReferenceSums& sums, ScaledTile& scaled) {
    alignas(64) float sum_x[kColumns];
    alignas(64) float sum_xx[kColumns];
    for (std::size_t column = 0; column < kColumns; column += V::width) {
        const V s = V::load(scale.scale + column);
        V low = V::load(sums.extent.minimum + column);
        V high = V::load(sums.extent.maximum + column);
        V total = V::zero(), total_xx = V::all(kSeed);
        const auto add_block = [&](std::size_t block, V& block_x, V& block_xx) {
            for (std::size_t row = block; row < block + kBlockRows; ++row) {
                const std::size_t i = row * kColumns + column;
                if (column == 0) prefetch_lines<kColumns>(x + i, kTileAhead);
                const V value = V::load_unaligned(x + i);
                const V product = s * value;
                const V short_product = shortened(product);
                short_product.store(scaled.high + i);
                fused_minus(s, value, short_product).store(scaled.low + i);
                block_x = block_x + product;
                block_xx = fused(product, value, block_xx);
                low = smaller(value, low);
                high = larger(value, high);
            }
        };
        add_block(0, total, total_xx);
        for (std::size_t block = kBlockRows; block < kRows; block += kBlockRows) {
            V block_x = V::zero(), block_xx = V::all(kSeed);
            add_block(block, block_x, block_xx);
            total = total + block_x;
            total_xx = total_xx + block_xx;
        }
        low.store(sums.extent.minimum + column);
        high.store(sums.extent.maximum + column);
        total.store(sum_x + column);
        total_xx.store(sum_xx + column);
    }
    V::hand_on(sum_x, scale.inverse, sums.x);
    V::hand_on(sum_xx, scale.inverse, sums.xx, sums.xx_square);
}

template <class V, std::size_t Products>
void float_lane_loop(const float* x, const ScaledTile& scaled, const float* y, const TileScale& scale,
                     FloatLaneSums& sums, float* errors, float* largest, const FloatEarlierLanes& earlier) {
    alignas(64) float part[4 + Products][kColumns];
    typename V::Unequal unequal;
    const float* others[Products + 1];
    for (std::size_t k = 0; k < Products; ++k) others[k] = earlier.errors[k];
    for (std::size_t column = 0; column < kColumns; column += V::width) {
        const V s = V::load(scale.scale + column);
        V low = V::load(sums.extent.minimum + column);
        V high = V::load(sums.extent.maximum + column);
        V top = V::zero();
        LaneBlock<V, Products> total;
        const auto add_block = [&](std::size_t block, LaneBlock<V, Products>& now) {
            GFPQ_UNROLL_ROWS
            for (std::size_t row = block; row < block + kBlockRows; ++row) {
                const std::size_t i = row * kColumns + column;
                if (column == 0) prefetch_lines<kColumns>(y + i, kTileAhead);
                const V value = V::load_unaligned(y + i);
                const V reference = V::load_unaligned(x + i);
                const V error = fused_minus(s, value, V::load(scaled.high + i)) - V::load(scaled.low + i);
                const V size = magnitude(error);
                error.store(errors + i);
                now.d = now.d + error;
                now.abs_d = now.abs_d + size;
                now.xd = fused(error, reference, now.xd);
                now.dd = fused(error, error, now.dd);
                for (std::size_t k = 0; k < Products; ++k)
                    now.products[k] = fused(error, V::load(others[k] + i), now.products[k]);
                top = larger(size, top);
                low = smaller(value, low);
                high = larger(value, high);
                unequal.add(value, reference, row);
            }
        };
        add_block(0, total);
        for (std::size_t block = kBlockRows; block < kRows; block += kBlockRows) {
            LaneBlock<V, Products> now;
            add_block(block, now);
            total.add(now);
        }
        low.store(sums.extent.minimum + column);
        high.store(sums.extent.maximum + column);
        const V top_d = top * V::load(scale.rough_inverse + column);
        top_d.store(largest + column);
        larger(top_d, V::load(sums.largest + column)).store(sums.largest + column);
        total.d.store(part[0] + column);
        total.abs_d.store(part[1] + column);
        total.xd.store(part[2] + column);
        total.dd.store(part[3] + column);
        for (std::size_t k = 0; k < Products; ++k) total.products[k].store(part[4 + k] + column);
    }
    V::hand_on(part[0], scale.inverse, sums.d);
    V::hand_on(part[1], scale.inverse, sums.abs_d);
    V::hand_on(part[2], scale.inverse, sums.xd);
    V::hand_on(part[3], scale.inverse_square, sums.dd, sums.dd_square);
    for (std::size_t k = 0; k < Products; ++k) V::hand_on(part[4 + k], scale.inverse_square, earlier.sums[k]);
    sums.unequal_bits += unequal.count();
}

/// Products with the lanes that the loop above had no registers for.
template <class V>
void float_product(const float* one, const float* other, const TileScale& scale, double* sums) {
    alignas(64) float part[kColumns];
    for (std::size_t column = 0; column < kColumns; column += V::width) {
        V total = V::zero();
        for (std::size_t block = 0; block < kRows; block += kBlockRows) {
            V now = V::all(kSeed);
            for (std::size_t row = block; row < block + kBlockRows; ++row) {
                const std::size_t i = row * kColumns + column;
                now = fused(V::load(one + i), V::load(other + i), now);
            }
            total = block == 0 ? now : total + now;
        }
        total.store(part + column);
    }
    V::hand_on(part, scale.inverse_square, sums);
}

template <class V>
void float_lane(const float* x, const ScaledTile& scaled, const float* y, const TileScale& scale, FloatLaneSums& sums,
                float* errors, float* largest, const FloatEarlierLanes& earlier) {
    if (earlier.count == 0) float_lane_loop<V, 0>(x, scaled, y, scale, sums, errors, largest, earlier);
    else if (earlier.count == 1) float_lane_loop<V, 1>(x, scaled, y, scale, sums, errors, largest, earlier);
    else float_lane_loop<V, 2>(x, scaled, y, scale, sums, errors, largest, earlier);
    for (std::size_t k = kProductsAtOnce; k < earlier.count; ++k)
        float_product<V>(errors, earlier.errors[k], scale, earlier.sums[k]);
}

}  // namespace
}  // namespace gfpq
