"""One tile content: glb structure (glTF 2.0), the truth of its bounds, and its place inside its tile.

Positions are decoded (quantised and meshopt-compressed ones too), taken through the nodes and the y-up to z-up rule into the tile's
coordinates, and compared with the tile's volume: every vertex, not the corners of a box.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.spec import glb
from tiling.spec.glb import Glb
from tiling.spec.scene import placed_meshes, scaled
from tiling.validate import volumes
from tiling.validate.features import feature_faults
from tiling.validate.report import Issue
from tiling.validate.volumes import Matrix, Volume
from tim.geometry import F64

Y_UP_TO_Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, -1.0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1.0]])
KNOWN_EXTENSIONS = frozenset({
    "EXT_mesh_features", "EXT_meshopt_compression", "EXT_structural_metadata", "EXT_texture_webp", "EXT_instance_features",
    "KHR_materials_unlit", "KHR_mesh_quantization", "KHR_texture_transform", "KHR_texture_basisu", "KHR_materials_specular",
    "KHR_materials_ior", "KHR_materials_pbrSpecularGlossiness", "KHR_draco_mesh_compression", "EXT_mesh_gpu_instancing", "CESIUM_RTC",
    "CESIUM_primitive_outline", "KHR_materials_emissive_strength", "KHR_materials_clearcoat", "KHR_materials_transmission",
})  # fmt: skip
SIGNATURES: Mapping[str, tuple[bytes, int]] = {
    "image/jpeg": (b"\xff\xd8\xff", 0), "image/png": (b"\x89PNG\r\n\x1a\n", 0), "image/webp": (b"WEBP", 8), "image/ktx2": (b"\xabKTX 20\xbb", 0),
}  # fmt: skip
INDEX_TYPES = (5121, 5123, 5125)
BROKEN = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    MemoryError,
    ZeroDivisionError,
)
"""Whatever hostile JSON can provoke in code that reads it."""


@dataclass(frozen=True, slots=True)
class Task:
    """A content to be checked against its tile."""

    path: str
    tile: str
    volume: Volume | None
    world: Matrix
    """Tile to ECEF."""


@dataclass(slots=True)
class Result:
    """What a content showed."""

    issues: list[Issue] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    corners: F64 = field(default_factory=lambda: np.empty((0, 3)))
    """float64[n, 3] ECEF: corners of what was placed."""


def check_glb(data: bytes, task: Task) -> Result:
    """Check one glb. Never raises for what is in it."""
    result = Result(counts={"points": 0, "vertices": 0, "triangles": 0})
    try:
        with np.errstate(all="ignore"):
            document, decoded = glb.parse(data), Decoded()
            result.issues.extend(
                Issue(code, task.path, task.tile, fields) for code, fields in _structure(document, decoded)
            )
            if not any(issue.severity == "error" for issue in result.issues):
                _place(document, decoded, task, result)
    except BROKEN as error:
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        result.issues.append(Issue("glb-broken", task.path, task.tile, {"reason": reason[:300]}))
    return result


Fault = tuple[str, dict[str, Any]]
Decoded = dict[int, NDArray[Any]]
"""Values by accessor, of those that can be read here."""


def _structure(document: Glb, decoded: Decoded) -> Iterator[Fault]:
    top = document.json
    if top["asset"].get("version") != "2.0":
        yield "glb-broken", {"reason": f"asset.version is {top['asset'].get('version')!r}"}
    used, required = top.get("extensionsUsed", []), top.get("extensionsRequired", [])
    for name in required:
        if name not in used:
            yield "glb-extension", {"extension": name}
        elif name not in KNOWN_EXTENSIONS:
            yield "extension-unknown", {"extension": name}
    for name in sorted(_extensions_in(top) - set(used)):
        yield "glb-extension", {"extension": name}
    yield from _buffers(document)
    for index in range(len(top.get("accessors", []))):
        yield from _accessor(document, index, decoded)
    for mesh in top.get("meshes", []):
        for primitive in mesh["primitives"]:
            yield from _primitive(document, primitive, decoded)
    yield from feature_faults(document, decoded)
    for index, image in enumerate(top.get("images", [])):
        if "bufferView" in image:
            magic, at = SIGNATURES.get(image["mimeType"], (b"", 0))
            if not magic or bytes(document.view(image["bufferView"])[at : at + len(magic)]) != magic:
                yield "glb-image", {"image": index, "mime": str(image["mimeType"])}


def _buffers(document: Glb) -> Iterator[Fault]:
    buffers = document.json.get("buffers", [])
    if buffers and "uri" not in buffers[0] and not _fallback(buffers[0]):
        length = buffers[0]["byteLength"]
        if not length <= len(document.binary) <= length + 3:
            yield "glb-broken", {"reason": f"buffer 0 has {length} bytes, the binary chunk {len(document.binary)}"}
    for index, view in enumerate(document.json.get("bufferViews", [])):
        start, length, stride = view.get("byteOffset", 0), view["byteLength"], view.get("byteStride")
        if start < 0 or length < 1 or start + length > buffers[view["buffer"]]["byteLength"]:
            yield "glb-broken", {"reason": f"bufferView {index} leaves its buffer"}
        if stride is not None and (stride % 4 or not 4 <= stride <= 252):
            yield "glb-broken", {"reason": f"bufferView {index} has a stride of {stride}"}


def _accessor(document: Glb, index: int, decoded: Decoded) -> Iterator[Fault]:
    """Size, alignment, finite values, true bounds."""
    top = document.json
    accessor = top["accessors"][index]
    if accessor["count"] < 1:
        yield "glb-broken", {"reason": f"accessor {index} is empty"}
        return
    if "bufferView" in accessor:
        view = top["bufferViews"][accessor["bufferView"]]
        size = np.dtype(glb._DTYPES[accessor["componentType"]]).itemsize
        if accessor.get("byteOffset", 0) % size or (accessor.get("byteOffset", 0) + view.get("byteOffset", 0)) % size:
            yield "glb-broken", {"reason": f"accessor {index} is not aligned to {size} bytes"}
    if not _decodable(document, accessor):
        return
    values = decoded[index] = document.accessor(index)
    if not np.isfinite(values).all():
        yield "glb-not-finite", {"accessor": index}
        return
    for name, true in (("min", values.min(axis=0)), ("max", values.max(axis=0))):
        if name in accessor and not np.array_equal(np.asarray(accessor[name], np.float64).astype(values.dtype), true):
            yield "glb-bounds", {"accessor": index, "bound": name, "found": accessor[name], "expected": true.tolist()}


def _primitive(document: Glb, primitive: Mapping[str, Any], decoded: Decoded) -> Iterator[Fault]:
    top = document.json
    if "POSITION" not in primitive["attributes"]:
        yield "glb-broken", {"reason": "a primitive has no POSITION"}
        return
    position = top["accessors"][primitive["attributes"]["POSITION"]]
    if position["type"] != "VEC3" or "min" not in position or "max" not in position:
        yield "glb-broken", {"reason": "POSITION is not VEC3 with min and max"}
    if position["componentType"] != 5126 and "KHR_mesh_quantization" not in top.get("extensionsRequired", []):
        yield "glb-extension", {"extension": "KHR_mesh_quantization"}
    for name, number in primitive["attributes"].items():
        if top["accessors"][number]["count"] != position["count"]:
            yield (
                "glb-count",
                {"attribute": name, "found": top["accessors"][number]["count"], "expected": position["count"]},
            )
    if "indices" in primitive:
        accessor = top["accessors"][primitive["indices"]]
        if accessor["componentType"] not in INDEX_TYPES or accessor["type"] != "SCALAR":
            yield "glb-broken", {"reason": "indices are not unsigned scalars"}
        elif (indices := decoded.get(primitive["indices"])) is not None:
            highest = int(indices.max())
            if highest >= position["count"]:
                yield "glb-index", {"found": highest, "expected": position["count"]}
    material = primitive.get("material", 0)
    if "material" in primitive and not 0 <= material < len(top.get("materials", [])):
        yield "glb-broken", {"reason": f"material {material} does not exist"}
    mode = primitive.get("mode", 4)
    elements = top["accessors"][primitive["indices"]]["count"] if "indices" in primitive else position["count"]
    if mode not in range(7) or (mode == 4 and elements % 3):
        yield "glb-broken", {"reason": f"mode {mode} with {elements} elements"}


def _place(document: Glb, decoded: Decoded, task: Task, result: Result) -> None:
    """Count, and hold every vertex against the tile's volume."""
    top = document.json
    low, high, farthest = np.full(3, np.inf), np.full(3, -np.inf), 0.0
    unplaced = 0
    for mesh, matrices in placed_meshes(document, decoded.__contains__):
        for primitive in mesh["primitives"]:
            number = primitive["attributes"]["POSITION"]
            accessor = top["accessors"][number]
            elements = top["accessors"][primitive["indices"]]["count"] if "indices" in primitive else accessor["count"]
            times = 1 if matrices is None else len(matrices)
            if primitive.get("mode", 4) == 0:
                result.counts["points"] += elements * times
            else:
                mode = primitive.get("mode", 4)
                result.counts["vertices"] += accessor["count"] * times
                result.counts["triangles"] += (elements // 3 if mode == 4 else max(0, elements - 2)) * times
            if matrices is None or number not in decoded:
                unplaced += 1
                continue
            values = scaled(decoded[number], accessor)
            for matrix in matrices:
                points = volumes.transform(Y_UP_TO_Z_UP @ matrix, values)
                if not (np.abs(points) < 1e50).all():
                    raise ValueError("the nodes' matrices take positions beyond all numbers")
                low, high = np.minimum(low, points.min(axis=0)), np.maximum(high, points.max(axis=0))
                if task.volume is not None:
                    farthest = max(farthest, task.volume.excess(points, task.world))
    if unplaced:
        result.issues.append(Issue("content-not-decoded", task.path, task.tile, {"primitives": unplaced}))
    if task.volume is not None and farthest > tolerance(task.volume):
        result.issues.append(Issue("content-outside-box", task.path, task.tile, {"metres": round(farthest, 4)}))
    if np.isfinite(low).all():
        center, half = (low + high) / 2, (high - low) / 2
        result.corners = volumes.transform(task.world, center + volumes.CORNERS * half)


def tolerance(volume: Volume) -> float:
    """Metres a volume may be overstepped by: 1 mm, more for the large ones of writers with 32-bit floats."""
    return 1e-3 + 1e-7 * volume.size


def _decodable(document: Glb, accessor: Mapping[str, Any]) -> bool:
    """Whether the values can be read here: in the file itself, not sparse, not Draco, meshopt only for attributes with a filter that is undone here."""
    if "bufferView" not in accessor or "sparse" in accessor:
        return False
    view = document.json["bufferViews"][accessor["bufferView"]]
    extension = view.get("extensions", {}).get("EXT_meshopt_compression")
    if extension is not None:
        return bool(
            extension["mode"] == "ATTRIBUTES"
            and extension.get("filter", "NONE") in glb.FILTERS
            and _inside(document, extension["buffer"])
        )
    return _inside(document, view["buffer"])


def _inside(document: Glb, buffer: int) -> bool:
    return buffer == 0 and "uri" not in document.json["buffers"][0]


def _fallback(buffer: Mapping[str, Any]) -> bool:
    return bool(buffer.get("extensions", {}).get("EXT_meshopt_compression", {}).get("fallback"))


def _extensions_in(value: Any) -> set[str]:
    """Names of all extensions an object uses, anywhere below it."""
    found: set[str] = set()
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            extensions = item.get("extensions")
            if isinstance(extensions, dict):
                found.update(extensions)
            stack.extend(v for k, v in item.items() if k != "extras")
        elif isinstance(item, list) and item and isinstance(item[0], dict | list):
            stack.extend(item)
    return found
