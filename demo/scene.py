"""The place as textured meshes: ground with its orthophoto, and everything that stands on it painted from the sheet."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image

from demo import paint, town
from tim.geometry import F32, F64, EncodedImage, Mesh

SUN = town.SUN / np.linalg.norm(town.SUN)
Cell = tuple[float, float, float, float]


def jpeg(picture: paint.Rgb, quality: int = 82) -> EncodedImage:
    """Encode for the mesh; baseline 4:2:0, as photogrammetry software does."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=2)
    return EncodedImage("image/jpeg", buffer.getvalue())


@cache
def sheet_image(divisor: int) -> EncodedImage:
    """The sheet, at a fraction of its size for coarse levels."""
    picture = Image.fromarray(paint.sheet())
    return jpeg(
        np.asarray(picture.resize((paint.SHEET[0] // divisor, paint.SHEET[1] // divisor), Image.Resampling.BOX))
    )


def ground(west: float, south: float, size: float, cells: int, pixels: int, *, crowns: bool) -> Mesh:
    """A square of land or water with a skirt, so that neighbours of another level show no gap."""
    axis = np.linspace(0, 1, cells + 1)
    s, t = np.meshgrid(axis, axis)
    x, y = west + s * size, south + t * size
    positions = np.dstack([x, y, np.maximum(town.ground(x, y), 0)]).reshape(-1, 3)
    uv = np.dstack([s, 1 - t]).reshape(-1, 2)
    number = np.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]
    triangles = np.concatenate([np.stack(three, -1).reshape(-1, 3) for three in ((a, b, c), (a, c, d))])
    border = np.concatenate([number[0, :], number[1:, -1], number[-1, -2::-1], number[-2::-1, 0]])
    below = len(positions) + np.arange(len(border))
    positions = np.concatenate([positions, positions[border] - (0, 0, size / cells / 2)])
    uv = np.concatenate([uv, uv[border]])
    down, up, next_down, next_up = below[:-1], border[:-1], below[1:], border[1:]
    skirt = np.concatenate([np.column_stack([down, next_down, next_up]), np.column_stack([down, next_up, up])])
    image = jpeg(paint.orthophoto(west, south, size, pixels, crowns=crowns))
    return Mesh(
        positions.astype("<f4"), np.concatenate([triangles, skirt]).astype("<u4"), uv.astype("<f4"), texture=image
    )


def standing(west: float, south: float, size: float, *, sides: int, divisor: int) -> Mesh | None:
    """Buildings, crowns (of so many ``sides``; 0 for none), harbour works and boats whose centre lies in the square."""
    parts = Parts()

    def here(x: float, y: float) -> bool:
        return west <= x < west + size and south <= y < south + size

    for building in town.buildings():
        if here(building.x, building.y):
            add_building(parts, building)
    for structure, top, bottom in ((town.PIER, 2.0, -0.2), (town.BREAKWATER, 2.6, -0.5)):
        add_wall(parts, structure, top, bottom, here)
    if here(*town.LIGHTHOUSE):
        add_lighthouse(parts)
    for boat in boats():
        if here(boat[0], boat[1]):
            add_boat(parts, *boat)
    if sides:
        add_crowns(parts, [t for t in town.trees() if here(t.x, t.y)], sides)
    return parts.mesh(sheet_image(divisor))


class Parts:
    """Triangles collected with their place on the sheet."""

    def __init__(self) -> None:
        self._positions: list[F64] = []
        self._uv: list[F32] = []

    def polygon(self, corners: F64, cell: Cell, unit: F64 | None = None) -> None:
        """A convex polygon, counter-clockwise from outside; ``unit`` places its corners in the cell (a quad's by default)."""
        place = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)[: len(corners)] if unit is None else unit
        fan = np.array([(0, i, i + 1) for i in range(1, len(corners) - 1)]).ravel()
        self._positions.append(np.asarray(corners, float)[fan])
        self._uv.append(paint.to_sheet(place, cell)[fan])

    def triangles(self, corners: F64, uv: F32) -> None:
        """float64[3 n, 3] corners with their sheet coordinates."""
        self._positions.append(corners)
        self._uv.append(uv)

    def mesh(self, image: EncodedImage) -> Mesh | None:
        """One indexed mesh, or none where nothing was added."""
        if not self._positions:
            return None
        both = np.column_stack([np.concatenate(self._positions), np.concatenate(self._uv)]).astype("<f4")
        unique, index = np.unique(both, axis=0, return_inverse=True)
        return Mesh(
            np.ascontiguousarray(unique[:, :3]),
            index.reshape(-1, 3).astype("<u4"),
            np.ascontiguousarray(unique[:, 3:]),
            texture=image,
        )


def sunny(a: F64, b: F64) -> bool:
    """Whether a wall from ``a`` to ``b`` (its outside on the right) faces the sun."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    return bool(dy * SUN[0] - dx * SUN[1] > 0)


def box(parts: Parts, corners: F64, bottom: float, top: float, wall: Cell, roof: Cell) -> None:
    """A prism over four corners."""
    for i in range(4):
        a, b = corners[i], corners[(i + 1) % 4]
        parts.polygon(np.array([[*a, bottom], [*b, bottom], [*b, top], [*a, top]]), wall)
    parts.polygon(np.column_stack([corners, np.full(4, top)]), roof)


def add_building(parts: Parts, b: town.Building) -> None:
    """Walls with bays and floors, and a gabled or flat roof."""
    corners, top = b.corners(), b.base + b.eaves
    floors = max(1, round(b.eaves / 3.05))
    for i in range(4):
        a, c = corners[i], corners[(i + 1) % 4]
        bays = max(1, round(float(np.hypot(*(c - a))) / 3.3))
        cell = paint.facade_cell(b.facade, sunny(a, c), floors, bays)
        parts.polygon(np.array([[*a, b.base], [*c, b.base], [*c, top], [*a, top]]), cell)
    if not b.ridge:
        parts.polygon(
            np.column_stack([corners, np.full(4, top)]),
            paint.flat_cell(town.FLAT.index(b.roof) if b.roof in town.FLAT else 1),
        )
        return
    along, across = (corners[1] - corners[0]) / b.length, (corners[3] - corners[0]) / b.width
    over = np.array(
        [
            corners[0] - (along + across) * 0.5,
            corners[1] + (along - across) * 0.5,
            corners[2] + (along + across) * 0.5,
            corners[3] + (across - along) * 0.5,
        ]
    )
    ridge_z, eaves_z = top + b.ridge, top - 0.25
    west, east = [*(over[0] + over[3]) / 2, ridge_z], [*(over[1] + over[2]) / 2, ridge_z]
    index = town.ROOFS.index(b.roof) if b.roof in town.ROOFS else 2
    parts.polygon(
        np.array([[*over[0], eaves_z], [*over[1], eaves_z], east, west]),
        paint.roof_cell(index, sunny(over[0], over[1])),
    )
    parts.polygon(
        np.array([[*over[2], eaves_z], [*over[3], eaves_z], west, east]),
        paint.roof_cell(index, sunny(over[2], over[3])),
    )
    triangle = np.array([[0, 0], [1, 0], [0.5, 0.8]])
    for a, c in ((corners[1], corners[2]), (corners[3], corners[0])):
        cell = paint.facade_cell(b.facade, sunny(a, c), 1, 3)
        parts.polygon(np.array([[*a, top], [*c, top], [*(a + c) / 2, ridge_z - 0.15]]), cell, triangle)


def add_wall(parts: Parts, line: town.Street, top: float, bottom: float, here: object) -> None:
    """A pier or breakwater in pieces, each with the square its centre lies in."""
    assert callable(here)
    start, end = np.array([line.x0, line.y0]), np.array([line.x1, line.y1])
    count = max(1, round(float(np.hypot(*(end - start))) / 12))
    left = np.array([start[1] - end[1], end[0] - start[0]]) / np.hypot(*(end - start)) * line.width / 2
    for i in range(count):
        a, b = start + (end - start) * i / count, start + (end - start) * (i + 1) / count
        if here(*((a + b) / 2)):
            box(
                parts,
                np.array([a - left, b - left, b + left, a + left]),
                bottom,
                top,
                paint.flat_cell(2),
                paint.flat_cell(1),
            )


def add_lighthouse(parts: Parts) -> None:
    """A striped tower with a lantern."""
    x, y = town.LIGHTHOUSE
    base = town.height_at(x, y) - 0.5
    turn = np.linspace(0, 2 * np.pi, 13)[:-1]
    ring = np.column_stack([np.cos(turn), np.sin(turn)])
    for low, high, r0, r1, cell in (
        (0, 17, 3.0, 2.2, paint.flat_cell(3)),
        (17, 18, 3.0, 3.0, paint.flat_cell(2)),
        (18, 20.5, 1.5, 1.5, paint.facade_cell(3, True, 1, 2)),
    ):
        for i in range(12):
            a, b = ring[i], ring[(i + 1) % 12]
            parts.polygon(
                np.array([[x + a[0] * r0, y + a[1] * r0, base + low], [x + b[0] * r0, y + b[1] * r0, base + low],
                          [x + b[0] * r1, y + b[1] * r1, base + high], [x + a[0] * r1, y + a[1] * r1, base + high]]), cell,
            )  # fmt: skip
    for i in range(12):
        a, b = ring[i] * 1.9, ring[(i + 1) % 12] * 1.9
        parts.polygon(
            np.array([[x + a[0], y + a[1], base + 20.5], [x + b[0], y + b[1], base + 20.5], [x, y, base + 22.5]]),
            paint.roof_cell(4, sunny(ring[i], ring[(i + 1) % 12])),
        )


@cache
def boats() -> tuple[tuple[float, float, float, float], ...]:
    """East, north, heading and length of boats in the harbour."""
    random = np.random.default_rng(3)
    berths = []
    for i in range(16):
        side = -1 if i % 2 else 1
        spot = (40 + side * random.uniform(9, 13)) * town.ALONG - (135 + 12.5 * (i // 2)) * town.INLAND
        berths.append(
            (
                float(spot[0]),
                float(spot[1]),
                float(town.SHORE_ANGLE + np.pi / 2 + random.normal(0, 0.08)),
                random.uniform(6, 11),
            )
        )
    out = [town.ALONG * u - town.INLAND * v for u, v in ((-120, 215), (-250, 190), (110, 300), (-40, 330))]
    berths += [(float(p[0]), float(p[1]), random.uniform(0, 6.28), random.uniform(9, 16)) for p in out]
    return tuple(berths)


def add_boat(parts: Parts, x: float, y: float, heading: float, length: float) -> None:
    """A hull with a bow and a cabin."""
    c, s = np.cos(heading), np.sin(heading)
    turn = np.array([[c, s], [-s, c]])
    w = length * 0.15
    outline = np.array(
        [[-0.5 * length, -w], [0.25 * length, -w], [0.5 * length, 0], [0.25 * length, w], [-0.5 * length, w]]
    ) @ turn + (x, y)
    hull, deck = paint.roof_cell(5, True), paint.flat_cell(1)
    for i in range(5):
        a, b = outline[i], outline[(i + 1) % 5]
        parts.polygon(np.array([[*a, -0.1], [*b, -0.1], [*b, 1.1], [*a, 1.1]]), hull if i % 2 else paint.flat_cell(0))
    spots = np.array([[0, 0], [0.7, 0], [1, 0.5], [0.7, 1], [0, 1]])
    parts.polygon(np.column_stack([outline, np.full(5, 1.1)]), deck, spots)
    cabin = np.array([[-0.3, -0.7], [0.05, -0.7], [0.05, 0.7], [-0.3, 0.7]]) * (length, w) @ turn + (x, y)
    box(parts, cabin, 1.1, 2.9, paint.facade_cell(2, True, 1, 2), deck)


def add_crowns(parts: Parts, trees: list[town.Tree], sides: int) -> None:
    """Two rings and a tip for every tree, its sides brighter towards the sun."""
    if not trees:
        return
    x, y, radius, height = np.array([(t.x, t.y, t.radius, t.height) for t in trees]).T
    base = town.ground(x, y)
    turn = np.linspace(0, 2 * np.pi, sides + 1)[None, :] + (x * 7 + y * 3)[:, None]

    def ring(reach: float, level: float) -> F64:
        wobble = reach * (1 + 0.13 * np.sin(turn * 3 + (x * 5)[:, None]))
        z = np.broadcast_to((base + height * level)[:, None], turn.shape)
        return np.stack(
            [
                x[:, None] + np.cos(turn) * radius[:, None] * wobble,
                y[:, None] + np.sin(turn) * radius[:, None] * wobble,
                z,
            ],
            -1,
        )

    low, middle = ring(0.62, 0.12), ring(1.0, 0.52)
    low[:, -1], middle[:, -1] = low[:, 0], middle[:, 0]
    tip = np.broadcast_to(np.column_stack([x, y, base + height])[:, None], (len(x), sides, 3))
    faces = [
        (low[:, :-1], low[:, 1:], middle[:, 1:]),
        (low[:, :-1], middle[:, 1:], middle[:, :-1]),
        (middle[:, :-1], middle[:, 1:], tip),
    ]
    corners = np.concatenate([np.stack(face, 2).reshape(-1, 3, 3) for face in faces])
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lit = normals @ SUN / np.linalg.norm(normals, axis=1)
    shade = np.clip(1.9 - 2.1 * lit, 0, 3.4).astype(int)
    cells = np.array([paint.canopy_cell(i) for i in range(4)])[np.minimum(shade, 3)]
    unit = np.array([[0.05, 0.1], [0.95, 0.1], [0.5, 0.95]])
    u = (cells[:, None, 0] + unit[None, :, 0] * (cells[:, None, 2] - cells[:, None, 0])) / paint.SHEET[0]
    v = (cells[:, None, 3] - unit[None, :, 1] * (cells[:, None, 3] - cells[:, None, 1])) / paint.SHEET[1]
    parts.triangles(corners.reshape(-1, 3), np.stack([u, v], -1).reshape(-1, 2).astype(np.float32))
