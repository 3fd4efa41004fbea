"""Small PyTorch models in the styles that people write: what follows what is not always what stands after what."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Plain(nn.Module):
    """Nested Sequentials, in-place activations, depthwise and transposed convolutions, an inner product."""

    shape = (3, 12, 12)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
            nn.Sequential(
                nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8)),
                nn.ReLU6(inplace=True),
            ),
            nn.MaxPool2d(2),
        )
        self.up = nn.ConvTranspose2d(8, 12, 2, 2, groups=4)
        self.up_norm = nn.BatchNorm2d(12)
        self.fc = nn.Linear(12, 5)

    def forward(self, data: Any) -> Any:
        data = functional.relu(self.up_norm(self.up(self.features(data))), inplace=True)
        return self.fc(data.mean((2, 3)))


class Residual(nn.Module):
    """Registered in another order than called, a shortcut, a normalization before its convolution."""

    shape = (3, 10, 10)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(6)
        self.norm1 = nn.BatchNorm2d(6)
        self.before = nn.BatchNorm2d(6)
        self.conv3 = nn.Conv2d(6, 6, 1)
        self.after = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, 5)
        self.fc_norm = nn.BatchNorm1d(5)

    def forward(self, data: Any) -> Any:
        data = torch.relu_(self.norm1(self.conv1(data)))
        data = torch.relu(data + self.norm2(self.conv2(data)))
        data = torch.relu(self.conv3(self.before(data)))
        return self.fc_norm(self.fc(self.after(data).mean((2, 3))))


class Shared(nn.Module):
    """A convolution that serves two scales with a normalization of its own each; a block that serves both whole."""

    shape = (4, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(4, 4, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(4)])
        self.block = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4, affine=False))
        self.fc = nn.Linear(4, 5)

    def forward(self, data: Any) -> Any:
        small = functional.avg_pool2d(data, 2)
        found = [self.block(norm(self.head(one)).relu_()) for one, norm in zip((data, small), self.norms, strict=True)]
        return self.fc(sum(one.mean((2, 3)) for one in found))


class Dynamic(nn.Module):
    """Its way depends on the data, so that nothing but its parts can be traced."""

    shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.inner = Residual()
        self.fc = nn.Linear(4, 5)

    def forward(self, data: Any) -> Any:
        found = self.norm(self.conv(data))
        if found.abs().max() > 1e9:
            found = found / 2
        return self.fc(found.relu().mean((2, 3))) + self.inner(data)


MODELS: dict[str, type[Any]] = {"plain": Plain, "residual": Residual, "shared": Shared, "dynamic": Dynamic}


def trained(name: str, seed: int = 0) -> Any:
    """A model whose normalizations have statistics and factors that do something."""
    torch.manual_seed(seed)
    model = MODELS[name]()
    for _ in range(4):
        model(3 * torch.randn(8, *model.shape) + 1)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
            nn.init.uniform_(module.weight, -2, 2)
            nn.init.normal_(module.bias)
    return model.eval()


def batch(model: Any, count: int = 8, seed: int = 5) -> Any:
    """Data for a model."""
    return torch.randn(count, *model.shape, generator=torch.Generator().manual_seed(seed))
