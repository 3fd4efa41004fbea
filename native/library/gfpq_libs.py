"""Builds the libraries and lays them out as GFPQLibs/{include,lib,sample}, the tree that users of GFPQ know.

    python3 native/library/gfpq_libs.py --output GFPQLibs

The libraries for GPUs are there when nvcc is found, those for Windows when mingw-w64 is found.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

NATIVE = Path(__file__).resolve().parent.parent
ROOT = NATIVE.parent
SAMPLES = NATIVE / "samples"
SAMPLE_FILES = (
    "CMakeLists.txt",
    "get_gpu_version.sh",
    "run_linux.sh",
    "run_windows.bat",
    "sample.cpp",
    "sample_on_python.py",
    "sample_on_python_gpu.py",
)
LIBRARY_PATTERNS = ("*.so", "*.so.*", "*.a", "*.dll", "*.lib")
MINGW = "x86_64-w64-mingw32-g++-posix"


def find_cmake() -> str:
    """CMake beside this Python, else the system's."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which("cmake", path=path)
    if found is None:
        sys.exit("gfpq_libs: CMake is needed: pip install cmake")
    return found


def build(folder: Path, *options: str) -> Path:
    """Configure, build and install into `folder`; return the prefix. Shows what failed, and nothing else."""
    prefix = folder / "prefix"
    shutil.rmtree(prefix, ignore_errors=True)
    cmake = find_cmake()
    for command in (
        [cmake, "-S", str(NATIVE), "-B", str(folder), f"-DCMAKE_INSTALL_PREFIX={prefix}", "-DCMAKE_INSTALL_LIBDIR=lib",
         "-DGFPQ_PYTHON=OFF", *options],
        [cmake, "--build", str(folder), "--config", "Release", "--parallel", str(os.cpu_count() or 1)],
        [cmake, "--install", str(folder), "--config", "Release"],
    ):  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"gfpq_libs: {' '.join(command)}\n{done.stdout}{done.stderr}")
    return prefix


def copy_libraries(source: Path, target: Path) -> None:
    """Copy the library files of a folder, links as links; its folders (for CMake, pkg-config) stay behind."""
    for pattern in LIBRARY_PATTERNS:
        for path in sorted(source.glob(pattern)):
            shutil.copy2(path, target / path.name, follow_symlinks=False)


def contents(library: Path) -> str:
    """What the build holds, for the release note."""
    lines = ["    * libgfpq for Linux" if (library / "libgfpq.so").exists() else "    * no library for Linux"]
    if (library / "libgfpq_gpu.so").exists():
        lines.append("    * libgfpq_gpu for Linux and NVIDIA GPUs")
    else:
        lines.append("    * no libgfpq_gpu: nvcc was not found")
    if (library / "gfpq.dll").exists():
        lines.append("    * gfpq.dll for Windows")
    else:
        lines.append("    * no gfpq.dll: mingw-w64 was not found")
    return "\n".join(lines)


def lay_out(output: Path, cuda: str, work: Path) -> None:
    """Make the whole tree in a new folder and put it in place of an old one."""
    prefix = build(work / "linux", f"-DGFPQ_CUDA={cuda}")
    fresh = output.with_name(output.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    for name in ("include", "lib", "sample"):
        (fresh / name).mkdir(parents=True)
    shutil.copy2(prefix / "include" / "gfpq.hpp", fresh / "include")
    copy_libraries(prefix / "lib", fresh / "lib")
    if shutil.which(MINGW) is not None:
        toolchain = NATIVE / "cmake" / "mingw-w64.cmake"
        windows = build(work / "windows", f"-DCMAKE_TOOLCHAIN_FILE={toolchain}", "-DGFPQ_CUDA=OFF")
        for name in ("gfpq.dll", "gfpq.lib"):
            shutil.copy2(windows / "lib" / name, fresh / "lib")
    for name in SAMPLE_FILES:
        shutil.copy2(SAMPLES / name, fresh / "sample")
    note = (SAMPLES / "Release_note.txt.in").read_text(encoding="utf-8")
    version = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    note = note.replace("@GFPQ_VERSION@", version[1]).replace("@GFPQ_CONTENT@", contents(fresh / "lib"))
    (fresh / "Release_note.txt").write_text(note, encoding="utf-8")
    shutil.rmtree(output, ignore_errors=True)
    fresh.rename(output)


def main() -> int:
    """Read the options and lay out the tree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("GFPQLibs"), help="folder to make (default: GFPQLibs)")
    parser.add_argument("--cuda", choices=("AUTO", "ON", "OFF"), default="AUTO", help="the library for GPUs")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "gfpq-libs", help="folder to build in")
    options = parser.parse_args()
    output = options.output.resolve()
    if output.exists() and not (output / "include" / "gfpq.hpp").is_file():
        sys.exit(f"gfpq_libs: {output} exists and is no GFPQLibs folder: name another with --output")
    lay_out(output, options.cuda, options.work.resolve())
    print(f"wrote {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
