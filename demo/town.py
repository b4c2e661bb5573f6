"""The place itself: the shape of the land, and what stands on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from demo.noise import Array, fractal, smoothstep
from tim.geometry import F32, F64

CRS = "EPSG:4550"
"""CGCS2000 / 3-degree Gauss-Kruger CM 123E."""
ORIGIN = (432_800.0, 3_310_400.0, 0.0)
"""Native east, north and ellipsoidal height of the local origin."""
HALF = 384.0
"""The photographed square reaches so many metres from the origin; the laser sheet joins it in the west."""
SUN = np.array([0.58, -0.40, 0.70])
"""Direction to the sun: an autumn morning."""


@dataclass(frozen=True, slots=True)
class Building:
    """A box with a roof."""

    x: float
    y: float
    angle: float
    """Radians of the long side, counter-clockwise from east."""
    length: float
    width: float
    base: float
    """Metres of the ground it stands on."""
    eaves: float
    """Metres of wall."""
    ridge: float
    """Metres the roof rises over the eaves; 0 for a flat roof."""
    roof: tuple[int, int, int]
    facade: int
    """Row of the facade sheet."""

    def corners(self) -> F64:
        """float64[4, 2], counter-clockwise."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (self.length / 2, self.width / 2)
        return np.asarray(half @ np.array([[c, s], [-s, c]]) + (self.x, self.y))


@dataclass(frozen=True, slots=True)
class Tree:
    """A crown on a short trunk."""

    x: float
    y: float
    radius: float
    height: float


@dataclass(frozen=True, slots=True)
class Street:
    """A straight piece of road."""

    x0: float
    y0: float
    x1: float
    y1: float
    width: float

    def distance(self, x: Array, y: Array) -> Array:
        """Metres from the centre line."""
        dx, dy = self.x1 - self.x0, self.y1 - self.y0
        t = np.clip(((x - self.x0) * dx + (y - self.y0) * dy) / (dx * dx + dy * dy), 0, 1)
        return np.hypot(x - self.x0 - t * dx, y - self.y0 - t * dy)


SHORE_ANGLE = np.radians(-18.0)
ALONG = np.array([np.cos(SHORE_ANGLE), np.sin(SHORE_ANGLE)])
INLAND = np.array([-ALONG[1], ALONG[0]])


def street(u0: float, v0: float, u1: float, v1: float, width: float) -> Street:
    """A street from metres along the coast ``u`` and inland ``v``."""
    a, b = u0 * ALONG + v0 * INLAND, u1 * ALONG + v1 * INLAND
    return Street(float(a[0]), float(a[1]), float(b[0]), float(b[1]), width)


PIER = street(40, -96, 40, -235, 9.0)
BREAKWATER = street(168, -150, 70, -262, 12.0)
LIGHTHOUSE = tuple(245 * ALONG - 95 * INLAND)
TRACK = tuple(-170 * ALONG + 62 * INLAND)
"""Centre of the school's running track."""


def shore(x: Array, y: Array) -> tuple[F64, F64]:
    """Metres along the coast and inland from it (negative at sea)."""
    u, v = np.asarray(x * ALONG[0] + y * ALONG[1], float), np.asarray(x * INLAND[0] + y * INLAND[1], float)
    bay = 34 * np.sin(u / 118) + 15 * np.sin(u / 47 + 1.3) - 62 * np.exp(-(((u - 250) / 82) ** 2))
    return u, v + 120 - bay


def ground(x: Array, y: Array) -> F32:
    """Height of land and seabed, metres."""
    u, d = shore(x, y)
    land = 3.6 * smoothstep(0, 42, d) + 0.018 * np.maximum(d - 40, 0)
    hills = 74 * smoothstep(250, 560, d + 55 * np.sin(u / 170)) * (0.45 + 0.85 * fractal(x, y, 210, 4, 11))
    cape = 27 * np.exp(-(((u - 248) / 66) ** 2) - ((d - 62) / 52) ** 2)
    sea = -np.minimum(14.0, 0.7 + 0.075 * np.maximum(-d, 0))
    rough = (fractal(x, y, 28, 3, 5) - 0.5) * (0.5 + 3.4 * smoothstep(230, 330, d) + 2.6 * np.minimum(cape / 12, 1))
    height = np.where(d > 0, land + hills + cape + rough * smoothstep(8, 30, d), sea)
    return height.astype(np.float32)


def height_at(x: float, y: float) -> float:
    """Height of one place, metres."""
    return float(ground(np.array([x]), np.array([y]))[0])


@cache
def streets() -> tuple[Street, ...]:
    """A promenade along the coast, streets parallel and across, and a road into the hills."""

    rows = [street(-420, v, 190, v, w) for v, w in ((-42, 11.0), (28, 7.0), (98, 7.0), (168, 8.0))]
    columns = [
        street(u, -42, u, 168, w) for u, w in ((-380, 7.0), (-270, 7.0), (-70, 7.0), (40, 10.0), (125, 7.0), (190, 7.0))
    ]
    return (
        *rows, *columns,
        street(40, -42, 40, -100, 8.0), street(190, -42, 236, -70, 5.0), street(40, 168, 95, 250, 6.5), street(95, 250, 30, 345, 6.5),
        street(30, 345, 110, 430, 6.5),
    )  # fmt: skip


def street_distance(x: Array, y: Array) -> F32:
    """Metres to the nearest kerb, negative on the road."""
    nearest = np.full(np.broadcast(x, y).shape, 1e3, np.float32)
    for road in streets():
        np.minimum(nearest, (road.distance(x, y) - road.width / 2).astype(np.float32), out=nearest)
    return nearest


ROOFS = ((158, 84, 62), (146, 92, 70), (96, 108, 122), (112, 120, 128), (134, 70, 58), (88, 116, 146), (170, 110, 82))
FLAT = ((168, 166, 160), (186, 180, 170), (150, 154, 156))


@cache
def buildings() -> tuple[Building, ...]:
    """Houses along every street, blocks of flats on the main one, sheds at the harbour, and a lighthouse keeper's house."""
    random = np.random.default_rng(20260)
    made: list[Building] = []
    centres = np.empty((0, 3))
    for road in streets()[:10]:
        dx, dy = road.x1 - road.x0, road.y1 - road.y0
        length = float(np.hypot(dx, dy))
        along, left = np.array([dx, dy]) / length, np.array([-dy, dx]) / length
        for side in (1.0, -1.0):
            at = 9.0
            while at < length - 9:
                tall = road.width > 9 and random.random() < 0.42
                size = (
                    (random.uniform(20, 27), random.uniform(12, 15))
                    if tall
                    else (random.uniform(9, 15), random.uniform(7.5, 10))
                )
                setback = road.width / 2 + size[1] / 2 + random.uniform(2.5, 5.0)
                spot = np.array([road.x0, road.y0]) + along * (at + size[0] / 2) + left * side * setback
                at += size[0] + random.uniform(2.0, 7.5)
                radius = float(np.hypot(*size)) / 2
                x, y = float(spot[0]), float(spot[1])
                d = float(shore(np.array([x]), np.array([y]))[1][0])
                free = not len(centres) or bool(
                    (np.hypot(centres[:, 0] - x, centres[:, 1] - y) > centres[:, 2] + radius * 0.84).all()
                )
                clear = float(street_distance(np.array([x]), np.array([y]))[0]) > size[1] / 2 + 1.0
                track = np.hypot(x - TRACK[0], y - TRACK[1]) < 72
                if not free or not clear or track or d < 34 or random.random() < 0.06:
                    continue
                base = height_at(x, y)
                eaves = 3.1 * random.integers(5, 11) if tall else 3.0 * random.integers(1, 4) + 0.4
                palette = FLAT if tall else ROOFS
                made.append(
                    Building(
                        x, y, float(np.arctan2(dy, dx)) + random.normal(0, 0.015), size[0], size[1], base - 0.6, float(eaves) + 0.6,
                        0.0 if tall else size[1] * random.uniform(0.24, 0.36), palette[random.integers(len(palette))], int(random.integers(5)),
                    )
                )  # fmt: skip
                centres = np.vstack([centres, [x, y, radius * 0.84]])
    harbour = [40 * ALONG + 0 * INLAND + s * ALONG - 66 * INLAND for s in (-46.0, 44.0)]
    made += [
        Building(float(p[0]), float(p[1]), float(SHORE_ANGLE), 34, 14, 2.6, 6.4, 2.2, (120, 132, 140), 4)
        for p in harbour
    ]
    school = np.array(TRACK) + 62 * INLAND - 8 * ALONG
    made.append(
        Building(float(school[0]), float(school[1]), float(SHORE_ANGLE), 62, 13, 3.4, 13.4, 0.0, (196, 188, 176), 3)
    )
    return tuple(made)


@cache
def trees() -> tuple[Tree, ...]:
    """Woods on the hills and the cape, street trees in town, a park."""
    random = np.random.default_rng(7)
    n = 30_000
    x, y = random.uniform(-HALF - 420, HALF, n), random.uniform(-HALF, HALF, n)
    u, d = shore(x, y)
    wood = smoothstep(215, 300, d + 60 * (fractal(x, y, 90, 3, 23) - 0.5)) * 0.55
    cape = 0.5 * np.exp(-(((u - 268) / 46) ** 2) - ((d - 88) / 40) ** 2)
    town = 0.035 * ((d > 30) & (d < 260))
    kerb = street_distance(x, y)
    keep = (random.random(n) < np.maximum(np.maximum(wood, cape), town)) & (kerb > 1.2) & (d > 24)
    keep &= np.hypot(x - TRACK[0], y - TRACK[1]) > 60
    keep &= np.hypot(x - LIGHTHOUSE[0], y - LIGHTHOUSE[1]) > 14
    for b in buildings():
        keep &= np.hypot(x - b.x, y - b.y) > np.hypot(b.length, b.width) / 2 + 1.2
    radius = random.uniform(1.5, 3.6, n)
    height = radius * random.uniform(1.7, 2.6, n) + 1.0
    return tuple(Tree(*map(float, row)) for row in np.column_stack([x, y, radius, height])[keep])
