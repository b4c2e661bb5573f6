"""Whether shapes are what they should be: solids closed, level surfaces free of crossings. Looked at by the thousand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tim.errors import StoreError
from tim.geometry import F64
from tim.place import ellipsoid
from tim.quality.findings import Problem
from tim.shape import STEP, Rings, Shapes, decode_many, decode_rings

I64 = NDArray[np.int64]
_FARTHEST = 1e9
"""Metres from the middle of the Earth."""
_LEVEL = 0.5
"""Cosine of the slope up to which a surface is looked at from above."""
_CROSSING = 1e-3
"""Share of its area that a polygon's parts may overlap by, or 0.01 m²: less is rounding."""


def problems(blobs: Sequence[bytes], solid: Sequence[bool]) -> Iterator[tuple[int, Problem]]:
    """What is wrong with the shapes in some blobs, with the number of each; ``solid``: which of them should be closed."""
    try:
        shapes, rings = decode_many(blobs), decode_rings(blobs)
        if not (np.abs(shapes.origins) < _FARTHEST).all():
            raise StoreError("store.bad-shape", reason="its origin is nowhere")
    except StoreError:
        if len(blobs) == 1:
            yield 0, ("quality.bad-shape", {})
            return
        half = len(blobs) // 2
        yield from problems(blobs[:half], solid[:half])
        yield from ((number + half, problem) for number, problem in problems(blobs[half:], solid[half:]))
        return
    for number in np.flatnonzero(count := open_edges(shapes, rings)).tolist():
        if solid[number]:
            yield number, ("quality.unclosed", {"edges": int(count[number])})
    for number, metres in crossings(shapes, rings):
        yield number, ("quality.self-intersection", {"area": round(metres, 3)})


def open_edges(shapes: Shapes, rings: Rings) -> I64:
    """int64[objects]: edges of each that an odd number of its surfaces share; none where it is closed.

    Vertices in one place count as one. Surfaces with rings are looked at by their rings, meshes by their triangles.
    """
    meshes = np.diff(rings.surface_ring_ends, prepend=0) == 0
    triangles = shapes.triangles[meshes[shapes.triangle_surface]].astype(np.int64)
    place = _welded(shapes.positions, shapes.vertex_object)
    a = place[np.concatenate([rings.vertices, triangles.reshape(-1)])]
    b = place[np.concatenate([rings.vertices[_next(rings)], triangles[:, [1, 2, 0]].reshape(-1)])]
    low, high = np.minimum(a, b)[a != b], np.maximum(a, b)[a != b]
    edges, counts = np.unique(low * (len(place) + 1) + high, return_counts=True)
    owner = np.empty(len(place), np.int64)
    owner[place] = shapes.vertex_object
    return np.bincount(owner[edges[counts % 2 == 1] // (len(place) + 1)], minlength=len(shapes.vertex_ends))


def crossings(shapes: Shapes, rings: Rings) -> Iterator[tuple[int, float]]:
    """Objects with level surfaces whose rings cross, and the area in m² that lies twice, or on the wrong side, of the worst."""
    import shapely

    sizes = np.diff(rings.ring_ends, prepend=0)
    starts = rings.ring_ends - sizes
    counts = np.diff(rings.surface_ring_ends, prepend=0)
    surfaces = np.flatnonzero(counts)
    if not len(surfaces):
        return
    hulls = (rings.surface_ring_ends - counts)[surfaces]
    flat = _flat(shapes)[rings.vertices]
    about = flat - flat[starts].repeat(sizes, axis=0)
    normals = np.add.reduceat(np.cross(about, about[_next(rings)]), starts)[hulls]
    level = np.abs(normals[:, 2]) > _LEVEL * np.linalg.norm(normals, axis=1)
    level &= np.minimum.reduceat(sizes, hulls) > 2
    wanted = level.repeat(counts[surfaces])
    if not wanted.any():
        return
    made = shapely.polygons(
        shapely.linearrings(flat[wanted.repeat(sizes), :2], indices=np.arange(wanted.sum()).repeat(sizes[wanted])),
        indices=np.arange(level.sum()).repeat(counts[surfaces][level]),
    )
    owner = np.searchsorted(shapes.surface_ends, surfaces[level], side="right")
    worst: dict[int, float] = {}
    for at in np.flatnonzero(~shapely.is_valid(made)).tolist():
        whole = float(shapely.area(shapely.make_valid(made[at])))
        lost = abs(whole - float(shapely.area(made[at])))
        if lost > max(_CROSSING * whole, 0.01):
            worst[int(owner[at])] = max(worst.get(int(owner[at]), 0.0), lost)
    yield from sorted(worst.items())


def _next(rings: Rings) -> I64:
    """int64[corners]: the corner behind each in its ring."""
    after = np.arange(1, len(rings.vertices) + 1)
    sizes = np.diff(rings.ring_ends, prepend=0)
    after[rings.ring_ends[sizes > 0] - 1] = (rings.ring_ends - sizes)[sizes > 0]
    return after


def _welded(positions: NDArray[np.int32], owner: I64) -> I64:
    """int64[n]: a number for each vertex, the same for those of one object in one place."""
    keys = (positions[:, 2], positions[:, 1], positions[:, 0], owner)
    order = np.lexsort(keys)
    new = np.zeros(len(order), np.int64)
    for key in keys:
        new[1:] |= key[order][1:] != key[order][:-1]
    number = np.empty(len(order), np.int64)
    number[order] = np.cumsum(new)
    return number


def _flat(shapes: Shapes) -> F64:
    """float64[vertices, 3]: east, north, up in metres about each object's origin; a model's own coordinates."""
    placed = shapes.origins.any(axis=1)
    axes = np.tile(np.eye(3), (len(shapes.origins), 1, 1))
    lon, lat = np.radians(ellipsoid.to_geographic(shapes.origins[placed])[:, :2]).T
    zero = np.zeros_like(lon)
    axes[placed] = np.stack([
        np.stack([-np.sin(lon), np.cos(lon), zero], axis=1),
        np.stack([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)], axis=1),
        np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1),
    ], axis=1)  # fmt: skip
    turned: F64 = np.einsum("nij,nj->ni", axes[shapes.vertex_object], shapes.positions * STEP)
    return turned
