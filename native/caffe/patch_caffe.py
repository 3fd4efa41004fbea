"""Puts the Quant layer into a Caffe source tree: sources, caffe.proto, Makefile, Makefile.config, GFPQLibs.

    python3 patch_caffe.py CAFFE_FOLDER GFPQLIBS_FOLDER [--dry-run]

Every change is made once, between comment lines that name it; running it again changes nothing. Nothing is written when
one of the changes cannot be made. Needs Python 3.6 or later and nothing else.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = (
    "include/caffe/layers/quant_layer.hpp",
    "src/caffe/layers/quant_layer.cpp",
    "src/caffe/layers/quant_layer.cu",
)
PYTHON_LAYER = "python/wk_quant.py"
FIELD_NUMBER = 4917
MARK = "GFPQ Quant layer"

PROTO_MESSAGE = """
// {mark}: begin
message QuantParameter {{
  // Bit width of the data: 8 or 16.
  optional uint32 quant_bits = 1 [default = 8];
  // Whether the layer quantizes; without, it passes its bottom on.
  optional bool quant_en = 2 [default = true];
}}
// {mark}: end
"""
PROTO_FIELD = "  optional QuantParameter quant_param = {number};  // {mark}\n"
MAKEFILE_CONFIG = """
# {mark}: begin
INCLUDE_DIRS += ./GFPQLibs/include
LIBRARY_DIRS += ./GFPQLibs/lib
# {mark}: end
"""
MAKEFILE_LIBRARIES = """# {mark}: begin
ifeq ($(CPU_ONLY), 1)
	LIBRARIES += gfpq
else
	LIBRARIES += gfpq_gpu
endif
# {mark}: end
"""
MAKEFILE_COPY = "\t@ cp -a GFPQLibs/lib/. $(LIB_BUILD_DIR)/  # {mark}\n"


class PatchError(Exception):
    """A change that cannot be made; says what to do by hand."""


def patch_proto(text):
    """Add the message and the field to caffe.proto."""
    if MARK in text:
        return text
    if re.search(r"\bquant_param\b|\bmessage\s+QuantParameter\b", text):
        raise PatchError(
            "caffe.proto has a quant_param already, of another Quant layer (HWGQ's, Ascend's or the vendor's); "
            "take that one out first, or build from a plain Caffe"
        )
    if re.search(rf"=\s*{FIELD_NUMBER}\s*[;\[]", text):
        raise PatchError(
            f"caffe.proto uses the field number {FIELD_NUMBER} already; change FIELD_NUMBER in this script"
        )
    begin = re.search(r"^message\s+LayerParameter\s*\{", text, re.MULTILINE)
    if begin is None:
        raise PatchError("caffe.proto has no message LayerParameter; is this a Caffe source tree?")
    depth, end = 0, None
    for token in re.compile(r"//[^\n]*|/\*.*?\*/|[{}]", re.DOTALL).finditer(text, begin.start()):
        if token.group() in "{}":
            depth += 1 if token.group() == "{" else -1
            if depth == 0:
                end = token.start()
                break
    if end is None:
        raise PatchError("caffe.proto: the message LayerParameter is never closed")
    field = PROTO_FIELD.format(number=FIELD_NUMBER, mark=MARK)
    return text[:end] + field + text[end:].rstrip("\n") + "\n" + PROTO_MESSAGE.format(mark=MARK)


def patch_config(text):
    """Add include and library folders to Makefile.config."""
    return text if MARK in text else text.rstrip("\n") + "\n" + MAKEFILE_CONFIG.format(mark=MARK)


def patch_makefile(text):
    """Link the library, and put it beside Caffe's own after either of those is made."""
    if MARK in text:
        return text
    for place in (r"^LIBRARY_DIRS \+= \$\(LIB_BUILD_DIR\)", r"^# Complete build flags", r"^LDFLAGS \+="):
        found = re.search(place, text, re.MULTILINE)
        if found:
            text = text[: found.start()] + MAKEFILE_LIBRARIES.format(mark=MARK) + text[found.start() :]
            break
    else:
        raise PatchError("Makefile: no place for LIBRARIES was found; add gfpq (CPU_ONLY) or gfpq_gpu to it by hand")
    for target in ("DYNAMIC_NAME", "STATIC_NAME"):
        rule = re.search(rf"^\$\({target}\):[^\n]*\n(?:\t[^\n]*\n)+", text, re.MULTILINE)
        if rule is None:
            raise PatchError(f"Makefile: no rule for $({target}); copy GFPQLibs/lib/* to build/lib by hand")
        text = text[: rule.end()] + MAKEFILE_COPY.format(mark=MARK) + text[rule.end() :]
    return text


def plan(caffe):
    """Return the new content of every file that changes, by path."""
    proto, makefile = caffe / "src/caffe/proto/caffe.proto", caffe / "Makefile"
    for path in (proto, makefile):
        if not path.is_file():
            raise PatchError(f"{path} is missing; give the folder of a Caffe source tree")
    config = caffe / "Makefile.config"
    example = caffe / "Makefile.config.example"
    if not config.is_file() and not example.is_file():
        raise PatchError(f"{config} is missing; configure Caffe first")
    edits = {
        proto: patch_proto(proto.read_text(encoding="utf-8")),
        makefile: patch_makefile(makefile.read_text(encoding="utf-8")),
        config: patch_config((config if config.is_file() else example).read_text(encoding="utf-8")),
    }
    for name in SOURCES:
        edits[caffe / name] = (HERE / name).read_text(encoding="utf-8")
    edits[caffe / PYTHON_LAYER] = (HERE / "wk_quant.py").read_text(encoding="utf-8")
    return {
        path: text for path, text in edits.items() if not path.is_file() or path.read_text(encoding="utf-8") != text
    }


def main(words=None):
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("caffe", type=Path, help="folder of a Caffe source tree that compiles")
    parser.add_argument("libraries", type=Path, help="folder GFPQLibs with include/ and lib/")
    parser.add_argument("--dry-run", action="store_true", help="say what would change")
    options = parser.parse_args(words)
    try:
        if not (options.libraries / "include/gfpq.hpp").is_file():
            raise PatchError(f"{options.libraries} has no include/gfpq.hpp; give the folder GFPQLibs")
        edits = plan(options.caffe)
        target = options.caffe / "GFPQLibs"
        copy = not target.exists()
    except (PatchError, OSError) as error:
        print(f"patch_caffe: {error}", file=sys.stderr)
        return 2
    for path, text in edits.items():
        print(f"{'would write' if options.dry_run else 'wrote'} {path}")
        if not options.dry_run:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if copy:
        print(f"{'would copy' if options.dry_run else 'copied'} {options.libraries} to {target}")
        if not options.dry_run:
            shutil.copytree(str(options.libraries), str(target), symlinks=True)
    if not edits and not copy:
        print("nothing to do: the Quant layer is in this tree already")
    elif not options.dry_run:
        print("now: make clean; make -j; make pycaffe -j")
    return 0


if __name__ == "__main__":
    sys.exit(main())
