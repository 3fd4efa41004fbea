#include "tap_histograms.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "channel_sums.hpp"
#include "evidence.hpp"
#include "run.hpp"

namespace gfpq::ort {
namespace {

/// Positions of a channel that are looked at.
std::vector<std::size_t> sampled_positions(std::size_t plane, std::size_t stride) {
    const std::size_t tiles = (plane + kTilePositions - 1) / kTilePositions;
    std::vector<std::size_t> all;
    for (std::size_t tile = 0; tile < tiles; ++tile) {
        if (tiles >= stride && tile % stride != tile / stride % stride) continue;
        const std::size_t end = std::min(plane, (tile + 1) * kTilePositions);
        for (std::size_t at = tile * kTilePositions; at < end; ++at) all.push_back(at);
    }
    return all;
}

/// Adds up how often each bin occurs; four tables by turns, since neighbours often share a bin, which a processor can
/// only count one after the other.
void count_bins(const std::uint16_t* bins, std::size_t count, std::uint32_t* counts) noexcept {
    constexpr std::size_t kTables = 4;
    static thread_local std::uint32_t tables[kTables][kValueCounts + 1];
    std::memset(tables, 0, sizeof tables);
    std::size_t i = 0;
    for (; i + kTables <= count; i += kTables)
        for (std::size_t table = 0; table < kTables; ++table) ++tables[table][bins[i + table]];
    for (; i < count; ++i) ++tables[0][bins[i]];
    for (const auto& table : tables)
        for (std::size_t bin = 0; bin < kValueCounts; ++bin) counts[bin] += table[bin];
}

/// Counts finite values of both tensors and of the error; see Python's `histograms.count`.
void count_values(const std::vector<float>& x, const std::vector<float>& y, std::uint32_t* counts) {
    constexpr std::size_t kTogether = 1 << 16;
    static thread_local std::vector<std::uint16_t> bins;
    bins.resize(kTogether);
    for (std::size_t first = 0; first < x.size(); first += kTogether) {
        const std::size_t count = std::min(kTogether, x.size() - first);
        value_bins(x.data() + first, count, bins.data());
        count_bins(bins.data(), count, counts);
        value_bins(y.data() + first, count, bins.data());
        count_bins(bins.data(), count, counts + kValueCounts);
        error_bins(x.data() + first, y.data() + first, count, bins.data());
        count_bins(bins.data(), count, counts + 2 * kValueCounts);
    }
}

/// Which values became which; see Python's `density.density`.
void map_values(const std::vector<float>& x, const std::vector<float>& y, std::size_t most, std::uint32_t* cells,
                std::int32_t& exponent) {
    const std::size_t stride = std::max<std::size_t>(1, (x.size() + most - 1) / most);
    float largest = 0.0F;
    for (std::size_t i = 0; i < x.size(); i += stride)
        if (std::isfinite(x[i]) && std::isfinite(y[i]))
            largest = std::max({largest, std::fabs(x[i]), std::fabs(y[i])});
    int power = 0;
    std::frexp(static_cast<double>(largest), &power);
    exponent = largest == 0.0F ? kNoExponent : power;
    const double scale = largest == 0.0F ? 0.0 : std::ldexp(1.0, -power) * static_cast<double>(kHalfMap);
    const auto place = [scale](float value) {
        const double at = static_cast<double>(value) * scale;
        int cell = static_cast<int>(at);
        cell -= at < static_cast<double>(cell) ? 1 : 0;
        return static_cast<std::size_t>(std::clamp(cell + static_cast<int>(kHalfMap), 0, 2 * static_cast<int>(kHalfMap) - 1));
    };
    for (std::size_t i = 0; i < x.size(); i += stride)
        if (std::isfinite(x[i]) && std::isfinite(y[i])) ++cells[place(x[i]) * 2 * kHalfMap + place(y[i])];
}

bool comes_before(float error, std::size_t place, const double* row) noexcept {
    return error > row[0] || (static_cast<double>(error) == row[0] && static_cast<double>(place) < row[1]);
}

std::size_t blocks_of(const Shape& shape) noexcept { return (shape.channels + shape.block - 1) / shape.block; }

/// Place in the plain layout; SIZE_MAX for padding.
std::size_t plain_place(std::size_t at, const Shape& shape) noexcept {
    if (shape.block == 0) return at;
    const std::size_t image_size = blocks_of(shape) * shape.block * shape.plane;
    const std::size_t image = at / image_size, inside = at % image_size;
    const std::size_t in_block = inside % (shape.plane * shape.block);
    const std::size_t channel = inside / (shape.plane * shape.block) * shape.block + in_block % shape.block;
    if (channel >= shape.channels) return SIZE_MAX;
    return (image * shape.channels + channel) * shape.plane + in_block / shape.block;
}

/// `begin` is where the pieces begin in memory.
void find_worst(const float* x, const float* y, std::size_t begin, std::size_t count, const Shape& shape,
                WorstElements& worst) {
    constexpr std::size_t kRange = 128;
    for (std::size_t first = 0; first < count; first += kRange) {
        const std::size_t last = std::min(count, first + kRange);
        const float largest = largest_difference(x + first, y + first, last - first);
        if (largest <= 0.0F || largest < worst.least()) continue;
        for (std::size_t at = first; at < last; ++at) {
            const float error = std::fabs(y[at] - x[at]);
            if (!std::isfinite(error) || error <= 0.0F || error < worst.least()) continue;
            const std::size_t place = plain_place(begin + at, shape);
            if (place != SIZE_MAX) worst.offer(error, place, x[at], y[at]);
        }
    }
}

/// Kept from tap to tap, one set a thread: fresh memory costs more than what is written to it.
std::vector<std::vector<float>>& sampled_rooms() {
    static thread_local std::vector<std::vector<float>> rooms;
    return rooms;
}

}  // namespace

void WorstElements::offer(float error, std::size_t place, float x, float y) noexcept {
    std::size_t at = count_;
    while (at > 0 && comes_before(error, place, rows_ + (at - 1) * kWorstFields)) --at;
    if (at == kWorst) return;
    count_ = std::min(kWorst, count_ + 1);
    std::memmove(rows_ + (at + 1) * kWorstFields, rows_ + at * kWorstFields,
                 (count_ - at - 1) * kWorstFields * sizeof(double));
    double* row = rows_ + at * kWorstFields;
    row[0] = error;
    row[1] = static_cast<double>(place);
    row[2] = x;
    row[3] = y;
    least_ = static_cast<float>(rows_[(kWorst - 1) * kWorstFields]);
}

EvidenceTaker::EvidenceTaker(std::vector<const Looks*> stages, const EvidenceRoom& room, const Shape& shape,
                             const std::int32_t* coefficients)
    : stages_(std::move(stages)), room_(room), coefficients_(coefficients), shape_(shape), positions_(sampled_positions(shape.plane, room.stride)),
      before_(shape.plane + 1), room_of_(stages_.size()) {
    for (const std::size_t position : positions_) before_[position + 1] = 1;
    for (std::size_t at = 0; at < shape.plane; ++at) before_[at + 1] += before_[at];
    for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
        for (const ValueLook& one : stages_[stage]->values) {
            sampled(stage, one.reference);
            sampled(stage, one.lane);
            worst_.emplace_back(room.worst + one.place * kWorst * kWorstFields);
        }
        for (const PointLook& one : stages_[stage]->points) sampled(stage, one.slot);
        largest_.resize(largest_.size() + stages_[stage]->points.size());
    }
}

const char* EvidenceTaker::problem() const noexcept {
    for (const Looks* looks : stages_) {
        for (const PairLook& one : looks->pairs)
            if (one.table + shape_.channels > room_.table_rows) return "there is no room for sums of channels";
        for (const ValueLook& one : looks->values)
            if (one.place >= room_.places) return "there is no room for a histogram";
        for (const DigestLook& one : looks->digests)
            if (one.place >= room_.digest_places) return "there is no room for a digest";
        for (const PointLook& one : looks->points)
            if (one.table + shape_.channels > room_.table_rows || one.point >= room_.point_places ||
                one.codes + 2 * (static_cast<std::size_t>(one.grid->highest_code) + 1) > room_.code_slots)
                return "there is no room for counts of codes";
    }
    return nullptr;
}

std::vector<float>& EvidenceTaker::sampled(std::size_t stage, std::size_t slot) {
    std::vector<std::size_t>& numbers = room_of_[stage];
    if (numbers.size() <= slot) numbers.resize(slot + 1);
    std::vector<std::vector<float>>& rooms = sampled_rooms();
    if (numbers[slot] == 0) {
        numbers[slot] = ++sampled_;
        if (rooms.size() < sampled_) rooms.emplace_back();
        rooms[sampled_ - 1].resize(shape_.channels * shape_.images * positions_.size());
    }
    return rooms[numbers[slot] - 1];
}

void EvidenceTaker::look(std::size_t stage, std::size_t begin, std::size_t end, const std::vector<const float*>& at) {
    const Looks& looks = *stages_[stage];
    for (const PairLook& one : looks.pairs)
        add_channel_sums(at[one.reference], at[one.lane], begin, end, shape_,
                         room_.tables + one.table * kChannelFields);
    std::size_t worst = 0, largest = 0;
    for (std::size_t earlier = 0; earlier < stage; ++earlier) {
        worst += stages_[earlier]->values.size();
        largest += stages_[earlier]->points.size();
    }
    for (const ValueLook& one : looks.values) {
        find_worst(at[one.reference], at[one.lane], begin, end - begin, shape_, worst_[worst++]);
    }
    for (const DigestLook& one : looks.digests) {
        std::uint64_t& digest = room_.digests[one.place];
        digest = (digest << 13 | digest >> 51) * 0x9e3779b97f4a7c15ULL ^ digest_of(at[one.slot], end - begin);
    }
    for (const PointLook& one : looks.points) {
        double& most = largest_[largest++];
        if (coefficients_[one.point] == kEachSample)
            most = std::max(most, largest_magnitude(at[one.slot], end - begin).largest);
    }
    for (std::size_t slot = 0; slot < room_of_[stage].size(); ++slot)
        if (room_of_[stage][slot] != 0) gather(stage, slot, begin, end, at[slot]);
}

void EvidenceTaker::gather(std::size_t stage, std::size_t slot, std::size_t begin, std::size_t end,
                           const float* data) {
    std::vector<float>& values = sampled(stage, slot);
    const std::size_t each = shape_.images * positions_.size();
    const std::size_t step = std::max<std::size_t>(1, shape_.block);
    over_runs(begin, end, shape_, [&](const ChannelRun& run) {
        const std::size_t first = before_[run.position], last = before_[run.position + run.count];
        const std::size_t live = std::min(step, shape_.channels - run.channel);
        float* target = values.data() + run.channel * each + run.image * positions_.size();
        for (std::size_t number = first; number < last; ++number) {
            const float* here = data + run.at + (positions_[number] - run.position) * step;
            for (std::size_t channel = 0; channel < live; ++channel) target[channel * each + number] = here[channel];
        }
    });
}

void EvidenceTaker::finish() {
    std::size_t largest = 0;
    for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
        for (const ValueLook& one : stages_[stage]->values)
            finish_values(one, sampled(stage, one.reference), sampled(stage, one.lane));
        for (const PointLook& one : stages_[stage]->points) {
            const std::int32_t given = coefficients_[one.point];
            const double most = largest_[largest++];
            finish_point(one, given == kEachSample ? coefficient_from_magnitude(most, *one.grid) : given,
                         sampled(stage, one.slot));
        }
    }
}

void EvidenceTaker::finish_values(const ValueLook& one, const std::vector<float>& x,
                                  const std::vector<float>& y) const {
    count_values(x, y, room_.counts + one.place * 3 * kValueCounts);
    map_values(x, y, room_.most_values, room_.cells + one.place * kMapCells, room_.exponents[one.place]);
}

void EvidenceTaker::finish_point(const PointLook& one, std::int32_t coefficient,
                                 const std::vector<float>& before) const {
    static thread_local std::vector<float> after;
    after.resize(before.size());
    apply(before.data(), after.data(), before.size(), *one.grid, coefficient);
    const Shape packed{1, shape_.channels, shape_.images * positions_.size(), 0};
    add_channel_sums(before.data(), after.data(), 0, before.size(), packed,
                     room_.tables + one.table * kChannelFields);
    const auto counted =
        code_statistics(before.data(), before.size(), *one.grid, coefficient, room_.codes + one.codes);
    const auto energy = rounding_energy(before.data(), before.size(), *one.grid);
    double* row = room_.points + one.point * kPointFields;
    row[kPointFinite] = static_cast<double>(counted.finite);
    row[kPointNonzero] = static_cast<double>(counted.finite - counted.zeros);
    row[kPointFlushed] = static_cast<double>(counted.flushed);
    row[kPointSnapped] = static_cast<double>(counted.snapped);
    row[kPointBeyond] = static_cast<double>(counted.beyond);
    row[kPointSignal] = energy.signal;
    row[kPointError] = energy.error;
}

}  // namespace gfpq::ort
