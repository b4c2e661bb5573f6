"""Shapes out of patches, by the thousand: everything but the last step is done on arrays that run through all objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim.geometry import F32, F64
from tim.place import Box3, Place, ellipsoid
from tim.place.boxes import around
from tim.shape.blob import HEADER, MAGIC, STEP, UV, WIDE, names_text
from tim.shape.patches import Material, Patch, Polygon, Problem
from tim.shape.surfaces import Surfaces, gathered, triangulated

I64 = NDArray[np.int64]


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


def _build(objects: Sequence[Sequence[Patch]], place: Place | None) -> list[Built]:
    problems: list[dict[str, dict[str, Any]]] = [{} for _ in objects]
    surfaces = gathered(objects, problems)
    triangles, of_surface = triangulated(surfaces, place, problems)
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


def _coordinates(surfaces: Surfaces) -> F32 | None:
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
    return of_semantic, of_material, names_text(tuple(semantics), tuple(materials))


class _Indices:
    """The index arrays of many blobs, each counting from the start of its object."""

    def __init__(
        self,
        surfaces: Surfaces,
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
        flags = (UV if uv is not None else 0) | (WIDE if wide else 0)
        head = HEADER.pack(
            MAGIC, 1, flags, len(positions), len(triangles) // 3, len(rings), len(ring_indices), len(semantics), len(text),
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


def _boxes(geographic: F64, starts: I64, count: int) -> list[Box3]:
    """The box of each run of points."""
    low, high = np.minimum.reduceat(geographic, starts), np.maximum.reduceat(geographic, starts)
    boxes: list[Box3] = [(a, b, c, d, e, f) for (a, b, c), (d, e, f) in zip(low.tolist(), high.tolist(), strict=True)]
    ends = np.append(starts[1:], count)
    for k in np.flatnonzero(high[:, 0] - low[:, 0] > 180).tolist():
        boxes[k] = around(geographic[starts[k] : ends[k]])
    return boxes


def _problems(found: Mapping[str, Mapping[str, Any]]) -> tuple[Problem, ...]:
    return tuple((code, dict(fields)) for code, fields in found.items())
