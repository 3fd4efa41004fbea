#include "channel_sums.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "tap_histograms.hpp"

// One source, compiled for the widest registers too; the loader picks.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define GFPQ_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define GFPQ_CLONES
#endif

namespace gfpq::ort {
namespace {

constexpr std::int32_t kMagnitude = 0x7fffffff;
constexpr std::int32_t kInfinity = 0x7f800000;

std::int32_t bits_of(float value) noexcept {
    std::int32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

constexpr std::size_t kWidth = 8;

#if defined(__GNUC__)
typedef float Floats __attribute__((vector_size(4 * kWidth)));
typedef std::int32_t Words __attribute__((vector_size(4 * kWidth)));
typedef double Doubles __attribute__((vector_size(8 * kWidth)));

/// Eight elements of any alignment. A macro: as a function, it would hand a register on that not every processor has.
#define GFPQ_LOAD(Vector, name, from) \
    Vector name;                      \
    std::memcpy(&name, from, sizeof name)
#endif

/// Sums of eight channels that lie side by side, or of one whose elements go to eight partial sums in turn.
struct Sums {
    double x[kWidth] = {}, xx[kWidth] = {}, y[kWidth] = {}, yy[kWidth] = {}, dd[kWidth] = {};
    std::int32_t most_x[kWidth] = {}, most_y[kWidth] = {}, zeros_x[kWidth] = {}, zeros_y[kWidth] = {},
                 count[kWidth] = {};
};

/// Adds one pair, if both are finite: the definition.
inline void add_pair(float x, float y, std::size_t i, Sums& all) noexcept {
    const std::int32_t size_x = bits_of(x) & kMagnitude, size_y = bits_of(y) & kMagnitude;
    if (size_x >= kInfinity || size_y >= kInfinity) return;
    const double a = x, b = y, d = b - a;
    all.x[i] += a;
    all.xx[i] += a * a;
    all.y[i] += b;
    all.yy[i] += b * b;
    all.dd[i] += d * d;
    all.most_x[i] = std::max(all.most_x[i], size_x);
    all.most_y[i] = std::max(all.most_y[i], size_y);
    all.zeros_x[i] += size_x == 0 ? 1 : 0;
    all.zeros_y[i] += size_y == 0 ? 1 : 0;
    ++all.count[i];
}

/// Adds rows of eight neighbours, `step` elements apart, one pair after the other.
void add_pairs(const float* x, const float* y, std::size_t rows, std::size_t step, Sums& all) noexcept {
    for (std::size_t row = 0; row < rows; ++row, x += step, y += step)
        for (std::size_t i = 0; i < kWidth; ++i) add_pair(x[i], y[i], i, all);
}

#if defined(__GNUC__)
/// The same for rows that are all finite; false, with nothing written, where one is not.
GFPQ_CLONES bool add_finite_rows(const float* x, const float* y, std::size_t rows, std::size_t step,
                                 Sums& all) noexcept {
    Doubles sx{}, sxx{}, sy{}, syy{}, sdd{};
    Words most_x{}, most_y{}, zeros_x{}, zeros_y{};
    for (std::size_t row = 0; row < rows; ++row, x += step, y += step) {
        GFPQ_LOAD(Floats, float_x, x);
        GFPQ_LOAD(Floats, float_y, y);
        const Doubles a = __builtin_convertvector(float_x, Doubles), b = __builtin_convertvector(float_y, Doubles);
        const Doubles d = b - a;
        sx += a;
        sxx += a * a;
        sy += b;
        syy += b * b;
        sdd += d * d;
        GFPQ_LOAD(Words, size_x, x);
        GFPQ_LOAD(Words, size_y, y);
        size_x &= kMagnitude;
        size_y &= kMagnitude;
        most_x = size_x > most_x ? size_x : most_x;
        most_y = size_y > most_y ? size_y : most_y;
        zeros_x -= size_x == 0;
        zeros_y -= size_y == 0;
    }
    for (std::size_t i = 0; i < kWidth; ++i)
        if (most_x[i] >= kInfinity || most_y[i] >= kInfinity) return false;
    for (std::size_t i = 0; i < kWidth; ++i) {
        all.x[i] += sx[i];
        all.xx[i] += sxx[i];
        all.y[i] += sy[i];
        all.yy[i] += syy[i];
        all.dd[i] += sdd[i];
        all.most_x[i] = std::max<std::int32_t>(all.most_x[i], most_x[i]);
        all.most_y[i] = std::max<std::int32_t>(all.most_y[i], most_y[i]);
        all.zeros_x[i] += zeros_x[i];
        all.zeros_y[i] += zeros_y[i];
        all.count[i] += static_cast<std::int32_t>(rows);
    }
    return true;
}
#else
bool add_finite_rows(const float*, const float*, std::size_t, std::size_t, Sums&) noexcept { return false; }
#endif

void add_rows(const float* x, const float* y, std::size_t rows, std::size_t step, Sums& all) noexcept {
    if (!add_finite_rows(x, y, rows, step, all)) add_pairs(x, y, rows, step, all);
}

float float_of(std::int32_t bits) noexcept {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

void write_row(const Sums& sums, std::size_t i, double* row) noexcept {
    row[kChannelCount] += sums.count[i];
    row[kChannelX] += sums.x[i];
    row[kChannelXX] += sums.xx[i];
    row[kChannelY] += sums.y[i];
    row[kChannelYY] += sums.yy[i];
    // Both follow from the others without a loss that matters: xy is not much smaller than the larger of xx and yy,
    // or as uncertain as they make it.
    row[kChannelXY] += 0.5 * (sums.xx[i] + sums.yy[i] - sums.dd[i]);
    row[kChannelD] += sums.y[i] - sums.x[i];
    row[kChannelDD] += sums.dd[i];
    row[kChannelZerosX] += sums.zeros_x[i];
    row[kChannelZerosY] += sums.zeros_y[i];
    row[kChannelMaxX] = std::max(row[kChannelMaxX], static_cast<double>(float_of(sums.most_x[i])));
    row[kChannelMaxY] = std::max(row[kChannelMaxY], static_cast<double>(float_of(sums.most_y[i])));
}

/// One run of a block whose length is a multiple of eight.
void add_block(const float* x, const float* y, const ChannelRun& run, const Shape& shape, double* table) noexcept {
    for (std::size_t first = 0; first < shape.block && run.channel + first < shape.channels; first += kWidth) {
        Sums sums;
        add_rows(x + first, y + first, run.count, shape.block, sums);
        for (std::size_t i = 0; i < kWidth && run.channel + first + i < shape.channels; ++i)
            write_row(sums, i, table + (run.channel + first + i) * kChannelFields);
    }
}

/// One run of a plain channel.
void add_channel(const float* x, const float* y, std::size_t count, double* row) noexcept {
    const std::size_t whole = count / kWidth;
    Sums sums;
    if (whole != 0) add_rows(x, y, whole, kWidth, sums);
    for (std::size_t i = whole * kWidth; i < count; ++i) add_pair(x[i], y[i], i % kWidth, sums);
    for (std::size_t i = 0; i < kWidth; ++i) write_row(sums, i, row);
}

/// One run of a block of any other length.
void add_strided(const float* x, const float* y, const ChannelRun& run, const Shape& shape, double* table) noexcept {
    for (std::size_t i = 0; i < shape.block && run.channel + i < shape.channels; ++i) {
        Sums sums;
        for (std::size_t at = 0; at < run.count; ++at)
            add_pair(x[at * shape.block + i], y[at * shape.block + i], 0, sums);
        write_row(sums, 0, table + (run.channel + i) * kChannelFields);
    }
}

}  // namespace

void add_channel_sums(const float* x, const float* y, std::size_t begin, std::size_t end, const Shape& shape,
                      double* table) {
    over_runs(begin, end, shape, [&](const ChannelRun& run) {
        const float *one = x + run.at, *other = y + run.at;
        if (shape.block == 0) add_channel(one, other, run.count, table + run.channel * kChannelFields);
        else if (shape.block % kWidth == 0) add_block(one, other, run, shape, table);
        else add_strided(one, other, run, shape, table);
    });
}

GFPQ_CLONES float largest_difference(const float* x, const float* y, std::size_t count) noexcept {
    std::size_t at = 0;
    std::int32_t most = 0;
#if defined(__GNUC__)
    Words all{};
    for (; at + kWidth <= count; at += kWidth) {
        GFPQ_LOAD(Floats, float_x, x + at);
        GFPQ_LOAD(Floats, float_y, y + at);
        const Floats d = float_y - float_x;
        Words bits;
        std::memcpy(&bits, &d, sizeof bits);
        bits &= kMagnitude;
        bits = bits < kInfinity ? bits : Words{};
        all = bits > all ? bits : all;
    }
    for (std::size_t i = 0; i < kWidth; ++i) most = std::max<std::int32_t>(most, all[i]);
#endif
    for (; at < count; ++at) {
        const std::int32_t bits = bits_of(y[at] - x[at]) & kMagnitude;
        if (bits < kInfinity) most = std::max(most, bits);
    }
    return float_of(most);
}

/// Edges within an octave lie at 128, 152, 181 and 215 128ths, so that the upper half of a float tells its bin.
#define GFPQ_BIN(bits)                                                                                         \
    const std::int32_t exponent = ((bits) >> 23 & 255) - 127, steps = (bits) >> 16 & 127;                       \
    const std::int32_t quarter = (steps >= 24 ? 1 : 0) + (steps >= 53 ? 1 : 0) + (steps >= 87 ? 1 : 0);        \
    std::int32_t bin = (exponent + 40) * 4 + quarter;                                                          \
    bin = (bin < kBins - 1 ? bin : kBins - 1) + 1;                                                             \
    bin = bin > 0 ? bin : 0;                                                                                   \
    bin = kBins + ((bits) < 0 ? -bin : bin);                                                                   \
    bin = exponent == 128 ? 2 * kBins + 1 : bin

GFPQ_CLONES void value_bins(const float* x, std::size_t count, std::uint16_t* bins) noexcept {
    constexpr std::int32_t kBins = kValueBins;
    for (std::size_t i = 0; i < count; ++i) {
        std::int32_t bits;
        std::memcpy(&bits, x + i, sizeof bits);
        GFPQ_BIN(bits);
        bins[i] = static_cast<std::uint16_t>(bin);
    }
}

GFPQ_CLONES void error_bins(const float* x, const float* y, std::size_t count, std::uint16_t* bins) noexcept {
    constexpr std::int32_t kBins = kValueBins;
    for (std::size_t i = 0; i < count; ++i) {
        const std::int32_t bits = std::bit_cast<std::int32_t>(y[i] - x[i]);
        GFPQ_BIN(bits);
        bins[i] = static_cast<std::uint16_t>(bin);
    }
}

GFPQ_CLONES std::uint64_t digest_of(const float* data, std::size_t count) noexcept {
    constexpr std::size_t kLanes = 32;
    std::uint32_t lanes[kLanes];
    for (std::size_t i = 0; i < kLanes; ++i) lanes[i] = static_cast<std::uint32_t>(0x9e3779b9U * (i + 1));
    std::size_t at = 0;
    for (; at + kLanes <= count; at += kLanes) {
        for (std::size_t i = 0; i < kLanes; ++i) {
            std::uint32_t bits;
            std::memcpy(&bits, data + at + i, sizeof bits);
            lanes[i] = (lanes[i] << 5 | lanes[i] >> 27) + bits;
            lanes[i] ^= lanes[i] >> 11;
        }
    }
    std::uint64_t all = 0xcbf29ce484222325ULL ^ count;
    for (; at < count; ++at) {
        std::uint32_t bits;
        std::memcpy(&bits, data + at, sizeof bits);
        all = (all ^ bits) * 0x100000001b3ULL;
    }
    for (const std::uint32_t lane : lanes) {
        all = (all ^ lane) * 0x100000001b3ULL;
        all ^= all >> 29;
    }
    return all;
}

}  // namespace gfpq::ort
