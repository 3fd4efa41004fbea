#include <array>
#include <bit>
#include <cstdint>

#include "kernels.hpp"
#include "similarity_rows.hpp"

namespace gfpq {
namespace {

constexpr std::size_t kTiles = kSimilarityChunk / kTile;

// ------------------------------------------------------------------------------------------------------------ scales

constexpr std::uint64_t mixed(std::uint64_t seed) {
    std::uint64_t z = (seed + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/// To the nearest multiple of 2^-29. What that changes in the sums averages out over the columns to below 2e-11.
constexpr double to_29_bits(double value) {
    return static_cast<double>(static_cast<std::int64_t>(value * 0x1p29 + 0.5)) * 0x1p-29;
}

constexpr std::array<TileScale, kTiles> make_scales() {
    std::array<TileScale, kTiles> scales{};
    for (std::size_t tile = 0; tile < kTiles; ++tile)
        for (std::size_t column = 0; column < kColumns; ++column) {
            const auto fraction = static_cast<std::uint32_t>(mixed(tile * kColumns + column) >> 41);
            const float scale = std::bit_cast<float>(0x3F800000u | fraction);
            scales[tile].scale[column] = scale;
            scales[tile].rough_inverse[column] = 1.0f / scale;
            scales[tile].inverse[column] = to_29_bits(1.0 / scale);
            scales[tile].inverse_square[column] = to_29_bits(1.0 / (static_cast<double>(scale) * scale));
        }
    return scales;
}

/// Every tile of a chunk has scales of its own: tiles with the same content are rounded differently.
constexpr std::array<TileScale, kTiles> kScales = make_scales();

// ------------------------------------------------------------------------------------------------------------ bounds

// The sum of a column of a tile is off by 4e-8 of its terms (RMS: some 2.5e-8 for each of 40 roundings of growing sums).
// These errors are independent, so that a sum S of columns c is off by 4e-8 * sqrt(sum c^2) / S; this keeps it below 2e-9,
// and 1e-8 is more than five standard deviations away.
constexpr double kLargestShare = 1.0 / 529.0;  // of sum c^2 in S^2

// A piece of a sample may have fewer columns, since those of all pieces count. This is for the sums that no squares are
// kept of (d, |d|): their columns are less uneven than those of d * d, unless a piece is all of one column.
constexpr double kLargestShareOfPiece = 1.0 / 9.0;

// Below this part of the energy, the variance (or what a gain and an offset leave of the error) loses digits that the
// scores made of it should have.
constexpr double kLeastVariance = 1e-3;

// Smaller sums of squares feel kSeed and denormal products: 2^13 seeds are 2^-36 of this.
constexpr double kLeastSquares = 0x1p-75;

/// What the kernels say of the size of errors is that much off, at most.
constexpr float kRoughly = 1.0f - 0x1p-20f;
constexpr double kRoughlyAtMost = 1.0 + 0x1p-19;

const FloatTileKernels& float_kernels() noexcept {
    const Kernels* table = kernels();
    return (table != nullptr ? *table : kBaselineKernels).float_tile;
}

class FloatChunk {
public:
    FloatChunk(const float* x, const float* const* y, std::size_t lanes, std::size_t begin, std::size_t end,
               RunningSums* running) noexcept
        : x_(x), y_(y), lanes_(lanes), begin_(begin), tiles_((end - begin) / kTile), running_(running) {
        reference_ = {};
        start(reference_.extent);
        for (std::size_t k = 0; k < lanes; ++k) {
            lane_[k] = {};
            start(lane_[k].extent);
            errors_of_[k] = errors_[k];
        }
        for (std::size_t pair = 0; pair < lanes * (lanes - 1) / 2; ++pair)
            for (double& sum : pair_[pair]) sum = 0.0;
    }

    bool run(double* rows, double* products) noexcept {
        const FloatTileKernels& kernel = float_kernels();
        for (std::size_t tile = 0; tile < tiles_; ++tile) {
            const std::size_t at = begin_ + tile * kTile;
            const TileScale& scale = kScales[(tile + (running_ == nullptr ? 0 : running_->tiles)) % kTiles];
            kernel.reference(x_ + at, scale, reference_, scaled_);
            for (std::size_t k = 0; k < lanes_; ++k) {
                double* pairs[kMostLanes];
                for (std::size_t i = 0; i < k; ++i) pairs[i] = pair_[pair_number(i, k)];
                kernel.lane(x_ + at, scaled_, y_[k] + at, scale, lane_[k], errors_[k], largest_[k][tile],
                            {k, errors_of_, pairs});
            }
        }
        for (std::size_t k = 0; k < lanes_; ++k)
            if (!finish_lane(k, rows + k * kSumFields)) return false;
        finish_products(rows, products);
        if (running_ != nullptr) keep_squares();
        return true;
    }

private:
    /// Number of the pair of lane i and a later lane j.
    static std::size_t pair_number(std::size_t i, std::size_t j) noexcept { return j * (j - 1) / 2 + i; }

    bool finish_lane(std::size_t k, double* row) noexcept {
        const FloatLaneSums& lane = lane_[k];
        start_sums(row);
        row[kCount] = static_cast<double>(tiles_ * kTile);
        range_of(reference_.extent, row[kMinX], row[kMaxX], row[kMaxAbsX]);
        range_of(lane.extent, row[kMinY], row[kMaxY], row[kMaxAbsY]);
        row[kMaxAbsD] = largest_error(k);
        row[kUnequalBits] = static_cast<double>(lane.unequal_bits);
        row[kSumX] = total(reference_.x);
        row[kSumXX] = row[kMaxAbsX] == 0.0 ? 0.0 : total(reference_.xx);
        row[kSumXY] = row[kSumYY] = row[kSumXX];
        row[kSumY] = row[kSumX];
        // The check of x alone comes in here too, even for a lane that is the same.
        double xd = 0.0, dd_square = 0.0;
        if (row[kMaxAbsD] != 0.0) {
            xd = row[kMaxAbsX] == 0.0 ? 0.0 : total(lane.xd);
            dd_square = total(lane.dd_square);
            row[kSumD] = total(lane.d);
            row[kSumAbsD] = total(lane.abs_d);
            row[kSumDD] = total(lane.dd);
            row[kSumY] += row[kSumD];
            row[kSumXY] += xd;
            row[kSumYY] = (row[kSumXX] + row[kSumDD]) + 2.0 * xd;
        }
        return is_precise(k, row, xd, dd_square) && keeps_variances(row, xd);
    }

    /// Whether every sum is made of enough columns, which are neither infinite nor tiny.
    bool is_precise(std::size_t k, const double* row, double xd, double dd_square) noexcept {
        double xx = row[kSumXX], dd = row[kSumDD], yy = row[kSumYY];
        if (!std::isfinite(xx) || !std::isfinite(dd) || !std::isfinite(xd)) return false;
        if ((row[kMaxAbsX] != 0.0 && xx < kLeastSquares) || (row[kMaxAbsD] != 0.0 && dd < kLeastSquares)) return false;
        double xx_square = xx == 0.0 ? 0.0 : total(reference_.xx_square);
        // x * y and y * y are sums of x * x, x * d and d * d: so are the squares of their errors.
        double xd_square = std::sqrt(xx_square * dd_square);
        if (running_ != nullptr) {
            if (xx_square > kLargestShareOfPiece * xx * xx || dd_square > kLargestShareOfPiece * dd * dd) return false;
            squares_[k] = {xx_square, xd_square, dd_square};
            xx += running_->xx[k];
            yy += running_->yy[k];
            dd += running_->dd[k];
            xx_square += running_->xx_square[k];
            xd_square += running_->xd_square[k];
            dd_square += running_->dd_square[k];
        }
        if (xx_square <= kLargestShare * xx * xx && dd_square <= kLargestShare * dd * dd &&
            xx_square + xd_square <= kLargestShare * xx * yy &&
            xx_square + 4.0 * xd_square + dd_square <= kLargestShare * yy * yy)
            return true;
        if (running_ != nullptr) {
            running_->least_xx[k] = std::sqrt(xx_square / kLargestShare) - row[kSumXX];
            running_->least_dd[k] = std::sqrt(dd_square / kLargestShare) - row[kSumDD];
        }
        return false;
    }

    void keep_squares() const noexcept {
        for (std::size_t k = 0; k < lanes_; ++k) {
            running_->xx_square[k] += squares_[k].xx;
            running_->xd_square[k] += squares_[k].xd;
            running_->dd_square[k] += squares_[k].dd;
        }
    }

    /// Whether the variance of x, and what is left of d without a gain and an offset, are no small differences.
    static bool keeps_variances(const double* row, double xd) noexcept {
        const double n = row[kCount];
        const double variance_x = row[kSumXX] - row[kSumX] * row[kSumX] / n;
        if (variance_x < kLeastVariance * row[kSumXX]) return false;
        if (row[kSumDD] == 0.0) return true;
        double rest = row[kSumDD] - row[kSumD] * row[kSumD] / n;
        const double covariance = xd - row[kSumX] * row[kSumD] / n;
        if (variance_x > 0.0) rest -= covariance * covariance / variance_x;
        return rest >= kLeastVariance * row[kSumDD];
    }

    /// The kernels know the errors' size to float precision only. Where the largest may be, they are made again in double.
    double largest_error(std::size_t k) const noexcept {
        float bound = 0.0f;
        for (const float size : lane_[k].largest) bound = size > bound ? size : bound;
        if (bound == 0.0f) return 0.0;
        // Where an earlier piece has a larger one, it need not be known how large exactly.
        if (running_ != nullptr && static_cast<double>(bound) * kRoughlyAtMost < running_->max_abs_d[k]) return bound;
        bound *= kRoughly;
        double found = 0.0;
        for (std::size_t tile = 0; tile < tiles_; ++tile) {
            const float* sizes = largest_[k][tile];
            unsigned reached = 0;
            for (std::size_t column = 0; column < kColumns; ++column) reached |= sizes[column] >= bound ? 1u : 0u;
            if (reached == 0) continue;
            for (std::size_t column = 0; column < kColumns; ++column)
                if (sizes[column] >= bound)
                    found = maximum_of(found, largest_in(k, begin_ + tile * kTile + column));
        }
        return found;
    }

    double largest_in(std::size_t k, std::size_t first) const noexcept {
        double found = 0.0;
        for (std::size_t i = first; i < first + kTile; i += kColumns)
            found = maximum_of(found, std::fabs(static_cast<double>(y_[k][i]) - static_cast<double>(x_[i])));
        return found;
    }

    void finish_products(const double* rows, double* products) const noexcept {
        for (std::size_t i = 0; i < lanes_ * lanes_; ++i) products[i] = 0.0;
        for (std::size_t i = 0; i < lanes_; ++i) {
            products[i * lanes_ + i] = rows[i * kSumFields + kSumDD];
            for (std::size_t j = i + 1; j < lanes_; ++j) {
                const bool zero = products[i * lanes_ + i] == 0.0 || rows[j * kSumFields + kSumDD] == 0.0;
                products[i * lanes_ + j] = zero ? 0.0 : total(pair_[pair_number(i, j)]);
            }
        }
    }

    const float* x_;
    const float* const* y_;
    std::size_t lanes_;
    std::size_t begin_;
    std::size_t tiles_;
    RunningSums* running_;
    struct Squares {
        double xx, xd, dd;
    } squares_[kMostLanes];
    FloatReferenceSums reference_;
    FloatLaneSums lane_[kMostLanes];
    alignas(64) double pair_[kMostLanes * (kMostLanes - 1) / 2][kPartialSums];
    ScaledTile scaled_;
    alignas(64) float errors_[kMostLanes][kTile];
    alignas(64) float largest_[kMostLanes][kTiles][kColumns];
    const float* errors_of_[kMostLanes];
};

}  // namespace

bool float_chunk(const float* x, const float* const* y, std::size_t lanes, std::size_t begin, std::size_t end, double* rows,
                 double* products, RunningSums* running) noexcept {
    return FloatChunk(x, y, lanes, begin, end, running).run(rows, products);
}

}  // namespace gfpq
