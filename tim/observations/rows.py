"""The tables of observations and what is said to them: readings into tail and chunks, and out again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from tim.errors import StoreError, UsageError
from tim.observations import chunks
from tim.observations.chunks import F64, I64, Parts
from tim.observations.series import BEGINNING, END, Link, Series
from tim.sqlite import Kind

_TAIL = 4096
"""Readings in the tail that are worth a chunk."""
FILE = Kind(
    0x54494D4F,  # TIMO
    1,
    """
CREATE TABLE series (
  id INTEGER PRIMARY KEY, object BLOB NOT NULL, name TEXT NOT NULL, unit TEXT NOT NULL, kind TEXT NOT NULL, title TEXT NOT NULL, link TEXT,
  tail INTEGER NOT NULL DEFAULT 0, UNIQUE (object, name)
) STRICT;
CREATE TABLE chunk (
  id INTEGER PRIMARY KEY, series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE, first INTEGER NOT NULL, last INTEGER NOT NULL,
  count INTEGER NOT NULL, numbers INTEGER NOT NULL, minimum REAL, maximum REAL, mean REAL, opening REAL, closing REAL, newest REAL, data BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX chunk_first ON chunk (series, first);
CREATE TABLE tail (
  series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE, time INTEGER NOT NULL, value REAL, PRIMARY KEY (series, time)
) STRICT, WITHOUT ROWID;
""",
)


SERIES = "SELECT id, object, name, unit, kind, title, link, tail FROM series"


def series_of(row: Sequence[Any]) -> Series:
    """A row of :data:`SERIES` as a series."""
    _, raw, name, unit, kind, title, link, _ = row
    return Series(
        UUID(bytes=raw), name, unit, kind, json.loads(title), None if link is None else Link(*json.loads(link))
    )


def key(tim_id: UUID, name: str) -> tuple[bytes, str]:
    """What a series is found by; a name that is no Unicode text is nobody's."""
    return tim_id.bytes, name.encode(errors="replace").decode()


def row_of(db: sqlite3.Connection, tim_id: UUID, name: str) -> tuple[Any, ...]:
    """The row of a series as :data:`SERIES` has it. Raises UsageError ``observations.no-series``."""
    row: tuple[Any, ...] | None = db.execute(f"{SERIES} WHERE object = ? AND name = ?", key(tim_id, name)).fetchone()
    if row is None:
        raise UsageError("observations.no-series", series=name[:100], object=str(tim_id))
    return row


def open_row(db: sqlite3.Connection, tim_id: UUID, name: str, values: F64) -> int:
    """The id of a series that takes these values. Raises UsageError ``observations.no-series``, ``observations.linked``, ``observations.values``."""
    row = row_of(db, tim_id, name)
    if row[6] is not None:
        raise UsageError("observations.linked", series=name, url=json.loads(row[6])[0])
    if row[4] == "boolean" and not bool(np.isin(values[~np.isnan(values)], (0.0, 1.0)).all()):
        raise UsageError("observations.values", series=name, reason="0, 1, true, false, null")
    return int(row[0])


def append(db: sqlite3.Connection, series: int, times: I64, values: F64) -> None:
    """Add readings, in any order, to the tail; or where there are enough, with those of the tail to chunks."""
    (waiting,) = db.execute("SELECT tail FROM series WHERE id = ?", (series,)).fetchone()
    if waiting + len(times) < _TAIL:
        rows = [(series, time, value) for time, value in zip(times.tolist(), values.tolist(), strict=True)]
        db.executemany("INSERT OR REPLACE INTO tail (series, time, value) VALUES (?, ?, ?)", rows)
        db.execute("UPDATE series SET tail = ? WHERE id = ?", (waiting + len(times), series))
        return
    before = tail(db, series, BEGINNING, END)
    db.execute("DELETE FROM tail WHERE series = ?", (series,))
    db.execute("UPDATE series SET tail = 0 WHERE id = ?", (series,))
    _merge(db, series, *chunks.merged(before, (times, values)))


def _merge(db: sqlite3.Connection, series: int, times: I64, values: F64) -> None:
    """Put readings into the chunks whose span they begin in, and make new ones before and behind. times: ascending."""
    heads = db.execute(
        "SELECT first, last, count, id FROM chunk WHERE series = ? AND first <= ? AND first >="
        " coalesce((SELECT max(first) FROM chunk WHERE series = ? AND first <= ?), ?) ORDER BY first",
        (series, int(times[-1]), series, int(times[0]), BEGINNING),
    ).fetchall()
    begins = np.searchsorted(times, np.array([head[0] for head in heads], np.int64)).tolist()
    if heads and heads[0][2] < chunks.CHUNK:
        begins[0] = 0
    for head, begin, end in zip([None, *heads], [0, *begins], [*begins, len(times)], strict=True):
        new = times[begin:end], values[begin:end]
        if not len(new[0]):
            continue
        if head is not None and (head[2] < chunks.CHUNK or new[0][0] <= head[1]):
            new = chunks.merged(unpacked(db, head[3]), new)
            db.execute("DELETE FROM chunk WHERE id = ?", (head[3],))
        db.executemany(
            "INSERT INTO chunk (series, first, last, count, numbers, minimum, maximum, mean, opening, closing, newest, data)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((series, *chunks.summary(*piece), chunks.pack(*piece)) for piece in chunks.pieces(*new)),
        )


def load(db: sqlite3.Connection, series: int, start: int, end: int, limit: int | None) -> tuple[I64, F64]:
    """Readings from ``start`` to before ``end``, the first ``limit`` of them."""
    found: list[tuple[I64, F64]] = []
    left = limit
    for (number,) in _overlapping(db, "id", series, start, end):
        times, values = unpacked(db, number)
        part = slice(np.searchsorted(times, start), np.searchsorted(times, end))
        found.append((times[part], values[part]))
        if left is not None and (left := left - len(found[-1][0])) <= 0:
            break
    times, values = chunks.merged(_concatenated(found), tail(db, series, start, end))
    return times[:limit], values[:limit]


def parts(db: sqlite3.Connection, series: int, edges: I64) -> list[Parts]:
    """All readings between the edges: chunks within one bucket as they are, the rest opened."""
    start, end = int(edges[0]), int(edges[-1])
    heads = _overlapping(
        db, "first, last, count, id, numbers, minimum, maximum, mean, opening, closing", series, start, end
    ).fetchall()
    recent = tail(db, series, start, end)
    spans = np.array([head[:2] for head in heads], np.int64).reshape(-1, 2)
    bucket = np.searchsorted(edges, spans, "right")
    whole = (bucket[:, 0] == bucket[:, 1]) & (spans[:, 0] >= start) & (spans[:, 1] < end)
    whole &= ~_shadowed(spans, recent[0])
    opened = [unpacked(db, heads[i][3]) for i in np.flatnonzero(~whole).tolist()]
    times, values = chunks.merged(_concatenated(opened), recent)
    part = slice(np.searchsorted(times, start), np.searchsorted(times, end))
    kept = [heads[i] for i in np.flatnonzero(whole).tolist() if heads[i][4]]
    # Readings before and behind a chunk that is not opened are told apart, so that no two parts overlap.
    borders = np.union1d(edges, np.array([head[0] for head in kept], np.int64))
    first, numbers = (np.array([head[i] for head in kept], np.int64) for i in (0, 4))
    columns = (np.array([head[i] for head in kept], np.float64) for i in (5, 6, 7, 8, 9))
    return [chunks.runs(times[part], values[part], borders), Parts(first, numbers, *columns)]


def count(db: sqlite3.Connection, series: int) -> int:
    """How many readings there are."""
    heads = db.execute("SELECT first, last, count, id FROM chunk WHERE series = ?", (series,)).fetchall()
    times, _ = tail(db, series, BEGINNING, END)
    spans = np.array([head[:2] for head in heads], np.int64).reshape(-1, 2)
    again = sum(
        int(np.isin(unpacked(db, heads[i][3])[0], times).sum())
        for i in np.flatnonzero(_shadowed(spans, times)).tolist()
    )
    whole: int = sum(head[2] for head in heads)
    return whole + len(times) - again


def _overlapping(db: sqlite3.Connection, columns: str, series: int, start: int, end: int) -> sqlite3.Cursor:
    """Chunks with readings from ``start`` to before ``end``, in the order of time."""
    return db.execute(
        f"SELECT {columns} FROM chunk WHERE series = ? AND first < ? AND first >="
        " coalesce((SELECT max(first) FROM chunk WHERE series = ? AND first <= ?), ?) AND last >= ? ORDER BY first",
        (series, end, series, start, BEGINNING, start),
    )


def tail(db: sqlite3.Connection, series: int, start: int, end: int) -> tuple[I64, F64]:
    """Readings of the tail from ``start`` to before ``end``."""
    rows = db.execute(
        "SELECT time, value FROM tail WHERE series = ? AND time >= ? AND time < ? ORDER BY time", (series, start, end)
    ).fetchall()
    return np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.float64)


def _shadowed(spans: I64, times: I64) -> NDArray[np.bool_]:
    """Which spans some times lie within. spans: int64[n, 2], first and last time; times: ascending."""
    inside: NDArray[np.bool_] = np.searchsorted(times, spans[:, 1], "right") > np.searchsorted(
        times, spans[:, 0], "left"
    )
    return inside


def _concatenated(parts: Sequence[tuple[I64, F64]]) -> tuple[I64, F64]:
    if not parts:
        return np.empty(0, np.int64), np.empty(0)
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def unpacked(db: sqlite3.Connection, number: int) -> tuple[I64, F64]:
    """The readings of a chunk. Raises StoreError ``store.corrupt``."""
    (data,) = db.execute("SELECT data FROM chunk WHERE id = ?", (number,)).fetchone()
    try:
        return chunks.unpack(data)
    except ValueError as error:
        raise StoreError(
            "store.corrupt", path=db.execute("PRAGMA database_list").fetchone()[2], reason=str(error)
        ) from None


def extent(db: sqlite3.Connection, series: int) -> tuple[int, int] | None:
    """The times of the first and the last reading."""
    found = [
        db.execute(f"SELECT {column} FROM {table} WHERE series = ? ORDER BY {order} LIMIT 1", (series,)).fetchone()
        for table, column, order in (("chunk", "first", "first"), ("tail", "time", "time"), ("chunk", "last", "first DESC"), ("tail", "time", "time DESC"))
    ]  # fmt: skip
    times = [row[0] for row in found if row is not None]
    return (min(times), max(times)) if times else None
