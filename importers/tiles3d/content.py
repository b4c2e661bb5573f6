"""The containers of 3D Tiles 1.0 (Batched 3D Model, Instanced 3D Model, Point Cloud, Composite): header, tables, payload.

Lengths are checked before anything is sliced, JSON before anything is believed.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from tim.errors import CorruptSource

KINDS: Mapping[bytes, str] = {
    b"b3dm": "b3dm",
    b"i3dm": "i3dm",
    b"pnts": "pnts",
    b"cmpt": "cmpt",
    b"glTF": "glb",
    b"subt": "subtree",
}
_MAGICS = {kind: magic for magic, kind in KINDS.items()}
_DEEPEST = 8
"""Composites within composites."""


@dataclass(frozen=True, slots=True)
class Content:
    """One tile content, taken apart."""

    kind: str
    """``b3dm``, ``i3dm``, ``pnts``, or ``glb`` (which is nothing but payload)."""
    payload: memoryview = field(default_factory=lambda: memoryview(b""))
    """The glb, or the address of one where ``external``."""
    features: Mapping[str, Any] = field(default_factory=dict)
    features_binary: memoryview = field(default_factory=lambda: memoryview(b""))
    batch: Mapping[str, Any] = field(default_factory=dict)
    batch_binary: memoryview = field(default_factory=lambda: memoryview(b""))
    external: bool = False
    """i3dm: the model lies in a file of its own."""
    old_batch_length: int = 0
    """b3dm of before 1.0, whose header says how many batches there are."""


def kind_of(head: bytes, path: str = "") -> str:
    """What a file is by its first bytes, otherwise by its name: ``b3dm``, …, ``json``, ``subtree``, ``other``."""
    if (kind := KINDS.get(head[:4])) is not None:
        return kind
    if head.lstrip()[:1] == b"{":
        return "gltf" if path.lower().endswith(".gltf") else "json"
    return {".geojson": "json", ".gltf": "gltf"}.get(PurePosixPath(path.lower()).suffix, "other")


def contents(data: bytes | memoryview, path: str) -> Iterator[Content]:
    """The contents of one file: one, or those of a composite in order. Raises CorruptSource naming ``path``."""
    yield from _contents(memoryview(data), path, 0)


def gltf_version(glb: bytes | memoryview, path: str) -> int:
    """The glTF version of a binary glTF. Raises CorruptSource where it is none."""
    if len(glb) < 12 or bytes(glb[:4]) != b"glTF":
        raise CorruptSource("tiles3d.no-glb", path=path)
    return int(struct.unpack_from("<I", glb, 4)[0])


def _contents(data: memoryview, path: str, depth: int) -> Iterator[Content]:
    kind = KINDS.get(bytes(data[:4]))
    if kind == "glb":
        yield Content("glb", data)
    elif kind == "cmpt":
        count, at = _header(data, 16, path)[-1], 16
        if depth >= _DEEPEST:
            raise CorruptSource("tiles3d.too-deep", path=path)
        for _ in range(count):
            if at + 12 > len(data):
                raise CorruptSource("tiles3d.content-cut", path=path, need=at + 12, size=len(data))
            length = struct.unpack_from("<I", data, at + 8)[0]
            if length < 12 or at + length > len(data):
                raise CorruptSource("tiles3d.content-cut", path=path, need=at + length, size=len(data))
            yield from _contents(data[at : at + length], path, depth + 1)
            at += length
    elif kind in ("b3dm", "i3dm", "pnts"):
        yield _tables(kind, data, path)
    else:
        raise CorruptSource("tiles3d.unknown-content", path=path, start=bytes(data[:4]).hex())


def _header(data: memoryview, size: int, path: str) -> tuple[int, ...]:
    """The numbers after the magic; checks version and length."""
    if len(data) < size:
        raise CorruptSource("tiles3d.content-cut", path=path, need=size, size=len(data))
    numbers = struct.unpack_from(f"<{size // 4 - 1}I", data, 4)
    if numbers[0] != 1:
        raise CorruptSource("tiles3d.content-version", path=path, version=numbers[0])
    if numbers[1] > len(data) or numbers[1] < size:
        raise CorruptSource("tiles3d.content-cut", path=path, need=numbers[1], size=len(data))
    return numbers


def _tables(kind: str, data: memoryview, path: str) -> Content:
    size = 32 if kind == "i3dm" else 28
    numbers = _header(data, size, path)
    lengths = list(numbers[2:6])
    old_batches = 0
    if kind == "b3dm" and lengths[2] >= 570425344:  # "{\0\0…" or "glTF" as a length: the 20-byte header of before 1.0
        size, old_batches, lengths = 20, lengths[1], [0, 0, lengths[0], 0]
    elif kind == "b3dm" and lengths[3] >= 570425344:  # the 24-byte header: batch JSON, batch binary, batch count
        size, old_batches, lengths = 24, lengths[2], [0, 0, lengths[0], lengths[1]]
    end = numbers[1]
    cuts = [size]
    for length in lengths:
        cuts.append(cuts[-1] + length)
    if cuts[-1] > end:
        raise CorruptSource("tiles3d.content-cut", path=path, need=cuts[-1], size=end)
    parts = [data[start:stop] for start, stop in pairwise(cuts)]
    return Content(
        kind, _glb(data[cuts[-1] : end]), _json(parts[0], path), parts[1], _json(parts[2], path), parts[3],
        external=kind == "i3dm" and numbers[6] == 0, old_batch_length=old_batches,
    )  # fmt: skip


def _glb(payload: memoryview) -> memoryview:
    """A glb without the padding behind it, which counts to the container."""
    if bytes(payload[:4]) == b"glTF" and len(payload) >= 12:
        length = struct.unpack_from("<I", payload, 8)[0]
        return payload[:length] if 12 <= length <= len(payload) else payload
    return payload


def _json(part: memoryview, path: str) -> Mapping[str, Any]:
    text = bytes(part).rstrip(b" \0")
    if not text:
        return {}
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptSource("tiles3d.json-broken", path=path, reason=str(error)) from error
    if not isinstance(document, dict):
        raise CorruptSource("tiles3d.json-broken", path=path, reason="no object")
    return document
