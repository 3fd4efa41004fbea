"""One coefficient a group: the same network in float, better where groups differ in size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from gfpq_inspect.analyze.groups import with_group_coefficients
from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.session import compare_networks
from tests.analyze.networks import ArraySource, GraphMaker, samples


def test_small_groups_keep_their_range(tmp_path: Path) -> None:
    maker = GraphMaker(seed=2)
    x = maker.input("x", 4, 8, 8)
    maker.conv(x, "grouped", (4, 8), group=2)
    model = maker.build(tmp_path, "grouped")
    images = samples(3, 4, 8, 8)
    images[:, :2] *= np.float32(2.0**9)
    request = ComparisonRequest(first=model, source=ArraySource({"x": images}), timing=False)
    plain = compare_networks(request)
    grouped = compare_networks(replace(request, first=with_group_coefficients(model)))
    rows = {row.key: row for row in grouped.layers}
    sqnr = [result.details["layers"]["grouped"]["channels"]["sqnr_db"] for result in (plain, grouped)]
    assert max(sqnr[0][4:]) < 10
    assert min(sqnr[1][4:]) > 30
    assert rows["grouped"].scores["data"].count == plain.layers[-1].scores["data"].count
    data = [entry for entry in grouped.coefficients if entry.role == "data"]
    assert len(data) == 2
    assert data[0].delta != data[1].delta


def test_nothing_changes_in_float_or_without_groups(tmp_path: Path) -> None:
    maker = GraphMaker(seed=2)
    x = maker.input("x", 4, 8, 8)
    maker.conv(x, "depthwise", (4, 4), group=4)
    maker.conv("depthwise", "plain", (4, 4))
    model = maker.build(tmp_path, "plain")
    changed = with_group_coefficients(model)
    assert [layer.key for layer in changed.layers if layer not in model.layers] == [
        "depthwise/groups",
        "depthwise/joined",
        "depthwise",
    ]
    source = ArraySource({"x": samples(2, 4, 8, 8)})
    result = compare_networks(ComparisonRequest(first=model, second=changed, bits=None, source=source, timing=False))
    assert next(row for row in result.layers if row.key == "plain").scores["total"].cosine == 1.0
    assert with_group_coefficients(changed).layers == changed.layers
