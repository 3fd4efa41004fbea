"""The solver is Caffe's: momentum, multipliers, a clipped gradient; and with it the loss falls."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from gfpq_inspect.tune.recover.solver import CaffeSolver  # noqa: E402  (needs PyTorch)


def solver(**changes: object) -> CaffeSolver:
    given = {"rate": 0.1, "momentum": 0.9, "steps": 10**9, "multipliers": {"w": 1.0}, **changes}
    return CaffeSolver(**given)  # type: ignore[arg-type]  # the defaults fit


def test_history_is_momentum_times_history_plus_rate_times_gradient() -> None:
    weights, gradient = {"w": torch.tensor([1.0, -2.0])}, torch.tensor([0.5, 4.0])
    one = solver()
    one.update(weights, {"w": gradient})
    assert torch.allclose(weights["w"], torch.tensor([1.0, -2.0]) - 0.1 * gradient)
    first = weights["w"].clone()
    one.update(weights, {"w": gradient})
    assert torch.allclose(one.history["w"], 0.9 * 0.1 * gradient + 0.1 * gradient)
    assert torch.allclose(weights["w"], first - one.history["w"])


def test_a_gradient_longer_than_the_clip_is_shortened_to_it() -> None:
    weights = {"w": torch.zeros(2)}
    solver(clip=1.0, multipliers={"w": 2.0}).update(weights, {"w": torch.tensor([3.0, 4.0])})
    assert math.isclose(float(weights["w"].norm()), 0.1, rel_tol=1e-6)


def test_the_rate_falls_to_zero() -> None:
    one = solver(steps=4)
    rates = []
    for _ in range(4):
        rates.append(one.rate_now)
        one.update({"w": torch.zeros(1)}, {"w": torch.ones(1)})
    assert rates == sorted(rates, reverse=True)
    assert one.rate_now == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_loss_falls(momentum: float) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, wanted = torch.randn(64, 8, generator=generator), torch.randn(64, 3, generator=generator)
    weights = {"w": torch.zeros(8, 3)}
    one = solver(rate=0.01, momentum=momentum)
    losses = []
    for _ in range(60):
        leaf = weights["w"].clone().requires_grad_()
        loss = ((inputs @ leaf - wanted) ** 2).mean()
        loss.backward()
        losses.append(float(loss.detach()))
        assert leaf.grad is not None
        one.update(weights, {"w": leaf.grad})
    assert losses[-1] < losses[0]
    assert losses[30] < losses[0]
