"""Weights in two forms, data points, BatchNorm folded and frozen."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.quantize import coefficient, kernels, quantize_dequantize

torch = pytest.importorskip("torch")

from gfpq_inspect.tune.torch_quant import (  # noqa: E402  (needs PyTorch)
    BatchObserver,
    MasterWarning,
    QuantizedWeights,
    fold_batch_norms,
    freeze_batch_norm,
    quantize_data,
    remove_data_points,
    unfreeze_batch_norm,
)

from .networks import MODELS, batch, trained  # noqa: E402 (after the skip)

nn = torch.nn
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="DataParallel wants its model on the GPU, see test_cuda")
PARALLEL = pytest.param(nn.DataParallel, marks=NO_GPU)


def norms(model: Any) -> dict[str, Any]:
    return {name: one for name, one in model.named_modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)}


EXPECTED = {
    "plain": {"features.0.1": "features.0.0", "features.1.0.1": "features.1.0.0", "up_norm": "up"},
    "residual": {"norm1": "conv1", "norm2": "conv2", "fc_norm": "fc"},
    "shared": {"block.1": "block.0"},
    "dynamic": {
        "norm": "conv",
        "inner.norm1": "inner.conv1",
        "inner.norm2": "inner.conv2",
        "inner.fc_norm": "inner.fc",
    },
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("wrap", [lambda model: model, PARALLEL])
def test_folding_follows_forward_and_keeps_the_output(name: str, wrap: Any) -> None:
    model = trained(name)
    wrapped = wrap(model)
    data, parameters = batch(model), dict(model.named_parameters())
    expected = wrapped(data)
    done = fold_batch_norms(wrapped)
    assert done.folded == EXPECTED[name]
    assert set(done.kept) == set(norms(model)) - set(EXPECTED[name])
    wrapped.train()
    torch.testing.assert_close(wrapped(data), expected, rtol=1e-5, atol=1e-5)
    assert not any(one.training for one in norms(model).values())
    assert all(dict(model.named_parameters())[key] is value for key, value in parameters.items())
    before = copy.deepcopy(model.state_dict())
    assert fold_batch_norms(wrapped).folded == EXPECTED[name]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    for norm in EXPECTED[name]:
        one = norms(model)[norm]
        given = torch.randn(4, one.num_features, *([3, 3] if isinstance(one, nn.BatchNorm2d) else []))
        torch.testing.assert_close(one(given), given)


def test_order_alone_is_not_believed() -> None:
    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 3, 1)
            self.norm = nn.BatchNorm2d(3)
            self.second = nn.Conv2d(3, 3, 1)

        def forward(self, data: Any) -> Any:
            data = self.norm(self.second(torch.relu(self.first(data))))
            return data / 2 if self.dynamic and data.max() > 1e9 else data

    model = Crossed().eval()
    model.dynamic = False
    assert fold_batch_norms(copy.deepcopy(model)).folded == {"norm": "second"}
    model.dynamic = True
    fold_batch_norms(model)
    with pytest.raises(QuantizationError, match="'norm' was folded into 'first', after which it stands"):
        model(torch.ones(1, 3, 2, 2))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda model: setattr(model[1], "running_mean", None), "no statistics of its own"),
        (lambda model: nn.utils.parametrizations.weight_norm(model[0]), "computed from other parameters"),
        (lambda model: model[1].running_var.fill_(-1), "not finite"),
        (lambda model: setattr(model[0], "__class__", Standardised), "Standardised before it computes in a way"),
        (lambda model: setattr(model[2], "weight", model[0].weight), "shared with another module"),
        (lambda model: model.insert(1, nn.ReLU()), "does not follow one"),
    ],
)
def test_what_cannot_be_folded_says_why(change: Any, reason: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))
    change(model)
    done = fold_batch_norms(model)
    assert not done.folded
    (found,) = done.kept.values()
    assert reason in found


class Standardised(nn.Conv2d):
    def forward(self, data: Any) -> Any:
        return self._conv_forward(data, self.weight - self.weight.mean(), self.bias)


@pytest.mark.parametrize("make", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_check_for_themselves(make: Any) -> None:
    model = trained("dynamic")
    expected = model(batch(model))
    fold_batch_norms(model)
    for one in (make(model), model):
        assert one.conv._forward_hooks
        torch.testing.assert_close(one(batch(model)), expected, rtol=1e-5, atol=1e-5)
        assert not one.conv._forward_hooks


def test_linear_with_three_axes_is_told() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5)).eval()
    fold_batch_norms(model)
    model(torch.ones(2, 4))
    with pytest.raises(QuantizationError, match="inner product '0', which gives it 3 axes"):
        model(torch.ones(2, 5, 4))


def test_freezing_and_unfreezing() -> None:
    model = trained("residual")
    model.apply(freeze_batch_norm)
    model.train()
    before = {name: one.running_mean.clone() for name, one in norms(model).items()}
    model(batch(model)).sum().backward()
    assert all(torch.equal(one.running_mean, before[name]) for name, one in norms(model).items())
    assert all(one.weight.grad is None for one in norms(model).values())
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        copied.train()
        copied(batch(model))
        assert torch.equal(copied.norm1.running_mean, before["norm1"])
        copied.apply(unfreeze_batch_norm)
        copied.train()
        copied(batch(model))
        assert not torch.equal(copied.norm1.running_mean, before["norm1"])
    model(batch(model))
    assert torch.equal(model.norm1.running_mean, before["norm1"])


def step_by_hand(model: Any, weights: dict[str, Any], data: Any, history: dict[str, Any]) -> None:
    """Caffe's momentum on a float master, gradients at the quantized weights: what the guide's 3.2 says."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            quantized = name.endswith("weight") and weights[name].dim() > 1
            parameter.copy_(quantize_dequantize(weights[name]) if quantized else weights[name])
    model.zero_grad()
    model(data).square().sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            history[name] = 0.9 * history.get(name, 0) + parameter.grad
            weights[name] = weights[name] - 1e-3 * history[name]


def test_steps_go_to_the_float_master() -> None:
    model = trained("plain")
    fold_batch_norms(model)
    reference = copy.deepcopy(model)
    held, history = {name: one.detach().clone() for name, one in reference.named_parameters()}, {}
    weights = QuantizedWeights(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    for step in range(5):
        data = batch(model, seed=step)
        optimizer.zero_grad()
        with weights.quantized():
            for name in weights.names:
                assert kernels.on_grid(model.get_submodule(name).weight.detach().numpy(), 8)
            model(data).square().sum().backward()
        optimizer.step()
        step_by_hand(reference, held, data, history)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), held[name])
    assert not kernels.on_grid(model.fc.weight.detach().numpy(), 8)
    state = weights.state_dict()
    assert torch.equal(state["fc.weight"], quantize_dequantize(model.fc.weight.detach()))
    assert torch.equal(state["fc.bias"], model.fc.bias)
    assert weights.params()["fc"].delta == coefficient(model.fc.weight.detach())


def test_data_points_and_weights_compute_what_nnie_computes() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 5))
    data = torch.randn(4, 3, 8, 8)
    points = quantize_data(model)
    assert list(points) == ["0", "2", "4"]
    assert list(quantize_data(model).values()) == list(points.values())
    with QuantizedWeights(model).quantized():
        found = model(data)
    q = quantize_dequantize
    conv, fc = model[0], model[4]
    middle = nn.functional.conv2d(q(data), q(conv.weight.detach()), conv.bias).relu()
    middle = q(nn.functional.avg_pool2d(q(middle.detach()), 2).flatten(1))
    torch.testing.assert_close(found, nn.functional.linear(middle, q(fc.weight.detach()), fc.bias))
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 5))
    quantize_data(other)
    other.load_state_dict(model.state_dict())
    assert other[4].gfpq_data.observer.seen == model[4].gfpq_data.observer.seen
    remove_data_points(model)
    assert not any("gfpq" in key for key in model.state_dict())
    torch.testing.assert_close(model(data), fc(model[:4](data)))


def test_names_ask_for_bits() -> None:
    model = nn.Sequential()
    for name in ("conv_hp", "conv_cpu", "conv"):
        model.add_module(name, nn.Conv2d(2, 2, 1))
    weights = QuantizedWeights(model)
    assert weights.names == ("conv_hp", "conv")
    assert {name: point.bits for name, point in quantize_data(model).items()} == {"conv_hp": 16, "conv": 8}
    before = model.conv_hp.weight.detach().clone()
    with weights.quantized():
        assert torch.equal(model.conv_hp.weight, quantize_dequantize(before, 16))
    assert QuantizedWeights(model, layers=["conv_cpu"]).names == ("conv_cpu",)
    for layers, word in ((["nobody"], "no module 'nobody'"), ([""], "NNIE does not quantize '', a Sequential")):
        with pytest.raises(QuantizationError, match=word):
            QuantizedWeights(model, layers=layers)


def test_shared_weights_have_one_master() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    before = model[0].weight.detach().clone()
    weights = QuantizedWeights(model)
    assert weights.names == ("0",)
    with weights.quantized(), weights.quantized():
        model(torch.ones(1, 4)).sum().backward()
        assert weights.active
    assert torch.equal(model[1].weight, before)


def test_the_master_comes_back_whatever_happens() -> None:
    model = trained("plain")
    before = copy.deepcopy(model.state_dict())
    weights = QuantizedWeights(model)
    with pytest.raises(KeyboardInterrupt), weights.quantized():
        raise KeyboardInterrupt
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    model.fc.weight.data[0, 0] = float("nan")
    with pytest.raises(QuantizationError, match="layer 'fc': 1 of its 60 weights are not finite"), weights.quantized():
        pass
    assert torch.equal(model.up.weight, before["up.weight"])


def test_a_step_on_quantized_weights_is_told() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    weights = QuantizedWeights(model)
    weights.quantize()
    model[0].weight.data.add_(0.01)
    changed = model[0].weight.detach().clone()
    with pytest.warns(MasterWarning, match="layer '0': its weights were changed"):
        weights.restore()
    assert torch.equal(model[0].weight, changed)


@pytest.mark.parametrize("bits", [8, 16])
def test_quantized_weights_stay_where_they_are(bits: int) -> None:
    """INIT on a top that float32 rounded down would take the step below."""
    for seed in range(40):
        weight = torch.randn(50, 20, generator=torch.Generator().manual_seed(seed))
        first = quantize_dequantize(weight, bits)
        model = nn.Linear(20, 50)
        model.weight.data.copy_(first)
        with QuantizedWeights(model, bits).quantized():
            assert torch.equal(model.weight, first)


def test_moving_between_types_keeps_the_master() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    weights = QuantizedWeights(model)
    before = model[0].weight.detach().clone()
    with weights.quantized():
        model.double()
    assert torch.equal(model[0].weight, before.double())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_trains(dtype: Any) -> None:
    model = trained("plain").train()
    quantize_data(model)
    weights = QuantizedWeights(model)
    with torch.autocast("cpu", dtype=dtype), weights.quantized():
        loss = model(batch(model)).float().square().mean()
    loss.backward()
    assert all(torch.isfinite(one.grad).all() for one in model.parameters() if one.grad is not None)
    assert model.fc.weight.grad.dtype == torch.float32


@pytest.mark.filterwarnings("ignore")  # of PyTorch's compiler
@pytest.mark.parametrize("name", ["plain", "dynamic"])
def test_compiled_model_with_points_and_swapped_weights(name: str) -> None:
    torch._dynamo.reset()
    plain = trained(name).train()
    fold_batch_norms(plain)
    quantize_data(plain)
    other = copy.deepcopy(plain)
    compiled = torch.compile(other, backend="aot_eager")
    for step in range(3):
        data = batch(plain, seed=step)
        for model, call in ((plain, plain), (other, compiled)):
            model.zero_grad()
            with QuantizedWeights(call).quantized():
                call(data).square().sum().backward()
            torch.optim.SGD(model.parameters(), lr=1e-3).step()
    for (key, one), two in zip(plain.state_dict().items(), other.state_dict().values(), strict=True):
        assert key.endswith("extra_state") or torch.allclose(one, two, atol=1e-6), key


def test_torch_ao_models() -> None:
    """A model prepared by torch.ao keeps its own fake quantization of weights; what it leaves alone is ours."""
    from torch.ao import quantization

    from gfpq_inspect.tune.torch_quant import FakeQuantize

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).train()
    model[0].qconfig = quantization.QConfig(
        activation=FakeQuantize.with_args(), weight=FakeQuantize.with_args(8, BatchObserver)
    )
    with pytest.warns(DeprecationWarning, match="torch.ao"):
        prepared = quantization.prepare_qat(model)
    assert QuantizedWeights(prepared).names == ("2",)
    found = prepared[0](torch.ones(1, 3, 5, 5))
    assert kernels.on_grid(found.detach().numpy(), 8)
