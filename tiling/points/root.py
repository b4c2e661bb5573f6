"""The octree's root: a cube on the frame's lattice that holds all sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiling.points import morton, octree
from tiling.points.octree import Cell
from tim.errors import TilingError
from tim.place import Frame, ellipsoid
from tim.sources import SourceRef


@dataclass(frozen=True, slots=True)
class Root:
    """The octree's root cube on the frame's lattice."""

    origin: tuple[int, int, int]
    """Lattice steps of its lower corner in the frame."""
    bits: int
    """Its side is ``2**bits`` steps."""

    @property
    def depth(self) -> int:
        """Digits of a key: down to a lattice step where 63 bits allow."""
        return min(self.bits, morton.MAX_DEPTH)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Root:
        """The root that a shard or result names: ``root`` is x, y, z of the origin and the bits."""
        x, y, z, bits = record["root"]
        return cls((x, y, z), bits)

    def box(self, cell: Cell, frame: Frame) -> tuple[float, ...]:
        """The 3D Tiles box of a cell, metres in the frame."""
        side = 2.0 ** (self.bits - cell.level) * frame.step
        at = morton.cell(cell.prefix, cell.level, self.depth)
        centre = [o * frame.step + (c + 0.5) * side for o, c in zip(self.origin, at, strict=True)]
        half = side / 2
        return (*centre, half, 0.0, 0.0, 0.0, half, 0.0, 0.0, 0.0, half)

    def error(self, cell: Cell, frame: Frame) -> float:
        """The geometric error of a cell, metres. Implicit tiling halves it by level, leaves included."""
        return 2.0 ** (self.bits - octree.GRID - cell.level) * octree.ERROR_CELLS * frame.step


def root_cube(sources: Sequence[SourceRef], frame: Frame) -> Root:
    """The smallest cube of ``2**k`` lattice steps, at a multiple of a quarter of its side, that holds the boxes of all sources."""
    corners = []
    for ref in sources:
        west, south, bottom, east, north, top = ref.box
        lon, lat, height = np.meshgrid(np.linspace(west, east, 5), np.linspace(south, north, 5), [bottom, top])
        geographic = np.column_stack([lon.ravel(), lat.ravel(), height.ravel()])
        corners.append(frame.from_ecef(ellipsoid.to_ecef(geographic)))
    points = np.concatenate(corners)
    low, high = points.min(axis=0), points.max(axis=0)
    # Edges bulge between samples and headers round: a hundredth of the extent and a metre on each side.
    margin = (high - low) * 0.01 + 1.0
    first = np.floor((low - margin) / frame.step)
    last = np.ceil((high + margin) / frame.step)
    bits = max(4, int(np.ceil(np.log2((last - first).max() + 1))))
    while True:
        quarter = 2.0 ** (bits - 2)
        origin = np.floor(first / quarter) * quarter
        if (last < origin + 4 * quarter).all():
            break
        bits += 1
    if bits > 31:
        raise TilingError("points.too-wide", metres=float((high - low).max()), step=frame.step)
    x, y, z = (int(v) for v in origin)
    return Root((x, y, z), bits)
