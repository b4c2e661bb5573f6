"""Where an IFC model lies, in the forms a file can say it, and from model metres to the coordinates of its place.

``map``: IfcMapConversion, IfcMapConversionScaled or IfcRigidOperation into an IfcProjectedCRS (IFC4, IFC4.3). ``site``: latitude, longitude
and elevation of IfcSite, or IfcRigidOperation into an IfcGeographicCRS, with TrueNorth. ``coordinates``: the model's own coordinates are map
coordinates, and the user says which. ``none``: neither.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from importers.ifc.step import Instance, StepFile
from tim.errors import PlaceError
from tim.geometry import F64
from tim.place.checks import area_of, distance_outside
from tim.place.crs import conversion, parse, vertical_crs

Problem = tuple[str, Mapping[str, Any]]
Triple = tuple[float, float, float]

_FAR = 100e3
"""Metres from the origin at which coordinates can only be those of a map."""
_CLOSE = 0.02
"""By how much a scale may differ from 1 that is one of a map projection."""
_SCANNED = 64 << 20
"""Bytes in which coordinates are looked at."""
_PREFIXES = {
    "EXA": 1e18, "PETA": 1e15, "TERA": 1e12, "GIGA": 1e9, "MEGA": 1e6, "KILO": 1e3, "HECTO": 1e2, "DECA": 10.0, "DECI": 0.1, "CENTI": 0.01,
    "MILLI": 1e-3, "MICRO": 1e-6, "NANO": 1e-9, "PICO": 1e-12, "FEMTO": 1e-15, "ATTO": 1e-18,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Georeference:
    """What a file says; lengths in metres."""

    form: str
    """``map``, ``site``, ``coordinates`` or ``none``."""
    crs: str | None = None
    vertical: str | None = None
    shift: Triple = (0.0, 0.0, 0.0)
    """Of ``map``: eastings, northings, height of the model's origin. Of ``site``: the point of the model (x, y, z) at latitude and longitude,
    its z less the elevation."""
    axis: tuple[float, float] = (1.0, 0.0)
    """Of ``map``: east and north part of the model's x axis, unit length. Otherwise the model's x and y part of true north."""
    factor: Triple = (1.0, 1.0, 1.0)
    """Of ``map``: metres of the map per metre of the model."""
    low: Triple = (0.0, 0.0, 0.0)
    high: Triple = (0.0, 0.0, 0.0)
    """About where the model's coordinates lie (metres of the model)."""
    problems: tuple[Problem, ...] = field(default=(), compare=False)

    def record(self) -> dict[str, Any]:
        """JSON-able record; :meth:`from_record` reads it back."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name != "problems"
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Georeference:
        """The georeference that :meth:`record` wrote."""
        members: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in record.items()}
        return cls(**members)

    def to_native(
        self, xyz: F64, crs: str, height_unit: float, heading: float = 0.0, scale: float | Triple = 1.0
    ) -> F64:
        """float64[n, 3] of the model (metres) to the native coordinates of a place with this CRS text and height unit (metres each).

        ``heading`` (degrees clockwise) and ``scale`` (east, north, up) apply where the CRS is a local frame, after true north.
        """
        xyz = np.asarray(xyz, np.float64)
        local = crs[:3].upper() == "ENU"
        if self.form == "map" and not local:
            x, y, z = (xyz * self.factor).T
            cos, sin = self.axis
            unit = map_unit(crs)
            east, north = (self.shift[0] + cos * x - sin * y) / unit, (self.shift[1] + sin * x + cos * y) / unit
            return np.column_stack([east, north, (self.shift[2] + z) / height_unit])
        if not local:
            unit = map_unit(crs)
            return xyz / (unit, unit, height_unit)
        about = xyz - (self.shift if self.form == "site" else (0.0, 0.0, 0.0))
        if crs != self.crs and crs.count(",") == 2 and self.form == "site":
            about[:, 2] = xyz[:, 2]  # a frame with a height of its own: the site's elevation is not asked
        nx, ny = self.axis if self.form != "map" else (0.0, 1.0)
        east, north = ny * about[:, 0] - nx * about[:, 1], nx * about[:, 0] + ny * about[:, 1]
        out = np.column_stack([east, north, about[:, 2]]) * scale
        turn = math.radians(heading)
        east, north = (
            out[:, 0] * math.cos(turn) + out[:, 1] * math.sin(turn),
            out[:, 1] * math.cos(turn) - out[:, 0] * math.sin(turn),
        )
        return np.column_stack([east, north, out[:, 2] / height_unit])


def map_unit(crs: str) -> float:
    """Metres per unit of a projected CRS; 1 for any other and for one that cannot be read."""
    try:
        source = parse(crs)
    except PlaceError:
        return 1.0
    return (
        float(source.crs.axis_info[0].unit_conversion_factor)
        if source.kind == "projected" and source.crs is not None
        else 1.0
    )


def georeference(file: StepFile) -> Georeference:
    """Read what a file says of its place. What is doubtful or cannot be used is in the problems; nothing is raised."""
    name = "IFCPROJECT"
    try:
        unit, degree = _units(file)
        name = "IFCGEOMETRICREPRESENTATIONCONTEXT"
        north = _true_north(file)
        far = _far_points(file, unit)
        for name in ("IFCMAPCONVERSION", "IFCMAPCONVERSIONSCALED", "IFCRIGIDOPERATION"):
            if (operation := next(file.of_type(name), None)) is not None:
                found = _operation(file, operation, unit, degree)
                near = found.form == "map" and math.hypot(*found.shift[:2]) > 1000
                return found if near or far is None else replace(found, low=far[0], high=far[1])
        if far is not None:
            return Georeference("coordinates", axis=north, low=far[0], high=far[1])
        name = "IFCSITE"
        return _site(file, unit, north) or Georeference("none", axis=north)
    except (IndexError, TypeError, ValueError, OverflowError, RecursionError) as error:
        return Georeference("none", problems=(("ifc.bad-conversion", {"type": name, "reason": str(error)[:200]}),))


def _operation(file: StepFile, operation: Instance, unit: float, degree: float) -> Georeference:
    """IfcMapConversion(SourceCRS, TargetCRS, Eastings, Northings, OrthogonalHeight, XAxisAbscissa, XAxisOrdinate, Scale[, FactorX, Y, Z]);
    IfcRigidOperation(SourceCRS, TargetCRS, FirstCoordinate, SecondCoordinate, Height)."""
    values = operation.values
    target = file.instance(values[1])
    if target is None:
        raise ValueError("the target CRS is missing")
    crs = _crs_name(file, target)
    first, second = float(values[2]), float(values[3])
    height = float(values[4] or 0.0)
    if target.type == "IFCGEOGRAPHICCRS":
        lat, lon = (first, second) if _latitude_first(crs) else (second, first)
        return Georeference(
            "site", f"ENU:{lat * degree!r},{lon * degree!r}", shift=(0.0, 0.0, -height * unit), axis=(0.0, 1.0)
        )
    map_metre, problems = _unit_of_map(file, target, crs, unit, first, second)
    rigid = operation.type == "IFCRIGIDOPERATION"
    cos, sin = (1.0, 0.0) if rigid else (float(1.0 if values[5] is None else values[5]), float(values[6] or 0.0))
    length = math.hypot(cos, sin)
    if not length or not math.isfinite(length):
        raise ValueError("the x axis has no direction")
    factor, scale_problems = (
        (1.0, []) if rigid else _scale(1.0 if values[7] is None else float(values[7]), unit / map_metre, file)
    )
    each = [float(v) for v in values[8:11]] if operation.type == "IFCMAPCONVERSIONSCALED" else [1.0, 1.0, 1.0]
    return Georeference(
        "map", crs, _vertical(target), (first * map_metre, second * map_metre, height * map_metre), (cos / length, sin / length),
        (factor * each[0], factor * each[1], factor * each[2]), problems=(*problems, *scale_problems),
    )  # fmt: skip


def _scale(said: float, expected: float, file: StepFile) -> tuple[float, list[Problem]]:
    """Metres of the map per metre of the model. ``Scale`` is to turn project units into map units (``expected``), times a scale of the map;
    files are met that leave the units out of it, or turn them the wrong way round."""
    for ratio, plain in ((said / expected, True), (said, False), (said * expected, False)):
        if abs(ratio - 1) < _CLOSE:
            return ratio, [] if plain else [
                ("ifc.scale-corrected", {"scale": said, "expected": expected, "schema": file.schema})
            ]
    raise ValueError(f"Scale {said:g} fits neither the units ({expected:g}) nor a map projection (about 1)")


def _crs_name(file: StepFile, target: Instance) -> str | None:
    name = str(target.values[0] or "")
    if match := re.search(r"EPSG\s*:+\s*(?:[\d.]*:)?(\d+)", name, re.IGNORECASE):
        return f"EPSG:{match[1]}"
    for text in file.of_type("IFCWELLKNOWNTEXT"):
        if (described := file.instance(text.values[1])) is not None and described.number == target.number:
            return str(text.values[0])
    return name or None


def _vertical(target: Instance) -> str | None:
    """The vertical datum where it is a code of a vertical CRS; a name alone leaves the question to the user."""
    match = re.search(r"EPSG\s*:+\s*(\d+)", str(target.values[3] or ""), re.IGNORECASE)
    if match is None:
        return None
    try:
        vertical_crs(f"EPSG:{match[1]}")
    except PlaceError:
        return None
    return f"EPSG:{match[1]}"


def _latitude_first(crs: str | None) -> bool:
    """Whether the first axis of a geographic CRS points north, as EPSG's do."""
    try:
        source = parse(crs or "EPSG:4326")
    except PlaceError:
        return True
    return source.crs is None or source.crs.axis_info[0].direction == "north"


def _unit_of_map(
    file: StepFile, target: Instance, crs: str | None, unit: float, east: float, north: float
) -> tuple[float, list[Problem]]:
    """Metres per unit of eastings and northings: MapUnit; without one the project's unit, unless only the CRS's own puts them in its area."""
    if (said := file.instance(target.values[6] if len(target.values) > 6 else None)) is not None:
        return _metres(file, said), []
    own = map_unit(crs or "")
    if (
        abs(unit - own) > 1e-9
        and crs is not None
        and not _inside(crs, east * unit / own, north * unit / own)
        and _inside(crs, east, north)
    ):
        return own, [("ifc.map-unit-assumed", {"crs": crs})]
    return unit, []


def _inside(crs: str, east: float, north: float) -> bool:
    try:
        source = parse(crs)
        lon, lat, _ = conversion(source.definition)(np.array([[east, north, 0.0]]))[0].tolist()
        return distance_outside(area_of(source), (lon, lat)) < 1.0
    except PlaceError:
        return False


def _site(file: StepFile, unit: float, north: tuple[float, float]) -> Georeference | None:
    """The first IfcSite with latitude and longitude (attributes 10 to 12), at its placement."""
    for site in file.of_type("IFCSITE"):
        if len(site.values) < 12 or not site.values[9] or not site.values[10]:
            continue
        lat, lon = _angle(site.values[9]), _angle(site.values[10])
        if not (abs(lat) <= 90 and abs(lon) <= 180):
            continue
        x, y, z = (placement(file, site.values[5])[:3, 3] * unit).tolist()
        elevation = float(site.values[11] or 0.0) * unit
        return Georeference("site", f"ENU:{lat!r},{lon!r}", shift=(x, y, z - elevation), axis=north)
    return None


def _angle(parts: list[Any]) -> float:
    """IfcCompoundPlaneAngleMeasure: degrees, minutes, seconds, millionths, all of one sign."""
    sizes = (1.0, 60.0, 3600.0, 3600.0e6)
    total = sum(abs(float(part)) / size for part, size in zip(parts, sizes, strict=False))
    return -total if any(float(part) < 0 for part in parts) else total


def placement(file: StepFile, ref: Any, depth: int = 0) -> F64:
    """float64[4, 4] of an IfcLocalPlacement, project units; the identity where it is missing or of another kind."""
    local = file.instance(ref)
    if local is None or local.type != "IFCLOCALPLACEMENT" or depth > 64:
        return np.eye(4)
    above = placement(file, local.values[0], depth + 1)
    axes = file.instance(local.values[1])
    out = np.eye(4)
    if axes is not None and axes.type == "IFCAXIS2PLACEMENT3D":
        location, z, x = (_vector(file, ref) for ref in (*axes.values[:3], None, None)[:3])
        third = np.array([0.0, 0.0, 1.0]) if z is None else z / np.linalg.norm(z)
        along = np.array([1.0, 0.0, 0.0]) if x is None else x
        first = along - third * (along @ third)
        if np.linalg.norm(first) > 1e-9:
            first /= np.linalg.norm(first)
            out[:3, :3] = np.column_stack([first, np.cross(third, first), third])
        if location is not None:
            out[:3, 3] = location
    return above @ out


def _vector(file: StepFile, ref: Any) -> F64 | None:
    found = file.instance(ref)
    if found is None or not found.values or not isinstance(found.values[0], list):
        return None
    numbers = [float(v) for v in found.values[0] if isinstance(v, int | float)]
    vector = np.array([*numbers, 0.0, 0.0, 0.0][:3])
    return vector if np.isfinite(vector).all() and (found.type != "IFCDIRECTION" or vector.any()) else None


def _true_north(file: StepFile) -> tuple[float, float]:
    """The direction of true north in the model's x and y; its y axis where the file does not say."""
    for context in file.of_type("IFCGEOMETRICREPRESENTATIONCONTEXT"):
        direction = _vector(file, context.values[5]) if len(context.values) > 5 else None
        if direction is not None and (length := float(np.hypot(direction[0], direction[1]))) > 0:
            return float(direction[0]) / length, float(direction[1]) / length
    return 0.0, 1.0


def _far_points(file: StepFile, unit: float) -> tuple[Triple, Triple] | None:
    """The box of the points that are too far from the origin for a model about it; ``None`` where there are none."""
    far = [
        (*point, 0.0, 0.0)[:3] for point in file.points(_SCANNED) if max(map(abs, point[:2]), default=0.0) * unit > _FAR
    ]
    if not far:
        return None
    points = np.array(far) * unit
    (a, b, c), (d, e, f) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return (a, b, c), (d, e, f)


def _units(file: StepFile) -> tuple[float, float]:
    """Metres per length unit and degrees per plane angle unit of the project."""
    length, degree = 1.0, math.degrees(1.0)
    project = next(file.of_type("IFCPROJECT"), None)
    assigned = (
        file.instance(project.values[-1])
        if project is not None and project.values
        else next(file.of_type("IFCUNITASSIGNMENT"), None)
    )
    for ref in (
        assigned.values[0] if assigned is not None and assigned.values and isinstance(assigned.values[0], list) else []
    ):
        unit = file.instance(ref)
        if unit is None or len(unit.values) < 4:
            continue
        if unit.values[1] == ".LENGTHUNIT.":
            length = _metres(file, unit)
        elif unit.values[1] == ".PLANEANGLEUNIT.":
            degree = math.degrees(_metres(file, unit))
    return length, degree


def _metres(file: StepFile, unit: Instance, depth: int = 0) -> float:
    """The SI value of a unit: IfcSIUnit(Dimensions, UnitType, Prefix, Name) or IfcConversionBasedUnit(…, ConversionFactor)."""
    if unit.type == "IFCSIUNIT":
        return _PREFIXES.get(str(unit.values[2] or "").strip("."), 1.0)
    measure = file.instance(unit.values[3]) if unit.type.startswith("IFCCONVERSIONBASEDUNIT") and depth < 8 else None
    if measure is None or not isinstance(measure.values[0], int | float) or measure.values[0] <= 0:
        return 1.0
    base = file.instance(measure.values[1])
    return float(measure.values[0]) * (1.0 if base is None else _metres(file, base, depth + 1))
