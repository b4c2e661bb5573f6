"""The archive's writing side: registering packs, publishing snapshots, rolling back, dropping, reading back."""

from __future__ import annotations

import json
import sqlite3
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import Self

from tiling.archive import index, pack
from tiling.archive.pack import PackWriter
from tiling.archive.pages import Page, explicit_pages, implicit_pages, octree_address, row_digest
from tiling.archive.types import Collected, ContentRow, ExportReport, Link, Snapshot, TilesetInfo
from tiling.builder import ContentRef, Encoding, TileEntry
from tiling.spec import tileset
from tim.errors import TilingError, UsageError, WorkspaceError


class Archive:
    """One ``tiles/`` folder: ``index.sqlite`` and ``packs/``. For the thread that opened it; any number of processes may have one open.

    Raises WorkspaceError where the folder is missing, read-only, full or of another version.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.packs = self.root / "packs"
        self.path = self.root / "index.sqlite"
        self._db = index.connect(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the index."""
        self._db.close()

    def writer(self, name: str) -> PackWriter:
        """A pack to write, here or (``PackWriter(archive.packs, name)``) in a worker."""
        return PackWriter(self.packs, name)

    def add(self, rows: Iterable[ContentRow]) -> None:
        """Register the contents of finished packs, within an hour of closing them; what is known already stays where it is."""
        now = time.time()
        with index.write(self._db, self.path) as db:
            ids: dict[str, int] = {}
            for row in rows:
                if row.pack not in ids:
                    ids[row.pack] = _pack_id(db, row.pack)
                db.execute(
                    "INSERT INTO content (hash, pack, offset, stored, size, gzip, added) VALUES (?,?,?,?,?,?,?)"
                    " ON CONFLICT (hash) DO UPDATE SET added=excluded.added, orphaned=NULL",
                    (
                        bytes.fromhex(row.hash),
                        ids[row.pack],
                        row.offset,
                        row.stored,
                        row.size,
                        row.encoding == "gzip",
                        now,
                    ),
                )

    def has(self, hashes: Iterable[str]) -> set[str]:
        """Those of the contents that are there. Asking keeps them from garbage collection as adding them again would."""
        found: set[str] = set()
        fading: list[bytes] = []
        for batch in index.batches(dict.fromkeys(hashes)):
            query = f"SELECT hash, orphaned FROM content WHERE hash IN ({index.marks(batch)})"
            with index.refusals(self.path):
                for name, orphaned in self._db.execute(query, [bytes.fromhex(h) for h in batch]):
                    found.add(name.hex())
                    if orphaned is not None:
                        fading.append(name)
        if fading:
            with index.write(self._db, self.path) as db:
                rows = [(time.time(), name) for name in fading]
                db.executemany("UPDATE content SET added=?, orphaned=NULL WHERE hash=?", rows)
            return found - {name.hex() for name in fading} | self._there({name.hex() for name in fading})
        return found

    def publish(self, dataset: str, tiles: Iterable[TileEntry], info: TilesetInfo) -> Snapshot:
        """Make the tiles the dataset's newest snapshot; only rows and pages that changed are written.

        Content equal to the newest snapshot's gives that snapshot (now known to show ``info.store_seq``) and no new sequence number.
        Raises TilingError where keys, parents or contents do not fit together; nothing is published then.
        """
        tree = tileset.plant(tiles)
        if info.scheme == "implicit-octree":
            for key in tree.entries:
                octree_address(key)
        for key, tile in tree.entries.items():
            if (
                len(tile.box) != 12
                or not all(map(isfinite, (*tile.box, tile.geometric_error)))
                or tile.geometric_error < 0
            ):
                raise TilingError("archive.bad-number", key=key)
        digests = {key: row_digest(tile) for key, tile in tree.entries.items()}
        hash_ = _snapshot_hash(digests, info)
        with index.write(self._db, self.path) as db:
            known = _dataset_id(db, dataset)
            newest = self.latest(dataset)
            if newest is not None and newest.hash == hash_:
                db.execute(
                    "UPDATE snapshot SET store_seq=max(store_seq, ?) WHERE dataset=? AND seq=?",
                    (info.store_seq, known, newest.seq),
                )
                return self._snapshots(dataset, newest.seq)[0]
            ((seq,),) = db.execute(
                "UPDATE dataset SET last_seq=last_seq+1 WHERE id=? RETURNING last_seq", (known,)
            ).fetchall()
            sizes = self._write_tiles(db, known, seq, tree, digests)
            self._write_pages(db, known, dataset, seq, tree, digests, info)
            counts: dict[str, int] = {}
            for tile in tree.entries.values():
                for name, value in tile.counts.items():
                    counts[name] = counts.get(name, 0) + value
            db.execute(
                "INSERT INTO snapshot VALUES (?,?,?,?,?,?,?,?,?)",
                (
                    known, seq, bytes.fromhex(hash_), info.store_seq, time.time(), len(tree.entries), sizes,
                    _json(dict(sorted({**counts, **info.counts}.items()))), _json(info.record()),
                ),
            )  # fmt: skip
        return self._snapshots(dataset, seq)[0]

    def snapshots(self, dataset: str) -> list[Snapshot]:
        """The snapshots kept, oldest first."""
        return self._snapshots(dataset, None)

    def latest(self, dataset: str) -> Snapshot | None:
        """The newest snapshot."""
        query = "SELECT max(seq) FROM snapshot JOIN dataset ON id=dataset WHERE name=?"
        with index.refusals(self.path):
            (seq,) = self._db.execute(query, (dataset,)).fetchone()
        return None if seq is None else self._snapshots(dataset, seq)[0]

    def datasets(self) -> list[str]:
        """Datasets that have a snapshot, by name."""
        query = "SELECT DISTINCT name FROM dataset JOIN snapshot ON id=dataset ORDER BY name"
        with index.refusals(self.path):
            return [name for (name,) in self._db.execute(query)]

    def snapshot(self, dataset: str, seq: int | None = None) -> Snapshot:
        """One snapshot, the newest by default. Raises UsageError ``archive.no-snapshot`` naming those there are."""
        found = self.latest(dataset) if seq is None else next(iter(self._snapshots(dataset, seq)), None)
        if found is None:
            there = ", ".join(str(s.seq) for s in self.snapshots(dataset)) or "-"
            raise UsageError("archive.no-snapshot", dataset=dataset, seq="" if seq is None else seq, there=there)
        return found

    def info(self, dataset: str, seq: int | None = None) -> TilesetInfo:
        """What a snapshot was published with. Raises UsageError where there is none."""
        found = self.snapshot(dataset, seq)
        query = "SELECT info FROM snapshot JOIN dataset ON id=dataset WHERE name=? AND seq=?"
        with index.refusals(self.path):
            (text,) = self._db.execute(query, (dataset, found.seq)).fetchone()
        return TilesetInfo.restore(json.loads(text))

    def tiles(self, dataset: str, seq: int | None = None) -> Iterator[TileEntry]:
        """The tiles of a snapshot by key, the newest by default. Raises UsageError where there is no such snapshot."""
        found = self.snapshot(dataset, seq)
        query = (
            "SELECT key, parent, box, error, refine, counts, hash, size, stored, gzip FROM tile JOIN dataset d ON d.id=dataset"
            " LEFT JOIN content c ON c.id=content WHERE d.name=? AND from_seq<=? AND to_seq>? ORDER BY key"
        )
        with index.refusals(self.path):
            for key, parent, box, error, refine, counts, name, size, stored, gz in self._db.execute(
                query, (dataset, found.seq, found.seq)
            ):
                content = None if name is None else ContentRef(name.hex(), size, stored, _encoding(gz))
                yield TileEntry(key, parent, struct.unpack("<12d", box), error, refine, content, json.loads(counts))

    def rollback(self, dataset: str, seq: int) -> Snapshot:
        """Publish the tiles of an older snapshot again, as a new sequence. Raises UsageError where that snapshot is not kept."""
        return self.publish(dataset, list(self.tiles(dataset, seq)), self.info(dataset, seq))

    def drop(self, dataset: str) -> None:
        """Forget a dataset's snapshots; contents only it used go with the next collections. Its sequence numbers are not used again."""
        from tiling.archive import collect

        collect.drop(self._db, self.path, dataset)

    def collect(self, *, keep_snapshots: int = 3, keep_seconds: float = 3600, grace_seconds: float = 600) -> Collected:
        """Free what nobody needs: see :mod:`tiling.archive.collect`."""
        from tiling.archive import collect

        return collect.collect(self._db, self.path, self.packs, keep_snapshots, keep_seconds, grace_seconds)

    def read(self, hash: str) -> bytes:  # noqa: A002
        """The plain payload of a content or page. Raises TilingError where it is missing or damaged."""
        query = "SELECT name, offset, stored, gzip FROM content JOIN pack ON pack.id=pack WHERE hash=?"
        with index.refusals(self.path):
            row = self._db.execute(query, (bytes.fromhex(hash),)).fetchone()
        if row is None:
            raise TilingError("archive.missing-content", hash=hash, key="-")
        name, offset, stored, gz = row
        try:
            with (self.packs / name).open("rb") as file:
                file.seek(offset)
                data = pack.plain(file.read(stored), _encoding(gz))
        except (OSError, ValueError) as error:
            raise TilingError("archive.damaged-pack", pack=name, hash=hash, reason=str(error)) from error
        if blake2b(data, digest_size=32).hexdigest() != hash:
            raise TilingError("archive.damaged-pack", pack=name, hash=hash, reason="hash")
        return data

    def sweep(self) -> None:
        """Remove what killed writers left in the pack folder; adopts nothing."""
        with index.write(self._db, self.path) as db:
            pack.sweep(self.packs, {name for (name,) in db.execute("SELECT name FROM pack")})

    def export(
        self, dataset: str, out: Path, seq: int | None = None, *, overwrite: bool = False,
        linked: Callable[[Link], Iterator[tuple[str, bytes]]] | None = None,
    ) -> ExportReport:  # fmt: skip
        """Write a snapshot as plain files: see :mod:`tiling.archive.export`."""
        from tiling.archive import export

        return export.export(self, dataset, Path(out), seq, overwrite=overwrite, linked=linked)

    def _there(self, hashes: set[str]) -> set[str]:
        there: set[str] = set()
        for batch in index.batches(hashes):
            query = f"SELECT hash FROM content WHERE hash IN ({index.marks(batch)})"
            there |= {name.hex() for (name,) in self._db.execute(query, [bytes.fromhex(h) for h in batch])}
        return there

    def _snapshots(self, dataset: str, seq: int | None) -> list[Snapshot]:
        query = (
            f"SELECT {SNAPSHOT_COLUMNS} FROM snapshot JOIN dataset ON id=dataset"
            " WHERE name=? AND (? IS NULL OR seq=?) ORDER BY seq"
        )
        with index.refusals(self.path):
            return [snapshot(dataset, *row) for row in self._db.execute(query, (dataset, seq, seq))]

    def _write_tiles(
        self, db: sqlite3.Connection, dataset: int, seq: int, tree: tileset.Tree, digests: dict[str, bytes]
    ) -> int:
        """Close rows that changed, open new ones; returns the bytes of all contents."""
        query = "SELECT key, digest FROM tile WHERE dataset=? AND to_seq=?"
        before: dict[str, bytes] = dict(db.execute(query, (dataset, index.OPEN)))
        gone = [key for key, digest in before.items() if digests.get(key) != digest]
        fresh = [key for key in sorted(digests) if before.get(key) != digests[key]]
        db.executemany(
            "UPDATE tile SET to_seq=? WHERE dataset=? AND key=? AND to_seq=?",
            ((seq, dataset, key, index.OPEN) for key in gone),
        )
        wanted = {ref.hash: key for key in fresh if (ref := tree.entries[key].content) is not None}
        ids = _contents(db, wanted)
        if missing := sorted(wanted[name] for name in wanted.keys() - ids.keys()):
            raise TilingError("archive.missing-content", key=missing[0], hash=_content_hash(tree.entries[missing[0]]))
        db.executemany(
            "INSERT INTO tile VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            (
                (
                    dataset, key, seq, index.OPEN, digests[key], tile.parent, struct.pack("<12d", *tile.box), tile.geometric_error,
                    tile.refine, None if tile.content is None else ids[tile.content.hash], _json(dict(sorted(tile.counts.items()))),
                )
                for key in fresh for tile in (tree.entries[key],)
            ),
        )  # fmt: skip
        return sum(tile.content.stored for tile in tree.entries.values() if tile.content is not None)

    def _write_pages(
        self,
        db: sqlite3.Connection,
        dataset: int,
        name: str,
        seq: int,
        tree: tileset.Tree,
        digests: dict[str, bytes],
        info: TilesetInfo,
    ) -> None:
        writer = self.writer(f"pages-{name}-{seq}")
        try:
            put = lambda data: writer.put(data, compress=True).hash  # noqa: E731
            if info.scheme == "explicit":
                query = "SELECT digest, hash FROM page JOIN content c ON c.id=content WHERE dataset=? AND to_seq=? AND digest IS NOT NULL"
                known = {digest: hash_.hex() for digest, hash_ in db.execute(query, (dataset, index.OPEN))}
                pages = list(explicit_pages(tree, digests, info, known, put))
            else:
                pages = list(implicit_pages(tree.entries.values(), info, seq, put))
            rows = writer.close()
        except BaseException:
            writer.abort()
            raise
        self._register(db, rows)
        _write_intervals(db, dataset, seq, pages)

    def _register(self, db: sqlite3.Connection, rows: list[ContentRow]) -> None:
        if not rows:
            return
        there = _contents(db, (row.hash for row in rows))
        new = [row for row in rows if row.hash not in there]
        if not new:  # nobody will ever point into this pack
            (self.packs / rows[0].pack).unlink(missing_ok=True)
            return
        number, now = _pack_id(db, rows[0].pack), time.time()
        db.executemany(
            "INSERT INTO content (hash, pack, offset, stored, size, gzip, added) VALUES (?,?,?,?,?,?,?)",
            ((bytes.fromhex(r.hash), number, r.offset, r.stored, r.size, r.encoding == "gzip", now) for r in new),
        )


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


def _write_intervals(db: sqlite3.Connection, dataset: int, seq: int, pages: list[Page]) -> None:
    ids = _contents(db, (page.hash for page in pages))
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


def _contents(db: sqlite3.Connection, hashes: Iterable[str]) -> dict[str, int]:
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


def _pack_id(db: sqlite3.Connection, name: str) -> int:
    """The number of a pack; new or known. A pack that is to be deleted takes no new contents."""
    row = db.execute("SELECT id, doomed FROM pack WHERE name=?", (name,)).fetchone()
    if row is None:
        ((number,),) = db.execute("INSERT INTO pack (name) VALUES (?) RETURNING id", (name,)).fetchall()
        return int(number)
    if row[1] is not None:
        raise WorkspaceError("archive.doomed-pack", pack=name)
    return int(row[0])


def _dataset_id(db: sqlite3.Connection, name: str) -> int:
    db.execute("INSERT INTO dataset (name, last_seq) VALUES (?, 0) ON CONFLICT DO NOTHING", (name,))
    ((number,),) = db.execute("SELECT id FROM dataset WHERE name=?", (name,)).fetchall()
    return int(number)


def _snapshot_hash(digests: dict[str, bytes], info: TilesetInfo) -> str:
    record = {k: v for k, v in info.record().items() if k not in ("store_seq", "counts")}
    digest = blake2b(_json(record, sort=True).encode(), digest_size=32)
    for key in sorted(digests):
        digest.update(digests[key])
    return digest.hexdigest()


def _content_hash(tile: TileEntry) -> str:
    return tile.content.hash if tile.content is not None else ""


def _encoding(gz: int) -> Encoding:
    return "gzip" if gz else "identity"


def _json(value: object, *, sort: bool = False) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=sort)
