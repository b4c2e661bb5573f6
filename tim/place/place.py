"""The place record: how native coordinates become WGS 84, in three named steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from pyproj import Transformer

from tim.errors import PlaceError
from tim.geometry import F64
from tim.place import crs as crs_
from tim.place import ellipsoid
from tim.place.files import DatumFile
from tim.place.height import Height

Box3 = tuple[float, float, float, float, float, float]
"""EPSG:4979: west, south (degrees), bottom (m), east, north (degrees), top (m)."""


@dataclass(frozen=True, slots=True)
class Datum:
    """Step (b): from the CRS's own datum to WGS 84."""

    method: Literal["equivalent", "operation"]
    name: str
    """What is assumed or done: ``CGCS2000 = WGS 84`` or the name of a PROJ operation."""
    accuracy: float | None
    """Metres, as stated; ``None`` where nobody states it."""
    operation: str = ""
    """A PROJ pipeline (degrees in, degrees out, longitude first) where the method is ``operation`` and it is no secret."""
    file: DatumFile | None = None
    """The file that holds the operation, where it is referenced by name."""

    def record(self) -> dict[str, Any]:
        """JSON-able record; :meth:`from_record` reads it back."""
        file = self.file.record() if self.file else None
        return {
            "method": self.method,
            "name": self.name,
            "accuracy": self.accuracy,
            "operation": self.operation,
            "file": file,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Datum:
        """The datum step that :meth:`record` wrote."""
        return cls(**{**record, "file": DatumFile(**record["file"]) if record["file"] else None})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a source lies. Immutable, picklable, stored as JSON; the same record gives the same coordinates everywhere."""

    crs: str
    """Authority code, WKT 2, PROJ pipeline, or ``ENU:lat,lon[,height]``: the horizontal (or geocentric) CRS of the source.
    ``@name`` where the definition is in :attr:`file`."""
    height: Height
    datum: Datum
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Native units added to coordinates first (``SRSOrigin`` of photogrammetry)."""
    warnings: tuple[tuple[str, Mapping[str, Any]], ...] = field(default=())
    """Message codes and fields of what a careful person should look at."""
    file: DatumFile | None = None
    """The file with the definition of the CRS, where it is referenced by name."""

    def to_geographic(self, xyz: F64) -> F64:
        """float64[n, 3] native to longitude, latitude (degrees), height on the WGS 84 ellipsoid (m), EPSG:4979 longitude first.

        Raises PlaceError where a coordinate leaves the domain of the CRS, of the datum operation or of the height grid.
        """
        definition = definition_of(self)
        out = crs_.conversion(definition)(xyz + np.asarray(self.origin))
        native_height = out[:, 2].copy()
        if self.datum.method == "operation":
            operation = _operation(self.datum.operation or _text(self.datum.file))
            lon, lat, h = operation.transform(out[:, 0], out[:, 1], native_height * self.height.unit)
            if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
                row = int(np.argmin(np.isfinite(lon) & np.isfinite(lat)))
                raise PlaceError(
                    "place.outside-domain", row=row, x=float(xyz[row, 0]), y=float(xyz[row, 1]), z=float(xyz[row, 2])
                )
            out[:, 0], out[:, 1] = lon, lat
            if self.height.method == "ellipsoid" and crs_.parse(definition).ellipsoidal is not None:
                # The CRS is three-dimensional: its height is on its own ellipsoid and moves with the datum.
                out[:, 2] = h
                return out
        out[:, 2] = self.height.to_ellipsoid(native_height, out[:, 0], out[:, 1])
        return out

    def to_ecef(self, xyz: F64) -> F64:
        """float64[n, 3] native to geocentric metres (EPSG:4978)."""
        return ellipsoid.to_ecef(self.to_geographic(xyz))

    def record(self) -> dict[str, Any]:
        """JSON-able record; :meth:`from_record` reads it back. What a named file holds is not in it, only name and hash."""
        return {
            "crs": self.crs, "height": self.height.record(), "datum": self.datum.record(), "origin": list(self.origin),
            "warnings": [[code, dict(fields)] for code, fields in self.warnings], "file": self.file.record() if self.file else None,
        }  # fmt: skip

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Place:
        """The place that :meth:`record` wrote."""
        x, y, z = record["origin"]
        return cls(
            crs=record["crs"], height=Height.from_record(record["height"]), datum=Datum.from_record(record["datum"]),
            origin=(x, y, z), warnings=tuple((code, fields) for code, fields in record["warnings"]),
            file=DatumFile(**record["file"]) if record["file"] else None,
        )  # fmt: skip


def definition_of(place: Place) -> str:
    """The text of the CRS, read from its file where it is referenced by name."""
    return _text(place.file) if place.file else place.crs


def _text(file: DatumFile | None) -> str:
    assert file is not None
    return _read_text(str(file.locate()), file.sha256)


@lru_cache(maxsize=64)
def _read_text(path: str, sha256: str) -> str:  # noqa: ARG001 - the hash is part of the cache's key
    from pathlib import Path

    return Path(path).read_text(encoding="utf-8-sig").replace("\r\n", "\n").strip()


@lru_cache(maxsize=64)
def _operation(pipeline: str) -> Transformer:
    return Transformer.from_pipeline(pipeline)
