"""The command's own words in English and Chinese; messages of errors live in ``tim/messages``."""

from __future__ import annotations

from tim.errors import language_from_environment

CHINESE = language_from_environment() == "zh"


def tr(english: str, chinese: str) -> str:
    """The text in the user's language (``TIM_LANG``, otherwise the locale)."""
    return chinese if CHINESE else english


def size(count: float) -> str:
    """Bytes for people: ``3.2 MB`` (decimal units)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def number(count: int | None) -> str:
    """A count with thin groups, or a dash where it is not known."""
    return "–" if count is None else f"{count:,}"
