"""From IFC classes to those of the object model, by the nearest superclass that is listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

CLASSES: Mapping[str, str] = {
    "IfcAlignment": "transport.alignment", "IfcBeam": "building.element.structure", "IfcBridge": "transport.bridge",
    "IfcBridgePart": "transport.bridge", "IfcBuilding": "building.house", "IfcBuildingStorey": "building.storey",
    "IfcBuiltElement": "building.element", "IfcBuildingElement": "building.element", "IfcChimney": "building.installation",
    "IfcCivilElement": "building.other", "IfcColumn": "building.element.structure", "IfcCurtainWall": "building.element.wall",
    "IfcDeepFoundation": "building.element.structure", "IfcDistributionElement": "building.element.equipment", "IfcDoor": "building.element.opening",
    "IfcElectricalElement": "building.element.equipment", "IfcElement": "building.element", "IfcEquipmentElement": "building.element.equipment",
    "IfcFacility": "building.other", "IfcFacilityPart": "building.part", "IfcFooting": "building.element.structure",
    "IfcFurnishingElement": "building.element.equipment", "IfcGeographicElement": "land.other", "IfcMarineFacility": "building.other",
    "IfcMember": "building.element.structure", "IfcPavement": "transport.road", "IfcPile": "building.element.structure",
    "IfcPlate": "building.element.structure", "IfcRail": "transport.rail", "IfcRailing": "building.element.stair", "IfcRailway": "transport.rail",
    "IfcRailwayPart": "transport.rail", "IfcRamp": "building.element.stair", "IfcRampFlight": "building.element.stair", "IfcReferent": "land.other",
    "IfcRoad": "transport.road", "IfcRoadPart": "transport.road", "IfcRoof": "building.element.roof", "IfcSignal": "transport.rail.signal",
    "IfcSite": "building.site", "IfcSlab": "building.element.slab", "IfcSpace": "building.room", "IfcSpatialZone": "building.part",
    "IfcStair": "building.element.stair", "IfcStairFlight": "building.element.stair", "IfcTrackElement": "transport.rail",
    "IfcTransportElement": "building.element.equipment", "IfcTransportationDevice": "building.element.equipment",
    "IfcTunnel": "transport.tunnel", "IfcTunnelPart": "transport.tunnel", "IfcWall": "building.element.wall", "IfcWindow": "building.element.opening",
    "IfcReinforcingElement": "building.element.structure", "IfcKerb": "transport.road.side", "IfcCourse": "transport.road",
    "IfcProduct": "building.other",
}  # fmt: skip

HELPERS = (
    "IfcAlignmentCant", "IfcAlignmentHorizontal", "IfcAlignmentSegment", "IfcAlignmentVertical", "IfcAnnotation", "IfcFeatureElementAddition",
    "IfcFeatureElementSubtraction",
    "IfcGrid", "IfcPort", "IfcStructuralActivity", "IfcStructuralItem", "IfcVirtualElement",
)  # fmt: skip
"""Products that are no things: what is cut out of others, parts of a curve's definition, drawing and calculation aids."""


def class_of(ancestry: Sequence[str]) -> str:
    """The class of an IFC class given with its superclasses, nearest first."""
    return next((CLASSES[name] for name in ancestry if name in CLASSES), CLASSES["IfcProduct"])


def is_helper(ancestry: Sequence[str]) -> bool:
    """Whether it is no thing of its own."""
    return any(name in HELPERS for name in ancestry)
