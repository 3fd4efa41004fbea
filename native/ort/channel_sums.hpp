// Sums of two tensors for each channel, and other reads of whole tensors, in loops that a compiler makes vectors of.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tap_histograms.hpp"

namespace gfpq::ort {

/// Elements of one channel, or of the channels of one block, that follow each other in memory.
struct ChannelRun {
    std::size_t image;
    std::size_t channel;   ///< the first
    std::size_t position;  ///< the first
    std::size_t count;     ///< positions
    std::size_t at;        ///< where it begins, counted from the piece's first element
};

/// Cuts elements `begin` ... `end` of a sample into runs.
template <class Body>
void over_runs(std::size_t begin, std::size_t end, const Shape& shape, Body&& body) {
    const std::size_t step = shape.block == 0 ? 1 : shape.block;
    const std::size_t groups = (shape.channels + step - 1) / step;
    const std::size_t length = shape.plane * step;
    for (std::size_t at = begin; at < end;) {
        const std::size_t group = at / length, stop = (group + 1) * length < end ? (group + 1) * length : end;
        const std::size_t position = at % length / step;
        body(ChannelRun{group / groups, group % groups * step, position, (stop - at) / step, at - begin});
        at = stop;
    }
}

/// Adds elements `begin` ... `end` of a sample to a table [channels, kChannelFields], pairs of finite elements only.
/// Blocked pieces begin and end with whole blocks.
void add_channel_sums(const float* x, const float* y, std::size_t begin, std::size_t end, const Shape& shape,
                      double* table);

/// Largest finite |y - x|.
float largest_difference(const float* x, const float* y, std::size_t count) noexcept;

/// The bin of each value, and of each error y - x, of Python's `histograms.count`; kValueCounts for what is not finite.
void value_bins(const float* x, std::size_t count, std::uint16_t* bins) noexcept;
void error_bins(const float* x, const float* y, std::size_t count, std::uint16_t* bins) noexcept;

/// Equal for equal tensors, and hardly ever for others.
std::uint64_t digest_of(const float* data, std::size_t count) noexcept;

}  // namespace gfpq::ort
