"""nnieqat's functions on models that nobody has seen: weights, data, checkpoints, wrong order, copies."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from typing import Any

import pytest

from gfpq_inspect.quantize import coefficient, kernels, quantize_dequantize

torch = pytest.importorskip("torch")

from gfpq_inspect.tune.nnieqat import (  # noqa: E402  (needs PyTorch)
    freeze_bn,
    hooks,
    merge_freeze_bn,
    quant_dequant_weight,
    register_quantization_hook,
    unquant_weight,
)
from gfpq_inspect.tune.nnieqat.hooked import HOOKED  # noqa: E402 (after the skip)
from gfpq_inspect.tune.nnieqat.modules import convert_layers  # noqa: E402 (after the skip)
from gfpq_inspect.tune.torch_quant import MasterWarning  # noqa: E402 (after the skip)
from gfpq_inspect.tune.torch_quant.layers import WEIGHTED  # noqa: E402 (after the skip)

from ..torch_quant.networks import MODELS, batch, trained  # noqa: E402  (the tests of the room share them)

nn = torch.nn
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="DataParallel wants its model on the GPU, see test_cuda")
PARALLEL = pytest.param(nn.DataParallel, marks=NO_GPU)


def weights(model: Any) -> dict[str, Any]:
    return {name: one.weight.detach().clone() for name, one in model.named_modules() if isinstance(one, (*WEIGHTED,))}


def all_on_grid(model: Any) -> bool:
    return all(kernels.on_grid(one.contiguous().numpy(), 8) for one in weights(model).values())


def train(model: Any, steps: int = 6, *, lr: float = 1e-2) -> list[float]:
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    losses = []
    for _ in range(steps):
        data = batch(model.module if isinstance(model, nn.DataParallel) else model, 32)
        optimizer.zero_grad()
        loss = (model(data) - data.mean((1, 2, 3))[:, None]).square().mean()
        loss.backward()
        model.apply(unquant_weight)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("wrap", [lambda model: model, PARALLEL])
def test_the_loop_that_nnieqat_shows(name: str, wrap: Any) -> None:
    model = trained(name)
    register_quantization_hook(model)
    wrapped = wrap(model).train()
    expected = merge_freeze_bn(wrapped)
    assert expected is wrapped
    losses = train(wrapped, 25)
    assert losses[-1] < losses[0]
    master = weights(model)
    assert not any(kernels.on_grid(one.contiguous().numpy(), 8) for one in master.values())
    wrapped.apply(quant_dequant_weight)
    assert all_on_grid(model)
    for key, weight in weights(model).items():
        assert torch.equal(weight, quantize_dequantize(master[key]))
    wrapped.apply(unquant_weight)
    assert all(torch.equal(weight, master[key]) for key, weight in weights(model).items())


def test_forward_quantizes_weights_and_data() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 5))
    register_quantization_hook(model)
    assert register_quantization_hook(model) is model
    data, q = torch.randn(2, 3, 8, 8), quantize_dequantize
    before = weights(model)
    found = model(data)
    assert all(torch.equal(weight, q(before[name])) for name, weight in weights(model).items())
    middle = nn.functional.conv2d(q(data), q(before["0"]), model[0].bias).relu().flatten(1).detach()
    torch.testing.assert_close(found, nn.functional.linear(q(middle), q(before["3"]), model[3].bias))
    model.apply(unquant_weight)
    assert all(torch.equal(weight, before[name]) for name, weight in weights(model).items())


def test_what_to_quantize_can_be_chosen() -> None:
    data = torch.randn(2, 4)
    for flags in ((True, False, False), (False, True, False), (False, False, True), (False, False, False)):
        model = nn.Sequential(nn.Linear(4, 3))
        weight = model[0].weight.detach().clone()
        register_quantization_hook(model, *flags)
        found = model(data)
        expected = nn.functional.linear(
            quantize_dequantize(data) if flags[1] or flags[2] else data,
            quantize_dequantize(weight) if flags[0] else weight,
            model[0].bias,
        )
        torch.testing.assert_close(found, expected)


def test_a_model_that_is_one_layer() -> None:
    model = nn.Conv2d(2, 2, 1)
    register_quantization_hook(model)
    model(torch.ones(1, 2, 3, 3))
    assert all_on_grid(model)


def test_many_forwards_between_two_steps_keep_the_master() -> None:
    """Accumulated gradients, evaluation without unquant_weight, a dump twice: nnieqat loses the master there."""
    model = trained("shared")
    register_quantization_hook(model)
    before = weights(model)
    for _ in range(3):
        model(batch(model)).sum().backward()
    with torch.no_grad():
        model.eval()(batch(model))
    model.apply(quant_dequant_weight)
    model.apply(quant_dequant_weight)
    model(batch(model))
    assert all_on_grid(model)
    model.apply(unquant_weight)
    model.apply(unquant_weight)
    assert all(torch.equal(weight, before[name]) for name, weight in weights(model).items())


def test_a_step_before_unquant_weight_is_told_and_not_lost() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    register_quantization_hook(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    stepped = model[0].weight.detach().clone()
    with pytest.warns(MasterWarning, match="layer '0'"):
        model.apply(unquant_weight)
    assert torch.equal(model[0].weight, stepped)
    model(torch.ones(1, 4))
    model[0].weight.data.mul_(1.01)
    with pytest.warns(MasterWarning, match="layer '0'"):
        model(torch.ones(1, 4))


def reload(state: Any) -> Any:
    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=True)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("again", ["plain", "hooked", "merged"])
def test_checkpoints_fit_the_plain_model(name: str, again: str) -> None:
    model = trained(name)
    register_quantization_hook(model)
    keys = list(MODELS[name]().state_dict())
    merge_freeze_bn(model.train())
    train(model)
    model.apply(quant_dequant_weight)
    state = reload(model.state_dict())
    assert list(state) == keys
    other = MODELS[name]()
    if again != "plain":
        register_quantization_hook(other)
    if again == "merged":
        merge_freeze_bn(other)
    other.load_state_dict(state)
    for one in (model, other):
        one.eval()
    if again == "plain":
        for module in [*model.modules()]:
            if HOOKED in module.__dict__ and module.__dict__[HOOKED].point is not None:
                module.__dict__[HOOKED].point.enabled = False
    torch.testing.assert_close(other(batch(model)), model(batch(model)), rtol=1e-5, atol=1e-5)


def test_a_checkpoint_from_before_merging_goes_into_a_merged_model() -> None:
    first = trained("plain", seed=3)
    state = reload(first.state_dict())
    model = merge_freeze_bn(trained("plain", seed=4))
    model.load_state_dict(state)
    torch.testing.assert_close(model(batch(model)), first(batch(model)), rtol=1e-5, atol=1e-5)
    merge_freeze_bn(model.train())
    assert model.up_norm.running_mean.abs().max() == 0
    torch.testing.assert_close(model(batch(model)), first(batch(model)), rtol=1e-5, atol=1e-5)


def test_loading_while_quantized_takes_the_loaded_weights() -> None:
    model = trained("plain")
    register_quantization_hook(model)
    model(batch(model))
    other = trained("plain", seed=9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.load_state_dict(other.state_dict())
        model.apply(unquant_weight)
    assert all(torch.equal(weight, weights(other)[name]) for name, weight in weights(model).items())


def test_checkpoints_of_nnieqat_itself_load() -> None:
    model = trained("plain")
    register_quantization_hook(model)
    state = dict(model.state_dict())
    state["fc.weight_origin"] = state["fc.weight"].clone()
    state["features.0.2.activation_max_value"] = torch.tensor(1.0)
    model.load_state_dict(state)
    nn.DataParallel(model).load_state_dict({f"module.{key}": value for key, value in state.items()})


@pytest.mark.parametrize("make", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_go_on_by_themselves(make: Any) -> None:
    model = trained("plain")
    register_quantization_hook(model)
    merge_freeze_bn(model)
    before = weights(model)
    model.train()(batch(model))
    other = make(model)
    other.apply(unquant_weight)
    assert all(torch.equal(weight, before[name]) for name, weight in weights(other).items())
    assert all_on_grid(model)
    losses = train(other.train(), 10)
    assert losses[-1] < losses[0]
    model.apply(unquant_weight)
    assert all(torch.equal(weight, before[name]) for name, weight in weights(model).items())


def test_averaging_states_in_place_reaches_the_biases() -> None:
    model = merge_freeze_bn(trained("plain"))
    other = copy.deepcopy(model)
    with torch.no_grad():
        for value in other.state_dict().values():
            if value.is_floating_point():
                value.mul_(0.5)
    torch.testing.assert_close(other.features[0][0].bias, 0.5 * model.features[0][0].bias)


def test_dumping_without_hooks() -> None:
    model = trained("plain")
    before = weights(model)
    model.apply(quant_dequant_weight)
    assert all_on_grid(model)
    register_quantization_hook(model)
    model.apply(unquant_weight)
    assert all(torch.equal(weight, before[name]) for name, weight in weights(model).items())
    model(batch(model))
    assert all_on_grid(model)


def test_evaluation_uses_the_range_of_training() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    register_quantization_hook(model)
    data = torch.randn(8, 4)
    model.train()(data)
    model.eval()(100 * data)
    assert model[0].__dict__[HOOKED].point.observer.param().delta == coefficient(data)


def test_shared_and_tied_weights() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    model.append(model[0])
    before = model[0].weight.detach().clone()
    register_quantization_hook(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            model(torch.ones(1, 4)).sum().backward()
            assert torch.equal(model[0].weight, quantize_dequantize(before))
            model.apply(unquant_weight)
            assert torch.equal(model[0].weight, before)


def test_computed_weights_stay_float(caplog: pytest.LogCaptureFixture) -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 4))
    register_quantization_hook(model)
    assert "the weight of 0 is computed from other parameters" in caplog.text
    model(torch.ones(1, 4)).sum().backward()
    model.apply(quant_dequant_weight)
    model.apply(unquant_weight)


def test_freezing_alone() -> None:
    model = trained("plain").train()
    model.apply(freeze_bn)
    assert not model.up_norm.training
    assert not model.up_norm.weight.requires_grad


def test_replicas_of_data_parallel() -> None:
    """What DataParallel makes for each GPU: shallow copies whose weights are no parameters."""
    model = nn.Linear(4, 3)
    register_quantization_hook(model)
    replica = model._replicate_for_data_parallel()
    weight = model.weight.detach().clone()
    for key in ("weight", "bias"):
        setattr(replica, key, getattr(model, key).clone())
    data = torch.randn(2, 4)
    found = replica(data)
    q = quantize_dequantize
    torch.testing.assert_close(found, nn.functional.linear(q(data), q(weight), model.bias))
    found.sum().backward()
    assert model.weight.grad is not None
    assert torch.equal(model.weight, weight)


@pytest.mark.filterwarnings("ignore")  # of PyTorch's compiler
def test_compiled_models_break_the_graph_and_agree() -> None:
    torch._dynamo.reset()
    model = trained("plain").train()
    register_quantization_hook(model)
    merge_freeze_bn(model)
    other = copy.deepcopy(model)
    compiled = torch.compile(other, backend="aot_eager")
    for step in range(3):
        data = batch(model, seed=step)
        for one, call in ((model, model), (other, compiled)):
            one.zero_grad()
            call(data).square().sum().backward()
            call.apply(unquant_weight)
            torch.optim.SGD(one.parameters(), lr=1e-3).step()
    for (key, one), two in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(two, one, msg=key)


@pytest.mark.filterwarnings("ignore")  # of the tracer
def test_tracing_sees_the_network_itself() -> None:
    model = trained("plain")
    register_quantization_hook(model)
    model(batch(model))
    model.apply(unquant_weight)
    model.apply(quant_dequant_weight)
    traced = torch.jit.trace(model, batch(model))
    exported = torch.export.export(model, (batch(model),))
    assert "gfpq" not in str(traced.inlined_graph)
    assert "gfpq" not in str(exported.graph)
    torch.testing.assert_close(traced(batch(model)), exported.module()(batch(model)))


def test_converted_layers() -> None:
    model = trained("plain")
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    kept = dict(model.named_parameters())
    assert convert_layers(model) is model
    assert "QuantizedConv2d(3, 8" in repr(model)
    assert all(value is kept[key] for key, value in model.named_parameters())
    model(batch(model)).sum().backward()
    assert all_on_grid(model)
    model.apply(unquant_weight)
    optimizer.step()
    again = pickle.loads(pickle.dumps(model))
    torch.testing.assert_close(again(batch(model)), model(batch(model)))
    from gfpq_inspect.tune.nnieqat import modules

    layer = modules.Conv2d(3, 4, 3)
    layer(torch.ones(1, 3, 4, 4))
    assert all_on_grid(layer)
    with pytest.raises(AttributeError, match="'Bilinear': NNIE quantizes AdaptiveAvgPool1d"):
        _ = modules.Bilinear


def test_the_numbers_of_the_guide() -> None:
    hooks.test()
