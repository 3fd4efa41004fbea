#include "program.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <sstream>
#include <stdexcept>

#include "similarity.hpp"

namespace gfpq::ort {
namespace {

constexpr std::size_t kMostOperands = 1024;

class Reader {
public:
    explicit Reader(const std::string& text) : stream_(text) {}

    std::size_t number(std::size_t below = SIZE_MAX) {
        std::size_t value = 0;
        if (!(stream_ >> value) || value >= below) throw std::runtime_error("a tap's program is damaged");
        return value;
    }
    bool letter(char& letter) { return static_cast<bool>(stream_ >> letter); }
    float real() {
        const auto bits = static_cast<std::uint32_t>(number(std::size_t{1} << 32));
        float value;
        std::memcpy(&value, &bits, sizeof value);
        return value;
    }

private:
    std::istringstream stream_;
};

Measuring read_measuring(Reader& reader, std::size_t slots) {
    Measuring one;
    one.reference = reader.number(slots);
    one.lanes.resize(reader.number(kMostLanes + 1));
    for (std::size_t& lane : one.lanes) lane = reader.number(slots);
    one.sum_slot = reader.number();
    one.product_slot = reader.number();
    return one;
}

Quantizing read_quantizing(Reader& reader, std::size_t slots) {
    Quantizing one;
    one.slot = reader.number(slots);
    one.output = reader.number();
    one.point = reader.number();
    one.grid = grid_of(static_cast<unsigned>(reader.number(17)));
    one.evidence = reader.number(2) == 1;
    if (one.grid == nullptr) throw std::runtime_error("a tap's program names a bit width that there is none of");
    return one;
}

PointLook read_point(Reader& reader, std::size_t slots) {
    PointLook one;
    one.slot = reader.number(slots);
    one.point = reader.number();
    one.grid = grid_of(static_cast<unsigned>(reader.number(17)));
    one.table = reader.number();
    one.codes = reader.number();
    if (one.grid == nullptr) throw std::runtime_error("a tap's program names a bit width that there is none of");
    return one;
}

Transform read_transform(Reader& reader, std::size_t slots) {
    using Kind = Transform::Kind;
    Transform one;
    char letter = 0;
    reader.letter(letter);
    switch (letter) {
        case 'r':
            one.kind = Kind::rectify;
            break;
        case 'l':
            one.kind = Kind::clip;
            one.low = reader.real();
            one.high = reader.real();
            break;
        case 'k':
            one.kind = Kind::leak;
            one.low = reader.real();
            break;
        case 'b':
            one.kind = Kind::affine;
            break;
        case 'p':
            one.kind = Kind::add_after;
            break;
        case 'o':
            one.kind = Kind::add_before;
            break;
        default:
            throw std::runtime_error("a tap's program holds an unknown transform");
    }
    one.operands.resize(slots * one.arity());
    for (std::size_t& operand : one.operands) operand = reader.number(kMostOperands);
    return one;
}

/// Reads what one letter announces into the program.
void read_part(Reader& reader, char letter, Program& program) {
    Stage& stage = program.stages.back();
    if (letter == 'm') {
        stage.measured.push_back(read_measuring(reader, program.slots));
    } else if (letter == 'q') {
        program.quantized.push_back(read_quantizing(reader, program.slots));
    } else if (letter == 'g' || letter == 'c') {
        const std::size_t slot = reader.number(program.slots);
        (letter == 'g' ? stage.magnitudes : stage.captures).push_back({slot, reader.number()});
    } else if (letter == 'e' || letter == 'h') {
        const std::size_t reference = reader.number(program.slots), lane = reader.number(program.slots);
        if (letter == 'e') stage.looks.pairs.push_back({reference, lane, reader.number()});
        else stage.looks.values.push_back({reference, lane, reader.number()});
    } else if (letter == 'd') {
        const std::size_t slot = reader.number(program.slots);
        stage.looks.digests.push_back({slot, reader.number()});
    } else if (letter == 'k') {
        stage.looks.points.push_back(read_point(reader, program.slots));
    } else if (letter == 't') {
        program.stages.emplace_back().transform = read_transform(reader, program.slots);
        for (const std::size_t operand : program.stages.back().transform.operands)
            program.operands = std::max(program.operands, operand + 1);
    } else {
        throw std::runtime_error("a tap's program holds an unknown letter");
    }
}

}  // namespace

std::size_t Program::outputs() const noexcept {
    std::size_t count = passed;
    for (const Quantizing& one : quantized) count = std::max(count, one.output + 1);
    return count;
}

Program read_program(const std::string& text) {
    Reader reader(text);
    Program program;
    program.slots = reader.number();
    program.passed = reader.number(program.slots + 1);
    program.channels = reader.number();
    program.block = reader.number(65);
    program.constant = reader.number(2) == 1;
    program.stages.emplace_back();
    for (char letter = 0; reader.letter(letter);) read_part(reader, letter, program);
    return program;
}

}  // namespace gfpq::ort
