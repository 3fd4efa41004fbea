"""Networks in which faults are planted: the project's own, and real ones where they are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gfpq_inspect.analyze.prepare import ComparisonOptions, prepare
from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.result import Finding, Result
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.inputs.options import InputOptions
from gfpq_inspect.inputs.source import InputFacts, SampleSource
from gfpq_inspect.models.model import Model

TOLD = ("error", "warning")


@dataclass(frozen=True)
class Network:
    """A network with the samples and the preprocessing that it was made for.

    Attributes:
        folder: Under the shared models, or under the fixtures.
        weights: Its file.
        structure: Its prototxt, or None.
        inputs: Files, under the shared folder or the fixtures.
        preprocessing: As it was trained.
    """

    folder: str
    weights: str
    structure: str | None
    inputs: tuple[str, ...]
    preprocessing: InputOptions


PHOTOGRAPHS = ("models/images/voc/*.jpg", "models/images/misc/*.jpg")

DIGITS = Network("digits", "float.caffemodel", "float.prototxt", ("digits/test.npz",), InputOptions(samples=48))

SHARED: Mapping[str, Network] = {
    "opennsfw": Network(
        "opennsfw_resnet50_1by2",
        "resnet_50_1by2_nsfw.caffemodel",
        "deploy.prototxt",
        PHOTOGRAPHS,
        InputOptions(mean=(104.0, 117.0, 123.0), channel_order="bgr", samples=8),
    ),
    "retinaface": Network(
        "retinaface_mnet25",
        "mnet.caffemodel",
        "mnet.prototxt",
        PHOTOGRAPHS,
        InputOptions(channel_order="rgb", samples=8),
    ),
    "mbv2_yolov3": Network(
        "mbv2_yolov3_nano_voc",
        "MobileNetV2-YOLOv3-Nano-voc.caffemodel",
        "MobileNetV2-YOLOv3-Nano-voc.prototxt",
        PHOTOGRAPHS,
        InputOptions(scale=1 / 256, channel_order="rgb", samples=8),
    ),
    "ultraface": Network(
        "ultraface_slim_320",
        "slim-320.caffemodel",
        "slim-320.prototxt",
        PHOTOGRAPHS,
        InputOptions(mean=127.0, scale=1 / 128, channel_order="rgb", samples=8),
    ),
    "ultraface_onnx": Network(
        "ultraface_slim_320",
        "version-slim-320_without_postprocessing.onnx",
        None,
        PHOTOGRAPHS,
        InputOptions(mean=127.0, scale=1 / 128, channel_order="rgb", samples=8),
    ),
    "wechat_detect": Network(
        "wechat_qr_detect",
        "detect.caffemodel",
        "detect.prototxt",
        PHOTOGRAPHS,
        InputOptions(scale=1 / 255, channel_order="gray", samples=8),
    ),
    "ssd": Network(
        "ssd_res10_face",
        "res10_300x300_ssd_iter_140000.caffemodel",
        "deploy.prototxt",
        PHOTOGRAPHS,
        InputOptions(mean=(104.0, 177.0, 123.0), channel_order="bgr", samples=8),
    ),
    "lenet": Network(
        "lenet_mnist_v1",
        "lenet_iter_10000.caffemodel",
        "lenet.prototxt",
        ("models/images/mnist/t10k-images-idx3-ubyte.gz",),
        InputOptions(scale=1 / 256, samples=48),
    ),
}


def request_of(network: Network, root: Path, **changes: Any) -> ComparisonRequest:
    """A comparison of the network with itself, quantized.

    Args:
        network: Which.
        root: The shared folder, or that of the fixtures.
        changes: Of its preprocessing.
    """
    folder = root / network.folder if (root / network.folder).is_dir() else root / "models" / network.folder
    options = ComparisonOptions(
        first=folder / network.weights,
        first_structure=folder / network.structure if network.structure else None,
        inputs=[str(root / entry) for entry in network.inputs],
        preprocessing=replace(network.preprocessing, **changes),
        timing=False,
    )
    return prepare(options)


def compare(request: ComparisonRequest, second: Model | None = None, **changes: Any) -> Result:
    """Compare with another second model."""
    return compare_networks(replace(request, second=second, isolate=False, **changes))


def first_told(result: Result) -> Finding:
    """What the report says first."""
    return result.findings[0]


def told(result: Result) -> list[tuple[str, str, str]]:
    """Every error and warning, in order: id, severity, what was measured."""
    return [(entry.id, entry.severity, entry.measured) for entry in result.findings if entry.severity in TOLD]


class ChangedSource:
    """Samples of another source, changed.

    Args:
        source: The other source.
        change: Applied to every array.
    """

    def __init__(self, source: SampleSource, change: Any) -> None:
        self._source = source
        self._change = change
        self.names, self.count, self.identities = source.names, source.count, source.identities

    def batches(self, size: int, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, NDArray[Any]]]:
        """See `SampleSource`."""
        for arrays in self._source.batches(size, shapes):
            yield {name: self._change(array).astype(array.dtype) for name, array in arrays.items()}

    def facts(self) -> InputFacts:
        """See `SampleSource`."""
        return self._source.facts()


def severities(findings: Sequence[Finding]) -> dict[str, str]:
    """Id to severity."""
    return {entry.id: entry.severity for entry in findings}
