#include "tap.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "evidence_tile.hpp"
#include "layout.hpp"
#include "similarity.hpp"

namespace gfpq::ort {
namespace {

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
        if (const char* problem = check_room()) return problem;
        pieces_ = layout_.pieces(std::any_of(program_.stages.begin(), program_.stages.end(),
                                             [](const Stage& stage) { return !stage.measured.empty(); }));
        if (run_.room != nullptr)
            if (const char* problem = make_taker()) return problem;
        packed().prepare(program_.slots + 1);
        at_.resize(program_.slots);
        scratch_.resize(program_.transforms() ? program_.slots - program_.passed : 0);
        return nullptr;
    }

    void sample(std::size_t index) {
        sample_ = index;
        begin_measuring();
        for (const Piece& piece : pieces_) {
            std::size_t group = 0, magnitude = 0;
            look_at_inputs(piece);
            for (const Stage& stage : program_.stages) {
                transform_all(stage.transform, piece);
                measure(stage, piece, group);
                note(stage, piece, magnitude);
                const auto number = static_cast<std::size_t>(&stage - program_.stages.data());
                if (taker_) taker_->look(number, piece.begin, piece.end, at_);
            }
            pass(piece);
            if (late_) continue;
            for (const Quantizing& one : program_.quantized) quantize(one, piece, run_.deltas[one.point]);
        }
        finish_measuring();
        if (taker_) taker_->finish();
        if (late_) quantize_late();
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
    /// What a piece of a slot has become by now, without padding.
    const float* values(const Piece& piece, std::size_t slot) const {
        return packed()(piece, layout_.block, at_[slot], slot);
    }
    double* evidence_of(const Quantizing& one) const noexcept { return run_.evidence + one.point * kEvidenceFields; }

    int delta_of(const Quantizing& one) {
        const std::int32_t given = run_.deltas[one.point];
        if (given != kEachSample) return last_delta_[&one - program_.quantized.data()] = given;
        double largest = 0.0;
        for (const Piece& piece : pieces_) {
            look_at_results(piece);
            largest = std::max(largest, largest_magnitude(values(piece, one.slot), piece.count).largest);
        }
        return last_delta_[&one - program_.quantized.data()] = coefficient_from_magnitude(largest, *one.grid);
    }
    int last_delta(const Quantizing& one) {
        return late_ ? last_delta_[&one - program_.quantized.data()] : run_.deltas[one.point];
    }

    /// Where the batch brings room for evidence, and something here is to be looked at.
    const char* make_taker() {
        std::vector<const Looks*> looks;
        bool any = false;
        for (const Stage& stage : program_.stages) {
            looks.push_back(&stage.looks);
            any = any || !stage.looks.empty();
        }
        if (!any || layout_.size == 0) return nullptr;
        if (run_.samples != 1) return "evidence is taken of one sample at a time";
        Shape shape{layout_.images, layout_.channels, layout_.plane, layout_.block};
        if (layout_.block == 0) {
            const auto& lengths = tensors_.shape;
            shape.images = lengths.size() < 2 ? 1 : static_cast<std::size_t>(lengths[0]);
            shape.channels = lengths.size() < 2 ? 1 : static_cast<std::size_t>(lengths[1]);
            shape.plane = layout_.size / (shape.images * shape.channels);
        }
        taker_.emplace(std::move(looks), *run_.room, shape, run_.deltas);
        return taker_->problem();
    }

    const char* check_room() {
        for (const Quantizing& one : program_.quantized) {
            if (one.point >= run_.points) return "a coefficient is missing";
            late_ = late_ || run_.deltas[one.point] == kEachSample;
        }
        for (const Stage& stage : program_.stages) {
            for (const Measuring& one : stage.measured) {
                const std::size_t lanes = one.lanes.size();
                if (one.sum_slot + lanes > run_.sum_slots || one.product_slot + lanes * lanes > run_.product_slots)
                    return "there is no room for a tap's results";
            }
            for (const Noting& one : stage.captures)
                if (one.place >= run_.captures.size() ||
                    run_.captures[one.place].size != samples_ * layout_.logical_size())
                    return "there is no room for a copy";
            for (const Noting& one : stage.magnitudes)
                if (one.place >= run_.points) return "there is no room for a magnitude";
            const bool by_channel = stage.transform.kind == Transform::Kind::affine;
            if (by_channel && layout_.block == 0) return "a transform by channel needs blocks";
            const std::size_t wanted = by_channel ? padded_channels() : samples_ * layout_.size;
            for (const std::size_t operand : stage.transform.operands)
                if (tensors_.operand_sizes[operand] != wanted) return "an operand is not of the shape that was foreseen";
        }
        return nullptr;
    }

    std::size_t padded_channels() const noexcept {
        return (layout_.channels + layout_.block - 1) / layout_.block * layout_.block;
    }

    void look_at_inputs(const Piece& piece) {
        for (std::size_t slot = 0; slot < program_.slots; ++slot) at_[slot] = input(slot) + piece.begin;
    }

    /// Where a second walk finds what the first has left.
    void look_at_results(const Piece& piece) {
        for (std::size_t slot = 0; slot < program_.passed; ++slot) at_[slot] = output(slot) + piece.begin;
    }

    /// A slot that goes on is transformed where it goes; one that ends here, in a room that stays in the cache.
    void transform_all(const Transform& what, const Piece& piece) {
        if (what.kind == Transform::Kind::nothing) return;
        const std::size_t arity = what.arity();
        for (std::size_t slot = 0; slot < program_.slots; ++slot) {
            const float* operands[2] = {};
            for (std::size_t i = 0; i < arity; ++i) {
                operands[i] = tensors_.operands[what.operands[slot * arity + i]];
                if (what.kind != Transform::Kind::affine) operands[i] += sample_ * layout_.size;
            }
            float* target = slot < program_.passed ? output(slot) + piece.begin : scratch(slot, piece.length());
            transform(what, layout_, piece, at_[slot], target, operands);
            at_[slot] = target;
        }
    }

    float* scratch(std::size_t slot, std::size_t length) {
        std::vector<float>& room = scratch_[slot - program_.passed];
        room.resize(std::max(room.size(), length));
        return room.data();
    }

    void begin_measuring() {
        last_delta_.resize(program_.quantized.size());
        results_.clear();
        running_.clear();
        noted_.clear();
        for (const Stage& stage : program_.stages) {
            for (const Measuring& one : stage.measured) {
                const std::size_t lanes = one.lanes.size();
                results_.emplace_back(lanes * kSumFields + lanes * lanes, 0.0);
                running_.emplace_back();
                for (std::size_t lane = 0; lane < lanes; ++lane) start_sums(results_.back().data() + lane * kSumFields);
            }
            noted_.resize(noted_.size() + stage.magnitudes.size());
        }
    }

    /// `group` is the number of the stage's first group among all, and then that of the next stage's.
    void measure(const Stage& stage, const Piece& piece, std::size_t& group) {
        double part[kMostLanes * kSumFields + kMostLanes * kMostLanes];
        const float* pointers[kMostLanes];
        for (const Measuring& one : stage.measured) {
            const std::size_t lanes = one.lanes.size();
            const float* reference = values(piece, one.reference);
            for (std::size_t lane = 0; lane < lanes; ++lane)
                pointers[lane] = one.lanes[lane] == one.reference ? reference : values(piece, one.lanes[lane]);
            double* products = part + lanes * kSumFields;
            // Plain pieces are those of `similarity`, and give its digits.
            RunningSums* running = layout_.block == 0 ? nullptr : &running_[group];
            similarity_chunk(reference, pointers, lanes, piece.count, part, products, running);
            double* rows = results_[group++].data();
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
        std::size_t group = 0, magnitude = 0;
        for (const Stage& stage : program_.stages) {
            for (const Measuring& one : stage.measured) {
                const std::size_t lanes = one.lanes.size();
                double* rows = results_[group++].data();
                double* products = rows + lanes * kSumFields;
                for (std::size_t i = 0; i < lanes; ++i)
                    for (std::size_t j = 0; j < i; ++j) products[i * lanes + j] = products[j * lanes + i];
                for (std::size_t index = first; index < last; ++index) {
                    std::memcpy(run_.sums + (index * run_.sum_slots + one.sum_slot) * kSumFields, rows,
                                lanes * kSumFields * sizeof(double));
                    std::memcpy(run_.products + index * run_.product_slots + one.product_slot, products,
                                lanes * lanes * sizeof(double));
                }
            }
            for (const Noting& one : stage.magnitudes) {
                for (std::size_t index = first; index < last; ++index)
                    run_.magnitudes[index * run_.points + one.place] = noted_[magnitude];
                ++magnitude;
            }
        }
    }

    void note(const Stage& stage, const Piece& piece, std::size_t& magnitude) {
        for (const Noting& one : stage.magnitudes) {
            const float* data = values(piece, one.slot);
            noted_[magnitude] = std::max(noted_[magnitude], largest_magnitude(data, piece.count).largest);
            ++magnitude;
        }
        for (const Noting& one : stage.captures) copy_out(piece, one);
    }

    void copy_out(const Piece& piece, const Noting& one) const {
        float* target = run_.captures[one.place].data + sample_ * layout_.logical_size();
        const float* source = at_[one.slot];
        if (layout_.block == 0) {
            std::memcpy(target + piece.begin, source, piece.count * sizeof(float));
            return;
        }
        for (std::size_t i = 0; i < piece.length(); ++i)
            if (piece.live == 0 || i % layout_.block < piece.live)
                target[layout_.plain_place(piece.begin + i)] = source[i];
    }

    bool is_overwritten(std::size_t slot) const {
        return std::any_of(program_.quantized.begin(), program_.quantized.end(),
                           [&](const Quantizing& one) { return one.output == slot; });
    }

    /// Hands on what is not there yet; what is quantized in its place gets there that way, unless that comes later.
    void pass(const Piece& piece) const {
        for (std::size_t slot = 0; slot < program_.passed; ++slot) {
            float* target = output(slot) + piece.begin;
            if (target == at_[slot] || (!late_ && is_overwritten(slot))) continue;
            std::memcpy(target, at_[slot], piece.length() * sizeof(float));
        }
    }

    void quantize_late() {
        for (const Quantizing& one : program_.quantized) {
            const int delta = delta_of(one);
            for (const Piece& piece : pieces_) {
                look_at_results(piece);
                quantize(one, piece, delta);
            }
        }
    }

    void quantize(const Quantizing& one, const Piece& piece, int delta) const {
        const float* source = at_[one.slot];
        float* target = output(one.output) + piece.begin;
        if (!one.evidence) return apply(source, target, piece.length(), *one.grid, delta);
        // Packed before it may be overwritten, and in a room of its own.
        const float* before = values(piece, one.slot);
        static thread_local std::vector<float> kept;
        if (piece.live == 0 && source == target) {
            kept.assign(source, source + piece.length());
            before = kept.data();
        }
        apply(source, target, piece.length(), *one.grid, delta);
        const float* after = packed()(piece, layout_.block, target, program_.slots);
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
    std::vector<const float*> at_;  // where the piece at hand of every slot is by now
    std::vector<std::vector<float>> scratch_;
    std::vector<std::vector<double>> results_;
    std::vector<RunningSums> running_;
    std::vector<double> noted_;
    std::vector<int> last_delta_;
    std::optional<EvidenceTaker> taker_;
};

}  // namespace

const char* work(const Program& program, const Run& run, const Tensors& tensors) {
    Work all(program, run, tensors);
    if (const char* problem = all.start()) return problem;
    for (std::size_t index = 0; index < all.samples(); ++index) all.sample(index);
    return nullptr;
}

}  // namespace gfpq::ort
