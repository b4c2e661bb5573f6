"""CQL2 as text and as JSON: what is read, that it is written back whole, that the two agree, and what is refused."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tim.errors import UsageError
from tim.query import cql2_json, cql2_text
from tim.query.check import checked
from tim.query.tree import (
    PROPERTIES,
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
from tim.store.contract.expressions import conditions

A, B, GEOMETRY = Property("a"), Property("b"), Property("geometry")
ONE = Compare("=", A, Literal(1))
TWO = Compare("=", B, Literal(2))
TRIANGLE = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0))

READINGS: list[tuple[str, Expression]] = [
    ("a = 1", ONE),
    ("用途 = '居住'", Compare("=", Property("用途"), Literal("居住"))),
    ('"my ""name""" <> \'it\'\'s\'', Compare("<>", Property('my "name"'), Literal("it's"))),
    (r"a = 'it\'s'", Compare("=", A, Literal("it's"))),
    (r"a = 'C:\dir\\'", Compare("=", A, Literal("C:\\dir\\"))),
    ("eo:cloud.cover >= 0.1", Compare(">=", Property("eo:cloud.cover"), Literal(0.1))),
    ("attributes.name = 'x'", Compare("=", Property("attributes.name"), Literal("x"))),
    ("a = 1 and b = 2 AND a = 1", And((ONE, TWO, ONE))),
    ("a = 1 OR b = 2 AND a = 1", Or((ONE, And((TWO, ONE))))),
    ("(a = 1 OR b = 2) AND a = 1", And((Or((ONE, TWO)), ONE))),
    ("a = 1 AND (b = 2 AND a = 1)", And((ONE, TWO, ONE))),
    ("NOT a = 1", Not(ONE)),
    ("not (not a = 1)", Not(Not(ONE))),
    ("a", A),
    ("NOT a AND TRUE", And((Not(A), Literal(True)))),
    ("a = false", Compare("=", A, Literal(False))),
    ("(a = 1) = TRUE", Compare("=", ONE, Literal(True))),
    ("name LIKE '楼%'", Like(Property("name"), Literal("楼%"))),
    (r"a NOT LIKE '50\%'", Not(Like(A, Literal(r"50\%")))),
    ("CASEI(a) LIKE casei('Straße%')", Like(Call("casei", (A,)), Call("casei", (Literal("Straße%"),)))),
    ("ACCENTI(CASEI(a)) = ACCENTI(CASEI('Chève'))",
     Compare("=", Call("accenti", (Call("casei", (A,)),)), Call("accenti", (Call("casei", (Literal("Chève"),)),)))),
    ("a BETWEEN -1 AND 2.5e1", Between(A, Literal(-1), Literal(25.0))),
    ("a NOT BETWEEN 1 AND 2 AND b = 2", And((Not(Between(A, Literal(1), Literal(2))), TWO))),
    ("a IN ('x', 2, b)", In(A, (Literal("x"), Literal(2), B))),
    ("a NOT IN (1)", Not(In(A, (Literal(1),)))),
    ("a IS NULL", IsNull(A)),
    ("geometry is not null", Not(IsNull(GEOMETRY))),
    ("a = 1 + 2 * 3", Compare("=", A, Arithmetic("+", Literal(1), Arithmetic("*", Literal(2), Literal(3))))),
    ("a = 1 - 2 - 3", Compare("=", A, Arithmetic("-", Arithmetic("-", Literal(1), Literal(2)), Literal(3)))),
    ("a = 2 ^ 3 ^ b", Compare("=", A, Arithmetic("^", Literal(2), Arithmetic("^", Literal(3), B)))),
    ("(a + 1) * b div 2 % 5 > -b",
     Compare(">", Arithmetic("%", Arithmetic("div", Arithmetic("*", Arithmetic("+", A, Literal(1)), B), Literal(2)), Literal(5)),
             Arithmetic("*", Literal(-1), B))),
    ("changed > DATE('2026-11-21')", Compare(">", Property("changed"), Instant("2026-11-21"))),
    ("a < TIMESTAMP('2026-11-21T08:00:00.500+08:00')", Compare("<", A, Instant("2026-11-21T00:00:00.5Z"))),
    ("a = TIMESTAMP('2026-11-21T00:00:00Z')", Compare("=", A, Instant("2026-11-21T00:00:00Z"))),
    ("T_DURING(INTERVAL(validFrom, validTo), INTERVAL('2020-01-01', '..'))",
     Temporal("t_during", Interval(Property("validFrom"), Property("validTo")), Interval(Instant("2020-01-01"), None))),
    ("t_finishedby(a, INTERVAL('..', '2020-01-01T00:00:00Z'))", Temporal("t_finishedBy", A, Interval(None, Instant("2020-01-01T00:00:00Z")))),
    ("S_INTERSECTS(geometry, BBOX(170, -10, -170, 10))", Spatial("s_intersects", GEOMETRY, Box((170.0, -10.0, -170.0, 10.0)))),
    ("S_WITHIN(geometry, BBOX(1,2,-3,4,5,6))", Spatial("s_within", GEOMETRY, Box((1.0, 2.0, -3.0, 4.0, 5.0, 6.0)))),
    ("s_contains(geometry, point(120.5 30))", Spatial("s_contains", GEOMETRY, Geometry("Point", (120.5, 30.0)))),
    ("S_TOUCHES(geometry, POINT Z (1 2 -3))", Spatial("s_touches", GEOMETRY, Geometry("Point", (1.0, 2.0, -3.0)))),
    ("S_CROSSES(geometry, LINESTRING(0 0, 1 1))", Spatial("s_crosses", GEOMETRY, Geometry("LineString", ((0.0, 0.0), (1.0, 1.0))))),
    ("S_EQUALS(geometry, POLYGON((0 0, 1 0, 0 1, 0 0)))", Spatial("s_equals", GEOMETRY, Geometry("Polygon", (TRIANGLE,)))),
    ("S_OVERLAPS(geometry, MULTIPOLYGON(((0 0, 1 0, 0 1, 0 0))))", Spatial("s_overlaps", GEOMETRY, Geometry("MultiPolygon", ((TRIANGLE,),)))),
    ("S_DISJOINT(geometry, MULTIPOINT(0 0, (1 1)))", Spatial("s_disjoint", GEOMETRY, Geometry("MultiPoint", ((0.0, 0.0), (1.0, 1.0))))),
    ("S_INTERSECTS(MULTILINESTRING((0 0, 1 1), (1 0, 0 1)), geometry)",
     Spatial("s_intersects", Geometry("MultiLineString", (((0.0, 0.0), (1.0, 1.0)), ((1.0, 0.0), (0.0, 1.0)))), GEOMETRY)),
    ("S_INTERSECTS(geometry, GEOMETRYCOLLECTION(POINT(1 1), LINESTRING(0 0, 1 1)))",
     Spatial("s_intersects", GEOMETRY,
             Geometry("GeometryCollection", (Geometry("Point", (1.0, 1.0)), Geometry("LineString", ((0.0, 0.0), (1.0, 1.0))))))),
    ("A_CONTAINS(codes, ('05', '06'))", Arrays("a_contains", Property("codes"), Array((Literal("05"), Literal("06"))))),
    ("A_CONTAINEDBY(a, [])", Arrays("a_containedBy", A, Array(()))),
    ("A_EQUALS([1, [2, 'x']], ((1), (b + 1) * 2, ()))",
     Arrays("a_equals", Array((Literal(1), Array((Literal(2), Literal("x"))))),
            Array((Array((Literal(1),)), Arithmetic("*", Arithmetic("+", B, Literal(1)), Literal(2)), Array(()))))),
    ("A_OVERLAPS(a, b)", Arrays("a_overlaps", A, B)),
    ("inclass('building') AND hasCode('landuse', '05')",
     And((Call("inClass", (Literal("building"),)), Call("hasCode", (Literal("landuse"), Literal("05")))))),
    ("point = 1 AND date = 2", And((Compare("=", Property("point"), Literal(1)), Compare("=", Property("date"), Literal(2))))),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), READINGS, ids=[text for text, _ in READINGS])
def test_text_is_read(text: str, expected: Expression):
    assert cql2_text.read(text) == expected
    assert cql2_text.read(cql2_text.write(expected)) == expected
    assert cql2_json.read(json.dumps(cql2_json.write(expected))) == expected


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"op": "=", "args": [{"property": "用途"}, "居住"]}, "用途 = '居住'"),
        ({"op": "and", "args": [{"op": "isNull", "args": [{"property": "a"}]}, True]}, "a IS NULL AND TRUE"),
        ({"op": "not", "args": [{"op": "like", "args": [{"op": "casei", "args": [{"property": "a"}]}, {"op": "casei", "args": ["x%"]}]}]},
         "CASEI(a) NOT LIKE CASEI('x%')"),
        ({"op": "between", "args": [{"property": "a"}, 1, 2.5]}, "a BETWEEN 1 AND 2.5"),
        ({"op": "in", "args": [{"property": "a"}, ["x", 1]]}, "a IN ('x', 1)"),
        ({"op": "t_intersects", "args": [{"property": "validFrom"}, {"interval": ["2020-01-01", ".."]}]}, "T_INTERSECTS(validFrom, INTERVAL('2020-01-01', '..'))"),
        ({"op": "t_before", "args": [{"property": "a"}, {"timestamp": "2020-01-01T00:00:00Z"}]}, "T_BEFORE(a, TIMESTAMP('2020-01-01T00:00:00Z'))"),
        ({"op": "s_within", "args": [{"property": "geometry"}, {"bbox": [1, 2, 3, 4]}]}, "S_WITHIN(geometry, BBOX(1, 2, 3, 4))"),
        ({"op": "s_intersects", "args": [{"property": "geometry"}, {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [0, 1], [0, 0]]]}]},
         "S_INTERSECTS(geometry, POLYGON((0 0, 1 0, 0 1, 0 0)))"),
        ({"op": "a_contains", "args": [{"property": "tags"}, ["x", [1, {"property": "a"}]]]}, "A_CONTAINS(tags, ('x', (1, a)))"),
        ({"op": ">", "args": [{"op": "div", "args": [{"property": "a"}, 2]}, {"op": "^", "args": [2, 3]}]}, "a div 2 > 2 ^ 3"),
        ({"op": "relatedTo", "args": ["partOf", "00000000-0000-8000-8000-000000000001"]}, "relatedTo('partOf', '00000000-0000-8000-8000-000000000001')"),
        (True, "TRUE"),
    ],
)  # fmt: skip
def test_json_is_read(document: Any, text: str):
    assert cql2_json.read(document) == cql2_text.read(text)
    assert cql2_json.read(json.dumps(document).encode()) == cql2_text.read(text)


@given(conditions)
def test_what_is_written_is_read(condition: Expression):
    """Both ways, for every kind of condition; so the two agree."""
    assert checked(condition) is condition
    text, document = cql2_text.write(condition), cql2_json.write(condition)
    assert cql2_text.read(text) == condition
    assert cql2_json.read(json.dumps(document)) == condition
    assert cql2_text.write(cql2_json.read(document)) == text


plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(plain, plain.filter(lambda name: name and name not in PROPERTIES))
@example("\\", '"')
@example("'\\''\\\\", "not")
def test_any_text_and_name_comes_through(value: str, name: str):
    condition = Compare("=", Property(name), Literal(value))
    assert cql2_text.read(cql2_text.write(condition)) == condition
    assert cql2_json.read(json.dumps(cql2_json.write(condition))) == condition


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**1023), 2**1023))
def test_any_number_comes_through(number: float):
    condition = Compare("=", A, Literal(number))
    assert cql2_text.read(cql2_text.write(condition)) == condition
    assert cql2_json.read(json.dumps(cql2_json.write(condition))) == condition


REFUSED = [
    ("", "query.syntax"), ("a =", "query.syntax"), ("a = 1 b", "query.syntax"), ("a == 1", "query.syntax"), ("= 1", "query.syntax"), ("a = 'x", "query.syntax"),
    ('"a = 1', "query.syntax"), ("a = 1)", "query.syntax"), ("(a = 1", "query.syntax"), ("a; DROP TABLE version", "query.syntax"), ("a = 1 /* x */", "query.syntax"),
    ("a = b = 1", "query.syntax"), ("a NOT = 1", "query.syntax"), ("and", "query.syntax"), ("a IN 1", "query.syntax"), ("a IN ()", "query.arguments"),
    ("a = $1", "query.syntax"), ("a = \0", "query.syntax"), ("a = '\0'", "query.text"), ('"" = 1', "query.text"), ("a = '\ud800'", "query.text"),
    ("a = 1e999", "query.number"), ("a = " + "9" * 400, "query.number"), ("a = " + "9" * 5000, "query.number"), ("a LIKE 5", "query.type"), ("a LIKE b", "query.type"),
    ("5 LIKE 'x'", "query.type"), ("version = 'x'", "query.type"), ("1 = 'x'", "query.type"), ("'x' + 1 = a", "query.type"), ("a BETWEEN 'a' AND 'b'", "query.type"),
    ("name", "query.type"), ("1", "query.type"), ("'x' OR a = 1", "query.type"), ("TRUE < FALSE", "query.type"), ("geometry = 1", "query.type"),
    ("S_INTERSECTS(a, BBOX(0,0,1,1))", "query.type"), ("S_INTERSECTS(geometry, 'POINT(0 0)')", "query.type"), ("S_INTERSECTS(geometry)", "query.arguments"),
    ("T_AFTER(a, '2020-01-01')", "query.type"), ("T_AFTER(a, name)", "query.type"), ("A_CONTAINS(name, ('a'))", "query.type"), ("codes = '05'", "query.type"),
    ("a > DATE('2020-02-30')", "query.moment"), ("a > DATE('2020-01-01T00:00:00Z')", "query.moment"), ("a > TIMESTAMP('2020-01-01')", "query.moment"),
    ("a > TIMESTAMP('0001-01-01T00:00:00+01:00')", "query.moment"), ("T_DURING(a, INTERVAL('2021-01-01','2020-01-01'))", "query.interval"),
    ("S_INTERSECTS(geometry, POINT(181 0))", "query.geometry"), ("S_INTERSECTS(geometry, POINT(0 91))", "query.geometry"),
    ("S_INTERSECTS(geometry, POLYGON((0 0, 1 0, 0 1)))", "query.geometry"), ("S_INTERSECTS(geometry, POLYGON((0 0, 1 1, 0 0)))", "query.geometry"),
    ("S_INTERSECTS(geometry, POLYGON((0 0, 1 1, 1 0, 0 1, 0 0)))", "query.geometry"), ("S_INTERSECTS(geometry, LINESTRING(0 0))", "query.geometry"),
    ("S_INTERSECTS(geometry, LINESTRING(0 0, 1 1 1))", "query.geometry"), ("S_INTERSECTS(geometry, BBOX(0, 1, 1, 0))", "query.geometry"),
    ("S_INTERSECTS(geometry, BBOX(0, 1, 1))", "query.geometry"), ("S_INTERSECTS(geometry, GEOMETRYCOLLECTION())", "query.geometry"),
    ("S_INTERSECTS(geometry, POINT(0 0 0 0))", "query.syntax"), ("S_INTERSECTS(geometry, POINT EMPTY)", "query.syntax"),
    ("foo(a) = 1", "query.no-function"), ("casei(a, b) = 'x'", "query.arguments"), ("inClass(a)", "query.type"), ("relatedTo('', 'x')", "query.type"),
    ("casei(1) = 'x'", "query.type"), ("a = 1 AND" * 100, "query.syntax"), ("x" * 70_000, "query.too-long"), ("a = '" + "x" * 10_000_000 + "'", "query.too-long"),
    ("(" * 10_000 + "a = 1" + ")" * 10_000, "query.too-deep"), ("NOT " * 10_000 + "a", "query.too-deep"), ("a = " + "(" * 65 + "1", "query.too-deep"),
    ("a = 0" + "+1" * 5_000, "query.too-deep"), ("a = 0" + "^1" * 5_000, "query.too-deep"), ("A_EQUALS(a, " + "(" * 10_000, "query.too-deep"),
    ("A_EQUALS((" * 40 + "a", "query.too-deep"), ("a in (" + "1," * 11_000 + "1)", "query.too-many"), ("casei(" * 500 + "a", "query.too-deep"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code"), REFUSED, ids=[ascii(text[:40]) for text, _ in REFUSED])
def test_text_is_refused(text: str, code: str):
    start = time.monotonic()
    with pytest.raises(UsageError) as caught:
        cql2_text.read(text)
    assert caught.value.code == code
    assert time.monotonic() - start < 1
    assert len(str(caught.value)) < 1500


def test_a_refusal_says_where():
    with pytest.raises(UsageError) as caught:
        cql2_text.read("用途 = '居住' AND floors >> 3")
    assert caught.value.fields == {"position": 23, "found": ">", "expected": "a value"}
    with pytest.raises(UsageError) as caught:
        cql2_json.read({"op": "and", "args": [True, {"op": "=", "args": [{"property": 5}, 1]}]})
    assert caught.value.fields["position"] == "/args/1/args/0"


DOCUMENTS: list[tuple[Any, str]] = [
    ("", "query.syntax"), ("{", "query.syntax"), ("nul", "query.syntax"), (b"\xff\xfe{", "query.syntax"), (b"\xff", "query.syntax"), ("null", "query.syntax"),
    ("[" * 50_000, "query.too-deep"), ("[" * 1_000 + "]" * 1_000, "query.too-deep"), ('{"op":"not","args":[' * 3_000, "query.too-deep"),
    ('{"op":"not","args":[' * 100 + '{"property": "a"}' + "]}" * 100, "query.too-deep"), ("[" + " " * 70_000, "query.too-long"), (b"[" * 10_000_000, "query.too-long"),
    ('{"op": "=", "args": [NaN, 1]}', "query.number"), ('{"op": "=", "args": [1e999, 1]}', "query.number"), ('{"op": "=", "args": [' + "9" * 5000 + ", 1]}", "query.number"),
    ({"op": "=", "args": [10**400, 1]}, "query.number"), ({"op": "="}, "query.syntax"), ({"op": "=", "args": [1]}, "query.arguments"),
    ({"op": "and", "args": []}, "query.arguments"), ({"op": "and", "args": [True]}, "query.arguments"), ({"op": "in", "args": [1, 2]}, "query.syntax"),
    ({"op": "nope", "args": []}, "query.no-function"), ({"op": ["="], "args": []}, "query.syntax"), ({"property": "a\0"}, "query.text"), ({"property": None}, "query.syntax"),
    ({"op": "=", "args": [{"property": "a"}, None]}, "query.syntax"), ({"op": "=", "args": [{"property": "a"}, "\ud800"]}, "query.text"),
    ({"op": "s_within", "args": [{"property": "geometry"}, {"type": "Circle", "coordinates": []}]}, "query.syntax"),
    ({"op": "s_within", "args": [{"property": "geometry"}, {"type": "Polygon", "coordinates": []}]}, "query.geometry"),
    ({"op": "s_within", "args": [{"property": "geometry"}, {"type": "Polygon", "coordinates": [[]]}]}, "query.geometry"),
    ({"op": "s_within", "args": [{"property": "geometry"}, {"type": "Point", "coordinates": ["0", 0]}]}, "query.number"),
    ({"op": "s_within", "args": [{"property": "geometry"}, {"type": "Point", "coordinates": []}]}, "query.geometry"),
    ({"op": "s_within", "args": [{"property": "geometry"}, {"type": "MultiPolygon", "coordinates": [[]]}]}, "query.geometry"),
    ({"op": "s_within", "args": [{"property": "geometry"}, {"type": "GeometryCollection", "geometries": [{"type": "GeometryCollection"}]}]}, "query.syntax"),
    ({"op": "s_within", "args": [{"property": "geometry"}, {"bbox": [0, 0, True, 1]}]}, "query.number"),
    ({"op": "t_after", "args": [{"property": "a"}, {"date": "tomorrow"}]}, "query.moment"), ({"op": "t_after", "args": [{"property": "a"}, {"interval": [".."]}]}, "query.syntax"),
    (["x"] * 200_000, "query.too-many"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "code"), DOCUMENTS, ids=[ascii(document)[:40] for document, _ in DOCUMENTS])
def test_documents_are_refused(document: Any, code: str):
    start = time.monotonic()
    with pytest.raises(UsageError) as caught:
        cql2_json.read(document)
    assert caught.value.code == code
    assert time.monotonic() - start < 1


words = st.sampled_from(
    ["a", "用途", "'x'", '"y"', "1", "-2.5", "(", ")", "[", "]", ",", "=", "<>", "AND", "OR", "NOT", "LIKE", "IN", "BETWEEN", "IS", "NULL", "TRUE", "^", "div",
     "S_INTERSECTS", "BBOX", "POINT", "Z", "INTERVAL", "DATE", "'2020-01-01'", "'..'", "A_EQUALS", "casei", "'", '"', "\\", "geometry", "MULTIPOINT"]
)  # fmt: skip


@given(st.lists(words, max_size=14).map(" ".join) | st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str):
    try:
        found = cql2_text.read(text)
    except UsageError as error:
        assert error.code.startswith("query.")  # noqa: PT017
        return
    assert cql2_text.read(cql2_text.write(found)) == found


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["op", "args", "property", "type", "coordinates", "bbox", "interval", "date"]), inner, max_size=3)
    | st.builds(lambda op, args: {"op": op, "args": args}, st.sampled_from(["=", "and", "s_within", "in", "a_equals", "casei", "t_after"]), st.lists(inner, max_size=3)),
    max_leaves=10,
)  # fmt: skip


@given(anything)
def test_any_document_is_read_or_refused(document: Any):
    try:
        found = cql2_json.read(document if not isinstance(document, str) else {"x": document})
    except UsageError as error:
        assert error.code.startswith("query.")  # noqa: PT017
        return
    assert cql2_json.read(cql2_json.write(found)) == found
