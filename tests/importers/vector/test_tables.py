"""CSV, XLSX, GeoJSON and containers: what is found in them, and whether it is all there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

import importers.vector
from importers.plan import Options, Plan, make_plan
from importers.run import run_import
from importers.vector import probe, tables
from tests.importers.vector.fixtures import EAST, NORTH, Given, squares, take, write
from tim.errors import SourceError
from tim.place.resolve import PlaceOptions
from tim.workspace import Workspace

PLACED = PlaceOptions(crs="EPSG:4547", vertical="ellipsoid")
ROWS = ["名称,东坐标,北坐标,高程,编号", f"一号井,{EAST},{NORTH},12.5,0701", f"二号井,{EAST + 3},{NORTH},13,0702"]


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_csv_in_any_encoding(tmp_path: Path, codec: str, mark: str):
    path = tmp_path / "检查井.csv"
    path.write_text("\r\n".join(ROWS).replace(",", mark), encoding=codec, newline="")
    found = take(path, PLACED)
    assert [o.name for o in found.objects] == ["一号井", "二号井"]
    assert [o.attributes["编号"] for o in found.objects] == ["0701", "0702"], "a code is no number"
    assert found.objects[0].class_id == "land.furniture.well"
    assert found.objects[0].representations[0].properties["at"][2] == pytest.approx(12.5)
    assert found.probe.count == 2
    assert found.probe.low == (EAST, NORTH, 12.5)
    assert found.probe.found.horizontal is None


def test_rows_that_do_not_fit_are_named(tmp_path: Path):
    path = tmp_path / "wells.csv"
    text = (
        "\n".join([*ROWS, "三号井,x,y,1,0703", f"四号井,{EAST},{NORTH},1,0704,more", "", f'"五,号",{EAST},{NORTH},,'])
        + "\n"
    )
    path.write_bytes(text.encode("gb18030") + b"\xff\xff," + f"{EAST},{NORTH},1,9\n".encode())
    found = take(path, PLACED)
    assert sorted((r.where, r.code) for r in found.rejected) == [
        ("wells.csv:4", "vector.no-coordinates"), ("wells.csv:5", "vector.bad-row"), ("wells.csv:8", "vector.bad-row"),
    ]  # fmt: skip
    assert [o.attributes["名称"] for o in found.objects] == ["一号井", "二号井", "五,号"]


@given(
    st.lists(
        st.one_of(st.binary(max_size=40), st.sampled_from([b'"', b"500000,3400000", b"\xef\xbb\xbf", b"\0", b"\r\n"])),
        max_size=8,
    )
)
@settings(max_examples=40)
def test_noise_in_a_table_is_named_never_raised(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]):
    path = tmp_path_factory.mktemp("noise") / "a.csv"
    path.write_bytes(b"\n".join([b"x,y", b"500000,3400000", *lines]))
    for one in probe(path, "a.csv"):
        if not one.fatal and one.high[0] < 1e6 and one.high[1] < 5e6 and one.low[0] > 4e5 and one.low[1] > 3e6:
            found = Given(one, PLACED)
            assert one.count == len(found.objects) + len(found.rejected)


def test_a_height_is_no_elevation(tmp_path: Path):
    path = tmp_path / "trees.csv"
    path.write_text(f"x,y,height\n{EAST},{NORTH},12\n", encoding="utf-8")
    (model,) = take(path, PLACED).objects[0].representations
    assert model.properties["at"][2] == 0.0
    assert model.properties["scale"] == 2.0


def test_wkt_columns(tmp_path: Path):
    path = tmp_path / "宗地.csv"
    path.write_text(f'id,WKT\n1,"{squares(1)[0].wkt}"\n2,POLYGON ((broken\n', encoding="utf-8")
    found = take(path, PLACED)
    assert [o.class_id for o in found.objects] == ["cadastre.parcel"]
    assert [o.representations[0].role for o in found.objects] == ["footprint"]
    assert [(r.where, r.code) for r in found.rejected] == [("宗地.csv:3", "vector.no-coordinates")]


def test_tables_without_coordinates(tmp_path: Path):
    path = tmp_path / "people.csv"
    path.write_text("name,age\na,1\n", encoding="utf-8")
    (found,) = probe(path, "people.csv")
    assert (found.fatal, [p.code for p in found.problems]) == (True, ["vector.no-columns"])
    path.write_text("just text\nof some lines\n", encoding="utf-8")
    assert probe(path, "people.csv") == []


@given(st.text(max_size=20))
def test_cells(text: str):
    value = tables.value(text)
    if isinstance(value, float | int):
        assert float(value) == float(text)
        json.dumps(value, allow_nan=False)
    elif value is not None:
        assert value == text.strip()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-1.50", -1.5),
        ("0701", "0701"),
        ("1e999", "1e999"),
        ("nan", "nan"),
        ("", None),
        ("0", 0),
        ("2e3", 2000.0),
    ],
)
def test_numbers_in_cells(text: str, value: object):
    assert tables.value(text) == value
    assert type(tables.value(text)) is type(value)


def test_geojson_is_told_from_other_json(tmp_path: Path):
    for name, text in {
        "a.json": '{"type": "CityJSON", "version": "2.0", "x": {"type": "FeatureCollection"}}',
        "b.json": '{"type": "Topology"}',
        "c.json": "[1, 2]",
        "d.json": '{"layers": [{"type": "vector"}]}',
    }.items():
        (tmp_path / name).write_text(text)
        assert probe(tmp_path / name, name) == []
    point = {
        "type": "Feature",
        "properties": {"height": 3, "deep": {"a": [1]}},
        "geometry": {"type": "Point", "coordinates": [114, 30, 7]},
    }
    (tmp_path / "e.json").write_text(json.dumps({"type": "FeatureCollection", "features": [point]}))
    found = take(tmp_path / "e.json", PlaceOptions())
    assert found.objects[0].representations[0].properties["at"] == [114.0, 30.0, 7.0]
    (tmp_path / "f.geojsonl").write_text("\n".join([json.dumps(point)] * 3))
    found = take(tmp_path / "f.geojsonl", PlaceOptions())
    keys = [o.source_key for o in found.objects]
    assert [k.removeprefix(keys[0]) for k in keys] == ["", "-2", "-3"], "equal geometries are told apart"
    (tmp_path / "g.geojson").write_text('{"type": "FeatureCollection", "features": [{"type": "Feature", "geom')
    assert probe(tmp_path / "g.geojson", "g.geojson")[0].fatal


def test_large_files_are_sampled_to_be_placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    points = [shapely.Point(114 + i / 1e4, 30) for i in range(50)]
    path = write(tmp_path / "a.geojson", points, crs="EPSG:4326")
    table = tmp_path / "b.csv"
    table.write_text("\n".join(["lon,lat", *(f"{p.x},{p.y}" for p in points)]), encoding="utf-8")
    whole = [take(file, PlaceOptions(crs="EPSG:4979")) for file in (path, table)]
    monkeypatch.setattr(importers.vector, "_MAX_JSON", 100)
    monkeypatch.setattr(importers.vector, "_SAMPLE_ROWS", 10)
    for file, full in zip((path, table), whole, strict=True):
        sampled = take(file, PlaceOptions(crs="EPSG:4979"))
        assert sampled.probe.count is None
        assert full.probe.count == 50
        assert sampled.probe.low == full.probe.low
        assert sampled.objects == full.objects


@pytest.mark.parametrize("suffix", [".gpkg", ".gdb"])
def test_every_layer_of_a_container(tmp_path: Path, suffix: str):
    path = tmp_path / f"城区{suffix}"
    driver = {"driver": "OpenFileGDB"} if suffix == ".gdb" else {}
    write(path, squares(3), {"height": [3.0, 4.0, 5.0]}, layer="房屋", geometry_type="MultiPolygon", **driver)
    write(path, [shapely.Point(EAST, NORTH)], layer="trees", append=False, **driver)
    pyogrio.raw.write(path, None, [np.array([1.0])], ["a"], layer="people", geometry_type=None, append=True, **driver)
    found = probe(path, path.name)
    assert [(p.key, p.count, p.fatal) for p in found] == [
        (f"城区{suffix}#房屋", 3, False), (f"城区{suffix}#trees", 1, False), (f"城区{suffix}#people", None, True),
    ]  # fmt: skip
    for one in found[:2]:
        assert len(Given(one).objects) == one.count == pyogrio.read_info(path, layer=one.options["layer"])["features"]
    again = probe(path, found[1].key)
    assert [p.key for p in again] == [p.key for p in found], "a plan names layers"


def test_a_container_through_a_plan(tmp_path: Path):
    path = tmp_path / "城区.gpkg"
    write(path, squares(3), {"height": [3.0, 4.0, 5.0]}, layer="房屋")
    write(path, squares(2), layer="宗地")
    plan = make_plan([path], Options(dataset="city", place=PlaceOptions(vertical="ellipsoid")))
    workspace = Workspace.create(tmp_path / "work")
    for _ in range(2):
        report = run_import(workspace, Plan.from_yaml(plan.to_yaml()))
    with workspace.store() as store:
        assert sorted(s.key for s in store.sources("city")) == ["城区.gpkg#宗地", "城区.gpkg#房屋"]
        layers = [layer for s in store.sources("city") for layer in s.options["layers"]]
        assert sorted(layers) == ["城区#宗地", "城区#房屋"]
    assert report.datasets[0].objects == {"created": 0, "updated": 0, "unchanged": 5}
    assert report.datasets[0].seq is None


def test_what_gdal_refuses_is_found_by_halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "a.gpkg", squares(40))
    truth, bad = pyogrio.raw.read, {5, 31}

    def read(*args: object, skip_features: int, max_features: int, **options: object):
        if bad & set(range(skip_features, skip_features + max_features)):
            raise pyogrio.errors.FeatureError("broken")
        return truth(*args, skip_features=skip_features, max_features=max_features, **options)

    monkeypatch.setattr(pyogrio.raw, "read", read)
    found = take(path)
    assert [r.where for r in found.rejected] == ["a.gpkg:5", "a.gpkg:31"]
    assert len(found.objects) == 38
    bad.update(range(40))
    monkeypatch.setattr("importers.vector.layers._REFUSALS", 3)
    found = take(path)
    assert (len(found.objects), len(found.rejected)) == (0, 40)


def test_text_that_breaks_off_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "a.geojson", [shapely.Point(114 + i / 1e4, 30) for i in range(200)], crs="EPSG:4326")
    monkeypatch.setattr(importers.vector, "_MAX_JSON", 100)
    monkeypatch.setattr(importers.vector, "_SAMPLE_ROWS", 10)
    path.write_bytes(path.read_bytes()[:-2000])
    (found,) = probe(path, "a.geojson")
    if found.fatal:
        assert [p.code for p in found.problems] == ["vector.unreadable"]
    else:
        assert Given(found, PlaceOptions()).rejected


def test_attributes_are_json(tmp_path: Path):
    columns = {
        "n": np.array([1.5, np.nan]), "d": np.array(["2020-01-02", "NaT"], "datetime64[D]"), "t": np.array(["2020-01-02T03:04:05", "NaT"], "datetime64[ms]"),
        "b": np.array([True, False]), "i": np.array([2**40, 1]),
    }  # fmt: skip
    found = take(write(tmp_path / "a.gpkg", squares(2), columns))
    first, second = (o.attributes for o in found.objects)
    assert (first["n"], first["b"], first["i"]) == (1.5, True, 2**40)
    assert first["d"] == "2020-01-02"
    assert first["t"].startswith("2020-01-02T03:04:05")
    assert set(second) == {"b", "i"}
    json.dumps([first, second], allow_nan=False)


def test_solids_of_geopackages(tmp_path: Path):
    ring = np.array([[0, 0, 0], [10, 0, 0], [10, 0, 5], [0, 0, 0]]) + [EAST, NORTH, 0.0]
    import struct

    tin = struct.pack("<BII", 1, 1016, 1) + struct.pack("<BIII", 1, 1017, 1, 4) + ring.tobytes()
    with pytest.warns(RuntimeWarning, match="non-standard"):
        pyogrio.raw.write(
            tmp_path / "a.gpkg",
            np.array([tin], object),
            [np.array([1])],
            ["a"],
            geometry_type="Unknown",
            crs="EPSG:4547",
        )
    found = take(tmp_path / "a.gpkg")
    assert [o.representations[0].role for o in found.objects] == ["body"]


def test_mixed_geometry_is_said_and_each_becomes_what_it_is(tmp_path: Path):
    shapes = [squares(1)[0], shapely.Point(EAST, NORTH), shapely.LineString([(EAST, NORTH), (EAST + 5, NORTH)])]
    found = take(write(tmp_path / "a.gpkg", shapes, geometry_type="Unknown"))
    assert [p.code for p in found.probe.problems] == ["vector.mixed-geometry"]
    assert [o.representations[0].role for o in found.objects] == ["footprint", "model", "footprint"]
    assert not found.rejected


def test_a_file_that_is_gone(tmp_path: Path):
    path = write(tmp_path / "a.gpkg", squares(2))
    (found,) = probe(path, "a.gpkg")
    path.unlink()
    with pytest.raises(SourceError, match=r"a\.gpkg"):
        Given(found)
