"""Morton keys: points on a line such that every octree cell is one run of it, and the levels that follow from neighbours on it.

A key has ``depth`` octal digits, the coarsest first. Coordinates are xored with :data:`SHIFT` before their bits are interleaved (a digital
shift): cells stay cells, only the order in which the eight children of a cell are visited changes. The first point of a cell, which
stands for the cell in coarser levels, is then near the point one or two thirds along the cell's diagonals instead of in its corner, at
no cost. :func:`differing` gives, for every point, the coarsest depth at which it is the first of its cell: all levels of detail follow
from that one number, so they depend on the set of points alone and not on the order in which they came.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]

MAX_DEPTH = 21
SHIFT = np.array([0x155555, 0x0AAAAA, 0x155555], np.uint32)
"""By axis; bits of a 21-bit coordinate."""

_LOW_BITS = 11
_LOW = np.uint32((1 << _LOW_BITS) - 1)


def _spread_table() -> U64:
    values = np.arange(1 << _LOW_BITS, dtype=np.uint64)
    table = np.zeros(len(values), np.uint64)
    for bit in range(_LOW_BITS):
        table |= (values >> np.uint64(bit) & np.uint64(1)) << np.uint64(3 * bit)
    return table


_SPREAD = _spread_table()


def keys(cells: Sequence[U32], depth: int) -> U64:
    """Cell coordinates below ``2**depth``, uint32[n] for each of three axes, to uint64[n] keys below ``8**depth``."""
    out = np.zeros(len(cells[0]), np.uint64)
    for axis in range(3):
        x = cells[axis] ^ (SHIFT[axis] & np.uint32((1 << depth) - 1))
        spread = _SPREAD.take(x & _LOW)
        if depth > _LOW_BITS:
            spread |= _SPREAD.take(x >> np.uint32(_LOW_BITS)) << np.uint64(3 * _LOW_BITS)
        out |= spread << np.uint64(2 - axis)
    return out


def cell(prefix: int, level: int, depth: int) -> tuple[int, int, int]:
    """The coordinates at ``level`` of the cell whose keys begin with the ``level`` digits of ``prefix``."""
    digits = [prefix >> 3 * (level - 1 - i) & 7 for i in range(level)]
    x, y, z = (
        sum((digit >> (2 - axis) & 1) << (level - 1 - i) for i, digit in enumerate(digits))
        ^ (int(SHIFT[axis]) & (1 << depth) - 1) >> (depth - level)
        for axis in range(3)
    )
    return x, y, z


def differing(sorted_keys: U64, depth: int) -> U8:
    """For sorted keys, uint8[n]: how many digits tell a point from the one before it; 1 to depth, depth + 1 for an equal key, 0 for the first.

    A point is the first of its cell at every depth from this one on.
    """
    out = np.zeros(len(sorted_keys), np.uint8)
    if len(sorted_keys) < 2:
        return out
    block = 1 << 16
    for start in range(1, len(sorted_keys), block):
        end = min(start + block, len(sorted_keys))
        x = sorted_keys[start:end] ^ sorted_keys[start - 1 : end - 1]
        # The exponent of a float is the place of the highest bit; clearing the bit below keeps rounding from carrying into it.
        exponent = (x & ~(x >> np.uint64(1))).astype(np.float64).view(np.uint64) >> np.uint64(52)
        out[start:end] = _digits(depth).take(exponent.astype(np.intp), mode="clip")
    return out


def _digits(depth: int) -> U8:
    """From the biased exponent of the highest differing bit to the number of digits needed."""
    table = np.full(1023 + 3 * MAX_DEPTH + 1, depth + 1, np.uint8)
    bits = np.arange(3 * depth)
    table[1023 + bits] = depth - bits // 3
    return table


def order(unsorted: U64) -> NDArray[np.intp]:
    """The permutation that sorts keys, equal ones in their given order: ``argsort(kind="stable")`` at the speed of the unstable one."""
    by_key = np.argsort(unsorted)
    ordered = unsorted[by_key]
    same = ordered[1:] == ordered[:-1]
    if same.any():
        # Runs of equal keys come in any order: sort the positions inside each run, all runs at once.
        member = np.zeros(len(ordered), np.bool_)
        member[1:] |= same
        member[:-1] |= same
        at = np.flatnonzero(member)
        runs = np.cumsum(np.append(True, ~same)[at])
        by_key[at] = by_key[at][np.lexsort((by_key[at], runs))]
    return by_key
