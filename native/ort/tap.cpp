#include "tap.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "evidence_tile.hpp"
#include "similarity.hpp"

namespace gfpq::ort {
namespace {

/// Part of one sample: elements `begin` ... `end` of the memory. Where `live` is not 0, only the first `live` of every
/// `block` elements are channels, the rest is padding.
struct Piece {
    std::size_t begin;
    std::size_t end;
    std::size_t live;
    std::size_t count;  ///< elements that are no padding
};

/// How one sample lies in memory: plain, or channels in blocks of `block` with the last one padded.
struct Layout {
    std::size_t size = 0;   ///< elements of a sample, with padding
    std::size_t images = 1;  ///< a sample may be a batch by itself
    std::size_t block = 0;  ///< 0 where the layout is plain
    std::size_t channels = 0;
    std::size_t plane = 0;  ///< elements of one channel

    std::size_t logical_size() const noexcept { return block == 0 ? size : images * channels * plane; }
    std::size_t image_size() const noexcept { return images == 0 ? 0 : size / images; }

    /// Place in the plain layout.
    std::size_t plain_place(std::size_t at) const noexcept {
        if (block == 0) return at;
        const std::size_t image = at / image_size();
        at %= image_size();
        const std::size_t in_block = at % (plane * block);
        return (at / (plane * block) * block + in_block % block) * plane + in_block / block +
               image * channels * plane;
    }

    std::vector<Piece> pieces() const {
        std::vector<Piece> all;
        for (std::size_t image = 0; image < (block == 0 ? 1 : images); ++image) add_pieces(image * image_size(), all);
        return all;
    }

private:
    void add_pieces(std::size_t first, std::vector<Piece>& all) const {
        const std::size_t full = block == 0 ? size : channels / block * block * plane;
        for (std::size_t at = 0; at < full; at += kSimilarityChunk) {
            const std::size_t end = std::min(full, at + kSimilarityChunk);
            all.push_back({first + at, first + end, 0, end - at});
        }
        const std::size_t live = block == 0 ? 0 : channels % block;
        if (live == 0) return;
        const std::size_t places = kSimilarityChunk / block;
        for (std::size_t at = 0; at < plane; at += places) {
            const std::size_t end = std::min(plane, at + places);
            all.push_back({first + full + at * block, first + full + end * block, live, (end - at) * live});
        }
    }
};

/// Room for the elements of a piece that are no padding; one a thread, kept from call to call.
class Packed {
public:
    const float* operator()(const Piece& piece, std::size_t block, const float* sample, std::size_t slot) {
        if (piece.live == 0) return sample + piece.begin;
        std::vector<float>& room = rooms_[slot];
        room.resize(piece.count);
        float* target = room.data();
        for (std::size_t at = piece.begin; at < piece.end; at += block, target += piece.live)
            std::memcpy(target, sample + at, piece.live * sizeof(float));
        return room.data();
    }
    void prepare(std::size_t slots) {
        if (rooms_.size() < slots) rooms_.resize(slots);
    }

private:
    std::vector<std::vector<float>> rooms_;
};

class Work {
public:
    Work(const Program& program, const Run& run, const Tensors& tensors)
        : program_(program), run_(run), tensors_(tensors) {}

    const char* start() {
        std::size_t total = 1;
        for (const std::int64_t length : tensors_.shape) total *= static_cast<std::size_t>(length);
        const bool counts_samples = !program_.constant && run_.samples > 1 && !tensors_.shape.empty() &&
                                    static_cast<std::size_t>(tensors_.shape[0]) % run_.samples == 0;
        samples_ = counts_samples ? run_.samples : 1;
        layout_.size = total / samples_;
        if (program_.channels != 0) {
            if (tensors_.shape.size() < 3 || static_cast<std::size_t>(tensors_.shape[0]) % samples_ != 0)
                return "a blocked tensor is not of the shape that was foreseen";
            const auto padded = static_cast<std::size_t>(tensors_.shape[1]);
            layout_.channels = program_.channels;
            layout_.block = program_.block;
            if (layout_.block == 0 || padded % layout_.block != 0 || padded < layout_.channels ||
                padded - layout_.channels >= layout_.block)
                return "a blocked tensor has an unforeseen number of channels";
            layout_.images = static_cast<std::size_t>(tensors_.shape[0]) / samples_;
            layout_.plane = padded == 0 ? 0 : layout_.image_size() / padded;
        }
        for (const Quantizing& one : program_.quantized) {
            if (one.point >= run_.points) return "a coefficient is missing";
            late_ = late_ || run_.deltas[one.point] == kEachSample;
        }
        for (const Measuring& one : program_.measured) {
            const std::size_t lanes = one.lanes.size();
            if (one.sum_slot + lanes > run_.sum_slots || one.product_slot + lanes * lanes > run_.product_slots)
                return "there is no room for a tap's results";
        }
        for (const Noting& one : program_.captures)
            if (one.place >= run_.captures.size() ||
                run_.captures[one.place].size != samples_ * layout_.logical_size())
                return "there is no room for a copy";
        for (const Noting& one : program_.magnitudes)
            if (one.place >= run_.points) return "there is no room for a magnitude";
        pieces_ = layout_.pieces();
        packed().prepare(program_.slots + 1);
        return nullptr;
    }

    void sample(std::size_t index) {
        sample_ = index;
        begin_measuring();
        for (std::size_t number = 0; number < pieces_.size(); ++number) {
            const Piece& piece = pieces_[number];
            measure(piece);
            note(piece);
            if (late_) continue;
            pass(piece);
            for (const Quantizing& one : program_.quantized) quantize(one, piece, run_.deltas[one.point]);
        }
        finish_measuring();
        if (late_) {
            for (const Piece& piece : pieces_) pass(piece);
            for (const Quantizing& one : program_.quantized) {
                const int delta = delta_of(one);
                for (const Piece& piece : pieces_) quantize(one, piece, delta);
            }
        }
        for (const Quantizing& one : program_.quantized)
            if (one.evidence) add_coefficient(last_delta(one), evidence_of(one));
    }

    std::size_t samples() const noexcept { return samples_; }

private:
    static Packed& packed() {
        static thread_local Packed room;
        return room;
    }

    const float* input(std::size_t slot) const noexcept { return tensors_.inputs[slot] + sample_ * layout_.size; }
    float* output(std::size_t place) const noexcept { return tensors_.outputs[place] + sample_ * layout_.size; }
    const float* values(const Piece& piece, std::size_t slot) const {
        return packed()(piece, layout_.block, input(slot), slot);
    }
    double* evidence_of(const Quantizing& one) const noexcept { return run_.evidence + one.point * kEvidenceFields; }

    int delta_of(const Quantizing& one) {
        const std::int32_t given = run_.deltas[one.point];
        if (given != kEachSample) return last_delta_[&one - program_.quantized.data()] = given;
        double largest = 0.0;
        for (const Piece& piece : pieces_)
            largest = std::max(largest, largest_magnitude(values(piece, one.slot), piece.count).largest);
        return last_delta_[&one - program_.quantized.data()] = coefficient_from_magnitude(largest, *one.grid);
    }
    int last_delta(const Quantizing& one) {
        return late_ ? last_delta_[&one - program_.quantized.data()] : run_.deltas[one.point];
    }

    void begin_measuring() {
        last_delta_.resize(program_.quantized.size());
        noted_.assign(program_.magnitudes.size(), 0.0);
        results_.resize(program_.measured.size());
        for (std::size_t group = 0; group < results_.size(); ++group) {
            const std::size_t lanes = program_.measured[group].lanes.size();
            results_[group].assign(lanes * kSumFields + lanes * lanes, 0.0);
            for (std::size_t lane = 0; lane < lanes; ++lane) start_sums(results_[group].data() + lane * kSumFields);
        }
    }

    void measure(const Piece& piece) {
        double part[kMostLanes * kSumFields + kMostLanes * kMostLanes];
        const float* pointers[kMostLanes];
        for (std::size_t group = 0; group < results_.size(); ++group) {
            const Measuring& one = program_.measured[group];
            const std::size_t lanes = one.lanes.size();
            const float* reference = values(piece, one.reference);
            for (std::size_t lane = 0; lane < lanes; ++lane)
                pointers[lane] = one.lanes[lane] == one.reference ? reference : values(piece, one.lanes[lane]);
            double* products = part + lanes * kSumFields;
            similarity_chunk(reference, pointers, lanes, piece.count, part, products);
            double* rows = results_[group].data();
            for (std::size_t lane = 0; lane < lanes; ++lane) {
                double* row = part + lane * kSumFields;
                if (row[kFirstNonfinite] >= 0.0) place_nonfinite(piece, reference, pointers[lane], row);
                merge(rows + lane * kSumFields, row, piece);
            }
            for (std::size_t i = 0; i < lanes * lanes; ++i) rows[lanes * kSumFields + i] += products[i];
        }
    }

    /// Elements of a blocked tensor come in another order: the first in the plain one is looked for.
    void place_nonfinite(const Piece& piece, const float* x, const float* y, double* row) const {
        if (layout_.block == 0) return;
        std::size_t first = SIZE_MAX;
        for (std::size_t i = 0; i < piece.count; ++i) {
            if (std::isfinite(x[i]) && std::isfinite(y[i])) continue;
            const std::size_t at =
                piece.live == 0 ? i : i / piece.live * layout_.block + i % piece.live;
            first = std::min(first, layout_.plain_place(piece.begin + at));
        }
        row[kFirstNonfinite] = static_cast<double>(first);
    }

    void merge(double* row, double* part, const Piece& piece) const {
        if (layout_.block == 0) return merge_sums(row, part, piece.begin);
        const double one = row[kFirstNonfinite], other = part[kFirstNonfinite];
        merge_sums(row, part, 0);
        if (one >= 0.0 && other >= 0.0) row[kFirstNonfinite] = std::min(one, other);
    }

    void finish_measuring() {
        // What no sample reaches has one row, which stands for all.
        const std::size_t first = samples_ == run_.samples ? sample_ : 0;
        const std::size_t last = samples_ == run_.samples ? sample_ + 1 : run_.samples;
        for (std::size_t group = 0; group < results_.size(); ++group) {
            const Measuring& one = program_.measured[group];
            const std::size_t lanes = one.lanes.size();
            double* products = results_[group].data() + lanes * kSumFields;
            for (std::size_t i = 0; i < lanes; ++i)
                for (std::size_t j = 0; j < i; ++j) products[i * lanes + j] = products[j * lanes + i];
            for (std::size_t index = first; index < last; ++index) {
                std::memcpy(run_.sums + (index * run_.sum_slots + one.sum_slot) * kSumFields, results_[group].data(),
                            lanes * kSumFields * sizeof(double));
                std::memcpy(run_.products + index * run_.product_slots + one.product_slot, products,
                            lanes * lanes * sizeof(double));
            }
        }
        for (std::size_t index = first; index < last; ++index)
            for (std::size_t i = 0; i < program_.magnitudes.size(); ++i)
                run_.magnitudes[index * run_.points + program_.magnitudes[i].place] = noted_[i];
    }

    void note(const Piece& piece) {
        for (std::size_t i = 0; i < program_.magnitudes.size(); ++i) {
            const float* data = values(piece, program_.magnitudes[i].slot);
            noted_[i] = std::max(noted_[i], largest_magnitude(data, piece.count).largest);
        }
        for (const Noting& one : program_.captures) copy_out(piece, one);
    }

    void copy_out(const Piece& piece, const Noting& one) const {
        float* target = run_.captures[one.place].data + sample_ * layout_.logical_size();
        const float* source = input(one.slot);
        if (layout_.block == 0) {
            std::memcpy(target + piece.begin, source + piece.begin, piece.count * sizeof(float));
            return;
        }
        for (std::size_t at = piece.begin; at < piece.end; ++at)
            if (piece.live == 0 || at % layout_.block < piece.live) target[layout_.plain_place(at)] = source[at];
    }

    bool is_overwritten(std::size_t slot) const {
        return std::any_of(program_.quantized.begin(), program_.quantized.end(),
                           [&](const Quantizing& one) { return one.output == slot; });
    }

    /// Hands on what is not quantized.
    void pass(const Piece& piece) const {
        for (std::size_t slot = 0; slot < program_.passed; ++slot) {
            if (output(slot) == input(slot) || is_overwritten(slot)) continue;
            std::memcpy(output(slot) + piece.begin, input(slot) + piece.begin,
                        (piece.end - piece.begin) * sizeof(float));
        }
    }

    void quantize(const Quantizing& one, const Piece& piece, int delta) const {
        const float* source = input(one.slot) + piece.begin;
        float* target = output(one.output) + piece.begin;
        const std::size_t length = piece.end - piece.begin;
        if (!one.evidence) return apply(source, target, length, *one.grid, delta);
        // Packed before it may be overwritten, and in a room of its own.
        const float* before = values(piece, one.slot);
        static thread_local std::vector<float> kept;
        if (piece.live == 0 && source == target) {
            kept.assign(source, source + length);
            before = kept.data();
        }
        apply(source, target, length, *one.grid, delta);
        const float* after = packed()(piece, layout_.block, output(one.output), program_.slots);
        add_evidence(before, after, piece.count, *one.grid, delta, evidence_of(one));
    }

    const Program& program_;
    const Run& run_;
    const Tensors& tensors_;
    Layout layout_;
    std::size_t samples_ = 1;
    std::size_t sample_ = 0;
    bool late_ = false;  // some coefficient is made of the tensor itself, so that all of it must be seen first
    std::vector<Piece> pieces_;
    std::vector<std::vector<double>> results_;
    std::vector<double> noted_;
    std::vector<int> last_delta_;
};

}  // namespace

const char* work(const Program& program, const Run& run, const Tensors& tensors) {
    Work all(program, run, tensors);
    if (const char* problem = all.start()) return problem;
    for (std::size_t index = 0; index < all.samples(); ++index) all.sample(index);
    return nullptr;
}

}  // namespace gfpq::ort
