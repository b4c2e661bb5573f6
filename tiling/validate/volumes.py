"""Bounding volumes (3D Tiles 1.1 §6.7.2): how far points lie outside one, and points that stand for one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim.geometry import F64
from tim.place import ellipsoid

Matrix = NDArray[np.float64]
"""float64[4, 4]: column vectors, local to ECEF."""

CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])


@dataclass(frozen=True, slots=True)
class Box:
    """An oriented box in the tile's own coordinates."""

    center: F64
    axes: F64
    """float64[3, 3]: rows are unit vectors."""
    half: F64

    @property
    def size(self) -> float:
        """Half the diagonal."""
        return float(np.linalg.norm(self.half))

    def excess(self, points: F64, world: Matrix) -> float:  # noqa: ARG002
        """Metres by which the farthest of float64[n, 3] local points lies outside along an axis; 0 where all are inside."""
        if not len(points):
            return 0.0
        return max(0.0, float((np.abs((points - self.center) @ self.axes.T) - self.half).max()))

    def hull(self, world: Matrix) -> F64:  # noqa: ARG002
        """float64[8, 3]: local points whose hull contains the volume."""
        return self.center + (CORNERS * self.half) @ self.axes

    def child(self, x: int, y: int, z: int | None) -> Box:
        """One of the equal parts; ``z`` ``None``: a quadtree's, whole in height."""
        shift = np.array([x - 0.5, y - 0.5, 0.0 if z is None else z - 0.5]) * self.half
        return Box(self.center + shift @ self.axes, self.axes, self.half * [0.5, 0.5, 1.0 if z is None else 0.5])


@dataclass(frozen=True, slots=True)
class Sphere:
    """A sphere in the tile's own coordinates."""

    center: F64
    radius: float

    @property
    def size(self) -> float:
        """The radius."""
        return self.radius

    def excess(self, points: F64, world: Matrix) -> float:  # noqa: ARG002
        """Metres by which the farthest of float64[n, 3] local points lies outside."""
        if not len(points):
            return 0.0
        return max(0.0, float(np.linalg.norm(points - self.center, axis=1).max()) - self.radius)

    def hull(self, world: Matrix) -> F64:  # noqa: ARG002
        """float64[6, 3]: the poles; a child sphere is thus taken at its axes only."""
        return self.center + self.radius * np.vstack([np.eye(3), -np.eye(3)])


@dataclass(frozen=True, slots=True)
class Region:
    """A geographic region; it does not take part in transforms."""

    west: float
    """Radians, as in the file; metres for the heights."""
    south: float
    east: float
    north: float
    low: float
    high: float

    @property
    def size(self) -> float:
        """About half the diagonal in metres."""
        return float(np.hypot(ellipsoid.A * max(self.north - self.south, self._width), self.high - self.low) / 2)

    @property
    def _width(self) -> float:
        return (self.east - self.west) % (2 * np.pi) if self.east != self.west else 0.0

    def excess(self, points: F64, world: Matrix) -> float:
        """Metres by which the farthest of float64[n, 3] local points lies outside."""
        if not len(points):
            return 0.0
        geographic = ellipsoid.to_geographic(transform(world, points))
        lon, lat = np.radians(geographic[:, 0]), np.radians(geographic[:, 1])
        beyond = (lon - self.west) % (2 * np.pi)
        past = np.where(beyond > self._width, np.minimum(beyond - self._width, 2 * np.pi - beyond), 0.0)
        north = np.maximum(self.south - lat, lat - self.north)
        up = np.maximum(self.low - geographic[:, 2], geographic[:, 2] - self.high)
        return max(
            0.0, float((past * np.cos(lat)).max() * ellipsoid.A), float(north.max() * ellipsoid.A), float(up.max())
        )

    def hull(self, world: Matrix) -> F64:
        """float64[18, 3]: local points on the lower and upper face: corners, edge middles, centre."""
        lon = self.west + self._width * np.array([0.0, 0.5, 1.0])
        lat = np.array([self.south, (self.south + self.north) / 2, self.north])
        grid = np.stack(
            np.meshgrid(np.degrees(lon), np.degrees(lat), [self.low, self.high], indexing="ij"), axis=-1
        ).reshape(-1, 3)
        return transform(np.asarray(np.linalg.inv(world), np.float64), ellipsoid.to_ecef(grid))

    def child(self, x: int, y: int, z: int | None) -> Region:
        """One of the equal parts; ``z`` ``None``: a quadtree's, whole in height."""
        lon = [self.west + self._width * f for f in (0.0, 0.5, 1.0)]
        lat = [self.south + (self.north - self.south) * f for f in (0.0, 0.5, 1.0)]
        up = [self.low + (self.high - self.low) * f for f in (0.0, 0.5, 1.0)]
        low, high = (self.low, self.high) if z is None else (up[z], up[z + 1])
        return Region(lon[x], lat[y], lon[x + 1], lat[y + 1], low, high)


Volume = Box | Sphere | Region


def read(volume: dict[str, Any]) -> Volume | None:
    """A bounding volume that passed the structural rules; ``None`` for one of an extension."""
    if "box" in volume:
        v = np.array(volume["box"], np.float64)
        return _box(v[:3], v[3:].reshape(3, 3))
    if "region" in volume:
        return Region(*(float(v) for v in volume["region"]))
    if "sphere" in volume:
        v = np.array(volume["sphere"], np.float64)
        return Sphere(v[:3], float(v[3]))
    return None


def transform(matrix: Matrix, points: F64) -> F64:
    """float64[n, 3] points by a 4×4 matrix."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def outside(outer: Volume, outer_world: Matrix, inner: Volume, inner_world: Matrix) -> float:
    """Metres by which a volume leaves another; each in its own coordinates. Region in region is compared as written."""
    if isinstance(outer, Region) and isinstance(inner, Region):
        grown = Region(
            outer.west, outer.south, outer.east, outer.north, min(outer.low, inner.low), max(outer.high, inner.high)
        )
        up = max(0.0, outer.low - inner.low, inner.high - outer.high)
        return max(up, grown.excess(transform(inner_world, inner.hull(inner_world)), np.eye(4)))
    if isinstance(outer, Sphere) and isinstance(inner, Sphere) and outer_world is inner_world:
        return max(0.0, float(np.linalg.norm(inner.center - outer.center)) + inner.radius - outer.radius)
    points = inner.hull(inner_world)
    if outer_world is not inner_world:
        points = transform(np.asarray(np.linalg.inv(outer_world) @ inner_world, np.float64), points)
    return outer.excess(points, outer_world)


def _box(center: F64, axes: F64) -> Box:
    """Unit axes of a box, also where some half-axes are zero."""
    half = np.linalg.norm(axes, axis=1)
    units = np.zeros((3, 3))
    for i in range(3):
        if half[i] > 0:
            units[i] = axes[i] / half[i]
    for i in range(3):
        if half[i] == 0:
            others = [units[j] for j in range(3) if units[j].any()]
            # The direction least used by the others, made perpendicular to them.
            guess = np.eye(3)[int(np.argmin(sum((np.abs(o) for o in others), np.zeros(3))))]
            for other in others:
                guess = guess - (guess @ other) * other
            units[i] = guess / np.linalg.norm(guess)
    return Box(center, units, half)
