from __future__ import annotations

from pathlib import Path

from tests.importers.osgb.scenes import production
from tests.tiling.meshes.building import job_of
from tiling.builder import Job
from tiling.contract import BuilderContract
from tiling.meshes import MeshBuilder


class TestMeshBuilder(BuilderContract):
    def builder(self) -> MeshBuilder:
        return MeshBuilder()

    def job(self, folder: Path) -> Job:
        return job_of(production(folder / "p"), {"shard_bytes": 20_000})
