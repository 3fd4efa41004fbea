#include <initializer_list>

#include "kernels.hpp"
#include "similarity_rows.hpp"

namespace gfpq {
namespace {

// Sums of y and x * y are derived from the others where the smaller energy is at least this part of the larger one: the
// rounding of the larger sums (1e-13 of them, at most) is then below 1e-9 of the smaller.
constexpr double kDerivable = 1e-8;

template <class T>
const TileKernels<T>& tile_kernels() noexcept;
template <>
const TileKernels<float>& tile_kernels() noexcept {
    const Kernels* table = kernels();
    return (table != nullptr ? *table : kBaselineKernels).tile_float;
}
template <>
const TileKernels<double>& tile_kernels() noexcept {
    const Kernels* table = kernels();
    return (table != nullptr ? *table : kBaselineKernels).tile_double;
}

void clear(double* partial, std::size_t count = kPartialSums) noexcept {
    for (std::size_t i = 0; i < count; ++i) partial[i] = 0.0;
}

template <class T>
void start(ReferenceSums<T>& sums) noexcept {
    clear(sums.x);
    clear(sums.xx);
    start(sums.extent);
}

template <class T>
void start(LaneSums<T>& sums) noexcept {
    for (double* partial : {sums.yy, sums.d, sums.dd, sums.abs_d, sums.max_abs_d}) clear(partial);
    sums.unequal_bits = 0;
    start(sums.extent);
}

bool all_finite(const double* partial) noexcept { return std::isfinite(total(partial)); }

/// One chunk of one sample.
template <class T>
class Chunk {
public:
    Chunk(const T* x, const T* const* y, std::size_t lanes, double* rows, double* products) noexcept
        : x_(x), y_(y), lanes_(lanes), rows_(rows), products_(products) {
        start(reference_[0]);
        for (std::size_t k = 0; k < lanes; ++k) {
            start(lane_[0][k]);
            start_sums(rows + k * kSumFields);
        }
        for (std::size_t i = 0; i < lanes * lanes; ++i) products[i] = 0.0;
        for (std::size_t pair = 0; pair < lanes * (lanes - 1) / 2; ++pair) clear(pair_[0][pair], kPartialProducts);
        for (std::size_t k = 0; k < lanes; ++k) error_pointers_[k] = errors_[k];
    }

    void run(std::size_t begin, std::size_t end) noexcept {
        begin_ = begin;
        for (std::size_t at = begin; at < end; at += kTile) {
            const std::size_t count = end - at < kTile ? end - at : kTile;
            const bool fast = fast_tile(at, count);
            if (!fast) careful_tile(at, at + count);
            careful_[(at - begin) / kTile] = !fast;
        }
        finish(begin, end);
    }

private:
    /// Number of the pair of lane i and a later lane j.
    static std::size_t pair_number(std::size_t i, std::size_t j) noexcept { return j * (j - 1) / 2 + i; }

    bool fast_tile(std::size_t at, std::size_t count) noexcept {
        const TileKernels<T>& kernel = kernels_;
        const std::size_t now = current_;
        const std::size_t next = 1 - now;
        kernel.reference(x_ + at, count, reference_[now], reference_[next], x_double_);
        if (!all_finite(reference_[next].xx)) return false;
        for (std::size_t k = 0; k < lanes_; ++k) {
            LaneSums<T>& after = lane_[next][k];
            const double* pairs_before[kMostLanes];
            double* pairs_after[kMostLanes];
            for (std::size_t i = 0; i < k; ++i) {
                pairs_before[i] = pair_[now][pair_number(i, k)];
                pairs_after[i] = pair_[next][pair_number(i, k)];
            }
            kernel.lane(x_ + at, x_double_, y_[k] + at, count, lane_[now][k], after, errors_[k],
                        {k, error_pointers_, pairs_before, pairs_after});
            if (!all_finite(after.yy)) return false;
        }
        current_ = next;
        counted_ += count;
        return true;
    }

    void careful_tile(std::size_t begin, std::size_t end) noexcept {
        for (std::size_t k = 0; k < lanes_; ++k)
            for (std::size_t i = begin; i < end; ++i)
                add_pair(rows_ + k * kSumFields, x_[i], y_[k][i], i - begin_);
        add_products_with_care(x_, y_, lanes_, begin, end, products_);
    }

    /// Adds the fast tiles' sums to the careful tiles' rows.
    void finish(std::size_t begin, std::size_t end) noexcept {
        const ReferenceSums<T>& x = reference_[current_];
        double row[kSumFields];
        for (std::size_t k = 0; k < lanes_; ++k) {
            const LaneSums<T>& lane = lane_[current_][k];
            start_sums(row);
            row[kCount] = static_cast<double>(counted_);
            row[kSumX] = total(x.x);
            row[kSumXX] = total(x.xx);
            row[kSumYY] = total(lane.yy);
            row[kSumD] = total(lane.d);
            row[kSumDD] = total(lane.dd);
            row[kSumAbsD] = total(lane.abs_d);
            for (double size : lane.max_abs_d) row[kMaxAbsD] = maximum_of(row[kMaxAbsD], size);
            if (counted_ != 0) {
                range_of(x.extent, row[kMinX], row[kMaxX], row[kMaxAbsX]);
                range_of(lane.extent, row[kMinY], row[kMaxY], row[kMaxAbsY]);
            }
            row[kUnequalBits] = static_cast<double>(lane.unequal_bits);
            derive(row, y_[k], begin, end);
            merge_sums(rows_ + k * kSumFields, row, 0);
            products_[k * lanes_ + k] += row[kSumDD];
        }
        for (std::size_t i = 0; i < lanes_; ++i)
            for (std::size_t j = i + 1; j < lanes_; ++j) {
                const double* partial = pair_[current_][pair_number(i, j)];
                double sum = 0.0;
                for (std::size_t at = 0; at < kPartialProducts; at += kPartialSums) sum += total(partial + at);
                products_[i * lanes_ + j] += sum;
            }
    }

    /// y = x + d, and (x - y)^2 = x^2 + y^2 - 2 x y. Both hold for the sums as well; only where one side is far smaller
    /// than the other would the difference of large sums lose the small one, so there the two are summed themselves.
    void derive(double* row, const T* y, std::size_t begin, std::size_t end) noexcept {
        row[kSumY] = row[kSumX] + row[kSumD];
        row[kSumXY] = 0.5 * ((row[kSumXX] + row[kSumYY]) - row[kSumDD]);
        const double smaller = minimum_of(row[kSumXX], row[kSumYY]);
        const double larger = maximum_of(row[kSumXX], row[kSumYY]);
        if (smaller >= kDerivable * larger) return;
        double sum_y[kPartialSums] = {};
        double sum_xy[kPartialSums] = {};
        for (std::size_t i = begin; i < end; ++i) {
            if (careful_[(i - begin) / kTile]) continue;
            const double value = static_cast<double>(y[i]);
            sum_y[i % kPartialSums] += value;
            sum_xy[i % kPartialSums] += static_cast<double>(x_[i]) * value;
        }
        row[kSumY] = total(sum_y);
        row[kSumXY] = total(sum_xy);
    }

    const T* x_;
    const T* const* y_;
    std::size_t lanes_;
    double* rows_;
    double* products_;
    const TileKernels<T>& kernels_ = tile_kernels<T>();
    std::size_t begin_ = 0;
    std::size_t counted_ = 0;
    std::size_t current_ = 0;  // which of the two copies of the running sums holds
    bool careful_[kSimilarityChunk / kTile];
    ReferenceSums<T> reference_[2];
    LaneSums<T> lane_[2][kMostLanes];
    alignas(64) double x_double_[kTile];
    alignas(64) double errors_[kMostLanes][kTile];
    alignas(64) double pair_[2][kMostLanes * (kMostLanes - 1) / 2][kPartialProducts];
    const double* error_pointers_[kMostLanes];
};

}  // namespace

template <class T>
void exact_chunk(const T* x, const T* const* y, std::size_t lanes, std::size_t begin, std::size_t end, double* rows,
                 double* products) noexcept {
    Chunk<T>(x, y, lanes, rows, products).run(begin, end);
}

template void exact_chunk(const float*, const float* const*, std::size_t, std::size_t, std::size_t, double*, double*) noexcept;
template void exact_chunk(const double*, const double* const*, std::size_t, std::size_t, std::size_t, double*, double*) noexcept;

}  // namespace gfpq
