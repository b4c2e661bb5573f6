"""The byte stream of an OSGB file: header, compression, scalars, strings, raw arrays and brackets.

Layout after OpenSceneGraph's ``osgDB::InputStream`` and ``BinaryInputIterator``: little-endian, no alignment. Whatever breaks the
rules raises :class:`CorruptSource` with file and offset; nothing is allocated before its size was checked against the bytes there are.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from tim.errors import CorruptSource

MAGIC = bytes.fromhex("a10e916c4545fb1a")
OLDEST_VERSION, NEWEST_VERSION = 1, 300
INFLATE_RATIO = 200
"""A compressed file may grow this much (and 16 MiB): real scenes stay below 10, more is an attack on our memory."""

_U32, _I32, _2I32, _U64, _F32 = (struct.Struct(f"<{code}") for code in ("I", "i", "2i", "Q", "f"))
_CUSTOM_DOMAINS, _SCHEMA, _BRACKETS = 1, 2, 4


class Stream:
    """A cursor over the decompressed bytes behind the header."""

    __slots__ = ("brackets", "data", "name", "pos", "version")

    def __init__(self, data: bytes | memoryview, name: str) -> None:
        """Read the header. ``name`` is what messages call the file. Raises CorruptSource."""
        self.data = memoryview(data).toreadonly()
        self.name = name
        self.pos = 0
        self.version = 0
        self.brackets = False
        if len(self.data) < len(MAGIC) or self.data[: len(MAGIC)] != MAGIC:
            if self.data[:4] == MAGIC[3::-1]:
                self.fail("big-endian")
            self.fail("not-osgb")
        self.pos = len(MAGIC)
        content, self.version, attributes = self.u32(), self.u32(), self.u32()
        if content not in (1, 2, 3) or not OLDEST_VERSION <= self.version <= NEWEST_VERSION:
            self.fail("not-osgb")
        self.brackets = bool(attributes & _BRACKETS)
        if attributes & _CUSTOM_DOMAINS:
            for _ in range(self.count(8)):
                self.string()
                self.i32()
        compressor = self.string()
        if compressor != "0":
            self._inflate(compressor)
        if attributes & _SCHEMA:
            self.string()

    def fail(self, slug: str, **fields: Any) -> NoReturn:
        """Raise CorruptSource ``osgb.{slug}`` here."""
        raise CorruptSource(f"osgb.{slug}", file=self.name, offset=self.pos, **fields)

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self.data) - self.pos

    def u32(self) -> int:
        """An unsigned 32-bit integer."""
        value: int = _U32.unpack_from(self.data, self.pos)[0]
        self.pos += 4
        return value

    def i32(self) -> int:
        """A signed 32-bit integer."""
        value: int = _I32.unpack_from(self.data, self.pos)[0]
        self.pos += 4
        return value

    def f32(self) -> float:
        """A 32-bit float."""
        value: float = _F32.unpack_from(self.data, self.pos)[0]
        self.pos += 4
        return value

    def flag(self) -> bool:
        """A one-byte truth value."""
        value = self.data[self.pos]
        self.pos += 1
        return value != 0

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        """The values of a fixed layout."""
        values = layout.unpack_from(self.data, self.pos)
        self.pos += layout.size
        return values

    def count(self, least: int) -> int:
        """A number of items that take at least ``least`` bytes each, so that a garbled one is noticed before a loop."""
        number = self.u32()
        if number * least > self.left:
            self.fail("too-many", count=number)
        return number

    def take(self, size: int) -> memoryview:
        """The next ``size`` bytes, not copied."""
        if size < 0 or size > self.left:
            self.fail("truncated")
        start = self.pos
        self.pos += size
        return self.data[start : self.pos]

    def skip(self, size: int) -> None:
        """Pass over ``size`` bytes."""
        if size < 0 or size > self.left:
            self.fail("truncated")
        self.pos += size

    def string(self) -> str:
        """A length-prefixed string: UTF-8, or GB 18030 as Chinese Windows writes file names."""
        raw = bytes(self.take(self.i32()))
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return raw.decode("gb18030", errors="replace")

    def array(self, dtype: np.dtype[Any], count: int, width: int = 1) -> NDArray[Any]:
        """``count`` items as a view [count] or [count, width], not copied."""
        raw = self.take(count * dtype.itemsize * width)
        values: NDArray[Any] = np.frombuffer(raw, dtype)
        return values if width == 1 else values.reshape(count, width)

    def begin(self) -> int:
        """Open a bracket; the offset where it says it ends, or 0 where the file has no brackets."""
        if not self.brackets:
            return 0
        start = self.pos
        if self.version > 148:
            size: int = _U64.unpack_from(self.data, start)[0]
            self.pos += 8
        else:
            size = self.i32()
        return start + size

    def _inflate(self, compressor: str) -> None:
        rest = self.data[self.pos :]
        if compressor == "null":
            size = self.i32()
            self.data, self.pos = self.take(size), 0
            return
        if compressor != "zlib":
            self.fail("compressor", compressor=compressor)
        limit = (16 << 20) + INFLATE_RATIO * len(rest)
        inflater = zlib.decompressobj(wbits=47)
        plain = inflater.decompress(rest, limit)
        if inflater.unconsumed_tail:
            self.fail("inflates", limit=limit)
        if not inflater.eof:
            self.fail("truncated")
        self.data, self.pos = memoryview(plain), 0
