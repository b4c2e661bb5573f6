"""Whether shapes are what they should be: solids closed, level surfaces free of crossings. Looked at by the batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim.errors import StoreError
from tim.geometry import F64
from tim.place import ellipsoid
from tim.quality.findings import Problem
from tim.shape import STEP, Shape, decode

I64 = NDArray[np.int64]
_LEVEL = 0.5
"""Cosine of the slope up to which a surface is looked at from above."""
_CROSSING = 1e-3
"""Share of its area that a polygon's parts may overlap by, or 0.01 m²: less is rounding."""


def read(blob: bytes) -> Shape | None:
    """A shape; ``None`` for bytes that are none, also where its numbers point beyond what there is."""
    try:
        shape = decode(blob)
    except StoreError:
        return None
    rings, corners = len(shape.ring_ends), len(shape.ring_indices)
    whole = (
        _ends(shape.ring_ends, corners)
        and _ends(shape.surface_ring_ends, rings)
        and _ends(shape.surface_triangle_ends, len(shape.triangles))
        and all(part.size == 0 or int(part.max()) < len(shape.positions) for part in (shape.ring_indices, shape.triangles))
    )  # fmt: skip
    return shape if whole else None


def problems(shapes: Sequence[Shape], solid: Sequence[bool]) -> Iterator[tuple[int, Problem]]:
    """What is wrong with shapes, with the number of each; ``solid``: which of them should be closed."""
    closed = [number for number, wanted in enumerate(solid) if wanted]
    for number, count in zip(closed, open_edges([shapes[number] for number in closed]).tolist(), strict=True):
        if count:
            yield number, ("quality.unclosed", {"edges": count})
    for number, metres in crossings(shapes):
        yield number, ("quality.self-intersection", {"area": round(metres, 3)})


def open_edges(shapes: Sequence[Shape]) -> I64:
    """int64[n]: edges of each shape that an odd number of its surfaces share; none where it is closed.

    Vertices in one place count as one. Surfaces with rings are looked at by their rings, meshes by their triangles.
    """
    if not sum(len(shape.positions) for shape in shapes):
        return np.zeros(len(shapes), np.int64)
    rings, (first, last, owner) = _Rings(shapes), _mesh_edges(shapes)
    place = _welded(np.concatenate([shape.positions for shape in shapes]), rings.vertex_counts)
    a, b = place[np.concatenate([rings.corners, first])], place[np.concatenate([rings.after, last])]
    owner = np.concatenate([rings.owner.repeat(rings.sizes), owner])
    edges = np.stack([np.minimum(a, b), np.maximum(a, b)], axis=1)
    edges, owner = edges[a != b], owner[a != b]
    order = np.lexsort((edges[:, 1], edges[:, 0]))
    edges, owner = edges[order], owner[order]
    at = np.flatnonzero(np.concatenate([[True], (edges[1:] != edges[:-1]).any(axis=1)])[: len(edges)])
    odd = np.diff(at, append=len(edges)) % 2 == 1
    return np.bincount(owner[at[odd]], minlength=len(shapes))


def crossings(shapes: Sequence[Shape]) -> Iterator[tuple[int, float]]:
    """Shapes with level surfaces whose rings cross, and the area in m² that lies twice, or on the wrong side, of the worst."""
    import shapely

    rings = _Rings(shapes)
    if not len(rings.sizes):
        return
    flat = _flat(shapes, rings.vertex_counts)[rings.corners]
    about = flat - flat[rings.starts].repeat(rings.sizes, axis=0)
    normals = np.add.reduceat(np.cross(about, about[rings.next]), rings.starts)
    hulls = np.flatnonzero(np.diff(rings.surface, prepend=-1))
    level = np.abs(normals[hulls, 2]) > _LEVEL * np.linalg.norm(normals[hulls], axis=1)
    level &= np.minimum.reduceat(rings.sizes, hulls) > 2
    wanted = level.repeat(np.diff(hulls, append=len(rings.sizes)))
    if not wanted.any():
        return
    points, sizes = flat[wanted.repeat(rings.sizes), :2], rings.sizes[wanted]
    _, polygon = np.unique(rings.surface[wanted], return_inverse=True)
    owner = rings.owner[wanted][np.flatnonzero(np.diff(polygon, prepend=-1))]
    made = shapely.polygons(shapely.linearrings(points, indices=np.arange(len(sizes)).repeat(sizes)), indices=polygon)
    worst: dict[int, float] = {}
    for at in np.flatnonzero(~shapely.is_valid(made)).tolist():
        whole = float(shapely.area(shapely.make_valid(made[at])))
        lost = abs(whole - float(shapely.area(made[at])))
        if lost > max(_CROSSING * whole, 0.01):
            worst[int(owner[at])] = max(worst.get(int(owner[at]), 0.0), lost)
    yield from sorted(worst.items())


class _Rings:
    """The rings of many shapes, one behind another; numbers of vertices and surfaces count through all of them."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self.vertex_counts = np.array([len(shape.positions) for shape in shapes], np.int64)
        vertices = self.vertex_counts.cumsum() - self.vertex_counts
        self.corners = _joined([s.ring_indices + np.int64(v) for s, v in zip(shapes, vertices.tolist(), strict=True)])
        """int64[corners]: vertices."""
        self.sizes = _joined([np.diff(s.ring_ends.astype(np.int64), prepend=0) for s in shapes])
        """int64[rings]: corners."""
        self.starts = self.sizes.cumsum() - self.sizes
        counts = np.array([len(s.ring_ends) for s in shapes], np.int64)
        self.owner = np.arange(len(shapes)).repeat(counts)
        """int64[rings]: shape."""
        surfaces = _joined([np.diff(s.surface_ring_ends.astype(np.int64), prepend=0) for s in shapes])
        self.surface = np.arange(len(surfaces)).repeat(surfaces)
        """int64[rings]."""
        self.next = np.arange(1, len(self.corners) + 1)
        """int64[corners]: the corner behind each in its ring."""
        self.next[self.starts + self.sizes - 1] = self.starts

    @property
    def after(self) -> I64:
        """int64[corners]: the vertex behind each corner."""
        return self.corners[self.next]


def _mesh_edges(shapes: Sequence[Shape]) -> tuple[I64, I64, I64]:
    """First and last vertex of the edges of triangles of surfaces without rings, and their shape."""
    triangles, owners, offset = [], [], 0
    for number, shape in enumerate(shapes):
        meshes = np.diff(shape.surface_ring_ends.astype(np.int64), prepend=0) == 0
        if meshes.any():
            counts = np.diff(shape.surface_triangle_ends.astype(np.int64), prepend=0)
            triangles.append(shape.triangles[meshes.repeat(counts)].reshape(-1) + np.int64(offset))
            owners.append(np.full(len(triangles[-1]), number))
        offset += len(shape.positions)
    first = _joined(triangles)
    return first, first.reshape(-1, 3)[:, [1, 2, 0]].reshape(-1), _joined(owners)


def _flat(shapes: Sequence[Shape], counts: I64) -> F64:
    """float64[vertices, 3]: east, north, up in metres about each shape's origin; a model's own coordinates."""
    origins = np.array([shape.origin for shape in shapes])
    placed = origins.any(axis=1)
    axes = np.tile(np.eye(3), (len(shapes), 1, 1))
    lon, lat = np.radians(ellipsoid.to_geographic(origins[placed])[:, :2]).T
    zero = np.zeros_like(lon)
    axes[placed] = np.stack([
        np.stack([-np.sin(lon), np.cos(lon), zero], axis=1),
        np.stack([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)], axis=1),
        np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1),
    ], axis=1)  # fmt: skip
    metres = np.concatenate([shape.positions for shape in shapes]) * STEP
    turned: F64 = np.einsum("nij,nj->ni", axes.repeat(counts, axis=0), metres)
    return turned


def _joined(parts: Sequence[NDArray[Any]]) -> I64:
    return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)


def _welded(positions: NDArray[np.int32], counts: I64) -> I64:
    """int64[n]: a number for each vertex, the same for those of one object in one place."""
    owner = np.repeat(np.arange(len(counts)), counts)
    keys = (positions[:, 2], positions[:, 1], positions[:, 0], owner)
    order = np.lexsort(keys)
    new = np.zeros(len(order), np.int64)
    for key in keys:
        new[1:] |= np.diff(key[order].astype(np.int64)) != 0
    number = np.empty(len(order), np.int64)
    number[order] = np.cumsum(new)
    return number


def _ends(ends: NDArray[np.uint32], count: int) -> bool:
    """Whether these are ends of runs, one behind another, that fill ``count``."""
    return (int(ends[-1]) if len(ends) else 0) == count and bool((np.diff(ends.astype(np.int64), prepend=0) >= 0).all())
