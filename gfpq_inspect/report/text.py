"""Numbers made fit for people, beside the door for names (`gfpq_inspect.text`), which reports take from here."""

from __future__ import annotations

from gfpq_inspect.analyze.result import Scores, Status
from gfpq_inspect.text import escape, plural, shortened, visible

__all__ = ["cosine_text", "decimals", "escape", "percent", "plural", "shortened", "sqnr_text", "visible"]

SQNR_SHOWN_AT_MOST_DB = 200.0


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
