"""The patches of many objects as arrays, and their triangles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim.geometry import F64
from tim.place import Place
from tim.shape.patches import Patch, Polygon, Triangles

_FLAT = 1e-9
"""Square metres: a polygon with less area is none."""
_CROSSING = 1e-3
"""Share of a polygon's area by which its triangles may differ from it; more, and its rings cross."""
I64 = NDArray[np.int64]


_HIGHEST = 1e9
"""Native units: a height beyond it is none. East and north that lie nowhere are found out by the place; heights are only added to."""


@dataclass(slots=True)
class Surfaces:
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

    def only(self, kept: NDArray[np.bool_]) -> Surfaces:
        """Some of the surfaces, with their points."""
        rings = np.repeat(kept, self.ring_counts)
        points = np.repeat(kept, self.point_counts)
        rows = np.flatnonzero(kept).tolist()
        return Surfaces(
            [self.patches[i] for i in rows], self.object[kept], [self.number[i] for i in rows], self.ring_sizes[rings],
            self.ring_counts[kept], self.polygon[kept], self.native[points],
        )  # fmt: skip


def gathered(objects: Sequence[Sequence[Patch]], problems: Sequence[dict[str, dict[str, Any]]]) -> Surfaces:
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
    out = Surfaces(
        patches, np.array(owners, np.int64), numbers, np.array(sizes, np.int64), np.array(counts, np.int64),
        np.array(polygon, np.bool_), native,
    )  # fmt: skip
    finite = np.isfinite(native).all(axis=1) & (np.abs(native[:, 2]) < _HIGHEST)
    if finite.all():
        return out
    bad = np.bincount(np.repeat(np.arange(len(patches)), out.point_counts)[~finite], minlength=len(patches)) > 0
    for i in np.flatnonzero(bad).tolist():
        _note(problems[owners[i]], "shape.not-finite", numbers[i])
    return out.only(~bad)


def triangulated(
    surfaces: Surfaces, place: Place | None, problems: Sequence[dict[str, dict[str, Any]]]
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


def _newell(surfaces: Surfaces, rows: I64, starts: I64, native: F64) -> F64:
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


def _note(problems: dict[str, dict[str, Any]], code: str, surface: int) -> None:
    found = problems.setdefault(code, {"surface": surface, "count": 0})
    found["count"] += 1
