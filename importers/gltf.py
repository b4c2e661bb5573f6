"""A binary glTF file (glTF 2.0 §4.4) as far as placing it needs: is it sound, is it whole, how large is it.

Nothing of its geometry is decoded; the file is kept as it is.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim.errors import CorruptSource
from tim.geometry import F64, composed

LARGEST = 512 << 20
"""Bytes: what one model may have."""
MAGIC = b"glTF"
EXTENSIONS = frozenset({
    "EXT_meshopt_compression", "EXT_mesh_gpu_instancing", "EXT_texture_webp", "KHR_draco_mesh_compression", "KHR_materials_emissive_strength",
    "KHR_materials_ior", "KHR_materials_pbrSpecularGlossiness", "KHR_materials_specular", "KHR_materials_unlit", "KHR_mesh_quantization",
    "KHR_texture_basisu", "KHR_texture_transform",
})  # fmt: skip
"""What a model may require; anything else is refused, because viewers would show it wrongly or not at all."""
_JSON, _BIN = 0x4E4F534A, 0x004E4942
_DEEPEST = 64
_GEOCENTRIC = 1e6
"""Metres from the origin beyond which a model is not one about its own origin."""
_NORMAL = {5120: 127.0, 5121: 255.0, 5122: 32767.0, 5123: 65535.0}
"""Largest integer of each component type, which stands for 1 in normalized accessors."""


@dataclass(frozen=True, slots=True)
class Model:
    """What a sound file holds."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    """Corners in the model's own axes as glTF has them (metres, y up), scene transforms applied."""
    triangles: int
    materials: int
    generator: str
    copyright: str


def examine(data: bytes, name: str, size: int | None = None) -> Model:
    """Check a file, of whose ``size`` bytes (all, where ``None``) ``data`` has at least the first :func:`needed`. Raises CorruptSource or SourceError below it, naming ``name`` and what to do:

    not binary glTF, glTF 1.0, cut off, parts that lie outside it or in other files, an extension that is not known, no geometry, a place of its own.
    """
    document, binary = _chunks(data, name, len(data) if size is None else size)
    try:
        _check_parts(document, binary, name)
        corners = np.concatenate([part for part in _corners(document, name) if len(part)] or [np.empty((0, 3))])
        triangles = _triangles(document)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise CorruptSource("glb.corrupt", file=name, reason=f"{type(error).__name__} {error}"[:200]) from None
    if not len(corners):
        raise CorruptSource("glb.no-geometry", file=name)
    if not np.isfinite(corners).all():
        raise CorruptSource("glb.corrupt", file=name, reason="positions are no numbers")
    low, high = corners.min(axis=0), corners.max(axis=0)
    if max(np.abs(low).max(), np.abs(high).max()) > _GEOCENTRIC or "CESIUM_RTC" in document.get("extensions", {}):
        raise CorruptSource("glb.geocentric", file=name)
    asset = document["asset"]
    (a, b, c), (d, e, f) = low.tolist(), high.tolist()
    return Model(
        (a, b, c), (d, e, f), triangles, len(document.get("materials", [])), str(asset.get("generator", ""))[:200], str(asset.get("copyright", ""))[:200],
    )  # fmt: skip


def needed(head: bytes) -> int:
    """How many first bytes of a file :func:`examine` looks at, by its first 20: the header and the JSON, not the geometry."""
    return 20 + int(struct.unpack_from("<I", head, 12)[0]) + 8 if len(head) >= 20 else 20


def _chunks(data: bytes, name: str, whole: int) -> tuple[dict[str, Any], int]:
    """The JSON, and how many bytes the binary chunk has."""
    if whole > LARGEST:
        raise CorruptSource("glb.too-large", file=name, bytes=whole, largest=LARGEST)
    if data[:4] != MAGIC or len(data) < 20:
        raise CorruptSource("glb.not-glb", file=name)
    version, length, json_length, json_kind = struct.unpack_from("<4I", data, 4)
    if version == 1:
        raise CorruptSource("glb.version-1", file=name)
    if version != 2:
        raise CorruptSource("glb.corrupt", file=name, reason=f"version {version}")
    if length != whole or json_kind != _JSON or 20 + json_length > length:
        raise CorruptSource("glb.cut-off", file=name, bytes=whole, said=length)
    binary = 0
    at = 20 + json_length
    if at + 8 <= length:
        size, kind = struct.unpack_from("<2I", data, at)
        if at + 8 + size > length:
            raise CorruptSource("glb.cut-off", file=name, bytes=whole, said=at + 8 + size)
        binary = size if kind == _BIN else 0
    try:
        document = json.loads(data[20 : 20 + json_length].decode("utf-8"), parse_constant=_refuse_constant)
        version_text = str(document["asset"]["version"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptSource("glb.corrupt", file=name, reason=f"JSON: {error}"[:200]) from None
    if version_text.startswith("1"):
        raise CorruptSource("glb.version-1", file=name)
    return document, binary


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _check_parts(document: Mapping[str, Any], binary: int, name: str) -> None:
    """Every buffer, view and image lies in the file."""
    unknown = sorted(set(map(str, document.get("extensionsRequired", []))) - EXTENSIONS)
    if unknown:
        raise CorruptSource("glb.extension", file=name, extensions=", ".join(unknown))
    sizes = []
    for number, buffer in enumerate(document.get("buffers", [])):
        uri = buffer.get("uri")
        fallback = buffer.get("extensions", {}).get("EXT_meshopt_compression", {}).get("fallback", False)
        if uri is not None and not str(uri).startswith("data:"):
            raise CorruptSource("glb.other-file", file=name, uri=str(uri)[:200])
        size = int(buffer["byteLength"])
        if uri is None and not fallback and (number or size > binary):
            raise ValueError(f"buffer {number} has {size} bytes, the file {binary}")
        sizes.append(size)
    for number, view in enumerate(document.get("bufferViews", [])):
        start, size = int(view.get("byteOffset", 0)), int(view["byteLength"])
        if start < 0 or size < 0 or start + size > sizes[_index(view["buffer"])]:
            raise ValueError(f"buffer view {number} lies outside its buffer")
    for accessor in document.get("accessors", []):
        if "bufferView" in accessor:
            document["bufferViews"][_index(accessor["bufferView"])]
    for image in document.get("images", []):
        uri = image.get("uri")
        if uri is not None and not str(uri).startswith("data:"):
            raise CorruptSource("glb.other-file", file=name, uri=str(uri)[:200])


def _corners(document: Mapping[str, Any], name: str) -> Iterator[F64]:
    """The eight corners of every primitive that the scene shows, in the scene's axes."""
    scenes = document.get("scenes", [])
    nodes = document.get("nodes", [])
    roots = scenes[_index(document.get("scene", 0))].get("nodes", []) if scenes else list(range(len(nodes)))
    seen: set[int] = set()

    def visit(number: int, above: F64, depth: int) -> Iterator[F64]:
        if depth > _DEEPEST or number in seen:
            raise ValueError(f"node {number} is met twice or nested too deep")
        seen.add(number)
        node = nodes[_index(number)]
        matrix = above @ _matrix(node)
        if "mesh" in node:
            for primitive in document["meshes"][_index(node["mesh"])]["primitives"]:
                yield _placed(document["accessors"][_index(primitive["attributes"]["POSITION"])], matrix, name)
        for child in node.get("children", []):
            yield from visit(child, matrix, depth + 1)

    for root in roots:
        yield from visit(root, np.eye(4), 0)


def _placed(accessor: Mapping[str, Any], matrix: F64, name: str) -> F64:
    if "min" not in accessor or "max" not in accessor:
        raise CorruptSource("glb.no-bounds", file=name)
    low, high = _three(accessor["min"]), _three(accessor["max"])
    if accessor.get("normalized"):
        scale = _NORMAL[accessor["componentType"]]
        low, high = np.maximum(low / scale, -1.0), np.maximum(high / scale, -1.0)
    corners = np.array(
        [[(low, high)[i][0], (low, high)[j][1], (low, high)[k][2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    )
    placed: F64 = corners @ matrix[:3, :3].T + matrix[:3, 3]
    return placed


def _matrix(node: Mapping[str, Any]) -> F64:
    """float64[4, 4] of a node: its matrix, or translation, rotation and scale (glTF 2.0 §3.5.2)."""
    if "matrix" in node:
        return np.array([_real(v) for v in node["matrix"]]).reshape(4, 4).T
    x, y, z, w = (_real(v) for v in node.get("rotation", (0, 0, 0, 1)))
    move, scale = (_three(node.get(name, plain)) for name, plain in (("translation", (0, 0, 0)), ("scale", (1, 1, 1))))
    out: F64 = composed(move[None], np.array([[x, y, z, w]]), scale[None])[0]
    return out


def _triangles(document: Mapping[str, Any]) -> int:
    total = 0
    for mesh in document.get("meshes", []):
        for primitive in mesh["primitives"]:
            accessor = primitive.get("indices", primitive["attributes"]["POSITION"])
            count = int(document["accessors"][_index(accessor)]["count"])
            mode = primitive.get("mode", 4)
            total += count // 3 if mode == 4 else max(count - 2, 0) if mode in (5, 6) else 0
    return total


def _three(values: Sequence[Any]) -> F64:
    x, y, z = (_real(v) for v in values)
    return np.array([x, y, z])


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _index(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no index")
    return value
