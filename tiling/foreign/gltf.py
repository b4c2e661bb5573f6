"""Editing a glb that is there: its JSON changed, buffer views added behind its own; what nobody touches stays byte for byte."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.foreign.batch import Column
from tiling.spec import glb
from tiling.spec.scene import node_matrix
from tim.errors import CorruptSource, SourceError
from tim.geometry import F64

Y_UP: F64 = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
"""glTF to tile: what every client does to y-up content (3D Tiles 1.1 §6.7.1.6.3)."""
_TYPES = {
    "i1": "INT8",
    "u1": "UINT8",
    "i2": "INT16",
    "u2": "UINT16",
    "i4": "INT32",
    "u4": "UINT32",
    "f4": "FLOAT32",
    "f8": "FLOAT64",
}


class Model:
    """A glb being edited. Raises SourceError ``tiles3d.gltf-1``, CorruptSource where it does not come apart."""

    def __init__(self, data: bytes | memoryview, path: str) -> None:
        if len(data) >= 8 and bytes(data[:4]) == b"glTF" and struct.unpack_from("<I", data, 4)[0] == 1:
            raise SourceError("tiles3d.gltf-1", path=path)
        try:
            parsed = glb.parse(data)
        except (ValueError, RecursionError, struct.error) as error:
            raise CorruptSource("tiles3d.glb-broken", path=path, reason=str(error)) from error
        self.path = path
        self.json = parsed.json
        self._binary = bytearray(parsed.binary)
        if isinstance(parsed.json.get("asset"), dict) and str(parsed.json["asset"].get("version", "2.0")).startswith(
            "1"
        ):
            raise SourceError("tiles3d.gltf-1", path=path)
        buffers = self.json.get("buffers") or []
        self._own = bool(buffers) and "uri" not in buffers[0]

    @property
    def primitives(self) -> list[dict[str, Any]]:
        """All primitives of all meshes."""
        return [p for mesh in self.json.get("meshes", []) for p in mesh.get("primitives", [])]

    def use(self, extension: str, *, required: bool = False) -> None:
        """Declare an extension."""
        for name in ("extensionsUsed", *(("extensionsRequired",) if required else ())):
            if extension not in self.json.setdefault(name, []):
                self.json[name].append(extension)

    def drop(self, extension: str) -> None:
        """Take an extension's declaration back."""
        for name in ("extensionsUsed", "extensionsRequired"):
            if extension in self.json.get(name, []):
                self.json[name].remove(extension)
                if not self.json[name]:
                    del self.json[name]

    def view(self, data: bytes, **properties: Any) -> int:
        """A buffer view behind the others, aligned to 8 bytes."""
        self._binary += bytes(-len(self._binary) % 8)
        offset = len(self._binary)
        self._binary += data
        if not self._own:
            # Buffer 0 is a file of its own: ours goes first, as the container wants it, and every index moves up.
            for view in self.json.get("bufferViews", []):
                view["buffer"] += 1
            self.json.setdefault("buffers", []).insert(0, {})
            self._own = True
        views: list[Any] = self.json.setdefault("bufferViews", [])
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": len(data), **properties})
        return len(views) - 1

    def accessor(self, values: NDArray[Any]) -> int:
        """A float32 [n, 3..4] accessor, as instancing has them."""
        rows = np.ascontiguousarray(values, "<f4")
        accessors: list[Any] = self.json.setdefault("accessors", [])
        accessors.append({
            "bufferView": self.view(rows.tobytes()), "componentType": 5126, "count": len(rows), "type": f"VEC{rows.shape[1]}",
        })  # fmt: skip
        return len(accessors) - 1

    def wrap(self, matrix: F64) -> None:
        """Put the whole scene under one node with a float64[4, 4] matrix (in glTF coordinates)."""
        if np.array_equal(matrix, np.eye(4)):
            return
        scene = self._scene()
        node: dict[str, Any] = {
            "children": scene.get("nodes", []),
            "matrix": [float(v) + 0.0 for v in matrix.T.ravel()],
        }
        if not node["children"]:
            return
        nodes: list[Any] = self.json["nodes"]
        nodes.append(node)
        scene["nodes"] = [len(nodes) - 1]

    def mesh_nodes(self) -> list[tuple[int, F64]]:
        """Nodes of the scene that show a mesh, each with its matrix to the scene."""
        found: list[tuple[int, F64]] = []
        nodes = self.json.get("nodes", [])
        stack: list[tuple[int, F64, int]] = [(index, np.eye(4), 0) for index in self._scene().get("nodes", [])]
        while stack:
            index, above, depth = stack.pop()
            if not 0 <= index < len(nodes) or depth > 64:
                raise CorruptSource("tiles3d.glb-broken", path=self.path, reason="node")
            own = above @ node_matrix(nodes[index])
            if "mesh" in nodes[index]:
                found.append((index, own))
            stack += [(child, own, depth + 1) for child in nodes[index].get("children", [])]
        return found

    def table(self, columns: Mapping[str, Column], count: int) -> None:
        """A property table (EXT_structural_metadata) with every column that holds anything."""
        properties: dict[str, Any] = {}
        values: dict[str, Any] = {}
        for number, (name, column) in enumerate(columns.items()):
            kind, data = self._property(column)
            if kind is not None:
                identifier = f"property_{number}"
                properties[identifier] = {"name": name, **kind}
                values[identifier] = data
        if not properties or not count:
            return
        self.use("EXT_structural_metadata")
        self.json.setdefault("extensions", {})["EXT_structural_metadata"] = {
            "schema": {"id": "batch_table", "classes": {"feature": {"properties": properties}}},
            "propertyTables": [{"class": "feature", "count": count, "properties": values}],
        }

    def finish(self) -> bytes:
        """The glb."""
        if self._binary and self._own:
            self._binary += bytes(-len(self._binary) % 4)
            self.json["buffers"][0]["byteLength"] = len(self._binary)
        text = json.dumps(self.json, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 4)
        rest = struct.pack("<2I", len(self._binary), glb.BIN_CHUNK) + self._binary if self._binary else b""
        return struct.pack("<5I", glb.MAGIC, 2, 20 + len(text) + len(rest), len(text), glb.JSON_CHUNK) + text + rest

    def _scene(self) -> dict[str, Any]:
        scenes = self.json.get("scenes") or [{}]
        at = self.json.get("scene", 0)
        if not isinstance(at, int) or not 0 <= at < len(scenes):
            raise CorruptSource("tiles3d.glb-broken", path=self.path, reason="scene")
        found: dict[str, Any] = scenes[at]
        return found

    def _property(self, column: Column) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """Schema and values of one column; ``None`` where there is nothing in it."""
        if isinstance(column, list) and any(value is not None for value in column):
            numbers = _numbers(column)
            if numbers is None:
                return {"type": "STRING"}, self._strings(["" if v is None else _text(v) for v in column])
            column = numbers
        if isinstance(column, list):
            return None, {}
        width = column.shape[1] if column.ndim == 2 else 1
        kind = {"type": "SCALAR" if width == 1 else f"VEC{width}", "componentType": _TYPES[column.dtype.str[1:]]}
        return kind, {"values": self.view(np.ascontiguousarray(column).tobytes())}

    def _strings(self, texts: Sequence[str]) -> dict[str, Any]:
        encoded = [text.encode() for text in texts]
        offsets = np.concatenate([[0], np.cumsum([len(text) for text in encoded])]).astype("<u4")
        # An empty view is not allowed: a byte that no offset reaches.
        return {"values": self.view(b"".join(encoded) or b"\0"), "stringOffsets": self.view(offsets.tobytes())}


def _numbers(column: list[Any]) -> NDArray[Any] | None:
    """A JSON column of numbers alone as int32 or float64."""
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in column):
        return None
    if all(isinstance(v, int) and -(2**31) <= v < 2**31 for v in column):
        return np.array(column, "<i4")
    return np.array(column, "<f8")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
