// What one tap does with its tensors, read from the node's attribute.
//
// The text is numbers and letters with blanks between them:
//   SLOTS PASSED CHANNELS BLOCK CONSTANT   tensors, and how many of them go on; logical channels and block length where
//                                      the layout is blocked, else 0 0; 1 where axis 0 does not count samples
//   m REFERENCE COUNT LANE... SUM PRODUCT   measure lanes against a reference; first rows of the results
//   q SLOT OUTPUT POINT BITS EVIDENCE  quantize a tensor into an output; those that overwrite their tensor come last
//   g SLOT POINT                       note the largest magnitude
//   c SLOT PLACE                       hand a copy out
//   e REFERENCE LANE TABLE             evidence: sums of two tensors a channel; the table's first row
//   h REFERENCE LANE PLACE             evidence: histograms of two tensors and of the error
//   d SLOT PLACE                       evidence: a digest of the tensor
//   k SLOT POINT BITS TABLE CODES      evidence: what a point's coefficient does; its first row and first count
//   t KIND ...                         transform every tensor; what is looked at from here on is what came of it:
//     r | l LOW HIGH | k SLOPE           Relu, Clip, LeakyRelu; numbers are the bits of a float
//     b (SCALE BIAS)... | p OPERAND... | o OPERAND...   by channel; x + operand; operand + x: one of them for each slot
// A slot is the number of a tensor; output i < PASSED continues tensor i, further outputs are quantized copies. Behind the
// tensors come the operands, which are numbered from 0. An operator has at least one output: a tap without any gives an
// empty one.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "codec.hpp"
#include "tap_histograms.hpp"
#include "transform.hpp"

namespace gfpq::ort {

struct Measuring {
    std::size_t reference;
    std::vector<std::size_t> lanes;
    std::size_t sum_slot;
    std::size_t product_slot;
};

struct Quantizing {
    std::size_t slot;
    std::size_t output;
    std::size_t point;
    const Grid* grid;
    bool evidence;
};

struct Noting {
    std::size_t slot;
    std::size_t place;
};

/// What is done to all tensors, and how the outcome is looked at.
struct Stage {
    Transform transform;
    std::vector<Measuring> measured;
    std::vector<Noting> magnitudes;
    std::vector<Noting> captures;
    Looks looks;
};

struct Program {
    std::size_t slots = 0;
    std::size_t passed = 0;
    std::size_t operands = 0;
    std::size_t channels = 0;
    std::size_t block = 0;
    bool constant = false;
    std::vector<Stage> stages;  ///< the first transforms nothing
    std::vector<Quantizing> quantized;  ///< what came of the last stage

    /// Whether any stage transforms anything.
    bool transforms() const noexcept { return stages.size() > 1; }
    /// Outputs that are written.
    std::size_t outputs() const noexcept;
};

/// Throws std::runtime_error for a text that is no program.
Program read_program(const std::string& text);

}  // namespace gfpq::ort
