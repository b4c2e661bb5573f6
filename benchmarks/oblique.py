"""OSGB to tiles: speed, placing error, bytes for a view, memory, errors.

``osgb_mb_per_cpu_s``: megabytes (10^6) of OSGB through probe, placing, tiling in two spawned workers, packs and publishing, per CPU-second of all
processes, their start included. The input is the real production, its blocks copied under other names to at least 300 MB.

``vertex_error_mm``: the largest distance between vertices decoded from finished tiles and the same vertices placed by pyproj alone.

``view_bytes_ratio``: for a camera 3000, 1000, 300 and 150 m above the production, on a screen of 1080 pixels and 60 degrees: source bytes
(vertices, triangles, texture coordinates, images) of the nodes a 3D Tiles viewer loads at a maximum screen-space error of 16, by the distance
to a tile's box, divided by those OpenSceneGraph loads by the file's own pixel ranges, by the distance to a node's centre. The value is the one
furthest from 1. ``view_bytes_ratio_oblique`` is the same seen from beside at 45 degrees (all four views together), where the near side of a
box is nearer than the centre and tiles refine earlier. Encoded bytes are a matter of their own: ``tile_bytes_ratio`` compares all tiles to all files.

No peer can run here: those that read OSGB are built on OpenSceneGraph in C++ (fanvanzh/3dtiles, Cesium3DTilesConverter) and are in no package registry.
"""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import CRS, Transformer

from benchmarks import _report
from importers import ImportContext, open_source, osgb
from importers.osgb.objects import read_scene
from importers.osgb.scene import Item, Lod, Node
from tiling.archive import Archive, TilesetInfo
from tiling.builder import Job, TileEntry
from tiling.engine.executor import ProcessExecutor
from tiling.engine.work import Task, Work
from tiling.meshes import MeshBuilder
from tiling.spec import glb
from tim.errors import TimError
from tim.geometry import F64
from tim.place import Frame, local_map
from tim.place.resolve import PlaceOptions, resolve
from tim.sources import MeshNode, NodeRef, SourceRef

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "oblique"
BYTES = 300_000_000
WORKERS = 2
HEIGHTS = (3000.0, 1000.0, 300.0, 150.0)
FOCAL = 1080 / (2 * math.tan(math.radians(30)))
"""Pixels: what a metre at distance 1 covers."""
CHECKED = 20_000
"""Vertices whose place is checked, spread over all tiles."""
NO_PEER = "none can run here"


def main() -> None:
    parser = _report.arguments(__doc__ or "")
    parser.add_argument(
        "--build", nargs=2, metavar=("SOURCE", "OUT"), help="only build SOURCE into OUT: the measured part"
    )
    options = parser.parse_args()
    if options.build:
        build(Path(options.build[0]), Path(options.build[1]))
        return
    if not DATA.is_dir():
        raise SystemExit(f"{DATA} is absent: the real production is needed")
    rows, notes = measure()
    _report.emit("oblique", rows, options.json, notes)


def build(source: Path, out: Path) -> None:
    """Source to packs and a published snapshot, as ``tim import`` and ``tim tile`` do it."""
    job = job_of(source, out)
    builder = MeshBuilder()
    shards = list(builder.plan(job, "build", {}))
    results: dict[str, Any] = {}
    with Archive(out) as archive, ProcessExecutor(WORKERS) as executor:
        work = Work(archive.packs, "tiling.meshes:MeshBuilder", job)
        tasks = [Task(f"{number:06d}", shard) for number, shard in enumerate(shards)]
        for task, outcome in executor.map(work, iter(tasks), lambda _: None):
            if isinstance(outcome, TimError):
                raise outcome
            done, rows = outcome
            archive.add(rows)
            results[task.id] = done
        from tiling.engine.ledger import read_result

        in_order = [read_result(results[task.id].result) for task in tasks]
        archive.publish("oblique", builder.finish(job, {"build": in_order}), TilesetInfo(job.frame, 0))


def job_of(source: Path, out: Path) -> Job:
    """The job of a production: its blocks in a frame around the first of them."""
    (probe,) = osgb.probe(source)
    assert probe.low is not None
    assert probe.high is not None
    place = resolve(probe.found, PlaceOptions(vertical="ellipsoid"), np.array(probe.low), np.array(probe.high))
    refs = tuple(item for item in osgb.read(probe, ImportContext(place)) if isinstance(item, SourceRef))
    west, south, bottom, east, north, _ = refs[0].box
    return Job(
        "oblique", "meshes", Frame((west + east) / 2, (south + north) / 2, bottom, 2**-10), refs, {}, out / "scratch"
    )


def measure() -> tuple[list[_report.Row], list[str]]:
    """All rows, and what to know about them."""
    with tempfile.TemporaryDirectory(prefix="tim-oblique-") as name:
        folder = Path(name)
        size = multiply(DATA, folder / "production", BYTES)
        usage = _report.run(
            [sys.executable, "-m", "benchmarks.oblique", "--build", str(folder / "production"), str(folder / "tiles")]
        )
        job = job_of(folder / "production", folder / "tiles")
        with Archive(folder / "tiles") as archive:
            tiles = list(archive.tiles("oblique"))
            worst, checked = vertex_error(job, archive, tiles)
            errors = [*tree_errors(tiles), *content_errors(archive, tiles)]
            one = job_of(DATA, folder / "one")
            keys = {f"osgb/{ref.key}/" for ref in one.sources}
            views = view_bytes(one, [t for t in tiles if t.parent is None or any(t.key.startswith(k) for k in keys)])
        stored = sum(tile.content.size for tile in tiles if tile.content)
    down = max((ours / theirs for ours, theirs in views["down"]), key=lambda ratio: abs(math.log(ratio)))
    beside = sum(ours for ours, _ in views["beside"]) / sum(theirs for _, theirs in views["beside"])
    rows = [
        _report.Row("osgb_mb_per_cpu_s", size / 1e6 / usage.cpu_s, "MB/CPU-s", 60, NO_PEER),
        _report.Row("vertex_error_mm", worst * 1000, "mm", 1, at_least=False),
        _report.Row("view_bytes_ratio", down, "ratio", 1.1, "OpenSceneGraph's own ranges", at_least=False),
        _report.Row("view_bytes_ratio_oblique", beside, "ratio"),
        _report.Row("tile_bytes_ratio", stored / size, "ratio"),
        _report.Row("rss_per_worker_mb", usage.peak_child_mb, "MB", 350, at_least=False),
        _report.Row("rss_total_mb", usage.peak_rss_mb, "MB", 350 * WORKERS + 300, at_least=False),
        _report.Row("errors", len(errors), "errors", 0, at_least=False),
    ]
    notes = [
        f"{size / 1e6:.0f} MB in {len(job.sources)} blocks, {len(tiles)} tiles, {usage.wall_s:.1f} s with {WORKERS} workers",
        f"{checked} vertices checked; view ratios from above: {', '.join(f'{o / t:.3f}' for o, t in views['down'])} (0.9 to 1.1 is the bar)",
        *errors[:10],
    ]
    return rows, notes


def multiply(source: Path, target: Path, size: int) -> int:
    """Copy a production, its blocks repeated under other names up to ``size`` bytes; bytes of OSGB."""
    target.mkdir()
    shutil.copyfile(source / "metadata.xml", target / "metadata.xml")
    blocks = sorted(p for p in (source / "Data").iterdir() if p.is_dir())
    total = copy = 0
    while total < size:
        for block in blocks:
            name = block.name if copy == 0 else f"{block.name}_copy{copy:03d}"
            folder = target / "Data" / name
            folder.mkdir(parents=True)
            for file in sorted(block.iterdir()):
                shutil.copyfile(file, folder / (f"{name}.osgb" if file.stem == block.name else file.name))
                total += file.stat().st_size
        copy += 1
    return total


def vertex_error(job: Job, archive: Archive, tiles: Sequence[TileEntry]) -> tuple[float, int]:
    """Largest distance in metres between decoded vertices and pyproj's own way, and how many were compared."""
    refs = {ref.key: ref for ref in job.sources}
    with_content = [tile for tile in tiles if tile.content]
    each = max(1, CHECKED // len(with_content))
    to_ecef = Transformer.from_crs(4979, 4978, always_xy=True)
    worst, checked = 0.0, 0
    for tile in with_content:
        ref, node = source_node(refs, tile.key)
        to_geographic = Transformer.from_crs(CRS.from_user_input(ref.place.crs), 4490, always_xy=True)
        assert tile.content is not None
        decoded = positions(glb.parse(archive.read(tile.content.hash)), job.frame)
        native = np.concatenate([mesh.positions for mesh in node.meshes]).astype(float) + ref.place.origin
        pick = np.linspace(0, len(native) - 1, min(each, len(native))).astype(int)
        lon, lat = to_geographic.transform(native[pick, 0], native[pick, 1])
        exact = np.column_stack(to_ecef.transform(lon, lat, native[pick, 2]))
        worst = max(worst, float(np.linalg.norm(decoded[pick] - exact, axis=1).max()))
        checked += len(pick)
    return worst, checked


def source_node(refs: dict[str, SourceRef], key: str) -> tuple[SourceRef, MeshNode]:
    """The source and node a tile was made from, by its key."""
    source, file = key.removeprefix("osgb/").split("/", 1)
    path, _, index = file.rpartition("#")
    tree = open_source(refs[source])
    assert isinstance(tree, osgb.OsgbTree)
    return refs[source], tree.load(NodeRef(path))[int(index)]


def positions(document: glb.Glb, frame: Frame) -> F64:
    """ECEF positions of a content's vertices, through node matrix and the axis rule of 3D Tiles."""
    out = []
    for node in document.json["nodes"]:
        matrix = np.array(node["matrix"]).reshape(4, 4).T
        for primitive in document.json["meshes"][node["mesh"]]["primitives"]:
            local = document.accessor(primitive["attributes"]["POSITION"]).astype(float)
            up = local @ matrix[:3, :3].T + matrix[:3, 3]
            out.append(frame.to_ecef(np.column_stack([up[:, 0], -up[:, 2], up[:, 1]])))
    return np.concatenate(out)


def tree_errors(tiles: Sequence[TileEntry]) -> Iterator[str]:
    """Children outside their parent's box, errors that grow downwards, leaves with an error."""
    by_key = {tile.key: tile for tile in tiles}
    parents = {tile.parent for tile in tiles}
    for tile in tiles:
        if tile.key not in parents and tile.geometric_error:
            yield f"{tile.key}: a leaf with an error"
        if tile.parent is None:
            continue
        parent = by_key[tile.parent]
        if tile.geometric_error > parent.geometric_error:
            yield f"{tile.key}: larger error than its parent"
        (low, high), (parent_low, parent_high) = corners(tile), corners(parent)
        if (low < parent_low - 1e-9).any() or (high > parent_high + 1e-9).any():
            yield f"{tile.key}: outside its parent's box"


def content_errors(archive: Archive, tiles: Sequence[TileEntry]) -> Iterator[str]:
    """Contents that do not parse, or have vertices outside their tile's box."""
    for tile in tiles:
        if tile.content is None:
            continue
        try:
            document = glb.parse(archive.read(tile.content.hash))
        except ValueError as error:
            yield f"{tile.key}: {error}"
            continue
        matrix = np.array(document.json["nodes"][0]["matrix"]).reshape(4, 4).T
        low, high = corners(tile)
        for primitive in document.json["meshes"][0]["primitives"]:
            accessor = document.json["accessors"][primitive["attributes"]["POSITION"]]
            ends = np.array([accessor["min"], accessor["max"]]) @ matrix[:3, :3].T + matrix[:3, 3]
            local = np.column_stack([ends[:, 0], -ends[:, 2], ends[:, 1]])
            if (local < low - 1e-6).any() or (local > high + 1e-6).any():
                yield f"{tile.key}: vertices outside its box"


def corners(tile: TileEntry) -> tuple[F64, F64]:
    box = np.array(tile.box)
    half = box[[3, 7, 11]]
    return box[:3] - half, box[:3] + half


@dataclass(frozen=True, slots=True)
class Switch:
    """A PagedLOD as OpenSceneGraph sees it."""

    centre: F64
    """Frame metres."""
    radius: float
    pixels: float
    file: str


def view_bytes(job: Job, tiles: Sequence[TileEntry]) -> dict[str, list[tuple[int, int]]]:
    """Source bytes our tiles and OpenSceneGraph load, per height, from above and from beside."""
    sizes: dict[str, int] = {}
    switches: dict[str, list[Switch]] = {}
    for ref in job.sources:
        tree = open_source(ref)
        assert isinstance(tree, osgb.OsgbTree)
        low, high = (np.array(corner) for corner in tree.bounds)
        place = local_map(ref.place, job.frame, low, high)
        for file, _ in tree.files():
            name = f"osgb/{ref.key}/{file.path}"
            for node in tree.load(file):
                sizes[f"osgb/{ref.key}/{node.key}"] = sum(_bytes(mesh) for mesh in node.meshes)
            lods = _lods(read_scene((tree.folder / file.path).read_bytes(), name))
            switches[name] = [
                Switch(
                    place(np.array([lod.center]))[0], lod.radius, lod.ranges[-1][0], f"osgb/{ref.key}/{lod.files[-1]}"
                )
                for lod in lods
            ]
    files: dict[str, int] = {}
    for key, size in sizes.items():
        files[key.rpartition("#")[0]] = files.get(key.rpartition("#")[0], 0) + size
    own = [tile for tile in tiles if tile.key in sizes]
    below: dict[str | None, list[TileEntry]] = {}
    for tile in own:
        below.setdefault(tile.parent, []).append(tile)
    roots = [f"osgb/{ref.key}/{root.path}" for ref in job.sources for root in _roots(ref)]
    low = np.min([corners(tile)[0] for tile in own], axis=0)
    high = np.max([corners(tile)[1] for tile in own], axis=0)
    tops = [tile for tile in own if tile.parent is None or tile.parent not in sizes]

    def ours(shown: Sequence[TileEntry], eye: F64) -> int:
        total = 0
        for tile in shown:
            tile_low, tile_high = corners(tile)
            distance = max(float(np.linalg.norm(np.maximum(np.maximum(tile_low - eye, eye - tile_high), 0))), 1e-3)
            total += sizes[tile.key]
            if tile.geometric_error * FOCAL / distance > 16:
                total += ours(below.get(tile.key, []), eye)
        return total

    def theirs(file: str, eye: F64) -> int:
        total = files[file]
        for switch in switches[file]:
            diameter = 2 * switch.radius * FOCAL / float(np.linalg.norm(eye - switch.centre))
            if diameter >= switch.pixels and switch.file in files:
                total += theirs(switch.file, eye)
        return total

    eyes = {
        "down": [np.array([*((low + high) / 2)[:2], high[2] + h]) for h in HEIGHTS],
        "beside": [np.array([low[0] - h * 0.5, low[1] - h * 0.5, high[2] + h * math.sqrt(0.5)]) for h in HEIGHTS],
    }
    return {
        name: [(ours(tops, eye), sum(theirs(root, eye) for root in roots)) for eye in places]
        for name, places in eyes.items()
    }


def _roots(ref: SourceRef) -> list[NodeRef]:
    tree = open_source(ref)
    assert isinstance(tree, osgb.OsgbTree)
    return tree.roots()


def _bytes(mesh: Any) -> int:
    image = 0 if mesh.texture is None else len(mesh.texture.data)
    return int(mesh.positions.nbytes + mesh.triangles.nbytes + (0 if mesh.uv is None else mesh.uv.nbytes) + image)


def _lods(item: Item | None) -> list[Lod]:
    found = [item] if isinstance(item, Lod) else []
    if isinstance(item, Node):
        for child in item.children:
            found += _lods(child)
    return found


if __name__ == "__main__":
    main()
