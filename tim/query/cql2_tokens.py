"""The words of CQL2 text (OGC 21-065r2, Annex B): cut out of it, and spelled again.

Quotes in a text are doubled, or have a backslash before them. Other backslashes stand for themselves, as patterns need them; of a row of
backslashes right before a quote every two are one, so that a text may end with one.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from tim.errors import UsageError

LENGTH = 64 * 1024
"""Characters of a filter, as text or as JSON."""
RESERVED = frozenset(("and", "or", "not", "like", "between", "in", "is", "null", "true", "false", "div"))
"""No names of properties, unless in quotes."""

OR, AND, NOT, PREDICATE, SUM, PRODUCT, POWER, VALUE = range(8)
"""How tightly things bind."""
LEVELS = {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "div": PRODUCT, "%": PRODUCT, "^": POWER}

_NAME = r"(?:[^\W\d]|:)[\w:.\u0300-\u036f\u200c\u200d\u203f\u2040]*"
_TOKEN = re.compile(
    rf"""\s*(?:(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)|(?P<name>{_NAME})"""
    r"""|(?P<sign><=|>=|<>|[-+*/%^=<>(),\[\]])|"(?P<quoted>(?:[^"]|"")*)"|(?P<text>')|(?P<end>\Z))"""
)
_SLASHES = re.compile(r"(\\*)('|\Z)")


class Token(NamedTuple):
    """One word."""

    kind: Literal["number", "name", "quoted", "text", "sign", "end"]
    value: str
    """Without quotes."""
    position: int
    """Of its first character, from 1."""


def tokens(source: str) -> list[Token]:
    """All words; the last is the end. Raises UsageError ``query.too-long``, ``query.text``, ``query.syntax``."""
    if len(source) > LENGTH:
        raise UsageError("query.too-long", length=len(source), limit=LENGTH)
    found: list[Token] = []
    at = 0
    while not found or found[-1].kind != "end":
        match = _TOKEN.match(source, at)
        kind = match and match.lastgroup
        if match is None or kind is None:
            gap = re.compile(r"\s*").match(source, at)
            at = gap.end() if gap else at
            raise syntax(source[at : at + 1], at + 1, "'\"'" if source.startswith('"', at) else "CQL2")
        value, start, at = match[kind], match.start(kind) + 1, match.end()
        match kind:
            case "text":
                value, at = _text(source, at)
            case "quoted":
                value, start = value.replace('""', '"'), start - 1
        found.append(Token(kind, value, start))  # type: ignore[arg-type]
    return found


def syntax(found: str, position: int, expected: str) -> UsageError:
    """The refusal of a word that does not stand where it may."""
    shown = found.replace("\0", "?").encode(errors="replace").decode()[:50]
    return UsageError("query.syntax", found=shown, position=position, expected=expected)


def quoted_text(value: str) -> str:
    """A text as CQL2 writes it."""
    inside = _SLASHES.sub(lambda m: m[1] * 2 + m[2] * 2, value)
    return f"'{inside}'"


def name(value: str) -> str:
    """The name of a property, in quotes where it needs them."""
    plain = re.fullmatch(_NAME, value) and value.lower() not in RESERVED
    return value if plain else '"' + value.replace('"', '""') + '"'


def _text(source: str, start: int) -> tuple[str, int]:
    """The text whose opening quote ends at ``start``, and where it ends."""
    parts: list[str] = []
    at = start
    while (quote := source.find("'", at)) >= 0:
        run = source[at:quote]
        stem = run.rstrip("\\")
        slashes = len(run) - len(stem)
        parts += [stem, "\\" * (slashes // 2)]
        at = quote + 1
        if slashes % 2 == 0:
            if not source.startswith("'", at):
                return "".join(parts), at
            at += 1
        parts.append("'")
    raise syntax(source[start - 1 : start + 20], start, '"\'"')
