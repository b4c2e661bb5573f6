"""Validation itself: walk the pages and subtrees, check each tile against its parent, hand contents to ``content``."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from tiling.spec import subtree
from tiling.validate import rules, volumes
from tiling.validate.content import BROKEN, Result, Task, check_glb, tolerance
from tiling.validate.files import Files, Folder, Packed, resolve
from tiling.validate.report import Issue, Report
from tiling.validate.volumes import Matrix, Volume
from tim.errors import UsageError
from tim.geometry import F64
from tim.place import Box3, ellipsoid

DEEPEST, HIGHEST = -12_000.0, 100_000.0
"""Ellipsoidal metres within which data on Earth lies."""
RIGID = 1e-6
BATCH = 64
LEGACY = (b"b3dm", b"i3dm", b"pnts", b"cmpt")


def validate(
    target: Path | Files, *, expect: Box3 | None = None, workers: int = 1, progress: Callable[[int], None] | None = None
) -> Report:
    """Check a tileset: a folder, its ``tileset.json``, a ``.3tz`` file, or :class:`Archived` for a dataset of the archive.

    expect: west, south, lowest, east, north, highest (degrees and ellipsoidal metres) within which all contents must lie.
    workers: processes that check contents. progress: called with the number of contents checked so far.
    Raises UsageError where there is nothing to check; whatever is wrong with what is there goes into the report.
    """
    files = _files(target) if isinstance(target, Path) else target
    report = Report(files.name)
    report.add(files.faults())
    walk = Walk(files, report)
    corners = []
    for done, result in enumerate(_check_all(files, walk.tasks(), workers), 1):
        report.add(result.issues)
        report.count(result.counts)
        corners.append(result.corners)
        if progress is not None:
            progress(done)
    report.add(Issue("unreferenced", name) for name in files.unreferenced(walk.used))
    report.extent = _extent(np.concatenate(corners)) if corners else None
    report.add(_expectations(files, walk, report, expect))
    return report


def _files(path: Path) -> Files:
    if path.suffix.lower() == ".3tz" and path.is_file():
        return Packed(path)
    if path.is_file():
        return Folder(path.parent, path.name)
    if (path / "tileset.json").is_file():
        return Folder(path)
    raise UsageError("validate.no-tileset", path=str(path))


@dataclass(frozen=True, slots=True)
class _Parent:
    """What a tile must agree with."""

    volume: Volume | None
    world: Matrix
    error: float


@dataclass(slots=True)
class Walk:
    """The walk over pages and subtrees; issues go straight into the report."""

    files: Files
    report: Report
    used: set[str] = field(default_factory=set)
    """Paths referred to."""
    linked: set[str] = field(default_factory=set)
    """Paths of contents and pages seen, to notice a second reference."""
    root_transform: list[float] | None = None
    tiles: int = 0
    """Tiles that are neither links to pages nor the root of the dataset."""
    _pages: list[tuple[str, _Parent | None]] = field(default_factory=list)

    def tasks(self) -> Iterator[Task]:
        """Walk everything; yields the contents to be checked."""
        self.used.add(self.files.start)
        self._pages.append((self.files.start, None))
        while self._pages:
            path, parent = self._pages.pop()
            try:
                yield from self._page(path, parent)
            except BROKEN as error:  # the rules should have refused it: better a clumsy finding than none
                self._note("page-broken", path, reason=f"{type(error).__name__}: {error}"[:300])

    def _page(self, path: str, parent: _Parent | None) -> Iterator[Task]:
        data, issues = self.files.read(path)
        self.report.add(issues)
        if data is None:
            self._note("missing-file", path, uri=path)
            return
        try:
            document = rules.load(data)
        except ValueError as error:
            self._note("page-broken", path, reason=str(error)[:300])
            return
        if not isinstance(document, dict):
            self._note("page-broken", path, reason="not an object")
            return
        self.report.count({"pages": 1, "bytes": len(data)})
        self._faults(path, "", rules.document_faults(document))
        root = document.get("root")
        if not isinstance(root, dict):
            return
        own, inner = document.get("geometricError"), root.get("geometricError")
        if parent is None:
            if rules.number(own) and rules.number(inner) and own < inner:
                self._note("error-order", path, "/root", error=own, root=inner)
            self._check_root(path, root)
        yield from self._tiles(path, root, parent)

    def _tiles(self, path: str, root: Mapping[str, Any], parent: _Parent | None) -> Iterator[Task]:
        stack: list[tuple[Mapping[str, Any], str, _Parent | None, bool]] = [(root, "/root", parent, True)]
        while stack:
            tile, at, above, first = stack.pop()
            faults = list(rules.tile_faults(tile, root=first))
            self._faults(path, at, faults)
            self.report.count({"tiles": 1})
            if parent is not None or not first:
                self.tiles += 1
            if any(
                code == "wrong-field" and ("transform" in pointer or "olume" in pointer) for code, pointer, _ in faults
            ):
                continue  # nothing below can be placed
            here = self._against(path, at, tile, above)
            if isinstance(tile.get("implicitTiling"), dict):
                if not faults:
                    yield from self._implicit(path, at, tile, here)
                continue
            for content in _contents(tile):
                yield from self._content(path, at, content, here)
            children = tile["children"] if isinstance(tile.get("children"), list) else []
            below = [(c, f"{at}/children/{i}", here, False) for i, c in enumerate(children) if isinstance(c, dict)]
            stack.extend(reversed(below))

    def _against(self, path: str, at: str, tile: Mapping[str, Any], above: _Parent | None) -> _Parent:
        """Compare a tile with its parent."""
        world = np.eye(4) if above is None else above.world
        if "transform" in tile:
            world = world @ np.array(tile["transform"], np.float64).reshape(4, 4).T
        volume = volumes.read(tile["boundingVolume"]) if "boundingVolume" in tile else None
        error = tile.get("geometricError")
        if above is not None:
            if volume is not None and above.volume is not None:
                metres = volumes.outside(above.volume, above.world, volume, world)
                if metres > tolerance(above.volume):
                    self._note("box-outside-parent", path, at, metres=round(metres, 4))
            if rules.number(error) and error > above.error:
                self._note("error-grows", path, at, error=error, parent=above.error)
        fallback = np.inf if above is None else above.error
        return _Parent(volume, world, float(error) if rules.number(error) else fallback)

    def _content(self, path: str, at: str, content: Mapping[str, Any], here: _Parent) -> Iterator[Task]:
        target, code = resolve(path, content["uri"])
        if code:
            self._note(code, path, at, uri=content["uri"])
            return
        self.used.add(target)
        if target in self.linked or target == self.files.start:
            self._note("duplicate-uri", path, at, uri=content["uri"])
            if target.endswith(".json"):
                return  # walked already, or a circle
        self.linked.add(target)
        if target.endswith(".json"):
            self._pages.append((target, here))
            self.tiles -= 1
            return
        volume = here.volume
        if isinstance(content.get("boundingVolume"), dict):
            volume = volumes.read(content["boundingVolume"])
            if volume is not None and here.volume is not None:
                metres = volumes.outside(here.volume, here.world, volume, here.world)
                if metres > tolerance(here.volume):
                    self._note("box-outside-parent", path, f"{at}/content", metres=round(metres, 4))
        yield Task(target, at, volume, here.world)

    def _implicit(self, path: str, at: str, tile: Mapping[str, Any], here: _Parent) -> Iterator[Task]:
        implicit = tile["implicitTiling"]
        octree, levels, available = (
            implicit["subdivisionScheme"] == "OCTREE",
            implicit["subtreeLevels"],
            implicit["availableLevels"],
        )
        names = [content["uri"] for content in _contents(tile)]
        stack: list[tuple[tuple[int, ...], Volume | None]] = [((0, 0, 0, 0), here.volume)]
        while stack:
            address, volume = stack.pop()
            template = implicit["subtrees"]["uri"]
            found = self._subtree(path, at, _fill(template, address), address, levels, 8 if octree else 4)
            if found is None:
                continue
            self._faults(
                path,
                _address(address, octree),
                _subtree_faults(found, address[0], levels, available, 8 if octree else 4),
            )
            boxes: dict[tuple[int, ...], Volume | None] = {address: volume}
            start = 0
            for depth in range(levels + 1):
                size = (8 if octree else 4) ** depth
                bits = found.children if depth == levels else found.tiles[start : start + size]
                below: dict[tuple[int, ...], Volume | None] = {}
                for local in np.flatnonzero(bits).tolist():
                    there = _descend(address, depth, local, octree)
                    box = boxes.get(there) if depth == 0 else _part(boxes.get(_parent(there)), there, octree)
                    below[there] = box
                    if depth == levels:
                        if there[0] < available:
                            stack.append((there, box))
                        continue
                    self.report.count({"tiles": 1})
                    if found.contents[start + local]:
                        for name in names:
                            parent = _Parent(box, here.world, here.error)
                            yield from self._content(path, _address(there, octree), {"uri": _fill(name, there)}, parent)
                boxes = below
                start += size

    def _subtree(
        self, path: str, at: str, uri: str, address: tuple[int, ...], levels: int, branching: int
    ) -> subtree.Subtree | None:
        target, code = resolve(path, uri)
        if code:
            self._note(code, path, at, uri=uri)
            return None
        self.used.add(target)
        if target in self.linked:
            self._note("duplicate-uri", path, _address(address, branching == 8), uri=uri)
            return None
        self.linked.add(target)
        data, issues = self.files.read(target)
        self.report.add(issues)
        if data is None:
            self._note("missing-file", path, _address(address, branching == 8), uri=uri)
            return None
        self.report.count({"subtrees": 1, "bytes": len(data)})
        try:
            return subtree.decode(data, levels, branching)
        except BROKEN as error:
            self._note("subtree-broken", target, _address(address, branching == 8), reason=str(error)[:300])
            return None

    def _check_root(self, path: str, root: Mapping[str, Any]) -> None:
        """Whether the dataset lies on Earth, and its transform moves without deforming."""
        if any(True for _ in rules.tile_faults(root, root=True)):
            return
        self.root_transform = root.get("transform")
        world = np.eye(4) if self.root_transform is None else np.array(self.root_transform, np.float64).reshape(4, 4).T
        turn = world[:3, :3]
        if np.abs(turn @ turn.T - np.eye(3)).max() > RIGID or np.linalg.det(turn) < 0:
            self._note("transform-scales", path, "/root")
        volume = volumes.read(root["boundingVolume"])
        if volume is None or isinstance(volume, volumes.Region):
            return
        center = volumes.transform(world, volume.center[None])
        height = float(ellipsoid.to_geographic(center)[0, 2]) if np.linalg.norm(center) > 1e5 else -ellipsoid.A
        # A box around a curved piece of the Earth may have its centre below the ground.
        if not DEEPEST - volume.size**2 / ellipsoid.A - volume.size <= height <= HIGHEST + volume.size:
            self._note("not-on-earth", path, "/root", height=round(height))

    def _faults(self, path: str, at: str, faults: Iterable[rules.Fault]) -> None:
        self.report.add(Issue(code, path, at + pointer, fields) for code, pointer, fields in faults)

    def _note(self, code: str, path: str, at: str = "", **fields: Any) -> None:
        self.report.add([Issue(code, path, at, fields)])


def _contents(tile: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    several = tile.get("contents", ())
    items = [tile.get("content"), *(several if isinstance(several, list) else ())]
    return [c for c in items if isinstance(c, dict) and isinstance(c.get("uri"), str) and c["uri"]]


def _subtree_faults(
    found: subtree.Subtree, top: int, levels: int, available: int, branching: int
) -> Iterator[rules.Fault]:
    """Tiles need their parents, contents their tiles, child subtrees the tile above; none below ``available`` levels."""
    if not found.tiles[0]:
        yield "subtree-broken", "", {"reason": "the root tile is not available"}
    if (found.contents & ~found.tiles).any():
        yield "subtree-broken", "", {"reason": "content without tile"}
    start = 0
    for depth in range(levels):
        size = branching**depth
        bits = found.tiles[start : start + size]
        deeper = found.children if depth == levels - 1 else found.tiles[start + size : start + size + size * branching]
        if (deeper.reshape(size, branching).any(axis=1) & ~bits).any():
            yield "subtree-broken", "", {"reason": f"tile without parent at level {top + depth + 1}"}
        if bits.any() and top + depth >= available:
            yield "subtree-broken", "", {"reason": f"tile at level {top + depth}, availableLevels is {available}"}
        start += size


def _descend(address: tuple[int, ...], depth: int, local: int, octree: bool) -> tuple[int, ...]:
    """The tile ``depth`` levels below ``address`` with Morton index ``local``."""
    level, *place = address
    step = 3 if octree else 2
    inner = [sum((local >> step * bit + axis & 1) << bit for bit in range(depth)) for axis in range(step)]
    return (level + depth, *((p << depth) + i for p, i in zip(place, [*inner, 0], strict=False)))


def _parent(address: tuple[int, ...]) -> tuple[int, ...]:
    return (address[0] - 1, *(v >> 1 for v in address[1:]))


def _part(volume: Volume | None, address: tuple[int, ...], octree: bool) -> Volume | None:
    if volume is None or isinstance(volume, volumes.Sphere):
        return None
    x, y, z = (v & 1 for v in address[1:])
    return volume.child(x, y, z if octree else None)


def _fill(template: str, address: tuple[int, ...]) -> str:
    for name, value in zip(("level", "x", "y", "z"), address, strict=True):
        template = template.replace("{" + name + "}", str(value))
    return template


def _address(address: tuple[int, ...], octree: bool) -> str:
    return "/".join(str(v) for v in (address if octree else address[:3]))


def _check_all(files: Files, tasks: Iterator[Task], workers: int) -> Iterator[Result]:
    if workers <= 1:
        yield from (check(files, task) for task in tasks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        # Bounded: the walk runs on only as fast as contents are checked.
        waiting = [
            pool.submit(_check_batch, files, batch) for _ in range(2 * workers) if (batch := list(islice(tasks, BATCH)))
        ]
        while waiting:
            yield from waiting.pop(0).result()
            if batch := list(islice(tasks, BATCH)):
                waiting.append(pool.submit(_check_batch, files, batch))


def _check_batch(files: Files, tasks: list[Task]) -> list[Result]:
    return [check(files, task) for task in tasks]


def check(files: Files, task: Task) -> Result:
    """Check one content of any kind."""
    data, issues = files.read(task.path)
    if data is None:
        return Result([*issues, Issue("missing-file", task.path, task.tile, {"uri": task.path})])
    if data[:4] == b"glTF":
        result = check_glb(data, task)
    elif data[:4] in LEGACY:
        result = Result([Issue("legacy-content", task.path, task.tile, {"kind": data[:4].decode()})])
        if len(data) < 12 or struct.unpack_from("<2I", data, 4) != (1, len(data)):
            result.issues.append(Issue("content-broken", task.path, task.tile, {"kind": data[:4].decode()}))
    else:
        result = Result([Issue("content-kind", task.path, task.tile)])
    result.issues[:0] = issues
    result.counts.update({"contents": 1, "bytes": len(data)})
    return result


def _extent(corners: F64) -> tuple[float, ...] | None:
    if not len(corners):
        return None
    lon, lat, height = ellipsoid.to_geographic(corners).T
    west, east = float(lon.min()), float(lon.max())
    if east - west > 180:  # around the antimeridian
        west, east = float(lon[lon > 0].min()), float(lon[lon <= 0].max())
    return west, float(lat.min()), float(height.min()), east, float(lat.max()), float(height.max())


def _expectations(files: Files, walk: Walk, report: Report, expect: Box3 | None) -> Iterator[Issue]:
    promise = files.promise
    if promise is not None:
        if walk.root_transform is None or tuple(float(v) for v in walk.root_transform) != promise.transform:
            yield Issue("transform-differs", files.start, "/root")
        found = {**report.counts, "tiles": walk.tiles}
        promised = {**promise.counts, **({} if promise.tiles is None else {"tiles": promise.tiles})}
        for name in ("tiles", "points", "vertices", "triangles"):
            if name in promised and promised[name] != found.get(name, 0):
                yield Issue(
                    "counts-differ",
                    files.start,
                    "",
                    {"name": name, "found": found.get(name, 0), "expected": promised[name]},
                )
    if expect is not None and report.extent is not None:
        low, high, slack = report.extent[:3], report.extent[3:], (1e-7, 1e-7, 0.01)
        if any(a < e - s for a, e, s in zip(low, expect[:3], slack, strict=True)) or any(
            a > e + s for a, e, s in zip(high, expect[3:], slack, strict=True)
        ):
            yield Issue(
                "outside-expected",
                files.start,
                "",
                {"extent": [round(v, 7) for v in report.extent], "expected": list(expect)},
            )
