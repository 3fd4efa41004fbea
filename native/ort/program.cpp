#include "program.hpp"

#include <algorithm>
#include <sstream>
#include <stdexcept>

#include "similarity.hpp"

namespace gfpq::ort {
namespace {

class Reader {
public:
    explicit Reader(const std::string& text) : stream_(text) {}

    std::size_t number(std::size_t below = SIZE_MAX) {
        std::size_t value = 0;
        if (!(stream_ >> value) || value >= below) throw std::runtime_error("a tap's program is damaged");
        return value;
    }
    bool letter(char& letter) { return static_cast<bool>(stream_ >> letter); }

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
    for (char letter = 0; reader.letter(letter);) {
        if (letter == 'm') {
            program.measured.push_back(read_measuring(reader, program.slots));
        } else if (letter == 'q') {
            program.quantized.push_back(read_quantizing(reader, program.slots));
        } else if (letter == 'g' || letter == 'c') {
            const std::size_t slot = reader.number(program.slots);
            (letter == 'g' ? program.magnitudes : program.captures).push_back({slot, reader.number()});
        } else {
            throw std::runtime_error("a tap's program holds an unknown letter");
        }
    }
    return program;
}

}  // namespace gfpq::ort
