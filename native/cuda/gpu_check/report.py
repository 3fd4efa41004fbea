"""What the check found: printed as it goes, kept for the files at the end."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Check:
    """One thing that was looked at."""

    section: str
    name: str
    passed: bool
    detail: str


@dataclass
class Measurement:
    """One operation's time.

    Attributes:
        operation: What was timed.
        elements: float32 elements of the array.
        time_us: Median time of one call, in microseconds.
        bytes_moved: Bytes that the operation cannot do without reading or writing.
        ratio: Bandwidth against the baseline's of the same run.
        baseline: The baseline's name.
        goal: The ratio that is wanted, or None.
    """

    operation: str
    elements: int
    time_us: float
    bytes_moved: int
    ratio: float
    baseline: str
    goal: float | None

    @property
    def rate(self) -> float:
        """Bandwidth in GB/s (10^9 bytes)."""
        return self.bytes_moved / self.time_us / 1e3


@dataclass
class Report:
    """Everything that was found."""

    machine: dict[str, str] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Time a part; an exception in it is a failed check, and the next part runs."""
        begin = time.monotonic()
        print(f"== {name}", flush=True)
        try:
            yield
        except Exception:  # whatever it is, the other sections still tell something
            self.check(name, "ran to its end", False, traceback.format_exc())
        self.seconds[name] = round(time.monotonic() - begin, 1)
        print(f"   ({self.seconds[name]} s)", flush=True)

    def check(self, section: str, name: str, passed: bool, detail: str = "") -> None:
        """Keep and print one finding."""
        self.checks.append(Check(section, name, bool(passed), detail))
        print(f"   {'ok  ' if passed else 'FAIL'} {name}{': ' if detail else ''}{detail}", flush=True)

    def measure(self, measurement: Measurement) -> None:
        """Keep and print one time."""
        self.measurements.append(measurement)
        print("   " + self.line(measurement), flush=True)

    @staticmethod
    def line(m: Measurement) -> str:
        """A measurement as a line of text."""
        goal = "" if m.goal is None else f" (goal {m.goal:.2f}{'' if m.ratio >= m.goal else ' MISSED'})"
        return (
            f"{m.operation:<46} {m.elements:>11} {m.time_us:>9.1f} us {m.rate:>7.0f} GB/s"
            f"  {m.ratio:.3f} of {m.baseline}{goal}"
        )

    def failed(self) -> list[str]:
        """What did not pass: checks, and goals of speed."""
        slow = [m for m in self.measurements if m.goal is not None and m.ratio < m.goal]
        missed = [f"{m.operation}, {m.elements}: {m.ratio:.3f} of {m.baseline}" for m in slow]
        return [f"{c.section}: {c.name}: {c.detail}" for c in self.checks if not c.passed] + missed

    def write(self, folder: Path) -> None:
        """Write gpu_check.json and gpu_bandwidth.md."""
        folder.mkdir(parents=True, exist_ok=True)
        everything: dict[str, Any] = asdict(self)
        del everything["started"]
        everything["failed"] = self.failed()
        (folder / "gpu_check.json").write_text(json.dumps(everything, indent=1) + "\n")
        rows = [
            f"| {m.operation} | {m.elements:,} | {m.time_us:.1f} | {m.rate:.0f} | {m.ratio:.3f} of {m.baseline} | "
            f"{'' if m.goal is None else m.goal} |"
            for m in self.measurements
        ]
        head = [
            f"Measured on one {self.machine.get('gpu', 'GPU')} (driver {self.machine.get('driver', '?')}, "
            f"CUDA {self.machine.get('nvcc', '?')}) by `native/cuda/check_gpu.py`; GB = 10^9 bytes read and written.",
            "",
            "| operation | float32 elements | microseconds | GB/s | ratio | goal |",
            "|---|---|---|---|---|---|",
        ]
        (folder / "gpu_bandwidth.md").write_text("\n".join(head + rows) + "\n")
