from __future__ import annotations

import time

import pytest

from tests.tiling.samples import fill, mesh_info, mesh_tiles
from tiling.archive import Archive, Reader, collect
from tiling.archive.pack import plain


@pytest.fixture
def archive(tmp_path):
    with Archive(tmp_path / "tiles") as opened:
        yield opened


@pytest.fixture
def clock(monkeypatch):
    """Time as the archive sees it; advance by adding to ``clock[0]``."""
    now = [1_700_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def publish(archive, number, count=20):
    tiles = fill(archive, f"s{number}", mesh_tiles, count=count, tags=dict.fromkeys(range(count), number))
    return archive.publish("ds", tiles, mesh_info())


def seqs(archive):
    return [s.seq for s in archive.snapshots("ds")]


def test_snapshots_go_by_number_and_by_when_they_were_last_live(archive, clock):
    for n in range(1, 6):
        publish(archive, n)
        clock[0] += 100
    # @1 was superseded 400 s ago, @2 300 s ago, @3 200 s ago, @4 100 s ago.
    archive.collect(keep_snapshots=2, keep_seconds=250)
    assert seqs(archive) == [3, 4, 5]
    clock[0] += 10_000
    archive.collect(keep_snapshots=2, keep_seconds=250)
    assert seqs(archive) == [4, 5]
    archive.collect(keep_snapshots=0, keep_seconds=0)
    assert seqs(archive) == [5]


def test_contents_and_files_go_a_grace_apart(archive, clock):
    publish(archive, 1)
    publish(archive, 2)
    files = set(archive.packs.iterdir())
    clock[0] += 1
    assert archive.collect(keep_snapshots=1, keep_seconds=0, grace_seconds=60).contents == 0
    clock[0] += 61
    assert archive.collect(keep_snapshots=1, keep_seconds=0, grace_seconds=60).contents == 22
    assert set(archive.packs.iterdir()) == files
    clock[0] += 61
    done = archive.collect(keep_snapshots=1, keep_seconds=0, grace_seconds=60)
    assert done.packs == 2
    assert done.bytes > 0
    assert len(set(archive.packs.iterdir())) == len(files) - 2


def test_a_build_under_way_is_spared_and_an_abandoned_one_is_not(archive, clock):
    tiles = fill(archive, "s", mesh_tiles)
    hashes = [t.content.hash for t in tiles]
    clock[0] += 5 * 86400
    archive.collect(grace_seconds=0)
    assert archive.has(hashes) == set(hashes)
    clock[0] += collect.ABANDONED_SECONDS
    archive.collect(grace_seconds=0)
    assert archive.has(hashes) == set()


@pytest.mark.parametrize("how", ["asked for", "built again"])
def test_a_finished_shard_is_not_taken_away_before_it_is_published(archive, clock, how):
    """Its contents were shown by a dropped snapshot; the ledger still knows the shard as done, or it was built again."""
    tiles = fill(archive, "s", mesh_tiles)
    archive.publish("ds", tiles, mesh_info())
    archive.drop("ds")
    clock[0] += 500
    if how == "asked for":
        assert len(archive.has(t.content.hash for t in tiles)) == len({t.content.hash for t in tiles})
    else:
        fill(archive, "again", mesh_tiles)
    clock[0] += 500
    archive.collect(grace_seconds=600)
    clock[0] += 500
    archive.collect(grace_seconds=600)
    assert archive.publish("ds", tiles, mesh_info()).tiles == len(tiles)


def test_packs_mostly_dead_are_rewritten_and_stale_readers_still_find_everything(archive):
    tiles = fill(archive, "s", mesh_tiles, count=60)
    archive.publish("ds", tiles, mesh_info())
    stale = Reader(archive.root)  # has mapped nothing yet
    archive.publish("ds", tiles[:5], mesh_info())
    for _ in range(3):
        archive.collect(keep_snapshots=1, keep_seconds=0, grace_seconds=0)
    assert not (archive.packs / "s.pack").exists()
    for tile in tiles[:5]:
        blob = stale.content(tile.content.hash)
        assert plain(blob.data, blob.encoding) == archive.read(tile.content.hash)
    assert stale.content(tiles[-1].content.hash) is None


def test_many_small_packs_are_merged(archive, monkeypatch):
    monkeypatch.setattr(collect, "SMALL_PACKS", 8)
    refs = [publish(archive, n, count=3) for n in range(12)]
    assert len(list(archive.packs.iterdir())) == 24
    contents = [t.content.hash for s in refs for t in archive.tiles("ds", s.seq)]
    archive.collect(keep_snapshots=99, grace_seconds=0)
    assert len(list(archive.packs.glob("*.pack"))) == 1
    reader = Reader(archive.root)
    assert all(reader.content(h) is not None for h in contents)
    assert archive.collect(keep_snapshots=99, grace_seconds=0).rewritten == 0


def test_a_missing_pack_does_not_stop_collection(archive):
    publish(archive, 1)
    (archive.packs / "s1.pack").unlink()
    publish(archive, 2)
    archive.collect(keep_snapshots=1, keep_seconds=0, grace_seconds=0)
    assert seqs(archive) == [2]
