"""The place record: how native coordinates become WGS 84, in three named steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tim.geometry import F64
from tim.place import ellipsoid

Box3 = tuple[float, float, float, float, float, float]
"""EPSG:4979: west, south (degrees), bottom (m), east, north (degrees), top (m)."""


@dataclass(frozen=True, slots=True)
class Datum:
    """Step (b): from the CRS's own datum to WGS 84."""

    method: Literal["equivalent", "operation"]
    name: str
    """What is assumed or done: ``CGCS2000 = WGS 84`` or the name of a PROJ operation."""
    accuracy: float
    """Metres, as stated."""
    operation: str = ""
    """A PROJ pipeline (degrees in, degrees out, longitude first) where the method is ``operation``."""


@dataclass(frozen=True, slots=True)
class Height:
    """Step (c): from the height as found to the height on the WGS 84 ellipsoid."""

    method: Literal["ellipsoid", "constant", "grid"]
    name: str
    """``ellipsoid``, ``+12.3 m``, ``egm96``, or the grid's file name."""
    offset: float = 0.0
    """Metres added to reach the ellipsoid, where the method is ``constant``."""
    grid: str = ""
    """Path of the geoid or separation grid, where the method is ``grid``."""
    unit: float = 1.0
    """Metres per native height unit."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a source lies. Immutable, picklable, stored as JSON; the same record gives the same coordinates everywhere."""

    crs: str
    """Authority code, WKT2, or ``ENU:lat,lon[,height]``: the horizontal (or geocentric) CRS of the source."""
    height: Height
    datum: Datum
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Native units added to coordinates first (``SRSOrigin`` of photogrammetry)."""
    warnings: tuple[tuple[str, Mapping[str, Any]], ...] = field(default=())
    """Message codes and fields of what a careful person should look at."""

    def to_geographic(self, xyz: F64) -> F64:
        """float64[n, 3] native to longitude, latitude (degrees), height on the WGS 84 ellipsoid (m), EPSG:4979 longitude first.

        Raises PlaceError where a coordinate leaves the domain of the CRS.
        """
        raise NotImplementedError

    def to_ecef(self, xyz: F64) -> F64:
        """float64[n, 3] native to geocentric metres (EPSG:4978)."""
        return ellipsoid.to_ecef(self.to_geographic(xyz))

    def record(self) -> dict[str, Any]:
        """JSON-able record; :meth:`from_record` reads it back."""
        raise NotImplementedError

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Place:
        """The place that :meth:`record` wrote."""
        raise NotImplementedError
