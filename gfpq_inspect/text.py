"""Untrusted text made fit for people: the one door for names that come from model files."""

from __future__ import annotations

import re
import unicodedata

INVISIBLE_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
MARKDOWN_SPECIAL = re.compile(r"([\\`*_\[\]#|<>~@$])")
MARKDOWN_NAME_WIDTH = 60


def visible(text: str) -> str:
    """Write control, direction-changing, unassigned and surrogate characters as escapes.

    The joiner U+200D and the variation selectors stay, because ordinary emoji and scripts need them.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if is_shown(character) else escape(character) for character in text)


def is_shown(character: str) -> bool:
    """Whether a character may be written as it is."""
    return character == "\u200d" or unicodedata.category(character) not in INVISIBLE_CATEGORIES


def escape(character: str) -> str:
    """Write a character as a Python escape: four hexadecimal digits for the right-to-left override."""
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def shortened(text: str, width: int) -> str:
    """Cut visible text in the middle, because layer names differ at both ends.

    Args:
        text: The text; escaped first.
        width: Characters that may be shown, at least 1.
    """
    shown = visible(text)
    if len(shown) <= width:
        return shown
    tail = (width - 1) // 2
    return shown[: width - 1 - tail] + "…" + (shown[-tail:] if tail else "")


def plural(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun: '1 layer', '3 layers'."""
    return f"{count:,} {one if count == 1 else many or one + 's'}".replace(",", " ")


def markdown(text: str) -> str:
    """Text that GitHub-flavoured Markdown leaves alone: no link, mention or markup comes of it."""
    return MARKDOWN_SPECIAL.sub(r"\\\1", visible(text).replace("&", "&amp;"))


def markdown_name(name: str) -> str:
    """A name in a code span; a backtick or a bar in it would end the span or the cell."""
    shown = shortened(name, MARKDOWN_NAME_WIDTH)
    return markdown(shown) if "`" in shown or "|" in shown else f"`{shown}`"
