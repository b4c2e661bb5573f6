"""What a condition means, in plain Python: the measure of every store, and the last word where a store can only come near.

:func:`matches` says it of one object. ``relatedFrom`` needs the objects that state relations, so it is asked of the store beforehand:
:func:`prepare` puts the ids of those it finds in its place.
"""

from __future__ import annotations

import math
import operator as operators
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, TypeGuard
from uuid import UUID

from tim.query import moments, solids, tree
from tim.query.functions import accenti, arithmetic, casei, like
from tim.query.solids import Solid
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
    Literal,
    Not,
    Or,
    Property,
    Spatial,
    Temporal,
)
from tim.store import ObjectVersion
from tim.store.canonical import EVER, NEVER

Footprint = Callable[[ObjectVersion], Any]
"""The footprint of an object as a shapely geometry (:func:`tim.shape.footprint.flat`), ``None`` where there is none."""
COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operators.eq, "<>": operators.ne, "<": operators.lt, ">": operators.gt, "<=": operators.le, ">=": operators.ge,
}  # fmt: skip


class Moment(NamedTuple):
    """A moment by its sort key."""

    key: str


class Span(NamedTuple):
    """From one moment to another, by their sort keys."""

    start: str
    end: str


Value = bool | float | str | Moment | Span | Solid | tuple[Any, ...] | None
"""``None``: unknown."""


def prepare(expression: Expression, related: Callable[[UUID, str], Iterable[UUID]]) -> Expression:
    """A condition without ``relatedFrom``. ``related``: the ids to which an object's relations of a kind, or of any (``""``), go."""
    match expression:
        case Call("relatedFrom", (Literal(kind), Literal(source))):
            found = sorted({str(target) for target in related(UUID(str(source)), str(kind))})
            return In(Property("id"), tuple(map(Literal, found))) if found else Literal(False)
        case Geometry():
            return expression
    changed: dict[str, Any] = {}
    for field in fields(expression):
        value = getattr(expression, field.name)
        if isinstance(value, tuple):
            changed[field.name] = tuple(prepare(v, related) if hasattr(v, "__dataclass_fields__") else v for v in value)
        elif hasattr(value, "__dataclass_fields__"):
            changed[field.name] = prepare(value, related)
    return replace(expression, **changed)


def matches(
    expression: Expression, version: ObjectVersion, footprint: Footprint, moment: str | None = None
) -> bool | None:
    """Whether a condition holds of an object; ``None`` where that is unknown. ``moment``: the sort key of the moment relations are seen at,
    ``None`` for any."""
    found = _Look(version, footprint, moment).value(expression)
    return found if isinstance(found, bool) else None


@dataclass(frozen=True, slots=True)
class _Look:
    """At one object."""

    version: ObjectVersion
    footprint: Footprint
    moment: str | None

    def value(self, expression: Expression) -> Value:
        """What an expression is, of this object."""
        match expression:
            case Literal(value):
                return value if isinstance(value, bool | str) else float(value)
            case Property(name):
                return self._property(name)
            case Instant(text):
                return _moment(text)
            case And(conditions):
                return all_of(self.value(c) for c in conditions)
            case Or(conditions):
                return any_of(self.value(c) for c in conditions)
            case Not(condition):
                return opposite(self.value(condition))
            case Compare(operator, left, right):
                return compare(operator, self.value(left), self.value(right))
            case In(value, items):
                sought = self.value(value)
                return any_of(compare("=", sought, self.value(item)) for item in items)
            case Between(value, low, high):
                found = self.value(value)
                return all_of((compare(">=", found, self.value(low)), compare("<=", found, self.value(high))))
            case Like(value, pattern):
                a, b = self.value(value), self.value(pattern)
                return like(a, b) if isinstance(a, str) and isinstance(b, str) else None
            case IsNull(value):
                return self._is_null(value)
            case Arithmetic(operator, left, right):
                a, b = self.value(left), self.value(right)
                return arithmetic(operator, a, b) if isinstance(a, float) and isinstance(b, float) else None
            case Call(name, arguments):
                return self._call(name, [self.value(argument) for argument in arguments])
            case Box() | Geometry():
                return solids.literal(expression)
            case Spatial(operator, left, right):
                one, other = self.value(left), self.value(right)
                return (
                    solids.holds(operator, one, other) if isinstance(one, Solid) and isinstance(other, Solid) else None
                )
            case Interval(start, end):
                return self._span(start, end)
            case Temporal(operator, left, right):
                return temporal(operator, self.value(left), self.value(right))
            case Array(items):
                return tuple(self.value(item) for item in items)
            case Arrays(operator, left, right):
                return arrays(operator, self.value(left), self.value(right))

    def _property(self, name: str) -> Value:
        record = self.version.object
        attribute = tree.attribute_name(name)
        if attribute is not None:
            return plain(record.attributes.get(attribute))
        match name:
            case "id":
                return str(self.version.tim_id)
            case "class":
                return record.class_id
            case "layer":
                return record.layer
            case "sourceKey":
                return record.source_key
            case "stage":
                return record.stage.value
            case "version":
                return float(self.version.version)
            case "validFrom" | "validTo":
                return _moment(record.valid_from if name == "validFrom" else record.valid_to)
            case "changed":
                return _moment(self.version.db_from)
            case "codes":
                return tuple(code.value for code in record.codes)
            case "geometry":
                return None if record.box is None else solids.standing(record.box, lambda: self.footprint(self.version))
        return record.name

    def _is_null(self, value: Expression) -> bool:
        if isinstance(value, Property) and (name := tree.attribute_name(value.name)) is not None:
            return self.version.object.attributes.get(name) is None
        return self.value(value) is None

    def _call(self, name: str, arguments: list[Value]) -> Value:
        record = self.version.object
        match name, arguments:
            case (("casei" | "accenti"), [str(text)]):
                return casei(text) if name == "casei" else accenti(text)
            case "inClass", [str(path)]:
                return record.class_id == path or record.class_id.startswith(f"{path}.")
            case "hasCode", [str(scheme), str(value)]:
                return any((code.scheme, code.value) == (scheme, value) for code in record.codes)
            case "relatedTo", [str(kind), str(target)]:
                return any(
                    r.target == UUID(target) and kind in ("", r.kind) and self._in_force(r.valid_from, r.valid_to)
                    for r in record.relations
                )
            case "relatedFrom", _:
                raise TypeError("relatedFrom: prepare the condition first")
        return None

    def _in_force(self, start: str | None, end: str | None) -> bool:
        if self.moment is None:
            return True
        opened, closed = (EVER if start is None else moments.key(start)), (NEVER if end is None else moments.key(end))
        return (opened or EVER) <= self.moment < (closed or NEVER)

    def _span(self, start: Expression | None, end: Expression | None) -> Span | None:
        found = [EVER, NEVER]
        for i, bound in enumerate((start, end)):
            if bound is not None and not self._is_null(bound):
                key = _key(self.value(bound))
                if key is None:
                    return None
                found[i] = key
        return Span(*found) if found[0] <= found[1] else None


def plain(value: Any) -> Value:
    """A JSON value: what is null, an object, or beyond double precision is unknown."""
    match value:
        case bool() | str():
            return value
        case int() | float():
            try:
                number = float(value)
            except OverflowError:
                return None
            return number if math.isfinite(number) else None
        case list() | tuple():
            return tuple(plain(item) for item in value)
    return None


def all_of(values: Iterable[Value]) -> bool | None:
    """Three-valued *and*."""
    known = [value if isinstance(value, bool) else None for value in values]
    return False if False in known else None if None in known else True


def any_of(values: Iterable[Value]) -> bool | None:
    """Three-valued *or*."""
    known = [value if isinstance(value, bool) else None for value in values]
    return True if True in known else None if None in known else False


def opposite(value: Value) -> bool | None:
    """Three-valued *not*."""
    return not value if isinstance(value, bool) else None


def compare(operator: str, left: Value, right: Value) -> bool | None:
    """Two scalars of one type, or of which one is a moment."""
    if isinstance(left, Moment) or isinstance(right, Moment):
        one, other = _key(left), _key(right)
        return None if one is None or other is None else COMPARE[operator](one, other)
    for kind in (bool, float, str):
        if isinstance(left, kind) and isinstance(right, kind):
            return None if kind is bool and operator not in ("=", "<>") else COMPARE[operator](left, right)
    return None


def temporal(operator: str, left: Value, right: Value) -> bool | None:
    """Two moments or intervals (OGC 21-065r2, table 10); a moment begins and ends at once."""
    one, other = _as_span(left), _as_span(right)
    if one is None or other is None:
        return None
    (a, b), (c, d) = one, other
    match operator:
        case "t_after":
            return a > d
        case "t_before":
            return b < c
        case "t_contains":
            return a < c and b > d
        case "t_disjoint":
            return b < c or a > d
        case "t_during":
            return a > c and b < d
        case "t_equals":
            return a == c and b == d
        case "t_finishedBy":
            return a < c and b == d
        case "t_finishes":
            return a > c and b == d
        case "t_intersects":
            return a <= d and b >= c
        case "t_meets":
            return b == c
        case "t_metBy":
            return a == d
        case "t_overlappedBy":
            return c < a < d < b
        case "t_overlaps":
            return a < c < b < d
        case "t_startedBy":
            return a == c and b > d
    return a == c and b < d


def arrays(operator: str, left: Value, right: Value) -> bool | None:
    """Two arrays. What is unknown in them equals nothing; where there is a moment in one, text that reads as one is one in both."""
    if not (_is_array(left) and _is_array(right)):
        return None
    timed = _has_moment(left) or _has_moment(right)
    one, other = ([_comparable(item, timed) for item in items] for items in (left, right))
    match operator:
        case "a_equals":
            return one == other and None not in one
        case "a_contains":
            return None not in other and set(other) <= set(one)
        case "a_containedBy":
            return None not in one and set(one) <= set(other)
    return not {item for item in one if item is not None}.isdisjoint(other)


def _is_array(value: Value) -> TypeGuard[tuple[Any, ...]]:
    return isinstance(value, tuple) and not isinstance(value, Moment | Span | Solid)


def _has_moment(value: Value) -> bool:
    return isinstance(value, Moment) or (_is_array(value) and any(map(_has_moment, value)))


def _comparable(value: Value, timed: bool) -> tuple[Any, ...] | None:
    """An item with its type; ``None`` for what is unknown, or has something unknown in it."""
    if _is_array(value):
        items = [_comparable(item, timed) for item in value]
        return None if None in items else ("array", *items)
    if value is None:
        return None
    key = _key(value) if timed else None
    return (type(value).__name__, value) if key is None else ("Moment", key)


def _moment(text: str | None) -> Moment | None:
    key = None if text is None else moments.key(text)
    return None if key is None else Moment(key)


def _key(value: Value) -> str | None:
    """The sort key of a moment, or of a text that reads as one."""
    return value.key if isinstance(value, Moment) else moments.key(value) if isinstance(value, str) else None


def _as_span(value: Value) -> Span | None:
    if isinstance(value, Span):
        return value
    key = _key(value)
    return None if key is None else Span(key, key)
