#include "layout.hpp"

#include <algorithm>
#include <cstring>

#include "similarity.hpp"

namespace gfpq::ort {
namespace {

// All lanes of a piece, with what is made of them, stay in the second cache from one stage to the next.
constexpr std::size_t kShortPiece = 3 * (std::size_t{1} << 12);

}  // namespace

std::size_t Layout::plain_place(std::size_t at) const noexcept {
    if (block == 0) return at;
    const std::size_t image = at / image_size();
    at %= image_size();
    const std::size_t in_block = at % (plane * block);
    return (at / (plane * block) * block + in_block % block) * plane + in_block / block + image * channels * plane;
}

std::vector<Piece> Layout::pieces(bool summed) const {
    std::vector<Piece> all;
    const std::size_t most = block == 0 && summed ? kSimilarityChunk : kShortPiece;
    for (std::size_t image = 0; image < (block == 0 ? 1 : images); ++image) {
        const std::size_t first = image * image_size();
        const std::size_t full = block == 0 ? size : channels / block * block * plane;
        // A sample's first piece is summed in double.
        const std::size_t start = block != 0 && summed && full > kFloatPiece && all.empty() ? kFloatPiece : 0;
        if (start != 0) all.push_back({first, first + start, 0, start});
        const std::size_t longest = similarity_chunk_length(full - start, most);
        for (std::size_t at = start; at < full; at += longest) {
            const std::size_t end = std::min(full, at + longest);
            all.push_back({first + at, first + end, 0, end - at});
        }
        const std::size_t live = block == 0 ? 0 : channels % block;
        if (live == 0) continue;
        const std::size_t places = similarity_chunk_length(plane * block, most) / block;
        for (std::size_t at = 0; at < plane; at += places) {
            const std::size_t end = std::min(plane, at + places);
            all.push_back({first + full + at * block, first + full + end * block, live, (end - at) * live});
        }
    }
    return all;
}

const float* Packed::operator()(const Piece& piece, std::size_t block, const float* data, std::size_t slot) {
    if (piece.live == 0) return data;
    std::vector<float>& room = rooms_[slot];
    room.resize(piece.count);
    float* target = room.data();
    for (std::size_t at = 0; at < piece.length(); at += block, target += piece.live)
        std::memcpy(target, data + at, piece.live * sizeof(float));
    return room.data();
}

void Packed::prepare(std::size_t slots) {
    if (rooms_.size() < slots) rooms_.resize(slots);
}

}  // namespace gfpq::ort
