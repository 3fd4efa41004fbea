#include "transform.hpp"

#include <algorithm>
#include <cstring>

// Comparisons and single operations only, so that every instruction set gives the same bits.
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__)
#define GFPQ_CLONED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define GFPQ_CLONED
#endif

namespace gfpq::ort {
namespace {

GFPQ_CLONED void rectify(const float* x, float* y, std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i) y[i] = x[i] < 0.0F ? 0.0F : x[i];
}

GFPQ_CLONED void clip(const float* x, float* y, std::size_t count, float low, float high) noexcept {
    for (std::size_t i = 0; i < count; ++i) {
        const float raised = x[i] < low ? low : x[i];
        y[i] = high < raised ? high : raised;
    }
}

GFPQ_CLONED void leak(const float* x, float* y, std::size_t count, float slope) noexcept {
    for (std::size_t i = 0; i < count; ++i) {
        const float less = slope * x[i];
        y[i] = x[i] >= 0.0F ? x[i] : less;
    }
}

/// Of two NaNs the second goes on. Said explicitly: compilers swap the sides of a sum as they like.
GFPQ_CLONED void add(const float* a, const float* b, float* y, std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i) {
        const float sum = a[i] + b[i], second = b[i] + b[i];
        y[i] = b[i] == b[i] ? sum : second;
    }
}

/// `places` times `block` elements, one scale and bias for each place in the block. Two roundings: the kernel that this
/// stands for adds the bias after the product is rounded; it adds the product to zero first, which turns -0 into 0.
GFPQ_CLONED void scale_any(const float* x, float* y, std::size_t places, std::size_t block, const float* factor,
                           const float* bias) noexcept {
    for (std::size_t place = 0; place < places; ++place, x += block, y += block)
        for (std::size_t i = 0; i < block; ++i) {
            const float product = 0.0F + factor[i] * x[i];
            y[i] = product + bias[i];
        }
}

#if defined(__GNUC__)
/// The same for the usual blocks: their length is known, so that scales and biases stay in registers.
template <std::size_t kBlock>
inline __attribute__((always_inline)) void scale_blocks(const float* x, float* y, std::size_t places,
                                                        const float* factor, const float* bias) noexcept {
    typedef float Block __attribute__((vector_size(kBlock * sizeof(float))));
    Block factors, biases, value;
    std::memcpy(&factors, factor, sizeof factors);
    std::memcpy(&biases, bias, sizeof biases);
    const Block zero = {};
    for (const float* end = x + places * kBlock; x != end; x += kBlock, y += kBlock) {
        std::memcpy(&value, x, sizeof value);
        value = (zero + factors * value) + biases;
        std::memcpy(y, &value, sizeof value);
    }
}

GFPQ_CLONED void scale16(const float* x, float* y, std::size_t places, const float* factor, const float* bias) noexcept {
    scale_blocks<16>(x, y, places, factor, bias);
}

GFPQ_CLONED void scale8(const float* x, float* y, std::size_t places, const float* factor, const float* bias) noexcept {
    scale_blocks<8>(x, y, places, factor, bias);
}
#endif

void scale(const float* x, float* y, std::size_t places, std::size_t block, const float* factor,
           const float* bias) noexcept {
#if defined(__GNUC__)
    if (block == 16) return scale16(x, y, places, factor, bias);
    if (block == 8) return scale8(x, y, places, factor, bias);
#endif
    scale_any(x, y, places, block, factor, bias);
}

/// A piece may reach over several blocks of channels.
void affine(const Layout& layout, const Piece& piece, const float* source, float* target, const float* factor,
            const float* bias) noexcept {
    const std::size_t run = layout.plane * layout.block;
    for (std::size_t at = piece.begin; at < piece.end;) {
        const std::size_t in_image = at % layout.image_size();
        const std::size_t channel = in_image / run * layout.block;
        const std::size_t length = std::min(piece.end - at, run - in_image % run);
        const float* x = source + (at - piece.begin);
        float* y = target + (at - piece.begin);
        const std::size_t places = length / layout.block;
        scale(x, y, places, layout.block, factor + channel, bias + channel);
        at += length;
    }
}

}  // namespace

std::size_t Transform::arity() const noexcept {
    switch (kind) {
        case Kind::affine:
            return 2;
        case Kind::add_after:
        case Kind::add_before:
            return 1;
        default:
            return 0;
    }
}

void transform(const Transform& what, const Layout& layout, const Piece& piece, const float* source, float* target,
               const float* const* operands) noexcept {
    switch (what.kind) {
        case Transform::Kind::nothing:
            break;
        case Transform::Kind::rectify:
            return rectify(source, target, piece.length());
        case Transform::Kind::clip:
            return clip(source, target, piece.length(), what.low, what.high);
        case Transform::Kind::leak:
            return leak(source, target, piece.length(), what.low);
        case Transform::Kind::affine:
            return affine(layout, piece, source, target, operands[0], operands[1]);
        case Transform::Kind::add_after:
            return add(source, operands[0] + piece.begin, target, piece.length());
        case Transform::Kind::add_before:
            return add(operands[0] + piece.begin, source, target, piece.length());
    }
}

}  // namespace gfpq::ort
