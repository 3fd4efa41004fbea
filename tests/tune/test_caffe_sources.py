"""The C++ Quant layer against a minimal declaration of Caffe, and the script that puts it into a source tree."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import require_tool
from tests.library.conftest import build_library

PROTO = """\
syntax = "proto2";
package caffe;
message NetParameter {
  repeated LayerParameter layer = 100;
}
// a comment with a brace {
message LayerParameter {
  optional string name = 1; // the { layer's name
  /* old: { */
  oneof nothing { int32 x = 99; }
  optional ClipParameter clip_param = 148;
}
message ClipParameter {
  required float min = 1;
}
"""
MAKEFILE = """\
include Makefile.config
LIBRARIES += glog gflags protobuf leveldb \\
\tlmdb m
LIBRARY_DIRS += $(LIB_BUILD_DIR)
LDFLAGS += $(foreach library,$(LIBRARIES),-l$(library))

all: $(STATIC_NAME) $(DYNAMIC_NAME)

$(DYNAMIC_NAME): $(OBJS) | $(LIB_BUILD_DIR)
\t@ echo LD -o $@
\t@ touch $@

$(STATIC_NAME): $(OBJS) | $(LIB_BUILD_DIR)
\t@ echo AR -o $@
\t@ touch $@

$(LIB_BUILD_DIR):
\tmkdir -p $@

show:
\t@ echo $(LDFLAGS) $(INCLUDE_DIRS)
"""
CONFIG = "CPU_ONLY := 1\nINCLUDE_DIRS := /usr/local/include\n"


@pytest.fixture(scope="session")
def library() -> Path:
    """The C library with its header, as a C++ user has it."""
    return build_library("library", "-DGFPQ_CUDA=OFF")


@pytest.mark.parametrize("standard", ["gnu++98", "c++11", "c++17"])
def test_layer_on_the_cpu(root: Path, library: Path, tmp_path: Path, standard: str) -> None:
    compiler = require_tool("g++", "compiling the Quant layer for Caffe")
    folder = root / "native/caffe"
    program = tmp_path / "exercise"
    words = [compiler, f"-std={standard}", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-deprecated-declarations"]
    words += ["-Werror", "-DCPU_ONLY", *(f"-I{path}" for path in (folder / "check/include", folder / "include"))]
    words += [f"-I{library / 'include'}", str(folder / "src/caffe/layers/quant_layer.cpp")]
    words += [str(folder / "check/exercise.cpp"), f"-L{library / 'lib'}", "-lgfpq", f"-Wl,-rpath,{library / 'lib'}"]
    done = subprocess.run([*words, "-o", str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ran = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert ran.stdout == "ok\n"
    assert ran.stderr.count("has no coefficient from training yet") == 2  # once for float, once for double


def test_layer_on_the_gpu_compiles_and_says_why_it_stops(root: Path, library: Path, tmp_path: Path) -> None:
    compiler = require_tool("g++", "compiling the Quant layer for Caffe")
    folder = root / "native/caffe"
    program = tmp_path / "exercise"
    words = [compiler, "-std=c++11", "-Wall", "-Wno-unused-parameter", "-Werror"]
    words += [f"-I{path}" for path in (folder / "check/include", folder / "include", library / "include")]
    words += ["-x", "c++", str(folder / "src/caffe/layers/quant_layer.cpp")]
    words += [str(folder / "src/caffe/layers/quant_layer.cu"), str(folder / "check/exercise.cpp")]
    words += [f"-L{library / 'lib'}", "-lgfpq", f"-Wl,-rpath,{library / 'lib'}", "-o", str(program)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ran = subprocess.run([str(program), "gpu"], capture_output=True, text=True, check=False)
    assert ran.returncode != 0  # the library for CPUs refuses
    assert "layer q: GFPQ returned -65519" in ran.stderr


@pytest.fixture(scope="module")
def script(root: Path) -> ModuleType:
    """patch_caffe.py as a module."""
    spec = importlib.util.spec_from_file_location("patch_caffe", root / "native/caffe/patch_caffe.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree with the files that the script edits."""
    folder = tmp_path / "caffe"
    (folder / "src/caffe/proto").mkdir(parents=True)
    (folder / "src/caffe/proto/caffe.proto").write_text(PROTO)
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "Makefile.config.example").write_text(CONFIG)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_tree_is_patched_once(script: ModuleType, tree: Path, library: Path) -> None:
    before = contents(tree)
    assert script.main([str(tree), str(library), "--dry-run"]) == 0
    assert contents(tree) == before
    assert script.main([str(tree), str(library)]) == 0
    after = contents(tree)
    assert {name for name in after if not name.startswith("GFPQLibs")} - set(before) == {
        "Makefile.config",
        "include/caffe/layers/quant_layer.hpp",
        "src/caffe/layers/quant_layer.cpp",
        "src/caffe/layers/quant_layer.cu",
        "python/wk_quant.py",
    }
    assert (tree / "GFPQLibs/lib/libgfpq.so").is_symlink()
    proto = after["src/caffe/proto/caffe.proto"].decode()
    body = proto[proto.index("message LayerParameter") : proto.index("message ClipParameter")]
    assert "clip_param = 148;\n  optional QuantParameter quant_param = 4917;  // GFPQ Quant layer\n}" in body
    assert script.main([str(tree), str(library)]) == 0
    assert contents(tree) == after


def test_the_patched_makefile_links_and_copies(script: ModuleType, tree: Path, library: Path) -> None:
    make = require_tool("make", "running the patched Makefile")
    assert script.main([str(tree), str(library)]) == 0
    variables = ["LIB_BUILD_DIR=build/lib", "DYNAMIC_NAME=build/lib/libcaffe.so", "STATIC_NAME=build/lib/libcaffe.a"]
    shown = subprocess.run(
        [make, "-s", "show", *variables], cwd=tree, capture_output=True, text=True, check=True
    ).stdout
    assert "-lm -lgfpq" in shown
    assert "./GFPQLibs/include" in shown
    subprocess.run([make, "-s", "all", *variables], cwd=tree, capture_output=True, check=True)
    assert (tree / "build/lib/libgfpq.so.1").exists()
    (tree / "Makefile.config").write_text((tree / "Makefile.config").read_text().replace("CPU_ONLY := 1", ""))
    shown = subprocess.run(
        [make, "-s", "show", *variables], cwd=tree, capture_output=True, text=True, check=True
    ).stdout
    assert "-lgfpq_gpu" in shown


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("src/caffe/proto/caffe.proto", "clip_param = 148", "quant_param = 149"), "of another Quant layer"),
        (("src/caffe/proto/caffe.proto", "= 148", "= 4917"), "uses the field number 4917"),
        (("src/caffe/proto/caffe.proto", "message LayerParameter", "message Layers"), "no message LayerParameter"),
        (("Makefile", "$(STATIC_NAME): ", "other: "), "no rule for"),
        (("Makefile", "L", "l"), "no place for LIBRARIES"),
    ],
)
def test_nothing_is_written_where_a_change_cannot_be_made(
    script: ModuleType, tree: Path, library: Path, change: tuple[str, str, str], word: str
) -> None:
    file, old, new = change
    (tree / file).write_text((tree / file).read_text().replace(old, new))
    before = contents(tree)
    with pytest.raises(script.PatchError, match=word):
        script.plan(tree)
    assert script.main([str(tree), str(library)]) == 2
    assert contents(tree) == before


def test_other_folders_are_refused(
    script: ModuleType, tree: Path, library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main([str(tmp_path), str(library)]) == 2
    assert "Caffe source tree" in capsys.readouterr().err
    assert script.main([str(tree), str(tmp_path)]) == 2
    assert "give the folder GFPQLibs" in capsys.readouterr().err
    shutil.rmtree(tree)
