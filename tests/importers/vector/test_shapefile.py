"""Shapefiles as they come: encodings, missing parts, lengths that lie."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from importers.vector import probe
from importers.vector.encoding import decide, named
from importers.walk import probe as walk
from tests.importers.vector.fixtures import EAST, NORTH, Given, multipatch, squares, take, write
from tim.place.resolve import PlaceOptions
from tim.shape import decode

WITH_CRS = PlaceOptions(crs="EPSG:4547", vertical="ellipsoid")
NAMES = ["人民医院", "第一中学", "市图书馆"]


@pytest.mark.parametrize("codec", ["GB18030", "UTF-8"])
@pytest.mark.parametrize("cpg", [None, "UTF-8", "GBK", "936", "1252"])
@pytest.mark.parametrize("language", [0x00, 0x03, 0x4D, 0x57])
def test_text_is_read_whatever_is_declared(tmp_path: Path, codec: str, cpg: str | None, language: int):
    path = write(tmp_path / "a.shp", squares(3), {"建筑物名": NAMES, "高度": [1.0, 2.0, 3.0]}, encoding=codec)
    table = bytearray(path.with_suffix(".dbf").read_bytes())
    table[29] = language
    path.with_suffix(".dbf").write_bytes(table)
    path.with_suffix(".cpg").unlink()
    if cpg:
        path.with_suffix(".cpg").write_text(cpg)
    found = take(path)
    cut = "建筑物" if codec == "UTF-8" else "建筑物名"  # ten bytes of twelve
    assert [o.attributes[cut] for o in found.objects] == NAMES
    assert found.objects[0].attributes["高度"] == 1.0
    declared = named(cpg) if cpg else {0x03: "cp1252", 0x4D: "gb18030"}.get(language)
    wrong = declared not in (None, "utf-8" if codec == "UTF-8" else "gb18030")
    assert [w.code for w in found.probe.problems] == (["vector.wrong-encoding"] if wrong else [])
    if wrong:
        fields = found.probe.problems[0].fields
        assert (fields["declared"], fields["where"]) == (declared, ".cpg" if cpg else ".dbf")


def test_an_encoding_that_is_named_goes_first(tmp_path: Path):
    path = write(tmp_path / "a.shp", squares(1), {"name": ["臺北"]}, encoding="big5")
    path.with_suffix(".cpg").unlink()
    assert take(path, encoding="Big5").objects[0].attributes["name"] == "臺北"


def test_one_undecodable_value_costs_one_record(tmp_path: Path):
    path = write(tmp_path / "a.shp", squares(3), {"name": NAMES}, encoding="UTF-8")
    table = path.with_suffix(".dbf").read_bytes()
    path.with_suffix(".dbf").write_bytes(table.replace("第一".encode(), b"\xe7\xff\xff\xe4\xb8\x80"))
    found = take(path)
    assert [o.attributes["name"] for o in found.objects] == [NAMES[0], NAMES[2]]
    ((where, code, fields),) = [(r.where, r.code, r.fields) for r in found.rejected]
    assert (where, code) == ("a.shp:2", "vector.undecodable")
    assert (fields["record"], fields["field"]) == (2, "name")


@given(
    st.lists(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=2, max_size=40), min_size=3)
)
def test_chinese_is_told_apart(texts: list[str]):
    assert decide([t.encode() for t in texts]).name == "utf-8"
    assert decide([t.encode() for t in texts], "gb18030", ".cpg").name == "utf-8"
    # Two bytes of GBK may be UTF-8 by chance; a declared encoding that decodes is believed then.
    assert decide([t.encode("gb18030") for t in texts], "gb18030", ".dbf").name == "gb18030"


def test_western_text_stays_western():
    texts = [t.encode("cp1252") for t in ("Königsstraße", "Müller", "Châtelet", "Àé")]
    assert decide(texts, "cp1252", ".dbf").name == "cp1252"
    assert [named(t) for t in ("GBK", "ANSI 936", "ISO 88591", "UTF8", "65001", "nonsense")] == [
        "gb18030", "gb18030", "iso8859-1", "utf-8", "utf-8", None,
    ]  # fmt: skip


@pytest.mark.parametrize("gone", [".shx", ".dbf", ".prj", ".cpg"])
def test_a_missing_part_is_said(tmp_path: Path, gone: str):
    path = write(tmp_path / "建筑.shp", squares(3), {"name": NAMES}, encoding="UTF-8")
    path.with_suffix(gone).unlink()
    before = sorted(p.name for p in tmp_path.iterdir())
    found = Given(probe(path, path.name)[0], WITH_CRS)
    codes = {".shx": ["vector.no-index"], ".dbf": ["vector.no-table"], ".prj": ["vector.no-prj"], ".cpg": []}
    assert [p.code for p in found.probe.problems] == codes[gone]
    assert len(found.objects) == 3
    assert all(("name" in o.attributes) == (gone != ".dbf") for o in found.objects)
    assert sorted(p.name for p in tmp_path.iterdir()) == before, "nothing is written next to the data"


def test_a_set_is_one_delivery(tmp_path: Path):
    path = write(tmp_path / "A.shp", squares(2))
    path.with_suffix(".shp.xml").touch()
    path.with_suffix(".dbf").rename(tmp_path / "A.DBF")
    (tmp_path / "lonely.dbf").touch()
    found = walk(tmp_path)
    assert [p.key for p in found.probes] == ["A.shp"]
    assert found.probes[0].files == 5
    assert [r.where for r in found.rejected] == ["lonely.dbf"]


@pytest.mark.parametrize("cut", [1, 8, 60, 136, 200])
def test_a_cut_shapefile_loses_what_is_cut(tmp_path: Path, cut: int):
    path = write(tmp_path / "a.shp", squares(3), {"name": NAMES})
    data = path.read_bytes()
    path.write_bytes(data[:-cut])
    found = take(path)
    lost = -(-cut // 136)  # a square is 8 + 128 bytes
    assert found.codes == ["vector.record-length"] * lost
    assert [r.where for r in found.rejected] == [f"a.shp:{3 - k}" for k in reversed(range(lost))]
    assert len(found.objects) == 3 - lost


def test_a_cut_table_is_said_and_nothing_is_lost_silently(tmp_path: Path):
    path = write(tmp_path / "a.shp", squares(3), {"name": NAMES})
    table = path.with_suffix(".dbf")
    table.write_bytes(table.read_bytes()[:-100])
    found = take(path)
    assert [p.code for p in found.probe.problems] == ["vector.counts-differ"]
    assert len(found.objects) + len(found.rejected) == 3


@pytest.mark.parametrize("length", [0, 3, 2**31 - 1, -2, 500])
def test_a_length_that_lies_costs_its_record(tmp_path: Path, length: int):
    path = write(tmp_path / "a.shp", squares(3), {"name": NAMES})
    data = bytearray(path.read_bytes())
    struct.pack_into(">i", data, 100 + 136 + 4, length)
    path.write_bytes(data)
    found = take(path)
    assert [(r.where, r.code) for r in found.rejected] == [("a.shp:2", "vector.record-length")]
    assert [o.attributes["name"] for o in found.objects] == [NAMES[0], NAMES[2]]


def test_a_huge_record_is_refused_unread(tmp_path: Path):
    path = write(tmp_path / "a.shp", squares(2))
    size = 1 << 30
    with path.open("r+b") as stream:  # sparse: the second record is a gigabyte of nothing
        stream.seek(100 + 136)
        stream.write(struct.pack(">ii", 2, size // 2))
        stream.truncate(100 + 136 + 8 + size)
    with path.with_suffix(".shx").open("r+b") as stream:
        stream.seek(112)
        stream.write(struct.pack(">i", size // 2))
    found = take(path)
    assert [(r.where, r.code) for r in found.rejected] == [("a.shp:2", "vector.record-too-large")]
    assert len(found.objects) == 1


def test_deleted_rows_are_counted(tmp_path: Path):
    path = write(tmp_path / "a.shp", squares(3), {"name": NAMES})
    table = bytearray(path.with_suffix(".dbf").read_bytes())
    start, record = struct.unpack_from("<HH", table, 8)
    table[start + record] = ord("*")
    path.with_suffix(".dbf").write_bytes(table)
    found = take(path)
    assert [(r.where, r.code) for r in found.rejected] == [("a.shp:2", "vector.record-deleted")]
    assert len(found.objects) == 2


@pytest.mark.parametrize("box", [(np.nan,) * 4, (np.inf, 0, 0, 0), (0, 0, 0, 0), (5e5, 3.4e6, 4e5, 3.3e6)])
def test_an_extent_that_lies_is_refused_or_put_right(tmp_path: Path, box: tuple[float, ...]):
    path = write(tmp_path / "a.shp", squares(3))
    data = bytearray(path.read_bytes())
    struct.pack_into("<4d", data, 36, *box)
    path.write_bytes(data)
    (found,) = probe(path, "a.shp")
    assert found.low is not None
    assert found.high is not None
    assert len(Given(found).objects) == 3
    assert found.low[:2] == (EAST, NORTH)


def test_no_records(tmp_path: Path):
    (found,) = probe(write(tmp_path / "a.shp", []), "a.shp")
    assert found.fatal
    assert [p.code for p in found.problems] == ["vector.empty"]


@given(st.binary(max_size=300), st.integers(0, 2))
@settings(max_examples=40)
def test_noise_is_named_never_raised(tmp_path_factory: pytest.TempPathFactory, noise: bytes, which: int):
    folder = tmp_path_factory.mktemp("noise")
    path = write(folder / "a.shp", squares(3), {"name": NAMES})
    file = path.with_suffix([".shp", ".shx", ".dbf"][which])
    file.write_bytes(file.read_bytes()[:100] + noise)
    (found,) = probe(path, "a.shp")
    if not found.fatal:
        given_ = Given(found)
        assert found.count is None or len(given_.objects) + len(given_.rejected) >= found.count


def test_a_multipatch_is_a_solid(tmp_path: Path):
    at = np.array([EAST, NORTH, 0.0])
    ring = np.array([[0, 0, 0], [0, 10, 0], [10, 10, 0], [10, 0, 0], [0, 0, 0.0]])
    wall = np.array([[0, 0, 0], [10, 0, 0], [10, 0, 5], [0, 0, 5], [0, 0, 0.0]])
    strip = np.array([[0, 0, 5], [10, 0, 5], [0, 10, 5], [10, 10, 5.0]])
    for kinds in ([2, 2], [2, 2, 0], [0]):  # rings, a triangle strip
        parts = [at + p for p in ([ring, wall, strip] if len(kinds) > 1 else [strip])][: len(kinds)]
        found = take(multipatch(tmp_path / "体.shp", parts, kinds), WITH_CRS)
        (one,) = found.objects
        assert found.probe.options["geometry"] == "multipatch"
        assert one.representations[0].role == "body"
        shape = decode(found.blobs[one.representations[0].content])
        assert len(shape.triangles) == {1: 2, 2: 4, 3: 6}[len(kinds)]


def test_ten_thousand_headers_in_no_time(tmp_path: Path):
    path = write(tmp_path / "0.shp", squares(3), {"名称": NAMES}, encoding="GB18030")
    for n in range(1, 200):
        for suffix in (".shp", ".shx", ".dbf", ".prj", ".cpg"):
            path.with_suffix(suffix).with_name(f"{n}{suffix}").write_bytes(path.with_suffix(suffix).read_bytes())
    began = time.process_time()
    assert len(walk(tmp_path).probes) == 200
    assert (time.process_time() - began) / 200 < 0.006, "60 seconds for ten thousand sets"


def test_counts_are_those_of_another_reader(tmp_path: Path):
    shapes = [shapely.box(EAST + i, NORTH, EAST + i + 0.5, NORTH + 1) for i in range(1000)]
    path = write(tmp_path / "a.shp", shapes)
    info = pyogrio.read_info(path, force_total_bounds=True)
    found = take(path)
    assert found.probe.count == info["features"] == len(found.objects)
    assert (*found.probe.low[:2], *found.probe.high[:2]) == pytest.approx(info["total_bounds"])
