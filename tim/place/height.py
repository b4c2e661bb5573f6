"""Step (c): heights as found to heights on the WGS 84 ellipsoid. PROJ takes no part in it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tim.errors import PlaceError
from tim.geometry import F64
from tim.place.files import DatumFile

_PIXEL_SCALE, _TIE_POINT, _GEO_KEYS, _GDAL_METADATA, _GDAL_NODATA = 33550, 33922, 34735, 42112, 42113
_POINT = 2


@dataclass(frozen=True, slots=True)
class Height:
    """Step (c): from the height as found to the height on the WGS 84 ellipsoid."""

    method: Literal["ellipsoid", "constant", "grid"]
    """``ellipsoid``: it is one already, on the *target* ellipsoid. ``constant`` and ``grid``: a separation is added
    to reach it."""
    name: str
    """``ellipsoid``, ``+12.3 m``, ``egm96``, or the grid's file name."""
    offset: float = 0.0
    """Metres added to reach the ellipsoid, where the method is ``constant``; to reach the datum that the grid is for, where it is ``grid``."""
    grid: DatumFile | None = None
    """The geoid or separation grid, where the method is ``grid``."""
    unit: float = 1.0
    """Metres per native height unit; negative where the native axis points down (depths)."""

    def to_ellipsoid(self, native: F64, lon: F64, lat: F64) -> F64:
        """float64[n] native heights at WGS 84 longitude, latitude (degrees) to ellipsoidal metres.

        Raises PlaceError ``place.outside-grid`` where the grid has no value there.
        """
        metres = native * self.unit
        if self.method == "constant":
            metres += self.offset
        elif self.method == "grid":
            assert self.grid is not None
            metres += self.offset
            metres += read_grid(self.grid)(lon, lat)
        return metres

    def record(self) -> dict[str, Any]:
        """JSON-able record; :meth:`from_record` reads it back."""
        grid = self.grid.record() if self.grid else None
        return {"method": self.method, "name": self.name, "offset": self.offset, "grid": grid, "unit": self.unit}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Height:
        """The height that :meth:`record` wrote."""
        return cls(**{**record, "grid": DatumFile(**record["grid"]) if record["grid"] else None})


@dataclass(frozen=True, slots=True)
class SeparationGrid:
    """A geoid (or any separation surface) on a regular lattice of longitude and latitude; bilinear between its
    nodes."""

    name: str
    south: float
    west: float
    step_lat: float
    step_lon: float
    """Degrees, both positive; the nodes lie on south + i * step_lat, west + j * step_lon."""
    values: F64
    """float64[row, column] metres, row 0 in the south; NaN where the grid has no value."""

    def __call__(self, lon: F64, lat: F64) -> F64:
        """float64[n] metres at longitude, latitude (degrees); longitudes wrap.

        Raises PlaceError ``place.outside-grid`` naming the first position without a value.
        """
        rows, columns = self.values.shape
        around = abs(columns * self.step_lon - 360) < self.step_lon * 0.5
        x = (lon - self.west) % 360 / self.step_lon
        # A hair west of the first column is the first column, not the far side of the Earth.
        x = np.where(x > 360 / self.step_lon - 1e-7, 0.0, x)
        y = (lat - self.south) / self.step_lat
        inside = (y >= -1e-7) & (y <= rows - 1 + 1e-7)
        if not around:
            inside &= x <= columns - 1 + 1e-7
        y = np.clip(y, 0, rows - 1)
        i = np.minimum(y.astype(np.intp), rows - 2)
        j = x.astype(np.intp) % columns if around else np.minimum(x.astype(np.intp), columns - 2)
        j = np.maximum(j, 0)
        np.minimum(j, columns - 1, out=j)
        v, u = y - i, x - np.floor(x) if around else x - j
        right = (j + 1) % columns
        south = self.values[i, j] * (1 - u) + self.values[i, right] * u
        north = self.values[i + 1, j] * (1 - u) + self.values[i + 1, right] * u
        out: F64 = south * (1 - v) + north * v
        bad = ~(inside & np.isfinite(out))
        if bad.any():
            at = int(np.argmax(bad))
            raise PlaceError("place.outside-grid", grid=self.name, lon=float(lon[at]), lat=float(lat[at]))
        return out


def read_grid(file: DatumFile) -> SeparationGrid:
    """The grid of a datum file, cached per process.

    Raises PlaceError ``place.file-missing``, ``place.file-changed``, ``place.grid-format`` (neither of the formats
    read),
    ``place.grid-corrupt``.
    """
    return _read(file.locate(), file.name)


@lru_cache(maxsize=8)
def _read(path: Path, name: str) -> SeparationGrid:
    readers = {".gtx": _read_gtx, ".tif": _read_geotiff, ".tiff": _read_geotiff}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise PlaceError("place.grid-format", grid=name)
    return reader(path, name)


def _read_gtx(path: Path, name: str) -> SeparationGrid:
    """NOAA VDatum gtx: big-endian; south, west, step north, step east (float64), rows, columns (int32), float32 from
    the south west."""
    data = path.read_bytes()
    if len(data) < 40:
        raise PlaceError("place.grid-corrupt", grid=name, reason=f"{len(data)} bytes")
    south, west, step_lat, step_lon, rows, columns = struct.unpack(">4d2i", data[:40])
    if rows < 2 or columns < 2 or not (step_lat > 0 and step_lon > 0) or len(data) != 40 + rows * columns * 4:
        raise PlaceError("place.grid-corrupt", grid=name, reason=f"{rows} × {columns} nodes in {len(data)} bytes")
    values = np.frombuffer(data, ">f4", offset=40).reshape(rows, columns).astype(np.float64)
    values[np.abs(values + 88.8888) < 1e-3] = np.nan  # the format's mark for "no value"
    return SeparationGrid(name, south, west, step_lat, step_lon, values)


def _read_geotiff(path: Path, name: str) -> SeparationGrid:
    """A GeoTIFF of one float band in plain longitude and latitude, north up (GeoTIFF 1.1, sections 7.1 and B.6).

    A file with a scale, an offset, several bands or another layout is refused rather than guessed at.
    """
    from PIL import Image, UnidentifiedImageError
    from PIL.TiffImagePlugin import TiffImageFile

    try:
        with Image.open(path) as image:
            if image.mode != "F":
                raise PlaceError("place.grid-format", grid=name)
            tags: dict[int, Any] = dict(image.tag_v2) if isinstance(image, TiffImageFile) else {}
            values = np.asarray(image, dtype=np.float64)[::-1].copy()
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise PlaceError("place.grid-corrupt", grid=name, reason=type(error).__name__) from None
    scale, tie, keys = tags.get(_PIXEL_SCALE), tags.get(_TIE_POINT), tags.get(_GEO_KEYS)
    metadata = str(tags.get(_GDAL_METADATA, ""))
    if scale is None or tie is None or len(tie) != 6 or 'role="scale"' in metadata or 'role="offset"' in metadata:
        raise PlaceError("place.grid-format", grid=name)
    if _GDAL_NODATA in tags:
        values[values == float(str(tags[_GDAL_NODATA]).strip("\0 "))] = np.nan
    node = 0.0 if _raster_type(keys) == _POINT else 0.5
    west = tie[3] + (node - tie[0]) * scale[0]
    south = tie[4] - (node - tie[1] + len(values) - 1) * scale[1]
    return SeparationGrid(name, south, west, scale[1], scale[0], values)


def _raster_type(keys: tuple[int, ...] | None) -> int:
    """GTRasterTypeGeoKey (1025): 1 pixel is area, 2 pixel is point; area where the file does not say."""
    entries = keys or ()
    for i in range(4, len(entries) - 3, 4):
        if entries[i] == 1025:
            return int(entries[i + 3])
    return 1
