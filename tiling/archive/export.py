"""A snapshot as plain files anybody can serve: a folder, or one ``.3tz`` file; identity encoding, readable names, relative links.

::

    tileset.json
    tiles/{name of the tile's key}.glb       explicit
    pages/{name of the page's first key}.json
    t/{level}/{x}/{y}/{z}.glb                implicit
    s/{level}/{x}/{y}/{z}.subtree

It is written beside its destination as ``{out}.part`` and renamed when whole. Equal snapshots give equal bytes.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b, md5
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tiling.archive.pack import refusals, sync_folder
from tiling.archive.pages import implicit_root, link_tile, octree_address, octree_codes, root_of
from tiling.archive.types import ExportReport, Link, TilesetInfo
from tiling.builder import TileEntry
from tiling.spec import subtree, tileset
from tim.errors import UsageError

if TYPE_CHECKING:
    from tiling.archive.archive import Archive

INDEX = "@3dtilesIndex1@"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The only time in a .3tz, so that equal snapshots give equal files."""
RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
"""Names Windows keeps for itself."""
LONGEST = 150
"""Characters of a name: Windows opens paths of 260."""

Files = Iterator[tuple[str, bytes]]


def export(
    archive: Archive,
    dataset: str,
    out: Path,
    seq: int | None,
    *,
    overwrite: bool,
    linked: Callable[[Link], Files] | None = None,
) -> ExportReport:
    """Write a snapshot to ``out``: a folder, or one file where the name ends in ``.3tz``.

    ``linked`` gives the files behind a link by their path relative to the linked tileset's folder; they are copied to where
    :attr:`Link.exported` says.

    Raises UsageError where something is there already and ``overwrite`` is not given, or there is no such snapshot.
    """
    found = archive.snapshot(dataset, seq)
    count, size = write(out, contents_of(archive, dataset, found.seq, linked), overwrite=overwrite)
    return ExportReport(found, str(out), count, size)


def write(out: Path, files: Files, *, overwrite: bool) -> tuple[int, int]:
    """Write files to ``out``: a folder, or one file where the name ends in ``.3tz``. Returns how many, and their bytes.

    Raises UsageError where something is there already and ``overwrite`` is not given.
    """
    if not overwrite and (out.is_file() or (out.is_dir() and any(out.iterdir()))):
        raise UsageError("archive.out-not-empty", path=str(out))
    part = out.with_name(out.name + ".part")
    _remove(part)
    try:
        with refusals(part):
            part.parent.mkdir(parents=True, exist_ok=True)
            count, size = (_write_3tz if out.suffix.lower() == ".3tz" else _write_folder)(part, files)
            _replace(part, out)
    except BaseException:
        with suppress(OSError):
            _remove(part)
        raise
    return count, size


def contents_of(
    archive: Archive, dataset: str, seq: int | None, linked: Callable[[Link], Files] | None = None
) -> Files:
    """The files of a snapshot as an export has them, ``tileset.json`` last. See :func:`export`."""
    info = archive.info(dataset, seq)
    if linked is not None:
        for link in info.links:
            folder = link.exported.rpartition("/")[0]
            for name, data in linked(link):
                yield f"{folder}/{name}", data
    yield from _files(archive, archive.tiles(dataset, seq), info)


def names(keys: Iterable[str]) -> dict[str, str]:
    """A readable relative file name, without ending, for every key: ASCII, legal and distinct on every file system."""
    taken: set[str] = set()
    result = {}
    for key in sorted(keys):
        parts = [part for text in key.split("/") if (part := _part(text))] or ["tile"]
        # A folder must not be called as a file may be.
        name = "/".join([*(re.sub(r"(?i)\.(glb|json)$", r"-\1", part) for part in parts[:-1]), parts[-1]])
        if name.lower() in taken or len(name) > LONGEST:
            name = f"{name[: LONGEST // 2].rstrip('/.')}-{blake2b(key.encode(), digest_size=8).hexdigest()}"
        taken.add(name.lower())
        result[key] = name
    return result


def _part(part: str) -> str:
    text = re.sub(r"_{2,}", "_", re.sub(r"[^A-Za-z0-9._-]", "_", part.replace("#", "-"))).strip(".")
    return f"_{text}" if RESERVED.match(text) else text


def _files(archive: Archive, tiles: Iterable[TileEntry], info: TilesetInfo) -> Files:
    """Contents first, the root page last: a folder with a ``tileset.json`` is a whole one."""
    if info.scheme == "implicit-octree":
        yield from _implicit(archive, list(tiles), info)
    else:
        yield from _explicit(archive, tileset.plant(tiles), info)


def _explicit(archive: Archive, tree: tileset.Tree, info: TilesetInfo) -> Files:
    called = names(tree.entries)

    def content(up: str) -> Callable[[TileEntry], str]:
        return lambda tile: f"{up}tiles/{called[tile.key]}.glb"

    for tile in (tree.entries[key] for key in tree.order):
        if tile.content is not None:
            yield f"tiles/{called[tile.key]}.glb", archive.read(tile.content.hash)
    for key in tree.pages():
        if key is not None:
            up = "../" * (called[key].count("/") + 1)
            page = tileset.page(tree, key, content(up), lambda link, up=up: f"{up}pages/{called[link]}.json")  # type: ignore[misc]
            yield f"pages/{called[key]}.json", page
    root = root_of(info, tree.entries.values(), tree.children.get(None, ()))
    yield (
        "tileset.json",
        tileset.root_page(
            tree,
            root,
            content(""),
            lambda link: f"pages/{called[link]}.json",
            [link_tile(link, link.exported, info) for link in info.links],
        ),
    )


def _implicit(archive: Archive, tiles: list[TileEntry], info: TilesetInfo) -> Files:
    for tile in tiles:
        if tile.content is not None:
            yield "t/{}/{}/{}/{}.glb".format(*octree_address(tile.key)), archive.read(tile.content.hash)
    there, shown, deepest = octree_codes(tiles)
    for (level, x, y, z), data in subtree.subtrees(there, shown, info.subtree_levels):
        yield f"s/{level}/{x}/{y}/{z}.subtree", data
    yield "tileset.json", implicit_root(root_of(info, tiles, ()), info, deepest, "")


def _write_folder(part: Path, files: Files) -> tuple[int, int]:
    count = size = 0
    part.mkdir()
    for name, data in files:
        path = part / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        count, size = count + 1, size + len(data)
    return count, size


def _write_3tz(part: Path, files: Files) -> tuple[int, int]:
    """3D Tiles Archive Format 1.3: a zip whose last entry is a table of (MD5 of the path, offset of the local header).

    The table is sorted by hash, compared as two little-endian 64-bit numbers, the first eight bytes first.
    """
    count, table = 0, []
    with part.open("wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, data in files:
                table.append(
                    (
                        *struct.unpack("<2Q", md5(name.encode(), usedforsecurity=False).digest()),
                        _entry(archive, file, name, data),
                    )
                )
                count += 1
            _entry(archive, file, INDEX, b"".join(struct.pack("<3Q", *row) for row in sorted(table)))
        file.flush()
        os.fsync(file.fileno())
        return count, file.tell()


def _entry(archive: zipfile.ZipFile, file: BinaryIO, name: str, data: bytes) -> int:
    """Write one entry; returns the offset of its local header."""
    offset = file.tell()
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.create_system, entry.external_attr = 3, 0o644 << 16
    archive.writestr(entry, data)
    return offset


def _replace(part: Path, out: Path) -> None:
    """Put the finished part in its place; what was there before stays until then."""
    old = out.with_name(out.name + ".old")
    _remove(old)
    if out.exists():
        out.rename(old)
    part.rename(out)
    sync_folder(out.parent)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
