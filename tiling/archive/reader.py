"""The archive's reading side, what a server uses: contents and pages as mapped bytes, found in memory without SQL."""

from __future__ import annotations

import mmap
import sqlite3
import threading
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tiling.archive import index
from tiling.archive.pages import FROZEN, LIVE
from tiling.archive.types import Blob, Snapshot
from tiling.archive.writing import SNAPSHOT_COLUMNS
from tiling.archive.writing import snapshot as snapshot_of
from tim.errors import TilingError

MAPS = 1024
"""Packs mapped at once; Linux allows 65,530 maps to a process."""
LOOSE = 20_000
"""Contents kept in a dict before they are sorted into the table."""

GLB, JSON, SUBTREE = "model/gltf-binary", "application/json", "application/octet-stream"
Location = tuple[int, int, int, int, bool]
"""Pack, offset, stored bytes, plain bytes, gzip?"""


class Table:
    """Contents by hash in some 60 bytes each: hashes sorted by their first bits, searched within a bucket."""

    def __init__(self, rows: NDArray[np.void]) -> None:
        """rows: structured array ``ROW``, in any order."""
        rows = rows[np.argsort(rows["hash"].copy().view(">u8").reshape(-1, 4)[:, 0], kind="stable")]
        self._count = len(rows)
        self._shift = 32 - max(1, min(24, (self._count // 4).bit_length()))
        first = np.frombuffer(rows["hash"].tobytes(), ">u4")[::8] if self._count else np.empty(0, ">u4")
        edges = np.arange((1 << 32 - self._shift) + 1, dtype=np.uint64) << np.uint64(self._shift)
        self._starts = np.searchsorted(first.astype(np.uint64), edges).astype(np.uint32).data
        self._hashes = rows["hash"].tobytes()
        self._rest = {
            name: np.ascontiguousarray(rows[name]).data for name in ("pack", "offset", "stored", "size", "gzip")
        }

    def __len__(self) -> int:
        return self._count

    def get(self, name: bytes) -> Location | None:
        """Where the content with this 32-byte hash lies."""
        bucket = int.from_bytes(name[:4]) >> self._shift
        starts = self._starts
        at = self._hashes.find(name, starts[bucket] * 32, starts[bucket + 1] * 32)
        if at < 0:
            return None
        at >>= 5
        rest = self._rest
        return rest["pack"][at], rest["offset"][at], rest["stored"][at], rest["size"][at], bool(rest["gzip"][at])


ROW = np.dtype(
    [("hash", "V32"), ("pack", "<u4"), ("offset", "<u8"), ("stored", "<u4"), ("size", "<u4"), ("gzip", "u1")]
)


@dataclass(frozen=True, slots=True)
class Octree:
    """Implicit tiles by key: per level sorted ``x << 42 | y << 21 | z``, each with its intervals, oldest first."""

    codes: memoryview
    starts: memoryview
    """First and past-the-last sequence of each row."""
    ends: memoryview
    hashes: bytes

    def find(self, code: int, seq: int) -> bytes | None:
        """Hash of the content a tile has in a snapshot."""
        for at in range(bisect_left(self.codes, code), bisect_right(self.codes, code)):
            if self.starts[at] <= seq < self.ends[at]:
                return self.hashes[32 * at : 32 * at + 32]
        return None


@dataclass(frozen=True, slots=True)
class Shelf:
    """What is known of one dataset."""

    snapshots: dict[int, Snapshot]
    pages: dict[str, list[tuple[int, int, bytes]]]
    """Named pages: (from, to, hash), oldest first. External tilesets are found by the hash in their name."""
    octree: dict[int, Octree]
    """By level."""

    @property
    def last(self) -> int:
        """The newest sequence."""
        return max(self.snapshots)


@dataclass(frozen=True, slots=True)
class State:
    """All a reader knows, replaced as a whole: a request sees one state from beginning to end."""

    generation: int = -1
    last_content: int = 0
    table: Table = field(default_factory=lambda: Table(np.empty(0, ROW)))
    loose: dict[bytes, Location] = field(default_factory=dict)
    packs: dict[int, str] = field(default_factory=dict)
    shelves: dict[str, Shelf] = field(default_factory=dict)

    def find(self, name: bytes) -> Location | None:
        """Where the content with this 32-byte hash lies."""
        return self.loose.get(name) or self.table.get(name)


class Reader:
    """Reads an archive while others publish and collect. Thread-safe; as many per machine as there are processes."""

    def __init__(self, root: Path) -> None:
        self._packs = Path(root) / "packs"
        self._path = Path(root) / "index.sqlite"
        self._db: sqlite3.Connection | None = None
        self._seen = -1
        self._state = State()
        self._maps: dict[int, tuple[str, memoryview]] = {}
        self._lock = threading.Lock()
        self._map_lock = threading.Lock()
        self.refresh()

    def close(self) -> None:
        """Close the index and forget the maps; blobs given out stay valid."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None
            self._maps.clear()

    def refresh(self) -> bool:
        """Look whether anything was published or collected, and load it. Some microseconds when not; True when reloaded.

        Raises WorkspaceError where the index cannot be read.
        """
        with self._lock:
            if self._db is None:
                self._db = index.connect_read_only(self._path)
                if self._db is None:
                    return False
                self._seen = -1
            with index.refusals(self._path):
                (version,) = self._db.execute("PRAGMA data_version").fetchone()
            if version == self._seen:
                return False
            with index.read(self._db, self._path) as db:
                self._state = _load(db, self._state)
            self._seen = version
            with self._map_lock:
                for number in self._maps.keys() - self._state.packs.keys():
                    del self._maps[number]  # so that the deleted pack's disk space is freed
            return True

    def datasets(self) -> list[str]:
        """Datasets that have a snapshot, by name."""
        return sorted(self._state.shelves)

    def latest(self, dataset: str) -> Snapshot | None:
        """The newest snapshot."""
        shelf = self._state.shelves.get(dataset)
        return None if shelf is None else shelf.snapshots[shelf.last]

    def snapshots(self, dataset: str) -> list[Snapshot]:
        """The snapshots kept, oldest first."""
        shelf = self._state.shelves.get(dataset)
        return [] if shelf is None else [shelf.snapshots[seq] for seq in sorted(shelf.snapshots)]

    def content(self, hash: str) -> Blob | None:  # noqa: A002
        """A tile content by the hex hash in its URL."""
        return self._blob(_name(hash), GLB)

    def page(self, dataset: str, seq: int | None, name: str) -> Blob | None:
        """``tileset.json``, ``p/{hash}.json`` or ``s/{L}/{x}/{y}/{z}.subtree``. seq: ``None`` for live, otherwise frozen."""
        shelf = self._state.shelves.get(dataset)
        if shelf is None or (seq is not None and seq not in shelf.snapshots):
            return None
        if name.startswith("p/"):
            return self._blob(_name(name[2:-5]), JSON) if name.endswith(".json") else None
        wanted, media_type = (name, SUBTREE) if name.startswith("s/") else (FROZEN if seq is not None else LIVE, JSON)
        if name != LIVE and media_type == JSON:
            return None
        at = shelf.last if seq is None else seq
        for start, end, hash_ in reversed(shelf.pages.get(wanted, ())):
            if start <= at < end:
                return self._blob(hash_, media_type)
        return None

    def tile(self, dataset: str, seq: int | None, key: str) -> Blob | None:
        """The content of an implicit tile: key ``oct/{level}/{x}/{y}/{z}``; ``seq`` ``None`` for the newest snapshot."""
        shelf = self._state.shelves.get(dataset)
        if shelf is None or (seq is not None and seq not in shelf.snapshots):
            return None
        try:
            kind, level, x, y, z = key.split("/")
            tree = shelf.octree.get(int(level))
            code = _code(int(x), int(y), int(z))
        except ValueError:
            return None
        if kind != "oct" or tree is None or code < 0:
            return None
        return self._blob(tree.find(code, shelf.last if seq is None else seq), GLB)

    def _blob(self, name: bytes | None, media_type: str) -> Blob | None:
        if name is None:
            return None
        state = self._state
        for attempt in range(2):
            found = state.find(name)
            if found is None:
                return None
            number, offset, stored, size, gz = found
            held = self._maps.get(number)
            data = held[1] if held is not None else self._map(number, state.packs[number])
            if data is not None:
                if offset + stored > len(data):
                    raise TilingError(
                        "archive.damaged-pack", pack=state.packs[number], hash=name.hex(), reason="length"
                    )
                return Blob(data[offset : offset + stored], "gzip" if gz else "identity", name.hex(), media_type, size)
            if attempt == 0:  # collected since this state was loaded: the content may have moved
                self.refresh()
                state = self._state
        raise TilingError("archive.damaged-pack", pack=state.packs[number], hash=name.hex(), reason="missing")

    def _map(self, number: int, pack: str) -> memoryview | None:
        with self._map_lock:
            if (held := self._maps.get(number)) is not None:
                return held[1]
            try:
                with (self._packs / pack).open("rb") as file:
                    data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            except FileNotFoundError:
                return None
            while len(self._maps) >= MAPS:  # a map lives on as long as a blob of it
                del self._maps[next(iter(self._maps))]
            self._maps[number] = (pack, data)
            return data


def _load(db: sqlite3.Connection, old: State) -> State:
    (generation,) = db.execute("SELECT generation FROM meta").fetchone()
    (last,) = db.execute("SELECT coalesce(max(id), 0) FROM content").fetchone()
    table, loose = old.table, old.loose
    (new,) = db.execute("SELECT count(*) FROM content WHERE id > ?", (old.last_content,)).fetchone()
    if generation != old.generation or len(loose) + new > max(LOOSE, len(table) // 8):
        table, loose = _table(db), {}
    elif new:
        query = "SELECT hash, pack, offset, stored, size, gzip FROM content WHERE id > ?"
        loose = loose | {row[0]: (*row[1:5], bool(row[5])) for row in db.execute(query, (old.last_content,))}
    packs = dict(db.execute("SELECT id, name FROM pack"))
    shelves = {}
    for number, name in db.execute("SELECT id, name FROM dataset").fetchall():
        shelf = _shelf(db, number, name, old.shelves.get(name))
        if shelf is not None:
            shelves[name] = shelf
    return State(generation, last, table, loose, packs, shelves)


def _shelf(db: sqlite3.Connection, number: int, name: str, before: Shelf | None) -> Shelf | None:
    """One dataset; ``None`` where it has no snapshot. Where all that was known still holds, only what came after it is read."""
    known, pages = ({}, {}) if before is None else (before.snapshots, before.pages)
    last = max(known, default=0)
    query = "SELECT count(*), total(store_seq) FROM snapshot WHERE dataset=? AND seq<=?"
    if db.execute(query, (number, last)).fetchone() != (len(known), sum(s.store_seq for s in known.values())):
        known, pages, last = {}, {}, 0
    query = f"SELECT {SNAPSHOT_COLUMNS} FROM snapshot WHERE dataset=? AND seq>?"
    fresh = {row[0]: snapshot_of(name, *row) for row in db.execute(query, (number, last))}
    if not fresh:
        return before if last else None
    newer = _pages(db, number, last)
    ended = {page: [row for row in rows if row[1] <= last] for page, rows in pages.items()}
    merged = {page: ended.get(page, []) + newer.get(page, []) for page in {**ended, **newer}}
    return Shelf({**known, **fresh}, merged, _octree(db, number))


def _table(db: sqlite3.Connection) -> Table:
    (count,) = db.execute("SELECT count(*) FROM content").fetchone()
    rows = np.empty(count, ROW)
    cursor = db.execute("SELECT hash, pack, offset, stored, size, gzip FROM content")
    at = 0
    while batch := cursor.fetchmany(20_000):
        rows[at : at + len(batch)] = np.array(batch, ROW)
        at += len(batch)
    return Table(rows[:at])


def _pages(db: sqlite3.Connection, dataset: int, after: int) -> dict[str, list[tuple[int, int, bytes]]]:
    """Named pages that hold in some snapshot from ``after`` on."""
    pages: dict[str, list[tuple[int, int, bytes]]] = {}
    query = (
        "SELECT name, from_seq, to_seq, hash FROM page JOIN content c ON c.id=content"
        " WHERE dataset=? AND digest IS NULL AND to_seq>? ORDER BY name, from_seq"
    )
    for name, start, end, hash_ in db.execute(query, (dataset, after)):
        pages.setdefault(name, []).append((start, end, hash_))
    return pages


def _octree(db: sqlite3.Connection, dataset: int) -> dict[int, Octree]:
    (text,) = db.execute("SELECT info FROM snapshot WHERE dataset=? ORDER BY seq DESC", (dataset,)).fetchone()
    if '"implicit-octree"' not in text:
        return {}
    levels: dict[int, list[tuple[int, int, int, bytes]]] = {}
    query = "SELECT key, from_seq, to_seq, hash FROM tile JOIN content c ON c.id=content WHERE dataset=? AND key LIKE 'oct/%'"
    for key, start, end, hash_ in db.execute(query, (dataset,)):
        _, level, x, y, z = key.split("/")
        levels.setdefault(int(level), []).append((_code(int(x), int(y), int(z)), start, end, hash_))
    trees = {}
    for level, rows in levels.items():
        rows.sort()
        columns = np.array([row[:3] for row in rows], np.int64).T.copy()
        trees[level] = Octree(columns[0].data, columns[1].data, columns[2].data, b"".join(row[3] for row in rows))
    return trees


def _code(x: int, y: int, z: int) -> int:
    return x << 42 | y << 21 | z if max(x, y, z) < 1 << 21 and min(x, y, z) >= 0 else -1


def _name(text: str) -> bytes | None:
    try:
        name = bytes.fromhex(text)
    except ValueError:
        return None
    return name if len(name) == 32 else None
