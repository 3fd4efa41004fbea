"""The 16-byte parameter block of GFPQ, as an object.

Four little-endian words: word 1 is the coefficient, and the others follow from it. With n = ~coefficient (32 bit):

    word 0 = A = (n << 3) | (n << 11) | (n << 21) | (n << 27)    modulo 2^32
    word 2 = A xor 0xA5A5A5A5
    word 3 = ~(word 2)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from gfpq_inspect import _native
from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.quantize.formats import gfpq_of

BLOCK_LENGTH = 16
_LOWEST, _HIGHEST = -(2**31), 2**31 - 1


class Mode(IntEnum):
    """What a call does with the coefficient (the numbers are those of the C interface)."""

    INIT = 0
    """From the data, and stored."""
    UPDATE = 1
    """The larger of the stored one and the one from the data, and stored."""
    APPLY_ONLY = 2
    """The stored one as it is."""


@dataclass
class GfpqParam:
    """A coefficient that calls read and write, with what the last call saw.

    Attributes:
        delta: The coefficient, or None before the first INIT.
        elements: Elements of the last tensor.
        nonfinite: Infinities and NaN in it.
        all_zero: True when it held no finite element but zeros: the coefficient is then that of the magnitude 1e-6.
    """

    delta: int | None = None
    elements: int = 0
    nonfinite: int = 0
    all_zero: bool = False

    def __post_init__(self) -> None:
        if self.delta is not None and not _LOWEST <= self.delta <= _HIGHEST:
            raise QuantizationError(f"the coefficient {self.delta} does not fit the 32 bits of a parameter block.")

    def required(self) -> int:
        """The coefficient.

        Raises:
            QuantizationError: There is none yet.
        """
        if self.delta is None:
            raise QuantizationError("the parameter holds no coefficient yet; call with mode INIT first.")
        return self.delta

    def pack(self) -> bytes:
        """The block of 16 bytes.

        Raises:
            QuantizationError: There is no coefficient yet.
        """
        return _native.pack_parameters(self.required())

    @classmethod
    def unpack(cls, block: bytes | bytearray | memoryview, *, check: bool = True) -> GfpqParam:
        """Read a block.

        Args:
            block: 16 bytes.
            check: Refuse a block whose words contradict each other; the original library looks at word 1 only.

        Raises:
            QuantizationError: A wrong length, or a corrupt block.
        """
        data = bytes(block)
        if len(data) != BLOCK_LENGTH:
            raise QuantizationError(f"a parameter block has {BLOCK_LENGTH} bytes, not {len(data)}.")
        delta = _native.unpack_parameters(data)
        if check and not _native.parameters_are_intact(data):
            expected = _native.pack_parameters(delta)
            wrong = [word for word in (0, 2, 3) if data[4 * word : 4 * word + 4] != expected[4 * word : 4 * word + 4]]
            words = " and ".join(f"word {word}" for word in wrong)
            verb = "does" if len(wrong) == 1 else "do"
            raise QuantizationError(
                f"the parameter block {data.hex(' ')} is corrupt: {words} {verb} not belong to the "
                f"coefficient {delta}; make it again with INIT, or unpack it with check=False."
            )
        return cls(delta)

    def validate(self, bits: int) -> None:
        """Check that data of this bit width can have given the coefficient.

        Raises:
            QuantizationError: There is none yet, or it lies outside the range of the format.
        """
        number_format = gfpq_of(bits)
        delta = self.required()
        if not number_format.lowest_coefficient <= delta <= number_format.highest_coefficient:
            raise QuantizationError(
                f"no tensor gives the coefficient {delta} at {bits} bit, where it is between "
                f"{number_format.lowest_coefficient} and {number_format.highest_coefficient}; "
                "was it made for another width?"
            )

    def __str__(self) -> str:
        if self.delta is None:
            return "GFPQ_PARAM: no coefficient yet"
        return f"GFPQ_PARAM: {' '.join(f'0x{byte:02x}' for byte in self.pack())} (coefficient {self.delta})"
