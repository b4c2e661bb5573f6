"""The blob of a shape, as :mod:`tim.shape` describes it: written and read, one or many at once."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
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


@dataclass(frozen=True, slots=True)
class Rings:
    """The rings of many shapes at once, one after another; numbers count through all of them, as in :class:`Shapes`."""

    vertices: I64
    """int64[corners]: the vertex at each."""
    ring_ends: I64
    """int64[rings]: past the last corner of each ring."""
    surface_ring_ends: I64
    """int64[surfaces]: past the last ring of each surface, its hull first; a mesh has none."""


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
    return decode_each([blob])[0]


def decode_each(blobs: Sequence[bytes | memoryview]) -> list[Shape]:
    """The shape of each of many blobs: ten times faster than one by one. Raises StoreError ``store.bad-shape``."""
    if not blobs:
        return []
    raw = _Raw(blobs)
    positions = _cut(raw.positions(), raw.vertices)
    uv = raw.uv()
    coordinates = [None] * len(blobs) if uv is None else _cut(uv, raw.vertices)
    sections = zip(*(_cut(raw.section(n).astype(np.uint32), raw.counts(n)) for n in range(len(_SECTIONS))), strict=True)
    out = []
    for k, (triangles, rings, ring_ends, triangle_ends, surface_rings, semantics, materials) in enumerate(sections):
        x, y, z = raw.origins[k].tolist()
        out.append(Shape(
            (x, y, z), positions[k], triangles.reshape(-1, 3), rings, ring_ends, triangle_ends, surface_rings, semantics, materials,
            *_names(raw.texts[k]), coordinates[k] if raw.textured[k] else None,
        ))  # fmt: skip
    return out


def decode_many(blobs: Sequence[bytes | memoryview]) -> Shapes:
    """Many blobs at once. Raises StoreError ``store.bad-shape``."""
    raw = _Raw(blobs)
    semantics: dict[str, int] = {}
    materials: dict[Material | None, int] = {}
    tables: dict[bytes, int] = {}
    number_semantics: list[int] = []
    number_materials: list[int] = []
    firsts: list[tuple[int, int, int, int]] = []
    """Of each text: where its numbers of semantics begin and how many they are, the same of materials."""
    for text in dict.fromkeys(raw.texts):
        own_semantics, own_materials = _names(text)
        tables[text] = len(tables)
        firsts.append((len(number_semantics), len(own_semantics), len(number_materials), len(own_materials)))
        number_semantics += [semantics.setdefault(s, len(semantics)) for s in own_semantics]
        number_materials += [materials.setdefault(m, len(materials)) for m in own_materials]
    first = np.array(firsts, np.int64).reshape(-1, 4)[[tables[text] for text in raw.texts]]

    def global_names(section: int, column: int, numbers: Sequence[int]) -> I64:
        own, of = raw.section(section), first[:, column : column + 2].repeat(raw.surfaces, axis=0)
        if (own >= of[:, 1]).any():
            raise StoreError("store.bad-shape", reason="a name is beyond those there are")
        named: I64 = np.array(numbers, np.int64)[own + of[:, 0]]
        return named

    vertex_ends, triangle_ends = raw.vertices.cumsum(), raw.triangles.cumsum()
    triangles = raw.section(0)
    if (triangles >= raw.vertices.repeat(raw.triangles * 3)).any():
        raise StoreError("store.bad-shape", reason="a triangle is beyond the vertices")
    triangles += (vertex_ends - raw.vertices).repeat(raw.triangles * 3)
    surface_triangle_ends = raw.section(3) + (triangle_ends - raw.triangles).repeat(raw.surfaces)
    if len(triangles) // 3 != surface_triangle_ends[-1:].sum() or (np.diff(surface_triangle_ends, prepend=0) < 0).any():
        raise StoreError("store.bad-shape", reason="a triangle belongs to no surface")
    return Shapes(
        raw.origins, raw.positions(), triangles.astype(np.uint32).reshape(-1, 3), vertex_ends, triangle_ends, raw.surfaces.cumsum(),
        surface_triangle_ends, global_names(5, 0, number_semantics), global_names(6, 2, number_materials),
        tuple(semantics), tuple(materials), raw.uv(),
    )  # fmt: skip


def decode_rings(blobs: Sequence[bytes | memoryview]) -> Rings:
    """The rings of many blobs at once. Raises StoreError ``store.bad-shape``."""
    raw = _Raw(blobs)
    vertices, ring_ends, surface_ends = raw.section(1), raw.section(2), raw.section(4)
    if (vertices >= raw.vertices.repeat(raw.corners)).any():
        raise StoreError("store.bad-shape", reason="a ring is beyond the vertices")
    vertices += (raw.vertices.cumsum() - raw.vertices).repeat(raw.corners)
    ring_ends += (raw.corners.cumsum() - raw.corners).repeat(raw.rings)
    surface_ends += (raw.rings.cumsum() - raw.rings).repeat(raw.surfaces)
    for ends, owned, count, fewest in (
        (ring_ends, raw.rings, raw.corners, 1),
        (surface_ends, raw.surfaces, raw.rings, 0),
    ):
        whole = np.concatenate([[0], ends])[owned.cumsum()] == count.cumsum()
        if not whole.all() or (np.diff(ends, prepend=0) < fewest).any():
            raise StoreError("store.bad-shape", reason="a ring is empty or belongs to no surface")
    return Rings(vertices, ring_ends, surface_ends)


_FIELDS = np.dtype([
    ("magic", "S4"), ("version", "<u2"), ("flags", "<u2"), ("vertices", "<u4"), ("triangles", "<u4"), ("rings", "<u4"),
    ("ring_indices", "<u4"), ("surfaces", "<u4"), ("text", "<u4"), ("origin", "<f8", 3), ("step", "<f8"),
])  # fmt: skip
"""Of :data:`HEADER`."""
_SECTIONS = ("corners", "ring_indices", "rings", "surfaces", "surfaces", "surfaces", "surfaces")
"""Of indices, in their order, and what there is one for."""


class _Raw:
    """Blobs, one behind another, and where in them is what."""

    def __init__(self, blobs: Sequence[bytes | memoryview]) -> None:
        lengths = np.array([len(blob) for blob in blobs], np.int64)
        if (lengths < HEADER.size).any():
            raise StoreError("store.bad-shape", reason="shorter than its header")
        padding = -lengths % 4
        data = b"".join(part for blob, pad in zip(blobs, padding.tolist(), strict=True) for part in (blob, bytes(pad)))
        self._halves = np.frombuffer(data, "<u2")
        self._words = np.frombuffer(data, "<i4")
        starts = (lengths + padding).cumsum() - lengths - padding
        head = np.frombuffer(b"".join([bytes(blob[: HEADER.size]) for blob in blobs]), _FIELDS)
        if (head["magic"] != MAGIC).any() or (head["version"] != 1).any() or (head["step"] != STEP).any():
            raise StoreError("store.bad-shape", reason="magic")
        self.origins: F64 = head["origin"].astype(np.float64)
        self.vertices, self.triangles, self.surfaces = (
            head[name].astype(np.int64) for name in ("vertices", "triangles", "surfaces")
        )
        self.textured, self._wide = (head["flags"] & UV) > 0, (head["flags"] & WIDE) > 0
        self._positions = starts + HEADER.size
        self._uv = self._positions + self.vertices * 12
        counts = {name: head[name].astype(np.int64) for name in ("ring_indices", "rings", "surfaces")}
        self.corners, self.rings = counts["ring_indices"], counts["rings"]
        counts["corners"] = self.triangles * 3
        at = self._uv + self.vertices * 8 * self.textured
        self._sections: list[tuple[I64, I64]] = []
        for name in _SECTIONS:
            self._sections.append((at, counts[name]))
            at = at + counts[name] * np.where(self._wide, 4, 2)
        if (at + head["text"] != starts + lengths).any():
            raise StoreError("store.bad-shape", reason="length")
        self.texts = [bytes(blob[first:]) for blob, first in zip(blobs, (at - starts).tolist(), strict=True)]

    def positions(self) -> I32:
        """int32[n, 3]."""
        return self._words[_runs(self._positions // 4, self.vertices * 3)].reshape(-1, 3)

    def uv(self) -> F32 | None:
        """float32[n, 2], zero where a blob has none; ``None`` where none has any."""
        if not self.textured.any():
            return None
        out = np.zeros((int(self.vertices.sum()), 2), np.float32)
        where = _runs(self._uv // 4, self.vertices * 2 * self.textured)
        out[self.textured.repeat(self.vertices)] = self._words[where].view("<f4").reshape(-1, 2)
        return out

    def counts(self, number: int) -> I64:
        """int64[blobs]: how many indices a section has."""
        return self._sections[number][1]

    def section(self, number: int) -> I64:
        """The indices of one section of all blobs."""
        starts, counts = self._sections[number]
        if not self._wide.any():
            return self._halves[_runs(starts // 2, counts)].astype(np.int64)
        at = _runs(starts // 2, counts, 1 + self._wide.astype(np.int64))
        out = self._halves[at].astype(np.int64)
        wide = self._wide.repeat(counts)
        out[wide] |= self._halves[at[wide] + 1].astype(np.int64) << 16
        return out


def _cut(values: NDArray[Any], counts: I64) -> list[NDArray[Any]]:
    """Runs of so many values each."""
    ends = counts.cumsum().tolist()
    return [values[end - count : end] for end, count in zip(ends, counts.tolist(), strict=True)]


def _runs(starts: I64, counts: I64, stride: I64 | None = None) -> I64:
    """``starts[i]``, ``starts[i] + stride[i]``, … ``counts[i]`` times each, one run behind another."""
    within = np.arange(int(counts.sum())) - (counts.cumsum() - counts).repeat(counts)
    return starts.repeat(counts) + (within if stride is None else within * stride.repeat(counts))


@lru_cache(maxsize=1000)
def _names(text: bytes) -> tuple[tuple[str, ...], tuple[Material | None, ...]]:
    """Semantics and materials; nearly all objects of a dataset have the same."""
    try:
        names = json.loads(text)
        found = tuple(names["semantics"]), tuple(_material(record) for record in names["materials"])
        hash(found)  # a list where a text should be is refused here
        return found
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise StoreError("store.bad-shape", reason=str(error)) from None


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
