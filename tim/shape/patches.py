"""What a shape is built of: polygons and triangles, native to their place, and how they look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tim.geometry import F32, F64, U32


@dataclass(frozen=True, slots=True)
class Material:
    """How a surface looks. ``image`` is the content hash of a blob: a JPEG, PNG or WebP file."""

    color: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    """sRGB with alpha, 0..1; multiplies the image."""
    image: str = ""
    mime: str = ""
    repeat: bool = False
    """Whether texture coordinates beyond 0..1 repeat the image."""


@dataclass(frozen=True, slots=True)
class Polygon:
    """A flat surface: a hull and its holes, counter-clockwise seen from outside (holes clockwise)."""

    rings: Sequence[F64]
    """float64[n, 3] each, native, without the closing vertex."""
    semantic: str = ""
    """``RoofSurface``, ``WallSurface``, … as the source names it; empty where it does not."""
    material: Material | None = None
    uv: Sequence[F32] | None = None
    """float32[n, 2] for each ring."""


@dataclass(frozen=True, slots=True)
class Triangles:
    """A surface that comes as triangles."""

    positions: F64
    """float64[n, 3], native."""
    triangles: U32
    """uint32[m, 3], counter-clockwise seen from outside."""
    semantic: str = ""
    material: Material | None = None
    uv: F32 | None = None
    """float32[n, 2]."""


Patch = Polygon | Triangles
Problem = tuple[str, Mapping[str, Any]]
