"""OSGB trees of oblique photogrammetry: whole productions, single blocks, single files.

``probe`` finds productions by their structure; ``read`` gives one object and one source per block; ``open`` gives the
:class:`~importers.osgb.tree.OsgbTree` that tiles are built from.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from importers import ImportContext, Probe
from importers.osgb.metadata import find_metadata, read_metadata
from importers.osgb.production import Block, blocks_below, is_production, is_scene, roots_by_links
from importers.osgb.tree import SUFFIX, Corner, OsgbTree, extent_of, linked_files, links_of, names_below
from tim.errors import CorruptSource, SourceError, TimError
from tim.geometry import F64
from tim.model import ObjectRecord, Rejected, Representation
from tim.place.resolve import FoundCrs
from tim.sources import Fingerprint, SourceRef

__all__ = ["OsgbTree", "open", "probe", "read"]

FORMAT = "osgb"
SUFFIXES = (SUFFIX,)
CLASS = "survey.oblique-model"
_MARGIN = 0.05
"""Finer levels reach a little beyond the root's geometry: the tree's bounds are wider by this share of the diagonal."""
_SAMPLED_ROOTS = 2000
"""Roots looked into for the extent of a probe; more are sampled evenly."""


def probe(path: Path, key: str = "") -> list[Probe]:
    """The production at ``path``: a folder of blocks, one block, or one OSGB file. Empty for anything else."""
    try:
        if path.is_file():
            if path.suffix.lower() != SUFFIX or not is_scene(path):
                return []
        elif not path.is_dir() or not is_production(path):
            return []
        blocks = _blocks(path)
        files = [block.folder / name for block in blocks for name in _files(path, block)]
        if not files:
            return []
        size = sum(file.stat().st_size for file in files)
    except OSError:
        return []
    found, problems = _found_crs(path)
    found = found if found.where else replace(found, where=key)
    extent = _extent(blocks, problems)
    if extent is None:
        problems.append(Rejected(key or path.name, "osgb.no-geometry", {"path": path.name}))
    low, high = extent or (None, None)
    return [Probe(
        uri=str(path), format=FORMAT, kind="meshes", key=key, files=len(files), size=size, count=None, low=low, high=high,
        found=found, problems=tuple(problems), fatal=extent is None, options={},
    )]  # fmt: skip


def read(probe: Probe, context: ImportContext) -> Iterator[ObjectRecord | SourceRef | Rejected]:
    """Per block an object and its source; a rejected record for every block or file that is broken at first sight."""
    path = Path(probe.uri)
    for block in _blocks(path):
        key = _key(probe, path, block)
        files = _files(path, block)
        for name in files:
            if not is_scene(block.folder / name):
                yield Rejected(f"{key}/{name}", "osgb.not-osgb", {"file": f"{key}/{name}", "offset": 0})
        try:
            survey = _survey(block, key)
            box = context.place.box(np.array(survey.low), np.array(survey.high))
        except SourceError as error:
            yield Rejected(key, error.code, error.fields)
            continue
        margin = _MARGIN * math.dist(survey.low, survey.high)
        low, high = [v - margin for v in survey.low], [v + margin for v in survey.high]
        ref = SourceRef(
            uri=str(block.folder), format=FORMAT, kind="meshes", key=key, place=context.place, fingerprint=_fingerprint(block.folder, files),
            box=box, options={"roots": list(survey.roots), "low": low, "high": high, "files": files if path.is_file() else None},
        )  # fmt: skip
        yield ref
        attributes: dict[str, int | float] = {
            "files": len(files),
            "bytes": ref.fingerprint.size,
            "levels": survey.levels,
        }
        if survey.finest > 0:
            attributes["metres_per_pixel"] = survey.finest
        yield ObjectRecord(
            source_key=key, class_id=CLASS, name=key.rsplit("/", 1)[-1], layer=context.layer, attributes=attributes, box=box,
            representations=(Representation("bulk", "", FORMAT, key),),
        )  # fmt: skip


def open(ref: SourceRef) -> OsgbTree:  # noqa: A001
    """The mesh tree of one block. Raises SourceError where its folder is gone, or its files are not those that were imported."""
    folder = Path(ref.uri)
    if not folder.is_dir():
        raise SourceError("osgb.gone", source=ref.key, path=ref.uri)
    only = ref.options.get("files")
    try:
        now = _fingerprint(folder, names_below(folder) if only is None else only)
    except OSError as error:
        raise SourceError("osgb.gone", source=ref.key, path=ref.uri) from error
    if not ref.fingerprint.same_bytes(now):
        raise SourceError("osgb.changed", source=ref.key, path=ref.uri)
    low, high = (_corner(np.array(ref.options[name], float)) for name in ("low", "high"))
    return OsgbTree(
        folder, ref.key, ref.place, tuple(ref.options["roots"]), low, high, None if only is None else tuple(only)
    )


@dataclass(slots=True)
class _Survey:
    """What a block's roots say about it."""

    roots: tuple[str, ...]
    low: Corner
    high: Corner
    levels: int = 1
    finest: float = math.inf
    """Metres per pixel at the last switch along the followed branch."""


@dataclass(slots=True)
class _Bounds:
    low: F64 = field(default_factory=lambda: np.full(3, np.inf))
    high: F64 = field(default_factory=lambda: np.full(3, -np.inf))

    def add(self, extent: tuple[F64, F64] | None) -> None:
        if extent is not None:
            self.low, self.high = np.minimum(self.low, extent[0]), np.maximum(self.high, extent[1])

    def corners(self) -> tuple[Corner, Corner] | None:
        if not np.isfinite(self.low).all():
            return None
        return _corner(self.low), _corner(self.high)


def _blocks(path: Path) -> list[Block]:
    return [Block(path.parent, path.stem, (path.name,))] if path.is_file() else blocks_below(path)


def _files(path: Path, block: Block) -> list[str]:
    return linked_files(block.folder, block.roots) if path.is_file() else names_below(block.folder)


def _key(probe: Probe, path: Path, block: Block) -> str:
    """The source key of a block: a single file's own, otherwise the block's name below the probe's. Composed (NFC) everywhere alike."""
    if path.is_file():
        return probe.key or path.name
    name = unicodedata.normalize("NFC", block.name)
    return "/".join(part for part in (probe.key, name) if part) or unicodedata.normalize("NFC", path.name)


def _survey(block: Block, key: str) -> _Survey:
    """Look into a block's roots, and down one branch. Raises SourceError where no root can be read."""
    roots = block.roots or roots_by_links(block.folder)
    bounds = _Bounds()
    failure: SourceError | None = None
    levels, finest = 1, math.inf
    for index, root in enumerate(roots):
        try:
            data = (block.folder / root).read_bytes()
            bounds.add(extent_of(data, f"{key}/{root}"))
            if index == 0:
                levels, finest = _branch(block.folder, root, data, key)
        except SourceError as error:
            failure = failure or error
        except OSError as error:
            failure = failure or SourceError("osgb.unreadable", file=f"{key}/{root}", reason=error.strerror or "")
    corners = bounds.corners()
    if corners is None:
        raise failure or SourceError("osgb.no-geometry", path=key)
    return _Survey(roots, *corners, levels, finest if math.isfinite(finest) else 0.0)


def _branch(folder: Path, root: str, data: bytes, key: str) -> tuple[int, float]:
    """Levels down the first branch whose files are there, and metres per pixel at its last switch."""
    levels, finest, path, seen = 1, math.inf, root, {root}
    while True:
        try:
            links = links_of(data, folder, path, f"{key}/{path}")
        except CorruptSource:
            return levels, finest
        here = [(target, metres) for target, metres in links if (folder / target).is_file() and target not in seen]
        if not here:
            return levels, finest
        path, finest = here[0]
        seen.add(path)
        levels += 1
        data = (folder / path).read_bytes()


def _found_crs(path: Path) -> tuple[FoundCrs, list[Rejected]]:
    metadata = find_metadata(path if path.is_dir() else path.parent)
    if metadata is None:
        return FoundCrs(), []
    try:
        return read_metadata(metadata, metadata.name), []
    except CorruptSource as error:
        return FoundCrs(), [Rejected(metadata.name, error.code, error.fields)]


def _extent(blocks: list[Block], problems: list[Rejected]) -> tuple[Corner, Corner] | None:
    """The blocks' extent from their root files; broken roots become problems."""
    bounds = _Bounds()
    for block in blocks[:: math.ceil(len(blocks) / _SAMPLED_ROOTS) or 1]:
        names = block.roots or tuple(names_below(block.folder))
        for name in names[:: math.ceil(len(names) / _SAMPLED_ROOTS) or 1]:
            where = f"{block.name}/{name}" if block.name else name
            try:
                bounds.add(extent_of((block.folder / name).read_bytes(), where))
            except TimError as error:
                problems.append(Rejected(where, error.code, error.fields))
            except OSError as error:
                problems.append(Rejected(where, "osgb.unreadable", {"file": where, "reason": error.strerror or ""}))
    return bounds.corners()


def _fingerprint(folder: Path, files: Sequence[str]) -> Fingerprint:
    """Of a block: names and sizes of its OSGB files, their total and latest change."""
    digest = hashlib.blake2b(digest_size=16)
    size = latest = 0
    for name in files:
        stat = (folder / name).stat()
        digest.update(f"{name}\0{stat.st_size}\n".encode())
        size += stat.st_size
        latest = max(latest, stat.st_mtime_ns)
    return Fingerprint(size, latest, digest.hexdigest())


def _corner(values: F64) -> Corner:
    return float(values[0]), float(values[1]), float(values[2])
