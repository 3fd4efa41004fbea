"""Number formats, coefficients and the typed door to the native quantizer."""

from gfpq_inspect.quantize.codec import Codes, coefficient, dequantize, quantize, quantize_dequantize
from gfpq_inspect.quantize.formats import (
    FORMATS,
    GFPQ8,
    GFPQ16,
    FunctionFormat,
    Gfpq,
    all_formats,
    format_named,
    gfpq_of,
)
from gfpq_inspect.quantize.number_format import Counts, NumberFormat
from gfpq_inspect.quantize.observer import CoefficientObserver
from gfpq_inspect.quantize.param import GfpqParam, Mode
from gfpq_inspect.quantize.runtime import (
    instruction_set,
    instruction_sets,
    set_instruction_set,
    set_thread_limit,
    thread_limit,
)

__all__ = [
    "FORMATS",
    "GFPQ8",
    "GFPQ16",
    "Codes",
    "CoefficientObserver",
    "Counts",
    "FunctionFormat",
    "Gfpq",
    "GfpqParam",
    "Mode",
    "NumberFormat",
    "all_formats",
    "coefficient",
    "dequantize",
    "format_named",
    "gfpq_of",
    "instruction_set",
    "instruction_sets",
    "quantize",
    "quantize_dequantize",
    "set_instruction_set",
    "set_thread_limit",
    "thread_limit",
]
