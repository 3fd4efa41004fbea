"""Layers with parameters drawn at random, against what real Caffe (kendryte-caffe 1.0.0.20210829) computed.

`fixtures/caffe/variants.npz` holds for each case `KIND_NUMBER` the prototxt, the caffemodel, inputs and tops; a case
without tops is one that Caffe refused.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.errors import ModelError
from gfpq_inspect.models.caffe.network import CaffeOptions, read_network
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.run import run_model

from .agreement import Agreement

ARCHIVE = Path(__file__).resolve().parents[4] / "fixtures" / "caffe" / "variants.npz"


@cache
def cases() -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """All cases by kind."""
    found: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    with np.load(ARCHIVE) as archive:
        for key in archive.files:
            case, _, part = key.partition("/")
            found.setdefault(case.partition("_")[0], {}).setdefault(case, {})[part] = archive[key]
    return found


def build(case: dict[str, np.ndarray], folder: Path) -> Model:
    structure, weights = folder / "net.prototxt", folder / "net.caffemodel"
    structure.write_bytes(case["prototxt"].tobytes())
    stored = "caffemodel" in case
    if stored:
        weights.write_bytes(case["caffemodel"].tobytes())
    options = CaffeOptions(keep_losses=True)
    return read_network(weights if stored else None, structure, options=options).build()


def kinds() -> list[str]:
    return sorted(cases())


@pytest.mark.parametrize("kind", kinds())
def test_random_parameters_agree(kind, tmp_path, capsys):
    agreement = Agreement(kind)
    for name, case in cases()[kind].items():
        expected = {key.removeprefix("out/"): value for key, value in case.items() if key.startswith("out/")}
        if not expected:
            with pytest.raises(ModelError):
                build(case, tmp_path)
            continue
        inputs = {key.removeprefix("in/"): value for key, value in case.items() if key.startswith("in/")}
        made = run_model(build(case, tmp_path), inputs)
        for top, value in expected.items():
            agreement.add(f"{name} {top}", made[top], value)
    with capsys.disabled():
        print(f"\n  {agreement}", end="")
    assert agreement.faults == ()
    assert agreement.tops > 0
