"""Mounting: what is found, where it lies, what is refused; hostile archives and pages."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from importers import ImportContext
from importers.plan import Options, place_of
from importers.tiles3d import open as open_tileset
from importers.tiles3d import probe, read
from importers.tiles3d.content import contents
from importers.tiles3d.files import Folder, inside, open_files
from importers.tiles3d.tree import read_page, target
from tests.tiles1 import ENU, HEIGHT, LAT, LON, b3dm, boxes, composite, i3dm, pnts, tileset
from tim.errors import CorruptSource, PlaceError, SourceError
from tim.model import ObjectRecord
from tim.place import ellipsoid
from tim.place.resolve import PlaceOptions
from tim.sources import SourceRef


def mounted(path: Path, **settings: object) -> SourceRef:
    [found] = probe(path, "old")
    place = place_of(found, Options().place, PlaceOptions(), settings)
    items = list(read(found, ImportContext(place, settings=settings)))
    [ref] = [item for item in items if isinstance(item, SourceRef)]
    [record] = [item for item in items if isinstance(item, ObjectRecord)]
    assert record.class_id == "survey.tileset"
    assert record.box == ref.box
    return ref


def matrix_of(ref: SourceRef) -> np.ndarray:
    return np.array(ref.options["transform"]).reshape(4, 4).T


def codes(path: Path) -> set[str]:
    return {problem.code for found in probe(path, "old") for problem in found.problems}


def test_what_is_found(tmp_path: Path):
    tileset(tmp_path, {"a.b3dm": b3dm(), "b.i3dm": i3dm(), "c.pnts": pnts(), "d.cmpt": composite(b3dm(), pnts())})
    [found] = probe(tmp_path, "old")
    assert (found.kind, found.files, found.problems, found.fatal) == ("tiles", 5, (), False)
    assert found.options["contents"] == {"b3dm": 1, "i3dm": 1, "pnts": 1, "cmpt": 1}
    assert (found.options["version"], found.options["geometric_error"]) == ("1.0", 200)
    ref = mounted(tmp_path)
    assert np.array_equal(matrix_of(ref), np.eye(4)), "what lies on Earth stays where it is"
    west, south, bottom, east, north, top = ref.box
    assert west < LON < east
    assert south < LAT < north
    assert (bottom, top) == pytest.approx((HEIGHT - 20, HEIGHT + 100), abs=0.01)


def test_foreign_files_are_nobodys(tmp_path: Path):
    (tmp_path / "a.txt").write_text("x")
    assert probe(tmp_path) == probe(tmp_path / "a.txt") == []


def test_a_height_offset_lifts_along_the_normal(tmp_path: Path):
    plain, lifted = mounted(tileset(tmp_path, {"a.b3dm": b3dm()})), mounted(tmp_path, height_offset=12.5)
    origin = ellipsoid.to_ecef(np.array([[LON, LAT, HEIGHT]]))
    at = ellipsoid.to_geographic(origin @ matrix_of(lifted)[:3, :3].T + matrix_of(lifted)[:3, 3])[0]
    assert at == pytest.approx([LON, LAT, HEIGHT + 12.5], abs=1e-5)
    assert np.subtract(lifted.box, plain.box) == pytest.approx([0, 0, 12.5, 0, 0, 12.5], abs=1e-5)


def test_a_tileset_is_moved_to_where_it_is_said_to_be(tmp_path: Path):
    ref = mounted(tileset(tmp_path, {"a.b3dm": b3dm()}), at=[120.0, 31.0, 5.0], heading=90)
    assert (ref.box[0] + ref.box[3]) / 2 == pytest.approx(120.0, abs=1e-4)
    assert (ref.box[1] + ref.box[4]) / 2 == pytest.approx(31.0, abs=1e-4)
    assert ref.box[2] == pytest.approx(HEIGHT - 20 + 5, abs=0.05)
    width = (ref.box[3] - ref.box[0]) * 111320 * np.cos(np.radians(31))
    assert width == pytest.approx(60, rel=0.02), "160 m by 60 m, turned by a right angle"
    assert np.linalg.det(matrix_of(ref)[:3, :3]) == pytest.approx(1.0)


def test_a_local_tileset_needs_a_place(tmp_path: Path):
    tileset(tmp_path, {"a.b3dm": b3dm()}, transform=None)
    assert codes(tmp_path) == {"tiles3d.no-place"}
    with pytest.raises(PlaceError) as refused:
        mounted(tmp_path)
    assert refused.value.code == "place.crs-missing"
    ref = mounted(tmp_path, at=[LON, LAT, HEIGHT])
    assert matrix_of(ref) == pytest.approx(np.array(ENU).reshape(4, 4).T, abs=1e-6)


def test_regions_are_lifted_but_not_moved(tmp_path: Path):
    region = [*np.radians([LON, LAT, LON + 0.01, LAT + 0.01]).tolist(), 10.0, 60.0]
    tileset(tmp_path, {"a.b3dm": b3dm()}, volume={"region": region})
    assert mounted(tmp_path, height_offset=7).box == pytest.approx([LON, LAT, 17, LON + 0.01, LAT + 0.01, 67], abs=1e-6)
    with pytest.raises(PlaceError) as refused:
        mounted(tmp_path, at=[120, 30])
    assert refused.value.code == "tiles3d.region-fixed"


def test_gltf_1_is_refused_by_name(tmp_path: Path):
    old = bytearray(b3dm())
    at = old.index(b"glTF")
    old[at + 4 : at + 8] = struct.pack("<I", 1)
    tileset(tmp_path, {"good.b3dm": b3dm(), "old.b3dm": bytes(old)})
    [found] = probe(tmp_path, "old")
    assert found.fatal
    assert (found.problems[0].code, found.problems[0].fields["path"]) == ("tiles3d.gltf-1", "old.b3dm")


def test_what_leads_outside_or_nowhere_is_said(tmp_path: Path):
    contents_ = {"../../etc/passwd": b"", "http://example.com/a.b3dm": b"", "gone.b3dm": b""}
    folder = tileset(tmp_path / "set", {"a.b3dm": b3dm()})
    page = json.loads((folder / "tileset.json").read_text())
    page["root"]["children"] += [{**page["root"]["children"][0], "content": {"uri": uri}} for uri in contents_]
    (folder / "tileset.json").write_text(json.dumps(page))
    assert codes(folder) == {"tiles3d.uri-outside", "tiles3d.content-missing"}


def test_tilesets_in_circles_end(tmp_path: Path):
    folder = tileset(tmp_path, {"a/b.json": b"{}"})
    (folder / "a/b.json").write_text(json.dumps({
        "asset": {"version": "1.0"}, "geometricError": 1, "root": {"content": {"uri": "../tileset.json"}, "children": [{"content": {"uri": "b.json"}}]},
    }))  # fmt: skip
    assert len(probe(folder)) == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"a":' * 100_000, "tiles3d.json-broken"), ("[]", "tiles3d.not-tileset"), ("{", "tiles3d.json-broken"), ("\0", "tiles3d.json-broken"),
        ('{"asset": {"version": "1.0"}, "root": {}}', "tiles3d.no-volume"),
        ('{"asset": {"version": "1.0"}, "root": {"boundingVolume": {"box": [NaN]}}}', "tiles3d.bad-number"),
        ('{"asset": {"version": "1.0"}, "root": {"boundingVolume": {"sphere": [1, 2, 3, "4"]}}}', "tiles3d.bad-number"),
        ('{"asset": {"version": "1.0"}, "root": {"transform": 1, "boundingVolume": {"sphere": [1, 2, 3, 4]}}}', "tiles3d.bad-number"),
    ],
)  # fmt: skip
def test_broken_root_pages(tmp_path: Path, text: str, code: str):
    (tmp_path / "tileset.json").write_text(text)
    [found] = probe(tmp_path, "old")
    assert found.fatal
    assert found.problems[0].code == code


def pack(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def unpacked(tmp_path: Path, **contents_: bytes) -> dict[str, bytes]:
    folder = tileset(tmp_path / "src", {"t/a.b3dm": b3dm(), **contents_})
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_is_read_where_it_lies(tmp_path: Path, method: int):
    files = unpacked(tmp_path)
    [found] = probe(pack(tmp_path / "a.3tz", files, method), "a.3tz")
    assert (found.problems, found.options["contents"]) == ((), {"b3dm": 1})
    ref = mounted(tmp_path / "a.3tz")
    opened = open_tileset(ref)
    assert {path: opened.find(path).plain() for path in opened.paths()} == files  # type: ignore[union-attr]
    stored = opened.find("t/a.b3dm")
    assert stored is not None
    if method == zipfile.ZIP_DEFLATED:
        import gzip

        assert gzip.decompress(stored.as_gzip()) == files["t/a.b3dm"]
    else:
        assert stored.read(4, 12) == files["t/a.b3dm"][4:12]


def test_archives_that_lie(tmp_path: Path):
    files = unpacked(tmp_path)
    path = pack(tmp_path / "a.3tz", {**files, "../../evil": b"x", "/abs": b"x", "bomb.b3dm": bytes(3 << 20)})
    data = path.read_bytes()
    at = data.index(b"bomb.b3dm", data.rindex(b"PK\5\6") - 400)  # in the central directory: 46 bytes after its start
    path.write_bytes(data[: at - 22] + struct.pack("<I", 3 << 29) + data[at - 18 :])
    opened = open_files(path)
    for name in ("../../evil", "/abs", "bomb.b3dm"):
        with pytest.raises(CorruptSource) as refused:
            opened.find(name)
        assert refused.value.code == "tiles3d.entry-refused"
    assert "tiles3d.entries-refused" in codes(path)
    assert sorted(opened.paths()) == sorted(files)


def test_an_entry_that_is_longer_than_it_says_is_refused(tmp_path: Path):
    path = pack(tmp_path / "a.3tz", {**unpacked(tmp_path), "z.bin": bytes(100_000)})
    data = path.read_bytes()
    at = data.rindex(b"z.bin")
    path.write_bytes(data[: at - 22] + struct.pack("<I", 99_999) + data[at - 18 :])
    stored = open_files(path).find("z.bin")
    assert stored is not None
    with pytest.raises(CorruptSource):
        stored.plain()


def test_a_cut_archive_is_refused(tmp_path: Path):
    path = pack(tmp_path / "a.3tz", unpacked(tmp_path))
    path.write_bytes(path.read_bytes()[:-30])
    [found] = probe(path)
    assert found.fatal
    assert found.problems[0].code == "tiles3d.not-3tz"


def test_a_folder_gives_nothing_from_outside(tmp_path: Path):
    folder = tileset(tmp_path / "set", {"a.b3dm": b3dm()})
    (tmp_path / "secret").write_text("x")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "up").symlink_to(tmp_path)
    (folder / "good").symlink_to("a.b3dm")
    files = Folder(folder)
    for path in (
        "link",
        "up/secret",
        "../secret",
        "./a.b3dm",
        "a.b3dm/",
        "/etc/passwd",
        "..\\secret",
        "",
        "a\0",
        "C:a.b3dm",
        "x" * 5000,
    ):
        assert files.find(path) is None, path
    good = files.find("good")
    assert good is not None
    assert good.plain() == b3dm()


@given(st.text(max_size=30))
def test_nothing_inside_goes_up(path: str):
    if inside(path):
        assert ".." not in path.split("/")
        assert not path.startswith("/")
    found = target("a/b.json", path)
    assert found is None or (not found.startswith("/") and found.split("/")[0] != "..")


@pytest.mark.parametrize("whole", [b3dm(), i3dm(), pnts(), composite(b3dm(), i3dm()), boxes()])
def test_cut_contents_are_refused(whole: bytes):
    for size in {0, 3, 4, 11, 20, 27, len(whole) // 2, len(whole) - 1}:
        try:
            list(contents(whole[:size], "x"))
        except CorruptSource:
            continue
        assert whole[: 4 if size >= 4 else 0] == b"glTF", "a glb is payload, taken apart by who uses it"


@given(st.sampled_from([b3dm(), i3dm(), pnts(), composite(b3dm(), pnts())]), st.data())
def test_lying_contents_give_nothing_but_refusals(whole: bytes, data: st.DataObject):
    broken = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(4, min(200, len(whole) - 1)))] = data.draw(st.integers(0, 255))
    try:
        sound = all(content.kind in ("b3dm", "i3dm", "pnts", "glb") for content in contents(bytes(broken), "x"))
    except CorruptSource as error:
        sound = error.code.startswith("tiles3d.")
    assert sound


def test_what_is_gone_is_said(tmp_path: Path):
    ref = mounted(tileset(tmp_path / "set", {"a.b3dm": b3dm()}))
    (tmp_path / "set").rename(tmp_path / "away")
    with pytest.raises(SourceError) as gone:
        open_tileset(ref)
    assert gone.value.code == "tiles3d.gone"
    with pytest.raises(SourceError):
        read_page(Folder(tmp_path / "set"), "tileset.json")
