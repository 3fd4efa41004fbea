"""Where quantization points sit: which layers NNIE computes in 8 or 16 bits, and why the others stay float."""

from __future__ import annotations

from gfpq_inspect.models.model import LayerKind, Quantization

_CONVOLUTIONS = frozenset(
    {
        "Convolution",
        "Deconvolution",
        "DepthwiseConvolution",
        "DepthwiseConv",
        "DepthWiseConv",
        "ConvolutionDepthwise",
        "ConvolutionDepthWise",
        "DeconvolutionDepthwise",
        "DepthwiseDeconvolution",
    }
)
CAFFE_QUANTIZED_TYPES = _CONVOLUTIONS | {"InnerProduct", "Pooling"}
"""Caffe layer types whose data, and weights where they have any, NNIE quantizes (guide section 1)."""

_SUFFIXES = ("_report", "_hp", "_cpu")


def name_suffixes(name: str) -> frozenset[str]:
    """Return NNIE's markers at the end of a layer or top name, in any order: `_hp`, `_report`, `_cpu`."""
    found: set[str] = set()
    while True:
        suffix = next((one for one in _SUFFIXES if name.endswith(one) and one not in found), None)
        if suffix is None:
            return frozenset(found)
        found.add(suffix)
        name = name.removesuffix(suffix)


def caffe_quantization(
    name: str, layer_type: str, kind: LayerKind, bottoms: tuple[str, ...], weights: tuple[str, ...]
) -> tuple[Quantization | None, str]:
    """Return what NNIE quantizes in a Caffe layer, and one clause that says why.

    Args:
        name: Layer name; `_hp` asks for 16 bits, `_cpu` takes the layer off the chip.
        layer_type: Caffe's type string.
        kind: What the layer is for.
        bottoms: Values that it reads.
        weights: Initializers that are quantized per tensor.
    """
    if kind is LayerKind.CONSTANT:
        return None, "a constant: no data reach it"
    if layer_type not in CAFFE_QUANTIZED_TYPES:
        return None, f"NNIE computes {layer_type} in float"
    suffixes = name_suffixes(name)
    if "_cpu" in suffixes:
        return None, "runs on the CPU (suffix _cpu)"
    bits = 16 if "_hp" in suffixes else None
    what = "data and weights" if weights else "data"
    reason = f"NNIE quantizes the {what} of {layer_type}"
    if bits == 16:
        reason += ", with 16 bits (suffix _hp)"
    return Quantization(inputs=tuple(dict.fromkeys(bottoms)), weights=weights, bits=bits), reason
