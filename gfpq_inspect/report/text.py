"""Untrusted text and numbers, made fit for people: the one door for names that come from model files."""

from __future__ import annotations

import unicodedata

from gfpq_inspect.analyze.result import Scores, Status

INVISIBLE_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
SQNR_SHOWN_AT_MOST_DB = 200.0


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


def decimals(value: float | None, digits: int) -> str:
    """A number with fixed decimals, a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def cosine_text(cosine: float | None, most_digits: int = 8) -> str:
    """A cosine with as many decimals as tell it from 1, and never rounded up to 1: 0.98123, 0.999987, 0.99999982.

    Args:
        cosine: The value.
        most_digits: Decimals there is room for, from 5.
    """
    if cosine is None:
        return "–"
    distance = abs(1 - cosine)
    digits = min(most_digits, 5 if distance > 1e-4 else 6 if distance > 1e-5 else 8)
    text = f"{cosine:.{digits}f}"
    return f"0.{'9' * digits}" if text.startswith("1.") and cosine < 1 else text


def sqnr_text(scores: Scores) -> str:
    """An SQNR in dB with its unit left to the column; the status where no number exists."""
    if scores.status is Status.EXACT:
        return "exact"
    if scores.sqnr_db is None:
        return "–"
    if scores.sqnr_db > SQNR_SHOWN_AT_MOST_DB:
        return f">{SQNR_SHOWN_AT_MOST_DB:.0f}"
    return f"{scores.sqnr_db:.1f}"


def percent(share: float | None) -> str:
    """A share as whole percent, small ones with the digits they need."""
    if share is None:
        return "–"
    if share != 0 and abs(share) < 0.001:
        return f"{share * 100:.1g} %"
    return f"{share * 100:.1f} %" if abs(share) < 0.1 else f"{share * 100:.0f} %"


def plural(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun: '1 layer', '3 layers'."""
    return f"{count:,} {one if count == 1 else many or one + 's'}".replace(",", " ")
