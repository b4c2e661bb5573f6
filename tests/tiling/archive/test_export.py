from __future__ import annotations

import hashlib
import json
import struct
import zipfile

import pytest

from tests.tiling.samples import CUBE, FRAME, fill, mesh_info, mesh_tiles, octree_info, octree_tiles
from tiling.archive import Archive, TilesetInfo, export
from tiling.builder import TileEntry
from tiling.validate import validate
from tim.errors import UsageError


@pytest.fixture
def archive(tmp_path):
    with Archive(tmp_path / "tiles") as opened:
        opened.publish("mesh", fill(opened, "s", mesh_tiles, count=1200), mesh_info())
        opened.publish("octree", fill(opened, "o", octree_tiles), octree_info())
        yield opened


def tree(folder) -> dict:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("dataset", ["mesh", "octree"])
def test_a_folder_is_plain_complete_and_valid(archive, tmp_path, dataset, schemas):
    from tests.tiling.samples import schema_errors

    done = archive.export(dataset, tmp_path / "out")
    files = tree(tmp_path / "out")
    assert done.files == len(files)
    assert done.bytes == sum(map(len, files.values()))
    tiles = list(archive.tiles(dataset))
    assert sorted(v for k, v in files.items() if k.endswith(".glb")) == sorted(
        archive.read(t.content.hash) for t in tiles
    )
    for name, data in files.items():
        assert name.isascii()
        if name.endswith(".json"):
            assert schema_errors(schemas, "tileset.schema.json", json.loads(data)) == []
    report = validate(tmp_path / "out")
    assert report.errors == report.warnings == []
    assert report.counts["contents"] == len(tiles)


def test_equal_snapshots_export_equal_bytes(archive, tmp_path):
    for name in ("a", "b", "a.3tz", "b.3tz"):
        archive.export("mesh", tmp_path / name)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert (tmp_path / "a.3tz").read_bytes() == (tmp_path / "b.3tz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.3tz") as file:
        packed = {name: file.read(name) for name in file.namelist()}
    del packed["@3dtilesIndex1@"]
    assert packed == tree(tmp_path / "a")


def test_the_index_of_a_3tz_leads_to_every_local_header(archive, tmp_path):
    """As a reader without the central directory looks: binary search by MD5, then the local header."""
    path = tmp_path / "out.3tz"
    archive.export("octree", path)
    raw = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        entries = file.infolist()
        index = file.read("@3dtilesIndex1@")
    assert entries[-1].filename == "@3dtilesIndex1@"
    assert all(e.compress_type == zipfile.ZIP_STORED and not e.flag_bits & 8 for e in entries)
    rows = [(index[i : i + 16], *struct.unpack_from("<Q", index, i + 16)) for i in range(0, len(index), 24)]
    order = [(int.from_bytes(h[:8], "little"), int.from_bytes(h[8:], "little")) for h, _ in rows]
    assert order == sorted(order)
    offsets = dict(rows)
    for entry in entries[:-1]:
        offset = offsets[hashlib.md5(entry.filename.encode()).digest()]
        signature, *_, name_length, extra = struct.unpack_from("<IHHHHHIIIHH", raw, offset)
        assert signature == 0x04034B50
        assert raw[offset + 30 : offset + 30 + name_length].decode() == entry.filename
        start = offset + 30 + name_length + extra
        assert raw[start : start + entry.file_size] == zipfile.ZipFile(path).read(entry)
    assert validate(path).ok


@pytest.mark.parametrize("name", ["out", "out.3tz"])
def test_what_is_there_is_replaced_only_on_request(archive, tmp_path, name):
    out = tmp_path / name
    archive.export("mesh", out)
    first = out.read_bytes() if out.is_file() else tree(out)
    with pytest.raises(UsageError) as caught:
        archive.export("octree", out)
    assert caught.value.code == "archive.out-not-empty"
    assert (out.read_bytes() if out.is_file() else tree(out)) == first
    archive.export("octree", out, overwrite=True)
    assert validate(out).counts["points"] > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [name, "tiles"]


def test_a_failed_export_leaves_what_was_there_and_no_half(archive, tmp_path):
    archive.export("octree", tmp_path / "out")
    before = tree(tmp_path / "out")
    (archive.packs / "s.pack").unlink()
    from tim.errors import TimError

    with pytest.raises(TimError) as caught:
        archive.export("mesh", tmp_path / "out", overwrite=True)
    assert caught.value.code == "archive.damaged-pack"
    assert tree(tmp_path / "out") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "tiles"]


def test_an_empty_folder_is_taken(archive, tmp_path):
    (tmp_path / "out").mkdir()
    archive.export("octree", tmp_path / "out")
    assert validate(tmp_path / "out").ok


def test_names_are_distinct_and_legal_everywhere():
    keys = [
        "osgb/城东/Tile_+001_+002/Tile_L20_0.osgb#0", "osgb/城西/Tile_+001_+002/Tile_L20_0.osgb#0", "A/b", "a/B", "a/b", "con", "aux.osgb#1",
        "../../etc/passwd", "/", "", "...", "x" * 300, "x" * 300 + "y", "a b", "a_b", "a#b", "a-b", "a.glb/b", "a", "a%2F", "a\\b", "a\0b",
    ]  # fmt: skip
    names = export.names(keys)
    assert set(names) == set(keys)
    assert len({n.lower() for n in names.values()}) == len(keys)
    for name in names.values():
        assert name.isascii()
        assert len(name) <= export.LONGEST
        for part in name.split("/"):
            assert part.strip(".")
            assert not set('<>:"\\|?*# %+') & set(part)
            assert part.split(".")[0].lower() not in ("con", "aux")
    assert export.names(reversed(keys)) == names
    assert names["osgb/城东/Tile_+001_+002/Tile_L20_0.osgb#0"].endswith("Tile_L20_0.osgb-0")


def test_files_and_folders_of_names_do_not_collide(archive, tmp_path):
    writer = archive.writer("x")
    refs = [writer.put(b"%d" % i) for i in range(3)]
    archive.add(writer.close())
    keys = ["a", "a.glb/b", "a.GLB/c"]
    tiles = [TileEntry(k, None, CUBE, 0.0, "REPLACE", r) for k, r in zip(keys, refs, strict=True)]
    archive.publish("names", tiles, TilesetInfo(FRAME, 1))
    archive.export("names", tmp_path / "out")
    assert sorted(tree(tmp_path / "out").values())[:3] == [b"0", b"1", b"2"]
