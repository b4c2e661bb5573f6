"""Packs: append-only files of tile contents, one per finished shard, written by the workers themselves.

A pack is the eight bytes ``TIMPACK1`` and then payloads one after another; the index knows where each lies. It is written as
``.{name}.{pid}.part`` under a file lock that lives as long as the writer, synced, then renamed: a ``.pack`` file is always whole, and
never changes again.
"""

from __future__ import annotations

import errno
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from time import time
from typing import Any

from tiling.archive.types import ContentRow
from tiling.builder import ContentRef, Encoding
from tim.errors import WorkspaceError

MAGIC = b"TIMPACK1"
GZIP_LEVEL, FAST_LEVEL = 6, 1
"""13 MB of object tiles: zlib's level 6 makes 3.0 MB of them at 56 MB/s, its level 1 3.3 MB at 128 MB/s; ISA-L's level 1 3.9 MB at 640 MB/s."""
YOUNG_SECONDS = 60.0
"""A .part file this young may belong to a writer that has not locked it yet."""
UNCLAIMED_SECONDS = 3600.0
"""A pack must be added to the index within this time; after that it belongs to nobody."""

Buffer = bytes | memoryview


class PackWriter:
    """Writes one pack; implements :class:`tiling.builder.TileSink`. Raises WorkspaceError where the disk is full or read-only."""

    def __init__(self, packs: Path, name: str, *, fast: bool = False) -> None:
        """packs: the folder; name: the shard's id, made of ASCII letters, digits, ``.``, ``_`` and ``-``; fast: compress ten times as fast and
        a little less."""
        self._packs, self._name, self._fast = packs, name, fast
        self._part = packs / f".{name}.{os.getpid()}.part"
        self._refs: dict[str, ContentRef] = {}
        self._offsets: dict[str, int] = {}
        self._length = len(MAGIC)
        with refusals(self._part):
            packs.mkdir(parents=True, exist_ok=True)
            self._file = self._part.open("wb", buffering=1 << 20)
            lock(self._file.fileno())
            self._file.write(MAGIC)

    def put(self, payload: bytes | Sequence[Buffer], *, compress: bool = False) -> ContentRef:
        """Store one content; a content this pack already has is not stored again."""
        parts: Sequence[Buffer] = [payload] if isinstance(payload, bytes | memoryview) else payload
        digest, size = blake2b(digest_size=32), 0
        for part in parts:
            digest.update(part)
            size += memoryview(part).nbytes
        name = digest.hexdigest()
        if name in self._refs:
            return self._refs[name]
        encoding: Encoding = "identity"
        if compress:
            packed = gzip(parts, fast=self._fast)
            if len(packed) <= 0.9 * size:
                parts, encoding = [packed], "gzip"
        stored = sum(memoryview(part).nbytes for part in parts)
        return self._write(ContentRef(name, size, stored, encoding), parts)

    def copy(self, ref: ContentRef, data: Buffer) -> ContentRef:
        """Store a content as it is stored elsewhere, in its encoding."""
        return self._write(ref, [data])

    def close(self) -> list[ContentRow]:
        """Make the pack durable and give it its name. A pack without contents leaves no file."""
        if not self._refs:
            self.abort()
            return []
        with refusals(self._part):
            self._file.flush()
            os.fsync(self._file.fileno())
            if sys.platform == "win32":  # an open file cannot be renamed there
                self._file.close()
            final = self._claim()
            self._file.close()
            sync_folder(self._packs)
        return [
            ContentRow(ref.hash, final.name, self._offsets[ref.hash], ref.stored, ref.size, ref.encoding)
            for ref in self._refs.values()
        ]

    def abort(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)

    def _write(self, ref: ContentRef, parts: Sequence[Buffer]) -> ContentRef:
        with refusals(self._part):
            for part in parts:
                self._file.write(part)
        self._refs[ref.hash] = ref
        self._offsets[ref.hash] = self._length
        self._length += ref.stored
        return ref

    def _claim(self) -> Path:
        """Rename to the first free name. An older pack of this shard may be mapped, doomed or unregistered: it is left alone."""
        attempt = 0
        while True:
            final = self._packs / (f"{self._name}.pack" if not attempt else f"{self._name}.{attempt}.pack")
            try:
                os.link(self._part, final)
            except FileExistsError:
                attempt += 1
                continue
            except OSError:  # a file system without hard links; only one writer at a time has this shard
                if final.exists():
                    attempt += 1
                    continue
                self._part.rename(final)
                return final
            self._part.unlink()
            return final


def gzip(parts: Sequence[Buffer], *, fast: bool = False) -> bytes:
    """A gzip member without time, name or system: the same on every machine with the same library."""
    stream: Any = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
    if fast:
        from isal import isal_zlib

        stream = isal_zlib.compressobj(FAST_LEVEL, zlib.DEFLATED, 31)
    packed = b"".join([*(stream.compress(part) for part in parts), stream.flush()])
    return packed[:4] + bytes(5) + b"\xff" + packed[10:]


def plain(data: Buffer, encoding: Encoding) -> bytes:
    """The plain payload of stored bytes. Raises ValueError where they are no whole gzip member."""
    if encoding == "identity":
        return bytes(data)
    try:
        return zlib.decompress(data, 31)
    except zlib.error as error:
        raise ValueError(str(error)) from error


def sweep(packs: Path, known: set[str]) -> None:
    """Remove what dead writers left: unlocked ``.part`` files, and packs nobody ever added to the index (``known`` are the added).

    The caller holds the index's write lock, under which alone pages are written: theirs need not grow old first.
    """
    now = time()
    for path in sorted(packs.glob(".*.part")) if packs.is_dir() else ():
        with suppress(OSError):
            old = path.name.startswith(".pages-") or now - path.stat().st_mtime > YOUNG_SECONDS
            if old and _dead(path):
                path.unlink(missing_ok=True)
    for path in sorted(packs.glob("*.pack")) if packs.is_dir() else ():
        with suppress(OSError):
            if path.name not in known and now - path.stat().st_mtime > UNCLAIMED_SECONDS:
                path.unlink(missing_ok=True)


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into WorkspaceError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WorkspaceError("archive.disk-full", path=str(path.parent)) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise WorkspaceError("archive.read-only", path=str(path.parent)) from error
        raise WorkspaceError(
            "archive.cannot-write", path=str(path.parent), reason=error.strerror or str(error)
        ) from error


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, where the system has a way to."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


if sys.platform == "win32":

    def lock(handle: int) -> None:
        """Nothing to do: an open file cannot be deleted there."""

    def _dead(path: Path) -> bool:
        return path.exists()  # deleting fails where the writer lives

else:
    import fcntl

    def lock(handle: int) -> None:
        """Hold a lock that the kernel drops when the process ends, however it ends."""
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _dead(path: Path) -> bool:
        with path.open("rb") as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            return True
