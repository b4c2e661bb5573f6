"""Published coordinates: worked examples of IOGP Guidance Note 7-2, and geoid heights published with EGM96."""

from __future__ import annotations

import numpy as np
import pytest

from tim.place import FoundCrs, PlaceOptions, ellipsoid, resolve
from tim.place.crs import conversion
from tim.place.files import DatumFile
from tim.place.height import read_grid


def dms(degrees, minutes, seconds):
    return degrees + minutes / 60 + seconds / 3600


@pytest.mark.parametrize(
    ("crs", "east", "north", "lon", "lat", "tolerance"),
    [
        # Transverse Mercator: OSGB 1936 / British National Grid.
        ("EPSG:27700", 577274.99, 69740.50, dms(0, 30, 0), dms(50, 30, 0), 0.02),
        # Lambert conic conformal (2SP), US survey feet: NAD27 / Texas South Central.
        ("EPSG:32040", 2963503.91, 254759.80, -96.0, dms(28, 30, 0), 0.02),
        # Lambert conic conformal (1SP): JAD69 / Jamaica National Grid.
        ("EPSG:24200", 255966.58, 142493.51, -dms(76, 56, 37.26), dms(17, 55, 55.80), 0.3),
        # Oblique stereographic: Amersfoort / RD New.
        ("EPSG:28992", 196105.283, 557057.739, 6.0, 53.0, 0.002),
    ],
)
def test_guidance_note_projections(crs, east, north, lon, lat, tolerance):
    at = conversion(crs)(np.array([[east, north, 12.5]]))[0]
    metres = np.array([at[0] - lon, at[1] - lat]) * 111_000
    assert np.abs(metres).max() < tolerance
    assert at[2] == 12.5


def test_guidance_note_geocentric():
    """Section 4.1.1: WGS 84, 53°48'33.820"N, 2°07'46.380"E, 73.0 m."""
    golden_ecef = np.array([[3771793.968, 140253.342, 5124304.349]])
    golden = np.array([[dms(2, 7, 46.380), dms(53, 48, 33.820), 73.0]])
    assert np.abs(ellipsoid.to_ecef(golden) - golden_ecef).max() < 1e-3
    place = resolve(FoundCrs("EPSG:4978"), PlaceOptions(), golden_ecef[0] - 1, golden_ecef[0] + 1)
    found = place.to_geographic(golden_ecef)[0]
    assert np.abs((found - golden[0]) * [66_000, 111_000, 1]).max() < 1e-3


EGM96_CITIES = [
    ("Wuhan", 30.6, 114.3, -14.7),
    ("Shanghai", 31.2, 121.5, 11.3),
    ("Lhasa", 29.65, 91.1, -34.6),
]
EGM96_PUBLISHED = [
    # NGA's OUTINTPT.DAT: computed there with a spline, here bilinearly.
    ("1", 38.6281550, 269.7791550, -31.628),
    ("2", -14.6212170, 305.0211140, -2.969),
    ("3", 46.8743190, 102.4487290, -43.575),
    ("4", -23.6174460, 133.8747120, 15.871),
    ("5", 38.6254730, 359.9995000, 50.066),
    ("6", -0.4667440, 0.0023000, 17.329),
]


@pytest.mark.parametrize(("name", "lat", "lon", "separation"), EGM96_CITIES + EGM96_PUBLISHED)
def test_egm96(real_data, name, lat, lon, separation):
    grid = read_grid(DatumFile.of(real_data / "terrain" / "egm96_15.gtx"))
    assert grid(np.array([lon]), np.array([lat]))[0] == pytest.approx(separation, abs=0.1), name


@pytest.mark.parametrize(("name", "lat", "lon", "separation"), EGM96_CITIES)
def test_egm96_by_name(real_data, monkeypatch, name, lat, lon, separation):
    """A height of 100 m above EGM96 in the city, through the whole place."""
    monkeypatch.setenv("TIM_DATUM_DIR", str(real_data / "terrain"))
    at = np.array([lon, lat, 100.0])
    place = resolve(FoundCrs("EPSG:4490"), PlaceOptions(vertical="egm96"), at, at)
    assert place.to_geographic(at[None])[0] == pytest.approx([lon, lat, 100 + separation], abs=0.1), name
    assert place.height.name == "egm96"
