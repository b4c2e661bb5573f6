"""The later stages: gather sorted rows, write the tiles below some cells, spill what those cells and their ancestors may show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.builder import Job, Shard, ShardResult, TileEntry, TileSink
from tiling.points import content, morton
from tiling.points.octree import Cell, Octree
from tiling.points.root import Root
from tiling.points.spill import AXES, Columns, Rows, Spill, allocate, digest, join, layout_of

_TOO_MANY = 2
"""A cell with more than so many chunks of points is grown by its children, one after the other: what a worker holds stays bounded."""
_FEW_RUNS = 6
"""So many sorted runs are merged faster than sorted again."""

Index = NDArray[np.intp]


class Grower:
    """One shard of build or join."""

    def __init__(self, job: Job, shard: Shard, sink: TileSink, settings: Mapping[str, Any]) -> None:
        self.job = job
        self.shard = shard
        self.sink = sink
        self.root = Root.of(shard.spec)
        self.layout = layout_of(shard.spec)
        self.rules = Octree(self.root.depth, settings["tile_points"])
        self.most = _TOO_MANY * settings["chunk_points"]
        self.compression: content.Compression = settings["compression"]
        self.tiles: list[TileEntry] = []

    def run(self) -> ShardResult:
        """Do the shard."""
        spec = self.shard.spec
        rows = [
            Rows(Spill(self.job.scratch / name, count, self.layout), low, high)
            for name, (count, low, high) in zip(spec["scratch"], spec["rows"], strict=True)
        ]
        cells = [Cell(level, prefix) for level, prefix in spec["cells"]]
        fixed = {Cell(level, prefix): bool(grown) for level, prefix, grown in spec["fixed"]}
        candidates: list[Columns] = []
        grown: list[list[Any]] = []
        if len(cells) == 1 and not fixed:
            found = [self._grow(cells[0], rows)]
        else:
            sorted_rows = _Sorted(self.layout, rows)
            found = [self._share(cell, sorted_rows, fixed) for cell in cells]
        for cell, (columns, deeper) in zip(cells, found, strict=True):
            candidates.append(columns)
            grown.append([cell.level, cell.prefix, len(columns["key"]), deeper])
        counts = {"points": sum(tile.counts["points"] for tile in self.tiles)}
        if cells[0].level == 0:
            return ShardResult(self.tiles, {}, counts)
        columns = join(self.layout, candidates)
        name = f"{digest([self.shard.stage, spec])}.candidates"
        Spill(self.job.scratch / name, len(columns["key"]), self.layout).write(columns)
        output = {
            "scratch": [name], "sources": spec["sources"], "count": len(columns["key"]), "cells": grown,
            "root": spec["root"], "layout": spec["layout"],
        }  # fmt: skip
        return ShardResult(self.tiles, output, counts)

    def _grow(self, cell: Cell, rows: Sequence[Rows]) -> tuple[Columns, bool]:
        """Write all nodes below a cell; returns its candidates, and whether there are any nodes."""
        if sum(len(r) for r in rows) <= self.most or cell.level == self.root.depth:
            return self._share(cell, _Sorted(self.layout, rows), {})
        candidates: list[Columns] = []
        grown: dict[Cell, bool] = {}
        for child in cell.children():
            inside = [part for part in (r.between(*child.keys(self.root.depth)) for r in rows) if len(part)]
            if inside:
                columns, grown[child] = self._grow(child, inside)
                candidates.append(columns)
        return self._share(cell, _Sorted.already(join(self.layout, candidates)), grown)

    def _share(self, cell: Cell, rows: _Sorted, fixed: Mapping[Cell, bool]) -> tuple[Columns, bool]:
        """Write the nodes below a cell down to the fixed ones; returns its candidates, and whether there are any nodes below it.

        The root has nothing above it: its candidates are what it shows.
        """
        low, high = np.searchsorted(rows.keys, np.array(cell.keys(self.root.depth), np.uint64)).tolist()
        shown, below = self.rules.split(rows.keys[low:high], cell, fixed)
        grown = fixed.get(cell, False)
        if cell.level == 0:
            self._write(rows, cell, low + shown)
        for node in below:
            self._write(rows, node.cell, low + node.rows)
            grown = True
        return rows.take(low + shown), grown

    def _write(self, rows: _Sorted, cell: Cell, which: Index) -> None:
        """Put a node's tile into the sink; a node without points is a tile without content."""
        frame = self.job.frame
        at = morton.cell(cell.prefix, cell.level, self.root.depth)
        ref = None
        if len(which):
            given = rows.given(which)
            x, y = (rows.columns[axis].take(given) for axis in "xy")
            path = content.path_order(x, y)
            given = given.take(path)
            attributes = {
                k: column.take(given, axis=0) for k, column in rows.columns.items() if k not in ("key", *AXES)
            }
            position = (x.take(path), y.take(path), rows.columns["z"].take(given))
            tile = content.PointTile(position, self.root.origin, attributes)
            ref = self.sink.put(content.encode(tile, frame.step, self.compression), compress=self.compression == "none")
        self.tiles.append(
            TileEntry(
                key=_key(cell.level, at), parent=_key(cell.level - 1, [v >> 1 for v in at]) if cell.level else None,
                box=self.root.box(cell, frame), geometric_error=self.root.error(cell, frame), refine="ADD", content=ref,
                counts={"points": len(which)},
            )
        )  # fmt: skip


class _Sorted:
    """Rows of several spills as one: keys in order, all other columns as they came. Equal keys keep the order of the files."""

    def __init__(self, layout: Mapping[str, tuple[str, int]], rows: Sequence[Rows]) -> None:
        self.columns = allocate(layout, sum(len(r) for r in rows))
        at = 0
        for part in rows:
            part.read(self.columns, at)
            at += len(part)
        self.keys: NDArray[np.uint64] = self.columns["key"]
        self._order: Index | None = None
        if len(rows) > 1:
            few = len(rows) <= _FEW_RUNS
            self._order = np.argsort(self.keys, kind="stable") if few else morton.order(self.keys)
            self.keys = self.keys.take(self._order)

    @classmethod
    def already(cls, columns: Columns) -> _Sorted:
        """Columns that are in order."""
        rows = cls.__new__(cls)
        rows.columns, rows.keys, rows._order = columns, columns["key"], None
        return rows

    def given(self, which: Index) -> Index:
        """Rows in key order to rows as they came."""
        return which if self._order is None else self._order.take(which)

    def take(self, which: Index) -> Columns:
        """Some rows, in key order, with all columns."""
        given = self.given(which)
        return {name: column.take(given, axis=0) for name, column in self.columns.items()}


def _key(level: int, at: Sequence[int]) -> str:
    return f"oct/{level}/{at[0]}/{at[1]}/{at[2]}"
