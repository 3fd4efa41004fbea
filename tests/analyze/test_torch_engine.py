"""The PyTorch engine on the CPU gives what the layered engine gives."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.analyze.engine.choose import check_device, engine_for
from gfpq_inspect.analyze.prepare import ComparisonOptions, prepare
from gfpq_inspect.analyze.result import Result
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.errors import MissingExtraError, UsageError


@pytest.fixture
def options(fixtures: Path, tmp_path: Path) -> ComparisonOptions:
    digits = fixtures / "digits"
    images = tmp_path / "images.npz"
    np.savez(images, data=np.load(digits / "test.npz")["data"][:6])
    return ComparisonOptions(
        first=digits / "float.caffemodel", second=digits / "quant.caffemodel", inputs=(str(images),), timing=False
    )


def compared(options: ComparisonOptions, device: str) -> Result:
    return compare_networks(prepare(dataclasses.replace(options, device=device)))


@pytest.mark.parametrize(("bits", "coefficients"), [(8, "set"), (16, "sample")])
def test_same_as_on_onnx_runtime(options: ComparisonOptions, bits: int, coefficients: str) -> None:
    pytest.importorskip("torch")
    options = dataclasses.replace(options, bits=bits, coefficients=coefficients)
    expected, found = compared(options, "cpu"), compared(options, "torch-cpu")
    assert "PyTorch" in found.run.engine
    assert "layers on the CPU" not in found.run.engine
    assert [finding.id for finding in found.findings] == [finding.id for finding in expected.findings]
    assert found.judgement.good == expected.judgement.good
    assert [entry.delta for entry in found.coefficients] == [entry.delta for entry in expected.coefficients]
    for row, twin in zip(expected.layers, found.layers, strict=True):
        for name, scores in row.scores.items():
            other = twin.scores[name]
            assert other.status == scores.status, (row.name, name)
            assert other.cosine == pytest.approx(scores.cosine, abs=1e-4), (row.name, name)


def test_a_layer_without_counterpart_is_named(options: ComparisonOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from gfpq_inspect.analyze.engine import torch_steps

    fewer = {name: function for name, function in torch_steps.OPERATORS.items() if name != "MaxPool"}
    monkeypatch.setattr(torch_steps, "OPERATORS", fewer)
    found = compared(options, "torch-cpu")
    assert "on the CPU: pool1 (MaxPool)" in found.run.engine


def test_a_provider_of_onnx_runtime_takes_what_pytorch_lacks(
    options: ComparisonOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from gfpq_inspect.analyze.engine import torch_layered, torch_steps

    expected = compared(options, "torch-cpu")
    fewer = {name: function for name, function in torch_steps.OPERATORS.items() if name not in ("MaxPool", "Conv")}
    monkeypatch.setattr(torch_steps, "OPERATORS", fewer)
    # The CPU's provider stands in for the GPU's: tensors are bound in place all the same.
    monkeypatch.setattr(torch_layered, "provider_for", lambda _: ("CPUExecutionProvider", {}))
    found = compared(options, "torch-cpu")
    assert "on the CPU:" not in found.run.engine
    for row, twin in zip(expected.layers, found.layers, strict=True):
        for name, scores in row.scores.items():
            assert twin.scores[name].cosine == pytest.approx(scores.cosine, abs=1e-4), (row.name, name)


def test_a_provider_is_none_without_a_gpu() -> None:
    pytest.importorskip("torch")
    from gfpq_inspect.analyze.engine.torch_device import TorchDevice
    from gfpq_inspect.analyze.engine.torch_provider import provider_for

    assert provider_for(TorchDevice("cpu")) is None


def test_without_pytorch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("gfpq_inspect.analyze.engine.torch_")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match=r"gfpq-inspect\[torch\]"):
        engine_for(None, "cuda")  # type: ignore[arg-type]  # it is not looked at


def test_without_a_gpu_the_error_says_so(options: ComparisonOptions) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UsageError, match="finds no CUDA GPU"):
        compared(options, "cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", ""])
def test_other_devices_do_not_exist(name: str) -> None:
    with pytest.raises(UsageError, match="is unknown"):
        check_device(name)
