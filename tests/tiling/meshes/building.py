"""Build mesh tiles in this process, contents in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from importers import ImportContext, osgb
from tiling.builder import Job, ShardResult, TileEntry
from tiling.contract import MemorySink
from tiling.meshes import MeshBuilder
from tiling.spec import glb
from tim.geometry import F64
from tim.place import Frame
from tim.place.resolve import PlaceOptions, resolve
from tim.sources import SourceRef

STEP = 2**-10


@dataclass
class Built:
    job: Job
    tiles: list[TileEntry]
    contents: dict[str, bytes]
    results: list[ShardResult]

    @property
    def by_key(self) -> dict[str, TileEntry]:
        return {tile.key: tile for tile in self.tiles}

    @property
    def problems(self) -> list[tuple[str, Any]]:
        return [problem for result in self.results for problem in result.problems]

    def glb(self, tile: TileEntry) -> glb.Glb:
        assert tile.content is not None
        return glb.parse(self.contents[tile.content.hash])


def job_of(folder: Path, settings: dict[str, Any] | None = None) -> Job:
    (probe,) = osgb.probe(folder)
    assert probe.low is not None
    assert probe.high is not None
    place = resolve(probe.found, PlaceOptions(vertical="ellipsoid"), np.array(probe.low), np.array(probe.high))
    refs = [item for item in osgb.read(probe, ImportContext(place)) if isinstance(item, SourceRef)]
    west, south, bottom, east, north, _ = refs[0].box
    frame = Frame((west + east) / 2, (south + north) / 2, bottom, STEP)
    return Job("test", "meshes", frame, tuple(refs), settings or {}, folder / "scratch")


def build(job: Job, backwards: bool = False) -> Built:
    builder, sink = MeshBuilder(), MemorySink()
    shards = list(builder.plan(job, "build", {}))
    made = {shard.name: builder.build(job, shard, sink) for shard in (reversed(shards) if backwards else shards)}
    results = [made[shard.name] for shard in shards]
    return Built(job, list(builder.finish(job, {"build": results})), sink.contents, results)


def frame_positions(document: glb.Glb) -> list[F64]:
    """Per primitive, decoded vertices in the frame: node matrix, then glTF's y-up turned to z-up."""
    out = []
    for node in document.json["nodes"]:
        matrix = np.array(node["matrix"]).reshape(4, 4).T
        for primitive in document.json["meshes"][node["mesh"]]["primitives"]:
            local = document.accessor(primitive["attributes"]["POSITION"]).astype(float)
            up = local @ matrix[:3, :3].T + matrix[:3, 3]
            out.append(np.column_stack([up[:, 0], -up[:, 2], up[:, 1]]))
    return out


def corners(tile: TileEntry) -> tuple[F64, F64]:
    box = np.array(tile.box)
    return box[:3] - box[[3, 7, 11]], box[:3] + box[[3, 7, 11]]
