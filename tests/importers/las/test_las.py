"""The LAS reader against laspy, and against files that are cut or lie about themselves."""

from __future__ import annotations

import struct
from pathlib import Path

import laspy
import numpy as np
import pytest

from importers import ImportContext, las
from importers.las import LasSource
from importers.las.crs import found_crs, geo_keys
from importers.las.header import read_header
from tests.importers.las import clouds
from tim.errors import CorruptSource, SourceError, render
from tim.model import ObjectRecord, Rejected
from tim.place import Datum, Height, Place
from tim.sources import Part, SourceRef

PLACE = Place("EPSG:32650", Height("ellipsoid", "ellipsoid"), Datum("equivalent", "WGS 84", 0.0))
NAMES = {"confidence": "ExtraBytes"}
"""laspy knows one extra bytes record only, and calls what a second one describes so."""


def values(source: LasSource, target: int = 1_000_000) -> dict[str, np.ndarray]:
    """All points of a source, with ``raw``, part after part."""
    collected: dict[str, list[np.ndarray]] = {}
    for part in source.parts(target):
        for batch in source.read(part):
            collected.setdefault("raw", []).append(np.array(batch.raw))
            for name, column in batch.attributes.items():
                collected.setdefault(name, []).append(np.array(column))
    return {name: np.concatenate(columns) for name, columns in collected.items()}


def assert_as_laspy(path: Path, target: int = 1_000_000) -> int:
    """Every attribute and coordinate equals laspy's; returns how many attributes were compared."""
    source = LasSource(path, PLACE, 16)
    mine, theirs = values(source, target), laspy.read(path, laz_backend=laspy.LazBackend.Lazrs)
    np.testing.assert_array_equal(mine["raw"], np.column_stack([theirs.X, theirs.Y, theirs.Z]))
    known = set(theirs.point_format.dimension_names)
    compared = 0
    for name, column in mine.items():
        if name == "raw":
            continue
        if name == "rgb":
            np.testing.assert_array_equal(column, np.column_stack([theirs.red, theirs.green, theirs.blue]) >> 8)
        elif name == "scan_angle":
            degrees = (
                np.asarray(theirs.scan_angle) * 0.006 if "scan_angle" in known else np.asarray(theirs.scan_angle_rank)
            )
            np.testing.assert_allclose(column, degrees, rtol=1e-6)
        else:
            (same,) = [d for d in known if d.lower().replace(" ", "_") == name or d == NAMES.get(name)]
            np.testing.assert_array_equal(column, np.asarray(theirs[same]))
        compared += 1
    return compared


@pytest.mark.parametrize("suffix", ["las", "laz"])
@pytest.mark.parametrize("point_format", range(11))
def test_every_point_format_reads_as_laspy_does(tmp_path, point_format, suffix):
    if suffix == "laz" and point_format in (4, 5, 9, 10):
        pytest.skip("wave packets: lazrs writes none")
    path = tmp_path / f"cloud.{suffix}"
    data = clouds.write(path, 3000, point_format=point_format)
    compared = assert_as_laspy(path)
    stored = {"X", "Y", "Z", "red", "green", "blue"}
    rest = [name for name in data.point_format.dimension_names if name not in stored]
    assert compared == len(rest) + ("red" in data.point_format.dimension_names)


@pytest.mark.parametrize("suffix", ["las", "laz"])
def test_extra_bytes_come_scaled_and_in_their_width(tmp_path, suffix):
    path = tmp_path / f"cloud.{suffix}"
    extra = [
        laspy.ExtraBytesParams("Amplitude", "f4"),
        laspy.ExtraBytesParams("Echo Width", "u2", scales=np.array([0.1]), offsets=np.array([5.0])),
        laspy.ExtraBytesParams("normal", "3i2"),
    ]
    data = clouds.write(path, 2000, extra=extra)
    source = LasSource(path, PLACE, 16)
    mine = values(source)
    np.testing.assert_array_equal(mine["amplitude"], data["Amplitude"])
    np.testing.assert_allclose(mine["echo_width"], np.asarray(data["Echo Width"]))
    np.testing.assert_array_equal(mine["normal"], data["normal"])
    assert source.schema["echo_width"].dtype == "<f8"
    assert source.schema["normal"].components == 3


def test_only_wanted_attributes_are_given(tmp_path):
    path = tmp_path / "cloud.laz"
    data = clouds.write(path, 2000)
    source = LasSource(path, PLACE, 16)
    (batch,) = source.read(Part(0, 2000), ["classification", "gps_time"])
    assert set(batch.attributes) == {"classification", "gps_time"}
    np.testing.assert_array_equal(batch.attributes["gps_time"], data.gps_time)
    np.testing.assert_array_equal(batch.attributes["classification"], data.classification)


def test_parts_are_whole_chunks_and_each_point_once(tmp_path):
    path = tmp_path / "cloud.laz"
    clouds.write(path, 220_000)
    source = LasSource(path, PLACE, 16)
    parts = source.parts(60_000)
    assert len(parts) == 4
    assert [p.start for p in parts] == [sum(q.count for q in parts[:i]) for i in range(4)]
    assert sum(p.count for p in parts) == 220_000
    assert all(p.start % 50_000 == 0 for p in parts)
    assert assert_as_laspy(path, 60_000) > 10


@pytest.mark.parametrize(
    "name", ["lone-star.copc.laz", "1.2-with-color.copc.laz", "las_with_several_extra_byte_bloc.laz"]
)
def test_real_files_read_as_laspy_does(real_data, name):
    assert assert_as_laspy(real_data / "points" / name, 40_000) > 10


def test_terrain_has_all_its_points(real_data):
    source = LasSource(real_data / "points" / "terrain_3M.laz", PLACE, 0)
    assert sum(len(batch) for part in source.parts(500_000) for batch in source.read(part, [])) == 2_882_422


@pytest.mark.parametrize(("largest", "bits"), [(255, 8), (65535, 16), (0, 0)])
def test_colour_depth_is_decided_once_for_a_file(tmp_path, largest, bits):
    path = tmp_path / "cloud.laz"
    data = clouds.write(path, 20_000, colour_max=largest)
    ref = clouds.source(path)
    assert ref.options == {"color_bits": bits}
    source = las.open(ref)
    assert ("rgb" in source.schema) == bool(bits)
    if bits:
        expected = np.column_stack([data.red, data.green, data.blue]) >> (bits - 8)
        np.testing.assert_array_equal(values(source)["rgb"], expected)


def test_import_gives_one_object_and_one_source(tmp_path):
    path = tmp_path / "cloud.las"
    clouds.write(path, 1000, point_format=6)
    (probe,) = las.probe(path, "sheets/cloud.las")
    record, ref = las.read(probe, ImportContext(PLACE, "lidar"))
    assert isinstance(record, ObjectRecord)
    assert isinstance(ref, SourceRef)
    assert (record.source_key, record.class_id, record.layer) == ("sheets/cloud.las", "survey.point-cloud", "lidar")
    assert record.attributes["points"] == ref.count == probe.count == 1000
    assert record.box == ref.box
    west, south, _, east, north, _ = ref.box
    assert 117.0 - 1e-9 <= west < east < 117.01
    assert 38.8 < south < north < 38.9
    assert str(tmp_path) not in repr(record)


@pytest.mark.parametrize("content", [b"", b"LAS", b"PK\x03\x04" + bytes(400), bytes(1000)])
def test_foreign_files_are_left_alone(tmp_path, content):
    path = tmp_path / "other.las"
    path.write_bytes(content)
    assert las.probe(path) == []
    assert las.probe(tmp_path) == []


CUTS = [4, 100, 226, 300, 0.1, 0.5, 0.9, 0.999, -1]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("suffix", ["las", "laz"])
def test_cut_files_are_refused_at_probe(tmp_path, suffix, cut):
    path = tmp_path / f"cloud.{suffix}"
    clouds.write(path, 120_000)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * cut) if 0 < cut < 1 else cut])
    (probe,) = las.probe(path)
    assert probe.fatal
    items = list(las.read(probe, ImportContext(PLACE)))
    assert items
    assert all(isinstance(item, Rejected) for item in items)
    for item in items:
        assert path.name in render(item.code, item.fields, "en")
        assert path.name in render(item.code, item.fields, "zh")
        assert "{" not in render(item.code, item.fields, "en")


def test_damaged_chunks_are_corrupt_and_say_where(tmp_path):
    path = tmp_path / "cloud.laz"
    clouds.write(path, 120_000)
    source = LasSource(path, PLACE, 16)
    start, end = source.chunks.offsets[1:3].tolist()
    data = bytearray(path.read_bytes())
    data[start:end] = bytes(end - start)
    struct.pack_into("<I", data, start + 24, 0xFFFFFFFF)
    path.write_bytes(data)
    list(LasSource(path, PLACE, 16).read(Part(0, 50_000)))
    with pytest.raises(CorruptSource) as caught:
        list(LasSource(path, PLACE, 16).read(Part(50_000, 50_000)))
    assert caught.value.code == "las.undecodable"
    assert caught.value.fields["file"] == "cloud.laz"
    assert caught.value.fields["point"] == 50_000


def test_a_chunk_table_that_lies_is_refused_without_being_believed(tmp_path):
    path = tmp_path / "cloud.laz"
    clouds.write(path, 120_000)
    data = bytearray(path.read_bytes())
    header = read_header(path)
    assert header is not None
    table = int.from_bytes(data[header.data_offset : header.data_offset + 8], "little")
    struct.pack_into("<I", data, table + 4, 0xFFFFFFF0)  # a table of 4 billion chunks
    path.write_bytes(data)
    (probe,) = las.probe(path)
    assert probe.fatal
    assert probe.problems[0].code == "las.chunk-table-wrong"


def test_count_beyond_the_file_is_truncation(tmp_path):
    path = tmp_path / "cloud.las"
    clouds.write(path, 1000, point_format=3)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 107, 1001)
    path.write_bytes(data)
    (probe,) = las.probe(path)
    assert probe.problems[0].code == "las.truncated"
    assert probe.problems[0].fields["there"] == 1000


@pytest.mark.parametrize(("at", "value"), [(131, 0.0), (131, float("nan")), (131, -1.0), (155, float("inf"))])
def test_unusable_numbers_are_refused(tmp_path, at, value):
    path = tmp_path / "cloud.las"
    clouds.write(path, 10)
    data = bytearray(path.read_bytes())
    struct.pack_into("<d", data, at, value)
    path.write_bytes(data)
    (probe,) = las.probe(path)
    assert (probe.fatal, probe.problems[0].code) == (True, "las.header-numbers")


def test_a_file_that_changed_or_went_is_not_opened(tmp_path):
    path = tmp_path / "cloud.las"
    clouds.write(path, 1000)
    ref = clouds.source(path)
    clouds.write(path, 1000, seed=2)
    with pytest.raises(SourceError) as caught:
        las.open(ref)
    assert caught.value.code == "las.changed"
    path.unlink()
    with pytest.raises(SourceError) as caught:
        las.open(ref)
    assert caught.value.code == "las.gone"


def test_crs_from_wkt_and_from_keys(tmp_path, real_data):
    path = tmp_path / "cloud.las"
    clouds.write(path, 10, crs="EPSG:4547")
    (probe,) = las.probe(path)
    assert probe.found.horizontal is not None
    assert "CGCS2000" in probe.found.horizontal
    clouds.write(path, 10, crs=None)
    (probe,) = las.probe(path)
    assert probe.found.horizontal is None
    (probe,) = las.probe(real_data / "points" / "4_6_crop.las")
    assert (probe.found.horizontal, probe.found.vertical) == ("EPSG:2903", "EPSG:5703")


def test_user_defined_keys_are_no_crs_and_said_so(tmp_path):
    path = tmp_path / "cloud.las"
    clouds.write(path, 10, crs=None)
    header = read_header(path)
    assert header is not None
    directory = struct.pack("<8H", 1, 1, 0, 2, 1024, 0, 1, 1) + struct.pack("<4H", 3072, 0, 1, 32767)
    header.records["LASF_Projection", 34735] = directory  # type: ignore[index]
    header.records["LASF_Projection", 34737] = b"site grid|\0"  # type: ignore[index]
    found, problems = found_crs(header, "x")
    assert found.horizontal is None
    assert problems == [("las.crs-user-defined", {"citation": "site grid"})]
    assert geo_keys(directory) == {1024: 1, 3072: 32767}
    assert geo_keys(b"\1\2\3") == {}
