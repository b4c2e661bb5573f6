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
from tim.place.boxes import Box3
from tim.place.files import DatumFile
from tim.place.height import Height


@dataclass(frozen=True, slots=True)
class Datum:
    """Step (b): from the CRS's own datum to WGS 84."""

    method: Literal["equivalent", "operation"]
    name: str
    """What is assumed or done: ``CGCS2000 = WGS 84`` or the name of a PROJ operation."""
    accuracy: float | None
    """Metres, as stated; ``None`` where nobody states it."""
    operation: str = ""
    """A PROJ pipeline (degrees in, degrees out, longitude first) where the method is ``operation`` and it is in no
    file; ``towgs84`` means the parameters that the CRS's own text carries."""
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
    """Where a source lies. Immutable, picklable, stored as JSON; the same record gives the same coordinates
    everywhere."""

    crs: str
    """Authority code, WKT 2, PROJ pipeline, or ``ENU:lat,lon[,height]``: the horizontal (or geocentric) CRS of the
    source. ``@name`` where the definition is in :attr:`file`."""
    height: Height
    datum: Datum
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Native units added to coordinates first (``SRSOrigin`` of photogrammetry)."""
    warnings: tuple[tuple[str, Mapping[str, Any]], ...] = field(default=())
    """Message codes and fields of what a careful person should look at."""
    file: DatumFile | None = None
    """The file with the definition of the CRS, where it is referenced by name."""

    @property
    def files(self) -> tuple[DatumFile, ...]:
        """All files that it depends on."""
        return tuple(file for file in (self.file, self.datum.file, self.height.grid) if file is not None)

    def to_geographic(self, xyz: F64) -> F64:
        """float64[n, 3] native to longitude, latitude (degrees), height on the WGS 84 ellipsoid (m), EPSG:4979
        longitude first.

        Raises PlaceError where a coordinate leaves the domain of the CRS, of the datum operation or of the height grid.
        """
        out = crs_.conversion(self.definition)(xyz + np.asarray(self.origin))
        native = out[:, 2].copy()
        if self.datum.method == "operation":
            lon, lat, h = _operation(self.pipeline).transform(out[:, 0], out[:, 1], native * self.height.unit)
            good = np.isfinite(lon) & np.isfinite(lat)
            if not good.all():
                row = int(np.argmin(good))
                x, y, z = (float(v) for v in xyz[row])
                raise PlaceError("place.outside-domain", row=row, x=x, y=y, z=z)
            out[:, 0], out[:, 1] = lon, lat
            if self.height.method == "ellipsoid" and crs_.has_own_height(self.definition):
                # The CRS is three-dimensional: its height is on its own ellipsoid and moves with the datum.
                out[:, 2] = h
                return out
        out[:, 2] = self.height.to_ellipsoid(native, out[:, 0], out[:, 1])
        return out

    @property
    def definition(self) -> str:
        """The text of the CRS, read from its file where it is referenced by name."""
        return self.file.text() if self.file else self.crs

    @property
    def pipeline(self) -> str:
        """The PROJ pipeline of the datum step, read from its file where it is referenced by name; empty where there
        is none."""
        step = self.datum.file.text() if self.datum.file else self.datum.operation
        return crs_.whole_pipeline(self.definition, step)

    def box(self, low: F64, high: F64) -> Box3:
        """The EPSG:4979 box of the native box ``low``..``high`` (float64[3] each), from a lattice over it and widened
        by its sag.

        West exceeds east where the box crosses the antimeridian.
        """
        even = np.linspace(0.0, 1.0, 9)
        u, v, w = np.meshgrid(even, even, [0.0, 1.0], indexing="ij")
        unit = np.column_stack([u.ravel(), v.ravel(), w.ravel()])
        at = self.to_geographic(np.asarray(low) + unit * (np.asarray(high) - np.asarray(low)))
        lon = at[:, 0]
        if np.ptp(lon) > 180:
            lon = lon % 360
        # An edge's extreme lies at most a quarter of the largest second difference beyond the samples.
        lattice = np.column_stack([lon, at[:, 1:]]).reshape(9, 9, 2, 3)
        sag = sum(np.abs(np.diff(lattice, 2, axis=axis)).max(axis=(0, 1, 2)) for axis in (0, 1)) / 4
        west, south, bottom = lattice.min(axis=(0, 1, 2)) - sag
        east, north, top = lattice.max(axis=(0, 1, 2)) + sag
        west, east = ((x + 180) % 360 - 180 if abs(x) > 180 else x for x in (west, east))
        return float(west), max(float(south), -90.0), float(bottom), float(east), min(float(north), 90.0), float(top)

    def report(self) -> dict[str, Any]:
        """The placing report: the three steps and the warnings, JSON-able, with text in both languages.

        See :mod:`tim.place.report`.
        """
        from tim.place.report import report

        return report(self)

    def to_ecef(self, xyz: F64) -> F64:
        """float64[n, 3] native to geocentric metres (EPSG:4978)."""
        return ellipsoid.to_ecef(self.to_geographic(xyz))

    def record(self) -> dict[str, Any]:
        """JSON-able record; :meth:`from_record` reads it back. What a named file holds is not in it, only name and
        hash."""
        return {
            "crs": self.crs, "height": self.height.record(), "datum": self.datum.record(), "origin": list(self.origin),
            "warnings": [[code, dict(fields)] for code, fields in self.warnings],
            "file": self.file.record() if self.file else None,
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


@lru_cache(maxsize=64)
def _operation(pipeline: str) -> Transformer:
    return Transformer.from_pipeline(pipeline)
