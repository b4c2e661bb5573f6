"""The builder of point clouds: sort, build, join; out of core, with the same bytes for any number of workers.

``sort``
    Each part of each source is read once, placed, put on the lattice, sorted by Morton key and spilled.
``build``
    Runs of about ``chunk_points`` points along the key are gathered from the spills, and all nodes inside them are written. What
    a cell's own node and its ancestors may show is spilled again: at most ``tile_points`` of each cell.
``join``, ``join2``, ``join3``
    The same over those candidates, each stage some thirty times coarser, up to the root.

The tree and its thinning are described in :mod:`tiling.points.octree`, the tiles in :mod:`tiling.points.content`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

import numpy as np

import importers
from tiling.builder import Job, Shard, ShardResult, TileEntry, TileSink
from tiling.points import octree
from tiling.points.grow import Grower
from tiling.points.octree import Cell
from tiling.points.root import Root, root_cube
from tiling.points.sort import CELLS, COARSE, sort_part
from tiling.points.spill import AXES
from tim.errors import TilingError
from tim.geometry import PointSchema
from tim.sources import PointSource

DEFAULT_ATTRIBUTES = ("rgb", "intensity", "classification")
JOINS = ("join", "join2", "join3")


class PointBuilder:
    """Point clouds to an additive octree with keys ``oct/{level}/{x}/{y}/{z}``."""

    version: ClassVar[int] = 1
    stages: ClassVar[tuple[str, ...]] = ("sort", "build", *JOINS)
    defaults: ClassVar[Mapping[str, Any]] = {
        "attributes": [],
        "part_points": 1_000_000,
        "chunk_points": 1_500_000,
        "tile_points": 50_000,
        "compression": "meshopt",
    }
    """``attributes``: besides colour, intensity and classification (extra bytes and GPS time included, by name).
    ``part_points``, ``chunk_points``: what a shard holds in memory. ``tile_points``: the most a tile may have (32,768 or more).
    ``compression``: ``meshopt`` (EXT_meshopt_compression) or ``none`` (gzip in transfer)."""

    def plan(self, job: Job, stage: str, done: Mapping[str, Sequence[ShardResult]]) -> Iterator[Shard]:
        """See :class:`tiling.builder.Builder`. Raises TilingError for settings that cannot be, SourceError for sources that are gone."""
        if stage == "sort":
            return self._plan_sort(job)
        if stage == "build":
            return self._plan_build(job, done["sort"])
        return self._plan_join(job, stage, done)

    def build(self, job: Job, shard: Shard, sink: TileSink) -> ShardResult:
        """See :class:`tiling.builder.Builder`."""
        if shard.stage == "sort":
            return sort_part(job, shard.spec)
        return Grower(job, shard, sink, _settings(job)).run()

    def finish(self, job: Job, results: Mapping[str, Sequence[ShardResult]]) -> Iterable[TileEntry]:
        """All tiles, coarse before fine. Raises TilingError ``points.count`` where a point is missing or there twice, ``points.empty`` for none at all."""
        entries = [tile for stage in self.stages for result in results.get(stage, ()) for tile in result.tiles]
        sorts = [result.counts for result in results.get("sort", ())]
        read, left_out = sum(counts["read"] for counts in sorts), sum(counts["left_out"] for counts in sorts)
        there = sum(entry.counts["points"] for entry in entries)
        if read != there + left_out:
            raise TilingError("points.count", read=read, written=there, left_out=left_out)
        if not there:
            raise TilingError("points.empty", sources=len(job.sources), left_out=left_out)
        return sorted(entries, key=lambda entry: _numbers(entry.key))

    def _plan_sort(self, job: Job) -> Iterator[Shard]:
        settings = _settings(job)
        root = root_cube(job.sources, job.frame)
        opened = [(ref, cast("PointSource", importers.open_source(ref))) for ref in job.sources]
        layout = spill_layout([source.schema for _, source in opened], settings["attributes"])
        for ref, source in opened:
            for index, part in enumerate(source.parts(settings["part_points"])):
                spec = {
                    "source": ref.key, "start": part.start, "count": part.count, "scratch": [],
                    "root": [*root.origin, root.bits], "layout": [[k, *v] for k, v in layout.items()],
                }  # fmt: skip
                yield Shard("sort", f"{ref.key}/{index}", spec, float(part.count))

    def _plan_build(self, job: Job, sorts: Sequence[ShardResult]) -> Iterator[Shard]:
        """Cut the key into runs of cells with about ``chunk_points`` points; a shard says which rows of which spills it takes."""
        most = _settings(job)["chunk_points"]
        inputs = [_Input(result.output) for result in sorts if result.output["count"]]
        if not inputs:
            return
        level = min(COARSE, Root.of(inputs[0].output).depth)
        prefixes, inverse = np.unique(np.concatenate([i.prefixes for i in inputs]), return_inverse=True)
        counts = np.bincount(inverse, np.concatenate([np.diff(i.starts) for i in inputs])).astype(np.int64)
        for number, run in enumerate(_runs(octree.units(prefixes, counts, level, most), most)):
            low, high = run[0][0].keys(level)[0], run[-1][0].keys(level)[1]
            taken = [
                (i.output, low_row, high_row)
                for i in inputs
                for low_row, high_row in [i.rows(low, high)]
                if high_row > low_row
            ]
            yield _grow_shard("build", number, [[c.level, c.prefix] for c, _ in run], taken, [])

    def _plan_join(self, job: Job, stage: str, done: Mapping[str, Sequence[ShardResult]]) -> Iterator[Shard]:
        """Group the candidates of the stage before under common ancestors; the last stage takes them all."""
        before = [r.output for r in done[self.stages[self.stages.index(stage) - 1]] if "cells" in r.output]
        if not before:
            return
        fixed = [
            (Cell(level, prefix), count, grown, output)
            for output in before
            for level, prefix, count, grown in output["cells"]
        ]
        level = max(cell.level for cell, *_ in fixed)
        counts = np.array([count for _, count, *_ in fixed], np.int64)
        most = int(counts.sum()) if stage == JOINS[-1] else _settings(job)["chunk_points"]
        starts = np.array([cell.keys(level)[0] for cell, *_ in fixed], np.uint64)
        for number, run in enumerate(_runs(octree.units(starts, counts, level, most), most)):
            ends = np.array([run[0][0].keys(level)[0], run[-1][0].keys(level)[1]], np.uint64)
            first, last = np.searchsorted(starts, ends).tolist()
            mine = fixed[first:last]
            files = {output["scratch"][0]: (output, 0, output["count"]) for *_, output in mine}
            yield _grow_shard(
                stage, number, [[c.level, c.prefix] for c, _ in run], list(files.values()),
                [[c.level, c.prefix, grown] for c, _, grown, _ in mine],
            )  # fmt: skip

    def tileset(self, job: Job, results: Mapping[str, Sequence[ShardResult]]) -> Mapping[str, Any]:
        """See :class:`tiling.builder.Builder`."""
        root = Root.of(results["sort"][0].output)
        top = Cell(0, 0)
        return {
            "scheme": "implicit-octree", "refine": "ADD", "root_box": root.box(top, job.frame), "root_error": root.error(top, job.frame),
            "asset_extras": {"attributes": _together(result.output["attributes"] for result in results["sort"])},
        }  # fmt: skip


class _Input:
    """A sorted part, as planning sees it: how many of its rows lie in each coarse cell."""

    def __init__(self, output: Mapping[str, Any]) -> None:
        self.output = output
        cells = np.frombuffer(base64.b64decode(output["cells"]), CELLS)
        self.prefixes = cells["prefix"].astype(np.uint64)
        self.starts = np.concatenate([[0], np.cumsum(cells["count"], dtype=np.int64)])

    def rows(self, low: int, high: int) -> tuple[int, int]:
        """The rows with prefixes from ``low`` to below ``high``."""
        first, last = np.searchsorted(self.prefixes, np.array([low, high], np.uint64))
        return int(self.starts[first]), int(self.starts[last])


def _grow_shard(
    stage: str,
    number: int,
    cells: list[list[int]],
    inputs: Sequence[tuple[Mapping[str, Any], int, int]],
    fixed: list[list[Any]],
) -> Shard:
    """A shard of build or join: its cells, the rows it takes of which files, and the cells that have nodes below them already."""
    like = inputs[0][0]
    spec = {
        "sources": sorted({key for output, *_ in inputs for key in output["sources"]}), "root": like["root"], "layout": like["layout"],
        "cells": cells, "fixed": fixed, "scratch": [output["scratch"][0] for output, *_ in inputs],
        "rows": [[output["count"], low, high] for output, low, high in inputs],
    }  # fmt: skip
    return Shard(stage, f"{number:06}", spec, float(sum(high - low for _, low, high in inputs)))


def spill_layout(schemas: Sequence[PointSchema], more: Sequence[str]) -> dict[str, tuple[str, int]]:
    """The columns of the spills: key, position, and each attribute that is wanted and any source has, in its widest type.

    Colour is one column of red, green, blue and 255 in the bytes of an integer, lowest first: it moves as one.
    Raises TilingError ``points.no-attribute`` where no source has one that was asked for.
    """
    layout: dict[str, tuple[str, int]] = {"key": ("<u8", 1), **dict.fromkeys(AXES, ("<u4", 1))}
    for name in dict.fromkeys([*DEFAULT_ATTRIBUTES, *more]):
        found = [schema[name] for schema in schemas if name in schema]
        if not found and name in DEFAULT_ATTRIBUTES:
            continue
        if not found or len({a.components for a in found}) > 1 or found[0].components > 4:
            known = sorted({a.name for schema in schemas for a in schema.attributes})
            raise TilingError("points.no-attribute", name=name, known=", ".join(known))
        if name == "rgb":
            layout[name] = ("<u4", 1)
            continue
        dtype = np.result_type(*[np.dtype(a.dtype) for a in found])
        layout[name] = (dtype.newbyteorder("<").str if dtype.itemsize > 1 else dtype.str, found[0].components)
    return layout


def _together(described: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The attributes of all parts as one description each, in the order of the first part."""
    all_: dict[str, dict[str, Any]] = {}
    for part in described:
        for name, one in part.items():
            if not one:
                all_.setdefault(name, {})
                continue
            known = all_.setdefault(name, dict(one))
            for key, choose in (("minimum", min), ("maximum", max)):
                known[key] = choose(known.get(key, one[key]), one[key])
            if "values" in one:
                known["values"] = sorted({*known.get("values", ()), *one["values"]})
    return [{"name": name, **one} for name, one in all_.items()]


def _runs(cells: Sequence[tuple[Cell, int]], most: int) -> Iterator[list[tuple[Cell, int]]]:
    """Neighbouring cells together, up to ``most`` points."""
    run: list[tuple[Cell, int]] = []
    total = 0
    for cell, count in cells:
        if run and total + count > most:
            yield run
            run, total = [], 0
        run.append((cell, count))
        total += count
    if run:
        yield run


def _numbers(key: str) -> tuple[int, ...]:
    return tuple(int(part) for part in key.split("/")[1:])


def _settings(job: Job) -> dict[str, Any]:
    settings = {**PointBuilder.defaults, **job.settings}
    if settings["tile_points"] < octree.SMALLEST_MOST:
        raise TilingError("points.tile-too-small", points=settings["tile_points"], least=octree.SMALLEST_MOST)
    return settings
