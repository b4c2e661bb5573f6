"""A GeoJSON feature that came in, as an object record: what is read, what is kept of the object there is, what is refused.

Coordinates are longitude, latitude and ellipsoidal height (CRS84h). A polygon is a footprint; with a number above zero under ``height`` it is
raised from its lowest point into a body. What a feature shows of an object is less than the object: a geometry that comes back as it went out
leaves its bodies alone, and what no feature says (relations, the key in the source) stays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np

from server.features import Json
from server.parameters import read_moment
from server.queryables import READ_ONLY
from tim.classes import Registry
from tim.errors import TimError, UsageError
from tim.geometry import F64
from tim.model import Blob, Code, ObjectRecord, Relation, Representation, Stage
from tim.place import Box3, Datum, Height, Place
from tim.query.tree import ATTRIBUTE, PROPERTIES, attribute_name
from tim.shape import FORMAT, Patch, Polygon, build
from tim.store import ObjectVersion

HEIGHT = "height"
"""The attribute that raises a footprint."""
_EXTRUDED = "extruded"
"""Of a body's representation: the height it was raised by, here."""
_PLACE = Place("EPSG:4979", Height("ellipsoid", "ellipsoid"), Datum("equivalent", "WGS 84", 0.0))
_LOWEST, _HIGHEST = -12_000.0, 100_000.0
_GEOMETRIES = "Point, Polygon, MultiPolygon"


def read(
    document: Json, known: ObjectVersion | None, shown: Json | None, line: str, classes: Registry
) -> tuple[ObjectRecord, Blob | None]:
    """The record of a feature, and the blob of its geometry where it is a new one.

    ``known``: the object there is, ``shown``: the feature it is shown as. Raises UsageError ``server.feature``.
    """
    if document.get("type") != "Feature":
        raise refused("/type", "Feature")
    said = document.get("properties") or {}
    if not isinstance(said, dict):
        raise refused("/properties", "an object")
    before = None if known is None else known.object
    record = ObjectRecord(
        "" if before is None else before.source_key, _class(said.get("class"), before, classes), _text(said, "name"),
        _text(said, "layer") if before is None else before.layer, _attributes(said), stage=_stage(said.get("stage")), scenario=line,
        valid_from=_moment(said, "validFrom"), valid_to=_moment(said, "validTo"), codes=_codes(said.get("codes"), before),
        relations=_relations(document, before), tim_id=None if known is None else known.tim_id,
    )  # fmt: skip
    height = record.attributes.get(HEIGHT)
    raised = float(height) if isinstance(height, int | float) and not isinstance(height, bool) and height > 0 else 0.0
    geometry = document.get("geometry")
    if before is not None and shown is not None and geometry == shown["geometry"]:
        made = next((r.properties[_EXTRUDED] for r in before.representations if _EXTRUDED in r.properties), None)
        if made is None or made == raised:
            return replace(record, box=before.box, representations=before.representations), None
    if geometry is None:
        return record, None
    return _standing(record, geometry, raised)


def merged(target: Any, patch: Any) -> Any:
    """A JSON merge patch applied (RFC 7396 §2)."""
    if not isinstance(patch, dict):
        return patch
    out = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            out.pop(name, None)
        else:
            out[name] = merged(out.get(name), value)
    return out


def refused(where: str, reason: str | TimError) -> UsageError:
    """The refusal of a feature, naming the member that is wrong (a JSON pointer) and what it must be."""
    return UsageError("server.feature", member=where[:100], reason=reason)


def _class(value: Any, before: ObjectRecord | None, classes: Registry) -> str:
    if not isinstance(value, str):
        raise refused("/properties/class", "the id of a class")
    return value if before is not None and value == before.class_id else classes.get(value).id


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    if value is not None and not isinstance(value, str):
        raise refused(f"/properties/{name}", "text")
    return value or ""


def _stage(value: Any) -> Stage:
    if value is None:
        return Stage.SURVEYED
    if value not in list(Stage):
        raise refused("/properties/stage", " | ".join(Stage))
    return Stage(value)


def _moment(said: Mapping[str, Any], name: str) -> str | None:
    return read_moment(_text(said, name) or None)


def _attributes(said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said beside what every object has. What a feature only says is passed over."""
    taken = {"class", "name", "stage", "validFrom", "validTo", "codes", *READ_ONLY}
    found: dict[str, Any] = {}
    for name, value in said.items():
        if name in taken:
            continue
        attribute = attribute_name(name)
        if attribute is None or attribute.startswith(ATTRIBUTE):
            raise refused(f"/properties/{name}", f"{ATTRIBUTE}NAME: {', '.join(PROPERTIES)}")
        found[attribute] = value
    return found


def _codes(value: Any, before: ObjectRecord | None) -> tuple[Code, ...]:
    """Codes as objects with scheme, edition and value, or the values of those the object has."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise refused("/properties/codes", "an array")
    known = {code.value: code for code in reversed(before.codes if before is not None else ())}
    found = []
    for i, item in enumerate(value):
        where = f"/properties/codes/{i}"
        if isinstance(item, str) and item in known:
            found.append(known[item])
        elif isinstance(item, dict) and item.get("scheme") and item.get("value"):
            found.append(
                Code(
                    _text(item, "scheme"),
                    _text(item, "edition"),
                    _text(item, "value"),
                    _moment(item, "validFrom"),
                    _moment(item, "validTo"),
                )
            )
        else:
            raise refused(where, '{"scheme", "edition", "value"}')
    return tuple(found)


def _relations(document: Json, before: ObjectRecord | None) -> tuple[Relation, ...]:
    """Where the feature has a member ``relations``, these; those the object has otherwise."""
    value = document.get("relations")
    if value is None:
        return () if before is None else before.relations
    found = []
    for i, item in enumerate(value if isinstance(value, list) else [None]):
        if not isinstance(item, dict) or not item.get("kind"):
            raise refused(f"/relations/{i}", '{"kind", "target"}')
        try:
            target = UUID(str(item.get("target")))
        except ValueError:
            raise refused(f"/relations/{i}/target", "the id of an object") from None
        found.append(
            Relation(
                _text(item, "kind"),
                target,
                _moment(item, "validFrom"),
                _moment(item, "validTo"),
                _text(item, "evidence"),
            )
        )
    return tuple(found)


def _standing(record: ObjectRecord, geometry: Any, raised: float) -> tuple[ObjectRecord, Blob | None]:
    """The record with a geometry built."""
    if not isinstance(geometry, dict) or geometry.get("type") not in _GEOMETRIES.split(", "):
        raise refused("/geometry/type", _GEOMETRIES)
    kind, coordinates = geometry["type"], geometry.get("coordinates")
    if kind == "Point":
        x, y, z = _position(coordinates, "/geometry/coordinates")
        box: Box3 = (x, y, z, x, y, z)
        return replace(record, box=box), None
    polygons = [coordinates] if kind == "Polygon" else coordinates
    if not isinstance(polygons, list) or not polygons:
        raise refused("/geometry/coordinates", kind)
    rings = [_rings(polygon, kind) for polygon in polygons]
    patches = _prisms(rings, raised) if raised else [Polygon(own) for own in rings]
    (built,) = build([patches], _PLACE)
    if built.problems or not built.blob or built.box is None:
        code, fields = next(iter(built.problems), ("shape.no-area", {"surface": 0, "count": 1}))
        raise refused("/geometry/coordinates", TimError(code, **fields))
    blob = Blob(built.blob)
    body = (
        Representation("body", "", FORMAT, blob.content, {_EXTRUDED: raised})
        if raised
        else Representation("footprint", "", FORMAT, blob.content)
    )
    return replace(record, box=built.box, representations=(body,)), blob


def _rings(polygon: Any, kind: str) -> list[F64]:
    """float64[n, 3] each, without the closing point: the hull counter-clockwise, holes clockwise."""
    if not isinstance(polygon, list) or not polygon:
        raise refused("/geometry/coordinates", kind)
    found = []
    for i, ring in enumerate(polygon):
        if not isinstance(ring, list) or len(ring) < 4 or ring[0] != ring[-1]:
            raise refused(
                "/geometry/coordinates", "rings of four positions or more, the last as the first (RFC 7946 §3.1.6)"
            )
        places = np.array([_position(place, "/geometry/coordinates") for place in ring[:-1]])
        x, y = places[:, 0] - places[0, 0], places[:, 1] - places[0, 1]
        area = float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
        found.append(places[::-1] if (area < 0) == (i == 0) else places)
    return found


def _position(place: Any, where: str) -> tuple[float, float, float]:
    numbers = place if isinstance(place, list) else []
    good = len(numbers) in (2, 3) and all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
    lon, lat, height = (*map(float, numbers), 0.0)[:3] if good else (math.nan, 0.0, 0.0)
    if not (-180 <= lon <= 180 and -90 <= lat <= 90 and _LOWEST <= height <= _HIGHEST):
        raise refused(where, "positions [longitude, latitude, height] on the Earth")
    return lon, lat, height


def _prisms(polygons: Sequence[Sequence[F64]], raised: float) -> list[Patch]:
    """Ground, walls and roof over each polygon, all from the lowest point of all."""
    base = min(float(ring[:, 2].min()) for rings in polygons for ring in rings)
    patches: list[Patch] = []
    for rings in polygons:
        low = [np.column_stack([ring[:, :2], np.full(len(ring), base)]) for ring in rings]
        high = [ring + np.array([0.0, 0.0, raised]) for ring in low]
        patches.append(Polygon([ring[::-1] for ring in low], "GroundSurface"))
        for ground, roof in zip(low, high, strict=True):
            following = np.roll(ground, -1, axis=0), np.roll(roof, -1, axis=0)
            walls = np.stack([ground, following[0], following[1], roof], axis=1)
            patches += [Polygon([wall], "WallSurface") for wall in walls]
        patches.append(Polygon(high, "RoofSurface"))
    return patches
