"""Observations: time series of sensors on objects, a million readings an object-year, or a link to where they are.

They lie in a file of their own, so that appending never waits for edits of objects. A series belongs to an object (``tim_id``) and has a name
among its series. A reading is a time and a value: int64 microseconds since 1970 in UTC (leap seconds not counted), years 1 to 9999; and a float64.
NaN is a *gap*: the sensor reported and had nothing to say, or what it said was taken back. A gap is kept and counted as a reading, and enters no
statistics. Infinite values are refused; a zero has no sign. Of several readings of one time the one that was appended last counts.

Few readings at once are kept as rows (the *tail*); thousands become compressed chunks with statistics (:mod:`tim.observations.chunks`). Chunks of a series
do not overlap in time; the tail may lie over them, and what it says counts.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike

from tim.errors import TimError, UsageError
from tim.observations import chunks, rows
from tim.observations.chunks import F64, I64
from tim.observations.series import (
    Buckets,
    Link,
    Reading,
    Readings,
    Series,
    check,
    microseconds,
    readings,
    span,
    texts,
)
from tim.sqlite import Connections, translated

__all__ = ["Buckets", "Link", "Observations", "Reading", "Readings", "Series", "microseconds", "texts"]

MOST_BUCKETS = 100_000


@dataclass(slots=True, eq=False)
class _Batch:
    """Readings that wait to be written."""

    readings: list[tuple[UUID, str, I64, F64]]
    done: bool = False
    error: BaseException | None = None


class Observations:
    """The observations of a workspace in one file. Safe to share between threads; every process opens its own.

    The file is made by the first series; until then there are none.
    """

    def __init__(self, path: Path | str, *, sync: bool = True, wait: float = 30.0) -> None:
        """At ``path``; nothing is opened yet. ``wait``: seconds for other writers.

        What was appended survives the end of the process, however it ends; with ``sync`` also a power cut, at the price of waiting
        for the disk (threads that append at once wait together). Without, a power cut may take the last appends, and nothing else.
        """
        self.path = Path(path)
        self._sync, self._wait = sync, wait
        self._file = Connections(self.path, lambda: rows.FILE.reader(self.path, wait, sqlite3.Connection), self._writer)
        self._waiting: list[_Batch] = []
        self._waiting_lock, self._turn = threading.Lock(), threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; using it afterwards raises StoreError ``store.closed``."""
        self._file.close()

    def put(self, series: Series) -> Series:
        """Make a series, or change its unit, title or link. Raises UsageError for what is no series, and where readings forbid the change."""
        check(series)
        with translated(self.path):
            rows.FILE.ensure(self.path)
        with self._file.writing() as db:
            known = db.execute(
                f"{rows.SERIES} WHERE object = ? AND name = ?", rows.key(series.tim_id, series.name)
            ).fetchone()
            if known is not None and rows.extent(db, known[0]) is not None:
                if series.kind != known[4]:
                    raise UsageError("observations.kind-fixed", series=series.name, kind=known[4])
                if series.link is not None:
                    raise UsageError("observations.has-readings", series=series.name)
            link = None if series.link is None else json.dumps([series.link.url, series.link.protocol])
            db.execute(
                "INSERT INTO series (object, name, unit, kind, title, link) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (object, name) DO UPDATE SET"
                " unit = excluded.unit, kind = excluded.kind, title = excluded.title, link = excluded.link",
                (*rows.key(series.tim_id, series.name), series.unit, series.kind, json.dumps(dict(series.title)), link),
            )
        return replace(series, title=dict(series.title))

    def drop(self, tim_id: UUID, name: str) -> None:
        """Take a series away with all its readings. Raises UsageError ``observations.no-series``."""
        with self._changing(tim_id, name) as (db, row):
            db.execute("DELETE FROM series WHERE id = ?", (row[0],))

    def series(self, tim_id: UUID) -> list[Series]:
        """What is observed of an object, by name."""
        if not self._exists():
            return []
        with self._file.reading() as db:
            return [
                rows.series_of(row)
                for row in db.execute(f"{rows.SERIES} WHERE object = ? ORDER BY name", (tim_id.bytes,))
            ]

    def get(self, tim_id: UUID, name: str) -> Series:
        """One series. Raises UsageError ``observations.no-series``."""
        with self._looking(tim_id, name) as (_, row):
            return rows.series_of(row)

    def append(self, tim_id: UUID, name: str, times: ArrayLike, values: ArrayLike) -> int:
        """Add readings in any order; how many were given. When this returns they are there.

        times: int64[n] µs UTC, or datetime64[n] (whole microseconds are kept). values: float64[n]. Raises UsageError ``observations.no-series``,
        ``observations.linked``, ``observations.times``, ``observations.values``, ``observations.lengths``; StoreError, WorkspaceError.
        """
        return self.extend([(tim_id, name, times, values)])

    def extend(self, batches: Iterable[tuple[UUID, str, ArrayLike, ArrayLike]]) -> int:
        """Add readings of several series, all of them or none: one step costs little more than one reading. As :meth:`append`."""
        checked = [(tim_id, name, *readings(name, times, values)) for tim_id, name, times, values in batches]
        if checked and not self._exists():
            raise UsageError("observations.no-series", series=checked[0][1], object=str(checked[0][0]))
        if not checked:
            return 0
        batch = _Batch(checked)
        with self._waiting_lock:
            self._waiting.append(batch)
        with self._turn:
            if not batch.done:
                self._write()
        if batch.error is not None:
            raise batch.error
        return sum(len(times) for _, _, times, _ in checked)

    def latest(self, tim_id: UUID, name: str) -> Reading | None:
        """The newest reading (a gap is one); ``None`` where there are none. Raises UsageError ``observations.no-series``."""
        with self._looking(tim_id, name) as (db, row):
            found = [
                db.execute(f"{sql} WHERE series = ? ORDER BY {order} DESC LIMIT 1", (row[0],)).fetchone()
                for sql, order in (
                    ("SELECT last, newest FROM chunk", "first"),
                    ("SELECT time, value FROM tail", "time"),
                )
            ]
        newest = max((item for item in found if item is not None), key=lambda item: item[0], default=None)
        if newest is not None and found[1] is not None and found[1][0] == newest[0]:
            newest = found[1]
        return None if newest is None else Reading(newest[0], np.nan if newest[1] is None else newest[1])

    def range(
        self, tim_id: UUID, name: str, start: int | None = None, end: int | None = None, limit: int | None = None
    ) -> Readings:
        """The readings from ``start`` to before ``end`` (µs UTC, open where ``None``), the first ``limit`` of them. Raises UsageError."""
        if limit is not None and limit < 1:
            raise UsageError("store.limit", limit=limit)
        start, end = span(start, end)
        with self._looking(tim_id, name) as (db, row):
            return Readings(*rows.load(db, row[0], start, end, limit))

    def downsample(self, tim_id: UUID, name: str, start: int | None, end: int | None, number: int) -> Buckets:
        """Readings from ``start`` to before ``end`` in so many equal buckets; open ends are those of the readings.

        Chunks that lie in one bucket are not opened. Raises UsageError ``observations.buckets``, ``observations.no-series``, ``observations.span``.
        """
        if not 1 <= number <= MOST_BUCKETS:
            raise UsageError("observations.buckets", number=number, most=MOST_BUCKETS)
        with self._looking(tim_id, name) as (db, row):
            extent = rows.extent(db, row[0]) or (0, 0)
            start, end = span(extent[0] if start is None else start, extent[1] + 1 if end is None else end)
            edges = chunks.buckets(start, end, number)
            bucket, parts = chunks.joined(rows.parts(db, row[0], edges), edges)
        empty = np.full(number, np.nan)
        columns = [empty.copy() for _ in range(5)]
        for column, found in zip(columns, parts[2:], strict=True):
            column[bucket] = found
        count = np.zeros(number, np.int64)
        count[bucket] = parts.numbers
        return Buckets(edges, count, *columns)

    def count(self, tim_id: UUID, name: str) -> int:
        """How many readings there are, gaps among them. Raises UsageError ``observations.no-series``."""
        with self._looking(tim_id, name) as (db, row):
            return rows.count(db, row[0])

    def extent(self, tim_id: UUID, name: str) -> tuple[int, int] | None:
        """The times of the first and the last reading, µs UTC. Raises UsageError ``observations.no-series``."""
        with self._looking(tim_id, name) as (db, row):
            return rows.extent(db, row[0])

    def _write(self) -> None:
        """Write all batches that wait, in one commit: while one goes to the disk, others gather. A batch that is refused hinders no other."""
        with self._waiting_lock:
            taken, self._waiting = self._waiting, []
        try:
            with self._file.writing() as db:
                for batch in taken:
                    db.execute("SAVEPOINT batch")
                    try:
                        for tim_id, name, times, values in batch.readings:
                            rows.append(db, rows.open_row(db, tim_id, name, values), times, values)
                    except TimError as error:
                        batch.error = error
                        db.execute("ROLLBACK TO batch")
                    db.execute("RELEASE batch")
        except BaseException as error:
            for batch in taken:
                batch.error = error
        finally:
            for batch in taken:
                batch.done = True

    def _writer(self) -> sqlite3.Connection:
        db = rows.FILE.writer(self.path, self._wait, sqlite3.Connection)
        if not self._sync:
            db.execute("PRAGMA synchronous = NORMAL")
        return db

    def _exists(self) -> bool:
        try:
            return self.path.stat().st_size > 0
        except FileNotFoundError:
            return False

    @contextmanager
    def _looking(self, tim_id: UUID, name: str) -> Iterator[tuple[sqlite3.Connection, tuple[Any, ...]]]:
        """A series, and one moment of the file to look at it."""
        if not self._exists():
            raise UsageError("observations.no-series", series=name, object=str(tim_id))
        with self._file.reading() as db:
            db.execute("BEGIN")
            try:
                yield db, rows.row_of(db, tim_id, name)
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    @contextmanager
    def _changing(self, tim_id: UUID, name: str) -> Iterator[tuple[sqlite3.Connection, tuple[Any, ...]]]:
        if not self._exists():
            raise UsageError("observations.no-series", series=name, object=str(tim_id))
        with self._file.writing() as db:
            yield db, rows.row_of(db, tim_id, name)
