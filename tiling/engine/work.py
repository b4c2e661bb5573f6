"""What a worker does with one shard: open a pack, let the builder build, make the pack durable, hand back the rows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import cast

from tiling.archive import ContentRow, PackWriter
from tiling.builder import Builder, Job, Shard
from tiling.engine.ledger import Done
from tim.errors import TilingError

BUILDERS: Mapping[str, str] = {
    "meshes": "tiling.meshes:MeshBuilder",
    "objects": "tiling.objects:ObjectBuilder",
    "points": "tiling.points:PointBuilder",
}
"""Kind of dataset to ``module:class``."""


def builder_for(kind: str) -> str:
    """The name of the builder of a kind. Raises TilingError ``tile.no-builder``."""
    if kind not in BUILDERS:
        raise TilingError("tile.no-builder", kind=kind, known=", ".join(sorted(BUILDERS)))
    return BUILDERS[kind]


@cache
def load_builder(name: str) -> Builder:
    """The builder ``module:class``, one per process."""
    module, _, attribute = name.partition(":")
    return cast("Builder", getattr(import_module(module), attribute)())


@dataclass(frozen=True, slots=True)
class Task:
    """A shard with its id."""

    id: str
    shard: Shard


@dataclass(frozen=True, slots=True)
class Work:
    """The function that travels to the workers."""

    packs: Path
    builder: str
    """``module:class``."""
    job: Job

    def __call__(self, task: Task) -> tuple[Done, list[ContentRow]]:
        """Build one shard. What was put is on disk when this returns; the caller registers the rows."""
        start = time.perf_counter()
        sink = PackWriter(self.packs, task.id, fast=True)
        try:
            result = load_builder(self.builder).build(self.job, task.shard, sink)
            rows = sink.close()
        except BaseException:
            sink.abort()
            raise
        return Done.of(result, time.perf_counter() - start), rows
