"""Beidou grid location codes: values that others give, and what must hold of every cell."""

from __future__ import annotations

import contextlib
import itertools
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tim.codes.beidou import LEVELS, Cell, decode, encode
from tim.errors import UsageError

lons = st.floats(0, 180, exclude_max=True, allow_subnormal=False)
lats = st.floats(0, 88, exclude_max=True, allow_subnormal=False)
levels = st.sampled_from(LEVELS)


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    return decode(encode(draw(lons), draw(lats), draw(levels)))


def dms(degrees: int, minutes: int, seconds: str) -> Fraction:
    return Fraction(degrees) + Fraction(minutes, 60) + Fraction(seconds) / 3600


LON, LAT = dms(116, 18, "45.37"), dms(39, 59, "35.38")
GOLDEN = ["N50J", "N50J47", "N50J475", "N50J47539", "N50J47539B8", "N50J47539B82", "N50J47539B8255", "N50J47539B825534",
          "N50J47539B82553461", "N50J47539B8255346152"]  # fmt: skip
"""The worked example that the codecs Gvitech-gis/beidou-grid-location-codec and ywx001/BeidouGridCodec both give, at every level."""


def test_the_worked_example_at_every_level():
    assert [encode(LON, LAT, level) for level in LEVELS] == GOLDEN
    for level, text in zip(LEVELS, GOLDEN, strict=True):
        cell = decode(text)
        west, south, east, north = cell.bounds
        assert cell.level == level
        assert west <= LON < east
        assert south <= LAT < north


def test_a_value_of_a_database_extension():
    """As ST_AsGridcell of a spatial database gives it (BGC, the cell of one minute)."""
    assert encode(116.315222, 39.910278, 4) == "N50J47534"


def test_sizes_of_the_cells():
    """The ten sizes of the standard, in seconds of arc."""
    sizes = [
        (21600, 14400),
        (1800, 1800),
        (900, 600),
        (60, 60),
        (4, 4),
        (2, 2),
        *((Fraction(1, n),) * 2 for n in (4, 32, 256, 2048)),
    ]
    for text, (width, height) in zip(GOLDEN, sizes, strict=True):
        west, south, east, north = decode(text).bounds
        assert ((east - west) * 3600, (north - south) * 3600) == (width, height)


def test_level_one_is_the_sheet_of_the_million_map():
    assert decode("N50J").bounds == (114, 36, 120, 40)
    assert decode("N31A").bounds == (0, 0, 6, 4)
    assert decode("N60V").bounds == (174, 84, 180, 88)


def test_z_order_at_levels_three_and_six():
    """Column first, then row, from the south-west."""
    assert [decode(f"N50J47{n}").bounds[:2] for n in range(6)] == [
        (116 + Fraction(x, 4), Fraction(39) + Fraction(1, 2) + Fraction(y, 6)) for y in range(3) for x in range(2)
    ]


def test_a_float_is_the_decimal_it_is_written_as():
    """116.1° is the western edge of a cell of a minute; the float is a little less."""
    assert Fraction(116.1) < Fraction("116.1")
    assert encode(116.1, 39.1, 4) == encode(Decimal("116.1"), Decimal("39.1"), 4)
    assert decode(encode(116.1, 39.1, 4)).bounds[0] == Fraction("116.1")


@given(lons, lats, levels)
def test_the_cell_of_a_place_contains_it(lon: float, lat: float, level: int):
    cell = decode(encode(lon, lat, level))
    west, south, east, north = cell.bounds
    assert cell.level == level
    assert west <= Fraction(repr(lon)) < east
    assert south <= Fraction(repr(lat)) < north


@given(cells())
def test_text_and_cell_are_one(cell: Cell):
    assert decode(cell.text) == cell
    west, south, east, north = cell.bounds
    assert encode((west + east) / 2, (south + north) / 2, cell.level) == cell.text
    assert encode(west, south, cell.level) == cell.text


@given(cells())
def test_children_fill_their_cell(cell: Cell):
    children = cell.children()
    assert all(child.parent == cell and child.text.startswith(cell.text) for child in children)
    assert (
        len({child.text for child in children})
        == len(children)
        == {1: 96, 2: 6, 3: 150, 4: 225, 5: 4, 10: 0}.get(cell.level, 64)
    )
    if children:
        west, south, east, north = cell.bounds
        boxes = [child.bounds for child in children]
        assert (min(b[0] for b in boxes), min(b[1] for b in boxes)) == (west, south)
        assert (max(b[2] for b in boxes), max(b[3] for b in boxes)) == (east, north)
        assert sum((b[2] - b[0]) * (b[3] - b[1]) for b in boxes) == (east - west) * (north - south)


@given(cells())
def test_neighbours_touch_and_know_each_other(cell: Cell):
    west, south, east, north = cell.bounds
    around = cell.neighbours()
    assert len({c.text for c in around}) == len(around)
    inside = west > 0 and south > 0 and east < 180 and north < 88
    assert (len(around) == 8) == inside
    for other in around:
        w, s, e, n = other.bounds
        assert other != cell
        assert max(west, w) <= min(east, e)
        assert max(south, s) <= min(north, n)
        assert cell in other.neighbours()
        assert decode(other.text) == other


@given(cells())
def test_the_outline_is_closed_and_counter_clockwise(cell: Cell):
    ring = cell.polygon
    assert ring[0] == ring[-1]
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in itertools.pairwise(ring))
    assert area > 0 or cell.level >= 9  # a cell of millimetres is lost in the products


@pytest.mark.parametrize(
    ("lon", "lat", "code", "field"),
    [
        (116, 88, "codes.beidou-polar", "latitude"),
        (116, -88.5, "codes.beidou-polar", "latitude"),
        (116, 91, "codes.beidou-polar", "latitude"),
        (-1e-9, 40, "codes.beidou-hemisphere", "longitude"),
        (180, 40, "codes.beidou-hemisphere", "longitude"),
        (116, -40, "codes.beidou-hemisphere", "latitude"),
        (float("nan"), 40, "codes.beidou-number", "longitude"),
        (116, float("inf"), "codes.beidou-number", "latitude"),
    ],
)
def test_places_that_are_not_defined_are_refused(lon: float, lat: float, code: str, field: str):
    with pytest.raises(UsageError) as caught:
        encode(lon, lat)
    assert (caught.value.code, caught.value.fields["field"]) == (code, field)


@pytest.mark.parametrize("level", [0, 11, -1, 32])
def test_levels_that_are_not_defined_are_refused(level: int):
    with pytest.raises(UsageError) as caught:
        encode(116, 40, level)
    assert caught.value.code == "codes.beidou-level"


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("", "codes.beidou-length", "length"),
        ("N50J4", "codes.beidou-length", "length"),
        ("N50J47539B8255346152AA", "codes.beidou-length", "length"),
        ("S50J", "codes.beidou-hemisphere", "hemisphere"),
        ("X50J", "codes.beidou-field", "hemisphere"),
        ("n50j", "codes.beidou-field", "hemisphere"),
        ("N11J", "codes.beidou-hemisphere", "zone"),
        ("N00J", "codes.beidou-field", "zone"),
        ("N61J", "codes.beidou-field", "zone"),
        ("N5AJ", "codes.beidou-field", "zone"),
        ("N５０J", "codes.beidou-field", "zone"),
        ("N50W", "codes.beidou-field", "row"),
        ("N50j", "codes.beidou-field", "row"),
        ("N50JC0", "codes.beidou-field", "level 2"),
        ("N50J48", "codes.beidou-field", "level 2"),
        ("N50J476", "codes.beidou-field", "level 3"),
        ("N50J475F0", "codes.beidou-field", "level 4"),
        ("N50J4753A", "codes.beidou-field", "level 4"),
        ("N50J47539F0", "codes.beidou-field", "level 5"),
        ("N50J47539b8", "codes.beidou-field", "level 5"),
        ("N50J47539B84", "codes.beidou-field", "level 6"),
        ("N50J47539B8285", "codes.beidou-field", "level 7"),
        ("N50J47539B8255346158", "codes.beidou-field", "level 10"),
        ("N50J4 ", "codes.beidou-field", "level 2"),
        ("N050J00", "codes.beidou-3d", "length"),
        ("N050J0047050", "codes.beidou-3d", "length"),
    ],
)
def test_texts_that_are_no_codes_are_refused_by_field(text: str, code: str, field: str):
    with pytest.raises(UsageError) as caught:
        decode(text)
    assert (caught.value.code, caught.value.fields["field"]) == (code, field)


@given(st.text(max_size=24) | st.text("NS0123456789ABCDEFJVW", max_size=24))
def test_any_text_is_a_code_or_refused(text: str):
    with contextlib.suppress(UsageError):
        assert decode(text).text == text
