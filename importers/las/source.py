"""Reading points: LAS records and LAZ chunks into :class:`tim.geometry.Points`, attributes decoded when asked for."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from importers.las.header import Chunks, ExtraBytes, Header, HeaderError, chunks, read_header
from tim.errors import CorruptSource
from tim.geometry import Attribute, Points, PointSchema
from tim.place import Place
from tim.sources import Part

Records = NDArray[np.void]
BATCH = 1 << 16
"""Points decoded at once: small enough for a processor's cache."""


@dataclass(frozen=True, slots=True)
class _Field:
    """How one attribute comes out of a record: bits of a stored field, scaled where ``factor`` is given."""

    attribute: Attribute
    stored: str
    shift: int = 0
    mask: int = 0
    factor: float | None = None
    offset: float = 0.0


_BASE_0 = [
    ("xyz", "<i4", (3,)), ("intensity", "<u2"), ("returns", "u1"), ("class", "u1"), ("angle", "i1"), ("user_data", "u1"),
    ("point_source_id", "<u2"),
]  # fmt: skip
_BASE_6 = [
    ("xyz", "<i4", (3,)), ("intensity", "<u2"), ("returns", "u1"), ("flags", "u1"), ("class", "u1"), ("user_data", "u1"),
    ("angle", "<i2"), ("point_source_id", "<u2"), ("gps_time", "<f8"),
]  # fmt: skip
_TIME = [("gps_time", "<f8")]
_RGB = [("rgb", "<u2", (3,))]
_NIR = [("nir", "<u2")]
_WAVE = [
    ("wavepacket_index", "u1"), ("wavepacket_offset", "<u8"), ("wavepacket_size", "<u4"), ("return_point_wave_location", "<f4"),
    ("x_t", "<f4"), ("y_t", "<f4"), ("z_t", "<f4"),
]  # fmt: skip
_LAYOUTS: Mapping[int, list[Any]] = {
    0: _BASE_0, 1: _BASE_0 + _TIME, 2: _BASE_0 + _RGB, 3: _BASE_0 + _TIME + _RGB, 4: _BASE_0 + _TIME + _WAVE,
    5: _BASE_0 + _TIME + _RGB + _WAVE, 6: _BASE_6, 7: _BASE_6 + _RGB, 8: _BASE_6 + _RGB + _NIR, 9: _BASE_6 + _WAVE,
    10: _BASE_6 + _RGB + _NIR + _WAVE,
}  # fmt: skip
"""Point data record formats 0 to 10 (LAS 1.4 R15, tables 7 to 17)."""

_LAYERS = {
    "classification": "CLASSIFICATION", "intensity": "INTENSITY", "rgb": "RGB", "nir": "NIR", "gps_time": "GPS_TIME",
    "user_data": "USER_DATA", "point_source_id": "POINT_SOURCE_ID", "scan_angle": "SCAN_ANGLE", "synthetic": "FLAGS",
    "key_point": "FLAGS", "withheld": "FLAGS", "overlap": "FLAGS", "scanner_channel": "FLAGS", "scan_direction_flag": "FLAGS",
    "edge_of_flight_line": "FLAGS",
}  # fmt: skip
"""The LAZ layer an attribute lies in (formats 6 to 10); extra bytes and wave packets have theirs, the rest comes with x and y."""


class LasSource:
    """A LAS or LAZ file as a point source. Raises CorruptSource where its header or chunk table is broken."""

    def __init__(self, path: Path, place: Place, color_bits: int) -> None:
        """``color_bits``: 8 or 16 significant bits of the file's colours, 0 for a file without (see :func:`color_bits`)."""
        self.path = path
        self.place = place
        self.color_bits = color_bits
        try:
            header = read_header(path)
        except HeaderError as error:
            raise CorruptSource(error.code, file=path.name, **error.fields) from error
        if header is None:
            raise CorruptSource("las.not-las", file=path.name)
        self.header: Header = header
        self.dtype, self._fields = _layout(header)
        if not color_bits:
            self._fields.pop("rgb", None)
        self.schema = PointSchema(tuple(f.attribute for f in self._fields.values()))

    @property
    def bounds(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Native lower and upper corner, as the header says."""
        return self.header.low, self.header.high

    @cached_property
    def chunks(self) -> Chunks:
        """The chunk table."""
        try:
            return chunks(self.path, self.header)
        except HeaderError as error:
            raise CorruptSource(error.code, file=self.path.name, **error.fields) from error

    def parts(self, target: int) -> list[Part]:
        """Runs of whole chunks of about ``target`` points."""
        starts = self.chunks.starts
        count = self.header.count
        wanted = np.arange(1, max(1, round(count / target))) * (count / max(1, round(count / target)))
        cuts = starts[np.searchsorted(starts, wanted)]
        edges = np.unique(np.concatenate([[0], cuts, [count]])).tolist()
        return [Part(a, b - a) for a, b in itertools.pairwise(edges)]

    def read(self, part: Part, attributes: Collection[str] | None = None) -> Iterator[Points]:
        """The points of one part, in file order; see :class:`tim.sources.PointSource`."""
        scale, offset = np.array(self.header.scale), np.array(self.header.offset)
        wanted = self._fields if attributes is None else {k: v for k, v in self._fields.items() if k in attributes}
        for records in self.records(part, wanted):
            raw = np.empty((3, len(records)), np.int32)
            raw[:] = records["xyz"].T
            yield Points(raw.T, scale, offset, _Attributes(records, wanted, self.color_bits))

    def records(self, part: Part, wanted: Collection[str]) -> Iterator[Records]:
        """The packed records of one part, in batches; of LAZ formats 6 to 10 only the layers of the ``wanted`` attributes are filled."""
        end = part.start + part.count
        with self.path.open("rb") as file:
            read = self._decoder(file, part, wanted) if self.header.compressed else self._plain(file, part.start)
            for start in range(part.start, end, BATCH):
                count = min(BATCH, end - start)
                buffer = bytearray(count * self.header.point_size)
                try:
                    read(buffer)
                except _failures() as error:
                    raise CorruptSource(
                        "las.undecodable", file=self.path.name, point=start, reason=str(error)
                    ) from error
                yield np.frombuffer(buffer, self.dtype)

    def _plain(self, file: BinaryIO, start: int) -> Any:
        file.seek(self.header.data_offset + start * self.header.point_size)

        def read(buffer: bytearray) -> None:
            if file.readinto(buffer) != len(buffer):  # type: ignore[attr-defined]
                raise EOFError("the file ends early")

        return read

    def _decoder(self, file: BinaryIO, part: Part, wanted: Collection[str]) -> Any:
        """A decoder over the chunks of one part, given to it as a small stream of their own with their own chunk table.

        Not by seeking: lazrs 0.8 decodes garbage after a seek where chunks differ in size, as in COPC.
        """
        import lazrs

        starts, offsets = self.chunks.starts, self.chunks.offsets
        first, last = np.searchsorted(starts, [part.start, part.start + part.count]).tolist()
        if starts[first] != part.start:
            raise ValueError(f"a part starts at point {part.start}, which is no chunk boundary")
        last = max(last, first + 1)
        file.seek(int(offsets[first]))
        data = file.read(int(offsets[last] - offsets[first]))
        table = list(
            zip(np.diff(starts[first : last + 1]).tolist(), np.diff(offsets[first : last + 1]).tolist(), strict=True)
        )
        stream = io.BytesIO()
        stream.write((8 + len(data)).to_bytes(8, "little") + data)
        try:
            lazrs.write_chunk_table(stream, table, lazrs.LazVlr(self.header.laszip))
            stream.seek(0)
            return lazrs.LasZipDecompressor(stream, self.header.laszip, self._selection(wanted)).decompress_many
        except _failures() as error:
            raise CorruptSource("las.undecodable", file=self.path.name, point=part.start, reason=str(error)) from error

    def _selection(self, wanted: Collection[str]) -> Any:
        import lazrs

        bits = lazrs.SELECTIVE_DECOMPRESS_XY_RETURNS_CHANNEL | lazrs.SELECTIVE_DECOMPRESS_Z
        for name in wanted:
            stored = self._fields[name].stored
            if stored.startswith("extra:"):
                bits |= lazrs.SELECTIVE_DECOMPRESS_ALL_EXTRA_BYTES
            elif name in _LAYERS:
                bits |= getattr(lazrs, f"SELECTIVE_DECOMPRESS_{_LAYERS[name]}")
            elif stored in {item[0] for item in _WAVE}:
                bits |= lazrs.SELECTIVE_DECOMPRESS_WAVEPACKET
        return lazrs.DecompressionSelection(bits)


class _Attributes(Mapping[str, NDArray[np.generic]]):
    """The attributes of a batch of records, decoded on access."""

    def __init__(self, records: Records, fields: Mapping[str, _Field], color_bits: int) -> None:
        self._records = records
        self._wanted = fields
        self._color_bits = color_bits

    def __len__(self) -> int:
        return len(self._wanted)

    def __iter__(self) -> Iterator[str]:
        return iter(self._wanted)

    def __contains__(self, name: object) -> bool:
        return name in self._wanted  # Mapping's own would decode it to find out

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        item = self._wanted[name]
        stored: NDArray[Any] = self._records[item.stored]
        if name == "rgb":
            return (
                (stored >> 8).astype(np.uint8) if self._color_bits == 16 else np.minimum(stored, 255).astype(np.uint8)
            )
        if item.factor is not None:
            return (stored * item.factor + item.offset).astype(item.attribute.dtype)
        if item.mask == 0xFF:
            return stored
        return (stored >> item.shift) & item.mask if item.mask else stored


def color_bits(source: LasSource) -> int:
    """8 or 16: the significant bits of the file's colours, by a sample spread over the whole file; 0 where all of it is black or there are none.

    Many programs write 8-bit colours into LAS's 16-bit fields as they are. Raises CorruptSource where the sample does not decode.
    """
    if source.dtype.names is None or "rgb" not in source.dtype.names or not source.header.count:
        return 0
    starts = source.chunks.starts[:-1]
    spots = starts[np.unique(np.linspace(0, len(starts) - 1, 32).astype(np.int64))]
    largest = 0
    for start in spots.tolist():
        part = Part(start, min(512, source.header.count - start))
        for records in source.records(part, [name for name in source._fields if name == "rgb"]):
            largest = max(largest, int(records["rgb"].max()))
    return 0 if largest == 0 else 8 if largest <= 255 else 16


def _layout(header: Header) -> tuple[np.dtype[Any], dict[str, _Field]]:
    """The record type of a file and its attributes by name, in a fixed order."""
    layout = list(_LAYOUTS[header.point_format])
    extra = [
        (f"extra:{i}", item.dtype, (item.components,)) if item.components > 1 else (f"extra:{i}", item.dtype)
        for i, item in enumerate(header.extra)
    ]
    dtype = np.dtype(layout + extra)
    assert dtype.itemsize == header.point_size, "extra bytes fill the record"
    fields = [*_standard(header.point_format, {item[0] for item in layout})]
    taken = {f.attribute.name for f in fields}
    for index, item in enumerate(header.extra):
        fields.append(_extra_field(index, item, taken))
    return dtype, {f.attribute.name: f for f in fields}


def _standard(point_format: int, stored: set[str]) -> Iterator[_Field]:
    def bits(name: str, field: str, shift: int, mask: int) -> _Field:
        return _Field(Attribute(name, "u1"), field, shift, mask)

    if "rgb" in stored:
        yield _Field(Attribute("rgb", "u1", 3, "colour, 8 bits a channel"), "rgb")
    yield _Field(Attribute("intensity", "<u2"), "intensity")
    modern = point_format >= 6
    yield bits("classification", "class", 0, 0xFF if modern else 0x1F)
    yield bits("return_number", "returns", 0, 0xF if modern else 0x7)
    yield bits("number_of_returns", "returns", 4 if modern else 3, 0xF if modern else 0x7)
    flags, first = ("flags", 0) if modern else ("class", 5)
    for index, name in enumerate(
        ("synthetic", "key_point", "withheld", "overlap") if modern else ("synthetic", "key_point", "withheld")
    ):
        yield bits(name, flags, first + index, 1)
    if modern:
        yield bits("scanner_channel", "flags", 4, 3)
    for name, shift in (("scan_direction_flag", 6), ("edge_of_flight_line", 7)):
        yield bits(name, "flags" if modern else "returns", shift, 1)
    yield _Field(Attribute("scan_angle", "<f4", 1, "degrees"), "angle", factor=0.006 if modern else 1.0)
    yield _Field(Attribute("user_data", "u1"), "user_data")
    yield _Field(Attribute("point_source_id", "<u2"), "point_source_id")
    if "gps_time" in stored:
        yield _Field(Attribute("gps_time", "<f8", 1, "seconds, as the file counts them"), "gps_time")
    if "nir" in stored:
        yield _Field(Attribute("nir", "<u2"), "nir")
    for name, dtype in _WAVE:
        if name in stored:
            yield _Field(Attribute(name, dtype), name)


def _extra_field(index: int, item: ExtraBytes, taken: set[str]) -> _Field:
    name = re.sub(r"\W", "_", item.name, flags=re.ASCII).strip("_").lower() or f"extra_{index}"
    if name in taken or name[0].isdigit():
        name = f"extra_{name}_{index}" if f"extra_{name}" in taken else f"extra_{name}"
    taken.add(name)
    dtype = item.dtype if item.scale is None else "<f8"
    attribute = Attribute(name, dtype, item.components, item.description or item.name)
    return _Field(attribute, f"extra:{index}", factor=item.scale, offset=item.offset)


def _failures() -> tuple[type[BaseException], ...]:
    """What a decoder raises for bad bytes: its own error, and the panic of its Rust core, which is no Exception."""
    import lazrs

    return (lazrs.LazrsError, EOFError, OSError, ValueError, RuntimeError, OverflowError, _panic())


def _panic() -> type[BaseException]:
    import lazrs

    return getattr(lazrs, "PanicException", None) or next(
        (c for c in BaseException.__subclasses__() if c.__name__ == "PanicException"), OSError
    )
