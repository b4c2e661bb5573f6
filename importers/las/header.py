"""The public header of a LAS file, its variable length records, and what of the file is there.

Source: ASPRS LAS 1.4 R15 (and 1.0 to 1.3 for what they lack); LAZ chunk tables as laszip writes them. Nothing is decoded here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"LASF"
_VLR = struct.Struct("<H16sHH32s")
_EVLR = struct.Struct("<H16sHQ32s")
_SMALLEST = 227
_SIZES = {0: 20, 1: 28, 2: 26, 3: 34, 4: 57, 5: 63, 6: 30, 7: 36, 8: 38, 9: 59, 10: 67}
"""Bytes of a point by point data record format."""

Problem = tuple[str, Mapping[str, Any]]


class HeaderError(Exception):
    """The header cannot be read; carries a message code and its fields."""

    def __init__(self, code: str, **fields: Any) -> None:
        super().__init__(code, fields)
        self.code = code
        self.fields = fields


@dataclass(frozen=True, slots=True)
class ExtraBytes:
    """One extra dimension (LAS 1.4 R15, table 24)."""

    name: str
    dtype: str
    """numpy type of one stored component."""
    components: int
    scale: float | None
    offset: float
    description: str


@dataclass(frozen=True, slots=True)
class Header:
    """What the file says about itself."""

    size: int
    """Bytes of the file."""
    version: tuple[int, int]
    point_format: int
    compressed: bool
    point_size: int
    count: int
    data_offset: int
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    created: str | None
    """ISO date."""
    system: str
    software: str
    records: Mapping[tuple[str, int], bytes]
    """(user id, record id) to the payload of the first such VLR or EVLR."""
    extra: tuple[ExtraBytes, ...] = ()
    problems: tuple[Problem, ...] = field(default=())
    """What is odd, without keeping the points from being read."""

    @property
    def laszip(self) -> bytes:
        """The laszip record; HeaderError where a compressed file has none."""
        try:
            return self.records["laszip encoded", 22204]
        except KeyError:
            raise HeaderError("las.no-laszip") from None


def read_header(path: Path) -> Header | None:
    """The header of a LAS or LAZ file; ``None`` for any other file.

    Raises HeaderError where it calls itself LAS and its header cannot be used, OSError where it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(375)
        if head[:4] != SIGNATURE:
            return None
        if len(head) < _SMALLEST:
            raise HeaderError("las.header-cut", size=size)
        return _parse(file, head, size)


def _parse(file: BinaryIO, head: bytes, size: int) -> Header:
    version = (head[24], head[25])
    header_size, data_offset, vlr_count, format_byte, point_size, count = struct.unpack_from("<HIIBHI", head, 94)
    point_format = format_byte & 0x3F
    if version[0] != 1 or point_format not in _SIZES:
        raise HeaderError("las.unknown-format", version=f"{version[0]}.{version[1]}", format=point_format)
    numbers = struct.unpack_from("<12d", head, 131)
    first_evlr = evlr_count = 0
    if version[1] >= 4:
        if len(head) < 375 or header_size < 375:
            raise HeaderError("las.header-cut", size=size)
        first_evlr, evlr_count, count = struct.unpack_from("<QIQ", head, 235)
    if point_size < _SIZES[point_format] or not header_size <= data_offset <= size:
        raise HeaderError("las.header-inconsistent", point_size=point_size, data_offset=data_offset, size=size)
    if not np.isfinite(numbers).all() or min(numbers[:3]) <= 0:
        raise HeaderError("las.header-numbers", scale=list(numbers[:3]))
    records: dict[tuple[str, int], bytes] = {}
    problems: list[Problem] = []
    for key, payload in _records(file, header_size, vlr_count, _VLR, data_offset, problems):
        records[key] = records[key] + payload if key == _EXTRA and key in records else records.get(key, payload)
    if evlr_count:
        for key, payload in _records(file, first_evlr, evlr_count, _EVLR, size, problems):
            records.setdefault(key, payload)
    (max_x, min_x, max_y, min_y, max_z, min_z) = numbers[6:]
    return Header(
        size=size, version=version, point_format=point_format, compressed=bool(format_byte & 0xC0), point_size=point_size,
        count=count, data_offset=data_offset, scale=_three(numbers[0:3]), offset=_three(numbers[3:6]),
        low=(min_x, min_y, min_z), high=(max_x, max_y, max_z), created=_date(*struct.unpack_from("<HH", head, 90)),
        system=_text(head[26:58]), software=_text(head[58:90]), records=records,
        extra=tuple(_extra(records.get(_EXTRA, b""), point_size - _SIZES[point_format])), problems=tuple(problems),
    )  # fmt: skip


_EXTRA = ("LASF_Spec", 4)
_LARGEST_RECORD = 16 * 1024 * 1024


def _records(
    file: BinaryIO, start: int, count: int, layout: struct.Struct, end: int, problems: list[Problem]
) -> Iterator[tuple[tuple[str, int], bytes]]:
    """The variable length records from ``start``; stops with a problem at the first that does not fit before ``end``."""
    position = start
    for index in range(count):
        file.seek(position)
        head = file.read(layout.size)
        length = layout.unpack(head)[3] if len(head) == layout.size else 0
        if len(head) < layout.size or position + layout.size + length > end:
            problems.append(("las.record-cut", {"index": index, "count": count}))
            return
        _, user, record, _, _ = layout.unpack(head)
        if length <= _LARGEST_RECORD:
            yield (_text(user), record), file.read(length)
        position += layout.size + length


_EXTRA_TYPES = ("u1", "i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f4", "<f8")


def _extra(payload: bytes, room: int) -> Iterator[ExtraBytes]:
    """The extra dimensions of ``room`` bytes in a point; what no record describes comes as plain bytes."""
    for start in range(0, len(payload) - 191, 192):
        kind, options, name = payload[start + 2], payload[start + 3], _text(payload[start + 4 : start + 36])
        scale, offset = struct.unpack_from("<d16xd", payload, start + 112)
        if kind == 0:
            dtype, components = "u1", options
        elif kind <= 30:
            dtype, components = _EXTRA_TYPES[(kind - 1) % 10], (kind - 1) // 10 + 1
        else:
            break
        width = np.dtype(dtype).itemsize * components
        if not 0 < width <= room:
            break
        scaled = kind != 0 and bool(options & 0b11000) and np.isfinite([scale, offset]).all()
        factor = (scale if options & 0b1000 else 1.0) if scaled else None
        shift = offset if scaled and options & 0b10000 else 0.0
        yield ExtraBytes(name, dtype, components, factor, shift, _text(payload[start + 160 : start + 192]))
        room -= width
    if room > 0:
        yield ExtraBytes("extra_bytes", "u1", room, None, 0.0, "bytes of a point that no record describes")


def _three(values: tuple[float, ...]) -> tuple[float, float, float]:
    return values[0], values[1], values[2]


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("latin-1").strip()


def _date(day: int, year: int) -> str | None:
    if not (1 <= day <= 366 and 1900 <= year <= 9999):
        return None
    return str(np.datetime64(f"{year:04d}-01-01") + np.timedelta64(day - 1, "D"))


@dataclass(frozen=True, slots=True)
class Chunks:
    """Where a file can be entered: runs of points at boundaries cheap to seek to."""

    starts: NDArray[np.int64]
    """int64[chunks + 1]: first point of each chunk, and the number of points."""
    offsets: NDArray[np.int64]
    """int64[chunks + 1]: first byte of each chunk in the file, and the end of the last."""


def chunks(path: Path, header: Header) -> Chunks:
    """The chunk table of a file; for an uncompressed one, cuts every 50,000 points.

    Raises HeaderError where points are missing: the file ends early, or the table is not there or does not add up.
    """
    if not header.compressed:
        expected = header.data_offset + header.count * header.point_size
        if expected > header.size:
            there = (header.size - header.data_offset) // header.point_size
            raise HeaderError("las.truncated", count=header.count, there=there)
        starts = _even(header.count, 50_000)
        return Chunks(starts, header.data_offset + starts * header.point_size)
    import lazrs

    laszip = header.laszip
    if len(laszip) < 34:
        raise HeaderError("las.no-laszip")
    (chunk_size,) = struct.unpack_from("<I", laszip, 12)
    variable = chunk_size == 0xFFFFFFFF
    if not variable and chunk_size == 0:
        raise HeaderError("las.no-laszip")
    with path.open("rb") as file:
        file.seek(header.data_offset)
        offset = int.from_bytes(file.read(8), "little", signed=True)
        if offset == -1:  # written last where the stream could not seek (laszip)
            file.seek(-8, 2)
            offset = int.from_bytes(file.read(8), "little", signed=True)
        if not header.data_offset + 8 <= offset <= header.size - 8:
            raise HeaderError("las.chunk-table-missing", offset=offset, size=header.size)
        file.seek(offset + 4)
        (number,) = struct.unpack("<I", file.read(4))
        plausible = header.count if variable else -(-header.count // chunk_size)
        if number > max(plausible, 1) or number > header.size:
            raise HeaderError("las.chunk-table-wrong", chunks=number, count=header.count)
        file.seek(header.data_offset)
        try:
            table = lazrs.read_chunk_table(file, lazrs.LazVlr(laszip))
        except Exception as error:
            raise HeaderError("las.chunk-table-wrong", chunks=number, count=header.count) from error
    counts = np.array([points for points, _ in table], np.int64)
    offsets = header.data_offset + 8 + np.cumsum([0, *(length for _, length in table)], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)]) if variable else _even(header.count, chunk_size)
    if starts[-1] != header.count or len(starts) - 1 != number or offsets[-1] > offset:
        raise HeaderError("las.chunk-table-wrong", chunks=number, count=header.count)
    return Chunks(starts, offsets)


def _even(count: int, size: int) -> NDArray[np.int64]:
    return np.append(np.arange(0, count, size, dtype=np.int64), count)
