"""Step (a): against closed formulas, and in every form a CRS comes in."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tim.place import place_oracles as oracle
from tim.errors import PlaceError
from tim.place import Datum, FoundCrs, Height, Place, PlaceOptions, ellipsoid, resolve
from tim.place.crs import conversion, parse

ELLIPSOID = Height("ellipsoid", "ellipsoid")
SAME = Datum("equivalent", "CGCS2000 = WGS 84", 1.0)


@pytest.mark.parametrize(
    ("code", "meridian", "false_easting"),
    [("EPSG:4547", 114, 5e5), ("EPSG:4549", 120, 5e5), ("EPSG:4548", 117, 5e5), ("EPSG:4526", 114, 38.5e6)],
)
@given(dx=st.floats(-180e3, 180e3), y=st.floats(2.0e6, 5.5e6), h=st.floats(-200, 5000))
def test_gauss_krueger(code, meridian, false_easting, dx, y, h):
    found = Place(code, ELLIPSOID, SAME).to_ecef(np.array([[false_easting + dx, y, h]]))[0]
    lon, lat = oracle.tm_inverse(false_easting + dx, y, meridian, false_easting, 0.0)
    assert np.abs(found - oracle.geocentric(lon, lat, h)).max() < 1e-4


@given(lon=st.floats(118.5, 121.5), lat=st.floats(18, 53), h=st.floats(-100, 3000))
def test_round_trip(lon, lat, h):
    x, y = oracle.tm_forward(lon, lat, 120, 5e5, 0.0)
    back = Place("EPSG:4549", ELLIPSOID, SAME).to_geographic(np.array([[x, y, h]]))[0]
    assert np.abs((back - [lon, lat, h]) * [111e3, 111e3, 1]).max() < 1e-4


@given(lon=st.floats(-180, 180), lat=st.floats(-90, 90), h=st.floats(-11_000, 400_000))
def test_ellipsoid_round_trip(lon, lat, h):
    ecef = ellipsoid.to_ecef(np.array([[lon, lat, h]]))
    assert np.abs(ecef[0] - oracle.geocentric(lon, lat, h)).max() < 1e-8
    again = ellipsoid.to_ecef(ellipsoid.to_geographic(ecef))
    assert np.abs(again - ecef).max() < 1e-8


def test_cgcs2000_geographic_and_geocentric():
    at = np.array([[114.3, 30.6, 50.0]])
    for crs in ("EPSG:4490", "EPSG:4480", "EPSG:4979"):
        assert np.abs(Place(crs, ELLIPSOID, SAME).to_geographic(at) - at).max() < 1e-12
    own = np.array([oracle.geocentric(114.3, 30.6, 50.0, oracle.CGCS2000)])
    found = Place("EPSG:4479", ELLIPSOID, SAME).to_geographic(own)[0]
    assert np.abs((found - at[0]) * [1e5, 1e5, 1]).max() < 1e-6


def test_enu_is_a_tangent_frame_not_a_map():
    place = resolve(FoundCrs("ENU:30.5,114.3,20"), PlaceOptions(), np.zeros(3), np.ones(3))
    east_20_km = place.to_geographic(np.array([[20_000.0, 0.0, 0.0]]))[0]
    assert east_20_km[2] - 20 == pytest.approx(20_000**2 / (2 * 6_383_600), rel=1e-3)  # the ground falls away below
    x, y, z = oracle.geocentric(114.3, 30.5, 20.0)
    assert np.abs(place.to_ecef(np.zeros((1, 3)))[0] - [x, y, z]).max() < 1e-6


def test_real_oblique_wkt_lies_where_its_parameters_say(real_data):
    text = (real_data / "oblique" / "metadata.xml").read_text(encoding="utf-8")
    wkt = re.search(r"<SRS>(.*?)</SRS>", text, re.DOTALL)[1]
    origin = (501027.524, 2488718.808, 0.0)
    for form in (wkt, wkt.replace("\n", "\r\n")):
        found = FoundCrs(form, origin=origin, where="metadata.xml")
        place = resolve(found, PlaceOptions(vertical="ellipsoid"), np.zeros(3), np.array([200.0, 200.0, 60.0]))
        local = np.array([[10.0, 20.0, 30.0], [-150.0, 80.0, 5.0]])
        for row, ecef in zip(local, place.to_ecef(local), strict=True):
            x, y, h = row + origin
            lon, lat = oracle.tm_inverse(x, y, 113.37, 500000, 90)
            assert np.abs(ecef - oracle.geocentric(lon, lat, h)).max() < 1e-4
        (code, fields) = place.warnings[0]
        assert (code, fields["code"]) == ("place.authority-contradicts", "EPSG:4547")
        x, y = origin[0] + 100, origin[1] + 100
        there = oracle.geocentric(*oracle.tm_inverse(x, y, 114.0, 500000, 0), 0.0)
        here = oracle.geocentric(*oracle.tm_inverse(x, y, 113.37, 500000, 90), 0.0)
        km = np.linalg.norm(np.subtract(there, here)) / 1000
        assert 64 < km < 66
        assert fields["km"] == pytest.approx(km, abs=0.06)


def test_a_truthful_code_gives_no_warning():
    from pyproj import CRS

    wkt = CRS("EPSG:4547").to_wkt("WKT1_GDAL")
    at = np.array([500000.0, 3.4e6, 10.0])
    assert 'AUTHORITY["EPSG","4547"]' in wkt
    assert resolve(FoundCrs(wkt), PlaceOptions(vertical="ellipsoid"), at, at + 100).warnings == ()


def test_feet_are_horizontal_by_the_crs():
    """Texas South Central in US survey feet: the worked example on NAD83's false origin, its height in the same
    unit."""
    at = np.array([963503.91 + 1968500, 254759.80 + 4e6 * 3937 / 1200, 100.0])
    options = PlaceOptions(crs="EPSG:2278", vertical="ellipsoid")  # NAD83, ftUS
    place = resolve(FoundCrs(None), options, at, at)
    lon, lat, height = place.to_geographic(at[None])[0]
    assert (lon, lat) == pytest.approx((-96, 28.5), abs=2e-3)  # another ellipsoid
    assert height == pytest.approx(100 * 1200 / 3937, abs=1e-9)
    assert "place.height-unit-assumed" in [code for code, _ in place.warnings]
    said = resolve(FoundCrs(None), PlaceOptions(crs="EPSG:2278", vertical="ellipsoid,m"), at, at)
    assert said.to_geographic(at[None])[0, 2] == 100.0


def test_grads_from_paris():
    """NTF (Paris), EPSG:4807: grads from the Paris meridian, 2.5969213 grads east of Greenwich."""
    at = conversion("EPSG:4807")(np.array([[1.0, 54.0, 0.0]]))[0]
    assert at == pytest.approx([0.9 * (1 + 2.5969213), 48.6, 0.0], abs=1e-9)


def test_pipeline_file(tmp_path):
    """A confidential local system: a shift, then Gauss-Krüger; referenced by name, never printed."""
    (tmp_path / "city.pipeline").write_text(
        "+proj=pipeline\n +step +proj=affine +xoff=471234.5 +yoff=3301234.5\r\n"
        " +step +inv +proj=tmerc +lon_0=114 +x_0=500000 +ellps=GRS80 +step +proj=unitconvert +xy_in=rad +xy_out=deg\n",
        encoding="utf-8",
    )
    options = PlaceOptions(crs=f"@{tmp_path / 'city.pipeline'}", vertical="+10m")
    at = np.array([[1000.0, 2000.0, 5.0]])
    place = resolve(FoundCrs(None), options, at[0], at[0])
    lon, lat = oracle.tm_inverse(472234.5, 3303234.5, 114, 5e5, 0)
    assert np.abs(place.to_ecef(at)[0] - oracle.geocentric(lon, lat, 15.0)).max() < 1e-4
    shown = repr(place) + str(place.record()) + str(place.report())
    assert "city.pipeline" in shown
    assert "471234" not in shown
    assert Place.from_record(place.record()).to_ecef(at) == pytest.approx(place.to_ecef(at), abs=0)


def test_four_parameters_of_a_city_system(tmp_path):
    """PROJ's plane Helmert: x' = dx + s (x cos θ + y sin θ), y' = dy + s (y cos θ - x sin θ); then Gauss-Krüger."""
    (tmp_path / "city4.txt").write_text(
        "+proj=pipeline +step +proj=helmert +x=471234.5 +y=3301234.5 +s=1.00002 +theta=3600 "
        "+step +inv +proj=tmerc +lon_0=114 +x_0=500000 +ellps=GRS80",
        encoding="utf-8",
    )
    at = np.array([[30_000.0, 20_000.0, 5.0]])
    place = resolve(FoundCrs(None), PlaceOptions(crs=f"@{tmp_path / 'city4.txt'}", vertical="ellipsoid"), at[0], at[0])
    cos, sin = np.cos(np.radians(1.0)), np.sin(np.radians(1.0))
    x = 471234.5 + 1.00002 * (at[0, 0] * cos + at[0, 1] * sin)
    y = 3301234.5 + 1.00002 * (at[0, 1] * cos - at[0, 0] * sin)
    lon, lat = oracle.tm_inverse(x, y, 114, 5e5, 0)
    assert np.abs(place.to_ecef(at)[0] - oracle.geocentric(lon, lat, 5.0)).max() < 1e-4


def test_pipeline_in_radians_is_understood_and_metres_are_refused(tmp_path):
    path = tmp_path / "p.txt"
    path.write_text("+proj=pipeline +step +inv +proj=tmerc +lon_0=114 +x_0=500000 +ellps=GRS80", encoding="utf-8")
    at = np.array([5e5, 3.3e6, 0.0])
    place = resolve(FoundCrs(None), PlaceOptions(crs=f"@{path}", vertical="ellipsoid"), at, at)
    assert place.to_geographic(at[None])[0, 0] == pytest.approx(114)
    path.write_text("+proj=pipeline +step +proj=affine +xoff=1", encoding="utf-8")
    with pytest.raises(PlaceError) as caught:
        resolve(FoundCrs(None), PlaceOptions(crs=f"@{path}", vertical="ellipsoid"), at, at)
    assert caught.value.code in ("place.pipeline-not-degrees", "place.outside-domain")


@pytest.mark.parametrize(
    "text", ["LOCAL", "EPSG:99999", "", "ENU:here,there", "ENU:114,30", 'LOCAL_CS["site",UNIT["metre",1]]', "EPSG:5773"]
)
def test_unreadable(text):
    with pytest.raises(PlaceError) as caught:
        parse(text)
    assert caught.value.code == "place.crs-unreadable"


def test_secret_wkt_is_not_in_the_refusal(tmp_path):
    path = tmp_path / "secret.prj"
    path.write_text('PROJCS["city",GEOGCS["x", 471234.5', encoding="utf-8")
    with pytest.raises(PlaceError) as caught:
        resolve(FoundCrs(None), PlaceOptions(crs=f"@{path}", vertical="ellipsoid"), np.zeros(3), np.ones(3))
    assert "471234" not in str(caught.value)
    assert "secret.prj" in str(caught.value)


def test_outside_domain_names_the_record():
    place = Place("EPSG:4547", ELLIPSOID, SAME)
    with pytest.raises(PlaceError) as caught:
        place.to_geographic(np.array([[5e5, 3e6, 0.0], [np.nan, 3e6, 0.0]]))
    assert (caught.value.code, caught.value.fields["row"]) == ("place.outside-domain", 1)
