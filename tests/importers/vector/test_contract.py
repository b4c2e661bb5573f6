"""Every kind of file keeps the contract of object importers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import shapely

from importers.contract import ObjectImporterContract
from tests.importers.vector.fixtures import EAST, NORTH, squares, write
from tim.place.resolve import PlaceOptions

NAMES = {"名称": ["甲楼", "乙楼", "丙楼"], "高度": [12.0, 30.5, 9.0]}


class TestShapefile(ObjectImporterContract):
    format = "vector"

    def source(self, folder: Path) -> Path:
        return write(folder / "建筑.shp", [*squares(2), None], NAMES, encoding="GB18030", geometry_type="Polygon")


class TestGeoPackage(ObjectImporterContract):
    format = "vector"

    def source(self, folder: Path) -> Path:
        return write(folder / "town.gpkg", squares(3), NAMES, layer="房屋")


class TestGeodatabase(ObjectImporterContract):
    format = "vector"

    def source(self, folder: Path) -> Path:
        return write(
            folder / "town.gdb", squares(3), NAMES, layer="房屋", driver="OpenFileGDB", geometry_type="MultiPolygon"
        )


class TestGeoJson(ObjectImporterContract):
    format = "vector"
    options = PlaceOptions()

    def source(self, folder: Path) -> Path:
        lines = [shapely.LineString([(114.1 + i / 1e3, 30.7), (114.1 + i / 1e3, 30.701)]) for i in range(3)]
        return write(folder / "道路.geojson", lines, NAMES, crs="EPSG:4326")


class TestCsv(ObjectImporterContract):
    format = "vector"

    def source(self, folder: Path) -> Path:
        rows = [f"{EAST + i},{NORTH},树{i}" for i in range(4)] + ["bad,,树", f"{EAST},{NORTH},树9,more"]
        (folder / "行道树.csv").write_text("\n".join(["东坐标,北坐标,树种", *rows]) + "\n", encoding="gb18030")
        return folder / "行道树.csv"


class TestXlsx(ObjectImporterContract):
    format = "vector"

    def source(self, folder: Path) -> Path:
        points = [None] * 3
        columns = {"x": [EAST, EAST + 5, np.nan], "y": [NORTH, NORTH, NORTH], "名称": ["a", "b", "c"]}
        return write(
            folder / "wells.xlsx", points, columns, layer="检查井", driver="XLSX", geometry_type=None, crs=None
        )
