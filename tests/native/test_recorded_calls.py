"""Every recorded call of the original library comes out bit for bit, with every kernel this machine has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from gfpq_inspect import _native

from .recorded import RecordedCall, recorded_calls

INSTRUCTION_SETS = [n for n in ("reference", "baseline", "neon", "avx2", "avx512") if n in _native.instruction_sets()]


@pytest.fixture(params=INSTRUCTION_SETS)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Forces one kernel, and goes back afterwards."""
    before = _native.instruction_set()
    assert _native.set_instruction_set(request.param)
    yield request.param
    assert _native.set_instruction_set(before)


def test_there_are_as_many_calls_as_were_recorded() -> None:
    assert len(recorded_calls()) == 342


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("call", recorded_calls(), ids=str)
def test_recorded_call(call: RecordedCall) -> None:
    data = call.data_in.copy()
    code, block = _native.quantize_dequantize(data, call.bits, call.mode, call.block_in)
    assert code & 0xFFFFFFFF == call.code
    assert block == call.block_out
    assert data.tobytes() == call.data_out.tobytes()


@pytest.mark.usefixtures("instruction_set")
def test_the_sample_of_the_guide() -> None:
    data = np.arange(10, dtype=np.float32)
    code, block = _native.quantize_dequantize(data, 8, 0, bytes(16))
    expected = [0, 1, 2, 2.9536524, 4, 4.967431, 5.907305, 7.0250087, 8, 8.724062]
    assert code == 0
    assert data.tolist() == np.array(expected, dtype=np.float32).tolist()
    assert block == bytes.fromhex("60628269b3ffffffc5c727cc3a38d833")
