"""Step (b): the table, and operations somebody names."""

from __future__ import annotations

from math import radians

import numpy as np
import pytest
from pyproj import CRS

from tests.tim.place import place_oracles as oracle
from tim.errors import PlaceError
from tim.place import FoundCrs, Place, PlaceOptions, resolve
from tim.place.datum import equivalent

KRASSOVSKY = (6378245.0, 298.3)
HUBEI = np.array([500000.0, 3.3e6, 30.0])


EQUIVALENT = {
    "WGS 84": [4326, 4979, 32649, 9057],
    "ITRF": [7789, 9000],
    "CGCS2000": [4490, 4479, 4547],
    "ETRS89": [4258, 25832],
    "NAD83": [26910, 6339, 4152, 4617, 4269],
    "RGF93": [2154],
    "JGD2011": [6668],
    "JGD2000": [4612],
    "KGD2002": [4737],
    "TWD97": [3824],
    "GDA2020": [7844],
    "GDA94": [4283],
    "NZGD2000": [4167],
    "SIRGAS 2000": [4674],
    "SWEREF99": [3006],
    "RDN2008": [6706],
    "Hartebeesthoek94": [4148],
    None: [4214, 2422, 4610, 4555, 27700, 4267, 28992, 4301],
}
"""EPSG codes by the table's entry; ``None``: not in the table."""


@pytest.mark.parametrize(("code", "name"), [(code, name) for name, codes in EQUIVALENT.items() for code in codes])
def test_table(code, name):
    entry = equivalent(CRS(code))
    assert (entry.name if entry else None) == name


@pytest.mark.parametrize("datum", ["China_2000", "D_China_2000", "CGCS2000", "China Geodetic Coordinate System 2000"])
def test_spellings_of_cgcs2000_in_wkt(datum):
    wkt = (
        f'GEOGCS["GCS",DATUM["{datum}",SPHEROID["CGCS2000",6378137.0,298.257222101]],PRIMEM["Greenwich",0.0],'
        'UNIT["Degree",0.0174532925199433]]'
    )
    assert equivalent(CRS(wkt)).name == "CGCS2000"
    assert equivalent(CRS(wkt.replace("6378137.0,298.257222101", "6378245.0,298.3"))) is None


@pytest.mark.parametrize("crs", ["EPSG:4214", "EPSG:2435", "EPSG:4610", "EPSG:2383", "EPSG:4555"])
def test_old_chinese_datums_need_a_named_operation(crs):
    at = np.array([114.0, 30.5, 30.0]) if CRS(crs).is_geographic else HUBEI
    with pytest.raises(PlaceError) as caught:
        resolve(FoundCrs(crs), PlaceOptions(vertical="ellipsoid"), at, at)
    assert caught.value.code == "place.datum-needs-operation"
    assert "--datum" in str(caught.value)


def test_an_operation_made_for_elsewhere_is_refused():
    with pytest.raises(PlaceError) as caught:
        resolve(FoundCrs("EPSG:2435"), PlaceOptions(vertical="ellipsoid", datum="EPSG:15920"), HUBEI, HUBEI)
    assert caught.value.code == "place.operation-elsewhere"


def test_an_operation_of_the_region_is_taken():
    """EPSG:15936, Ordos basin: three translations (11.911, -154.833, -80.079)."""
    lon, lat, h = 108.5, 37.5, 1200.0
    at = np.array([[lon, lat, h]])
    place = resolve(FoundCrs("EPSG:4214"), PlaceOptions(vertical="ellipsoid", datum="EPSG:15936"), at[0], at[0])
    assert (place.datum.name, place.datum.accuracy) == ("Beijing 1954 to WGS 84 (6)", 1.0)
    x, y, z = oracle.geocentric(lon, lat, h, KRASSOVSKY)
    expected = oracle.geodetic(x + 11.911, y - 154.833, z - 80.079)
    found = place.to_geographic(at)[0]
    assert np.abs((found[:2] - expected[:2]) * 111e3).max() < 1e-3
    assert found[2] == h  # the user said: height on the target ellipsoid
    by_name = PlaceOptions(vertical="ellipsoid", datum="Beijing 1954 to WGS 84 (6)")
    assert resolve(FoundCrs("EPSG:4214"), by_name, at[0], at[0]) == place


SEVEN = (15.8, -154.4, -82.3, 0.3, -0.2, 0.5, 1.5)


def position_vector(xyz, parameters):
    dx, dy, dz, rx, ry, rz, ppm = parameters
    rx, ry, rz = (radians(r / 3600) for r in (rx, ry, rz))
    x, y, z = xyz
    m = 1 + ppm * 1e-6
    return dx + m * (x - rz * y + ry * z), dy + m * (rz * x + y - rx * z), dz + m * (-ry * x + rx * y + z)


def test_seven_parameters_from_a_file_move_a_three_dimensional_height(tmp_path):
    dx, dy, dz, rx, ry, rz, s = SEVEN
    (tmp_path / "city7.txt").write_text(
        f"+proj=helmert +x={dx} +y={dy} +z={dz} +rx={rx} +ry={ry} +rz={rz} +s={s} +convention=position_vector", "utf-8"
    )
    geocentric = (
        'GEOCCS["Beijing 1954 geocentric",DATUM["Beijing_1954",SPHEROID["Krassowsky 1940",6378245,298.3]],'
        'PRIMEM["Greenwich",0],UNIT["metre",1],AXIS["X",OTHER],AXIS["Y",OTHER],AXIS["Z",NORTH]]'
    )
    own = np.array([oracle.geocentric(114.3, 30.6, 40.0, KRASSOVSKY)])
    place = resolve(FoundCrs(geocentric), PlaceOptions(datum=f"@{tmp_path / 'city7.txt'}"), own[0], own[0])
    assert np.abs(place.to_ecef(own)[0] - position_vector(own[0], SEVEN)).max() < 2e-4
    shown = repr(place) + str(place.record()) + str(place.report())
    assert "@city7.txt" in shown
    assert "154.4" not in shown
    assert Place.from_record(place.record()) == place


def test_towgs84_of_the_source_is_taken_on_request_only():
    wkt = (
        'PROJCS["city",GEOGCS["Beijing 1954",DATUM["Beijing_1954",SPHEROID["Krassowsky 1940",6378245,298.3],'
        f"TOWGS84[{','.join(map(str, SEVEN))}]],"
        'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
        'PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",114],PARAMETER["scale_factor",1],'
        'PARAMETER["false_easting",500000],PARAMETER["false_northing",0],UNIT["metre",1]]'
    )
    with pytest.raises(PlaceError, match="towgs84"):
        resolve(FoundCrs(wkt), PlaceOptions(vertical="ellipsoid"), HUBEI, HUBEI)
    place = resolve(FoundCrs(wkt), PlaceOptions(vertical="ellipsoid", datum="towgs84"), HUBEI, HUBEI)
    lon, lat = oracle.tm_inverse(HUBEI[0], HUBEI[1], 114, 5e5, 0, shape=KRASSOVSKY)
    shifted = position_vector(oracle.geocentric(lon, lat, HUBEI[2], KRASSOVSKY), SEVEN)
    expected = oracle.geodetic(*shifted)
    found = place.to_geographic(HUBEI[None])[0]
    assert np.abs((found[:2] - expected[:2]) * 111e3).max() < 1e-3
    assert abs(expected[2] - HUBEI[2]) > 1
    assert found[2] == HUBEI[2]  # said to be on the target ellipsoid: the shift of the datum leaves it alone
    assert Place.from_record(place.record()).to_ecef(HUBEI[None]) == pytest.approx(place.to_ecef(HUBEI[None]), abs=0)


def test_nad83_is_assumed_equal_with_a_warning():
    at = np.array([507494.08, 5185407.55, 850.0])
    place = resolve(FoundCrs("EPSG:26910"), PlaceOptions(vertical="ellipsoid"), at, at + np.array([3500, 2100, 400]))
    assert [code for code, _ in place.warnings] == ["place.datum-assumed"]
    lon, lat = oracle.tm_inverse(at[0], at[1], -123, 5e5, 0, 0.9996)
    assert np.abs(place.to_ecef(at[None])[0] - oracle.geocentric(lon, lat, 850.0)).max() < 1e-4


def test_unknown_operation_lists_what_there_is():
    at = np.array([108.5, 37.5, 0.0])
    with pytest.raises(PlaceError) as caught:
        resolve(FoundCrs("EPSG:4214"), PlaceOptions(vertical="ellipsoid", datum="nonsense"), at, at)
    assert caught.value.code == "place.operation-unknown"
    assert "EPSG:15936" in str(caught.value)
    helmert = "+proj=helmert +x=1 +y=1 +z=1 +rx=1 +ry=1 +rz=1 +s=1"  # rotations without a convention
    with pytest.raises(PlaceError) as caught:
        resolve(FoundCrs("EPSG:4214"), PlaceOptions(vertical="ellipsoid", datum=helmert), at, at)
    assert caught.value.code == "place.operation-unknown"
