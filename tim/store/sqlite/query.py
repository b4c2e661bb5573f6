"""Looking: filters to SQLite's SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any
from uuid import UUID

from tim.place import Box3
from tim.query.plan import MOST_CANDIDATES, Blobs, OnTime, checked_again
from tim.store import Appearance, Filter, ObjectVersion, Origins, Outline, Page, Standing
from tim.store.canonical import dumps
from tim.store.sql import (
    COLUMNS,
    INT64,
    Where,
    add_appearances,
    class_ids_of,
    cursor,
    in_force,
    marks,
    number_of,
    of_dataset,
    origins_of,
    outline_of,
    padded,
    page_of,
    version,
    wanted_by,
)
from tim.store.sqlite.schema import Connection
from tim.store.sqlite.where import compiled, driver, meets

_OUTLINE = 50_000
_BY_OBJECT = "object o CROSS JOIN version v ON v.object = o.id"
_BY_VERSION = "version v CROSS JOIN object o ON o.id = v.object"
_NEAR = 20_000
"""Objects that are looked at in the order of their ids: a fifth of a second."""

_VERSIONS = f"SELECT o.tim_id, {COLUMNS} FROM {_BY_OBJECT}"


def page(
    db: Connection, wanted: Filter, seq: int | None, valid: str, after: UUID | None, limit: int, blobs: Blobs, on_time: OnTime
) -> Page:  # fmt: skip
    """One page, ordered by ``tim_id``; its cursor pins both times, so that all pages show one state."""
    where = wanted_by(wanted, seq, valid)
    if after is not None:
        where.add("o.tim_id > ?", after.bytes)
    for name, value in wanted.attributes.items():
        _attribute(where, name, value)
    for name, text in wanted.properties.items():
        _property(where, name, text)
    indexed = wanted.box is not None or wanted.code is not None
    if wanted.box is not None:
        _box(where, wanted.box)
    exact, narrows = True, bool(wanted.class_id or wanted.attributes or wanted.properties or wanted.stage)
    seen_at = valid if wanted.during is None else None
    by_version = indexed
    if wanted.where is not None:
        condition = compiled(wanted.where, seen_at)
        where.add(condition.text, *condition.parameters)
        found_by = driver(wanted.where)
        exact, narrows, indexed = condition.exact, True, indexed or found_by is not None
        by_version = by_version or found_by == "version"
    with _one_state(db):
        if exact:
            if narrows and not indexed and (last := _horizon(db, wanted.dataset, after)) is not None:
                near = Where()
                near.add(f"{where.sql} AND o.tim_id <= ?", *where.parameters, last)
                page = _found(db, near, _BY_OBJECT, wanted, seq, valid, limit)
                if page.cursor is not None:
                    return page
                by_version = True
            return _found(db, where, _BY_VERSION if by_version else _BY_OBJECT, wanted, seq, valid, limit)
        assert wanted.where is not None
        tables = _BY_VERSION if by_version else _BY_OBJECT
        batches = _candidates(db, f"FROM {tables} WHERE {where.sql}", where.parameters, limit + 1)
        found = list(islice(checked_again(batches, wanted.where, seen_at, blobs, on_time), limit + 1))
        newest = db.execute("SELECT coalesce(max(seq), 0) FROM changeset").fetchone()[0] if seq is None else seq
    return Page(found[:limit], cursor(newest, valid, found[limit - 1].tim_id) if len(found) > limit else None)


def _found(db: Connection, where: Where, tables: str, wanted: Filter, seq: int | None, valid: str, limit: int) -> Page:
    """The page that SQL alone finds."""
    # Beside max(), SQLite takes the other columns from the row that has it: the version that is valid last.
    chosen, each = ("v.id", "") if wanted.during is None else ("v.id, max(v.valid_from)", "GROUP BY o.tim_id")
    rows = db.execute(
        f"SELECT o.tim_id, {COLUMNS}, (SELECT coalesce(max(seq), 0) FROM changeset)"
        f" FROM (SELECT {chosen} FROM {tables} WHERE {where.sql} {each} ORDER BY o.tim_id LIMIT ?) hit"
        f" CROSS JOIN version v ON v.id = hit.id CROSS JOIN object o ON o.id = v.object ORDER BY o.tim_id",
        [*where.parameters, limit + 1],
    ).fetchall()
    return page_of(rows, db.names, seq, valid, limit)


def _horizon(db: Connection, dataset: str | None, after: UUID | None) -> bytes | None:
    """The id up to which objects are looked at one by one, in order, before all versions are, as they lie: what is found often is found soon,
    and what is found seldom without jumping about in the file. ``None`` where there are not so many."""
    within, slugs = ("1", ()) if dataset is None else ("dataset = (SELECT id FROM dataset WHERE slug = ?)", (dataset,))
    row: tuple[bytes] | None = db.execute(
        f"SELECT tim_id FROM object WHERE {within} AND tim_id > ? ORDER BY tim_id LIMIT 1 OFFSET ?",
        (*slugs, b"" if after is None else after.bytes, _NEAR),
    ).fetchone()
    return None if row is None else row[0]


@contextmanager
def _one_state(db: Connection) -> Iterator[None]:
    """Several statements that see the same."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("ROLLBACK")


def _candidates(db: Connection, found: str, parameters: Sequence[Any], size: int) -> Iterator[list[ObjectVersion]]:
    """The versions a statement finds, by ``tim_id`` and the last valid first, in batches that grow from ``size``."""
    rows = db.execute(f"SELECT v.id {found} ORDER BY o.tim_id, v.valid_from DESC", parameters)
    while batch := [row for (row,) in rows.fetchmany(size)]:
        known = versions(db, padded(batch))
        yield [known[row] for row in batch]
        size = min(2 * size, MOST_CANDIDATES)


def history(db: Connection, tim_id: UUID) -> list[ObjectVersion]:
    """All versions of an object."""
    return [
        version(row, db.names) for row in db.execute(f"{_VERSIONS} WHERE o.tim_id = ? ORDER BY v.n", (tim_id.bytes,))
    ]


def read(db: Connection, ids: Sequence[UUID], seq: int | None, valid: str, scenario: str) -> list[ObjectVersion]:
    """Some hundred objects."""
    every = padded([i.bytes for i in ids])
    where = Where()
    where.add(f"o.tim_id IN ({marks(every)}) AND v.scenario = ?", *every, scenario)
    in_force(where, seq, valid)
    return [version(row, db.names) for row in db.execute(f"{_VERSIONS} WHERE {where.sql}", where.parameters)]


def versions(db: Connection, rows: Sequence[int]) -> dict[int, ObjectVersion]:
    """Versions by their rows."""
    found = db.execute(
        f"SELECT o.tim_id, {COLUMNS}, v.id FROM {_BY_VERSION} WHERE v.id IN ({marks(rows)})",
        rows,
    )
    return {row[-1]: version(row, db.names) for row in found}


def outline(
    db: Connection, dataset: int, seq: int | None, valid: str, scenario: str, box: Box3 | None, layer: str | None,
) -> Iterator[Outline]:  # fmt: skip
    """The columns of a dataset's objects, in batches."""
    where = of_dataset(dataset, seq, valid, scenario, layer)
    first = "object o CROSS JOIN version v ON v.object = o.id"
    if box is not None:
        _box(where, box)
        first = "version v CROSS JOIN object o ON o.id = v.object"
    class_ids = class_ids_of(db)
    rows = db.execute(
        f"SELECT o.tim_id, v.id, v.class, v.digest, v.west, v.south, v.bottom, v.east, v.north, v.top FROM {first} WHERE {where.sql}",
        where.parameters,
    )
    while batch := rows.fetchmany(_OUTLINE):
        yield outline_of(batch, class_ids)


def standing(
    db: Connection, ids: Sequence[bytes], seq: int | None, valid: str, scenario: str
) -> Iterator[tuple[bytes, Standing]]:
    """Some hundred objects."""
    every = padded(ids)
    where = Where()
    where.add(f"o.tim_id IN ({marks(every)}) AND v.scenario = ?", *every, scenario)
    in_force(where, seq, valid)
    rows = db.execute(
        "SELECT o.tim_id, v.id, v.west, v.south, v.bottom, v.east, v.north, v.top"
        f" FROM object o CROSS JOIN version v ON v.object = o.id WHERE {where.sql}",
        where.parameters,
    )
    for tim_id, row, west, *box in rows:
        yield tim_id, Standing(row, None if west is None else (west, *box))


def appearances(db: Connection, versions: Sequence[int], found: dict[int, Appearance]) -> None:
    """Add some hundred versions."""
    every = padded(versions)
    rows = db.execute(
        f"SELECT v.id, o.tim_id, v.class, v.name, v.attributes, v.linked FROM {_BY_VERSION} WHERE v.id IN ({marks(every)})",
        every,
    )
    add_appearances(rows, db.names, found)


def attribute_kinds(
    db: Connection, dataset: int, names: Sequence[str] | None, seq: int | None, valid: str, scenario: str
) -> Iterable[tuple[str, str]]:
    """Names and JSON types of some attributes, or of all."""
    where = of_dataset(dataset, seq, valid, scenario)
    return db.execute(
        "SELECT DISTINCT a.key, a.type FROM object o CROSS JOIN version v ON v.object = o.id CROSS JOIN json_each(v.attributes) a"
        f" WHERE {where.sql}" + ("" if names is None else f" AND a.key IN ({marks(names)})"),
        [*where.parameters, *(names or ())],
    )


def class_counts(db: Connection, dataset: int, seq: int | None, valid: str, scenario: str) -> dict[str, int]:
    """Objects by class, ordered by class id."""
    where = of_dataset(dataset, seq, valid, scenario)
    return dict(
        db.execute(
            "SELECT k.path, n FROM (SELECT v.class, count(*) n FROM object o CROSS JOIN version v ON v.object = o.id"
            f" WHERE {where.sql} GROUP BY v.class) CROSS JOIN class k ON k.id = class ORDER BY k.path",
            where.parameters,
        )
    )


def count(db: Connection, dataset: int | None, valid: str) -> int:
    """Objects on the common line."""
    where, tables = Where(), "version v"
    where.add("v.scenario = ''")
    in_force(where, None, valid)
    if dataset is not None:
        tables = "version v CROSS JOIN object o ON o.id = v.object"
        where.add("o.dataset = ?", dataset)
    return int(db.execute(f"SELECT count(*) FROM {tables} WHERE {where.sql}", where.parameters).fetchone()[0])


def origins(db: Connection, dataset: int, valid: str, scenario: str, layer: str) -> Iterator[Origins]:
    """Where a layer's objects are from, in batches."""
    where = of_dataset(dataset, None, valid, scenario, layer)
    rows = db.execute(
        f"SELECT o.tim_id, v.source FROM object o CROSS JOIN version v ON v.object = o.id WHERE {where.sql}",
        where.parameters,
    )
    return origins_of(db, dataset, iter(lambda: rows.fetchmany(_OUTLINE), []))


def search(db: Connection, text: str, datasets: Sequence[int], valid: str, limit: int) -> Iterator[int]:
    """Rows of versions in force by code, by the beginning of their name, by a part of it."""
    within = f"v.seq_to IS NULL AND v.valid_from <= ? AND v.valid_to > ? AND o.dataset IN ({marks(datasets)})"
    like = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    ways: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("SELECT v.id FROM code c CROSS JOIN version v ON v.id = c.version CROSS JOIN object o ON o.id = v.object WHERE c.value = ?", (text,)),
        (
            "SELECT v.id FROM version v CROSS JOIN object o ON o.id = v.object"
            " WHERE v.name != '' AND v.name >= ? COLLATE NOCASE AND v.name < ? || char(1114111) COLLATE NOCASE",
            (text, text),
        ),
        (
            "SELECT v.id FROM version v CROSS JOIN object o ON o.id = v.object WHERE v.name != '' AND v.name LIKE ? ESCAPE '\\'",
            (f"%{like}%",),
        ),
    )  # fmt: skip
    for sql, values in ways:
        for (row,) in db.execute(f"{sql} AND {within} LIMIT ?", (*values, valid, valid, *datasets, limit)):
            yield row


def blobs(db: Connection, hashes: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
    """Bytes by their content."""
    every = padded(hashes)
    return db.execute(f"SELECT hash, data FROM blob WHERE hash IN ({marks(every)})", every)


def _box(where: Where, box: Box3) -> None:
    """Index candidates by float32, then the exact float64 test."""
    condition, parameters = meets(box)
    where.add(condition, *parameters)


def _attribute(where: Where, name: str, value: Any) -> None:
    """Equality as JSON has it: ``1`` is ``1.0``, but neither ``true`` nor ``"1"``; objects and arrays compare whole."""
    parameters: list[Any] = []
    match value:
        case None:
            test = "type = 'null'"
        case bool():
            test, parameters = "type = ?", ["true" if value else "false"]
        case int() | float():
            exact = value if isinstance(value, float) or -INT64 <= value < INT64 else float(value)
            test, parameters = "type IN ('integer', 'real') AND value = ?", [exact]
        case str():
            test, parameters = "type = 'text' AND value = ?", [value]
        case _:
            kind = "object" if isinstance(value, Mapping) else "array"
            test, parameters = "type = ? AND value = ?", [kind, dumps(value, name)]
    where.add(f"EXISTS (SELECT 1 FROM json_each(v.attributes) WHERE key = ? AND {test})", name, *parameters)


def _property(where: Where, name: str, text: str) -> None:
    """Equality as a reader has it, who sees no difference between a number and its digits."""
    test = "type = 'text' AND value = ?"
    parameters: list[Any] = [text]
    if text in ("true", "false"):
        test, parameters = f"{test} OR type = ?", [text, text]
    number = number_of(text)
    if number is not None:
        test, parameters = f"{test} OR type IN ('integer', 'real') AND value = ?", [text, number]
    where.add(f"EXISTS (SELECT 1 FROM json_each(v.attributes) WHERE key = ? AND ({test}))", name, *parameters)
