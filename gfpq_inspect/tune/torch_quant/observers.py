"""Where the coefficient of a quantization point comes from: the batch, all batches so far, or the past."""

from __future__ import annotations

from typing import Any

from torch import nn

from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.quantize import GfpqParam, Mode, gfpq_of, kernels
from gfpq_inspect.tune.torch_quant.operator import UNSET, State
from gfpq_inspect.tune.torch_quant.tensors import Tensor


class Observer(nn.Module):
    """What a quantization point remembers.

    Its state lies in buffers, so that it is saved, loaded, copied and moved with the model. In data
    parallel training each replica works on its part of the batch; what the first one saw is kept.

    Args:
        bits: 8 or 16.

    Attributes:
        bits: Bit width.
        frozen: True when the stored coefficient is used and never changes.
        state: int64 [4], as `operator.State` says.

    Raises:
        QuantizationError: Bad bits.
    """

    state: Tensor

    def __init__(self, bits: int = 8) -> None:
        super().__init__()
        gfpq_of(bits)
        self.bits = bits
        self.frozen = False
        self.register_buffer("state", State().tensor())

    @property
    def mode(self) -> Mode:
        """What the next call does: UPDATE in training (INIT is UPDATE of nothing), APPLY_ONLY otherwise."""
        return Mode.UPDATE if self.training and not self.frozen else Mode.APPLY_ONLY

    def absorb(self, state: Tensor) -> None:
        """Remember what a call found.

        Args:
            state: Of `operator.quantize`.
        """
        if self.mode != Mode.APPLY_ONLY:
            self.state.copy_(state)

    @property
    def seen(self) -> State:
        """The state as numbers."""
        return State.of(self.state)

    def freeze(self) -> None:
        """Keep the coefficient as it is from now on.

        Raises:
            QuantizationError: There is none yet.
        """
        self.param()
        self.frozen = True

    def unfreeze(self) -> None:
        """Let training raise the coefficient again."""
        self.frozen = False

    def reset(self) -> None:
        """Forget everything."""
        self.frozen = False
        self.state.copy_(State().tensor())

    def param(self) -> GfpqParam:
        """The coefficient as a parameter, for the mapper and for `quantize_dequantize`.

        Raises:
            QuantizationError: Nothing was observed.
        """
        seen = self.seen
        if seen.delta == UNSET:
            raise QuantizationError("the observer has seen no data; run a batch in training mode first.")
        return GfpqParam(seen.delta, nonfinite=seen.nonfinite, all_zero=seen.batches > 0 and seen.largest == 0.0)

    def get_extra_state(self) -> dict[str, Any]:
        """What the state dictionary holds beside the buffers."""
        return {"bits": self.bits, "frozen": self.frozen}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take over what `get_extra_state` gave.

        Raises:
            QuantizationError: It belongs to another bit width.
        """
        if state["bits"] != self.bits:
            raise QuantizationError(
                f"the state is that of an observer of {state['bits']} bit, this one has {self.bits}; make the model "
                "with the bit width that it was trained with."
            )
        self.frozen = bool(state["frozen"])

    def extra_repr(self) -> str:
        """For print(model)."""
        delta = self.seen.delta
        text = f"bits={self.bits}, delta={None if delta == UNSET else delta}"
        return f"{text}, frozen" if self.frozen else text


class UpdateObserver(Observer):
    """INIT with the first batch of training, UPDATE with the others, APPLY in evaluation: Caffe's Quant layer."""


class RunningMaximumObserver(Observer):
    """The coefficient of the largest magnitude so far.

    The same numbers as `UpdateObserver`, since the coefficient grows with the magnitude, and one thing more: a maximum
    can be given to start from, as a percentile of the data or a clip value that a network was trained with.

    Args:
        bits: 8 or 16.
        start: Magnitude to start from.
    """

    def __init__(self, bits: int = 8, start: float = 0.0) -> None:
        super().__init__(bits)
        if not 0.0 <= start < float("inf"):
            raise QuantizationError(f"a magnitude is not negative and finite, got {start}.")
        if start:
            self.state.copy_(State(kernels.coefficient_of(start, bits), largest=start).tensor())


class BatchObserver(Observer):
    """INIT with every tensor, in training and evaluation; for weights, which change with every step."""

    @property
    def mode(self) -> Mode:
        """INIT, unless frozen."""
        return Mode.APPLY_ONLY if self.frozen else Mode.INIT


class FrozenObserver(Observer):
    """A coefficient that is known: of a caffemodel, of qParameters, of an earlier run.

    Args:
        delta: The coefficient.
        bits: 8 or 16.
    """

    def __init__(self, delta: int, bits: int = 8) -> None:
        super().__init__(bits)
        GfpqParam(delta).validate(bits)
        self.state.copy_(State(delta).tensor())
        self.frozen = True
