"""What every peer script takes and gives: `python -m peers.NAME MODEL.onnx INPUTS.npz OUT.json`.

It runs from `tests/bench` in the peer's environment, whose packages may be old, so it needs only NumPy. The whole
process is measured from outside; what only the script itself can know is written to OUT.json.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]


@dataclass
class Job:
    """What a peer is to do, and what it says of it.

    Attributes:
        model: The float network.
        input_name: Its input.
        images: All samples; axis 0 counts them.
        compared: Layers or tensors that were given a score.
        variants: Quantized variants of the network that were compared with the float one.
        lanes: Networks that ran over all samples: the variants and the float one.
        phases_s: Seconds of each phase, without imports.
        start_up_s: Seconds in `phases_s` that do not grow with the samples: sessions made.
        versions: Of the packages that did the work.
    """

    model: Path
    input_name: str
    images: Images
    compared: int = 0
    variants: int = 1
    lanes: int = 2
    phases_s: dict[str, float] = field(default_factory=dict)
    start_up_s: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where files may be left; it is removed afterwards."""
        return self.model.parent

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a part of the work."""
        started = time.perf_counter()
        yield
        self.phases_s[name] = self.phases_s.get(name, 0.0) + time.perf_counter() - started

    def samples(self) -> Iterator[dict[str, Images]]:
        """One feed a sample."""
        for index in range(len(self.images)):
            yield {self.input_name: self.images[index : index + 1]}


def run(work: Callable[[Job], None], packages: Sequence[str], arguments: Sequence[str] | None = None) -> None:
    """The whole of a peer script.

    Args:
        work: Quantizes, calibrates, analyses, and fills in the job.
        packages: Distributions whose versions are told.
        arguments: MODEL.onnx, INPUTS.npz and OUT.json; by default those of the command line.
    """
    model, inputs, out = (Path(word) for word in (sys.argv[1:] if arguments is None else arguments))
    with np.load(inputs) as arrays:
        ((name, images),) = arrays.items()
    job = Job(model, name, images)
    work(job)
    job.versions = {"python": platform.python_version(), **{name: version(name) for name in packages}}
    told: dict[str, Any] = asdict(job)
    told = {key: told[key] for key in ("compared", "variants", "lanes", "phases_s", "start_up_s", "versions")}
    out.write_text(json.dumps({**told, "samples": len(images)}), encoding="utf-8")
