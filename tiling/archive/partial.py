"""Publishing a part: some tiles change, the shape of the tree stays; only their rows, their pages and those above are read and written.

What comes out (pages, snapshot, hash) is what publishing all tiles again would give.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tiling.archive import index, writing
from tiling.archive.archive import Archive
from tiling.archive.pack import PackWriter
from tiling.archive.pages import Page, external_page, page_digest, root_of, root_pages, row_digest
from tiling.archive.types import Snapshot, TilesetInfo
from tiling.builder import TileEntry
from tiling.spec import tileset


@dataclass(frozen=True, slots=True)
class _Spot:
    """A tile as it is in the index."""

    tile: TileEntry
    digest: bytes
    page: str
    """Key of the page it stands in; empty for the root page."""
    link: bytes | None
    """Hash of the page that begins with it."""
    mark: bytes | None
    """Digest of that page."""


def update(
    archive: Archive, db: sqlite3.Connection, dataset: str, tiles: Iterable[TileEntry], store_seq: int, sink: PackWriter
) -> Snapshot:
    """Publish the newest snapshot of a dataset with ``tiles`` in the place of those that have the same keys.

    sink: a pack that holds the new contents; the pages go into it as well, and it is closed. Tiles that are new or have another parent
    change the tree's shape: then all is published again. Raises what ``Archive.publish`` does; UsageError where there is no snapshot.
    """
    try:
        changed = {tile.key: tile for tile in tiles}
        for tile in changed.values():
            writing.check(tile)
        info = replace(archive.info(dataset), store_seq=store_seq)
        newest = archive.snapshot(dataset)
        with index.write(db, archive.path):
            number = writing.dataset_id(db, dataset)
            before = {spot.tile.key: spot for spot in _spots(db, number, "key", changed)}
            if all(key in before and before[key].tile.parent == tile.parent for key, tile in changed.items()):
                _publish(db, number, newest, changed, before, info, sink)
                return archive.snapshot(dataset)
        archive.add(sink.close())
        rest = (tile for tile in archive.tiles(dataset) if tile.key not in changed)
        return archive.publish(dataset, [*rest, *changed.values()], info)
    except BaseException:
        sink.abort()
        raise


def _publish(
    db: sqlite3.Connection,
    dataset: int,
    newest: Snapshot,
    changed: Mapping[str, TileEntry],
    before: Mapping[str, _Spot],
    info: TilesetInfo,
    sink: PackWriter,
) -> None:
    digests = {key: row_digest(tile) for key, tile in changed.items()}
    differ = {key: tile for key, tile in changed.items() if digests[key] != before[key].digest}
    if not differ:
        writing.add(db, sink.close())
        query = "UPDATE snapshot SET store_seq=max(store_seq, ?) WHERE dataset=? AND seq=?"
        db.execute(query, (info.store_seq, dataset, newest.seq))
        return
    seq = writing.next_seq(db, dataset)
    pages, links, root = _pages(db, dataset, differ, before, info, sink)
    writing.add(db, sink.close())
    writing.close_tiles(db, dataset, seq, differ)
    writing.open_tiles(db, dataset, seq, [(tile, digests[key]) for key, tile in sorted(differ.items())])
    _write_pages(db, dataset, seq, pages, links)
    counts = dict(newest.counts)
    size = newest.bytes
    for key, tile in differ.items():
        old = before[key].tile
        size += (tile.content.stored if tile.content else 0) - (old.content.stored if old.content else 0)
        for name in {*tile.counts, *old.counts}:
            counts[name] = counts.get(name, 0) + tile.counts.get(name, 0) - old.counts.get(name, 0)
    hash_ = writing.snapshot_hash([root], info)
    writing.insert_snapshot(db, dataset, seq, hash_, info, newest.tiles, size, {**counts, **info.counts})


def _pages(
    db: sqlite3.Connection,
    dataset: int,
    changed: Mapping[str, TileEntry],
    before: Mapping[str, _Spot],
    info: TilesetInfo,
    sink: PackWriter,
) -> tuple[list[Page], dict[str, bytes | None], bytes]:
    """The new pages, those they replace (by the key they begin with), and the digest of the root page."""
    starts: dict[str, _Spot] = {}
    ask = {spot.page for spot in before.values()} | {key for key, spot in before.items() if spot.link is not None}
    while ask := {key for key in ask if key and key not in starts}:
        starts.update((spot.tile.key, spot) for spot in _spots(db, dataset, "key", ask))
        ask = {starts[key].page for key in ask}
    depth: dict[str, int] = {"": 0}

    def deep(key: str) -> int:
        if key not in depth:
            depth[key] = 1 + deep(starts[key].page)
        return depth[key]

    def put(page: bytes) -> str:
        return sink.put(page, compress=True).hash

    pages: list[Page] = []
    names: dict[str, str] = {}
    marks: dict[tileset.Key, bytes] = {}
    for key in sorted(starts, key=lambda key: (-deep(key), key)):
        tree, digests = _page_tree(db, dataset, key, starts[key], changed, names, marks)
        marks[key] = page_digest(tree, key, digests, marks)
        names[key] = put(external_page(tree, key, names))
        pages.append(Page(f"p/{names[key]}.json", names[key], marks[key], key))
    tree, digests = _page_tree(db, dataset, "", None, changed, names, marks)
    root = root_of(info, tree.entries.values(), tree.children.get(None, ()))
    pages += root_pages(tree, root, info, names, put)
    return pages, {key: spot.link for key, spot in starts.items()}, page_digest(tree, None, digests, marks)


def _page_tree(
    db: sqlite3.Connection,
    dataset: int,
    page: str,
    start: _Spot | None,
    changed: Mapping[str, TileEntry],
    names: dict[str, str],
    marks: dict[tileset.Key, bytes],
) -> tuple[tileset.Tree, dict[str, bytes]]:
    """One page as a tree of its own, with the digests of its rows; hashes and digests of the pages it links to are filled in."""
    spots = _spots(db, dataset, "page", [page], counts="'{}'")
    entries: dict[str, TileEntry] = {}
    digests: dict[str, bytes] = {}
    children: dict[tileset.Key, list[TileEntry]] = {}
    for spot in [*([start] if start is not None else []), *spots]:
        key = spot.tile.key
        entries[key] = changed.get(key, spot.tile)
        digests[key] = row_digest(changed[key]) if key in changed else spot.digest
        if spot is start:
            continue
        children.setdefault(spot.tile.parent, []).append(entries[key])
        if spot.link is not None and spot.mark is not None and key not in names:
            names[key], marks[key] = spot.link.hex(), spot.mark
    for siblings in children.values():
        siblings.sort(key=lambda tile: tile.key)
    cuts = frozenset(spot.tile.key for spot in spots if spot.link is not None)
    return tileset.Tree(children, entries, cuts, ()), digests


def _write_pages(
    db: sqlite3.Connection, dataset: int, seq: int, pages: Iterable[Page], replaced: Mapping[str, bytes | None]
) -> None:
    """Close the pages that are replaced, unless another tile begins with the same one, and open the new."""
    pages = list(pages)
    ids = writing.contents(db, (page.hash for page in pages))
    db.executemany(
        "UPDATE shown SET link=?, digest=? WHERE dataset=? AND key=?",
        [(bytes.fromhex(page.hash), page.digest, dataset, page.key) for page in pages if page.key is not None],
    )
    close = "UPDATE page SET to_seq=? WHERE dataset=? AND name=? AND to_seq=?"
    for page in pages:
        if page.key is None:
            db.execute(close, (seq, dataset, page.name, index.OPEN))
    for link in {link for link in replaced.values() if link is not None}:
        query = "SELECT 1 FROM shown WHERE dataset=? AND link=? LIMIT 1"
        if db.execute(query, (dataset, link)).fetchone() is None:
            db.execute(close, (seq, dataset, f"p/{link.hex()}.json", index.OPEN))
    for page in pages:
        query = "SELECT 1 FROM page WHERE dataset=? AND name=? AND to_seq=?"
        if db.execute(query, (dataset, page.name, index.OPEN)).fetchone() is None:
            row = (dataset, page.name, seq, index.OPEN, ids[page.hash], page.digest)
            db.execute("INSERT INTO page VALUES (?,?,?,?,?,?)", row)


def _spots(
    db: sqlite3.Connection, dataset: int, column: str, values: Iterable[str], *, counts: str = "counts"
) -> list[_Spot]:
    """The tiles whose ``column`` is one of ``values``; none where it is not known where tiles stand. counts: SQL; a page needs none of them,
    and there are hundreds of tiles in one."""
    found: list[_Spot] = []
    columns = writing.TILE_COLUMNS.replace("counts", counts)
    for batch in index.batches(values):
        rows = db.execute(
            f"SELECT t.digest, s.page, s.link, s.digest, t.{columns} FROM shown s"
            " CROSS JOIN tile t ON t.dataset=s.dataset AND t.key=s.key AND t.to_seq=? LEFT JOIN content c ON c.id=t.content"
            f" WHERE s.dataset=? AND s.{column} IN ({index.marks(batch)})",
            (index.OPEN, dataset, *batch),
        )
        found += [_Spot(writing.tile(*row), digest, page, link, mark) for digest, page, link, mark, *row in rows]
    return found
