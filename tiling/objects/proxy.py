"""Objects from afar: a prism over the smallest of some rectangles around each, and a bound of how far it is from the truth.

The bound is a Hausdorff distance, never understated. From truth to prism: the distance to a face of the prism is convex, so a triangle
is nowhere farther from it than one of its corners; the nearest of six faces counts. From prism to truth: each face is cut into cells,
and from a cell's middle the truth is at most as far as where a ray across the prism meets it, or as the nearest of some of its
vertices; half the cell's diagonal is added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tiling.objects.drawn import Column, Content, Drawn, Model
from tiling.objects.faces import Faces, Stored, add_faces, add_lattice_mesh, decoded, extent, on_lattice
from tiling.objects.features import add_table
from tiling.objects.instances import from_y_up, placements
from tiling.objects.looks import Look, Looks
from tiling.objects.merge import BROKEN, merge
from tiling.objects.texture import add_skins
from tiling.spec.glb import GlbWriter
from tim.errors import StoreError
from tim.geometry import F64
from tim.place import Frame
from tim.shape import FORMAT, Problem, Shapes, decode

I64 = NDArray[np.int64]
_ANGLES = 8
"""Rectangles tried, over a quarter turn from the direction most walls have."""
_ROUGH, _CELLS = 2, 4
"""A face's side is cut into so many: for a first bound, and for a close one."""
_VERTICES = 16
"""Of an object's vertices at most so many are asked for their distance."""
_CHUNK = 1 << 11
_SEEN = 0.02
"""Twice the area a triangle must show, in a face of area 4: smaller ones meet few rays, and leaving them out never understates."""
_UPWARD = 0.3
"""Sine of the slope from which a surface counts as roof."""
_SHADES = 16
"""Mean colours are rounded to multiples of it, so that neighbours share them."""
_CORNERS = np.array(
    [[-1, -1, -1], [1, -1, -1], [1, 1, -1], [-1, 1, -1], [-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]]
)
_WALLS = [[0, 1, 5], [0, 5, 4], [1, 2, 6], [1, 6, 5], [2, 3, 7], [2, 7, 6], [3, 0, 4], [3, 4, 7]]
_BOX = np.array([[4, 5, 6], [4, 6, 7], *_WALLS, [0, 3, 2], [0, 2, 1]])
"""Triangles: roof, walls, floor."""


def proxies(
    portions: Iterable[Sequence[Drawn]], frame: Frame, columns: Sequence[Column] = (), blobs: Callable[[str], bytes] | None = None,
    *, enough: float = 0.0,
) -> Content:  # fmt: skip
    """The glb of some objects from afar: a prism each, in its mean colours, and how far it is from the truth.

    portions: the objects, some at a time; their shapes are let go of after that. enough: metres; what is surely nearer to the truth is not
    measured more closely. Models are left out: their deviation is the diagonal of their box where ``blobs`` gives them, otherwise
    infinite. Raises TilingError where a vertex lies beyond the lattice.
    """
    objects: list[Drawn] = []
    made: list[_Made] = []
    problems: list[Problem] = []
    looks = Looks()
    for portion in portions:
        shapes, owners, broken = decoded(portion)
        problems += [problem for _, problem in broken]
        if len(shapes.triangles):
            made.append(_made(shapes, portion, owners, looks, frame, enough, len(objects)))
        objects += [replace(o, shapes=()) for o in portion]
    deviations = np.array([_reach(one.models, frame, blobs) if one.models else 0.0 for one in objects])
    for part in made:
        deviations[part.rows] = np.maximum(deviations[part.rows], part.bounds)
    counts = {"vertices": 0, "triangles": 0, "features": 0}
    if not made:
        return Content([], np.zeros(3), np.zeros(3), counts, tuple(problems), deviations)
    order = sorted(range(len(objects)), key=lambda i: objects[i].tim_id)
    place = np.empty(len(objects), np.int64)
    place[order] = np.arange(len(objects))
    rows = place[np.concatenate([part.rows for part in made])]
    sort = np.argsort(rows)
    steps, colors = (np.concatenate([getattr(part, name) for part in made])[sort] for name in ("steps", "looks"))
    writer = GlbWriter()
    add_table(writer, [objects[i] for i in order], columns)
    faces = _faces(rows[sort], steps, colors)
    skins, _ = add_skins(writer, list(looks.numbers), [None] * len(looks.numbers), dict[str, bytes]().__getitem__)
    low, high = extent(faces.positions)
    stored = Stored.lattice(low, high)
    primitives, vertices = add_faces(writer, faces, skins, stored)
    add_lattice_mesh(writer, primitives, stored, frame.step)
    counts = {"vertices": vertices, "triangles": len(faces.triangles), "features": len(rows)}
    return Content(writer.chunks(), low * frame.step, high * frame.step, counts, tuple(problems), deviations)


@dataclass(frozen=True, slots=True)
class _Made:
    """The prisms of one portion."""

    rows: I64
    """int64[k]: whose they are."""
    steps: F64
    """float64[k, 8, 3]: corners, whole lattice steps."""
    looks: I64
    """int64[k, 2]: of roof and walls."""
    bounds: F64
    """float64[k]: deviation, metres."""


def _made(
    shapes: Shapes, objects: Sequence[Drawn], owners: I64, looks: Looks, frame: Frame, enough: float, first: int
) -> _Made:
    truth = _truth(shapes, owners, frame)
    prisms = _prisms(truth)
    rounding = float(np.sqrt(3) * frame.step)
    bounds = np.maximum(_to_prism(truth, prisms), _from_prism(truth, prisms, _ROUGH, rays=False))
    close = np.flatnonzero(bounds + rounding > enough)
    if len(close):
        truth_of, prisms_of = truth.of(close), prisms.of(close)
        bounds[close] = np.maximum(_to_prism(truth_of, prisms_of), _from_prism(truth_of, prisms_of, _CELLS, rays=True))
    colors = _mean_looks(truth, shapes, objects, owners, looks)
    return _Made(first + truth.features, _steps(truth, prisms, frame.step), colors, bounds + rounding)


@dataclass(frozen=True, slots=True)
class _Truth:
    """All triangles of all objects that have some, object by object."""

    features: I64
    """int64[k]: their rows in the property table."""
    origins: F64
    """float64[k, 3]: a point of each, frame metres."""
    xyz: F64
    """float64[n, 3]: metres from the origin of the vertex's object."""
    triangles: I64
    vertex_starts: I64
    """int64[k]."""
    triangle_starts: I64
    vertex_of: I64
    """int64[n]: object, 0..k."""
    triangle_of: I64

    def of(self, chosen: I64) -> _Truth:
        """That of some objects (rows, ascending) alone."""
        if len(chosen) == len(self.features):
            return self
        number = np.full(len(self.features), -1)
        number[chosen] = np.arange(len(chosen))
        vertex_of, triangle_of = number[self.vertex_of], number[self.triangle_of]
        vertices, triangles = vertex_of >= 0, triangle_of >= 0
        vertex_of, triangle_of = vertex_of[vertices], triangle_of[triangles]
        rows = np.arange(len(chosen))
        return _Truth(
            self.features[chosen], self.origins[chosen], self.xyz[vertices], (np.cumsum(vertices) - 1)[self.triangles[triangles]],
            np.searchsorted(vertex_of, rows), np.searchsorted(triangle_of, rows), vertex_of, triangle_of,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Prisms:
    """Upright boxes, turned about the vertical."""

    center: F64
    """float64[k, 3]: metres from the object's origin."""
    half: F64
    """float64[k, 3]."""
    cos: F64
    sin: F64

    def of(self, chosen: I64) -> _Prisms:
        """Some of them."""
        return _Prisms(self.center[chosen], self.half[chosen], self.cos[chosen], self.sin[chosen])

    def local(self, xyz: F64, of: I64) -> F64:
        """float64[n, 3]: points in the axes of the prisms of their objects, from its centre."""
        moved = xyz - self.center[of]
        cos, sin = self.cos[of], self.sin[of]
        return np.column_stack([
            moved[:, 0] * cos + moved[:, 1] * sin, moved[:, 1] * cos - moved[:, 0] * sin, moved[:, 2]
        ])  # fmt: skip


def _truth(shapes: Shapes, owners: I64, frame: Frame) -> _Truth:
    triangle_owner = np.repeat(owners, np.diff(shapes.triangle_ends, prepend=0))
    vertex_owner = owners[shapes.vertex_object]
    features, triangle_starts = np.unique(triangle_owner, return_index=True)
    kept = np.isin(vertex_owner, features)
    number = np.cumsum(kept) - 1
    vertex_of = np.searchsorted(features, vertex_owner[kept])
    vertex_starts = np.searchsorted(vertex_of, np.arange(len(features)))
    metres = on_lattice(shapes, frame)[kept] * frame.step
    origins = metres[vertex_starts]
    return _Truth(
        features, origins, metres - origins[vertex_of], number[shapes.triangles.astype(np.int64)], vertex_starts,
        triangle_starts, vertex_of, np.searchsorted(features, triangle_owner),
    )  # fmt: skip


def _prisms(truth: _Truth) -> _Prisms:
    x, y, z = truth.xyz.T
    a, b, c = (truth.xyz[truth.triangles[:, k]] for k in range(3))
    projected, upward, area = _areas(truth)
    # Directions that differ by a quarter turn are one, so their fourth powers add up; in walls, not across roofs.
    steep = (1 - np.divide(projected, area, out=np.ones_like(area), where=area > 0)) ** 2 + 1e-6
    along = np.zeros(len(a), np.complex128)
    for p, q in ((a, b), (b, c), (c, a)):
        edge = (q[:, 0] - p[:, 0]) + 1j * (q[:, 1] - p[:, 1])
        length = np.abs(edge)
        unit = np.divide(edge, length, out=np.zeros_like(edge), where=length > 0)
        along += length * steep * unit**4
    base = np.angle(np.add.reduceat(along, truth.triangle_starts)) / 4
    best: F64 = np.full(len(base), np.inf)
    turn, low, high = np.zeros(len(base)), np.zeros((len(base), 2)), np.zeros((len(base), 2))
    for step in range(_ANGLES):
        angle = base + step * (np.pi / 2 / _ANGLES)
        cos, sin = np.cos(angle)[truth.vertex_of], np.sin(angle)[truth.vertex_of]
        sides = (x * cos + y * sin, y * cos - x * sin)
        least = np.column_stack([np.minimum.reduceat(side, truth.vertex_starts) for side in sides])
        most = np.column_stack([np.maximum.reduceat(side, truth.vertex_starts) for side in sides])
        size = np.prod(most - least + 1e-3, axis=1)
        better = size < best * (1 - 1e-9)
        best[better], turn[better], low[better], high[better] = size[better], angle[better], least[better], most[better]
    floor = np.minimum.reduceat(z, truth.vertex_starts)
    ridge = np.maximum.reduceat(z, truth.vertex_starts)
    weight = projected * upward
    roof = np.add.reduceat(weight, truth.triangle_starts)
    mean = np.add.reduceat(weight * (a[:, 2] + b[:, 2] + c[:, 2]) / 3, truth.triangle_starts)
    top = np.clip(np.where(roof > 0, mean / np.where(roof > 0, roof, 1), ridge), floor, ridge)
    cos, sin = np.cos(turn), np.sin(turn)
    u, v = ((low + high) / 2).T
    center = np.column_stack([u * cos - v * sin, u * sin + v * cos, (floor + top) / 2])
    return _Prisms(center, np.column_stack([(high - low) / 2, (top - floor) / 2]), cos, sin)


def _areas(truth: _Truth) -> tuple[F64, NDArray[np.bool_], F64]:
    """float64[m] twice the area seen from above, whether it faces up, and twice the true area."""
    a, b, c = (truth.xyz[truth.triangles[:, k]] for k in range(3))
    u, v = b - a, c - a
    nx, ny = u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1], u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2]
    nz = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    area = np.sqrt(nx * nx + ny * ny + nz * nz)
    return np.abs(nz), nz > _UPWARD * area, area


def _mean_looks(truth: _Truth, shapes: Shapes, objects: Sequence[Drawn], owners: I64, looks: Looks) -> I64:
    """int64[k, 2]: looks of roof and walls: the mean colour, by area, of what faces up and of the rest."""
    own = Looks()
    surface = own.of_surfaces(shapes, [objects[i].rgba for i in owners.tolist()], plain=True)
    table = np.array([look.color for look in own.numbers], np.float64)
    color = table[np.repeat(surface, np.diff(shapes.surface_triangle_ends, prepend=0))]
    _, upward, area = _areas(truth)
    means = []
    for chosen in (upward, ~upward):
        weight = area * chosen + area * 1e-9  # what an object has none of takes the colour of the rest
        sums = np.add.reduceat(color * weight[:, None], truth.triangle_starts, axis=0)
        total = np.add.reduceat(weight, truth.triangle_starts)[:, None]
        means.append(np.where(total > 0, sums / np.where(total > 0, total, 1), table[0]))
    rounded = np.minimum(np.rint(np.stack(means, axis=1) / _SHADES) * _SHADES, 255).astype(np.int64)
    rounded[..., 3] = np.where(rounded[..., 3] >= 128, 255, rounded[..., 3])
    flat = [looks.number(Look((r, g, b, a))) for r, g, b, a in rounded.reshape(-1, 4).tolist()]
    return np.array(flat, np.int64).reshape(-1, 2)


def _steps(truth: _Truth, prisms: _Prisms, step: float) -> F64:
    """float64[k, 8, 3]: corners as whole lattice steps."""
    corner = _CORNERS * prisms.half[:, None, :]
    cos, sin = prisms.cos[:, None], prisms.sin[:, None]
    turned = np.stack([
        corner[..., 0] * cos - corner[..., 1] * sin, corner[..., 0] * sin + corner[..., 1] * cos, corner[..., 2]
    ], axis=2)  # fmt: skip
    return np.asarray(np.rint((turned + (prisms.center + truth.origins)[:, None, :]) / step))


def _faces(features: I64, steps: F64, looks: I64) -> Faces:
    count = len(features)
    triangles = np.tile(_BOX, (count, 1)) + np.repeat(np.arange(count) * len(_CORNERS), len(_BOX))[:, None]
    look = np.repeat(looks, [2, len(_BOX) - 2], axis=1)
    # Of what is flat one side is enough; two in one place would flicker.
    kept = np.ones((count, len(_BOX)), bool)
    kept[steps[:, 4, 2] == steps[:, 0, 2], 2:] = False
    shown = kept.reshape(-1)
    return Faces(
        steps.reshape(-1, 3), triangles[shown], look.reshape(-1)[shown], np.repeat(features, len(_CORNERS)), None
    )


def _to_prism(truth: _Truth, prisms: _Prisms) -> F64:
    """float64[k]: no point of the truth is farther from its prism's surface."""
    local = prisms.local(truth.xyz, truth.vertex_of)
    half = prisms.half[truth.vertex_of]
    beyond = np.maximum(np.abs(local) - half, 0) ** 2
    distance = np.empty((len(local), 6))
    for axis in range(3):
        across = beyond[:, (axis + 1) % 3] + beyond[:, (axis + 2) % 3]
        for side, sign in enumerate((-1, 1)):
            distance[:, 2 * axis + side] = (local[:, axis] - sign * half[:, axis]) ** 2 + across
    corner = distance[truth.triangles]
    nearest = np.maximum(np.maximum(corner[:, 0], corner[:, 1]), corner[:, 2]).min(axis=1)
    return np.asarray(np.sqrt(np.maximum.reduceat(nearest, truth.triangle_starts)))


def _from_prism(truth: _Truth, prisms: _Prisms, cells: int, *, rays: bool) -> F64:
    """float64[k]: no point of a prism's surface is farther from the truth. cells: into which a face's side is cut; rays: whether the
    truth is looked for along them, or only its vertices."""
    local = prisms.local(truth.xyz, truth.vertex_of)
    some = local[_spread(truth)]
    middles = (np.arange(cells) * 2 + 1) / cells - 1
    out: F64 = np.zeros(len(prisms.half))
    for axis in range(3):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        hit = _rays(truth, prisms, local, axis, middles) if rays else (np.inf, np.inf)
        cell = np.hypot(prisms.half[:, i], prisms.half[:, j]) / cells
        across = [(some[..., k, None] - prisms.half[:, k, None, None] * middles) ** 2 for k in (i, j)]
        within = across[0][..., :, None] + across[1][..., None, :]
        for side, sign in enumerate((-1.0, 1.0)):
            along = (some[..., axis] - sign * prisms.half[:, axis, None]) ** 2
            near = np.sqrt((within + along[..., None, None]).min(axis=1))
            distance = np.minimum(near, hit[side]).reshape(len(out), -1)
            out = np.maximum(out, distance.max(axis=1) + cell)
    return out


def _rays(truth: _Truth, prisms: _Prisms, local: F64, axis: int, middles: F64) -> F64:
    """float64[2, k, cells, cells]: from cells of the two faces across an axis along it to the truth; infinite where it is not met."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    half = np.where(prisms.half > 0, prisms.half, 1.0)[truth.vertex_of]
    u, v, depth = local[:, i] / half[:, i], local[:, j] / half[:, j], local[:, axis]
    out = np.full((2, len(prisms.half), len(middles), len(middles)), np.inf)
    edges = [*range(0, len(truth.triangles), _CHUNK), len(truth.triangles)]
    for first, last in pairwise(edges):
        a, b, c = truth.triangles[first:last].T
        of = truth.triangle_of[first:last]
        doubled = (u[b] - u[a]) * (v[c] - v[a]) - (v[b] - v[a]) * (u[c] - u[a])
        seen = np.abs(doubled) > _SEEN
        a, b, c, of, doubled = a[seen], b[seen], c[seen], of[seen], doubled[seen]
        if not len(of):
            continue
        # The barycentric weights of b and c and so the depth are linear in the two directions across.
        fb = _linear((v[c] - v[a]) / doubled, (u[a] - u[c]) / doubled, u[a], v[a], middles)
        fc = _linear((v[a] - v[b]) / doubled, (u[b] - u[a]) / doubled, u[a], v[a], middles)
        wb, wc = fb[0] + fb[1], fc[0] + fc[1]
        outside = (wb < 0) | (wc < 0) | (wb + wc > 1)
        to_b, to_c = (depth[b] - depth[a])[:, None, None], (depth[c] - depth[a])[:, None, None]
        at = (fb[0] * to_b + fc[0] * to_c + depth[a][:, None, None]) + (fb[1] * to_b + fc[1] * to_c)
        at[outside] = np.inf
        objects, starts = np.unique(of, return_index=True)
        for side, sign in enumerate((-1.0, 1.0)):
            apart = np.abs(at - sign * prisms.half[of, axis][:, None, None])
            out[side, objects] = np.minimum(out[side, objects], np.minimum.reduceat(apart, starts, axis=0))
    return out


def _linear(along: F64, across: F64, u: F64, v: F64, middles: F64) -> tuple[F64, F64]:
    """``along * (p - u) + across * (q - v)`` over the middles of cells, in two parts: float64[m, cells, 1] of p, float64[m, 1, cells] of q."""
    return along[:, None, None] * (middles[:, None] - u[:, None, None]), across[:, None, None] * (
        middles - v[:, None, None]
    )


def _spread(truth: _Truth) -> I64:
    """int64[k, 16]: vertices of each object, spread over all it has."""
    counts = np.diff(truth.vertex_starts, append=len(truth.xyz))
    return truth.vertex_starts[:, None] + np.arange(_VERTICES) * counts[:, None] // _VERTICES


def _reach(models: Sequence[Model], frame: Frame, blobs: Callable[[str], bytes] | None) -> float:
    """The largest diagonal of the models' boxes; infinite where one cannot be read."""
    longest = 0.0
    for model in models:
        corners = None if blobs is None else _corners(model, blobs)
        if corners is None:
            return np.inf
        low, high = placements([model], frame).bounds(*corners)
        longest = max(longest, float(np.linalg.norm(high - low)))
    return longest


def _corners(model: Model, blobs: Callable[[str], bytes]) -> tuple[F64, F64] | None:
    """Corners of a model, east, north, up."""
    try:
        data = blobs(model.content)
        if model.format == FORMAT:
            xyz = decode(data).xyz
            return (xyz.min(axis=0), xyz.max(axis=0)) if len(xyz) else None
        merged = merge(GlbWriter(), data)
        return from_y_up(merged.low, merged.high)
    except (StoreError, *BROKEN):
        return None
