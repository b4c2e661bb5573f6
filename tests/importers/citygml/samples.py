"""Small CityGML texts."""

from __future__ import annotations

from pathlib import Path

from importers import ImportContext, importer
from importers.plan import place_of
from tim.place.resolve import PlaceOptions

NAMESPACES = (
    'xmlns="http://www.opengis.net/citygml/2.0" xmlns:gml="http://www.opengis.net/gml" '
    'xmlns:bldg="http://www.opengis.net/citygml/building/2.0" xmlns:app="http://www.opengis.net/citygml/appearance/2.0" '
    'xmlns:xlink="http://www.w3.org/1999/xlink"'
)
ENVELOPE = (
    '<gml:boundedBy><gml:Envelope srsName="http://www.opengis.net/def/crs/EPSG/0/6697" srsDimension="3">'
    "<gml:lowerCorner>35.0 139.0 0</gml:lowerCorner><gml:upperCorner>35.01 139.01 9</gml:upperCorner></gml:Envelope></gml:boundedBy>"
)


def square(lon: float = 0.0) -> str:
    """A closed ring, latitude first."""
    e, w = 139.0 + lon, 139.0005 + lon
    return f"35.0 {e} 3 35.0 {w} 3 35.0005 {w} 3 35.0005 {e} 3 35.0 {e} 3"


def polygon(positions: str, name: str) -> str:
    return (
        f'<gml:Polygon gml:id="{name}"><gml:exterior><gml:LinearRing gml:id="{name}r"><gml:posList>{positions}</gml:posList>'
        "</gml:LinearRing></gml:exterior></gml:Polygon>"
    )


def house(name: str, lon: float = 0.0, extra: str = "", positions: str | None = None) -> str:
    """A building whose solid refers to its roof."""
    surface = polygon(positions or square(lon), f"{name}p")
    return (
        f'<cityObjectMember><bldg:Building gml:id="{name}"><gml:name>House {name}</gml:name>{extra}'
        f'<bldg:lod2Solid><gml:Solid><gml:exterior><gml:CompositeSurface><gml:surfaceMember xlink:href="#{name}p"/>'
        "</gml:CompositeSurface></gml:exterior></gml:Solid></bldg:lod2Solid>"
        f'<bldg:boundedBy><bldg:RoofSurface gml:id="{name}s"><bldg:lod2MultiSurface><gml:MultiSurface><gml:surfaceMember>{surface}'
        "</gml:surfaceMember></gml:MultiSurface></bldg:lod2MultiSurface></bldg:RoofSurface></bldg:boundedBy></bldg:Building></cityObjectMember>"
    )


def model(*members: str, envelope: str = ENVELOPE) -> str:
    return f"<CityModel {NAMESPACES}>{envelope}{''.join(members)}</CityModel>"


def imported(path: Path, options: PlaceOptions | None = None) -> list[object]:
    """All that a file gives."""
    (probe,) = importer("citygml").probe(path, path.name)
    if probe.fatal:
        return list(probe.problems)
    options = options or PlaceOptions(vertical="+36m")
    return list(importer("citygml").read(probe, ImportContext(place_of(probe, options, PlaceOptions()), "town")))
