"""What the place looks like from above, and the sheet its walls, roofs and crowns are painted from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from demo import town
from demo.noise import Array, f32, fractal, hashed, smoothstep, value_noise
from tim.geometry import F32, F64

Rgb = NDArray[np.uint8]
CELL = 1.0
WEST, EAST, SOUTH, NORTH = -town.HALF - 420, town.HALF + 20, -town.HALF - 20, town.HALF + 20


@dataclass(frozen=True, slots=True)
class Relief:
    """Smooth facts of the whole place, sampled instead of computed again for every pixel."""

    raster: F32
    """float32[row, column, fact], row 0 in the north, :data:`CELL` metres a cell; the facts are those of :class:`Facts`."""

    def sample(self, x: Array, y: Array) -> Facts:
        """Bilinear facts at points."""
        column = np.clip((x - WEST) / CELL - 0.5, 0, self.raster.shape[1] - 1.001)
        row = np.clip((NORTH - y) / CELL - 0.5, 0, self.raster.shape[0] - 1.001)
        i, j = row.astype(np.int64), column.astype(np.int64)
        t, s = (row - i).astype(np.float32)[..., None], (column - j).astype(np.float32)[..., None]
        top = self.raster[i, j] * (1 - s) + self.raster[i, j + 1] * s
        low = self.raster[i + 1, j] * (1 - s) + self.raster[i + 1, j + 1] * s
        return Facts(*np.moveaxis(top * (1 - t) + low * t, -1, 0))


class Facts(NamedTuple):
    """What is smooth enough to be kept in a raster."""

    height: F32
    """Ground and seabed."""
    surface: F32
    """Land or water with buildings and crowns."""
    light: F32
    """Direct light and sky light together, about 0.3 to 1.2."""
    slope: F32
    """Rise over run."""
    kerb: F32
    """Metres to the nearest kerb, negative on the road."""
    inland: F32
    """Metres from the shore, negative at sea."""
    patches: F32
    """Noise of 60 m."""
    woods: F32
    """0 open, 1 forest."""


@cache
def relief() -> Relief:
    """Heights, then sunlight with cast shadows, then skylight from how much higher the surroundings are."""
    x, y = np.meshgrid(np.arange(WEST, EAST, CELL) + CELL / 2, NORTH - np.arange(0, NORTH - SOUTH, CELL) - CELL / 2)
    height = town.ground(x, y)
    land = np.maximum(height, 0)
    surface = land.copy()
    for b in town.buildings():
        rows, columns = window(b.x, b.y, b.length / 2 + b.width / 2)
        inside, across = in_building(b, x[rows, columns], y[rows, columns])
        roof = b.base + b.eaves + b.ridge * (1 - across)
        surface[rows, columns] = np.where(inside, roof, surface[rows, columns])
    for tree in town.trees():
        rows, columns = window(tree.x, tree.y, tree.radius)
        reach = np.hypot(x[rows, columns] - tree.x, y[rows, columns] - tree.y) / tree.radius
        crown = land[rows, columns] + tree.height * np.sqrt(np.clip(1 - reach**2, 0, 1))
        surface[rows, columns] = np.maximum(surface[rows, columns], crown)
    down, right = np.gradient(land, CELL)
    sun = town.SUN / np.linalg.norm(town.SUN)
    direct = np.clip((-right * sun[0] + down * sun[1] + sun[2]) / np.sqrt(1 + right**2 + down**2), 0, 1)
    open_sky = 1 - np.clip((blurred(surface, 7) - land) / 14, 0, 0.6)
    light = 0.42 * open_sky + 0.78 * direct * (1 - 0.93 * blurred(cast_shadow(land, surface, sun), 1))
    inland = f32(town.shore(x, y)[1])
    woods = smoothstep(225, 300, inland + 60 * (fractal(x, y, 90, 3, 23) - 0.5))
    facts = Facts(
        height, surface, light, np.hypot(right, down), town.street_distance(x, y), inland, fractal(x, y, 60, 3, 31), woods
    )  # fmt: skip
    return Relief(np.stack([np.asarray(f, np.float32) for f in facts], axis=-1))


def cast_shadow(land: F32, surface: F32, sun: F64) -> F32:
    """0 lit to 1 in shadow: walk from every cell towards the sun and see what rises above the ray."""
    flat = float(np.hypot(sun[0], sun[1]))
    rows, columns = land.shape
    shade = np.zeros_like(land)
    for step in range(1, 70):
        dx, dy = round(step * sun[0] / flat), round(step * sun[1] / flat)
        there = (slice(max(0, -dy), rows - max(0, dy)), slice(max(0, dx), columns + min(0, dx)))
        here = (slice(max(0, dy), rows + min(0, dy)), slice(max(0, -dx), columns - max(0, dx)))
        rise = surface[there] - land[here] - step * CELL * sun[2] / flat
        shade[here] = np.maximum(shade[here], np.clip(rise / 0.8, 0, 1))
    return shade


def window(x: float, y: float, reach: float) -> tuple[slice, slice]:
    """The raster rows and columns within ``reach`` metres."""
    row, column, n = (NORTH - y) / CELL, (x - WEST) / CELL, reach / CELL + 1
    return slice(max(0, int(row - n)), max(0, int(row + n) + 1)), slice(
        max(0, int(column - n)), max(0, int(column + n) + 1)
    )


def in_building(b: town.Building, x: Array, y: Array) -> tuple[NDArray[np.bool_], Array]:
    """Whether points lie in the outline, and how far across the ridge they are (0 ridge, 1 eaves)."""
    c, s = np.cos(b.angle), np.sin(b.angle)
    along, across = (x - b.x) * c + (y - b.y) * s, (y - b.y) * c - (x - b.x) * s
    return (abs(along) <= b.length / 2) & (abs(across) <= b.width / 2), np.minimum(abs(across) / (b.width / 2), 1)


def blurred(values: F32, radius: int) -> F32:
    """A box blur of 2 * radius + 1 cells, by running sums."""
    size = 2 * radius + 1
    for axis in (0, 1):
        padded = np.pad(values, [(radius + 1, radius) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        total = np.cumsum(padded, axis=axis, dtype=np.float64)
        values = (
            (
                np.take(total, range(size, total.shape[axis]), axis)
                - np.take(total, range(total.shape[axis] - size), axis)
            )
            / size
        ).astype(np.float32)
    return values


def mix(low: F32, high: tuple[int, int, int] | F32, share: Array) -> F32:
    """Blend colours [.., 3] towards ``high`` by ``share``."""
    t = np.clip(share, 0, 1)[..., None].astype(np.float32)
    return np.asarray(low * (1 - t) + np.asarray(high, np.float32) * t, np.float32)


def albedo(x: Array, y: Array, texel: float) -> F32:
    """Colour of the ground without light, float32[.., 3] in 0..255; detail finer than ``texel`` metres is left out."""
    facts = relief().sample(x, y)
    d, kerb = facts.inland, facts.kerb
    if bool((d < -12).all()):
        return structures(water(x, y, facts), x, y)
    fine = fractal(x, y, 3.0, 2, 37)
    dry = 1 - smoothstep(0.55, 0.95, facts.slope)
    colour = mix(plain((118, 132, 78), x), (146, 142, 92), facts.patches)
    colour = mix(colour, (92, 112, 58), smoothstep(0.45, 0.75, fine))
    if bool(((d > 196) & (d < 262)).any()):
        colour = crops(colour, x, y, facts, fine, texel)
    if bool((facts.woods > 0).any()):
        colour = mix(colour, mix(plain((58, 80, 42), x), (84, 104, 56), fine), facts.woods * 0.9)
    if bool((kerb < 30).any()):
        yard = (1 - smoothstep(16, 30, kerb)) * smoothstep(24, 30, d) * (1 - smoothstep(190, 200, d))
        paved = mix(plain((168, 160, 146), x), (142, 138, 126), facts.patches)
        colour = mix(colour, paved, yard * smoothstep(0.3, 0.55, facts.patches + 0.25 * fine))
    colour = mix(colour, mix(plain((132, 122, 110), x), (176, 166, 150), fine), 1 - dry)
    if bool((d < 34).any()):
        sand = mix(plain((214, 198, 162), x), (196, 178, 140), fine)
        colour = mix(colour, sand, (1 - smoothstep(20, 29, d + 3 * fine)) * dry * (1 - smoothstep(5, 8, facts.height)))
        colour = mix(colour, (150, 132, 104), (1 - smoothstep(0.5, 4, d)) * dry * 0.75)
    if bool((track_frame(x, y)[0] < 31).any()):
        colour = mix(colour, track_colour(x, y), track_frame(x, y)[0] < 31)
    if bool((kerb < 2).any()):
        colour = paint_roads(colour, x, y, facts, texel)
    if bool((d < 1).any()):
        colour = np.where((d <= 0)[..., None], water(x, y, facts), colour)
    return structures(colour, x, y)


def plain(colour: tuple[int, int, int], x: Array) -> F32:
    """One colour over the shape of ``x``."""
    return np.broadcast_to(np.asarray(colour, np.float32), (*x.shape, 3))


def water(x: Array, y: Array, facts: Facts) -> F32:
    """The sea: pale over sand, deep blue further out, ripples, a broken line of foam."""
    depth = np.maximum(-facts.height, 0)
    colour = mix(plain((124, 172, 160), x), (66, 130, 138), smoothstep(0.5, 2.6, depth))
    colour = mix(colour, (30, 82, 108), smoothstep(2.2, 8.5, depth))
    waves = value_noise(x + 0.6 * y, y * 2.4, 7, 51)
    colour = colour * (0.93 + 0.14 * waves[..., None])
    if not bool((facts.inland > -14).any()):
        return colour
    line = (facts.inland + 4.5 + 2 * value_noise(x, y, 30, 62)) ** 2 / 3.5
    return mix(colour, (236, 240, 238), smoothstep(0.55, 0.8, value_noise(x, y, 6, 61)) * np.exp(-line))


def structures(colour: F32, x: Array, y: Array) -> F32:
    """The pier and the breakwater."""
    for structure, tint in ((town.PIER, (186, 180, 168)), (town.BREAKWATER, (134, 130, 124))):
        edge = structure.distance(x, y) - structure.width / 2
        if bool((edge < 0).any()):
            colour = mix(colour, f32(tint) * (0.86 + 0.28 * value_noise(x, y, 2, 38)[..., None]), edge < 0)
    return np.asarray(colour, np.float32)


def crops(colour: F32, x: Array, y: Array, facts: Facts, fine: F32, texel: float) -> F32:
    """Strips of fields between the town and the woods."""
    u, d = town.shore(x, y)
    fields = (d > 196) & (d < 262) & (facts.kerb > 2.5) & (u < 60)
    strip = hashed(np.floor(u / 23 + 0.2 * np.sin(d / 9)).astype(np.int64), np.floor(d / 33).astype(np.int64), 3)
    tones = f32([[150, 152, 80], [112, 134, 66], [172, 156, 104], [98, 122, 70], [138, 116, 84]])
    rows = 1 + 0.06 * np.sin(u * 4.2) * (texel < 0.6)
    return np.where(
        fields[..., None], tones[(strip * 5).astype(np.int64) % 5] * ((0.9 + 0.2 * fine) * rows)[..., None], colour
    )


def paint_roads(colour: F32, x: Array, y: Array, facts: Facts, texel: float) -> F32:
    """Asphalt, pavements and, where they can be seen, lane markings."""
    kerb, d = facts.kerb, facts.inland
    colour = mix(colour, (182, 177, 168), ((kerb < 2.0) & (d < 185) & (d > 1)) * 0.9)
    road = (kerb < 0) & (d > 1)
    colour = mix(colour, mix(plain((104, 105, 108), x), (88, 90, 94), value_noise(x, y, 1.7, 71)), road)
    if texel > 0.6:
        return colour
    for street in town.streets():
        middle = street.distance(x, y)
        if street.width < 6.4 or float(middle.min()) > street.width / 2:
            continue
        dx, dy = street.x1 - street.x0, street.y1 - street.y0
        length = float(np.hypot(dx, dy))
        along = ((x - street.x0) * dx + (y - street.y0) * dy) / length
        dash = (middle < 0.14) & (along % 6 < 3) & (along > 8) & (along < length - 8)
        crossing = (middle < street.width / 2 - 0.5) & ((abs(along - 9.5) < 1.6) | (abs(along - length + 9.5) < 1.6))
        zebra = crossing & ((y * dx - x * dy) / length % 1.2 < 0.6)
        colour = mix(colour, (226, 224, 214), (dash | zebra) & road)
    return colour


def track_frame(x: Array, y: Array) -> tuple[Array, Array]:
    """Metres from the running track's centre line's inner edge, and across the lanes."""
    u = (x - town.TRACK[0]) * town.ALONG[0] + (y - town.TRACK[1]) * town.ALONG[1]
    v = (x - town.TRACK[0]) * town.INLAND[0] + (y - town.TRACK[1]) * town.INLAND[1]
    return np.hypot(np.maximum(abs(u) - 28, 0), v), u


def track_colour(x: Array, y: Array) -> F32:
    """Green inside, red lanes with white lines, a pale rim."""
    reach, u = track_frame(x, y)
    turf = np.where((np.floor(u / 6) % 2 == 0)[..., None], f32([96, 138, 70]), f32([108, 150, 80]))
    lanes = np.where((((reach - 22) % 1.22) < 0.12)[..., None], f32([226, 210, 204]), f32([176, 84, 66]))
    colour = np.where((reach < 22)[..., None], turf, lanes)
    return np.where((reach > 29.3)[..., None], f32([190, 186, 176]), colour).astype(np.float32)


def orthophoto(west: float, south: float, size: float, pixels: int, *, crowns: bool = False) -> Rgb:
    """uint8[pixels, pixels, 3], row 0 north: the ground as lit; ``crowns`` paints the woods where no mesh will show them."""
    texel = size / pixels
    axis = (np.arange(pixels) + 0.5) * texel
    x, y = np.meshgrid(west + axis, south + size - axis)
    colour = albedo(x, y, texel)
    facts = relief().sample(x, y)
    light = np.where(facts.height <= 0, 0.6 + 0.4 * facts.light, facts.light)
    if crowns:
        covered = (facts.surface - np.maximum(facts.height, 0) > 1.2) & (facts.inland > 200)
        colour = np.where(covered[..., None], f32([66, 88, 46]), colour)
    return lit(colour, light)


def lit(colour: F32, light: F32) -> Rgb:
    """Colour under light, with a warm sun and a soft shoulder."""
    tint = 1 + (light[..., None] - 0.7) * f32([0.10, 0.03, -0.08])
    value = colour * light[..., None] * tint * 1.02
    return np.asarray(np.clip(255 * (1 - np.exp(-value / 255 * 1.55)) / (1 - np.exp(-1.55)), 0, 255), np.uint8)


SHEET = (256, 856)
"""Width and height of the sheet in pixels."""
WALL, FLOOR, BAYS, FLOORS = (128, 120), 12, 8, 10
CANOPY_TOP = 792


def facade_cell(style: int, sunny: bool, floors: float, bays: float) -> tuple[float, float, float, float]:
    """Left, top, right, bottom in sheet pixels of a wall of so many floors and bays."""
    left, bottom = (0.0 if sunny else 128.0), (style + 1) * 120.0
    return left + 0.5, bottom - min(floors, FLOORS) * FLOOR + 0.5, left + min(bays, BAYS) * 16 - 0.5, bottom - 0.5


def roof_cell(index: int, sunny: bool) -> tuple[float, float, float, float]:
    """A roof slope of one of the palette's colours."""
    cell = index * 2 + (0 if sunny else 1)
    return cell % 4 * 64 + 1, 600 + cell // 4 * 32 + 1, cell % 4 * 64 + 63, 600 + cell // 4 * 32 + 31


def flat_cell(index: int) -> tuple[float, float, float, float]:
    """A flat roof; 3 is the lighthouse's stripes."""
    return index * 64 + 1, 729, index * 64 + 63, 791


def canopy_cell(shade: int) -> tuple[float, float, float, float]:
    """Foliage, 0 bright to 3 dark."""
    return shade * 64 + 1, CANOPY_TOP + 1, shade * 64 + 63, CANOPY_TOP + 63


@cache
def sheet() -> Rgb:
    """uint8[856, 256, 3]: facades, roofs, flat roofs, foliage."""
    picture = np.zeros((SHEET[1], SHEET[0], 3), np.float32)
    py, px = np.mgrid[0:120, 0:128]
    walls = f32([[222, 212, 192], [206, 186, 160], [228, 226, 220], [198, 204, 208], [170, 176, 178]])
    for style in range(5):
        bay, storey = px % 16, (119 - py) % FLOOR
        number = px // 16 + 16 * ((119 - py) // FLOOR)
        random = hashed(number, np.full_like(number, style), 5)
        glass = (bay > 4) & (bay < 12) & (storey > 3) & (storey < 10)
        frame = (bay > 3) & (bay < 13) & (storey > 2) & (storey < 11) & ~glass
        wall = walls[style] * (0.94 + 0.1 * hashed(px, py, 77)[..., None])
        wall = np.where((storey == 0)[..., None], wall * (0.84 if style in (0, 3) else 0.95), wall)
        cell = np.where(frame[..., None], wall * 1.07, wall)
        pane = mix(np.broadcast_to(f32([56, 72, 86]), cell.shape), (138, 164, 182), random * 0.75 + 0.2 * (storey > 6))
        cell = np.where(glass[..., None], pane, cell)
        balcony = (style in (2, 3)) & (number % 16 % 2 == 1) & (storey < 5) & (storey > 0)
        cell = np.where(balcony[..., None], walls[style] * 0.86, cell)
        shop = (119 - py < 10) & (bay > 1) & (bay < 15) & (random > 0.45) & (style < 4)
        cell = np.where(shop[..., None], f32([92, 88, 84]) + 60 * random[..., None], cell)
        for column, light in ((0, 1.04), (128, 0.62)):
            picture[style * 120 : style * 120 + 120, column : column + 128] = cell * light
    ry, rx = np.mgrid[0:32, 0:64]
    for cell_index in range(14):
        tone = f32(town.ROOFS[cell_index // 2]) * (1.12 if cell_index % 2 == 0 else 0.7)
        tiles = (
            0.9
            + 0.1 * np.sin(rx * np.pi / 2)
            + 0.12 * (hashed(rx // 4, ry // 3, cell_index) - 0.5)
            - 0.1 * (ry % 8 == 0)
        )
        picture[600 + cell_index // 4 * 32 :, cell_index % 4 * 64 :][:32, :64] = tone * tiles[..., None]
    fy, fx = np.mgrid[0:64, 0:64]
    edge = np.minimum(np.minimum(fx, 63 - fx), np.minimum(fy, 63 - fy))
    for index in range(3):
        plant = hashed(fx // 9, fy // 7, 90 + index)
        shade = (
            np.where(edge < 3, 1.12, 0.92 + 0.06 * hashed(fx, fy, index))
            - 0.22 * ((plant > 0.86) & (edge > 6))
            + 0.16 * ((plant < 0.08) & (edge > 6))
        )
        picture[728:792, index * 64 : index * 64 + 64] = f32(town.FLAT[index]) * shade[..., None]
    picture[728:792, 192:256] = np.where((fy // 11 % 2 == 0)[..., None], f32([196, 60, 48]), f32([240, 238, 232]))
    for shade_index, light in enumerate((1.12, 0.92, 0.7, 0.5)):
        leaves = fractal(fx.astype(np.float32), fy.astype(np.float32), 9, 3, 13)
        green = mix(np.broadcast_to(f32([70, 98, 46]), (64, 64, 3)), (128, 148, 74), smoothstep(0.3, 0.75, leaves))
        picture[CANOPY_TOP:, shade_index * 64 : shade_index * 64 + 64] = green * light
    return np.clip(picture, 0, 255).astype(np.uint8)


def to_sheet(points: F64, cell: tuple[float, float, float, float]) -> F32:
    """Unit coordinates [n, 2] (right, up) within a cell to texture coordinates of the sheet, v down."""
    left, top, right, bottom = cell
    u = (left + points[:, 0] * (right - left)) / SHEET[0]
    v = (bottom - points[:, 1] * (bottom - top)) / SHEET[1]
    return np.column_stack([u, v]).astype(np.float32)
