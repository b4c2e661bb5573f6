"""Triangles with looks, and how they become primitives: flat, each surface in its colour or its piece of an image.

Attributes are stored plainly: gzip in transfer makes them smaller than EXT_meshopt_compression does (buildings of Delft: 391 bytes each
against 705, or 454 with both).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.objects.looks import Looks
from tiling.objects.texture import Skin
from tiling.spec.glb import GlbWriter
from tiling.spec.streams import LINEAR, Stream, add_streams
from tim.errors import TilingError
from tim.geometry import F32, F64
from tim.place import Frame
from tim.shape import STEP, Shapes

I64 = NDArray[np.int64]
_U16 = 0xFFFF
_MANTISSA = 23
"""Bits of a mantissa of the EXPONENTIAL filter, without its sign."""


@dataclass(frozen=True, slots=True)
class Faces:
    """Triangles of one or many things, in the axes they are written in."""

    positions: F64
    """float64[n, 3]: whole lattice steps, or metres."""
    triangles: I64
    """int64[m, 3]."""
    looks: I64
    """int64[m]: numbers of :class:`tiling.objects.looks.Looks`."""
    features: I64 | None
    """int64[n]: row of the property table; ``None`` where the instances say it."""
    uv: F32 | None


def faces_of(shapes: Shapes, positions: F64, looks: Looks, classes: Sequence[str], features: I64 | None) -> Faces:
    """The faces of decoded shapes. ``classes``, ``features``: of each shape."""
    of_surface = looks.of_surfaces(shapes, classes)
    counts = np.diff(shapes.surface_triangle_ends, prepend=0)
    owner = None if features is None else features[shapes.vertex_object]
    triangles = shapes.triangles.astype(np.int64)
    return Faces(positions, triangles, np.repeat(of_surface, counts), owner, shapes.uv)


def add_faces(
    writer: GlbWriter, faces: Faces, skins: Sequence[Skin], stored: Callable[[I64], Stream]
) -> tuple[list[dict[str, Any]], int]:
    """The primitives of some faces, one for each material, and how many vertices they have.

    skins: what each look became. stored: the POSITION stream of chosen vertices.
    """
    material = np.array([skin.material for skin in skins], np.int64)[faces.looks]
    primitives, vertices = [], 0
    for number in np.unique(material).tolist():
        chosen = slice(None) if (material == number).all() else material == number
        primitive, count = _primitive(writer, faces, faces.triangles[chosen], faces.looks[chosen], skins, stored)
        primitives.append({**primitive, "material": number})
        vertices += count
    return primitives, vertices


def add_bodies(writer: GlbWriter, faces: Faces, skins: Sequence[Skin], step: float) -> tuple[int, F64, F64]:
    """A mesh whose positions are lattice steps in the frame: uint16 where they fit, otherwise integers in float32, exact up to 2²⁴ steps.

    Returns the number of vertices and the corners of all in frame metres.
    """
    low, high = extent(faces.positions)
    span = int((high - low).max())
    small = span <= _U16
    exponent = max(0, span.bit_length() - _MANTISSA - 1)
    origin = low if small else (low + high) // 2
    if small:
        writer.extension("KHR_mesh_quantization", required=True)

    def stored(vertex: I64) -> Stream:
        local = (faces.positions[vertex] - origin).T
        if small:
            return Stream("POSITION", local.astype("<u2"), bounded=True)
        mantissa = np.rint(local / 2**exponent).astype(np.int32)
        packed = mantissa & np.int32(0xFFFFFF) | np.int32(exponent << 24)
        return Stream("POSITION", packed, bounded=True, exponential=True)

    primitives, vertices = add_faces(writer, faces, skins, stored)
    writer.lattice_node(writer.add("meshes", {"primitives": primitives}), [float(v) for v in origin * step], step)
    return vertices, low * step, high * step


def on_lattice(shapes: Shapes, frame: Frame) -> F64:
    """float64[n, 3]: vertices as whole lattice steps in the frame. Raises TilingError beyond ±2³¹ steps."""
    xyz = shapes.positions * np.float64(STEP)
    xyz += np.repeat(shapes.origins, np.diff(shapes.vertex_ends, prepend=0), axis=0)
    steps = frame.from_ecef(xyz)
    steps *= 1 / frame.step
    np.rint(steps, out=steps)
    if len(steps) and not float(np.abs(steps).max()) < 2**31:
        raise TilingError("objects.too-far", kilometres=round(2**31 * frame.step / 1000))
    return steps


def extent(positions: F64) -> tuple[F64, F64]:
    """Lower and upper corner; a column at a time, which is several times faster than by rows."""
    return np.array([c.min() for c in positions.T]), np.array([c.max() for c in positions.T])


def normals_of(positions: F64, triangles: I64) -> NDArray[np.int8]:
    """int8[m, 3]: unit normals times 127; up where a triangle has no area."""
    a = positions[triangles[:, 0]]
    u, v = positions[triangles[:, 1]] - a, positions[triangles[:, 2]] - a
    cross = np.empty_like(u)
    for k in range(3):  # several times faster than numpy.cross
        i, j = (k + 1) % 3, (k + 2) % 3
        cross[:, k] = u[:, i] * v[:, j] - u[:, j] * v[:, i]
    length = np.sqrt(cross[:, 0] ** 2 + cross[:, 1] ** 2 + cross[:, 2] ** 2)
    flat = length == 0
    if flat.any():
        cross[flat], length[flat] = (0.0, 0.0, 1.0), 1.0
    return np.rint(cross * (127 / length)[:, None]).astype(np.int8)


def _primitive(
    writer: GlbWriter, faces: Faces, triangles: I64, looks: I64, skins: Sequence[Skin], stored: Callable[[I64], Stream],
) -> tuple[dict[str, Any], int]:  # fmt: skip
    corners = triangles.reshape(-1)
    skin = skins[int(looks[0])]
    colors = np.array([s.color for s in skins], np.uint8)
    color_numbers = _numbered(colors)[looks]
    uv = None
    if skin.textured:
        uv = _texture_coordinates(faces, triangles, looks, skins)
        words = np.ascontiguousarray(uv).view("<u4" if uv.dtype == np.uint16 else "<u8").reshape(-1)
        tag = _joined(_ranks(words), np.repeat(color_numbers, 3))
    else:
        normals = normals_of(faces.positions, triangles)
        bytes_ = normals.view(np.uint8).astype(np.int64)
        tag = np.repeat(bytes_[:, 0] | bytes_[:, 1] << 8 | bytes_[:, 2] << 16 | color_numbers << 24, 3)
    first, index = _distinct(corners, tag)
    vertex = corners[first]
    streams = [stored(vertex)]
    if uv is None:
        streams.append(Stream("NORMAL", np.ascontiguousarray(normals[first // 3].T), normalized=True))
    else:
        streams.append(Stream("TEXCOORD_0", np.ascontiguousarray(uv[first].T), normalized=uv.dtype == np.uint16))
    shown = colors[looks[first // 3]]
    if uv is None or (shown != 255).any():
        linear = LINEAR[shown]
        linear[:, 3] = shown[:, 3]
        streams.append(Stream("COLOR_0", np.ascontiguousarray(linear.T), normalized=True))
    primitive: dict[str, Any] = {}
    if faces.features is not None:
        features = faces.features[vertex]
        streams.append(Stream("_FEATURE_ID_0", features.astype("<u2" if features.max() <= 0xFFFF else "<f4")[None]))
        writer.extension("EXT_mesh_features")
        ids = {"featureCount": int(np.count_nonzero(np.bincount(features))), "attribute": 0, "propertyTable": 0}
        primitive["extensions"] = {"EXT_mesh_features": {"featureIds": [ids]}}
    primitive["attributes"] = add_streams(writer, streams, compress=False)
    primitive["indices"] = writer.indices(index.astype(np.uint32), len(vertex))
    return primitive, len(vertex)


def _texture_coordinates(faces: Faces, triangles: I64, looks: I64, skins: Sequence[Skin]) -> NDArray[Any]:
    """[corners, 2]: uint16 into a page, or float32 as they are where the image repeats."""
    corners = triangles.reshape(-1)
    assert faces.uv is not None
    uv = faces.uv[corners]
    if skins[int(looks[0])].repeats:
        return uv
    window = np.array([skin.window for skin in skins])[looks]
    placed = folded(uv.reshape(-1, 3, 2)) * window[:, None, :2] + window[:, None, 2:]
    whole: NDArray[Any] = np.rint(np.clip(placed, 0, 1) * 0xFFFF).astype("<u2")
    return whole.reshape(-1, 2)


def folded(uv: NDArray[Any]) -> F64:
    """[triangles, 3, 2] texture coordinates brought as near to 0..1 as whole repetitions allow, each triangle by itself."""
    wide = uv.astype(np.float64)
    wide -= np.floor(wide.min(axis=1, keepdims=True) + 1e-5)
    return wide


def _numbered(rows: NDArray[np.uint8]) -> I64:
    """int64[n]: equal numbers for equal rows of uint8[n, 4]."""
    return _ranks(np.ascontiguousarray(rows).view("<u4").reshape(-1))


def _ranks(values: NDArray[Any]) -> I64:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _joined(a: I64, b: I64) -> I64:
    return a * (int(b.max()) + 1) + b


def _distinct(vertex: I64, tag: I64) -> tuple[I64, I64]:
    """For pairs of a vertex and a tag: where each distinct one comes first, in that order, and for each pair which distinct one it is."""
    span = int(tag.max()) + 1
    if span * (int(vertex.max()) + 1) >= 2**63:
        tag = _ranks(tag)
        span = int(tag.max()) + 1
    _, first, inverse = np.unique(vertex * span + tag, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse]
