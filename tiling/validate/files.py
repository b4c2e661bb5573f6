"""Where a tileset is read from: a folder, a ``.3tz`` file, or a dataset of the archive, all by paths relative to the root page."""

from __future__ import annotations

import posixpath
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b, md5
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from tiling.archive import Archive, Blob, Reader
from tiling.archive.export import INDEX
from tiling.archive.pack import plain
from tiling.validate.report import Issue
from tim.errors import UsageError


@dataclass(frozen=True, slots=True)
class Promise:
    """What is known of a tileset from elsewhere, to be found true."""

    transform: tuple[float, ...]
    """Of the root tile."""
    tiles: int | None
    """``None`` where implicit tiling adds tiles of its own."""
    counts: Mapping[str, int]


class Files(Protocol):
    """A readable tileset. Picklable: workers open it again."""

    @property
    def name(self) -> str:
        """For the report."""

    @property
    def start(self) -> str:
        """Path of the root page."""

    @property
    def promise(self) -> Promise | None:
        """What the tileset should hold, where that is known."""

    def read(self, path: str) -> tuple[bytes | None, list[Issue]]:
        """The plain bytes at a normalised path (``None``: nothing there), and what is wrong with how they are stored."""

    def unreferenced(self, used: set[str]) -> Iterator[str]:
        """Files nothing refers to."""

    def faults(self) -> Iterator[Issue]:
        """What is wrong with the container itself."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A plain folder."""

    path: Path
    start: str = "tileset.json"

    @property
    def name(self) -> str:
        """For the report."""
        return str(self.path)

    @property
    def promise(self) -> Promise | None:
        """Nothing is known of it from elsewhere."""
        return None

    def read(self, path: str) -> tuple[bytes | None, list[Issue]]:
        """See :class:`Files`."""
        try:
            data = (self.path / path).read_bytes()
        except (OSError, ValueError):
            return None, []
        # A static server does not know that it should say so.
        return data, [Issue("gzip-stored", path)] if data[:2] == b"\x1f\x8b" else []

    def unreferenced(self, used: set[str]) -> Iterator[str]:
        """See :class:`Files`."""
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            if (
                path.suffix.lower() in (".glb", ".json", ".subtree", ".b3dm", ".i3dm", ".pnts", ".cmpt")
                and name not in used
            ):
                yield name

    def faults(self) -> Iterator[Issue]:
        """A container that cannot be wrong."""
        yield from ()


@dataclass(slots=True)
class Packed:
    """A ``.3tz`` file."""

    path: Path
    _zip: zipfile.ZipFile | None = field(default=None, repr=False)

    def __reduce__(self) -> tuple[type[Packed], tuple[Path]]:
        return Packed, (self.path,)

    @property
    def name(self) -> str:
        """For the report."""
        return str(self.path)

    @property
    def start(self) -> str:
        """Path of the root page."""
        return "tileset.json"

    @property
    def promise(self) -> Promise | None:
        """Nothing is known of it from elsewhere."""
        return None

    @property
    def zip(self) -> zipfile.ZipFile:
        """The open file. Raises UsageError where it is no zip file."""
        if self._zip is None:
            try:
                self._zip = zipfile.ZipFile(self.path)
            except (OSError, zipfile.BadZipFile) as error:
                raise UsageError("validate.not-3tz", path=str(self.path), reason=str(error)) from error
        return self._zip

    def read(self, path: str) -> tuple[bytes | None, list[Issue]]:
        """See :class:`Files`."""
        try:
            data = self.zip.read(path)
        except KeyError:
            return None, []
        except (OSError, ValueError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile) as error:
            return None, [Issue("entry-broken", path, fields={"reason": str(error)})]
        return data, [Issue("gzip-stored", path)] if data[:2] == b"\x1f\x8b" else []

    def unreferenced(self, used: set[str]) -> Iterator[str]:
        """See :class:`Files`."""
        yield from sorted(set(self.zip.namelist()) - used - {INDEX})

    def faults(self) -> Iterator[Issue]:
        """The index must be last, hold all other entries, and be sorted."""
        entries = self.zip.infolist()
        if not entries or entries[-1].filename != INDEX:
            yield Issue("index-missing", INDEX)
            return
        expected = sorted(
            (*struct.unpack("<2Q", md5(e.filename.encode(), usedforsecurity=False).digest()), e.header_offset)
            for e in entries[:-1]
        )
        found, issues = self.read(INDEX)
        yield from issues
        if found is not None and found != b"".join(struct.pack("<3Q", *row) for row in expected):
            yield Issue("index-wrong", INDEX)


@dataclass(slots=True)
class Archived:
    """A dataset of the archive, by the paths it has below its URL; hashes and encodings are checked on the way."""

    root: Path
    dataset: str
    seq: int | None = None
    _reader: Reader | None = field(default=None, repr=False)

    def __reduce__(self) -> tuple[type[Archived], tuple[Path, str, int | None]]:
        return Archived, (self.root, self.dataset, self.seq)

    @property
    def name(self) -> str:
        """For the report."""
        return self.dataset if self.seq is None else f"{self.dataset}@{self.seq}"

    @property
    def start(self) -> str:
        """Path of the root page."""
        return "tileset.json" if self.seq is None else f"@{self.seq}/tileset.json"

    @property
    def promise(self) -> Promise | None:
        """The frame and the snapshot's counts."""
        with Archive(self.root) as archive:
            snapshot, info = archive.snapshot(self.dataset, self.seq), archive.info(self.dataset, self.seq)
        tiles = snapshot.tiles if info.scheme == "explicit" else None
        return Promise(tuple(info.frame.transform), tiles, snapshot.counts)

    def read(self, path: str) -> tuple[bytes | None, list[Issue]]:
        """See :class:`Files`."""
        if self._reader is None:
            self._reader = Reader(self.root)
        blob = self._find(self._reader, path)
        if blob is None:
            return None, []
        issues: list[Issue] = []
        stored = bytes(blob.data)
        if blob.encoding == "identity" and stored[:2] == b"\x1f\x8b":
            issues.append(Issue("gzip-stored", path))
        try:
            data = plain(stored, blob.encoding)
        except ValueError as error:
            return None, [Issue("entry-broken", path, fields={"reason": str(error)})]
        if len(data) != blob.size or blake2b(data, digest_size=32).hexdigest() != blob.hash:
            issues.append(Issue("hash-wrong", path, fields={"hash": blob.hash}))
        return data, issues

    def unreferenced(self, used: set[str]) -> Iterator[str]:  # noqa: ARG002
        """See :class:`Files`."""
        yield from ()  # packs are shared by datasets and snapshots

    def faults(self) -> Iterator[Issue]:
        """A container that cannot be wrong."""
        yield from ()

    def _find(self, reader: Reader, path: str) -> Blob | None:
        """As a server would."""
        seq, rest = self.seq, path
        if path.startswith("@"):
            number, _, rest = path[1:].partition("/")
            seq = int(number) if number.isdecimal() else -1
        kind, _, name = rest.partition("/")
        if kind == "c":
            return reader.content(name.removesuffix(".glb"))
        if kind == "t":
            return reader.tile(self.dataset, seq, f"oct/{name.removesuffix('.glb')}")
        return reader.page(self.dataset, seq, rest)


def resolve(base: str, uri: str) -> tuple[str, str]:
    """The path a URI in page ``base`` means, and the code of an issue (empty: none): ``remote``, ``leaves-folder``."""
    head = uri.split("#", 1)[0].split("?", 1)[0]
    if "://" in head or head.startswith(("//", "data:", "/")):
        return "", "remote"
    path = posixpath.normpath(posixpath.join(posixpath.dirname(base), unquote(head)))
    if path.startswith("..") or "\\" in path or "\0" in path:
        return "", "leaves-folder"
    return path, ""
