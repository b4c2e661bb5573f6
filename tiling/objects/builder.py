"""The lane of objects: leaves that show everything in full, and above them tiles that show the largest from afar.

Who is in which leaf is decided when the work is planned, from columns of the store (:mod:`tiling.objects.layout`); a shard's spec carries
the versions and a digest of what they say, so a leaf in which nothing changed is not built again. Refined by replacement.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tiling.builder import Job, ObjectsRef, Shard, ShardResult, TileEntry, TileSink
from tiling.objects.content import encode, proxies
from tiling.objects.drawing import Found, Reader, columns_of, opened
from tiling.objects.drawn import Column, Content, Drawn
from tiling.objects.layout import DEPTH, I64, Cell, Leaf, Objects, Splits, place, settle
from tiling.objects.memory import Memory, Notes
from tiling.spec.boxes import box_around, corners
from tim.classes import shipped
from tim.errors import TilingError
from tim.geometry import F64
from tim.model import Dataset
from tim.store import AsOf
from tim.workspace import Workspace

PROXIES = 256
"""Objects that a tile shows from afar; those beyond are the smallest and count by their size."""
CROWD = 1024
"""A cell with fewer objects below needs no tile of its own: its leaves are few enough for the tile above."""
INSIDE = ("building.element.equipment", "building.room", "building.storey", "building.unit")
"""Classes of what stands within something else: from afar shown last, and not missed."""
_SHARD = 4096
"""Objects in a shard: about a second of work."""
_COARSE = 8
"""Tiles of proxies in a shard."""
_LEAST = 1 / 64
"""An object is shown in full at the latest when a prism of it would span so many times the tile's error: prisms have no textures."""

_TOGETHER = 1 << 19
"""Bytes of geometry that are drawn at once: enough for some dozen tiles of plain houses, and little enough for a processor's cache."""

Problem = tuple[str, Mapping[str, Any]]
_Spec = tuple[Mapping[str, Any], list[Found]]
"""What a tile is, and its objects."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """The layout of one job."""

    objects: Objects
    splits: Splits
    leaves: Sequence[Leaf]
    without: int
    columns: Sequence[Column]


@dataclass(slots=True)
class ObjectBuilder:
    """Objects of the store to tiles with identity; see :class:`tiling.builder.Builder`."""

    version: ClassVar[int] = 1
    stages: ClassVar[tuple[str, ...]] = ("leaves", "proxies")
    defaults: ClassVar[Mapping[str, Any]] = {"attributes": (), "lod": ""}
    """Names of attributes that tiles carry; the level of detail to draw where an object has it, its highest where empty."""
    _planned: tuple[ObjectsRef, str, _Plan] | None = field(default=None, init=False)

    def plan(self, job: Job, stage: str, done: Mapping[str, Sequence[ShardResult]]) -> Iterator[Shard]:  # noqa: ARG002
        """Leaves by neighbourhood, some thousand objects to a shard; then the tiles above them."""
        plan = self._plan(job)
        if not len(plan.objects):
            raise TilingError("objects.nothing", dataset=job.dataset)
        common = {"sources": [], "columns": [[c.name, c.type] for c in plan.columns], **_restyled(job, plan.objects)}
        tiles = _leaf_specs(plan) if stage == "leaves" else _proxy_specs(plan)
        for specs, cost in _runs(tiles, stage):
            yield Shard(stage, specs[0]["key"], {**common, "tiles": specs}, cost=cost)

    def build(self, job: Job, shard: Shard, sink: TileSink) -> ShardResult:
        """Draw the tiles of a shard."""
        columns = [Column(name, kind) for name, kind in shard.spec["columns"]]
        reader = Reader(_objects(job))
        wanted = {spec["key"]: unpack(spec["versions"]) for spec in shard.spec["tiles"]}
        every = list(dict.fromkeys(v for versions in wanted.values() for v in versions))
        found = reader.find(every, str(job.settings.get("lod", "")))
        specs = [(spec, [found[v] for v in wanted[spec["key"]] if v in found]) for spec in shard.spec["tiles"]]
        draw = draw_leaves if shard.stage == "leaves" else draw_proxies
        tiles, problems = draw(specs, job, reader, columns, sink)
        counts = {
            name: sum(tile.counts.get(name, 0) for tile in tiles) for name in ("features", "vertices", "triangles")
        }
        return ShardResult(tiles, {"keys": list(wanted)}, counts if shard.stage == "leaves" else {}, problems)

    def finish(self, job: Job, results: Mapping[str, Sequence[ShardResult]]) -> Iterable[TileEntry]:
        """All tiles; a cell with one tile below is passed over, boxes and errors grow upwards."""
        plan = self._plan(job)
        leaves = {tile.key: tile for result in results["leaves"] for tile in result.tiles if tile.content is not None}
        coarse = {tile.key: tile for result in results["proxies"] for tile in result.tiles}
        if not leaves:
            raise TilingError("objects.nothing-drawn", dataset=job.dataset, count=len(plan.objects))
        return assemble({leaf.key: leaf.cell for leaf in plan.leaves}, leaves, coarse)

    def tileset(self, job: Job, results: Mapping[str, Sequence[ShardResult]]) -> Mapping[str, Any]:  # noqa: ARG002
        """Attributes the features carry; the layout is remembered from here on."""
        plan, objects = self._plan(job), _objects(job)
        columns = [[c.name, c.type] for c in plan.columns]
        notes = Notes(objects.seq, {name: job.settings[name] for name in self.defaults}, columns)
        Memory(objects.workspace / "jobs" / job.dataset).replace(plan.splits, plan.leaves, plan.objects, notes)
        self._planned = None
        carried = [{"name": name} for name in ("tim_id", "class", "name", *(c.name for c in plan.columns))]
        return {
            "asset_extras": {"attributes": carried},
            "counts": {"without_geometry": plan.without} if plan.without else {},
        }

    def _plan(self, job: Job) -> _Plan:
        """The layout, made once for all stages of a run."""
        objects = _objects(job)
        if self._planned is None or self._planned[:2] != (objects, job.dataset):
            store = opened(str(objects.workspace))
            outline = store.outline(job.dataset, AsOf(objects.valid, objects.seq), objects.scenario)
            placed, without = place(outline, job.frame)
            known = Memory(objects.workspace / "jobs" / job.dataset).splits()
            splits, leaves = settle(placed, known)
            columns = columns_of(store, job.dataset, objects, list(job.settings.get("attributes", ())))
            self._planned = (objects, job.dataset, _Plan(placed, splits, leaves, without, columns))
        return self._planned[2]


def notes_hold(notes: Notes, dataset: Dataset) -> bool:
    """Whether tiles made like this are what the dataset's own settings ask for."""
    wanted = {name: dataset.settings.get(name, default) for name, default in ObjectBuilder.defaults.items()}
    return json.dumps(wanted, sort_keys=True) == json.dumps(dict(notes.settings), sort_keys=True)


def draw_leaves(
    specs: Iterable[_Spec], job: Job, reader: Reader, columns: Sequence[Column], sink: TileSink
) -> tuple[list[TileEntry], list[Problem]]:
    """Tiles that show their objects in full, their parents not yet known, some drawn together. One with very much geometry becomes several,
    of which all but the first have the key with ``#1``, ``#2``, …"""
    tiles: list[TileEntry] = []
    problems: list[Problem] = []
    waiting: list[tuple[str, list[Drawn]]] = []
    bytes_ = 0

    def flush() -> None:
        contents = encode([drawn for _, drawn in waiting], job.frame, reader.blob, columns)
        for (key, _), content in zip(waiting, contents, strict=True):
            tile = _tile(key, content, 0.0, sink)
            tiles.append(replace(tile, counts={**tile.counts, "objects": content.counts["features"]}))
            problems.extend(content.problems)

    names = [column.name for column in columns]
    for spec, found in specs:
        for number, (drawn, weight) in enumerate(reader.portions(found, names)):
            if waiting and bytes_ + weight > _TOGETHER:
                flush()
                waiting, bytes_ = [], 0
            waiting.append((f"{spec['key']}#{number}" if number else spec["key"], drawn))
            bytes_ += weight
    if waiting:
        flush()
    return tiles, problems


def draw_proxies(
    specs: Iterable[_Spec], job: Job, reader: Reader, columns: Sequence[Column], sink: TileSink
) -> tuple[list[TileEntry], list[Problem]]:
    """Tiles that show their objects from afar, their parents not yet known. What cannot be read is not in the leaves either."""
    names = [column.name for column in columns]
    tiles = []
    for spec, found in specs:
        known = max(float(spec["dropped"]), float(spec["largest"]) * _LEAST)
        portions = (drawn for drawn, _ in reader.portions(found, names))
        content = proxies(portions, job.frame, columns, reader.blob, enough=known)
        shown = float(content.deviations.max(initial=0.0, where=np.isfinite(content.deviations)))
        tiles.append(_tile(spec["key"], content, max(shown, known), sink))
    return tiles, []


def _tile(key: str, content: Content, error: float, sink: TileSink) -> TileEntry:
    ref = sink.put(content.chunks, compress=True) if content.chunks else None
    counts = {name: content.counts[name] for name in ("vertices", "triangles")}
    return TileEntry(key, None, box_around(content.low, content.high), error, "REPLACE", ref, counts)


def assemble(
    cells: Mapping[str, Cell], leaves: Mapping[str, TileEntry], coarse: Mapping[str, TileEntry]
) -> list[TileEntry]:
    """The tree over leaves that show something: parents before children."""
    below: dict[Cell, list[str]] = {}
    for key in leaves:
        below.setdefault(cells[key.partition("#")[0]], []).append(key)
    inner = {_cell(key): tile for key, tile in coarse.items()}
    children: dict[str, list[str]] = {}
    tops: dict[Cell, list[str]] = {cell: sorted(keys) for cell, keys in below.items()}
    for z in range(max((cell.z for cell in tops), default=0), -1, -1):
        for cell in sorted(c for c in tops if c.z == z):
            found = tops[cell]
            tile = inner.get(cell)
            if tile is not None and len(found) > 1:
                children[tile.key] = found
                found = [tile.key]
            if z:
                tops.setdefault(cell.parent, []).extend(found)
            else:
                tops[cell] = found
    out: list[TileEntry] = []
    every = {**coarse, **leaves}

    def settle_down(key: str) -> tuple[F64, F64, float]:
        tile = every[key]
        low, high = corners(tile.box) if tile.content is not None else (np.full(3, np.inf), np.full(3, -np.inf))
        error = tile.geometric_error
        for child in children.get(key, ()):
            child_low, child_high, child_error = settle_down(child)
            low, high, error = np.minimum(low, child_low), np.maximum(high, child_high), max(error, child_error)
        settled[key] = (low, high, error)
        return settled[key]

    settled: dict[str, tuple[F64, F64, float]] = {}
    stack: list[tuple[str, str | None]] = []
    for top in reversed(next(tops[cell] for cell in tops if cell.z == 0)):
        settle_down(top)
        stack.append((top, None))
    while stack:
        key, parent = stack.pop()
        low, high, error = settled[key]
        error = error if key in children else 0.0
        out.append(replace(every[key], parent=parent, box=box_around(low, high), geometric_error=error))
        stack += [(child, key) for child in reversed(children.get(key, ()))]
    return out


def pack(versions: I64) -> str:
    """int64[n] as text."""
    return b64encode(versions.astype("<i8").tobytes()).decode()


def unpack(text: str) -> list[int]:
    """The versions of :func:`pack`."""
    versions: list[int] = np.frombuffer(b64decode(text), "<i8").tolist()
    return versions


def _leaf_specs(plan: _Plan) -> Iterator[tuple[dict[str, Any], int]]:
    for leaf in sorted(plan.leaves, key=lambda leaf: (_morton(leaf.cell), leaf.key)):
        yield (
            {
                "key": leaf.key,
                "versions": pack(plan.objects.versions[leaf.members]),
                "digest": _digest(plan.objects, leaf.members),
            },
            len(leaf.members),
        )


def _proxy_specs(plan: _Plan) -> Iterator[tuple[dict[str, Any], int]]:
    """A tile for every split cell, the largest objects below it in it. Of each cell only those can be in the tiles above that are in its own."""
    objects = plan.objects
    names = np.array([any(name == i or name.startswith(f"{i}.") for i in INSIDE) for name in (*objects.class_ids, "")])
    inside = names[objects.classes]
    rank = np.empty(len(objects), np.int64)
    rank[np.lexsort((-objects.size, inside))] = np.arange(len(objects))
    found: dict[Cell, _Below] = {}
    for leaf in plan.leaves:
        found.setdefault(leaf.cell, _Below()).add(leaf.key, leaf.members, len(leaf.members))
    specs: dict[Cell, tuple[dict[str, Any], int]] = {}
    for z in range(DEPTH, -1, -1):
        for cell in [cell for cell in found if cell.z == z]:
            below = found[cell]
            rows = np.concatenate(below.rows)
            rows = rows[np.argsort(rank[rows])[: PROXIES + 1]]
            if cell in plan.splits.cells and len(below.parts) > 1 and below.count >= CROWD:
                specs[cell] = _proxy_spec(objects, cell, rows, inside)
            if z:
                found.setdefault(cell.parent, _Below()).add(cell.key, rows, below.count)
    return (specs[cell] for cell in sorted(specs, key=lambda c: (_morton(c), c.z)))


@dataclass(slots=True)
class _Below:
    """What is below a cell."""

    rows: list[I64] = field(default_factory=list)
    """Of each part those that may be shown, or are the largest that is not."""
    parts: set[str] = field(default_factory=set)
    count: int = 0

    def add(self, part: str, rows: I64, count: int) -> None:
        self.rows.append(rows)
        self.parts.add(part)
        self.count += count


def _proxy_spec(objects: Objects, cell: Cell, rows: I64, inside: NDArray[np.bool_]) -> tuple[dict[str, Any], int]:
    """rows: those to be shown, and the next that would be."""
    chosen, dropped = np.sort(rows[:PROXIES]), rows[PROXIES:]
    if not inside[chosen].all():
        dropped = dropped[~inside[dropped]]
    return {
        "key": cell.key, "versions": pack(objects.versions[chosen]), "digest": _digest(objects, chosen),
        "dropped": float(objects.size[dropped].max(initial=0.0)), "largest": float(objects.size[chosen].max(initial=0.0)),
    }, len(chosen)  # fmt: skip


def _runs(tiles: Iterator[tuple[dict[str, Any], int]], stage: str) -> Iterator[tuple[list[dict[str, Any]], float]]:
    run: list[dict[str, Any]] = []
    total = 0
    for spec, size in tiles:
        if run and (total + size > _SHARD or (stage == "proxies" and len(run) >= _COARSE)):
            yield run, float(total)
            run, total = [], 0
        run.append(spec)
        total += size
    if run:
        yield run, float(total)


def _digest(objects: Objects, members: I64) -> str:
    digest = blake2b(digest_size=16)
    digest.update(np.ascontiguousarray(objects.ids[members]).tobytes())
    digest.update(np.ascontiguousarray(objects.digests[members]).tobytes())
    return digest.hexdigest()


def _morton(cell: Cell) -> int:
    """Where a cell begins along the Z-order curve at full depth: neighbours come together."""
    down = DEPTH - cell.z
    x, y, out = cell.x << down, cell.y << down, 0
    for bit in range(DEPTH):
        out |= (x >> bit & 1) << 2 * bit | (y >> bit & 1) << 2 * bit + 1
    return out


def _cell(key: str) -> Cell:
    _, z, x, y = key.split("/")
    return Cell(int(z), int(x), int(y))


def _restyled(job: Job, objects: Objects) -> dict[str, Any]:
    """The looks that the workspace gives to classes of these objects, so that tiles with others are built anew; nothing where it gives none."""
    own, usual = Workspace.open(_objects(job).workspace).classes(), shipped()
    used = [objects.class_ids[i] for i in np.unique(objects.classes).tolist()]
    found = {class_id: own.rgba(class_id) for class_id in used if own.rgba(class_id) != usual.rgba(class_id)}
    return {"looks": found} if found else {}


def _objects(job: Job) -> ObjectsRef:
    if job.objects is None:
        raise TilingError("objects.nothing", dataset=job.dataset)
    return job.objects
