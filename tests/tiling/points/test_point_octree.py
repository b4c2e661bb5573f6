"""Keys and levels against brute force on small clouds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiling.points import morton, octree
from tiling.points.octree import Cell, Octree


def clouds(depth: int) -> st.SearchStrategy[np.ndarray]:
    """uint32[n, 3]: clustered cell coordinates with repeats."""
    side = 2**depth - 1

    def cloud(seed: int) -> np.ndarray:
        random = np.random.default_rng(seed)
        centres = random.integers(0, side, (random.integers(1, 6), 3), endpoint=True)
        spread = random.choice([0, 2, 30, side])
        points = centres[random.integers(0, len(centres), random.integers(1, 400))]
        return np.clip(points + random.integers(-spread, spread, points.shape, endpoint=True), 0, side).astype(
            np.uint32
        )

    return st.integers(0, 2**32).map(cloud)


def keys_of(cells: np.ndarray, depth: int) -> np.ndarray:
    return morton.keys(list(cells.T), depth)


@given(st.integers(1, 21).flatmap(lambda depth: st.tuples(st.just(depth), clouds(depth))))
@settings(max_examples=80, deadline=None)
def test_key_prefixes_are_cells(case):
    depth, cells = case
    keys = keys_of(cells, depth)
    assert int(keys.max()) < 8**depth
    for level in {0, 1, depth // 2, depth}:
        for cell, key in zip(cells[:20].tolist(), keys[:20].tolist(), strict=True):
            assert morton.cell(key >> 3 * (depth - level), level, depth) == tuple(v >> (depth - level) for v in cell)


@given(clouds(9))
@settings(max_examples=60, deadline=None)
def test_a_point_is_first_of_its_cell_from_its_depth_on(cells):
    keys = np.sort(keys_of(cells, 9))
    firsts = morton.differing(keys, 9)
    for depth in range(1, 10):
        prefixes = keys >> np.uint64(3 * (9 - depth))
        brute = np.append(True, prefixes[1:] != prefixes[:-1])
        np.testing.assert_array_equal(firsts <= depth, brute)


@pytest.mark.parametrize("bit", range(62))
def test_differing_survives_rounding_to_float(bit):
    high = np.uint64(2**63 - 1) >> np.uint64(62 - bit)  # all ones up to the bit: rounds up as a float
    (found,) = morton.differing(np.array([0, high], np.uint64), 21)[1:]
    assert found == 21 - bit // 3


@given(st.lists(st.integers(0, 6), min_size=1, max_size=300))
def test_order_is_stable(values):
    keys = np.array(values, np.uint64)
    np.testing.assert_array_equal(morton.order(keys), np.argsort(keys, kind="stable"))


@given(clouds(12), st.integers(3, 40))
@settings(max_examples=80, deadline=None)
def test_every_point_is_in_one_node_inside_its_cell(cells, most):
    depth = 12
    keys = np.sort(keys_of(cells, depth))
    rules = Octree(depth, most)
    shown, below = rules.split(keys, Cell(0, 0), {})
    nodes = [octree.Node(Cell(0, 0), shown), *below]
    assert sorted(np.concatenate([node.rows for node in nodes]).tolist()) == list(range(len(keys)))
    seen = set()
    for node in nodes:
        low, high = node.cell.keys(depth)
        assert ((keys[node.rows] >= low) & (keys[node.rows] < high)).all()
        assert (np.diff(node.rows) > 0).all()
        assert node.cell not in seen
        assert node.cell.level == 0 or node.cell.parent() in seen
        seen.add(node.cell)


@given(st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_no_tile_holds_more_than_most_even_where_space_is_full(seed):
    random = np.random.default_rng(seed)
    most = octree.SMALLEST_MOST
    size = 2 ** random.integers(4, 10)
    cells = random.integers(0, size, (100_000, 3)).astype(np.uint32)
    keys = np.unique(keys_of(cells, 12))
    shown, below = Octree(12, most).split(keys, Cell(0, 0), {})
    counts = [len(shown), *(len(node.rows) for node in below)]
    assert max(counts) <= most
    assert sum(counts) == len(keys)


def test_what_is_not_shown_is_near_what_is():
    """The declared error is never below the distance from a point to the nearest one shown at its level or above."""
    random = np.random.default_rng(5)
    depth, most = 14, octree.SMALLEST_MOST
    plane = random.integers(0, 2**depth, (150_000, 2))
    cells = np.column_stack([plane, (plane[:, 0] // 3 + 500)]).astype(np.uint32)
    keys = keys_of(cells, depth)
    order = np.argsort(keys)
    keys, cells = keys[order], cells[order].astype(np.int64)
    shown, below = Octree(depth, most).split(keys, Cell(0, 0), {})
    deep = [node for node in below if node.cell.level > 0]
    assert deep
    hidden = np.concatenate([node.rows for node in deep])[::400]
    error = octree.ERROR_CELLS * 2 ** (depth - octree.GRID)
    for row in hidden.tolist():
        assert np.sqrt(((cells[shown] - cells[row]) ** 2).sum(axis=1).min()) <= error


@given(clouds(10), st.integers(1, 60), st.integers(5, 30))
@settings(max_examples=60, deadline=None)
def test_in_pieces_gives_the_same_tree_as_at_once(cells, piece, most):
    """Splitting by cells and joining their candidates loses nothing, keeps every node in bounds, and connects the tree."""
    depth = 10
    keys = np.sort(keys_of(cells, depth))
    prefixes, counts = np.unique(keys >> np.uint64(3 * (depth - 5)), return_counts=True)
    rules = Octree(depth, most)
    nodes: dict[Cell, np.ndarray] = {}
    candidates: list[np.ndarray] = []
    fixed: dict[Cell, bool] = {}
    for cell, count in octree.units(prefixes, counts, 5, piece):
        low, high = np.searchsorted(keys, np.array(cell.keys(depth), np.uint64)).tolist()
        assert high - low == count
        shown, below = rules.split(keys[low:high], cell, {})
        grown = [octree.Node(node.cell, low + node.rows) for node in below]
        nodes |= {node.cell: node.rows for node in grown}
        fixed[cell] = bool(grown)
        candidates.append(low + shown)
    rows = np.concatenate(candidates)
    shown, below = rules.split(keys[rows], Cell(0, 0), fixed)
    for node in [octree.Node(Cell(0, 0), shown), *below]:
        assert node.cell not in nodes
        nodes[node.cell] = rows[node.rows]
    assert sorted(np.concatenate(list(nodes.values())).tolist()) == list(range(len(keys)))
    assert all(cell.level == 0 or cell.parent() in nodes for cell in nodes)
    for cell, mine in nodes.items():
        low, high = cell.keys(depth)
        assert ((keys[mine] >= low) & (keys[mine] < high)).all()
