#include "similarity.hpp"

#include <memory>
#include <new>

#include "kernels.hpp"
#include "pool.hpp"
#include "similarity_rows.hpp"

namespace gfpq {
namespace {

// Below this, waking a thread costs more than it brings.
constexpr std::size_t kParallelBytes = std::size_t{1} << 18;

void mirror(double* products, std::size_t lanes) noexcept {
    for (std::size_t i = 0; i < lanes; ++i)
        for (std::size_t j = 0; j < i; ++j) products[i * lanes + j] = products[j * lanes + i];
}

void sum_chunk(const double* x, const double* const* y, std::size_t lanes, std::size_t begin, std::size_t end,
               double* rows, double* products, RunningSums*) noexcept {
    exact_chunk(x, y, lanes, begin, end, rows, products);
}

bool sums_in_float(std::size_t count, std::size_t lanes, const RunningSums* running) noexcept {
    const Kernels* table = kernels();
    const std::size_t least = running == nullptr || running->tiles == 0 ? kFloatChunk : kFloatPiece;
    if (running != nullptr)
        for (std::size_t k = 0; k < lanes; ++k)
            if (running->xx[k] < running->least_xx[k] || running->dd[k] < running->least_dd[k]) return false;
    return count >= least && table != nullptr && table->sums_in_float;
}

void add_energies(const double* rows, std::size_t lanes, std::size_t tiles, RunningSums& running) noexcept {
    for (std::size_t k = 0; k < lanes; ++k, rows += kSumFields) {
        running.xx[k] += rows[kSumXX];
        running.yy[k] += rows[kSumYY];
        running.dd[k] += rows[kSumDD];
        running.max_abs_d[k] = maximum_of(running.max_abs_d[k], rows[kMaxAbsD]);
    }
    running.tiles += tiles;
}

/// Whole tiles in float where there are enough of them, the rest in double.
void sum_chunk(const float* x, const float* const* y, std::size_t lanes, std::size_t begin, std::size_t end,
               double* rows, double* products, RunningSums* running) noexcept {
    const std::size_t whole = begin + (end - begin) / kTile * kTile;
    const bool in_float = sums_in_float(end - begin, lanes, running) &&
                          float_chunk(x, y, lanes, begin, whole, rows, products, running);
    if (!in_float) exact_chunk(x, y, lanes, begin, end, rows, products);
    if (running != nullptr) add_energies(rows, lanes, (end - begin + kTile - 1) / kTile, *running);
    if (!in_float || whole == end) return;
    double rest[kMostLanes * kSumFields];
    double rest_products[kMostLanes * kMostLanes];
    exact_chunk(x, y, lanes, whole, end, rest, rest_products);
    for (std::size_t k = 0; k < lanes; ++k) merge_sums(rows + k * kSumFields, rest + k * kSumFields, whole - begin);
    for (std::size_t i = 0; i < lanes * lanes; ++i) products[i] += rest_products[i];
}

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

void start_sums(double* row) noexcept {
    for (std::size_t i = 0; i < kSumFields; ++i) row[i] = 0.0;
    row[kMinX] = row[kMinY] = std::numeric_limits<double>::infinity();
    row[kMaxX] = row[kMaxY] = -std::numeric_limits<double>::infinity();
    row[kFirstNonfinite] = -1.0;
}

template <class T>
void similarity_chunk(const T* reference, const T* const* lanes, std::size_t lane_count, std::size_t count,
                      double* rows, double* products, RunningSums* running) noexcept {
    sum_chunk(reference, lanes, lane_count, 0, count, rows, products, running);
}

template void similarity_chunk(const float*, const float* const*, std::size_t, std::size_t, double*, double*,
                               RunningSums*) noexcept;
template void similarity_chunk(const double*, const double* const*, std::size_t, std::size_t, double*, double*,
                               RunningSums*) noexcept;

template <class T>
void similarity_reference(const T* reference, const T* const* lanes, std::size_t lane_count, std::size_t samples,
                          std::size_t size, double* sums, double* products) noexcept {
    for (std::size_t sample = 0; sample < samples; ++sample) {
        const std::size_t begin = sample * size;
        double* rows = sums + sample * lane_count * kSumFields;
        double* square = products + sample * lane_count * lane_count;
        for (std::size_t i = 0; i < lane_count * lane_count; ++i) square[i] = 0.0;
        for (std::size_t k = 0; k < lane_count; ++k) {
            start_sums(rows + k * kSumFields);
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
    const std::size_t length = similarity_chunk_length(size);
    const std::size_t chunks = size == 0 ? 1 : (size + length - 1) / length;
    const std::size_t square = lane_count * lane_count;
    const std::size_t width = lane_count * kSumFields + square;
    const std::unique_ptr<double[]> partial(new (std::nothrow) double[samples * chunks * width]);
    if (partial == nullptr) return samples == 0;

    auto task = [&](std::size_t index) {
        const std::size_t sample = index / chunks;
        const std::size_t begin = index % chunks * length;
        const std::size_t end = size - begin < length ? size : begin + length;
        double* rows = partial.get() + index * width;
        const T* shifted[kMostLanes];
        for (std::size_t k = 0; k < lane_count; ++k) shifted[k] = lanes[k] + sample * size;
        sum_chunk(reference + sample * size, shifted, lane_count, begin, end, rows, rows + lane_count * kSumFields,
                  nullptr);
    };
    if (samples * size * sizeof(T) < kParallelBytes) {
        for (std::size_t index = 0; index < samples * chunks; ++index) task(index);
    } else {
        parallel(samples * chunks, task);
    }

    for (std::size_t sample = 0; sample < samples; ++sample) {
        double* rows = sums + sample * lane_count * kSumFields;
        double* table = products + sample * square;
        for (std::size_t k = 0; k < lane_count; ++k) start_sums(rows + k * kSumFields);
        for (std::size_t i = 0; i < square; ++i) table[i] = 0.0;
        for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
            const double* part = partial.get() + (sample * chunks + chunk) * width;
            for (std::size_t k = 0; k < lane_count; ++k)
                merge_sums(rows + k * kSumFields, part + k * kSumFields, chunk * length);
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
