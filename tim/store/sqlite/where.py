"""Conditions in SQLite's SQL. Some functions are Python's (:func:`register`)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar
from uuid import UUID

from tim.place import Box3
from tim.query import moments, tree
from tim.query.check import Kind
from tim.query.evaluate import arrays, plain
from tim.query.functions import accenti, arithmetic, casei, pattern_parts
from tim.query.plan import conjuncts, envelope
from tim.query.tree import Array, Arrays, Call, Compare, Expression, In, Literal, Property, Spatial
from tim.store.conditions import ANYTHING, Compiler, Sql
from tim.store.sql import Where, spans_of
from tim.store.sql import meets as add_meeting

_FEW = 500
"""Ids that are looked up one by one."""


def register(db: sqlite3.Connection) -> None:
    """Give a connection the functions that :func:`compiled` uses."""
    for name, count, function in (
        ("tim_casei", 1, casei), ("tim_accenti", 1, accenti), ("tim_moment", 1, moments.key), ("tim_arithmetic", 3, arithmetic), ("tim_arrays", 3, _arrays),
    ):  # fmt: skip
        db.create_function(name, count, _null_in_null_out(function), deterministic=True)


def compiled(condition: Expression, valid: str | None) -> Sql:
    """A condition without ``relatedFrom``. ``valid``: the sort key of the moment relations are seen at, ``None`` for any."""
    return SqliteCompiler(valid).condition(condition)


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


class SqliteCompiler(Compiler):
    """Conditions as SQLite takes them."""

    NESTED = 20
    """Its parser keeps no more than a hundred words waiting."""
    COLUMNS: ClassVar[Mapping[str, str]] = {
        **Compiler.COLUMNS,
        "id": "(SELECT substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-' || substr(h, 13, 4) || '-' || substr(h, 17, 4) || '-' || substr(h, 21)"
        " FROM (SELECT lower(hex(o.tim_id)) h))",
    }

    def attribute(self, name: str, kind: Kind) -> Sql:
        """By the type JSON has."""
        return _attribute(name, kind)

    def absent(self, name: str) -> Sql:
        """No type, or null."""
        kind = _json_type(name)
        return Sql(f"(coalesce({kind.text}, 'null') = 'null')", kind.parameters)

    def constant(self, value: str | float | bool, kind: Kind) -> Sql:
        """Truth is 1 or 0."""
        if kind == "number":
            return _number(float(value))
        return Sql("?", (int(value) if isinstance(value, bool) else value,))

    def moment(self, text: Sql) -> Sql:
        """By Python."""
        return _read_moment(text)

    def folded(self, name: str, text: Sql) -> Sql:
        """By Python."""
        return Sql(f"tim_{name}({text.text})", text.parameters)

    def arithmetic(self, operator: str, left: Sql, right: Sql) -> Sql:
        """By Python."""
        return Sql(f"tim_arithmetic(?, {left.text}, {right.text})", (operator, *left.parameters, *right.parameters))

    def like(self, text: Sql, pattern: str) -> Sql:
        """GLOB sees case."""
        return Sql(f"({text.text} GLOB ?)", (*text.parameters, _glob(pattern)))

    def among(self, ids: Sequence[UUID]) -> Sql:
        """One by one, or those of a list."""
        if len(ids) > _FEW:
            return Sql(
                "(lower(hex(o.tim_id)) IN (SELECT value FROM json_each(?)))", (json.dumps([i.hex for i in ids]),)
            )
        return Sql(f"(o.tim_id IN ({', '.join('?' * len(ids))}))", tuple(i.bytes for i in ids))

    def arrays(self, operator: str, left: Expression, right: Expression) -> Sql:
        """By Python."""
        one, other = _array(left), _array(right)
        if one is None or other is None:
            return ANYTHING
        return Sql(f"tim_arrays(?, {one.text}, {other.text})", (operator, *one.parameters, *other.parameters))

    def raw(self, tim_id: UUID) -> bytes:
        """16 bytes."""
        return tim_id.bytes

    def meets(self, box: Box3) -> Sql:
        """As the filter has it."""
        text, parameters = meets(box)
        return Sql(f"({text})", tuple(parameters))


def meets(box: tuple[float, float, float, float, float, float]) -> tuple[str, list[float]]:
    """That the box of a version meets one: index candidates by float32, then the exact float64 test."""
    west, south, bottom, east, north, top = map(float, box)
    spans = spans_of(west, east)
    search = "SELECT id >> 1 FROM box_index WHERE west <= ? AND east >= ? AND south <= ? AND north >= ? AND bottom <= ? AND top >= ?"
    candidates = [value for low, high in spans for value in (high, low, north, south, top, bottom)]
    where = Where()
    where.add(f"v.id IN ({' UNION ALL '.join([search] * len(spans))})", *candidates)
    add_meeting(where, spans, south, bottom, north, top)
    return where.sql, where.parameters


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
