"""Shapes: what goes in comes out, at the place it belongs, and bad surfaces are named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from tim.errors import StoreError
from tim.place import FoundCrs, PlaceOptions, ellipsoid, resolve
from tim.shape import STEP, Material, Polygon, Triangles, build, decode, decode_many, decode_rings, encode, model

EAST, NORTH = 500_000.0, 3_400_000.0
PLACE = resolve(
    FoundCrs("EPSG:4547"),
    PlaceOptions(vertical="ellipsoid"),
    np.array([EAST, NORTH, 0]),
    np.array([EAST + 1e4, NORTH + 1e4, 90]),
)
SQUARE = np.array([[0, 0, 5], [10, 0, 5], [10, 10, 5], [0, 10, 5]]) + [EAST, NORTH, 0]
HOLE = np.array([[2, 2, 5], [2, 4, 5], [4, 4, 5], [4, 2, 5]]) + [EAST, NORTH, 0]


def area(shape) -> float:
    a, b, c = (shape.xyz[shape.triangles[:, k]] for k in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def test_vertices_lie_where_pyproj_puts_them():
    (built,) = build([[Polygon([SQUARE])]], PLACE)
    x, y = Transformer.from_crs("EPSG:4547", "EPSG:4490", always_xy=True).transform(SQUARE[:, 0], SQUARE[:, 1])
    truth = np.column_stack(
        Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True).transform(x, y, SQUARE[:, 2])
    )
    shape = decode(built.blob)
    ring = shape.polygons()[0][1][0]
    assert np.abs(shape.xyz[ring] - truth).max() <= STEP
    assert built.box == pytest.approx((x.min(), y.min(), 5, x.max(), y.max(), 5), abs=1e-9)


def test_a_hole_is_left_open_and_rings_come_back():
    for hole in (HOLE, HOLE[::-1]):
        (built,) = build([[Polygon([SQUARE, hole], "GroundSurface")]], PLACE)
        shape = decode(built.blob)
        assert area(shape) == pytest.approx(96, rel=1e-3)
        ((semantic, rings),) = shape.polygons()
        assert semantic == "GroundSurface"
        assert [len(ring) for ring in rings] == [4, 4]
        assert not built.problems
        assert encode(shape) == built.blob


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0]])
def test_triangles_keep_the_winding(order):
    upward = ellipsoid.to_ecef(np.array([[114.0, 30.7, 1.0]])) - ellipsoid.to_ecef(np.array([[114.0, 30.7, 0.0]]))
    for rings in (
        [SQUARE[order]],
        [SQUARE[order], HOLE],
        [np.insert(SQUARE[order], 1, SQUARE[order][:2].mean(axis=0), axis=0)],
    ):
        shape = decode(build([[Polygon(rings)]], PLACE)[0].blob)
        a, b, c = (shape.xyz[shape.triangles[:, k]] for k in range(3))
        sign = np.sign(np.cross(b - a, c - a) @ upward[0])
        assert (sign == (1 if order[0] == 0 else -1)).all()


@pytest.mark.parametrize(
    ("ring", "code", "kept"),
    [
        (SQUARE * np.nan, "shape.not-finite", False),
        (SQUARE + [0, 0, 1e30], "shape.not-finite", False),
        (SQUARE[:2], "shape.too-few-points", False),
        (SQUARE[[0, 1, 1, 0]], "shape.no-area", False),
        (SQUARE[[0, 2, 1, 3]] + [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 4, 0]], "shape.rings-cross", True),
    ],
)
def test_bad_surfaces_are_named_and_the_others_stay(ring, code, kept):
    (built,) = build([[Polygon([SQUARE], "a"), Polygon([ring], "b"), Polygon([SQUARE + [0, 0, 3]], "c")]], PLACE)
    assert [(c, dict(f)) for c, f in built.problems] == [(code, {"surface": 1, "count": 1})]
    assert [s for s, _ in decode(built.blob).polygons()] == (["a", "b", "c"] if kept else ["a", "c"])


def test_neighbours_share_vertices_exactly():
    one, two = build([[Polygon([SQUARE])], [Polygon([SQUARE + [10, 0, 0]])]], PLACE)
    a, b = decode(one.blob).xyz, decode(two.blob).xyz
    assert len({tuple(row) for row in a.tolist()} & {tuple(row) for row in b.tolist()}) == 2


def test_many_at_once_equal_one_by_one():
    bricks = Material((0.7, 0.3, 0.2, 1.0), "ab" * 32, "image/jpeg")
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    objects = [
        [Polygon([SQUARE, HOLE], "Roof"), Polygon([SQUARE + [0, 0, 9]], "Roof")],
        [Polygon([SQUARE + [50, 0, 0]], "Wall", bricks, [uv])],
        [Triangles(SQUARE + [90, 0, 0], np.array([[0, 1, 2], [0, 2, 3]], np.uint32), "Mesh")],
    ]
    blobs = [built.blob for built in build(objects, PLACE)]
    many = decode_many(blobs)
    starts = np.concatenate([[0], many.vertex_ends[:-1]])
    for i, blob in enumerate(blobs):
        shape = decode(blob)
        own = many.positions[starts[i] : many.vertex_ends[i]]
        np.testing.assert_array_equal(own * STEP + many.origins[i], shape.xyz)
        triangles = many.triangles[(many.vertex_object[many.triangles[:, 0]] == i)]
        np.testing.assert_array_equal(triangles - starts[i], shape.triangles)
        names = [
            many.semantics[s]
            for s in many.surface_semantics[many.triangle_surface[many.vertex_object[many.triangles[:, 0]] == i]]
        ]
        assert set(names) == set(shape.semantics)
    assert many.materials == (None, bricks)
    assert many.uv is not None
    np.testing.assert_array_equal(many.uv[starts[1] : many.vertex_ends[1]][decode(blobs[1]).ring_indices], uv)


def test_rings_of_many_at_once_equal_one_by_one():
    objects = [
        [Polygon([SQUARE, HOLE], "Roof"), Polygon([SQUARE + [0, 0, 9]], "Roof")],
        [Triangles(SQUARE + [90, 0, 0], np.array([[0, 1, 2], [0, 2, 3]], np.uint32), "Mesh"), Polygon([SQUARE[:3]])],
        [Polygon([SQUARE + [50, 0, 0]], "Wall")],
    ]
    blobs = [built.blob for built in build(objects, PLACE)]
    many, rings = decode_many(blobs), decode_rings(blobs)
    per_surface = np.split(np.arange(len(rings.ring_ends)), rings.surface_ring_ends[:-1])
    corners = np.split(rings.vertices, rings.ring_ends[:-1])
    metres = many.positions * STEP + many.origins[many.vertex_object]
    wanted = [[shape.xyz[r] for r in own] for shape in map(decode, blobs) for _, own in shape.polygons()]
    found = [[metres[corners[r]] for r in own] for own in per_surface if len(own)]
    assert [len(own) for own in per_surface] == [2, 1, 0, 1, 1]
    for a, b in zip(found, wanted, strict=True):
        for one, other in zip(a, b, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_model_stays_local():
    built = model([Polygon([np.array([[0, 0, 0], [1, 0, 0], [0.5, 0, 2.0]])])])
    assert built.box is None
    assert decode(built.blob).xyz.max(axis=0) == pytest.approx([1, 0, 2])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=3, max_size=12),
    st.floats(-1, 1),
    st.floats(-1, 1),
)
def test_star_shaped_rings_keep_their_area(points, slope_x, slope_y):
    """Rings around a point, in a tilted plane: the triangles cover exactly the ring."""
    flat = np.array(points)
    angle = np.argsort(np.arctan2(*(flat - flat.mean(axis=0)).T))[::-1]
    flat = flat[angle]
    ring = np.column_stack([flat[:, 0] + EAST, flat[:, 1] + NORTH, flat @ [slope_x, slope_y] + 100])
    (built,) = build([[Polygon([ring])]], PLACE)
    if not built.blob or built.problems:
        return
    x, y = flat.T
    plan = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    assert area(decode(built.blob)) == pytest.approx(plan * np.sqrt(1 + slope_x**2 + slope_y**2), rel=3e-3, abs=0.05)


@pytest.mark.parametrize("cut", [0, 10, 63, 64, 100, -1])
def test_a_cut_blob_is_refused(cut):
    blob = build([[Polygon([SQUARE])]], PLACE)[0].blob
    with pytest.raises(StoreError, match="cannot be decoded"):
        decode(blob[:cut])
    with pytest.raises(StoreError):
        decode(b"x" * len(blob))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_blob_costs_only_itself(data):
    """Whatever its bytes say, it is decoded or refused; what is decoded does not point beyond itself."""
    blobs = [
        b.blob for b in build([[Polygon([SQUARE, HOLE], "Roof")], [Polygon([SQUARE + [50, 0, 0]], "Wall")]], PLACE)
    ]
    broken = bytearray(blobs[1])
    for _ in range(data.draw(st.integers(1, 3))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        many = decode_many([blobs[0], bytes(broken), blobs[0]])
    except StoreError:
        return
    assert many.triangles.max() < len(many.positions)
    assert (np.diff(many.surface_triangle_ends, prepend=0) >= 0).all()
    assert many.surface_triangle_ends[-1] == len(many.triangles)
    assert many.surface_semantics.max() < len(many.semantics)
    assert many.surface_materials.max() < len(many.materials)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_rings_of_a_damaged_blob_cost_only_itself(data):
    blobs = [
        b.blob for b in build([[Polygon([SQUARE, HOLE], "Roof")], [Polygon([SQUARE + [50, 0, 0]], "Wall")]], PLACE)
    ]
    broken = bytearray(blobs[1])
    for _ in range(data.draw(st.integers(1, 3))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    whole = decode_rings([blobs[0]])
    try:
        rings = decode_rings([blobs[0], bytes(broken), blobs[0]])
    except StoreError:
        return
    count = len(whole.vertices)
    np.testing.assert_array_equal(rings.vertices[:count], whole.vertices)
    np.testing.assert_array_equal(np.diff(rings.vertices[-count:]), np.diff(whole.vertices))
    assert set(whole.ring_ends) <= set(rings.ring_ends)
    assert rings.ring_ends[-1] == len(rings.vertices)
    assert rings.surface_ring_ends[-1] == len(rings.ring_ends)


def test_wide_and_narrow_indices_together():
    """A blob of very many vertices has indices of 32 bits; its neighbours keep 16."""
    count = 70_000
    row, column = np.divmod(np.arange(count), 300)
    corners = np.column_stack([EAST + column * 2.0, NORTH + row * 2.0, np.full(count, 9.0)])
    first = np.arange(count - 301)
    grid = Triangles(corners, np.column_stack([first, first + 1, first + 300]).astype(np.uint32), "Mesh")
    blobs = [built.blob for built in build([[Polygon([SQUARE])], [grid], [Polygon([SQUARE])]], PLACE)]
    many = decode_many(blobs)
    starts = [0, *many.vertex_ends[:-1]]
    for triangles, start, blob in zip(np.split(many.triangles, many.triangle_ends[:-1]), starts, blobs, strict=True):
        np.testing.assert_array_equal(triangles - np.uint32(start), decode(blob).triangles)
    assert decode(blobs[1]).triangles.max() > 0xFFFF
