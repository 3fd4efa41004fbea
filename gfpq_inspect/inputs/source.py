"""What the analyzer needs of its input: samples with identities, in batches, as often as it asks.

The readers of this room (arrays, images, synthetic noise, ...) each give a `SampleSource`; the analyzer knows nothing
of files. A source is read more than once (calibration, then measurement), so it must give the same bytes each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class InputFacts:
    """What the networks were fed.

    Attributes:
        synthetic: True for seeded noise; every report then says so in plain sight.
        description: One clause ('8 images from photographs/*.jpg', 'seeded uniform noise, seed 0').
        sample_count: Samples measured.
        samples: Identities (base file name, `file[index]`), at most 1 000 of them.
        preprocessing: Option name to text, for the record.
        seed: Of synthetic input, else None.
        sha256: Of all input bytes in order.
    """

    synthetic: bool
    description: str
    sample_count: int
    samples: tuple[str, ...]
    preprocessing: Mapping[str, str]
    seed: int | None
    sha256: str


class SampleSource(Protocol):
    """Samples for all inputs of a network.

    A *sample* of an input is one array of exactly the shape that the caller names for that input (its axis 0
    included: for a network that counts samples there, the caller names 1). A batch of `k` samples holds them one
    after another along axis 0, so its arrays have `k` times that axis; a scalar input (shape `()`) is only ever asked
    for with a batch size of 1.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Inputs it feeds, by `ModelInput.name`."""
        ...

    @property
    def count(self) -> int:
        """Number of samples, at least 1."""
        ...

    @property
    def identities(self) -> Sequence[str]:
        """One name for people a sample, in order: base file name, `file[index]`, 'synthetic[3]'."""
        ...

    def batches(self, size: int, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, NDArray[Any]]]:
        """Read the samples in order, from the first, `size` at a time (the last batch may hold fewer).

        Args:
            size: Samples a batch, at least 1.
            shapes: Input name to the shape of one sample, without open dimensions.

        Yields:
            Input name to a C-contiguous array; float32 for images and noise, else as it was stored. The caller does
            not write to them.

        Raises:
            InputError: A file that cannot be read, a shape that does not fit, values that are not finite.
        """
        ...

    def facts(self) -> InputFacts:
        """What a report says of the input; complete once the samples were read."""
        ...
