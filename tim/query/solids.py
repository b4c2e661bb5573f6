"""Geometries as conditions have them: a flat one, standing from a height to a height, in a box beyond which it does not reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from tim.place import Box3
from tim.query.tree import Box, Geometry
from tim.shape.footprint import flat_box

Heights = tuple[float, float]


@dataclass(frozen=True)
class Solid:
    """What spatial predicates look at."""

    bounds: tuple[float, float, float, float]
    """west, south, east, north; west east of east across the antimeridian."""
    heights: Heights | None
    """Lowest and highest; ``None`` where only the place on the map is meant."""
    draw: Callable[[], Any]
    """The flat geometry, made when it is first needed."""
    rectangle: bool = False
    """Whether the flat geometry is all of the box."""

    @cached_property
    def flat(self) -> Any:
        """A shapely geometry in degrees, or ``None``."""
        return self.draw()


def standing(box: Box3, draw: Callable[[], Any]) -> Solid:
    """An object."""
    west, south, bottom, east, north, top = box
    return Solid((west, south, east, north), (bottom, top), draw)


@lru_cache(64)
def literal(geometry: Box | Geometry) -> Solid:
    """What a condition states."""
    if isinstance(geometry, Box):
        half = len(geometry.bounds) // 2
        (west, south, *low), (east, north, *high) = geometry.bounds[:half], geometry.bounds[half:]
        return Solid(
            (west, south, east, north), (low[0], high[0]) if low else None, lambda: flat_box(west, south, east, north), rectangle=True
        )  # fmt: skip
    import shapely
    from shapely.geometry import shape

    drawn = shape(geojson(geometry))
    heights = shapely.get_coordinates(drawn, include_z=True)[:, 2] if drawn.has_z else None
    flat = shapely.union_all(shapely.get_parts(shapely.force_2d(drawn)))
    shapely.prepare(flat)
    west, south, east, north = flat.bounds
    return Solid(
        (west, south, east, north), None if heights is None else (float(heights.min()), float(heights.max())), lambda: flat
    )  # fmt: skip


def geojson(geometry: Geometry) -> dict[str, Any]:
    """A geometry as a GeoJSON object."""
    if geometry.type == "GeometryCollection":
        return {"type": geometry.type, "geometries": [geojson(part) for part in geometry.coordinates]}
    return {"type": geometry.type, "coordinates": geometry.coordinates}


def holds(operator: str, one: Solid, other: Solid) -> bool | None:
    """A predicate of :data:`tim.query.tree.SPATIAL`; ``None`` where a geometry is not there."""
    if operator == "s_disjoint":
        found = holds("s_intersects", one, other)
        return None if found is None else not found
    if not _heights_hold(operator, one.heights, other.heights):
        return False
    shared = [(a, b) for a in _spans(one) for b in _spans(other) if a[0] <= b[1] and b[0] <= a[1]]
    if not shared or one.bounds[1] > other.bounds[3] or other.bounds[1] > one.bounds[3]:
        return False
    if operator in ("s_intersects", "s_within") and other.rectangle and _inside(one, other):
        return True
    if one.flat is None or other.flat is None:
        return None
    import shapely

    return bool(getattr(shapely, operator.removeprefix("s_"))(one.flat, other.flat))


def _heights_hold(operator: str, one: Heights | None, other: Heights | None) -> bool:
    """Heights that meet do, unless an operator asks for more."""
    if one is None or other is None:
        return True
    match operator:
        case "s_equals":
            return one == other
        case "s_within":
            return other[0] <= one[0] and one[1] <= other[1]
        case "s_contains":
            return one[0] <= other[0] and other[1] <= one[1]
    return one[0] <= other[1] and other[0] <= one[1]


def _inside(one: Solid, other: Solid) -> bool:
    """Whether a box lies within the inner of another, so that nobody needs to know what is in it."""
    (west, south, east, north), (low_x, low_y, high_x, high_y) = one.bounds, other.bounds
    return low_x < west <= east < high_x and low_y < south and north < high_y


def _spans(solid: Solid) -> list[tuple[float, float]]:
    west, _, east, _ = solid.bounds
    return [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
