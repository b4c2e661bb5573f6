"""What the SQL of our stores has in common: statements with ``?`` for values, conditions, and rows that become records.

Tables have the same names and columns in each (``tim/store/sqlite/schema.py`` says what they mean); what a store asks in a way of its own is
written by hand there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar
from uuid import UUID

import numpy as np

from tim.errors import UsageError
from tim.model import Code, ObjectRecord, Relation, Representation, Stage
from tim.store import Appearance, Change, Changes, Filter, ObjectVersion, Origins, Outline, Page
from tim.store.canonical import NOTHING, interval, moment

T = TypeVar("T")
INT64 = 1 << 63
_BLOCK = 500
"""Names that are asked for at once."""
_REMEMBERED = 100_000
_NO_LINKS: tuple[tuple[()], tuple[()], tuple[()]] = ((), (), ())


class Rows(Protocol):
    """What a statement found."""

    def fetchone(self) -> Any:
        """The next row; ``None`` after the last."""

    def fetchall(self) -> list[Any]:
        """All that are left."""

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """As :class:`sqlite3.Connection` has it."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Rows:
        """Do a statement."""

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]], /) -> object:
        """Do a statement for each row."""


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
        return " AND ".join(self.conditions) or "TRUE"


def in_force(where: Where, seq: int | None, valid: str, until: str | None = None, *, row: str = "v") -> None:
    """The versions that hold at a moment in both times, or at any from ``valid`` to ``until``, which are sort keys; ``seq`` ``None`` for now.
    ``row``: what the statement calls them."""
    if seq is None:
        where.add(f"{row}.seq_to IS NULL")
    else:
        where.add(f"{row}.seq_from <= ? AND ({row}.seq_to IS NULL OR {row}.seq_to > ?)", seq, seq)
    where.add(f"{row}.valid_from <= ? AND {row}.valid_to > ?", valid if until is None else until, valid)


def valid_itself(where: Where, row: str, valid: str) -> None:
    """A code or a relation that is valid itself at a moment, a sort key; its ends are stored as texts."""
    where.add(f"({row}.valid_from IS NULL OR rtrim({row}.valid_from, 'Z') <= ?)", valid)
    where.add(f"({row}.valid_to IS NULL OR rtrim({row}.valid_to, 'Z') > ?)", valid)


def of_dataset(dataset: int, seq: int | None, valid: str, scenario: str, layer: str | None = None) -> Where:
    """What a dataset says at a moment on a line, in a layer where one is given."""
    where = Where()
    in_force(where, seq, valid)
    where.add("v.scenario = ? AND o.dataset = ?", scenario, dataset)
    if layer is not None:
        where.add("o.layer = ?", layer)
    return where


OF_CLASS = "(v.class IN (SELECT id FROM class WHERE path = ? OR (path > ? AND path < ?))) IS TRUE"
"""Of a class or one below it. Asked whether it is true, PostgreSQL makes the list of classes once instead of joining it to every candidate."""


def class_and_below(class_id: str) -> tuple[str, str, str]:
    """The parameters of :data:`OF_CLASS`."""
    return class_id, f"{class_id}.", f"{class_id}/"


def wanted_by(wanted: Filter, seq: int | None, valid: str) -> Where:
    """The conditions of a filter that are asked alike everywhere: all but the box, attributes and properties."""
    where = Where()
    in_force(where, seq, *((valid,) if wanted.during is None else interval(wanted.during)))
    if wanted.upon and wanted.scenario:
        _upon(where, wanted.scenario, seq, valid)
    else:
        where.add("v.scenario = ?", wanted.scenario)
    if wanted.dataset is not None:
        where.add("o.dataset = (SELECT id FROM dataset WHERE slug = ?)", wanted.dataset)
    if wanted.class_id is not None:
        where.add(OF_CLASS, *class_and_below(wanted.class_id))
    if wanted.stage is not None:
        where.add("v.stage = ?", wanted.stage.value)
    if wanted.layer is not None:
        where.add("o.layer = ?", wanted.layer)
    if wanted.code is not None:
        edition = [wanted.code.edition] if wanted.code.edition else []
        where.add(
            f"v.id IN (SELECT version FROM code WHERE value = ? AND scheme = ?{' AND edition = ?' * len(edition)})",
            wanted.code.value, wanted.code.scheme, *edition,
        )  # fmt: skip
    return where


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


def meets(
    where: Where, spans: Sequence[tuple[float, float]], south: float, bottom: float, north: float, top: float
) -> None:
    """The exact test of a box, whose ``spans`` are its parts on both sides of the antimeridian."""
    where.add("v.south <= ? AND v.north >= ? AND v.bottom <= ? AND v.top >= ?", north, south, top, bottom)
    around = "CASE WHEN v.west <= v.east THEN v.west <= ? AND v.east >= ? ELSE v.west <= ? OR v.east >= ? END"
    where.add(
        f"({' OR '.join([around] * len(spans))})", *(value for low, high in spans for value in (high, low, high, low))
    )


def spans_of(west: float, east: float) -> list[tuple[float, float]]:
    """A range of longitudes: in two parts where it crosses the antimeridian."""
    return [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]


def number_of(text: str) -> float | None:
    """The finite number a text reads as."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def padded(values: Sequence[T]) -> list[T]:
    """One or more values, the first repeated until there are as many as a power of two: few statements then do for lists of all lengths."""
    return [*values, *[values[0]] * ((1 << (len(values) - 1).bit_length()) - len(values))]


def marks(values: Sequence[Any]) -> str:
    """A placeholder for each value."""
    return ",".join("?" * len(values))


def no_dataset(db: Connection, slug: str) -> UsageError:
    """The refusal that names the datasets there are."""
    known = ", ".join(row[0] for row in db.execute("SELECT slug FROM dataset ORDER BY slug LIMIT 20"))
    return UsageError("store.no-dataset", dataset=slug, known=known or "-")


# Rows to records

COLUMNS = """
  v.n, o.dataset, o.layer, o.source_key, v.class, v.name, v.attributes, v.west, v.south, v.bottom, v.east, v.north, v.top,
  v.stage, v.scenario, v.valid_from, v.valid_to, v.linked, v.seq_from, v.seq_to, v.source
"""
"""What :func:`version` reads, after the 16 bytes of ``tim_id``."""


class _Known(dict[int, str]):
    """Names by number, asked for when they are needed: a block at once."""

    def __init__(self, db: Connection, sql: str) -> None:
        super().__init__()
        self._db, self._sql = db, sql

    def __missing__(self, number: int) -> str:
        if len(self) > _REMEMBERED:
            self.clear()
        self.update(dict(self._db.execute(self._sql, (number, number + _BLOCK))))
        return self.get(number, "")


class Names:
    """What rows call by number: classes, datasets, sources, and changesets whose time is wanted. Joining four tables to each row takes longer than reading
    it. None of it changes once it is committed, so a connection that only looks may remember it."""

    def __init__(self, db: Connection) -> None:
        """``db``: whoever remembers."""
        self.classes = _Known(db, "SELECT id, path FROM class WHERE id >= ? AND id < ?")
        self.datasets = _Known(db, "SELECT id, slug FROM dataset WHERE id >= ? AND id < ?")
        self.sources = _Known(db, "SELECT id, key FROM source WHERE id >= ? AND id < ?")
        self.times = _Known(db, "SELECT seq, time FROM changeset WHERE seq >= ? AND seq < ?")


def version(row: Sequence[Any], names: Names) -> ObjectVersion:
    """A row of ``tim_id`` and :data:`COLUMNS`."""
    (raw_id, n, dataset, layer, key, class_, name, attributes, west, south, bottom, east, north, top, stage, scenario, start, end,
     linked, seq, seq_to, source) = row[:22]  # fmt: skip
    tim_id = UUID(bytes=raw_id)
    codes, relations, representations = _NO_LINKS if linked == NOTHING else json.loads(linked)
    record = ObjectRecord(
        source_key=key, class_id=names.classes[class_], name=name, layer=layer, attributes=json.loads(attributes),
        box=None if west is None else (west, south, bottom, east, north, top),
        stage=Stage(stage), scenario=scenario, valid_from=moment(start), valid_to=moment(end),
        codes=tuple(Code(*c) for c in codes),
        relations=tuple(Relation(kind, UUID(target), since, until, evidence) for kind, target, since, until, evidence in relations),
        representations=tuple(Representation(*r) for r in representations),
        tim_id=tim_id,
    )  # fmt: skip
    return ObjectVersion(
        tim_id, n, names.datasets[dataset], record, seq, names.times[seq],
        None if seq_to is None else names.times[seq_to],
        "" if source is None else names.sources[source],
    )  # fmt: skip


def page_of(rows: Sequence[Sequence[Any]], names: Names, seq: int | None, valid: str, limit: int) -> Page:
    """A page of rows that end with the newest sequence number, one more than ``limit`` where others follow."""
    items = [version(row, names) for row in rows[:limit]]
    if len(rows) <= limit:
        return Page(items, None)
    return Page(items, cursor(rows[0][-1] if seq is None else seq, valid, items[-1].tim_id))


def outline_of(batch: Sequence[Sequence[Any]], class_ids: Sequence[str]) -> Outline:
    """Rows of ``tim_id``, version, class, digest and corners."""
    ids, versions, classes, digests, *corners = zip(*batch, strict=True)
    return Outline(
        np.frombuffer(b"".join(ids), "V16"), np.array(corners, np.float64).T.copy(), np.array(classes, np.int32), class_ids,
        np.frombuffer(b"".join(digests), "V32"), np.array(versions, np.int64),
    )  # fmt: skip


def class_ids_of(db: Connection) -> list[str]:
    """The ids of classes by their rows."""
    names = dict(db.execute("SELECT id, path FROM class"))
    return [names.get(i, "") for i in range(max(names, default=0) + 1)]


def origins_of(db: Connection, dataset: int, batches: Iterator[Sequence[Sequence[Any]]]) -> Iterator[Origins]:
    """Rows of ``tim_id`` and source."""
    keys: dict[str, int] = {}
    number: dict[int | None, int] = {None: -1}
    for row, key in db.execute("SELECT id, key FROM source WHERE dataset = ? ORDER BY id", (dataset,)):
        number[row] = keys.setdefault(key, len(keys))
    for batch in batches:
        ids, sources = zip(*batch, strict=True)
        yield Origins(
            np.frombuffer(b"".join(ids), "V16"), np.array([number[source] for source in sources], np.int32), list(keys)
        )


def add_appearances(rows: Rows, names: Names, found: dict[int, Appearance]) -> None:
    """Rows of version, ``tim_id``, class, name, attributes and what is linked."""
    for row, tim_id, class_, name, attributes, linked in rows:
        shown = () if linked == NOTHING else tuple(Representation(*r) for r in json.loads(linked)[2])
        found[row] = Appearance(tim_id, names.classes[class_], name, attributes, shown)


def changes_of(page: Sequence[tuple[int, int]], rows: Iterator[Sequence[Any]], names: Names, more: bool) -> Changes:
    """What became of objects. page: sequence and row of each; rows: an object's row, whether the version was there at the beginning, at the end,
    and what :func:`version` reads, by validity."""
    last = {row: seq for seq, row in page}
    lines: dict[int, dict[str, tuple[list[ObjectVersion], list[ObjectVersion]]]] = {row: {} for row in last}
    for row, at_start, at_end, *columns in rows:
        found = version(columns, names)
        before, then = lines[row].setdefault(found.object.scenario, ([], []))
        if at_start:
            before.append(found)
        if at_end:
            then.append(found)
    items = []
    for row, known in lines.items():
        for scenario, (before, then) in sorted(known.items()):
            if [v.version for v in before] != [v.version for v in then]:
                tim_id = (before or then)[0].tim_id
                items.append(Change(tim_id, scenario, last[row], tuple(before), tuple(then)))
    return Changes(items, f"{page[-1][0]}_{page[-1][1]}" if more else None)


# Cursors


def cursor(seq: int, valid: str, last: UUID) -> str:
    """Where a page ended and what moment it showed."""
    return f"{seq}_{valid}_{last.hex}"


def read_cursor(text: str) -> tuple[int, str, UUID]:
    """What :func:`cursor` wrote. Raises UsageError for anything else."""
    try:
        seq, valid, last = text.split("_")
        if len(last) != 32:
            raise ValueError(last)
        return min(int(seq), INT64 - 1), valid, UUID(last)
    except ValueError:
        raise UsageError("store.cursor", cursor=text) from None


def read_change_cursor(text: str | None) -> tuple[int, int] | None:
    """What :func:`changes_of` gave. Raises UsageError for anything else."""
    if text is None:
        return None
    seq, mark, row = text.partition("_")
    if not (mark and seq.isdecimal() and row.isdecimal() and len(text) < 40):
        raise UsageError("store.cursor", cursor=text)
    return min(int(seq), INT64 - 1), min(int(row), INT64 - 1)
