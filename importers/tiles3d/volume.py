"""Bounding volumes (3D Tiles 1.1 §6.7.1.5): where they lie on Earth, and what a root transform makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tim.errors import CorruptSource
from tim.geometry import F64
from tim.place import Box3, ellipsoid

SURFACE = 6.2e6
"""Metres: what keeps nearer to the Earth's centre than this lies in no place on Earth."""
_UNIT: F64 = np.stack(np.meshgrid(*[np.linspace(-1.0, 1.0, 5)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


def samples(volume: Any, transform: F64, path: str) -> F64:
    """float64[n, 3] points on and in a volume, ECEF (or local) metres; ``transform`` does not move regions. Raises CorruptSource."""
    if not isinstance(volume, dict):
        raise CorruptSource("tiles3d.no-volume", path=path)
    if "region" in volume:
        west, south, east, north, low, high = _numbers(volume["region"], 6, path)
        east = east + 2 * np.pi if east < west else east
        middle, half = (
            np.array([west + east, south + north, low + high]) / 2,
            np.array([east - west, north - south, high - low]) / 2,
        )
        at = middle + _UNIT * half
        return ellipsoid.to_ecef(np.column_stack([np.degrees(at[:, :2]), at[:, 2]]))
    if "box" in volume:
        box = np.array(_numbers(volume["box"], 12, path)).reshape(4, 3)
        points = box[0] + _UNIT @ box[1:]
    elif "sphere" in volume:
        *centre, radius = _numbers(volume["sphere"], 4, path)
        points = np.array(centre) + _UNIT * radius
    else:
        raise CorruptSource("tiles3d.no-volume", path=path)
    return moved(points, transform)


def moved(points: F64, transform: F64) -> F64:
    """float64[n, 3] points after a float64[4, 4] transform."""
    return points @ transform[:3, :3].T + transform[:3, 3]


def on_earth(points: F64) -> bool:
    """Whether points can be ECEF: some reach the Earth's surface."""
    return bool(np.linalg.norm(points, axis=1).max() >= SURFACE)


def geographic_box(points: F64) -> Box3:
    """The EPSG:4979 box of ECEF points. West exceeds east across the antimeridian; the whole globe where they enclose its centre."""
    if np.linalg.norm(points.mean(axis=0)) < SURFACE / 2:
        heights = ellipsoid.to_geographic(points[np.linalg.norm(points, axis=1) > SURFACE])[:, 2]
        return -180.0, -90.0, float(min(0.0, heights.min())), 180.0, 90.0, float(heights.max())
    at = ellipsoid.to_geographic(points)
    lon = at[:, 0]
    if np.ptp(lon) > 180:
        lon = lon % 360
    west, east = ((x + 180) % 360 - 180 if abs(x) > 180 else x for x in (float(lon.min()), float(lon.max())))
    low, high = at[:, 1:].min(axis=0), at[:, 1:].max(axis=0)
    return west, float(low[0]), float(low[1]), east, float(high[0]), float(high[1])


def lifted(volume: Mapping[str, Any], metres: float) -> Mapping[str, Any]:
    """A region so much higher; no transform does that. Other volumes as they are."""
    if "region" not in volume:
        return volume
    *sides, low, high = volume["region"]
    return {**volume, "region": [*sides, low + metres, high + metres]}


def up_at(points: F64) -> F64:
    """float64[3]: the ellipsoid's upward normal at the middle of ECEF points."""
    lon, lat, _ = ellipsoid.to_geographic(points.mean(axis=0)[None])[0]
    lon, lat = np.radians(lon), np.radians(lat)
    return np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def _numbers(values: Any, count: int, path: str) -> list[float]:
    if (
        not isinstance(values, list) or len(values) != count
        or not all(isinstance(v, int | float) and not isinstance(v, bool) and np.isfinite(v) for v in values)
    ):  # fmt: skip
        raise CorruptSource("tiles3d.bad-number", path=path, what="boundingVolume")
    return [float(v) for v in values]
