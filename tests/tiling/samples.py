"""Small true tilesets for the tests of spec, archive and validate: contents lie in their boxes, boxes in their parents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tiling.archive import Archive, TilesetInfo
from tiling.builder import TileEntry, TileSink
from tiling.spec.glb import GlbWriter
from tim.place import Frame

FRAME = Frame(114.3, 30.5, 20.0, 2.0**-10)
CUBE = (0.0, 0.0, 0.0, 64.0, 0.0, 0.0, 0.0, 64.0, 0.0, 0.0, 0.0, 64.0)


def box(center: tuple[float, float, float], half: float) -> tuple[float, ...]:
    return (*center, half, 0.0, 0.0, 0.0, half, 0.0, 0.0, 0.0, half)


def triangle_glb(center: tuple[float, float, float], half: float = 1.0, tag: int = 0) -> bytes:
    """Two triangles as float32 around a centre in the frame."""
    corners = np.array([[-1, -1, -1], [1, -1, 0], [1, 1, 1], [-1, 1, 0]], np.float32) * half
    corners[0, 2] += tag * 2.0**-10
    writer = GlbWriter()
    position = writer.vertices(corners, bounds=True)
    indices = writer.indices(np.array([[0, 1, 2], [0, 2, 3]], np.uint32), 4)
    mesh = writer.add("meshes", {"primitives": [{"attributes": {"POSITION": position}, "indices": indices}]})
    writer.lattice_node(mesh, center, 1.0)
    return b"".join(bytes(c) for c in writer.chunks())


def points_glb(low: tuple[float, float, float], size: float, count: int = 50, seed: int = 0) -> bytes:
    """Quantised points filling a cube."""
    values = np.random.default_rng(seed).integers(0, 1 << 12, (count, 3), dtype=np.uint16)
    values[0], values[1] = 0, (1 << 12) - 1
    writer = GlbWriter()
    writer.extension("KHR_mesh_quantization", required=True)
    mesh = writer.add(
        "meshes", {"primitives": [{"attributes": {"POSITION": writer.vertices(values, bounds=True)}, "mode": 0}]}
    )
    writer.lattice_node(mesh, low, size / 4096)
    return b"".join(bytes(c) for c in writer.chunks())


def mesh_tiles(sink: TileSink, count: int = 40, *, tags: dict[int, int] | None = None) -> list[TileEntry]:
    """A quadtree-like REPLACE tree with content in every tile; ``tags`` change contents."""
    tiles: list[TileEntry] = []
    places = {0: ((0.0, 0.0, 0.0), 512.0)}
    for i in range(count):
        if i:
            above, half = places[(i - 1) // 4]
            quarter = (i - 1) % 4
            places[i] = (
                (above[0] + (quarter % 2 - 0.5) * half, above[1] + (quarter // 2 - 0.5) * half, above[2]),
                half / 2,
            )
        center, half = places[i]
        content = sink.put(triangle_glb(center, half / 2, (tags or {}).get(i, 0)), compress=i % 2 == 0)
        parent = f"osgb/城东 区/{(i - 1) // 4}#0" if i else None
        error = 0.0 if 4 * i + 1 >= count else half / 8
        tiles.append(
            TileEntry(
                f"osgb/城东 区/{i}#0",
                parent,
                box(center, half),
                error,
                "REPLACE",
                content,
                {"vertices": 4, "triangles": 2},
            )
        )
    return tiles


def octree_tiles(sink: TileSink, depth: int = 3) -> list[TileEntry]:
    """An ADD octree below CUBE: one chain to the corner and a few siblings."""
    addresses = [(0, 0, 0, 0)]
    for level in range(1, depth + 1):
        last = (1 << level) - 1
        addresses += [(level, 0, 0, 0), (level, last, last, last), (level, last, last - 1, last)]
    tiles = []
    for n, (level, x, y, z) in enumerate(addresses):
        size = 128.0 / (1 << level)
        low = (-64 + x * size, -64 + y * size, -64 + z * size)
        content = sink.put(points_glb(low, size, 50 + n, n))
        key = f"oct/{level}/{x}/{y}/{z}"
        parent = f"oct/{level - 1}/{x >> 1}/{y >> 1}/{z >> 1}" if level else None
        center = (low[0] + size / 2, low[1] + size / 2, low[2] + size / 2)
        tiles.append(TileEntry(key, parent, box(center, size / 2), size / 16, "ADD", content, {"points": 50 + n}))
    return tiles


def mesh_info(**more: Any) -> TilesetInfo:
    return TilesetInfo(FRAME, 1, **more)


def octree_info(**more: Any) -> TilesetInfo:
    return TilesetInfo(FRAME, 1, "implicit-octree", "ADD", CUBE, subtree_levels=2, **more)


def fill(archive: Archive, name: str, make: Any, **options: Any) -> list[TileEntry]:
    """Write a pack with ``make(sink)`` and register it."""
    writer = archive.writer(name)
    tiles: list[TileEntry] = make(writer, **options)
    archive.add(writer.close())
    return tiles


def schema_errors(schemas: Path, name: str, document: Any) -> list[str]:
    """What the specification's own schema has against a document."""
    from jsonschema import Draft202012Validator
    from referencing import Registry, Resource

    resources = []
    for path in schemas.rglob("*.schema.json"):
        resource = Resource.from_contents(
            {
                **json.loads(path.read_text("utf-8")),
                "$id": f"https://schemas.test/{path.relative_to(schemas).as_posix()}",
            }
        )
        resources.append((f"https://schemas.test/{path.relative_to(schemas).as_posix()}", resource))
    validator = Draft202012Validator(
        {"$ref": f"https://schemas.test/{name}"}, registry=Registry().with_resources(resources)
    )
    return [f"{e.json_path}: {e.message}"[:200] for e in validator.iter_errors(document)]
