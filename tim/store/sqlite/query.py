"""Looking: filters to SQL, rows to records."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

import numpy as np

from tim.errors import UsageError
from tim.model import Code, ObjectRecord, Relation, Representation, Stage
from tim.place import Box3
from tim.query.plan import checked_again
from tim.store import Appearance, Filter, ObjectVersion, Origins, Outline, Page, Standing
from tim.store.canonical import dumps, interval, moment
from tim.store.sqlite.where import compiled, driver, meets

T = TypeVar("T")
_INT64 = 1 << 63
_OUTLINE = 50_000
_BY_OBJECT = "object o CROSS JOIN version v ON v.object = o.id"
_BY_VERSION = "version v CROSS JOIN object o ON o.id = v.object"
_NEAR = 20_000
"""Objects that are looked at in the order of their ids: a fifth of a second."""
_CANDIDATES = 1024
"""Objects that are looked at again at a time."""

COLUMNS = """
  o.tim_id, v.n, d.slug, o.layer, o.source_key, k.path, v.name, v.attributes,
  v.west, v.south, v.bottom, v.east, v.north, v.top, v.stage, v.scenario, v.valid_from, v.valid_to,
  (SELECT json_group_array(json_array(scheme, edition, value, valid_from, valid_to)) FROM code WHERE version = v.id),
  (SELECT json_group_array(json_array(kind, hex(target), valid_from, valid_to, evidence)) FROM relation WHERE version = v.id),
  (SELECT json_group_array(json_array(role, lod, format, content, json(properties))) FROM representation WHERE version = v.id),
  v.seq_from, made.time, ended.time, (SELECT key FROM source WHERE id = v.source)
"""
JOINS = """
  CROSS JOIN class k ON k.id = v.class CROSS JOIN dataset d ON d.id = o.dataset
  CROSS JOIN changeset made ON made.seq = v.seq_from LEFT JOIN changeset ended ON ended.seq = v.seq_to
"""


class Where:
    """Conditions with their parameters, joined by *and*."""

    def __init__(self) -> None:
        self.conditions: list[str] = []
        self.parameters: list[Any] = []

    def add(self, condition: str, *parameters: Any) -> None:
        """One more condition."""
        self.conditions.append(condition)
        self.parameters += parameters

    @property
    def sql(self) -> str:
        """All of them."""
        return " AND ".join(self.conditions) or "1"


def in_force(where: Where, seq: int | None, valid: str, until: str | None = None, *, row: str = "v") -> None:
    """The versions that hold at a moment in both times, or at any from ``valid`` to ``until``, which are sort keys; ``seq`` ``None`` for now.
    ``row``: what the statement calls them."""
    if seq is None:
        where.add(f"{row}.seq_to IS NULL")
    else:
        where.add(f"{row}.seq_from <= ? AND ({row}.seq_to IS NULL OR {row}.seq_to > ?)", seq, seq)
    where.add(f"{row}.valid_from <= ? AND {row}.valid_to > ?", valid if until is None else until, valid)


def page(
    db: sqlite3.Connection, wanted: Filter, seq: int | None, valid: str, after: UUID | None, limit: int,
    blobs: Callable[[Iterable[str]], Mapping[str, bytes]], on_time: Callable[[], None],
) -> Page:  # fmt: skip
    """One page, ordered by ``tim_id``; its cursor pins both times, so that all pages show one state. ``wanted.where`` is prepared and without
    ``relatedFrom``; ``blobs`` and ``on_time`` as :func:`tim.query.plan.checked_again` has them."""
    where = Where()
    in_force(where, seq, *((valid,) if wanted.during is None else interval(wanted.during)))
    if wanted.upon and wanted.scenario:
        _upon(where, wanted.scenario, seq, valid)
    else:
        where.add("v.scenario = ?", wanted.scenario)
    if after is not None:
        where.add("o.tim_id > ?", after.bytes)
    dataset = None
    if wanted.dataset is not None:
        row = db.execute("SELECT id FROM dataset WHERE slug = ?", (wanted.dataset,)).fetchone()
        if row is None:
            raise no_dataset(db, wanted.dataset)
        dataset = row[0]
        where.add("o.dataset = ?", dataset)
    if wanted.class_id is not None:
        path = wanted.class_id
        where.add(
            "v.class IN (SELECT id FROM class WHERE path = ? OR (path > ? AND path < ?))", path, f"{path}.", f"{path}/"
        )
    if wanted.stage is not None:
        where.add("v.stage = ?", wanted.stage.value)
    if wanted.layer is not None:
        where.add("o.layer = ?", wanted.layer)
    for name, value in wanted.attributes.items():
        _attribute(where, name, value)
    for name, text in wanted.properties.items():
        _property(where, name, text)
    first = _BY_OBJECT
    if wanted.box is not None:
        _box(where, wanted.box)
        first = _BY_VERSION
    if wanted.code is not None:
        _code(where, wanted.code)
        first = _BY_VERSION
    if wanted.where is None:
        return _found(db, where, first, wanted, seq, valid, limit)
    seen_at = valid if wanted.during is None else None
    condition = compiled(wanted.where, seen_at)
    where.add(condition.text, *condition.parameters)
    found_by = driver(wanted.where)
    if found_by == "version":
        first = _BY_VERSION
    with _one_state(db):
        if condition.exact:
            last = _horizon(db, dataset, after) if first == _BY_OBJECT and found_by is None else None
            if last is not None:
                near = Where()
                near.add(f"{where.sql} AND o.tim_id <= ?", *where.parameters, last)
                page = _found(db, near, first, wanted, seq, valid, limit)
                if page.cursor is not None:
                    return page
                first = _BY_VERSION
            return _found(db, where, first, wanted, seq, valid, limit)
        batches = _candidates(db, f"FROM {first} WHERE {where.sql}", where.parameters, limit + 1)
        found = list(islice(checked_again(batches, wanted.where, seen_at, blobs, on_time), limit + 1))
        newest = db.execute("SELECT coalesce(max(seq), 0) FROM changeset").fetchone()[0] if seq is None else seq
    return Page(found[:limit], cursor(newest, valid, found[limit - 1].tim_id) if len(found) > limit else None)


def _found(
    db: sqlite3.Connection, where: Where, first: str, wanted: Filter, seq: int | None, valid: str, limit: int
) -> Page:
    """The page that SQL alone finds."""
    # Beside max(), SQLite takes the other columns from the row that has it: the version that is valid last.
    chosen, each = ("v.id", "") if wanted.during is None else ("v.id, max(v.valid_from)", "GROUP BY o.tim_id")
    rows = db.execute(
        f"SELECT {COLUMNS}, (SELECT coalesce(max(seq), 0) FROM changeset)"
        f" FROM (SELECT {chosen} FROM {first} WHERE {where.sql} {each} ORDER BY o.tim_id LIMIT ?) hit"
        f" CROSS JOIN version v ON v.id = hit.id CROSS JOIN object o ON o.id = v.object {JOINS} ORDER BY o.tim_id",
        [*where.parameters, limit + 1],
    ).fetchall()
    items = [version(row) for row in rows[:limit]]
    if len(rows) <= limit:
        return Page(items, None)
    return Page(items, cursor(rows[0][-1] if seq is None else seq, valid, items[-1].tim_id))


def _horizon(db: sqlite3.Connection, dataset: int | None, after: UUID | None) -> bytes | None:
    """The id up to which objects are looked at one by one, in order, before all versions are, as they lie: what is found often is found soon,
    and what is found seldom without jumping about in the file. ``None`` where there are not so many."""
    condition, parameters = ("1", ()) if dataset is None else ("dataset = ?", (dataset,))
    row: tuple[bytes] | None = db.execute(
        f"SELECT tim_id FROM object WHERE {condition} AND tim_id > ? ORDER BY tim_id LIMIT 1 OFFSET ?",
        (*parameters, b"" if after is None else after.bytes, _NEAR),
    ).fetchone()
    return None if row is None else row[0]


@contextmanager
def _one_state(db: sqlite3.Connection) -> Iterator[None]:
    """Several statements that see the same."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("ROLLBACK")


def _candidates(
    db: sqlite3.Connection, found: str, parameters: Sequence[Any], size: int
) -> Iterator[list[ObjectVersion]]:
    """The versions a statement finds, by ``tim_id`` and the last valid first, in batches that grow from ``size``."""
    rows = db.execute(f"SELECT v.id {found} ORDER BY o.tim_id, v.valid_from DESC", parameters)
    while batch := [row for (row,) in rows.fetchmany(size)]:
        several = padded(batch)
        yield [
            version(row)
            for row in db.execute(
                f"SELECT {COLUMNS} FROM version v CROSS JOIN object o ON o.id = v.object {JOINS} WHERE v.id IN ({marks(several)})"
                " ORDER BY o.tim_id, v.valid_from DESC",
                several,
            )
        ]
        size = min(2 * size, _CANDIDATES)


def outline(
    db: sqlite3.Connection, dataset: int, seq: int | None, valid: str, scenario: str, box: Box3 | None, layer: str | None,
) -> Iterator[Outline]:  # fmt: skip
    """The columns of a dataset's objects, in batches."""
    where = Where()
    in_force(where, seq, valid)
    where.add("v.scenario = ? AND o.dataset = ?", scenario, dataset)
    first = "object o CROSS JOIN version v ON v.object = o.id"
    if box is not None:
        _box(where, box)
        first = "version v CROSS JOIN object o ON o.id = v.object"
    if layer is not None:
        where.add("o.layer = ?", layer)
    names = dict(db.execute("SELECT id, path FROM class"))
    class_ids = [names.get(i, "") for i in range(max(names, default=0) + 1)]
    rows = db.execute(
        f"SELECT o.tim_id, v.id, v.class, v.digest, v.west, v.south, v.bottom, v.east, v.north, v.top FROM {first} WHERE {where.sql}",
        where.parameters,
    )
    while batch := rows.fetchmany(_OUTLINE):
        ids, versions, classes, digests, *corners = zip(*batch, strict=True)
        yield Outline(
            np.frombuffer(b"".join(ids), "V16"), np.array(corners, np.float64).T.copy(), np.array(classes, np.int32), class_ids,
            np.frombuffer(b"".join(digests), "V32"), np.array(versions, np.int64),
        )  # fmt: skip


def standing(
    db: sqlite3.Connection, ids: Sequence[bytes], seq: int | None, valid: str, scenario: str
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
    for tim_id, version, west, *box in rows:
        yield tim_id, Standing(version, None if west is None else (west, *box))


def appearances(db: sqlite3.Connection, versions: Sequence[int], found: dict[int, Appearance]) -> None:
    """Add some hundred versions, of which there is one row for each representation."""
    every = padded(versions)
    rows = db.execute(
        "SELECT v.id, o.tim_id, k.path, v.name, v.attributes, r.role, r.lod, r.format, r.content, r.properties"
        " FROM version v CROSS JOIN object o ON o.id = v.object CROSS JOIN class k ON k.id = v.class"
        f" LEFT JOIN representation r ON r.version = v.id WHERE v.id IN ({marks(every)})",
        every,
    )
    for row, tim_id, path, name, attributes, role, lod, form, content, properties in rows:
        stated = {} if properties == "{}" else json.loads(properties or "{}")
        shown = () if role is None else (Representation(role, lod, form, content, stated),)
        known = found.get(row)
        found[row] = Appearance(
            tim_id, path, name, attributes, shown if known is None else (*known.representations, *shown)
        )


def padded(values: Sequence[T]) -> list[T]:
    """One or more values, the first repeated until there are as many as a power of two: few statements then do for lists of all lengths."""
    return [*values, *[values[0]] * ((1 << (len(values) - 1).bit_length()) - len(values))]


def marks(values: Sequence[Any]) -> str:
    """A placeholder for each value."""
    return ",".join("?" * len(values))


def attribute_kinds(
    db: sqlite3.Connection, dataset: int, names: Sequence[str] | None, seq: int | None, valid: str, scenario: str
) -> dict[str, set[str]]:
    """The JSON types of some attributes, or of all."""
    where = Where()
    in_force(where, seq, valid)
    where.add("v.scenario = ? AND o.dataset = ?", scenario, dataset)
    rows = db.execute(
        "SELECT DISTINCT a.key, a.type FROM object o CROSS JOIN version v ON v.object = o.id CROSS JOIN json_each(v.attributes) a"
        f" WHERE {where.sql}" + ("" if names is None else f" AND a.key IN ({marks(names)})"),
        [*where.parameters, *(names or ())],
    )
    kinds: dict[str, set[str]] = {}
    for name, kind in rows:
        kinds.setdefault(name, set()).add(kind)
    return kinds


def class_counts(db: sqlite3.Connection, dataset: int, seq: int | None, valid: str, scenario: str) -> dict[str, int]:
    """Objects by class, ordered by class id."""
    where = Where()
    in_force(where, seq, valid)
    where.add("v.scenario = ? AND o.dataset = ?", scenario, dataset)
    return dict(
        db.execute(
            "SELECT k.path, n FROM (SELECT v.class, count(*) n FROM object o CROSS JOIN version v ON v.object = o.id"
            f" WHERE {where.sql} GROUP BY v.class) CROSS JOIN class k ON k.id = class ORDER BY k.path",
            where.parameters,
        )
    )


def origins(db: sqlite3.Connection, dataset: int, valid: str, scenario: str, layer: str) -> Iterator[Origins]:
    """Where a layer's objects are from, in batches."""
    where = Where()
    in_force(where, None, valid)
    where.add("v.scenario = ? AND o.dataset = ? AND o.layer = ?", scenario, dataset, layer)
    keys: dict[str, int] = {}
    number: dict[int | None, int] = {None: -1}
    for row, key in db.execute("SELECT id, key FROM source WHERE dataset = ? ORDER BY id", (dataset,)):
        number[row] = keys.setdefault(key, len(keys))
    rows = db.execute(
        f"SELECT o.tim_id, v.source FROM object o CROSS JOIN version v ON v.object = o.id WHERE {where.sql}",
        where.parameters,
    )
    while batch := rows.fetchmany(_OUTLINE):
        ids, sources = zip(*batch, strict=True)
        yield Origins(
            np.frombuffer(b"".join(ids), "V16"), np.array([number[source] for source in sources], np.int32), list(keys)
        )


def search(db: sqlite3.Connection, text: str, datasets: Sequence[int], valid: str, limit: int) -> list[int]:
    """Rows of versions in force by code, by the beginning of their name, by a part of it."""
    if not text or not datasets:
        return []
    within = (
        f"v.seq_to IS NULL AND v.valid_from <= ? AND v.valid_to > ? AND o.dataset IN ({','.join('?' * len(datasets))})"
    )
    like = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    ways = (
        ("SELECT v.id FROM code c CROSS JOIN version v ON v.id = c.version CROSS JOIN object o ON o.id = v.object WHERE c.value = ?", text),
        (
            "SELECT v.id FROM version v CROSS JOIN object o ON o.id = v.object"
            " WHERE v.name != '' AND v.name >= ? COLLATE NOCASE AND v.name < ? || char(1114111) COLLATE NOCASE",
            (text, text),
        ),
        (
            "SELECT v.id FROM version v CROSS JOIN object o ON o.id = v.object WHERE v.name != '' AND v.name LIKE ? ESCAPE '\\'",
            f"%{like}%",
        ),
    )  # fmt: skip
    found: dict[int, None] = {}
    for sql, value in ways:
        values = value if isinstance(value, tuple) else (value,)
        rows = db.execute(f"{sql} AND {within} LIMIT ?", (*values, valid, valid, *datasets, limit))
        found.update((row, None) for (row,) in rows)
        if len(found) >= limit:
            break
    return list(found)[:limit]


def cursor(seq: int, valid: str, last: UUID) -> str:
    """Where a page ended and what moment it showed."""
    return f"{seq}_{valid}_{last.hex}"


def read_cursor(text: str) -> tuple[int, str, UUID]:
    """What :func:`cursor` wrote. Raises UsageError for anything else."""
    try:
        seq, valid, last = text.split("_")
        if len(last) != 32:
            raise ValueError(last)
        return min(int(seq), _INT64 - 1), valid, UUID(last)
    except ValueError:
        raise UsageError("store.cursor", cursor=text) from None


def version(row: tuple[Any, ...]) -> ObjectVersion:
    """A row of :data:`COLUMNS`."""
    (raw_id, n, slug, layer, key, path, name, attributes, west, south, bottom, east, north, top, stage, scenario, start, end,
     codes, relations, representations, seq, made, ended, source) = row[:25]  # fmt: skip
    tim_id = UUID(bytes=raw_id)
    record = ObjectRecord(
        source_key=key, class_id=path, name=name, layer=layer, attributes=json.loads(attributes),
        box=None if west is None else (west, south, bottom, east, north, top),
        stage=Stage(stage), scenario=scenario, valid_from=moment(start), valid_to=moment(end),
        codes=() if codes == "[]" else tuple(Code(*c) for c in json.loads(codes)),
        relations=() if relations == "[]" else tuple(
            Relation(kind, UUID(target), since, until, evidence) for kind, target, since, until, evidence in json.loads(relations)
        ),
        representations=() if representations == "[]" else tuple(Representation(*r) for r in json.loads(representations)),
        tim_id=tim_id,
    )  # fmt: skip
    return ObjectVersion(tim_id, n, slug, record, seq, made, ended, source or "")


def no_dataset(db: sqlite3.Connection, slug: str) -> UsageError:
    """The refusal that names the datasets there are."""
    known = ", ".join(row[0] for row in db.execute("SELECT slug FROM dataset ORDER BY slug LIMIT 20"))
    return UsageError("store.no-dataset", dataset=slug, known=known or "-")


def _upon(where: Where, scenario: str, seq: int | None, valid: str) -> None:
    """What a scenario says, and what the common line says of objects that the scenario says nothing of."""
    own = Where()
    own.add("w.object = v.object AND w.scenario = ?", scenario)
    in_force(own, seq, valid, row="w")
    where.add(
        f"((v.scenario = ? AND v.stage != '{Stage.RETIRED}') OR (v.scenario = '' AND NOT EXISTS (SELECT 1 FROM version w WHERE {own.sql})))",
        scenario,
        *own.parameters,
    )


def _box(where: Where, box: Box3) -> None:
    condition, parameters = meets(box)
    where.add(condition, *parameters)


def _code(where: Where, code: Code) -> None:
    edition = " AND edition = ?" if code.edition else ""
    where.add(
        f"v.id IN (SELECT version FROM code WHERE value = ? AND scheme = ?{edition})",
        code.value, code.scheme, *([code.edition] if code.edition else []),
    )  # fmt: skip


def _attribute(where: Where, name: str, value: Any) -> None:
    """Equality as JSON has it: ``1`` is ``1.0``, but neither ``true`` nor ``"1"``; objects and arrays compare whole."""
    parameters: list[Any] = []
    match value:
        case None:
            test = "type = 'null'"
        case bool():
            test, parameters = "type = ?", ["true" if value else "false"]
        case int() | float():
            exact = value if isinstance(value, float) or -_INT64 <= value < _INT64 else float(value)
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
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        test, parameters = f"{test} OR type IN ('integer', 'real') AND value = ?", [text, number]
    where.add(f"EXISTS (SELECT 1 FROM json_each(v.attributes) WHERE key = ? AND ({test}))", name, *parameters)
