// Operators on single elements that a tap does itself, between two looks at its tensors: the very bits of ONNX
// Runtime's own kernels, NaN and signed zeros included.
#pragma once

#include <cstddef>
#include <vector>

#include "layout.hpp"

namespace gfpq::ort {

struct Transform {
    enum class Kind {
        nothing,
        rectify,     ///< Relu
        clip,        ///< Clip to low ... high
        leak,        ///< LeakyRelu: `low` times what is negative
        affine,      ///< y = scale * x + bias by channel: what BatchNormalization is in blocks
        add_after,   ///< x + operand
        add_before,  ///< operand + x
    };
    Kind kind = Kind::nothing;
    float low = 0.0F;
    float high = 0.0F;
    std::vector<std::size_t> operands;  ///< for each slot: one operand, or scale and bias

    /// Operands that a slot has.
    std::size_t arity() const noexcept;
};

/// Transforms a piece of one slot. `source` and `target` are where the piece starts, and may be equal; `operands` are
/// where the whole operands of the slot start (of the sample, for those that have the tensors' shape).
void transform(const Transform& what, const Layout& layout, const Piece& piece, const float* source, float* target,
               const float* const* operands) noexcept;

}  // namespace gfpq::ort
