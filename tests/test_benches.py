"""Every bench runs, with the smallest arguments: nothing is said of the figures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.bench import engine, fits, linearity, memory, small
from tests.bench.networks import real_networks
from tests.bench.peers import __main__ as peers
from tests.bench.peers import environments, interface, qdq_loss_debug
from tests.bench.peers.catalogue import PEERS, Peer
from tests.bench.processes import cost_of
from tests.bench.shapes import Builder, lenet

pytestmark = pytest.mark.filterwarnings("default")  # peers warn of what they please


@pytest.fixture
def network(tmp_path: Path) -> Path:
    builder = Builder()
    path = tmp_path / "lenet.onnx"
    onnx.save(builder.model(lenet(builder), (1, 28, 28)), path)
    return path


def test_lanes(network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    engine.main([str(network), "--rounds", "1", "--json", str(out)])
    (row,) = json.loads(out.read_text())
    assert row["ratio"] > 0
    assert row["lanes"] == 4
    assert "plain passes" in capsys.readouterr().out


def test_real_networks_that_are_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GFPQ_INSPECT_SHARED", "/nowhere")
    engine.main(["--real"])
    assert "GFPQ_INSPECT_SHARED" in capsys.readouterr().out


def test_real_networks_are_found_or_named(network: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "one"
    folder.mkdir(parents=True)
    (folder / "a.onnx").write_bytes(network.read_bytes())
    (folder / "b.onnx").write_bytes(b"damaged")
    found = {entry.name: entry for entry in real_networks(tmp_path / "models", 1000)}
    assert found["one/a.onnx"].model is not None
    assert "b.onnx" in found["one/b.onnx"].reason


def test_small_networks(network: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    small.main([str(network), "--samples", "40", "--rounds", "1", "--json", str(out)])
    rows = json.loads(out.read_text())
    assert [row["lanes"] for row in rows] == [4, 8]


def test_linearity(tmp_path: Path) -> None:
    drawn, out = tmp_path / "drawn.svg", tmp_path / "out.json"
    words = ["--samples", "2", "4", "--layers", "4", "8", "--lane-layers", "4", "--rounds", "1"]
    linearity.main([*words, "--picture", str(drawn), "--json", str(out)])
    assert drawn.read_text().count("<circle") == 2 + 2 + 8
    assert [fit["title"] for fit in json.loads(out.read_text())["fits"]] == ["samples", "layers", "lanes"]


def test_line_of_points_on_a_line() -> None:
    fit = fits.fitted("samples", "sample", [(1, 3.0), (2, 5.0), (10, 21.0)])
    assert (fit.slope_s, fit.intercept_s, fit.r_squared) == pytest.approx((2, 1, 1))
    assert fit.largest_deviation == pytest.approx(0, abs=1e-12)
    assert "samples" in fits.picture([fit], "a < b")


def test_bend_shows() -> None:
    fit = fits.fitted("samples", "sample", [(1, 1.0), (2, 4.0), (4, 16.0), (8, 64.0)])
    assert fit.largest_deviation > 0.3


@pytest.mark.slow
def test_memory(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    memory.main(["squeezenet", "--samples", "1", "2", "--json", str(out)])
    (row,) = json.loads(out.read_text())
    assert row["peak_mb"]["2"] > row["weights_mb"]


@pytest.mark.slow
def test_ours_without_peers(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    words = ["squeezenet", "--peer", "none", "--images", "2", "--rounds", "1", "--json", str(out)]
    assert peers.main(words) == 0
    rows = json.loads(out.read_text())["networks"][0]["rows"]
    assert [row["name"] for row in rows] == list(peers.OURS)
    assert all(row["compared"] for row in rows)


def test_a_peer_that_is_installed_here(network: Path, tmp_path: Path) -> None:
    """That of ONNX Runtime; the others need environments of their own."""
    job = tmp_path / "job"
    job.mkdir()
    model = job / "model.onnx"
    model.write_bytes(network.read_bytes())
    images, out = tmp_path / "images.npz", tmp_path / "out.json"
    np.savez(images, input=np.random.default_rng(1).standard_normal((2, 1, 28, 28)).astype(np.float32))
    interface.run(qdq_loss_debug.work, ["onnxruntime"], [str(model), str(images), str(out)])
    told = json.loads(out.read_text())
    assert told["compared"] > 3
    assert told["samples"] == 2
    assert told["start_up_s"] > 0


def test_what_cannot_be_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(peer: Peer, folder: Path) -> Path:
        raise environments.CannotInstallError("ERROR: no matching distribution")

    monkeypatch.setattr(peers, "python_of", refuse)
    monkeypatch.setattr(peers, "measure", lambda *_: {"network": "n", "images": 1, "rows": [], "against": {}})
    monkeypatch.setattr(peers, "show", lambda *_: 0)
    assert peers.main(["squeezenet", "--peer", "aimet"]) == 0
    assert "aimet: not measured, it cannot be installed here: ERROR: no matching" in capsys.readouterr().out


def test_a_peer_that_fails_is_named(tmp_path: Path) -> None:
    peer = Peer("broken", "no_such_script", "none", ())
    row = peers.theirs(peer, Path(sys.executable), tmp_path / "model.onnx", tmp_path / "images.npz", 60)
    assert row["failed"]
    assert "no_such_script" in row["reason"]


def test_peers_have_scripts() -> None:
    folder = Path(peers.__file__).parent
    assert all((folder / f"{peer.script}.py").is_file() for peer in PEERS)


def test_cost_counts_the_process_and_not_this_one() -> None:
    ballast = np.ones(1 << 25)
    cost = cost_of([sys.executable, "-ISc", "b = bytearray(b'1') * (64 << 20); print('said')"])
    assert ballast.nbytes / 2**20 > 200 > cost.peak_memory_mb > 64
    assert (cost.exit_code, cost.timed_out, cost.said) == (0, False, "said\n")
    assert cost.wall_s >= 0


def test_cost_ends_what_takes_too_long() -> None:
    cost = cost_of([sys.executable, "-ISc", "import time; time.sleep(60)"], limit_s=0.5)
    assert cost.timed_out
    assert cost.wall_s < 30


def test_arguments_are_checked() -> None:
    with pytest.raises(SystemExit):
        peers.main(["no-such-network"])
    with pytest.raises(SystemExit):
        memory.main(["no-such-network"])
