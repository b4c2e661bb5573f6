"""Boxes across the antimeridian, held against sets of whole degrees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tim.place import Box3, boxes

WIDTHS = st.integers(0, 80)
WEST = st.integers(-180, 179)


def box(west: int, width: int, bottom: float = 0.0) -> Box3:
    east = west + width
    return float(west), -1.0, bottom, float(east - 360 if east > 180 else east), 1.0, bottom + 1


def degrees(one: Box3) -> set[int]:
    """Whole degrees it covers, of 0..359."""
    west, east = round(one[0]), round(one[3])
    return {v % 360 for v in range(west, west + (east - west) % 360 + 1)}


@given(WEST, WIDTHS, WEST, WIDTHS)
def test_a_union_covers_both_and_no_more_than_it_must(w1: int, d1: int, w2: int, d2: int):
    a, b = box(w1, d1, 0.0), box(w2, d2, 5.0)
    joined = boxes.union(a, b)
    assert degrees(a) | degrees(b) <= degrees(joined)
    shortest = min(max((w - start) % 360 + d for w, d in ((w1, d1), (w2, d2))) for start in (w1, w2))
    assert len(degrees(joined)) == min(shortest, 359) + 1
    assert joined[2::3] == (0.0, 6.0)
    assert boxes.union(b, a) == pytest.approx(joined)
    assert boxes.union(None, a) == a


@given(st.lists(st.tuples(WEST, st.integers(-90, 90)), min_size=1, max_size=6))
def test_a_box_is_around_its_points(points: list[tuple[int, int]]):
    found = boxes.around(np.array([(lon, lat, 7.0) for lon, lat in points], float))
    assert {lon % 360 for lon, _ in points} <= degrees(found)
    assert found[1] == min(lat for _, lat in points)
    assert found[4] == max(lat for _, lat in points)


def test_a_union_of_what_lies_within_is_the_outer_to_the_last_bit():
    outer, inner = (120.1, 30.0, 0.0, 120.3, 30.2, 9.0), (120.1000001, 30.1, 1.0, 120.2999999, 30.15, 2.0)
    assert boxes.union(outer, inner) == boxes.union(inner, outer) == outer
