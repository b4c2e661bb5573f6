"""Where an object stands: its footprint as GeoJSON (RFC 7946, heights in CRS84h), and flat for geometry engines."""

from __future__ import annotations

from typing import Any

import numpy as np

from tim.errors import StoreError
from tim.geometry import F64
from tim.model import ObjectRecord
from tim.place import Box3, ellipsoid
from tim.shape.blob import FORMAT, Shape, decode

Json = dict[str, Any]
_LEVEL = 0.5
"""Cosine of the slope up to which a surface is roof or ground rather than wall."""


def content(record: ObjectRecord) -> str | None:
    """The content of the footprint, or of the body of the highest level of detail; ``None`` where there is neither."""
    shapes = [r for r in record.representations if r.format == FORMAT and r.role in ("body", "footprint")]
    if not shapes:
        return None
    return max(shapes, key=lambda r: (r.role == "footprint", r.lod)).content


def geometry(record: ObjectRecord, blob: bytes | None) -> Json | None:
    """The footprint as GeoJSON: of the blob of :func:`content`, the place of a model, or the box (a point where it has no width); ``None`` without any, or of a broken blob."""
    if blob is not None:
        try:
            return footprint(decode(blob))
        except StoreError:
            return None
    at = _at(record)
    if at is not None:
        return {"type": "Point", "coordinates": at}
    if record.box is None:
        return None
    west, south, bottom, east, north, _ = record.box
    if (west, south) == (east, north):
        return {"type": "Point", "coordinates": [west, south, bottom]}
    return rectangle(record.box)


def flat(record: ObjectRecord, blob: bytes | None) -> Any:
    """The same as a valid two-dimensional shapely geometry in degrees, cut at the antimeridian; ``None`` where there is none."""
    import shapely
    from shapely.geometry import shape

    if blob is None and record.box is not None and _at(record) is None:
        return flat_box(*record.box[:2], *record.box[3:5])
    document = geometry(record, blob)
    if document is None:
        return None
    parts = shapely.get_parts(shapely.force_2d(shape(document)))
    return shapely.union_all([_around(shapely.make_valid(_unrolled(part))) for part in parts])


def flat_box(west: float, south: float, east: float, north: float) -> Any:
    """A rectangle as a shapely geometry, a line or a point where it has no width: two across the antimeridian."""
    import shapely

    if west > east:
        return shapely.union_all([flat_box(west, south, 180.0, north), flat_box(-180.0, south, east, north)])
    if west < east and south < north:
        return shapely.box(west, south, east, north)
    if west < east or south < north:
        return shapely.LineString([(west, south), (east, north)])
    return shapely.Point(west, south)


def footprint(shape: Shape) -> Json:
    """Where a body stands, as polygons: its ground, else the surfaces that face down, else those that face up, else all of them."""
    polygons = [(semantic, rings) for semantic, rings in shape.polygons() if rings]
    geographic = ellipsoid.to_geographic(shape.xyz)
    if not polygons:
        low, high = geographic.min(axis=0), geographic.max(axis=0)
        west, south, bottom = (float(v) for v in low)
        east, north, top = (float(v) for v in high)
        return rectangle((west, south, bottom, east, north, top))
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


def rectangle(box: Box3) -> Json:
    """The bottom of a box; two parts across the antimeridian (RFC 7946 §3.1.9)."""
    west, south, bottom, east, north, _ = box
    spans = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    drawn = [
        [[[x, y, bottom] for x, y in ((low, south), (high, south), (high, north), (low, north), (low, south))]]
        for low, high in spans
    ]
    return (
        {"type": "Polygon", "coordinates": drawn[0]}
        if len(drawn) == 1
        else {"type": "MultiPolygon", "coordinates": drawn}
    )


def _at(record: ObjectRecord) -> list[float] | None:
    """Where the model of an object stands."""
    found = next(
        (r.properties["at"] for r in record.representations if r.role == "model" and "at" in r.properties), None
    )
    return None if found is None else [float(v) for v in found]


def _unrolled(part: Any) -> Any:
    """A polygon whose edges jump over the antimeridian, with longitudes from 0 to 360."""
    import shapely

    places = shapely.get_coordinates(part)
    if len(places) < 3 or np.abs(np.diff(places[:, 0])).max() <= 180:
        return part
    return shapely.transform(part, lambda p: p + np.where(p[:, :1] < 0, [360.0, 0.0], [0.0, 0.0]))


def _around(part: Any) -> Any:
    """Within -180 to 180."""
    import shapely

    if part.bounds[2] <= 180:
        return part
    east = shapely.transform(shapely.intersection(part, shapely.box(180, -90, 540, 90)), lambda p: p - [360.0, 0.0])
    return shapely.union_all([shapely.intersection(part, shapely.box(-180, -90, 180, 90)), east])


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
