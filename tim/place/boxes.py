"""Boxes on Earth, and what holds of them across the antimeridian: there west exceeds east."""

from __future__ import annotations

from tim.geometry import F64

Box3 = tuple[float, float, float, float, float, float]
"""EPSG:4979: west, south (degrees), bottom (m), east, north (degrees), top (m)."""


def around(geographic: F64) -> Box3:
    """The smallest box around some points, no wider than half the Earth. geographic: float64[n, 3], EPSG:4979, n > 0."""
    low, high = geographic.min(axis=0), geographic.max(axis=0)
    west, east = float(low[0]), float(high[0])
    if east - west > 180:
        lon = geographic[:, 0] % 360
        west, east = ((float(v) + 180) % 360 - 180 for v in (lon.min(), lon.max()))
    return west, float(low[1]), float(low[2]), east, float(high[1]), float(high[2])


def union(a: Box3 | None, b: Box3) -> Box3:
    """The smallest box around both."""
    if a is None:
        return b
    west, east = min(a[0], b[0]), max(a[3], b[3])
    if a[0] > a[3] or b[0] > b[3] or east - west > 180:
        width, west = min(
            (max((box[0] - start) % 360 + (box[3] - box[0]) % 360 for box in (a, b)), start) for start in (a[0], b[0])
        )
        east = west + width
        east = east - 360 if east > 180 else east
    return west, min(a[1], b[1]), min(a[2], b[2]), east, max(a[4], b[4]), max(a[5], b[5])
