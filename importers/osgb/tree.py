"""From scene graphs to a tree of meshes: one node per level-of-detail switch, links between files with their switch distance.

A PagedLOD pairs coarse geometry with the file that replaces it; several of them in one file refine apart, so each becomes a
:class:`MeshNode` of its own. Geometry beside them that nothing replaces is a leaf. In pixel mode a PagedLOD switches when its
bounding sphere covers more pixels than the range, so a pixel then covers ``2 * radius / range`` metres; in distance mode that is
the size of a pixel at the range on the reference screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from importers.osgb.meshes import Look, MeshMaker, Problem, link_target, transformed
from importers.osgb.objects import read_scene
from importers.osgb.scene import DISTANCE, Geometry, Item, Lod, Node
from tim.errors import CorruptSource, SourceError
from tim.geometry import F64, Mesh
from tim.place import Place
from tim.sources import MeshLink, MeshNode, NodeRef

SUFFIX = ".osgb"
REFERENCE_PIXEL = 2 * math.tan(math.radians(30)) / 1080
"""Size of a pixel at distance 1 where a file gives distances: a screen 1080 pixels high that covers 60 degrees."""

Corner = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class OsgbTree:
    """The OSGB files below one folder, as a :class:`tim.sources.MeshTree`."""

    folder: Path
    key: str
    """Source key, for messages."""
    place: Place
    root_files: tuple[str, ...]
    low: Corner
    high: Corner
    only: tuple[str, ...] | None = None
    """The files of the tree where it is not all in the folder."""

    @property
    def bounds(self) -> tuple[Corner, Corner]:
        """Native lower and upper corner of the root files' geometry."""
        return self.low, self.high

    def roots(self) -> list[NodeRef]:
        """The files nobody links to, sorted by path."""
        return [NodeRef(name) for name in self.root_files]

    def files(self) -> list[tuple[NodeRef, int]]:
        """Every file with its size in bytes, sorted by path."""
        names = names_below(self.folder) if self.only is None else self.only
        return [(NodeRef(name), (self.folder / name).stat().st_size) for name in names]

    def load(self, ref: NodeRef) -> list[MeshNode]:
        """The nodes of one file, in file order.

        Raises CorruptSource where the file does not decode, SourceError where it is missing or unreadable.
        """
        path = self.folder / ref.path
        name = f"{self.key}/{ref.path}" if self.key else ref.path
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SourceError("osgb.unreadable", file=name, reason=error.strerror or str(error)) from error
        return nodes_of(data, self.folder, ref.path, name)


def names_below(folder: Path) -> list[str]:
    """The OSGB files at any depth below a folder, relative to it, sorted."""
    return sorted(
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix.lower() == SUFFIX and p.is_file()
    )


def linked_files(folder: Path, roots: Sequence[str]) -> list[str]:
    """The files that can be reached from ``roots`` by links, those included, relative to ``folder``, sorted."""
    found = set(roots)
    queue = list(roots)
    while queue:
        name = queue.pop()
        try:
            targets = [target for target, _ in links_of((folder / name).read_bytes(), folder, name, name)]
        except (CorruptSource, OSError):
            continue
        fresh = {t for t in targets if t not in found and (folder / t).is_file()}
        found |= fresh
        queue += sorted(fresh)
    return sorted(found)


def nodes_of(data: bytes | memoryview, folder: Path, path: str, name: str) -> list[MeshNode]:
    """The nodes of a file's bytes; ``path`` is relative to ``folder``, ``name`` what messages call it. Raises CorruptSource."""
    root = read_scene(data, name)
    builder = _Builder(folder, path, name)
    with np.errstate(all="ignore"):  # garbled numbers are looked for where they matter
        meshes, nodes = builder.content(root, None, Look())
    drafts = [_Draft(meshes), *nodes] if meshes else nodes
    if drafts:
        drafts[0].problems.extend(builder.maker.problems)
    counter = iter(range(1 << 62))
    return [draft.node(path, counter) for draft in drafts]


def links_of(data: bytes | memoryview, folder: Path, path: str, name: str) -> list[tuple[str, float]]:
    """Files that a file's bytes link to, also missing ones, with metres per pixel; no geometry is made. Raises CorruptSource."""
    root = read_scene(data, name)
    found = []
    for lod, _ in _lods(root, np.eye(4)):
        for index, file in enumerate(lod.files):
            target = link_target(folder, path, lod.database_path, file) if file else None
            if target is not None:
                found.append((target, _metres_per_pixel(lod, index, lod.radius)))
    return found


def extent_of(data: bytes | memoryview, name: str) -> tuple[F64, F64] | None:
    """float64[3] lower and upper corner of a file's geometry; ``None`` where it has none. Raises CorruptSource."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for geometry, matrix in _geometries(read_scene(data, name), None):
        stored = None if geometry.vertices is None else geometry.vertices.values
        if stored is None or not len(stored) or stored.ndim != 2 or stored.shape[1] < 3:
            continue
        with np.errstate(all="ignore"):
            positions = transformed(stored[:, :3], matrix)
            low = np.minimum(low, [positions[:, axis].min() for axis in range(3)])
            high = np.maximum(high, [positions[:, axis].max() for axis in range(3)])
    return (low, high) if np.isfinite(low).all() and np.isfinite(high).all() else None


@dataclass(slots=True)
class _Draft:
    """A node before it has its number."""

    meshes: list[Mesh]
    links: list[tuple[str | _Draft, float]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def node(self, file: str, counter: Iterator[int]) -> MeshNode:
        key = f"{file}#{next(counter)}"
        links = tuple(
            MeshLink(NodeRef(target) if isinstance(target, str) else target.node(file, counter), metres)
            for target, metres in self.links
        )
        return MeshNode(key, tuple(self.meshes), links, tuple(self.problems))


class _Builder:
    """Walks one file's scene graph."""

    def __init__(self, folder: Path, path: str, name: str) -> None:
        self.folder = folder
        self.path = path
        self.name = name
        self.maker = MeshMaker(folder, path, name)

    def content(self, item: Item | None, matrix: F64 | None, state: Look) -> tuple[list[Mesh], list[_Draft]]:
        """What an object shows itself, and the nodes below it."""
        if isinstance(item, Geometry):
            mesh = self.maker.mesh(item, matrix, state.below(item.state))
            return ([mesh] if mesh else []), []
        if not isinstance(item, Node):
            return [], []
        state = state.below(item.state)
        if isinstance(item, Lod):
            return self.lod(item, matrix, state)
        if item.matrix is not None:
            matrix = item.matrix if matrix is None else item.matrix @ matrix
        return self.all(item.children, matrix, state)

    def all(self, items: Sequence[Item], matrix: F64 | None, state: Look) -> tuple[list[Mesh], list[_Draft]]:
        meshes: list[Mesh] = []
        nodes: list[_Draft] = []
        for item in items:
            own, below = self.content(item, matrix, state)
            meshes += own
            nodes += below
        return meshes, nodes

    def lod(self, lod: Lod, matrix: F64 | None, state: Look) -> tuple[list[Mesh], list[_Draft]]:
        """Levels from coarse to fine become a chain of nodes; several external files of one level become siblings."""
        levels = _levels(lod)
        if not levels:
            return self.all(lod.children, matrix, state)
        if len(levels) == 1 and not levels[0].files:
            return self.all(levels[0].items, matrix, state)
        coarsest = levels[0] if levels[0].items else _Level(math.inf)
        finer = levels[1:] if levels[0].items else levels
        meshes, nested = self.all(coarsest.items, matrix, state)
        for draft in nested:
            # Something finer replaces all of this level, so its own refinements are never needed.
            meshes += draft.meshes
        radius = _radius(lod, meshes, matrix)
        problems: list[Problem] = [("osgb.level-skipped", {"file": self.name, "child": f}) for f in coarsest.files]
        links: list[tuple[str | _Draft, float]] = []
        for level in reversed(finer):
            metres = _metres_per_pixel(lod, level.index, radius)
            files = [file for file in (self.child(lod, name, problems) for name in level.files) if file is not None]
            own, below = self.all(level.items, matrix, state)
            drafts = [*([_Draft(own)] if own else []), *below]
            if links and drafts and not files:
                # The level between: what is finer hangs below its first node.
                drafts[0].links += links
                links = []
            if links and files:
                problems.append(("osgb.level-skipped", {"file": self.name, "child": files[0]}))
                links = [(target, max(metres, m)) for target, m in links]
                continue
            links += [*((file, metres) for file in files), *((draft, metres) for draft in drafts)]
        return [], [_Draft(meshes, links, problems)]

    def child(self, lod: Lod, file: str, problems: list[Problem]) -> str | None:
        """The child's path where it exists inside the folder; otherwise a problem."""
        target = link_target(self.folder, self.path, lod.database_path, file)
        if target is None:
            problems.append(("osgb.child-outside", {"file": self.name, "child": file}))
        elif not (self.folder / target).is_file():
            problems.append(("osgb.child-missing", {"file": self.name, "child": target}))
            return None
        return target


@dataclass(slots=True)
class _Level:
    """One level of detail of a LOD: the range it starts at, its inline children and its files."""

    coarseness: float
    index: int = 0
    items: list[Item] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


def _levels(lod: Lod) -> list[_Level]:
    """The levels of a LOD, coarsest first."""
    inline = iter(lod.children)
    levels: dict[float, _Level] = {}
    for index, (low, high) in enumerate(lod.ranges):
        file = lod.files[index] if index < len(lod.files) else ""
        item = None if file else next(inline, None)
        if not file and item is None:
            continue
        # In pixel mode the coarse level has the small ranges, in distance mode the large ones.
        coarseness = high if lod.range_mode == DISTANCE else -low
        level = levels.setdefault(coarseness, _Level(coarseness, index))
        if file:
            level.files.append(file)
        elif item is not None:
            level.items.append(item)
    return [levels[c] for c in sorted(levels, reverse=True)]


def _metres_per_pixel(lod: Lod, index: int, radius: float) -> float:
    """What a pixel covers when the child of range ``index`` takes over. Infinite ranges and radii give 0 and infinity, capped."""
    low, high = lod.ranges[index] if index < len(lod.ranges) else (0.0, 0.0)
    metres = (
        high * REFERENCE_PIXEL if lod.range_mode == DISTANCE else 2 * max(radius, 0.0) / low if low > 0 else math.inf
    )
    return min(max(metres, 0.0), 1e6) if not math.isnan(metres) else 0.0


def _radius(lod: Lod, meshes: Sequence[Mesh], matrix: F64 | None) -> float:
    """Radius of the bounding sphere that pixel ranges measure: given, or of the coarse geometry's box."""
    if lod.center_mode != 0 and lod.radius > 0 and math.isfinite(lod.radius):
        return lod.radius if matrix is None else lod.radius * abs(float(np.linalg.det(matrix[:3, :3]))) ** (1 / 3)
    if not meshes:
        return 0.0
    low = np.min([mesh.positions.min(axis=0) for mesh in meshes], axis=0)
    high = np.max([mesh.positions.max(axis=0) for mesh in meshes], axis=0)
    return float(np.linalg.norm(high - low)) / 2


def _lods(item: Item | None, matrix: F64) -> Iterator[tuple[Lod, F64]]:
    if isinstance(item, Lod):
        yield item, matrix
    if isinstance(item, Node):
        below = matrix if item.matrix is None else item.matrix @ matrix
        for child in item.children:
            yield from _lods(child, below)


def _geometries(item: Item | None, matrix: F64 | None) -> Iterator[tuple[Geometry, F64 | None]]:
    if isinstance(item, Geometry):
        yield item, matrix
    elif isinstance(item, Node):
        if item.matrix is not None:
            matrix = item.matrix if matrix is None else item.matrix @ matrix
        for child in item.children:
            yield from _geometries(child, matrix)
