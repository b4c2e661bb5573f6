"""What changed on which line, how objects hang together, and which codes stand twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from tim.errors import StoreError, UsageError
from tim.model import Code, ObjectRecord, Relation, Stage, derived_id
from tim.store import AsOf, Change, Changeset, DropSource, Filter, Link, ObjectStore, Put, PutSource, Retire
from tim.store.contract.samples import TOWN, box, key_of, put, some, source
from tim.store.contract.stores import Stores


class Lines(Stores):
    """Changes, scenarios, relations, codes."""

    # Changes

    def test_what_changed(self, store: ObjectStore) -> None:
        """Each object once, with what was in force before and after; what came and went in between is not told."""
        put(store, box("a", 1), box("b", 1), box("c", 1))
        put(store, box("a", 2), box("passing", 1))
        store.apply(Changeset("town", [Retire(_id("b")), Retire(_id("passing")), Put(box("d", 1))]))
        assert _told(store, 0) == [("a", 2, [], ["a2"]), ("c", 1, [], ["c1"]), ("d", 3, [], ["d1"])]
        assert _told(store, 1) == [("a", 2, ["a1"], ["a2"]), ("b", 3, ["b1"], []), ("d", 3, [], ["d1"])]
        assert _told(store, 1, 2) == [("a", 2, ["a1"], ["a2"]), ("passing", 2, [], ["passing1"])]
        assert _told(store, 2, 3) == [("b", 3, ["b1"], []), ("d", 3, [], ["d1"]), ("passing", 3, ["passing1"], [])]
        assert _told(store, 3) == []
        assert _told(store, 1 << 70) == []
        assert [c.seq for c in store.changes("town", 0).items] == sorted(c.seq for c in store.changes("town", 0).items)

    def test_changes_keep_to_a_dataset(self, store: ObjectStore) -> None:
        """What happens to others in between is not told."""
        put(store, box("a", 1))
        store.apply(Changeset("hills", [Put(box("h", 1))]))
        put(store, box("a", 2))
        store.apply(Changeset("hills", [Put(box("h", 2)), Put(box("i", 1))]))
        assert _told(store, 0) == [("a", 3, [], ["a2"])]
        assert _told(store, 1) == [("a", 3, ["a1"], ["a2"])]
        assert sorted(c.after[0].object.name for c in store.changes("hills", 0).items) == ["h2", "i1"]
        with pytest.raises(UsageError) as caught:
            store.changes("twon", 0)
        assert caught.value.code == "store.no-dataset"

    def test_changes_by_the_page(self, store: ObjectStore) -> None:
        """Pages of any size give the same, each object on one of them, with all its lines."""
        put(store, *(box(f"{i}", i) for i in range(7)))
        put(store, *(replace(box(f"{i}", i + 1), scenario=s) for i in range(1, 4) for s in ("", "x")))
        put(store, *(box(f"{i}", i + 2) for i in range(3)))
        whole = store.changes("town", 0).items
        assert [(c.tim_id, c.scenario) for c in whole] == list(dict.fromkeys((c.tim_id, c.scenario) for c in whole))
        assert len(whole) == 10
        for limit in (1, 2, 3, 7, 100):
            paged: list[Change] = []
            cursor = None
            while True:
                page = store.changes("town", 0, None, cursor, limit)
                paged += page.items
                if (cursor := page.cursor) is None:
                    break
            assert paged == whole, limit
        with pytest.raises(UsageError):
            store.changes("town", 0, limit=0)
        for cursor in ("", "1", "x_y", "1_2_3_", "9" * 50):
            with pytest.raises(UsageError):
                store.changes("town", 0, cursor=cursor)

    def test_changes_by_line(self, store: ObjectStore) -> None:
        """A line that was not touched is not told, though the object was."""
        put(store, box("a", 1), replace(box("a", 2), scenario="x"))
        put(store, replace(box("a", 3), scenario="x"), replace(box("a", 4), scenario="y"))
        found = store.changes("town", 1).items
        assert [(c.scenario, len(c.before), c.after[0].object.name) for c in found] == [("x", 1, "a3"), ("y", 0, "a4")]

    def test_changes_tell_every_validity(self, store: ObjectStore) -> None:
        """All rectangles in force, by validity."""
        put(store, box("a", 1))
        put(store, replace(box("a", 2), valid_from="2020-01-01", valid_to="2021-01-01"))
        (found,) = store.changes("town", 1).items
        assert [(v.object.name, v.object.valid_from, v.object.valid_to) for v in found.before] == [("a1", None, None)]
        assert [(v.object.name, v.object.valid_from, v.object.valid_to) for v in found.after] == [
            ("a1", None, "2020-01-01"), ("a2", "2020-01-01", "2021-01-01"), ("a1", "2021-01-01", None),
        ]  # fmt: skip
        assert [v.version for v in store.history(found.tim_id) if v.db_to is None] == sorted(
            v.version for v in found.after
        )

    # Scenarios

    def test_a_scenario_upon_the_common_line(self, store: ObjectStore) -> None:
        """What the scenario says, else what the common line says; what it retires is hidden."""
        put(store, box("a", 1), box("b", 1), box("c", 1))
        put(
            store,
            replace(box("a", 2), scenario="x"),
            replace(box("b", 1), scenario="x", stage=Stage.RETIRED),
            replace(box("d", 1), scenario="x", valid_from="2000-01-01"),
            replace(box("c", 9), scenario="y"),
        )
        upon = Filter(dataset="town", scenario="x", upon=True)
        assert sorted(v.object.name for v in store.query(upon).items) == ["a2", "c1", "d1"]
        assert sorted(v.object.name for v in store.query(upon, AsOf("1990-01-01")).items) == ["a2", "c1"]
        assert sorted(v.object.name for v in store.query(upon, AsOf(seq=1)).items) == ["a1", "b1", "c1"]
        assert sorted(key_of(store.query(Filter(scenario="x")).items)) == ["a", "b", "d"]
        assert sorted(v.object.name for v in store.query(Filter(upon=True)).items) == ["a1", "b1", "c1"]
        asked = replace(upon, attributes={"i": 1}, box=box("c", 1).box)
        assert sorted(v.object.name for v in store.query(asked).items) == ["c1", "d1"]
        paged, cursor = [], None
        while True:
            page = store.query(upon, None, cursor, 1)
            paged += [v.object.name for v in page.items]
            if (cursor := page.cursor) is None:
                break
        assert sorted(paged) == ["a2", "c1", "d1"]
        with pytest.raises(UsageError) as caught:
            store.query(replace(upon, during=("2000-01-01", "2001-01-01")))
        assert caught.value.code == "store.upon-during"

    def test_scenarios_are_listed(self, store: ObjectStore) -> None:
        """With how many objects each says something of now, also of the future; ended ones are gone."""
        put(
            store,
            box("a", 1),
            replace(box("a", 2), scenario="方案二", valid_from="2900-01-01"),
            replace(box("a", 3), scenario="方案二", valid_to="1900-01-01"),
            replace(box("b", 1), scenario="x"),
            replace(box("c", 1), scenario="x", stage=Stage.RETIRED),
        )
        store.apply(Changeset("hills", [Put(replace(box("h", 1), scenario="z"))]))
        assert list(store.scenarios("town").items()) == [("x", 2), ("方案二", 1)]
        store.apply(Changeset("town", [Retire(_id("a"), scenario="方案二")]))
        assert store.scenarios("town") == {"x": 2}
        assert store.scenarios("hills") == {"z": 1}
        with pytest.raises(UsageError):
            store.scenarios("twon")

    # Relations

    def test_related(self, store: ObjectStore) -> None:
        """From objects and to them, by kind, in order."""
        a, b, c, far = _id("a"), _id("b"), _id("c"), UUID(int=5)
        put(
            store,
            _linked("a", ("partOf", b), ("connectsTo", c), ("partOf", far)),
            _linked("b", ("partOf", c)),
            _linked("c", ("connectsTo", a)),
        )
        whole = [
            (a, "connectsTo", c), (a, "partOf", b), (a, "partOf", far), (b, "partOf", c), (c, "connectsTo", a),
        ]  # fmt: skip
        assert _links(store, [a, b, c]) == sorted(whole)
        assert _links(store, [a]) == sorted(link for link in whole if link[0] == a)
        assert _links(store, [a, b, a], ["partOf"]) == sorted(
            link for link in whole if link[0] in (a, b) and link[1] == "partOf"
        )
        assert _links(store, [c], inverse=True) == sorted(link for link in whole if link[2] == c)
        assert _links(store, [far, c], ["partOf"], inverse=True) == sorted(
            link for link in whole if link[2] in (far, c) and link[1] == "partOf"
        )
        assert _links(store, []) == _links(store, [far]) == _links(store, [a], ["none"]) == []
        many = [UUID(int=i) for i in range(1200)]
        assert _links(store, [*many, a, b, c]) == sorted(whole)

    def test_related_at_a_moment(self, store: ObjectStore) -> None:
        """A relation is there while its object says it, and while it is valid itself."""
        a, b = _id("a"), _id("b")
        bounded = Relation("partOf", b, "2010-01-01", "2020-01-01T12:00:00Z", "deed 7")
        put(store, replace(_linked("a"), relations=(bounded,)))
        put(store, replace(_linked("a", ("crosses", b)), valid_from="2030-01-01"))
        for valid, kinds in {
            "2009-12-31": [], "2010-01-01": ["partOf"], "2020-01-01T11:59:59Z": ["partOf"], "2020-01-01T12:00:00Z": [],
            "2025-01-01": [], "2030-01-01": ["crosses"],
        }.items():  # fmt: skip
            for inverse in (False, True):
                found = store.related([b if inverse else a], inverse=inverse, as_of=AsOf(valid))
                assert [link.kind for link in found] == kinds, (valid, inverse)
        assert store.related([a], as_of=AsOf("2015-01-01", 1)) == [
            Link(a, "partOf", b, "2010-01-01", "2020-01-01T12:00:00Z", "deed 7")
        ]
        assert store.related([a], as_of=AsOf("2030-01-01", 1)) == []
        assert store.related([a], as_of=AsOf("2015-01-01", 0)) == []
        store.apply(Changeset("town", [Retire(a)]))
        assert store.related([b], inverse=True, as_of=AsOf("2015-01-01")) == []
        assert len(store.related([b], inverse=True, as_of=AsOf("2015-01-01", 2))) == 1

    def test_related_on_a_line(self, store: ObjectStore) -> None:
        """A scenario's relations are its own."""
        a, b, c = _id("a"), _id("b"), _id("c")
        put(store, _linked("a", ("partOf", b)), replace(_linked("a", ("partOf", c)), scenario="x"))
        assert _links(store, [a]) == [(a, "partOf", b)]
        assert [link[:3] for link in store.related([a], scenario="x")] == [(a, "partOf", c)]
        assert store.related([b], inverse=True, scenario="x") == []

    def test_what_a_dataset_states(self, store: ObjectStore) -> None:
        """By the objects that are there now, on the common line, whenever the relations are valid; of the kinds asked for."""
        a, b, c = _id("a"), _id("b"), _id("c")
        ended = Relation("partOf", c, None, "1990-01-01", "deed 7")
        put(
            store, _linked("a", ("partOf", b), ("crosses", b)), replace(_linked("b"), relations=(ended,)), _linked("gone", ("partOf", b)),
            replace(_linked("past", ("partOf", b)), valid_to="1990-01-01"), replace(_linked("a", ("partOf", c)), scenario="x"), _linked("c"),
        )  # fmt: skip
        store.apply(Changeset("town", [Retire(_id("gone"))]))
        store.apply(Changeset("hills", [Put(_linked("h", ("partOf", b)))]))
        expected = [Link(a, "partOf", b, None, None, ""), Link(b, "partOf", c, None, "1990-01-01", "deed 7")]
        assert store.stated("town", ["partOf"]) == sorted(expected)
        assert [link.kind for link in store.stated("town", ["crosses", "partOf", "none"]) if link.source == a] == [
            "crosses",
            "partOf",
        ]
        assert store.stated("town", []) == store.stated("town", ["none"]) == []
        with pytest.raises(UsageError):
            store.stated("twon", ["partOf"])

    # Codes

    def test_codes_that_stand_twice(self, store: ObjectStore) -> None:
        """Scheme, edition and value on several objects that are there now, on the common line, of one dataset."""
        unit, other = Code("unit", "2019", "340"), Code("unit", "2025", "340")
        put(
            store,
            *(replace(box(key, 1), codes=codes) for key, codes in {
                "a": (unit, Code("s", "", "1")), "b": (unit, unit), "c": (other,), "alone": (Code("s", "", "2"),) * 2, "d": (Code("s", "", "1"),),
                "gone": (other,),
            }.items()),
            replace(box("past", 1), codes=(other,), valid_to="1990-01-01"),
            replace(box("lapsed", 1), codes=(replace(other, valid_to="1990-01-01"),)),
            replace(box("then", 1), codes=(replace(other, valid_from="2900-01-01"),)),
            replace(box("planned", 1), codes=(other,), scenario="x"),
        )  # fmt: skip
        store.apply(Changeset("town", [Retire(_id("gone"))]))
        store.apply(Changeset("hills", [Put(replace(box("h", 1), codes=(other,)))]))
        assert list(store.duplicate_codes("town")) == [
            (Code("s", "", "1"), sorted([_id("a"), _id("d")])),
            (unit, sorted([_id("a"), _id("b")])),
        ]
        assert list(store.duplicate_codes("hills")) == []
        with pytest.raises(UsageError):
            list(store.duplicate_codes("twon"))

    # Sources of versions, limits

    def test_versions_know_their_source(self, store: ObjectStore) -> None:
        """As it was named with them, inherited where it was not; also after the source is gone."""
        store.apply(Changeset("town", [PutSource(source("k")), PutSource(source("l")), Put(box("a", 1), source="k")]))
        put(store, box("a", 2), box("b", 1))
        store.apply(Changeset("town", [Put(box("a", 2), source="l")]))
        assert [v.source for v in store.history(_id("a"))] == ["k", "l"]
        assert some(store.get(_id("b"))).source == ""
        assert [v.source for v in store.query(Filter(attributes={"i": 2})).items] == ["l"]
        store.apply(Changeset("town", [DropSource("l")]))
        put(store, box("a", 3))
        assert some(store.get(_id("a"))).source == "l"
        (change,) = store.changes("town", 2).items
        assert ([v.source for v in change.before], [v.source for v in change.after]) == (["l"], ["l"])

    def test_a_slow_question_is_stopped(self, store: ObjectStore) -> None:
        """After the time it may take; the store answers as before."""
        put(store, *(box(f"{i}", i) for i in range(5000)))
        slow = Filter(dataset="town", properties={"i": "no", "j": "no"})
        with pytest.raises(StoreError) as caught:
            store.query(slow, seconds=1e-6)
        assert caught.value.code == "store.too-slow"
        assert store.query(slow, seconds=60).items == []
        assert len(store.query(Filter(dataset="town"), limit=3, seconds=60).items) == 3


def _id(key: str) -> UUID:
    return derived_id(TOWN.uid, "", key)


def _linked(key: str, *links: tuple[str, UUID]) -> ObjectRecord:
    return replace(box(key, 1), relations=tuple(Relation(kind, target) for kind, target in links))


def _links(store: ObjectStore, ids: list[UUID], kinds: list[str] | None = None, **options: Any) -> list[Any]:
    return [link[:3] for link in store.related(ids, kinds or [], **options)]


def _told(store: ObjectStore, since: int, until: int | None = None) -> list[tuple[str, int, list[str], list[str]]]:
    """Key, sequence, names before and after; by key, as objects of one changeset have no order that tells."""
    found = store.changes("town", since, until)
    assert found.cursor is None
    return sorted(
        (
            (*c.before, *c.after)[0].object.source_key,
            c.seq,
            [v.object.name for v in c.before],
            [v.object.name for v in c.after],
        )
        for c in found.items
    )
