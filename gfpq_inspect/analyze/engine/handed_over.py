"""Which weights are handed over at run time, as data are, instead of lying inside a session."""

from __future__ import annotations

from collections.abc import Sequence

BLOCKED_DOMAIN = "com.microsoft.nchwc"
"""ONNX Runtime's own operators on blocks of channels."""

CONVOLUTIONS = frozenset({"Conv"})
"""Operators whose weights may always be handed over: the kernel computes the same with them and without. That of
ConvTranspose does not: it turns the weights that it finds in the graph, and adds in another order from then on."""

MATRIX_PRODUCTS = frozenset({"Gemm", "MatMul"})
"""Operators whose weights are handed over where they are large."""

# A matrix inside a session is packed, which is fast for batches and gives a sample the same bits in any batch, but
# costs two further copies a variant; larger ones are fed like convolution weights, and samples then run one by one.
_LARGEST_PACKED_BYTES = 8 << 20


def is_fed(places: Sequence[tuple[str, str, int]], size: int) -> bool:
    """Whether an initializer is handed over at run time instead of being packed inside a session.

    Args:
        places: Operator, domain and place among the inputs of every node that reads it.
        size: Its bytes.
    """
    return bool(places) and all(
        domain in ("", "ai.onnx", BLOCKED_DOMAIN)
        and (
            (operator in CONVOLUTIONS and index == 1)
            or (operator in MATRIX_PRODUCTS and index <= 1 and size > _LARGEST_PACKED_BYTES)
        )
        for operator, domain, index in places
    )
