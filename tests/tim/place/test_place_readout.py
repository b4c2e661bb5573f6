"""Reading coordinates off: the inverse of importing them, and what pyproj says where it can say it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from tim.errors import PlaceError
from tim.place import FoundCrs, PlaceOptions, resolve
from tim.place.readout import find_crs, read_off


@pytest.mark.parametrize("crs", ["EPSG:4547", "EPSG:32650", "EPSG:4490", "EPSG:4978", "EPSG:3857"])
def test_as_pyproj_has_it(crs):
    found = read_off(114.3, 30.5, 21.5, crs)
    # CGCS2000 is WGS 84 here, as for imports: the plain projection is the truth.
    base = {"EPSG:4547": "EPSG:4490", "EPSG:4490": "EPSG:4490"}.get(crs, "EPSG:4979")
    x, y, z = Transformer.from_crs(base, crs, always_xy=True).transform(114.3, 30.5, 21.5)
    assert (found.x, found.y) == pytest.approx((x, y), abs=1e-9 if crs == "EPSG:4490" else 1e-4)
    assert found.h == pytest.approx(z, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.floats(112.6, 115.4), st.floats(20, 50), st.floats(-100, 3000))
def test_reading_off_inverts_importing(lon, lat, h):
    found = read_off(lon, lat, h, "EPSG:4547", "+12.5m")
    native = np.array([[found.x, found.y, found.h]])
    place = resolve(FoundCrs(), PlaceOptions("EPSG:4547", "+12.5m"), native[0], native[0])
    assert place.to_geographic(native)[0] == pytest.approx((lon, lat, h), abs=1e-6)
    assert found.h == pytest.approx(h - 12.5, abs=1e-4)


def test_a_local_frame():
    found = read_off(114.301, 30.5, 0.0, "ENU:30.5,114.3")
    assert found.x == pytest.approx(96.0, abs=0.5)
    assert found.y == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize(
    ("crs", "vertical", "code"),
    [
        ("@/etc/passwd", "ellipsoid", "place.crs-unreadable"),
        ("EPSG:4547", "grid:/etc/passwd", "place.vertical-unreadable"),
        ("EPSG:999999", "ellipsoid", "place.crs-unreadable"),
        ("+proj=pipeline +step +proj=noop", "ellipsoid", "place.crs-unreadable"),
        ("EPSG:4547", "sea level", "place.vertical-unreadable"),
    ],
)  # fmt: skip
def test_refused(crs, vertical, code):
    with pytest.raises(PlaceError) as caught:
        read_off(114.3, 30.5, 0, crs, vertical)
    assert caught.value.code == code


def test_a_datum_without_a_named_operation_is_refused_here_as_well():
    with pytest.raises(PlaceError) as caught:
        read_off(114.3, 30.5, 0, "EPSG:2434")  # Beijing 1954
    assert caught.value.code.startswith("place.datum")


def test_the_register_is_searched_by_words_and_place():
    codes = [known.code for known in find_crs("cgcs2000 3-degree", (114.3, 30.5))]
    assert codes[0] in ("EPSG:4526", "EPSG:4547")
    assert "EPSG:4547" in codes[:4]
    assert [known.code for known in find_crs("EPSG:4490")] == ["EPSG:4490"]
    assert find_crs("no such thing") == []
