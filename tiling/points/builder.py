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
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

import importers
from tiling.builder import Job, Shard, ShardResult, TileEntry, TileSink
from tiling.points import content, morton, octree
from tiling.points.octree import Cell, Octree
from tiling.points.spill import Columns, Spill, allocate
from tim.errors import CorruptSource, TilingError
from tim.geometry import F64, Points, PointSchema
from tim.place import Frame, LocalMap, ellipsoid, local_map
from tim.sources import Part, PointSource, SourceRef

DEFAULT_ATTRIBUTES = ("rgb", "intensity", "classification")
JOINS = ("join", "join2", "join3")
_AXES = ("x", "y", "z")
_COARSE = 8
"""Digits of the key that points are counted by, to cut the cloud into chunks."""


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
            return _sort(job, shard.spec)
        return _Grower(job, shard, sink).run()

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

    # -- sort ----------------------------------------------------------------------------------------------------------------

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

    # -- build ---------------------------------------------------------------------------------------------------------------

    def _plan_build(self, job: Job, sorts: Sequence[ShardResult]) -> Iterator[Shard]:
        """Cut the key into runs of cells with about ``chunk_points`` points; a shard says which rows of which spills it takes."""
        most = _settings(job)["chunk_points"]
        inputs = [_Input(result.output) for result in sorts if result.output["count"]]
        if not inputs:
            return
        level = min(_COARSE, _root(inputs[0].output).depth)
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
        root = _root(results["sort"][0].output)
        top = Cell(0, 0)
        return {
            "scheme": "implicit-octree", "refine": "ADD", "root_box": root.box(top, job.frame), "root_error": root.error(top, job.frame),
            "asset_extras": {"attributes": _together(result.output["attributes"] for result in results["sort"])},
        }  # fmt: skip


class _Input:
    """A sorted part, as planning sees it: how many of its rows lie in each coarse cell."""

    def __init__(self, output: Mapping[str, Any]) -> None:
        self.output = output
        cells = np.frombuffer(base64.b64decode(output["cells"]), _CELLS)
        self.prefixes = cells["prefix"].astype(np.uint64)
        self.starts = np.concatenate([[0], np.cumsum(cells["count"], dtype=np.int64)])

    def rows(self, low: int, high: int) -> tuple[int, int]:
        """The rows with prefixes from ``low`` to below ``high``."""
        first, last = np.searchsorted(self.prefixes, np.array([low, high], np.uint64))
        return int(self.starts[first]), int(self.starts[last])


_CELLS = np.dtype([("prefix", "<u4"), ("count", "<u4")])


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


def spill_layout(schemas: Sequence[PointSchema], more: Sequence[str]) -> dict[str, tuple[str, int]]:
    """The columns of the spills: key, position, and each attribute that is wanted and any source has, in its widest type.

    Colour is one column of red, green, blue and 255 in the bytes of an integer, lowest first: it moves as one.
    Raises TilingError ``points.no-attribute`` where no source has one that was asked for.
    """
    layout: dict[str, tuple[str, int]] = {"key": ("<u8", 1), **dict.fromkeys(_AXES, ("<u4", 1))}
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


_WHITE = 0xFFFFFFFF
"""The colour of points from sources without any, beside others that have it; of other attributes such points get 0."""


def _sort(job: Job, spec: Mapping[str, Any]) -> ShardResult:
    """Read, place, sort and spill one part."""
    ref = next(source for source in job.sources if source.key == spec["source"])
    source = cast("PointSource", importers.open_source(ref))
    root, layout = _root(spec), _layout(spec)
    low, high = (np.array(corner) for corner in source.bounds)
    place = local_map(ref.place, job.frame, low, high)
    columns = allocate({k: v for k, v in layout.items() if k != "key"}, spec["count"])
    count = read = 0
    problems: list[tuple[str, Mapping[str, Any]]] = []
    try:
        for batch in source.read(Part(spec["start"], spec["count"]), [k for k in layout if k in source.schema]):
            exact = place
            if _beyond(batch, low, high):  # the header's extent is wrong: the polynomial holds only inside it
                exact = local_map(
                    ref.place,
                    job.frame,
                    np.minimum(low, batch.xyz.min(axis=0)),
                    np.maximum(high, batch.xyz.max(axis=0)),
                )
            kept = _fill(columns, count, batch, exact, job.frame, root)
            read += len(batch)
            count += kept
    except CorruptSource as error:
        problems.append((error.code, {**error.fields, "file": ref.key}))
    if count < read:
        problems.append(("points.outside", {"file": ref.key, "count": read - count}))
    name = _digest(spec) + ".sorted"
    keys = _keys([columns[axis][:count] for axis in _AXES], root)
    order = morton.order(keys)
    keys = keys.take(order)
    Spill(job.scratch / name, count, layout).write(
        {"key": keys, **{k: column[:count].take(order, axis=0) for k, column in columns.items()}}
    )
    coarse = (keys >> np.uint64(3 * max(0, root.depth - _COARSE))).astype(np.uint32)
    firsts = np.flatnonzero(np.diff(coarse, prepend=coarse[:1] + np.uint32(1)))
    cells = np.empty(len(firsts), _CELLS)
    cells["prefix"], cells["count"] = coarse[firsts], np.diff(firsts, append=count)
    output = {
        "scratch": [name], "sources": [ref.key], "count": count, "cells": base64.b64encode(cells.tobytes()).decode("ascii"),
        "root": spec["root"], "layout": spec["layout"], "attributes": _describe({k: c[:count] for k, c in columns.items() if k not in _AXES}),
    }  # fmt: skip
    return ShardResult((), output, {"read": spec["count"], "left_out": spec["count"] - count}, problems)


def _describe(columns: Columns) -> dict[str, Any]:
    """What a viewer offers to colour by: the range of each attribute of one number, and the values of classes."""
    found: dict[str, Any] = {}
    for name, column in columns.items():
        if name == "rgb" or column.ndim > 1 or not len(column):
            found[name] = {}
            continue
        found[name] = {"minimum": column.min().item(), "maximum": column.max().item()}
        if name == "classification":
            found[name]["values"] = np.flatnonzero(np.bincount(column)).tolist()
    return found


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


def _beyond(batch: Points, low: F64, high: F64) -> bool:
    """Whether a batch leaves the box by more than a hundredth of it."""
    margin = (high - low) * 0.01 + 1e-3
    first, last = (np.floor((edge - batch.offset) / batch.scale) for edge in (low - margin, high + margin))
    return any(bool(raw.min() < a or raw.max() > b) for raw, a, b in zip(batch.raw.T, first, last, strict=True))


def _fill(columns: Columns, at: int, batch: Points, place: LocalMap, frame: Frame, root: Root) -> int:
    """Put a batch into the columns from row ``at``, on the lattice; returns how many points lie in the root cube."""
    local = place.from_raw(batch.raw, batch.scale, batch.offset)
    np.multiply(local, 1 / frame.step, out=local)
    np.rint(local, out=local)
    np.subtract(local, np.array(root.origin, np.float64), out=local)
    inside = None
    if not (local.min() >= 0 and local.max() < 2.0**root.bits):
        inside = ((local >= 0) & (local < 2.0**root.bits)).all(axis=1)
        local = local[inside]
    end = at + len(local)
    for axis, values in zip(_AXES, local.T, strict=True):
        columns[axis][at:end] = values
    for name, column in columns.items():
        if name in _AXES:
            continue
        if name not in batch.attributes:
            column[at:end] = _WHITE if name == "rgb" else 0
            continue
        values = batch.attributes[name] if inside is None else batch.attributes[name][inside]
        if name == "rgb":
            rgba = column[at:end].view(np.uint8).reshape(-1, 4)
            for channel in range(3):
                rgba[:, channel] = values[:, channel]
            rgba[:, 3] = 255
        else:
            column[at:end] = values.reshape(column[at:end].shape)
    return len(local)


def _keys(position: Sequence[NDArray[np.uint32]], root: Root) -> NDArray[np.uint64]:
    """Keys of lattice positions, given as one column for each axis."""
    out = np.empty(len(position[0]), np.uint64)
    shift = np.uint32(root.bits - root.depth)
    block = 1 << 14
    for start in range(0, len(out), block):
        out[start : start + block] = morton.keys(
            [column[start : start + block] >> shift for column in position], root.depth
        )
    return out


class _Grower:
    """One shard of build or join: gathers sorted rows, writes the nodes below its cells, spills their candidates."""

    def __init__(self, job: Job, shard: Shard, sink: TileSink) -> None:
        self.job = job
        self.shard = shard
        self.sink = sink
        self.root = _root(shard.spec)
        self.layout = _layout(shard.spec)
        settings = _settings(job)
        self.rules = Octree(self.root.depth, settings["tile_points"])
        self.compression: content.Compression = settings["compression"]
        self.tiles: list[TileEntry] = []
        self.order: NDArray[np.intp] | None = None

    def run(self) -> ShardResult:
        """Do the shard."""
        spec = self.shard.spec
        columns, self.order = _gather(self.job.scratch, spec, self.layout)
        keys = columns["key"]
        fixed = {Cell(level, prefix): bool(grown) for level, prefix, grown in spec["fixed"]}
        candidates: list[NDArray[np.intp]] = []
        cells: list[list[Any]] = []
        for level, prefix in spec["cells"]:
            cell = Cell(level, prefix)
            low, high = np.searchsorted(keys, np.array(cell.keys(self.root.depth), np.uint64)).tolist()
            shown, below = self.rules.split(keys[low:high], cell, fixed)
            grown = fixed.get(cell, False)
            if cell.level == 0:
                self._write(columns, octree.Node(cell, low + shown))
            for node in below:
                self._write(columns, octree.Node(node.cell, low + node.rows))
                grown = True
            candidates.append(low + shown)
            cells.append([level, prefix, len(shown), grown])
        if cells[0][0] == 0:
            return ShardResult(self.tiles, {}, self._counts())
        rows = np.concatenate(candidates)
        name = f"{_digest([self.shard.stage, spec])}.candidates"
        given = self._given(rows)
        Spill(self.job.scratch / name, len(rows), self.layout).write(
            {k: column.take(rows if k == "key" else given, axis=0) for k, column in columns.items()}
        )
        output = {
            "scratch": [name], "sources": spec["sources"], "count": len(rows), "cells": cells, "root": spec["root"], "layout": spec["layout"],
        }  # fmt: skip
        return ShardResult(self.tiles, output, self._counts())

    def _counts(self) -> dict[str, int]:
        return {"points": sum(tile.counts["points"] for tile in self.tiles)}

    def _given(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Rows in key order to rows as they came."""
        return rows if self.order is None else self.order.take(rows)

    def _write(self, columns: Columns, node: octree.Node) -> None:
        """Put a node's tile into the sink; a node without points is a tile without content."""
        cell, frame = node.cell, self.job.frame
        at = morton.cell(cell.prefix, cell.level, self.root.depth)
        ref = None
        if len(node.rows):
            rows = self._given(node.rows)
            x, y = (columns[axis].take(rows) for axis in "xy")
            path = content.path_order(x, y)
            rows = rows.take(path)
            attributes = {k: column.take(rows, axis=0) for k, column in columns.items() if k not in ("key", *_AXES)}
            tile = content.PointTile(
                (x.take(path), y.take(path), columns["z"].take(rows)), self.root.origin, attributes
            )
            ref = self.sink.put(content.encode(tile, frame.step, self.compression), compress=self.compression == "none")
        self.tiles.append(
            TileEntry(
                key=_key(cell.level, at), parent=_key(cell.level - 1, [v >> 1 for v in at]) if cell.level else None,
                box=self.root.box(cell, frame), geometric_error=self.root.error(cell, frame), refine="ADD", content=ref,
                counts={"points": len(node.rows)},
            )
        )  # fmt: skip


_FEW_RUNS = 6
"""So many sorted runs are merged faster than sorted again."""


def _gather(
    scratch: Path, spec: Mapping[str, Any], layout: Mapping[str, tuple[str, int]]
) -> tuple[Columns, NDArray[np.intp] | None]:
    """The rows a shard takes of several spills: their keys in order, all other columns as they came, and the order; ``None`` where they came in it.

    Equal keys keep the order of the files.
    """
    columns = allocate(layout, sum(high - low for _, low, high in spec["rows"]))
    at = 0
    for name, (count, low, high) in zip(spec["scratch"], spec["rows"], strict=True):
        Spill(scratch / name, count, layout).read(low, high, columns, at)
        at += high - low
    files = len(spec["scratch"])
    if files == 1:
        return columns, None
    keys = columns["key"]
    order = np.argsort(keys, kind="stable") if files <= _FEW_RUNS else morton.order(keys)
    columns["key"] = keys.take(order)
    return columns, order


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


def _key(level: int, at: Sequence[int]) -> str:
    return f"oct/{level}/{at[0]}/{at[1]}/{at[2]}"


def _numbers(key: str) -> tuple[int, ...]:
    return tuple(int(part) for part in key.split("/")[1:])


def _root(record: Mapping[str, Any]) -> Root:
    x, y, z, bits = record["root"]
    return Root((x, y, z), bits)


def _layout(spec: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    return {name: (dtype, components) for name, dtype, components in spec["layout"]}


def _settings(job: Job) -> dict[str, Any]:
    settings = {**PointBuilder.defaults, **job.settings}
    if settings["tile_points"] < octree.SMALLEST_MOST:
        raise TilingError("points.tile-too-small", points=settings["tile_points"], least=octree.SMALLEST_MOST)
    return settings


def _digest(value: Any) -> str:
    return hashlib.blake2b(
        json.dumps(value, sort_keys=True, separators=(",", ":")).encode(), digest_size=16
    ).hexdigest()
