"""EXT_meshopt_compression, vertex codec version 0 (the extension's specification, "Mode 0: attributes"), in numpy.

A stream holds one vertex buffer of ``stride`` bytes a vertex. Each byte of the vertex is coded apart: the zigzag difference to the same
byte of the vertex before, in groups of 16, each group in the shortest of four forms: nothing (all zero), 2 bits or 4 bits a value
with the values too large for that behind them, or 16 plain bytes. 256 vertices make a block; a block holds, byte by byte of the
vertex, a header of 2 bits a group and then the groups. The first vertex stands at the end of the stream.

Everything is done for the whole buffer at once: a group is two 64-bit words, so counting and packing are a few integer operations.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]

_HEADER = 0xA0
_GROUP = 16
_TAIL = 32
_SIXTEEN = np.dtype("V16")
_BYTES = np.uint64(0x0101010101010101)
_TOP = np.uint64(56)


def block_vertices(stride: int) -> int:
    """Vertices in a block: at most 256 and at most 8192 bytes, a multiple of 16."""
    return min(8192 // stride & ~15, 256)


def encode_vertex_buffer(values: U8) -> bytes:
    """uint8[n, stride] to the encoded stream; stride a multiple of 4, at most 256."""
    return encode_streams([np.ascontiguousarray(values.T)])[0]


def encode_streams(streams: Sequence[U8]) -> list[bytes]:
    """Several buffers of the same vertices at once, which costs little more than one.

    streams: uint8[stride, n] each, one row for each byte of the vertex; strides as for :func:`encode_vertex_buffer`, with the same
    :func:`block_vertices`.
    """
    strides, count = [len(lanes) for lanes in streams], streams[0].shape[1]
    if any(stride % 4 or not 0 < stride <= 256 for stride in strides):
        raise ValueError(f"strides of {strides} bytes cannot be encoded")
    (per_block,) = {block_vertices(stride) for stride in strides}
    tails = [
        bytes(max(0, _TAIL - len(lanes))) + (lanes[:, 0].tobytes() if count else bytes(len(lanes))) for lanes in streams
    ]
    if not count:
        return [bytes([_HEADER]) + tail for tail in tails]
    lanes = streams[0] if len(streams) == 1 else np.concatenate(streams)
    live = np.flatnonzero((lanes != lanes[:, :1]).any(axis=1))
    deltas = np.zeros((len(live), -(-count // per_block) * per_block), np.uint8)
    for row, k in enumerate(live.tolist()):
        _zigzag_deltas(lanes[k], deltas[row, 1:count])
    out, edges = _blocks(deltas, live, strides, count, per_block)
    pieces = zip(edges, edges[1:], tails, strict=False)
    return [b"".join([bytes([_HEADER]), out[start:end].data, tail]) for start, end, tail in pieces]


def _zigzag_deltas(lane: U8, out: U8) -> None:
    """Differences of neighbours, folded so that small ones of either sign are small: uint8[n] into uint8[n - 1]."""
    np.subtract(lane[1:], lane[:-1], out=out)
    sign = np.negative((out > 127).view(np.uint8))
    np.add(out, out, out=out)
    np.bitwise_xor(out, sign, out=out)


def _blocks(
    deltas: U8, live: NDArray[np.intp], strides: Sequence[int], count: int, per_block: int
) -> tuple[U8, list[int]]:
    """All blocks of all streams, and where each stream begins and the last ends.

    deltas: uint8[len(live), blocks * per_block], zero where there is no vertex; ``live``: which bytes of the vertex they are, counted
    through all streams. All others never change and have headers only.
    """
    groups = per_block // _GROUP
    header = -(-groups // 4)
    blocks = deltas.shape[1] // per_block
    shape = (len(live), blocks * groups)
    words = deltas.view(np.uint64).reshape(*shape, 2)
    over3, over15 = deltas >= 3, deltas >= 15
    size2, size4 = _count(over3) + 4, _count(over15) + 8
    mode = (np.minimum(size2, size4) < 16).view(np.uint8)
    mode = 3 - mode - (mode & (size2 <= size4))
    mode[(words[..., 0] | words[..., 1]) == 0] = 0

    # Sizes by byte of the vertex, block, and then its header and its groups. In the order of the stream, which is by block first,
    # their running sum says where everything goes.
    sizes = np.zeros((sum(strides), blocks, 1 + groups), np.int32)
    sizes[:, :, 0] = header
    sizes[:, -1, 0] = -(-(count - (blocks - 1) * per_block) // (4 * _GROUP))
    group_sizes = np.where(mode == 1, size2, np.where(mode == 2, size4, (mode == 3) * np.uint8(_GROUP)))
    sizes[live, :, 1:] = group_sizes.reshape(len(live), blocks, groups)
    starts = np.empty_like(sizes)
    edges = [0]
    first_lane = 0
    for stride in strides:
        lanes = slice(first_lane, first_lane + stride)
        in_order = np.ascontiguousarray(sizes[lanes].transpose(1, 0, 2))
        ends = np.cumsum(in_order, dtype=np.int32).reshape(in_order.shape) + np.int32(edges[-1])
        starts[lanes] = (ends - in_order).transpose(1, 0, 2)
        edges.append(int(ends[-1, -1, -1]))
        first_lane += stride
    out = np.zeros(edges[-1] + _GROUP, np.uint8)  # room for the last window

    quads = np.zeros((len(live), blocks, header, 4), np.uint8)
    quads.reshape(len(live), blocks, header * 4)[:, :, :groups] = mode.reshape(len(live), blocks, groups)
    bits = quads[..., 0] | quads[..., 1] << 2 | quads[..., 2] << 4 | quads[..., 3] << 6
    head = starts[live, :, 0]
    for byte in range(header):
        whole = slice(None) if byte < sizes[0, -1, 0] else slice(0, -1)
        out[head[:, whole] + byte] = bits[:, whole, byte]
    at, modes, values = starts[live, :, 1:].reshape(-1), mode.reshape(-1), deltas.reshape(-1).view(_SIXTEEN)
    plain = np.flatnonzero(modes == 3)
    _windows(out, _GROUP)[at[plain]] = values.take(plain).view(np.uint8).reshape(-1, _GROUP)
    for kind, over, packed in ((1, over3, _pack2), (2, over15, _pack4)):
        chosen = np.flatnonzero(modes == kind)
        group, where = values.take(chosen).view(np.uint8).reshape(-1, _GROUP), at[chosen]
        short = packed(group)
        _windows(out, short.shape[1])[where] = short
        flags = over.reshape(-1).view(_SIXTEEN).take(chosen).view(np.bool_)
        many = _count(flags.reshape(-1, _GROUP))[:, 0]
        large = np.flatnonzero(flags)
        # The large values of a group follow its packed ones; less those of the groups before, they simply count on.
        first = where + short.shape[1] - (np.cumsum(many, dtype=np.int64) - many)
        out[first.take(large >> 4) + np.arange(len(large))] = group.reshape(-1).take(large)
    return out, edges


def _windows(out: U8, width: int) -> U8:
    """uint8[n - width + 1, width]: every run of ``width`` bytes, to be written to."""
    return np.lib.stride_tricks.as_strided(out, (len(out) - width + 1, width), (1, 1))


def _count(flags: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """bool[rows, n] to uint8[rows, n / 16], or bool[n, 16] to uint8[n, 1]: how many of each 16 are set."""
    words: U64 = flags.view(np.uint64).reshape(len(flags), flags.shape[1] // _GROUP, 2)
    return ((words[..., 0] + words[..., 1]) * _BYTES >> _TOP).astype(np.uint8)


def _pack2(values: U8) -> U8:
    """uint8[..., 16] to uint8[..., 4]: two bits a value, 3 where it is too large, the first value in the highest bits."""
    quads = np.minimum(values, 3).view("<u4")
    return (quads * np.uint32(1 << 30 | 1 << 20 | 1 << 10 | 1) >> np.uint32(24)).astype(np.uint8)


def _pack4(values: U8) -> U8:
    """uint8[..., 16] to uint8[..., 8]: four bits a value, 15 where it is too large, the first value in the high half."""
    pairs = np.minimum(values, 15).view("<u2")
    return (pairs << np.uint16(4) | pairs >> np.uint16(8)).astype(np.uint8)


def decode_vertex_buffer(data: bytes, count: int, stride: int) -> U8:
    """The encoded stream to uint8[count, stride]. Raises ValueError for a malformed stream."""
    if stride % 4 or not 0 < stride <= 256 or count < 0:
        raise ValueError(f"{count} vertices of {stride} bytes cannot be decoded")
    tail = max(stride, _TAIL)
    if len(data) < 1 + tail or data[0] != _HEADER:
        raise ValueError("not a vertex stream of version 0")
    stream = np.frombuffer(data, np.uint8)
    end = len(data) - tail
    per_block = block_vertices(stride)
    deltas = np.zeros((stride, -(-count // per_block) * per_block), np.uint8)
    position = 1
    for start in range(0, count, per_block):
        groups = -(-min(per_block, count - start) // _GROUP)
        for k in range(stride):
            header = stream[position : position + -(-groups // 4)]
            position += len(header)
            if position > end:
                raise ValueError("the stream ends inside a block")
            modes: U8 = (header[:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3).reshape(-1)[:groups].astype(np.uint8)
            out: U8 = deltas[k, start : start + groups * _GROUP]
            if modes.any():
                position = _decode_groups(stream, position, end, modes, out)
    if position != end:
        raise ValueError(f"{end - position} bytes are left over after the last block")
    signed = (deltas[:, :count] >> 1) ^ -(deltas[:, :count] & 1)
    if count:
        signed[:, 0] += stream[len(data) - stride :]
    return np.ascontiguousarray(np.cumsum(signed, axis=1, dtype=np.uint8).T)


def decode_exponential(values: U8) -> NDArray[np.float32]:
    """The EXPONENTIAL filter: uint8[n, 4 k] holding int32 (8 bits exponent, 24 bits mantissa, both signed) to float32[n, k]."""
    words = np.ascontiguousarray(values).view("<i4")
    values_out: NDArray[np.float32] = np.ldexp((words << 8 >> 8).astype(np.float32), words >> 24)
    return values_out


def _decode_groups(stream: U8, position: int, end: int, modes: U8, out: U8) -> int:
    for group, mode in enumerate(modes.tolist()):
        values = out[group * _GROUP : (group + 1) * _GROUP]
        if mode == 0:
            continue
        packed = (0, 4, 8, 16)[mode]
        if position + packed > end:
            raise ValueError("the stream ends inside a group")
        head = stream[position : position + packed]
        position += packed
        if mode == 3:
            values[:] = head
            continue
        shifts = np.array([6, 4, 2, 0] if mode == 1 else [4, 0], np.uint8)
        limit = 3 if mode == 1 else 15
        values[:] = (head[:, None] >> shifts & limit).reshape(-1)
        large = np.flatnonzero(values == limit)
        if position + len(large) > end:
            raise ValueError("the stream ends inside a group")
        values[large] = stream[position : position + len(large)]
        position += len(large)
    return position
