"""On a GPU: the bits that the CPU gives, and the training scripts as they are. Skipped where there is none."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cupy", reason="needs CuPy")
if not torch.cuda.is_available():
    pytest.skip("needs a CUDA GPU", allow_module_level=True)

from gfpq_inspect.errors import QuantizationError  # noqa: E402  (needs PyTorch and a GPU)
from gfpq_inspect.quantize import kernels  # noqa: E402 (after the skip)
from gfpq_inspect.tune.nnieqat import (  # noqa: E402 (after the skip)
    merge_freeze_bn,
    quant_dequant_weight,
    register_quantization_hook,
    unquant_weight,
)
from gfpq_inspect.tune.torch_quant import FakeQuantize, QuantizedWeights, fake_quantize, quantize_data  # noqa: E402 (after the skip)

from ..nnieqat.test_run import TRAINING  # noqa: E402 (after the skip)
from .networks import MODELS, batch, trained  # noqa: E402 (after the skip)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_same_bits_as_on_the_cpu(bits: int, dtype: Any) -> None:
    values = torch.randn(5, 7, 9, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    for arranged in (values, values.contiguous(memory_format=torch.channels_last), values[:, ::2], values[0, 0, 0, 0]):
        for delta in (None, -100 * bits // 8):
            there = arranged.cuda().requires_grad_()
            found = fake_quantize(there, bits, delta)
            assert torch.equal(found.cpu(), fake_quantize(arranged, bits, delta))
            found.sum().backward()
            assert torch.equal(there.grad, torch.ones_like(there))
    module, other = FakeQuantize(bits).cuda(), FakeQuantize(bits)
    for factor in (1, 4, 2):
        assert torch.equal(module((values * factor).cuda()).cpu(), other(values * factor))
    assert module.observer.seen == other.observer.seen
    with pytest.raises(QuantizationError, match="1 NaN"):
        fake_quantize(torch.tensor([1.0, float("nan")]).cuda())


@pytest.mark.parametrize("name", MODELS)
def test_training_keeps_its_master(name: str) -> None:
    model = trained(name).cuda().train()
    quantize_data(model)
    weights = QuantizedWeights(model)
    before = copy.deepcopy(model.state_dict())
    with torch.autocast("cuda", dtype=torch.float16), weights.quantized():
        loss = model(batch(model).cuda()).float().square().mean()
    loss.backward()
    for key in weights.names:
        assert torch.equal(model.state_dict()[f"{key}.weight"], before[f"{key}.weight"])
    state = weights.state_dict()
    assert all(kernels.on_grid(state[f"{key}.weight"].cpu().contiguous().numpy(), 8) for key in weights.names)


@pytest.mark.parametrize("name", MODELS)
def test_hooks(name: str) -> None:
    model = trained(name)
    register_quantization_hook(model)
    model.cuda().train()
    merge_freeze_bn(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
    losses = []
    for _ in range(15):
        data = batch(model, 32).cuda()
        optimizer.zero_grad()
        loss = (model(data) - data.mean((1, 2, 3))[:, None]).square().mean()
        loss.backward()
        model.apply(unquant_weight)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    model.apply(quant_dequant_weight)
    model.cpu()
    model.apply(unquant_weight)


def test_a_script_that_takes_the_gpu_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAINING)
    command = [sys.executable, "-m", "gfpq_inspect.tune.nnieqat", "train.py", "out.pth"]
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    state = torch.load(tmp_path / "out.pth", weights_only=True)["state_dict"]
    assert all(value.is_cuda for value in state.values())
    weights = [one for key, one in state.items() if key.endswith("weight") and one.dim() > 1]
    assert all(kernels.on_grid(one.cpu().numpy(), 8) for one in weights)
