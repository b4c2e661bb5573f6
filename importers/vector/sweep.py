"""Surfaces out of flat geometry: footprints raised to solids, lines swept to tubes and ribbons; many at once.

All functions take shapely arrays of one kind and give one list of patches per geometry, in native coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from tim.geometry import F64
from tim.shape import Patch, Polygon, Triangles

I64 = NDArray[np.int64]
_SHARP = -0.5
"""Cosine of a turn of 120 degrees: beyond it a mitre would be longer than the tube is wide, and the ends stay blunt."""
_STRAIGHT = 1 - 5e-7
"""Cosine of a turn of 0.06 degrees: less is a vertex on a straight line."""
_SAME = 1e-3
"""Metres: points nearer than this are one."""


@dataclass(frozen=True, slots=True)
class _Rings:
    """The rings of some polygons: hulls counter-clockwise from above, holes clockwise, no closing vertex, nothing twice in a row."""

    xyz: F64
    """Height 0 where there is none."""
    ends: I64
    polygon: I64
    """int64[rings]: which polygon (part) each belongs to; its hull is its first."""
    owner: I64
    """int64[polygons]: which geometry each belongs to."""

    @property
    def starts(self) -> I64:
        return np.concatenate([[0], self.ends]).astype(np.int64)[:-1]


def prisms(shapes: Any, base: F64, top: F64) -> list[list[Patch]]:
    """Polygons raised from ``base`` to ``top`` (float64[n], native heights): ground, walls, roof."""
    out: list[list[Patch]] = [[] for _ in shapes]
    rings = _rings(shapes)
    starts = rings.starts
    vertex_owner = np.repeat(rings.owner[rings.polygon], rings.ends - starts)
    low, high = rings.xyz.copy(), rings.xyz
    low[:, 2], high[:, 2] = base[vertex_owner], top[vertex_owner]
    following = np.arange(1, len(low) + 1)
    following[rings.ends - 1] = starts
    walls = np.stack([low, low[following], high[following], high], axis=1)
    hull_of: list[tuple[int, list[F64], list[F64]]] = []
    last = -1
    for start, end, polygon in zip(starts.tolist(), rings.ends.tolist(), rings.polygon.tolist(), strict=True):
        if polygon != last:
            hull_of.append((int(rings.owner[polygon]), [], []))
            last = polygon
        owner, ground, roof = hull_of[-1]
        ground.append(low[start:end][::-1])
        roof.append(high[start:end])
        out[owner] += [Polygon((wall,), "WallSurface") for wall in walls[start:end]]
    for owner, ground, roof in hull_of:
        out[owner] += [Polygon(ground, "GroundSurface"), Polygon(roof, "RoofSurface")]
    return out


def surfaces(shapes: Any, base: F64 | None = None) -> list[list[Patch]]:
    """Polygons as they are; at the height ``base`` (float64[n]) where it is given and finite."""
    out: list[list[Patch]] = [[] for _ in shapes]
    rings = _rings(shapes, turned=base is not None)
    xyz, starts = rings.xyz, rings.starts
    if base is not None:
        at = base[np.repeat(rings.owner[rings.polygon], np.diff(rings.ends, prepend=0))]
        xyz[:, 2] = np.where(np.isfinite(at), at, xyz[:, 2])
    by_polygon: list[list[F64]] = [[] for _ in rings.owner]
    for start, end, polygon in zip(starts.tolist(), rings.ends.tolist(), rings.polygon.tolist(), strict=True):
        by_polygon[polygon].append(xyz[start:end])
    for owner, own in zip(rings.owner.tolist(), by_polygon, strict=True):
        if own:
            out[owner].append(Polygon(own))
    return out


def tubes(shapes: Any, diameter: F64, base: F64, scale: F64) -> list[list[Patch]]:
    """Lines swept by a circle of ``diameter`` (float64[n] metres): 8 sides, 12 from half a metre on; mitred joints, capped ends.

    ``base`` (float64[n], native) is the height of lines where finite; ``scale`` (float64[n, 3]) metres per native unit.
    """
    lines = _lines(shapes, base, scale)
    out: list[list[Patch]] = [[] for _ in shapes]
    for sides, wide in ((8, False), (12, True)):
        chosen = lines.only((diameter[lines.owner] >= 0.5) == wide)
        if len(chosen.owner):
            _sweep(chosen, diameter, sides, out)
    return out


def ribbons(shapes: Any, width: F64, base: F64, scale: F64) -> list[list[Patch]]:
    """Lines widened to flat bands of ``width`` (float64[n] metres), with mitred joints; the rest as for :func:`tubes`."""
    lines = _lines(shapes, base, scale)
    out: list[list[Patch]] = [[] for _ in shapes]
    if not len(lines.owner):
        return out
    ahead = _directions(lines.at * [1.0, 1.0, 0.0], lines)
    across = np.column_stack([ahead[:, 1], -ahead[:, 0]])  # to the right
    first, last = lines.first, lines.ends - 1
    before = np.roll(across, 1, axis=0)
    before[first] = across[first]
    across[last] = before[last]
    cosine = (before * across).sum(axis=1)
    mitre = np.where((cosine > _SHARP)[:, None], (before + across) / (1 + np.maximum(cosine, _SHARP))[:, None], across)
    half = (width[lines.owner] / 2)[lines.line][:, None] * np.column_stack([mitre, np.zeros(len(mitre))])
    right, left = lines.native(lines.at + half), lines.native(lines.at - half)
    for owner, start, end in zip(lines.owner.tolist(), first.tolist(), lines.ends.tolist(), strict=True):
        n = end - start
        a = np.arange(n - 1, dtype=np.uint32)
        quads = np.column_stack([a, a + n, a + n + 1, a, a + n + 1, a + 1]).reshape(-1, 3)
        out[owner].append(Triangles(np.concatenate([left[start:end], right[start:end]]), quads))
    return out


def _rings(shapes: Any, turned: bool = True) -> _Rings:
    parts, owner = shapely.get_parts(shapes, return_index=True)
    if turned:
        parts = shapely.orient_polygons(parts)
    rings, polygon = shapely.get_rings(parts, return_index=True)
    xyz, ring = shapely.get_coordinates(rings, include_z=True, return_index=True)
    xyz[:, 2] = np.nan_to_num(xyz[:, 2])
    # The vertex after a kept one differs from it; of a ring, the first stands for the closing one.
    same = np.zeros(len(xyz), bool)
    same[:-1] = (xyz[1:] == xyz[:-1]).all(axis=1) & (ring[1:] == ring[:-1])
    closing = np.ones(len(xyz), bool)
    closing[:-1] = ring[1:] != ring[:-1]
    kept = ~(same | closing)
    ends = np.cumsum(np.bincount(ring[kept], minlength=len(rings)))
    full = np.diff(ends, prepend=0) > 0
    return _Rings(xyz[kept], ends[full].astype(np.int64), polygon[full], owner.astype(np.int64))


@dataclass(frozen=True, slots=True)
class _Lines:
    """Lines in metres about their first points, without vertices that change nothing."""

    at: F64
    ends: I64
    owner: I64
    origin: F64
    scale: F64

    @property
    def first(self) -> I64:
        return np.concatenate([[0], self.ends]).astype(np.int64)[:-1]

    @property
    def line(self) -> I64:
        """int64[vertices]"""
        return np.repeat(np.arange(len(self.ends)), np.diff(self.ends, prepend=0))

    def only(self, chosen: NDArray[np.bool_]) -> _Lines:
        sizes = np.diff(self.ends, prepend=0)
        ends = np.cumsum(sizes[chosen])
        return _Lines(self.at[chosen[self.line]], ends, self.owner[chosen], self.origin[chosen], self.scale[chosen])

    def keep(self, vertices: NDArray[np.bool_]) -> _Lines:
        sizes = np.bincount(self.line[vertices], minlength=len(self.ends))
        return _Lines(self.at[vertices], np.cumsum(sizes), self.owner, self.origin, self.scale)

    def native(self, at: F64) -> F64:
        line = self.line
        out: F64 = at / self.scale[line] + self.origin[line]
        return out


def _lines(shapes: Any, base: F64, scale: F64) -> _Lines:
    parts, owner = shapely.get_parts(shapes, return_index=True)
    xyz, line = shapely.get_coordinates(parts, include_z=True, return_index=True)
    at = base[owner[line]]
    xyz[:, 2] = np.where(np.isfinite(at), at, np.nan_to_num(xyz[:, 2]))
    ends = np.cumsum(np.bincount(line, minlength=len(parts)))
    first = np.concatenate([[0], ends]).astype(np.int64)[:-1]
    filled = np.diff(ends, prepend=0) > 0
    origin = np.zeros((len(parts), 3))
    origin[filled] = xyz[first[filled]]
    lines = _Lines((xyz - origin[line]) * scale[owner[line]], ends, owner.astype(np.int64), origin, scale[owner])
    step = np.linalg.norm(np.diff(lines.at, axis=0, prepend=np.inf), axis=1)
    step[first[filled]] = np.inf
    lines = lines.keep(~(step <= _SAME))
    lines = lines.only(np.diff(lines.ends, prepend=0) > 1)
    if not len(lines.owner):
        return lines
    ahead = _directions(lines.at, lines)
    straight = np.zeros(len(ahead), bool)
    straight[1:] = (ahead[1:] * ahead[:-1]).sum(axis=1) > _STRAIGHT
    straight[lines.first] = straight[lines.ends - 1] = False
    return lines.keep(~straight)


def _directions(at: F64, lines: _Lines) -> F64:
    """float64[vertices, 3]: the unit direction after each vertex; after the last, that before it."""
    ahead = np.zeros_like(at)
    ahead[:-1] = np.diff(at, axis=0)
    last = lines.ends - 1
    ahead[last] = ahead[last - 1]
    length = np.linalg.norm(ahead, axis=1, keepdims=True)
    unit: F64 = np.divide(ahead, length, out=np.tile([1.0, 0.0, 0.0], (len(at), 1)), where=length > 0)
    return unit


def _sweep(lines: _Lines, diameter: F64, sides: int, out: list[list[Patch]]) -> None:
    ahead = _directions(lines.at, lines)
    first, last = lines.first, lines.ends - 1
    side = _transported(ahead, lines)
    before = np.roll(np.arange(len(ahead)), 1)
    before[first] = first
    inner = np.ones(len(ahead), bool)
    inner[first] = inner[last] = False
    cosine = (ahead[before] * ahead).sum(axis=1)
    sharp = inner & (cosine < _SHARP)
    # One ring per vertex, across the segment before it and cut by the joint's plane; a second one after sharp turns.
    vertex = np.concatenate([np.arange(len(ahead)), np.flatnonzero(sharp)])
    segment = np.concatenate([before, np.flatnonzero(sharp)])
    order = np.argsort(vertex, kind="stable")
    vertex, segment = vertex[order], segment[order]
    along, u = ahead[segment], side[segment]
    v = np.cross(along, u)
    angle = np.arange(sides) * (2 * np.pi / sides)
    radius = (diameter[lines.owner] / 2)[lines.line[vertex]][:, None, None]
    ring = radius * (u[:, None] * np.cos(angle)[:, None] + v[:, None] * np.sin(angle)[:, None])
    mitred = (inner & ~sharp)[vertex]
    plane = along + ahead[vertex]
    reach = np.where(mitred, (along * plane).sum(axis=1), 1.0)
    ring -= (
        along[:, None]
        * np.where(mitred[:, None], (ring * plane[:, None]).sum(axis=2) / reach[:, None], 0.0)[:, :, None]
    )
    of_line = lines.line[vertex]
    at = lines.at[vertex][:, None] + ring
    xyz = at / lines.scale[of_line][:, None] + lines.origin[of_line][:, None]
    ends = np.cumsum(np.bincount(of_line, minlength=len(lines.owner)))
    i = np.arange(sides, dtype=np.uint32)
    after = (i + 1) % np.uint32(sides)
    start = 0
    for owner, end in zip(lines.owner.tolist(), ends.tolist(), strict=True):
        n = end - start
        a = (np.arange(n - 1, dtype=np.uint32) * np.uint32(sides))[:, None]
        b = a + np.uint32(sides)
        mantle = np.stack([a + i, a + after, b + after, a + i, b + after, b + i], axis=-1).reshape(-1, 3)
        fan = np.column_stack([np.zeros(sides - 2, np.uint32), i[1:-1], i[2:]])
        caps = np.concatenate([fan[:, ::-1], fan + np.uint32((n - 1) * sides)])
        out[owner].append(Triangles(xyz[start:end].reshape(-1, 3), np.concatenate([mantle, caps]).astype(np.uint32)))
        start = end


def _transported(ahead: F64, lines: _Lines) -> F64:
    """float64[vertices, 3]: a unit vector across each segment, carried along its line without twist."""
    up = np.where(np.abs(ahead[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    side = np.cross(ahead, up)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    sizes = np.diff(lines.ends, prepend=0)
    for step in range(1, int(sizes.max())):
        here = lines.first[sizes > step] + step
        u, d, e = side[here - 1], ahead[here - 1], ahead[here]
        turn = 1 + (d * e).sum(axis=1, keepdims=True)
        moved = u - np.where(turn > 1e-6, (u * e).sum(axis=1, keepdims=True) / np.maximum(turn, 1e-6), 0.0) * (d + e)
        side[here] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return side
