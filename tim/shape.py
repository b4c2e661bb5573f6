"""The geometry of one object: surfaces with their rings, triangulated once, in one blob that is decoded by the batch.

Coordinates are geocentric (EPSG:4978): whole multiples of :data:`STEP` about an origin that is one as well, so a vertex shared by two
objects has the same coordinates in both, and no map projection is needed again to draw it. A *model* (:func:`model`) is the same about
the origin zero in east, north, up metres; where it stands is said by the representation that uses it.

The blob (little-endian)::

    64 bytes   magic "TIMG", uint16 version, uint16 flags (1: texture coordinates), uint32 vertices, triangles, rings, ring indices,
               surfaces, bytes of JSON; float64 origin[3], float64 step
    int32      positions[vertices, 3]: steps from the origin
    float32    uv[vertices, 2], where flagged; origin top left, v down (glTF)
    index      triangles[triangles, 3], ring indices, ends of rings (in ring indices), per surface: end in triangles, end in rings,
               semantic, material; uint16 where every value fits, otherwise uint32, as bit 2 of the flags says
    UTF-8      {"semantics": [...], "materials": [...]}

Triangles stand in the order of their surfaces; a surface without rings is a mesh. Polygons come back from rings, holes after their hull.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim.errors import StoreError
from tim.geometry import F32, F64, I32, U32
from tim.place import Box3, Place, ellipsoid

FORMAT = "tim-shape"
"""What a representation with such a blob says as its format."""
STEP = 2.0**-12
"""Metres: the lattice of all coordinates."""

_MAGIC = b"TIMG"
_HEADER = struct.Struct("<4sHH6I4d")
_UV, _WIDE = 1, 2
_FLAT = 1e-9
"""Square metres: a polygon with less area is none."""
_CROSSING = 1e-3
"""Share of a polygon's area by which its triangles may differ from it; more, and its rings cross."""

I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Material:
    """How a surface looks. ``image`` is the content hash of a blob: a JPEG, PNG or WebP file."""

    color: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    """sRGB with alpha, 0..1; multiplies the image."""
    image: str = ""
    mime: str = ""
    repeat: bool = False
    """Whether texture coordinates beyond 0..1 repeat the image."""


@dataclass(frozen=True, slots=True)
class Polygon:
    """A flat surface: a hull and its holes, counter-clockwise seen from outside (holes clockwise)."""

    rings: Sequence[F64]
    """float64[n, 3] each, native, without the closing vertex."""
    semantic: str = ""
    """``RoofSurface``, ``WallSurface``, … as the source names it; empty where it does not."""
    material: Material | None = None
    uv: Sequence[F32] | None = None
    """float32[n, 2] for each ring."""


@dataclass(frozen=True, slots=True)
class Triangles:
    """A surface that comes as triangles."""

    positions: F64
    """float64[n, 3], native."""
    triangles: U32
    """uint32[m, 3], counter-clockwise seen from outside."""
    semantic: str = ""
    material: Material | None = None
    uv: F32 | None = None
    """float32[n, 2]."""


Patch = Polygon | Triangles
Problem = tuple[str, Mapping[str, Any]]


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
class Built:
    """What :func:`build` made of one object."""

    blob: bytes
    """Empty where nothing could be drawn."""
    box: Box3 | None
    vertices: int = 0
    triangles: int = 0
    problems: Sequence[Problem] = field(default_factory=tuple)
    """``shape.…`` codes, each with ``surface`` (its number) and ``count`` of the same kind: surfaces left out or doubtful."""


def build(objects: Sequence[Sequence[Patch]], place: Place) -> list[Built]:
    """The blobs of many objects, all of whose coordinates are native to ``place``; some thousand objects at once are fastest.

    A surface that is not finite, has fewer than three different points or no area is left out and named in the problems; one whose
    rings cross is kept as far as it can be triangulated and named as well. Raises PlaceError where coordinates have no place.
    """
    return _build(objects, place)


def model(patches: Sequence[Patch]) -> Built:
    """The blob of a model: coordinates are east, north, up metres about the point it is placed by. It has no box."""
    return _build([patches], None)[0]


def encode(shape: Shape) -> bytes:
    """The blob of a shape."""
    indices = [
        shape.triangles.reshape(-1), shape.ring_indices, shape.ring_ends, shape.surface_triangle_ends, shape.surface_ring_ends,
        shape.surface_semantics, shape.surface_materials,
    ]  # fmt: skip
    wide = max((int(part.max()) for part in indices if part.size), default=0) > 0xFFFF
    flags = (_UV if shape.uv is not None else 0) | (_WIDE if wide else 0)
    text = _names_text(shape.semantics, shape.materials)
    head = _HEADER.pack(
        _MAGIC, 1, flags, len(shape.positions), len(shape.triangles), len(shape.ring_ends), len(shape.ring_indices),
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
            magic, version, flags, v, t, r, ri, s, text, x, y, z, step = _HEADER.unpack_from(blob)
            if magic != _MAGIC or version != 1 or step != STEP:
                raise ValueError("magic")
            at = _HEADER.size
            self.positions = np.frombuffer(blob, "<i4", v * 3, at).reshape(v, 3)
            at += v * 12
            self.uv = None
            if flags & _UV:
                self.uv = np.frombuffer(blob, "<f4", v * 2, at).reshape(v, 2)
                at += v * 8
            kind = "<u4" if flags & _WIDE else "<u2"
            width = 4 if flags & _WIDE else 2
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


def _material_record(material: Material | None) -> list[Any] | None:
    return None if material is None else [list(material.color), material.image, material.mime, material.repeat]


def _material(record: Sequence[Any] | None) -> Material | None:
    if record is None:
        return None
    r, g, b, a = record[0]
    return Material((r, g, b, a), record[1], record[2], record[3])


@dataclass(slots=True)
class _Surfaces:
    """The patches of many objects, one after another, and their points; numbers count through all of them."""

    patches: list[Patch]
    object: I64
    """int64[surfaces]"""
    number: list[int]
    """Of each surface in its object, left-out ones counted."""
    ring_sizes: I64
    """int64[rings]; what comes as triangles has one."""
    ring_counts: I64
    """int64[surfaces]"""
    polygon: NDArray[np.bool_]
    """bool[surfaces]: whether it is one."""
    native: F64
    """float64[points, 3]"""

    @property
    def point_counts(self) -> I64:
        """int64[surfaces]"""
        ends = np.concatenate([[0], np.cumsum(self.ring_sizes)])[np.cumsum(self.ring_counts)]
        return np.diff(ends, prepend=0)

    def only(self, kept: NDArray[np.bool_]) -> _Surfaces:
        """Some of the surfaces, with their points."""
        rings = np.repeat(kept, self.ring_counts)
        points = np.repeat(kept, self.point_counts)
        rows = np.flatnonzero(kept).tolist()
        return _Surfaces(
            [self.patches[i] for i in rows], self.object[kept], [self.number[i] for i in rows], self.ring_sizes[rings],
            self.ring_counts[kept], self.polygon[kept], self.native[points],
        )  # fmt: skip


def _gathered(objects: Sequence[Sequence[Patch]], problems: Sequence[dict[str, dict[str, Any]]]) -> _Surfaces:
    """The surfaces that have enough points and finite ones; the others are noted."""
    patches: list[Patch] = []
    owners: list[int] = []
    numbers: list[int] = []
    sizes: list[int] = []
    counts: list[int] = []
    polygon: list[bool] = []
    points: list[F64] = []
    for index, own in enumerate(objects):
        for number, patch in enumerate(own):
            flat = isinstance(patch, Polygon)
            rings = patch.rings if isinstance(patch, Polygon) else (patch.positions,)
            if not rings or len(rings[0]) < 3:
                whole = all(np.isfinite(ring).all() for ring in rings)
                _note(problems[index], "shape.too-few-points" if whole else "shape.not-finite", number)
                continue
            patches.append(patch)
            owners.append(index)
            numbers.append(number)
            sizes.extend(map(len, rings))
            counts.append(len(rings))
            polygon.append(flat)
            points.extend(rings)
    native = np.concatenate(points).astype(np.float64, copy=False) if points else np.empty((0, 3))
    out = _Surfaces(
        patches, np.array(owners, np.int64), numbers, np.array(sizes, np.int64), np.array(counts, np.int64),
        np.array(polygon, np.bool_), native,
    )  # fmt: skip
    finite = np.isfinite(native).all(axis=1)
    if finite.all():
        return out
    bad = np.bincount(np.repeat(np.arange(len(patches)), out.point_counts)[~finite], minlength=len(patches)) > 0
    for i in np.flatnonzero(bad).tolist():
        _note(problems[owners[i]], "shape.not-finite", numbers[i])
    return out.only(~bad)


def _build(objects: Sequence[Sequence[Patch]], place: Place | None) -> list[Built]:
    problems: list[dict[str, dict[str, Any]]] = [{} for _ in objects]
    surfaces = _gathered(objects, problems)
    triangles, of_surface = _triangulated(surfaces, place, problems)
    drawn = np.bincount(of_surface, minlength=len(surfaces.patches)) > 0
    if not drawn.all():
        points = np.repeat(drawn, surfaces.point_counts)
        triangles = (np.cumsum(points) - 1)[triangles]
        of_surface = (np.cumsum(drawn) - 1)[of_surface]
        surfaces = surfaces.only(drawn)
    if not surfaces.patches:
        return [Built(b"", None, problems=_problems(found)) for found in problems]
    geographic = None if place is None else place.to_geographic(surfaces.native)
    metres = surfaces.native if geographic is None else ellipsoid.to_ecef(geographic)
    lattice = np.rint(metres / STEP).astype(np.int64)
    uv = _coordinates(surfaces)
    owner = np.repeat(surfaces.object, surfaces.point_counts)
    vertex, representatives = _merged(owner, lattice, uv)
    present = np.unique(surfaces.object)
    vertex_ends = np.searchsorted(owner[representatives], present, side="right")
    vertex_starts = np.concatenate([[0], vertex_ends[:-1]])
    corners = lattice[representatives]
    low, high = np.minimum.reduceat(corners, vertex_starts), np.maximum.reduceat(corners, vertex_starts)
    origins = (low + high) // 2 if place is not None else np.zeros((len(present), 3), np.int64)
    steps = corners - np.repeat(origins, vertex_ends - vertex_starts, axis=0)
    too_large = np.maximum(high - origins, origins - low).max(axis=1) >= 2**31
    row = np.searchsorted(present, surfaces.object)  # of each surface's object among the present ones
    parts = _Indices(surfaces, triangles, of_surface, vertex, vertex_starts, row, len(present))
    boxes = None if geographic is None else _boxes(geographic, np.searchsorted(owner, present), len(owner))
    out = [Built(b"", None, problems=_problems(found)) for found in problems]
    names: dict[Any, tuple[I64, I64, bytes]] = {}
    positions = steps.astype("<i4")
    for k, index in enumerate(present.tolist()):
        found = out[index].problems
        if too_large[k]:
            out[index] = Built(b"", None, problems=(*found, ("shape.too-large", {"surface": 0, "count": 1})))
            continue
        own = surfaces.patches[parts.surface_starts[k] : parts.surface_ends[k]]
        key = tuple((patch.semantic, patch.material) for patch in own)
        if key not in names:
            names[key] = _named(key)
        span = slice(vertex_starts[k], vertex_ends[k])
        textured = uv is not None and any(patch.uv is not None for patch in own)
        origin = (origins[k] * STEP).tolist()
        blob = parts.encoded(
            k, origin, positions[span], uv[representatives[span]] if textured and uv is not None else None, names[key]
        )
        count = int(parts.triangle_ends[k] - parts.triangle_starts[k])
        out[index] = Built(
            blob, None if boxes is None else boxes[k], int(vertex_ends[k] - vertex_starts[k]), count, found
        )
    return out


def _coordinates(surfaces: _Surfaces) -> F32 | None:
    """float32[points, 2]: texture coordinates, zero where a surface has none; ``None`` where no surface has any."""
    if all(patch.uv is None for patch in surfaces.patches):
        return None
    uv = np.zeros((len(surfaces.native), 2), np.float32)
    at = 0
    for patch, count in zip(surfaces.patches, surfaces.point_counts.tolist(), strict=True):
        if patch.uv is not None:
            uv[at : at + count] = np.concatenate(patch.uv) if isinstance(patch, Polygon) else patch.uv
        at += count
    return uv


def _named(surfaces: Sequence[tuple[str, Material | None]]) -> tuple[I64, I64, bytes]:
    """Semantic and material of each surface as indices, and the text with both."""
    semantics: dict[str, int] = {}
    materials: dict[Material | None, int] = {}
    of_semantic = np.array([semantics.setdefault(s, len(semantics)) for s, _ in surfaces], np.int64)
    of_material = np.array([materials.setdefault(m, len(materials)) for _, m in surfaces], np.int64)
    return of_semantic, of_material, _names_text(tuple(semantics), tuple(materials))


def _names_text(semantics: Sequence[str], materials: Sequence[Material | None]) -> bytes:
    names = {"semantics": semantics, "materials": [_material_record(m) for m in materials]}
    return json.dumps(names, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


class _Indices:
    """The index arrays of many blobs, each counting from the start of its object."""

    def __init__(
        self,
        surfaces: _Surfaces,
        triangles: I64,
        of_surface: I64,
        vertex: I64,
        vertex_starts: I64,
        row: I64,
        objects: int,
    ) -> None:
        flat = vertex[triangles]
        kept = (flat[:, 0] != flat[:, 1]) & (flat[:, 1] != flat[:, 2]) & (flat[:, 0] != flat[:, 2])
        flat, of_surface = flat[kept], of_surface[kept]
        self.triangles = (flat - vertex_starts[row[of_surface]][:, None]).reshape(-1)
        self.surface_ends = np.cumsum(np.bincount(row, minlength=objects))
        self.surface_starts = np.concatenate([[0], self.surface_ends[:-1]])
        counts = np.bincount(of_surface, minlength=len(row))
        self.triangle_starts, self.triangle_ends, self.surface_triangles = self._ends(counts, row, objects)
        in_rings = np.repeat(surfaces.polygon, surfaces.point_counts)
        self.ring_indices = (vertex - vertex_starts[np.repeat(row, surfaces.point_counts)])[in_rings]
        ring_of = np.repeat(np.arange(len(row)), surfaces.ring_counts)
        flat_ring = surfaces.polygon[ring_of]
        self.point_starts, self.point_ends, self.rings = self._ends(
            surfaces.ring_sizes[flat_ring], row[ring_of[flat_ring]], objects
        )
        ring_counts = np.where(surfaces.polygon, surfaces.ring_counts, 0)
        self.ring_starts, self.ring_ends, self.surface_rings = self._ends(ring_counts, row, objects)

    @staticmethod
    def _ends(counts: I64, row: I64, objects: int) -> tuple[I64, I64, I64]:
        """Where each object's run begins and ends, and the running totals within each object."""
        totals = np.bincount(row, counts, minlength=objects).astype(np.int64)
        ends = np.cumsum(totals)
        starts = ends - totals
        return starts, ends, np.cumsum(counts) - starts[row]

    def encoded(
        self,
        k: int,
        origin: Sequence[float],
        positions: NDArray[np.int32],
        uv: F32 | None,
        names: tuple[I64, I64, bytes],
    ) -> bytes:
        """The blob of an object; the same bytes as :func:`encode`."""
        surface = slice(self.surface_starts[k], self.surface_ends[k])
        triangles = self.triangles[3 * self.triangle_starts[k] : 3 * self.triangle_ends[k]]
        rings = self.rings[self.ring_starts[k] : self.ring_ends[k]]
        ring_indices = self.ring_indices[self.point_starts[k] : self.point_ends[k]]
        semantics, materials, text = names
        indices = np.concatenate([
            triangles, ring_indices, rings, self.surface_triangles[surface], self.surface_rings[surface], semantics, materials,
        ])  # fmt: skip
        wide = int(indices.max()) > 0xFFFF
        flags = (_UV if uv is not None else 0) | (_WIDE if wide else 0)
        head = _HEADER.pack(
            _MAGIC, 1, flags, len(positions), len(triangles) // 3, len(rings), len(ring_indices), len(semantics), len(text),
            *origin, STEP,
        )  # fmt: skip
        coordinates = b"" if uv is None else uv.astype("<f4").tobytes()
        return b"".join(
            [head, positions.tobytes(), coordinates, indices.astype("<u4" if wide else "<u2").tobytes(), text]
        )


def _merged(owner: I64, lattice: I64, uv: F32 | None) -> tuple[I64, I64]:
    """For every point the number of its vertex, and for every vertex a point that stands for it; vertices come object by object.

    Points are the same vertex where object, lattice position and texture coordinates agree.
    """
    key = np.zeros(len(owner), np.uint64)
    columns = [*lattice.T.astype(np.uint64)]
    if uv is not None:
        columns += [np.ascontiguousarray(uv[:, k]).view(np.uint32).astype(np.uint64) for k in (0, 1)]
    for column in columns:
        key ^= column
        key *= np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
    keyed = owner.astype(np.uint64) << np.uint64(40) | key >> np.uint64(24)
    _, first, inverse = np.unique(keyed, return_index=True, return_inverse=True)
    same = (lattice == lattice[first[inverse]]).all(axis=1)
    if uv is not None:
        same &= (uv == uv[first[inverse]]).all(axis=1)
    if not same.all():  # two different points with one key: every point for itself then
        order = np.argsort(owner, kind="stable")
        number = np.empty_like(order)
        number[order] = np.arange(len(order))
        return number, order
    return inverse.astype(np.int64), first.astype(np.int64)


def _triangulated(
    surfaces: _Surfaces, place: Place | None, problems: Sequence[dict[str, dict[str, Any]]]
) -> tuple[I64, I64]:
    """int64[m, 3] into all points, and int64[m] the surface of each, in the order of surfaces; those without area have none."""
    starts = np.cumsum(surfaces.point_counts) - surfaces.point_counts
    found: list[tuple[I64, I64]] = []
    for i in np.flatnonzero(~surfaces.polygon).tolist():
        patch = surfaces.patches[i]
        if isinstance(patch, Triangles) and len(patch.triangles):
            found.append((patch.triangles.astype(np.int64) + starts[i], np.full(len(patch.triangles), i)))
    if surfaces.polygon.any():
        native = surfaces.native * _metres(surfaces.native, place)
        rows = np.flatnonzero(surfaces.polygon)
        normals = _newell(surfaces, rows, starts, native)
        areas = np.linalg.norm(normals, axis=1)
        for k in np.flatnonzero(areas <= _FLAT).tolist():
            _note(problems[surfaces.object[rows[k]]], "shape.no-area", surfaces.number[rows[k]])
        there = areas > _FLAT
        single = surfaces.ring_counts[rows] == 1
        points = surfaces.point_counts[rows]
        three, four = there & single & (points == 3), np.flatnonzero(there & single & (points == 4))
        found.append((starts[rows[three]][:, None] + np.arange(3), rows[three]))
        halves, convex = _quads(starts[rows[four]], native, normals[four])
        found.append((halves.reshape(-1, 3), np.repeat(rows[four[convex]], 2)))
        rest = there & ~three
        rest[four[convex]] = False
        ring_starts = np.cumsum(surfaces.ring_counts) - surfaces.ring_counts
        for k in np.flatnonzero(rest).tolist():
            i = int(rows[k])
            sizes = surfaces.ring_sizes[ring_starts[i] : ring_starts[i] + surfaces.ring_counts[i]]
            at = native[starts[i] : starts[i] + points[k]]
            cut, crossing = _earcut(at, sizes, normals[k], float(areas[k]))
            if crossing:
                _note(problems[surfaces.object[i]], "shape.rings-cross", surfaces.number[i])
            found.append((cut + starts[i], np.full(len(cut), i)))
    if not found:
        return np.empty((0, 3), np.int64), np.empty(0, np.int64)
    triangles, owner = np.concatenate([t for t, _ in found]), np.concatenate([o for _, o in found])
    order = np.argsort(owner, kind="stable")
    return triangles[order], owner[order]


def _metres(native: F64, place: Place | None) -> F64:
    """float64[3]: what makes metres of degrees, near enough to judge areas and angles; one where the unit is a length."""
    if place is None:
        return np.ones(3)
    step = 1e-3
    at = place.to_ecef(native[:1] + np.array([[0.0, 0, 0], [step, 0, 0], [0, step, 0]]))
    east, north = (np.linalg.norm(at[1:] - at[0], axis=1) / step).tolist()
    return np.array([east, north, 1.0]) if north > 1000 else np.ones(3)


def _newell(surfaces: _Surfaces, rows: I64, starts: I64, native: F64) -> F64:
    """float64[polygons, 3]: area times unit normal of each (Newell's method), holes taken off by their winding."""
    ring_of = np.repeat(np.arange(len(surfaces.patches)), surfaces.ring_counts)
    chosen = surfaces.polygon[ring_of]
    sizes = surfaces.ring_sizes[chosen]
    first = (np.cumsum(surfaces.ring_sizes) - surfaces.ring_sizes)[chosen]
    owner = np.repeat(np.arange(len(rows)), surfaces.ring_counts[rows])
    begin = np.cumsum(sizes) - sizes
    here = np.arange(int(sizes.sum())) - np.repeat(begin - first, sizes)
    following = here + 1
    following[np.cumsum(sizes) - 1] = first
    shift = np.repeat(native[starts[rows]][owner], sizes, axis=0)
    cross = np.cross(native[here] - shift, native[following] - shift)
    by_ring = np.add.reduceat(cross, begin, axis=0)
    out = np.zeros((len(rows), 3))
    hull = np.concatenate([[True], owner[1:] != owner[:-1]])
    out[owner[hull]] = by_ring[hull]
    # A hole takes area off whichever way it is wound.
    for k in np.flatnonzero(~hull):
        against = np.sign(np.dot(by_ring[k], out[owner[k]]))
        out[owner[k]] -= against * by_ring[k]
    return out / 2


def _quads(start: I64, native: F64, normals: F64) -> tuple[I64, NDArray[np.bool_]]:
    """int64[convex, 6]: the convex quadrilaterals halved along their shorter diagonal; bool[n]: which they are."""
    corner = native[start[:, None] + np.arange(4)]
    edges = np.roll(corner, -1, axis=1) - corner
    turn = np.cross(edges, np.roll(edges, -1, axis=1))
    convex = ((turn * normals[:, None, :]).sum(axis=2) > 0).all(axis=1)
    across = np.linalg.norm(corner[:, 0] - corner[:, 2], axis=1) <= np.linalg.norm(corner[:, 1] - corner[:, 3], axis=1)
    split = np.where(across[:, None], [[0, 1, 2, 0, 2, 3]], [[0, 1, 3, 1, 2, 3]]) + start[:, None]
    return split[convex], convex


def _earcut(points: F64, ring_sizes: I64, normal: F64, area: float) -> tuple[I64, bool]:
    """int64[m, 3] into the points of a polygon, and whether its rings cross."""
    from mapbox_earcut import triangulate_float64

    axis = int(np.abs(normal).argmax())
    keep = [(1, 2), (2, 0), (0, 1)][axis]
    flat = np.ascontiguousarray((points - points[0])[:, keep])
    if normal[axis] < 0:
        flat = np.ascontiguousarray(flat * np.array([-1.0, 1.0]))
    cut = triangulate_float64(flat, np.cumsum(ring_sizes, dtype=np.uint32)).reshape(-1, 3).astype(np.int64)
    a, b, c = (flat[cut[:, k]] for k in range(3))
    doubled = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    cut[doubled < 0] = cut[doubled < 0][:, ::-1]
    seen = float(np.abs(doubled).sum()) / 2 * area / abs(float(normal[axis]))
    return cut, abs(seen - area) > _CROSSING * area


def _boxes(geographic: F64, starts: I64, count: int) -> list[Box3]:
    """The box of each run of points."""
    low, high = np.minimum.reduceat(geographic, starts), np.maximum.reduceat(geographic, starts)
    boxes: list[Box3] = [(a, b, c, d, e, f) for (a, b, c), (d, e, f) in zip(low.tolist(), high.tolist(), strict=True)]
    ends = np.append(starts[1:], count)
    for k in np.flatnonzero(high[:, 0] - low[:, 0] > 180).tolist():
        boxes[k] = _box(geographic[starts[k] : ends[k]])
    return boxes


def _box(geographic: F64) -> Box3:
    """The box of some geographic points; across the antimeridian west exceeds east."""
    low, high = geographic.min(axis=0), geographic.max(axis=0)
    west, east = float(low[0]), float(high[0])
    if east - west > 180:
        lon = geographic[:, 0] % 360
        west, east = ((float(v) + 180) % 360 - 180 for v in (lon.min(), lon.max()))
    return west, float(low[1]), float(low[2]), east, float(high[1]), float(high[2])


def _note(problems: dict[str, dict[str, Any]], code: str, surface: int) -> None:
    found = problems.setdefault(code, {"surface": surface, "count": 0})
    found["count"] += 1


def _problems(found: Mapping[str, Mapping[str, Any]]) -> tuple[Problem, ...]:
    return tuple((code, dict(fields)) for code, fields in found.items())
