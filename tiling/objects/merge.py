"""A glb model taken into a tile's glb: its meshes with their nodes' transforms applied, its materials and images as they are."""

from __future__ import annotations

import base64
import binascii
import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.spec import glb
from tiling.spec.glb import Glb, GlbWriter
from tiling.spec.scene import placed_meshes, scaled
from tim.geometry import F64

CARRIED = frozenset({
    "EXT_texture_webp", "KHR_materials_clearcoat", "KHR_materials_emissive_strength", "KHR_materials_ior",
    "KHR_materials_pbrSpecularGlossiness", "KHR_materials_specular", "KHR_materials_transmission", "KHR_materials_unlit",
    "KHR_texture_basisu", "KHR_texture_transform",
})  # fmt: skip
"""Extensions of materials and textures that mean the same in another glb."""
_RESOLVED = frozenset({"EXT_meshopt_compression", "EXT_mesh_gpu_instancing", "KHR_mesh_quantization"})
"""Gone once the accessors are read."""
_MOST = 4_000_000
"""Vertices of a model with its instances."""
BROKEN = (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError, ZeroDivisionError)
"""What hostile JSON can provoke in code that reads it."""


@dataclass(frozen=True, slots=True)
class Merged:
    """A model's meshes, ready to be placed."""

    primitives: list[dict[str, Any]]
    low: F64
    """float64[3]: in the model's axes (y up)."""
    high: F64
    vertices: int
    triangles: int


class Unsupported(ValueError):
    """The model needs what cannot be carried over."""


def merge(writer: GlbWriter, data: bytes) -> Merged:
    """Write a model's accessors, materials and images; nothing is written where it raises.

    Raises Unsupported, or one of :data:`BROKEN` for what is no sound glb.
    """
    document = glb.parse(data)
    top = document.json
    for name in sorted(top.get("extensionsRequired", [])):
        if name not in CARRIED | _RESOLVED:
            raise Unsupported(name)
    found = _primitives(document)
    if not found:
        raise ValueError("there is nothing to draw in it")
    images = [_image(document, image) for image in top.get("images", [])]
    textures, materials = copy.deepcopy(top.get("textures", [])), copy.deepcopy(top.get("materials", []))
    first = {name: len(writer.json.get(name, [])) for name in ("images", "samplers", "textures", "materials")}
    for texture in textures:
        _shift_texture(texture, first, len(images), len(top.get("samplers", [])))
    for material in materials:
        _shift_material(material, first["textures"], len(textures))
    if any(not 0 <= material < len(materials) for _, _, material, _ in found if material is not None):
        raise ValueError("a material does not exist")
    # From here on it is written.
    for mime, pixels in images:
        writer.image(mime, pixels)
    for name, items in (("samplers", top.get("samplers", [])), ("textures", textures), ("materials", materials)):
        for item in items:
            writer.add(name, item)
    for name in sorted(CARRIED & set(top.get("extensionsUsed", []))):
        writer.extension(name, required=name in top.get("extensionsRequired", []))
    primitives = []
    for attributes, indices, material, mode in found:
        stored = {
            name: writer.vertices(values, normalized=normalized, bounds=name == "POSITION")
            for name, (values, normalized) in attributes.items()
        }
        primitive: dict[str, Any] = {"attributes": stored}
        if indices is not None:
            primitive["indices"] = writer.indices(indices.astype(np.uint32), len(attributes["POSITION"][0]))
        if material is not None:
            primitive["material"] = first["materials"] + material
        if mode != 4:
            primitive["mode"] = mode
        primitives.append(primitive)
    positions = [p[0]["POSITION"][0].astype(np.float64) for p in found]
    return Merged(
        primitives,
        np.min([p.min(axis=0) for p in positions], axis=0),
        np.max([p.max(axis=0) for p in positions], axis=0),
        sum(len(p) for p in positions),
        sum(
            _triangles(mode, len(p[0]["POSITION"][0]) if i is None else i.size) for p in found for i, mode in [p[1::2]]
        ),
    )


_Attributes = dict[str, tuple[NDArray[Any], bool]]
_Found = tuple[_Attributes, NDArray[Any] | None, int | None, int]


def _primitives(document: Glb) -> list[_Found]:
    """Attributes with their values in the model's axes, indices, material, mode of every primitive where it stands."""
    out: list[_Found] = []
    total = 0
    for mesh, matrices in placed_meshes(document):
        if matrices is None:
            continue
        for primitive in mesh["primitives"]:
            if "KHR_draco_mesh_compression" in primitive.get("extensions", {}):
                raise Unsupported("KHR_draco_mesh_compression")
            mode, material = primitive.get("mode", 4), primitive.get("material")
            if mode not in range(7) or not (material is None or isinstance(material, int)):
                raise ValueError("a primitive's mode or material is none")
            read = {
                name: _values(document, number)
                for name, number in primitive["attributes"].items()
                if name.startswith(("POSITION", "NORMAL", "TANGENT", "TEXCOORD_", "COLOR_"))
            }
            indices = None
            if "indices" in primitive:
                indices = _values(document, primitive["indices"])[0].reshape(-1)
                if int(indices.max()) >= len(read["POSITION"][0]):
                    raise ValueError("an index is beyond the vertices")
            total += len(read["POSITION"][0]) * len(matrices)
            if total > _MOST:
                raise Unsupported(f"{total} vertices")
            out.extend((_moved(read, matrix), _turned(indices, matrix, mode), material, mode) for matrix in matrices)
    return out


def _values(document: Glb, number: int) -> tuple[NDArray[Any], bool]:
    accessor = document.json["accessors"][number]
    if "sparse" in accessor or number < 0:
        raise Unsupported("sparse accessors")
    view = document.json["bufferViews"][accessor["bufferView"]] if "bufferView" in accessor else {"buffer": 0}
    if "uri" in document.json["buffers"][view["buffer"]]:
        raise Unsupported("buffers outside the file")
    values = document.accessor(number)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"accessor {number} is not finite")
    if not len(values):
        raise ValueError(f"accessor {number} is empty")
    if accessor.get("normalized") and values.dtype.kind != "f" and accessor["type"] == "VEC3":
        return scaled(values, accessor).astype("<f4"), False
    return values, bool(accessor.get("normalized"))


def _moved(attributes: _Attributes, matrix: F64) -> _Attributes:
    """Positions by the matrix, normals by its inverse transpose, tangents by its linear part."""
    out = dict(attributes)
    turn = matrix[:3, :3]
    out["POSITION"] = (attributes["POSITION"][0].astype(np.float64) @ turn.T + matrix[:3, 3]).astype("<f4"), False
    if "NORMAL" in attributes:
        out["NORMAL"] = _units(attributes["NORMAL"][0] @ np.linalg.inv(turn)).astype("<f4"), False
    if "TANGENT" in attributes:
        values, normalized = attributes["TANGENT"]
        whole = values.astype(np.float64) / (np.iinfo(values.dtype).max if normalized else 1)
        out["TANGENT"] = np.column_stack([_units(whole[:, :3] @ turn.T), np.sign(whole[:, 3])]).astype("<f4"), False
    return out


def _units(vectors: NDArray[Any]) -> F64:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length > 0, vectors / np.where(length > 0, length, 1), [[0.0, 1.0, 0.0]])


def _turned(indices: NDArray[Any] | None, matrix: F64, mode: int) -> NDArray[Any] | None:
    """A mirroring transform would show the inside of triangles."""
    if indices is None or mode != 4 or np.linalg.det(matrix[:3, :3]) >= 0:
        return indices
    return indices.reshape(-1, 3)[:, ::-1].reshape(-1)


def _triangles(mode: int, elements: int) -> int:
    return elements // 3 if mode == 4 else max(0, elements - 2) if mode > 4 else 0


def _image(document: Glb, image: Mapping[str, Any]) -> tuple[str, bytes]:
    if "bufferView" in image:
        return str(image["mimeType"]), bytes(document.view(image["bufferView"]))
    head, _, body = image["uri"].partition(",")
    if not head.startswith("data:image/") or not head.endswith(";base64"):
        raise Unsupported("images outside the file")
    try:
        return head[5:-7], base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _shift_texture(texture: dict[str, Any], first: Mapping[str, int], images: int, samplers: int) -> None:
    for owner in (texture, *texture.get("extensions", {}).values()):
        if "source" in owner:
            owner["source"] = _shifted(owner["source"], first["images"], images)
    if "sampler" in texture:
        texture["sampler"] = _shifted(texture["sampler"], first["samplers"], samplers)


def _shift_material(item: Any, first: int, count: int) -> None:
    """Textures are named by ``…Texture: {index}`` wherever a material and its extensions have them."""
    for name, value in item.items():
        if isinstance(value, dict):
            if name.endswith("Texture") and "index" in value:
                value["index"] = _shifted(value["index"], first, count)
            _shift_material(value, first, count)


def _shifted(index: int, first: int, count: int) -> int:
    if not 0 <= index < count:
        raise ValueError(f"index {index} of {count}")
    return first + index
