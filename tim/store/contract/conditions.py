"""Conditions: a store finds what :mod:`tim.query.evaluate` says it finds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tim.errors import StoreError, UsageError
from tim.model import Code, ObjectRecord, Relation, Representation, Stage, derived_id
from tim.place import Datum, Height, Place
from tim.query import cql2_text, tree
from tim.query.evaluate import matches, prepare
from tim.query.plan import Footprints
from tim.query.tree import Expression, Literal, Property
from tim.shape import FORMAT, Polygon, build
from tim.store import AsOf, Changeset, Filter, ObjectStore, ObjectVersion, Put
from tim.store.canonical import instant
from tim.store.contract.expressions import ATTRIBUTES, IDS, conditions
from tim.store.contract.samples import TOWN, box, key_of, put, walk
from tim.store.contract.stores import Stores

_PLACE = Place(crs="EPSG:4979", height=Height("ellipsoid", "ellipsoid"), datum=Datum("equivalent", "WGS 84", 0.1))
_NOW = "2026-01-01"
_VALUES: tuple[Any, ...] = (
    "居住", "商业", "Café", "CAFE", "café", "a%b_c", "a*b", "[a]", "", "'", "\\", "2020-06-01", "2020-06-01T00:00:00Z", "2020-06-01T08:00:00+08:00", "nan",
    0, 1, 2, -1, 7, 0.5, 2.0, 1e300, 10**400, 2**53, 0.1 + 0.2, True, False, None, {"a": 1}, [], ["05", "居住"], [1, [2, None], True], ["2020-06-01"], [0.5, "x"],
)  # fmt: skip
_BOXES = (
    (0.0, 0.0, 0.0, 1.0, 1.0, 5.0), (0.5, 0.5, 2.0, 0.5, 0.5, 2.0), (0.0, 0.0, 5.0, 2.0, 0.0, 9.0), (179.5, 0.0, 0.0, -179.5, 1.0, 3.0),
    (-180.0, -1.0, -10.0, 180.0, 3.0, 40.0), (2.0, 1.0, 0.0, 3.0, 3.0, 1.0), (179.0, 0.0, 0.0, 180.0, 0.5, 2.0), None,
)  # fmt: skip


def _triangle(west: float, south: float) -> tuple[bytes, ObjectRecord]:
    """Half of a square: what meets its box need not meet it."""
    east = west + 1 if west < 179 else west - 359
    ring = np.array([[west, south, 1.0], [east, south, 1.0], [west, south + 1, 1.0]])
    (built,) = build([[Polygon([ring], "GroundSurface")]], _PLACE)
    return built.blob, ObjectRecord(f"triangle {west}", "building.house", box=built.box)


def _records(store: ObjectStore) -> list[ObjectRecord]:
    """Objects of all kinds; the first have the ids of :data:`IDS`."""
    records = []
    for i, value in enumerate(_VALUES):
        names = itertools.islice(itertools.cycle(ATTRIBUTES), i, i + 3)
        attributes = {
            name.removeprefix("attributes."): _VALUES[(i * 7 + k * 5) % len(_VALUES)] for k, name in enumerate(names)
        }
        attributes["用途"] = value
        record = ObjectRecord(
            f"n{i}", ("building", "building.house", "road", "buildings")[i % 4], name=("", "n1", "Café", "a%b_c")[i % 4],
            layer=("", "居住")[i % 2], attributes=attributes, box=_BOXES[i % len(_BOXES)], stage=(Stage.SURVEYED, Stage.PLANNED)[i % 2],
            valid_from=(None, "2019-12-31", "2020-06-01T12:30:00.5Z")[i % 3], valid_to=(None, "2030-01-01")[i % 2],
            codes=((), (Code("landuse", "2017", "05"),), (Code("landuse", "2023", "06"), Code("other", "", "居住")))[i % 3],
        )  # fmt: skip
        if i < len(IDS):
            linked = (
                Relation("partOf", UUID(IDS[(i + 1) % len(IDS)])),
                Relation("connectsTo", UUID(IDS[(i + 3) % len(IDS)]), "2020-01-01", "2025-01-01"),
            )
            record = replace(record, tim_id=UUID(IDS[i]), relations=linked)
        records.append(record)
    for west in (0.0, 1.0, 179.5):
        blob, record = _triangle(west, 0.0)
        shown = (Representation("body", "2", FORMAT, store.put_blob(blob)),)
        records.append(replace(record, representations=shown, attributes={"floors": west}))
    model = Representation("model", "", "glb", "ab" * 32, {"at": [0.75, 0.75, 3.0]})
    return [*records, ObjectRecord("tree", "plant", box=(0.5, 0.5, 3.0, 1.0, 1.0, 8.0), representations=(model,))]


def _stored(store: ObjectStore) -> list[ObjectVersion]:
    records = _records(store)
    put(store, *records)
    put(store, *(replace(record, attributes={**record.attributes, "flag": True}) for record in records[::5]))
    return list(store.query(Filter(), AsOf(valid=_NOW)).items)


def _expected(store: ObjectStore, versions: Sequence[ObjectVersion], condition: Expression) -> list[str]:
    """What the plain meaning finds."""
    at = AsOf(valid=_NOW)
    prepared = prepare(
        condition,
        lambda source, kind: [link.target for link in store.related([source], [kind] if kind else [], as_of=at)],
    )
    drawn = Footprints(versions, store.get_blobs)
    return key_of(v for v in versions if matches(prepared, v, drawn, instant(_NOW, "")) is True)


class Conditions(Stores):
    """Asking in a language."""

    def test_conditions_find_what_they_mean(self, store: ObjectStore) -> None:
        """Any condition, of objects of all kinds: exactly those of which it is true; the opposite and the rest as well."""
        versions = _stored(store)
        assert len(versions) == len(_VALUES) + 4

        @settings(max_examples=400, database=None, deadline=None, suppress_health_check=list(HealthCheck))
        @given(conditions)
        def holds(condition: Expression) -> None:
            found = store.query(Filter(where=condition), AsOf(valid=_NOW))
            assert key_of(found.items) == _expected(store, versions, condition), cql2_text.write(condition)

        holds()

    def test_every_operator_finds_what_it_means(self, store: ObjectStore) -> None:
        """Each of them on each side, with values that lie before, in, about, beside and upon those stored."""
        versions = _stored(store)
        places = ("BBOX(0, 0, 1, 1)", "BBOX(0, 0, 2, 1, 1, 9)", "POINT(0.5 0.5)", "POINT(-179.75 0.25)", "BBOX(179.5, 0, -179.5, 1)", "LINESTRING(-1 0.25, 3 0.25)",
                  "POLYGON((0 0, 1 0, 0 1, 0 0))", "BBOX(-180, -2, 180, 4)")  # fmt: skip
        times = ("validFrom", "built", "DATE('2019-12-31')", "INTERVAL(validFrom, validTo)", "INTERVAL('2019-12-31', '2030-01-01')", "INTERVAL('..', built)",
                 "INTERVAL('2020-06-01', '..')")  # fmt: skip
        rows = ("用途", "codes", "('05', '居住')", "(1, (2, 3), TRUE)", "()", "(0.5, 'x')", "(DATE('2020-06-01'))")
        texts = [
            *(f"{operator}(geometry, {place})" for operator in tree.SPATIAL for place in places),
            *(f"{operator}({place}, geometry)" for operator in tree.SPATIAL for place in places[::3]),
            *(f"{operator}({one}, {other})" for operator in tree.TEMPORAL for one, other in itertools.combinations(times, 2)),
            *(f"{operator}({one}, {other})" for operator in tree.ARRAYS for one, other in itertools.permutations(rows, 2)),
        ]  # fmt: skip
        for text in texts:
            condition = cql2_text.read(text)
            found = store.query(Filter(where=condition), AsOf(valid=_NOW))
            assert key_of(found.items) == _expected(store, versions, condition), text

    @pytest.mark.parametrize(
        ("text", "count"),
        [
            ("TRUE", 39), ("FALSE", 0), ("id = '00000000-0000-8000-8000-000000000003'", 1), ("class = 'building'", 9), ("inClass('building')", 21),
            ("用途 = '居住'", 1), ("用途 <> '居住'", 14), ("NOT 用途 = 1", 9), ("用途 IS NULL", 5), ("用途", 1), ("NOT 用途", 1), ("用途 >= 7", 3), ("用途 = 2 ^ 53", 1),
            ("用途 = 0.30000000000000004", 1), ("CASEI(用途) = 'café'", 2), ("ACCENTI(CASEI(用途)) = 'cafe'", 3), ("用途 LIKE 'a%'", 2), ("用途 LIKE 'a\\%%'", 1),
            ("用途 LIKE '[a]'", 1), ("用途 LIKE '__'", 2), ("用途 = DATE('2020-06-01')", 3), ("A_CONTAINS(用途, ('居住'))", 1), ("A_EQUALS(用途, (0.5, 'x'))", 1),
            ("A_CONTAINS(codes, ('06', '居住'))", 11), ("hasCode('landuse', '05')", 12), ("relatedTo('partOf', '00000000-0000-8000-8000-000000000001')", 1),
            ("relatedFrom('partOf', '00000000-0000-8000-8000-000000000001')", 1), ("relatedTo('connectsTo', '00000000-0000-8000-8000-000000000003')", 0),
            ("T_BEFORE(validFrom, DATE('2020-01-01'))", 12), ("T_DURING(INTERVAL(validFrom, validTo), INTERVAL('2000-01-01', '2031-01-01'))", 11),
            ("S_INTERSECTS(geometry, POINT(0.9 0.9))", 9), ("S_INTERSECTS(geometry, POINT(-179.6 0.4))", 8), ("S_CONTAINS(geometry, POINT Z (0.4 0.4 39))", 4),
            ("S_WITHIN(geometry, BBOX(179, -1, -179, 2))", 9), ("geometry IS NULL", 4), ("version = 2", 8),
        ],
    )  # fmt: skip
    def test_conditions_by_hand(self, store: ObjectStore, text: str, count: int) -> None:
        """What is found, as a reader would count it."""
        _stored(store)
        assert len(store.query(Filter(where=cql2_text.read(text)), AsOf(valid=_NOW)).items) == count

    @pytest.mark.parametrize("text", ["floors > 2", "S_INTERSECTS(geometry, POLYGON((0 0, 9 0, 0 9, 0 0)))"])
    def test_pages_of_conditions(self, store: ObjectStore, text: str) -> None:
        """Pages are as full as they can be, whether SQL says all of a condition or not."""
        put(store, *(replace(box(f"{i}", i % 12), attributes={"floors": i % 7}) for i in range(60)))
        wanted = Filter(where=cql2_text.read(text))
        everything = [v.tim_id for v in store.query(wanted).items]
        assert 10 < len(everything) < 40
        for limit in (1, 7, len(everything), 50):
            sizes, found = walk(store, wanted, limit)
            assert found == everything
            assert all(size == limit for size in sizes[:-1])
            assert 0 < sizes[-1] <= limit

    def test_pages_of_conditions_show_one_state(self, store: ObjectStore) -> None:
        """What changes while somebody pages does not tear his answer."""
        put(store, *(box(f"{i}", i) for i in range(10)))
        wanted = Filter(where=cql2_text.read("S_WITHIN(geometry, POLYGON((-1 -1, 30 -1, 30 30, -1 30, -1 -1)))"))
        page = store.query(wanted, limit=4)
        items = list(page.items)
        while page.cursor:
            put(store, *(box(f"{i}", 60) for i in range(10)))
            page = store.query(wanted, cursor=page.cursor, limit=4)
            items += page.items
        assert sorted(key_of(items)) == [str(i) for i in range(10)]

    def test_conditions_join_with_the_other_filters(self, store: ObjectStore) -> None:
        """Also with an interval, of whose versions the last one valid is found that a condition holds of, and with a scenario."""
        put(store, replace(box("a", 1), valid_from="2000-01-01", attributes={"i": 1}))
        put(store, replace(box("a", 1), valid_from="2010-01-01", attributes={"i": 2}))
        put(store, replace(box("b", 1), attributes={"i": 1}))
        put(store, replace(box("b", 1), scenario="plan", attributes={"i": 3}))
        for near in ("", " AND S_INTERSECTS(geometry, POLYGON((0 0, 9 0, 9 9, 0 9, 0 0)))"):

            def found(text: str, near: str = near, **others: object) -> list[object]:
                wanted = Filter(where=cql2_text.read(f"{text}{near}"), **others)  # type: ignore[arg-type]
                return sorted(v.object.attributes["i"] for v in store.query(wanted).items)

            assert found("i < 3") == [1, 2]
            assert found("i < 2", during=(None, None)) == [1, 1]
            assert found("i < 3", during=(None, None)) == [1, 2]
            assert found("i > 0", scenario="plan", upon=True) == [2, 3]
            assert found("i > 0", box=(50.0, 50.0, 0.0, 60.0, 60.0, 1.0)) == []
            assert found("i = 1", dataset="hills") == []

    @pytest.mark.parametrize("text", ["a = 1", "S_TOUCHES(geometry, geometry)"])
    def test_conditions_have_an_end(self, store: ObjectStore, text: str) -> None:
        """What takes too long is given up, wherever it is worked out."""
        store.apply(Changeset("town", (Put(box(f"{i}", i)) for i in range(3000))))
        with pytest.raises(StoreError) as caught:
            store.query(Filter(where=cql2_text.read(text)), seconds=1e-6)
        assert caught.value.code == "store.too-slow"

    @pytest.mark.parametrize("condition", [Property("name"), Literal(1), Literal("x"), Property("")])
    def test_what_is_no_condition_is_refused(self, store: ObjectStore, condition: Expression) -> None:
        """Also when it comes from a program and no reader has seen it."""
        with pytest.raises(UsageError):
            store.query(Filter(where=condition))

    def test_large_conditions(self, store: ObjectStore) -> None:
        """Many or deep, all that is read can be asked."""
        put(store, *(replace(box(f"{i}", 1), attributes={"i": i}) for i in range(5)))
        many = " OR ".join(f"i = {i}" for i in range(600))
        deep = "NOT (i = 9 OR " * 30 + "i = 1" + ")" * 30
        sums = "i = 0" + "+1" * 40
        listed = f"i IN ({', '.join(map(str, range(1500)))})"
        for text, count in ((many, 5), (deep, 1), (sums, 0), (listed, 5)):
            assert len(store.query(Filter(where=cql2_text.read(text))).items) == count, text[:40]

    def test_relations_are_those_of_the_line_looked_at(self, store: ObjectStore) -> None:
        """Many of them as well, at their moment, and in a scenario upon the common line."""
        ids = [derived_id(TOWN.uid, "", f"{i}") for i in range(4)]
        many = tuple(Relation("serves", UUID(int=i)) for i in range(700))
        put(store, *(box(f"{i}", i) for i in range(1, 4)))
        put(
            store,
            replace(
                box("0", 0), relations=(*many, Relation("serves", ids[1]), Relation("owns", ids[2], None, "2020-01-01"))
            ),
        )
        put(store, replace(box("0", 0), scenario="plan", relations=(Relation("serves", ids[3]),)))

        def found(text: str, valid: str | None = None, **others: Any) -> list[str]:
            wanted = Filter(where=cql2_text.read(text.format(*ids)), **others)
            return sorted(key_of(store.query(wanted, AsOf(valid=valid)).items))

        assert found("relatedFrom('serves', '{0}')") == ["1"]
        assert found("NOT relatedFrom('', '{0}')") == ["0", "2", "3"]
        assert found("relatedFrom('', '{0}')", "2019-01-01") == ["1", "2"]
        assert found("relatedFrom('', '{0}')", scenario="plan", upon=True) == ["3"]
        assert found("relatedFrom('', '{3}')") == []
        assert found("relatedTo('owns', '{2}')") == []
        assert found("relatedTo('owns', '{2}')", "2019-01-01") == ["0"]
        assert found("relatedTo('', '{3}')", scenario="plan", upon=True) == ["0"]

    def test_values_are_never_sql(self, store: ObjectStore) -> None:
        """Quotes and names of any kind are values."""
        odd = "'; DROP TABLE version; -- \" $.a [0] % ? :x {} \\"
        put(store, replace(box("a", 1), name=odd, attributes={odd: odd, "list": [odd]}))
        name = json.dumps(odd)[1:-1].replace('\\"', '""').replace("\\\\", "\\")
        for text in (
            f'"{name}" = {cql2_text.write(Literal(odd))}',
            f"A_CONTAINS(list, ({cql2_text.write(Literal(odd))}))",
        ):
            assert key_of(store.query(Filter(where=cql2_text.read(text))).items) == ["a"]
