"""Files of mounted tilesets (``/tiles/{dataset}/f/{id}/…``), sent as they lie: from the folder, or out of a ``.3tz`` without unpacking it.

This is not the hot path: it is asked only where the archive knows no such name, and reads in a thread. Entity tags come from size and time,
so that a file that was changed in place is seen to have changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from importers.tiles3d.files import LARGEST, Stored
from server.negotiate import accepts_gzip, byte_range, matched_tag
from tiling.foreign.batch import read_batch_tables
from tiling.foreign.mount import Mount
from tim.errors import CorruptSource, SourceError, UsageError
from tim.sources import SourceRef

Headers = list[tuple[bytes, bytes]]
_TYPES = {
    ".bin": b"application/octet-stream", ".geojson": b"application/geo+json", ".glb": b"model/gltf-binary", ".gltf": b"model/gltf+json",
    ".jpeg": b"image/jpeg", ".jpg": b"image/jpeg", ".json": b"application/json", ".ktx2": b"image/ktx2", ".png": b"image/png",
    ".webp": b"image/webp",
}  # fmt: skip
"""Whatever else lies in a tileset is bytes: nothing a browser would run."""


_TABLES = 64 << 20
"""Bytes of a content whose attributes are asked for."""


class Mounts:
    """The mounted tilesets of all datasets, opened when they are first asked for. ``sources``: by dataset and mount id."""

    def __init__(self) -> None:
        self.sources: Mapping[str, Mapping[str, SourceRef]] = {}
        self._open: dict[tuple[str, str], tuple[tuple[object, ...], Mount]] = {}

    def mount(self, dataset: str, name: str) -> Mount | None:
        """One of them; ``None`` where there is none or its files are gone. Raises CorruptSource where it is broken."""
        source = self.sources.get(dataset, {}).get(name)
        if source is None:
            return None
        try:
            stat = Path(source.uri).stat()
            stamp = (source.uri, source.options.get("height_offset"), stat.st_mtime_ns, stat.st_size, stat.st_ino)
            known = self._open.get((dataset, name))
            if known is None or known[0] != stamp:
                known = self._open[dataset, name] = (stamp, Mount.of(source))
        except CorruptSource:
            raise
        except (SourceError, OSError):
            return None
        return known[1]


async def answer(
    mounts: Mounts, dataset: str, rest: str, request: Mapping[bytes, bytes], head: Headers
) -> tuple[int, Headers, bytes] | None:
    """Status, headers and body for ``f/{id}/{path}``; ``None``: there is no such file. Raises UsageError, CorruptSource."""
    return await asyncio.to_thread(_answer, mounts, dataset, rest, request, head)


def batch_tables(mounts: Mounts, dataset: str, content: str) -> dict[str, Any]:
    """The attributes of one content of a mounted tileset, by its path within it. Raises UsageError ``server.no-path``, CorruptSource."""
    for name in sorted(mounts.sources.get(dataset, {})):
        mount = mounts.mount(dataset, name)
        stored = None if mount is None else mount.files.find(content)
        if stored is not None:
            if stored.size > _TABLES:
                raise CorruptSource("tiles3d.too-large", path=PurePosixPath(content).name, largest=_TABLES)
            tables = read_batch_tables(stored.plain(), content)
            return {"content": content, "tables": [table.record() for table in tables]}
    raise UsageError("server.no-path", path=content[:200])


def _answer(
    mounts: Mounts, dataset: str, rest: str, request: Mapping[bytes, bytes], head: Headers
) -> tuple[int, Headers, bytes] | None:
    _, name, path = rest.split("/", 2)
    mount = mounts.mount(dataset, name)
    stored = None if mount is None else mount.files.find(path)
    if mount is None or stored is None:
        return None
    suffix = PurePosixPath(path.lower()).suffix
    lifted = suffix == ".json" and mount.lift != 0.0
    tag = f"{stored.tag}{mount.lift:+g}" if lifted else stored.tag
    if (condition := request.get(b"if-none-match")) is not None and (same := matched_tag(condition, tag)):
        return 304, [*head, (b"etag", f'"{same}"'.encode())], b""
    head = [
        *head,
        (b"content-type", _TYPES.get(suffix, b"application/octet-stream")),
        (b"x-content-type-options", b"nosniff"),
    ]
    if stored.encoding == "identity" and not lifted:
        return _plain(stored, tag, request, head)
    head.append((b"vary", b"accept-encoding"))
    if accepts_gzip(request.get(b"accept-encoding")) and not lifted:
        data = stored.read() if stored.encoding == "gzip" else stored.as_gzip()
        head += (b"content-encoding", b"gzip"), (b"etag", f'"{tag}.gzip"'.encode())
    else:
        data = mount.page(stored.plain()) if lifted else stored.plain()
        head.append((b"etag", f'"{tag}"'.encode()))
    return 200, [*head, (b"content-length", b"%d" % len(data))], data


def _plain(stored: Stored, tag: str, request: Mapping[bytes, bytes], head: Headers) -> tuple[int, Headers, bytes]:
    """The file, or the range asked for."""
    etag = f'"{tag}"'.encode()
    head.append((b"etag", etag))
    part = byte_range(request.get(b"range"), request.get(b"if-range"), etag, stored.stored)
    start, stop = part or (0, stored.stored)
    if part == (0, 0):
        raise UsageError("server.range", size=stored.stored)
    if stop - start > LARGEST:
        raise CorruptSource("tiles3d.too-large", path=PurePosixPath(stored.path).name, largest=LARGEST)
    head.append((b"content-length", b"%d" % (stop - start)))
    if part is None:
        return 200, head, stored.read()
    return (
        206,
        [*head, (b"content-range", b"bytes %d-%d/%d" % (start, stop - 1, stored.stored))],
        stored.read(start, stop),
    )
