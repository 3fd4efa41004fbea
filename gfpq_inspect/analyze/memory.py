"""How many samples at a time fit a given memory."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

from gfpq_inspect.analyze.engine.interface import Experiment, Facts
from gfpq_inspect.analyze.record import peak_memory_mb
from gfpq_inspect.analyze.spread import COSINE_SCALE, DECIBEL_SCALE, EXACT_SAMPLES, RATIO_SCALE
from gfpq_inspect.errors import UsageError
from gfpq_inspect.quantize.kernels import SUM_FIELDS

WORKSPACE = 2.0
"""What operators take beside their tensors (columns of a convolution, copies that are being quantized)."""
AFTERWARDS = 48 << 20
"""What the end of a run takes: the pass for causes, and the text of the result."""


def fitting(
    limit: int, experiment: Experiment, facts: Facts, *, count: int, size: int, workers: int
) -> tuple[int, int]:
    """The largest batch, and as many workers as wanted, that stay below a limit.

    Args:
        limit: Bytes that the process should not exceed.
        experiment: What is run.
        facts: What a trial of one sample showed.
        count: Number of samples.
        size: Samples a batch where memory is plenty.
        workers: Workers wanted.

    Returns:
        Samples a batch and workers, at least 1 of each.

    Raises:
        UsageError: Not even one sample fits; says what would.
    """
    cells = len(experiment.rows) * len(experiment.comparisons)
    known = resident_bytes()
    fixed = known + _pooled_bytes(cells, count) + AFTERWARDS
    sample = int(facts.bytes_per_sample * WORKSPACE) + cells * len(SUM_FIELDS) * 8 * 3
    for chosen in range(workers, 0, -1):
        # Every worker has a batch in hand, and one more waits to be pooled or to be worked on.
        fits = (limit - fixed) // (sample * (chosen + 1))
        if fits >= 1:
            return min(size, int(fits)), chosen
    least = fixed + 2 * sample
    raise UsageError(
        f"--max-memory {_megabytes(limit)}: not even one sample fits: {_megabytes(known)} are in use before the first "
        f"pass, the pooled scores take {_megabytes(fixed - known)}, and a sample {_megabytes(2 * sample)}; give at "
        f"least {_megabytes(least)}."
    )


def _pooled_bytes(cells: int, count: int) -> int:
    """Sums and spreads of all cells: values of the first samples, bins where there are more."""
    scales = (COSINE_SCALE, DECIBEL_SCALE, RATIO_SCALE)
    kept = min(count, EXACT_SAMPLES) * 8 * len(scales)
    bins = sum(scale.count for scale in scales) * 4 if count > EXACT_SAMPLES else 0
    return cells * (kept + bins + 4 * len(SUM_FIELDS) * 8)


def resident_bytes() -> int:
    """Memory that the process holds now; its peak so far where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
    return int((peak_memory_mb() or 0.0) * 2**20)


def give_back() -> None:
    """Return to the system what the allocator keeps of memory that nobody uses; only where glibc allocates.

    Between two phases the optimiser and the sessions of a trial leave hundreds of megabytes that later phases cannot
    use, because they ask for other sizes.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def parse_size(text: str) -> int:
    """Read '500M', '2G', '1.5GiB' or a number of bytes; K, M and G count in 1 024s.

    Raises:
        UsageError: Anything else.
    """
    units = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
    cleaned = text.strip().upper().removesuffix("IB").removesuffix("B").strip()
    unit = cleaned[-1:] if cleaned[-1:] in units and cleaned[-1:] else ""
    try:
        value = float(cleaned.removesuffix(unit))
        size = int(value * units[unit])
    except (ValueError, OverflowError):
        size = 0
    if size < 1:
        raise UsageError(f"--max-memory '{text}' is no size; give 500M, 2G or a number of bytes.")
    return size


def _megabytes(size: int) -> str:
    return f"{-(-size // (1 << 20))} MB"
