"""What is done to texts and numbers, as plain functions; stores whose SQL does not have them may call these."""

from __future__ import annotations

import math
import re
import unicodedata
from functools import lru_cache


def casei(text: str) -> str:
    """A text without differences of case (Unicode case folding)."""
    return text.casefold()


def accenti(text: str) -> str:
    """A text without accents: decomposed, without what is written above and below letters."""
    bare = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    return unicodedata.normalize("NFC", bare)


def like(text: str, pattern: str) -> bool:
    """Whether a text is like a pattern. Each part between ``%`` is taken where it first fits, so no pattern takes long."""
    (first, size), *others = _parts(pattern)
    if first.match(text) is None:
        return False
    if not others:
        return len(text) == size
    *middle, (last, length) = others
    at = size
    for part, _ in middle:
        found = part.search(text, at)
        if found is None:
            return False
        at = found.end()
    return len(text) - length >= at and last.match(text, len(text) - length) is not None


def pattern_parts(pattern: str) -> list[list[str | None]]:
    """A pattern cut at each ``%``: characters, and ``None`` where any one may stand."""
    parts: list[list[str | None]] = [[]]
    characters = iter(pattern)
    for character in characters:
        if character == "%":
            parts.append([])
        else:
            parts[-1].append(None if character == "_" else next(characters, "\\") if character == "\\" else character)
    return parts


def arithmetic(operator: str, left: float, right: float) -> float | None:
    """In double precision; ``None`` where nothing finite comes out. ``div`` cuts the fraction off, ``%`` is what it leaves, with the sign of
    the left number."""
    try:
        match operator:
            case "+":
                found = left + right
            case "-":
                found = left - right
            case "*":
                found = left * right
            case "/":
                found = left / right
            case "div":
                found = float(math.trunc(left / right))
            case "%":
                found = math.fmod(left, right)
            case _:
                found = math.pow(left, right)
    except (ArithmeticError, ValueError):
        return None
    return found if math.isfinite(found) else None


@lru_cache(64)
def _parts(pattern: str) -> list[tuple[re.Pattern[str], int]]:
    """The parts of a pattern with how many characters each is long."""
    return [
        (re.compile("".join("." if c is None else re.escape(c) for c in part), re.DOTALL), len(part))
        for part in pattern_parts(pattern)
    ]
