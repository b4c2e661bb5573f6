"""Conditions (:mod:`tim.query.tree`) as SQL about ``version v`` and ``object o``, with every name and value bound.

Values are taken by type, NULL where they are of another one, so that SQL's three values are those of the conditions. What cannot be said in
SQL is said too widely and marked as not exact: :mod:`tim.query.plan` then looks again. Some functions are Python's (:func:`register`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from tim.query import moments, tree
from tim.query.check import Kind, comparable, kinds
from tim.query.evaluate import arrays, plain
from tim.query.functions import accenti, arithmetic, casei, pattern_parts
from tim.query.plan import conjuncts, envelope, written_id
from tim.query.tree import (
    And,
    Arithmetic,
    Array,
    Arrays,
    Between,
    Call,
    Compare,
    Expression,
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
from tim.store.canonical import EVER, NEVER

_NESTED = 20
"""Parentheses within each other: SQLite's parser keeps no more than a hundred words waiting."""
_PATTERN = 10_000
"""Characters of a pattern; SQLite takes 50,000 bytes."""
_FEW = 500
"""Ids that are looked up one by one."""
_COLUMNS = {
    "name": "v.name", "layer": "o.layer", "sourceKey": "o.source_key", "stage": "v.stage", "class": "(SELECT path FROM class WHERE id = v.class)",
    "id": "(SELECT substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-' || substr(h, 13, 4) || '-' || substr(h, 17, 4) || '-' || substr(h, 21)"
    " FROM (SELECT lower(hex(o.tim_id)) h))",
}  # fmt: skip
_TIMES = {
    "validFrom": f"nullif(v.valid_from, '{EVER}')", "validTo": f"nullif(v.valid_to, '{NEVER}')",
    "changed": "tim_moment((SELECT time FROM changeset WHERE seq = v.seq_from))",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sql:
    """An SQL expression."""

    text: str
    parameters: tuple[Any, ...] = ()
    exact: bool = True
    """Whether it is true of those rows only of which the condition is; otherwise it is of more."""


ANYTHING = Sql("1", (), exact=False)
_NULL = Sql("NULL")


def register(db: sqlite3.Connection) -> None:
    """Give a connection the functions that :func:`compiled` uses."""
    for name, count, function in (
        ("tim_casei", 1, casei), ("tim_accenti", 1, accenti), ("tim_moment", 1, moments.key), ("tim_arithmetic", 3, arithmetic), ("tim_arrays", 3, _arrays),
    ):  # fmt: skip
        db.create_function(name, count, _null_in_null_out(function), deterministic=True)


def compiled(condition: Expression, valid: str | None) -> Sql:
    """A condition without ``relatedFrom``. ``valid``: the sort key of the moment relations are seen at, ``None`` for any."""
    return _Compiler(valid).condition(condition)


def driver(condition: Expression) -> str | None:
    """Whether an index finds the ``object`` or else the ``version`` of which a condition may hold; ``None`` where no index helps."""
    parts = conjuncts(condition)
    if any(
        (isinstance(part, In) and part.value == Property("id"))
        or (isinstance(part, Compare) and part.operator == "=" and Property("id") in (part.left, part.right))
        for part in parts
    ):
        return "object"
    found = any(
        (isinstance(part, Spatial) and envelope(part) is not None)
        or (isinstance(part, Call) and part.name in ("hasCode", "relatedTo"))
        or (isinstance(part, Arrays) and part.operator == "a_contains" and part.left == Property("codes"))
        for part in parts
    )
    return "version" if found else None


@dataclass(frozen=True, slots=True)
class _Compiler:
    valid: str | None

    def condition(self, expression: Expression) -> Sql:
        """A truth value, NULL where unknown; too wide where it would nest too deeply for SQLite."""
        found = self._condition(expression)
        return found if _depth(found.text) <= _NESTED else ANYTHING

    def _condition(self, expression: Expression) -> Sql:
        match expression:
            case And(conditions):
                parts = [self.condition(c) for c in conditions]
                return _joined("AND", sorted(parts, key=lambda part: "tim_" in part.text))  # Python's functions last
            case Or(conditions):
                either = [self.condition(c) for c in conditions]
                return (
                    ANYTHING if any(part.text == "1" and not part.exact for part in either) else _joined("OR", either)
                )
            case Not(condition):
                inner = self.condition(condition)
                return Sql(f"(NOT {inner.text})", inner.parameters) if inner.exact else ANYTHING
            case Compare(operator, left, right):
                return self._compare(operator, left, right)
            case In(value, items):
                return self._in(value, items)
            case Between(value, low, high):
                return self.condition(And((Compare(">=", value, low), Compare("<=", value, high))))
            case Like(value, pattern):
                return self._like(value, pattern)
            case IsNull(value):
                return self._is_null(value)
            case Spatial():
                return self._spatial(expression)
            case Temporal(operator, left, right):
                return self._temporal(operator, left, right)
            case Arrays(operator, left, right):
                return self._arrays(operator, left, right)
            case Call(name, arguments):
                return self._call(name, [str(getattr(argument, "value", "")) for argument in arguments])
        return self.typed(expression, "truth")

    def typed(self, expression: Expression, kind: Kind) -> Sql:
        """The value of an expression where it is of a type, otherwise NULL."""
        match expression:
            case Literal(value):
                return self._literal(value, kind)
            case Property(name) if (attribute := tree.attribute_name(name)) is not None:
                return _attribute(attribute, kind)
            case Property(name):
                return self._column(name, kind)
            case Instant(text) if kind == "moment":
                return Sql("?", (moments.key(text),))
            case Arithmetic(operator, left, right) if kind == "number":
                one, other = self.typed(left, "number"), self.typed(right, "number")
                return Sql(
                    f"tim_arithmetic(?, {one.text}, {other.text})", (operator, *one.parameters, *other.parameters)
                )
            case Call("casei" | "accenti" as name, (argument,)) if kind in ("text", "moment"):
                inner = self.typed(argument, "text")
                folded = Sql(f"tim_{name}({inner.text})", inner.parameters)
                return folded if kind == "text" else _read_moment(folded)
            case _ if kind == "truth" and "truth" in kinds(expression):
                return self.condition(expression)
        return _NULL

    def _literal(self, value: str | float | bool, kind: Kind) -> Sql:
        match value:
            case bool():
                return Sql("?", (int(value),)) if kind == "truth" else _NULL
            case str() if kind in ("text", "moment"):
                return Sql("?", (value if kind == "text" else moments.key(value),))
            case int() | float() if kind == "number":
                return _number(float(value))
        return _NULL

    def _column(self, name: str, kind: Kind) -> Sql:
        if name in _TIMES and kind == "moment":
            return Sql(_TIMES[name])
        if name in _COLUMNS and kind in ("text", "moment"):
            return Sql(_COLUMNS[name]) if kind == "text" else _read_moment(Sql(_COLUMNS[name]))
        return Sql("CAST(v.n AS REAL)") if name == "version" and kind == "number" else _NULL

    def _compare(self, operator: str, left: Expression, right: Expression) -> Sql:
        for one, other in ((left, right), (right, left)):
            if operator == "=" and isinstance(one, Property) and isinstance(other, Literal):
                if one.name == "id":
                    return self._in(one, (other,))
                if one.name == "class":
                    return Sql("v.class IN (SELECT id FROM class WHERE path = ?)", (other.value,))
        common = sorted(comparable(left, right) - (set() if operator in ("=", "<>") else {"truth"}))
        pairs = [(self.typed(left, kind), self.typed(right, kind)) for kind in common]
        if not all(side.exact for pair in pairs for side in pair):
            return ANYTHING
        tests = [Sql(f"({a.text} {operator} {b.text})", (*a.parameters, *b.parameters)) for a, b in pairs]
        if len(tests) < 2:
            return tests[0] if tests else _NULL
        return Sql(f"coalesce({', '.join(t.text for t in tests)})", tuple(p for t in tests for p in t.parameters))

    def _in(self, value: Expression, items: Sequence[Expression]) -> Sql:
        literals = [item.value for item in items if isinstance(item, Literal)]
        others = [item for item in items if not isinstance(item, Literal)]
        parts = [self._compare("=", value, item) for item in others]
        if value == Property("id"):
            return _joined("OR", [*parts, _ids([found for text in literals if (found := written_id(text))])])
        if "moment" in kinds(value):
            parts += [self._compare("=", value, Literal(item)) for item in literals]
            literals = []
        for kind in ("text", "number", "truth"):
            chosen = [self._literal(item, kind) for item in literals if kind in kinds(Literal(item))]
            if chosen:
                sought = self.typed(value, kind)
                if not sought.exact:
                    return ANYTHING
                parameters = (*sought.parameters, *(p for item in chosen for p in item.parameters))
                parts.append(Sql(f"({sought.text} IN ({', '.join(item.text for item in chosen)}))", parameters))
        return _joined("OR", parts)

    def _like(self, value: Expression, pattern: Expression) -> Sql:
        folds: list[Callable[[str], str]] = []
        while isinstance(pattern, Call):
            folds.append(casei if pattern.name == "casei" else accenti)
            pattern = pattern.arguments[0]
        wanted = str(getattr(pattern, "value", ""))
        for fold in reversed(folds):
            wanted = fold(wanted)
        if len(wanted) > _PATTERN:
            return ANYTHING
        text = self.typed(value, "text")
        return Sql(f"({text.text} GLOB ?)", (*text.parameters, _glob(wanted)))

    def _is_null(self, value: Expression) -> Sql:
        if isinstance(value, Property):
            if (attribute := tree.attribute_name(value.name)) is not None:
                kind = _json_type(attribute)
                return Sql(f"(coalesce({kind.text}, 'null') = 'null')", kind.parameters)
            if value.name == "geometry":
                return Sql("(v.west IS NULL)")
        found = kinds(value)
        if found & {"array", "geometry", "interval"}:
            return ANYTHING if "interval" in found else Sql("0")
        inner = self.typed(value, next(iter(found)))
        return Sql(f"({inner.text} IS NULL)", inner.parameters) if inner.exact else ANYTHING

    def _spatial(self, expression: Spatial) -> Sql:
        box = envelope(expression)
        if box is None:
            return ANYTHING
        text, parameters = meets(box)
        return Sql(f"({text})", tuple(parameters), exact=False)

    def _temporal(self, operator: str, left: Expression, right: Expression) -> Sql:
        (a, b), (c, d) = self._span(left), self._span(right)
        order = _TEMPORAL[operator]
        ends = {"a": a, "b": b, "c": c, "d": d}
        parts = [
            Sql(f"({ends[one].text} {sign} {ends[other].text})", (*ends[one].parameters, *ends[other].parameters))
            for one, sign, other in (test.split() for test in order)
        ]
        joined = _joined("OR" if operator == "t_disjoint" else "AND", parts)
        guards = [
            Sql(f"({start.text} <= {end.text})", (*start.parameters, *end.parameters))
            for side, start, end in ((left, a, b), (right, c, d))
            if isinstance(side, Interval)
        ]
        if not guards:
            return joined
        guard = _joined("AND", guards)
        return Sql(f"CASE WHEN {guard.text} THEN {joined.text} END", (*guard.parameters, *joined.parameters))

    def _span(self, expression: Expression) -> tuple[Sql, Sql]:
        if isinstance(expression, Interval):
            return self._bound(expression.start, EVER), self._bound(expression.end, NEVER)
        found = self.typed(expression, "moment")
        return found, found

    def _bound(self, end: Expression | None, opened: str) -> Sql:
        if end is None:
            return Sql("?", (opened,))
        found = self.typed(end, "moment")
        if isinstance(end, Property) and (attribute := tree.attribute_name(end.name)) is not None:
            kind = _json_type(attribute)
            return Sql(
                f"CASE WHEN coalesce({kind.text}, 'null') = 'null' THEN ? ELSE {found.text} END",
                (*kind.parameters, opened, *found.parameters),
            )
        return Sql(f"coalesce({found.text}, ?)", (*found.parameters, opened)) if isinstance(end, Property) else found

    def _arrays(self, operator: str, left: Expression, right: Expression) -> Sql:
        if operator == "a_contains" and left == Property("codes") and isinstance(right, Array):
            values = [item.value for item in right.items if isinstance(item, Literal)]
            if len(values) == len(right.items) and all(isinstance(value, str) for value in values):
                each = Sql("(v.id IN (SELECT version FROM code WHERE value = ?))")
                return _joined("AND", [Sql(each.text, (value,)) for value in values]) if values else Sql("1")
        one, other = _array(left), _array(right)
        if one is None or other is None:
            return ANYTHING
        return Sql(f"tim_arrays(?, {one.text}, {other.text})", (operator, *one.parameters, *other.parameters))

    def _call(self, name: str, arguments: Sequence[str]) -> Sql:
        match name, arguments:
            case "inClass", [path]:
                under = "SELECT id FROM class WHERE path = ? OR (path > ? AND path < ?)"
                return Sql(f"(v.class IN ({under}))", (path, f"{path}.", f"{path}/"))
            case "hasCode", [scheme, value]:
                return Sql("(v.id IN (SELECT version FROM code WHERE value = ? AND scheme = ?))", (value, scheme))
            case "relatedTo", [kind, target]:
                text, parameters = "target = ?", [UUID(target).bytes, *([kind] if kind else [])]
                text += " AND kind = ?" if kind else ""
                if self.valid is not None:
                    text += " AND (valid_from IS NULL OR rtrim(valid_from, 'Z') <= ?) AND (valid_to IS NULL OR rtrim(valid_to, 'Z') > ?)"
                    parameters += [self.valid, self.valid]
                return Sql(f"(v.id IN (SELECT version FROM relation WHERE {text}))", tuple(parameters))
        return ANYTHING


_TEMPORAL: dict[str, tuple[str, ...]] = {
    "t_after": ("a > d",), "t_before": ("b < c",), "t_contains": ("a < c", "b > d"), "t_disjoint": ("b < c", "a > d"),
    "t_during": ("a > c", "b < d"), "t_equals": ("a = c", "b = d"), "t_finishedBy": ("a < c", "b = d"), "t_finishes": ("a > c", "b = d"),
    "t_intersects": ("a <= d", "b >= c"), "t_meets": ("b = c",), "t_metBy": ("a = d",), "t_overlappedBy": ("c < a", "a < d", "d < b"),
    "t_overlaps": ("a < c", "c < b", "b < d"), "t_startedBy": ("a = c", "b > d"), "t_starts": ("a = c", "b < d"),
}  # fmt: skip
"""What holds between an interval from a to b and one from c to d; all of it, but of ``t_disjoint`` any."""


def meets(box: tuple[float, float, float, float, float, float]) -> tuple[str, list[float]]:
    """That the box of a version meets one: index candidates by float32, then the exact float64 test."""
    west, south, bottom, east, north, top = map(float, box)
    spans = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    search = "SELECT id >> 1 FROM box_index WHERE west <= ? AND east >= ? AND south <= ? AND north >= ? AND bottom <= ? AND top >= ?"
    candidates = [value for low, high in spans for value in (high, low, north, south, top, bottom)]
    crosses = "CASE WHEN v.west <= v.east THEN v.west <= ? AND v.east >= ? ELSE v.west <= ? OR v.east >= ? END"
    return (
        f"v.id IN ({' UNION ALL '.join([search] * len(spans))}) AND v.south <= ? AND v.north >= ? AND v.bottom <= ? AND v.top >= ?"
        f" AND ({' OR '.join([crosses] * len(spans))})",
        [*candidates, north, south, top, bottom, *(value for low, high in spans for value in (high, low, high, low))],
    )


def _joined(word: str, parts: Sequence[Sql]) -> Sql:
    """Joined two by two, so that many do not nest deeply."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    one, other = _joined(word, parts[:middle]), _joined(word, parts[middle:])
    return Sql(f"({one.text} {word} {other.text})", (*one.parameters, *other.parameters), one.exact and other.exact)


def _depth(text: str) -> int:
    """How deep parentheses nest; there are none in names or values, which are bound."""
    depth = deepest = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    return deepest


def _attribute(name: str, kind: Kind) -> Sql:
    if kind == "moment":
        return _read_moment(_attribute(name, "text"))
    found, value = _json_type(name), _json_value(name)
    types, taken = {
        "text": ("= 'text'", value.text), "number": ("IN ('integer', 'real')", f"nullif(nullif(CAST({value.text} AS REAL), 9e999), -9e999)"),
        "truth": ("IN ('true', 'false')", value.text),
    }[kind]  # fmt: skip
    return Sql(f"CASE WHEN {found.text} {types} THEN {taken} END", (*found.parameters, *value.parameters))


def _json_type(name: str) -> Sql:
    """The JSON type of an attribute; NULL where there is none."""
    if _plain(name):
        return Sql("json_type(v.attributes, ?)", (f'$."{name}"',))
    return Sql("(SELECT type FROM json_each(v.attributes) WHERE key = ?)", (name,))


def _json_value(name: str) -> Sql:
    if _plain(name):
        return Sql("json_extract(v.attributes, ?)", (f'$."{name}"',))
    return Sql("(SELECT value FROM json_each(v.attributes) WHERE key = ?)", (name,))


def _plain(name: str) -> bool:
    """Whether a name stands in JSON as it is, so that a path finds it."""
    return not any(character in '"\\' or character < " " for character in name)


def _read_moment(text: Sql) -> Sql:
    return Sql(f"tim_moment({text.text})", text.parameters)


def _number(value: float) -> Sql:
    """A number as SQLite reads it out of JSON, whose last digit may be another than Python's."""
    return Sql("?", (value,)) if value.is_integer() and abs(value) < 2**63 else Sql("CAST(? AS REAL)", (repr(value),))


def _ids(found: Sequence[UUID]) -> Sql:
    if not found:
        return Sql("0")
    if len(found) > _FEW:
        return Sql("(lower(hex(o.tim_id)) IN (SELECT value FROM json_each(?)))", (json.dumps([i.hex for i in found]),))
    return Sql(f"(o.tim_id IN ({', '.join('?' * len(found))}))", tuple(i.bytes for i in found))


def _glob(pattern: str) -> str:
    """A pattern of LIKE as one of GLOB, which sees case."""
    parts = pattern_parts(pattern)
    return "*".join("".join("?" if c is None else f"[{c}]" if c in "*?[" else c for c in part) for part in parts)


def _array(expression: Expression) -> Sql | None:
    """An array as JSON; ``None`` where it has more in it than values."""
    if expression == Property("codes"):
        return Sql("(SELECT json_group_array(value) FROM (SELECT value FROM code WHERE version = v.id ORDER BY i))")
    if isinstance(expression, Property) and (name := tree.attribute_name(expression.name)) is not None:
        found, value = _json_type(name), _json_value(name)
        return Sql(f"CASE WHEN {found.text} = 'array' THEN {value.text} END", (*found.parameters, *value.parameters))
    parts = [part for part in tree.walk(expression) if not isinstance(part, Array)]
    if not all(isinstance(part, Literal) for part in parts):
        return None
    return Sql("?", (json.dumps(_values(expression)),))


def _values(expression: Expression) -> Any:
    return (
        [_values(item) for item in expression.items]
        if isinstance(expression, Array)
        else getattr(expression, "value", None)
    )


def _arrays(operator: str, left: str, right: str) -> bool | None:
    return arrays(operator, _loaded(left), _loaded(right))


@lru_cache(16)
def _loaded(text: str) -> Any:
    return plain(json.loads(text))


def _null_in_null_out(function: Callable[..., Any]) -> Callable[..., Any]:
    def called(*arguments: Any) -> Any:
        return None if None in arguments else function(*arguments)

    return called
