"""Bulk data in memory: points, meshes, grids and volumes as plain arrays.

Coordinates are *native* (the source's own CRS and axis order east, north, up) unless a name says otherwise; a
:class:`tim.place.Place` says where they are on Earth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U32 = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Points:
    """A batch of points, integer-scaled as LAS stores them: native = raw * scale + offset."""

    raw: I32
    """int32[n, 3], any strides: scaled coordinates, east, north, up."""
    scale: F64
    """float64[3]: native units per step."""
    offset: F64
    """float64[3]: native units."""
    attributes: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    """Per-point arrays of length n; ``rgb`` is uint8[n, 3] or uint16[n, 3], all others as :class:`PointSchema` says."""

    def __len__(self) -> int:
        return len(self.raw)

    @property
    def xyz(self) -> F64:
        """float64[n, 3]: native coordinates."""
        return self.raw * self.scale + self.offset


@dataclass(frozen=True, slots=True)
class Attribute:
    """One per-point attribute: its name, element type and what it means."""

    name: str
    """ASCII identifier, e.g. ``intensity``, ``classification``, ``gps_time``."""
    dtype: str
    """numpy type string of one component, e.g. ``"<u2"``."""
    components: int = 1
    description: str = ""


@dataclass(frozen=True, slots=True)
class PointSchema:
    """The attributes a point source can give, in a fixed order."""

    attributes: tuple[Attribute, ...]

    def __getitem__(self, name: str) -> Attribute:
        return next(a for a in self.attributes if a.name == name)

    def __contains__(self, name: object) -> bool:
        return any(a.name == name for a in self.attributes)


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image still in its file encoding, passed through untouched."""

    mime: str
    """``image/jpeg``, ``image/png`` or ``image/webp``."""
    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Mesh:
    """One textured triangle mesh. Texture coordinates follow glTF: origin top left, v down."""

    positions: F32 | F64
    """float32 or float64 [n, 3], native units about the source's own origin (``Place.origin``)."""
    triangles: U32
    """uint32[m, 3]: vertex indices, counter-clockwise seen from outside."""
    uv: F32 | None = None
    """float32[n, 2]."""
    normals: F32 | None = None
    """float32[n, 3], native axes."""
    colors: NDArray[np.uint8] | None = None
    """uint8[n, 4], sRGB with alpha."""
    texture: EncodedImage | None = None
    base_color: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Grid:
    """A window of a raster: bands of equal size, row 0 in the north."""

    values: NDArray[np.generic]
    """[band, row, column]."""
    origin: tuple[float, float]
    """Native east and north of the outer corner of row 0, column 0."""
    cell: tuple[float, float]
    """Native cell size east and south, both positive."""
    nodata: float | None = None


@dataclass(frozen=True, slots=True)
class Volume:
    """A block of a volume field: named properties on one axis-aligned lattice."""

    values: Mapping[str, NDArray[np.generic]]
    """Each [z, y, x]."""
    origin: tuple[float, float, float]
    """Native coordinates of the lower corner of cell [0, 0, 0]."""
    cell: tuple[float, float, float]


def composed(translation: F64, rotation: F64, scale: F64) -> F64:
    """float64[k, 4, 4]: scaled (float64[k, 3]), then turned by unit quaternions (x, y, z, w: float64[k, 4]), then moved (float64[k, 3]), of column
    vectors (glTF 2.0 §3.5.2)."""
    x, y, z, w = rotation.T
    out = np.zeros((len(translation), 4, 4))
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    for i, row in enumerate(rows):
        for j, values in enumerate(row):
            out[:, i, j] = values * scale[:, j]
    out[:, :3, 3] = translation
    out[:, 3, 3] = 1
    return out
