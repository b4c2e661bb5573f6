"""Step (a): a source CRS as text, and its conversion to longitude and latitude on its own datum.

Only *conversions* happen here: inverse map projections and the change between geocentric and geodetic coordinates,
which are exact. No datum is changed, no height is touched: heights pass through as found, except that geocentric and
local Cartesian coordinates have a height on their own ellipsoid only after the conversion.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from tim.errors import PlaceError
from tim.geometry import F64
from tim.place import ellipsoid, parameters
from tim.place.files import DatumFile
from tim.place.frame import Frame

Kind = Literal["projected", "geographic", "geocentric", "enu", "pipeline", "local"]

Conversion = Callable[[F64], F64]
"""float64[n, 3] native to longitude, latitude (degrees, own datum, Greenwich) and the height as found (or on the own
ellipsoid)."""

_ENU = re.compile(r"ENU\s*:\s*([^,]+),([^,]+)(?:,([^,]+))?\s*", re.IGNORECASE)
_CODE = re.compile(r"(?:[A-Za-z]+:)?\d+")
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
    """Metres per unit of a height that by its definition is on the own ellipsoid; ``None`` where the CRS has no such
    height."""
    file: DatumFile | None = None
    """The file that holds the definition, where it was named and not given as text."""
    claimed: str = ""
    """The authority code a WKT puts on the horizontal part; to be compared with the parameters, which win."""
    towgs84: tuple[float, ...] = ()
    """The 3 or 7 parameters (m, arc seconds, ppm; position vector) that somebody attached to the CRS as TOWGS84."""

    @property
    def definition(self) -> str:
        """The text that defines the CRS, read from its file where it is referenced by name."""
        return self.file.text() if self.file else self.text


def parse(text: str, file: DatumFile | None = None) -> SourceCrs:
    """Take a CRS apart: ``EPSG:n``, ``EPSG:n+m``, WKT 1 or 2, PROJ string, PROJ pipeline, ``ENU:lat,lon[,height]``.

    Raises PlaceError ``place.crs-unreadable`` where it is none of these or of a kind that says no place (engineering,
    temporal).
    """
    text = text.replace("\r\n", "\n").strip().strip("\0")
    shown = file.shown if file else text
    if parameters.is_local(text):
        return _local(text, shown, file)
    if match := _ENU.fullmatch(text):
        height = _enu_numbers(match, shown)[2]
        return SourceCrs(text, "enu", shown, None, None, None if height is None else 1.0, file)
    if "proj=pipeline" in text:
        return SourceCrs(text, "pipeline", shown if file else "PROJ pipeline", None, None, None, file)
    if match := _COMPOUND.fullmatch(text):
        found = parse(f"{match[1]}:{match[2]}", file)
        return replace(found, vertical=vertical_crs(f"{match[1]}:{match[3]}"))
    return _take_apart(_crs(f"EPSG:{text}" if text.isdigit() else text, shown), text, shown, file)


def _local(text: str, shown: str, file: DatumFile | None) -> SourceCrs:
    """A local plane is on the datum of the map it leads to, and its heights are that map's."""
    target = parse(parameters.similarity(text).to)
    if target.kind != "projected":
        raise PlaceError("place.crs-unreadable", crs=target.name, reason="parameters must lead to a projected CRS")
    return replace(target, text=text, kind="local", name=shown, file=file, claimed="")


def vertical_crs(text: str) -> CRS:
    """A vertical CRS by code or WKT. Raises PlaceError ``place.crs-unreadable``."""
    crs = _crs(text, text)
    if not crs.is_vertical:
        raise PlaceError("place.crs-unreadable", crs=text[:200], reason="not a vertical CRS")
    return crs


def _crs(text: str, shown: str) -> CRS:
    try:
        return CRS.from_user_input(text)
    except CRSError as error:
        reason = "" if shown.startswith("@") else str(error).splitlines()[0][:200]
        raise PlaceError("place.crs-unreadable", crs=_short(shown), reason=reason) from None


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."


def _take_apart(crs: CRS, text: str, shown: str, file: DatumFile | None) -> SourceCrs:
    whole, vertical = crs, None
    if crs.is_compound:
        crs, vertical = crs.sub_crs_list[0], _unbound(crs.sub_crs_list[1])
    # TOWGS84 in WKT 1 is a datum step somebody attached; it is taken only on request.
    operation = crs.coordinate_operation if crs.is_bound else None
    towgs84 = tuple(float(v) for v in operation.towgs84) if operation else ()
    crs = _unbound(crs)
    geocentric = _is_geocentric(crs)
    if not (geocentric or crs.is_projected or crs.is_geographic):
        raise PlaceError("place.crs-unreadable", crs=_short(shown), reason=f"{crs.type_name}")
    ellipsoidal = None
    kind: Kind = "geocentric" if geocentric else "projected" if crs.is_projected else "geographic"
    if geocentric:
        ellipsoidal = 1.0
    elif len(crs.axis_info) == 3:
        ellipsoidal = crs.axis_info[2].unit_conversion_factor
        crs = crs.to_2d()
    identity = {} if _CODE.fullmatch(text) else crs.to_json_dict().get("id") or {}
    claimed = f"{identity['authority']}:{identity['code']}" if "authority" in identity else ""
    name = crs.name if crs.name not in ("unknown", "unnamed") else f"{crs.name} ({crs.type_name})"
    return SourceCrs(
        text if crs == whole or towgs84 else _shortest(crs),
        kind,
        name,
        crs,
        vertical,
        ellipsoidal,
        file,
        claimed,
        towgs84,
    )


def _is_geocentric(crs: CRS) -> bool:
    """PROJ sees a geocentric CRS only by the standard names of its axes; a Cartesian geodetic CRS can be nothing
    else."""
    return crs.is_geocentric or (
        crs.type_name == "Geodetic CRS" and crs.to_json_dict()["coordinate_system"]["subtype"] == "Cartesian"
    )


def _unbound(crs: CRS) -> CRS:
    return crs.source_crs if crs.is_bound and crs.source_crs is not None else crs


def _shortest(crs: CRS) -> str:
    """The authority code where it means exactly the same, otherwise WKT 2."""
    authority = crs.to_authority(min_confidence=100)
    if authority and CRS.from_authority(*authority) == crs:
        return ":".join(authority)
    return str(crs.to_wkt())


@lru_cache(maxsize=64)
def conversion(text: str) -> Conversion:
    """The conversion of one CRS; cached per process, because PROJ objects are dear to make and do not pickle.

    The function raises PlaceError ``place.outside-domain`` where a coordinate has no longitude and latitude in this
    CRS.
    """
    if parameters.is_local(text):
        plane = parameters.similarity(text)
        onward = conversion(plane.to)
        return lambda xyz: onward(plane(xyz))
    if match := _ENU.fullmatch(text):
        lat, lon, height = _enu_numbers(match, text)
        frame = Frame(lon, lat, height or 0.0, 1.0)
        return lambda xyz: ellipsoid.to_geographic(frame.to_ecef(xyz))
    if "proj=pipeline" in text:
        return _checked(_pipeline(text))
    source = _parsed(text)
    assert source.crs is not None
    if source.kind == "geocentric":
        return _checked(_geocentric(source.crs))
    return _checked(_horizontal(source.crs))


def has_own_height(text: str) -> bool:
    """Whether the CRS is three-dimensional, so that its height is on its own ellipsoid by definition."""
    return _parsed(text).ellipsoidal is not None


def whole_pipeline(definition: str, step: str) -> str:
    """The PROJ operation ``step`` from degrees to degrees: a bare Helmert step gets the way to geocentric and back
    around it.

    ``definition``: the CRS whose own ellipsoid the geocentric coordinates are on; ``towgs84`` means the parameters it
    carries. A pipeline is returned as it is.
    """
    step = " ".join(step.split())
    source = _parsed(definition)
    if step == "towgs84":
        step = _helmert(source.towgs84)
    if "proj=pipeline" in step or source.crs is None:
        return step
    major, inverse = shape_of(source.crs)
    own = f"+a={major!r} +rf={inverse!r}" if inverse else f"+a={major!r} +f=0"
    step = step if step.startswith("+") else "+" + step.replace(" ", " +")
    return (
        f"+proj=pipeline +step +proj=unitconvert +xy_in=deg +xy_out=rad +step +proj=cart {own} +step {step} "
        "+step +inv +proj=cart +ellps=WGS84 +step +proj=unitconvert +xy_in=rad +xy_out=deg"
    )


def _helmert(parameters: tuple[float, ...]) -> str:
    """TOWGS84 as a PROJ step: translations (m), position-vector rotations (arc seconds), scale (ppm)."""
    names = ("x", "y", "z", "rx", "ry", "rz", "s")[: len(parameters)]
    terms = " ".join(f"+{name}={value!r}" for name, value in zip(names, parameters, strict=True))
    return f"+proj=helmert {terms}" + (" +convention=position_vector" if len(parameters) == 7 else "")


@lru_cache(maxsize=64)
def _parsed(text: str) -> SourceCrs:
    return parse(text)


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
    major, inverse = shape_of(crs)
    shape = f"+a={major!r} +rf={inverse!r}" if inverse else f"+a={major!r} +f=0"
    factor = crs.axis_info[0].unit_conversion_factor
    transformer = Transformer.from_pipeline(
        f"+proj=pipeline +step +inv +proj=cart {shape} +step +proj=unitconvert +xy_in=rad +xy_out=deg"
    )

    def convert(xyz: F64) -> F64:
        lon, lat, h = transformer.transform(xyz[:, 0] * factor, xyz[:, 1] * factor, xyz[:, 2] * factor)
        return np.column_stack([lon, lat, h])

    return convert


def _horizontal(crs: CRS) -> Conversion:
    own = crs.geodetic_crs
    assert own is not None
    own = own.to_2d()
    degrees = float(np.degrees(own.axis_info[0].unit_conversion_factor))
    shift = _greenwich(crs)
    # Between a CRS and its own geodetic CRS there is one operation, the conversion; ballpark steps are forbidden
    # anyway.
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


def shape_of(crs: CRS) -> tuple[float, float]:
    """Semi-major axis (m) and inverse flattening (0 for a sphere) of a CRS's ellipsoid."""
    assert crs.ellipsoid is not None
    return float(crs.ellipsoid.semi_major_metre), float(crs.ellipsoid.inverse_flattening)


def _greenwich(crs: CRS) -> float:
    """Degrees to add to longitudes from the CRS's own prime meridian (Paris, Ferro) to count from Greenwich."""
    meridian = crs.prime_meridian
    if meridian is None:
        return 0.0
    return float(np.degrees(meridian.longitude * float(meridian.unit_conversion_factor)))
