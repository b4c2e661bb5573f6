"""CQL2 JSON (OGC 21-065r2, Annex A) into trees and out of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from tim.errors import UsageError
from tim.query import moments, tree
from tim.query.check import DEPTH, DIMENSIONS, NODES, Change, checked, joined
from tim.query.cql2_tokens import LENGTH
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

_PAIRS: dict[str, Any] = {
    operator: kind
    for kind, operators in (
        (Compare, get_args(tree.Comparator)), (Arithmetic, get_args(tree.Operator)),
        (Spatial, tree.SPATIAL), (Temporal, tree.TEMPORAL), (Arrays, tree.ARRAYS),
    )
    for operator in operators
}  # fmt: skip
"""Operators of two expressions."""
_COUNTS = {**dict.fromkeys(_PAIRS, 2), "not": 1, "isNull": 1, "like": 2, "in": 2, "between": 3}
"""How many arguments operators have."""
_DEPTH = 4 * DEPTH
"""Lists and objects within each other: an operator is two of them, a geometry some more."""


def read(document: str | bytes | Mapping[str, Any] | bool, change: Change | None = None) -> Expression:
    """The condition a document states, or its text. Raises UsageError ``query.*`` saying what is wrong and where (a JSON pointer).
    ``change``: as for :func:`checked`."""
    if isinstance(document, str | bytes):
        document = _loaded(document)
    _small(document)
    return checked(_read(document, ""), change)


def write(expression: Expression) -> dict[str, Any] | bool:
    """The document of a condition: what :func:`read` reads as the same tree. A truth value alone is one in JSON as well."""
    found: dict[str, Any] | bool = _write(expression)
    return found


def _loaded(text: str | bytes) -> Any:
    if len(text) > LENGTH:
        raise UsageError("query.too-long", length=len(text), limit=LENGTH)
    try:
        return json.loads(text)
    except RecursionError:
        raise UsageError("query.too-deep", limit=DEPTH) from None
    except json.JSONDecodeError as error:
        raise UsageError("query.syntax", found=error.msg, position=error.pos + 1, expected="JSON") from None
    except UnicodeDecodeError as error:
        raise UsageError("query.syntax", found=error.reason, position=error.start + 1, expected="UTF-8") from None
    except ValueError:  # an integer of thousands of digits
        raise UsageError("query.number", number="…") from None


def _small(document: Any) -> None:
    """Look at the size of a document before anything walks it by recursion."""
    level, count = [document], 0
    for _ in range(_DEPTH):
        count += len(level)
        if count > 10 * NODES:
            raise UsageError("query.too-many", limit=NODES)
        below: list[Any] = []
        for found in level:
            if isinstance(found, Mapping):
                below += found.values()
            elif isinstance(found, list | tuple):
                below += found
        if not below:
            return
        level = below
    raise UsageError("query.too-deep", limit=DEPTH)


def _read(found: Any, at: str) -> Expression:
    match found:
        case bool() | str():
            return tree.Literal(found)
        case int() | float():
            _number(found)
            return tree.Literal(found)
        case list() | tuple():
            return Array(tuple(_read(item, f"{at}/{i}") for i, item in enumerate(found)))
        case Mapping():
            return _object(found, at)
    raise _refused(found, at, "an expression")


def _object(found: Mapping[str, Any], at: str) -> Expression:
    match found:
        case {"op": str(operator), "args": list() | tuple() as arguments}:
            return _operator(operator, arguments, at)
        case {"property": str(name)}:
            return Property(name)
        case {"date": str(text)} | {"timestamp": str(text)}:
            return _instant(text, date="date" in found)
        case {"interval": [start, end]}:
            return Interval(_end(start, f"{at}/interval/0"), _end(end, f"{at}/interval/1"))
        case {"bbox": list() | tuple() as bounds}:
            return Box(tuple(_number(bound) for bound in bounds))
        case {"type": str()}:
            return _geometry(found, at)
    raise _refused(
        found, at, "op and args, property, date, timestamp, interval, bbox, or type and coordinates of a geometry"
    )


def _operator(operator: str, arguments: Sequence[Any], at: str) -> Expression:
    wanted = _COUNTS.get(operator, len(arguments))
    if len(arguments) != wanted:
        raise UsageError("query.arguments", function=operator, wanted=wanted, given=len(arguments))
    where = [f"{at}/args/{i}" for i in range(len(arguments))]
    if operator == "in":
        if not isinstance(arguments[1], list | tuple):
            raise _refused(arguments[1], where[1], "a list")
        items = tuple(_read(item, f"{where[1]}/{i}") for i, item in enumerate(arguments[1]))
        return In(_read(arguments[0], where[0]), items)
    parts = [_read(argument, place) for argument, place in zip(arguments, where, strict=True)]
    match operator:
        case "and":
            return joined(And, parts)
        case "or":
            return joined(Or, parts)
        case "not":
            return Not(parts[0])
        case "isNull":
            return IsNull(parts[0])
        case "like":
            return Like(*parts)
        case "between":
            return Between(*parts)
        case _ if operator in _PAIRS:
            pair: Expression = _PAIRS[operator](operator, *parts)
            return pair
    return Call(operator, tuple(parts))


def _instant(text: str, *, date: bool) -> Instant:
    found = moments.read(text)
    if found is None or ("T" not in text) != date:
        raise UsageError("query.moment", text=text[:50])
    return found


def _end(found: Any, at: str) -> Expression | None:
    if found == "..":
        return None
    return _instant(found, date="T" not in found) if isinstance(found, str) else _read(found, at)


def _geometry(found: Mapping[str, Any], at: str) -> Geometry:
    kind = found["type"]
    if kind == "GeometryCollection":
        members = found.get("geometries")
        if not isinstance(members, list | tuple):
            raise _refused(found, at, "geometries")
        return Geometry(kind, tuple(_member(member, f"{at}/geometries/{i}") for i, member in enumerate(members)))
    if kind not in DIMENSIONS:
        raise _refused(kind, f"{at}/type", ", ".join((*DIMENSIONS, "GeometryCollection")))
    return Geometry(kind, _coordinates(found.get("coordinates"), DIMENSIONS[kind], f"{at}/coordinates"))


def _member(found: Any, at: str) -> Geometry:
    if not isinstance(found, Mapping) or found.get("type") not in [*DIMENSIONS]:
        raise _refused(found, at, ", ".join(DIMENSIONS))
    return _geometry(found, at)


def _coordinates(found: Any, dimensions: int, at: str) -> tuple[Any, ...]:
    if not isinstance(found, list | tuple):
        raise _refused(found, at, "a list")
    if dimensions == 0:
        return tuple(_number(value) for value in found)
    return tuple(_coordinates(part, dimensions - 1, f"{at}/{i}") for i, part in enumerate(found))


def _number(value: Any) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(value)
        return float(value)
    except (OverflowError, ValueError):
        raise UsageError("query.number", number=ascii(value)[:50]) from None


def _refused(found: Any, at: str, expected: str) -> UsageError:
    return UsageError("query.syntax", found=ascii(found)[:100], position=at or "/", expected=expected)


def _write(expression: Expression) -> Any:
    match expression:
        case tree.Literal(value):
            return value
        case Property(name):
            return {"property": name}
        case Instant(text):
            return {"timestamp" if "T" in text else "date": text}
        case Interval(start, end):
            return {"interval": [_bound(start), _bound(end)]}
        case Box(bounds):
            return {"bbox": list(bounds)}
        case Geometry():
            return _geojson(expression)
        case Array(items):
            return [_write(item) for item in items]
        case And(conditions) | Or(conditions):
            return _call("and" if isinstance(expression, And) else "or", conditions)
        case Not(condition):
            return _call("not", (condition,))
        case IsNull(value):
            return _call("isNull", (value,))
        case Like(value, pattern):
            return _call("like", (value, pattern))
        case Between(value, low, high):
            return _call("between", (value, low, high))
        case In(value, items):
            return {"op": "in", "args": [_write(value), [_write(item) for item in items]]}
        case Call(name, arguments):
            return _call(name, arguments)
    return _call(expression.operator, (expression.left, expression.right))


def _call(operator: str, arguments: Sequence[Expression]) -> dict[str, Any]:
    return {"op": operator, "args": [_write(argument) for argument in arguments]}


def _bound(end: Expression | None) -> Any:
    return ".." if end is None else end.text if isinstance(end, Instant) else _write(end)


def _geojson(found: Geometry) -> dict[str, Any]:
    if found.type == "GeometryCollection":
        return {"type": found.type, "geometries": [_geojson(part) for part in found.coordinates]}
    return {"type": found.type, "coordinates": _lists(found.coordinates)}


def _lists(coordinates: Any) -> Any:
    return [_lists(part) for part in coordinates] if isinstance(coordinates, tuple) else coordinates
