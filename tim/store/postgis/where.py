"""Conditions in PostgreSQL's SQL. What it has no function for that does exactly the same (case folding, accents, arithmetic, texts read as moments,
arrays) is looked at again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import cos, radians
from typing import ClassVar
from uuid import UUID

from tim.place import Box3
from tim.query import tree
from tim.query.check import Kind
from tim.query.functions import pattern_parts
from tim.query.plan import conjuncts, envelope
from tim.query.tree import Compare, Expression, Literal, Property, Spatial
from tim.store import Filter
from tim.store.canonical import dumps
from tim.store.conditions import ANYTHING, Compiler, Sql
from tim.store.sql import Where, meets, spans_of

_LARGEST = "1.797693134862315807e308"
"""Integers beyond it are no doubles."""
_UNSAID = Sql("NULL", exact=False)
_SMALL = 0.01
"""Square degrees: some ten kilometres by ten."""
_DEGREE = 111_000.0
"""Metres of a degree of latitude, about."""
_TYPES: Mapping[Kind, str] = {
    "text": '?::text COLLATE "C"', "moment": '?::text COLLATE "C"', "number": "?::float8", "truth": "?::boolean",
}  # fmt: skip


def found_by_place(wanted: Filter) -> bool:
    """Whether a small box is asked for. What an index finds by a value is then not wanted as well: the planner, whose plans are kept, does not know
    that the value is frequent, and joining a quarter of all objects takes longer than looking at those in the box."""
    parts = () if wanted.where is None else conjuncts(wanted.where)
    boxes = [wanted.box, *(envelope(part) for part in parts if isinstance(part, Spatial))]
    return any(box is not None and (box[3] - box[0]) % 360 * (box[4] - box[1]) < _SMALL for box in boxes)


def add_condition(where: Where, condition: Expression, valid: str | None, *, searched: bool = True) -> bool:
    """A condition without ``relatedFrom``; whether it is said exactly. ``valid``: the sort key of the moment relations are seen at, ``None`` for any.
    ``searched``: an index may find objects by what attributes equal."""
    for part in conjuncts(condition) if searched else ():
        _add_fact(where, part)
    found = PostgisCompiler(valid).condition(condition)
    where.add(found.text, *found.parameters)
    return found.exact


def _add_fact(where: Where, part: Expression) -> None:
    """What the index of ``facts`` finds: texts and truths that an attribute must equal."""
    match part:
        case Compare("=", Property(name), Literal(str() | bool() as value)) | Compare(
            "=", Literal(str() | bool() as value), Property(name)
        ) if (attribute := tree.attribute_name(name)) is not None:
            where.add("v.facts @> ?::jsonb", dumps({attribute: value}, name))


class PostgisCompiler(Compiler):
    """Conditions as PostgreSQL takes them."""

    NESTED = 500
    COLUMNS: ClassVar[Mapping[str, str]] = {**Compiler.COLUMNS, "id": 'o.tim_id::text COLLATE "C"'}

    def attribute(self, name: str, kind: Kind) -> Sql:
        """By the type ``jsonb`` has; integers that are no doubles are no numbers."""
        taken = {
            "text": ("jsonb_typeof(v.facts -> ?::text) = 'string'", '(v.facts ->> ?::text) COLLATE "C"'),
            "number": (
                "jsonb_typeof(v.facts -> ?::text) = 'number'",
                f"CASE WHEN abs((v.facts -> ?::text)::numeric) < {_LARGEST} THEN (v.facts -> ?::text)::float8 END",
            ),
            "truth": ("jsonb_typeof(v.facts -> ?::text) = 'boolean'", "(v.facts -> ?::text)::boolean"),
        }.get(kind)
        if taken is None:
            return _UNSAID
        text = f"(CASE WHEN {taken[0]} THEN {taken[1]} END)"
        return Sql(text, (name,) * text.count("?"))

    def absent(self, name: str) -> Sql:
        """No value, or null."""
        return Sql("(coalesce(jsonb_typeof(v.facts -> ?::text), 'null') = 'null')", (name,))

    def constant(self, value: str | float | bool, kind: Kind) -> Sql:
        """With its type, as nothing else may tell it."""
        return Sql(_TYPES[kind], (value,))

    def moment(self, text: Sql) -> Sql:  # noqa: ARG002
        """Looked at again."""
        return _UNSAID

    def folded(self, name: str, text: Sql) -> Sql:  # noqa: ARG002
        """Looked at again."""
        return _UNSAID

    def arithmetic(self, operator: str, left: Sql, right: Sql) -> Sql:  # noqa: ARG002
        """Looked at again: PostgreSQL refuses what is not finite, and a condition may not fail."""
        return _UNSAID

    def like(self, text: Sql, pattern: str) -> Sql:
        """With the same signs, each plain one marked as such."""
        signs = "%".join(
            "".join("_" if c is None else f"\\{c}" if c in "%_\\" else c for c in part)
            for part in pattern_parts(pattern)
        )
        return Sql(f"({text.text} LIKE ?)", (*text.parameters, signs))

    def among(self, ids: Sequence[UUID]) -> Sql:
        """All at once."""
        return Sql("(o.tim_id = ANY(?::uuid[]))", (list(ids),))

    def arrays(self, operator: str, left: Expression, right: Expression) -> Sql:  # noqa: ARG002
        """Looked at again."""
        return ANYTHING

    def raw(self, tim_id: UUID) -> UUID:
        """As it is."""
        return tim_id

    def meets(self, box: Box3) -> Sql:
        """Index candidates by float32, then the exact float64 test."""
        where = Where()
        add_box(where, box)
        return Sql(f"({where.sql})", tuple(where.parameters))


def add_box(where: Where, box: Box3) -> None:
    """Index candidates by float32, then the exact float64 test."""
    west, south, bottom, east, north, top = map(float, box)
    spans = spans_of(west, east)
    asked = "ST_SetSRID(ST_MakeLine(ST_MakePoint(?, ?, ?), ST_MakePoint(?, ?, ?)), 4979)"
    near = "&&&" if _is_flat(box) else "&&"
    tests = [f"v.{test} {asked}" for test in (f"span {near}", "span_beyond &&") for _ in spans]
    corners = [value for low, high in spans for value in (low, south, bottom, high, north, top)]
    where.add(f"({' OR '.join(tests)})", *corners, *corners)
    meets(where, spans, south, bottom, north, top)


def _is_flat(box: Box3) -> bool:
    """Whether a box is lower than wide: then heights tell apart what is stacked, and the index that knows them finds less."""
    west, south, bottom, east, north, top = box
    wide = min((east - west) % 360 * cos(radians((south + north) / 2)), north - south)
    return top - bottom < wide * _DEGREE
