"""Local maps: fast, measured, and the same bits whatever the batch."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tim.place import Datum, Frame, Height, Place, local_map
from tim.place.files import DatumFile
from tim.place.local import Exact, Polynomial

SAME = Datum("equivalent", "WGS 84", 0.0)
UTM = Place("EPSG:26910", Height("ellipsoid", "ellipsoid"), SAME)
LOW, HIGH = np.array([507494.0, 5185407.0, 850.0]), np.array([511004.0, 5187556.0, 1253.0])


def frame_at(place, low, high):
    lon, lat, h = (float(v) for v in place.to_geographic(((low + high) / 2)[None])[0])
    return Frame(lon, lat, h, 2.0**-10)


FRAME = frame_at(UTM, LOW, HIGH)


def inside(n, low=LOW, high=HIGH, seed=0):
    return low + (high - low) * np.random.default_rng(seed).random((n, 3))


@pytest.mark.parametrize(
    ("place", "low", "high"),
    [
        (UTM, LOW, HIGH),
        (UTM, LOW - [30e3, 30e3, 500], HIGH + np.array([30e3, 30e3, 2000])),
        (UTM, LOW, LOW),
        (
            Place("EPSG:4547", Height("constant", "-14.7 m", -14.7), SAME, (529000.0, 3387000.0, 0.0)),
            np.array([-2e3, -2e3, -50]),
            np.array([2e3, 2e3, 300.0]),
        ),
        (
            Place("EPSG:4490", Height("ellipsoid", "ellipsoid"), SAME),
            np.array([114.3, 30.6, 0]),
            np.array([114.35, 30.65, 500.0]),
        ),
        (
            Place("EPSG:4979", Height("ellipsoid", "ellipsoid"), SAME),
            np.array([179.98, -16.9, 0]),
            np.array([180.02, -16.85, 500.0]),
        ),
        (
            Place("EPSG:4978", Height("ellipsoid", "ellipsoid"), SAME),
            np.array([-2263e3, 5006e3, 3228e3]),
            np.array([-2262e3, 5007e3, 3229e3]),
        ),
        (
            Place("ENU:30.6,114.3,20", Height("ellipsoid", "ellipsoid"), SAME),
            np.array([-5e3, -5e3, -10]),
            np.array([5e3, 5e3, 200.0]),
        ),
    ],
)
def test_error_is_as_stated(place, low, high):
    frame = frame_at(place, np.asarray(low, float), np.asarray(high, float))
    found = local_map(place, frame, low, high)
    assert isinstance(found, Polynomial)
    assert 0 <= found.error <= 1e-4
    at = inside(5000, np.asarray(low, float), np.asarray(high, float))
    worst = np.linalg.norm(found(at) - frame.from_ecef(place.to_ecef(at)), axis=1).max()
    assert worst <= found.error * 1.2 + 2e-9


def test_cheapest_degree_is_taken():
    near, far = local_map(UTM, FRAME, LOW, HIGH), local_map(UTM, FRAME, LOW - 40e3, HIGH + 40e3)
    assert (near.p, near.q) == (2, 1)
    assert far.p > 2
    assert local_map(UTM, FRAME, LOW, HIGH, 1e-6).p == 3


def test_exact_where_the_tolerance_cannot_be_met():
    found = local_map(UTM, FRAME, LOW - 400e3, HIGH + 400e3, 1e-6)
    assert isinstance(found, Exact)
    assert found.error == 0
    at = inside(100)
    assert (found(at) == FRAME.from_ecef(UTM.to_ecef(at))).all()


def test_exact_over_a_kink_of_the_geoid(tmp_path, gtx):
    values = np.zeros((5, 5))
    values[:, 2] = 5.0  # a ridge along 114 E
    grid = DatumFile.of(gtx(tmp_path / "ridge.gtx", 29, 113, 0.5, values))
    place = Place("EPSG:4490", Height("grid", "ridge", grid=grid), SAME)
    low, high = np.array([113.96, 30.0, 0.0]), np.array([114.02, 30.05, 100.0])
    frame = frame_at(place, low, high)
    assert isinstance(local_map(place, frame, low, high), Exact)
    west = np.array([113.99, 30.05, 100.0])
    assert isinstance(local_map(place, frame, low, west), Polynomial)


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 19_999), max_size=6), seed=st.integers(0, 3))
def test_same_bits_in_every_batch(cuts, seed):
    at = inside(20_000, seed=seed)
    ends = [0, *sorted(cuts), len(at)]
    for found in (local_map(UTM, FRAME, LOW, HIGH), Exact(0.0, UTM, FRAME)):
        whole = found(at)
        parts = np.vstack([found(at[a:b]) for a, b in itertools.pairwise(ends)])
        assert (whole == parts).all()


def test_same_bits_for_one_vertex_in_any_company_and_layout():
    at = inside(3000)
    order = np.random.default_rng(5).permutation(len(at))
    for found in (local_map(UTM, FRAME, LOW, HIGH), Exact(0.0, UTM, FRAME)):
        whole = found(at)
        assert (found(at[order]) == whole[order]).all()
        assert (found(np.asfortranarray(at)) == whole).all()
        assert all((found(at[i : i + 1]) == whole[i]).all() for i in range(0, 3000, 97))


def test_raw_integers():
    scale, offset = np.full(3, 0.001), np.array([500000.0, 5180000.0, 0.0])
    raw = np.round((inside(20_000) - offset) / scale).astype(np.int32)
    for found in (local_map(UTM, FRAME, LOW, HIGH), Exact(0.0, UTM, FRAME)):
        from_raw = found.from_raw(raw, scale, offset)
        assert np.abs(from_raw - found(raw * scale + offset)).max() < 1e-7
        assert (found.from_raw(raw[777:778], scale, offset) == from_raw[777]).all()
        assert found.from_raw(raw[:0], scale, offset).shape == (0, 3)


def test_float32_positions_lose_nothing_more():
    """Photogrammetry gives float32 about an origin; its arithmetic is float64 from the first product on."""
    place = Place("EPSG:26910", Height("ellipsoid", "ellipsoid"), SAME, tuple(LOW))
    found = local_map(place, FRAME, np.zeros(3), HIGH - LOW)
    at = (inside(1000) - LOW).astype(np.float32)
    assert (found(at) == found(at.astype(np.float64))).all()


def test_pickles_and_depends_on_its_arguments_only():
    found = local_map(UTM, FRAME, LOW, HIGH)
    at = inside(100)
    assert local_map(UTM, FRAME, LOW.copy(), HIGH.copy()) == found
    assert (pickle.loads(pickle.dumps(found))(at) == found(at)).all()


def test_frame_turns_back():
    at = inside(1000)
    ecef = UTM.to_ecef(at)
    assert np.abs(FRAME.to_ecef(FRAME.from_ecef(ecef)) - ecef).max() < 1e-8
    assert np.abs(FRAME.axes @ FRAME.axes.T - np.eye(3)).max() < 1e-15
    matrix = np.array(FRAME.transform).reshape(4, 4).T
    local = np.append(FRAME.from_ecef(ecef[:1])[0], 1.0)
    assert np.abs((matrix @ local)[:3] - ecef[0]).max() < 1e-8


def test_frame_axes_point_east_north_up():
    step = 1e-5
    here = np.array([[FRAME.lon, FRAME.lat, FRAME.height]])
    from tim.place import ellipsoid

    for axis, move in enumerate(([step, 0, 0], [0, step, 0], [0, 0, 1.0])):
        local = FRAME.from_ecef(ellipsoid.to_ecef(here + np.array([move])))[0]
        assert np.argmax(np.abs(local)) == axis
        assert local[axis] > 0
        assert np.abs(np.delete(local, axis)).max() < 1e-5 * abs(local[axis]) + 1e-6
