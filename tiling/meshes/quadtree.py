"""A quadtree of empty tiles above many top tiles, so that a viewer need not look at all of them to find those in view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tiling.builder import TileEntry
from tiling.spec.boxes import box_around, corners
from tim.geometry import F64

_FANOUT = 16
"""A cell with more top tiles is split, unless it is small or deep."""
_DEEPEST = 16


def above(tiles: Sequence[TileEntry], many: int) -> list[TileEntry]:
    """``tiles`` below a quadtree where more than ``many`` of them have no parent; otherwise as they are.

    Cells ``quad/{z}/{x}/{y}`` halve a square around the centres of the top tiles; a top tile lies in the cell of its centre.
    An empty tile shows nothing, so its error is its own diagonal at least: by the time it is passed over it covers a few pixels.
    """
    tops = [tile for tile in tiles if tile.parent is None]
    if len(tops) <= many:
        return list(tiles)
    centres = np.array([tile.box[:2] for tile in tops])
    low = centres.min(axis=0)
    side = max(float((centres.max(axis=0) - low).max()), 1.0) * (1 + 1e-9)
    cells: list[TileEntry] = []
    parents: dict[str, str] = {}

    def split(z: int, x: int, y: int, members: list[int], parent: str | None) -> tuple[F64, F64, float]:
        key = f"quad/{z}/{x}/{y}"
        place = len(cells)
        cells.append(tops[members[0]])  # keeps the place before its children
        if len(members) <= _FANOUT or z == _DEEPEST:
            for member in members:
                parents[tops[member].key] = key
            parts = [(*corners(tops[m].box), tops[m].geometric_error) for m in members]
        else:
            step = side / 2 ** (z + 1)
            index = np.floor((centres[members] - low) / step).astype(int)
            quarters: dict[tuple[int, int], list[int]] = {}
            for member, (i, j) in zip(members, index, strict=True):
                quarters.setdefault((int(i), int(j)), []).append(member)
            parts = [split(z + 1, i, j, quarters[i, j], key) for i, j in sorted(quarters)]
        box_low = np.min([part[0] for part in parts], axis=0)
        box_high = np.max([part[1] for part in parts], axis=0)
        error = max(math.dist(box_low, box_high), *(part[2] for part in parts))
        cells[place] = TileEntry(key, parent, box_around(box_low, box_high), error, "REPLACE")
        return box_low, box_high, error

    split(0, 0, 0, list(range(len(tops))), None)
    return cells + [replace(tile, parent=parents[tile.key]) if tile.parent is None else tile for tile in tiles]
