"""Fine-tuning a small network, rightly and wrongly: real training with our own PyTorch tools, real files."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from gfpq_inspect.models.caffe.write import write_caffemodel
from gfpq_inspect.tune.quant_layers import insert_quant_layers
from gfpq_inspect.tune.torch_quant import QuantizedWeights, freeze_batch_norm, quantize_data

STRUCTURE = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 8 dim: 8 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 12 kernel_size: 3 pad: 1 bias_term: false } }
layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "conv1" batch_norm_param { eps: 1e-5 } }
layer { name: "scale1" type: "Scale" bottom: "conv1" top: "conv1" scale_param { bias_term: true } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
        convolution_param { num_output: 12 kernel_size: 3 pad: 1 group: 12 bias_term: false } }
layer { name: "bn2" type: "BatchNorm" bottom: "conv2" top: "conv2" batch_norm_param { eps: 1e-5 } }
layer { name: "scale2" type: "Scale" bottom: "conv2" top: "conv2" scale_param { bias_term: true } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "conv3" type: "Convolution" bottom: "conv2" top: "conv3"
        convolution_param { num_output: 24 kernel_size: 1 } }
layer { name: "relu3" type: "ReLU" bottom: "conv3" top: "conv3" }
layer { name: "pool" type: "Pooling" bottom: "conv3" top: "pool"
        pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 10 } }
"""


class Small(nn.Module):
    """The network of `STRUCTURE`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.conv2, self.bn2 = nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False), nn.BatchNorm2d(12)
        self.conv3, self.pool, self.fc = nn.Conv2d(12, 24, 1), nn.MaxPool2d(2), nn.Linear(384, 10)

    def forward(self, data: Any) -> Any:
        data = self.bn1(self.conv1(data)).relu_()
        data = self.bn2(self.conv2(data)).relu_()
        return self.fc(self.pool(self.conv3(data).relu_()).flatten(1))


def images() -> tuple[Any, Any]:
    digits = load_digits()
    return torch.from_numpy((digits.images[:, None] / 16).astype(np.float32)), torch.from_numpy(digits.target)


def batches(epochs: int, seed: int) -> Iterator[tuple[Any, Any]]:
    data, labels = images()
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for chosen in torch.randperm(1280, generator=generator).split(64):
            yield data[chosen], labels[chosen]


def train(
    model: Any,
    epochs: int,
    rate: float,
    *,
    around: Callable[[], AbstractContextManager[None]] = nullcontext,
    after: Callable[[], None] = lambda: None,
    seed: int = 1,
) -> Any:
    """SGD with momentum.

    Args:
        model: The model.
        epochs: Passes over the training digits.
        rate: Learning rate.
        around: What forward and backward run in.
        after: Called after each step.
        seed: Of the order of the digits.
    """
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], rate, momentum=0.9)
    for data, labels in batches(epochs, seed):
        optimizer.zero_grad()
        with around():
            nn.functional.cross_entropy(model(data), labels).backward()
        optimizer.step()
        after()
    return model


def trained_float() -> Any:
    torch.manual_seed(7)
    model = Small()
    with torch.no_grad():  # filters as different in size as those of grown networks; BatchNorm makes up for it
        model.conv2.weight.mul_(torch.logspace(-2, 0, 12).reshape(-1, 1, 1, 1))
    return train(model.train(), 8, 0.05).eval()


def fine_tuned(start: Any, epochs: int = 3, rate: float = 2e-3, *, norms: bool = True) -> tuple[Any, QuantizedWeights]:
    """The guide's way: a float master, quantized data and weights in forward and backward, BatchNorm frozen."""
    model = prepared(start, norms=norms)
    weights = QuantizedWeights(model)
    return train(model, epochs, rate, around=weights.quantized), weights


def prepared(start: Any, *, norms: bool = True) -> Any:
    model = copy.deepcopy(start).train()
    quantize_data(model)
    return model.apply(freeze_batch_norm) if norms else model


def overwrite(weights: QuantizedWeights) -> None:
    """The mistake: put quantized weights into the model and forget the float ones."""
    weights.quantize()
    weights.__init__(weights._model)  # type: ignore[misc]  # what it remembered is gone


def average_into(average: dict[str, Any], state: dict[str, Any], share: float = 0.05) -> None:
    """A moving average of states."""
    for key, value in state.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            average[key] = (1 - share) * average[key] + share * value


def accuracy(model: Any) -> float:
    data, labels = images()
    with torch.no_grad():
        return float((copy.deepcopy(model).eval()(data[1280:]).argmax(1) == labels[1280:]).double().mean())


def save(
    path: Path,
    state: dict[str, Any],
    *,
    quant_layers: bool = True,
    coefficients: dict[str, int] | None = None,
    python_layer: bool = False,
) -> Path:
    """Write a state dictionary as a caffemodel with its prototxt beside it.

    Args:
        path: The caffemodel.
        state: Of the network.
        quant_layers: Whether the prototxt gets Quant layers.
        coefficients: What these store, by layer name, as the Quant layer of this project does.
        python_layer: Whether they are Python layers.
    """
    values = {key: value.detach().numpy() for key, value in state.items() if isinstance(value, torch.Tensor)}
    rows = []
    for name in ("conv1", "bn1", "scale1", "conv2", "bn2", "scale2", "conv3", "fc"):
        if name.startswith("bn"):
            blobs = [values[f"{name}.running_mean"], values[f"{name}.running_var"], np.ones(1, np.float32)]
        else:
            source = name.replace("scale", "bn")
            blobs = [values[key] for key in (f"{source}.weight", f"{source}.bias") if key in values]
        kind = {"c": "Convolution", "b": "BatchNorm", "s": "Scale", "f": "InnerProduct"}[name[0]]
        rows.append((name, kind, (), (), blobs))
    kind = "Python" if python_layer else "Quant"
    rows += [(name, kind, (), (), [np.float32([1, delta])]) for name, delta in (coefficients or {}).items()]
    write_caffemodel(path, "small", rows)
    text = STRUCTURE.encode()
    if quant_layers:
        text = insert_quant_layers(text, "small", python_layer=python_layer).content
    path.with_suffix(".prototxt").write_bytes(text)
    return path
