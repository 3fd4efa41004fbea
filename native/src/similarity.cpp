#include "similarity.hpp"

#include <cmath>
#include <limits>
#include <memory>
#include <new>

#include "kernels.hpp"
#include "pool.hpp"
#include "similarity_scalar.hpp"

namespace gfpq {
namespace {

constexpr std::size_t kChunk = kSimilarityChunk;

// Sums of y and x * y are derived from the others where the smaller energy is at least this part of the larger one: the
// rounding of the larger sums (1e-13 of them, at most) is then below 1e-9 of the smaller.
constexpr double kDerivable = 1e-8;

// Below this, waking a thread costs more than it brings.
constexpr std::size_t kParallelBytes = std::size_t{1} << 18;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

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

void start_row(double* row) noexcept {
    for (std::size_t i = 0; i < kSumFields; ++i) row[i] = 0.0;
    row[kMinX] = row[kMinY] = kInfinity;
    row[kMaxX] = row[kMaxY] = -kInfinity;
    row[kFirstNonfinite] = -1.0;
}

void clear(double* partial, std::size_t count = kPartialSums) noexcept {
    for (std::size_t i = 0; i < count; ++i) partial[i] = 0.0;
}

template <class T>
void start(Extent<T>& extent) noexcept {
    for (std::size_t i = 0; i < kPartialRange; ++i) {
        extent.minimum[i] = std::numeric_limits<T>::infinity();
        extent.maximum[i] = -std::numeric_limits<T>::infinity();
    }
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

double total(const double* partial) noexcept {
    return ((partial[0] + partial[4]) + (partial[2] + partial[6])) + ((partial[1] + partial[5]) + (partial[3] + partial[7]));
}

bool all_finite(const double* partial) noexcept { return std::isfinite(total(partial)); }

double maximum_of(double a, double b) noexcept { return a > b ? a : b; }
double minimum_of(double a, double b) noexcept { return a < b ? a : b; }

/// One element into a row of sums: the definition, and the careful way through a tile that holds infinities or NaN.
template <class T>
void add_pair(double* row, T x_element, T y_element, std::size_t index) noexcept {
    const double x = static_cast<double>(x_element);
    const double y = static_cast<double>(y_element);
    if (!same_bits(x_element, y_element)) row[kUnequalBits] += 1.0;
    const bool x_finite = std::isfinite(x);
    const bool y_finite = std::isfinite(y);
    if (!x_finite || !y_finite) {
        row[kNonfiniteX] += x_finite ? 0.0 : 1.0;
        row[kNonfiniteY] += y_finite ? 0.0 : 1.0;
        if (row[kFirstNonfinite] < 0.0) row[kFirstNonfinite] = static_cast<double>(index);
        return;
    }
    const double d = y - x;
    row[kCount] += 1.0;
    row[kSumX] += x;
    row[kSumY] += y;
    row[kSumXX] += x * x;
    row[kSumYY] += y * y;
    row[kSumXY] += x * y;
    row[kSumD] += d;
    row[kSumDD] += d * d;
    row[kSumAbsD] += std::fabs(d);
    row[kMaxAbsD] = maximum_of(row[kMaxAbsD], std::fabs(d));
    row[kMaxAbsX] = maximum_of(row[kMaxAbsX], std::fabs(x));
    row[kMaxAbsY] = maximum_of(row[kMaxAbsY], std::fabs(y));
    row[kMinX] = minimum_of(row[kMinX], x);
    row[kMaxX] = maximum_of(row[kMaxX], x);
    row[kMinY] = minimum_of(row[kMinY], y);
    row[kMaxY] = maximum_of(row[kMaxY], y);
}

template <class T>
bool pair_is_finite(T x, T y) noexcept {
    return std::isfinite(x) && std::isfinite(y);
}

template <class T>
void add_products_with_care(const T* x, const T* const* y, std::size_t lanes, std::size_t begin, std::size_t end,
                            double* products) noexcept {
    for (std::size_t index = begin; index < end; ++index) {
        for (std::size_t i = 0; i < lanes; ++i) {
            if (!pair_is_finite(x[index], y[i][index])) continue;
            const double d_i = static_cast<double>(y[i][index]) - static_cast<double>(x[index]);
            for (std::size_t j = i; j < lanes; ++j) {
                if (!pair_is_finite(x[index], y[j][index])) continue;
                products[i * lanes + j] += d_i * (static_cast<double>(y[j][index]) - static_cast<double>(x[index]));
            }
        }
    }
}

void mirror(double* products, std::size_t lanes) noexcept {
    for (std::size_t i = 0; i < lanes; ++i)
        for (std::size_t j = 0; j < i; ++j) products[i * lanes + j] = products[j * lanes + i];
}

/// One chunk of one sample.
template <class T>
class Chunk {
public:
    Chunk(const T* x, const T* const* y, std::size_t lanes, double* rows, double* products) noexcept
        : x_(x), y_(y), lanes_(lanes), rows_(rows), products_(products) {
        start(reference_[0]);
        for (std::size_t k = 0; k < lanes; ++k) {
            start(lane_[0][k]);
            start_row(rows + k * kSumFields);
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
            start_row(row);
            row[kCount] = static_cast<double>(counted_);
            row[kSumX] = total(x.x);
            row[kSumXX] = total(x.xx);
            row[kSumYY] = total(lane.yy);
            row[kSumD] = total(lane.d);
            row[kSumDD] = total(lane.dd);
            row[kSumAbsD] = total(lane.abs_d);
            for (double size : lane.max_abs_d) row[kMaxAbsD] = maximum_of(row[kMaxAbsD], size);
            range(x.extent, row[kMinX], row[kMaxX], row[kMaxAbsX]);
            range(lane.extent, row[kMinY], row[kMaxY], row[kMaxAbsY]);
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

    void range(const Extent<T>& extent, double& low, double& high, double& size) const noexcept {
        if (counted_ == 0) return;
        for (std::size_t i = 0; i < kPartialRange; ++i) {
            low = minimum_of(low, static_cast<double>(extent.minimum[i]));
            high = maximum_of(high, static_cast<double>(extent.maximum[i]));
        }
        size = maximum_of(std::fabs(low), std::fabs(high));
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
    bool careful_[kChunk / kTile];
    ReferenceSums<T> reference_[2];
    LaneSums<T> lane_[2][kMostLanes];
    alignas(64) double x_double_[kTile];
    alignas(64) double errors_[kMostLanes][kTile];
    alignas(64) double pair_[2][kMostLanes * (kMostLanes - 1) / 2][kPartialProducts];
    const double* error_pointers_[kMostLanes];
};

}  // namespace

void merge_sums(double* row, const double* other, std::size_t offset) noexcept {
    for (const std::size_t field : {kCount, kSumX, kSumY, kSumXX, kSumYY, kSumXY, kSumD, kSumDD, kSumAbsD, kNonfiniteX,
                                    kNonfiniteY, kUnequalBits})
        row[field] += other[field];
    for (const std::size_t field : {kMaxAbsD, kMaxAbsX, kMaxAbsY, kMaxX, kMaxY})
        row[field] = maximum_of(row[field], other[field]);
    for (const std::size_t field : {kMinX, kMinY}) row[field] = minimum_of(row[field], other[field]);
    if (row[kFirstNonfinite] < 0.0 && other[kFirstNonfinite] >= 0.0)
        row[kFirstNonfinite] = other[kFirstNonfinite] + static_cast<double>(offset);
}

void start_sums(double* row) noexcept { start_row(row); }

template <class T>
void similarity_chunk(const T* reference, const T* const* lanes, std::size_t lane_count, std::size_t count,
                      double* rows, double* products) noexcept {
    Chunk<T>(reference, lanes, lane_count, rows, products).run(0, count);
}

template void similarity_chunk(const float*, const float* const*, std::size_t, std::size_t, double*, double*) noexcept;
template void similarity_chunk(const double*, const double* const*, std::size_t, std::size_t, double*, double*) noexcept;

template <class T>
void similarity_reference(const T* reference, const T* const* lanes, std::size_t lane_count, std::size_t samples,
                          std::size_t size, double* sums, double* products) noexcept {
    for (std::size_t sample = 0; sample < samples; ++sample) {
        const std::size_t begin = sample * size;
        double* rows = sums + sample * lane_count * kSumFields;
        double* square = products + sample * lane_count * lane_count;
        for (std::size_t i = 0; i < lane_count * lane_count; ++i) square[i] = 0.0;
        for (std::size_t k = 0; k < lane_count; ++k) {
            start_row(rows + k * kSumFields);
            for (std::size_t i = 0; i < size; ++i)
                add_pair(rows + k * kSumFields, reference[begin + i], lanes[k][begin + i], i);
        }
        add_products_with_care(reference, lanes, lane_count, begin, begin + size, square);
        mirror(square, lane_count);
    }
}

template <class T>
bool similarity(const T* reference, const T* const* lanes, std::size_t lane_count, std::size_t samples,
                std::size_t size, double* sums, double* products) noexcept {
    const std::size_t chunks = size == 0 ? 1 : (size + kChunk - 1) / kChunk;
    const std::size_t square = lane_count * lane_count;
    const std::size_t width = lane_count * kSumFields + square;
    const std::unique_ptr<double[]> partial(new (std::nothrow) double[samples * chunks * width]);
    if (partial == nullptr) return samples == 0;

    auto task = [&](std::size_t index) {
        const std::size_t sample = index / chunks;
        const std::size_t begin = index % chunks * kChunk;
        const std::size_t end = size - begin < kChunk ? size : begin + kChunk;
        double* rows = partial.get() + index * width;
        const T* shifted[kMostLanes];
        for (std::size_t k = 0; k < lane_count; ++k) shifted[k] = lanes[k] + sample * size;
        Chunk<T> chunk(reference + sample * size, shifted, lane_count, rows, rows + lane_count * kSumFields);
        chunk.run(begin, end);
    };
    if (samples * size * sizeof(T) < kParallelBytes) {
        for (std::size_t index = 0; index < samples * chunks; ++index) task(index);
    } else {
        parallel(samples * chunks, task);
    }

    for (std::size_t sample = 0; sample < samples; ++sample) {
        double* rows = sums + sample * lane_count * kSumFields;
        double* table = products + sample * square;
        for (std::size_t k = 0; k < lane_count; ++k) start_row(rows + k * kSumFields);
        for (std::size_t i = 0; i < square; ++i) table[i] = 0.0;
        for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
            const double* part = partial.get() + (sample * chunks + chunk) * width;
            for (std::size_t k = 0; k < lane_count; ++k)
                merge_sums(rows + k * kSumFields, part + k * kSumFields, chunk * kChunk);
            for (std::size_t i = 0; i < square; ++i) table[i] += part[lane_count * kSumFields + i];
        }
        mirror(table, lane_count);
    }
    return true;
}

template bool similarity(const float*, const float* const*, std::size_t, std::size_t, std::size_t, double*, double*) noexcept;
template bool similarity(const double*, const double* const*, std::size_t, std::size_t, std::size_t, double*, double*) noexcept;
template void similarity_reference(const float*, const float* const*, std::size_t, std::size_t, std::size_t, double*, double*) noexcept;
template void similarity_reference(const double*, const double* const*, std::size_t, std::size_t, std::size_t, double*, double*) noexcept;

}  // namespace gfpq
