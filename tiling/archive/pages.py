"""The pages of a snapshot: which there are, and their bytes; what did not change is recognised without being written."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from tiling.archive.types import Link, TilesetInfo
from tiling.builder import TileEntry
from tiling.spec import subtree, tileset
from tim.errors import TilingError

LIVE, FROZEN = "tileset.json", "@/tileset.json"
"""Names of the two root pages in the index."""

Put = Callable[[bytes], str]
"""Stores a page and gives its hash."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a snapshot."""

    name: str
    hash: str
    digest: bytes | None = None
    """Of what it was made from: an external tileset with a known digest is not made again."""
    key: str | None = None
    """Of the tile an external tileset begins with."""


def row_digest(tile: TileEntry) -> bytes:
    """16 bytes that stand for a tile's row: key, parent, box, error, refine and content hash."""
    content = tile.content.hash if tile.content is not None else ""
    head = f"{tile.key}\0{tile.parent if tile.parent is not None else ''}\0{tile.parent is None}\0{tile.refine}\0{content}\0"
    return blake2b(head.encode() + struct.pack("<13d", *tile.box, tile.geometric_error), digest_size=16).digest()


def octree_address(key: str) -> subtree.Address:
    """Level, x, y, z of ``oct/{level}/{x}/{y}/{z}``. Raises TilingError for any other key."""
    try:
        kind, level, x, y, z = key.split("/")
        address = int(level), int(x), int(y), int(z)
    except ValueError:
        raise TilingError("archive.not-octree-key", key=key) from None
    size = 1 << address[0] if 0 <= address[0] <= subtree.MAX_LEVEL else 0
    if kind != "oct" or key != "oct/{}/{}/{}/{}".format(*address) or not all(0 <= v < size for v in address[1:]):
        raise TilingError("archive.not-octree-key", key=key)
    return address


def page_digests(tree: tileset.Tree, digests: Mapping[str, bytes]) -> dict[tileset.Key, bytes]:
    """A digest of each page, by the key it begins with: of all rows in it and in the pages below it; that of ``None`` covers the dataset.

    digests: of the rows, by key.
    """
    made: dict[tileset.Key, bytes] = {}
    for key in tree.pages():
        made[key] = page_digest(tree, key, digests, made)
    return made


def page_digest(
    tree: tileset.Tree, key: tileset.Key, digests: Mapping[str, bytes], below: Mapping[tileset.Key, bytes]
) -> bytes:
    """The digest of one page. below: those of the pages it links to."""
    digest = blake2b(digest_size=32)
    for tile in tree.inside(key):
        digest.update(digests[tile.key])
        if tile.key != key and tile.key in tree.cuts:
            digest.update(below[tile.key])
    return digest.digest()


def explicit_pages(
    tree: tileset.Tree, digests: Mapping[tileset.Key, bytes], info: TilesetInfo, known: Mapping[bytes, str], put: Put
) -> Iterator[Page]:
    """Pages of an explicit dataset. digests: of the pages; known: page hashes by digest, of pages that are stored already."""
    names: dict[str, str] = {}
    for key in tree.pages():
        if key is not None:
            names[key] = known.get(digests[key]) or put(external_page(tree, key, names))
            yield Page(f"p/{names[key]}.json", names[key], digests[key], key)
    root = root_of(info, tree.entries.values(), tree.children.get(None, ()))
    yield from root_pages(tree, root, info, names, put)


def external_page(tree: tileset.Tree, key: str, names: Mapping[str, str]) -> bytes:
    """The page that begins with a tile. names: hashes of the pages it links to, by key."""
    return tileset.page(tree, key, _content("../c/"), lambda link: f"{names[link]}.json")


def root_pages(
    tree: tileset.Tree, root: tileset.Root, info: TilesetInfo, names: Mapping[str, str], put: Put
) -> Iterator[Page]:
    """The root page, live and frozen."""
    for name, up in ((LIVE, ""), (FROZEN, "../")):
        links = [link_tile(link, f"{up}{link.uri}", info) for link in info.links]
        page_link = lambda link, up=up: f"{up}p/{names[link]}.json"  # noqa: E731
        text = tileset.root_page(tree, root, _content(f"{up}c/"), page_link, links)
        yield Page(name, put(text))


def implicit_pages(tiles: Iterable[TileEntry], info: TilesetInfo, seq: int, put: Put) -> Iterator[Page]:
    """Pages of an implicit octree."""
    entries = list(tiles)
    there, shown, deepest = octree_codes(entries)
    for (level, x, y, z), data in subtree.subtrees(there, shown, info.subtree_levels):
        yield Page(f"s/{level}/{x}/{y}/{z}.subtree", put(data))
    root = root_of(info, entries, ())
    for name, at in ((LIVE, f"@{seq}/"), (FROZEN, "")):
        yield Page(name, put(implicit_root(root, info, deepest, at)))


def implicit_root(root: tileset.Root, info: TilesetInfo, deepest: int, at: str) -> bytes:
    """The implicit root page whose links begin with ``at``."""
    return tileset.implicit_root_page(
        root, subtree_levels=info.subtree_levels, available_levels=deepest + 1,
        content=at + "t/{level}/{x}/{y}/{z}.glb", subtrees=at + "s/{level}/{x}/{y}/{z}.subtree",
    )  # fmt: skip


def octree_codes(entries: Sequence[TileEntry]) -> tuple[dict[int, subtree.Codes], dict[int, subtree.Codes], int]:
    """Morton codes by level of all tiles and of those with content, and the deepest level. Raises TilingError where there are none."""
    if not entries:
        raise TilingError("archive.empty-octree")
    table = np.array([(*octree_address(tile.key), tile.content is not None) for tile in entries], np.int64)
    codes, levels, full = subtree.morton(table[:, 1], table[:, 2], table[:, 3]), table[:, 0], table[:, 4] == 1
    there = {level: codes[levels == level] for level in np.unique(levels).tolist()}
    shown = {level: codes[(levels == level) & full] for level in there}
    return there, shown, max(there)


def root_of(info: TilesetInfo, tiles: Iterable[TileEntry], top: Sequence[TileEntry]) -> tileset.Root:
    """The root tile of a dataset. Raises TilingError where an implicit one has no root volume."""
    box, error = info.root_box, info.root_error
    if info.scheme == "explicit":
        box = box or tileset.bounding_box(tile.box for tile in top)
        error = error if error is not None else max([tileset.diagonal(box), *(tile.geometric_error for tile in top)])
    elif box is None:
        raise TilingError("archive.no-root-box")
    elif error is None:
        error = max((t.geometric_error for t in tiles if t.key == "oct/0/0/0/0"), default=tileset.diagonal(box) / 16)
    return tileset.Root(info.frame.transform, box, error, info.refine, info.attributes, info.asset_extras, info.up_axis)


def link_tile(link: Link, uri: str, info: TilesetInfo) -> dict[str, Any]:
    """The tile of the root page that shows a tileset from elsewhere; ``uri`` is relative to the page."""
    frame, own = (np.array(values).reshape(4, 4).T for values in (info.frame.transform, link.transform))
    transform = np.linalg.inv(frame) @ own
    return {
        "boundingVolume": dict(link.volume), "geometricError": float(link.geometric_error), "content": {"uri": uri},
        "transform": [float(v) + 0.0 for v in transform.T.ravel()],
    }  # fmt: skip


def _content(prefix: str) -> Callable[[TileEntry], str]:
    return lambda tile: f"{prefix}{tile.content.hash}.glb" if tile.content is not None else ""
