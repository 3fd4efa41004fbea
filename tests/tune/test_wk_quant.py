"""wk_quant.py: in real Caffe, fine-tuning the digits network; outside Caffe, the block and old Pythons."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sklearn.datasets import load_digits

from gfpq_inspect.models.caffe.caffemodel import read_caffemodel
from gfpq_inspect.models.caffe.network import read_network
from gfpq_inspect.quantize import GfpqParam, coefficient, kernels, quantize_dequantize
from gfpq_inspect.tune.quant_layers import insert_quant_layers

from .conftest import environment, find_python

SOLVER = """
net: "train.prototxt"
test_iter: 3
test_interval: 1000000
test_initialization: false
base_lr: 0.002
lr_policy: "fixed"
momentum: 0.9
weight_decay: 0.0005
max_iter: 1000
snapshot_prefix: "snap"
random_seed: 3
solver_mode: CPU
"""

TRAIN = """
import json
import caffe
import numpy as np
import wk_quant

# Caffe keeps only pointers to these arrays.
train, test = dict(np.load("train.npz")), dict(np.load("test.npz"))
solver = caffe.SGDSolver("solver.prototxt")
solver.net.copy_from("float.caffemodel")
solver.net.set_input_arrays(train["data"], train["label"])
solver.test_nets[0].set_input_arrays(test["data"], test["label"])
trainer = wk_quant.Trainer(solver)
before = {name: np.array(solver.net.params[name][0].data) for name in trainer.weights.names}
start = trainer.test(3)
trainer.save_quantized("start.caffemodel")
losses = []
for _ in range(40):
    trainer.step(1)
    losses.append(float(solver.net.blobs["loss"].data))
end = trainer.test(3)
trainer.save_quantized("quant.caffemodel")
trainer.save_master("master.caffemodel")
moved = {name: float(np.abs(solver.net.params[name][0].data - old).max()) for name, old in before.items()}
shared = [name for name in solver.net.params if name.endswith("_quant")]
print(json.dumps({
    "names": trainer.weights.names, "losses": losses, "moved": moved,
    "start": {name: float(value) for name, value in start.items()},
    "end": {name: float(value) for name, value in end.items()},
    "held": {name: [float(v) for v in solver.net.params[name][0].data] for name in shared},
}))
"""


def training_network(fixtures: Path) -> bytes:
    """The digits network with data layers and a loss, its BatchNorm fixed, our Python layers in it."""
    text = (fixtures / "digits/float.prototxt").read_text()
    body = text[text.index("layer", text.index("layer") + 1) :]
    assert '"data"' in text.split("layer")[1]
    body = body.replace('type: "BatchNorm"', 'type: "BatchNorm" batch_norm_param { use_global_stats: true }')
    data = "".join(
        f'layer {{ name: "data" type: "MemoryData" top: "data" top: "label" include {{ phase: {phase} }}\n'
        f"  memory_data_param {{ batch_size: {size} channels: 1 height: 8 width: 8 }} }}\n"
        for phase, size in (("TRAIN", 64), ("TEST", 150))
    )
    tail = (
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }\n'
        'layer { name: "accuracy" type: "Accuracy" bottom: "fc" bottom: "label" top: "accuracy"'
        " include { phase: TEST } }\n"
    )
    body = body[: body.rindex("layer")]  # the Softmax
    return insert_quant_layers((data + body + tail).encode(), "train", python_layer=True).content


@pytest.fixture(scope="module")
def arrays(fixtures: Path) -> dict[str, dict[str, np.ndarray]]:
    held = np.load(fixtures / "digits/test.npz")
    digits = load_digits()
    kept = np.setdiff1d(np.arange(len(digits.images)), held["index"])[:1280]
    return {
        "train": {
            "data": (digits.images[kept, None] / 16).astype(np.float32),
            "label": digits.target[kept].astype(np.float32),
        },
        "test": {"data": held["data"].astype(np.float32), "label": held["label"].astype(np.float32)},
    }


def test_fine_tuning_in_real_caffe(
    tmp_path: Path, fixtures: Path, arrays: dict[str, dict[str, np.ndarray]], run_caffe: Callable[..., str]
) -> None:
    for name, values in arrays.items():
        np.savez(tmp_path / f"{name}.npz", **values)  # type: ignore[arg-type]  # names of arrays, as it takes them
    (tmp_path / "train.prototxt").write_bytes(training_network(fixtures))
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    (tmp_path / "float.caffemodel").write_bytes((fixtures / "digits/float.caffemodel").read_bytes())
    told = json.loads(run_caffe(TRAIN).splitlines()[-1])

    network = {layer.name: layer for layer in read_caffemodel(fixtures / "digits/float.caffemodel").layers}
    quant, master, start = (
        {layer.name: [blob.values.copy() for blob in layer.blobs.values()] for layer in read_caffemodel(path).layers}
        for path in (tmp_path / f"{name}.caffemodel" for name in ("quant", "master", "start"))
    )
    assert len(told["names"]) == 7
    for name in told["names"]:
        stored = np.array(network[name].blobs[0].values)
        np.testing.assert_array_equal(start[name][0], quantize_dequantize(stored))
        np.testing.assert_array_equal(quant[name][0], quantize_dequantize(master[name][0]))
        assert not kernels.on_grid(master[name][0], 8)
        assert told["moved"][name] > 0
    for name, layer in network.items():
        if name.startswith("bn"):
            for number, blob in layer.blobs.items():
                np.testing.assert_array_equal(master[name][number], blob.values)
    assert len(told["held"]) == 8
    assert all(held[0] == 1 and held[1] == int(held[1]) for held in told["held"].values())
    assert np.mean(told["losses"][-10:]) < np.mean(told["losses"][:10]) + 0.02
    assert told["start"]["accuracy"] >= 0.97
    assert told["end"]["accuracy"] >= 0.97


RESUME = """
import caffe
import numpy as np
import wk_quant

values = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
net = caffe.Net("net.prototxt", caffe.TRAIN)
held = net.params["data_quant"][0].data
assert list(held) == [0, 0]
net.blobs["data"].data[...] = values
net.forward()
first = float(held[1])
assert held[0] == 1
net.blobs["data"].data[...] = 4 * values
net.forward()
assert held[1] == first + 32, held        # UPDATE: two octaves up
net.blobs["data"].data[...] = values
net.forward()
assert held[1] == first + 32              # and never down
assert net.blobs["data"].data[0, 0] == -1  # the float blob stays
net.blobs["data_quant"].diff[...] = 3
net.backward()
net.save("net.caffemodel")

test = caffe.Net("net.prototxt", caffe.TEST, weights="net.caffemodel")
test.blobs["data"].data[...] = 100 * values
test.forward()
assert np.abs(test.blobs["data_quant"].data).max() < 4.1   # APPLY: saturates
assert test.params["data_quant"][0].data[1] == first + 32
np.save("out.npy", test.blobs["data_quant"].data)

resumed = caffe.Net("net.prototxt", caffe.TRAIN, weights="net.caffemodel")
resumed.blobs["data"].data[...] = values
resumed.forward()
assert resumed.params["data_quant"][0].data[1] == first + 32  # UPDATE goes on from what was stored
print(first)
"""

SMALL = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 3
  weight_filler { type: "xavier" } } }
"""


def test_coefficient_of_the_layer(tmp_path: Path, run_caffe: Callable[..., str]) -> None:
    content = insert_quant_layers(SMALL.encode(), "net", python_layer=True).content
    (tmp_path / "net.prototxt").write_bytes(content)
    told = run_caffe(RESUME)
    values = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    assert float(told.split()[-1]) == coefficient(values)
    network = read_network(tmp_path / "net.caffemodel", tmp_path / "net.prototxt")
    assert [layer.type for layer in network.build().layers] == ["Input", "Quant", "InnerProduct"]


MOMENTUM = """
import caffe
import numpy as np
import wk_quant

rate, momentum, decay = 0.05, 0.9, 0.01
with open("momentum.prototxt", "w") as stream:
    stream.write('net: "euclid.prototxt" base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.01 max_iter: 99'
                 ' snapshot_prefix: "m" random_seed: 5 solver_mode: CPU')
solver = caffe.SGDSolver("momentum.prototxt")
probe = caffe.Net("euclid.prototxt", caffe.TRAIN)
values = np.random.RandomState(1).randn(8, 3).astype(np.float32)
for net in (solver.net, probe):
    net.blobs["data"].data[...] = values
    net.blobs["label"].data[...] = values[:, ::-1] * 2
trainer = wk_quant.Trainer(solver)
weights = [np.array(blob.data, np.float64) for blob in solver.net.params["fc"]]
history = [np.zeros_like(weight) for weight in weights]
for _ in range(6):
    kernel = weights[0].astype(np.float32)
    wk_quant.quantize(kernel)                       # forward and backward see the quantized weight,
    probe.params["fc"][0].data[...] = kernel
    probe.params["fc"][1].data[...] = weights[1]    # and the bias as it is
    for blob in probe.params["fc"]:
        blob.diff[...] = 0
    probe.forward()
    probe.backward()
    for number, blob in enumerate(probe.params["fc"]):
        history[number] = momentum * history[number] + rate * (blob.diff + decay * weights[number])
        weights[number] = weights[number] - history[number]
    trainer.step(1)
    for number, blob in enumerate(solver.net.params["fc"]):
        assert np.abs(blob.data - weights[number]).max() < 2e-6, np.abs(blob.data - weights[number]).max()
"""

EUCLID = """
layer { name: "data" type: "Input" top: "data" top: "label" input_param { shape { dim: 8 dim: 3 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 3
  weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "fc" bottom: "label" top: "loss" }
"""


def test_momentum_belongs_to_the_master(tmp_path: Path, run_caffe: Callable[..., str]) -> None:
    (tmp_path / "euclid.prototxt").write_text(EUCLID)
    run_caffe(MOMENTUM)


INTERRUPTED = """
import caffe
import numpy as np
import wk_quant

net = caffe.Net("net.prototxt", caffe.TRAIN)
weights = wk_quant.WeightQuantizer(net)
before = np.array(net.params["fc"][0].data)
try:
    with weights.quantized():
        assert np.any(net.params["fc"][0].data != before)
        raise KeyboardInterrupt
except KeyboardInterrupt:
    pass
assert np.array_equal(net.params["fc"][0].data, before)
net.params["fc"][0].data[0, 0] = np.nan
try:
    weights.quantize()
except ValueError as error:
    assert "layer 'fc' holds weights that are not finite" in str(error)
else:
    raise AssertionError
try:
    wk_quant.WeightQuantizer(net, layers=["nobody"])
except ValueError as error:
    assert "'nobody'" in str(error)
else:
    raise AssertionError
"""


def test_the_master_comes_back_whatever_happens(tmp_path: Path, run_caffe: Callable[..., str]) -> None:
    (tmp_path / "net.prototxt").write_text(SMALL)
    run_caffe(INTERRUPTED)


@pytest.fixture
def module(root: Path, libgfpq: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """wk_quant without Caffe."""
    monkeypatch.setenv("GFPQ_LIBRARY", str(libgfpq))
    spec = importlib.util.spec_from_file_location("wk_quant", root / "native/caffe/wk_quant.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_parameter_block(module: ModuleType) -> None:
    for delta in (-4095, -511, -77, -1, 0, 1, 511, 4095):
        assert bytes(module.GfpqParam.of(2, delta).buf) == GfpqParam(delta).pack()
        assert module.GfpqParam.of(2, delta).delta == delta


@pytest.mark.parametrize("bits", [8, 16])
def test_same_bits_as_the_package(module: ModuleType, bits: int) -> None:
    values = np.random.default_rng(1).standard_normal((5, 7)).astype(np.float32)
    ours = values.copy()
    module.quantize(ours, bits)
    np.testing.assert_array_equal(ours, quantize_dequantize(values, bits))


@pytest.mark.parametrize(
    ("array", "bits", "word"),
    [
        (np.zeros(3), 8, "float32"),
        (np.zeros((4, 4), np.float32)[:, ::2], 8, "C-contiguous"),
        (np.zeros(3, np.float32), 7, "8 and 16 bits"),
    ],
)
def test_refusals(module: ModuleType, array: np.ndarray, bits: int, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        module.quantize(array, bits)


def test_options(module: ModuleType) -> None:
    assert module._options("") == (8, True, True)
    assert module._options("{'quant_bits': 16, 'quant_en': 0, 'store': 0}") == (16, False, False)
    for text in ("{'quant_bit': 8}", "[1]", "quant_bits: 8", "{'quant_bits': 9}"):
        with pytest.raises(ValueError, match="quant_bits"):
            module._options(text)


def test_a_missing_library_is_named(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GFPQ_LIBRARY", "/nowhere/libgfpq.so")
    with pytest.raises(OSError, match=r"/nowhere/libgfpq.so\); set GFPQ_LIBRARY"):
        module.library()


OLD_PYTHON = """
import sys
assert sys.version_info[:2] == (3, 6), sys.version
import numpy as np
import wk_quant
values = np.arange(10, dtype=np.float32)
param = wk_quant.GfpqParam.of(wk_quant.INIT)
wk_quant.quantize(values, 8, param)
assert param.delta == -77
assert values[9] == np.float32(8.724062)
"""


def test_python_3_6(root: Path, libgfpq: Path, tmp_path: Path) -> None:
    python = find_python("3.6")
    if python is None:
        pytest.skip("no Python 3.6 (pyenv has it)")
    inside = environment(python, "python36", ("numpy==1.19.5",))
    script = tmp_path / "old.py"
    script.write_text(OLD_PYTHON)
    variables = {"GFPQ_LIBRARY": str(libgfpq), "PYTHONPATH": str(root / "native/caffe"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([str(inside), str(script)], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


LOAD = """
import sys
import caffe
import numpy as np
net = caffe.Net(sys.argv[1], sys.argv[2], caffe.TEST)
np.random.seed(1)
for name in net.inputs:
    net.blobs[name].data[...] = np.random.rand(*net.blobs[name].data.shape)
out = net.forward()
assert all(np.isfinite(value).all() for value in out.values())
print(sum(layer.type == "Python" for layer in net.layers))
"""


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "count"),
    [("lenet_mnist_v1", 6), ("cifar10_full_v1", 7), ("opennsfw_resnet50_1by2", 52), ("wechat_qr_sr", 10)],
)
def test_stock_caffe_loads_real_networks(
    shared: Path, tmp_path: Path, run_caffe: Callable[..., str], name: str, count: int
) -> None:
    folder = shared / "models" / name
    raw = next(folder.glob("*.prototxt")).read_bytes()
    (tmp_path / "net.prototxt").write_bytes(insert_quant_layers(raw, name, python_layer=True).content)
    told = run_caffe(LOAD, tmp_path / "net.prototxt", next(folder.glob("*.caffemodel")))
    assert int(told.split()[-1]) == count
