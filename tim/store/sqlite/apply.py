"""Changing: how a batch is read from and written to SQLite."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from math import isqrt
from operator import itemgetter
from typing import Any
from uuid import UUID

import numpy as np

from tim.model import Dataset
from tim.place import Box3
from tim.store import Changeset
from tim.store.sqlite.packing import F32, I64, pack, rounded_outward
from tim.store.sqlite.schema import INDEXES
from tim.store.working import Work

_BOXES = 50_000
_INDEX_NAMES = re.findall(r"EXISTS (\w+)", INDEXES)
_NODE = 32
"""About as many boxes as fill a node of the index."""


class SqliteWork(Work[sqlite3.Connection]):
    """A changeset on its way into the file."""

    BATCH = 1000

    def __init__(self, db: sqlite3.Connection, changeset: Changeset, row: int, dataset: Dataset) -> None:
        """As for all stores; index rows wait longer than a batch."""
        super().__init__(db, changeset, row, dataset)
        self.boxes: list[tuple[float, ...]] = []
        self.packed: list[tuple[I64, F32]] = []
        self.filling = False
        """Whether this fills an empty store, and indexes wait until it has."""
        db.execute("PRAGMA defer_foreign_keys = 1")

    def load(self, ids: set[UUID]) -> Iterable[tuple[UUID, Sequence[Any]]]:
        """One statement for a batch."""
        for tim_id, *row in self.db.execute(
            "SELECT o.tim_id, o.id, o.dataset, o.layer, o.source_key, (SELECT max(n) FROM version WHERE object = o.id),"
            " v.id, v.n, v.seq_from, v.scenario, v.valid_from, v.valid_to, v.digest, v.source, v.west, v.south, v.bottom, v.east, v.north, v.top"
            " FROM object o LEFT JOIN version v ON v.object = o.id AND v.seq_to IS NULL"
            f" WHERE o.tim_id IN ({','.join('?' * len(ids))}) ORDER BY v.n",
            [i.bytes for i in ids],
        ):
            yield UUID(bytes=tim_id), row

    def write(self) -> None:
        """Write what the batch queued."""
        many = self.db.executemany
        if len(self.objects) == self.BATCH == self.next_object - 1:
            self.filling = True
            for name in _INDEX_NAMES:
                self.db.execute(f"DROP INDEX {name}")
        many("INSERT INTO object (id, tim_id, dataset, layer, source_key) VALUES (?, ?, ?, ?, ?)", self.objects)
        many("UPDATE version SET seq_to = ? WHERE id = ?", self.closed)
        many("UPDATE version SET source = ? WHERE id = ?", self.noted)
        self.copy()
        many(
            "INSERT INTO version (id, object, n, seq_from, valid_from, valid_to, stage, scenario, class, name, attributes,"
            f" west, south, bottom, east, north, top, digest, source, linked) VALUES ({','.join('?' * 20)})",
            self.versions,
        )
        if len(self.boxes) >= _BOXES:
            self.write_boxes()
        many("INSERT INTO code VALUES (?, ?, ?, ?, ?, ?, ?)", self.codes)
        many("INSERT INTO relation VALUES (?, ?, ?, ?, ?, ?, ?)", self.relations)

    def raw(self, tim_id: UUID) -> bytes:
        """16 bytes."""
        return tim_id.bytes

    def index(self, row: int, box: Box3) -> None:
        """Queue rows of ``box_index``."""
        self.boxes += index_rows(row, box)

    def settle(self) -> None:
        """What waited."""
        self.write_boxes()
        if self.filling:
            if self.packed:
                ids, bounds = (np.concatenate(parts) for parts in zip(*self.packed, strict=True))
                pack(self.db, "box_index", ids, bounds)
            for statement in INDEXES.strip().split(";\n"):
                self.db.execute(statement)

    def write_boxes(self) -> None:
        """Write the index rows that are waiting, neighbours together: a tree grown so answers in two thirds of the time. Where it is filled they wait on, in
        32 bytes each."""
        if self.filling and self.boxes:
            rows = np.array(self.boxes)
            self.packed.append((rows[:, 0].astype(np.int64), rounded_outward(rows[:, 1:])))
            self.boxes.clear()
            return
        self.db.executemany("INSERT INTO box_index VALUES (?, ?, ?, ?, ?, ?, ?)", tiled(self.boxes))
        self.boxes.clear()


def index_rows(row: int, box: Box3) -> Iterator[tuple[float, ...]]:
    """The rows of ``box_index`` for one version: two where the box crosses the antimeridian."""
    west, south, bottom, east, north, top = box
    if west <= east:
        yield row << 1, west, east, south, north, bottom, top
    else:
        yield row << 1, west, 180.0, south, north, bottom, top
        yield row << 1 | 1, -180.0, east, south, north, bottom, top


def tiled(rows: list[tuple[float, ...]]) -> Iterator[tuple[float, ...]]:
    """Index rows in sort-tile order (Leutenegger et al. 1997, STR): slices by west, each by south."""
    rows.sort(key=itemgetter(1))
    slice_ = isqrt(len(rows) * _NODE) + 1
    for start in range(0, len(rows), slice_):
        yield from sorted(rows[start : start + slice_], key=itemgetter(3))
