"""Checks the GPU code on a machine with an NVIDIA GPU, in one call: exactness, misuse, samples, bandwidth.

    python3 native/cuda/check_gpu.py [--out FOLDER] [--minutes 8] [--only "bandwidth,similarity variants"]

Needs nvcc, CMake, NumPy and CuPy; PyTorch and compute-sanitizer where they are to be checked. Builds everything from
the working tree. Prints what it finds as it goes and a short table at the end, and writes gpu_check.json and
gpu_bandwidth.md to the folder (default: the environment's OUT, else build/gpu-check). Returns 1 when anything failed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gpu_check import build
from gpu_check.report import Report


def main() -> int:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("OUT") or build.ROOT / "build" / "gpu-check")
    parser.add_argument("--out", type=Path, default=default, help="folder for the findings")
    parser.add_argument("--minutes", type=float, default=8.0, help="after this the exhaustive part stops")
    parser.add_argument("--only", help="parts to run, by name, with commas between them")
    options = parser.parse_args()
    only = None if options.only is None else [name.strip() for name in options.only.split(",")]
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        try:
            check(report, Path(folder), options.minutes * 60, only)
        finally:
            report.write(options.out)
    return conclude(report)


def check(report: Report, work: Path, limit_s: float, only: list[str] | None) -> None:
    """Everything, or the parts named, in the order of what matters if time runs out."""
    with report.section("build"), ThreadPoolExecutor() as pool:
        module = pool.submit(build.make_package_importable, work)
        other = pool.submit(build.build_for_another_gpu, work)
        libraries = build.build_libraries(work)
        exercise = build.build_exercise(work, libraries)
        report.texts["native module"] = module.result()
        report.check("build", "libraries, module, exercise", True, module.result())
        other_library = other.result() / "libgfpq_gpu.so"
    if report.failed():
        return

    import cupy  # noqa: PLC0415  (its absence should not keep the build from being reported)
    from gpu_check import comparison, programs  # noqa: PLC0415
    from gpu_check.exact import Exact  # noqa: PLC0415  (needs CuPy)
    from gpu_check.library import Libraries, Library  # noqa: PLC0415
    from gpu_check.misuse import Misuse  # noqa: PLC0415
    from gpu_check.speed import Speed  # noqa: PLC0415

    describe(report, cupy)
    from gfpq_inspect import quantize  # noqa: PLC0415  (importable since it was built)
    from gfpq_inspect.quantize import cuda_kernels  # noqa: PLC0415

    gpu = Library(libraries / "libgfpq_gpu.so")
    fast = Library(libraries / "libgfpq.so")
    reference = Library(libraries / "libgfpq.so", "reference")
    exact = Exact(report, Libraries(gpu, fast, reference), cuda_kernels, quantize)
    misuse, speed = Misuse(report, gpu), Speed(report, gpu, cuda_kernels)
    parts = {
        "recorded calls": exact.recorded,
        "tiny and unaligned arrays": exact.small_and_unaligned,
        "float64": exact.float64,
        "subnormal numbers": exact.subnormal,
        "similarity": exact.similarity,
        "streams": exact.streams,
        "other libraries' arrays": exact.libraries,
        "misuse": misuse.run,
        "a GPU without code": lambda: misuse.gpu_without_code(other_library),
        "bandwidth": speed.run,
        "compare": lambda: comparison.run(report, work),
        "sanitizer": lambda: programs.sanitizer(report, exercise),
        "samples": lambda: programs.samples(report, work),
        "every float32 pattern": lambda: exact.every_float32(limit_s),
    }
    if only is None and report.elapsed_s() < limit_s:
        parts |= {"variants": speed.variants}
    if only is not None:
        parts |= {"variants": speed.variants, "similarity variants": speed.similarity_variants}
        parts = {name: parts[name] for name in only}
    for name, part in parts.items():
        with report.section(name):
            part()


def describe(report: Report, cupy: object) -> None:
    """What this machine is."""
    query = build.run("nvidia-smi", "--query-gpu=name,driver_version,memory.total,compute_cap", "--format=csv,noheader")
    name, driver, memory, capability = (word.strip() for word in query.splitlines()[0].split(","))
    report.machine = {
        "gpu": name,
        "driver": driver,
        "memory": memory,
        "architecture": f"sm_{capability.replace('.', '')}",
        "nvcc": build.run("nvcc", "--version").split("release ")[1].split(",")[0],
        "cupy": getattr(cupy, "__version__", "?"),
        "python": sys.version.split()[0],
        "processors": str(os.cpu_count()),
    }
    print("   " + ", ".join(f"{key} {value}" for key, value in report.machine.items()), flush=True)


def conclude(report: Report) -> int:
    """Print the table and what failed."""
    print(f"\n{', '.join(f'{key} {value}' for key, value in report.machine.items())}")
    for title, text in report.texts.items():
        if title.startswith(("variants", "another")):
            print(f"\n{title}\n{text}")
    print()
    for measurement in report.measurements:
        print(report.line(measurement))
    sections: dict[str, list[bool]] = {}
    for finding in report.checks:
        sections.setdefault(finding.section, []).append(finding.passed)
    print()
    for name, passed in sections.items():
        print(f"{name:<14} {sum(passed)} of {len(passed)} passed")
    print(f"seconds: {report.seconds}, all: {report.elapsed_s():.0f}")
    failed = report.failed()
    for line in failed:
        print(f"FAILED {line[:1500]}")
    print("everything passed" if not failed else f"{len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
