"""Every format, read by the importers or by a second reader: objects, attributes, codes, relations and places are what they were."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from pyproj import Transformer

from exporters.job import Options
from tests.exporters.towns import CRS, EAST, NORTH, SLUG, UID, current, export_to, read_back, said, town
from tim.model import derived_id
from tim.place import PlaceOptions
from tim.shape import decode
from tim.workspace import Workspace

HOUSE, PART = derived_id(UID, "房屋", "H1"), derived_id(UID, "房屋", "H1-a")
DRAWN = {derived_id(UID, layer, key) for layer, key in (("房屋", "H1"), ("房屋", "H1-a"), ("用地", "Y1"), ("树", "T1"))}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.create(tmp_path / "workspace")
    town(made)
    return made


def originals(workspace: Workspace):
    with workspace.store() as store:
        return current(store)


@pytest.mark.parametrize("name", ["t.geojsons", "t.geojsonl", "t.gpkg"])
def test_rows_come_back_as_the_same_objects(workspace: Workspace, tmp_path: Path, name: str):
    done = export_to(workspace, tmp_path / name)
    assert (done.objects, done.bytes) == (5, (tmp_path / name).stat().st_size)
    found, report = read_back(tmp_path, tmp_path / name, PlaceOptions(vertical="ellipsoid"))
    before = originals(workspace)
    assert found.keys() == DRAWN
    assert [r.code for r in report.rejected] == ["vector.mixed-geometry", "vector.no-geometry"]
    for tim_id, version in found.items():
        assert said(version) == said(before[tim_id])
        boxes = np.array([version.object.box, before[tim_id].object.box])
        if tim_id != derived_id(UID, "树", "T1"):
            assert np.abs(boxes[0] - boxes[1])[[0, 1, 2, 3, 4]].max() < 1e-3
            assert np.abs(boxes[0] - boxes[1])[[0, 1, 3, 4]].max() < 2e-9


def test_a_projected_geopackage_comes_back(workspace: Workspace, tmp_path: Path):
    export_to(workspace, tmp_path / "t.gpkg", Options(CRS, geometry="body"))
    info = pyogrio.read_info(tmp_path / "t.gpkg", layer=SLUG)
    assert (info["crs"], info["features"]) == ("EPSG:4547", 5)
    _, _, wkb, (ids,) = pyogrio.raw.read(tmp_path / "t.gpkg", layer=SLUG, columns=["tim_id"])
    house = shapely.from_wkb(wkb[ids.tolist().index(str(HOUSE))])
    assert (house.geom_type, len(house.geoms)) == ("MultiPolygon", 6)
    # 4547's datum is taken for WGS 84's equal: the coordinates are those the house was built of.
    np.testing.assert_allclose(shapely.get_coordinates(house).min(axis=0), [EAST, NORTH], atol=1e-3)
    found, _ = read_back(tmp_path, tmp_path / "t.gpkg", PlaceOptions(vertical="ellipsoid"))
    before = originals(workspace)
    assert {i: said(v) for i, v in found.items()} == {i: said(before[i]) for i in DRAWN}
    roles = {representation.role for representation in found[HOUSE].object.representations}
    assert roles == {"body"}


def test_a_geopackage_has_tables_of_codes_and_relations(workspace: Workspace, tmp_path: Path):
    export_to(workspace, tmp_path / "t.gpkg")
    meta, _, _, columns = pyogrio.raw.read(tmp_path / "t.gpkg", layer="codes")
    codes = [dict(zip(meta["fields"].tolist(), row, strict=True)) for row in zip(*columns, strict=True)]
    assert {(c["tim_id"], c["scheme"], c["edition"], c["value"], c["valid_from"]) for c in codes} == {
        (str(HOUSE), "cn.real-estate-unit", "GB/T 37346-2019", "440300001", None), (str(HOUSE), "local", "", "X-1", "2021-05-01"),
    }  # fmt: skip
    meta, _, _, columns = pyogrio.raw.read(tmp_path / "t.gpkg", layer="relations")
    (link,) = [dict(zip(meta["fields"].tolist(), row, strict=True)) for row in zip(*columns, strict=True)]
    assert (link["tim_id"], link["kind"], link["target"], link["evidence"]) == (
        str(PART),
        "partOf",
        str(HOUSE),
        "survey",
    )
    kinds = dict(
        zip(*(pyogrio.read_info(tmp_path / "t.gpkg", layer=SLUG)[k] for k in ("fields", "dtypes")), strict=True)
    )
    assert {kinds[n] for n in ("floors", "version")} == {"int64"}
    assert (kinds["height"], kinds["heated"], "mixed" in kinds, "attributes.Name" in kinds) == (
        "float64",
        "bool",
        False,
        True,
    )


def test_csv_comes_back_but_for_what_text_cannot_say(workspace: Workspace, tmp_path: Path):
    export_to(workspace, tmp_path / "t.csv")
    found, _ = read_back(tmp_path, tmp_path / "t.csv", PlaceOptions(crs="EPSG:4979"))
    before = originals(workspace)
    assert found.keys() == DRAWN
    for tim_id, version in found.items():
        wanted = said(before[tim_id])
        texts = {
            name: str(value).lower() if isinstance(value, bool) else value for name, value in wanted.attributes.items()
        }
        assert said(version).attributes == texts
        assert (said(version).codes, said(version).relations, said(version).stage) == (
            wanted.codes,
            wanted.relations,
            wanted.stage,
        )


def test_csv_is_guarded_for_spreadsheets_on_request(workspace: Workspace, tmp_path: Path):
    plain, guarded = tmp_path / "a.csv", tmp_path / "b.csv"
    export_to(workspace, plain)
    export_to(workspace, guarded, Options(spreadsheet=True))
    assert not plain.read_bytes().startswith(b"\xef\xbb\xbf")
    assert guarded.read_bytes().startswith(b"\xef\xbb\xbf")
    cells = []
    for path in (plain, guarded):
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
        cells.append({row["tim_id"]: row["note"] for row in rows}[str(HOUSE)])
    assert cells == ["=1+1", "'=1+1"]


def test_geojson_is_as_its_standards_say(workspace: Workspace, tmp_path: Path):
    export_to(workspace, tmp_path / "t.geojsons")
    export_to(workspace, tmp_path / "t.geojsonl")
    sequence, lines = ((tmp_path / name).read_bytes() for name in ("t.geojsons", "t.geojsonl"))
    assert sequence.replace(b"\x1e", b"") == lines
    records = sequence.split(b"\x1e")
    assert records[0] == b""
    features = {f["id"]: f for f in map(json.loads, records[1:])}
    assert all(record.endswith(b"\n") for record in records[1:])
    ring = np.array(features[str(HOUSE)]["geometry"]["coordinates"][0])
    expected = Transformer.from_crs("EPSG:4547", "EPSG:4490", always_xy=True).transform(EAST, NORTH)
    assert np.abs(ring[:, :2] - expected).sum(axis=1).min() < 2e-8
    assert np.abs(ring[:, 2] - 20).max() < 1e-3
    assert shapely.is_ccw(shapely.linearrings(ring))
    yard = features[str(derived_id(UID, "用地", "Y1"))]["geometry"]
    assert [len(ring) for ring in yard["coordinates"]] == [5, 5]
    assert features[str(derived_id(UID, "用地", "N1"))]["geometry"] is None
    properties = features[str(HOUSE)]["properties"]
    assert properties["codes"][0]["value"] == "440300001"
    assert properties["attributes"] == {"mixed": 7, "nested": {"a": [1, None]}}


def test_geoparquet_by_its_own_reader(workspace: Workspace, tmp_path: Path):
    pq = pytest.importorskip("pyarrow.parquet")
    done = export_to(workspace, tmp_path / "t.parquet")
    table = pq.read_table(tmp_path / "t.parquet")
    rows = {row["tim_id"]: row for row in table.to_pylist()}
    before = originals(workspace)
    assert rows.keys() == {str(i) for i in before}
    house = rows[str(HOUSE)]
    assert (house["floors"], house["height"], house["heated"], house["attributes.Name"], house["code"]) == (
        3,
        8.5,
        True,
        "other",
        "007",
    )
    assert json.loads(house["attributes"]) == {"mixed": 7, "nested": {"a": [1, None]}}
    assert [code["value"] for code in house["codes"]] == ["440300001", "X-1"]
    assert rows[str(PART)]["relations"][0]["target"] == str(HOUSE)
    assert json.loads(rows[str(derived_id(UID, "树", "T1"))]["representations"])[0]["properties"]["heading"] == 30.0
    geo = json.loads(pq.read_metadata(tmp_path / "t.parquet").metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert (geo["version"], column["encoding"], set(column["geometry_types"])) == (
        "1.1.0",
        "WKB",
        {"Polygon Z", "Point Z"},
    )
    assert column["crs"]["id"] == {"authority": "OGC", "code": "CRS84h"}
    shapes = {i: shapely.from_wkb(row["geometry"]) for i, row in rows.items() if row["geometry"]}
    for i, shape in shapes.items():
        box = rows[i]["bbox"]
        np.testing.assert_allclose([box["xmin"], box["ymin"], box["xmax"], box["ymax"]], shape.bounds, atol=1e-12)
        assert np.abs(np.array(shape.bounds) - np.array(before[type(HOUSE)(i)].object.box)[[0, 1, 3, 4]]).max() < 2e-9
    assert column["bbox"][:2] == pytest.approx([min(s.bounds[k] for s in shapes.values()) for k in (0, 1)])
    codes = {code for code, _ in done.problems}
    assert codes == {"export.flattened", "export.models", "export.no-geometry"}


def test_cityjson_comes_back_solid(workspace: Workspace, tmp_path: Path):
    export_to(workspace, tmp_path / "t.city.json", Options(CRS))
    document = json.loads((tmp_path / "t.city.json").read_text(encoding="utf-8"))
    assert (document["version"], document["metadata"]["referenceSystem"]) == (
        "2.0",
        "https://www.opengis.net/def/crs/EPSG/0/4547",
    )
    house, part = document["CityObjects"]["H1"], document["CityObjects"]["H1-a"]
    assert (house["type"], house["children"], part["type"], part["parents"]) == (
        "Building",
        ["H1-a"],
        "BuildingPart",
        ["H1"],
    )
    (solid,) = house["geometry"]
    assert (solid["type"], solid["lod"], len(solid["boundaries"][0])) == ("Solid", "2", 6)
    assert [s["type"] for s in solid["semantics"]["surfaces"]] == ["GroundSurface", "RoofSurface", "WallSurface"]
    assert solid["semantics"]["values"] == [[0, 1, 2, 2, 2, 2]]
    vertices = np.array(document["vertices"]) * document["transform"]["scale"] + document["transform"]["translate"]
    corners = vertices[sorted({i for face in solid["boundaries"][0] for ring in face for i in ring})]
    np.testing.assert_allclose(
        [corners.min(axis=0), corners.max(axis=0)], [[EAST, NORTH, 20], [EAST + 10, NORTH + 10, 28]], atol=1.1e-3
    )
    found, _ = read_back(tmp_path, tmp_path / "t.city.json", PlaceOptions(vertical="ellipsoid"))
    before = originals(workspace)
    assert {i: said(v) for i, v in found.items()} == {i: said(before[i]) for i in before}
    with workspace.store() as old, Workspace.open(tmp_path / "fresh").store() as new:
        for store, version in ((old, before[HOUSE]), (new, found[HOUSE])):
            blob = store.get_blob(version.object.representations[0].content)
            assert blob is not None
            shape = decode(blob)
            assert (len(shape.polygons()), len(np.unique(shape.positions, axis=0)), shape.semantics[0]) == (
                6,
                8,
                "GroundSurface",
            )


def test_cityjson_is_taken_by_cjio(workspace: Workspace, tmp_path: Path):
    export_to(workspace, tmp_path / "t.city.json", Options(CRS))
    command = [
        sys.executable,
        "-c",
        "from cjio.cjio import cli; cli()",
        str(tmp_path / "t.city.json"),
        "info",
        "vertices_clean",
        "save",
        str(tmp_path / "u.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "EPSG = 4547" in done.stdout
    cleaned = json.loads((tmp_path / "u.json").read_text(encoding="utf-8"))
    assert cleaned["CityObjects"].keys() == {"H1", "H1-a", "Y1", "T1", "N1"}


@pytest.mark.parametrize("name", ["t.geojsons", "t.csv", "t.parquet", "t.city.json"])
def test_equal_content_gives_equal_bytes(workspace: Workspace, tmp_path: Path, name: str):
    other = Workspace.create(tmp_path / "other")
    town(other)
    files = []
    for k, source in enumerate((workspace, workspace, other)):
        out = tmp_path / str(k) / name
        export_to(source, out, versions="current")
        files.append(out.read_bytes())
    assert files[0] == files[1]
    moments = [(version.db_from, version.seq) for version in originals(workspace).values()]
    assert moments  # the other's differ by the moment it was written, and by nothing else
    with workspace.store() as a, other.store() as b:
        times = {v.db_from: w.db_from for v, w in zip(current(a).values(), current(b).values(), strict=True)}
    if name != "t.parquet":
        text = files[0].decode()
        for mine, theirs in times.items():
            text = text.replace(mine, theirs)
        assert text == files[2].decode()
