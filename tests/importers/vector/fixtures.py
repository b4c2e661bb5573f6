"""Small deliveries of vector data, written by GDAL or byte by byte."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely

from importers import ImportContext, Probe
from importers.plan import place_of
from importers.vector import probe, read
from tim.errors import is_warning
from tim.model import Blob, ObjectRecord, Rejected
from tim.place.resolve import PlaceOptions

EAST, NORTH = 500_000.0, 3_400_000.0
CRS = "EPSG:4547"
OPTIONS = PlaceOptions(vertical="ellipsoid")


def squares(count: int, size: float = 10.0) -> list[Any]:
    """Squares in a row, 20 m apart."""
    return [shapely.box(EAST + 20 * i, NORTH, EAST + 20 * i + size, NORTH + size) for i in range(count)]


def write(
    path: Path, shapes: Sequence[Any], columns: Mapping[str, Sequence[Any]] | None = None, **options: Any
) -> Path:
    """Write a layer by GDAL; ``geometry_type``, ``encoding``, ``layer``, … as pyogrio has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"id": np.arange(len(shapes))} if columns is None else columns
    arrays = [
        np.array(v, object) if v and isinstance(v[0], str | None) else np.array(v) for v in map(list, columns.values())
    ]
    options = {"geometry_type": next((s.geom_type for s in shapes if s is not None), "Polygon"), "crs": CRS} | options
    if shapes and shapes[0] is not None and shapes[0].has_z and " Z" not in options["geometry_type"]:
        options["geometry_type"] += " Z"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names are cut at ten bytes, on purpose
        wkb = None if options["geometry_type"] is None else shapely.to_wkb(np.array(shapes, object))
        pyogrio.raw.write(path, wkb, arrays, list(columns), **options)
    return path


def multipatch(path: Path, parts: Sequence[np.ndarray], kinds: Sequence[int]) -> Path:
    """A shapefile with one MultiPatch, without attributes: ESRI Shapefile Technical Description, p. 20."""
    points = np.concatenate(parts)
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    low, high = points.min(axis=0), points.max(axis=0)
    body = struct.pack("<i4d2i", 31, *low[:2], *high[:2], len(parts), len(points))
    body += struct.pack(f"<{len(parts)}i", *starts) + struct.pack(f"<{len(parts)}i", *kinds)
    body += points[:, :2].tobytes() + struct.pack("<2d", low[2], high[2]) + points[:, 2].tobytes()

    def head(size: int) -> bytes:
        return struct.pack(">7i", 9994, 0, 0, 0, 0, 0, size // 2) + struct.pack(
            "<2i8d", 1000, 31, *low[:2], *high[:2], low[2], high[2], 0, 0
        )

    path.write_bytes(head(108 + len(body)) + struct.pack(">2i", 1, len(body) // 2) + body)
    path.with_suffix(".shx").write_bytes(head(108) + struct.pack(">2i", 50, len(body) // 2))
    return path


class Given:
    """All that one layer gives."""

    def __init__(self, found: Probe, options: PlaceOptions = OPTIONS, **settings: Any) -> None:
        self.probe = found
        self.place = place_of(found, options, PlaceOptions())
        items = list(read(found, ImportContext(self.place, "L", settings)))
        self.objects = [i for i in items if isinstance(i, ObjectRecord)]
        self.blobs = {i.content: i.data for i in items if isinstance(i, Blob)}
        self.rejected = [i for i in items if isinstance(i, Rejected) and not is_warning(i.code)]
        self.warnings = [i for i in items if isinstance(i, Rejected) and is_warning(i.code)]

    @property
    def codes(self) -> list[str]:
        return [r.code for r in self.rejected]


def take(path: Path, options: PlaceOptions = OPTIONS, **settings: Any) -> Given:
    """Probe a file of one layer and read it."""
    (found,) = probe(path, path.name)
    return Given(found, options, **settings)
