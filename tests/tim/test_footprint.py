"""Footprints: of boxes, models and bodies, on one side of the antimeridian or on both."""

from __future__ import annotations

import numpy as np
import pytest
from shapely.geometry import shape as drawn

from tim.model import ObjectRecord, Representation
from tim.place import Datum, Height, Place
from tim.shape import FORMAT, Polygon, build, footprint

PLACE = Place(crs="EPSG:4979", height=Height("ellipsoid", "ellipsoid"), datum=Datum("equivalent", "WGS 84", 0.1))
BODY = Representation("body", "1", FORMAT, "aa")


def square(west: float, east: float, height: float, semantic: str = "", *, down: bool = False) -> Polygon:
    ring = np.array([[west, 0.0, height], [east, 0.0, height], [east, 1.0, height], [west, 1.0, height]])
    return Polygon([ring[::-1] if down else ring], semantic)


def test_the_ground_of_a_body_comes_first():
    blob = build([[square(10, 12, 9), square(10, 11, 0, "GroundSurface"), square(10, 13, 5, down=True)]], PLACE)[0].blob
    document = footprint.geometry(ObjectRecord("a", "building", box=(0, 0, 0, 1, 1, 1)), blob)
    assert document is not None
    assert drawn(document).bounds == pytest.approx((10, 0, 11, 1))
    assert {len(position) for ring in document["coordinates"] for position in ring} == {3}


def test_what_there_is_without_a_body():
    box = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    model = Representation("model", "", "glb", "bb", {"at": [2, 3, 4]})
    assert footprint.geometry(ObjectRecord("a", "tree"), None) is None
    assert footprint.flat(ObjectRecord("a", "tree"), None) is None
    assert footprint.geometry(ObjectRecord("a", "tree", box=box, representations=(model,)), None) == {"type": "Point", "coordinates": [2.0, 3.0, 4.0]}  # fmt: skip
    assert footprint.flat(ObjectRecord("a", "tree", box=box), None).bounds == (1.0, 2.0, 4.0, 5.0)
    assert footprint.geometry(ObjectRecord("a", "tree", box=box), b"broken") is None


def test_content_is_the_footprint_or_the_finest_body():
    finer, flat = Representation("body", "2", FORMAT, "bb"), Representation("footprint", "0", FORMAT, "cc")
    assert footprint.content(ObjectRecord("a", "x")) is None
    assert footprint.content(ObjectRecord("a", "x", representations=(BODY, finer))) == "bb"
    assert footprint.content(ObjectRecord("a", "x", representations=(BODY, flat, finer))) == "cc"


@pytest.mark.parametrize(
    ("box", "kind", "area"),
    [((0, 0, 0, 2, 1, 5), "Polygon", 2), ((179, 0, 0, -178, 1, 5), "MultiPolygon", 3), ((-170, 0, 0, 170, 1, 5), "Polygon", 340),
     ((-180, 0, 0, 180, 1, 5), "Polygon", 360), ((1, 1, 0, 1, 1, 5), "Point", 0), ((1, 1, 0, 1, 2, 5), "Polygon", 0)],
)  # fmt: skip
def test_boxes(box: tuple[float, ...], kind: str, area: float):
    record = ObjectRecord("a", "x", box=box)  # type: ignore[arg-type]
    document = footprint.geometry(record, None)
    assert document is not None
    assert document["type"] == kind
    flat = footprint.flat(record, None)
    assert flat.is_valid
    assert not flat.is_empty
    assert flat.area == pytest.approx(area)


def test_bodies_across_the_antimeridian():
    """Both sides, and nothing of the way round the world."""
    built = build([[square(179, -178, 0, "GroundSurface")]], PLACE)[0]
    flat = footprint.flat(ObjectRecord("a", "x", box=built.box, representations=(BODY,)), built.blob)
    assert flat.is_valid
    assert flat.area == pytest.approx(3, rel=1e-6)
    assert sorted(tuple(round(v) for v in part.bounds) for part in flat.geoms) == [(-180, 0, -178, 1), (179, 0, 180, 1)]


def test_parts_that_share_edges_are_one():
    """Many surfaces side by side make no valid multipolygon; their union is one."""
    built = build([[square(i, i + 1, 0, "GroundSurface") for i in range(4)]], PLACE)[0]
    flat = footprint.flat(ObjectRecord("a", "x", box=built.box, representations=(BODY,)), built.blob)
    assert flat.is_valid
    assert flat.area == pytest.approx(4, rel=1e-6)
