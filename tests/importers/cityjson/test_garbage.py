"""Members of the wrong kind: the object stays, or is rejected with a reason; reading goes on."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from importers import ImportContext, importer
from importers.contract import ObjectImporterContract
from importers.plan import place_of
from tim.errors import is_warning
from tim.model import ObjectRecord, Rejected
from tim.place.resolve import PlaceOptions

X, Y = 500000.0, 3400000.0
VERTICES = [[0, 0, 0], [10000, 0, 0], [10000, 10000, 0], [0, 10000, 0], [0, 0, 5000], [10000, 0, 5000]]
SURFACE: dict[str, Any] = {"type": "MultiSurface", "lod": "1", "boundaries": [[[0, 1, 2]]]}
UV = [[0, 0], [1, 0], [1, 1]]
IMAGE: dict[str, Any] = {"texture": {"": {"values": [[[0, 0, 1, 2]]]}}}


def city(geometry: dict[str, Any], attributes: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A building with this geometry, and a sound piece of land."""
    return {
        "type": "CityJSON", "version": "2.0", "transform": {"scale": [0.001] * 3, "translate": [X, Y, 0]},
        "CityObjects": {
            "building": {"type": "Building", "attributes": attributes or {}, "geometry": [geometry]},
            "land": {"type": "LandUse", "geometry": [SURFACE]},
        },
        "vertices": VERTICES, **more,
    }  # fmt: skip


def read(folder: Path, text: str | dict[str, Any]) -> tuple[dict[str, ObjectRecord], list[Rejected]]:
    path = folder / "a.city.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    (probe,) = importer("cityjson").probe(path, path.name)
    if probe.fatal:
        return {}, list(probe.problems)
    place = place_of(probe, PlaceOptions(crs="EPSG:4547", vertical="ellipsoid"), PlaceOptions())
    found = list(importer("cityjson").read(probe, ImportContext(place)))
    objects = {item.source_key: item for item in found if isinstance(item, ObjectRecord)}
    return objects, [item for item in found if isinstance(item, Rejected)]


class TestContract(ObjectImporterContract):
    format = "cityjson"

    def source(self, folder: Path) -> Path:
        path = folder / "town.city.json"
        path.write_text(json.dumps(city(SURFACE)), encoding="utf-8")
        return path


@pytest.mark.parametrize(
    "document",
    [
        city(SURFACE, metadata={"crs": "x", "geographicalExtent": "y"}),
        city({**SURFACE, "semantics": [1]}),
        city({**SURFACE, "semantics": {"surfaces": ["x"], "values": [0]}}),
        city({**SURFACE, "semantics": {"surfaces": [{"type": 3}], "values": [[0]]}}),
        city({**SURFACE, "material": {"": {"value": 0}}}, appearance={"materials": ["x"]}),
        city({**SURFACE, "material": {"": {"value": 0}}}, appearance={"materials": [{"diffuseColor": [2, "a"]}]}),
        city({**SURFACE, **IMAGE}, appearance={"textures": ["x"], "vertices-texture": UV}),
        city({**SURFACE, **IMAGE}, appearance={"textures": [{"image": "a\0b.jpg"}], "vertices-texture": UV}),
        city({**SURFACE, **IMAGE}, appearance={"textures": [{"image": "../a.jpg"}], "vertices-texture": UV}),
        city({**SURFACE, **IMAGE}, appearance={"textures": [{"image": "a.jpg"}], "vertices-texture": "x"}),
    ],
)
def test_what_dresses_a_surface_may_be_garbage(tmp_path: Path, document: dict[str, Any]):
    objects, rejected = read(tmp_path, document)
    assert set(objects) == {"building", "land"}
    assert len(objects["building"].representations) == 1
    assert all(is_warning(item.code) for item in rejected)


@pytest.mark.parametrize(
    "geometry",
    [
        {**SURFACE, "boundaries": [[[0, 1, 99]]]},
        {**SURFACE, "boundaries": [[[0, 1, -1]]]},
        {**SURFACE, "boundaries": [[["a", 1, 2]]]},
        {**SURFACE, "boundaries": [0, 1]},
        {**SURFACE, "type": "Klein bottle"},
        {"type": "GeometryInstance", "template": 0, "boundaries": [3]},
    ],
)
def test_what_is_no_geometry_is_rejected(tmp_path: Path, geometry: dict[str, Any]):
    objects, rejected = read(tmp_path, city(geometry))
    assert set(objects) == {"land"}
    assert {item.code for item in rejected} == {"cityjson.bad-geometry", "city.nothing-left"}
    assert all(item.where == "a.city.json#building" for item in rejected)


def test_dates_and_what_semantic_surfaces_say(tmp_path: Path):
    roof = {**SURFACE, "semantics": {"surfaces": [{"type": "RoofSurface", "slope": 30}], "values": [0]}}
    objects, _ = read(tmp_path, city(roof, {"validFrom": "2010-01-01", "terminationDate": "2012-01-01T00:00:00"}))
    building = objects["building"]
    assert (building.valid_from, building.valid_to) == ("2010-01-01", "2012-01-01")
    assert building.representations[0].properties == {"surfaces": [{"type": "RoofSurface", "slope": 30}]}


def test_bombs(tmp_path: Path):
    """Nesting, and a name that stands twice among many: refused or read, in no time."""
    began = time.monotonic()
    deep = json.dumps(city(SURFACE)).replace("[[[0, 1, 2]]]", "[" * 200_000 + "]" * 200_000, 1)
    assert [item.code for item in read(tmp_path, deep)[1]] == ["cityjson.too-deep"]
    names = ", ".join(f'"k{i}": 1' for i in range(20_000))
    many = json.dumps(city(SURFACE)).replace('"attributes": {}', f'"attributes": {{{names}, "k0": 2}}')
    assert set(read(tmp_path, many)[0]) == {"building", "land"}
    assert time.monotonic() - began < 5


def test_two_geometries_of_a_level_keep_what_their_surfaces_say(tmp_path: Path):
    roof, wall = (
        {**SURFACE, "semantics": {"surfaces": [{"type": kind, "id": kind[0]}], "values": [0]}}
        for kind in ("RoofSurface", "WallSurface")
    )
    document = city(roof)
    document["CityObjects"]["building"]["geometry"].append({**wall, "boundaries": [[[0, 1, 4]]]})
    objects, _ = read(tmp_path, document)
    (shown,) = objects["building"].representations
    assert shown.properties == {"surfaces": [{"type": "RoofSurface", "id": "R"}, {"type": "WallSurface", "id": "W"}]}


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "MultiPoint", "lod": "1", "boundaries": [1, 3]},
        {"type": "MultiLineString", "lod": "1", "boundaries": [[1, 2, 3]]},
    ],
)
def test_lines_and_points_are_a_place(tmp_path: Path, geometry: dict[str, Any]):
    """The object is imported where they lie, and a warning says that they are not drawn."""
    objects, rejected = read(tmp_path, city(geometry))
    assert objects["building"].representations == ()
    box, land = objects["building"].box, objects["land"].box
    assert box is not None
    assert land is not None
    assert box[:2] == pytest.approx(land[:2], abs=1e-7)
    assert box[4] > land[1] + 5e-5  # ten metres north
    assert [item.code for item in rejected] == ["city.not-drawn"]
    assert is_warning("city.not-drawn")
