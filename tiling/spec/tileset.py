"""Tileset pages (3D Tiles 1.1): a tree of tiles cut into pages of a bounded size, and the JSON of each page.

Pure functions: tiles and names in, bytes out. A page is the root of a dataset or an external tileset; where the tree goes on in
another page, a tile links there instead of to a content. The cut depends on the shape of the tree alone, so tiles that change their
content change their own page and those above it and no other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiling.builder import Box12, TileEntry
from tim.errors import TilingError

PAGE_TILES = 128
"""At most so many tiles in a page, links included; only a tile with more children than that exceeds it."""
_WORTH = 8
"""Where a page is full, all parts that would fill an eighth of one become pages: with those left in, a client would go through more pages to
a tile, and an edit would write more of them anew."""
PAGE_DEPTH = 32
"""At most so many levels in a page: JSON readers recurse."""

Key = str | None
"""Key of a page's first tile; ``None`` for the root page, whose root is the dataset itself."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Tiles by parent, siblings by key, and where pages begin."""

    children: Mapping[Key, Sequence[TileEntry]]
    entries: Mapping[str, TileEntry]
    cuts: frozenset[str]
    """Keys of the tiles at which a page of its own begins."""
    order: Sequence[str]
    """All keys, parents before children."""

    def pages(self) -> Iterator[Key]:
        """The pages, each after all pages it links to; the root page (``None``) last."""
        yield from (key for key in reversed(self.order) if key in self.cuts)
        yield None

    def inside(self, page: Key) -> Iterator[TileEntry]:
        """The tiles of a page, parents first, the tiles that are links to other pages among them."""
        stack = [self.entries[page]] if page is not None else [*reversed(self.children.get(None, ()))]
        while stack:
            tile = stack.pop()
            yield tile
            if tile.key == page or tile.key not in self.cuts:
                stack.extend(reversed(self.children.get(tile.key, ())))


@dataclass(frozen=True, slots=True)
class Root:
    """What the root page says besides tiles."""

    transform: Sequence[float]
    """Frame to ECEF, column-major."""
    box: Box12
    geometric_error: float
    """Of the root tile; the tileset's own is twice that."""
    refine: str
    attributes: Mapping[str, Any] | None = None
    asset_extras: Mapping[str, Any] | None = None
    up_axis: str = "Y"
    """``asset.gltfUpAxis``, written where it is not the standard's."""


def plant(tiles: Iterable[TileEntry], limit: int = PAGE_TILES) -> Tree:
    """Order the tiles and cut them into pages, bottom up: where a subtree outgrows a page, its heavy parts become pages.

    Raises TilingError for a key given twice, a parent that is not there, or a circle.
    """
    entries: dict[str, TileEntry] = {}
    for tile in tiles:
        if tile.key in entries:
            raise TilingError("archive.duplicate-tile", key=tile.key)
        entries[tile.key] = tile
    children: dict[Key, list[TileEntry]] = {}
    for key in sorted(entries):
        tile = entries[key]
        if tile.parent is not None and tile.parent not in entries:
            raise TilingError("archive.no-parent", key=key, parent=tile.parent)
        children.setdefault(tile.parent, []).append(tile)
    order: list[str] = []
    stack = [*reversed(children.get(None, ()))]
    while stack:
        tile = stack.pop()
        order.append(tile.key)
        stack.extend(reversed(children.get(tile.key, ())))
    if len(order) != len(entries):
        raise TilingError("archive.circle", key=min(entries.keys() - set(order)))
    return Tree(children, entries, _cut(children, order, limit), order)


def _cut(children: Mapping[Key, Sequence[TileEntry]], order: Sequence[str], limit: int) -> frozenset[str]:
    weight: dict[Key, int] = {}
    height: dict[Key, int] = {}
    cuts = set()
    for key in [*reversed(order), None]:
        below = [child.key for child in children.get(key, ())]
        total = 1 + sum(weight[child] for child in below)
        if total > limit or any(height[child] >= PAGE_DEPTH - 1 for child in below):
            for child in sorted(below, key=lambda k: (-weight[k], k)):
                if weight[child] > 1 and (
                    total > limit or weight[child] >= limit // _WORTH or height[child] >= PAGE_DEPTH - 1
                ):
                    cuts.add(child)
                    total -= weight[child] - 1
                    weight[child], height[child] = 1, 1
        weight[key] = total
        height[key] = 1 + max((height[child] for child in below), default=0)
    return frozenset(cuts)


def page(tree: Tree, key: str, content: Callable[[TileEntry], str], link: Callable[[str], str]) -> bytes:
    """An external tileset. content: the relative URI of a tile's content; link: that of another page, by its key."""
    first = tree.entries[key]
    tile = _tile(tree, first, None, key, content, link)
    return _encode({"asset": {"version": "1.1"}, "geometricError": _number(first.geometric_error), "root": tile})


def root_page(
    tree: Tree, root: Root, content: Callable[[TileEntry], str], link: Callable[[str], str], more: Sequence[Mapping[str, Any]] = ()
) -> bytes:  # fmt: skip
    """The root page of an explicit dataset: a root without content, in ECEF, around the tiles that have no parent, and ``more`` tiles as they are."""
    tile = _root_tile(root)
    below = [_tile(tree, child, root.refine, None, content, link) for child in tree.children.get(None, ())]
    if children := [*below, *more]:
        tile["children"] = children
    return _encode(_root_document(root, tile))


def implicit_root_page(root: Root, *, subtree_levels: int, available_levels: int, content: str, subtrees: str) -> bytes:
    """The root page of an implicit octree (3D Tiles 1.1 §8). content, subtrees: URIs with ``{level} {x} {y} {z}``."""
    tile = _root_tile(root)
    tile["content"] = {"uri": content}
    tile["implicitTiling"] = {
        "subdivisionScheme": "OCTREE", "subtreeLevels": subtree_levels, "availableLevels": available_levels,
        "subtrees": {"uri": subtrees},
    }  # fmt: skip
    return _encode(_root_document(root, tile))


def bounding_box(boxes: Iterable[Box12]) -> Box12:
    """The axis-aligned box around boxes; one of 1 m half-axes at the origin where there are none."""
    array = np.array(list(boxes), np.float64).reshape(-1, 12)
    if not len(array):
        return (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    reach = np.abs(array[:, 3:].reshape(-1, 3, 3)).sum(axis=1)
    low, high = (array[:, :3] - reach).min(axis=0), (array[:, :3] + reach).max(axis=0)
    x, y, z = ((low + high) / 2).tolist()
    # Halving and adding again may lose the last bit: reach for whatever is farther.
    a, b, c = (float(max(h - m, m - l)) for l, m, h in zip(low, (x, y, z), high, strict=True))  # noqa: E741
    return (x, y, z, a, 0.0, 0.0, 0.0, b, 0.0, 0.0, 0.0, c)


def diagonal(box: Box12) -> float:
    """Length of a box's diagonal in metres."""
    return float(2 * np.sqrt(np.square(np.array(box[3:])).sum()))


def _tile(
    tree: Tree,
    entry: TileEntry,
    refine: str | None,
    page_key: Key,
    content: Callable[[TileEntry], str],
    link: Callable[[str], str],
) -> dict[str, Any]:
    """One tile and what is below it in its page; ``refine`` is the parent's, inherited where equal."""
    tile: dict[str, Any] = {
        "boundingVolume": {"box": [float(v) + 0.0 for v in entry.box]}, "geometricError": _number(entry.geometric_error),
    }  # fmt: skip
    if entry.refine != refine:
        tile["refine"] = entry.refine
    if entry.key in tree.cuts and entry.key != page_key:
        tile["content"] = {"uri": link(entry.key)}
        return tile
    if entry.content is not None:
        tile["content"] = {"uri": content(entry)}
    if below := tree.children.get(entry.key):
        tile["children"] = [_tile(tree, child, entry.refine, page_key, content, link) for child in below]
    return tile


def _root_tile(root: Root) -> dict[str, Any]:
    return {
        "boundingVolume": {"box": [_number(v) for v in root.box]}, "geometricError": _number(root.geometric_error),
        "refine": root.refine, "transform": [_number(v) for v in root.transform],
    }  # fmt: skip


def _root_document(root: Root, tile: dict[str, Any]) -> dict[str, Any]:
    asset: dict[str, Any] = {"version": "1.1"}
    if root.asset_extras:
        asset["extras"] = root.asset_extras
    if root.up_axis != "Y":
        asset["gltfUpAxis"] = root.up_axis
    own = {"asset": asset, "geometricError": _number(2 * root.geometric_error), "root": tile}
    return {**own, **{k: v for k, v in sorted((root.attributes or {}).items()) if k not in own}}


def _number(value: float) -> float:
    return float(value) + 0.0  # no -0.0: it would be another byte for the same place


def _encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
