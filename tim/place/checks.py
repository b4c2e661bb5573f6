"""Do the coordinates fit the CRS? Refusals where they cannot, warnings where it is not certain.

Everything is judged by where the data would lie: a hint (swapped axes, feet, a zone number in front of the easting)
is given only where acting on it brings the data into the CRS's area of use.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from pyproj import CRS
from pyproj.database import query_crs_info
from pyproj.enums import PJType

from tim.errors import PlaceError
from tim.geometry import F64
from tim.place import ellipsoid
from tim.place.crs import SourceCrs, conversion, parse
from tim.place.datum import same_datum

Warning_ = tuple[str, dict[str, Any]]
Area = tuple[float, float, float, float]
"""West, south, east, north (degrees)."""

NEAR = 1.0
"""Degrees outside the area of use that are common practice: a neighbouring zone's data kept in one CRS."""
FAR = 6.0
"""Degrees outside the area of use that no practice explains."""
_NORTH = 1.2e7
"""Metres: no northing is larger, false northing included."""
_ENU_REACH = 300e3
"""Metres from the origin of a local east-north-up frame beyond which nobody surveys in it."""


def check(source: SourceCrs, low: F64, high: F64) -> list[Warning_]:
    """Warnings about native coordinates ``low``..``high`` (float64[3] each, origin added) in a CRS.

    Raises PlaceError: ``place.zone-prefix``, ``place.zone-prefix-missing``, ``place.axes-swapped``, ``place.feet``,
    ``place.not-feet``, ``place.degrees-in-projected``, ``place.metres-in-geographic``, ``place.not-geocentric``,
    ``place.enu-too-far``,
    ``place.outside-area``.
    """
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise PlaceError("place.bounds-not-finite")
    if source.kind == "enu":
        return _check_enu(low, high)
    if source.kind == "geocentric":
        return _check_geocentric(source.definition, low, high)
    if source.kind == "pipeline":
        return _check_pipeline(source.definition, low, high)
    if source.kind == "local":
        return _check_local(source, low, high)
    return _check_area(source, low, high)


def check_heights(bottom: float, top: float) -> list[Warning_]:
    """A warning where ellipsoidal heights (m) leave what the Earth's surface and its cities have."""
    if bottom < -600 or top > 9500:
        return [("place.height-implausible", {"bottom": round(bottom, 1), "top": round(top, 1)})]
    return []


def check_authority(source: SourceCrs, point: F64) -> list[Warning_]:
    """A warning where a WKT's parameters and the authority code it carries put ``point`` (float64[1, 3]) in two
    places."""
    if not source.claimed:
        return []
    try:
        claimed = parse(source.claimed)
    except PlaceError:
        return []
    distance = apart(source.definition, claimed.text, point)
    if distance < 1.0:
        return []
    return [("place.authority-contradicts", {"code": source.claimed, "name": claimed.name, "km": _km(distance)})]


def check_override(found: SourceCrs, chosen: SourceCrs, point: F64) -> list[Warning_]:
    """A warning where the user's CRS puts ``point`` (float64[1, 3]) elsewhere than the CRS the source declares."""
    distance = apart(found.definition, chosen.definition, point)
    if distance < 1.0:
        return []
    return [("place.crs-overridden", {"found": found.name, "chosen": chosen.name, "km": _km(distance)})]


def apart(one: str, other: str, point: F64) -> float:
    """Metres between the two places that two CRSs give one native point (float64[1, 3]); infinite where one gives none.

    Datums are not told apart, heights not compared.
    """
    try:
        ends = [conversion(text)(point) for text in (one, other)]
    except PlaceError:
        return float("inf")
    for end in ends:
        end[:, 2] = 0.0
    return float(np.linalg.norm(np.subtract(*(ellipsoid.to_ecef(end) for end in ends))))


def _km(metres: float) -> float | str:
    return round(float(metres) / 1000, 1 if metres >= 1000 else 3) if np.isfinite(metres) else "?"


def _check_enu(low: F64, high: F64) -> list[Warning_]:
    reach = float(np.hypot(*np.maximum(np.abs(low[:2]), np.abs(high[:2]))))
    if reach > _ENU_REACH:
        raise PlaceError("place.enu-too-far", km=_km(reach))
    return []


def _check_geocentric(definition: str, low: F64, high: F64) -> list[Warning_]:
    height = conversion(definition)(((low + high) / 2)[None])[0, 2]
    if abs(height) > 100e3:
        raise PlaceError("place.not-geocentric", km=_km(abs(height)), **_xy(low, high))
    return []


def _check_pipeline(definition: str, low: F64, high: F64) -> list[Warning_]:
    if (np.abs(conversion(definition)(np.array([low, high]))[:, 0]) > 360).any():
        raise PlaceError("place.pipeline-not-degrees")
    return []


def _check_local(source: SourceCrs, low: F64, high: F64) -> list[Warning_]:
    """Local coordinates may be anything; where their parameters put them is what can be judged."""
    places = _places(source.definition, np.array([(low + high) / 2, low, high]))
    reach = max(distance_outside(area_of(source), at) for at in places)
    if reach > FAR:
        raise PlaceError("place.outside-area", crs=source.name, **_xy(low, high))
    lon, lat = places[0]
    fields = {"crs": source.name, "degrees": round(reach, 2), "lon": round(lon, 5), "lat": round(lat, 5)}
    return [("place.beyond-area", fields)] if reach > NEAR else []


def _check_area(source: SourceCrs, low: F64, high: F64) -> list[Warning_]:
    definition = source.definition
    corners = np.array([(low + high) / 2, low, high, [low[0], high[1], low[2]], [high[0], low[1], low[2]]])
    area = area_of(source)
    outside = [distance_outside(area, at) for at in _places(definition, corners)]
    if outside[0] > NEAR:
        _hint(source, area, low, high)
    reach = max(outside)
    if reach == 0:
        return []
    lon, lat = _places(definition, corners[:1])[0]
    fields = {"crs": source.name, "degrees": round(reach, 2), "lon": round(lon, 5), "lat": round(lat, 5)}
    if not np.isfinite(reach) or (source.kind == "projected" and outside[0] > FAR):
        raise PlaceError("place.outside-area", crs=source.name, **_xy(low, high))
    return [("place.beyond-area", fields)]


def _hint(source: SourceCrs, area: Area, low: F64, high: F64) -> None:
    """Raise the refusal that explains why the data are far outside the area, where one does."""
    x, y, z = (float(v) for v in (low + high) / 2)
    fields = {"crs": source.name, **_xy(low, high)}

    factor = source.crs.axis_info[0].unit_conversion_factor if source.crs is not None else 1.0

    def fits(east: float, north: float) -> bool:
        if source.kind == "projected" and abs(north) * factor > _NORTH:
            return False  # a projection's formulas go round the Earth, its coordinates do not
        return distance_outside(area, _places(source.definition, np.array([[east, north, z]]))[0]) <= NEAR

    if source.kind == "geographic":
        if fits(y, x):
            raise PlaceError("place.axes-swapped", **fields)
        if abs(x) > 360 or abs(y) > 360:
            raise PlaceError("place.metres-in-geographic", **fields)
        return
    if abs(x) <= 360 and abs(y) <= 90:
        raise PlaceError("place.degrees-in-projected", **fields)
    if fits(y, x) or fits(y % 1e6, x):
        raise PlaceError("place.axes-swapped", **fields)
    prefix = int(x // 1e6)
    if 1 <= prefix <= 60 and false_easting(source) < 1e6 and 1e5 <= x - prefix * 1e6 <= 9e5:
        raise PlaceError("place.zone-prefix", prefix=prefix, fitting=zoned(source, prefix), **fields)
    if false_easting(source) >= 1e6 and 1e5 <= x <= 9e5 and fits(x + false_easting(source) - 5e5, y):
        raise PlaceError("place.zone-prefix-missing", fitting=unzoned(source), **fields)
    if abs(factor - 1) < 1e-9 and fits(x * 0.3048, y * 0.3048):
        raise PlaceError("place.feet", **fields)
    if abs(factor - 0.3048) < 1e-4 and fits(x / factor, y / factor):
        raise PlaceError("place.not-feet", **fields)


def area_of(source: SourceCrs) -> Area:
    """The area of use: as the CRS states it, or its registered twin does, or for a transverse Mercator without either a
    band about its central meridian."""
    assert source.crs is not None
    if source.crs.area_of_use is not None:
        return source.crs.area_of_use.bounds
    for match in source.crs.list_authority(min_confidence=25):
        twin = CRS.from_authority(match.auth_name, match.code)
        if (
            twin.area_of_use is not None
            and same_datum(source.crs, twin)
            and _projection(source.crs) == _projection(twin)
        ):
            return twin.area_of_use.bounds
    meridian = _parameter(source, "Longitude of natural origin")
    operation = source.crs.coordinate_operation
    if meridian is not None and operation is not None and "Transverse Mercator" in operation.method_name:
        return meridian - 3, -80.0, meridian + 3, 84.0
    return -180.0, -90.0, 180.0, 90.0


def distance_outside(area: Area, at: tuple[float, float]) -> float:
    """Degrees from a place to the area; 0 inside, infinite where the place is none."""
    lon, lat = at
    if not (np.isfinite(lon) and np.isfinite(lat)):
        return float("inf")
    west, south, east, north = area
    width = (east - west) % 360 if east - west < 360 else 360.0
    along = (lon - west) % 360
    beside = 0.0 if along <= width else min(along - width, 360 - along)
    return max(beside, south - lat, lat - north, 0.0)


def false_easting(source: SourceCrs) -> float:
    """The false easting in native units; 0 where the projection has none."""
    return _parameter(source, "False easting") or 0.0


def zoned(source: SourceCrs, prefix: int) -> str:
    """The CRS of the same datum and zone width whose eastings begin with ``prefix``; what to write where
    there is none."""
    assert source.crs is not None
    datum = source.crs.name.split("/")[0].strip()
    widths = ("3-degree Gauss-Kruger", "Gauss-Kruger")
    for width in widths if "3-degree" in source.crs.name else widths[::-1]:
        if code := _code_of(f"{datum} / {width} zone {prefix}"):
            return code
    return f"@WKT (false_easting = {prefix}500000)"


def unzoned(source: SourceCrs) -> str:
    """The CRS of the same datum and central meridian without a zone number in its eastings."""
    assert source.crs is not None
    meridian = _parameter(source, "Longitude of natural origin")
    name = re.sub(r"zone \d+$", f"CM {meridian:g}E" if meridian is not None else "", source.crs.name)
    return _code_of(name) or "@WKT (false_easting = 500000)"


def _code_of(name: str) -> str:
    for info in query_crs_info("EPSG", PJType.PROJECTED_CRS):
        if info.name == name:
            return f"EPSG:{info.code} ({name})"
    return ""


def _projection(crs: CRS) -> tuple[str, float, frozenset[tuple[str, float]]]:
    """Method, map unit and parameters other than zero (SI units, to a nanometre): equal for equal projections."""
    operation = crs.coordinate_operation
    if operation is None:
        return "", 0.0, frozenset()
    values = {(p.name, round(float(p.value) * float(p.unit_conversion_factor), 9)) for p in operation.params}
    return operation.method_name, crs.axis_info[0].unit_conversion_factor, frozenset(v for v in values if v[1])


def _parameter(source: SourceCrs, name: str) -> float | None:
    operation = source.crs.coordinate_operation if source.crs is not None else None
    for parameter in operation.params if operation is not None else ():
        if parameter.name.lower() == name.lower():
            return float(parameter.value)
    return None


def _places(definition: str, points: F64) -> list[tuple[float, float]]:
    """Longitude and latitude of each point; NaN where the CRS gives none."""
    out = []
    for point in points:
        try:
            lon, lat, _ = conversion(definition)(point[None])[0]
        except PlaceError:
            lon = lat = float("nan")
        # A longitude beyond ±360 is no longitude.
        out.append((float(lon), float(lat)) if abs(lon) <= 360 else (float("nan"), float("nan")))
    return out


def _xy(low: F64, high: F64) -> dict[str, float]:
    centre = (low + high) / 2
    return {"x": round(float(centre[0]), 3), "y": round(float(centre[1]), 3)}
