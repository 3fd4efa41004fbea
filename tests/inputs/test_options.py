"""Options: shapes as text, numbers, names."""

from __future__ import annotations

import pytest

from gfpq_inspect.errors import UsageError
from gfpq_inspect.inputs.options import InputOptions, listed, parse_input_shapes, parse_resize, resolve_input_shapes
from gfpq_inspect.models.model import ModelInput


@pytest.mark.parametrize(
    ("texts", "shapes"),
    [
        ([], {}),
        (["1,3,224,224"], {"": (1, 3, 224, 224)}),
        (["1x3x224x224"], {"": (1, 3, 224, 224)}),
        (["data:1,3,224,224", "info:1,3"], {"data": (1, 3, 224, 224), "info": (1, 3)}),
        (["input:0:1, 8, 8, 3"], {"input:0": (1, 8, 8, 3)}),
        (["x:7"], {"x": (7,)}),
    ],
)
def test_input_shapes(texts: list[str], shapes: dict[str, tuple[int, ...]]) -> None:
    assert parse_input_shapes(texts) == shapes


@pytest.mark.parametrize(
    "text", ["", "data", "data:", "1,,2", "1,-3,2", "1,3,a", "1.5,3", "0,3,4", "data:1,0", "1,99999999999"]
)
def test_bad_input_shapes(text: str) -> None:
    with pytest.raises(UsageError, match="input shape"):
        parse_input_shapes([text])


def test_input_shape_given_twice() -> None:
    with pytest.raises(UsageError, match="input 'a' is given twice"):
        parse_input_shapes(["a:1,2", "a:1,3"])


def test_shapes_meet_the_networks_inputs() -> None:
    one, two = ModelInput("data", "data", ()), ModelInput("info", "info", (1, 3))
    assert resolve_input_shapes({"": (1, 2)}, [one]) == {"data": (1, 2)}
    assert resolve_input_shapes({"": (1, 2), "info": (1, 3)}, [one, two]) == {"data": (1, 2), "info": (1, 3)}
    with pytest.raises(UsageError, match="--input-shape 1,2 names no input, and the network has 'data' and 'info'"):
        resolve_input_shapes({"": (1, 2)}, [one, two])
    with pytest.raises(UsageError, match="names input 'dat', but the network has 'data'"):
        resolve_input_shapes({"dat": (1, 2)}, [one])


@pytest.mark.parametrize(
    "options",
    [{"channel_order": "grb"}, {"layout": "chw"}, {"samples": 0}, {"seed": -1}, {"resize": "12by4"}, {"resize": "0"}],
)
def test_options_without_a_meaning(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        InputOptions(**options)  # type: ignore[arg-type]  # wrong on purpose


def test_resize_rules() -> None:
    assert parse_resize(None) is None
    assert parse_resize("none") == 0
    assert parse_resize("256") == 256
    assert parse_resize("240x320") == (240, 320)


def test_long_lists_are_cut() -> None:
    assert listed([str(index) for index in range(20)]).endswith("'11' and 8 more")
