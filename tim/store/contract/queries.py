"""Filters and pages."""

from __future__ import annotations

import math
from dataclasses import replace
from uuid import uuid4

import pytest

from tim.errors import TimError, UsageError
from tim.model import Code, ObjectRecord, Stage, derived_id
from tim.store import AsOf, Changeset, Filter, ObjectStore, Put
from tim.store.contract.samples import TOWN, box, key_of, put, walk
from tim.store.contract.stores import Stores


class Queries(Stores):
    """Asking for some."""

    # Filters

    def test_classes_are_a_tree(self, store: ObjectStore) -> None:
        """A class means itself and all below it, not what merely begins alike."""
        put(
            store,
            *(
                ObjectRecord(c, c)
                for c in ("survey", "survey.point-cloud", "survey.point-cloud.x", "surveyor", "survey-x")
            ),
        )
        assert sorted(key_of(store.query(Filter(class_id="survey")).items)) == [
            "survey",
            "survey.point-cloud",
            "survey.point-cloud.x",
        ]
        assert key_of(store.query(Filter(class_id="survey-x")).items) == ["survey-x"]
        assert store.query(Filter(class_id="sur_ey")).items == []

    def test_attributes_equal_as_json(self, store: ObjectStore) -> None:
        """1 is 1.0, but neither true nor "1"; null is not absence; lists and records compare whole."""
        values = {
            "int": 1,
            "true": True,
            "text": "1",
            "null": None,
            "half": 0.5,
            "list": [1, {"a": None}],
            "record": {"b": 1, "a": "'"},
            "big": 2**62,
        }
        put(
            store,
            *(ObjectRecord(key, "thing", attributes={"x": value}) for key, value in values.items()),
            ObjectRecord("none", "thing"),
        )
        for key, value in values.items():
            assert key_of(store.query(Filter(attributes={"x": value})).items) == [key]
        assert key_of(store.query(Filter(attributes={"x": 1.0})).items) == ["int"]
        assert store.query(Filter(attributes={"x": 2})).items == []
        assert store.query(Filter(attributes={"x": 10**30})).items == []
        assert store.query(Filter(attributes={"y": None})).items == []
        put(store, ObjectRecord("odd", "thing", attributes={'a"b.$[0]\\': "'", "n": 3}))
        assert key_of(store.query(Filter(attributes={'a"b.$[0]\\': "'", "n": 3})).items) == ["odd"]

    def test_codes_find_objects(self, store: ObjectStore) -> None:
        """By scheme and value, and edition where one is given; as of then where asked."""
        old, new = Code("landuse", "2017", "05"), Code("landuse", "2023", "05")
        put(
            store, replace(box("a", 1), codes=(old,)), replace(box("b", 1), codes=(Code("landuse", "2023", "050"), new))
        )
        assert sorted(key_of(store.query(Filter(code=Code("landuse", "", "05"))).items)) == ["a", "b"]
        assert key_of(store.query(Filter(code=new)).items) == ["b"]
        assert store.query(Filter(code=Code("other", "", "05"))).items == []
        put(store, box("a", 1))
        assert key_of(store.query(Filter(code=Code("landuse", "", "05"))).items) == ["b"]
        assert key_of(store.query(Filter(code=old), AsOf(seq=1)).items) == ["a"]

    def test_stage_and_dataset(self, store: ObjectStore) -> None:
        """Conditions are joined by and."""
        put(store, replace(box("a", 1), stage=Stage.PLANNED), box("b", 1))
        store.apply(Changeset("hills", [Put(replace(box("a", 1), stage=Stage.PLANNED))]))
        assert [v.dataset for v in store.query(Filter(stage=Stage.PLANNED, dataset="hills")).items] == ["hills"]
        assert len(store.query(Filter(stage=Stage.PLANNED)).items) == 2
        assert key_of(store.query(Filter(stage=Stage.SURVEYED, dataset="town", box=(1, 1, 0, 1, 1, 0))).items) == ["b"]

    def test_boxes_meet_exactly(self, store: ObjectStore) -> None:
        """Closed boxes in three dimensions, in double precision: what touches meets, a hair beside does not."""
        x, hair = 120.123456789, 1e-12
        put(
            store, ObjectRecord("a", "thing", box=(x, 30.0, 5.0, x + 1e-6, 30.1, 6.0)), ObjectRecord("nowhere", "thing")
        )

        def hits(*asked: float) -> int:
            west, south, bottom, east, north, top = asked
            return len(store.query(Filter(box=(west, south, bottom, east, north, top))).items)

        assert hits(x - 1, 29, 0, x, 31, 9) == 1
        assert hits(x - 1, 29, 0, x - 2e-14, 31, 9) == 0
        assert hits(x + 1e-6, 29, 0, 121, 31, 9) == 1
        assert hits(x + 1e-6 + 3e-14, 29, 0, 121, 31, 9) == 0
        assert hits(120, 30.1, 6.0, 121, 31, 9) == 1
        assert hits(120, 30.1 + hair, 0, 121, 31, 9) == 0
        assert hits(120, 29, 6.0 + hair, 121, 31, 9) == 0
        assert hits(120, 29, -9, 121, 31, 5.0 - hair) == 0
        assert hits(-180, -90, -1e5, 180, 90, 1e5) == 1

    def test_boxes_across_the_antimeridian(self, store: ObjectStore) -> None:
        """A box whose west lies east of its east goes round the back, in objects and in questions."""
        boxes = {"fiji": (177.0, -19.0, 0.0, -178.0, -16.0, 1.0), "east": (170.0, -19.0, 0.0, 175.0, -16.0, 1.0),
                 "west": (-175.0, -19.0, 0.0, -170.0, -16.0, 1.0), "home": (0.0, -19.0, 0.0, 1.0, -16.0, 1.0)}  # fmt: skip
        put(store, *(ObjectRecord(key, "island", box=b) for key, b in boxes.items()))

        def hits(west: float, east: float) -> list[str]:
            return sorted(key_of(store.query(Filter(box=(west, -20.0, 0.0, east, 0.0, 1.0))).items))

        assert hits(-180, 180) == ["east", "fiji", "home", "west"]
        assert hits(178, 179) == ["fiji"]
        assert hits(-179, -178.5) == ["fiji"]
        assert hits(-178, -176) == ["fiji"]
        assert hits(176, 176.5) == []
        assert hits(174, -174) == ["east", "fiji", "west"]
        assert hits(179, -179) == ["fiji"]
        assert hits(100, -100) == ["east", "fiji", "west"]
        assert hits(2, -1) == ["east", "fiji", "west"]
        assert hits(-170, 0) == ["home", "west"]
        assert store.get(derived_id(TOWN.uid, "", "fiji")) is not None
        put(store, ObjectRecord("fiji", "island", box=boxes["home"]))
        assert hits(178, 179) == []

    # Pages

    def test_pages_are_whole_and_ordered(self, store: ObjectStore) -> None:
        """All pages together are the answer, by id, each object once, whatever the size of a page."""
        put(store, *(box(f"{i}", i % 7) for i in range(23)))
        everything = [v.tim_id for v in store.query(Filter()).items]
        assert everything == sorted(everything)
        assert len(everything) == 23
        for limit in (1, 5, 22, 23, 24):
            sizes, found = walk(store, Filter(dataset="town", box=(0, 0, 0, 9, 9, 1)), limit)
            assert found == everything
            assert all(size == limit for size in sizes[:-1])
            assert 0 < sizes[-1] <= limit

    def test_pages_show_one_state(self, store: ObjectStore) -> None:
        """What changes while somebody pages does not tear his answer."""
        put(store, *(box(f"{i}", 1) for i in range(10)))
        expected = store.query(Filter()).items
        page = store.query(Filter(), limit=3)
        items = list(page.items)
        while page.cursor:
            put(store, *(box(f"{i}", store.seq % 90) for i in range(0, 12, 2)))
            page = store.query(Filter(), cursor=page.cursor, limit=3)
            items += page.items
        assert [v.object for v in items] == [v.object for v in expected]

    @pytest.mark.parametrize("cursor", ["", "x", "1_2_3", "1__" + "g" * 32, "'", "1_2026-01-01_" + "0" * 31])
    def test_foreign_cursors_are_refused(self, store: ObjectStore, cursor: str) -> None:
        """A cursor is what a page gave, nothing else."""
        with pytest.raises(UsageError):
            store.query(Filter(), cursor=cursor)

    def test_odd_questions_have_answers(self, store: ObjectStore) -> None:
        """What no store can hold is found nowhere, or refused; it breaks nothing."""
        put(store, box("a", 1))
        odd = "\ud800"
        for wanted in (Filter(class_id=odd), Filter(scenario=odd), Filter(attributes={odd: 1}), Filter(attributes={"i": math.nan}),
                       Filter(code=Code("", "", odd))):  # fmt: skip
            with pytest.raises(TimError):
                store.query(wanted)
        assert store.query(Filter(attributes={"i": "\0"}, code=Code("\0", "", "\0"))).items == []
        assert len(store.query(Filter(), AsOf(seq=2**80)).items) == 1
        assert store.query(Filter(), AsOf(seq=-(2**80))).items == []
        with pytest.raises(TimError):
            store.get(uuid4(), AsOf("tomorrow"))

    def test_limits_are_positive(self, store: ObjectStore) -> None:
        """A page of nothing cannot be asked for."""
        for limit in (0, -1):
            with pytest.raises(UsageError):
                store.query(Filter(), limit=limit)
