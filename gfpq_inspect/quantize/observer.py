"""Coefficients over many batches: what UPDATE does, without touching the data, and mergeable across workers."""

from __future__ import annotations

from dataclasses import dataclass, field

from gfpq_inspect import _native
from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.quantize import arrays
from gfpq_inspect.quantize.arrays import ArrayLike
from gfpq_inspect.quantize.codec import NonfinitePolicy
from gfpq_inspect.quantize.formats import gfpq_of
from gfpq_inspect.quantize.kernels import coefficient_of
from gfpq_inspect.quantize.param import GfpqParam


@dataclass
class CoefficientObserver:
    """Watches tensors and yields the coefficient that covers them all.

    Observing batches one after the other, in any order and on any number of observers that are merged, gives what
    INIT on the first and UPDATE on the others gives.

    Attributes:
        bits: 8 or 16.
        nonfinite_policy: 'error' raises at the first batch with infinities or NaN, 'count' goes on without them.
        delta: Coefficient so far, or None before the first batch.
        largest: Largest finite magnitude so far.
        batches: Batches seen, empty ones left out.
        elements: Elements seen.
        nonfinite: Infinities and NaN seen.
        zero_batches: Batches that held nothing but zeros (their coefficient is that of the magnitude 1e-6).
    """

    bits: int = 8
    nonfinite_policy: NonfinitePolicy = "error"
    delta: int | None = field(default=None, init=False)
    largest: float = field(default=0.0, init=False)
    batches: int = field(default=0, init=False)
    elements: int = field(default=0, init=False)
    nonfinite: int = field(default=0, init=False)
    zero_batches: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        gfpq_of(self.bits)

    def observe(self, batch: ArrayLike) -> int | None:
        """Take a batch into account.

        Returns:
            The coefficient so far.

        Raises:
            QuantizationError: No floating-point array, or something is not finite and the policy is 'error'; the batch
                is then left out.
        """
        elements = arrays.take(batch).elements
        if elements.size == 0:
            return self.delta
        largest, nan_count, infinity_count, _ = _native.largest_magnitude(elements)
        if nan_count + infinity_count and self.nonfinite_policy == "error":
            raise QuantizationError(
                f"batch {self.batches} holds {nan_count + infinity_count} elements that are not finite; "
                "mend the data, or observe with nonfinite_policy='count'."
            )
        magnitude = float("inf") if largest == 0.0 and infinity_count else largest
        self._raise_to(coefficient_of(magnitude, self.bits))
        self.largest = max(self.largest, largest)
        self.batches += 1
        self.elements += elements.size
        self.nonfinite += nan_count + infinity_count
        self.zero_batches += magnitude == 0.0
        return self.delta

    def merge(self, other: CoefficientObserver) -> None:
        """Take in what another observer saw.

        Raises:
            QuantizationError: It watches for another bit width.
        """
        if other.bits != self.bits:
            raise QuantizationError(f"an observer of {other.bits} bit cannot be merged into one of {self.bits} bit.")
        if other.delta is not None:
            self._raise_to(other.delta)
        self.largest = max(self.largest, other.largest)
        self.batches += other.batches
        self.elements += other.elements
        self.nonfinite += other.nonfinite
        self.zero_batches += other.zero_batches

    def param(self) -> GfpqParam:
        """The coefficient as a parameter, ready for APPLY_ONLY.

        Raises:
            QuantizationError: Nothing was observed.
        """
        if self.delta is None:
            raise QuantizationError("the observer has seen no data; observe at least one batch first.")
        return GfpqParam(self.delta, self.elements, self.nonfinite, all_zero=self.zero_batches == self.batches)

    def _raise_to(self, delta: int) -> None:
        self.delta = delta if self.delta is None else max(self.delta, delta)
