"""The archive's writing side: registering packs, publishing snapshots, rolling back, dropping, reading back."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Self

from tiling.archive import index, pack, writing
from tiling.archive.pack import PackWriter
from tiling.archive.pages import Page, explicit_pages, implicit_pages, octree_address, page_digests, row_digest
from tiling.archive.types import Collected, ContentRow, ExportReport, Link, Snapshot, TilesetInfo
from tiling.builder import TileEntry
from tiling.spec import tileset
from tim.errors import TilingError, UsageError


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
        with index.write(self._db, self.path) as db:
            writing.add(db, rows)

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
        for tile in tree.entries.values():
            writing.check(tile)
        digests = {key: row_digest(tile) for key, tile in tree.entries.items()}
        marks = page_digests(tree, digests) if info.scheme == "explicit" else {}
        hash_ = writing.snapshot_hash([marks[None]] if marks else [digests[key] for key in sorted(digests)], info)
        with index.write(self._db, self.path) as db:
            known = writing.dataset_id(db, dataset)
            newest = self.latest(dataset)
            if newest is not None and newest.hash == hash_:
                db.execute(
                    "UPDATE snapshot SET store_seq=max(store_seq, ?) WHERE dataset=? AND seq=?",
                    (info.store_seq, known, newest.seq),
                )
                return self._snapshots(dataset, newest.seq)[0]
            seq = writing.next_seq(db, known)
            sizes = self._write_tiles(db, known, seq, tree, digests)
            pages = self._write_pages(db, known, f"pages-{dataset}-{seq}", seq, tree, marks, info)
            writing.write_shown(db, known, tree, marks, {page.key: page.hash for page in pages if page.key is not None})
            counts: dict[str, int] = {}
            for tile in tree.entries.values():
                for name, value in tile.counts.items():
                    counts[name] = counts.get(name, 0) + value
            writing.insert_snapshot(db, known, seq, hash_, info, len(tree.entries), sizes, {**counts, **info.counts})
        return self._snapshots(dataset, seq)[0]

    def update(self, dataset: str, tiles: Iterable[TileEntry], store_seq: int, sink: PackWriter) -> Snapshot:
        """Publish the newest snapshot with these tiles in place of those of the same keys, at the cost of their pages: see :mod:`tiling.archive.partial`."""
        from tiling.archive import partial

        return partial.update(self, self._db, dataset, tiles, store_seq, sink)

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
            f"SELECT {writing.TILE_COLUMNS} FROM tile JOIN dataset d ON d.id=dataset"
            " LEFT JOIN content c ON c.id=content WHERE d.name=? AND from_seq<=? AND to_seq>? ORDER BY key"
        )
        with index.refusals(self.path):
            for row in self._db.execute(query, (dataset, found.seq, found.seq)):
                yield writing.tile(*row)

    def entries(self, dataset: str, keys: Iterable[str]) -> dict[str, TileEntry]:
        """Those of the tiles that the newest snapshot has, by key."""
        found: dict[str, TileEntry] = {}
        with index.refusals(self.path):
            for batch in index.batches(dict.fromkeys(keys)):
                query = (
                    f"SELECT {writing.TILE_COLUMNS} FROM tile JOIN dataset d ON d.id=dataset"
                    f" LEFT JOIN content c ON c.id=content WHERE d.name=? AND to_seq=? AND key IN ({index.marks(batch)})"
                )
                rows = self._db.execute(query, (dataset, index.OPEN, *batch))
                found.update((row[0], writing.tile(*row)) for row in rows)
        return found

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
                data = pack.plain(file.read(stored), writing.encoding(gz))
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
            f"SELECT {writing.SNAPSHOT_COLUMNS} FROM snapshot JOIN dataset ON id=dataset"
            " WHERE name=? AND (? IS NULL OR seq=?) ORDER BY seq"
        )
        with index.refusals(self.path):
            return [writing.snapshot(dataset, *row) for row in self._db.execute(query, (dataset, seq, seq))]

    def _write_tiles(
        self, db: sqlite3.Connection, dataset: int, seq: int, tree: tileset.Tree, digests: dict[str, bytes]
    ) -> int:
        """Close rows that changed, open new ones; returns the bytes of all contents."""
        query = "SELECT key, digest FROM tile WHERE dataset=? AND to_seq=?"
        before: dict[str, bytes] = dict(db.execute(query, (dataset, index.OPEN)))
        gone = [key for key, digest in before.items() if digests.get(key) != digest]
        fresh = [key for key in sorted(digests) if before.get(key) != digests[key]]
        writing.close_tiles(db, dataset, seq, gone)
        writing.open_tiles(db, dataset, seq, [(tree.entries[key], digests[key]) for key in fresh])
        return sum(tile.content.stored for tile in tree.entries.values() if tile.content is not None)

    def _write_pages(
        self, db: sqlite3.Connection, dataset: int, pack: str, seq: int, tree: tileset.Tree,
        marks: Mapping[tileset.Key, bytes], info: TilesetInfo,
    ) -> list[Page]:  # fmt: skip
        """Write the pages into a pack of their own. marks: digests of the pages of an explicit dataset."""
        writer = self.writer(pack)
        try:
            put = lambda data: writer.put(data, compress=True).hash  # noqa: E731
            if marks:
                query = "SELECT digest, hash FROM page JOIN content c ON c.id=content WHERE dataset=? AND to_seq=? AND digest IS NOT NULL"
                known = {digest: hash_.hex() for digest, hash_ in db.execute(query, (dataset, index.OPEN))}
                pages = list(explicit_pages(tree, marks, info, known, put))
            else:
                pages = list(implicit_pages(tree.entries.values(), info, seq, put))
            rows = writer.close()
        except BaseException:
            writer.abort()
            raise
        if not writing.register(db, rows) and rows:  # nobody will ever point into this pack
            (self.packs / rows[0].pack).unlink(missing_ok=True)
        writing.write_intervals(db, dataset, seq, pages)
        return pages
