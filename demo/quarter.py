"""The new quarter east of the photographed town: what an office of planning and surveying has of it, as objects with attributes.

Coordinates are the town's local metres. ``u`` runs along the coast and ``v`` inland, as in :mod:`demo.town`; the quarter is a grid of
streets on ground that rises evenly inland, so everything that lies on it is flat.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from demo.town import ALONG, INLAND
from tim.geometry import F64

WEST, EAST, SOUTH, NORTH = 446.0, 926.0, -70.0, 270.0
"""Of the quarter in u and v."""
COLUMNS = (446.0, 542.0, 638.0, 734.0, 830.0, 926.0)
ROWS = (-70.0, 10.0, 96.0, 182.0, 270.0)
"""Centre lines of the streets across (at u) and along (at v)."""
AVENUES = {638.0, 10.0}
"""The wide ones."""
NAMES_ACROSS = ("海港路", "渔港路", "中心大道", "学府路", "云帆路", "东堤路")
NAMES_ALONG = ("滨海东路", "新城大道", "文化路", "青山路", "环山路")
PARKS = {(2, 1), (4, 3)}
SCHOOL = (3, 2)
DIVISION = "330903"
"""Administrative division of the made-up codes."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A piece of land, 宗地."""

    number: int
    ring: F64
    """float64[n, 3], counter-clockwise."""
    use: str
    """Code of 用地用海分类 (2023)."""
    owner: str

    @property
    def code(self) -> str:
        """宗地代码: 19 characters."""
        return f"{DIVISION}002004GB{self.number:05d}"


@dataclass(frozen=True, slots=True)
class House:
    """A building as the cadastre has it: a footprint, storeys, and whose it is."""

    number: int
    parcel: Parcel
    ring: F64
    """float64[n, 3] on the ground."""
    floors: int
    storey: float
    name: str
    use: str
    built: int

    @property
    def height(self) -> float:
        """Metres."""
        return round(self.floors * self.storey + 0.9, 2)

    @property
    def code(self) -> str:
        """不动产单元代码: 28 characters."""
        return f"{self.parcel.code}F{self.number:04d}0001"


@dataclass(frozen=True, slots=True)
class Line:
    """A street or a pipe."""

    name: str
    points: F64
    """float64[n, 3]."""
    size: float
    """Width of a street in metres; diameter of a pipe in millimetres."""
    kind: str
    level: str = ""


@dataclass(frozen=True, slots=True)
class Spot:
    """A tree, a lamp, a manhole."""

    x: float
    y: float
    z: float
    kind: str
    height: float
    species: str = ""


def at(u: float, v: float, up: float = 0.0) -> F64:
    """float64[3]: local x, y and height of a place of the quarter."""
    x, y = u * ALONG + v * INLAND
    return np.array([x, y, ground(v) + up])


def ground(v: float) -> float:
    """Height of the quarter's ground."""
    return 3.2 + 0.014 * (v - SOUTH)


def rectangle(u0: float, v0: float, u1: float, v1: float, up: float = 0.0) -> F64:
    """float64[4, 3], counter-clockwise from above."""
    return np.array([at(u0, v0, up), at(u1, v0, up), at(u1, v1, up), at(u0, v1, up)])


def width(centre: float) -> float:
    """Metres of the street with this centre line."""
    return 18.0 if centre in AVENUES else 10.0


@cache
def streets() -> tuple[Line, ...]:
    """Streets along the coast and across, each over the whole quarter."""
    across = [
        Line(name, np.array([at(u, SOUTH, 0.05), at(u, NORTH, 0.05)]), width(u), "主干路" if u in AVENUES else "支路")
        for name, u in zip(NAMES_ACROSS, COLUMNS, strict=True)
    ]
    along = [
        Line(name, np.array([at(WEST, v, 0.06), at(EAST, v, 0.06)]), width(v), "主干路" if v in AVENUES else "支路")
        for name, v in zip(NAMES_ALONG, ROWS, strict=True)
    ]
    return (*across, *along)


def blocks() -> Iterator[tuple[int, int, float, float, float, float]]:
    """Column, row, and the extent of each block between its kerbs."""
    for i, (u0, u1) in enumerate(pairwise(COLUMNS)):
        for j, (v0, v1) in enumerate(pairwise(ROWS)):
            yield i, j, u0 + width(u0) / 2 + 2, v0 + width(v0) / 2 + 2, u1 - width(u1) / 2 - 2, v1 - width(v1) / 2 - 2


@cache
def land() -> tuple[tuple[Parcel, ...], tuple[House, ...], tuple[tuple[Parcel, F64, float], ...]]:
    """Parcels, buildings, and places for villas: parcel, float64[4, 3] ground rectangle, height of the eaves."""
    random = np.random.default_rng(20261)
    parcels: list[Parcel] = []
    houses: list[House] = []
    villas: list[tuple[Parcel, F64, float]] = []

    def parcel(extent: tuple[float, float, float, float], use: str, owner: str) -> Parcel:
        parcels.append(Parcel(len(parcels) + 1, rectangle(*extent, up=0.02), use, owner))
        return parcels[-1]

    def house(
        on: Parcel, extent: tuple[float, float, float, float], floors: int, storey: float, name: str, use: str
    ) -> None:
        houses.append(
            House(len(houses) + 1, on, rectangle(*extent), floors, storey, name, use, int(random.integers(2008, 2026)))
        )

    for i, j, u0, v0, u1, v1 in blocks():
        if (i, j) in PARKS:
            parcel((u0, v0, u1, v1), "1401", "园林管理处")
        elif (i, j) == SCHOOL:
            on = parcel((u0, v0, u1, v1), "0804", "新城小学")
            house(on, (u0 + 6, v1 - 20, u1 - 6, v1 - 7), 4, 3.9, "新城小学教学楼", "教育")
            house(on, (u0 + 6, v0 + 8, u0 + 26, v1 - 28), 2, 5.5, "新城小学体育馆", "教育")
        elif i == 2 or j == 0:
            half = (u0 + u1) / 2
            for side, (a, b) in enumerate(((u0, half - 1), (half + 1, u1))):
                on = parcel((a, v0, b, v1), "0902", f"东港置业{'一二三四五六七八九十'[len(parcels) % 10]}公司")
                floors = int(random.integers(12, 27)) if i == 2 else int(random.integers(5, 10))
                name = f"{'帆海云港城星月明光新'[len(houses) % 10]}{'湾厦座广场'[side * 2]}大厦"
                house(on, (a + 3, v0 + 4, b - 3, v1 - 4), 3, 4.5, f"{name}裙楼", "商业")
                tower = (a + 8, v0 + 14, b - 8, v1 - 16)
                base = rectangle(*tower, up=3 * 4.5 + 0.9)
                houses.append(
                    House(len(houses) + 1, on, base, floors, 3.6, name, "办公", int(random.integers(2012, 2026)))
                )
        elif j == 3:
            on = parcel((u0, v0, u1, v1), "0701", "青山居住区业主大会")
            for a in np.arange(u0 + 6, u1 - 14, 17.0):
                villas.extend(
                    (on, rectangle(float(a), b, float(a) + 11, b + 15), float(random.uniform(5.6, 6.8)))
                    for b in (v0 + 8, v0 + 38)
                )
        else:
            on = parcel((u0, v0, u1, v1), "0701", f"新城花园{i + 1}期业主大会")
            for b in np.arange(v0 + 6, v1 - 12, 23.0):
                for a in (u0 + 4, (u0 + u1) / 2 + 2):
                    floors = int(random.choice([6, 11, 11, 18]))
                    extent = (float(a), float(b), float(a) + (u1 - u0) / 2 - 8, float(b) + 12)
                    house(on, extent, floors, 2.95, f"新城花园{i + 1}期{len(houses) % 20 + 1}幢", "住宅")
    return tuple(parcels), tuple(houses), tuple(villas)


@cache
def pipes() -> tuple[Line, ...]:
    """Water, rain water and gas below every street."""
    out = []
    for street in streets():
        a, b = street.points
        steps = np.linspace(0, 1, 9)[:, None]
        middle = a + (b - a) * steps
        side = np.cross([0, 0, 1.0], (b - a) / np.linalg.norm(b - a))
        for kind, offset, depth, size in (
            ("给水", -0.25, 1.4, 300.0),
            ("雨水", 0.0, 2.8, 1000.0),
            ("燃气", 0.25, 1.1, 200.0),
        ):
            way = middle + side * offset * street.size - [0, 0, depth]
            if kind == "雨水":
                way[:, 2] -= 0.003 * np.linalg.norm(middle - a, axis=1)
            out.append(Line(f"{street.name}{kind}管", way, size, kind))
    return tuple(out)


@cache
def spots() -> tuple[Spot, ...]:
    """Trees and lamps along the streets, trees in the parks, manholes at the crossings."""
    random = np.random.default_rng(20262)
    out: list[Spot] = []

    def put(u: float, v: float, kind: str, height: float, species: str = "") -> None:
        x, y, z = at(u, v)
        out.append(Spot(round(float(x), 2), round(float(y), 2), round(float(z), 2), kind, round(height, 1), species))

    def clear(position: float, centres: tuple[float, ...]) -> bool:
        return all(abs(position - c) > width(c) / 2 + 4 for c in centres)

    for u in COLUMNS:
        for k, v in enumerate(np.arange(SOUTH + 6, NORTH - 4, 9.0)):
            if clear(float(v), ROWS):
                for side in (-1, 1):
                    kerb = u + side * (width(u) / 2 + 0.9)
                    if k % 4 == 2:
                        put(kerb, float(v), "路灯", 8.0)
                    else:
                        put(kerb, float(v), "树", float(random.uniform(6, 9)), "香樟")
    for v in ROWS:
        for k, u in enumerate(np.arange(WEST + 6, EAST - 4, 10.0)):
            if clear(float(u), COLUMNS):
                for side in (-1, 1):
                    kerb = v + side * (width(v) / 2 + 0.9)
                    if k % 4 == 2:
                        put(float(u), kerb, "路灯", 8.0)
                    else:
                        put(float(u), kerb, "树", float(random.uniform(6, 9)), "银杏" if v in AVENUES else "香樟")
    for i, j, u0, v0, u1, v1 in blocks():
        if (i, j) in PARKS:
            for _ in range(90):
                put(
                    float(random.uniform(u0, u1)),
                    float(random.uniform(v0, v1)),
                    "树",
                    float(random.uniform(5, 14)),
                    "水杉",
                )
    for u in COLUMNS:
        for v in ROWS:
            put(u + 1.5, v + 1.5, "检查井", 2.8)
    return tuple(out)
