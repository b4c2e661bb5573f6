"""Objects from afar: prisms, and the bound of how far they are from the truth."""

from __future__ import annotations

from uuid import UUID

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiling.objects.things import (
    FRAME,
    blobs_of,
    box,
    corners,
    delft,
    in_frame,
    objects,
    parsed,
    standing,
    table,
    tripod,
    uid,
)
from tiling.objects.content import Drawn, proxies
from tim.geometry import F64
from tim.shape import Material, Polygon


def surface_points(triangles: F64, rng, count: int) -> F64:
    area = np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1)
    chosen = rng.choice(len(triangles), count, p=area / area.sum())
    weights = rng.dirichlet((0.6, 0.6, 0.6), count)
    return np.concatenate([np.einsum("nk,nkd->nd", weights, triangles[chosen]), triangles.reshape(-1, 3)])


def distance(points: F64, triangles: F64) -> F64:
    """float64[n]: from points to the nearest of some triangles (Ericson 2005, §5.1.5, by clamped projections)."""
    a, b, c = triangles[None, :, 0], triangles[None, :, 1], triangles[None, :, 2]
    p = points[:, None]
    best = np.full((len(points), len(triangles)), np.inf)
    for s, e in ((a, b), (b, c), (c, a)):
        edge = e - s
        t = np.clip(((p - s) * edge).sum(-1) / np.maximum((edge * edge).sum(-1), 1e-30), 0, 1)
        best = np.minimum(best, np.linalg.norm(p - s - t[..., None] * edge, axis=-1))
    normal = np.cross(b - a, c - a)
    length = np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-30)
    normal = normal / length
    height = ((p - a) * normal).sum(-1)
    foot = p - height[..., None] * normal
    inside = np.ones_like(best, bool)
    for s, e in ((a, b), (b, c), (c, a)):
        inside &= (np.cross(np.broadcast_to(e - s, foot.shape), foot - s) * normal).sum(-1) >= 0
    return np.where(inside & (length[..., 0] > 1e-9), np.minimum(best, np.abs(height)), best).min(axis=1)


def measured(thing: Drawn, rng, count=300) -> tuple[float, float]:
    """The sampled Hausdorff distance between an object and its proxy, and the bound."""
    content = proxies([[thing]], FRAME)
    (prism,) = corners(parsed(content)).values()
    truth = np.concatenate([in_frame(b) for b in thing.shapes])
    there = distance(surface_points(truth, rng, count), prism).max()
    back = distance(surface_points(prism, rng, count), truth).max()
    return float(max(there, back)), float(content.deviations[0])


@given(
    st.lists(
        st.tuples(*[st.floats(-15, 15)] * 2, st.floats(0, 5), *[st.floats(0.2, 30)] * 3, st.floats(0, 3)),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 5),
)
@settings(max_examples=60)
def test_deviation_is_never_understated(boxes, dropped):
    patches = [p for x, y, z, *size, turn in boxes for p in box((x, y, z), size, turn=turn)]
    del patches[:dropped]
    found, bound = measured(objects([patches])[0], np.random.default_rng(1))
    assert found <= bound


@given(
    st.lists(st.tuples(st.floats(1, 40), st.floats(1, 40), st.floats(1, 40)), min_size=1, max_size=6), st.floats(0, 60)
)
@settings(max_examples=30)
def test_a_deviation_is_measured_as_closely_as_it_must_be(sizes, enough):
    """What is known to be near enough stays a bound; all others have the closest one; in portions it is the same tile."""
    things = objects(
        [[*box((50.0 * i, 0, 0), size), *box((50.0 * i, 3, size[2]), (1, 1, 5))] for i, size in enumerate(sizes)]
    )
    close, rough = proxies([things], FRAME), proxies([things], FRAME, enough=enough)
    assert (rough.deviations >= close.deviations - 1e-9).all()
    far = rough.deviations > enough
    assert np.allclose(rough.deviations[far], close.deviations[far])
    assert b"".join(rough.chunks) == b"".join(close.chunks)
    apart = proxies(([one] for one in things), FRAME)
    assert b"".join(apart.chunks) == b"".join(close.chunks)
    assert np.allclose(apart.deviations, close.deviations)


def test_deviation_of_real_buildings_is_a_bound_and_not_a_guess(real_data):
    rng = np.random.default_rng(2)
    pairs = np.array([measured(o, rng, 150) for o in objects(delft(real_data)[:40]) if o.shapes[0]])
    assert (pairs[:, 0] <= pairs[:, 1]).all()
    assert np.median(pairs[:, 1] / pairs[:, 0]) < 4


def test_a_box_is_its_own_proxy():
    for turn in (0.0, 0.3, 1.2):
        thing = objects([box(size=(20, 10, 8), turn=turn)])[0]
        content = proxies([[thing]], FRAME)
        (prism,) = corners(parsed(content)).values()
        points, truth = (
            np.unique(np.rint(t.reshape(-1, 3) / 0.01), axis=0) for t in (prism, in_frame(thing.shapes[0]))
        )
        assert len(points) == len(truth) == 8
        assert np.abs(points - truth).max() <= 1
        assert content.deviations[0] < np.hypot(20, 10) / 4 + 0.01
        found = parsed(content)
        assert content.counts == {"vertices": 24, "triangles": 12, "features": 1}
        assert table(found)["tim_id"] == [str(UUID(bytes=thing.tim_id))]


def test_what_is_flat_stays_flat_and_what_has_only_models_is_left_out():
    flat = Drawn(uid(3).bytes, "transport.road", shapes=blobs_of([[box(size=(100, 6, 0.0))[1]]]))
    things, blobs = standing(tripod(), "tim-shape")
    content = proxies([[flat, *things]], FRAME)
    assert content.counts["features"] == 1
    assert content.counts["triangles"] <= 12
    assert np.isinf(content.deviations[1:]).all()
    assert np.isfinite(content.deviations[0])
    content = proxies([[flat, *things]], FRAME, blobs=blobs.__getitem__)
    own = np.linalg.norm([3, 1, 4])
    assert own <= content.deviations[1] < 1.8 * own
    assert 2 * own <= content.deviations[2]


def test_a_prism_takes_the_mean_colours_of_roof_and_walls():
    parts = box()
    parts[1] = Polygon(parts[1].rings, "RoofSurface", Material((1, 0, 0, 1)))
    document = parsed(proxies([objects([parts])], FRAME))
    (primitive,) = document.json["meshes"][0]["primitives"]
    colors = document.accessor(primitive["attributes"]["COLOR_0"])
    normals = document.accessor(primitive["attributes"]["NORMAL"])
    roof = colors[normals[:, 2] > 100]
    assert (roof == [255, 0, 0, 255]).all()
    assert (colors[np.abs(normals[:, 2]) < 20][:, 1] > 100).all()
