"""The CRSs features go out and boxes and filters come in with (OGC 18-058r1), by their URIs.

All name the same ellipsoidal coordinates (CGCS2000 counts as WGS 84, see :mod:`tim.place.datum`), so this is axes and, for Web Mercator, one
closed formula; other CRSs are asked for with ``/api/coordinates``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from tim.errors import UsageError
from tim.query.tree import Box, Expression, Geometry

_RADIUS = 6_378_137.0
_EDGE = math.pi * _RADIUS
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Crs:
    """One of them."""

    uri: str
    flipped: bool = False
    """Latitude comes first."""
    heights: bool = False
    metric: bool = False
    """Web Mercator."""

    def out(self, place: list[float]) -> list[float]:
        """Longitude, latitude and perhaps a height (EPSG:4979) in this CRS."""
        lon, lat, *height = place
        if self.metric:
            bounded = min(max(lat, -89.999999), 89.999999)
            lon = round(math.radians(lon) * _RADIUS, 4)
            lat = round(math.asinh(math.tan(math.radians(bounded))) * _RADIUS, 4)
        return [*((lat, lon) if self.flipped else (lon, lat)), *(height if self.heights else [])]

    def into(self, place: tuple[float, ...]) -> tuple[float, ...]:
        """The other way."""
        first, second, *height = place
        if self.metric:
            return math.degrees(first / _RADIUS), math.degrees(math.atan(math.sinh(second / _RADIUS))), *height
        return (second, first, *height) if self.flipped else (first, second, *height)

    def bounds(self, low1: float, low2: float, high1: float, high2: float) -> tuple[float, float, float, float]:
        """West, south, east, north of a box in this CRS. Raises UsageError where it is none of the Earth."""
        numbers = (low1, low2, high1, high2)
        if not all(math.isfinite(n) and (not self.metric or abs(n) <= _EDGE * 1.000001) for n in numbers):
            raise UsageError("server.bad-parameter", name="bbox", reason=f"numbers within {self.uri}")
        west, south = self.into((low1, low2))
        east, north = self.into((high1, high2))
        return (max(west, -180.0), south, min(east, 180.0), north) if self.metric else (west, south, east, north)

    def geometry(self, document: Json) -> Json:
        """A GeoJSON geometry in this CRS."""
        return {**document, "coordinates": _each(document["coordinates"], self.out)}

    def read(self, expression: Expression) -> Expression:
        """A condition whose geometries are in this CRS, with CRS84h instead; heights stay. Raises UsageError where they lie nowhere."""
        if self.uri in (CRS84.uri, CRS84H.uri):
            return expression
        try:
            found: Expression = _read(expression, self)
        except (OverflowError, TypeError, ValueError):
            raise UsageError("server.bad-parameter", name="filter-crs", reason=f"positions within {self.uri}") from None
        return found


CRS84H = Crs("http://www.opengis.net/def/crs/OGC/0/CRS84h", heights=True)
CRS84 = Crs("http://www.opengis.net/def/crs/OGC/1.3/CRS84")
_EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
ALL = (
    CRS84H, CRS84, Crs(f"{_EPSG}4979", flipped=True, heights=True), Crs(f"{_EPSG}4326", flipped=True), Crs(f"{_EPSG}4490", flipped=True),
    Crs(f"{_EPSG}3857", metric=True),
)  # fmt: skip
"""The first is how coordinates are stored."""


def find(uri: str | None, parameter: str) -> Crs:
    """The CRS of a parameter; how coordinates are stored where it is not given. Raises UsageError ``server.bad-parameter``."""
    if uri is None:
        return CRS84H
    found = next((crs for crs in ALL if crs.uri == uri), None)
    if found is None:
        raise UsageError("server.bad-parameter", name=parameter, reason=" | ".join(crs.uri for crs in ALL))
    return found


def _each(coordinates: Any, change: Callable[[Any], Any]) -> Any:
    """Nested positions, each changed."""
    if coordinates and not isinstance(coordinates[0], list | tuple):
        return change(coordinates)
    return type(coordinates)(_each(part, change) for part in coordinates)


def _read(found: Any, crs: Crs) -> Any:
    if isinstance(found, Geometry):
        if found.type == "GeometryCollection":
            return replace(found, coordinates=tuple(_read(part, crs) for part in found.coordinates))
        return replace(found, coordinates=_each(found.coordinates, crs.into))
    if isinstance(found, Box):
        half = len(found.bounds) // 2
        return Box((*crs.into(found.bounds[:half]), *crs.into(found.bounds[half:])))
    if isinstance(found, tuple):
        return tuple(_read(part, crs) for part in found)
    if hasattr(found, "__dataclass_fields__"):
        return replace(found, **{f.name: _read(getattr(found, f.name), crs) for f in fields(found)})
    return found
