"""Step (c): grids, constants, units, and the files they come from."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from tim.errors import PlaceError
from tim.place import FoundCrs, Height, Place, PlaceOptions, resolve
from tim.place.files import DatumFile
from tim.place.height import read_grid

AT = np.array([[113.25, 29.75, 100.0], [114.9, 30.95, 0.0], [115.0, 31.0, 0.0], [113.0, 29.0, 0.0]])


def separation(at):
    return -20 + 2 * (at[:, 0] - 113) + 3 * (at[:, 1] - 29)


def test_grid_is_bilinear_and_added(small_grid):
    place = resolve(FoundCrs("EPSG:4490"), PlaceOptions(vertical=f"grid:{small_grid}"), AT[0], AT[1])
    out = place.to_geographic(AT)
    assert out[:, 2] == pytest.approx(AT[:, 2] + separation(AT), abs=1e-5)
    assert (out[:, :2] == AT[:, :2]).all()


@pytest.mark.parametrize(("lon", "lat"), [(112.99, 30), (115.01, 30), (114, 28.99), (114, 31.01)])
def test_outside_the_grid_says_where(small_grid, lon, lat):
    with pytest.raises(PlaceError) as caught:
        resolve(FoundCrs("EPSG:4490"), PlaceOptions(vertical=f"grid:{small_grid}"), AT[0], np.array([lon, lat, 0.0]))
    assert caught.value.code == "place.outside-grid"
    assert (caught.value.fields["lon"], caught.value.fields["lat"]) == (lon, lat)


def test_longitudes_wrap_around_a_global_grid(tmp_path, gtx):
    values = np.tile(np.arange(36.0), (19, 1))
    grid = read_grid(DatumFile.of(gtx(tmp_path / "globe.gtx", -90, -180, 10, values)))
    lon = np.array([-180.0, 180.0, -175.0, 175.0, 179.0, -181.0, 539.0, 365.0, 5.0])
    found = grid(lon, np.zeros(len(lon)))
    # 35 at 170 E, 0 at 180: halfway 17.5; a tenth before 180: 3.5.
    assert found == pytest.approx([0, 0, 0.5, 17.5, 3.5, 3.5, 3.5, 18.5, 18.5])
    assert grid(np.array([0.0, 0.0]), np.array([90.0, -90.0])) == pytest.approx([18, 18])


def test_nodes_without_value_are_holes(tmp_path, gtx):
    values = np.zeros((5, 5))
    values[2, 2] = -88.8888
    grid = read_grid(DatumFile.of(gtx(tmp_path / "holes.gtx", 0, 0, 1, values)))
    assert grid(np.array([0.5]), np.array([0.5]))[0] == 0
    with pytest.raises(PlaceError, match="no value at"):
        grid(np.array([1.5]), np.array([1.5]))


@pytest.mark.parametrize("cut", [10, 60])
def test_damaged_grid(small_grid, cut):
    small_grid.write_bytes(small_grid.read_bytes()[:cut])
    with pytest.raises(PlaceError) as caught:
        read_grid(DatumFile.of(small_grid))
    assert caught.value.code == "place.grid-corrupt"


def write_tiff(path, values, tags, mode=np.float32):
    directory = ImageFileDirectory_v2()
    for tag, (kind, value) in tags.items():
        directory.tagtype[tag] = kind
        directory[tag] = value
    Image.fromarray(values.astype(mode)).save(path, tiffinfo=directory)
    return path


@pytest.mark.parametrize(("raster_type", "tie"), [(2, (113.0, 31.0)), (1, (112.75, 31.25))])
def test_geotiff_by_pixel_point_and_pixel_area(tmp_path, raster_type, tie):
    lat, lon = np.meshgrid(np.arange(31, 28.9, -0.5), np.arange(113, 115.01, 0.5), indexing="ij")
    tags = {
        33550: (12, (0.5, 0.5, 0.0)),
        33922: (12, (0.0, 0.0, 0.0, *tie, 0.0)),
        34735: (3, (1, 1, 0, 2, 1024, 0, 1, 2, 1025, 0, 1, raster_type)),
    }
    path = write_tiff(
        tmp_path / "geoid.tif", separation(np.column_stack([lon.ravel(), lat.ravel()])).reshape(5, 5), tags
    )
    grid = read_grid(DatumFile.of(path))
    assert grid(AT[:, 0], AT[:, 1]) == pytest.approx(separation(AT), abs=1e-5)


def test_other_grids_are_refused_by_name(tmp_path):
    write_tiff(tmp_path / "rgb.tif", np.zeros((4, 4)), {}, np.uint8)
    (tmp_path / "geoid.bin").write_bytes(b"x" * 100)
    (tmp_path / "text.tif").write_bytes(b"no image")
    expected = {"rgb.tif": "place.grid-format", "geoid.bin": "place.grid-format", "text.tif": "place.grid-corrupt"}
    for name, code in expected.items():
        with pytest.raises(PlaceError, match=name) as caught:
            resolve(FoundCrs("EPSG:4490"), PlaceOptions(vertical=f"grid:{tmp_path / name}"), AT[0], AT[1])
        assert caught.value.code == code


def test_a_grid_is_found_by_name_and_hash_on_another_machine(small_grid, tmp_path, monkeypatch):
    place = resolve(FoundCrs("EPSG:4490"), PlaceOptions(vertical=f"grid:{small_grid}"), AT[0], AT[1])
    record = place.record()
    expected = place.to_ecef(AT)
    folder = tmp_path / "datum"
    folder.mkdir()
    shutil.move(small_grid, folder / "small.gtx")
    with pytest.raises(PlaceError, match=r"small\.gtx") as caught:
        Place.from_record(record).to_ecef(AT)
    assert caught.value.code == "place.file-missing"
    monkeypatch.setenv("TIM_DATUM_DIR", str(folder))
    moved = Place.from_record(record)
    assert (moved.to_ecef(AT) == expected).all()
    assert moved == place
    data = bytearray((folder / "small.gtx").read_bytes())
    data[-1] ^= 1
    (folder / "small.gtx").write_bytes(data)
    with pytest.raises(PlaceError) as caught:
        Place.from_record(record).to_ecef(AT)
    assert caught.value.code == "place.file-changed"


def test_geoid_by_name_needs_its_grid(tmp_path, monkeypatch, gtx):
    options = PlaceOptions(vertical="egm96")
    monkeypatch.setattr("tim.place.files.datadir.get_user_data_dir", lambda: str(tmp_path / "none"))
    with pytest.raises(PlaceError, match=r"egm96_15\.gtx") as caught:
        resolve(FoundCrs("EPSG:4490"), options, AT[0], AT[1])
    assert caught.value.code == "place.geoid-missing"
    gtx(tmp_path / "egm96_15.gtx", -90, -180, 10, np.full((19, 36), 7.0))
    monkeypatch.setenv("TIM_DATUM_DIR", str(tmp_path))
    for found, said in [("EPSG:4490", options), ("EPSG:4490+5773", PlaceOptions())]:
        place = resolve(FoundCrs(found), said, AT[0], AT[1])
        assert place.to_geographic(AT)[:, 2] == pytest.approx(AT[:, 2] + 7)
        assert place.warnings == ()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("+12.3m", 112.3),
        ("-4.5", 95.5),
        ("12 m", 112.0),
        ("ellipsoid", 100.0),
        ("+1m,ft", 31.48),
        ("ellipsoid,us-ft", 30.480061),
    ],
)
def test_constants_and_units(said, expected):
    place = resolve(FoundCrs("EPSG:4490"), PlaceOptions(vertical=said), AT[0], AT[0])
    assert place.to_geographic(AT[:1])[0, 2] == pytest.approx(expected, abs=1e-6)


def test_depths_point_down():
    place = resolve(FoundCrs("EPSG:4490+5715"), PlaceOptions(vertical="+2m"), AT[0], AT[0])
    assert place.to_geographic(AT[:1])[0, 2] == -98.0


def test_height_record_round_trip(small_grid):
    for height in (
        Height("ellipsoid", "ellipsoid"),
        Height("constant", "+1 m", 1.0, unit=0.3048),
        Height("grid", "small.gtx", grid=DatumFile.of(small_grid)),
    ):
        assert Height.from_record(height.record()) == height
