"""Trees as CQL2 text (OGC 21-065r2, Annex B)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tim.query import cql2_tokens, tree
from tim.query.check import DIMENSIONS
from tim.query.cql2_tokens import AND, LEVELS, NOT, OR, PREDICATE, SUM, VALUE, quoted_text
from tim.query.tree import (
    And,
    Arithmetic,
    Array,
    Arrays,
    Between,
    Box,
    Call,
    Compare,
    Expression,
    Geometry,
    In,
    Instant,
    Interval,
    IsNull,
    Like,
    Not,
    Or,
    Property,
    Spatial,
    Temporal,
)


def write(expression: Expression) -> str:
    """The text of a condition: what :func:`tim.query.cql2_text.read` reads as the same tree."""
    return _written_at(expression, OR)


def _written_at(expression: Expression, level: int) -> str:
    """The text of an expression, in parentheses where it binds less tightly than its place demands."""
    own, text = _written(expression)
    return text if own >= level else f"({text})"


def _written(expression: Expression) -> tuple[int, str]:
    """How tightly an expression binds, and its text."""
    match expression:
        case Or(conditions):
            return OR, " OR ".join(_written_at(c, AND) for c in conditions)
        case And(conditions):
            return AND, " AND ".join(_written_at(c, NOT) for c in conditions)
        case Not(Like() | Between() | In() | IsNull() as condition):
            return _predicate(condition, "NOT ")
        case Not(condition):
            return NOT, f"NOT {_written_at(condition, PREDICATE)}"
        case Compare(operator, left, right):
            return PREDICATE, f"{_written_at(left, SUM)} {operator} {_written_at(right, SUM)}"
        case Like() | Between() | In() | IsNull():
            return _predicate(expression, "")
        case Arithmetic(operator, left, right):
            level = LEVELS[operator]
            at_left, at_right = (level + 1, level) if operator == "^" else (level, level + 1)
            return level, f"{_written_at(left, at_left)} {operator} {_written_at(right, at_right)}"
        case Array(items):
            return VALUE, f"({', '.join(_item(item) for item in items)})"
        case Arrays(operator, left, right):
            return VALUE, f"{operator.upper()}({_item(left)}, {_item(right)})"
        case Spatial(operator, left, right) | Temporal(operator, left, right):
            return VALUE, f"{operator.upper()}({_written_at(left, OR)}, {_written_at(right, OR)})"
        case Call(name, arguments):
            shown = name.upper() if name in ("casei", "accenti") else name
            return VALUE, f"{shown}({', '.join(_written_at(a, OR) for a in arguments)})"
        case _:
            return VALUE, _leaf(expression)


def _predicate(expression: Expression, negative: str) -> tuple[int, str]:
    match expression:
        case Like(value, pattern):
            text = f"{_written_at(value, SUM)} {negative}LIKE {_written_at(pattern, SUM)}"
        case Between(value, low, high):
            text = f"{_written_at(value, SUM)} {negative}BETWEEN {_written_at(low, SUM)} AND {_written_at(high, SUM)}"
        case In(value, items):
            text = f"{_written_at(value, SUM)} {negative}IN ({', '.join(_written_at(item, OR) for item in items)})"
        case IsNull(value):
            text = f"{_written_at(value, SUM)} IS {negative}NULL"
    return PREDICATE, text


def _item(expression: Expression) -> str:
    """In an array, where parentheses around a whole item would be one."""
    return _written_at(expression, OR)


def _leaf(expression: Expression) -> str:
    match expression:
        case Property(name):
            return cql2_tokens.name(name)
        case tree.Literal(bool(value)):
            return "TRUE" if value else "FALSE"
        case tree.Literal(str(value)):
            return quoted_text(value)
        case tree.Literal(value):
            return repr(value)
        case Instant(text):
            return f"{'TIMESTAMP' if 'T' in text else 'DATE'}('{text}')"
        case Interval(start, end):
            return f"INTERVAL({_bound(start)}, {_bound(end)})"
        case Box(bounds):
            return f"BBOX({', '.join(map(repr, bounds))})"
        case Geometry(kind, coordinates):
            return _wkt(kind, coordinates)
    raise TypeError(type(expression).__name__)


def _bound(end: Expression | None) -> str:
    match end:
        case None:
            return "'..'"
        case Instant(text):
            return f"'{text}'"
        case _:
            return _written_at(end, SUM)


def _wkt(kind: str, coordinates: Any) -> str:
    if kind == "GeometryCollection":
        return f"GEOMETRYCOLLECTION({', '.join(_wkt(part.type, part.coordinates) for part in coordinates)})"
    first = coordinates
    for _ in range(DIMENSIONS[kind]):
        first = first[0]
    return f"{kind.upper()}{' Z ' if len(first) == 3 else ''}{_nested(coordinates, DIMENSIONS[kind])}"


def _nested(coordinates: Sequence[Any], dimensions: int) -> str:
    if dimensions == 0:
        return f"({' '.join(map(repr, coordinates))})"
    if dimensions == 1:
        return f"({', '.join(' '.join(map(repr, position)) for position in coordinates)})"
    return f"({', '.join(_nested(part, dimensions - 1) for part in coordinates)})"
