from __future__ import annotations

from pathlib import Path

from importers.contract import PointSourceContract
from tests.importers.las import clouds


class TestLaz(PointSourceContract):
    format = "las"

    def source(self, folder: Path) -> Path:
        clouds.write(folder / "sheet.laz", 7000, crs="EPSG:4547")
        return folder / "sheet.laz"


class TestLas(PointSourceContract):
    format = "las"

    def source(self, folder: Path) -> Path:
        clouds.write(folder / "航带.las", 3000, point_format=3, crs="EPSG:4547")
        return folder / "航带.las"
