"""The headers of a shapefile set, read directly: what lies there costs a few hundred bytes, and lengths are checked before they are believed.

After the ESRI Shapefile Technical Description (1998) and the dBASE III table header. The records themselves are read by GDAL.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from importers.vector import encoding
from importers.vector.encoding import Encoding
from tim.sources import Fingerprint, fingerprint

SIDES = (".shx", ".dbf", ".prj", ".cpg", ".sbn", ".sbx", ".qix", ".qpj", ".qmd", ".shp.xml", ".fbn", ".fbx", ".ain", ".aih", ".atx", ".ixs", ".mxs", ".cst")  # fmt: skip
"""What may lie next to a ``.shp`` and belongs to it."""
_READ = (".shp", ".shx", ".dbf", ".prj", ".cpg")
_TYPES = {0: "null", 1: "point", 3: "line", 5: "polygon", 8: "point", 31: "multipatch"}
_SAMPLE = 1 << 16
_TEXT = b"CMD"
"""Types of dBASE fields whose bytes are text, dates among them."""


@dataclass(frozen=True, slots=True)
class Table:
    """The header of a ``.dbf``."""

    count: int
    names: tuple[bytes, ...]
    types: bytes
    widths: tuple[int, ...]
    start: int
    """Bytes before the first record."""
    record: int
    """Bytes per record."""
    language: int
    size: int
    """Bytes of the file."""

    @property
    def there(self) -> int:
        """Records the file is long enough for."""
        return max(0, (self.size - self.start) // self.record) if self.record else 0


@dataclass(frozen=True, slots=True)
class ShapeHeader:
    """The set."""

    kind: str
    """``point``, ``line``, ``polygon``, ``multipatch``, ``null``."""
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    count: int | None
    """Records by the ``.shx``; ``None`` without one."""
    size: int
    """Bytes of the whole set."""
    files: tuple[Path, ...]
    prj: str | None
    table: Table | None
    encoding: Encoding


def side(path: Path, suffix: str) -> Path | None:
    """The file of the set with this suffix, in either case."""
    stem = str(path)[: -len(path.suffix)]
    for name in (stem + suffix, stem + suffix.upper(), stem + suffix.capitalize()):
        if os.path.exists(name):  # noqa: PTH110 - a disk has ten thousand of these
            return Path(name)
    return None


def read_header(path: Path) -> ShapeHeader | None:
    """The headers of the set of a ``.shp``; ``None`` where it is none. Raises OSError."""
    with path.open("rb") as stream:
        head = stream.read(100)
    if len(head) < 100 or struct.unpack_from(">i", head)[0] != 9994:
        return None
    shape, *box = struct.unpack_from("<i8d", head, 32)
    sides = {suffix: found for suffix in _READ[1:] if (found := side(path, suffix))}
    files = (path, *sides.values())
    table = read_table(sides[".dbf"]) if ".dbf" in sides else None
    z = [v if np.isfinite(v) and abs(v) < 1e5 else 0.0 for v in box[4:6]]
    index = sides.get(".shx")
    return ShapeHeader(
        _TYPES.get(shape % 10 if shape != 31 else 31, "null"), (box[0], box[1], z[0]), (box[2], box[3], z[1]),
        max(0, (index.stat().st_size - 100) // 8) if index else None, sum(file.stat().st_size for file in files), files,
        _text(sides.get(".prj")), table, _encoding(sides, table),
    )  # fmt: skip


def read_table(path: Path) -> Table | None:
    """The header of a ``.dbf``; ``None`` where it is none. Raises OSError."""
    with path.open("rb") as stream:
        head = stream.read(32)
        if len(head) < 32:
            return None
        _, count, start, record, language = struct.unpack_from("<4sIHH17xB", head)
        described = stream.read(max(0, start - 32))
        size = os.fstat(stream.fileno()).st_size
    names, types, widths = [], bytearray(), []
    for at in range(0, len(described) - 31, 32):
        if described[at] == 0x0D:
            break
        names.append(described[at : at + 11].split(b"\0")[0].rstrip(b" "))
        types.append(described[at + 11])
        widths.append(described[at + 16] + (256 * described[at + 17] if described[at + 11 : at + 12] == b"C" else 0))
    if not names or record != sum(widths) + 1:
        return None
    return Table(count, tuple(names), bytes(types), tuple(widths), start, record, language, size)


def with_encoding(header: ShapeHeader, name: str) -> ShapeHeader:
    """The same, its text in the encoding the user names."""
    return replace(header, encoding=Encoding(name))


def field_names(header: ShapeHeader) -> list[str]:
    """The names of the columns; a character cut at the tenth byte is left off."""
    names: list[str] = []
    for raw in header.table.names if header.table else ():
        try:
            name = encoding.cut_decode(raw, header.encoding.name)
        except UnicodeDecodeError:
            name = raw.decode("ascii", "replace")
        base, n = name, 1
        while name in names:
            name, n = f"{base}_{n}", n + 1
        names.append(name)
    return names


def read_index(header: ShapeHeader) -> NDArray[np.int64]:
    """int64[records, 2]: where each record begins in the ``.shp`` and its bytes, header not counted; walked where there is no index."""
    path = header.files[0]
    index = next((file for file in header.files if file.suffix.lower() == ".shx"), None)
    if index is not None:
        raw = np.fromfile(index, ">i4", offset=100)
        return raw[: len(raw) // 2 * 2].astype(np.int64).reshape(-1, 2) * 2
    found = []
    size = path.stat().st_size
    with path.open("rb") as stream:
        at = 100
        while at + 8 <= size:
            stream.seek(at)
            length = struct.unpack(">ii", stream.read(8))[1] * 2
            if length < 4 or at + 8 + length > size:
                break
            found.append((at, length))
            at += 8 + length
    return np.array(found, np.int64).reshape(-1, 2)


def unsound(header: ShapeHeader, index: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool[records]: those that lie outside the file or whose own length is another than the index says."""
    path = header.files[0]
    size = path.stat().st_size
    bad = (index[:, 0] < 100) | (index[:, 1] < 4) | (index[:, 0] + 8 + index[:, 1] > size)
    inside = np.flatnonzero(~bad)
    if len(inside):
        words = np.memmap(path, ">i4", "r", shape=(size // 4,))
        at = index[inside, 0]
        odd = at % 4 != 0
        said = words[np.minimum(at // 4 + 1, len(words) - 1)].astype(np.int64) * 2
        bad[inside] = odd | (said != index[inside, 1])
    return bad


def write_index(path: Path, header: ShapeHeader, index: NDArray[np.int64]) -> None:
    """Write a ``.shx`` for a set that has none."""
    with header.files[0].open("rb") as stream:
        head = bytearray(stream.read(100))
    struct.pack_into(">i", head, 24, 50 + 4 * len(index))
    path.write_bytes(bytes(head) + (index // 2).astype(">i4").tobytes())


def set_fingerprint(files: Sequence[Path]) -> Fingerprint:
    """One fingerprint for the files of a set. Raises OSError."""
    digest = hashlib.blake2b(digest_size=16)
    prints = [fingerprint(file) for file in files]
    for file, one in zip(files, prints, strict=True):
        digest.update(f"{file.suffix.lower()}\0{one.size}\0{one.sample}\n".encode())
    return Fingerprint(sum(one.size for one in prints), max(one.mtime_ns for one in prints), digest.hexdigest())


def _encoding(sides: dict[str, Path], table: Table | None) -> Encoding:
    if table is None:
        return Encoding("utf-8")
    said = _text(sides.get(".cpg"))
    declared, where = (encoding.named(said), ".cpg") if said else (None, "")
    if declared is None:
        declared, where = encoding.driver(table.language), ".dbf"
    samples = list(table.names)
    text = [i for i, kind in enumerate(table.types) if kind in _TEXT]
    offsets = np.concatenate([[1], 1 + np.cumsum(table.widths)])
    with sides[".dbf"].open("rb") as stream:
        stream.seek(table.start)
        rows = stream.read(min(table.there, max(1, _SAMPLE // table.record)) * table.record)
    if not rows.isascii():
        for at in range(0, len(rows) - table.record + 1, table.record):
            row = rows[at : at + table.record]
            if not row.isascii():
                samples += [row[offsets[i] : offsets[i] + table.widths[i]].rstrip(b" \0") for i in text]
    return encoding.decide(samples, declared, where)


def _text(path: Path | None) -> str | None:
    if path is None:
        return None
    return path.read_bytes()[: 1 << 16].decode("utf-8-sig", "replace").strip("\0 \r\n") or None
