"""A quarter with houses and trees as our tiles have objects: named by ``tim_id``, without normals, coarse tile replaced by fine ones; and
what the API says about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np

from tests.viewer import sample
from tiling.spec.glb import GlbWriter

HOUSES = [
    ("教学楼", -60, -40, 30, 24),
    ("图书馆", 40, -60, 36, 40),
    ("食堂", -50, 60, 26, 12),
    ("Gymnasium", 60, 50, 40, 18),
]
"""Name, east, north, half size and height in metres from the sample's place."""
TREES = [(-22.0 + 10 * (i % 3), 14.0 * (i // 3) - 10) for i in range(9)]
CLASSES = {
    "building.house": {"id": "building.house", "en": "Building", "zh": "房屋建筑"},
    "vegetation.tree": {"id": "vegetation.tree", "en": "Tree", "zh": "树木"},
    "land.parcel": {"id": "land.parcel", "en": "Parcel", "zh": "宗地"},
}
GREY, ROOF, LEAF = (0.78, 0.76, 0.72), (0.55, 0.30, 0.24), (0.25, 0.45, 0.22)


def object_id(name: str) -> str:
    """The tim_id of a house, of ``tree 3``, or of ``parcel``."""
    return str(uuid5(NAMESPACE_URL, f"viewer sample {name}"))


NAMES = [house[0] for house in HOUSES] + [f"tree {i}" for i in range(len(TREES))]


def write(folder: Path) -> None:
    """``quarter/``: a coarse tile of plain boxes, replaced by houses with roofs and trees; ``model.glb``: a tower to be placed."""
    (folder / "quarter").mkdir(parents=True)
    (folder / "quarter" / "coarse.glb").write_bytes(_tile(fine=False))
    (folder / "quarter" / "fine.glb").write_bytes(_tile(fine=True))
    box = {"boundingVolume": {"box": [0, 0, 25, 130, 0, 0, 0, 130, 0, 0, 0, 30]}, "refine": "REPLACE"}
    fine = {**box, "geometricError": 0, "content": {"uri": "fine.glb"}}
    root = {
        **box,
        "geometricError": 16,
        "transform": sample.east_north_up(),
        "content": {"uri": "coarse.glb"},
        "children": [fine],
    }
    document = {"asset": {"version": "1.1"}, "geometricError": 200, "root": root}
    (folder / "quarter" / "tileset.json").write_text(json.dumps(document), encoding="utf-8")
    (folder / "model.glb").write_bytes(_model())


def placed(folder: Path, glb: bytes, longitude: float, latitude: float, height: float) -> None:
    """A tileset of one model that stands at a place."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.glb").write_bytes(glb)
    root = {
        "boundingVolume": {"box": [0, 0, 30, 15, 0, 0, 0, 15, 0, 0, 0, 30]}, "refine": "ADD", "geometricError": 0,
        "transform": sample.east_north_up(longitude, latitude, height), "content": {"uri": "model.glb"},
    }  # fmt: skip
    document = {"asset": {"version": "1.1"}, "geometricError": 100, "root": root}
    (folder / "tileset.json").write_text(json.dumps(document), encoding="utf-8")


def information() -> dict[str, dict[str, Any]]:
    """By tim_id, what ``/api/objects/{tim_id}`` says."""
    parcel = _information("parcel", "land.parcel", "440305001001", {"用途": "科教用地", "area_m2": 67650.25})
    parcel["relations"] = [_relation("hasPart", house[0], "building.house") for house in HOUSES]
    parcel["bbox"] = sample.BOX
    found = [parcel]
    for i, (name, east, north, half, height) in enumerate(HOUSES):
        attributes = {
            "floors": height // 4, "built": 1998 + i, "height_m": float(height), "heritage": i == 1, "note": None,
            "owner": {"name": "滨海大学", "contact": {"city": "深圳", "phones": ["0755-100", "0755-200"]}},
            "units": [{"no": "101", "area": 88.5}, {"no": "102", "area": 91.25}],
        }  # fmt: skip
        house = _information(name, "building.house", name, attributes)
        house["codes"] = [
            {"scheme": "cn.real-estate-unit", "edition": "GB/T 37346-2019", "value": f"440305001001GB0000{i}F"}
        ]
        house["relations"] = [_relation("partOf", "parcel", "land.parcel", "440305001001")]
        house["bbox"] = _box(east, north, half, height)
        found.append(house)
    for i, (east, north) in enumerate(TREES):
        tree = _information(f"tree {i}", "vegetation.tree", None, {"species": "榕树"})
        tree["bbox"] = _box(int(east), int(north), 3, 9)
        found.append(tree)
    return {item["id"]: item for item in found}


def _information(key: str, kind: str, name: str | None, attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": object_id(key), "dataset": "quarter", "class": CLASSES[kind], "name": name, "stage": "surveyed", "scenario": "",
        "validFrom": "2021-05-01", "validTo": None, "version": 3, "attributes": attributes, "codes": [], "relations": [],
        "sources": [{"key": "quarter.gpkg", "format": "gpkg", "title": "校园普查 2021"}], "bbox": None, "representations": [],
    }  # fmt: skip


def _relation(kind: str, key: str, other: str, name: str | None = None) -> dict[str, Any]:
    return {"kind": kind, "target": object_id(key), "name": name or key, "class": CLASSES[other]}


def _box(east: float, north: float, half: float, height: float) -> list[float]:
    per_north, per_east = 1 / 110_700, 1 / (111_320 * np.cos(np.radians(sample.LATITUDE)))
    x, y = sample.LONGITUDE + east * per_east, sample.LATITUDE + north * per_north
    low, high = sample.HEIGHT, sample.HEIGHT + height
    return [
        float(v)
        for v in (x - half * per_east, y - half * per_north, low, x + half * per_east, y + half * per_north, high)
    ]


def _tile(*, fine: bool) -> bytes:
    """Houses as one mesh with feature ids; in the fine tile also roofs, and trees as instances of one shape."""
    writer = GlbWriter()
    for name in ("EXT_mesh_features", "EXT_structural_metadata"):
        writer.extension(name)
    positions, colours, ids, triangles = [], [], [], []
    for feature, (_, x, y, half, height) in enumerate(HOUSES):
        blocks = [(x, y, half, 0.0, float(height), GREY)]
        if fine:
            blocks += [(x, y, half * 0.7, float(height), height + 3.0, ROOF)]
        for block in blocks:
            corners, faces = _block(*block[:5])
            triangles.append(faces + sum(map(len, positions)))
            positions.append(corners)
            colours.append(np.tile(np.array(block[5]) ** 2.2, (len(corners), 1)))
            ids.append(np.full(len(corners), feature))
    mesh = writer.add("meshes", {"primitives": [{
        "attributes": {
            "POSITION": writer.vertices(np.concatenate(positions).astype("<f4"), bounds=True),
            "COLOR_0": writer.vertices(np.concatenate(colours).astype("<f4")),
            "_FEATURE_ID_0": writer.vertices(np.concatenate(ids).astype("<f4")),
        },
        "indices": writer.indices(np.concatenate(triangles).astype(np.uint32), sum(map(len, positions))),
        "material": writer.add("materials", {"pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}, "doubleSided": True}),
        "extensions": {"EXT_mesh_features": {"featureIds": [{"featureCount": len(HOUSES), "attribute": 0, "propertyTable": 0}]}},
    }]})  # fmt: skip
    writer.lattice_node(mesh, (0, 0, 0), 1.0)
    if fine:
        _trees(writer)
    kinds = ["building.house"] * len(HOUSES) + ["vegetation.tree"] * len(TREES)
    names = [house[0] for house in HOUSES] + [""] * len(TREES)
    columns = {"tim_id": [object_id(name) for name in NAMES], "class": kinds, "name": names}
    writer.json["extensions"] = {"EXT_structural_metadata": {
        "schema": {"id": "tim", "classes": {"object": {"properties": {name: {"type": "STRING"} for name in columns}}}},
        "propertyTables": [{"class": "object", "count": len(NAMES), "properties": {
            name: _strings(writer, values) for name, values in columns.items()
        }}],
    }}  # fmt: skip
    return b"".join(bytes(part) for part in writer.chunks())


def _trees(writer: GlbWriter) -> None:
    for name in ("EXT_instance_features", "EXT_mesh_gpu_instancing"):
        writer.extension(name, required=name == "EXT_mesh_gpu_instancing")
    corners, faces = _block(0, 0, 3, 0, 9)
    y_up = corners[:, [0, 2, 1]] * [1, 1, -1]
    mesh = writer.add("meshes", {"primitives": [{
        "attributes": {"POSITION": writer.vertices(y_up.astype("<f4"), bounds=True)},
        "indices": writer.indices(faces.astype(np.uint32), len(corners)),
        "material": writer.add("materials", {"pbrMetallicRoughness": {"baseColorFactor": [*LEAF, 1], "metallicFactor": 0}}),
    }]})  # fmt: skip
    places = np.array([[east, 0, -north] for east, north in TREES], "<f4")
    instancing = {"attributes": {
        "TRANSLATION": writer.vertices(places), "_FEATURE_ID_0": writer.vertices(np.arange(len(TREES)) .astype("<f4") + len(HOUSES)),
    }}  # fmt: skip
    features = {"featureIds": [{"featureCount": len(TREES), "attribute": 0, "propertyTable": 0}]}
    node = {"mesh": mesh, "extensions": {"EXT_mesh_gpu_instancing": instancing, "EXT_instance_features": features}}
    writer.json["scenes"][0]["nodes"].append(writer.add("nodes", node))


def _model() -> bytes:
    """A bright tower with an arm to the north, as somebody's design program writes it (y up)."""
    writer = GlbWriter()
    tower, faces = _block(0, 0, 8, 0, 60)
    arm, more = _block(0, 14, 6, 40, 46)
    corners, triangles = np.concatenate([tower, arm]), np.concatenate([faces, more + len(tower)])
    material = {
        "pbrMetallicRoughness": {"baseColorFactor": [0.1, 0.2, 0.9, 1], "metallicFactor": 0},
        "extensions": {"KHR_materials_unlit": {}},
    }
    writer.extension("KHR_materials_unlit")
    mesh = writer.add("meshes", {"primitives": [{
        "attributes": {"POSITION": writer.vertices(corners.astype("<f4"), bounds=True)},
        "indices": writer.indices(triangles.astype(np.uint32), len(corners)), "material": writer.add("materials", material),
    }]})  # fmt: skip
    writer.lattice_node(mesh, (0, 0, 0), 1.0)
    return b"".join(bytes(part) for part in writer.chunks())


def _block(x: float, y: float, half: float, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """A box: 8 corners, 12 triangles that face outwards."""
    signs = np.array([[i & 1, i >> 1 & 1, i >> 2] for i in range(8)])
    corners = np.array([x - half, y - half, low]) + signs * [2 * half, 2 * half, high - low]
    quads = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    return corners, np.array([triangle for a, b, c, d in quads for triangle in ((a, b, c), (a, c, d))])


def _strings(writer: GlbWriter, values: list[str]) -> dict[str, int]:
    encoded = [value.encode() for value in values]
    offsets = np.cumsum([0, *map(len, encoded)]).astype("<u4")
    return {"values": writer.view(b"".join(encoded)), "stringOffsets": writer.view(offsets.tobytes())}
