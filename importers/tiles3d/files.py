"""Where the files of a mounted tileset lie: a folder, or the entries of one ``.3tz``; found by their path, never outside of it.

Nothing is unpacked: a stored entry is a slice of the archive, and a deflated one becomes a gzip member by putting a header and its checksum
around it (RFC 1952). What declares more than :data:`LARGEST` bytes is refused before anything is inflated.
"""

from __future__ import annotations

import gzip
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from tim.errors import CorruptSource, SourceError

INDEX = "@3dtilesIndex1@"
LARGEST = 512 << 20
"""Bytes of one file once inflated."""
_STEEPEST = 1032
"""No deflate stream grows more than this; an entry that claims to is lying."""
_LOCAL = struct.Struct("<4s5H3I2H")
_GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"

Encoding = Literal["identity", "gzip", "deflate"]


class Stored(NamedTuple):
    """One file as it lies on the disk."""

    path: Path
    offset: int
    stored: int
    """Bytes on the disk."""
    encoding: Encoding
    """``gzip``: the file itself is a gzip member, as some tilers write them. ``deflate``: an entry of a zip."""
    size: int
    """Bytes once inflated where the archive says so, otherwise those stored."""
    crc: int
    tag: str
    """Changes when the file does: from its size and time."""

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes ``start``..``stop`` as stored. Raises SourceError where the file is gone or shorter than it was."""
        stop = self.stored if stop is None else min(stop, self.stored)
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset + start)
                data = file.read(max(0, stop - start))
        except OSError as error:
            raise SourceError("tiles3d.unreadable", path=self.path.name, reason=error.strerror or str(error)) from error
        if len(data) != stop - start:
            raise SourceError("tiles3d.changed", path=self.path.name)
        return data

    def as_gzip(self) -> bytes:
        """A deflated entry as a gzip member, without inflating it."""
        return _GZIP_HEAD + self.read() + struct.pack("<2I", self.crc, self.size & 0xFFFFFFFF)

    def plain(self) -> bytes:
        """The inflated bytes. Raises CorruptSource where they do not inflate, or to more than they should."""
        data = self.read()
        try:
            if self.encoding == "deflate":
                inflater = zlib.decompressobj(-15)
                data = inflater.decompress(data, self.size + 1)
                if len(data) != self.size or zlib.crc32(data) != self.crc:
                    raise CorruptSource("tiles3d.entry-broken", path=self.path.name)
            if self.encoding == "gzip" or data[:2] == b"\x1f\x8b":
                with gzip.GzipFile(fileobj=BytesIO(data)) as member:
                    data = member.read(LARGEST + 1)
                if len(data) > LARGEST:
                    raise CorruptSource("tiles3d.too-large", path=self.path.name, largest=LARGEST)
        except (OSError, EOFError, zlib.error) as error:
            raise CorruptSource("tiles3d.entry-broken", path=self.path.name) from error
        return data


class Files(Protocol):
    """The files of one tileset, by path relative to its ``tileset.json``."""

    def find(self, path: str) -> Stored | None:
        """The file, or ``None`` where there is none inside of the tileset. Raises CorruptSource for an entry that must not be inflated."""

    def paths(self) -> Iterator[str]:
        """All files, sorted."""


def inside(path: str) -> bool:
    """Whether a relative path stays where it is: no way up, no drive, no empty step, nothing a file system reads in its own way."""
    return not any(part in ("", ".", "..") for part in path.split("/")) and not any(c in path for c in "\\:\0")


def open_files(path: Path) -> Files:
    """The tileset at ``path``. Raises SourceError ``tiles3d.gone``, CorruptSource where a ``.3tz`` is no zip."""
    if path.is_dir():
        return Folder(path)
    if not path.is_file():
        raise SourceError("tiles3d.gone", path=str(path))
    return Packed.open(path)


@dataclass(frozen=True, slots=True)
class Folder:
    """A plain folder."""

    root: Path

    def find(self, path: str) -> Stored | None:
        """See :class:`Files`; links that lead out of the folder lead nowhere."""
        if not inside(path):
            return None
        try:
            real = (self.root / path).resolve(strict=True)
            if not real.is_relative_to(self.root.resolve()) or not real.is_file():
                return None
            stat = real.stat()
            with real.open("rb") as file:
                packed = file.read(2) == b"\x1f\x8b"
        except (OSError, ValueError):
            return None
        tag = f"{stat.st_size:x}-{stat.st_mtime_ns:x}"
        return Stored(real, 0, stat.st_size, "gzip" if packed else "identity", stat.st_size, 0, tag)

    def paths(self) -> Iterator[str]:
        """See :class:`Files`."""
        for folder, below, names in os.walk(self.root):
            below.sort()
            for name in sorted(names):
                yield (Path(folder) / name).relative_to(self.root).as_posix()


class Entry(NamedTuple):
    """An entry by the archive's directory."""

    header: int
    stored: int
    size: int
    crc: int
    deflated: bool


@dataclass(frozen=True, slots=True)
class Packed:
    """A ``.3tz`` file, read by its directory; its own index is not needed, so that it need not be trusted."""

    path: Path
    entries: dict[str, Entry] = field(repr=False)
    refused: dict[str, str]
    """Entries that are never read, by path: encrypted, packed in a way we do not know, or larger than any tile."""
    stamp: str

    @classmethod
    def open(cls, path: Path) -> Packed:
        """Raises CorruptSource where it is no zip."""
        entries: dict[str, Entry] = {}
        refused: dict[str, str] = {}
        try:
            stat = path.stat()
            with zipfile.ZipFile(path) as archive:
                for item in archive.infolist():
                    name = item.filename.replace("\\", "/")
                    if item.is_dir() or name == INDEX:
                        continue
                    if not inside(name):
                        refused[name] = "path"
                    elif item.flag_bits & 1 or item.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                        refused[name] = "packing"
                    elif item.file_size > min(LARGEST, item.compress_size * _STEEPEST + 64):
                        refused[name] = "size"
                    else:
                        entries[name] = Entry(
                            item.header_offset, item.compress_size, item.file_size, item.CRC, item.compress_type == zipfile.ZIP_DEFLATED
                        )  # fmt: skip
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise CorruptSource("tiles3d.not-3tz", path=path.name, reason=str(error)) from error
        return cls(path, entries, refused, f"{stat.st_size:x}-{stat.st_mtime_ns:x}")

    def find(self, path: str) -> Stored | None:
        """See :class:`Files`."""
        if path in self.refused:
            raise CorruptSource("tiles3d.entry-refused", path=path, reason=self.refused[path])
        entry = self.entries.get(path)
        if entry is None:
            return None
        try:
            with self.path.open("rb") as file:
                file.seek(entry.header)
                head = file.read(_LOCAL.size)
                magic, *_, name_length, extra_length = _LOCAL.unpack(head)
                if magic != b"PK\3\4":
                    raise ValueError(magic)
                start = entry.header + _LOCAL.size + name_length + extra_length
                file.seek(start)
                first = file.read(min(entry.stored, 64))
        except OSError:
            return None
        except (struct.error, ValueError) as error:
            raise CorruptSource("tiles3d.entry-broken", path=path) from error
        encoding: Encoding = "deflate" if entry.deflated else "gzip" if first[:2] == b"\x1f\x8b" else "identity"
        tag = f"{self.stamp}-{entry.header:x}"
        return Stored(self.path, start, entry.stored, encoding, entry.size, entry.crc, tag)

    def paths(self) -> Iterator[str]:
        """See :class:`Files`."""
        yield from sorted(self.entries)
