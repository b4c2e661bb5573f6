"""Looking: filters to PostgreSQL's SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

from tim.place import Box3
from tim.query.plan import MOST_CANDIDATES, Blobs, OnTime, checked_again
from tim.store import Appearance, Filter, ObjectVersion, Origins, Outline, Page, Standing
from tim.store.canonical import dumps
from tim.store.postgis.session import Session
from tim.store.postgis.where import add_box, add_condition, found_by_place
from tim.store.sql import (
    COLUMNS,
    INT64,
    Where,
    add_appearances,
    class_ids_of,
    cursor,
    in_force,
    number_of,
    of_dataset,
    origins_of,
    outline_of,
    page_of,
    version,
    wanted_by,
)

_OUTLINE = 50_000

_NEWEST = "(SELECT coalesce(max(seq), 0) FROM changeset)"
OBJECTS = "object o JOIN version v ON v.object = o.id"


def page(
    db: Session, wanted: Filter, seq: int | None, valid: str, after: UUID | None, limit: int, blobs: Blobs, on_time: OnTime
) -> Page:  # fmt: skip
    """One page, ordered by ``tim_id``; its cursor pins both times, so that all pages show one state."""
    code = () if wanted.code is None else (wanted.code.scheme, wanted.code.edition, wanted.code.value)
    texts = (wanted.class_id or "", wanted.scenario, wanted.layer or "", *code)
    if any("\0" in text for text in texts):
        return Page([], None)
    where = wanted_by(wanted, seq, valid)
    if after is not None:
        where.add("o.tim_id > ?", after)
    if wanted.box is not None:
        add_box(where, wanted.box)
    searched = not found_by_place(wanted)
    for name, value in wanted.attributes.items():
        _attribute(where, name, value, searched=searched)
    for name, text in wanted.properties.items():
        _property(where, name, text, searched=searched)
    seen_at = valid if wanted.during is None else None
    if wanted.where is not None and not add_condition(where, wanted.where, seen_at, searched=searched):
        newest = [0]
        batches = _candidates(db, f"FROM {OBJECTS} WHERE {where.sql}", where.parameters, limit + 1, newest)
        found = list(islice(checked_again(batches, wanted.where, seen_at, blobs, on_time), limit + 1))
        return Page(
            found[:limit],
            cursor(newest[-1] if seq is None else seq, valid, found[limit - 1].tim_id) if len(found) > limit else None,
        )
    distinct, last = ("", "") if wanted.during is None else ("DISTINCT ON (o.tim_id)", ", v.valid_from DESC")
    rows = db.execute(
        f"SELECT uuid_send(o.tim_id), {COLUMNS}, {_NEWEST}"
        f" FROM (SELECT {distinct} v.id FROM {OBJECTS} WHERE {where.sql} ORDER BY o.tim_id{last} LIMIT ?) hit"
        f" JOIN version v ON v.id = hit.id JOIN object o ON o.id = v.object ORDER BY o.tim_id",
        [*where.parameters, limit + 1],
    ).fetchall()
    on_time()
    return page_of(rows, db.names, seq, valid, limit)


def _candidates(
    db: Session, found: str, parameters: Sequence[Any], size: int, newest: list[int]
) -> Iterator[list[ObjectVersion]]:
    """The versions a statement finds, by ``tim_id`` and the last valid first, in batches; notes the sequence number they are seen at."""
    # With a limit, and only then, PostgreSQL makes the columns of rows as they are fetched, not before it sorts.
    sql = f"SELECT uuid_send(o.tim_id), {COLUMNS}, {_NEWEST} {found} ORDER BY o.tim_id, v.valid_from DESC LIMIT {INT64 - 1}"
    for batch in db.stream(sql, parameters, min(size, MOST_CANDIDATES)):
        newest.append(batch[0][-1])
        yield [version(row, db.names) for row in batch]


def history(db: Session, tim_id: UUID) -> list[ObjectVersion]:
    """All versions of an object."""
    rows = db.execute(
        f"SELECT uuid_send(o.tim_id), {COLUMNS} FROM {OBJECTS} WHERE o.tim_id = ? ORDER BY v.n", (tim_id,)
    )
    return [version(row, db.names) for row in rows]


def read(db: Session, ids: Sequence[UUID], seq: int | None, valid: str, scenario: str) -> list[ObjectVersion]:
    """Some hundred objects."""
    where = _among(ids, seq, valid, scenario)
    rows = db.execute(f"SELECT uuid_send(o.tim_id), {COLUMNS} FROM {OBJECTS} WHERE {where.sql}", where.parameters)
    return [version(row, db.names) for row in rows]


def versions(db: Session, rows: Sequence[int]) -> dict[int, ObjectVersion]:
    """Versions by their rows."""
    found = db.execute(
        f"SELECT uuid_send(o.tim_id), {COLUMNS}, v.id FROM {OBJECTS} WHERE v.id = ANY(?::bigint[])", (list(rows),)
    )
    return {row[-1]: version(row, db.names) for row in found}


def outline(
    db: Session, dataset: int, seq: int | None, valid: str, scenario: str, box: Box3 | None, layer: str | None
) -> Iterator[Outline]:
    """The columns of a dataset's objects, in batches."""
    where = of_dataset(dataset, seq, valid, scenario, layer)
    if box is not None:
        add_box(where, box)
    class_ids = class_ids_of(db)
    for batch in db.stream(
        "SELECT uuid_send(o.tim_id), v.id, v.class, v.digest, v.west, v.south, v.bottom, v.east, v.north, v.top"
        f" FROM {OBJECTS} WHERE {where.sql}",
        where.parameters,
        _OUTLINE,
    ):
        yield outline_of(batch, class_ids)


def standing(
    db: Session, ids: Sequence[bytes], seq: int | None, valid: str, scenario: str
) -> Iterator[tuple[bytes, Standing]]:
    """Some hundred objects."""
    where = _among([UUID(bytes=i) for i in ids], seq, valid, scenario)
    rows = db.execute(
        f"SELECT uuid_send(o.tim_id), v.id, v.west, v.south, v.bottom, v.east, v.north, v.top FROM {OBJECTS} WHERE {where.sql}",
        where.parameters,
    )
    for tim_id, row, west, *box in rows:
        yield tim_id, Standing(row, None if west is None else (west, *box))


def appearances(db: Session, versions: Sequence[int], found: dict[int, Appearance]) -> None:
    """Add some hundred versions."""
    rows = db.execute(
        f"SELECT v.id, uuid_send(o.tim_id), v.class, v.name, v.attributes, v.linked FROM {OBJECTS} WHERE v.id = ANY(?::bigint[])",
        (list(versions),),
    )
    add_appearances(rows, db.names, found)


def attribute_kinds(
    db: Session, dataset: int, names: Sequence[str] | None, seq: int | None, valid: str, scenario: str
) -> Iterable[tuple[str, str]]:
    """Names and JSON types of some attributes, or of all. A number is an integer if it is written as one."""
    where = of_dataset(dataset, seq, valid, scenario)
    if names is not None:
        where.add("key = ANY(?::text[])", [name for name in names if "\0" not in name])
    rows: Iterable[Any] = db.execute(
        "SELECT DISTINCT key, CASE json_typeof(value) WHEN 'number' THEN CASE WHEN value::text ~ '[.eE]' THEN 'real' ELSE 'integer' END"
        " WHEN 'boolean' THEN value::text WHEN 'string' THEN 'text' ELSE json_typeof(value) END"
        f" FROM {OBJECTS} CROSS JOIN json_each(v.attributes::json) WHERE {where.sql}",
        where.parameters,
    )
    return rows


def class_counts(db: Session, dataset: int, seq: int | None, valid: str, scenario: str) -> dict[str, int]:
    """Objects by class, ordered by class id."""
    where = of_dataset(dataset, seq, valid, scenario)
    rows: Iterable[Any] = db.execute(
        f"SELECT k.path, n FROM (SELECT v.class, count(*) n FROM {OBJECTS} WHERE {where.sql} GROUP BY v.class) c"
        " JOIN class k ON k.id = c.class ORDER BY k.path",
        where.parameters,
    )
    return dict(rows)


def count(db: Session, dataset: int | None, valid: str) -> int:
    """Objects on the common line."""
    where, tables = Where(), "version v"
    where.add("v.scenario = ''")
    in_force(where, None, valid)
    if dataset is not None:
        tables = OBJECTS
        where.add("o.dataset = ?", dataset)
    ((found,),) = db.execute(f"SELECT count(*) FROM {tables} WHERE {where.sql}", where.parameters)
    return int(found)


def origins(db: Session, dataset: int, valid: str, scenario: str, layer: str) -> Iterator[Origins]:
    """Where a layer's objects are from, in batches."""
    where = of_dataset(dataset, None, valid, scenario, layer)
    sql = f"SELECT uuid_send(o.tim_id), v.source FROM {OBJECTS} WHERE {where.sql}"
    return origins_of(db, dataset, db.stream(sql, where.parameters, _OUTLINE))


def search(db: Session, text: str, datasets: Sequence[int], valid: str, limit: int) -> Iterator[int]:
    """Rows of versions in force by code, by the beginning of their name, by a part of it. Only A to Z have two cases, as in every store."""
    if "\0" in text:
        return
    where = Where()
    in_force(where, None, valid)
    where.add("o.dataset = ANY(?::int[])", list(datasets))
    folded = 'lower(?::text COLLATE "C")'
    ways: tuple[tuple[str, tuple[str, ...]], ...] = (
        (f"SELECT v.id FROM code c JOIN version v ON v.id = c.version JOIN object o ON o.id = v.object WHERE c.value = ? AND {where.sql}", (text,)),
        (
            f"SELECT v.id FROM {OBJECTS} WHERE v.name != '' AND lower(v.name) >= {folded} AND lower(v.name) < {folded} || chr(1114111)"
            f" AND {where.sql} ORDER BY lower(v.name), v.id",
            (text, text),
        ),
        (f"SELECT v.id FROM {OBJECTS} WHERE v.name != '' AND strpos(lower(v.name), {folded}) > 0 AND {where.sql}", (text,)),
    )  # fmt: skip
    for sql, values in ways:
        for (row,) in db.execute(f"{sql} LIMIT ?", (*values, *where.parameters, limit)):
            yield row


def blobs(db: Session, hashes: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
    """Bytes by their content."""
    for batch in db.stream("SELECT hash, data FROM blob WHERE hash = ANY(?::bytea[])", (list(hashes),), 50):
        yield from batch


def _among(ids: Sequence[UUID], seq: int | None, valid: str, scenario: str) -> Where:
    """Some objects. For one the plan is made once: PostgreSQL thinks that one of a list deserves a plan of its own each time."""
    where = Where()
    if len(ids) == 1:
        where.add("o.tim_id = ?", ids[0])
    else:
        where.add("o.tim_id = ANY(?::uuid[])", list(ids))
    where.add("v.scenario = ?", scenario)
    in_force(where, seq, valid)
    return where


def _attribute(where: Where, name: str, value: Any, *, searched: bool) -> None:
    """Equality as JSON has it: ``1`` is ``1.0``, but neither ``true`` nor ``"1"``; objects and arrays compare whole, as they are written."""
    if isinstance(value, Mapping | list | tuple):
        text = dumps(value, name)
        if not _storable(name, text):
            where.add("FALSE")
            return
        where.add("(v.attributes::json -> ?::text)::text = ?", name, text)
    else:
        _has(where, name, value, searched=searched)


def _property(where: Where, name: str, text: str, *, searched: bool) -> None:
    """Equality as a reader has it, who sees no difference between a number and its digits."""
    values: list[Any] = [text]
    if text in ("true", "false"):
        values.append(text == "true")
    number = number_of(text)
    if number is not None:
        values.append(number)
    _has(where, name, *values, searched=searched)


def _has(where: Where, name: str, *values: Any, searched: bool) -> None:
    """An attribute is one of some scalars. ``searched``: the index of ``facts`` may find it; to ask whether a truth is true hides it from that."""
    asked = [dumps({name: value}, name) for value in values]
    if all(map(_storable, asked)):
        found = " OR ".join(["v.facts @> ?::jsonb"] * len(asked))
        where.add(f"({found})" if searched else f"({found}) IS TRUE", *asked)
    else:
        where.add("FALSE")


def _storable(*texts: str) -> bool:
    """Whether PostgreSQL can hold JSON: a NUL it cannot, and so nothing has one."""
    return not any("\0" in text or "\\u0000" in text.replace("\\\\", "") for text in texts)
