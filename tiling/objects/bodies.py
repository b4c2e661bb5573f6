"""The bodies of many tiles, made ready at once: what a tile then still costs is its own writing.

A tile comes out the same whatever others are made with it: its looks have an order of their own, and vertices stand in the order in
which its triangles use them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiling.objects.drawn import Drawn
from tiling.objects.faces import Faces, Run, decoded, extent, on_lattice, runs_of
from tiling.objects.looks import Look, Looks
from tim.geometry import F64
from tim.place import Frame
from tim.shape import Problem, Shapes

I64 = NDArray[np.int64]
_OPAQUE, _CLEAR, _PICTURED = range(3)


@dataclass(slots=True)
class Bodies:
    """What the bodies of one tile are made of; positions are whole lattice steps."""

    problems: list[Problem]
    drawn: I64
    """Rows of the objects that have a body."""
    looks: Sequence[Look] = ()
    runs: Sequence[tuple[int, Run]] = ()
    """Primitives without images, and for each one of the looks it has."""
    faces: Faces | None = None
    """All vertices of the batch, and the triangles whose look has an image, by number in ``looks``; ``None`` where there are no bodies."""
    triangles: int = 0
    low: F64 = field(default_factory=lambda: np.zeros(3))
    high: F64 = field(default_factory=lambda: np.zeros(3))


def bodies_of(tiles: Sequence[Sequence[Drawn]], frame: Frame) -> list[Bodies]:
    """For each tile its bodies. Raises TilingError where a vertex lies beyond the lattice."""
    every = [o for objects in tiles for o in objects]
    sizes = np.array([len(objects) for objects in tiles], np.int64)
    tile_of, row_of = (
        np.repeat(np.arange(len(tiles)), sizes),
        np.arange(len(every)) - np.repeat(sizes.cumsum() - sizes, sizes),
    )
    shapes, owners, problems = decoded(every)
    having = owners[np.diff(shapes.triangle_ends, prepend=0) > 0]
    drawn = np.split(row_of[having], np.searchsorted(tile_of[having], np.arange(1, len(tiles))))
    out = [Bodies([], rows) for rows in drawn]
    for owner, problem in problems:
        out[tile_of[owner]].problems.append(problem)
    if len(shapes.triangles):
        _Batch(
            shapes,
            on_lattice(shapes, frame),
            [every[i].rgba for i in owners.tolist()],
            tile_of[owners],
            row_of[owners],
        ).fill(out)
    return out


class _Batch:
    """All triangles of all tiles, tile by tile."""

    def __init__(self, shapes: Shapes, positions: F64, rgba: Sequence[int], tile_of: I64, row_of: I64) -> None:
        """rgba, tile_of, row_of: of each shape."""
        self.positions, self.uv = positions, shapes.uv
        self.triangles = shapes.triangles.astype(np.int64)
        looks = Looks()
        of_surface = looks.of_surfaces(shapes, rgba)
        self.looks = list(looks.numbers)
        counts = np.diff(shapes.surface_triangle_ends, prepend=0)
        self.look_of = np.repeat(of_surface, counts)
        self.features = row_of[shapes.vertex_object]
        self.tile_of_shape = tile_of
        self.vertex_ends, self.triangle_ends = shapes.vertex_ends, shapes.triangle_ends
        tile_of_surface = np.repeat(tile_of, np.diff(shapes.surface_ends, prepend=0))
        self.used = np.zeros((int(tile_of[-1]) + 1, len(self.looks)), np.bool_)
        self.used[tile_of_surface[counts > 0], of_surface[counts > 0]] = True

    def fill(self, out: Sequence[Bodies]) -> None:
        """Give each tile its part."""
        tiles = np.arange(len(self.used))
        ends = np.searchsorted(self.tile_of_shape, tiles, "right")
        vertex_ends, triangle_ends = (np.concatenate([[0], e])[ends] for e in (self.vertex_ends, self.triangle_ends))
        kinds = np.array([_PICTURED if k.image else _CLEAR if k.color[3] < 255 else _OPAQUE for k in self.looks])
        part = np.repeat(tiles, np.diff(triangle_ends, prepend=0)) * 3 + kinds[self.look_of]
        runs = self._runs(part)
        first_vertex = first = 0
        for tile, (vertex_end, end) in enumerate(zip(vertex_ends.tolist(), triangle_ends.tolist(), strict=True)):
            if end > first:
                own = out[tile]
                own.triangles = end - first
                own.low, own.high = extent(self.positions[first_vertex:vertex_end])
                numbers = np.flatnonzero(self.used[tile]).tolist()
                own.looks = sorted(self.looks[number] for number in numbers)
                own.runs = [(own.looks.index(self.looks[n]), run) for n, run in runs.get(tile, ())]
                place = np.zeros(len(self.looks), np.int64)
                place[numbers] = [own.looks.index(self.looks[number]) for number in numbers]
                chosen = first + np.flatnonzero(part[first:end] % 3 == _PICTURED)
                own.faces = Faces(
                    self.positions, self.triangles[chosen], place[self.look_of[chosen]], self.features, self.uv
                )
            first_vertex, first = vertex_end, end

    def _runs(self, part: I64) -> dict[int, list[tuple[int, Run]]]:
        """Primitives without images by tile."""
        plain = np.flatnonzero(part % 3 != _PICTURED)
        order = plain[np.argsort(part[plain], kind="stable")]
        if not len(order):
            return {}
        ordered = part[order]
        ends = np.append(np.flatnonzero(np.diff(ordered)) + 1, len(ordered))
        colors = np.array([look.color for look in self.looks], np.uint8)
        looks = self.look_of[order]
        out: dict[int, list[tuple[int, Run]]] = {}
        made = runs_of(self.positions, self.triangles[order], colors[looks], ends)
        for run, last in zip(made, (ends - 1).tolist(), strict=True):
            out.setdefault(int(ordered[last]) // 3, []).append((int(looks[last]), run))
        return out
