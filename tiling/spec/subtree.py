"""Implicit tiling of octrees (3D Tiles 1.1 §8): which tiles there are, as subtree files; written deterministically and read back.

A subtree holds bits for its tiles, level by level in Morton order (x the lowest bit), for their contents, and for the subtrees below.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = 0x74627573
MAX_LEVEL = 20
"""Deepest level: 21 levels of three bits fit in 63."""

Codes = NDArray[np.uint64]
Bits = NDArray[np.bool_]
Address = tuple[int, int, int, int]
"""Level, x, y, z."""


@dataclass(frozen=True, slots=True)
class Subtree:
    """Availability in one subtree."""

    tiles: Bits
    """bool[(8^levels - 1) / 7]: level by level, Morton order."""
    contents: Bits
    """Like ``tiles``."""
    children: Bits
    """bool[8^levels]: the subtrees below."""


def morton(x: NDArray[Any], y: NDArray[Any], z: NDArray[Any]) -> Codes:
    """uint64[n] Morton codes; x is the lowest bit. Coordinates below 2^21."""
    codes: Codes = _spread(x) | _spread(y) << np.uint64(1) | _spread(z) << np.uint64(2)
    return codes


def unmorton(codes: Codes) -> tuple[Codes, Codes, Codes]:
    """The coordinates of Morton codes."""
    return _gather(codes), _gather(codes >> np.uint64(1)), _gather(codes >> np.uint64(2))


def subtrees(tiles: Mapping[int, Codes], contents: Mapping[int, Codes], levels: int) -> Iterator[tuple[Address, bytes]]:
    """The subtree files of an octree, by address, shallow first, Morton order within a level.

    tiles, contents: Morton codes by level, in any order; a tile's ancestors become available whether given or not.
    """
    if not any(len(codes) for codes in tiles.values()):
        return
    deepest = max(level for level, codes in tiles.items() if len(codes))
    there: dict[int, Codes] = {deepest + 1: np.empty(0, np.uint64)}
    for level in range(deepest, -1, -1):
        own = np.asarray(tiles.get(level, ()), np.uint64)
        there[level] = np.unique(np.concatenate([own, there[level + 1] >> np.uint64(3)]))
    shown = {level: np.unique(np.asarray(codes, np.uint64)) for level, codes in contents.items()}
    for top in range(0, deepest + 1, levels):
        for root in there[top].tolist():
            x, y, z = (int(v[0]) for v in unmorton(np.array([root], np.uint64)))
            subtree = Subtree(
                np.concatenate([_bits(there, top, root, depth) for depth in range(levels)]),
                np.concatenate([_bits(shown, top, root, depth) for depth in range(levels)]),
                _bits(there, top, root, levels),
            )
            yield (top, x, y, z), encode(subtree)


def encode(subtree: Subtree) -> bytes:
    """One binary subtree file."""
    views: list[dict[str, int]] = []
    binary = bytearray()

    def availability(bits: Bits) -> dict[str, int]:
        count = int(bits.sum())
        if count in (0, len(bits)):
            return {"constant": int(count > 0)}
        packed = np.packbits(bits, bitorder="little").tobytes()
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(packed)})
        binary.extend(packed + bytes(-len(packed) % 8))
        return {"bitstream": len(views) - 1, "availableCount": count}

    document: dict[str, Any] = {
        "tileAvailability": availability(subtree.tiles), "contentAvailability": [availability(subtree.contents)],
        "childSubtreeAvailability": availability(subtree.children),
    }  # fmt: skip
    if views:
        document = {"buffers": [{"byteLength": len(binary)}], "bufferViews": views, **document}
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<2I2Q", MAGIC, 1, len(text), len(binary)) + text + bytes(binary)


def document(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON and the binary chunk of a subtree file. Raises ValueError saying what breaks the specification."""
    if len(data) < 24:
        raise ValueError(f"{len(data)} bytes are too few for a subtree")
    magic, version, text, binary = struct.unpack_from("<2I2Q", data)
    if magic != MAGIC or version != 1:
        raise ValueError("not a binary subtree of version 1")
    if text % 8 or binary % 8:
        raise ValueError(f"chunk lengths {text} and {binary} are not multiples of 8")
    if len(data) != 24 + text + binary:
        raise ValueError(f"the header says {24 + text + binary} bytes, there are {len(data)}")
    content = json.loads(data[24 : 24 + text].decode())
    if not isinstance(content, dict):
        raise ValueError("the JSON chunk is not an object")
    return content, data[24 + text :]


def decode(data: bytes, levels: int, branching: int = 8) -> Subtree:
    """Read a subtree file with its bits in the file itself. Raises ValueError saying what breaks the specification.

    branching: 8 for octrees, 4 for quadtrees.
    """
    content, binary = document(data)
    tiles = (branching**levels - 1) // (branching - 1)
    shown = content.get("contentAvailability", [])
    if not isinstance(shown, list):
        raise ValueError("contentAvailability is not an array")
    contents = np.zeros(tiles, np.bool_)
    for item in shown:
        contents |= _availability(content, binary, item, tiles, "contentAvailability")
    return Subtree(
        _availability(content, binary, content.get("tileAvailability"), tiles, "tileAvailability"), contents,
        _availability(content, binary, content.get("childSubtreeAvailability"), branching**levels, "childSubtreeAvailability"),
    )  # fmt: skip


def _availability(content: Mapping[str, Any], binary: bytes, item: Any, length: int, name: str) -> Bits:
    if not isinstance(item, dict) or ("constant" in item) == ("bitstream" in item):
        raise ValueError(f"{name} needs either a constant or a bitstream")
    if "constant" in item:
        if item["constant"] not in (0, 1):
            raise ValueError(f"{name}: constant {item['constant']!r} is neither 0 nor 1")
        return np.full(length, item["constant"] == 1)
    try:
        view = content["bufferViews"][item["bitstream"]]
        buffer, start, size = view["buffer"], view["byteOffset"], view["byteLength"]
        external = "uri" in content["buffers"][buffer]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{name}: the bitstream's buffer view is missing or incomplete") from error
    if not isinstance(start, int) or not isinstance(size, int):
        raise ValueError(f"{name}: the buffer view's place is not given in whole bytes")
    if buffer != 0 or external:
        raise ValueError(f"{name}: bits in an external buffer are not read here")
    if start < 0 or start % 8 or start + size > len(binary):
        raise ValueError(f"{name}: bytes {start}..{start + size} are unaligned or outside the binary chunk")
    if size < (length + 7) // 8:
        raise ValueError(f"{name}: {size} bytes are too few for {length} bits")
    bits = np.unpackbits(np.frombuffer(binary, np.uint8, size, start), count=length, bitorder="little").astype(np.bool_)
    if (count := item.get("availableCount")) is not None and count != int(bits.sum()):
        raise ValueError(f"{name}: availableCount is {count}, {int(bits.sum())} bits are set")
    return bits


def _bits(codes: Mapping[int, Codes], top: int, root: int, depth: int) -> Bits:
    """Bits of the tiles ``depth`` levels below tile ``root`` of level ``top``; codes are sorted."""
    bits = np.zeros(8**depth, np.bool_)
    if (own := codes.get(top + depth)) is not None and len(own):
        low = root << 3 * depth
        start, stop = own.searchsorted(np.array([low, low + 8**depth], np.uint64)).tolist()
        bits[(own[start:stop] - np.uint64(low)).astype(np.int64)] = True
    return bits


def _spread(values: NDArray[Any]) -> Codes:
    """Two zero bits between the bits of numbers below 2^21."""
    v: Codes = np.asarray(values).astype(np.uint64)
    for shift, mask in _STEPS:
        v = (v | v << np.uint64(shift)) & np.uint64(mask)
    return v


def _gather(codes: Codes) -> Codes:
    """The inverse of :func:`_spread`."""
    v: Codes = codes & np.uint64(_STEPS[-1][1])
    masks = [0x1FFFFF, *(mask for _, mask in _STEPS[:-1])]
    for (shift, _), mask in zip(reversed(_STEPS), reversed(masks), strict=True):
        v = (v | v >> np.uint64(shift)) & np.uint64(mask)
    return v


_STEPS = (
    (32, 0x1F00000000FFFF), (16, 0x1F0000FF0000FF), (8, 0x100F00F00F00F00F), (4, 0x10C30C30C30C30C3), (2, 0x1249249249249249),
)  # fmt: skip
