"""The ground that an object covers, exactly: its body seen from above, as a shapely geometry in degrees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tim.geometry import F64
from tim.place import ellipsoid
from tim.shape import FORMAT, Shape, decode
from tim.store import ObjectVersion

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


def content_of(version: ObjectVersion) -> str | None:
    """The blob of the footprint, else of the body of the highest level of detail; ``None`` where it has neither."""
    shapes = [r for r in version.object.representations if r.format == FORMAT and r.role in ("body", "footprint")]
    return max(shapes, key=lambda r: (r.role == "footprint", r.lod)).content if shapes else None


def area_of(version: ObjectVersion, blob: bytes | None, about: float) -> BaseGeometry | None:
    """What a version covers, longitudes within 180 degrees of ``about``; its box where it only has that, else ``None``."""
    if blob is not None:
        return covered(decode(blob), about)
    if version.object.box is None:
        return None
    import shapely

    west, south, _, east, north, _ = version.object.box
    low, high = _near(np.array([west, east]), about)
    return shapely.box(low, south, high if high >= low else high + 360, north)


def covered(shape: Shape, about: float) -> BaseGeometry:
    """The union of all surfaces of a shape as seen from above, whichever way they face."""
    import shapely

    places = ellipsoid.to_geographic(shape.xyz)[:, :2]
    places[:, 0] = _near(places[:, 0], about)
    outlines = [rings for _, rings in shape.polygons() if all(len(ring) >= 3 for ring in rings)]
    polygons = [shapely.Polygon(places[outer], [places[hole] for hole in holes]) for outer, *holes in outlines]
    if not polygons:
        polygons = list(shapely.polygons(places[shape.triangles]))
    return shapely.union_all(shapely.make_valid(polygons))


def _near(longitudes: F64, about: float) -> F64:
    """Longitudes as they count from a place: unchanged, or a turn more or less."""
    near: F64 = longitudes - 360 * np.round((longitudes - about) / 360)
    return near
