"""The blob of a shape, as :mod:`tim.shape` describes it: written and read, one or many at once."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim.errors import StoreError
from tim.geometry import F32, F64, I32, U32
from tim.shape.patches import Material

FORMAT = "tim-shape"
"""What a representation with such a blob says as its format."""
STEP = 2.0**-12
"""Metres: the lattice of all coordinates."""
MAGIC = b"TIMG"
HEADER = struct.Struct("<4sHH6I4d")
UV, WIDE = 1, 2
"""Flags."""
I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoded blob; see the module's text for the arrays."""

    origin: tuple[float, float, float]
    positions: I32
    triangles: U32
    ring_indices: U32
    ring_ends: U32
    surface_triangle_ends: U32
    surface_ring_ends: U32
    surface_semantics: U32
    surface_materials: U32
    semantics: tuple[str, ...]
    materials: tuple[Material | None, ...]
    uv: F32 | None = None

    @property
    def xyz(self) -> F64:
        """float64[n, 3]: geocentric metres (of a model: local metres)."""
        metres: F64 = self.positions * STEP + np.array(self.origin)
        return metres

    def polygons(self) -> list[tuple[str, list[U32]]]:
        """Semantic and rings (vertex indices) of every surface that has rings."""
        out, first = [], 0
        ends = self.ring_ends.tolist()
        for end, semantic in zip(self.surface_ring_ends.tolist(), self.surface_semantics.tolist(), strict=True):
            if end > first:
                spans = [(ends[i - 1] if i else 0, ends[i]) for i in range(first, end)]
                out.append((self.semantics[semantic], [self.ring_indices[a:b] for a, b in spans]))
            first = end
        return out


@dataclass(frozen=True, slots=True)
class Shapes:
    """Many shapes at once, one after another; indices count through all of them."""

    origins: F64
    """float64[objects, 3]."""
    positions: I32
    """int32[n, 3]: steps from the origin of the vertex's object."""
    triangles: U32
    """uint32[m, 3]."""
    vertex_ends: I64
    """int64[objects]: past the last vertex of each object."""
    triangle_ends: I64
    surface_ends: I64
    surface_triangle_ends: I64
    surface_semantics: I64
    """Indices into :attr:`semantics`."""
    surface_materials: I64
    """Indices into :attr:`materials`."""
    semantics: tuple[str, ...]
    materials: tuple[Material | None, ...]
    uv: F32 | None
    """float32[n, 2]; zero for the vertices of objects that have none; ``None`` where no object has any."""

    @property
    def vertex_object(self) -> I64:
        """int64[n]: which object each vertex belongs to."""
        return np.repeat(np.arange(len(self.vertex_ends)), np.diff(self.vertex_ends, prepend=0))

    @property
    def triangle_surface(self) -> I64:
        """int64[m]: which surface each triangle belongs to."""
        counts = np.diff(self.surface_triangle_ends, prepend=0)
        return np.repeat(np.arange(len(counts)), counts)


def encode(shape: Shape) -> bytes:
    """The blob of a shape."""
    indices = [
        shape.triangles.reshape(-1), shape.ring_indices, shape.ring_ends, shape.surface_triangle_ends, shape.surface_ring_ends,
        shape.surface_semantics, shape.surface_materials,
    ]  # fmt: skip
    wide = max((int(part.max()) for part in indices if part.size), default=0) > 0xFFFF
    flags = (UV if shape.uv is not None else 0) | (WIDE if wide else 0)
    text = names_text(shape.semantics, shape.materials)
    head = HEADER.pack(
        MAGIC, 1, flags, len(shape.positions), len(shape.triangles), len(shape.ring_ends), len(shape.ring_indices),
        len(shape.surface_triangle_ends), len(text), *shape.origin, STEP,
    )  # fmt: skip
    kind = "<u4" if wide else "<u2"
    parts = [head, shape.positions.astype("<i4").tobytes()]
    if shape.uv is not None:
        parts.append(shape.uv.astype("<f4").tobytes())
    return b"".join([*parts, *(part.astype(kind).tobytes() for part in indices), text])


def decode(blob: bytes | memoryview) -> Shape:
    """The shape of a blob. Raises StoreError ``store.bad-shape`` for anything else."""
    raw = _Raw(blob)
    uv = None if raw.uv is None else raw.uv.copy()
    triangles, ring_indices, ring_ends, triangle_ends, surface_rings, semantics, materials = (
        part.astype(np.uint32) for part in raw.indices
    )
    return Shape(
        raw.origin, raw.positions.copy(), triangles.reshape(-1, 3), ring_indices, ring_ends, triangle_ends, surface_rings, semantics,
        materials, raw.semantics, raw.materials, uv,
    )  # fmt: skip


def decode_many(blobs: Sequence[bytes | memoryview]) -> Shapes:
    """Many blobs at once. Raises StoreError ``store.bad-shape``."""
    raws = [_Raw(blob) for blob in blobs]
    semantics: dict[str, int] = {}
    materials: dict[Material | None, int] = {}
    counts = np.array([(r.vertices, r.triangles, r.surfaces) for r in raws], np.int64).reshape(-1, 3)
    ends = counts.cumsum(axis=0)
    starts = ends - counts
    tables: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    triangles, surface_ends, surface_semantics, surface_materials = [], [], [], []
    for raw, (vertex, triangle, _) in zip(raws, starts.tolist(), strict=True):
        if raw.text not in tables:
            tables[raw.text] = (
                np.array([semantics.setdefault(s, len(semantics)) for s in raw.semantics], np.int64),
                np.array([materials.setdefault(m, len(materials)) for m in raw.materials], np.int64),
            )
        table = tables[raw.text]
        tri, _, _, surface_triangle_ends, _, semantic, material = raw.indices
        triangles.append(tri.astype(np.uint32) + np.uint32(vertex))
        surface_ends.append(surface_triangle_ends.astype(np.int64) + triangle)
        surface_semantics.append(table[0][semantic])
        surface_materials.append(table[1][material])
    textured = any(raw.uv is not None for raw in raws)
    return Shapes(
        origins=np.array([r.origin for r in raws], np.float64).reshape(-1, 3),
        positions=_joined([r.positions for r in raws], np.dtype(np.int32), (0, 3)),
        triangles=_joined(triangles, np.dtype(np.uint32), (0,)).reshape(-1, 3),
        vertex_ends=ends[:, 0], triangle_ends=ends[:, 1], surface_ends=ends[:, 2],
        surface_triangle_ends=_joined(surface_ends, np.dtype(np.int64), (0,)),
        surface_semantics=_joined(surface_semantics, np.dtype(np.int64), (0,)),
        surface_materials=_joined(surface_materials, np.dtype(np.int64), (0,)),
        semantics=tuple(semantics), materials=tuple(materials),
        uv=np.concatenate([r.uv if r.uv is not None else np.zeros((r.vertices, 2), np.float32) for r in raws]) if textured else None,
    )  # fmt: skip


def _joined(parts: Sequence[NDArray[Any]], dtype: np.dtype[Any], empty: tuple[int, ...]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(empty, dtype)


class _Raw:
    """A blob's arrays, still in the blob."""

    __slots__ = (
        "indices",
        "materials",
        "origin",
        "positions",
        "semantics",
        "surfaces",
        "text",
        "triangles",
        "uv",
        "vertices",
    )

    def __init__(self, blob: bytes | memoryview) -> None:
        try:
            magic, version, flags, v, t, r, ri, s, text, x, y, z, step = HEADER.unpack_from(blob)
            if magic != MAGIC or version != 1 or step != STEP:
                raise ValueError("magic")
            at = HEADER.size
            self.positions = np.frombuffer(blob, "<i4", v * 3, at).reshape(v, 3)
            at += v * 12
            self.uv = None
            if flags & UV:
                self.uv = np.frombuffer(blob, "<f4", v * 2, at).reshape(v, 2)
                at += v * 8
            kind = "<u4" if flags & WIDE else "<u2"
            width = 4 if flags & WIDE else 2
            sizes = (t * 3, ri, r, s, s, s, s)
            whole = np.frombuffer(blob, kind, sum(sizes), at)
            self.indices, first = [], 0
            for size in sizes:
                self.indices.append(whole[first : first + size])
                first += size
            at += width * first
            if len(blob) != at + text:
                raise ValueError("length")
            self.text = str(memoryview(blob)[at:], "utf-8")
            self.semantics, self.materials = _names(self.text)
        except (ValueError, KeyError, TypeError, struct.error) as error:
            raise StoreError("store.bad-shape", reason=str(error)) from None
        self.origin = (x, y, z)
        self.vertices, self.triangles, self.surfaces = v, t, s


_NAMES: dict[str, tuple[tuple[str, ...], tuple[Material | None, ...]]] = {}


def _names(text: str) -> tuple[tuple[str, ...], tuple[Material | None, ...]]:
    """Semantics and materials; nearly all objects of a dataset have the same."""
    if (found := _NAMES.get(text)) is None:
        names = json.loads(text)
        found = tuple(names["semantics"]), tuple(_material(record) for record in names["materials"])
        if len(_NAMES) > 1000:
            _NAMES.clear()
        _NAMES[text] = found
    return found


def names_text(semantics: Sequence[str], materials: Sequence[Material | None]) -> bytes:
    """The text at a blob's end."""
    names = {"semantics": semantics, "materials": [_material_record(m) for m in materials]}
    return json.dumps(names, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def _material_record(material: Material | None) -> list[Any] | None:
    return None if material is None else [list(material.color), material.image, material.mime, material.repeat]


def _material(record: Sequence[Any] | None) -> Material | None:
    if record is None:
        return None
    r, g, b, a = record[0]
    return Material((r, g, b, a), record[1], record[2], record[3])
