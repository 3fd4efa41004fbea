"""Fixed-width lines for terminals, pipes and narrow logs: cells padded by display width, never wrapped by surprise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from gfpq_inspect.analyze.result import Isolation, Verdict
from gfpq_inspect.report.text import visible

NO_LIMIT = 200


@dataclass(frozen=True)
class Glyphs:
    """Signs of one character, or their ASCII stand-ins."""

    good: str = "✓"
    watch: str = "◆"
    flagged: str = "✗"
    listed: str = "·"
    arrow: str = "→"
    ellipsis: str = "…"
    data: str = "█"
    weight: str = "▒"
    interaction: str = "░"

    def of(self, verdict: Verdict) -> str:
        """The sign of a verdict."""
        return {
            Verdict.GOOD: self.good,
            Verdict.WATCH: self.watch,
            Verdict.FLAGGED: self.flagged,
            Verdict.NOT_JUDGED: self.listed,
        }[verdict]


ASCII = Glyphs("+", "~", "x", ".", "->", "...", "d", "w", "-")
VERDICT_STYLES = {
    Verdict.GOOD: "green",
    Verdict.WATCH: "yellow",
    Verdict.FLAGGED: "bold red",
    Verdict.NOT_JUDGED: "dim",
}
DATA_STYLE, WEIGHT_STYLE, INTERACTION_STYLE = "blue", "yellow", "dim"


def glyphs_for(console: Console) -> Glyphs:
    """The signs that a console's encoding can carry."""
    return Glyphs() if (console.encoding or "").lower().replace("-", "").startswith("utf") else ASCII


def fitted(text: str, width: int, glyphs: Glyphs) -> str:
    """Cut visible text in the middle to a display width; names differ at both ends."""
    shown = visible(text)
    if cell_len(shown) <= width:
        return shown
    mark = glyphs.ellipsis
    head = max(0, (width - cell_len(mark) + 1) // 2)
    tail = max(0, width - cell_len(mark) - head)
    end = shown[-tail:] if tail else ""
    while cell_len(end) > tail:
        end = end[1:]
    return f"{set_cell_size(shown, head).rstrip()}{mark}{end}"


@dataclass(frozen=True)
class Column:
    """A column of a fixed-width table.

    Attributes:
        title: Header.
        width: Display width.
        right: Whether numbers are set to the right.
    """

    title: str
    width: int
    right: bool = False


Cell = tuple[str, str] | Text


def line(columns: Sequence[Column], cells: Sequence[Cell], *, indent: int = 2) -> Text:
    """Set cells side by side, two spaces apart, without trailing spaces."""
    text = Text(" " * indent)
    for position, (column, content) in enumerate(zip(columns, cells, strict=True)):
        part = content.copy() if isinstance(content, Text) else Text(content[0], style=content[1])
        space = " " * max(0, column.width - cell_len(part.plain))
        if position:
            text.append("  ")
        if column.right:
            text.append(space)
        text.append_text(part)
        if not column.right:
            text.append(space)
    text.rstrip()
    return text


def header(columns: Sequence[Column], *, indent: int = 2) -> Text:
    """The header line of a table."""
    return line(columns, [(column.title, "dim") for column in columns], indent=indent)


def share_bar(isolation: Isolation | None, width: int, glyphs: Glyphs) -> Text:
    """A bar of what data, weights and their interaction contribute; lengths follow the sizes of the shares.

    A negative share, which cancels another, is drawn by its size too; the numbers beside the bar have the sign.
    """
    if isolation is None:
        return Text(" " * width)
    sizes = [abs(isolation.share_data), abs(isolation.share_weight), abs(isolation.interaction)]
    total = sum(sizes) or 1.0
    data = round(width * sizes[0] / total)
    weight = min(width - data, round(width * sizes[1] / total))
    bar = Text(glyphs.data * data, style=DATA_STYLE)
    bar.append(glyphs.weight * weight, style=WEIGHT_STYLE)
    bar.append(glyphs.interaction * (width - data - weight), style=INTERACTION_STYLE)
    return bar


def paragraph(console: Console, text: str, *, indent: int, style: str = "", first: Text | None = None) -> None:
    """Print a sentence wrapped to the console with a hanging indent; unwrapped where the output is no terminal.

    Args:
        console: Where to.
        text: Trusted or already visible text.
        indent: Columns before each line.
        style: Style of the text.
        first: What stands in the indent of the first line.
    """
    lead = first or Text()
    lead.append(" " * max(0, indent - cell_len(lead.plain)))
    if not console.is_terminal:
        emit(console, Text.assemble(lead, (text, style)))
        return
    room = max(20, console.width - indent)
    wrapped = Text(text, style=style).wrap(console, room)
    for position, part in enumerate(wrapped):
        part.rstrip()
        emit(console, Text.assemble(lead if position == 0 else Text(" " * indent), part))


def emit(console: Console, text: Text | str = "") -> None:
    """Print one line as it is: no markup, no highlighting, no wrapping."""
    console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)
