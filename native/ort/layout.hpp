// How the tensors of a tap lie in memory, and the pieces in which a tap walks through them.
#pragma once

#include <cstddef>
#include <vector>

namespace gfpq::ort {

/// Part of one sample: elements `begin` ... `end` of the memory. Where `live` is not 0, only the first `live` of every
/// `block` elements are channels, the rest is padding.
struct Piece {
    std::size_t begin;
    std::size_t end;
    std::size_t live;
    std::size_t count;  ///< elements that are no padding

    std::size_t length() const noexcept { return end - begin; }
};

/// How one sample lies in memory: plain, or channels in blocks of `block` with the last one padded.
struct Layout {
    std::size_t size = 0;    ///< elements of a sample, with padding
    std::size_t images = 1;  ///< a sample may be a batch by itself
    std::size_t block = 0;   ///< 0 where the layout is plain
    std::size_t channels = 0;
    std::size_t plane = 0;  ///< elements of one channel

    std::size_t logical_size() const noexcept { return block == 0 ? size : images * channels * plane; }
    std::size_t image_size() const noexcept { return images == 0 ? 0 : size / images; }

    /// Place in the plain layout.
    std::size_t plain_place(std::size_t at) const noexcept;

    /// All of a sample, in order. A plain one that is `summed` goes in the chunks that define the sums of similarity; a
    /// blocked one is summed in another order anyway, so its pieces are shorter, as the caches like.
    std::vector<Piece> pieces(bool summed) const;
};

/// Room for the elements of a piece that are no padding.
class Packed {
public:
    /// The elements of a piece that starts at `data`, one after the other; a room for each slot.
    const float* operator()(const Piece& piece, std::size_t block, const float* data, std::size_t slot);
    void prepare(std::size_t slots);

private:
    std::vector<std::vector<float>> rooms_;
};

}  // namespace gfpq::ort
