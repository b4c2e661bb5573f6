"""Models that stand for points: made here once, placed as often as there are points. East, north, up metres about the foot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from tim.shape import Material, Triangles, model

_BARK = Material((0.43, 0.31, 0.22, 1.0))
_LEAVES = Material((0.33, 0.53, 0.25, 1.0))
_LIGHT_LEAVES = Material((0.42, 0.62, 0.31, 1.0))
_STEEL = Material((0.42, 0.45, 0.48, 1.0))
_LIGHT = Material((1.0, 0.93, 0.72, 1.0))
_IRON = Material((0.30, 0.30, 0.32, 1.0))
_CONCRETE = Material((0.70, 0.69, 0.66, 1.0))
_PLAIN = Material((0.75, 0.75, 0.75, 1.0))


@dataclass(frozen=True, slots=True)
class Prototype:
    """A model and its size at scale 1."""

    blob: bytes
    height: float
    """Metres."""
    radius: float
    """Metres: no part is farther from the axis."""


@cache
def prototype(name: str) -> Prototype:
    """``tree`` (6 m), ``lamp`` (8 m), ``well`` (a cover of 0.7 m), ``box`` (1 m)."""
    patches, height, radius = {"tree": _tree, "lamp": _lamp, "well": _well, "box": _box}[name]()
    return Prototype(model(patches).blob, height, radius)


def _tree() -> tuple[list[Triangles], float, float]:
    trunk = _turned([(0.22, 0.0), (0.15, 0.5), (0.12, 2.4)], 8, _BARK)
    crown = _turned([(0.0, 1.7), (1.0, 1.9), (1.7, 2.7), (1.75, 3.4), (1.3, 4.4), (0.7, 5.3)], 12, _LEAVES)
    tip = _turned([(1.0, 4.6), (0.85, 5.3), (0.45, 5.8), (0.0, 6.0)], 12, _LIGHT_LEAVES)
    return [trunk, crown, tip], 6.0, 1.75


def _lamp() -> tuple[list[Triangles], float, float]:
    foot = _turned([(0.2, 0.0), (0.2, 0.3), (0.09, 0.45), (0.05, 7.8), (0.0, 7.9)], 8, _STEEL)
    arm = _block((-0.04, 0.0, 7.72), (0.04, 1.5, 7.8), _STEEL)
    head = _block((-0.14, 0.9, 7.8), (0.14, 1.6, 8.0), _STEEL)
    light = _block((-0.11, 0.95, 7.7), (0.11, 1.55, 7.72), _LIGHT)
    return [foot, arm, head, light], 8.0, 1.61


def _well() -> tuple[list[Triangles], float, float]:
    collar = _turned([(0.42, -0.2), (0.42, 0.01), (0.35, 0.03)], 16, _CONCRETE)
    cover = _turned([(0.35, 0.03), (0.34, 0.05), (0.1, 0.05), (0.08, 0.07), (0.0, 0.07)], 16, _IRON)
    return [collar, cover], 0.07, 0.42


def _box() -> tuple[list[Triangles], float, float]:
    return [_block((-0.5, -0.5, 0.0), (0.5, 0.5, 1.0), _PLAIN)], 1.0, 0.71


def _turned(profile: Sequence[tuple[float, float]], sides: int, material: Material) -> Triangles:
    """A profile of radius and height, from below to above (or inwards), turned about the axis."""
    angle = np.arange(sides) * (2 * np.pi / sides)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    rings = [np.column_stack([circle * r, np.full(sides, z)]) for r, z in profile]
    i = np.arange(sides)
    after = (i + 1) % sides
    triangles = []
    for k in range(len(profile) - 1):
        a, b = k * sides, (k + 1) * sides
        if profile[k][0]:
            triangles.append(np.column_stack([a + i, a + after, b + after]))
        if profile[k + 1][0]:
            triangles.append(np.column_stack([a + i, b + after, b + i]))
    return Triangles(np.concatenate(rings), np.concatenate(triangles).astype(np.uint32), material=material)


def _block(low: Sequence[float], high: Sequence[float], material: Material) -> Triangles:
    corners = np.array([[(low, high)[bit][axis] for axis, bit in enumerate(bits)] for bits in np.ndindex(2, 2, 2)])
    # Corners count x, y, z as bits 4, 2, 1; each face counter-clockwise from outside.
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = [t for a, b, c, d in faces for t in ((a, b, c), (a, c, d))]
    return Triangles(corners, np.array(triangles, np.uint32), material=material)
