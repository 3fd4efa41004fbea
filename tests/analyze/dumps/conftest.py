"""Dumps of the digits network, made by writers that share no code with the readers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gfpq_inspect.analyze.prepare import ComparisonOptions, prepare
from gfpq_inspect.analyze.result import Finding, LayerRow, Result
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.inputs.options import InputOptions
from gfpq_inspect.models.model import Model
from tests.inputs.dumps import network, writers

Array = NDArray[Any]
Writer = Callable[..., Path]


class Digits:
    """The digits network, a few images, and their tensors."""

    def __init__(self, fixtures: Path, folder: Path) -> None:
        self.path = fixtures / "digits" / "float.caffemodel"
        self.model: Model = network.digits(fixtures)
        self.images = network.digit_images(fixtures, 4)
        self.plain = network.float_tensors(self.model, self.images[0])
        self.chip = network.chip_tensors(self.model, self.images[0])
        self.folder = folder
        np.savez(folder / "one.npz", data=self.images[:1])
        np.savez(folder / "four.npz", data=self.images)

    @property
    def one(self) -> str:
        """The first image."""
        return str(self.folder / "one.npz")

    @property
    def four(self) -> str:
        """All images."""
        return str(self.folder / "four.npz")

    def mapper(self, folder: Path, values: Mapping[str, Array] | None = None, *, bits: int = 8) -> Path:
        """A mapper_quant folder: outputs of blobs in 20.12, inputs of quantized layers as codes and floats."""
        values = self.chip if values is None else values
        target = folder / "mapper_quant"
        target.mkdir(parents=True)
        for name, array in network.blobs(self.model, values).items():
            if name != "data":
                writers.write_mapper_output(target, name, array)
        for layer in self.model.layers:
            if layer.quantization is not None:
                for port, value in enumerate(layer.inputs):
                    writers.write_mapper_input(target, layer.name, values[value], port, bits=bits)
        return target

    def caffe(self, folder: Path, values: Mapping[str, Array] | None = None) -> Path:
        """RuyiStudio's feature maps by blob, in float."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in network.blobs(self.model, self.plain if values is None else values).items():
            writers.write_caffe(folder, name, array)
        return folder

    def npy(self, folder: Path, change: Mapping[str, Array] | None = None) -> Path:
        """A .npy a layer, some of them replaced."""
        tensors = network.by_layer(self.model, self.plain) | dict(change or {})
        return writers.write_npy(folder, tensors)

    def compare(self, first: Path, second: Path, *inputs: str, **options: Any) -> Result:
        """Run a comparison."""
        preprocessing = options.pop("preprocessing", InputOptions())
        return compare_networks(
            prepare(
                ComparisonOptions(
                    first=first, second=second, inputs=inputs, timing=False, preprocessing=preprocessing, **options
                )
            )
        )


@pytest.fixture(scope="session")
def digits(fixtures: Path, tmp_path_factory: pytest.TempPathFactory) -> Digits:
    """See `Digits`."""
    return Digits(fixtures, tmp_path_factory.mktemp("digits"))


def finding(result: Result, name: str) -> Finding:
    """The finding of a check."""
    return next(entry for entry in result.findings if entry.id == name)


def row(result: Result, key: str) -> LayerRow:
    """A row of the table."""
    return next(entry for entry in result.layers if entry.key == key)


def told(result: Result) -> dict[str, str]:
    """Checks of dumps that found something."""
    return {
        entry.id: entry.severity
        for entry in result.findings
        if entry.id.startswith("dump-") and entry.severity in ("error", "warning", "note")
    }
