"""Vertex arrays and primitive sets, in the inline form of old files and the object form of new ones (from version 112)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from importers.osgb.stream import Stream
from tim.geometry import U32

OFF, OVERALL, PER_PRIMITIVE_SET, PER_PRIMITIVE, PER_VERTEX = 0, 1, 2, 3, 4
TRIANGLES, TRIANGLE_STRIP, TRIANGLE_FAN, QUADS, QUAD_STRIP, POLYGON = 4, 5, 6, 7, 8, 9

ARRAY_CLASSES: Final[dict[str, tuple[np.dtype[Any], int]]] = {
    f"osg::{name}Array": (np.dtype(dtype), width)
    for name, dtype, width in [
        *((name, dtype, 1) for name, dtype in (
            ("Byte", "i1"), ("UByte", "u1"), ("Short", "<i2"), ("UShort", "<u2"), ("Int", "<i4"), ("UInt", "<u4"),
            ("Float", "<f4"), ("Double", "<f8"))),
        *((f"Vec{width}{suffix}", dtype, width) for width in (2, 3, 4) for suffix, dtype in (
            ("b", "i1"), ("ub", "u1"), ("s", "<i2"), ("us", "<u2"), ("i", "<i4"), ("ui", "<u4"), ("", "<f4"), ("d", "<f8"))),
    ]
}  # fmt: skip
"""Array class to element type and components."""

_INLINE_TYPES = [
    *("Byte", "UByte", "Short", "UShort", "Int", "UInt", "Float", "Double", "Vec2b", "Vec3b", "Vec4b", "Vec4ub"),
    *("Vec2s", "Vec3s", "Vec4s", "Vec2", "Vec3", "Vec4", "Vec2d", "Vec3d", "Vec4d", "Vec2ub", "Vec3ub"),
    *("Vec2us", "Vec3us", "Vec4us", "Vec2i", "Vec3i", "Vec4i", "Vec2ui", "Vec3ui", "Vec4ui"),
]
"""Array types by the number that inline arrays carry."""
_ELEMENT_TYPES: Final[dict[int, np.dtype[Any]]] = {52: np.dtype("u1"), 53: np.dtype("<u2"), 54: np.dtype("<u4")}
ELEMENT_CLASSES = {"osg::DrawElementsUByte": 52, "osg::DrawElementsUShort": 53, "osg::DrawElementsUInt": 54}


@dataclass(slots=True)
class Array:
    """A vertex array with how it applies."""

    values: NDArray[Any]
    """[n] or [n, components], as stored."""
    binding: int = PER_VERTEX
    normalize: bool = False
    indices: NDArray[Any] | None = None
    """Old files only: which value each vertex takes."""

    def per_vertex(self) -> NDArray[Any]:
        """[n, components] with old-style indices resolved. IndexError where one points nowhere."""
        return self.values if self.indices is None else self.values[self.indices]


@dataclass(slots=True)
class Primitives:
    """Runs of vertices drawn in one mode."""

    mode: int
    runs: list[NDArray[Any]]
    """Vertex indices of each strip, fan or list."""

    def triangles(self) -> list[U32]:
        """uint32[m, 3] per run, counter-clockwise as drawn; empty for points and lines."""
        return [t for run in self.runs if len(t := _triangulate(self.mode, run))]


def read_inline(stream: Stream, seen: dict[int, NDArray[Any]]) -> NDArray[Any]:
    """An inline array; ``seen`` holds the file's arrays by their own ids."""
    identity = stream.u32()
    if identity in seen:
        return seen[identity]
    kind, count = stream.i32(), stream.i32()
    if not 0 <= kind < len(_INLINE_TYPES):
        stream.fail("array-type", type=kind)
    dtype, width = ARRAY_CLASSES[f"osg::{_INLINE_TYPES[kind]}Array"]
    stream.begin()
    values = stream.array(dtype, count, width)
    seen[identity] = values
    return values


def read_inline_data(stream: Stream, seen: dict[int, NDArray[Any]]) -> Array | None:
    """An array with indices, binding and normalisation, as geometries before version 112 have them."""
    stream.begin()
    values = read_inline(stream, seen) if stream.flag() else None
    indices = read_inline(stream, seen) if stream.flag() else None
    binding, normalize = stream.i32(), stream.i32()
    return None if values is None else Array(values, binding, bool(normalize), indices)


def read_inline_primitives(stream: Stream) -> Primitives:
    """A primitive set of a geometry before version 112."""
    kind, mode = stream.i32(), stream.u32()
    if stream.version > 96:
        stream.u32()  # instances
    if kind == 50:
        return draw_arrays(stream, mode)
    if kind == 51:
        first, count = stream.i32(), stream.count(4)
        stream.begin()
        return _lengths(stream, mode, first, stream.array(np.dtype("<i4"), count))
    if kind not in _ELEMENT_TYPES:
        stream.fail("primitive-type", type=kind)
    count = stream.count(_ELEMENT_TYPES[kind].itemsize)
    stream.begin()
    return Primitives(mode, [stream.array(_ELEMENT_TYPES[kind], count)])


def draw_arrays(stream: Stream, mode: int) -> Primitives:
    """First and count: consecutive vertices."""
    first, count = stream.i32(), stream.i32()
    return _lengths(stream, mode, first, np.array([count]))


def draw_array_lengths(stream: Stream, mode: int) -> Primitives:
    """First, then the lengths of consecutive runs."""
    first, count = stream.i32(), stream.count(4)
    return _lengths(stream, mode, first, stream.array(np.dtype("<i4"), count))


def draw_elements(stream: Stream, mode: int, kind: int) -> Primitives:
    """Indexed vertices; ``kind`` 52, 53 or 54 gives their width."""
    dtype = _ELEMENT_TYPES[kind]
    return Primitives(mode, [stream.array(dtype, stream.count(dtype.itemsize))])


def _lengths(stream: Stream, mode: int, first: int, lengths: NDArray[Any]) -> Primitives:
    total = int(lengths.sum(dtype=np.int64))
    # Every vertex takes a byte at least somewhere in the file: more of them than bytes is a garbled count.
    if first < 0 or (len(lengths) and int(lengths.min()) < 0) or first + total > len(stream.data):
        stream.fail("too-many", count=total)
    index = np.arange(first, first + total, dtype=np.uint32)
    return Primitives(mode, [index] if len(lengths) == 1 else np.split(index, np.cumsum(lengths)[:-1]))


def _triangulate(mode: int, run: NDArray[Any]) -> U32:
    n = len(run)
    if mode == TRIANGLES:
        return run[: n - n % 3].reshape(-1, 3).astype(np.uint32, copy=False)
    run = run.astype(np.uint32, copy=False)
    if mode == TRIANGLE_STRIP and n > 2:
        out = np.stack([run[:-2], run[1:-1], run[2:]], axis=1)
        out[1::2] = out[1::2, [0, 2, 1]]
        return out
    if mode in (TRIANGLE_FAN, POLYGON) and n > 2:
        return np.stack([np.full(n - 2, run[0]), run[1:-1], run[2:]], axis=1)
    if mode == QUADS:
        quads = run[: n - n % 4].reshape(-1, 4)
        return quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)
    if mode == QUAD_STRIP and n > 3:
        pairs = run[: n - n % 2].reshape(-1, 2)
        quads = np.concatenate([pairs[:-1], pairs[1:, ::-1]], axis=1)
        return quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)
    return np.empty((0, 3), np.uint32)
