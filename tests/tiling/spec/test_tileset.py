from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiling.samples import FRAME, box, schema_errors
from tiling.builder import ContentRef, TileEntry
from tiling.spec import tileset
from tim.errors import TilingError

ROOT = tileset.Root(FRAME.transform, box((0.0, 0.0, 0.0), 100.0), 50.0, "REPLACE")


def entry(key: str, parent: str | None, content: bool = True, refine: str = "REPLACE") -> TileEntry:
    number = float(sum(key.encode()))
    ref = ContentRef(key.encode().hex().ljust(64, "0")[:64], 1, 1) if content else None
    return TileEntry(key, parent, box((number, -0.0, 1.5), 2.0), number / 7, refine, ref)  # type: ignore[arg-type]


@st.composite
def trees(draw):
    count = draw(st.integers(0, 60))
    names = draw(st.lists(st.text("ab/#区", min_size=1, max_size=6), min_size=count, max_size=count, unique=True))
    deep = draw(st.booleans())
    tiles = []
    for i, name in enumerate(names):
        above = draw(st.integers(max(-1, i - 2) if deep else -1, i - 1))
        tiles.append(
            entry(
                name,
                names[above] if above >= 0 else None,
                draw(st.booleans()),
                draw(st.sampled_from(["ADD", "REPLACE"])),
            )
        )
    return draw(st.permutations(tiles))


def write(tree: tileset.Tree) -> dict:
    pages = {}
    for key in tree.pages():
        if key is None:
            pages[None] = json.loads(tileset.root_page(tree, ROOT, lambda t: f"c/{t.key}", lambda k: f"p/{k}"))
        else:
            pages[key] = json.loads(tileset.page(tree, key, lambda t: f"c/{t.key}", lambda k: f"p/{k}"))
    return pages


def walk(pages: dict) -> dict:
    """Read the pages back as a viewer would: (box, error, refine, has content, parent) of every tile, found by its place in the tree."""
    found = {}

    def visit(tile, parent, refine):
        uri = tile.get("content", {}).get("uri", "")
        refine = tile.get("refine", refine)
        if uri.startswith("p/"):
            linked = pages[uri[2:]]["root"]
            assert "children" not in tile
            assert linked["boundingVolume"] == tile["boundingVolume"]
            assert linked["geometricError"] == tile["geometricError"]
            assert linked["refine"] == refine
            return visit(linked, parent, None)
        identity = (tuple(tile["boundingVolume"]["box"]), tile["geometricError"], refine, uri[2:] or None)
        below = [visit(child, identity, refine) for child in tile.get("children", ())]
        found.setdefault(identity, []).append((parent, sorted(map(repr, below))))
        return identity

    root = pages[None]["root"]
    for child in root.get("children", ()):
        visit(child, None, root["refine"])
    return found


@settings(max_examples=150, deadline=None)
@given(trees(), st.integers(2, 12))
def test_pages_walked_back_are_the_tree(tiles, limit):
    pages = write(tileset.plant(tiles, limit))
    by_key = {t.key: t for t in tiles}

    def identity(t):
        return (tuple(v + 0.0 for v in t.box), t.geometric_error, t.refine, t.key if t.content else None)

    expected: dict = {}
    for t in tiles:
        below = sorted(repr(identity(c)) for c in tiles if c.parent == t.key)
        expected.setdefault(identity(t), []).append(
            (identity(by_key[t.parent]) if t.parent is not None else None, below)
        )
    found = walk(pages)
    assert {k: sorted(map(repr, v)) for k, v in found.items()} == {k: sorted(map(repr, v)) for k, v in expected.items()}


@settings(max_examples=50, deadline=None)
@given(trees(), st.randoms())
def test_order_of_input_does_not_matter(tiles, random):
    shuffled = list(tiles)
    random.shuffle(shuffled)
    assert write(tileset.plant(tiles, 5)) == write(tileset.plant(shuffled, 5))


def quadtree(count: int) -> list[TileEntry]:
    return [entry(f"q{i:06}", f"q{(i - 1) // 4:06}" if i else None) for i in range(count)]


def test_pages_keep_their_size_and_there_are_few():
    tree = tileset.plant(quadtree(20_000))
    sizes = [sum(1 for _ in tree.inside(key)) for key in tree.pages()]
    assert max(sizes) <= tileset.PAGE_TILES
    assert len(sizes) <= 4 * 20_000 / tileset.PAGE_TILES


def test_few_pages_lead_to_a_tile():
    """Every page costs a client a round trip and an edit a page to write."""

    def below(key: str, depth: int) -> list[TileEntry]:
        return [
            one
            for n in range(4)
            for one in (entry(f"{key}{n}", key), *(below(f"{key}{n}", depth - 1) if depth > 1 else []))
        ]

    tree = tileset.plant([entry("r", None), *below("r", 6)])
    sizes = {page: sum(1 for _ in tree.inside(page)) for page in tree.pages()}
    leaf = "r" + "2" * 6
    way = [None, *(leaf[:n] for n in range(1, len(leaf) + 1) if leaf[:n] in tree.cuts)]
    assert len(way) <= 3
    assert sum(sizes[page] for page in way) < 2 * tileset.PAGE_TILES


def test_a_long_chain_is_cut_before_json_readers_give_up():
    tiles = [entry(f"k{i:05}", f"k{i - 1:05}" if i else None) for i in range(3000)]
    pages = write(tileset.plant(tiles))

    def depth(tile):
        return 1 + max(map(depth, tile.get("children", ())), default=0)

    assert max(depth(page["root"]) for page in pages.values()) <= tileset.PAGE_DEPTH + 2


def test_a_changed_tile_changes_only_the_pages_above_it():
    tiles = quadtree(5000)
    changed = [
        dataclasses.replace(t, content=dataclasses.replace(t.content, hash="f" * 64)) if t.key == "q004999" else t
        for t in tiles
    ]
    before, after = tileset.plant(tiles), tileset.plant(changed)
    assert before.cuts == after.cuts

    def texts(tree):
        content, link = (lambda t: t.content.hash), (lambda k: "p")
        pages = {k: tileset.page(tree, k, content, link) for k in tree.pages() if k is not None}
        return pages | {None: tileset.root_page(tree, ROOT, content, link)}

    one, two = texts(before), texts(after)
    assert sum(one[k] != two[k] for k in one) == 1


def test_pages_follow_the_schema(schemas):
    info = {
        "schema": {
            "id": "s",
            "classes": {"tile": {"properties": {"year": {"type": "SCALAR", "componentType": "UINT16"}}}},
        }
    }
    root = dataclasses.replace(ROOT, attributes=info, asset_extras={"producer": "x"})
    tree = tileset.plant(quadtree(1500))
    assert tree.cuts
    texts = [tileset.page(tree, k, lambda t: f"c/{t.key}", lambda k: f"p/{k}") for k in tree.pages() if k is not None]
    texts.append(tileset.root_page(tree, root, lambda t: f"c/{t.key}", lambda k: f"p/{k}"))
    texts.append(tileset.root_page(tileset.plant([]), root, lambda t: "", lambda k: ""))
    texts.append(
        tileset.implicit_root_page(
            root, subtree_levels=5, available_levels=7, content="t/{level}", subtrees="s/{level}"
        )
    )
    for text in texts:
        document = json.loads(text)
        assert schema_errors(schemas, "tileset.schema.json", document) == []
        del document["root"]["boundingVolume"]
        assert schema_errors(schemas, "tileset.schema.json", document) != []


def test_no_negative_zero_and_no_nan():
    tree = tileset.plant([entry("a", None)])
    assert b"-0.0" not in tileset.root_page(
        tree, dataclasses.replace(ROOT, transform=[0.0]), lambda t: "c", lambda k: "p"
    )
    bad = dataclasses.replace(entry("a", None), geometric_error=float("nan"))
    with pytest.raises(ValueError, match="JSON"):
        tileset.root_page(tileset.plant([bad]), ROOT, lambda t: "c", lambda k: "p")


@pytest.mark.parametrize(
    ("tiles", "code"),
    [
        ([entry("a", None), entry("a", None)], "archive.duplicate-tile"),
        ([entry("a", "b")], "archive.no-parent"),
        ([entry("a", "b"), entry("b", "a"), entry("c", None)], "archive.circle"),
    ],
)
def test_trees_that_are_none_are_refused(tiles, code):
    with pytest.raises(TilingError) as caught:
        tileset.plant(tiles)
    assert caught.value.code == code


def test_bounding_box_contains_turned_boxes():
    turned = (0.0, 0.0, 0.0, 3.0, 3.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, 2.0)
    assert tileset.bounding_box([turned, box((10.0, 0.0, 0.0), 1.0)]) == (
        3.5,
        0.0,
        0.0,
        7.5,
        0,
        0,
        0,
        4.0,
        0,
        0,
        0,
        2.0,
    )
