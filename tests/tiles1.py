"""Tilesets of 3D Tiles 1.0 made here: the containers byte by byte as the specification has them, around small glTF models."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from tiling.spec.glb import GlbWriter
from tim.place import Frame

LON, LAT, HEIGHT = 114.3, 30.5, 20.0
ENU = Frame(LON, LAT, HEIGHT, 1.0).transform
NAMES = ["甲楼", "North tower", "丙楼"]


def padded(document: dict[str, Any] | None, before: int = 0, to: int = 8) -> bytes:
    """JSON with spaces behind it so that what follows ``before`` and it is aligned; empty for ``None``."""
    if document is None:
        return b""
    text = json.dumps(document, ensure_ascii=False).encode()
    return text + b" " * (-(before + len(text)) % to)


def container(
    magic: bytes, features: dict[str, Any], features_binary: bytes = b"", batch: dict[str, Any] | None = None, batch_binary: bytes = b"",
    payload: bytes = b"", gltf_format: int | None = None,
) -> bytes:  # fmt: skip
    """b3dm, i3dm (with ``gltf_format``) or pnts."""
    extra = b"" if gltf_format is None else struct.pack("<I", gltf_format)
    head = 28 + len(extra)
    features_binary += bytes(-len(features_binary) % 8)
    batch_binary += bytes(-len(batch_binary) % 8)
    first = padded(features, head)
    second = padded(batch)
    size = head + len(first) + len(features_binary) + len(second) + len(batch_binary) + len(payload)
    lengths = (len(first), len(features_binary), len(second), len(batch_binary))
    return (
        magic
        + struct.pack("<6I", 1, size, *lengths)
        + extra
        + first
        + features_binary
        + second
        + batch_binary
        + payload
    )


def composite(*contents: bytes) -> bytes:
    """cmpt."""
    aligned = [padded_content(content) for content in contents]
    return b"cmpt" + struct.pack("<3I", 1, 16 + sum(map(len, aligned)), len(aligned)) + b"".join(aligned)


def padded_content(content: bytes) -> bytes:
    """A content of a multiple of 8 bytes, its length with it."""
    content += bytes(-len(content) % 8)
    return content[:8] + struct.pack("<I", len(content)) + content[12:]


def boxes(count: int = 3, *, batched: bool = True, side: float = 20.0) -> bytes:
    """A glb of boxes in a row along x (y up, metres), feature ids in _BATCHID."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
    faces = np.array(
        [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
    )  # fmt: skip
    positions, ids, triangles = [], [], []
    for number in range(count):
        size = np.array([side, side * (1 + number), side], np.float32)
        positions.append(corners * size + np.array([number * 2 * side, 0, 0], np.float32))
        ids.append(np.full(8, number, np.float32))
        triangles.append(faces + 8 * number)
    writer = GlbWriter()
    attributes = {"POSITION": writer.vertices(np.vstack(positions).astype("<f4"), bounds=True)}
    if batched:
        attributes["_BATCHID"] = writer.vertices(np.concatenate(ids).astype("<f4"))
    indices = writer.indices(np.vstack(triangles).astype(np.uint32), 8 * count)
    material = writer.add(
        "materials", {"pbrMetallicRoughness": {"baseColorFactor": [0.9, 0.2, 0.15, 1.0], "metallicFactor": 0.0}, "doubleSided": True}
    )  # fmt: skip
    mesh = writer.add("meshes", {"primitives": [{"attributes": attributes, "indices": indices, "material": material}]})
    writer.json["scenes"][0]["nodes"].append(writer.add("nodes", {"mesh": mesh}))
    return b"".join(bytes(part) for part in writer.chunks())


def b3dm(count: int = 3, center: list[float] | None = None) -> bytes:
    """Boxes with names, heights (binary) and notes of any JSON kind."""
    features: dict[str, Any] = {"BATCH_LENGTH": count}
    if center is not None:
        features["RTC_CENTER"] = center
    heights = np.arange(count, dtype="<f8") * 10 + 20
    codes = np.arange(count * 2, dtype="<u2")
    batch = {
        "name": [NAMES[i % 3] for i in range(count)],
        "height": {"byteOffset": 0, "componentType": "DOUBLE", "type": "SCALAR"},
        "code": {"byteOffset": 8 * count, "componentType": "UNSIGNED_SHORT", "type": "VEC2"},
        "note": [{"floors": i} if i else None for i in range(count)],
    }
    return container(b"b3dm", features, b"", batch, heights.tobytes() + codes.tobytes(), boxes(count))


def i3dm(**more: Any) -> bytes:
    """Two small boxes, turned and scaled, by names."""
    positions = np.array([[0, 0, 0], [50, 10, 0]], "<f4")
    ups, rights = np.array([[0, 0, 1]] * 2, "<f4"), np.array([[1, 0, 0], [0, 1, 0]], "<f4")
    scales = np.array([1.0, 2.0], "<f4")
    binary = positions.tobytes() + ups.tobytes() + rights.tobytes() + scales.tobytes()
    features = {
        "INSTANCES_LENGTH": 2, "POSITION": {"byteOffset": 0}, "NORMAL_UP": {"byteOffset": 24}, "NORMAL_RIGHT": {"byteOffset": 48},
        "SCALE": {"byteOffset": 72}, **more,
    }  # fmt: skip
    return container(
        b"i3dm", features, binary, {"name": ["a", "b"]}, b"", boxes(1, batched=False, side=4.0), gltf_format=1
    )


def pnts(**more: Any) -> bytes:
    """Four points with colours and ids of two batches."""
    positions = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], "<f4")
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], "u1")
    ids = np.array([0, 0, 1, 1], "u1")
    binary = positions.tobytes() + colours.tobytes() + ids.tobytes()
    features = {
        "POINTS_LENGTH": 4, "POSITION": {"byteOffset": 0}, "RGB": {"byteOffset": 48}, "BATCH_LENGTH": 2,
        "BATCH_ID": {"byteOffset": 60, "componentType": "UNSIGNED_BYTE"}, **more,
    }  # fmt: skip
    return container(b"pnts", features, binary, {"kind": ["ground", "tree"]})


def tileset(
    folder: Path, contents: dict[str, bytes], *, transform: list[float] | None = ENU, volume: Any = None, **asset: Any
) -> Path:  # type: ignore[assignment]
    """A 1.0 folder: a root with the contents as its children, ``url`` and lower-case refine as the old ones have them."""
    box = volume or {"box": [60, -10, 40, 80, 0, 0, 0, 30, 0, 0, 0, 60]}
    children = [
        {"boundingVolume": box, "geometricError": 0, "content": {"url": name}} for name in contents if not name.startswith("#")
    ]  # fmt: skip
    root: dict[str, Any] = {"boundingVolume": box, "geometricError": 50, "refine": "add", "children": children}
    if transform is not None:
        root["transform"] = transform
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        path = folder / name.lstrip("#")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    page = {"asset": {"version": "1.0", **asset}, "geometricError": 200, "root": root}
    (folder / "tileset.json").write_text(json.dumps(page), encoding="utf-8")
    return folder
