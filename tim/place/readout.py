"""The other way round: a place on Earth in the coordinates of a CRS, for people who read them off.

There is one way from native coordinates to the Earth (:meth:`tim.place.Place.to_geographic`); this inverts it by Newton's method, so that
what is read off is exactly what would have been imported from there, datum step and height grid included.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from pyproj import CRS, Transformer
from pyproj.database import query_crs_info
from pyproj.enums import PJType

from tim.errors import PlaceError
from tim.geometry import F64
from tim.place import ellipsoid
from tim.place.crs import SourceCrs, parse
from tim.place.place import Place
from tim.place.resolve import FoundCrs, PlaceOptions, resolve

_CRS = re.compile(r"EPSG:\d{1,7}(?:\+\d{1,7})?|ENU:[-+.\d]+(?:,[-+.\d]+){1,2}", re.IGNORECASE)
_VERTICAL = re.compile(r"(?:ellipsoid|egm96|egm2008|[+-]\d+(?:\.\d+)?m?)(?:,(?:m|ft|us-ft))?", re.IGNORECASE)
_STEPS = 8
_NEAR = 1e-5
"""Metres: as good as there."""


@dataclass(frozen=True, slots=True)
class Readout:
    """A place in the coordinates of a CRS."""

    crs: str
    name: str
    x: float
    """East, or longitude; in :attr:`units`."""
    y: float
    h: float
    """Height in the height system asked for."""
    axes: tuple[str, str, str]
    """``E``, ``N``, ``h``; ``lon``, ``lat``, ``h``; ``X``, ``Y``, ``Z``."""
    units: tuple[str, str, str]
    warnings: tuple[str, ...]
    """Message codes of what the CRS has to say against this place (outside its area of use)."""


@dataclass(frozen=True, slots=True)
class KnownCrs:
    """A line of the CRS register."""

    code: str
    name: str


def read_off(lon: float, lat: float, h: float, crs: str, vertical: str = "ellipsoid") -> Readout:
    """EPSG:4979 degrees and metres in another CRS and height system.

    ``crs``: ``EPSG:n``, ``EPSG:n+m`` or ``ENU:lat,lon``; ``vertical``: ``ellipsoid``, ``egm96``, ``+12.3m``. Files are not taken: the caller may
    be anybody. Raises PlaceError for anything else, for a place the CRS does not cover, and what :func:`tim.place.resolve` raises.
    """
    if not _CRS.fullmatch(crs.strip()):
        raise PlaceError("place.crs-unreadable", crs=crs[:60], reason="EPSG:n, EPSG:n+m, ENU:lat,lon")
    if not _VERTICAL.fullmatch(vertical.strip()):
        raise PlaceError("place.vertical-unreadable", vertical=vertical[:60])
    if not (abs(lon) <= 180 and abs(lat) <= 90 and abs(h) < 1e6):
        raise PlaceError("place.outside-domain", row=0, x=lon, y=lat, z=h)
    source = parse(crs.strip())
    target = np.array([[lon, lat, h]])
    start = guess(source, target)
    said = None if source.kind == "geocentric" else vertical.strip()
    place = resolve(FoundCrs(), PlaceOptions(crs=crs.strip(), vertical=said), start[0], start[0])
    x, y, z = (float(v) for v in _inverted(place, source, target, start)[0])
    return Readout(
        crs.strip().upper(),
        source.name,
        x,
        y,
        z,
        _axes(source),
        _units(source),
        tuple(code for code, _ in place.warnings),
    )


@lru_cache(maxsize=1)
def _register() -> Sequence[tuple[str, str, tuple[float, float, float, float] | None]]:
    kinds = [
        PJType.PROJECTED_CRS,
        PJType.GEOGRAPHIC_2D_CRS,
        PJType.GEOGRAPHIC_3D_CRS,
        PJType.GEOCENTRIC_CRS,
        PJType.COMPOUND_CRS,
    ]
    found = query_crs_info("EPSG", kinds)
    return [(f"EPSG:{i.code}", i.name, i.area_of_use and tuple(i.area_of_use[:4])) for i in found if not i.deprecated]  # type: ignore[misc]


def find_crs(text: str, at: tuple[float, float] | None = None, limit: int = 30) -> list[KnownCrs]:
    """CRSs of the EPSG register whose code or name has all words of ``text``; those whose area of use holds ``at`` (degrees) first."""
    words = text.lower().split()

    def rank(area: tuple[float, float, float, float] | None) -> int:
        if at is None or area is None:
            return 1
        west, south, east, north = area
        inside = south <= at[1] <= north and (west <= at[0] <= east if west <= east else at[0] >= west or at[0] <= east)
        return 0 if inside else 2

    hits = [
        (rank(area), name, code)
        for code, name, area in _register()
        if all(w in f"{code} {name}".lower() for w in words)
    ]
    return [KnownCrs(code, name) for _, name, code in sorted(hits)[:limit]]


def guess(source: SourceCrs, target: F64) -> F64:
    """About where the answer is: by the CRS's own projection, datum differences left out."""
    if source.kind == "enu":
        return np.zeros((1, 3))
    if source.kind == "geocentric":
        return ellipsoid.to_ecef(target)
    assert source.crs is not None
    crs: CRS = source.crs
    assert crs.geodetic_crs is not None
    x, y = Transformer.from_crs(crs.geodetic_crs.to_2d(), crs, always_xy=True).transform(target[:, 0], target[:, 1])
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise PlaceError(
            "place.outside-domain", row=0, x=float(target[0, 0]), y=float(target[0, 1]), z=float(target[0, 2])
        )
    return np.column_stack([x, y, target[:, 2]])


def _inverted(place: Place, source: SourceCrs, target: F64, start: F64) -> F64:
    wanted = ellipsoid.to_ecef(target)
    span = np.array([1e-5, 1e-5, 1.0]) if source.kind == "geographic" else np.ones(3)
    at = start.copy()
    for _ in range(_STEPS):
        around = at + np.vstack([np.zeros(3), np.diag(span)])
        reached = place.to_ecef(around)
        miss = wanted[0] - reached[0]
        if float(np.linalg.norm(miss)) < _NEAR:
            return at
        slope = ((reached[1:] - reached[0]) / span[:, None]).T
        at = at + np.linalg.solve(slope, miss)
    raise PlaceError("place.outside-domain", row=0, x=float(target[0, 0]), y=float(target[0, 1]), z=float(target[0, 2]))


def _axes(source: SourceCrs) -> tuple[str, str, str]:
    if source.kind == "geocentric":
        return "X", "Y", "Z"
    return ("lon", "lat", "h") if source.kind == "geographic" else ("E", "N", "h")


def _units(source: SourceCrs) -> tuple[str, str, str]:
    if source.crs is None or source.kind == "geocentric":
        return "m", "m", "m"
    unit = source.crs.axis_info[0].unit_name
    short = {"metre": "m", "degree": "°", "US survey foot": "us-ft", "foot": "ft"}.get(unit, unit)
    return short, short, "m"
