from __future__ import annotations

import dataclasses
import json
import re
import sqlite3
import zlib
from hashlib import blake2b

import pytest

from tests.tiling.samples import CUBE, FRAME, fill, mesh_info, mesh_tiles, octree_info, octree_tiles
from tiling.archive import Archive, Reader
from tiling.builder import ContentRef, TileEntry
from tim.errors import TilingError, UsageError, WorkspaceError
from tim.place import Frame


@pytest.fixture
def archive(tmp_path):
    with Archive(tmp_path / "tiles") as opened:
        yield opened


def plain(blob) -> bytes:
    data = bytes(blob.data)
    return zlib.decompress(data, 31) if blob.encoding == "gzip" else data


def rows(archive: Archive, table: str) -> int:
    with sqlite3.connect(archive.path) as db:
        (number,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()
    db.close()
    return number


def test_what_was_published_is_read_back(archive):
    tiles = fill(archive, "s", mesh_tiles)
    snapshot = archive.publish("ds", tiles, mesh_info(counts={"extra": 7}))
    assert sorted(tiles, key=lambda t: t.key) == list(archive.tiles("ds"))
    assert snapshot.tiles == len(tiles)
    assert snapshot.bytes == sum(t.content.stored for t in tiles)
    assert dict(snapshot.counts) == {"extra": 7, "triangles": 80, "vertices": 160}
    assert archive.latest("ds") == snapshot
    assert archive.snapshots("ds") == [snapshot]
    assert archive.info("ds") == mesh_info(counts={"extra": 7})
    for tile in tiles:
        payload = archive.read(tile.content.hash)
        assert blake2b(payload, digest_size=32).hexdigest() == tile.content.hash


def test_equal_content_is_the_same_snapshot_in_any_order(archive):
    tiles = fill(archive, "s", mesh_tiles)
    first = archive.publish("ds", tiles, mesh_info())
    again = archive.publish("ds", reversed(tiles), dataclasses.replace(mesh_info(), store_seq=9))
    assert again == dataclasses.replace(first, store_seq=9)
    assert len(archive.snapshots("ds")) == 1


def test_hash_does_not_know_sequence_or_dataset_but_everything_else(archive):
    tiles = fill(archive, "s", mesh_tiles)
    base = archive.publish("a", tiles, mesh_info()).hash
    archive.publish("b", tiles[:1], mesh_info())
    assert archive.publish("b", tiles, mesh_info()).hash == base
    changed = [
        (tiles[:-1], mesh_info()),
        ([dataclasses.replace(tiles[0], geometric_error=99.0), *tiles[1:]], mesh_info()),
        ([*tiles[:-1], dataclasses.replace(tiles[-1], content=tiles[0].content)], mesh_info()),
        ([*tiles[:-1], dataclasses.replace(tiles[-1], parent=None)], mesh_info()),
        ([*tiles[:-1], dataclasses.replace(tiles[-1], refine="ADD")], mesh_info()),
        ([*tiles[:-1], dataclasses.replace(tiles[-1], box=tiles[-2].box)], mesh_info()),
        (tiles, dataclasses.replace(mesh_info(), frame=Frame(FRAME.lon, FRAME.lat, FRAME.height, 2.0**-9))),
        (tiles, mesh_info(attributes={"schema": {"id": "x"}})),
        (tiles, mesh_info(root_error=1e6)),
    ]
    hashes = [archive.publish(f"c{i}", t, info).hash for i, (t, info) in enumerate(changed)]
    assert len({base, *hashes}) == len(changed) + 1


def test_one_changed_tile_writes_one_row_and_the_pages_above(archive):
    tiles = fill(archive, "s", mesh_tiles, count=1200)
    archive.publish("ds", tiles, mesh_info())
    before = {table: rows(archive, table) for table in ("tile", "page", "content")}
    changed = fill(archive, "s2", mesh_tiles, count=1200, tags={1199: 5})
    archive.publish("ds", changed, mesh_info())
    assert rows(archive, "tile") - before["tile"] == 1
    # The pages from the tile to the root, the root in two forms.
    assert rows(archive, "page") - before["page"] <= 4
    assert rows(archive, "content") - before["content"] <= 5
    assert list(archive.tiles("ds", 1)) == sorted(tiles, key=lambda t: t.key)
    assert list(archive.tiles("ds", 2)) == sorted(changed, key=lambda t: t.key)


def test_pages_above_a_changed_page_link_the_new_one(archive):
    """A chain over seven pages: the change at its end must be found from the root, in every kept snapshot."""
    wanted = []
    for n in range(3):
        writer = archive.writer(f"s{n}")
        ref = writer.put(b"end %d" % n)
        archive.add(writer.close())
        wanted.append(ref.hash)
        chain = [TileEntry(f"{i:03}", f"{i - 1:03}" if i else None, CUBE, 1.0, "REPLACE") for i in range(200)]
        archive.publish("ds", [*chain[:-1], dataclasses.replace(chain[-1], content=ref)], mesh_info())
    reader = Reader(archive.root)
    for seq, hash_ in enumerate(wanted, 1):
        text, pages = plain(reader.page("ds", seq, "tileset.json")).decode(), 1
        while (link := re.search(r'"uri":"(?:\.\./p/)?([0-9a-f]{64}\.json)"', text)) is not None:
            text, pages = plain(reader.page("ds", seq, f"p/{link[1]}")).decode(), pages + 1
        assert pages > 5
        assert re.findall(r"c/([0-9a-f]{64})\.glb", text) == [hash_]


def test_rollback_is_a_new_sequence_with_the_old_content(archive):
    one, two = fill(archive, "s", mesh_tiles), fill(archive, "s2", mesh_tiles, count=30, tags={3: 1})
    first, second = archive.publish("ds", one, mesh_info()), archive.publish("ds", two, mesh_info())
    back = archive.rollback("ds", 1)
    assert (back.seq, back.hash) == (3, first.hash)
    assert list(archive.tiles("ds")) == list(archive.tiles("ds", 1))
    assert second.hash != first.hash
    reader = Reader(archive.root)
    assert plain(reader.page("ds", None, "tileset.json")) == plain(_frozen_live(reader, 1))
    with pytest.raises(UsageError) as caught:
        archive.rollback("ds", 17)
    assert caught.value.code == "archive.no-snapshot"


def _frozen_live(reader: Reader, seq: int):
    frozen = reader.page("ds", seq, "tileset.json")
    text = plain(frozen).replace(b'"../c/', b'"c/').replace(b'"../p/', b'"p/')
    return frozen._replace(data=memoryview(text), encoding="identity")


def test_drop_forgets_the_dataset_but_not_its_numbers(archive):
    tiles = fill(archive, "s", mesh_tiles)
    archive.publish("ds", tiles, mesh_info())
    archive.drop("ds")
    assert archive.latest("ds") is None
    assert archive.datasets() == []
    with pytest.raises(UsageError):
        list(archive.tiles("ds"))
    assert archive.publish("ds", tiles, mesh_info()).seq == 2


def test_what_does_not_fit_is_refused_and_nothing_published(archive):
    tiles = fill(archive, "s", mesh_tiles)
    missing = dataclasses.replace(tiles[-1], content=ContentRef("ab" * 32, 1, 1))
    cases = {
        "archive.missing-content": ([*tiles[:-1], missing], mesh_info()),
        "archive.bad-number": ([dataclasses.replace(tiles[0], geometric_error=float("nan")), *tiles[1:]], mesh_info()),
        "archive.no-parent": (tiles[1:], mesh_info()),
        "archive.not-octree-key": (tiles, octree_info()),
        "archive.empty-octree": ([], octree_info()),
        "archive.no-root-box": (fill(archive, "o", octree_tiles), dataclasses.replace(octree_info(), root_box=None)),
    }
    for code, (bad, info) in cases.items():
        with pytest.raises(TilingError) as caught:
            archive.publish("ds", bad, info)
        assert caught.value.code == code
        assert "{" not in str(caught.value)
    assert archive.latest("ds") is None
    assert archive.publish("ds", tiles, mesh_info()).seq == 1
    assert not list(archive.packs.glob(".*.part"))


def test_has_and_add_are_idempotent(archive):
    writer = archive.writer("s")
    ref = writer.put(b"x" * 100)
    found = writer.close()
    assert archive.has([ref.hash]) == set()
    archive.add(found)
    archive.add(found)
    assert archive.has([ref.hash, "00" * 32]) == {ref.hash}
    assert rows(archive, "content") == 1


def test_damage_is_named(archive):
    writer = archive.writer("s")
    ref = writer.put(b"x" * 100)
    archive.add(writer.close())
    path = archive.packs / "s.pack"
    path.write_bytes(path.read_bytes()[:-1] + b"y")
    with pytest.raises(TilingError) as caught:
        archive.read(ref.hash)
    assert caught.value.code == "archive.damaged-pack"


def test_an_index_of_another_version_or_none_at_all_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "index.sqlite").write_bytes(b"this is not a database, whatever its name says" * 100)
    (tmp_path / "b").mkdir()
    with sqlite3.connect(tmp_path / "b" / "index.sqlite") as db:
        db.execute("PRAGMA user_version=77")
    db.close()
    for folder, code in (("a", "archive.damaged"), ("b", "archive.version")):
        for opener in (Archive, Reader):
            with pytest.raises(WorkspaceError) as caught:
                opener(tmp_path / folder)
            assert caught.value.code == code


def test_a_full_disk_while_publishing_keeps_the_old_snapshot(archive):
    tiles = fill(archive, "s", mesh_tiles)
    first = archive.publish("ds", tiles, mesh_info())
    more = fill(archive, "s2", mesh_tiles, count=400)
    (pages,) = archive._db.execute("PRAGMA page_count").fetchone()
    archive._db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(WorkspaceError) as caught:
        archive.publish("ds", more, mesh_info())
    assert caught.value.code == "archive.disk-full"
    archive._db.execute("PRAGMA max_page_count=1000000")
    assert archive.snapshots("ds") == [first]
    assert archive.publish("ds", more, mesh_info()).seq == 2


def test_pages_of_both_schemes_link_relatively(archive):
    archive.publish("mesh", fill(archive, "s", mesh_tiles, count=900), mesh_info())
    archive.publish("octree", fill(archive, "o", octree_tiles), octree_info())
    reader = Reader(archive.root)
    live, frozen = (json.loads(plain(reader.page("octree", seq, "tileset.json"))) for seq in (None, 1))
    assert live["root"]["content"]["uri"] == "@1/t/{level}/{x}/{y}/{z}.glb"
    assert frozen["root"]["content"]["uri"] == "t/{level}/{x}/{y}/{z}.glb"
    assert live["root"]["implicitTiling"]["subtrees"]["uri"] == "@1/s/{level}/{x}/{y}/{z}.subtree"
    live, frozen = (plain(reader.page("mesh", seq, "tileset.json")) for seq in (None, 1))
    assert live.count(b'"uri":"p/') == frozen.count(b'"uri":"../p/') > 0
    assert live != frozen
    assert live == frozen.replace(b'"../', b'"')
