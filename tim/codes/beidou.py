"""北斗网格位置码, two-dimensional (GB/T 39409-2020 §5): which cell of ten nested grids a place is in.

Cells are counted from the equator and the zero meridian in the standard's own steps; everything is in whole steps of 1/2048 second of arc,
so nothing is rounded. A code is ``N``, then per level::

    level        1     2     3        4    5    6     7     8      9       10
    cell         6°×4° 30′   15′×10′  1′   4″   2″    1/4″  1/32″  1/256″  1/2048″   longitude × latitude
    in the last  -     12×8  2×3      15×10 15×15 2×2 8×8   8×8    8×8     8×8
    written as   zone 31…60 and row A…V; hexadecimal digits of column and row; at levels 3 and 6 one digit in Z order

Only the north-eastern quarter of the Earth up to 88° N is done. How the columns and rows of the other quarters are mirrored is told
differently by those who have written about it, cells at the poles are cut otherwise, and the order of a three-dimensional code is told
differently as well: those are refused, not guessed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from tim.errors import UsageError

SCHEME, EDITION = "cn.beidou-grid", "GB/T 39409-2020"
LEVELS = range(1, 11)
_STEPS = 2048 * 3600
"""In a degree."""
_SIZES = (
    (6 * _STEPS, 4 * _STEPS), (1800 * 2048, 1800 * 2048), (900 * 2048, 600 * 2048), (60 * 2048, 60 * 2048), (4 * 2048, 4 * 2048),
    (2 * 2048, 2 * 2048), (512, 512), (64, 64), (8, 8), (1, 1),
)  # fmt: skip
"""Steps of longitude and latitude of a cell, by level."""
_PARTS = ((30, 22), (12, 8), (2, 3), (15, 10), (15, 15), (2, 2), (8, 8), (8, 8), (8, 8), (8, 8))
"""Columns and rows of a level's cells in the cell above (at level 1: in the quarter)."""
_LENGTHS = (4, 6, 7, 9, 11, 12, 14, 16, 18, 20)
_SPATIAL = (7, 10, 12, 15, 18, 20, 23, 26, 29, 32)
"""Lengths of three-dimensional codes."""
_Z_ORDER = (3, 6)
_AROUND = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: the ``column``-th to the east of the zero meridian and the ``row``-th north of the equator, both from 0."""

    level: int
    column: int
    row: int

    @property
    def text(self) -> str:
        """The code."""
        out, size = "N", _SIZES[self.level - 1]
        x, y = self.column * size[0], self.row * size[1]
        for level in range(1, self.level + 1):
            (width, height), (columns, _) = _SIZES[level - 1], _PARTS[level - 1]
            (column, x), (row, y) = divmod(x, width), divmod(y, height)
            if level == 1:
                out += f"{column + 31:02}{chr(ord('A') + row)}"
            else:
                out += str(row * columns + column) if level in _Z_ORDER else f"{column:X}{row:X}"
        return out

    @property
    def bounds(self) -> tuple[Fraction, Fraction, Fraction, Fraction]:
        """West, south, east, north in degrees, exact. West and south belong to the cell, east and north to its neighbours."""
        width, height = _SIZES[self.level - 1]
        return (
            Fraction(self.column * width, _STEPS), Fraction(self.row * height, _STEPS),
            Fraction((self.column + 1) * width, _STEPS), Fraction((self.row + 1) * height, _STEPS),
        )  # fmt: skip

    @property
    def polygon(self) -> list[tuple[float, float]]:
        """Its outline as a closed ring of longitude and latitude in degrees, counter-clockwise from the south-west."""
        west, south, east, north = map(float, self.bounds)
        return [(west, south), (east, south), (east, north), (west, north), (west, south)]

    @property
    def parent(self) -> Cell | None:
        """The cell of the level above that it lies in."""
        if self.level == 1:
            return None
        columns, rows = _PARTS[self.level - 1]
        return Cell(self.level - 1, self.column // columns, self.row // rows)

    def children(self) -> list[Cell]:
        """The cells of the level below that it is cut into, row by row; none at level 10."""
        if self.level == LEVELS[-1]:
            return []
        columns, rows = _PARTS[self.level]
        return [
            Cell(self.level + 1, self.column * columns + x, self.row * rows + y)
            for y in range(rows)
            for x in range(columns)
        ]

    def neighbours(self) -> list[Cell]:
        """The cells that touch it, clockwise from the north: eight, fewer where the grids end (0° and 180° E, 0° and 88° N)."""
        width, height = _SIZES[self.level - 1]
        around = [Cell(self.level, self.column + dx, self.row + dy) for dx, dy in _AROUND]
        return [c for c in around if 0 <= c.column < 180 * _STEPS // width and 0 <= c.row < 88 * _STEPS // height]


def encode(lon: float | Decimal | Fraction, lat: float | Decimal | Fraction, level: int = 10) -> str:
    """The code of the cell of a level that a place is in; degrees in CGCS2000. A float is the decimal number it is written as.

    Raises UsageError ``codes.beidou-*`` for another level, no number, and a place outside of 0 ≤ lon < 180, 0 ≤ lat < 88.
    """
    if level not in LEVELS:
        raise UsageError("codes.beidou-level", field="level", value=level)
    places = []
    for name, value, most in (("longitude", lon, 180), ("latitude", lat, 88)):
        exact = _exact(name, value)
        if name == "latitude" and abs(exact) >= most:
            raise UsageError("codes.beidou-polar", field=name, value=value)
        if not 0 <= exact < most:
            raise UsageError("codes.beidou-hemisphere", field=name, value=value)
        places.append(exact)
    (x, y), (width, height) = places, _SIZES[level - 1]
    return Cell(level, math.floor(x * _STEPS / width), math.floor(y * _STEPS / height)).text


def decode(text: str) -> Cell:
    """The cell of a code. Raises UsageError ``codes.beidou-*`` naming the field that is not right."""
    if len(text) in _SPATIAL and text[3:4].isdigit() and text[4:5].isalpha():
        raise UsageError("codes.beidou-3d", field="length", value=text)
    if len(text) not in _LENGTHS:
        raise UsageError("codes.beidou-length", field="length", value=text, length=len(text))
    if text[0] == "S":
        raise UsageError("codes.beidou-hemisphere", field="hemisphere", value=text)
    if text[0] != "N":
        raise UsageError("codes.beidou-field", field="hemisphere", value=text, part=text[0], known="N")
    zone, row = text[1:3], text[3]
    if not (zone.isascii() and zone.isdigit() and 1 <= int(zone) <= 60):
        raise UsageError("codes.beidou-field", field="zone", value=text, part=zone, known="31 … 60")
    if int(zone) <= 30:
        raise UsageError("codes.beidou-hemisphere", field="zone", value=text)
    if not "A" <= row <= "V":
        raise UsageError("codes.beidou-field", field="row", value=text, part=row, known="A … V")
    cell = Cell(1, int(zone) - 31, ord(row) - ord("A"))
    for level in range(2, _LENGTHS.index(len(text)) + 2):
        part, (columns, rows) = text[_LENGTHS[level - 2] : _LENGTHS[level - 1]], _PARTS[level - 1]
        if level in _Z_ORDER:
            number = _digit(part, columns * rows, text, level)
            x, y = number % columns, number // columns
        else:
            x, y = _digit(part[0], columns, text, level), _digit(part[1], rows, text, level)
        cell = Cell(level, cell.column * columns + x, cell.row * rows + y)
    return cell


def _digit(digit: str, count: int, text: str, level: int) -> int:
    number = "0123456789ABCDEF".find(digit)
    if not 0 <= number < count:
        raise UsageError(
            "codes.beidou-field", field=f"level {level}", value=text, part=digit, known=f"0 … {count - 1:X}"
        )
    return number


def _exact(name: str, value: float | Decimal | Fraction) -> Fraction:
    try:
        return Fraction(repr(float(value)) if isinstance(value, float) else value)
    except (ValueError, OverflowError, TypeError):
        raise UsageError("codes.beidou-number", field=name, value=value) from None
