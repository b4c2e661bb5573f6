"""Headers of height rasters against rasterio, which knows these formats by other code; pictures, and files that lie."""

from __future__ import annotations

import os
import struct
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from importers import ImportContext, dem
from importers.dem.headers import BrokenHeaderError, read_header
from importers.plan import place_of
from tim.errors import SourceError
from tim.place.resolve import PlaceOptions


def from_origin(west: float, north: float, across: float, down: float) -> Affine:
    """North up, with the upper left corner there."""
    return Affine(across, 0, west, 0, -down, north)


PLANE = {"crs": "EPSG:4547", "transform": from_origin(500_000, 3_400_000, 2, 5)}


def write(path: Path, driver: str = "GTiff", shape: tuple[int, int] = (7, 5), dtype: str = "float32", bands: int = 1, **options: Any) -> Path:  # fmt: skip
    """A raster, written by GDAL."""
    profile = PLANE | {"driver": driver, "width": shape[1], "height": shape[0], "count": bands, "dtype": dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile | options) as out:
            out.write(np.arange(bands * shape[0] * shape[1]).reshape(bands, *shape).astype(dtype))
    return path


def copied(path: Path, driver: str, nodes: int, west: int, south: int, columns: int | None = None) -> Path:
    """A raster of one degree in a format that GDAL only copies into: nodes on the edges."""
    columns = columns or nodes
    across, down = 1 / (columns - 1), 1 / (nodes - 1)
    transform = from_origin(west - across / 2, south + 1 + down / 2, across, down)
    profile: dict[str, Any] = {"width": columns, "height": nodes, "count": 1, "dtype": "int16", "transform": transform}
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", crs="EPSG:4326", **profile) as made:
            made.write(np.zeros((1, nodes, columns), np.int16))
        with memory.open() as made:
            rasterio.shutil.copy(made, path, driver=driver)
    return path


def assert_agrees(path: Path, shrink: float = 0.0) -> None:
    """Size and edges are what rasterio says; ``shrink``: cells by which nodes on the edges lie within its pixels."""
    found = read_header(path)
    assert found is not None
    assert found.extent is not None
    with rasterio.open(path) as other:
        assert (found.columns, found.rows) == (other.width, other.height)
        across, down = (abs(side) * shrink for side in other.res)
        left, bottom, right, top = other.bounds
        edges = (left + across, bottom + down, right - across, top - down)
        np.testing.assert_allclose(found.extent, edges, rtol=1e-12, atol=1e-9)
        if other.crs is not None and found.crs is not None:
            assert rasterio.CRS.from_user_input(found.crs) == other.crs


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(["float32", "float64", "int16", "int32", "uint16"]),
    st.sampled_from(["EPSG:4547", "EPSG:32650", "EPSG:4490", "EPSG:3857"]),
    st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(0.01, 500), st.floats(0.01, 500)),
    st.fixed_dictionaries({}, optional={"BIGTIFF": st.just("YES"), "ENDIANNESS": st.just("BIG"), "compress": st.just("deflate")}),
    st.sampled_from(["Area", "Point"]),
)  # fmt: skip
def test_geotiff(shape: tuple[int, int], dtype: str, crs: str, grid: tuple[float, float, float, float], options: Mapping[str, str], area: str):  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "d.tif"), shape=shape, dtype=dtype, crs=crs, transform=from_origin(*grid), **options)
        if area == "Point":
            with rasterio.open(path, "r+") as changed:
                changed.update_tags(AREA_OR_POINT="Point")
        assert_agrees(path)


def test_turned_geotiff(tmp_path: Path):
    turned = Affine.translation(500_000, 3_400_000) @ Affine.rotation(30) @ Affine.scale(2, -5)
    found = read_header(write(tmp_path / "d.tif", transform=turned))
    assert found is not None
    assert found.extent is not None
    corners = [turned @ (u, v) for u in (0, 5) for v in (0, 7)]
    xs, ys = zip(*corners, strict=True)
    np.testing.assert_allclose(found.extent, (min(xs), min(ys), max(xs), max(ys)))


@pytest.mark.parametrize("suffix", [".tfw", ".wld"])
def test_world_file(tmp_path: Path, suffix: str):
    path = write(tmp_path / "d.tif", crs=None, transform=None)
    assert read_header(path) is None
    path.with_suffix(suffix).write_text("2.0\n0.0\n0.0\n-5.0\n500001.0\n3399997.5\n", encoding="ascii")
    assert_agrees(path)


@pytest.mark.parametrize("lower", ["corner", "center"])
def test_ascii_grid(tmp_path: Path, lower: str):
    path = tmp_path / "d.asc"
    rows = "\n".join("1 2 3" for _ in range(4))
    path.write_text(
        f"NCOLS 3\nNROWS 4\nXLL{lower.upper()} 500000.5\nyll{lower} 3400000\ncellsize 2.5\nNODATA_value -9999\n{rows}\n"
    )
    assert_agrees(path)
    assert read_header(path).crs is None  # type: ignore[union-attr]
    path.with_suffix(".prj").write_text(rasterio.CRS.from_epsg(4547).to_wkt(), encoding="utf-8")
    assert_agrees(path)


def test_ascii_grid_of_gdal(tmp_path: Path):
    assert_agrees(write(tmp_path / "d.asc", "AAIGrid", transform=from_origin(500_000, 3_400_000, 2, 2)))


def test_imagine(tmp_path: Path):
    assert_agrees(write(tmp_path / "d.img", "HFA"))


@pytest.mark.parametrize(("name", "west", "south"), [("N30E114", 114, 30), ("S03W071", -71, -3)])
def test_srtm(tmp_path: Path, name: str, west: int, south: int):
    assert_agrees(copied(tmp_path / f"{name}.hgt", "SRTMHGT", 1201, west, south), shrink=0.5)


@pytest.mark.parametrize(
    ("name", "nodes", "columns", "south"), [("a.dt0", 121, 121, 30), ("a.dt1", 1201, 1201, -31), ("b.dt0", 121, 61, 55)]
)
def test_dted(tmp_path: Path, name: str, nodes: int, columns: int, south: int):
    assert_agrees(copied(tmp_path / name, "DTED", nodes, -71, south, columns), shrink=0.5)


@pytest.mark.parametrize(
    "options", [{"bands": 3, "dtype": "uint8"}, {"dtype": "uint8"}, {"bands": 3, "dtype": "uint16"}, {"crs": None, "transform": None}]
)  # fmt: skip
def test_pictures_are_none(tmp_path: Path, options: dict[str, Any]):
    assert dem.probe(write(tmp_path / "picture.tif", **options)) == []


@pytest.mark.parametrize("name", ["a.tif", "a.img", "a.asc", "N30E114.hgt", "a.dt1"])
@pytest.mark.parametrize("data", [b"", b"\0" * 100, "你好".encode(), bytes(range(256)) * 8])
def test_foreign_files_are_none(tmp_path: Path, name: str, data: bytes):
    path = tmp_path / name
    path.write_bytes(data)
    assert dem.probe(path) == []


def test_cut_anywhere_never_crashes(tmp_path: Path):
    """A header that is cut is known as broken, or not known at all; nothing else is raised."""
    path = write(tmp_path / "d.tif")
    whole, short = path.read_bytes(), tmp_path / "short.tif"
    for size in range(len(whole)):
        short.write_bytes(whole[:size])
        for probe in dem.probe(short):
            assert not probe.fatal or [p.code for p in probe.problems] == ["dem.header-broken"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=8)), min_size=1, max_size=6))
def test_spoilt_anywhere_never_crashes(spoils: list[tuple[int, bytes]]):
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "d.tif"))
        data = bytearray(path.read_bytes())
        for at, spoil in spoils:
            data[at : at + len(spoil)] = spoil
        path.write_bytes(data)
        for probe in dem.probe(path):
            assert probe.fatal or probe.low is None or np.isfinite([*probe.low, *(probe.high or ())]).all()


def test_a_directory_without_end_is_refused(tmp_path: Path):
    path = tmp_path / "a.tif"
    path.write_bytes(struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, 2**40))
    with pytest.raises(BrokenHeaderError):
        read_header(path)


def test_no_cell_is_read(tmp_path: Path):
    """A sheet of a terabyte costs what its header does."""
    path = write(tmp_path / "d.tif")
    os.truncate(path, 1 << 40)
    (probe,) = dem.probe(path)
    assert (probe.size, probe.count) == (1 << 40, None)


def test_importing_is_refused(tmp_path: Path):
    (probe,) = dem.probe(write(tmp_path / "d.tif"))
    place = place_of(probe, PlaceOptions(vertical="ellipsoid"), PlaceOptions())
    with pytest.raises(SourceError) as refused:
        next(iter(dem.read(probe, ImportContext(place))))
    assert refused.value.code == "dem.not-imported"
