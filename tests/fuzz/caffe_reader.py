"""One input of any bytes through both Caffe readers; the body of every fuzzer.

Run under atheris it is a fuzz target (install atheris by hand, it is no dependency of ours):

    python tests/fuzz/caffe_reader.py [CORPUS_FOLDER] [-max_total_time=60]

Anything but a network or an error of ours is a finding. The readers are imported late, so that atheris can instrument
them.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STRUCTURE = ROOT / "fixtures/caffe/quirks/net.prototxt"


def read_text_file(content: bytes, folder: Path) -> None:
    """Read bytes as a prototxt without weights."""
    from gfpq_inspect.errors import UserError
    from gfpq_inspect.models.caffe.network import read_network

    path = folder / "net.prototxt"
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        read_network(None, path)


def read_binary_file(content: bytes, folder: Path) -> None:
    """Read bytes as a caffemodel: alone, and with a prototxt."""
    from gfpq_inspect.errors import UserError
    from gfpq_inspect.models.caffe.network import CaffeOptions, read_network

    path = folder / "weights.bin"
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        read_network(path)
    with contextlib.suppress(UserError):
        read_network(path, STRUCTURE, options=CaffeOptions(allow_missing=True))


def consume(content: bytes) -> None:
    """Feed one input to both readers."""
    with tempfile.TemporaryDirectory() as folder:
        read_text_file(content, Path(folder))
        read_binary_file(content, Path(folder))


def main() -> None:
    """Fuzz until stopped."""
    import atheris

    # An editable install finds the package by a loader of its own, which atheris cannot instrument: ask it last.
    sys.meta_path.sort(key=lambda finder: "Redirecting" in type(finder).__name__)
    sys.path.insert(0, str(ROOT))
    with atheris.instrument_imports(include=["gfpq_inspect"]):
        import gfpq_inspect.models.caffe.network  # noqa: F401  (imported to be instrumented)

    atheris.Setup(sys.argv, consume)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
