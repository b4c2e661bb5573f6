"""Templates stand where an independent computation in the source's own grid puts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import Transformer

from importers import ImportContext, importer
from importers.plan import place_of
from tests.importers.cityjson.test_garbage import SURFACE, VERTICES, X, Y, city, read
from tests.importers.matrices import MIRRORED, SHEARED, UPRIGHT
from tim import shape
from tim.model import Blob, ObjectRecord
from tim.place.resolve import PlaceOptions

CORNERS = [[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 7.0]]


@pytest.mark.parametrize("matrix", [np.eye(4), UPRIGHT, SHEARED, MIRRORED])
def test_templates_stand_where_they_should(tmp_path: Path, matrix: np.ndarray[Any, Any]):
    """To a centimetre, 60 km off the central meridian, where grid north is not true north."""
    template = {"type": "MultiSurface", "lod": "2", "boundaries": [[[0, 1, 2]], [[0, 1, 3]], [[0, 2, 3]]]}
    instance = {
        "type": "GeometryInstance",
        "template": 0,
        "boundaries": [2],
        "transformationMatrix": matrix.ravel().tolist(),
    }
    document = city(
        instance,
        transform={"scale": [0.001] * 3, "translate": [X + 60_000, Y, 0]},
        **{"geometry-templates": {"templates": [template], "vertices-templates": CORNERS}},
    )
    path = tmp_path / "a.city.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    (probe,) = importer("cityjson").probe(path, path.name)
    place = place_of(probe, PlaceOptions(crs="EPSG:4547", vertical="ellipsoid"), PlaceOptions())
    found = list(importer("cityjson").read(probe, ImportContext(place)))
    blobs = {item.content: item.data for item in found if isinstance(item, Blob)}
    (model,) = next(
        item for item in found if isinstance(item, ObjectRecord) and item.source_key == "building"
    ).representations
    assert (model.role, model.lod) == ("model", "2")

    local = np.array(CORNERS) @ matrix[:3, :3].T + matrix[:3, 3]
    native = local + np.array(VERTICES[2]) * 0.001 + [X + 60_000, Y, 0]
    lon, lat = Transformer.from_crs("EPSG:4547", "EPSG:4490", always_xy=True).transform(native[:, 0], native[:, 1])
    to_ecef = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    expected = np.column_stack(to_ecef.transform(lon, lat, native[:, 2]))

    lon, lat, height = model.properties["at"]
    turn = np.radians(model.properties.get("heading", 0.0))
    east, north, up = (shape.decode(blobs[model.content]).xyz * model.properties.get("scale", [1, 1, 1])).T
    enu = np.column_stack([east * np.cos(turn) + north * np.sin(turn), north * np.cos(turn) - east * np.sin(turn), up])
    topocentric = Transformer.from_pipeline(f"+proj=topocentric +ellps=WGS84 +lon_0={lon} +lat_0={lat} +h_0={height}")
    placed = np.column_stack(topocentric.transform(*enu.T, direction="INVERSE"))
    gaps = np.linalg.norm(expected[:, None] - placed[None], axis=2)
    assert gaps.min(axis=1).max() < 0.01


def test_templates_are_stored_once(tmp_path: Path):
    """Two trees of one template, turned differently, share their blob."""
    template = {"type": "MultiSurface", "lod": "2", "boundaries": [[[0, 1, 2]]]}
    instances = [
        {"type": "GeometryInstance", "template": 0, "boundaries": [n], "transformationMatrix": m.ravel().tolist()}
        for n, m in ((0, np.eye(4)), (2, UPRIGHT))
    ]
    document = city(SURFACE, **{"geometry-templates": {"templates": [template], "vertices-templates": CORNERS}})
    document["CityObjects"] = {
        f"tree{n}": {"type": "SolitaryVegetationObject", "geometry": [g]} for n, g in enumerate(instances)
    }
    objects, rejected = read(tmp_path, document)
    assert not rejected
    assert len({record.representations[0].content for record in objects.values()}) == 1
