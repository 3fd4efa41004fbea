"""The command `gfpq-inspect`: a table of commands, loaded one at a time, and the way from errors to exit codes."""

from __future__ import annotations

import difflib
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from gfpq_inspect import __version__
from gfpq_inspect.errors import GfpqError, UsageError
from gfpq_inspect.text import visible

EXIT_PASS, EXIT_GATE_FAILED, EXIT_USAGE, EXIT_BUG, EXIT_INTERRUPTED = 0, 1, 2, 70, 130

COMMANDS: dict[str, tuple[str, str]] = {
    "compare": ("gfpq_inspect.cli.compare:compare", "Compare a float network with its quantized form, layer by layer."),
    "gate": ("gfpq_inspect.cli.gate:gate", "Hold a comparison against limits and a committed baseline, for CI."),
    "remedy": (
        "gfpq_inspect.cli.remedy:remedy",
        "Try remedies, and plan the fewest 16-bit layers that reach a target.",
    ),
    "diff": ("gfpq_inspect.cli.diff:diff", "Tell what got better, worse, new and gone between two saved results."),
    "report": ("gfpq_inspect.cli.report:report", "Render a saved result again: HTML, CSV, Markdown and more."),
    "show": ("gfpq_inspect.cli.show:show", "Print a saved result, or one layer of it."),
    "layers": ("gfpq_inspect.cli.layers:layers", "List a network's layers and what NNIE quantizes."),
    "inputs": ("gfpq_inspect.cli.inputs:inputs", "Show what a network is really fed, in numbers and pictures."),
    "convert": ("gfpq_inspect.cli.convert:convert", "Convert a Caffe network to ONNX."),
    "fold": ("gfpq_inspect.cli.fold:fold", "Fold BatchNorm, Scale and Bias into the weights before them."),
    "quantize-weights": (
        "gfpq_inspect.cli.quantize_weights:quantize_weights",
        "Quantize a network's weights, with the parameters for the mapper.",
    ),
    "tune": ("gfpq_inspect.cli.tune:tune", "Recover precision: closed-form steps, then training with a float master."),
    "insert-quant": ("gfpq_inspect.cli.insert_quant:insert_quant", "Put Quant layers into a prototxt."),
    "strip-quant": ("gfpq_inspect.cli.strip_quant:strip_quant", "Take the Quant layers out of a prototxt."),
    "quantize-array": (
        "gfpq_inspect.cli.quantize_array:quantize_array",
        "Quantize and dequantize the numbers of a .npy file.",
    ),
    "doctor": ("gfpq_inspect.cli.doctor:doctor", "Say what is installed, what is in use and what is missing."),
}
"""Command name to (module:function, short help). A module is imported only when its command runs."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after the program's name; those of the process by default.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return dispatch(words)
    except GfpqError as error:
        complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        complain("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away ("| head"): end quietly as other programs do.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception:
        traceback.print_exc()
        complain("this is a bug of gfpq-inspect: please report it with the lines above and `gfpq-inspect doctor`")
        return EXIT_BUG


def dispatch(words: list[str]) -> int:
    """Answer the program's own options, or run one command."""
    if not words or words[0] in {"-h", "--help", "help"}:
        print(overview())
        return EXIT_PASS if words else EXIT_USAGE
    if words[0] in {"-V", "--version"}:
        print(f"gfpq-inspect {__version__}")
        return EXIT_PASS
    if words[0] not in COMMANDS:
        near = difflib.get_close_matches(words[0], COMMANDS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "see gfpq-inspect --help"
        raise UsageError(f"there is no command '{words[0]}': {hint}")
    return run_command(words[0], words[1:])


def overview() -> str:
    """Help of the program as a whole."""
    width = max(map(len, COMMANDS))
    lines = [
        "Usage: gfpq-inspect COMMAND ...",
        "",
        "Find where, why and how much a network loses when it is quantized to GFPQ.",
        "",
        "Commands:",
        *(f"  {name:<{width}}  {help_text}" for name, (_, help_text) in COMMANDS.items()),
        "",
        "gfpq-inspect COMMAND --help tells more; gfpq-inspect --version prints the version.",
        "Exit codes: 0 pass, 1 gate failed, 2 usage or bad input, 70 a bug of ours, 130 interrupted.",
        "",
        "  gfpq-inspect compare float.caffemodel quant.caffemodel --input 'photographs/*.jpg' --html report.html",
    ]
    return "\n".join(lines)


def run_command(name: str, words: list[str]) -> int:
    """Import a command's module, parse its options and run it."""
    import typer

    module_name, function_name = COMMANDS[name][0].split(":")
    function = getattr(importlib.import_module(module_name), function_name)
    application = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    application.command()(function)
    try:
        code = application(args=words, prog_name=f"gfpq-inspect {name}", standalone_mode=False)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except typer.Exit as error:
        if error.exit_code == EXIT_INTERRUPTED:  # how some releases of Typer pass Ctrl-C on
            raise KeyboardInterrupt from error
        return error.exit_code
    except Exception as error:
        # Typer's own complaints about options have no public base class; all of them can format themselves.
        if not hasattr(error, "format_message"):
            raise
        raise UsageError(f"{error.format_message()} See gfpq-inspect {name} --help") from error
    return code if isinstance(code, int) else EXIT_PASS


def complain(message: str) -> None:
    """Write an error to standard error, each line of it marked."""
    for line in message.splitlines() or [""]:
        print(f"gfpq-inspect: error: {visible(line)}", file=sys.stderr)
