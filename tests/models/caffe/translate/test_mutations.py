"""Numbers of real definitions changed at random: a network comes out, or an error for the user, never anything else."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gfpq_inspect.errors import UserError
from gfpq_inspect.models.caffe.network import CaffeOptions, read_network

FOLDER = Path(__file__).resolve().parents[4] / "fixtures" / "caffe"
TEXTS = {path.parent.name: path.read_text() for path in sorted(FOLDER.glob("*/net.prototxt"))}
NUMBER = re.compile(r"(?<=: )-?\d+(?:\.\d+)?(?:e-?\d+)?\b")
VALUES = [
    "0",
    "1",
    "2",
    "3",
    "7",
    "-1",
    "16",
    "100",
    "65536",
    "2147483647",
    "4294967295",
    "0.5",
    "-1.5",
    "1e30",
    "nan",
    "inf",
]


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_changed_numbers_never_crash(data, tmp_path_factory):
    name = data.draw(st.sampled_from(sorted(TEXTS)))
    places = list(NUMBER.finditer(TEXTS[name]))
    text = TEXTS[name]
    for place in sorted(data.draw(st.sets(st.sampled_from(range(len(places))), min_size=1, max_size=3)), reverse=True):
        found = places[place]
        text = text[: found.start()] + data.draw(st.sampled_from(VALUES)) + text[found.end() :]
    structure = tmp_path_factory.mktemp("mutation") / "net.prototxt"
    structure.write_text(text)
    weights = FOLDER / name / "net.caffemodel" if data.draw(st.booleans()) else None
    with suppress(UserError):
        model = read_network(weights, structure, options=CaffeOptions(keep_losses=True)).build()
        assert model.layers
