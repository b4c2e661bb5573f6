"""A tileset of 3D Tiles 1.0 written again as 1.1, file by file: contents as glTF, pages with the names and forms of today.

What cannot be converted and is readable still (implicit tiling by extension, Draco point clouds) is copied; what is broken is left out, named,
and the rest goes on. Files nobody refers to from a page (textures, subtrees) are copied as they are.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from importers.tiles3d.content import contents, kind_of
from importers.tiles3d.files import Files, open_files
from importers.tiles3d.tree import ROOT, content_objects, read_page, target
from tiling.archive.export import write
from tiling.foreign.convert import convertible, to_glb
from tim.errors import SourceError, TimError

_CONVERTED = ("b3dm", "i3dm", "pnts", "cmpt")


@dataclass(slots=True)
class UpgradeReport:
    """What was written."""

    files: int = 0
    bytes: int = 0
    contents: dict[str, int] = field(default_factory=dict)
    """Contents converted, by kind."""
    problems: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    """Message codes and fields of what was left out or kept as it was."""

    def record(self) -> dict[str, Any]:
        """JSON-able record."""
        return {
            "files": self.files, "bytes": self.bytes, "contents": dict(sorted(self.contents.items())),
            "problems": [TimError(code, **fields).record() for code, fields in self.problems],
        }  # fmt: skip


def upgrade(source: Path, out: Path, *, overwrite: bool = False) -> UpgradeReport:
    """Write the tileset at ``source`` (a folder or ``.3tz``) as 3D Tiles 1.1 to ``out`` (a folder or ``.3tz``).

    Raises SourceError where there is no tileset, UsageError where something is at ``out`` and ``overwrite`` is not given.
    """
    files = open_files(Path(source))
    run = _Run(files, str(read_page(files, ROOT)["asset"].get("gltfUpAxis", "Y")).upper())
    run.report.files, run.report.bytes = write(Path(out), run.files_out(), overwrite=overwrite)
    return run.report


@dataclass(slots=True)
class _Run:
    files: Files
    axis: str
    report: UpgradeReport = field(default_factory=UpgradeReport)
    written: dict[str, list[str] | None] = field(default_factory=dict)
    """Contents seen, with the paths they became; ``None``: left out."""
    taken: set[str] = field(default_factory=set)

    def files_out(self) -> Iterator[tuple[str, bytes]]:
        """Contents, external tilesets, whatever else there is, and the root page last."""
        self.taken = set(self.files.paths())
        waiting, pages = [ROOT], {ROOT}
        root = b""
        while waiting:
            path = waiting.pop()
            try:
                page = read_page(self.files, path)
            except SourceError as error:
                if path == ROOT:
                    raise
                self.report.problems.append((error.code, error.fields))
                continue
            for tile in _tiles(page):
                for linked in self._tile(tile, path):
                    if isinstance(linked, tuple):
                        yield linked
                    elif linked not in pages:
                        pages.add(linked)
                        waiting.append(linked)
            data = json.dumps(_page(page), separators=(",", ":"), ensure_ascii=False).encode()
            if path == ROOT:
                root = data
            else:
                yield path, data
        for path in self.files.paths():
            if path not in pages and path not in self.written and (other := self._read(path)) is not None:
                yield path, other
        yield ROOT, root

    def _tile(self, tile: dict[str, Any], page: str) -> Iterator[tuple[str, bytes] | str]:
        """Convert a tile in place; yields the files it needs, and the paths of pages it links to."""
        if isinstance(tile.get("refine"), str):
            tile["refine"] = tile["refine"].upper()
        extensions: dict[str, Any] = tile["extensions"] if isinstance(tile.get("extensions"), dict) else {}
        if "3DTILES_implicit_tiling" in extensions or "implicitTiling" in tile:
            self.report.problems.append(("tiles3d.not-upgraded", {"path": page, "what": "implicit tiling"}))
            return
        kept: list[dict[str, Any]] = []
        for content in content_objects(tile):
            plain = {("uri" if name == "url" else name): value for name, value in content.items()}
            path = target(page, plain["uri"]) if isinstance(plain.get("uri"), str) else None
            if path is None:
                kept.append(plain)
                continue
            if path not in self.written:
                data = self._read(path)
                if data is None:
                    self.written[path] = None
                elif (kind := kind_of(data[:64], path)) == "json":
                    yield path
                    kept.append(plain)
                    continue
                else:
                    yield from self._content(path, data, kind)
            kept += [{**plain, "uri": _relative(page, name)} for name in self.written[path] or ()]
        for name in ("content", "contents"):
            tile.pop(name, None)
        extensions.pop("3DTILES_multiple_contents", None)
        if not extensions:
            tile.pop("extensions", None)
        if len(kept) == 1:
            tile["content"] = kept[0]
        elif kept:
            tile["contents"] = kept

    def _content(self, path: str, data: bytes, kind: str) -> Iterator[tuple[str, bytes]]:
        """The files a content becomes, which are noted in ``written``."""
        made: list[str] = []
        try:
            parts = list(contents(data, path)) if kind in _CONVERTED or (kind == "glb" and self.axis != "Y") else []
            if not parts or not all(convertible(part) for part in parts):
                if parts:
                    self.report.problems.append(("tiles3d.not-upgraded", {"path": path, "what": "Draco"}))
                self.written[path] = [path]
                yield path, data
                return
            for number, part in enumerate(parts):
                glb = to_glb(part, path, self.axis, lambda uri: self._model(path, uri))
                name = self._name(path, number if len(parts) > 1 else None, kind)
                self.report.contents[part.kind] = self.report.contents.get(part.kind, 0) + 1
                made.append(name)
                yield name, glb
        except SourceError as error:
            self.report.problems.append((error.code, error.fields))
        self.written[path] = made or None

    def _name(self, path: str, number: int | None, kind: str) -> str:
        """A free name for a converted content."""
        if kind == "glb":
            return path
        stem = posixpath.splitext(path)[0] + ("" if number is None else f"-{number}")
        name = f"{stem}.glb" if f"{stem}.glb" not in self.taken else f"{stem}-{kind}.glb"
        self.taken.add(name)
        return name

    def _model(self, path: str, uri: str) -> bytes:
        """The glb an i3dm refers to. Raises SourceError where it is not there."""
        name = target(path, uri)
        stored = None if name is None else self.files.find(name)
        if stored is None:
            raise SourceError("tiles3d.missing", path=uri[:200])
        return stored.plain()

    def _read(self, path: str) -> bytes | None:
        """A file's plain bytes; what is missing or broken is noted."""
        try:
            stored = self.files.find(path)
            if stored is None:
                raise SourceError("tiles3d.missing", path=path)
            return stored.plain()
        except SourceError as error:
            self.report.problems.append((error.code, error.fields))
            return None


def _page(page: dict[str, Any]) -> dict[str, Any]:
    """The page's own members as 1.1 has them; what is in its tiles is done."""
    asset = {name: value for name, value in page["asset"].items() if name != "gltfUpAxis"}
    page["asset"] = {**asset, "version": "1.1"}
    for name in ("extensionsUsed", "extensionsRequired"):
        if isinstance(page.get(name), list):
            page[name] = [e for e in page[name] if e not in ("3DTILES_multiple_contents", "3DTILES_content_gltf")]
            if not page[name]:
                del page[name]
    return page


def _tiles(page: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    stack = [page["root"]]
    while stack:
        tile = stack.pop()
        if isinstance(tile, dict):
            yield tile
            children = tile.get("children")
            stack += reversed(children if isinstance(children, list) else [])


def _relative(page: str, path: str) -> str:
    return quote(posixpath.relpath(path, posixpath.dirname(page) or "."))
