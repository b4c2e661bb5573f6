"""Geometry of many objects at once, as it goes into files: the footprint of each, or the surfaces of its body, in longitude, latitude, height.

* Footprint: what the object has as one, otherwise its ground surfaces, otherwise the surfaces of its body that face down (or, where none
  does, up), joined; with their heights.
* Body: every surface of its finest level of detail as a polygon; a mesh as its triangles.
* A model that stands somewhere is the point where it stands; what has neither (bulk data) is its box, seen from above, at its bottom.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from tim.geometry import F64
from tim.model import Representation
from tim.place import Box3, ellipsoid
from tim.shape import FORMAT, Shape, decode_each
from tim.store import ObjectStore, ObjectVersion

Wanted = Literal["footprint", "body"]
Shapes = NDArray[np.object_]
"""object[n] of shapely geometries, ``None`` where there is none."""
_WALL = 0.02
"""Cosine to the horizontal below which a surface counts as standing upright."""
_DEGREE = 111_320.0
"""Metres, about: only ratios of areas depend on it."""


def chosen(version: ObjectVersion, wanted: Wanted) -> Representation | None:
    """The representation that goes out: of its kind the finest, otherwise of the other kind; ``None`` where there are no surfaces."""
    shapes = [r for r in version.object.representations if r.format == FORMAT and r.role in ("body", "footprint")]
    return max(shapes, key=lambda r: (r.role == wanted, r.lod), default=None)


def geometries(store: ObjectStore, versions: Sequence[ObjectVersion], wanted: Wanted, left: Counter[str]) -> Shapes:
    """The geometry of each version. left: what does not go out is counted here, by message code."""
    picks = [chosen(version, wanted) for version in versions]
    blobs = store.get_blobs({pick.content for pick in picks if pick is not None})
    out: Shapes = np.full(len(versions), None, object)
    found: list[int] = []
    solids: list[bytes] = []
    for i, (version, pick) in enumerate(zip(versions, picks, strict=True)):
        left["export.other-levels"] += max(
            0, sum(r.format == FORMAT and r.role != "model" for r in version.object.representations) - 1
        )
        if pick is not None and (blob := blobs.get(pick.content)) is not None:
            found.append(i)
            solids.append(blob)
            continue
        if pick is not None:
            left["export.lost-geometry"] += 1
        out[i] = _stand_in(version, left)
    if found:
        shapes = decode_each(solids)
        faces = _Faces.of(shapes)
        if wanted == "footprint":
            left["export.flattened"] += sum(picks[i].role == "body" for i in found)  # type: ignore[union-attr]
        left["export.appearance"] += sum(any(m is not None for m in shape.materials) for shape in shapes)
        grounds = np.array([wanted == "footprint" and picks[i].role == "body" for i in found])  # type: ignore[union-attr]
        out[found] = faces.joined(grounds) if wanted == "footprint" else faces.collected()
    for i in [i for i in found if out[i] is None]:
        out[i] = _stand_in(versions[i], left)
    return _unwrapped(out)


def _stand_in(version: ObjectVersion, left: Counter[str]) -> Any:
    """Points of models, otherwise the box."""
    models = [r for r in version.object.representations if r.role == "model" and "at" in r.properties]
    if models:
        left["export.models"] += 1
        points = [shapely.Point(*model.properties["at"]) for model in models]
        return points[0] if len(points) == 1 else shapely.MultiPoint(points)
    if version.object.box is None:
        left["export.no-geometry"] += 1
        return None
    left["export.boxes"] += 1
    return box_of(version.object.box)


def box_of(box: Box3) -> Any:
    """A box from above, at its bottom; an extent that is none becomes a line or a point."""
    west, south, bottom, east, north, _ = box
    east = east + 360 if east < west else east
    ring = [(west, south, bottom), (east, south, bottom), (east, north, bottom), (west, north, bottom)]
    corners = list(dict.fromkeys(ring))
    if len(corners) == 1:
        return shapely.Point(corners[0])
    return shapely.LineString(corners[:2]) if len(corners) == 2 else shapely.Polygon(ring)


@dataclass(frozen=True, slots=True)
class _Faces:
    """Polygons of many objects, object by object."""

    polygons: Shapes
    owner: NDArray[np.int64]
    ground: NDArray[np.bool_]
    """Whether it is a ground surface by name."""
    facing: F64
    """Cosine between up and the outside: 1 of a roof, -1 of a floor."""
    count: int
    """Objects."""

    @classmethod
    def of(cls, shapes: Sequence[Shape]) -> _Faces:
        """The faces of some shapes: surfaces with rings as they are, meshes as triangles."""
        geographic = ellipsoid.to_geographic(np.concatenate([shape.xyz for shape in shapes]))
        corners, sizes, ring_faces, owner, ground = [], [], [], [], []
        vertex = face = 0
        for k, shape in enumerate(shapes):
            for semantic, rings in faces_of(shape):
                for ring in rings:
                    corners.append(ring.astype(np.int64) + vertex)
                    sizes.append(len(ring))
                    ring_faces.append(face)
                owner.append(k)
                ground.append(semantic == "GroundSurface")
                face += 1
            vertex += len(shape.positions)
        points = geographic[np.concatenate(corners)]
        first: NDArray[np.int64] = np.cumsum(sizes) - np.array(sizes, np.int64)
        ring_of = np.repeat(np.arange(len(sizes)), sizes)
        rings = shapely.linearrings(points, indices=ring_of)
        polygons = shapely.polygons(rings, indices=np.array(ring_faces))
        outer = np.unique(np.array(ring_faces), return_index=True)[1]
        facing = _facing(points, first, np.array(sizes))[outer]
        return cls(polygons, np.array(owner, np.int64), np.array(ground), facing, len(shapes))

    def collected(self) -> Shapes:
        """MultiPolygon of all faces of each object."""
        out: Shapes = np.full(self.count, None, object)
        there = np.unique(self.owner)
        out[there] = shapely.multipolygons(self.polygons, indices=np.searchsorted(there, self.owner))
        return out

    def joined(self, solid: NDArray[np.bool_]) -> Shapes:
        """The faces of each object as one area; of a solid only those that it stands on."""
        flat = np.abs(self.facing) > _WALL
        of_solid = solid[self.owner]
        kept = ~of_solid & flat
        for choice in (self.ground & flat, flat & (self.facing < 0), flat & (self.facing > 0)):
            still = of_solid & ~np.isin(self.owner, self.owner[kept & of_solid])
            kept |= choice & still
        owner, polygons = self.owner[kept], self.polygons[kept]
        out: Shapes = np.full(self.count, None, object)
        there, first, counts = np.unique(owner, return_index=True, return_counts=True)
        single = counts == 1
        out[there[single]] = polygons[first[single]]
        for k, start, count in zip(
            there[~single].tolist(), first[~single].tolist(), counts[~single].tolist(), strict=True
        ):
            out[k] = _union(polygons[start : start + count])
        return shapely.orient_polygons(out)  # type: ignore[no-any-return]


def faces_of(shape: Shape) -> list[tuple[str, list[Any]]]:
    """Semantic and rings (vertex indices, hull first) of every surface; of a mesh, every triangle."""
    polygons = shape.polygons()
    if len(polygons) == len(shape.surface_ring_ends):
        return polygons
    out, rings, first, running = [], 0, 0, iter(polygons)
    for ring_end, end, semantic in zip(
        shape.surface_ring_ends.tolist(),
        shape.surface_triangle_ends.tolist(),
        shape.surface_semantics.tolist(),
        strict=True,
    ):
        if ring_end > rings:
            out.append(next(running))
        else:
            out += [(shape.semantics[semantic], [triangle]) for triangle in shape.triangles[first:end]]
        rings, first = ring_end, end
    return out


def _facing(points: F64, first: NDArray[np.int64], sizes: NDArray[np.int64]) -> F64:
    """Of each ring the upward part of its unit normal (Newell's method, in local metres)."""
    start = np.repeat(points[first], sizes, axis=0)
    local = (points - start) * _DEGREE
    local[:, 0] = ((points[:, 0] - start[:, 0] + 180) % 360 - 180) * _DEGREE * np.cos(np.radians(start[:, 1]))
    local[:, 2] = points[:, 2] - start[:, 2]
    after = np.arange(1, len(points) + 1)
    after[first + sizes - 1] = first
    normal = np.add.reduceat(np.cross(local, local[after]), first, axis=0)
    length = np.linalg.norm(normal, axis=1)
    facing: F64 = np.divide(normal[:, 2], length, out=np.zeros(len(length)), where=length > 0)
    return facing


def _union(polygons: Shapes) -> Any:
    """One area, with heights as near as they are known; faces that cross themselves are mended first."""
    try:
        joined = shapely.union_all(polygons)
    except shapely.errors.GEOSException:
        joined = shapely.union_all(shapely.make_valid(polygons))
    parts = [part for part in shapely.get_parts(joined) if part.geom_type == "Polygon"]
    if not parts:
        return None
    lowest = float(np.nanmin(shapely.get_coordinates(polygons, include_z=True)[:, 2]))

    def filled(xyz: F64) -> F64:
        xyz[:, 2] = np.where(np.isfinite(xyz[:, 2]), xyz[:, 2], lowest)
        return xyz

    area = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    return shapely.transform(area, filled, include_z=True)


def _unwrapped(shapes: Shapes) -> Shapes:
    """Areas over the antimeridian cut there, in parts on either side of it (RFC 7946 §3.1.9)."""
    bounds = shapely.bounds(shapes)
    for i in np.flatnonzero((bounds[:, 2] - bounds[:, 0] > 180) | (bounds[:, 2] > 180)).tolist():

        def turned(xyz: F64) -> F64:
            xyz[:, 0] %= 360
            return xyz

        def back(xyz: F64) -> F64:
            xyz[:, 0] -= 360
            return xyz

        east = shapely.transform(shapes[i], turned, include_z=True)
        if not shapely.is_valid(east):
            continue
        parts = [shapely.intersection(east, shapely.box(0, -90, 180, 90))]
        parts.append(
            shapely.transform(shapely.intersection(east, shapely.box(180, -90, 360, 90)), back, include_z=True)
        )
        areas = [p for p in shapely.get_parts(parts) if p.geom_type == "Polygon"]
        if areas:
            shapes[i] = shapely.MultiPolygon(areas)
    return shapes
