"""Read files and print what each cost: `python measure.py WARM_UP_FOLDER FILE...` prints a JSON line a file.

Every file is read in a child of its own, forked from a process that has read a small network before, so that what every
reading loads once is not counted.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

from gfpq_inspect.errors import UserError
from gfpq_inspect.models.caffe.network import read_network
from gfpq_inspect.models.caffe.translate.registry import known_types


def measure(path: Path) -> dict[str, float | str]:
    """Read one file: processor seconds, mebibytes beyond what the process had before, and the outcome."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    try:
        network = read_network(None, path) if path.suffix == ".prototxt" else read_network(path)
        outcome = f"{len(network.net.layers)} layers, {len(network.problems)} problems"
    except UserError as error:
        outcome = str(error)[:300]
    elapsed = time.process_time() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"name": path.name, "elapsed_s": elapsed, "grown_mib": (after - before) / 1024, "outcome": outcome}


def main() -> None:
    """Measure every file."""
    warm_up = Path(sys.argv[1])
    known_types()
    read_network(warm_up / "net.caffemodel", warm_up / "net.prototxt")
    for name in sys.argv[2:]:
        child = os.fork()
        if not child:
            print(json.dumps(measure(Path(name))), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
