"""The new quarter's deliveries: shapefiles in the encoding such files have (GBK, undeclared), a GeoPackage, a CSV, a city model."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from demo import quarter
from demo.town import CRS, ORIGIN, ground, shore
from tim.geometry import F64

GRID = 16.0
"""Metres between the points of the relief."""


MAPPING = """\
# How the quarter's tables become objects.
layers:
  - match: 建筑
    class: {field: 用途, table: {住宅: building.house, 办公: building.house, 商业: building.house, 教育: building.house}}
    name: 名称
    key: 不动产单元
    height: 高度
    base: 底高
    codes: [{scheme: cn.real-estate-unit, edition: GB/T 37346-2019, field: 不动产单元}]
  - match: 宗地
    class: cadastre.parcel
    name: 权利人
    key: 宗地代码
    shape: flat
    codes: [{scheme: cn.parcel, edition: GB/T 37346-2019, field: 宗地代码}, {scheme: cn.territorial-use, edition: "2023", field: 用地代码}]
  - match: 道路
    class: transport.road
    name: 名称
    key: 名称
    width: 宽度
  - match: 管线
    class: {field: 类型, table: {给水: pipeline.pipe.water, 雨水: pipeline.pipe.drainage, 燃气: pipeline.pipe.gas}}
    name: 名称
    key: 名称
    diameter: {field: 管径, unit: mm}
  - match: 部件
    class: {field: 类别, table: {树: vegetation.tree, 路灯: land.furniture.lamp, 检查井: land.furniture.well}}
    name: 树种
    base: 高程
    height: 高度
"""
DATASETS = {
    "buildings": ("东港新城 · 建筑", "建筑.shp"),
    "villas": ("东港新城 · 地形与别墅", "地形与别墅.city.json"),
    "parcels": ("东港新城 · 宗地", "国土.gpkg"),
    "roads": ("东港新城 · 道路", "道路.gpkg"),
    "pipes": ("东港新城 · 地下管线", "管线.gpkg"),
    "parts": ("东港新城 · 树木与部件", "部件.csv"),
}
"""Slug of each dataset, its title and its file."""


def write_records(folder: Path) -> None:
    """Write all of them below ``folder``."""
    parcels, houses, villas = quarter.land()
    folder.mkdir(parents=True)
    (folder / "mapping.yaml").write_text(MAPPING, encoding="utf-8")
    write_layer(
        folder / "建筑.shp", "Polygon", [h.ring for h in houses], encoding="GBK",
        名称=[h.name for h in houses], 层数=[h.floors for h in houses], 高度=[h.height for h in houses], 底高=[float(h.ring[0, 2]) for h in houses],
        用途=[h.use for h in houses], 建成年份=[h.built for h in houses], 权利人=[h.parcel.owner for h in houses],
        不动产单元=[h.code for h in houses],
    )  # fmt: skip
    (folder / "建筑.cpg").unlink(missing_ok=True)
    write_layer(
        folder / "国土.gpkg", "Polygon", [p.ring for p in parcels], layer="宗地",
        宗地代码=[p.code for p in parcels], 用地代码=[p.use for p in parcels], 权利人=[p.owner for p in parcels],
    )  # fmt: skip
    streets, pipes = quarter.streets(), quarter.pipes()
    write_layer(
        folder / "道路.gpkg", "LineString", [s.points for s in streets], layer="道路",
        名称=[s.name for s in streets], 宽度=[s.size for s in streets], 等级=[s.kind for s in streets],
    )  # fmt: skip
    write_layer(
        folder / "管线.gpkg", "LineString", [p.points for p in pipes], layer="管线",
        名称=[p.name for p in pipes], 管径=[p.size for p in pipes], 类型=[p.kind for p in pipes], 材质=[MATERIALS[p.kind] for p in pipes],
    )  # fmt: skip
    write_spots(folder / "部件.csv")
    text = json.dumps(city_model(villas), ensure_ascii=False, separators=(",", ":"))
    (folder / "地形与别墅.city.json").write_text(text, encoding="utf-8")


MATERIALS = {"给水": "球墨铸铁", "雨水": "钢筋混凝土", "燃气": "PE"}


def write_layer(
    path: Path,
    kind: str,
    rings: Sequence[F64],
    *,
    layer: str | None = None,
    encoding: str = "UTF-8",
    **columns: list[Any],
) -> None:
    """A layer of three-dimensional polygons or lines with attributes."""
    import pyogrio
    import shapely

    make = shapely.Polygon if kind == "Polygon" else shapely.LineString
    wkb = shapely.to_wkb(np.array([make(ring + np.array(ORIGIN)) for ring in rings], dtype=object))
    data = [np.array(values, dtype=object if isinstance(values[0], str) else None) for values in columns.values()]
    options = {"layer": layer} if layer else {}
    pyogrio.raw.write(
        path,
        geometry=wkb,
        field_data=data,
        fields=list(columns),
        geometry_type=f"{kind} Z",
        crs=CRS,
        encoding=encoding,
        **options,
    )


def write_spots(path: Path) -> None:
    """Trees, lamps and manholes as a survey writes them down."""
    x, y, z = ORIGIN
    with path.open("w", encoding="gb18030", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["东坐标", "北坐标", "高程", "类别", "高度", "树种"])
        for spot in quarter.spots():
            rows.writerow(
                [round(spot.x + x, 2), round(spot.y + y, 2), round(spot.z + z, 2), spot.kind, spot.height, spot.species]
            )


def city_model(villas: Sequence[tuple[quarter.Parcel, F64, float]]) -> dict[str, Any]:
    """CityJSON 2.0: villas with gabled roofs, the ground around the quarter, the sea."""
    vertices: list[F64] = []
    objects: dict[str, Any] = {}

    def add(points: F64) -> list[int]:
        first = len(vertices)
        vertices.extend(points)
        return list(range(first, len(vertices)))

    for number, (parcel, ring, eaves) in enumerate(villas, 1):
        low, high = ring, ring + np.array([0, 0, eaves])
        ridge = np.array([(high[0] + high[3]) / 2, (high[1] + high[2]) / 2]) + np.array([0, 0, 3.1])
        i = add(np.vstack([low, high, ridge]))
        faces = [
            ([3, 2, 1, 0], 0), ([4, 5, 9, 8], 1), ([6, 7, 8, 9], 1), ([0, 1, 5, 4], 2), ([2, 3, 7, 6], 2),
            ([1, 2, 6, 9, 5], 2), ([3, 0, 4, 8, 7], 2),
        ]  # fmt: skip
        objects[f"villa-{number}"] = {
            "type": "Building",
            "attributes": {"name": f"青山别墅{number}号", "storeysAboveGround": 2, "measuredHeight": round(eaves + 3.1, 2), "parcel": parcel.code},
            "geometry": [{
                "type": "MultiSurface", "lod": "2.2", "boundaries": [[[i[k] for k in face]] for face, _ in faces],
                "semantics": {
                    "surfaces": [{"type": name} for name in ("GroundSurface", "RoofSurface", "WallSurface")],
                    "values": [kind for _, kind in faces],
                },
            }],
        }  # fmt: skip
    objects["relief"] = {"type": "TINRelief", "attributes": {"name": "新城地形"}, "geometry": [tin(add)]}
    u0, u1, v0, v1 = quarter.WEST - 10, quarter.EAST + 60, quarter.SOUTH - 260, quarter.SOUTH - 10
    sea = np.array([quarter.at(*c) * [1, 1, 0] for c in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))])
    objects["sea"] = {
        "type": "WaterBody", "attributes": {"name": "东港湾"},
        "geometry": [{"type": "MultiSurface", "lod": "1", "boundaries": [[add(sea)]]}],
    }  # fmt: skip
    steps = np.rint(np.array(vertices) / 0.001).astype(int)
    return {
        "type": "CityJSON", "version": "2.0",
        "transform": {"scale": [0.001] * 3, "translate": list(ORIGIN)},
        "metadata": {"referenceSystem": f"https://www.opengis.net/def/crs/EPSG/0/{CRS.split(':')[1]}", "title": "东港新城"},
        "CityObjects": objects, "vertices": steps.tolist(),
    }  # fmt: skip


def tin(add: Any) -> dict[str, Any]:
    """The ground as triangles: the quarter's plane, and a slope from its edges into the bay and the hills."""
    us = np.arange(quarter.WEST - 20, quarter.EAST + 61, GRID)
    vs = np.arange(quarter.SOUTH - 60, quarter.NORTH + 100, GRID)
    points = np.array([[relief(float(u), float(v)) for u in us] for v in vs])
    index = np.array(add(points.reshape(-1, 3))).reshape(len(vs), len(us))
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, 1:].ravel(), index[1:, :-1].ravel()
    triangles = np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])
    return {"type": "CompositeSurface", "lod": "1", "boundaries": [[[int(k) for k in t]] for t in triangles]}


def relief(u: float, v: float) -> F64:
    """A point of the ground; below the quarter it lies a little deeper than its parcels."""
    beyond = max(quarter.WEST - 8 - u, u - quarter.EAST - 8, quarter.SOUTH - 8 - v, 0.0)
    point = quarter.at(u, v, -0.12)
    point[2] -= min(0.16 * beyond, 7.0)
    if v > quarter.NORTH + 8:
        x, y = np.array([point[0]]), np.array([point[1]])
        rise = float(ground(x, y)[0]) - float(shore(x, y)[1][0]) * 0.018
        point[2] += max(0.0, min(rise, 40.0)) * min((v - quarter.NORTH - 8) / 80, 1.0) * (beyond == 0)
    return point
