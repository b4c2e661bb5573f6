"""Objects as documents: the full record behind a click, and GeoJSON features (RFC 7946, heights in CRS84h)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np

from server.crs import CRS84H, Crs
from tim import classes
from tim.errors import StoreError, UsageError
from tim.geometry import F64
from tim.place import Box3, ellipsoid
from tim.query.tree import ATTRIBUTE, PROPERTIES
from tim.shape import FORMAT, Shape, decode
from tim.sources import SourceRef
from tim.store import ChangesetRecord, ObjectStore, ObjectVersion

Json = dict[str, Any]
_LEVEL = 0.5
"""Cosine of the slope up to which a surface is roof or ground rather than wall."""


def class_document(class_id: str) -> Json:
    """Id and names; an id this registry does not have stands for itself."""
    try:
        known = classes.get(class_id)
    except UsageError:
        return {"id": class_id, "en": class_id, "zh": class_id}
    return {"id": known.id, "en": known.en, "zh": known.zh}


def object_document(found: ObjectVersion, sources: Sequence[SourceRef], related: Mapping[UUID, ObjectVersion]) -> Json:
    """All there is to say about one object. ``sources``: of its dataset; ``related``: the targets of its relations that may be seen."""
    record = found.object
    return {
        "id": str(found.tim_id), "dataset": found.dataset, "class": class_document(record.class_id), "name": record.name,
        "layer": record.layer, "sourceKey": record.source_key, "stage": record.stage.value, "scenario": record.scenario,
        "validFrom": record.valid_from, "validTo": record.valid_to, "version": found.version, "changed": found.db_from,
        "attributes": dict(record.attributes),
        "codes": [{"scheme": c.scheme, "edition": c.edition, "value": c.value} for c in record.codes],
        "relations": [
            {"kind": r.kind, "target": str(r.target), **_named(related.get(r.target)), "evidence": r.evidence} for r in record.relations
        ],
        "sources": [
            {"key": s.key, "format": s.format, "title": s.key.rsplit("/", 1)[-1]} for s in sources
            if record.layer in s.options.get("layers", ()) or any(r.content == s.key for r in record.representations)
        ],
        "bbox": None if record.box is None else list(record.box),
        "representations": [{"role": r.role, "lod": r.lod, "format": r.format} for r in record.representations],
    }  # fmt: skip


def version_document(found: ObjectVersion, made: ChangesetRecord | None) -> Json:
    """One version in an object's history, with the changeset that made it."""
    record = found.object
    return {
        "version": found.version, "scenario": record.scenario, "stage": record.stage.value, "validFrom": record.valid_from,
        "validTo": record.valid_to, "recordedFrom": found.db_from, "recordedTo": found.db_to, "class": class_document(record.class_id),
        "name": record.name, "attributes": dict(record.attributes), "bbox": None if record.box is None else list(record.box),
        "source": found.source, "seq": found.seq, "changeset": None if made is None else changeset_document(made),
    }  # fmt: skip


def changeset_document(made: ChangesetRecord) -> Json:
    """One line of the log."""
    return {
        "seq": made.seq, "parent": made.parent, "hash": made.hash, "dataset": made.dataset, "author": made.author, "reason": made.reason,
        "time": made.time, "counts": dict(made.counts),
    }  # fmt: skip


def brief_document(found: ObjectVersion, text: str = "") -> Json:
    """A line of a search result; ``code`` is the one that was asked for."""
    record = found.object
    code = next((c.value for c in record.codes if c.value == text), None)
    return {
        "id": str(found.tim_id), "dataset": found.dataset, "name": record.name, "class": class_document(record.class_id), "code": code,
        "bbox": None if record.box is None else list(record.box),
    }  # fmt: skip


def features(found: Iterable[ObjectVersion], store: ObjectStore, crs: Crs = CRS84H) -> list[Json]:
    """GeoJSON features with footprints, geometry read from the store in one go."""
    items = list(found)
    bodies = [_body(item) for item in items]
    blobs = store.get_blobs(content for content in bodies if content)
    return [_feature(item, blobs.get(content or ""), crs) for item, content in zip(items, bodies, strict=True)]


def properties(found: ObjectVersion) -> Json:
    """What an object says, by the names it can be asked by (:mod:`tim.query.tree`)."""
    record = found.object
    return {
        "class": record.class_id, "name": record.name, "layer": record.layer, "sourceKey": record.source_key, "stage": record.stage.value,
        "version": found.version, "validFrom": record.valid_from, "validTo": record.valid_to, "changed": found.db_from,
        "codes": [code.value for code in record.codes],
        **{f"{ATTRIBUTE}{name}" if name in PROPERTIES else name: value for name, value in record.attributes.items()},
    }  # fmt: skip


def _feature(found: ObjectVersion, blob: bytes | None, crs: Crs) -> Json:
    box, geometry = found.object.box, _geometry(found, blob)
    document: Json = {
        "type": "Feature", "id": str(found.tim_id), "geometry": geometry if geometry is None or crs is CRS84H else crs.geometry(geometry),
        "properties": properties(found),
    }  # fmt: skip
    if box is not None and crs is CRS84H:
        document["bbox"] = list(box)
    return document


def _geometry(found: ObjectVersion, blob: bytes | None) -> Json | None:
    record = found.object
    if blob is not None:
        try:
            return footprint(decode(blob))
        except StoreError:
            return None
    at = next((r.properties["at"] for r in record.representations if r.role == "model" and "at" in r.properties), None)
    if at is not None:
        return {"type": "Point", "coordinates": [float(v) for v in at]}
    if record.box is None:
        return None
    west, south, bottom, east, north, _ = record.box
    if (west, south) == (east, north):
        return {"type": "Point", "coordinates": [west, south, bottom]}
    return _rectangle(record.box)


def footprint(shape: Shape) -> Json | None:
    """Where a body stands, as polygons: its ground, else the surfaces that face down, else those that face up, else all of them."""
    polygons = [(semantic, rings) for semantic, rings in shape.polygons() if rings]
    geographic = ellipsoid.to_geographic(shape.xyz)
    if not polygons:
        low, high = geographic.min(axis=0), geographic.max(axis=0)
        west, south, bottom = (float(v) for v in low)
        east, north, top = (float(v) for v in high)
        return _rectangle((west, south, bottom, east, north, top))
    up = _up(shape)
    slopes = [_slope(shape.xyz[rings[0]], up) for _, rings in polygons]
    chosen = (
        [rings for semantic, rings in polygons if semantic == "GroundSurface"]
        or [rings for (_, rings), slope in zip(polygons, slopes, strict=True) if slope < -_LEVEL]
        or [rings for (_, rings), slope in zip(polygons, slopes, strict=True) if slope > _LEVEL]
        or [rings for _, rings in polygons]
    )
    drawn = [[_ring(geographic[ring], hole=i > 0) for i, ring in enumerate(rings)] for rings in chosen]
    return (
        {"type": "Polygon", "coordinates": drawn[0]}
        if len(drawn) == 1
        else {"type": "MultiPolygon", "coordinates": drawn}
    )


def _body(found: ObjectVersion) -> str | None:
    """The content of the footprint, or of the body of the highest level of detail."""
    shapes = [r for r in found.object.representations if r.format == FORMAT and r.role in ("body", "footprint")]
    if not shapes:
        return None
    return max(shapes, key=lambda r: (r.role == "footprint", r.lod)).content


def _ring(places: F64, *, hole: bool) -> list[list[float]]:
    """A closed ring, hulls counter-clockwise and holes clockwise as seen from above (RFC 7946 §3.1.6)."""
    x, y = places[:, 0] - places[0, 0], places[:, 1] - places[0, 1]
    area = float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    ordered = places[::-1] if (area < 0) != hole else places
    rounded = [[round(lon, 9), round(lat, 9), round(h, 3)] for lon, lat, h in ordered.tolist()]
    return [*rounded, rounded[0]]


def _slope(ring: F64, up: F64) -> float:
    """Cosine between a ring's normal and up."""
    about = ring - ring[0]
    normal = np.cross(about, np.roll(about, -1, axis=0)).sum(axis=0)
    size = float(np.linalg.norm(normal))
    return float(normal @ up) / size if size else 0.0


def _up(shape: Shape) -> F64:
    lon, lat = np.radians(ellipsoid.to_geographic(shape.xyz[:1])[0, :2])
    return np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def _rectangle(box: Box3) -> Json:
    west, south, bottom, east, north, _ = box
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [[[*corner, bottom] for corner in corners]]}


def _named(found: ObjectVersion | None) -> Json:
    if found is None:
        return {"name": "", "class": None}
    return {"name": found.object.name, "class": class_document(found.object.class_id)}
