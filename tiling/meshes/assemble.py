"""The tree of one source put together from what its shards found: parents by links, boxes and errors growing upwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tiling.builder import ShardResult, TileEntry
from tiling.spec.boxes import box_around, corners
from tim.geometry import F64


class Assembly:
    """The tiles of one source by key, with the files they came from and the files they link to."""

    def __init__(self, roots: Sequence[str], results: Sequence[ShardResult]) -> None:
        self.roots = roots
        self.entries = {tile.key: tile for result in results for tile in result.tiles}
        self.files: dict[str, list[str]] = {}
        self.links: dict[str, list[str]] = {}
        self.inline: dict[str, list[str]] = {}
        for result in results:
            self.files.update(result.output["files"])
            self.links.update(result.output["links"])
        for tile in self.entries.values():
            if tile.parent is not None:
                self.inline.setdefault(tile.parent, []).append(tile.key)

    def tiles(self) -> list[TileEntry]:
        """Parents before children; a link to a file that could not be read is dropped, so its tile stays visible as a leaf.

        Nodes without anything to show, themselves or below, are left out.
        """
        children: dict[str, list[str]] = {}
        order: list[str] = []
        self._walk(order, children)
        parents = {child: parent for parent, below in children.items() for child in below}
        done: dict[str, tuple[F64, F64, float]] = {}
        for key in reversed(order):
            settled = self._settled(key, [done[child] for child in children.get(key, []) if child in done])
            if np.isfinite(settled[0]).all():
                done[key] = settled
        return [
            replace(self.entries[key], parent=parents.get(key), box=box_around(low, high), geometric_error=error)
            for key in order
            if key in done
            for low, high, error in (done[key],)
        ]

    def _walk(self, order: list[str], children: dict[str, list[str]]) -> None:
        """Fill in visiting order and children, from the files the tree starts with.

        Those are the roots. Files that no root leads to hang on something broken and are left out with it, unless nothing of the
        roots is left to be seen, or nothing is broken at all and they are roots themselves.
        """
        used: set[str] = set()
        starts = [root for root in self.roots if root in self.files]
        for root in starts:
            self._visit(root, used, order, children)
        broken = {target for targets in self.links.values() for target in targets if target not in self.files}
        broken.update(root for root in self.roots if root not in self.files)
        while left := [file for file in sorted(self.files) if file not in used]:
            if broken and starts:
                break
            reached = set(order)
            linked = {target for key, targets in self.links.items() if key not in reached for target in targets}
            tops = [file for file in left if file not in linked] or left[:1]
            if broken:
                # The coarsest of them: finer ones may hang on other broken files below it.
                coarseness = {
                    file: max((self.entries[k].geometric_error for k in self.files[file]), default=0.0) for file in tops
                }
                tops = [file for file in tops if coarseness[file] == max(coarseness.values())]
            for root in tops:
                if root not in used:
                    self._visit(root, used, order, children)
            if broken:
                break

    def _visit(self, root: str, used: set[str], order: list[str], children: dict[str, list[str]]) -> None:
        """Everything below one file, breadth first. A file linked twice belongs to the first that links to it."""
        used.add(root)
        queue = list(self.files[root])
        for key in queue:
            order.append(key)
            below = list(self.inline.get(key, []))
            for file in self.links.get(key, []):
                if file in self.files and file not in used:
                    used.add(file)
                    below += self.files[file]
            if below:
                children[key] = below
                queue += below

    def _settled(self, key: str, below: Sequence[tuple[F64, F64, float]]) -> tuple[F64, F64, float]:
        """Box and error of a tile from its own and its children's: no error without something finer, none below a child's."""
        tile = self.entries[key]
        low, high = corners(tile.box) if tile.content else (np.full(3, np.inf), np.full(3, -np.inf))
        error = tile.geometric_error if below else 0.0
        for child_low, child_high, child_error in below:
            low, high, error = np.minimum(low, child_low), np.maximum(high, child_high), max(error, child_error)
        return low, high, error
