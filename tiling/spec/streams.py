"""Vertex attributes as rows of components: written to a glb plainly, or all at once compressed with EXT_meshopt_compression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.spec import meshopt
from tiling.spec.glb import GlbWriter

U8 = NDArray[np.uint8]

_SRGB = np.arange(256) / 255
LINEAR = np.rint(255 * np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4)).astype(np.uint8)
"""sRGB bytes of the source to the linear light that glTF means by COLOR_0 (glTF 2.0 §3.7.2.1, IEC 61966-2-1); 255 of alpha stays."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One vertex attribute."""

    semantic: str
    rows: NDArray[Any]
    """[components, n]: each a component of all vertices."""
    normalized: bool = False
    bounded: bool = False
    """Whether the accessor says smallest and largest."""
    exponential: bool = False
    """Whether ``rows`` are int32 as the EXPONENTIAL filter has them: 8 bits of exponent, 24 of mantissa."""


def add_streams(writer: GlbWriter, streams: Sequence[Stream], *, compress: bool) -> dict[str, int]:
    """Accessors by semantic of attributes of the same vertices."""
    return _add_compressed(writer, streams) if compress else _add_plain(writer, streams)


def _add_plain(writer: GlbWriter, streams: Sequence[Stream]) -> dict[str, int]:
    return {
        s.semantic: writer.vertices(
            np.ascontiguousarray((_floats(s.rows) if s.exponential else s.rows).T),
            normalized=s.normalized,
            bounds=s.bounded,
        )
        for s in streams
    }


def _add_compressed(writer: GlbWriter, streams: Sequence[Stream]) -> dict[str, int]:
    lanes = [_lanes(stream.rows) for stream in streams]
    out: dict[str, int] = {}
    for s, stream_lanes, encoded in zip(streams, lanes, meshopt.encode_streams(lanes), strict=True):
        values = _floats(s.rows) if s.exponential else s.rows
        low_high = [values.min(axis=1).tolist(), values.max(axis=1).tolist()] if s.bounded else None
        out[s.semantic] = writer.encoded_vertices(
            encoded, len(stream_lanes), s.rows.shape[1], "f4" if s.exponential else s.rows.dtype.str[1:], len(s.rows),
            normalized=s.normalized, bounds=(low_high[0], low_high[1]) if low_high else None, exponential=s.exponential,
        )  # fmt: skip
    return out


def _floats(packed: NDArray[np.int32]) -> NDArray[np.float32]:
    """What the EXPONENTIAL filter makes of int32[n]."""
    floats: NDArray[np.float32] = np.ldexp((packed << 8 >> 8).astype("<f4"), packed >> 24)
    return floats


def _lanes(rows: NDArray[Any]) -> U8:
    """[components, n] to uint8[stride, n]: the bytes of a vertex, little-endian, padded to a multiple of 4."""
    width = rows.dtype.itemsize
    components, count = rows.shape
    lanes = np.zeros((-(-components * width // 4) * 4, count), np.uint8)
    little = np.ascontiguousarray(rows, rows.dtype.newbyteorder("<"))
    for i, row in enumerate(little):
        lanes[i * width : (i + 1) * width] = row.view(np.uint8).reshape(count, width).T
    return lanes
