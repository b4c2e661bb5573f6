"""A tile of points as glb: lattice positions, colour, and all other attributes as EXT_structural_metadata property attributes.

Positions are exact multiples of the dataset's lattice step: 16 bits a coordinate where the tile spans at most 65,535 steps, otherwise
integers in float32, which meshopt's EXPONENTIAL filter packs as integers (exact to 2**24 steps). The node's matrix brings them into
the frame. Points are stored along a path through the tile, which makes neighbours similar and the streams small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiling.spec.glb import Buffer, GlbWriter
from tiling.spec.streams import LINEAR, Stream, add_streams

U32 = NDArray[np.uint32]
Columns = Mapping[str, NDArray[Any]]
Compression = Literal["meshopt", "none"]

_STORED = {"u1": "UINT8", "i1": "INT8", "u2": "UINT16", "i2": "INT16", "f4": "FLOAT32"}
"""glTF vertex component types and their names in property attributes (EXT_structural_metadata, 3D Metadata)."""
_TYPES = ("SCALAR", "VEC2", "VEC3", "VEC4")
_MIDDLE = 1 << 23
"""Half the range of a 24-bit mantissa."""


@dataclass(frozen=True, slots=True)
class PointTile:
    """The points of one tile."""

    position: Sequence[U32]
    """uint32[n] for each of three axes: lattice steps from ``origin``."""
    origin: tuple[int, int, int]
    """Lattice steps in the frame."""
    columns: Columns
    """Attributes of length n, by name; ``rgb`` is uint32[n], red, green, blue and 255 from the lowest byte up."""


def path_order(x: U32, y: U32) -> NDArray[np.intp]:
    """A permutation that walks through the points in strips, to and fro, about a point spacing wide, along the longer side."""
    count = len(x)
    sides = [(axis, axis.min(), int(axis.max() - axis.min())) for axis in (x, y)]
    (across, low_across, span_across), (along, low_along, span_along) = sorted(sides, key=lambda side: side[2])
    width = max(1, int(np.sqrt((span_along + 1.0) * (span_across + 1.0) / count) * _STRIP))
    width = max(width, span_across // 0x7FFF + 1)
    strip = (across - low_across) // np.uint32(width)
    walk = along - low_along
    walk = np.where(strip & np.uint32(1), np.uint32(span_along) - walk, walk)
    key = strip.astype(np.uint64) << np.uint64(32) | walk
    if count > 1 << 16:
        return np.argsort(key, kind="stable")
    # The row number in the lowest bits makes keys different and comes out sorted: no index array is needed, and ties are settled.
    key = key << np.uint64(16) | np.arange(count, dtype=np.uint64)
    key.sort()
    path: NDArray[np.intp] = (key & np.uint64(0xFFFF)).astype(np.intp)
    return path


_STRIP = 1.5
"""Strip width in mean point spacings."""


def encode(tile: PointTile, step: float, compression: Compression) -> Sequence[Buffer]:
    """The glb of a tile as buffers. ``step``: metres of a lattice step."""
    writer = GlbWriter()
    streams, origin = _positions(tile)
    if not streams[0].exponential:
        writer.extension("KHR_mesh_quantization", required=True)
    properties: dict[str, Any] = {}
    semantics: dict[str, Any] = {}
    for name, column in tile.columns.items():
        if name == "rgb":
            streams.append(Stream("COLOR_0", LINEAR.take(column.view(np.uint8)).reshape(-1, 4).T, normalized=True))
            continue
        stored, offset = _storable(column)
        stream = Stream(f"_{name.upper()}", np.ascontiguousarray(stored.reshape(len(stored), -1).T))
        streams.append(stream)
        properties[name] = {"type": _TYPES[len(stream.rows) - 1], "componentType": _STORED[stream.rows.dtype.str[1:]]}
        semantics[name] = (
            {"attribute": stream.semantic} if offset is None else {"attribute": stream.semantic, "offset": offset}
        )
    primitive: dict[str, Any] = {
        "attributes": add_streams(writer, streams, compress=compression == "meshopt"),
        "mode": 0,
    }
    if properties:
        writer.extension("EXT_structural_metadata")
        writer.json["extensions"] = {
            "EXT_structural_metadata": {
                "schema": {"id": "points", "classes": {"point": {"properties": properties}}},
                "propertyAttributes": [{"class": "point", "properties": semantics}],
            }
        }
        primitive["extensions"] = {"EXT_structural_metadata": {"propertyAttributes": [0]}}
    mesh = writer.add("meshes", {"primitives": [primitive]})
    writer.lattice_node(mesh, [o * step for o in origin], step)
    return writer.chunks()


def _positions(tile: PointTile) -> tuple[list[Stream], list[int]]:
    """The stream of positions, alone in a list, and the origin they count from, in lattice steps in the frame."""
    low = [int(axis.min()) for axis in tile.position]
    span = max(int(axis.max()) - least for axis, least in zip(tile.position, low, strict=True))
    origin = [start + least for start, least in zip(tile.origin, low, strict=True)]
    local = [axis - np.uint32(least) for axis, least in zip(tile.position, low, strict=True)]
    if span <= 0xFFFF:
        return [Stream("POSITION", np.stack([axis.astype("<u2") for axis in local]), bounded=True)], origin
    exponent = max(0, span.bit_length() - 24)
    middle = _MIDDLE if span >= _MIDDLE else 0
    packed = [_mantissa(axis, exponent, middle) & np.int32(0xFFFFFF) | np.int32(exponent << 24) for axis in local]
    return [Stream("POSITION", np.stack(packed), bounded=True, exponential=True)], [
        start + (middle << exponent) for start in origin
    ]


def _mantissa(axis: U32, exponent: int, middle: int) -> NDArray[np.int32]:
    """Steps from a tile's lower corner to signed 24-bit integers, rounded to ``2**exponent`` steps, ``middle`` taken off."""
    if exponent:
        axis = np.minimum((axis + np.uint32(1 << exponent >> 1)) >> np.uint32(exponent), np.uint32(2 * _MIDDLE - 1))
    return axis.view(np.int32) - np.int32(middle)


def _storable(column: NDArray[Any]) -> tuple[NDArray[Any], float | None]:
    """A column in a type glTF has for vertices, and what to add to it.

    Wide integers and doubles become float32 above the tile's smallest value: GPS times keep 2**-24 of the tile's own time span.
    """
    if column.dtype.str[1:] in _STORED:
        return column, None
    finite = column[np.isfinite(column)]
    offset = float(np.floor(finite.min())) if len(finite) else 0.0
    return (column.astype(np.float64) - offset).astype("<f4"), offset
