from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiling.samples import schema_errors
from tiling.spec import subtree

COORDINATES = st.integers(0, (1 << 21) - 1)


def interleave(x: int, y: int, z: int) -> int:
    """The oracle: bit by bit."""
    return sum((x >> b & 1) << 3 * b | (y >> b & 1) << 3 * b + 1 | (z >> b & 1) << 3 * b + 2 for b in range(21))


@given(st.lists(st.tuples(COORDINATES, COORDINATES, COORDINATES), min_size=1))
def test_morton_is_bitwise_interleaving_and_reversible(places):
    x, y, z = np.array(places).T
    codes = subtree.morton(x, y, z)
    assert codes.tolist() == [interleave(*p) for p in places]
    assert [tuple(p) for p in np.column_stack(subtree.unmorton(codes)).tolist()] == places


def read_back(files: dict, levels: int) -> tuple[set, set]:
    """Walk from the root subtree as a viewer does: tiles and contents by address, every subtree reached exactly once."""
    tiles, contents, stack, seen = set(), set(), [(0, 0, 0, 0)], set()
    while stack:
        top, rx, ry, rz = address = stack.pop()
        assert address not in seen
        seen.add(address)
        found = subtree.decode(files[address], levels)
        start = 0
        for depth in range(levels + 1):
            for i in range(8**depth):
                x, y, z = (sum((i >> 3 * b + a & 1) << b for b in range(depth)) for a in range(3))
                place = (top + depth, (rx << depth) + x, (ry << depth) + y, (rz << depth) + z)
                if depth == levels:
                    if found.children[i]:
                        stack.append(place)
                    continue
                if found.tiles[start + i]:
                    tiles.add(place)
                if found.contents[start + i]:
                    contents.add(place)
            start += 8**depth
    assert seen == set(files)
    return tiles, contents


@st.composite
def octrees(draw):
    deepest = draw(st.integers(0, 6))
    leaves = draw(
        st.lists(
            st.integers(0, deepest).flatmap(
                lambda level: st.tuples(st.just(level), *[st.integers(0, (1 << level) - 1)] * 3)
            ),
            min_size=1,
            max_size=12,
        )
    )
    return set(leaves), draw(st.sets(st.sampled_from(sorted(leaves))))


def by_level(addresses) -> dict:
    return {
        level: subtree.morton(*np.array([a[1:] for a in group]).T)
        for level, group in ((k, list(g)) for k, g in itertools.groupby(sorted(addresses), key=lambda a: a[0]))
    }


@settings(max_examples=60, deadline=None)
@given(octrees(), st.integers(1, 3))
def test_subtrees_walked_back_are_the_tiles_and_their_ancestors(octree, levels):
    leaves, shown = octree
    files = dict(subtree.subtrees(by_level(leaves), by_level(shown), levels))
    expected = {(l - up, x >> up, y >> up, z >> up) for l, x, y, z in leaves for up in range(l + 1)}  # noqa: E741
    assert read_back(files, levels) == (expected, shown)


def test_same_tiles_give_same_bytes_whatever_their_order():
    leaves = [(3, 1, 2, 3), (3, 7, 7, 7), (2, 0, 3, 1)]
    tiles, mirrored = by_level(leaves), {k: v[::-1] for k, v in by_level(leaves).items()}
    assert dict(subtree.subtrees(tiles, tiles, 2)) == dict(subtree.subtrees(mirrored, mirrored, 2))


def test_headers_follow_the_schema_and_alignment(schemas):
    tiles = by_level([(4, 1, 2, 3), (4, 15, 7, 0), (2, 3, 3, 3)])
    for _, data in subtree.subtrees(tiles, tiles, 2):
        document, binary = subtree.document(data)
        assert schema_errors(schemas, "Subtree/subtree.schema.json", document) == []
        assert len(data) % 8 == 0
        for view in document.get("bufferViews", ()):
            assert view["byteOffset"] % 8 == 0
            assert view["byteOffset"] + view["byteLength"] <= len(binary)


def test_constant_availability_is_not_spelt_out():
    everything = {0: np.array([0], np.uint64), 1: np.arange(8, dtype=np.uint64)}
    ((_, data),) = subtree.subtrees(everything, everything, 2)
    document, binary = subtree.document(data)
    assert document["tileAvailability"] == {"constant": 1}
    assert document["childSubtreeAvailability"] == {"constant": 0}
    assert binary == b""


SOUND = dict(subtree.subtrees(by_level([(2, 1, 2, 3)]), by_level([(2, 1, 2, 3)]), 3))[0, 0, 0, 0]


@settings(max_examples=200)
@given(st.binary(max_size=200) | st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)))
def test_broken_bytes_raise_value_error_or_read(noise):
    data = noise if isinstance(noise, bytes) else SOUND[: noise[0]] + bytes([noise[1]]) + SOUND[noise[0] + 1 :]
    try:
        found = subtree.decode(data, 3)
    except ValueError:
        return
    assert [len(bits) for bits in (found.tiles, found.contents, found.children)] == [73, 73, 512]


@pytest.mark.parametrize("cut", [10, 24, 40, len(SOUND) - 1])
def test_truncation_is_refused(cut):
    with pytest.raises(ValueError, match="bytes"):
        subtree.decode(SOUND[:cut], 3)
