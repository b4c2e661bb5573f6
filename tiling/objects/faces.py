"""Triangles with looks, and how they become primitives: flat, each surface in its colour or its piece of an image.

Attributes are stored plainly: gzip in transfer makes them smaller than EXT_meshopt_compression does (buildings of Delft: 391 bytes each
against 705, or 454 with both).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from tiling.objects.drawn import Drawn
from tiling.objects.looks import Looks
from tiling.objects.texture import Skin
from tiling.spec.glb import GlbWriter
from tiling.spec.streams import LINEAR
from tim.errors import StoreError, TilingError
from tim.geometry import F32, F64
from tim.place import Frame
from tim.shape import STEP, Problem, Shapes, decode_many

I64 = NDArray[np.int64]
_U16 = 0xFFFF
_ROUNDS = 8
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


def decoded(objects: Sequence[Drawn]) -> tuple[Shapes, I64, list[tuple[int, Problem]]]:
    """All bodies at once; int64[shapes]: whose each is; and whose are broken: they are left out."""
    blobs = [blob for o in objects for blob in o.shapes]
    owners = np.repeat(np.arange(len(objects)), [len(o.shapes) for o in objects])
    try:
        return decode_many(blobs), owners, []
    except StoreError:
        good: list[int] = []
        problems: list[tuple[int, Problem]] = []
        for number, blob in enumerate(blobs):
            owner = int(owners[number])
            try:
                decode_many([blob])
                good.append(number)
            except StoreError as error:
                whose = str(UUID(bytes=objects[owner].tim_id))
                problems.append(
                    (owner, ("objects.shape-broken", {"object": whose, "reason": str(error.fields["reason"])}))
                )
        return decode_many([blobs[number] for number in good]), owners[np.array(good, np.int64)], problems


def faces_of(shapes: Shapes, positions: F64, looks: Looks, rgba: Sequence[int]) -> Faces:
    """The faces of decoded models. ``rgba``: of the class of each."""
    of_surface = looks.of_surfaces(shapes, rgba)
    counts = np.diff(shapes.surface_triangle_ends, prepend=0)
    triangles = shapes.triangles.astype(np.int64)
    return Faces(positions, triangles, np.repeat(of_surface, counts), None, shapes.uv)


@dataclass(frozen=True, slots=True)
class Run:
    """The vertices of one primitive without images."""

    vertex: I64
    """int64[k]: rows of the positions."""
    low: F64
    """float64[3]: their lower corner."""
    high: F64
    normals: NDArray[np.int8]
    """int8[k, 4], the last to pad."""
    colors: NDArray[np.uint8]
    """uint8[k, 4], linear."""
    index: I64
    """int64[corners]: rows of ``vertex``."""


def runs_of(positions: F64, triangles: I64, colors: NDArray[np.uint8], ends: I64) -> list[Run]:
    """Flat primitives, all at once: what numpy does costs nearly the same for one as for fifty.

    colors: uint8[m, 4] of the triangles, sRGB. ends: past the last triangle of each run; none is empty, and no vertex is in two of them
    in the same colour.
    """
    corners = triangles.reshape(-1)
    normals = normals_of(positions, triangles)
    color = np.ascontiguousarray(colors).view("<u4").reshape(-1).astype(np.int64)
    bytes_ = normals.view(np.uint8).astype(np.int64)
    tag = bytes_[:, 0] | bytes_[:, 1] << 8 | bytes_[:, 2] << 16 | _ranks(color) << 24
    first, index = _distinct(corners, np.repeat(tag, 3))
    vertex, triangle = corners[first], first // 3
    linear = LINEAR[colors]
    linear[:, 3] = colors[:, 3]
    shown, placed = linear[triangle], positions[vertex]
    facing = np.zeros((len(vertex), 4), np.int8)
    facing[:, :3] = normals[triangle]
    stops = np.searchsorted(first, 3 * ends)
    starts = np.concatenate([[0], stops[:-1]])
    low, high = (np.column_stack([f.reduceat(column, starts) for column in placed.T]) for f in (np.minimum, np.maximum))
    index -= np.repeat(starts, np.diff(ends, prepend=0) * 3)
    out = []
    triangle_starts = [0, *ends[:-1].tolist()]
    bounds = zip(starts.tolist(), stops.tolist(), triangle_starts, ends.tolist(), strict=True)
    for number, (a, b, c, d) in enumerate(bounds):
        out.append(Run(vertex[a:b], low[number], high[number], facing[a:b], shown[a:b], index[3 * c : 3 * d]))
    return out


@dataclass(frozen=True, slots=True)
class Stored:
    """How positions of a mesh are written."""

    origin: F64
    """float64[3]: what is taken off first, in the unit of the positions."""
    exponent: int = 0
    """Float32 hold whole multiples of 2 to this power."""
    small: bool = False
    """uint16 instead."""

    @classmethod
    def lattice(cls, low: F64, high: F64) -> Stored:
        """For whole lattice steps between two corners: uint16 where they fit, otherwise integers in float32, exact up to 2²⁴ steps."""
        span = int((high - low).max())
        if span <= _U16:
            return cls(low, small=True)
        return cls((low + high) // 2, max(0, span.bit_length() - _MANTISSA - 1))

    def add(self, writer: GlbWriter, positions: F64, low: F64, high: F64) -> int:
        """The accessor of some positions (float64[k, 3]), of which these are the corners."""
        local = positions - self.origin
        if self.small:
            writer.extension("KHR_mesh_quantization", required=True)
            padded = np.zeros((len(local), 4), "<u2")
            padded[:, :3] = local
            return writer.vertices(
                padded, width=3, bounds=((low - self.origin).tolist(), (high - self.origin).tolist())
            )
        if self.exponent:
            local = np.ldexp(np.rint(np.ldexp(local, -self.exponent)), self.exponent)
        return writer.vertices(local.astype("<f4"), bounds=True)


METRES = Stored(np.zeros(3))
"""Positions as they are, in float32."""


def add_run(writer: GlbWriter, run: Run, positions: F64, features: I64 | None, stored: Stored) -> dict[str, Any]:
    """A primitive, its material not yet said. features: int64[n], of the positions."""
    writer.extension("KHR_mesh_quantization", required=True)
    primitive: dict[str, Any] = {}
    attributes = {
        "POSITION": stored.add(writer, positions[run.vertex], run.low, run.high),
        "NORMAL": writer.vertices(run.normals, width=3, normalized=True),
        "COLOR_0": writer.vertices(run.colors, normalized=True),
    }
    _add_features(writer, primitive, attributes, features, run.vertex)
    primitive["attributes"] = attributes
    primitive["indices"] = writer.indices(run.index, len(run.vertex))
    return primitive


def add_faces(
    writer: GlbWriter, faces: Faces, skins: Sequence[Skin], stored: Stored
) -> tuple[list[dict[str, Any]], int]:
    """The primitives of some faces, one for each material, and how many vertices they have. skins: what each look became."""
    material = np.array([skin.material for skin in skins], np.int64)[faces.looks]
    colors = np.array([skin.color for skin in skins], np.uint8)
    primitives, vertices = [], 0
    for number in np.unique(material).tolist():
        chosen = slice(None) if (material == number).all() else material == number
        triangles, looks = faces.triangles[chosen], faces.looks[chosen]
        if skins[int(looks[0])].textured:
            primitive, count = _pictured(writer, faces, triangles, looks, skins, stored)
        else:
            (run,) = runs_of(faces.positions, triangles, colors[looks], np.array([len(triangles)]))
            primitive, count = add_run(writer, run, faces.positions, faces.features, stored), len(run.vertex)
        primitives.append({**primitive, "material": number})
        vertices += count
    return primitives, vertices


def add_lattice_mesh(writer: GlbWriter, primitives: list[dict[str, Any]], stored: Stored, step: float) -> None:
    """A mesh whose positions are lattice steps in the frame."""
    origin = [float(v) for v in stored.origin * step]
    writer.lattice_node(writer.add("meshes", {"primitives": primitives}), origin, step)


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


def _pictured(
    writer: GlbWriter, faces: Faces, triangles: I64, looks: I64, skins: Sequence[Skin], stored: Stored,
) -> tuple[dict[str, Any], int]:  # fmt: skip
    """A primitive with an image, unlit: without normals."""
    corners = triangles.reshape(-1)
    colors = np.array([s.color for s in skins], np.uint8)
    uv = _texture_coordinates(faces, triangles, looks, skins)
    words = np.ascontiguousarray(uv).view("<u4" if uv.dtype == np.uint16 else "<u8").reshape(-1)
    color = _ranks(np.ascontiguousarray(colors).view("<u4").reshape(-1))[looks]
    first, index = _distinct(corners, _joined(_ranks(words), np.repeat(color, 3)))
    vertex = corners[first]
    positions = faces.positions[vertex]
    attributes = {
        "POSITION": stored.add(writer, positions, *extent(positions)),
        "TEXCOORD_0": writer.vertices(uv[first], normalized=uv.dtype == np.uint16),
    }
    shown = colors[looks[first // 3]]
    if (shown != 255).any():
        linear = LINEAR[shown]
        linear[:, 3] = shown[:, 3]
        attributes["COLOR_0"] = writer.vertices(linear, normalized=True)
    primitive: dict[str, Any] = {}
    _add_features(writer, primitive, attributes, faces.features, vertex)
    primitive["attributes"] = attributes
    primitive["indices"] = writer.indices(index, len(vertex))
    return primitive, len(vertex)


def _add_features(
    writer: GlbWriter, primitive: dict[str, Any], attributes: dict[str, int], features: I64 | None, vertex: I64
) -> None:
    """Whose each vertex is (EXT_mesh_features), unless the instances say it."""
    if features is None:
        return
    own = features[vertex]
    padded = np.zeros((len(own), 2), "<u2")
    if small := own.max() <= _U16:
        padded[:, 0] = own
    attributes["_FEATURE_ID_0"] = writer.vertices(padded if small else own.astype("<f4"), width=1)
    writer.extension("EXT_mesh_features")
    ids = {"featureCount": int(np.count_nonzero(np.bincount(own))), "attribute": 0, "propertyTable": 0}
    primitive["extensions"] = {"EXT_mesh_features": {"featureIds": [ids]}}


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


def _ranks(values: NDArray[Any]) -> I64:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _joined(a: I64, b: I64) -> I64:
    return a * (int(b.max()) + 1) + b


def _distinct(vertex: I64, tag: I64) -> tuple[I64, I64]:
    """For pairs of a vertex and a tag: where each distinct one comes first, in that order, and for each pair which distinct one it is.

    Each round finds, for every vertex, the pairs that are like its first one; few vertices have more than three tags, so this is twice as
    fast as sorting.
    """
    first_of = np.arange(len(vertex))
    first = np.empty(int(vertex.max()) + 1, np.int64)
    left, v, t = first_of.copy(), vertex, tag
    for _ in range(_ROUNDS):
        first[v[::-1]] = left[::-1]  # of those written to one place the last stays
        chosen = first[v]
        same = tag[chosen] == t
        first_of[left[same]] = chosen[same]
        other = ~same
        left, v, t = left[other], v[other], t[other]
        if not len(left):
            break
    else:
        pair = _joined(_ranks(v), _ranks(t))
        _, place, which = np.unique(pair, return_index=True, return_inverse=True)
        first_of[left] = left[place[which]]
    firsts = np.flatnonzero(first_of == np.arange(len(first_of)))
    rank = np.empty_like(first_of)
    rank[firsts] = np.arange(len(firsts))
    return firsts, rank[first_of]
