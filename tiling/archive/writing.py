"""Rows of the index, written and read: what publishing whole and publishing a part have in common. All within the caller's transaction."""

from __future__ import annotations

import json
import sqlite3
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from math import isfinite

from tiling.archive import index
from tiling.archive.pages import Page
from tiling.archive.types import ContentRow, Snapshot, TilesetInfo
from tiling.builder import ContentRef, Encoding, Refine, TileEntry
from tiling.spec import tileset
from tim.errors import TilingError, WorkspaceError

TILE_COLUMNS = "key, parent, box, error, refine, counts, hash, size, stored, gzip"
SNAPSHOT_COLUMNS = (
    "seq, snapshot.hash, store_seq, created, tiles, bytes, counts, json_extract(info, '$.asset_extras.attributes')"
)


def snapshot(
    dataset: str,
    seq: int,
    hash_: bytes,
    store_seq: int,
    created: float,
    tiles: int,
    size: int,
    counts: str,
    attributes: str | None,
) -> Snapshot:
    """A snapshot from its :data:`SNAPSHOT_COLUMNS`."""
    when = datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Snapshot(
        dataset, seq, hash_.hex(), store_seq, when, tiles, size, json.loads(counts), json.loads(attributes or "[]")
    )


def tile(
    key: str, parent: str | None, box: bytes, error: float, refine: Refine, counts: str, name: bytes | None, size: int, stored: int, gz: int,
) -> TileEntry:  # fmt: skip
    """A tile from its :data:`TILE_COLUMNS`."""
    content = None if name is None else ContentRef(name.hex(), size, stored, encoding(gz))
    return TileEntry(
        key, parent, struct.unpack("<12d", box), error, refine, content, {} if counts == "{}" else json.loads(counts)
    )


def check(tile: TileEntry) -> None:
    """Raises TilingError where a number of a tile is none."""
    if len(tile.box) != 12 or not all(map(isfinite, (*tile.box, tile.geometric_error))) or tile.geometric_error < 0:
        raise TilingError("archive.bad-number", key=tile.key)


def add(db: sqlite3.Connection, rows: Iterable[ContentRow]) -> None:
    """Register contents; what is known already stays where it is and counts as added now."""
    now = time.time()
    ids: dict[str, int] = {}
    for row in rows:
        if row.pack not in ids:
            ids[row.pack] = pack_id(db, row.pack)
        db.execute(
            "INSERT INTO content (hash, pack, offset, stored, size, gzip, added) VALUES (?,?,?,?,?,?,?)"
            " ON CONFLICT (hash) DO UPDATE SET added=excluded.added, orphaned=NULL",
            (bytes.fromhex(row.hash), ids[row.pack], row.offset, row.stored, row.size, row.encoding == "gzip", now),
        )


def register(db: sqlite3.Connection, rows: Sequence[ContentRow]) -> bool:
    """Register those contents that are not known; whether there were any."""
    there = contents(db, (row.hash for row in rows))
    new = [row for row in rows if row.hash not in there]
    add(db, new)
    return bool(new)


def next_seq(db: sqlite3.Connection, dataset: int) -> int:
    """A sequence number that was never used."""
    query = "UPDATE dataset SET last_seq=last_seq+1 WHERE id=? RETURNING last_seq"
    ((seq,),) = db.execute(query, (dataset,)).fetchall()
    return int(seq)


def insert_snapshot(
    db: sqlite3.Connection, dataset: int, seq: int, hash_: str, info: TilesetInfo, tiles: int, size: int, counts: Mapping[str, int],
) -> None:  # fmt: skip
    """Make a snapshot known."""
    row = (
        dataset, seq, bytes.fromhex(hash_), info.store_seq, time.time(), tiles, size, dumps(dict(sorted(counts.items()))),
        dumps(info.record()),
    )  # fmt: skip
    db.execute("INSERT INTO snapshot VALUES (?,?,?,?,?,?,?,?,?)", row)


def close_tiles(db: sqlite3.Connection, dataset: int, seq: int, keys: Iterable[str]) -> None:
    """These rows hold no longer."""
    db.executemany(
        "UPDATE tile SET to_seq=? WHERE dataset=? AND key=? AND to_seq=?",
        ((seq, dataset, key, index.OPEN) for key in keys),
    )


def open_tiles(db: sqlite3.Connection, dataset: int, seq: int, tiles: Sequence[tuple[TileEntry, bytes]]) -> None:
    """Rows that hold from now on, with their digests. Raises TilingError ``archive.missing-content``."""
    wanted = {tile.content.hash: tile.key for tile, _ in tiles if tile.content is not None}
    ids = contents(db, wanted)
    if missing := sorted((wanted[name], name) for name in wanted.keys() - ids.keys()):
        raise TilingError("archive.missing-content", key=missing[0][0], hash=missing[0][1])
    db.executemany(
        "INSERT INTO tile VALUES (?,?,?,?,?,?,?,?,?,?,?)",
        (
            (
                dataset, tile.key, seq, index.OPEN, digest, tile.parent, struct.pack("<12d", *tile.box), tile.geometric_error,
                tile.refine, None if tile.content is None else ids[tile.content.hash], dumps(dict(sorted(tile.counts.items()))),
            )
            for tile, digest in tiles
        ),
    )  # fmt: skip


def write_shown(
    db: sqlite3.Connection,
    dataset: int,
    tree: tileset.Tree,
    marks: Mapping[tileset.Key, bytes],
    names: Mapping[str, str],
) -> None:
    """Where each tile stands now. marks: digests of the pages; both empty where the dataset is implicit."""
    after: dict[str, tuple[str, bytes | None, bytes | None]] = {}
    for page in marks:
        for tile in tree.inside(page):
            if tile.key != page:
                name = names.get(tile.key)
                after[tile.key] = (page or "", None if name is None else bytes.fromhex(name), marks.get(tile.key))
    query = "SELECT key, page, link, digest FROM shown WHERE dataset=?"
    before = {key: (page, link, digest) for key, page, link, digest in db.execute(query, (dataset,))}
    gone = [(dataset, key) for key in before.keys() - after.keys()]
    db.executemany("DELETE FROM shown WHERE dataset=? AND key=?", gone)
    db.executemany(
        "INSERT OR REPLACE INTO shown VALUES (?,?,?,?,?)",
        ((dataset, key, *row) for key, row in after.items() if before.get(key) != row),
    )


def write_intervals(db: sqlite3.Connection, dataset: int, seq: int, pages: Sequence[Page]) -> None:
    """All pages that hold from now on: close and open what differs."""
    ids = contents(db, (page.hash for page in pages))
    after = {page.name: (ids[page.hash], page.digest) for page in pages}
    query = "SELECT name, content FROM page WHERE dataset=? AND to_seq=?"
    before: dict[str, int] = dict(db.execute(query, (dataset, index.OPEN)))
    db.executemany(
        "UPDATE page SET to_seq=? WHERE dataset=? AND name=? AND to_seq=?",
        [(seq, dataset, n, index.OPEN) for n, content in before.items() if n not in after or after[n][0] != content],
    )
    db.executemany(
        "INSERT INTO page VALUES (?,?,?,?,?,?)",
        [
            (dataset, n, seq, index.OPEN, content, digest)
            for n, (content, digest) in after.items()
            if before.get(n) != content
        ],
    )


def contents(db: sqlite3.Connection, hashes: Iterable[str]) -> dict[str, int]:
    """Ids of contents by hash; those found are referenced from now on, so they no longer age towards collection."""
    ids: dict[str, int] = {}
    fading = []
    for batch in index.batches(dict.fromkeys(hashes)):
        query = f"SELECT id, hash, orphaned FROM content WHERE hash IN ({index.marks(batch)})"
        for number, name, orphaned in db.execute(query, [bytes.fromhex(h) for h in batch]):
            ids[name.hex()] = number
            if orphaned is not None:
                fading.append((number,))
    db.executemany("UPDATE content SET orphaned=NULL WHERE id=?", fading)
    return ids


def pack_id(db: sqlite3.Connection, name: str) -> int:
    """The number of a pack; new or known. A pack that is to be deleted takes no new contents."""
    row = db.execute("SELECT id, doomed FROM pack WHERE name=?", (name,)).fetchone()
    if row is None:
        ((number,),) = db.execute("INSERT INTO pack (name) VALUES (?) RETURNING id", (name,)).fetchall()
        return int(number)
    if row[1] is not None:
        raise WorkspaceError("archive.doomed-pack", pack=name)
    return int(row[0])


def dataset_id(db: sqlite3.Connection, name: str) -> int:
    """The number of a dataset; new or known."""
    db.execute("INSERT INTO dataset (name, last_seq) VALUES (?, 0) ON CONFLICT DO NOTHING", (name,))
    ((number,),) = db.execute("SELECT id FROM dataset WHERE name=?", (name,)).fetchall()
    return int(number)


def snapshot_hash(digests: Iterable[bytes], info: TilesetInfo) -> str:
    """The hash of a snapshot. digests: of the root page (explicit), or of all rows by key."""
    record = {k: v for k, v in info.record().items() if k not in ("store_seq", "counts")}
    digest = blake2b(dumps(record, sort=True).encode(), digest_size=32)
    for part in digests:
        digest.update(part)
    return digest.hexdigest()


def encoding(gz: int) -> Encoding:
    """The transfer encoding of a content."""
    return "gzip" if gz else "identity"


def dumps(value: object, *, sort: bool = False) -> str:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=sort)
