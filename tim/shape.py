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
    names = {"semantics": shape.semantics, "materials": [_material_record(m) for m in shape.materials]}
    text = json.dumps(names, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
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
class _Surface:
    """A patch on its way: where its points lie among all points, and its triangles once it has them."""

    object: int
    number: int
    start: int
    ring_sizes: tuple[int, ...]
    patch: Patch
    triangles: NDArray[np.int64] | None = None
    """int64[m, 3]: into all points."""


def _build(objects: Sequence[Sequence[Patch]], place: Place | None) -> list[Built]:
    problems: list[dict[str, dict[str, Any]]] = [{} for _ in objects]
    surfaces: list[_Surface] = []
    points: list[F64] = []
    uvs: list[F32 | None] = []
    total = 0
    for index, patches in enumerate(objects):
        for number, patch in enumerate(patches):
            rings = patch.rings if isinstance(patch, Polygon) else [patch.positions]
            sizes = tuple(len(ring) for ring in rings)
            if not all(np.isfinite(ring).all() for ring in rings):
                _note(problems[index], "shape.not-finite", number)
                continue
            if not sizes or sizes[0] < 3:
                _note(problems[index], "shape.too-few-points", number)
                continue
            surfaces.append(_Surface(index, number, total, sizes, patch))
            points.extend(rings)
            if isinstance(patch, Polygon):
                uvs.extend(patch.uv if patch.uv is not None else [None] * len(rings))
            else:
                uvs.append(patch.uv)
            total += sum(sizes)
    if not surfaces:
        return [Built(b"", None, problems=_problems(found)) for found in problems]
    native = np.concatenate(points)
    _triangulate(surfaces, native, problems)
    surfaces = [s for s in surfaces if s.triangles is not None and len(s.triangles)]
    geographic = None if place is None else place.to_geographic(native)
    metres = native if geographic is None else ellipsoid.to_ecef(geographic)
    lattice = np.rint(metres / STEP).astype(np.int64)
    textured = any(uv is not None for uv in uvs)
    uv = None
    if textured:
        uv = np.zeros((len(native), 2), np.float32)
        at = 0
        for part, coordinates in zip(points, uvs, strict=True):
            if coordinates is not None:
                uv[at : at + len(part)] = coordinates
            at += len(part)
    by_object: list[list[_Surface]] = [[] for _ in objects]
    for surface in surfaces:
        by_object[surface.object].append(surface)
    owner = np.zeros(len(native), np.int64)
    for surface in surfaces:
        owner[surface.start : surface.start + sum(surface.ring_sizes)] = surface.object
    vertex, representatives = _merged(owner, lattice, uv)
    first_vertex = np.searchsorted(owner[representatives], np.arange(len(objects) + 1))
    out = []
    for index, own in enumerate(by_object):
        found = _problems(problems[index])
        if not own:
            out.append(Built(b"", None, problems=found))
            continue
        chosen = representatives[first_vertex[index] : first_vertex[index + 1]]
        spans = [np.arange(s.start, s.start + sum(s.ring_sizes)) for s in own]
        used = np.unique(vertex[np.concatenate(spans)])  # left-out surfaces of this object leave no vertices behind
        chosen = representatives[used]
        renumber = {int(v): i for i, v in enumerate(used)} if len(used) != used[-1] - used[0] + 1 else None
        base = int(used[0])
        at_lattice = lattice[chosen]
        low, high = at_lattice.min(axis=0), at_lattice.max(axis=0)
        origin = (low + high) // 2 if place is not None else np.zeros(3, np.int64)
        steps = at_lattice - origin
        if int(np.abs(steps).max()) >= 2**31:
            out.append(Built(b"", None, problems=(*found, ("shape.too-large", {"surface": 0, "count": 1}))))
            continue
        shape = _assemble(
            own, vertex, base, renumber, steps.astype(np.int32), origin, None if uv is None else uv[chosen]
        )
        box = None if geographic is None else _box(geographic[np.concatenate(spans)])
        out.append(Built(encode(shape), box, len(chosen), len(shape.triangles), found))
    return out


def _assemble(
    own: Sequence[_Surface], vertex: I64, base: int, renumber: Mapping[int, int] | None, steps: I32, origin: I64, uv: F32 | None,
) -> Shape:  # fmt: skip
    def local(indices: NDArray[np.int64]) -> U32:
        merged = vertex[indices]
        if renumber is None:
            return (merged - base).astype(np.uint32)
        return np.array([renumber[int(v)] for v in merged.reshape(-1)], np.uint32).reshape(merged.shape)

    semantics: dict[str, int] = {}
    materials: dict[Material | None, int] = {}
    triangles = [s.triangles for s in own if s.triangles is not None]
    flat = local(np.concatenate(triangles))
    kept = (flat[:, 0] != flat[:, 1]) & (flat[:, 1] != flat[:, 2]) & (flat[:, 0] != flat[:, 2])
    counts = np.array([len(t) for t in triangles])
    owners = np.repeat(np.arange(len(own)), counts)[kept]
    ends = np.searchsorted(owners, np.arange(len(own)), side="right")
    ring_indices: list[NDArray[np.int64]] = []
    ring_sizes: list[int] = []
    ring_ends: list[int] = []
    for surface in own:
        if isinstance(surface.patch, Polygon):
            ring_indices.append(np.arange(surface.start, surface.start + sum(surface.ring_sizes)))
            ring_sizes.extend(surface.ring_sizes)
        ring_ends.append(len(ring_sizes))
    named = any(s.patch.uv is not None for s in own)
    return Shape(
        origin=(float(origin[0] * STEP), float(origin[1] * STEP), float(origin[2] * STEP)),
        positions=steps, triangles=flat[kept],
        ring_indices=local(np.concatenate(ring_indices)) if ring_indices else np.empty(0, np.uint32),
        ring_ends=np.cumsum(ring_sizes, dtype=np.uint32) if ring_sizes else np.empty(0, np.uint32),
        surface_triangle_ends=ends.astype(np.uint32), surface_ring_ends=np.array(ring_ends, np.uint32),
        surface_semantics=np.array([semantics.setdefault(s.patch.semantic, len(semantics)) for s in own], np.uint32),
        surface_materials=np.array([materials.setdefault(s.patch.material, len(materials)) for s in own], np.uint32),
        semantics=tuple(semantics), materials=tuple(materials), uv=uv if named else None,
    )  # fmt: skip


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


def _triangulate(surfaces: Sequence[_Surface], native: F64, problems: Sequence[dict[str, dict[str, Any]]]) -> None:
    """Give every surface its triangles; those without area stay without."""
    polygons = [s for s in surfaces if isinstance(s.patch, Polygon)]
    for surface in surfaces:
        if isinstance(surface.patch, Triangles):
            surface.triangles = surface.patch.triangles.astype(np.int64) + surface.start
    if not polygons:
        return
    normals = _newell(polygons, native)
    areas = np.linalg.norm(normals, axis=1)
    rest = []
    simple = {3: [], 4: []}  # type: dict[int, list[int]]
    for i, surface in enumerate(polygons):
        if areas[i] <= _FLAT:
            _note(problems[surface.object], "shape.no-area", surface.number)
        elif len(surface.ring_sizes) == 1 and surface.ring_sizes[0] in simple:
            simple[surface.ring_sizes[0]].append(i)
        else:
            rest.append(i)
    for i in simple[3]:
        start = polygons[i].start
        polygons[i].triangles = np.array([[start, start + 1, start + 2]], np.int64)
    rest += _quads(polygons, simple[4], native, normals)
    for i in sorted(rest):
        _earcut(polygons[i], native, normals[i], float(areas[i]), problems)


def _newell(polygons: Sequence[_Surface], native: F64) -> F64:
    """float64[polygons, 3]: area times unit normal of each (Newell's method), holes taken off by their winding."""
    sizes = np.array([size for s in polygons for size in s.ring_sizes], np.int64)
    starts = np.array([s.start + sum(s.ring_sizes[:k]) for s in polygons for k in range(len(s.ring_sizes))], np.int64)
    owner = np.repeat(np.arange(len(polygons)), [len(s.ring_sizes) for s in polygons])
    begin = np.cumsum(sizes) - sizes
    here = np.arange(int(sizes.sum())) - np.repeat(begin - starts, sizes)
    following = here + 1
    following[np.cumsum(sizes) - 1] = starts
    about = native[np.array([s.start for s in polygons])][owner]
    shift = np.repeat(about, sizes, axis=0)
    cross = np.cross(native[here] - shift, native[following] - shift)
    by_ring = np.add.reduceat(cross, begin, axis=0)
    out = np.zeros((len(polygons), 3))
    hull = np.concatenate([[True], owner[1:] != owner[:-1]])
    out[owner[hull]] = by_ring[hull]
    # A hole takes area off whichever way it is wound.
    for k in np.flatnonzero(~hull):
        against = np.sign(np.dot(by_ring[k], out[owner[k]]))
        out[owner[k]] -= against * by_ring[k]
    return out / 2


def _quads(polygons: Sequence[_Surface], chosen: list[int], native: F64, normals: F64) -> list[int]:
    """Halve the convex quadrilaterals along their shorter diagonal; the others are given back."""
    if not chosen:
        return []
    start = np.array([polygons[i].start for i in chosen])
    corner = native[start[:, None] + np.arange(4)]
    edges = np.roll(corner, -1, axis=1) - corner
    turn = np.cross(edges, np.roll(edges, -1, axis=1))
    convex = ((turn * normals[chosen][:, None, :]).sum(axis=2) > 0).all(axis=1)
    across = np.linalg.norm(corner[:, 0] - corner[:, 2], axis=1) <= np.linalg.norm(corner[:, 1] - corner[:, 3], axis=1)
    split = np.where(across[:, None], [[0, 1, 2, 0, 2, 3]], [[0, 1, 3, 1, 2, 3]]) + start[:, None]
    left = []
    for row, i in enumerate(chosen):
        if convex[row]:
            polygons[i].triangles = split[row].reshape(2, 3)
        else:
            left.append(i)
    return left


def _earcut(
    surface: _Surface, native: F64, normal: F64, area: float, problems: Sequence[dict[str, dict[str, Any]]]
) -> None:
    from mapbox_earcut import triangulate_float64

    points = native[surface.start : surface.start + sum(surface.ring_sizes)]
    axis = int(np.abs(normal).argmax())
    keep = [(1, 2), (2, 0), (0, 1)][axis]
    flat = np.ascontiguousarray((points - points[0])[:, keep])
    if normal[axis] < 0:
        flat = np.ascontiguousarray(flat * np.array([-1.0, 1.0]))
    cut = triangulate_float64(flat, np.cumsum(surface.ring_sizes, dtype=np.uint32)).reshape(-1, 3).astype(np.int64)
    a, b, c = (flat[cut[:, k]] for k in range(3))
    doubled = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    cut[doubled < 0] = cut[doubled < 0][:, ::-1]
    seen = float(np.abs(doubled).sum()) / 2 * area / abs(float(normal[axis]))
    if abs(seen - area) > _CROSSING * area:
        _note(problems[surface.object], "shape.rings-cross", surface.number)
    surface.triangles = cut + surface.start


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
