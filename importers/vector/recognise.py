"""What usual names mean, in English and Chinese: fields of a table, and layers."""

from __future__ import annotations

import re
from collections.abc import Sequence

HEIGHT = (
    "height",
    "h",
    "bldgheight",
    "buildingheight",
    "measuredheight",
    "relheight",
    "hgt",
    "建筑高度",
    "高度",
    "楼高",
    "房屋高度",
    "建筑物高度",
    "房高",
    "高",
)
FLOORS = (
    "floors",
    "floor",
    "floorcount",
    "numfloors",
    "levels",
    "buildinglevels",
    "storeys",
    "stories",
    "层数",
    "楼层",
    "楼层数",
    "地上层数",
    "总层数",
    "房屋层数",
)
BASE = (
    "base",
    "baseheight",
    "baseelev",
    "groundelevation",
    "ground",
    "elevation",
    "elev",
    "底高",
    "基底高程",
    "基底标高",
    "地面高程",
    "底部高程",
    "底高程",
    "高程",
)
DEPTH = ("depth", "埋深", "管顶埋深", "中心埋深")
DIAMETER = ("diameter", "diam", "dia", "dn", "ds", "pipesize", "管径", "直径", "管道直径", "公称直径", "断面尺寸")
WIDTH = ("width", "roadwidth", "路宽", "宽度", "道路宽度", "路面宽度")
NAME = ("name", "title", "名称", "建筑名称", "建筑物名称", "道路名称", "路名", "小区名称", "mc", "xmmc", "项目名称")
HEADING = ("heading", "angle", "rotation", "方位角", "旋转角")
X = ("x", "lon", "lng", "long", "longitude", "east", "easting", "经度", "东坐标", "横坐标", "xcoord", "pointx")
Y = ("y", "lat", "latitude", "north", "northing", "纬度", "北坐标", "纵坐标", "ycoord", "pointy")
Z = ("z", "elevation", "alt", "altitude", "高程", "大地高", "zcoord", "pointz")
_WKT = ("wkt", "geom", "geometry", "thegeom", "shape", "geometrywkt")

_CLASSES = (
    ("(?<![a-z])trees?(?![a-z])|行道树|古树|树木|^树|树$", "vegetation.tree"),
    ("(?<![a-z])lamp|street_?light|路灯|灯杆", "land.furniture.lamp"),
    ("manhole|检查井|窨井|井盖", "land.furniture.well"),
    ("valve|阀门", "pipeline.valve"),
    ("管点|junction|pipe_?node", "pipeline.junction"),
    ("给水|供水|自来水|water_?(pipe|main|supply)", "pipeline.pipe.water"),
    ("排水|污水|雨水|drain|sewer|storm", "pipeline.pipe.drainage"),
    ("燃气|天然气|煤气|(?<![a-z])gas", "pipeline.pipe.gas"),
    ("热力|供热|heating", "pipeline.pipe.heat"),
    ("电力|power_?(line|cable)", "pipeline.pipe.power"),
    ("通信|电信|光缆|telecom", "pipeline.pipe.telecom"),
    ("管线|管道|管段|管网|pipe", "pipeline.pipe"),
    ("规划建筑|方案|scheme", "planning.scheme"),
    ("建筑|房屋|楼栋|楼幢|building|bldg|house", "building.house"),
    ("宗地|地籍|parcel|cadast", "cadastre.parcel"),
    ("桥|bridge", "transport.bridge"),
    ("隧道|tunnel", "transport.tunnel"),
    ("铁路|地铁|轨道|rail", "transport.rail"),
    ("道路|公路|街道|road|street|highway", "transport.road"),
    ("用地|地类|land_?use", "land.use"),
    ("水面|水体|湖|河|水系|lake|river|water", "water.body"),
    ("绿地|植被|林地|草地|forest|vegetation|green", "vegetation.cover"),
    ("规划|分区|zone|zoning", "planning.zone"),
)  # fmt: skip


def plain(name: str) -> str:
    """A name without case, blanks and marks: ``Bldg_H`` and ``bldg h`` are the same."""
    return re.sub(r"[\s_\-.:()（）/]", "", name).lower()


def recognise(names: Sequence[str], usual: Sequence[str]) -> str:
    """The field with the first of the usual names; empty where none has."""
    known = {plain(re.sub(r"[(（\[].*$", "", name)) or plain(name): name for name in reversed(names)}
    return next((known[name] for name in usual if name in known), "")


def wkt_column(names: Sequence[str]) -> str:
    """The field that holds WKT by its name."""
    return recognise(names, _WKT)


def class_of(layer: str) -> str:
    """The class of a layer by its name; ``land.other`` where that says nothing."""
    return next((c for pattern, c in _CLASSES if re.search(pattern, layer, re.IGNORECASE)), "land.other")
