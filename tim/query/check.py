"""Whether a tree can be asked: its size, the functions it calls, the types that can be known before an object is looked at."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal
from uuid import UUID

from tim.errors import UsageError
from tim.query import moments, tree
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

DEPTH = 64
"""Expressions within each other."""
NODES = 2_000
"""Expressions in all."""
Kind = Literal["text", "number", "truth", "moment", "interval", "array", "geometry"]
Change = Callable[[Expression], Expression]
"""What makes another expression of one, of the same size: geometries in another CRS."""
ANY: frozenset[Kind] = frozenset(("text", "number", "truth", "array"))
"""What an attribute may be."""
TRUTHS = ("inClass", "hasCode", "relatedTo", "relatedFrom")
"""Functions that are conditions; their arguments are literals."""
DIMENSIONS = {
    "Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3,
}  # fmt: skip
"""How deep positions lie in the coordinates of a geometry."""


def joined(kind: type[And] | type[Or], conditions: Iterable[Expression]) -> And | Or:
    """Conditions joined, those joined alike before as one."""
    flat: list[Expression] = []
    for condition in conditions:
        flat += condition.conditions if isinstance(condition, And | Or) and type(condition) is kind else (condition,)
    return kind(tuple(flat))


def checked(expression: Expression, change: Change | None = None) -> Expression:
    """The expression itself, a condition that can be asked. ``change`` is let at it once its size is known, before anything lies anywhere.

    Raises UsageError ``query.too-deep``, ``query.too-many``, ``query.text``, ``query.number``, ``query.moment``, ``query.interval``,
    ``query.geometry``, ``query.no-function``, ``query.arguments`` or ``query.type``.
    """
    level, depth, count = [expression], 0, 0
    while level:
        depth, count = depth + 1, count + len(level)
        if depth > DEPTH:
            raise UsageError("query.too-deep", limit=DEPTH)
        if count > NODES:
            raise UsageError("query.too-many", limit=NODES)
        level = [part for found in level for part in tree.parts(found)]
    if change is not None:
        expression = change(expression)
    for found in tree.walk(expression):
        _leaf(found)
    _expect(expression, {"truth"}, "condition")
    return expression


def kinds(expression: Expression) -> frozenset[Kind]:
    """What the value of an expression may be."""
    match expression:
        case Property(name):
            if tree.attribute_name(name) is not None:
                return ANY
            kind: Kind = (
                "moment" if name in tree.TIMES else "number" if name == "version" else "array" if name == "codes"
                else "geometry" if name == "geometry" else "text"
            )  # fmt: skip
            return frozenset((kind,))
        case tree.Literal(value):
            return frozenset(("truth" if isinstance(value, bool) else "text" if isinstance(value, str) else "number",))
        case Instant():
            return frozenset(("moment",))
        case Interval():
            return frozenset(("interval",))
        case Geometry() | Box():
            return frozenset(("geometry",))
        case Array():
            return frozenset(("array",))
        case Arithmetic():
            return frozenset(("number",))
        case Call(name):
            return frozenset(("truth" if name in TRUTHS else "text",))
        case _:
            return frozenset(("truth",))


def comparable(left: Expression, right: Expression) -> frozenset[Kind]:
    """As what two scalars can be compared: moments where one of them is one."""
    one, other = kinds(left), kinds(right)
    if "moment" in one | other:
        return frozenset(("moment",)) if all(k & {"moment", "text"} for k in (one, other)) else frozenset()
    return (one & other) - {"array", "geometry", "interval"}


def _expect(expression: Expression, wanted: set[Kind], where: str) -> None:
    if not kinds(expression) & wanted:
        raise _type(where, sorted(wanted), expression)
    _inside(expression)


def _inside(expression: Expression) -> None:
    """The types of what an expression holds."""
    match expression:
        case And(conditions) | Or(conditions):
            name = type(expression).__name__.upper()
            if len(conditions) < 2:
                raise UsageError("query.arguments", function=name, wanted="2+", given=len(conditions))
            for condition in conditions:
                _expect(condition, {"truth"}, name)
        case Not(condition):
            _expect(condition, {"truth"}, "NOT")
        case Compare(operator, left, right):
            _compare(operator, left, right)
        case In(value, items):
            if not items:
                raise UsageError("query.arguments", function="IN", wanted="1+", given=0)
            for item in items:
                _compare("=", value, item, "IN")
        case Like(value, pattern):
            _expect(value, {"text"}, "LIKE")
            _pattern(pattern)
        case Between(value, low, high):
            for part in (value, low, high):
                _expect(part, {"number"}, "BETWEEN")
        case Arithmetic(operator, left, right):
            for part in (left, right):
                _expect(part, {"number"}, operator)
        case IsNull(value):
            _inside(value)
        case Spatial(operator, left, right):
            for part in (left, right):
                _expect(part, {"geometry"}, operator)
        case Temporal(operator, left, right):
            for part in (left, right):
                _moment(part, operator, interval=True)
        case Interval(start, end):
            for bound in (start, end):
                if bound is not None:
                    _moment(bound, "INTERVAL", interval=False)
        case Arrays(operator, left, right):
            for part in (left, right):
                _expect(part, {"array"}, operator)
        case Array(items):
            for item in items:
                _expect(item, {"text", "number", "truth", "moment", "array"}, "array")
        case Call(name, arguments):
            for argument in arguments:
                _expect(argument, {"text"}, name)


def _compare(operator: str, left: Expression, right: Expression, where: str = "") -> None:
    common = comparable(left, right)
    if not common or (common == {"truth"} and operator not in ("=", "<>")):
        raise _type(where or operator, sorted(kinds(left)), right)
    _inside(left)
    _inside(right)


def _pattern(pattern: Expression) -> None:
    inner = pattern
    while isinstance(inner, Call) and inner.name in ("casei", "accenti"):
        inner = inner.arguments[0]
    if not (isinstance(inner, tree.Literal) and isinstance(inner.value, str)):
        raise _type("LIKE", ["text"], pattern)


def _moment(part: Expression, where: str, *, interval: bool) -> None:
    if isinstance(part, Property) and kinds(part) & {"moment", "array"} and part.name != "codes":
        return
    if isinstance(part, Instant) or (interval and isinstance(part, Interval)):
        _inside(part)
        return
    raise _type(where, ["moment", "interval"] if interval else ["moment"], part)


def _leaf(found: Expression) -> None:
    """What a single expression says."""
    match found:
        case Property(name):
            if not name:
                raise UsageError("query.text", text=name)
            _text(name)
        case tree.Literal(str(value)):
            _text(value)
        case tree.Literal(int(value) | float(value)):
            if not abs(value) <= sys.float_info.max:
                raise UsageError("query.number", number=str(value) if isinstance(value, float) else "…")
        case Instant(text):
            if moments.read(text) != found:
                raise UsageError("query.moment", text=text)
        case Interval(Instant(start), Instant(end)):
            if (moments.key(start) or "") > (moments.key(end) or ""):
                raise UsageError("query.interval", start=start, end=end)
        case Call(name, arguments):
            _call(name, arguments)
        case Geometry():
            _geometry(found)
        case Box(bounds):
            half = len(bounds) // 2
            low, high = bounds[:half], bounds[half:]
            if (
                len(bounds) not in (4, 6)
                or not all(map(_on_earth, (low, high)))
                or any(a > b for a, b in zip(low[1:], high[1:], strict=True))
            ):
                raise UsageError("query.geometry", geometry=f"BBOX{bounds}"[:200])


def _call(name: str, arguments: Sequence[Expression]) -> None:
    if name not in tree.FUNCTIONS:
        raise UsageError("query.no-function", function=name[:50], known=", ".join(tree.FUNCTIONS))
    if len(arguments) != len(tree.FUNCTIONS[name]):
        raise UsageError("query.arguments", function=name, wanted=len(tree.FUNCTIONS[name]), given=len(arguments))
    if name in TRUTHS:
        for argument in arguments:
            if not (isinstance(argument, tree.Literal) and isinstance(argument.value, str)):
                raise _type(name, ["text"], argument)
    if name in ("relatedTo", "relatedFrom"):
        try:
            UUID(str(getattr(arguments[1], "value", "")))
        except ValueError:
            raise _type(name, ["id"], arguments[1]) from None


def _text(text: str) -> None:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise UsageError("query.text", text=text.replace("\0", "?").encode(errors="replace").decode()[:200])


def _geometry(found: Geometry) -> None:
    refused = UsageError("query.geometry", geometry=f"{found.type} {found.coordinates}"[:200])
    if found.type == "GeometryCollection":
        if not found.coordinates or any(part.type == "GeometryCollection" for part in found.coordinates):
            raise refused
        for part in found.coordinates:
            _geometry(part)
        return
    if found.type not in DIMENSIONS:
        raise refused
    lines = [found.coordinates]
    for _ in range(DIMENSIONS[found.type] - 1):
        if not all(lines):
            raise refused
        lines = [line for many in lines for line in many]
    positions = lines if not DIMENSIONS[found.type] else [position for line in lines for position in line]
    least = {"Polygon": 4, "LineString": 2}.get(found.type.removeprefix("Multi"), 1)
    if DIMENSIONS[found.type] and (not lines or any(len(line) < least for line in lines)):
        raise refused
    if least == 4 and any(line[0] != line[-1] for line in lines):
        raise refused
    if len({len(position) for position in positions}) != 1 or not all(map(_on_earth, positions)):
        raise refused
    if least == 4:
        from shapely import is_valid
        from shapely.geometry import shape

        if not is_valid(shape({"type": found.type, "coordinates": found.coordinates})):
            raise refused


def _on_earth(position: Any) -> bool:
    return (
        len(position) in (2, 3)
        and all(map(math.isfinite, position))
        and abs(position[0]) <= 180
        and abs(position[1]) <= 90
    )


def _type(where: str, expected: Sequence[str], found: Expression) -> UsageError:
    shown = getattr(found, "value", getattr(found, "name", getattr(found, "text", None)))
    said = type(found).__name__ if shown is None or isinstance(found, IsNull) else repr(shown)[:200]
    return UsageError("query.type", where=where, expected=", ".join(expected), found=said)
