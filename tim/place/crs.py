"""Step (a): a source CRS as text, and its conversion to longitude and latitude on its own datum.

Only *conversions* happen here: inverse map projections and the change between geocentric and geodetic coordinates, which are exact.
No datum is changed, no height is touched: heights pass through as found, except that geocentric and local Cartesian
coordinates have a height on their own ellipsoid only after the conversion.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from tim.errors import PlaceError
from tim.geometry import F64
from tim.place import ellipsoid
from tim.place.files import DatumFile
from tim.place.frame import Frame

Kind = Literal["projected", "geographic", "geocentric", "enu", "pipeline"]

Conversion = Callable[[F64], F64]
"""float64[n, 3] native to longitude, latitude (degrees, own datum, Greenwich) and the height as found (or on the own ellipsoid)."""

_ENU = re.compile(r"ENU\s*:\s*([^,]+),([^,]+)(?:,([^,]+))?\s*", re.IGNORECASE)
_COMPOUND = re.compile(r"([A-Za-z]+):(\d+)\+(?:[A-Za-z]+:)?(\d+)")


@dataclass(frozen=True, slots=True)
class SourceCrs:
    """A source CRS taken apart: the horizontal (or geocentric) part and the vertical part."""

    text: str
    """What a :class:`tim.place.Place` stores; :func:`conversion` reads it."""
    kind: Kind
    name: str
    """For people: the name the CRS gives itself; never its parameters."""
    crs: CRS | None
    """The horizontal part, two-dimensional or geocentric; ``None`` where the kind is ``enu`` or ``pipeline``."""
    vertical: CRS | None
    """The vertical part of a compound CRS."""
    ellipsoidal: float | None
    """Metres per unit of a height that by its definition is on the own ellipsoid; ``None`` where the CRS has no such height."""
    file: DatumFile | None = None
    """The file that holds the definition, where it was named and not given as text."""


def parse(text: str, file: DatumFile | None = None) -> SourceCrs:
    """Take a CRS apart: ``EPSG:n``, ``EPSG:n+m``, WKT 1 or 2, PROJ string, PROJ pipeline, ``ENU:lat,lon[,height]``.

    Raises PlaceError ``place.crs-unreadable`` where it is none of these or of a kind that says no place (engineering, temporal).
    """
    text = text.replace("\r\n", "\n").strip().strip("\0")
    shown = f"@{file.name}" if file else text
    if match := _ENU.fullmatch(text):
        height = _enu_numbers(match, shown)[2]
        return SourceCrs(text, "enu", shown, None, None, None if height is None else 1.0, file)
    if "proj=pipeline" in text:
        return SourceCrs(text, "pipeline", f"@{file.name}" if file else "PROJ pipeline", None, None, None, file)
    if match := _COMPOUND.fullmatch(text):
        horizontal, vertical = (_crs(f"{match[1]}:{code}", shown) for code in (match[2], match[3]))
        if not vertical.is_vertical:
            raise PlaceError("place.crs-unreadable", crs=shown, reason=f"{match[1]}:{match[3]} is not a vertical CRS")
        found = _take_apart(horizontal, f"{match[1]}:{match[2]}", shown, file)
        return SourceCrs(found.text, found.kind, found.name, found.crs, vertical, found.ellipsoidal, file)
    return _take_apart(_crs(text, shown), text, shown, file)


def _crs(text: str, shown: str) -> CRS:
    try:
        return CRS.from_user_input(text)
    except CRSError as error:
        reason = "" if shown.startswith("@") else str(error).splitlines()[0][:200]
        raise PlaceError("place.crs-unreadable", crs=shown[:200], reason=reason) from None


def _take_apart(crs: CRS, text: str, shown: str, file: DatumFile | None) -> SourceCrs:
    vertical: CRS | None = None
    whole = crs
    if crs.is_compound:
        crs, vertical = crs.sub_crs_list[0], crs.sub_crs_list[1]
    if crs.is_bound:
        # TOWGS84 in WKT 1 is a datum step somebody attached; it is taken only on request (``--datum towgs84``).
        crs = crs.source_crs
    if crs.is_geocentric:
        return SourceCrs(crs.to_wkt() if crs != whole else text, "geocentric", crs.name, crs, None, 1.0, file)
    if not (crs.is_projected or crs.is_geographic):
        raise PlaceError("place.crs-unreadable", crs=shown[:200], reason=f"a {crs.type_name} says no place on Earth")
    ellipsoidal = None
    if len(crs.axis_info) == 3:
        ellipsoidal = crs.axis_info[2].unit_conversion_factor
        crs = crs.to_2d()
    kind: Kind = "projected" if crs.is_projected else "geographic"
    return SourceCrs(text if crs == whole else _shortest(crs), kind, crs.name, crs, vertical, ellipsoidal, file)


def _shortest(crs: CRS) -> str:
    """The authority code where it means exactly the same, otherwise WKT 2."""
    authority = crs.to_authority(min_confidence=100)
    if authority and CRS.from_authority(*authority) == crs:
        return ":".join(authority)
    return str(crs.to_wkt())


@lru_cache(maxsize=64)
def conversion(text: str) -> Conversion:
    """The conversion of one CRS; cached per process, because PROJ objects are dear to make and do not pickle.

    The function raises PlaceError ``place.outside-domain`` where a coordinate has no longitude and latitude in this CRS.
    """
    if match := _ENU.fullmatch(text):
        lat, lon, height = _enu_numbers(match, text)
        frame = Frame(lon, lat, height or 0.0, 1.0)
        return lambda xyz: ellipsoid.to_geographic(frame.to_ecef(xyz))
    if "proj=pipeline" in text:
        return _checked(_pipeline(text))
    source = parse(text)
    assert source.crs is not None
    if source.kind == "geocentric":
        return _checked(_geocentric(source.crs))
    return _checked(_horizontal(source.crs))


def own_ellipsoid(text: str) -> tuple[float, float]:
    """Semi-major axis (m) and inverse flattening (0 for a sphere) of the CRS's own datum."""
    crs = parse(text).crs
    if crs is None or crs.ellipsoid is None:
        return ellipsoid.A, 1 / ellipsoid.F
    return float(crs.ellipsoid.semi_major_metre), float(crs.ellipsoid.inverse_flattening)


def _enu_numbers(match: re.Match[str], shown: str) -> tuple[float, float, float | None]:
    try:
        lat, lon = float(match[1]), float(match[2])
        height = None if match[3] is None else float(match[3])
    except ValueError:
        raise PlaceError("place.crs-unreadable", crs=shown, reason="ENU needs numbers") from None
    if not (abs(lat) <= 90 and abs(lon) <= 360):
        raise PlaceError("place.crs-unreadable", crs=shown, reason="ENU is latitude, longitude: ±90, ±360 degrees")
    return lat, lon, height


def _checked(convert: Conversion) -> Conversion:
    def checked(xyz: F64) -> F64:
        out = convert(xyz)
        good = np.isfinite(out).all(axis=1) & (np.abs(out[:, 1]) <= 90.0 + 1e-9)
        if not good.all():
            row = int(np.argmin(good))
            raise PlaceError(
                "place.outside-domain", row=row, x=float(xyz[row, 0]), y=float(xyz[row, 1]), z=float(xyz[row, 2])
            )
        return out

    return checked


def _pipeline(text: str) -> Conversion:
    try:
        transformer = Transformer.from_pipeline(" ".join(text.split()))
    except ProjError as error:
        raise PlaceError("place.crs-unreadable", crs="PROJ pipeline", reason=type(error).__name__) from None

    def convert(xyz: F64) -> F64:
        lon, lat = transformer.transform(xyz[:, 0], xyz[:, 1])
        return np.column_stack([lon, lat, xyz[:, 2]])

    return convert


def _geocentric(crs: CRS) -> Conversion:
    shape = crs.ellipsoid
    flattening = f"+rf={shape.inverse_flattening!r}" if shape.inverse_flattening else "+f=0"
    factor = crs.axis_info[0].unit_conversion_factor
    transformer = Transformer.from_pipeline(
        f"+proj=pipeline +step +inv +proj=cart +a={shape.semi_major_metre!r} {flattening} +step +proj=unitconvert +xy_in=rad +xy_out=deg"
    )

    def convert(xyz: F64) -> F64:
        lon, lat, h = transformer.transform(xyz[:, 0] * factor, xyz[:, 1] * factor, xyz[:, 2] * factor)
        return np.column_stack([lon, lat, h])

    return convert


def _horizontal(crs: CRS) -> Conversion:
    own: Any = crs.geodetic_crs.to_2d() if len(crs.geodetic_crs.axis_info) == 3 else crs.geodetic_crs
    degrees = np.degrees(own.axis_info[0].unit_conversion_factor)
    meridian = crs.prime_meridian
    shift = np.degrees(meridian.longitude * meridian.unit_conversion_factor) if meridian is not None else 0.0
    # Between a CRS and its own geodetic CRS there is one operation, the conversion; ballpark steps are forbidden all the same.
    transformer = Transformer.from_crs(crs, own, always_xy=True, allow_ballpark=False) if crs.is_projected else None

    def convert(xyz: F64) -> F64:
        out = np.array(xyz, dtype=np.float64)
        if transformer is not None:
            out[:, 0], out[:, 1] = transformer.transform(xyz[:, 0], xyz[:, 1])
        if abs(degrees - 1) > 1e-12:
            out[:, :2] *= degrees
        if shift:
            out[:, 0] += shift
        return out

    return convert
