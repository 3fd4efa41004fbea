// The tap: one tensor from every lane goes in; it is measured, quantized where the next layer wants it, and goes on.
#pragma once

#include <cstddef>
#include <vector>

#include "program.hpp"
#include "run.hpp"

namespace gfpq::ort {

/// The tensors of one call. `outputs` may equal inputs where the runtime let them share memory.
struct Tensors {
    std::vector<const float*> inputs;
    std::vector<const float*> operands;  ///< what transforms take besides the tensors
    std::vector<std::size_t> operand_sizes;
    std::vector<float*> outputs;
    std::vector<std::int64_t> shape;  ///< of every input and output
};

/// Does a program with the tensors of one call. Returns nullptr, or why it cannot be done.
const char* work(const Program& program, const Run& run, const Tensors& tensors);

}  // namespace gfpq::ort
