"""One node of a mesh tree as a glb: vertices on the dataset's lattice, textures passed through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tiling.meshes.texture import TextureInfo, texture_info
from tiling.spec.glb import Buffer, GlbWriter
from tim.errors import TilingError
from tim.geometry import F64, I32, EncodedImage, Mesh
from tim.place import Frame, LocalMap

_U16 = 65535
_TEXEL_SHARE = 1 / 8
"""Texture coordinates may move this share of a texel when they are stored as integers."""
_BATCH = 1 << 16
"""Vertices placed at once: what is held in float64 stays small and near."""
_CLAMP, _REPEAT, _LINEAR = 33071, 10497, 9729


@dataclass(frozen=True, slots=True)
class Content:
    """A finished tile content."""

    chunks: list[Buffer]
    low: F64
    """float64[3]: lower corner of all vertices, frame metres."""
    high: F64
    vertices: int
    triangles: int


def encode(meshes: Sequence[Mesh], place: LocalMap, frame: Frame) -> Content:
    """The glb of one tile.

    Positions are whole lattice steps from the tile's lower corner: uint16 where they fit, otherwise float32 of exact lattice values.
    Textured meshes are unlit (their light is in the photographs); untextured ones with normals are lit.
    Raises TilingError where a vertex lies beyond the lattice.
    """
    lattice = [on_lattice(mesh.positions, place, frame.step) for mesh in meshes]
    low, high = (corner.astype(np.int64) for corner in extent(lattice))
    small = int((high - low).max()) <= _U16
    writer = GlbWriter()
    if small:
        writer.extension("KHR_mesh_quantization", required=True)
        origin = low
    else:
        # Around the middle float32 holds twice as many whole steps.
        origin = (low + high) // 2
    materials = _Materials(writer)
    primitives: list[dict[str, Any]] = []
    for mesh in meshes:
        q = lattice.pop(0)  # let go of once it is stored
        q -= origin
        primitives.append(_primitive(writer, materials, mesh, _stored(q, frame.step, small), place))
    index = writer.add("meshes", {"primitives": primitives})
    writer.lattice_node(index, [float(v) for v in origin * frame.step], frame.step if small else 1.0)
    vertices, triangles = sum(len(m.positions) for m in meshes), sum(len(m.triangles) for m in meshes)
    step = np.float64(frame.step)
    return Content(writer.chunks(), np.asarray(low * step), np.asarray(high * step), vertices, triangles)


def extent(positions: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Lower and upper corner [3] of several arrays [n, 3]; a column at a time, which is several times faster than by rows."""
    low = [min(p[:, axis].min() for p in positions) for axis in range(3)]
    high = [max(p[:, axis].max() for p in positions) for axis in range(3)]
    return np.array(low), np.array(high)


def on_lattice(positions: NDArray[Any], place: LocalMap, step: float) -> I32:
    """Native positions [n, 3] as int32[n, 3] lattice steps in the frame. Raises TilingError beyond ±2³¹ steps."""
    steps = np.empty((len(positions), 3), np.int32)
    for start in range(0, len(positions), _BATCH):
        # float32 is widened inside the map's first product, exactly.
        placed = place(cast("F64", positions[start : start + _BATCH]))
        np.multiply(placed, 1 / step, out=placed)
        np.rint(placed, out=placed)
        if not float(np.abs(placed).max()) < 2**31:
            raise TilingError("meshes.too-far", kilometres=round(2**31 * step / 1000))
        steps[start : start + _BATCH] = placed
    return steps


def _stored(steps: I32, step: float, small: bool) -> NDArray[Any]:
    """Steps from the tile's origin as they are written; float32 holds up to 2²⁴ of them exactly, and so their product with a power of two."""
    if small:
        return steps.astype(np.uint16)
    metres = steps.astype(np.float32)
    metres *= np.float32(step)
    return metres


def _primitive(
    writer: GlbWriter, materials: _Materials, mesh: Mesh, positions: NDArray[Any], place: LocalMap
) -> dict[str, Any]:
    attributes = {"POSITION": writer.vertices(positions, bounds=True)}
    lit = mesh.texture is None and mesh.normals is not None
    if lit and mesh.normals is not None:
        attributes["NORMAL"] = writer.vertices(_normals(mesh, mesh.normals, place), normalized=True)
    repeat = False
    if mesh.texture is not None and mesh.uv is not None:
        uv, repeat = _texture_coordinates(mesh.uv, materials.info(mesh.texture))
        attributes["TEXCOORD_0"] = writer.vertices(uv, normalized=uv.dtype == np.uint16)
    if mesh.colors is not None:
        attributes["COLOR_0"] = writer.vertices(_colors(mesh.colors), normalized=True)
    return {
        "attributes": attributes,
        "indices": writer.indices(mesh.triangles, len(positions)),
        "material": materials.index(mesh, repeat, lit),
    }


def _texture_coordinates(uv: NDArray[np.float32], info: TextureInfo) -> tuple[NDArray[Any], bool]:
    """uint16 where all lie in the texture and a step is small against a texel, otherwise as they are; whether they repeat it."""
    inside = float(uv.min()) >= 0.0 and float(uv.max()) <= 1.0
    if not inside or max(info.width, info.height) * 0.5 / _U16 > _TEXEL_SHARE:
        return uv, not inside
    scaled = uv * np.float32(_U16)
    np.add(scaled, np.float32(0.5), out=scaled)
    return scaled.astype(np.uint16), False


def _normals(mesh: Mesh, normals: NDArray[np.float32], place: LocalMap) -> NDArray[np.int8]:
    """Native unit vectors turned into the frame (a metre along each), int8[n, 3] normalised."""
    positions = np.asarray(mesh.positions, np.float64)
    turned = place(positions + normals) - place(positions)
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    return np.rint(turned * 127).astype(np.int8)


def _colors(colors: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """uint8[n, 4] sRGB with alpha to uint16[n, 4] linear, as COLOR_0 wants it."""
    linear = _LINEAR_16[colors]
    linear[:, 3] = colors[:, 3].astype(np.uint16) * 257
    return linear


class _Materials:
    """The images, textures and materials of one glb, each written once."""

    def __init__(self, writer: GlbWriter) -> None:
        self.writer = writer
        self.infos: dict[int, TextureInfo] = {}
        self.textures: dict[tuple[int, bool], int] = {}
        self.images: dict[int, int] = {}
        self.samplers: dict[bool, int] = {}
        self.known: dict[tuple[Any, ...], int] = {}

    def info(self, image: EncodedImage) -> TextureInfo:
        """The header of an image, read once."""
        if id(image) not in self.infos:
            self.infos[id(image)] = texture_info(image)
        return self.infos[id(image)]

    def index(self, mesh: Mesh, repeat: bool, lit: bool) -> int:
        """The material of a mesh."""
        image = mesh.texture
        key = (id(image) if image else None, repeat, lit, mesh.base_color)
        if key not in self.known:
            self.known[key] = self.writer.add("materials", self._material(mesh, image, repeat, lit))
        return self.known[key]

    def _material(self, mesh: Mesh, image: EncodedImage | None, repeat: bool, lit: bool) -> dict[str, Any]:
        surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
        transparent = mesh.base_color[3] < 1
        material: dict[str, Any] = {"pbrMetallicRoughness": surface, "doubleSided": True}
        if mesh.base_color != (1.0, 1.0, 1.0, 1.0):
            surface["baseColorFactor"] = [*(_to_linear(c) for c in mesh.base_color[:3]), float(mesh.base_color[3])]
        if image is not None:
            surface["baseColorTexture"] = {"index": self._texture(image, repeat)}
            if self.info(image).alpha:
                material.update(alphaMode="MASK", alphaCutoff=0.5)
        if transparent:
            material["alphaMode"] = "BLEND"
        if not lit:
            self.writer.extension("KHR_materials_unlit")
            material["extensions"] = {"KHR_materials_unlit": {}}
        return material

    def _texture(self, image: EncodedImage, repeat: bool) -> int:
        key = (id(image), repeat)
        if key in self.textures:
            return self.textures[key]
        if repeat not in self.samplers:
            wrap = _REPEAT if repeat else _CLAMP
            sampler = {"magFilter": _LINEAR, "minFilter": _LINEAR, "wrapS": wrap, "wrapT": wrap}
            self.samplers[repeat] = self.writer.add("samplers", sampler)
        if id(image) not in self.images:
            self.images[id(image)] = self.writer.image(image.mime, memoryview(image.data))
        source = self.images[id(image)]
        texture: dict[str, Any] = {"sampler": self.samplers[repeat]}
        if image.mime == "image/webp":
            texture["extensions"] = {"EXT_texture_webp": {"source": source}}
        else:
            texture["source"] = source
        self.textures[key] = self.writer.add("textures", texture)
        return self.textures[key]


def _to_linear(value: float) -> float:
    """sRGB to linear light (IEC 61966-2-1), rounded so that machines agree."""
    value = min(max(value, 0.0), 1.0)
    return round(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4, 6)


_LINEAR_16 = np.array([round(_to_linear(v / 255) * _U16) for v in range(256)], np.uint16)
"""sRGB bytes as linear uint16, finer than bytes in the darks."""
