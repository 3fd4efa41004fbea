"""Loops that scripts have beside the plain one: inference mode, checkpointing, distributed, accumulation, scalers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from gfpq_inspect.tune.nnieqat import (  # noqa: E402  (needs PyTorch)
    merge_freeze_bn,
    quant_dequant_weight,
    register_quantization_hook,
    unquant_weight,
)

from ..torch_quant.networks import batch, trained  # noqa: E402 (after the skip)
from .test_hooks import all_on_grid, train, weights  # noqa: E402 (after the skip)

nn = torch.nn


@pytest.fixture
def model() -> Any:
    made = trained("plain")
    register_quantization_hook(made)
    return merge_freeze_bn(made).train()


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_evaluating_between_steps(model: Any, mode: Any) -> None:
    before = weights(model)
    with mode():
        model.eval()(batch(model))
        model.apply(quant_dequant_weight)
    assert all_on_grid(model)
    with mode():
        model(batch(model))
    losses = train(model.train(), 12)
    assert losses[-1] < losses[0]
    assert any(not torch.equal(one, before[name]) for name, one in weights(model).items())


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.filterwarnings("ignore:.*requires_grad:UserWarning")
def test_checkpointed_activations(model: Any, reentrant: bool) -> None:
    data = batch(model)
    model(data).square().sum().backward()
    expected = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    model.zero_grad()
    middle = torch.utils.checkpoint.checkpoint(model.features, data.requires_grad_(), use_reentrant=reentrant)
    found = model.up_norm(model.up(middle)).relu().mean((2, 3))
    model.fc(found).square().sum().backward()
    for name, one in expected.items():
        torch.testing.assert_close(dict(model.named_parameters())[name].grad, one, msg=name)


def test_distributed_on_one_process(model: Any, tmp_path: Path) -> None:
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this PyTorch has no gloo")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
        try:
            wrapped = nn.parallel.DistributedDataParallel(model)
            optimizer = torch.optim.SGD(wrapped.parameters(), lr=1e-2, momentum=0.9)
            losses = []
            for _ in range(10):
                merge_freeze_bn(wrapped.train())
                data = batch(model, 32)
                optimizer.zero_grad()
                loss = (wrapped(data) - data.mean((1, 2, 3))[:, None]).square().mean()
                loss.backward()
                wrapped.apply(unquant_weight)
                optimizer.step()
                losses.append(loss.item())
        finally:
            torch.distributed.destroy_process_group()
    assert losses[-1] < losses[0]


def test_accumulated_gradients_are_the_sum(model: Any) -> None:
    one, other = batch(model, seed=1), batch(model, seed=2)
    for data in (one, other):  # settles the coefficients of data
        model(data)
    model.zero_grad()
    sums = []
    for data in (one, other):
        model(data).square().sum().backward()
    sums = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    model.zero_grad()
    model(torch.cat((one, other))).square().sum().backward()
    for name, value in sums.items():
        torch.testing.assert_close(dict(model.named_parameters())[name].grad, value, rtol=1e-3, atol=1e-4, msg=name)


def test_an_optimizer_that_writes_data(model: Any) -> None:
    """Old optimizers write `p.data` and leave no trace in version counters."""
    for _ in range(3):
        model.zero_grad()
        model(batch(model)).square().sum().backward()
        model.apply(unquant_weight)
        before = weights(model)
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.data.add_(parameter.grad, alpha=-1e-4)
        assert any(not torch.equal(one, before[name]) for name, one in weights(model).items())
    after = weights(model)
    model(batch(model))
    model.apply(unquant_weight)
    assert all(torch.equal(one, after[name]) for name, one in weights(model).items())


def test_lazy_modules() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    register_quantization_hook(model)
    merge_freeze_bn(model)
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    assert all_on_grid(model)
    model.apply(unquant_weight)
    assert not all_on_grid(model)
