"""What stands where: footprints raised, lines swept, points planted."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from importers.vector import probe, sweep
from importers.vector.prototypes import prototype
from tests.importers.vector.fixtures import CRS, EAST, NORTH, Given, squares, take, write
from tests.tim.test_shape import PLACE
from tim.place.resolve import PlaceOptions
from tim.shape import STEP, Shape, build, decode

ONE = np.ones((1, 3))
NONE = np.array([np.nan])


def shape_of(found: Given, row: int = 0) -> Shape:
    (representation,) = found.objects[row].representations
    return decode(found.blobs[representation.content])


def ecef(x: float, y: float, z: float) -> np.ndarray:
    lon, lat = Transformer.from_crs(CRS, "EPSG:4490", always_xy=True).transform(x, y)
    return np.array(Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True).transform(lon, lat, z))


def volume(positions: np.ndarray, triangles: np.ndarray) -> float:
    """Of a closed surface, positive where its triangles face outwards."""
    about = positions - positions.mean(axis=0)
    a, b, c = (about[triangles[:, k]] for k in range(3))
    return float((np.cross(a, b) * c).sum() / 6)


def closed(triangles: np.ndarray) -> bool:
    """Every edge is passed once in each direction."""
    edges = [tuple(e) for t in triangles.tolist() for e in ((t[0], t[1]), (t[1], t[2]), (t[2], t[0]))]
    return len(set(edges)) == len(edges) and all((b, a) in set(edges) for a, b in edges)


def test_a_footprint_stands_where_pyproj_puts_it(tmp_path: Path):
    found = take(write(tmp_path / "房屋.shp", squares(1), {"高度": [12.0], "底高": [3.0]}, encoding="UTF-8"))
    shape = shape_of(found)
    corners = [ecef(EAST + x, NORTH + y, z) for x in (0, 10) for y in (0, 10) for z in (3, 15)]
    for corner in corners:
        assert np.linalg.norm(shape.xyz - corner, axis=1).min() < 2 * STEP
    assert len(shape.positions) == 8
    assert sorted(s for s, _ in shape.polygons()) == ["GroundSurface", "RoofSurface"] + ["WallSurface"] * 4
    assert volume(shape.xyz, shape.triangles) == pytest.approx(10 * 10 * 12, rel=2e-3)
    assert closed(shape.triangles)
    assert found.objects[0].class_id == "building.house"
    west, south, bottom, east, north, top = found.objects[0].box
    assert (bottom, top) == (3.0, 15.0)
    assert west < east
    assert south < north


@given(
    st.lists(st.tuples(st.floats(0, 2 * math.pi), st.floats(5, 50)), min_size=3, max_size=12),
    st.booleans(), st.booleans(), st.floats(1, 90),
)  # fmt: skip
@settings(max_examples=60)
def test_a_prism_is_closed_and_holds_its_volume(corners, hole: bool, backwards: bool, height: float):
    angles = sorted({round(a, 2): r for a, r in corners}.items())
    hull = shapely.Polygon([(r * math.cos(a), r * math.sin(a)) for a, r in angles]) if len(angles) > 2 else None
    if hull is None or not hull.is_valid or hull.area < 10 or shapely.minimum_clearance(hull) < 0.1:
        return
    if hole:
        centre = hull.representative_point().buffer(0.02, quad_segs=1)
        if not hull.contains(centre):
            return
        hull = hull.difference(centre)
    hull = hull.reverse() if backwards else hull
    at = shapely.transform(hull, lambda xy: xy + [EAST, NORTH])
    (patches,) = sweep.prisms(np.array([at]), np.array([2.0]), np.array([2.0 + height]))
    (built,) = build([patches], PLACE)
    assert not built.problems
    shape = decode(built.blob)
    assert volume(shape.xyz, shape.triangles) == pytest.approx(hull.area * height, rel=5e-3, abs=0.5)


def test_height_by_storeys_and_none(tmp_path: Path):
    shapes = squares(3)
    found = take(write(tmp_path / "building.shp", shapes, {"Floors": [4, 0, 2], "Height": [0.0, 0.0, 7.0]}))
    tops = [o.box[5] for o in found.objects]
    assert tops == pytest.approx([12.0, 0.0, 7.0])
    assert [o.representations[0].role for o in found.objects] == ["body", "footprint", "body"]


def test_metres_stay_metres_where_heights_are_in_feet(tmp_path: Path):
    raised = [shapely.force_3d(s, 100.0) for s in squares(1)]
    path = write(tmp_path / "building.shp", raised, {"Height": [10.0]})
    (one,) = take(path, PlaceOptions(vertical="ellipsoid,us-ft")).objects
    assert one.box[2] == pytest.approx(100 * 1200 / 3937)
    assert one.box[5] - one.box[2] == pytest.approx(10.0)


def test_height_of_the_geometry_is_the_base(tmp_path: Path):
    raised = [shapely.force_3d(s, 40.0 + i) for i, s in enumerate(squares(2))]
    found = take(write(tmp_path / "building.shp", raised, {"Height": [10.0, 10.0]}))
    assert [(o.box[2], o.box[5]) for o in found.objects] == [pytest.approx((40.0, 50.0)), pytest.approx((41.0, 51.0))]


@pytest.mark.parametrize("crs", ["EPSG:4490", "EPSG:4547"])
def test_small_things_in_degrees_are_no_smaller(tmp_path: Path, crs: str):
    """A kiosk of one square metre is there, whatever the unit of its coordinates."""
    box = shapely.box(EAST, NORTH, EAST + 1, NORTH + 1)
    if crs == "EPSG:4490":
        to = Transformer.from_crs(CRS, crs, always_xy=True)
        box = shapely.transform(box, lambda xy: np.column_stack(to.transform(xy[:, 0], xy[:, 1])))
    found = take(write(tmp_path / "building.gpkg", [box], {"height": [2.5]}, crs=crs))
    assert not found.rejected
    shape = shape_of(found)
    assert volume(shape.xyz, shape.triangles) == pytest.approx(2.5, rel=5e-3)


@given(
    st.lists(st.tuples(*[st.floats(-50, 50)] * 3), min_size=2, max_size=8),
    st.floats(0.05, 1.5),
)  # fmt: skip
@settings(max_examples=80)
def test_a_tube_keeps_its_diameter(points, diameter: float):
    at = np.array(points)
    steps = np.linalg.norm(np.diff(at, axis=0), axis=1)
    if (steps < 4 * diameter).any():
        return
    ((tube,),) = sweep.tubes(np.array([shapely.LineString(at)]), np.array([diameter]), NONE, ONE)
    assert np.isfinite(tube.positions).all()
    assert closed(tube.triangles), "mantle and caps"
    # No point is nearer to the line than the radius (a mitre may be farther): nothing pinches.
    offset = np.full(len(tube.positions), np.inf)
    for a, b in itertools.pairwise(at):
        along = (b - a) / np.linalg.norm(b - a)
        rel = tube.positions - a
        offset = np.minimum(offset, np.linalg.norm(rel - (rel @ along)[:, None] * along, axis=1))
    assert offset.max() <= diameter / 2 + 1e-6
    ends = np.linalg.norm(tube.positions[:8] - at[0], axis=1)
    assert ends == pytest.approx(np.full(8, diameter / 2))


def test_a_straight_tube_has_no_needless_rings():
    line = shapely.LineString([(0, 0, 1), (5, 0, 1), (5, 0, 1), (10, 0, 1)])
    ((tube,),) = sweep.tubes(np.array([line]), np.array([0.4]), NONE, ONE)
    assert tube.positions.shape == (16, 3)
    ngon = 8 / 2 * 0.2**2 * math.sin(2 * math.pi / 8)
    assert volume(tube.positions, tube.triangles) == pytest.approx(10 * ngon)
    ((wide,),) = sweep.tubes(np.array([line]), np.array([0.5]), np.array([-3.0]), ONE)
    assert wide.positions.shape == (24, 3)
    assert wide.positions[:, 2].mean() == pytest.approx(-3.0)


def test_a_bend_is_mitred():
    line = shapely.LineString([(0, 0), (10, 0), (10, 10)])
    ((tube,),) = sweep.tubes(np.array([line]), np.array([0.4]), np.array([0.0]), ONE)
    ngon = 8 / 2 * 0.2**2 * math.sin(2 * math.pi / 8)
    assert volume(tube.positions, tube.triangles) == pytest.approx(20 * ngon)
    joint = tube.positions[8:16]
    assert (joint[:, 0] - 10) == pytest.approx(-joint[:, 1])


def test_pipes_by_usual_names(tmp_path: Path):
    lines = [shapely.LineString([(EAST, NORTH + i), (EAST + 10, NORTH + i)]) for i in range(3)]
    found = take(
        write(
            tmp_path / "给水管线.shp",
            lines,
            {"管径": ["DN300", "0.3", "300"], "埋深": [1.5, 1.5, 0.0]},
            encoding="UTF-8",
        )
    )
    assert {o.class_id for o in found.objects} == {"pipeline.pipe.water"}
    assert [(o.box[5] - o.box[2]) for o in found.objects] == pytest.approx([0.3] * 3, abs=1e-6)
    assert [o.box[5] for o in found.objects] == pytest.approx([-1.35, -1.35, 0.15])


def test_a_road_is_a_ribbon(tmp_path: Path):
    line = shapely.LineString([(EAST, NORTH), (EAST + 100, NORTH), (EAST + 100, NORTH + 50)])
    found = take(write(tmp_path / "道路.shp", [line], {"路宽": [12.0]}, encoding="UTF-8"))
    shape = shape_of(found)
    a, b, c = (shape.xyz[shape.triangles[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    assert np.linalg.norm(normal, axis=1).sum() / 2 == pytest.approx(12 * 150, rel=2e-3)
    up = ecef(EAST, NORTH, 1.0) - ecef(EAST, NORTH, 0.0)
    assert (normal @ up > 0).all()


def test_trees_share_a_model(tmp_path: Path):
    points = [shapely.Point(EAST + i, NORTH, 5.0) for i in range(4)]
    found = take(write(tmp_path / "行道树.shp", points, {"高度": [6.0, 12.0, 0.0, 3.0]}, encoding="UTF-8"))
    assert len(found.blobs) == 1
    assert list(found.blobs.values()) == [prototype("tree").blob]
    models = [o.representations[0] for o in found.objects]
    assert {(m.role, m.format) for m in models} == {("model", "tim-shape")}
    assert [m.properties.get("scale", 1.0) for m in models] == [1.0, 2.0, 1.0, 0.5]
    lon, lat = Transformer.from_crs(CRS, "EPSG:4490", always_xy=True).transform(EAST, NORTH)
    assert models[0].properties["at"] == pytest.approx([lon, lat, 5.0], abs=1e-8)
    assert found.objects[0].box[0] < lon < found.objects[0].box[3]
    assert found.objects[1].box[5] == pytest.approx(17.0)


def test_every_one_of_several_points_stands(tmp_path: Path):
    several = shapely.MultiPoint([(EAST, NORTH, 1.0), (EAST + 9, NORTH, 2.0), (EAST, NORTH + 9, 3.0)])
    found = take(write(tmp_path / "路灯.gpkg", [several]))
    (one,) = found.objects
    assert [m.properties["at"][2] for m in one.representations] == [1.0, 2.0, 3.0]
    assert (one.box[2], one.box[5]) == pytest.approx((0.8, 11.0))
    assert len(found.blobs) == 1


@pytest.mark.parametrize("name", ["tree", "lamp", "well", "box"])
def test_prototypes(name: str):
    made = prototype(name)
    shape = decode(made.blob)
    assert shape.xyz[:, 2].max() == pytest.approx(made.height, abs=0.1)
    assert np.linalg.norm(shape.xyz[:, :2], axis=1).max() <= made.radius + 1e-3
    assert 12 <= len(shape.triangles) <= 300
    a, b, c = (shape.xyz[shape.triangles[:, k]] for k in range(3))
    assert (np.linalg.norm(np.cross(b - a, c - a), axis=1) > 0).all()
    assert volume(shape.xyz, shape.triangles) > 0, "faces look outwards"


with np.errstate(invalid="ignore"):
    INFINITE, NAN = (shapely.from_wkt(f"LINESTRING (0 0, {x} 0, 1 1)") for x in ("inf", "nan"))

BAD = {
    "crossing": (shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 12)]), [], ["vector.self-crossing"]),
    "empty": (shapely.Polygon(), ["vector.no-geometry"], []),
    "null": (None, ["vector.no-geometry"], []),
    "not finite": (INFINITE, ["vector.not-finite"], []),
    "nan": (NAN, ["vector.not-finite"], []),
    "no area": (shapely.Polygon([(0, 0), (1, 1), (2, 2)]), ["vector.nothing-to-draw"], None),
    "mixed": (shapely.GeometryCollection([shapely.Point(0, 0), shapely.box(0, 0, 1, 1)]), ["vector.bad-geometry"], []),
    "no length": (shapely.LineString([(0, 0), (0, 0)]), ["vector.nothing-to-draw"], []),
    "far away": (shapely.box(1e30, 0, 2e30, 1), ["vector.no-place"], None),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("height", [0.0, 10.0])
def test_bad_geometry_is_named(tmp_path: Path, case: str, height: float):
    shape, rejected, warnings = BAD[case]
    if shape is not None:
        with np.errstate(invalid="ignore"):
            shape = shapely.transform(shape, lambda xy: xy + [EAST, NORTH])
    near = write(
        tmp_path / "x.gpkg", [*squares(1), shape, squares(2)[1]], {"height": [height] * 3}, geometry_type="Unknown"
    )
    (found,) = probe(near, "x.gpkg")
    # Where it lies is not the question here.
    given_ = Given(replace(found, low=(EAST, NORTH, 0.0), high=(EAST + 40, NORTH + 10, 0.0), fatal=False, problems=()))
    assert given_.codes == rejected
    assert [r.where for r in given_.rejected] == ["x.gpkg:2"] * len(rejected)
    assert len(given_.objects) == 3 - len(rejected)
    if warnings is not None:
        assert set(warnings) <= {w.code for w in given_.warnings}
        assert bool(warnings) == bool(given_.warnings)


def test_a_multipolygon_with_a_hole_is_one_object(tmp_path: Path):
    holed = shapely.Polygon(squares(1)[0].exterior, [shapely.box(EAST + 2, NORTH + 2, EAST + 4, NORTH + 4).exterior])
    both = shapely.MultiPolygon([holed, squares(2)[1]])
    found = take(write(tmp_path / "building.gpkg", [both], {"height": [10.0]}), PlaceOptions(vertical="ellipsoid"))
    shape = shape_of(found)
    assert volume(shape.xyz, shape.triangles) == pytest.approx((96 + 100) * 10, rel=3e-3)
