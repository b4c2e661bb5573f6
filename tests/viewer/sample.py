"""A small town by the sea, as two tilesets written by hand: named buildings, and points with class and intensity."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

LONGITUDE, LATITUDE, HEIGHT = 113.95, 22.50, 12.0
BOX = [113.9478, 22.4980, 5.0, 113.9522, 22.5020, 75.0]
NAMES = ["甲楼", "乙楼", "丙楼", "丁楼", "North tower", "South tower"]


def write(folder: Path) -> dict[str, int]:
    """``town/`` and ``cloud/`` with a tileset.json and one glb each; returns what they hold."""
    town, triangles = _town()
    cloud, points = _cloud()
    for name, glb, error in (("town", town, 60.0), ("cloud", cloud, 60.0)):
        (folder / name).mkdir(parents=True)
        (folder / name / "tile.glb").write_bytes(glb)
        tile = {
            "boundingVolume": {"box": [0, 0, 25, 215, 0, 0, 0, 215, 0, 0, 0, 45]},
            "geometricError": 0,
            "refine": "ADD",
        }
        root = {
            **tile,
            "geometricError": error,
            "transform": east_north_up(),
            "children": [{**tile, "content": {"uri": "tile.glb"}}],
        }
        document = {"asset": {"version": "1.1"}, "geometricError": 500, "root": root}
        (folder / name / "tileset.json").write_text(json.dumps(document), encoding="utf-8")
    return {"triangles": triangles, "points": points}


def _town() -> tuple[bytes, int]:
    """Ground with a shore, and six buildings; colours carry a fixed shade, so the material is unlit."""
    positions, colours, ids, triangles = [], [], [], []
    shades = {(0, 0, 1): 1.0, (1, 0, 0): 0.82, (-1, 0, 0): 0.66, (0, 1, 0): 0.74, (0, -1, 0): 0.9}

    def quad(corners: list[tuple[float, float, float]], colour: tuple[float, float, float], feature: int) -> None:
        first = len(positions)
        positions.extend(corners)
        colours.extend([colour] * 4)
        ids.extend([feature] * 4)
        triangles.extend([(first, first + 1, first + 2), (first, first + 2, first + 3)])

    for west, east, colour in (
        (-200, -60, (0.36, 0.58, 0.70)),
        (-60, -40, (0.86, 0.80, 0.64)),
        (-40, 200, (0.62, 0.70, 0.52)),
    ):
        quad([(west, -200, 0), (east, -200, 0), (east, 200, 0), (west, 200, 0)], colour, 6)
    for feature, (x, y, size, top) in enumerate(
        [(20, 60, 24, 30), (90, 80, 30, 18), (30, -20, 28, 44), (110, 0, 24, 24), (70, 140, 20, 62), (90, -110, 34, 36)]
    ):
        w, e, s, n = x - size, x + size, y - size, y + size
        base = np.array(
            [
                (0.86, 0.62, 0.47),
                (0.78, 0.78, 0.80),
                (0.90, 0.86, 0.76),
                (0.68, 0.74, 0.80),
                (0.80, 0.70, 0.62),
                (0.74, 0.66, 0.70),
            ]
        )[feature]
        faces = {
            (0, 0, 1): [(w, s, top), (e, s, top), (e, n, top), (w, n, top)],
            (0, -1, 0): [(w, s, 0), (e, s, 0), (e, s, top), (w, s, top)],
            (1, 0, 0): [(e, s, 0), (e, n, 0), (e, n, top), (e, s, top)],
            (0, 1, 0): [(e, n, 0), (w, n, 0), (w, n, top), (e, n, top)],
            (-1, 0, 0): [(w, n, 0), (w, s, 0), (w, s, top), (w, n, top)],
        }
        for normal, corners in faces.items():
            quad(corners, tuple(base * shades[normal]), feature)
    names = [*NAMES, "Ground"]
    texts = "".join(names).encode()
    offsets = np.cumsum([0, *(len(name.encode()) for name in names)]).astype("<u4")
    floors = np.array([10, 6, 14, 8, 20, 12, 0], "<u2")
    glb = _Glb()
    primitive = {
        "attributes": {
            "POSITION": glb.accessor(_y_up(np.array(positions, "<f4")), bounds=True),
            "COLOR_0": glb.accessor((np.array(colours) ** 2.2).astype("<f4")),
            "_FEATURE_ID_0": glb.accessor(np.array(ids, "<f4").reshape(-1, 1)),
        },
        "indices": glb.accessor(np.array(triangles, "<u2").reshape(-1, 1), target=34963),
        "material": 0,
        "extensions": {
            "EXT_mesh_features": {"featureIds": [{"featureCount": len(names), "attribute": 0, "propertyTable": 0}]}
        },
    }
    properties = {"name": {"type": "STRING"}, "floors": {"type": "SCALAR", "componentType": "UINT16"}}
    metadata = {
        "schema": {"id": "town", "classes": {"building": {"properties": properties}}},
        "propertyTables": [{"class": "building", "count": len(names), "properties": {
            "name": {"values": glb.view(texts), "stringOffsets": glb.view(offsets.tobytes())},
            "floors": {"values": glb.view(floors.tobytes())},
        }}],
    }  # fmt: skip
    material = {"extensions": {"KHR_materials_unlit": {}}, "doubleSided": True}
    used = ["EXT_mesh_features", "KHR_materials_unlit"]
    return glb.finish(primitive, metadata, used, materials=[material]), len(triangles)


def _cloud() -> tuple[bytes, int]:
    """60,000 points over a hill beside the town: ground, trees, water and a building."""
    random = np.random.default_rng(7)
    x, y = random.uniform(-200, 200, (2, 60_000))
    ground = 22 * np.exp(-((x + 40) ** 2 + (y - 20) ** 2) / 9000) + 2
    kind = np.where(random.random(len(x)) < 0.25, 5, 2).astype("<u1")
    roof = (np.abs(x - 90) < 30) & (np.abs(y + 60) < 22)
    kind[roof] = 6
    kind[(x < -120)] = 9
    z = ground + np.where(kind == 5, random.uniform(1, 9, len(x)), 0) + np.where(roof, 25, 0)
    z[kind == 9] = 0.5
    base = {2: (150, 128, 96), 5: (72, 122, 60), 6: (196, 98, 76), 9: (70, 120, 150)}
    colours = np.array([base[int(k)] for k in kind]) + random.integers(-14, 15, (len(x), 1))
    rgba = np.column_stack([255 * (colours / 255) ** 2.2, np.full(len(x), 255)]).astype("<u1")
    intensity = np.clip(600 + 30 * ground + 900 * (kind == 6) + random.normal(0, 60, len(x)), 0, 4000).astype("<u2")
    glb = _Glb()
    primitive = {
        "attributes": {
            "POSITION": glb.accessor(_y_up(np.column_stack([x, y, z]).astype("<f4")), bounds=True),
            "COLOR_0": glb.accessor(rgba, normalized=True),
            "_CLASSIFICATION": glb.accessor(kind.reshape(-1, 1)),
            "_INTENSITY": glb.accessor(intensity.reshape(-1, 1)),
        },
        "mode": 0,
        "extensions": {"EXT_structural_metadata": {"propertyAttributes": [0]}},
    }
    properties = {
        "classification": {"type": "SCALAR", "componentType": "UINT8"},
        "intensity": {"type": "SCALAR", "componentType": "UINT16"},
    }
    metadata = {
        "schema": {"id": "cloud", "classes": {"point": {"properties": properties}}},
        "propertyAttributes": [{"class": "point", "properties": {
            "classification": {"attribute": "_CLASSIFICATION"}, "intensity": {"attribute": "_INTENSITY"},
        }}],
    }  # fmt: skip
    return glb.finish(primitive, metadata, []), len(x)


class _Glb:
    def __init__(self) -> None:
        self.binary = b""
        self.views: list[dict[str, int]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, data: bytes, **properties: int) -> int:
        self.views.append({"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data), **properties})
        self.binary += data + bytes(-len(data) % 8)
        return len(self.views) - 1

    def accessor(
        self, values: np.ndarray, *, bounds: bool = False, normalized: bool = False, target: int = 34962
    ) -> int:
        kinds = {"f4": 5126, "u1": 5121, "u2": 5123}
        width, size = values.shape[1], values.dtype.itemsize
        stride = -(-width * size // 4) * 4
        if target == 34962:
            rows = np.zeros((len(values), stride), np.uint8)
            rows[:, : width * size] = values.view(np.uint8).reshape(len(values), -1)
            view = self.view(rows.tobytes(), byteStride=stride, target=target)
        else:
            view = self.view(values.tobytes(), target=target)
        item = {"bufferView": view, "componentType": kinds[values.dtype.str[1:]], "count": len(values)}
        item["type"] = ["SCALAR", "VEC2", "VEC3", "VEC4"][width - 1]
        if normalized:
            item["normalized"] = True
        if bounds:
            item["min"], item["max"] = values.min(axis=0).tolist(), values.max(axis=0).tolist()
        self.accessors.append(item)
        return len(self.accessors) - 1

    def finish(self, primitive: dict[str, Any], metadata: dict[str, Any], used: list[str], **extra: Any) -> bytes:
        document = {
            "asset": {"version": "2.0"}, "extensionsUsed": [*used, "EXT_structural_metadata"],
            "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}], "meshes": [{"primitives": [primitive]}],
            "accessors": self.accessors, "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.binary)}], "extensions": {"EXT_structural_metadata": metadata}, **extra,
        }  # fmt: skip
        text = json.dumps(document).encode()
        text += b" " * (-len(text) % 8)
        text += b"    " if (20 + len(text)) % 8 else b""
        total = 28 + len(text) + len(self.binary)
        head = struct.pack("<5I", 0x46546C67, 2, total, len(text), 0x4E4F534A)
        return head + text + struct.pack("<2I", len(self.binary), 0x004E4942) + self.binary


def _y_up(points: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(points[:, [0, 2, 1]] * np.array([1, 1, -1], "<f4"))


def east_north_up(longitude: float = LONGITUDE, latitude: float = LATITUDE, height: float = HEIGHT) -> list[float]:
    """Column-major matrix from east-north-up metres at a place to WGS 84 ECEF."""
    a, e2 = 6378137.0, 6.69437999014e-3
    lon, lat = np.radians([longitude, latitude])
    n = a / np.sqrt(1 - e2 * np.sin(lat) ** 2)
    east = [-np.sin(lon), np.cos(lon), 0]
    north = [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)]
    up = [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    origin = [(n + height) * up[0], (n + height) * up[1], (n * (1 - e2) + height) * up[2]]
    return [float(v) for v in (*east, 0, *north, 0, *up, 0, *origin, 1)]
