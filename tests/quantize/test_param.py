"""The parameter block: layout, checks and print."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from native.recorded import recorded_calls

from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.quantize import GfpqParam, Mode


def test_blocks_of_the_original_read_and_write_back() -> None:
    blocks = {call.block_out for call in recorded_calls() if call.block_out and call.mode in (0, 1) and call.code == 0}
    assert len(blocks) > 100
    for block in blocks:
        param = GfpqParam.unpack(block)
        assert param.pack() == block
        assert param.delta == struct.unpack("<i", block[4:8])[0]


def test_layout() -> None:
    block = GfpqParam(-77).pack()
    words = struct.unpack("<4I", block)
    n = 76
    assert words[0] == ((n << 3) | (n << 11) | (n << 21) | (n << 27)) & 0xFFFFFFFF
    assert words[2] == words[0] ^ 0xA5A5A5A5
    assert words[3] == words[2] ^ 0xFFFFFFFF


@pytest.mark.parametrize("delta", [-(2**31), -5000, -1, 0, 1, 77, 2**31 - 1])
def test_every_coefficient_round_trips(delta: int) -> None:
    assert GfpqParam.unpack(GfpqParam(delta).pack()).delta == delta


@pytest.mark.parametrize("byte", range(16))
def test_any_damaged_byte_is_noticed(byte: int) -> None:
    block = bytearray(GfpqParam(-77).pack())
    block[byte] ^= 0x10
    with pytest.raises(QuantizationError, match="corrupt"):
        GfpqParam.unpack(block)
    tolerant = GfpqParam.unpack(block, check=False)
    assert (tolerant.delta == -77) == (byte not in range(4, 8))


def test_wrong_lengths_and_ranges() -> None:
    with pytest.raises(QuantizationError, match="16 bytes, not 15"):
        GfpqParam.unpack(bytes(15))
    with pytest.raises(QuantizationError, match="32 bits"):
        GfpqParam(2**31)
    with pytest.raises(QuantizationError, match="INIT first"):
        GfpqParam().pack()
    GfpqParam(4095).validate(16)
    with pytest.raises(QuantizationError, match="-511 and 511"):
        GfpqParam(600).validate(8)


def test_print() -> None:
    block = "0x60 0x62 0x82 0x69 0xb3 0xff 0xff 0xff 0xc5 0xc7 0x27 0xcc 0x3a 0x38 0xd8 0x33"
    assert str(GfpqParam(-77)) == f"GFPQ_PARAM: {block} (coefficient -77)"
    assert "no coefficient" in str(GfpqParam())


def test_modes_have_the_numbers_of_the_c_interface() -> None:
    assert [int(mode) for mode in (Mode.INIT, Mode.UPDATE, Mode.APPLY_ONLY)] == [0, 1, 2]
    assert np.int64(2) == Mode.APPLY_ONLY
