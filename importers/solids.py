"""Solids about lines and points: what a pipe, a track or a tank without geometry of its own is drawn as.

All in Cartesian metres of any frame; :data:`GEOCENTRIC` is the place of solids that were made in EPSG:4978.
"""

from __future__ import annotations

import numpy as np

from tim.geometry import F64, U32
from tim.place import Datum, Height, Place
from tim.place.ellipsoid import to_geographic
from tim.shape import Material, Triangles

GEOCENTRIC = Place("EPSG:4978", Height("ellipsoid", "ellipsoid"), Datum("equivalent", "WGS 84", 0.0))
"""Coordinates that have been placed already."""
_SHARPEST = 0.25
"""Cosine of half a bend below which its mitre is cut off, so that a hairpin does not grow a spike."""


def tube(path: F64, radius: float, sides: int = 8, material: Material | None = None) -> Triangles | None:
    """A closed tube of constant radius around a polyline (float64[n, 3], metres), mitred at its bends.

    ``None`` where the line has no length or is not finite.
    """
    path = np.asarray(path, np.float64)
    if not np.isfinite(path).all():
        return None
    path = path[np.concatenate([[True], np.linalg.norm(np.diff(path, axis=0), axis=1) > 1e-6])]
    if len(path) < 2:
        return None
    along = np.diff(path, axis=0)
    along /= np.linalg.norm(along, axis=1)[:, None]
    turn = np.linspace(0.0, 2 * np.pi, sides, endpoint=False)
    side = np.cross(along[0], np.eye(3)[int(np.abs(along[0]).argmin())])
    side /= np.linalg.norm(side)
    circle = radius * (np.cos(turn)[:, None] * side + np.sin(turn)[:, None] * np.cross(along[0], side))
    rings = [path[0] + circle]
    for before, after, at in zip(along[:-1], along[1:], path[1:-1], strict=True):
        # The ring is carried along its segment onto the plane that halves the bend, then into the next segment.
        half = before + after
        length = float(np.linalg.norm(half))
        cosine = length / 2
        plane = half / length if cosine > _SHARPEST else before
        on_plane = circle - np.outer(circle @ plane / (before @ plane), before)
        rings.append(at + on_plane)
        circle = (
            on_plane - np.outer(on_plane @ plane / (after @ plane), after)
            if cosine > _SHARPEST
            else _turned(circle, after)
        )
        circle *= radius / np.linalg.norm(circle, axis=1)[:, None]
    rings.append(path[-1] + circle)
    positions = np.concatenate([*rings, path[:1], path[-1:]])
    return Triangles(positions, _skin(len(rings), sides), material=material)


def up_at(xyz: F64) -> F64:
    """float64[n, 3]: the unit vector upwards at geocentric points."""
    lon, lat = np.radians(to_geographic(xyz)[:, :2].T)
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def drum(
    base: F64, up: F64, radius: float, height: float, sides: int = 16, material: Material | None = None
) -> Triangles | None:
    """An upright cylinder on a point (float64[3]). ``None`` where it has no height."""
    return tube(np.array([base, base + up * height]), radius, sides, material)


def _turned(circle: F64, axis: F64) -> F64:
    """The circle's points moved into the plane across ``axis``, in their old order."""
    flat: F64 = circle - np.outer(circle @ axis, axis)
    if np.linalg.norm(flat, axis=1).min() > 1e-3 * np.linalg.norm(circle, axis=1).max():
        return flat
    side = np.cross(axis, np.eye(3)[int(np.abs(axis).argmin())])
    turn = np.linspace(0.0, 2 * np.pi, len(circle), endpoint=False)
    around: F64 = np.cos(turn)[:, None] * side + np.sin(turn)[:, None] * np.cross(axis, side)
    return around


def _skin(rings: int, sides: int) -> U32:
    """Triangles between rings of ``sides`` points, and fans about the two points after them."""
    k = np.arange(sides)
    following = (k + 1) % sides
    first = (np.arange(rings - 1) * sides)[:, None]
    a, b = first + k, first + following
    c, d = a + sides, b + sides
    wall = np.stack([a, b, d, a, d, c], axis=-1).reshape(-1, 3)
    last = (rings - 1) * sides
    start, end = rings * sides, rings * sides + 1
    caps = [
        np.column_stack([np.full(sides, start), following, k]),
        np.column_stack([np.full(sides, end), last + k, last + following]),
    ]
    return np.concatenate([wall, *caps]).astype(np.uint32)
