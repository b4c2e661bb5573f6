"""Publishing a part gives what publishing everything gives, and touches only what it must."""

from __future__ import annotations

import dataclasses
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiling.samples import CUBE, fill, mesh_info, mesh_tiles, octree_info, octree_tiles
from tiling.archive import Archive, Reader
from tiling.archive.index import SINCE_2
from tiling.builder import TileEntry
from tiling.spec import tileset
from tim.errors import TilingError, UsageError

COUNT = 90


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    """Many pages of few tiles, several deep."""
    monkeypatch.setattr(tileset.plant, "__defaults__", (7,))


def pages(archive: Archive, dataset: str) -> dict[str, bytes]:
    with sqlite3.connect(archive.path) as db:
        query = (
            "SELECT p.name, c.hash FROM page p JOIN content c ON c.id=p.content JOIN dataset d ON d.id=p.dataset"
            " WHERE d.name=? AND p.to_seq=1<<62"
        )
        found = dict(db.execute(query, (dataset,)).fetchall())
    db.close()
    return {name: archive.read(hash_.hex()) for name, hash_ in found.items()}


def edit(archive: Archive, tiles: list[TileEntry], step: list[tuple[int, int]], number: int):
    """These tiles with other boxes, errors, counts and contents, and the sink that has the contents."""
    sink = archive.writer(f"edit-{number}")
    changed = []
    for at, tag in step:
        content = None if tag == 0 else sink.put(b"glTF" + bytes([tag]) * (20 + tag))
        box = (*tiles[at].box[:2], tag / 8, *tiles[at].box[3:])
        counts = {"vertices": tag, "triangles": 2}
        changed.append(dataclasses.replace(tiles[at], content=content, box=box, counts=counts))
    return changed, sink


STEPS = st.lists(
    st.lists(st.tuples(st.integers(0, COUNT - 1), st.integers(0, 3)), min_size=1, max_size=4, unique_by=lambda s: s[0]),
    min_size=1, max_size=5,
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_a_part_is_as_the_whole(tmp_path_factory, steps):
    with Archive(tmp_path_factory.mktemp("partial") / "tiles") as archive:
        tiles = fill(archive, "s", mesh_tiles, count=COUNT)
        archive.publish("part", tiles, mesh_info())
        for number, step in enumerate(steps):
            changed, sink = edit(archive, tiles, step, number)
            by_key = {tile.key: tile for tile in changed}
            tiles = [by_key.get(tile.key, tile) for tile in tiles]
            part = archive.update("part", changed, 2 + number, sink)
            archive.publish("whole", tiles, mesh_info())
            whole = archive.latest("whole")
            assert (part.hash, part.tiles, part.bytes, part.counts) == (
                whole.hash, whole.tiles, whole.bytes, whole.counts
            )  # fmt: skip
            assert part.store_seq == 2 + number
            assert list(archive.tiles("part")) == sorted(tiles, key=lambda tile: tile.key)
            assert pages(archive, "part") == pages(archive, "whole")
        # What is noted for the next time is as good as what publishing all would note.
        again = archive.publish("part", tiles, mesh_info())
        assert again.seq == archive.latest("part").seq


def test_a_reader_sees_the_edit_and_the_old_snapshot(tmp_path):
    with Archive(tmp_path / "tiles") as archive:
        tiles = fill(archive, "s", mesh_tiles, count=COUNT)
        archive.publish("ds", tiles, mesh_info())
        reader = Reader(tmp_path / "tiles")
        before = bytes(reader.page("ds", None, "tileset.json").data)
        changed, sink = edit(archive, tiles, [(COUNT - 1, 2)], 0)
        snapshot = archive.update("ds", changed, 2, sink)
        assert reader.refresh()
        assert reader.latest("ds") == snapshot
        assert bytes(reader.page("ds", None, "tileset.json").data) != before
        assert reader.content(changed[0].content.hash) is not None
        assert list(archive.tiles("ds", 1)) == sorted(tiles, key=lambda tile: tile.key)
        assert archive.rollback("ds", 1).hash == archive.snapshot("ds", 1).hash
        reader.close()


def test_only_rows_on_the_path_are_written(tmp_path):
    with Archive(tmp_path / "tiles") as archive:
        tiles = fill(archive, "s", mesh_tiles, count=1200)
        archive.publish("ds", tiles, mesh_info())
        statements: list[str] = []
        changed, sink = edit(archive, tiles, [(1199, 1)], 0)
        archive._db.set_trace_callback(statements.append)
        archive.update("ds", changed, 2, sink)
        archive._db.set_trace_callback(None)
        written = [s for s in statements if s.startswith(("INSERT INTO tile", "UPDATE tile", "INSERT INTO page"))]
        assert len([s for s in written if "tile" in s[:16]]) == 2
        assert len(written) < 20


def test_nothing_new_makes_no_snapshot(tmp_path):
    with Archive(tmp_path / "tiles") as archive:
        tiles = fill(archive, "s", mesh_tiles)
        first = archive.publish("ds", tiles, mesh_info())
        again = archive.update("ds", tiles[3:5], 9, archive.writer("none"))
        assert again == dataclasses.replace(first, store_seq=9)


def test_another_shape_is_published_whole(tmp_path):
    """A tile that is new, and one under another parent."""
    with Archive(tmp_path / "tiles") as archive:
        tiles = fill(archive, "s", mesh_tiles, count=COUNT)
        archive.publish("ds", tiles[:-1], mesh_info())
        moved = dataclasses.replace(tiles[-2], parent=tiles[0].key)
        snapshot = archive.update("ds", [tiles[-1], moved], 2, archive.writer("shape"))
        expected = archive.publish("other", [*tiles[:-2], moved, tiles[-1]], mesh_info())
        assert snapshot.hash == expected.hash


def test_an_octree_is_published_whole(tmp_path):
    with Archive(tmp_path / "tiles") as archive:
        tiles = fill(archive, "o", octree_tiles)
        archive.publish("ds", tiles, octree_info())
        sink = archive.writer("edit")
        changed = dataclasses.replace(tiles[0], content=sink.put(b"glTF other"))
        assert archive.update("ds", [changed], 2, sink).hash == (
            archive.publish("other", [changed, *tiles[1:]], octree_info()).hash
        )


def test_what_cannot_be_is_refused(tmp_path):
    with Archive(tmp_path / "tiles") as archive:
        tiles = fill(archive, "s", mesh_tiles)
        with pytest.raises(UsageError):
            archive.update("ds", tiles, 1, archive.writer("none"))
        archive.publish("ds", tiles, mesh_info())
        lost = dataclasses.replace(tiles[0].content, hash="ab" * 32)
        for bad, code in (
            (dataclasses.replace(tiles[0], box=(*CUBE[:11], float("nan"))), "archive.bad-number"),
            (dataclasses.replace(tiles[0], content=lost), "archive.missing-content"),
        ):
            with pytest.raises(TilingError) as caught:
                archive.update("ds", [bad], 1, archive.writer("none"))
            assert caught.value.code == code
        assert archive.latest("ds").seq == 1


def test_an_archive_of_version_1_is_brought_up(tmp_path):
    """It is read as it is, gets its new table when it is opened for writing, and its first update publishes whole."""
    with Archive(tmp_path / "tiles") as archive:
        tiles = fill(archive, "s", mesh_tiles, count=COUNT)
        old = archive.publish("ds", tiles, mesh_info())
        path = archive.path
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE shown")
        db.execute("PRAGMA user_version=1")
    db.close()
    assert "shown" in SINCE_2
    reader = Reader(tmp_path / "tiles")
    assert reader.latest("ds") == old
    with Archive(tmp_path / "tiles") as archive:
        for number in (0, 1):
            changed, sink = edit(archive, tiles, [(5, 1 + number)], number)
            snapshot = archive.update("ds", changed, 2, sink)
        tiles[5] = changed[0]
        assert snapshot.hash == archive.publish("other", tiles, mesh_info()).hash
    reader.close()
