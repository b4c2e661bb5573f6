"""The mesh lane: every file of every tree is read once, each of its nodes becomes a tile; the tree is tied together at the end.

A shard is a run of files of one source. It needs to know nothing about the tree: which file refines which node is found when the
linking file is read, and travels as names to :meth:`MeshBuilder.finish`, where parents, boxes and errors are settled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from importers import open_source
from tiling.builder import Job, Shard, ShardResult, TileEntry, TileSink
from tiling.meshes.assemble import Assembly
from tiling.meshes.content import encode, extent
from tiling.meshes.quadtree import above
from tiling.spec.boxes import box_around
from tim.errors import PlaceError, SourceError, TilingError
from tim.geometry import F64
from tim.place import Frame, LocalMap, Place, local_map
from tim.sources import MeshNode, MeshTree, NodeRef, SourceRef

PIXELS_PER_SCREEN_ERROR = 16.0
"""A viewer at the usual maximum screen-space error of 16 refines when the geometric error covers 16 pixels."""

Problem = tuple[str, Mapping[str, Any]]


class MeshBuilder:
    """Textured mesh trees (:class:`tim.sources.MeshTree`) to tiles, refined by replacement; see :class:`tiling.builder.Builder`."""

    version: ClassVar[int] = 1
    stages: ClassVar[tuple[str, ...]] = ("build",)
    defaults: ClassVar[Mapping[str, Any]] = {"shard_bytes": 48 << 20, "quadtree_from": 64}
    """Source bytes per shard; number of top tiles from which a quadtree of empty tiles is put above them."""

    def plan(self, job: Job, stage: str, done: Mapping[str, Sequence[ShardResult]]) -> Iterator[Shard]:  # noqa: ARG002
        """Runs of files of each source, about ``shard_bytes`` together."""
        limit = int({**self.defaults, **job.settings}["shard_bytes"])
        for ref in job.sources:
            for number, run in enumerate(_runs(_tree(ref).files(), limit)):
                spec = {"source": ref.key, "files": [[file.path, size] for file, size in run]}
                yield Shard(stage, f"{ref.key}/{number}", spec, cost=float(sum(size for _, size in run)))

    def build(self, job: Job, shard: Shard, sink: TileSink) -> ShardResult:
        """Read the shard's files and write a content per node. A broken file is a problem, not the end."""
        ref = next(source for source in job.sources if source.key == shard.spec["source"])
        tree = _tree(ref)
        placing = _Placing(ref.place, job.frame, tree)
        tiles: list[TileEntry] = []
        files: dict[str, list[str]] = {}
        links: dict[str, list[str]] = {}
        problems: list[Problem] = []
        for path, _ in shard.spec["files"]:
            found = _File(f"{ref.format}/{ref.key}", placing, sink)
            try:
                for node in tree.load(NodeRef(path)):
                    found.add(node)
            except (SourceError, PlaceError, TilingError) as error:
                problems.append((error.code, {"file": f"{ref.key}/{path}", **error.fields}))
                continue
            tiles += found.tiles
            files[path] = [tile.key for tile in found.tiles if tile.parent is None]
            links.update(found.links)
            problems += found.problems
        counts = {"vertices": 0, "triangles": 0, "tiles": len(tiles), "files": len(files)}
        for tile in tiles:
            for name, number in tile.counts.items():
                counts[name] += number
        return ShardResult(tiles, {"source": ref.key, "files": files, "links": links}, counts, problems)

    def finish(self, job: Job, results: Mapping[str, Sequence[ShardResult]]) -> Iterable[TileEntry]:
        """All tiles, parents before children: links resolved, boxes and errors growing upwards, a quadtree above many roots."""
        settings = {**self.defaults, **job.settings}
        by_source: dict[str, list[ShardResult]] = {}
        for result in results["build"]:
            by_source.setdefault(result.output["source"], []).append(result)
        tiles: list[TileEntry] = []
        for ref in job.sources:
            assembly = Assembly([root.path for root in _tree(ref).roots()], by_source.get(ref.key, []))
            tiles += assembly.tiles()
        return above(tiles, int(settings["quadtree_from"]))

    def tileset(self, job: Job, results: Mapping[str, Sequence[ShardResult]]) -> Mapping[str, Any]:  # noqa: ARG002
        """Explicit pages, refined by replacement: what a tileset is unless something else is said."""
        return {}


class _Placing:
    """The maps of one source: one for the box of all its tiles, an own one for a tile that leaves it."""

    def __init__(self, place: Place, frame: Frame, tree: MeshTree) -> None:
        self.place = place
        self.frame = frame
        low, high = tree.bounds
        self.low, self.high = np.array(low), np.array(high)
        self.shared = local_map(place, frame, self.low, self.high)

    def around(self, low: F64, high: F64) -> LocalMap:
        """The map for native coordinates within a box."""
        if (low >= self.low).all() and (high <= self.high).all():
            return self.shared
        return local_map(self.place, self.frame, low, high)


class _File:
    """The tiles of one file, kept only once all of it is done."""

    def __init__(self, prefix: str, placing: _Placing, sink: TileSink) -> None:
        self.prefix = prefix
        self.placing = placing
        self.sink = sink
        self.tiles: list[TileEntry] = []
        self.links: dict[str, list[str]] = {}
        self.problems: list[Problem] = []

    def add(self, node: MeshNode, parent: str | None = None) -> None:
        """The tile of a node, then those of the nodes that refine it in the same file; files that do are noted as links."""
        key = f"{self.prefix}/{node.key}"
        self.problems.extend(node.problems)
        content, low, high = None, np.zeros(3), np.zeros(3)
        counts: dict[str, int] = {}
        if node.meshes:
            native = extent([mesh.positions for mesh in node.meshes])
            made = encode(node.meshes, self.placing.around(*native), self.placing.frame)
            content, low, high = self.sink.put(made.chunks), made.low, made.high
            counts = {"vertices": made.vertices, "triangles": made.triangles}
        error = PIXELS_PER_SCREEN_ERROR * max((link.metres_per_pixel for link in node.children), default=0.0)
        self.tiles.append(TileEntry(key, parent, box_around(low, high), error, "REPLACE", content, counts))
        if files := [link.target.path for link in node.children if isinstance(link.target, NodeRef)]:
            self.links[key] = files
        for link in node.children:
            if isinstance(link.target, MeshNode):
                self.add(link.target, key)


def _tree(ref: SourceRef) -> MeshTree:
    source = open_source(ref)
    if not isinstance(source, MeshTree):
        raise SourceError("meshes.not-a-tree", source=ref.key, format=ref.format)
    return source


def _runs(files: Sequence[tuple[NodeRef, int]], limit: int) -> Iterator[list[tuple[NodeRef, int]]]:
    run: list[tuple[NodeRef, int]] = []
    total = 0
    for file, size in files:
        if run and total + size > limit:
            yield run
            run, total = [], 0
        run.append((file, size))
        total += size
    if run:
        yield run
