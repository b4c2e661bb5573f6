"""What conditions mean, by example."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import product
from uuid import UUID

import pytest
from shapely import Polygon, box

from tim.errors import UsageError
from tim.model import Code, ObjectRecord, Relation
from tim.query import cql2_text, functions
from tim.query.check import checked
from tim.query.evaluate import matches, prepare
from tim.query.tree import Call, Expression, In, Literal, Not, Property
from tim.store import ObjectVersion

ID = UUID("00000000-0000-8000-8000-000000000001")
RECORD = ObjectRecord(
    "k1", "building.house", name="Café", layer="l", box=(10.0, 20.0, 0.0, 12.0, 22.0, 30.0), valid_from="2020-01-01", valid_to=None,
    attributes={"one": 1, "half": 0.5, "text": "Straße", "yes": True, "no": False, "null": None, "day": "2020-06-01", "list": [1, "a", [2]],
                "record": {}, "name": "inner", "huge": 10**400, "mixed": [1, None]},
    codes=(Code("s", "2020", "05"),), relations=(Relation("partOf", UUID(int=5), "2020-01-01", "2021-01-01"),),
)  # fmt: skip
VERSION = ObjectVersion(ID, 3, "town", RECORD, 7, "2024-05-05T10:00:00.250Z", None)
TRIANGLE = Polygon([(10, 20), (12, 20), (10, 22)])


def asked(text: str, moment: str | None = None) -> bool | None:
    return matches(cql2_text.read(text), VERSION, lambda _: TRIANGLE, moment)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one = 1.0", True), ("one = '1'", None), ("one = TRUE", None), ("yes = TRUE", True), ("yes", True), ("no", False), ("one", None), ("absent = 1", None),
        ('"null" = 1', None), ('"null" IS NULL', True), ("absent IS NULL", True), ("record IS NULL", False), ("record = 1", None), ("huge = 1", None), ("huge IS NULL", False),
        ("text > 'A' AND text < 'Z'", True), ("'Z' < 'a'", True), ("name = 'Café'", True), ("attributes.name = 'inner'", True), ("version = 3", True),
        ("id = '00000000-0000-8000-8000-000000000001'", True), ("class = 'building'", False), ("inClass('building')", True), ("inClass('build')", False),
        ("CASEI(text) = CASEI('STRASSE')", True), ("ACCENTI(name) = 'Cafe'", True), ("text LIKE 'stra%'", False), ("CASEI(text) LIKE CASEI('STRA%')", True),
        ("one + 1 = 2", True), ("one / 0 = 1", None), ("7 div 2 = 3 AND -7 div 2 = -3 AND -7 % 2 = -1", True), ("2 ^ 10 = 1024", True), ("1e308 * 10 > 1", None),
        ("one BETWEEN 0 AND 1", True), ("one BETWEEN absent AND 0", False), ("one BETWEEN absent AND 2", None), ("one IN (2, 1)", True), ("one IN (2, absent)", None),
        ("one IN (1, absent)", True), ("one NOT IN (2, 3)", True), ("text NOT IN (1)", None),
        ("changed > TIMESTAMP('2024-05-05T10:00:00Z')", True), ("changed = TIMESTAMP('2024-05-05T12:00:00.25+02:00')", True), ("day = DATE('2020-06-01')", True),
        ("day = TIMESTAMP('2020-06-01T00:00:00Z')", True), ("text = DATE('2020-06-01')", None), ("validTo IS NULL", True), ("validTo > DATE('2020-01-01')", None),
        ("T_DURING(day, INTERVAL(validFrom, validTo))", True), ("T_DURING(day, INTERVAL('..', absent))", True), ("T_DURING(day, INTERVAL(text, '..'))", None),
        ("T_DURING(day, INTERVAL(day, validFrom))", None),
        ("A_CONTAINS(list, (1, 'a'))", True), ("A_CONTAINS(list, ((2)))", True), ("A_CONTAINS(list, (2))", False), ("A_EQUALS(list, (1, 'a', (2)))", True),
        ("A_EQUALS(list, ('a', 1, (2)))", False), ("A_CONTAINEDBY(list, (1, 'a', (2), 9))", True), ("A_OVERLAPS(list, ('x', 'a'))", True), ("A_CONTAINS(text, ('a'))", None),
        ("A_CONTAINS(mixed, (1))", True), ("A_EQUALS(mixed, mixed)", False), ("A_CONTAINS(list, (TRUE))", False), ("A_CONTAINS(codes, ('05'))", True),
        ("A_OVERLAPS((DATE('2020-06-01')), (day))", True), ("hasCode('s', '05')", True), ("hasCode('t', '05')", False),
        ("S_INTERSECTS(geometry, POINT(10.5 20.5))", True), ("S_INTERSECTS(geometry, POINT(11.9 21.9))", False), ("S_INTERSECTS(geometry, POINT Z (10.5 20.5 30))", True),
        ("S_INTERSECTS(geometry, POINT Z (10.5 20.5 31))", False), ("S_DISJOINT(geometry, POINT Z (10.5 20.5 31))", True), ("S_CONTAINS(geometry, POINT(10.5 20.5))", True),
        ("S_CONTAINS(geometry, LINESTRING Z (10.5 20.5 1, 10.6 20.5 31))", False), ("S_WITHIN(geometry, BBOX(9, 19, 13, 23))", True),
        ("S_WITHIN(geometry, BBOX(9, 19, 1, 13, 23, 40))", False), ("S_TOUCHES(geometry, BBOX(12, 19, 13, 21))", True), ("S_EQUALS(geometry, geometry)", True),
        ("S_EQUALS(geometry, POLYGON((10 20, 12 20, 10 22, 10 20)))", True), ("S_OVERLAPS(geometry, BBOX(9, 19, 11, 21))", True),
        ("S_CROSSES(geometry, LINESTRING(9 20.5, 13 20.5))", True), ("S_INTERSECTS(geometry, BBOX(170, -10, -170, 10))", False),
        ("S_INTERSECTS(BBOX(170, -10, -170, 10), POINT(-175 0))", True), ("S_INTERSECTS(geometry, GEOMETRYCOLLECTION(POINT(0 0), LINESTRING(9 20.5, 13 20.5)))", True),
        ("geometry IS NULL", False),
    ],
)  # fmt: skip
def test_conditions(text: str, expected: bool | None):
    assert asked(text) is expected
    opposite = matches(Not(cql2_text.read(text)), VERSION, lambda _: TRIANGLE)
    assert opposite is (None if expected is None else not expected)


def test_logic_has_three_values():
    values: dict[str, bool | None] = {"yes": True, "no": False, "absent": None}
    for (a, x), (b, y) in product(values.items(), repeat=2):
        both = False if x is False or y is False else None if x is None or y is None else True
        either = True if x or y else None if x is None or y is None else False
        assert asked(f"{a} AND {b}") is both
        assert asked(f"{a} OR {b}") is either


INTERVALS = {
    "before": (1, 2),
    "meets": (1, 3),
    "overlaps": (2, 4),
    "starts": (3, 4),
    "during": (4, 5),
    "finishes": (5, 6),
    "equals": (3, 6),
}


@pytest.mark.parametrize("name", INTERVALS)
def test_intervals_relate_in_one_way(name: str):
    """Allen's relations: each holds of one pair, its converse of the pair the other way round."""
    start, end = INTERVALS[name]
    one, other = f"INTERVAL('2000-01-0{start}', '2000-01-0{end}')", "INTERVAL('2000-01-03', '2000-01-06')"
    converse = {"before": "after", "meets": "metBy", "overlaps": "overlappedBy", "starts": "startedBy", "during": "contains",
                "finishes": "finishedBy", "equals": "equals"}  # fmt: skip
    assert {known for known in converse if asked(f"T_{known}({one}, {other})")} == {name}
    assert {known for known in converse if asked(f"T_{converse[known]}({other}, {one})")} == {name}
    assert asked(f"T_DISJOINT({one}, {other})") is (name == "before")
    assert asked(f"T_INTERSECTS({one}, {other})") is (name != "before")


def test_relations_count_when_they_are_in_force():
    text = f"relatedTo('partOf', '{UUID(int=5)}')"
    assert [asked(text), asked(text, "2020-06-01"), asked(text, "2021-01-01"), asked(text, "2019-01-01")] == [
        True,
        True,
        False,
        False,
    ]
    assert asked(f"relatedTo('', '{UUID(int=5)}')")
    assert asked(f"relatedTo('x', '{UUID(int=5)}')") is False


def test_relations_from_others_are_asked_beforehand():
    condition = cql2_text.read(f"NOT relatedFrom('partOf', '{UUID(int=9)}') OR relatedFrom('', '{UUID(int=8)}')")
    seen = []

    def related(source: UUID, kind: str) -> list[UUID]:
        seen.append((source.int, kind))
        return [ID, ID] if source.int == 9 else []

    prepared = prepare(condition, related)
    assert seen == [(9, "partOf"), (8, "")]
    assert prepared == replace(condition, conditions=(Not(In(Property("id"), (Literal(str(ID)),))), Literal(False)))
    assert matches(prepared, VERSION, lambda _: TRIANGLE) is False


def test_what_has_no_box_has_no_geometry():
    nowhere = replace(VERSION, object=replace(RECORD, box=None))
    for text, expected in (("S_DISJOINT(geometry, POINT(0 0))", None), ("geometry IS NULL", True)):
        assert matches(cql2_text.read(text), nowhere, lambda _: box(0, 0, 1, 1)) is expected


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [("abc", "abc", True), ("abc", "ab", False), ("abc", "a%", True), ("abc", "%c", True), ("abc", "%b%", True), ("abc", "a_c", True), ("ac", "a_c", False),
     ("abab", "ab%ab", True), ("aba", "ab%ba", False), ("a%c", r"a\%c", True), ("abc", r"a\%c", False), ("", "%", True), ("", "_", False), ("a\nb", "a_b", True),
     ("a.b", "a.b", True), ("axb", "a.b", False), ("居住用地", "居_用%", True), ("x\\", "x\\", True), ("𠀀", "_", True)],
)  # fmt: skip
def test_patterns(text: str, pattern: str, expected: bool):
    assert functions.like(text, pattern) is expected


def test_no_pattern_takes_long():
    start = time.monotonic()
    assert not functions.like("a" * 50_000, "%a" * 200 + "%b")
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    "condition",
    [Call("nope", ()), Literal("x"), Not(Literal(1)), In(Property("a"), ()), Literal(float("nan")), Literal(10**400)],
)
def test_trees_of_programs_are_checked(condition: Expression):
    with pytest.raises(UsageError):
        checked(condition)
