"""Random conditions (:mod:`tim.query.tree`) of every kind, about the few names and values that :mod:`tim.store.contract.conditions` stores."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from tim.query import tree
from tim.query.check import comparable, joined
from tim.query.tree import (
    And,
    Arithmetic,
    Array,
    Arrays,
    Between,
    Box,
    Call,
    Compare,
    Expression,
    Geometry,
    In,
    Instant,
    Interval,
    IsNull,
    Like,
    Literal,
    Not,
    Or,
    Property,
    Spatial,
    Temporal,
)

Strategy = st.SearchStrategy[Expression]
ATTRIBUTES = ("用途", "floors", "built", "flag", "tags", "attributes.name", 'a "b".$\\', "none")
TEXTS = (
    "居住",
    "商业",
    "Café",
    "CAFE",
    "a%b_c",
    "",
    "'",
    "\\",
    "\\'",
    "2020-06-01",
    "2020-06-01T08:00:00+08:00",
    "2021",
)
NUMBERS = (0, 1, 2, -1, 7, 0.5, 2.0, 1e300, 2**53 + 1)
MOMENTS = ("2019-12-31", "2020-01-01", "2020-06-01", "2020-06-01T00:00:00Z", "2020-06-01T12:30:00.5Z", "2030-01-01")
IDS = tuple(f"00000000-0000-8000-8000-{i:012x}" for i in range(8))
"""The ids of the objects that are stored."""

_property: Strategy = st.sampled_from(ATTRIBUTES).map(Property)
numbers: Strategy = st.recursive(
    st.sampled_from(NUMBERS).map(Literal) | _property | st.just(Property("version")),
    lambda inner: st.builds(Arithmetic, st.sampled_from(get_args(tree.Operator)), inner, inner),
    max_leaves=4,
)
_folds = st.sampled_from(("casei", "accenti"))
texts: Strategy = st.recursive(
    st.sampled_from(TEXTS).map(Literal)
    | _property
    | st.sampled_from(("id", "class", "name", "layer", "sourceKey", "stage")).map(Property)
    | st.sampled_from(("building", "building.house", "road", IDS[1], "surveyed", "n1")).map(Literal),
    lambda inner: st.builds(lambda name, value: Call(name, (value,)), _folds, inner),
    max_leaves=2,
)
instants: Strategy = st.sampled_from(MOMENTS).map(Instant)
moments: Strategy = instants | st.sampled_from(tree.TIMES).map(Property) | _property
_limits = st.none() | moments


def _ordered(start: Expression | None, end: Expression | None) -> Interval:
    texts = [bound.text.rstrip("Z") for bound in (start, end) if isinstance(bound, Instant)]
    return Interval(end, start) if len(texts) == 2 and texts[0][:10] >= texts[1][:10] else Interval(start, end)


_intervals: Strategy = st.builds(_ordered, _limits, _limits).filter(
    lambda i: not (isinstance(i.start, Instant) and isinstance(i.end, Instant) and i.start.text[:10] == i.end.text[:10])
)
truths: Strategy = (
    st.booleans().map(Literal)
    | _property
    | st.sampled_from(("building", "building.house", "road", "bui")).map(lambda c: Call("inClass", (Literal(c),)))
    | st.sampled_from(("05", "06", "居住")).map(lambda v: Call("hasCode", (Literal("landuse"), Literal(v))))
    | st.builds(
        lambda name, kind, target: Call(name, (Literal(kind), Literal(target))),
        st.sampled_from(("relatedTo", "relatedFrom")),
        st.sampled_from(("", "partOf", "connectsTo")),
        st.sampled_from(IDS),
    )
)

_x = st.sampled_from((-180.0, -179.5, -1.0, 0.0, 0.5, 1.0, 2.0, 179.5, 180.0))
_y = st.sampled_from((-2.0, 0.0, 0.5, 1.0, 3.0))
_z = st.sampled_from((-10.0, 0.0, 2.0, 5.0, 40.0))


@st.composite
def _geometry(draw: st.DrawFn) -> Expression:
    """A box, point, line, triangle, several of them or a collection, with heights or without."""
    z = draw(_z) if draw(st.booleans()) else None

    def position(x: float, y: float) -> tuple[float, ...]:
        return (x, y) if z is None else (x, y, z)

    west, east = draw(_x), draw(_x)
    south, north = sorted((draw(_y), draw(_y)))
    corner = min(west, 179.0)
    ring = tuple(position(*p) for p in ((corner, south), (corner + 1, south), (corner, south + 1), (corner, south)))
    line = (position(west, south), position(east, north + 1))
    match draw(st.integers(0, 7)):
        case 0:
            return Geometry("Point", position(west, south))
        case 1:
            return Geometry("MultiPoint", line)
        case 2:
            return Geometry("LineString", line)
        case 3:
            return Geometry("MultiLineString", (line, (position(0.0, 0.0), position(1.0, 0.5))))
        case 4:
            return Geometry("Polygon", (ring,))
        case 5:
            return Geometry("MultiPolygon", ((ring,),))
        case 6:
            return Geometry("GeometryCollection", (Geometry("Point", line[0]), Geometry("Polygon", (ring,))))
    if z is None:
        return Box((west, south, east, north))
    return Box((west, south, min(z, 1.0), east, north, max(z, 1.0)))


geometries: Strategy = st.just(Property("geometry")) | _geometry()
_items: Strategy = st.recursive(
    st.sampled_from(TEXTS).map(Literal) | st.sampled_from(NUMBERS).map(Literal) | st.booleans().map(Literal) | instants | _property,
    lambda inner: st.lists(inner, max_size=2).map(lambda items: Array(tuple(items))),
    max_leaves=3,
)  # fmt: skip
arrays: Strategy = (
    st.sampled_from(("codes", "tags", "用途")).map(Property)
    | st.lists(_items, max_size=3).map(lambda items: Array(tuple(items)))
    | st.lists(st.sampled_from(("05", "06", "居住")).map(Literal), max_size=2).map(lambda items: Array(tuple(items)))
)
_patterns: Strategy = st.recursive(
    st.sampled_from(("%", "居%", "%业", "c_f%", "CAF_", "a\\%b%", "%b\\_c", "", "\\", "%*%", "[a]", "n_", "2020%")).map(
        Literal
    ),
    lambda inner: st.builds(lambda name, value: Call(name, (value,)), _folds, inner),
    max_leaves=2,
)


def _pairs(values: Strategy, operators: tuple[str, ...]) -> Strategy:
    return st.builds(Compare, st.sampled_from(operators), values, values).filter(
        lambda c: bool((common := comparable(c.left, c.right)) and (c.operator in ("=", "<>") or common != {"truth"}))
    )


_all = get_args(tree.Comparator)
_leaves: Strategy = st.one_of(
    _pairs(numbers, _all), _pairs(texts, _all), _pairs(moments, _all), _pairs(truths, ("=", "<>")), _pairs(texts | moments | numbers, _all),
    st.builds(Like, texts.filter(lambda t: not isinstance(t, Literal) or isinstance(t.value, str)), _patterns),
    st.builds(Between, numbers, numbers, numbers),
    st.builds(In, _property, st.lists(st.one_of(numbers, texts), min_size=1, max_size=3).map(tuple)),
    st.builds(In, st.just(Property("id")), st.lists(st.sampled_from(IDS).map(Literal), min_size=1, max_size=3).map(tuple)),
    st.one_of(_property, numbers, texts, moments, geometries, st.just(Property("codes"))).map(IsNull),
    st.builds(Spatial, st.sampled_from(tree.SPATIAL), geometries, geometries),
    st.builds(Spatial, st.sampled_from(("s_intersects", "s_within", "s_disjoint")), st.just(Property("geometry")), geometries),
    st.builds(Temporal, st.sampled_from(tree.TEMPORAL), moments | _intervals, moments | _intervals),
    st.builds(Arrays, st.sampled_from(tree.ARRAYS), arrays, arrays),
    truths,
)  # fmt: skip
conditions: Strategy = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        inner.map(Not),
        inner.map(IsNull),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: joined(And, parts)),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: joined(Or, parts)),
        st.builds(Compare, st.sampled_from(("=", "<>")), inner, st.booleans().map(Literal)),
    ),
    max_leaves=6,
)
"""Whole conditions; ``checked`` takes them all."""
