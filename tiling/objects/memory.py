"""What is remembered of a dataset's layout between runs: which cells are split, who is in which leaf, what the tiles carry.

One SQLite file beside the ledger. It stands for the tiles of one store sequence: an update that finds another there lays out anew.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiling.objects.layout import DEPTH, Cell, Leaf, Objects, Splits

_SCHEMA = """
CREATE TABLE IF NOT EXISTS split (z INTEGER, x INTEGER, y INTEGER, PRIMARY KEY (z, x, y)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bits (key TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leaf (key TEXT PRIMARY KEY, ids BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Notes:
    """How the tiles were made."""

    store_seq: int
    """The store sequence they show."""
    settings: Mapping[str, Any]
    columns: list[list[str]]
    """Name and type of each attribute they carry."""


class Memory:
    """The file, opened for a moment at a time."""

    def __init__(self, jobs: Path) -> None:
        """jobs: the dataset's folder for ledger and scratch."""
        self._path = jobs / "layout.sqlite"

    def splits(self) -> Splits:
        """What is split; nothing where nothing is remembered."""
        if not self._path.exists():
            return Splits()
        with closing(self._open()) as db:
            cells = frozenset(Cell(*row) for row in db.execute("SELECT z, x, y FROM split"))
            return Splits(cells, dict(db.execute("SELECT key, count FROM bits")))

    def splits_at(self, places: Iterable[Sequence[int]]) -> Splits:
        """What is split of the cells that hold some places (x, y at :data:`tiling.objects.layout.DEPTH`): enough to locate objects there."""
        every = {Cell(z, x >> DEPTH - z, y >> DEPTH - z) for x, y in places for z in range(DEPTH)}
        with closing(self._open()) as db:
            query = "SELECT 1 FROM split WHERE z = ? AND x = ? AND y = ?"
            cells = frozenset(cell for cell in every if db.execute(query, cell).fetchone())
            return Splits(cells, dict(db.execute("SELECT key, count FROM bits")))

    def notes(self) -> Notes | None:
        """How the tiles were made; ``None`` where nothing is remembered."""
        if not self._path.exists():
            return None
        with closing(self._open()) as db:
            row = db.execute("SELECT value FROM note WHERE name = 'tiles'").fetchone()
        return None if row is None else Notes(**json.loads(row[0]))

    def members(self, keys: Iterable[str]) -> dict[str, set[bytes]]:
        """Who is in these leaves; one that is not known is left out."""
        found = {}
        with closing(self._open()) as db:
            for key in keys:
                row = db.execute("SELECT ids FROM leaf WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    found[key] = {row[0][i : i + 16] for i in range(0, len(row[0]), 16)}
        return found

    def replace(self, splits: Splits, leaves: Iterable[Leaf], objects: Objects, notes: Notes) -> None:
        """Remember a whole layout."""
        with closing(self._open()) as db:
            db.execute("BEGIN IMMEDIATE")
            for table in ("split", "bits", "leaf"):
                db.execute(f"DELETE FROM {table}")
            db.executemany("INSERT INTO split VALUES (?, ?, ?)", splits.cells)
            db.executemany("INSERT INTO bits VALUES (?, ?)", splits.bits.items())
            db.executemany(
                "INSERT INTO leaf VALUES (?, ?)", ((leaf.key, objects.ids[leaf.members].tobytes()) for leaf in leaves)
            )
            _note(db, notes)
            db.execute("COMMIT")

    def amend(self, members: Mapping[str, Iterable[bytes]], notes: Notes) -> None:
        """Remember who is in some leaves now."""
        with closing(self._open()) as db:
            db.execute("BEGIN IMMEDIATE")
            rows = [(b"".join(sorted(ids)), key) for key, ids in members.items()]
            db.executemany("UPDATE leaf SET ids = ? WHERE key = ?", rows)
            _note(db, notes)
            db.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, timeout=30)
        db.execute("PRAGMA synchronous = NORMAL")
        if not db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(_SCHEMA)
        return db


def _note(db: sqlite3.Connection, notes: Notes) -> None:
    value = {"store_seq": notes.store_seq, "settings": dict(notes.settings), "columns": notes.columns}
    db.execute("INSERT OR REPLACE INTO note VALUES ('tiles', ?)", (json.dumps(value, sort_keys=True),))
