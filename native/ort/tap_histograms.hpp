// Evidence that a tap takes of whole tensors besides their scores: sums a channel, histograms of values, errors and codes,
// the worst elements. Taken before anything is overwritten, and only in batches that bring room for it.
//
// Sums a channel are of all elements. Histograms are of sampled tiles: a channel's elements are cut into tiles of
// kTilePositions, and of every `stride` tiles one is looked at, each time the next one, so that no column of an image is
// always left out; channels of fewer than `stride` tiles are looked at whole. The choice goes by places in the plain
// layout, so that it is the same in every layout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "codec.hpp"

namespace gfpq::ort {

inline constexpr std::size_t kTilePositions = 16;

/// Columns of a table of channels, as in Python's `channels.FIELDS`; x is the reference, y the other, d = y - x.
enum ChannelField : std::size_t {
    kChannelCount, kChannelX, kChannelXX, kChannelY, kChannelYY, kChannelXY, kChannelD, kChannelDD, kChannelZerosX,
    kChannelZerosY, kChannelMaxX, kChannelMaxY, kChannelFields,
};

inline constexpr std::size_t kValueBins = 256;                      ///< of one sign
inline constexpr std::size_t kValueCounts = 2 * kValueBins + 1;
inline constexpr std::size_t kHalfMap = 32;                         ///< cells on either side of zero
inline constexpr std::size_t kMapCells = 4 * kHalfMap * kHalfMap;
inline constexpr std::size_t kWorst = 8;
inline constexpr std::size_t kWorstFields = 4;                      ///< error, place, reference, other
inline constexpr std::int32_t kNoExponent = INT32_MIN;

/// Numbers of a point, as in Python's `PointTable`.
enum PointField : std::size_t {
    kPointFinite, kPointNonzero, kPointFlushed, kPointSnapped, kPointBeyond, kPointSignal, kPointError, kPointFields,
};

/// Where one sample's evidence goes; all of it zero at first.
struct EvidenceRoom {
    std::size_t stride = 1;
    std::size_t most_values = 0;  ///< values that a map looks at
    double* tables = nullptr;     ///< [table_rows, kChannelFields]
    std::size_t table_rows = 0;
    std::uint32_t* counts = nullptr;   ///< [places, 3, kValueCounts]
    std::uint32_t* cells = nullptr;    ///< [places, 2 kHalfMap, 2 kHalfMap]
    std::int32_t* exponents = nullptr; ///< [places]
    double* worst = nullptr;           ///< [places, kWorst, kWorstFields]
    std::size_t places = 0;
    std::uint64_t* digests = nullptr;
    std::size_t digest_places = 0;
    double* points = nullptr;          ///< [points, kPointFields]
    std::size_t point_places = 0;
    std::int64_t* codes = nullptr;     ///< [codes]
    std::size_t code_slots = 0;
};

/// What a tap's program asks for.
struct PairLook {
    std::size_t reference;
    std::size_t lane;
    std::size_t table;  ///< first row of the table
};
struct ValueLook {
    std::size_t reference;
    std::size_t lane;
    std::size_t place;
};
struct DigestLook {
    std::size_t slot;
    std::size_t place;
};
struct PointLook {
    std::size_t slot;
    std::size_t point;
    const Grid* grid;
    std::size_t table;
    std::size_t codes;  ///< first of its counts
};
struct Looks {
    std::vector<PairLook> pairs;
    std::vector<ValueLook> values;
    std::vector<DigestLook> digests;
    std::vector<PointLook> points;
    bool empty() const noexcept { return pairs.empty() && values.empty() && digests.empty() && points.empty(); }
};

/// The elements that are furthest off; of equal ones those that come first in the plain layout.
class WorstElements {
public:
    explicit WorstElements(double* rows) : rows_(rows) {}

    /// What is less than this need not be offered.
    float least() const noexcept { return count_ < kWorst ? 0.0F : least_; }
    void offer(float error, std::size_t place, float x, float y) noexcept;

private:
    double* rows_;
    std::size_t count_ = 0;
    float least_ = 0.0F;
};

/// How a sample lies in memory.
struct Shape {
    std::size_t images = 1;
    std::size_t channels = 1;
    std::size_t plane = 1;  ///< elements of one channel
    std::size_t block = 0;  ///< channels in a block; 0 where the layout is plain
};

/// Takes the evidence of one sample's tensors while a tap walks through them piece by piece.
class EvidenceTaker {
public:
    /// `coefficients` are those of the points, kEachSample where a tensor makes its own. All outlives the taker.
    EvidenceTaker(std::vector<const Looks*> stages, const EvidenceRoom& room, const Shape& shape,
                  const std::int32_t* coefficients);

    /// nullptr, or what room is missing.
    const char* problem() const noexcept;
    /// The next piece, elements `begin` ... `end` in memory; `at` says where each slot's piece is after this stage.
    void look(std::size_t stage, std::size_t begin, std::size_t end, const std::vector<const float*>& at);
    /// After the last piece.
    void finish();

private:
    void gather(std::size_t stage, std::size_t slot, std::size_t begin, std::size_t end, const float* data);
    std::vector<float>& sampled(std::size_t stage, std::size_t slot);
    void finish_values(const ValueLook& one, const std::vector<float>& x, const std::vector<float>& y) const;
    void finish_point(const PointLook& one, std::int32_t coefficient, const std::vector<float>& before) const;

    std::vector<const Looks*> stages_;
    const EvidenceRoom& room_;
    const std::int32_t* coefficients_;
    Shape shape_;
    std::vector<std::size_t> positions_;  ///< of a channel, that are looked at
    std::vector<std::size_t> before_;     ///< how many of them lie before each position
    std::size_t sampled_ = 0;                        ///< rooms for sampled values that are in use
    std::vector<std::vector<std::size_t>> room_of_;  ///< by stage and slot, 1 + the number of its room
    std::vector<WorstElements> worst_;
    std::vector<double> largest_;
};

}  // namespace gfpq::ort
