"""Which point goes into which tile: an additive octree over sorted keys.

A node shows one point for each occupied cell of a grid over it, ``2**GRID`` cells a side: the first of the cell in key order, unless an
ancestor shows it already. So a node's own points and its ancestors' together are an even thinning of everything in it, and every point is
in exactly one node. A node with few points left takes them all. Where a grid would give more than ``most`` points (data that fill
space instead of covering a surface) it is made coarser, down to ``2**COARSEST``, whose cells can never hold more than ``most`` representatives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiling.points import morton

GRID = 7
COARSEST = 5
SMALLEST_MOST = 8**COARSEST
ERROR_CELLS = 8
"""Geometric error in grid cells. Refining at a screen-space error of 16 pixels, a viewer then shows points 1 to 2 pixels apart; the cell
diagonal at the coarsest grid is 4·√3 = 6.9 cells, so the error is never understated."""

Index = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Cell:
    """An octree cell by the leading digits of its keys."""

    level: int
    prefix: int

    def children(self) -> list[Cell]:
        """In key order."""
        return [Cell(self.level + 1, self.prefix << 3 | digit) for digit in range(8)]

    def parent(self) -> Cell:
        """The cell one level up."""
        return Cell(self.level - 1, self.prefix >> 3)

    def keys(self, depth: int) -> tuple[int, int]:
        """Its keys: first, and one past the last."""
        shift = 3 * (depth - self.level)
        return self.prefix << shift, (self.prefix + 1) << shift


@dataclass(frozen=True, slots=True)
class Node:
    """A tile to be: its cell and the rows of its points, ascending; none where ancestors show all there is at this density."""

    cell: Cell
    rows: Index


@dataclass(frozen=True, slots=True)
class Octree:
    """Rules of one dataset."""

    depth: int
    most: int
    """Points a tile may have; more only where the deepest cell holds more (points in the same place)."""

    def split(self, keys: NDArray[np.uint64], top: Cell, fixed: Mapping[Cell, bool]) -> tuple[Index, Iterator[Node]]:
        """Sorted keys that all lie in ``top`` to the rows that it or its ancestors may show, at most ``most``, and all nodes below it.

        Nodes come parents first. ``fixed`` are cells with nodes below them already (true) or none (false): the descent ends there, and
        such a cell takes what is left. The first points of cells stay the first among those that ``top`` may show, so what its
        ancestors make of those alone is what they would make of all points.
        """
        rows = np.arange(len(keys))
        if top in fixed:
            return rows, iter(())
        shown, below = self._share(
            keys, morton.differing(keys, self.depth), _Work(top, 0, len(keys), rows, _below(fixed, top))
        )
        return shown, below

    def _descend(self, keys: NDArray[np.uint64], firsts: NDArray[np.uint8], work: _Work) -> Iterator[Node]:
        if work.cell in work.fixed:
            yield Node(work.cell, work.rows)
            return
        shown, below = self._share(keys, firsts, work)
        yield Node(work.cell, shown)
        yield from below

    def _share(self, keys: NDArray[np.uint64], firsts: NDArray[np.uint8], work: _Work) -> tuple[Index, Iterator[Node]]:
        """The rows a cell shows, and the nodes below it that share the rest."""
        cell, rows = work.cell, work.rows
        if (len(rows) <= self.most and not any(work.fixed.values())) or cell.level == self.depth:
            return rows, iter(())
        left = firsts.take(rows)
        shown = left <= self._grid_depth(left, cell.level)
        children = cell.children()
        starts = np.array([child.keys(self.depth)[0] for child in children[1:]], np.uint64)
        cuts = [work.low, *(work.low + np.searchsorted(keys[work.low : work.high], starts)).tolist(), work.high]
        at = np.searchsorted(rows, cuts).tolist()
        room = self.most - int(np.count_nonzero(shown))
        deeper: list[_Work] = []
        for i, child in enumerate(children):
            mine, taken = rows[at[i] : at[i + 1]], shown[at[i] : at[i + 1]]
            fixed = _below(work.fixed, child)
            count = len(mine) - int(np.count_nonzero(taken))
            if not any(fixed.values()) and count <= min(room, self.most // _HANDFUL):
                taken[:] = True  # not worth a tile: shown here, a level early
                room -= count
            else:
                deeper.append(_Work(child, cuts[i], cuts[i + 1], mine[~taken], fixed))
        return rows[shown], (node for part in deeper for node in self._descend(keys, firsts, part))

    def _grid_depth(self, firsts: NDArray[np.uint8], level: int) -> int:
        """The depth of the finest grid for a node at ``level`` that shows at most ``most`` points."""
        within = np.bincount(firsts, minlength=self.depth + 2).cumsum()
        grids = [min(level + grid, self.depth) for grid in range(GRID, COARSEST - 1, -1)]
        return next((g for g in grids if within[g] <= self.most), grids[-1])


_HANDFUL = 16
"""A child with less than this fraction of a full tile is shown by its parent, where there is room."""


@dataclass(frozen=True, slots=True)
class _Work:
    """A cell to be shared out: its rows ``low``..``high``, those of them no ancestor shows, and the fixed cells in it."""

    cell: Cell
    low: int
    high: int
    rows: Index
    fixed: Mapping[Cell, bool]


def _below(fixed: Mapping[Cell, bool], cell: Cell) -> Mapping[Cell, bool]:
    """The fixed cells inside a cell."""
    if not fixed:
        return fixed
    return {
        c: grown
        for c, grown in fixed.items()
        if c.level >= cell.level and c.prefix >> 3 * (c.level - cell.level) == cell.prefix
    }


def units(prefixes: NDArray[np.uint64], counts: NDArray[np.int64], level: int, most: int) -> list[tuple[Cell, int]]:
    """The largest cells with at most ``most`` points each, in key order, with their counts, from counts of cells at ``level``.

    Cells at ``level`` with more come out as they are.
    """
    total = np.concatenate([[0], np.cumsum(counts)])

    def split(cell: Cell, low: int, high: int) -> Iterator[tuple[Cell, int]]:
        count = int(total[high] - total[low])
        if not count:
            return
        if count <= most or cell.level == level:
            yield cell, count
            return
        starts = [child.keys(level)[0] for child in cell.children()[1:]]
        cuts = [low, *(low + np.searchsorted(prefixes[low:high], np.array(starts, np.uint64))).tolist(), high]
        for child, a, b in zip(cell.children(), cuts[:-1], cuts[1:], strict=True):
            yield from split(child, a, b)

    return list(split(Cell(0, 0), 0, len(prefixes)))
