"""The operator and the module: same bits as the codec, gradient straight through, no silent NaN, compiled or not."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gfpq_inspect.errors import MissingExtraError, QuantizationError
from gfpq_inspect.quantize import GfpqParam, Mode, coefficient, cuda_kernels, quantize_dequantize

torch = pytest.importorskip("torch")

from gfpq_inspect.tune.torch_quant import (  # noqa: E402  (needs PyTorch)
    BatchObserver,
    FakeQuantize,
    FrozenObserver,
    RunningMaximumObserver,
    UpdateObserver,
    fake_quantize,
)
from gfpq_inspect.tune.torch_quant.operator import NoCoefficientWarning, State  # noqa: E402 (after the skip)

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def values(*shape: int, dtype: Any = None, seed: int = 1) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
        dtype or torch.float32
    )


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_as_the_codec(bits: int, dtype: Any) -> None:
    tensor = values(3, 4, 5, 6, dtype=dtype)
    expected = quantize_dequantize(tensor, bits)
    found = fake_quantize(tensor, bits)
    assert found.dtype == dtype
    assert torch.equal(found, expected)
    param = GfpqParam(coefficient(tensor, bits) - 20)
    expected = quantize_dequantize(tensor, bits, Mode.APPLY_ONLY, param)
    assert torch.equal(fake_quantize(tensor, bits, param.delta), expected)


@pytest.mark.parametrize(
    "arrange",
    [
        lambda tensor: tensor.contiguous(memory_format=torch.channels_last),
        lambda tensor: tensor.transpose(1, 3),
        lambda tensor: tensor[:, 1:3, ::2],
        lambda tensor: tensor[:1].expand(4, -1, -1, -1),
        lambda tensor: tensor.reshape(-1)[3],
        lambda tensor: tensor[:0],
        torch._neg_view,
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_strides(arrange: Callable[[Any], Any], dtype: Any) -> None:
    tensor = arrange(values(4, 4, 4, 4, dtype=dtype))
    before = tensor.clone()
    found = fake_quantize(tensor)
    assert found.stride() == torch.empty_like(tensor).stride()
    assert torch.equal(found, quantize_dequantize(tensor.contiguous().clone().resolve_neg()))
    assert torch.equal(tensor, before)


def test_the_guides_numbers() -> None:
    found = fake_quantize(torch.arange(10, dtype=torch.float32))
    assert found.tolist()[3] == np.float32(2.953652381896972656)
    assert found.tolist()[9] == np.float32(8.724061965942382812)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_goes_straight_through(dtype: Any) -> None:
    tensor = values(50, dtype=dtype).requires_grad_()
    factors = values(50, dtype=dtype, seed=2)
    (fake_quantize(tensor, delta=-130) * factors).sum().backward()  # saturates most and flushes some
    assert torch.equal(tensor.grad, factors)


def test_operator_is_registered_as_pytorch_wants_it() -> None:
    from gfpq_inspect.tune.torch_quant import operator

    tensor = values(4, 3).requires_grad_()
    arguments = (tensor, State(-77).tensor(), 1, 8, "error", "")
    torch.library.opcheck(operator._quantize_dequantize, arguments)
    channels_last = values(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    torch.library.opcheck(operator._quantize_dequantize, (channels_last, State(-77).tensor(), 2, 16, "count", "x"))


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: fake_quantize(torch.tensor([1.0, float("nan"), float("inf")])), "1 NaN, 1 infinite"),
        (lambda: fake_quantize(torch.tensor([1, 2])), r"not torch.int64; convert with .float\(\)"),
        (lambda: fake_quantize(torch.ones(3), 7), "7"),
        (lambda: fake_quantize(torch.ones(3, 3).to_sparse()), "call .to_dense"),
        (lambda: FakeQuantize(name="conv1")(torch.tensor([float("nan")])), "layer 'conv1': 1 of 1 elements"),
        (lambda: FakeQuantize(nonfinite="ignore")(torch.ones(1)), "'error' or 'count'"),
        (lambda: FrozenObserver(1000), "between"),
        (lambda: RunningMaximumObserver(start=-1.0), "not negative"),
        (lambda: UpdateObserver().freeze(), "seen no data"),
        (lambda: FakeQuantize(9), "9"),
    ],
)
def test_refusals(call: Callable[[], Any], word: str) -> None:
    with pytest.raises(QuantizationError, match=word):
        call()


def test_counting_what_is_not_finite() -> None:
    module = FakeQuantize(nonfinite="count")
    found = module(torch.tensor([1.0, float("nan"), float("-inf")]))
    assert found.tolist() == [1.0, 0.0, -1.0]
    assert module.observer.seen.nonfinite == 2


def test_init_then_update_then_apply() -> None:
    module = FakeQuantize()
    first, larger, smaller = values(100), 8 * values(100), values(100) / 8
    assert torch.equal(module(first), quantize_dequantize(first))
    assert torch.equal(module(larger), quantize_dequantize(larger))
    delta = module.observer.param().required()
    assert delta == coefficient(larger)
    stored = GfpqParam(delta)
    assert torch.equal(module(smaller), quantize_dequantize(smaller, 8, Mode.APPLY_ONLY, stored))
    module.eval()
    assert torch.equal(module(100 * larger), quantize_dequantize(100 * larger, 8, Mode.APPLY_ONLY, stored))
    assert module.observer.param().delta == delta
    assert module.observer.seen.batches == 3


def test_evaluation_without_a_coefficient_says_so() -> None:
    module = FakeQuantize(name="fc").eval()
    with pytest.warns(NoCoefficientWarning, match="layer 'fc': no coefficient"):
        found = module(values(9))
    assert torch.equal(found, quantize_dequantize(values(9)))


def test_the_other_observers() -> None:
    small, large = values(100), 16 * values(100)
    batch = FakeQuantize(observer=BatchObserver())
    for tensor in (large, small):
        assert torch.equal(batch(tensor), quantize_dequantize(tensor))
    batch.eval()
    assert torch.equal(batch(large), quantize_dequantize(large))
    frozen = FakeQuantize(observer=FrozenObserver(-77))
    assert torch.equal(frozen(large), fake_quantize(large, delta=-77))
    assert frozen.observer.param().delta == -77
    running = FakeQuantize(observer=RunningMaximumObserver(start=9.0))
    assert running.observer.param().delta == -77
    running(small)
    assert running.observer.param().delta == -77
    running(large)
    assert running.observer.param().delta == coefficient(large)
    assert running.observer.seen.largest == float(large.abs().max())
    running.observer.freeze()
    running(100 * large)
    assert running.observer.param().delta == coefficient(large)
    running.observer.unfreeze()
    running(100 * large)
    assert running.observer.param().delta == coefficient(100 * large)
    running.observer.reset()
    assert "delta=None" in repr(running)


def seen() -> Any:
    module = FakeQuantize(16, name="conv1")
    module(3 * values(40))
    module.observer.freeze()
    return module


@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        lambda module: pickle.loads(pickle.dumps(module)),
        lambda module: load_state(FakeQuantize(16), module),
    ],
)
def test_copies_keep_the_coefficient(copied: Callable[[Any], Any]) -> None:
    module = seen()
    other = copied(module)
    assert other.observer.frozen
    assert torch.equal(other(values(30)), module(values(30)))
    other.observer.reset()
    assert module.observer.param().delta == coefficient(3 * values(40), 16)


def load_state(into: Any, module: Any) -> Any:
    stream = io.BytesIO()
    torch.save(module.state_dict(), stream)
    stream.seek(0)
    into.load_state_dict(torch.load(stream, weights_only=True))
    return into


def test_halving_a_model_keeps_the_coefficient() -> None:
    module = FakeQuantize(16)
    module(values(40) / 1e9)
    before = module.observer.seen
    assert module.half().observer.seen == before
    assert before.largest == float(values(40).abs().max() / 1e9)


def test_state_of_another_width_is_refused() -> None:
    with pytest.raises(QuantizationError, match="16 bit, this one has 8"):
        FakeQuantize(8).load_state_dict(seen().state_dict())


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.quant = FakeQuantize()
        self.fc = torch.nn.Linear(6, 4)

    def forward(self, data: Any) -> Any:
        return torch.nn.functional.linear(self.quant(data), fake_quantize(self.fc.weight), self.fc.bias).relu()


@pytest.mark.parametrize("backend", ["eager", "aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")  # of PyTorch's compiler
def test_compiled_gives_the_same(backend: str) -> None:
    torch.manual_seed(1)
    plain = Small()
    other = copy.deepcopy(plain)
    torch._dynamo.reset()
    compiled = torch.compile(other, backend=backend, fullgraph=True)
    for seed in range(3):
        data = (seed + 1) * values(5, 6, seed=seed)
        expected, found = plain(data), compiled(data)
        torch.testing.assert_close(found, expected)
        expected.sum().backward()
        found.sum().backward()
        torch.testing.assert_close(other.fc.weight.grad, plain.fc.weight.grad)
        assert other.quant.observer.seen == plain.quant.observer.seen
        assert other.quant.observer.param() == plain.quant.observer.param()
    plain.eval()
    other.eval()
    torch.testing.assert_close(compiled(values(5, 6)), plain(values(5, 6)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast(dtype: Any) -> None:
    model = Small()
    with torch.autocast("cpu", dtype=dtype):
        found = model(model.fc(torch.ones(6, 6)) @ torch.ones(4, 6))
    assert found.dtype == dtype
    assert torch.isfinite(found).all()
    found.float().sum().backward()
    assert model.fc.weight.grad.dtype == torch.float32


def test_torch_ao_takes_it() -> None:
    quantization = pytest.importorskip("torch.ao.quantization")
    config = quantization.QConfig(activation=FakeQuantize.with_args(8), weight=FakeQuantize.with_args(8, BatchObserver))
    layer = torch.nn.Linear(6, 4)
    layer.qconfig = config
    layer = torch.ao.nn.qat.Linear.from_float(layer)
    expected = torch.nn.functional.linear(values(5, 6), quantize_dequantize(layer.weight.detach()), layer.bias)
    torch.testing.assert_close(layer(values(5, 6)), expected)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_data_parallel_without_gpus() -> None:
    model = torch.nn.DataParallel(Small())
    model(values(5, 6)).sum().backward()
    assert model.module.quant.observer.param().delta == coefficient(values(5, 6))


def test_on_a_gpu_cupy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from gfpq_inspect.tune.torch_quant import tensors

    monkeypatch.setitem(sys.modules, "cupy", None)
    cuda_kernels.cupy.cache_clear()
    with (
        pytest.raises(MissingExtraError, match=r"GPU needs an optional package: pip install 'gfpq-inspect\[cuda\]'"),
        tensors._stream(torch.ones(2)),
    ):
        pass
    cuda_kernels.cupy.cache_clear()
    with pytest.raises(QuantizationError, match="kernels for CPU and CUDA, the tensor lies on meta"):
        tensors.check(torch.ones(2, device="meta"))


WITHOUT = """
import sys
sys.modules["torch"] = None
from gfpq_inspect.errors import MissingExtraError
import gfpq_inspect.tune
try:
    import gfpq_inspect.tune.torch_quant
except MissingExtraError as error:
    print(error)
"""


def test_without_pytorch_the_extra_is_named() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert "pip install 'gfpq-inspect[torch]'" in done.stdout


def test_importing_the_package_does_not_import_pytorch() -> None:
    program = "import sys, gfpq_inspect.tune.torch_quant; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
