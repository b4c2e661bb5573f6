"""Binary glTF (glTF 2.0 §4.4): a small writer with deterministic bytes, and the reader that validation and tests use.

The writer knows buffers, accessors, images and nodes; what a tile means is its builder's business. Content is in the dataset frame
(z up); :meth:`GlbWriter.lattice_node` turns it y-up, as 3D Tiles expects of glTF (3D Tiles 1.1 §6.7.1.6.3).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.spec import meshopt

MAGIC = 0x46546C67
JSON_CHUNK = 0x4E4F534A
BIN_CHUNK = 0x004E4942
ARRAY_BUFFER = 34962
ELEMENT_ARRAY_BUFFER = 34963

COMPONENT_TYPES: Mapping[str, int] = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
_DTYPES = {number: np.dtype(f"<{name}") for name, number in COMPONENT_TYPES.items()}
TYPES = ("SCALAR", "VEC2", "VEC3", "VEC4")
_WIDTHS = {name: width for width, name in enumerate(TYPES, 1)}

FILTERS = ("NONE", "EXPONENTIAL")
"""Filters of EXT_meshopt_compression that are written and read here."""

Buffer = bytes | memoryview


class GlbWriter:
    """Collects the parts of one glb. Use: add views, accessors, images, materials, meshes and nodes, then :meth:`chunks`."""

    def __init__(self) -> None:
        self.json: dict[str, Any] = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": []}], "nodes": []}
        self._parts: list[Buffer] = []
        self._length = 0
        self._used: set[str] = set()
        self._required: set[str] = set()

    def extension(self, name: str, *, required: bool = False) -> None:
        """Declare an extension."""
        self._used.add(name)
        if required:
            self._required.add(name)

    def add(self, collection: str, item: Mapping[str, Any]) -> int:
        """Append to a top-level array (``materials``, ``meshes``, …) and return the index."""
        items: list[Any] = self.json.setdefault(collection, [])
        items.append(dict(item))
        return len(items) - 1

    def view(self, data: Buffer, *, align: int = 4, **properties: Any) -> int:
        """A buffer view over ``data``, aligned to 4 or 8 bytes; ``properties`` such as ``target``, ``byteStride``, ``extensions``."""
        if lead := -self._length % align:
            self._parts.append(bytes(lead))
            self._length += lead
        size = memoryview(data).nbytes
        index = self.add("bufferViews", {"buffer": 0, "byteOffset": self._length, "byteLength": size, **properties})
        self._parts.append(data)
        if padding := -size % 4:
            self._parts.append(bytes(padding))
        self._length += size + padding
        return index

    def vertices(
        self, values: NDArray[Any], *, normalized: bool = False, bounds: bool | tuple[Sequence[float], Sequence[float]] = False,
        compress: bool = False, width: int = 0,
    ) -> int:  # fmt: skip
        """An accessor over per-vertex values.

        values: [n] or [n, 1..4] of u1, i1, u2, i2 or f4; rows are padded to 4 bytes, unless they are already: then ``width`` says how
        many columns count. ``bounds`` writes min and max (POSITION needs them), those given or those found; ``compress`` stores the view
        with EXT_meshopt_compression.
        """
        rows = values.reshape(len(values), -1)
        size = rows.dtype.itemsize * rows.shape[1]
        stride = size + -size % 4
        if stride == size:
            padded = np.ascontiguousarray(rows)
        else:
            padded = np.zeros((len(rows), stride // rows.dtype.itemsize), rows.dtype)
            padded[:, : rows.shape[1]] = rows
        if compress:
            encoded = meshopt.encode_vertex_buffer(padded.view(np.uint8).reshape(len(rows), stride))
            view = self._compressed(encoded, len(rows), stride)
        else:
            view = self.view(padded.data.cast("B"), byteStride=stride, target=ARRAY_BUFFER)
        return self._accessor(view, rows[:, :width] if width else rows, normalized, bounds)

    def encoded_vertices(
        self, encoded: bytes, stride: int, count: int, component: str, width: int, *, normalized: bool = False,
        bounds: tuple[Sequence[float], Sequence[float]] | None = None, exponential: bool = False,
    ) -> int:  # fmt: skip
        """An accessor over ``count`` vertices of ``width`` components (``"u2"``, …), already encoded as EXT_meshopt_compression has it.

        ``exponential``: what is encoded is int32 for the extension's EXPONENTIAL filter and decodes to ``"f4"``.
        """
        view = self._compressed(encoded, count, stride, "EXPONENTIAL" if exponential else None)
        item: dict[str, Any] = {
            "bufferView": view, "componentType": COMPONENT_TYPES[component], "count": count, "type": TYPES[width - 1],
        }  # fmt: skip
        if normalized:
            item["normalized"] = True
        if bounds:
            item["min"], item["max"] = list(bounds[0]), list(bounds[1])
        return self.add("accessors", item)

    def indices(self, triangles: NDArray[Any], vertex_count: int) -> int:
        """An accessor over vertex indices, 16 bits wide where ``vertex_count`` allows (65535 is the restart value)."""
        flat = triangles.reshape(-1).astype("<u2" if vertex_count <= 65535 else "<u4", copy=False)
        view = self.view(np.ascontiguousarray(flat).data.cast("B"), target=ELEMENT_ARRAY_BUFFER)
        return self._accessor(view, flat.reshape(-1, 1), False, False)

    def image(self, mime: str, data: Buffer) -> int:
        """An image in its own encoding; returns the image index."""
        if mime == "image/webp":
            self.extension("EXT_texture_webp", required=True)
        return self.add("images", {"bufferView": self.view(data), "mimeType": mime})

    def lattice_node(self, mesh: int, origin: Sequence[float], scale: float) -> None:
        """A root node for a mesh whose positions q mean ``origin + scale * q`` in the frame (metres, z up)."""
        x, y, z = (float(v) for v in origin)
        s = float(scale)
        matrix = [s, 0.0, 0.0, 0.0, 0.0, 0.0, -s, 0.0, 0.0, s, 0.0, 0.0, x, z, -y, 1.0]
        self.json["scenes"][0]["nodes"].append(self.add("nodes", {"mesh": mesh, "matrix": [v + 0.0 for v in matrix]}))

    def chunks(self) -> list[Buffer]:
        """The finished glb as buffers to be written one after another."""
        document = {"asset": self.json["asset"]}
        if self._used:
            document["extensionsUsed"] = sorted(self._used)
        if self._required:
            document["extensionsRequired"] = sorted(self._required)
        document.update({k: v for k, v in self.json.items() if k != "asset"})
        buffers: list[dict[str, Any]] = [{"byteLength": self._length}] if self._length else []
        if fallback := self._fallback_length():
            buffers.append({"byteLength": fallback, "extensions": {"EXT_meshopt_compression": {"fallback": True}}})
        if buffers:
            document["buffers"] = buffers
        text = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + (8 + self._length if self._length else 0)
        head = struct.pack("<5I", MAGIC, 2, total, len(text), JSON_CHUNK)
        if not self._length:
            return [head, text]
        return [head, text, struct.pack("<2I", self._length, BIN_CHUNK), *self._parts]

    def _accessor(
        self, view: int, rows: NDArray[Any], normalized: bool, bounds: bool | tuple[Sequence[float], Sequence[float]]
    ) -> int:
        item: dict[str, Any] = {
            "bufferView": view, "componentType": COMPONENT_TYPES[rows.dtype.str[1:]], "count": len(rows), "type": TYPES[rows.shape[1] - 1],
        }  # fmt: skip
        if normalized:
            item["normalized"] = True
        if bounds is True:
            # A column at a time is ten times faster than along the rows.
            bounds = [column.min().item() for column in rows.T], [column.max().item() for column in rows.T]
        if bounds:
            item["min"], item["max"] = list(bounds[0]), list(bounds[1])
        return self.add("accessors", item)

    def _compressed(self, encoded: bytes, count: int, stride: int, filter_name: str | None = None) -> int:
        """A view into the fallback buffer (which is never sent), with the encoded bytes in buffer 0 (EXT_meshopt_compression)."""
        self.extension("EXT_meshopt_compression", required=True)
        offset = self._length
        self._parts.append(encoded)
        padding = -len(encoded) % 4
        self._parts.append(bytes(padding))
        self._length += len(encoded) + padding
        extension = {
            "buffer": 0, "byteOffset": offset, "byteLength": len(encoded), "byteStride": stride, "count": count, "mode": "ATTRIBUTES",
        }  # fmt: skip
        if filter_name:
            extension["filter"] = filter_name
        return self.add("bufferViews", {
            "buffer": 1, "byteOffset": self._fallback_length(), "byteLength": count * stride, "byteStride": stride,
            "target": ARRAY_BUFFER, "extensions": {"EXT_meshopt_compression": extension},
        })  # fmt: skip

    def _fallback_length(self) -> int:
        views = self.json.get("bufferViews", [])
        return sum(v["byteLength"] for v in views if v["buffer"] == 1)


@dataclass(frozen=True, slots=True)
class Glb:
    """A parsed glb: its JSON and its binary chunk."""

    json: dict[str, Any]
    binary: memoryview

    def view(self, index: int) -> memoryview:
        """The bytes of a buffer view, decompressed where it uses EXT_meshopt_compression."""
        view = self.json["bufferViews"][index]
        extension = view.get("extensions", {}).get("EXT_meshopt_compression")
        if extension is None:
            start = view.get("byteOffset", 0)
            return self._slice(start, view["byteLength"])
        filter_name = extension.get("filter", "NONE")
        if extension["mode"] != "ATTRIBUTES" or filter_name not in FILTERS:
            raise ValueError(
                f"EXT_meshopt_compression mode {extension['mode']} with filter {filter_name} is not read here"
            )
        encoded = self._slice(extension.get("byteOffset", 0), extension["byteLength"])
        decoded = meshopt.decode_vertex_buffer(bytes(encoded), extension["count"], extension["byteStride"])
        if filter_name == "EXPONENTIAL":
            return memoryview(meshopt.decode_exponential(decoded).tobytes())
        return memoryview(decoded.tobytes())

    def accessor(self, index: int) -> NDArray[Any]:
        """The values of an accessor, [count, width], as stored (normalised values are not scaled)."""
        accessor = self.json["accessors"][index]
        dtype, width, count = _DTYPES[accessor["componentType"]], _WIDTHS[accessor["type"]], accessor["count"]
        if "bufferView" not in accessor:
            return np.zeros((count, width), dtype)
        view = self.json["bufferViews"][accessor["bufferView"]]
        data = self.view(accessor["bufferView"])[accessor.get("byteOffset", 0) :]
        stride = view.get("byteStride", dtype.itemsize * width)
        needed = (count - 1) * stride + dtype.itemsize * width if count else 0
        if needed > len(data):
            raise ValueError(f"accessor {index} needs {needed} bytes, its view has {len(data)}")
        return np.ndarray((count, width), dtype, data, strides=(stride, dtype.itemsize))

    def _slice(self, start: int, length: int) -> memoryview:
        if start < 0 or length < 0 or start + length > len(self.binary):
            raise ValueError(f"bytes {start}..{start + length} lie outside the binary chunk of {len(self.binary)}")
        return self.binary[start : start + length]


def parse(data: Buffer) -> Glb:
    """Parse a glb. Raises ValueError saying what is wrong where the container breaks the specification."""
    data = memoryview(data)
    if len(data) < 20:
        raise ValueError(f"{len(data)} bytes are too few for a glb")
    magic, version, total, json_length, json_kind = struct.unpack_from("<5I", data)
    if magic != MAGIC or version != 2:
        raise ValueError("not a binary glTF 2.0")
    if total != len(data):
        raise ValueError(f"the header says {total} bytes, there are {len(data)}")
    if json_kind != JSON_CHUNK or json_length % 4 or 20 + json_length > total:
        raise ValueError("the JSON chunk is missing, unaligned or too long")
    document = json.loads(bytes(data[20 : 20 + json_length]))
    if not isinstance(document, dict):
        raise ValueError("the JSON chunk is not an object")
    rest = data[20 + json_length :]
    if not rest:
        return Glb(document, memoryview(b""))
    if len(rest) < 8:
        raise ValueError("the binary chunk's header is cut off")
    length, kind = struct.unpack_from("<2I", rest)
    if kind != BIN_CHUNK or length % 4 or 8 + length > len(rest):
        raise ValueError("the binary chunk is unaligned, too long or of another kind")
    return Glb(document, rest[8 : 8 + length])
