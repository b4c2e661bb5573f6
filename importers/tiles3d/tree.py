"""Walking a tileset: its pages (``tileset.json`` and external tilesets), its tiles with their transforms, the files they refer to."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import numpy as np

from importers.tiles3d.files import LARGEST, Files
from tim.errors import CorruptSource, SourceError
from tim.geometry import F64

ROOT = "tileset.json"
_IMPLICIT = "3DTILES_implicit_tiling"
_MULTIPLE = "3DTILES_multiple_contents"
IDENTITY: F64 = np.eye(4)


class Link(NamedTuple):
    """What a tile refers to."""

    uri: str
    """As written."""
    path: str | None
    """Relative to the tileset's folder; ``None`` where it leads out of it."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile of a page."""

    page: str
    json: Mapping[str, Any]
    transform: F64
    """float64[4, 4]: tile to the tileset's root."""
    links: tuple[Link, ...]
    implicit: bool
    """``links`` are templates, and so is what they name."""


def read_page(files: Files, path: str) -> dict[str, Any]:
    """A page of the tileset. Raises SourceError where it is missing, CorruptSource where it is no tileset."""
    stored = files.find(path)
    if stored is None:
        raise SourceError("tiles3d.missing", path=path)
    if stored.size > LARGEST:
        raise CorruptSource("tiles3d.too-large", path=path, largest=LARGEST)
    try:
        page = json.loads(stored.plain().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise CorruptSource("tiles3d.json-broken", path=path, reason=str(error)[:200]) from error
    if not isinstance(page, dict) or not isinstance(page.get("asset"), dict) or not isinstance(page.get("root"), dict):
        raise CorruptSource("tiles3d.not-tileset", path=path)
    return page


def tiles_of(page: Mapping[str, Any], path: str, transform: F64 = IDENTITY) -> Iterator[Tile]:
    """The tiles of one page, parents first. Raises CorruptSource for a tile that is none, or a transform that is no matrix."""
    stack: list[tuple[Any, F64]] = [(page["root"], transform)]
    while stack:
        tile, above = stack.pop()
        if not isinstance(tile, dict):
            raise CorruptSource("tiles3d.not-tileset", path=path)
        own = above @ matrix(tile["transform"], path) if "transform" in tile else above
        implicit = "implicitTiling" in tile or _IMPLICIT in _extensions(tile)
        yield Tile(path, tile, own, tuple(links_of(tile, path)), implicit)
        children = tile.get("children", [])
        stack.extend((child, own) for child in reversed(children if isinstance(children, list) else []))


def links_of(tile: Mapping[str, Any], page: str) -> Iterator[Link]:
    """The contents of a tile, in any of the ways the versions have."""
    for content in content_objects(tile):
        uri = content.get("uri", content.get("url"))
        if isinstance(uri, str):
            yield Link(uri, target(page, uri))


def content_objects(tile: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The ``content`` objects of a tile."""
    found = [tile.get("content")]
    multiple = _extensions(tile).get(_MULTIPLE)
    for listed in (
        tile.get("contents"),
        *((multiple.get("content"), multiple.get("contents")) if isinstance(multiple, dict) else ()),
    ):
        found += listed if isinstance(listed, list) else []
    return [content for content in found if isinstance(content, dict)]


def target(page: str, uri: str) -> str | None:
    """The path a URI on a page leads to; ``None`` where it leaves the tileset."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    if parts.scheme or parts.netloc or parts.path.startswith("/"):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(parts.path).replace("\\", "/")))
    return None if path in (".", "..") or path.startswith(("../", "/")) else path


def matrix(values: Any, path: str) -> F64:
    """A column-major ``transform`` as float64[4, 4]. Raises CorruptSource."""
    try:
        array = np.array(values, np.float64).reshape(4, 4).T
    except (TypeError, ValueError) as error:
        raise CorruptSource("tiles3d.bad-number", path=path, what="transform") from error
    if not np.isfinite(array).all():
        raise CorruptSource("tiles3d.bad-number", path=path, what="transform")
    return array


def column_major(transform: F64) -> list[float]:
    """float64[4, 4] as a ``transform``."""
    return [float(v) + 0.0 for v in transform.T.ravel()]


def _extensions(tile: Mapping[str, Any]) -> Mapping[str, Any]:
    found = tile.get("extensions")
    return found if isinstance(found, dict) else {}
