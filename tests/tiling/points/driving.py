"""Runs the builder in this process, without engine or archive, with every result through JSON as the ledger does it."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tiling.builder import Job, ShardResult, TileEntry
from tiling.contract import MemorySink
from tiling.engine.ledger import read_result, write_result
from tiling.points import DecodedPoints, PointBuilder, decode_tile
from tim.place import Frame
from tim.sources import SourceRef


@dataclass
class Built:
    """A finished dataset."""

    job: Job
    tiles: list[TileEntry]
    results: Mapping[str, Sequence[ShardResult]]
    sink: MemorySink

    def decoded(self) -> list[tuple[TileEntry, DecodedPoints]]:
        """Every tile that has content."""
        return [(tile, decode_tile(self.sink.contents[tile.content.hash])) for tile in self.tiles if tile.content]

    def positions(self) -> np.ndarray:
        """int64[n, 3]: lattice positions of all points, in no order."""
        found = [points.position for _, points in self.decoded()]
        return np.rint(np.concatenate(found) / self.job.frame.step).astype(np.int64)

    def save(self, folder: Path) -> None:
        """Write the tiles as ``.glb`` files."""
        for name, data in self.sink.contents.items():
            (folder / f"{name}.glb").write_bytes(data)


def frame_of(refs: Sequence[SourceRef], step: float = 2.0**-7) -> Frame:
    """A frame in the middle of the sources."""
    boxes = np.array([ref.box for ref in refs])
    low, high = boxes[:, :3].min(axis=0), boxes[:, 3:].max(axis=0)
    lon, lat, height = ((low + high) / 2).tolist()
    return Frame(lon, lat, height, step)


def build(
    refs: Sequence[SourceRef], scratch: Path, frame: Frame | None = None, shuffle: int | None = None, **settings: Any
) -> Built:
    """Plan, build and finish; with ``shuffle``, each stage's shards in a random order."""
    builder = PointBuilder()
    scratch.mkdir(parents=True, exist_ok=True)
    job = Job("cloud", "points", frame or frame_of(refs), tuple(refs), {**builder.defaults, **settings}, scratch)
    sink = MemorySink()
    done: dict[str, list[ShardResult]] = {}
    for stage in builder.stages:
        shards = list(builder.plan(job, stage, done))
        assert len({shard.name for shard in shards}) == len(shards)
        order = list(range(len(shards)))
        if shuffle is not None:
            random.Random(shuffle).shuffle(order)
        results: dict[int, ShardResult] = {}
        for index in order:
            json.dumps(dict(shards[index].spec))
            results[index] = read_result(write_result(builder.build(job, shards[index], sink)))
        done[stage] = [results[index] for index in range(len(shards))]
    return Built(job, list(builder.finish(job, done)), done, sink)
