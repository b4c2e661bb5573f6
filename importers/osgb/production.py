"""Productions by structure: where the blocks of a delivery are, and which file each one starts with.

A *block* is a folder whose files form trees. In nearly every delivery (``Data/Tile_*/Tile_*.osgb``, ``Data2``, ``terra_osgbs/Block*``)
it holds a root file of its own name; any other folder with OSGB files is a block as well, and its roots are the files that none of
its files links to. A production is the smallest folder around all its blocks.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from importers.osgb.metadata import own_metadata
from importers.osgb.stream import MAGIC
from importers.osgb.tree import SUFFIX, links_of, names_below
from tim.errors import CorruptSource

_DEEPEST = 6


@dataclass(frozen=True, slots=True)
class Block:
    """A folder of files that refine each other."""

    folder: Path
    name: str
    """Source key within the production: the folder's name, or its relative path where names repeat; the file's stem for a single file."""
    roots: tuple[str, ...]
    """Root files relative to the folder; empty where they must be found by their links (:func:`roots_by_links`)."""


def is_scene(path: Path) -> bool:
    """Whether a file begins like an OSGB file, in either byte order."""
    try:
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
    except OSError:
        return False
    return head == MAGIC or head[:4] == MAGIC[3::-1]


def is_production(folder: Path) -> bool:
    """Whether a folder is one production: it has a ``metadata.xml`` or OSGB files, or its blocks lie at most two levels down.

    A folder around several productions, each with a ``metadata.xml`` of its own, is none.
    """
    if own_metadata(folder):
        return True
    blocks = []
    for block in _blocks(folder):
        if len(block.folder.parts) - len(folder.parts) > 2:
            return False  # a disk of many productions is not listed to its end
        blocks.append(block.folder)
    between = {parent for block in blocks for parent in (block, block.parent) if parent != folder and block != folder}
    return folder in blocks or not any(own_metadata(place) for place in between if folder in place.parents)


def blocks_below(folder: Path) -> list[Block]:
    """The blocks of a production folder, by name."""
    found = list(_blocks(folder))
    names = Counter(block.folder.name for block in found)
    named = []
    for block in found:
        relative = block.folder.relative_to(folder).as_posix()
        name = block.folder.name if names[block.folder.name] == 1 else relative
        named.append(Block(block.folder, "" if block.folder == folder else name, block.roots))
    return sorted(named, key=lambda block: block.name)


def roots_by_links(folder: Path) -> tuple[str, ...]:
    """The files below a folder that no other links to, sorted. Unreadable files count as roots, so that they are reported."""
    files = names_below(folder)
    linked: set[str] = set()
    for file in files:
        try:
            linked.update(
                target for target, _ in links_of((folder / file).read_bytes(), folder, file, file) if target != file
            )
        except (CorruptSource, OSError):
            continue
    return tuple(file for file in files if file not in linked) or tuple(files[:1])


def _blocks(folder: Path, depth: int = 0) -> Iterator[Block]:
    """Blocks at or below a folder; a folder with OSGB files of its own is one, with everything below it."""
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except OSError:
        return
    files = [e.name for e in entries if e.name.lower().endswith(SUFFIX) and e.is_file()]
    if files:
        own = next((f for f in files if f[: -len(SUFFIX)] == folder.name), None)
        yield Block(folder, "", (own,) if own else ())
        return
    for entry in entries:
        if depth < _DEEPEST and entry.is_dir(follow_symlinks=False):
            yield from _blocks(Path(entry.path), depth + 1)
