from __future__ import annotations

import os
import threading
import time
from hashlib import blake2b

import pytest

from tests.tiling.samples import fill, mesh_info, mesh_tiles, octree_info, octree_tiles
from tiling.archive import Archive, Reader
from tiling.archive import reader as reader_module
from tiling.archive.pack import plain


@pytest.fixture
def archive(tmp_path):
    with Archive(tmp_path / "tiles") as opened:
        yield opened


def test_before_anything_is_there_a_reader_is_empty(tmp_path):
    reader = Reader(tmp_path / "tiles")
    assert reader.latest("ds") is None
    assert reader.content("00" * 32) is None
    assert reader.page("ds", None, "tileset.json") is None
    with Archive(tmp_path / "tiles") as archive:
        archive.publish("ds", fill(archive, "s", mesh_tiles), mesh_info())
    assert reader.refresh()
    assert reader.latest("ds").seq == 1


def test_names_that_are_none_are_not_found(archive):
    archive.publish("mesh", fill(archive, "s", mesh_tiles), mesh_info())
    archive.publish("octree", fill(archive, "o", octree_tiles), octree_info())
    reader = Reader(archive.root)
    assert reader.tile("octree", 1, "oct/0/0/0/0") is not None
    assert reader.tile("octree", None, "oct/3/7/6/7") == reader.tile("octree", 1, "oct/3/7/6/7") is not None
    for hash_ in ("", "x" * 64, "ab", "ab" * 32, "é" * 32):
        assert reader.content(hash_) is None
    for name in (
        "",
        "x",
        "p/",
        "p/.json",
        "p/ab.json",
        "../tileset.json",
        "s/9/9/9/9.subtree",
        "@/tileset.json",
        "@1/tileset.json",
    ):
        assert reader.page("mesh", None, name) is None
        assert reader.page("mesh", 1, name) is None
    assert reader.page("octree", None, "s/0/0/0/0.subtree") is not None
    for key in (
        "",
        "oct",
        "oct/0/0/0",
        "oct/0/0/0/1",
        "oct/99/0/0/0",
        "oct/0/-1/0/0",
        "oct/1/²/0/0",
        "quad/0/0/0/0",
        "oct/0/0/0/0/0",
    ):
        assert reader.tile("octree", 1, key) is None
    assert reader.tile("octree", 2, "oct/0/0/0/0") is None
    assert reader.tile("nowhere", 1, "oct/0/0/0/0") is None


def test_a_view_outlives_the_pack_it_lies_in(archive):
    tiles = fill(archive, "s", mesh_tiles)
    archive.publish("ds", tiles, mesh_info())
    reader = Reader(archive.root)
    blob = reader.content(tiles[0].content.hash)
    archive.drop("ds")
    for _ in range(2):
        archive.collect(grace_seconds=0)
    assert list(archive.packs.iterdir()) == []
    assert reader.refresh()
    assert reader.content(tiles[0].content.hash) is None
    assert blake2b(plain(blob.data, blob.encoding), digest_size=32).hexdigest() == tiles[0].content.hash


def test_maps_are_bounded(archive, monkeypatch):
    monkeypatch.setattr(reader_module, "MAPS", 3)
    refs = []
    for i in range(10):
        writer = archive.writer(f"s{i}")
        refs.append(writer.put(b"%d" % i * 100))
        archive.add(writer.close())
    reader = Reader(archive.root)
    for _ in range(2):
        for i, ref in enumerate(refs):
            assert bytes(reader.content(ref.hash).data) == b"%d" % i * 100
    assert len(reader._maps) == 3


def test_the_table_finds_what_a_dict_finds(archive, monkeypatch):
    """Both ways in: loose contents, and the sorted table after many."""
    monkeypatch.setattr(reader_module, "LOOSE", 50)
    reader = Reader(archive.root)
    refs = {}
    for i in range(30):
        writer = archive.writer(f"s{i}")
        for j in range(20):
            data = b"%d %d" % (i, j)
            refs[writer.put(data).hash] = data
        archive.add(writer.close())
        assert reader.refresh()
        assert all(bytes(reader.content(h).data) == data for h, data in refs.items())
        assert reader.content(os.urandom(32).hex()) is None
    assert len(reader._state.table) > 400


def test_reading_while_others_publish_and_collect_never_fails(archive):
    """A client follows links of pages it was given; another writes, rolls back and collects without mercy."""
    first = fill(archive, "s", mesh_tiles, count=30)
    archive.publish("ds", first, mesh_info())
    stop, failures, read = threading.Event(), [], [0]

    def client():
        reader = Reader(archive.root)
        while not stop.is_set():
            try:
                reader.refresh()
                snapshot = reader.latest("ds")
                page = reader.page("ds", None, "tileset.json")
                assert page is not None, "live page"
                text = plain(page.data, page.encoding).decode()
                for part in text.split('"uri":"c/')[1:]:
                    blob = reader.content(part[:64])
                    assert blob is not None, f"content of a page of @{snapshot.seq}"
                    assert blake2b(plain(blob.data, blob.encoding), digest_size=32).hexdigest() == part[:64]
                    read[0] += 1
            except Exception as error:
                failures.append(repr(error))
                return

    threads = [threading.Thread(target=client) for _ in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 4
    n = 0
    while time.monotonic() < deadline and not failures:
        n += 1
        tiles = fill(archive, f"s{n}", mesh_tiles, count=30, tags={i: n * 7 + i for i in range(5, 25, n % 4 + 1)})
        archive.publish("ds", tiles, mesh_info())
        if n % 5 == 0:
            archive.rollback("ds", archive.latest("ds").seq - 1)
        # A page fetched before stays within retention; packs are moved and deleted at once.
        archive.collect(keep_snapshots=2, keep_seconds=2, grace_seconds=0)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert read[0] > 100
    assert n > 5
