from __future__ import annotations

from pathlib import Path

from tests.importers.las import clouds
from tests.tiling.points.driving import frame_of
from tiling.builder import Job
from tiling.contract import BuilderContract
from tiling.points import PointBuilder


class TestPointBuilder(BuilderContract):
    def builder(self) -> PointBuilder:
        return PointBuilder()

    def job(self, folder: Path) -> Job:
        refs = []
        for number in range(2):
            clouds.write(folder / f"{number}.laz", 120_000, seed=number)
            refs.append(clouds.source(folder / f"{number}.laz"))
        (folder / "scratch").mkdir()
        settings = {**PointBuilder.defaults, "part_points": 60_000, "chunk_points": 45_000, "tile_points": 32_768}
        return Job("cloud", "points", frame_of(refs), tuple(refs), settings, folder / "scratch")
