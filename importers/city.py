"""What the two encodings of CityGML share: which class a feature type is, and drafts of objects whose geometry is built by the batch."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from tim import shape
from tim.errors import PlaceError
from tim.geometry import F64
from tim.model import Blob, ObjectRecord, Rejected, Representation
from tim.place import Frame, Place, boxes, ellipsoid

_BATCH = 500
"""Objects whose geometry is built in one call, and at most so many times eight surfaces."""

CLASSES: Mapping[str, str] = {
    "Building": "building.house", "BuildingPart": "building.part", "BuildingUnit": "building.unit", "Storey": "building.storey",
    "BuildingStorey": "building.storey", "Room": "building.room", "BuildingRoom": "building.room",
    "BuildingInstallation": "building.installation", "IntBuildingInstallation": "building.installation",
    "BuildingConstructiveElement": "building.element", "BuildingFurniture": "building.element.equipment",
    "OtherConstruction": "building.other", "UndergroundBuilding": "underground.building",
    "Bridge": "transport.bridge", "BridgePart": "transport.bridge", "BridgeInstallation": "transport.bridge.element",
    "BridgeConstructionElement": "transport.bridge.element", "BridgeConstructiveElement": "transport.bridge.element",
    "BridgeRoom": "building.room", "BridgeFurniture": "building.element.equipment", "IntBridgeInstallation": "transport.bridge.element",
    "Tunnel": "transport.tunnel", "TunnelPart": "transport.tunnel", "TunnelInstallation": "transport.tunnel.element",
    "TunnelConstructiveElement": "transport.tunnel.element", "HollowSpace": "building.room", "TunnelHollowSpace": "building.room",
    "TunnelFurniture": "building.element.equipment", "IntTunnelInstallation": "transport.tunnel.element",
    "Road": "transport.road", "Track": "transport.road", "TransportationComplex": "transport.road", "Railway": "transport.rail",
    "Square": "transport.square", "TransportSquare": "transport.square", "Waterway": "transport.waterway",
    "Section": "transport.road.section", "Intersection": "transport.road.section", "TrafficSpace": "transport.road.space",
    "AuxiliaryTrafficSpace": "transport.road.space", "ClearanceSpace": "transport.road.space", "TrafficArea": "transport.road.lane",
    "AuxiliaryTrafficArea": "transport.road.side", "Marking": "transport.road.marking", "Hole": "transport.road.hole",
    "ReliefFeature": "terrain.relief", "TINRelief": "terrain.relief", "TINReliefFeature": "terrain.relief",
    "MassPointRelief": "terrain.relief", "BreaklineRelief": "terrain.relief", "RasterRelief": "terrain.relief",
    "SolitaryVegetationObject": "vegetation.tree", "PlantCover": "vegetation.cover",
    "CityFurniture": "land.furniture", "LandUse": "land.use", "WaterBody": "water.body", "WaterSurface": "water.surface",
    "GenericCityObject": "land.other", "GenericOccupiedSpace": "land.other", "GenericUnoccupiedSpace": "land.other",
    "GenericLogicalSpace": "land.other", "GenericThematicSurface": "land.other",
    "CityObjectGroup": "land.group", "Version": "survey.version",
    # PLATEAU's i-UR: urban planning and hazards
    "UseDistrict": "planning.zone.use", "SpecialUseDistrict": "planning.zone.use", "SpecialUseRestrictionDistrict": "planning.zone.use",
    "HeightControlDistrict": "planning.zone.height", "HighLevelUseDistrict": "planning.zone.height",
    "FirePreventionDistrict": "planning.zone.fire", "ScenicDistrict": "planning.zone.scenic", "LandscapeZone": "planning.zone.scenic",
    "AreaClassification": "planning.zone.area", "PortZone": "planning.zone.port", "ParkingPlaceDevelopmentZone": "planning.zone.parking",
    "ProductiveGreenZone": "planning.zone.green", "GreenSpaceConservationDistrict": "planning.zone.green",
    "SpecialGreenSpaceConservationDistrict": "planning.zone.green", "SedimentDisasterProneArea": "monitoring.risk.landslide",
    "UrbanPlanningArea": "planning.zone.area", "QuasiUrbanPlanningArea": "planning.zone.area", "TreePlantingDistrict": "planning.zone.green",
    "SpecialUseAttractionDistrict": "planning.zone.use", "DistributionBusinessZone": "planning.zone.use",
    **dict.fromkeys((
        "DistrictsAndZones", "ExceptionalFloorAreaRateDistrict", "HighRiseResidentialAttractionDistrict", "SpecifiedBlock",
        "SpecialUrbanRenaissanceDistrict", "HousingControlArea", "ResidentialEnvironmentImprovementDistrict",
        "SpecifiedDisasterPreventionBlockImprovementZone", "SpecialZoneForPreservationOfHistoricalLandscape",
        "ZoneForPreservationOfHistoricalLandscape", "DistrictPlan",
    ), "planning.zone"),
}  # fmt: skip
"""Local names of feature types (CityGML 2.0 and 3.0, CityJSON 2.0, i-UR 3) to classes. Bounding surfaces are no objects."""


@dataclass(slots=True)
class Draft:
    """An object whose geometry waits to be built."""

    record: ObjectRecord
    """Without box and representations."""
    where: str
    """For messages: source and record."""
    shapes: dict[tuple[str, str], list[shape.Patch]] = field(default_factory=dict)
    """By role and level of detail."""
    surfaces: dict[tuple[str, str], list[Mapping[str, Any]]] = field(default_factory=dict)
    """What its semantic surfaces say (``type``, ``id``, attributes), by the same; kept where any says more than its type."""
    models: list[Representation] = field(default_factory=list)
    """Placed models, whose blobs are given apart."""
    points: list[F64] = field(default_factory=list)
    """float64[n, 3] native each: where it is, besides its surfaces (placed models, points and lines, which are not drawn)."""
    lost: bool = False
    """Whether geometry was left out before it could become a surface."""


def patches_of(draft: Draft, lod: str, flat: bool = False) -> list[shape.Patch]:
    """The list to which surfaces of a level of detail are added; level 0 is a footprint by definition."""
    return draft.shapes.setdefault(_level(lod, flat), [])


def say_surfaces(draft: Draft, lod: str, surfaces: Iterable[Mapping[str, Any]]) -> None:
    """Add what the semantic surfaces of a level of detail say."""
    draft.surfaces.setdefault(_level(lod, False), []).extend(surfaces)


def finished(items: Iterable[Draft | Blob | Rejected], place: Place) -> Iterator[ObjectRecord | Blob | Rejected]:
    """Objects with their blobs, a few hundred at a time, in order. One of whose geometry nothing is left is rejected."""
    waiting: list[Draft] = []
    given: set[str] = set()
    surfaces = 0
    for item in items:
        if not isinstance(item, Draft):
            if not isinstance(item, Blob) or _first(item, given):
                yield item
            continue
        waiting.append(item)
        surfaces += sum(map(len, item.shapes.values()))
        if len(waiting) >= _BATCH or surfaces >= _BATCH * 8:
            yield from _build(waiting, place, given)
            waiting, surfaces = [], 0
    yield from _build(waiting, place, given)


def moment(text: str | None) -> str | None:
    """An XML date or time as the model has it (UTC; a date where it is midnight of nowhere); ``None`` for none or year 1 (unknown)."""
    if not text or not (text := text.strip()) or text.startswith("0001-"):
        return None
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            return date.fromisoformat(text).isoformat()
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    if at.tzinfo is None and at.time().isoformat() == "00:00:00":
        return at.date().isoformat()
    at = at.astimezone(UTC) if at.tzinfo else at
    return at.replace(microsecond=0, tzinfo=None).isoformat() + "Z"


@dataclass(slots=True)
class Models:
    """Models that stand at many places (templates, implicit geometries): built once for each way they are deformed."""

    place: Place
    _built: dict[tuple[str, bytes], str] = field(default_factory=dict)

    def put(
        self, key: str, patches: list[shape.Patch], lod: str, matrix: F64, point: F64
    ) -> tuple[Representation | None, list[Blob]]:
        """The representation of model ``key`` placed by a 4 x 4 ``matrix`` (row-major, local metres) about ``point`` (float64[3], native),
        with its blob where it is new; ``None`` where the model has nothing to draw.

        A turn about the vertical and a scale stay in the representation, so that all such share one blob; any other matrix is
        applied to the model itself (CityGML 2.0, 9.5; CityJSON 2.0, 3.4).
        """
        linear = matrix[:3, :3]
        turn, scale = _upright(linear)
        base = np.eye(3) if scale else linear
        blobs: list[Blob] = []
        content = self._built.get((key, base.tobytes()))
        if content is None:
            built = shape.model([_moved(patch, base) for patch in patches]).blob if patches else b""
            content = ""
            if built:
                blobs.append(Blob(built))
                content = blobs[0].content
            self._built[key, base.tobytes()] = content
        if not content:
            return None, []
        return self._placed(shape.FORMAT, content, lod, matrix, point, turn, scale), blobs

    def put_glb(self, content: str, lod: str, matrix: F64, point: F64) -> Representation | None:
        """The representation of a glb placed in the same way; ``None`` where the matrix does more than turn about the vertical and scale."""
        turn, scale = _upright(matrix[:3, :3])
        return self._placed("glb", content, lod, matrix, point, turn, scale) if scale else None

    def _placed(
        self,
        form: str,
        content: str,
        lod: str,
        matrix: F64,
        point: F64,
        turn: float,
        scale: tuple[float, float, float] | None,
    ) -> Representation:
        at = self.place.to_geographic(point[None])[0]
        east, north, up = matrix[:3, 3]
        origin = self._offset(at, point, float(east), float(north), float(up))
        properties: dict[str, Any] = {"at": [float(v) for v in origin]}
        heading = (turn + self._north(point)) % 360
        if heading:
            properties["heading"] = heading
        if scale and scale != (1.0, 1.0, 1.0):
            properties["scale"] = list(scale)
        return Representation("model", lod, form, content, properties)

    def _offset(self, at: F64, point: F64, east: float, north: float, up: float) -> F64:
        """Longitude, latitude, height of a point some metres of the source's own grid away from another."""
        if not (east or north or up):
            return at
        turn = np.radians(self._north(point))
        frame = Frame(float(at[0]), float(at[1]), float(at[2]), 1.0)
        local = np.array([[east * np.cos(turn) + north * np.sin(turn), north * np.cos(turn) - east * np.sin(turn), up]])
        moved: F64 = ellipsoid.to_geographic(frame.to_ecef(local))[0]
        return moved

    def _north(self, point: F64) -> float:
        """Degrees clockwise from true north to the north of the native grid."""
        step = np.array([0.0, 1e-5 if abs(point[0]) <= 360 and abs(point[1]) <= 90 else 1.0, 0.0])
        a, b = self.place.to_geographic(np.array([point, point + step]))
        east = (b[0] - a[0]) * np.cos(np.radians(a[1]))
        return float(np.round(np.degrees(np.arctan2(east, b[1] - a[1])), 6))


def _upright(linear: F64) -> tuple[float, tuple[float, float, float] | None]:
    """Degrees clockwise and the scale of a matrix that turns about the vertical after scaling; no scale where it does anything else."""
    scale = np.linalg.norm(linear, axis=0)
    if not np.isfinite(linear).all() or (scale < 1e-9).any():
        return 0.0, None
    turn = linear / scale
    angle = np.arctan2(turn[1, 0], turn[0, 0])
    pure = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    if not np.allclose(turn, pure, atol=1e-6):
        return 0.0, None
    return float(np.round(-np.degrees(angle), 6)), tuple(float(v) for v in np.round(scale, 6))  # type: ignore[return-value]


def _moved(patch: shape.Patch, linear: F64) -> shape.Patch:
    if isinstance(patch, shape.Polygon):
        return replace(patch, rings=[ring @ linear.T for ring in patch.rings])
    return replace(patch, positions=patch.positions @ linear.T)


def _level(lod: str, flat: bool) -> tuple[str, str]:
    return "footprint" if flat or lod.split(".")[0] == "0" else "body", lod


def _first(blob: Blob, given: set[str]) -> bool:
    """Whether it was not given before; it is from now on."""
    known = len(given)
    given.add(blob.content)
    return len(given) > known


def _build(drafts: list[Draft], place: Place, given: set[str]) -> Iterator[ObjectRecord | Blob | Rejected]:
    for draft, built in zip(drafts, _shapes(drafts, place), strict=True):
        record, box, problems = draft.record, None, dict[str, dict[str, Any]]()
        representations = list(draft.models)
        for (role, lod), result in zip(draft.shapes, built, strict=True):
            if isinstance(result, PlaceError):
                problems.setdefault(result.code, {**result.fields})
                continue
            for code, fields in result.problems:
                known = problems.setdefault(code, {**fields, "count": 0})
                known["count"] += fields["count"]
            if not result.blob:
                continue
            blob = Blob(result.blob)
            if _first(blob, given):
                yield blob
            said = draft.surfaces.get((role, lod), [])
            properties = {"surfaces": said} if any(len(one) > 1 for one in said) else {}
            representations.append(Representation(role, lod, shape.FORMAT, blob.content, properties))
            box = boxes.union(box, result.box) if result.box else box
        try:
            for points in draft.points:
                box = boxes.union(box, boxes.around(place.to_geographic(points)))
        except PlaceError as error:
            problems.setdefault(error.code, {**error.fields})
        for code, fields in problems.items():
            yield Rejected(draft.where, code, {"object": draft.where, **fields})
        if not representations and not draft.points and (draft.lost or any(draft.shapes.values())):
            yield Rejected(draft.where, "city.nothing-left", {"object": draft.where})
            continue
        if record.valid_from and record.valid_to and record.valid_from >= record.valid_to:
            fields = {"object": draft.where, "valid_from": record.valid_from, "valid_to": record.valid_to}
            yield Rejected(draft.where, "city.validity", fields)
            record = replace(record, valid_from=None, valid_to=None)
        yield replace(record, box=box, representations=tuple(representations))


def _shapes(drafts: list[Draft], place: Place) -> Iterator[list[shape.Built | PlaceError]]:
    """For each draft what its shapes became; where one has no place, the others still have theirs."""
    flat = [patches for draft in drafts for patches in draft.shapes.values()]
    results: Iterable[shape.Built | PlaceError]
    try:
        results = shape.build(flat, place) if flat else []
    except PlaceError:
        results = [_alone(patches, place) for patches in flat]
    running = iter(results)
    for draft in drafts:
        yield list(itertools.islice(running, len(draft.shapes)))


def _alone(patches: list[shape.Patch], place: Place) -> shape.Built | PlaceError:
    try:
        return shape.build([patches], place)[0]
    except PlaceError as error:
        return error
