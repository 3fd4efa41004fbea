"""Polygraphy: all tensors of both networks marked as outputs, saved, compared by cosine and signal-to-noise ratio."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from .interface import Job, run
from .onnxruntime_static import quantized

PROGRAM = Path(sys.executable).with_name("polygraphy")


def work(job: Job) -> None:
    network = quantized(job)
    feeds, saved = job.folder / "feeds.json", job.folder / "float.json"
    with job.phase("save inputs"):
        from polygraphy.json import save_json

        save_json(list(job.samples()), str(feeds))
    common: list[str | Path] = ["--onnxrt", "--onnx-outputs", "mark", "all", "--load-inputs", str(feeds)]
    with job.phase("float"):
        subprocess.run(
            [PROGRAM, "run", job.model, *common, "--save-outputs", saved], check=True, stdout=subprocess.DEVNULL
        )
    with job.phase("compare"):
        compare: list[str | Path] = ["--load-outputs", saved, "--compare", "cosine_similarity", "snr"]
        # It exits with 1 where two tensors differ, which is what is looked for.
        done = subprocess.run([PROGRAM, "run", network, *common, *compare], check=False, capture_output=True, text=True)
    job.compared = len(set(re.findall(r"Comparing Output: '([^']+)'", done.stdout)))
    if done.returncode > 1 or not job.compared:
        sys.exit(f"polygraphy compared nothing: {(done.stderr or done.stdout)[-2000:]}")


if __name__ == "__main__":
    run(work, ["polygraphy", "onnxruntime", "onnx", "numpy"])
