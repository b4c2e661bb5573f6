"""Validity, database time, scenarios."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from tim.errors import StoreError, UsageError
from tim.model import derived_id
from tim.store import AsOf, Changeset, Filter, ObjectStore, Retire
from tim.store.contract.samples import TOWN, box, key_of, put, some
from tim.store.contract.stores import Stores


class Times(Stores):
    """At which moment what is there."""

    # Both times

    def test_both_times(self, store: ObjectStore) -> None:
        """A delivery of 2020, another of 2022, then a correction of what 2021 was: each moment of each time has its answer."""
        put(store, replace(box("a", 1), valid_from="2020-01-01"))
        put(store, replace(box("a", 2), valid_from="2022-01-01"))
        put(store, replace(box("a", 3), valid_from="2021-01-01", valid_to="2021-07-01T00:00:00Z"))
        tim_id = derived_id(TOWN.uid, "", "a")
        expected: dict[int, dict[str, str | None]] = {
            1: {"2019-12-31": None, "2020-01-01": "a1", "2021-03-01": "a1", "2022-01-01": "a1", "2023-01-01": "a1"},
            2: {"2019-12-31": None, "2020-01-01": "a1", "2021-03-01": "a1", "2022-01-01": "a2", "2023-01-01": "a2"},
            3: {"2020-12-31T23:59:59.999Z": "a1", "2021-01-01": "a3", "2021-06-30": "a3", "2021-07-01": "a1", "2021-12-31": "a1", "2022-01-01": "a2"},
        }  # fmt: skip
        for seq, by_time in expected.items():
            for valid, name in by_time.items():
                found = store.get(tim_id, AsOf(valid, seq))
                assert (found and found.object.name) == name, (seq, valid)
                assert [v.object.name for v in store.query(Filter(), AsOf(valid, seq)).items] == (
                    [name] if name else []
                )
        assert some(store.get(tim_id)).object.name == "a2"
        assert store.get(tim_id, AsOf(seq=0)) is None
        numbers = [v.version for v in store.history(tim_id)]
        assert numbers == list(range(1, len(numbers) + 1))

    def test_what_is_yet_to_be_is_not_there_now(self, store: ObjectStore) -> None:
        """Both times default to now."""
        put(
            store,
            replace(box("plan", 1), valid_from="2900-01-01"),
            replace(box("past", 1), valid_to="1900-01-01"),
            box("now", 1),
        )
        assert key_of(store.query(Filter()).items) == ["now"]
        assert store.count() == 1
        assert sorted(key_of(store.query(Filter(), AsOf("2950-01-01")).items)) == ["now", "plan"]

    def test_any_moment_of_an_interval(self, store: ObjectStore) -> None:
        """Validity is half-open, the interval has both its ends; an object comes once, as it was last in it."""
        put(store, replace(box("a", 1), valid_from="2020-01-01", valid_to="2022-01-01"))
        put(
            store,
            replace(box("a", 2), valid_from="2022-01-01"),
            replace(box("b", 1), valid_to="2021-01-01"),
            box("c", 1),
        )
        expected: dict[tuple[str | None, str | None], list[str]] = {
            ("2019-01-01", "2019-12-31"): ["b1", "c1"], ("2019-01-01", "2020-01-01"): ["a1", "b1", "c1"],
            ("2021-01-01", "2021-12-31T23:59:59.999999999Z"): ["a1", "c1"], ("2020-12-31", "2022-01-01"): ["a2", "b1", "c1"],
            ("2022-01-01", "2022-01-01"): ["a2", "c1"], (None, "2019-12-31"): ["b1", "c1"], (None, None): ["a2", "b1", "c1"],
            ("2021-06-01", None): ["a2", "c1"], ("2030-01-01T00:00:00.5Z", "2030-01-01T00:00:00.5Z"): ["a2", "c1"],
        }  # fmt: skip
        for during, names in expected.items():
            found = [v.object.name for v in store.query(Filter(during=during), AsOf("1000-01-01")).items]
            assert sorted(found) == names, during
        during = ("2020-01-01", "2023-01-01")
        assert [
            v.object.name for v in store.query(Filter(during=during, class_id=box("a", 1).class_id), AsOf(seq=1)).items
        ] == ["a1"]
        by_one, cursor = [], None
        while True:
            page = store.query(Filter(during=during), None, cursor, 1)
            by_one += [v.object.name for v in page.items]
            if (cursor := page.cursor) is None:
                break
        assert sorted(by_one) == ["a2", "b1", "c1"]
        assert [v.object.name for v in store.query(Filter(during=during, box=box("a", 1).box)).items].count("a1") <= 1

    def test_an_interval_must_have_an_order(self, store: ObjectStore) -> None:
        """Ends that are no moments, or stand in the wrong order, are refused."""
        for during in (("2022-01-01", "2021-01-01"), ("2022-01-01T00:00:01Z", "2022-01-01")):
            with pytest.raises(UsageError, match=r"2022"):
                store.query(Filter(during=during))
        with pytest.raises(StoreError):
            store.query(Filter(during=("yesterday", None)))

    def test_times_order_as_time(self, store: ObjectStore) -> None:
        """Dates, instants and fractions of a second compare by what they mean."""
        put(store, replace(box("a", 1), valid_from="2020-01-01T00:00:00.5Z", valid_to="2020-01-01T00:00:01Z"))
        for valid, there in {
            "2020-01-01": 0, "2020-01-01T00:00:00Z": 0, "2020-01-01T00:00:00.49Z": 0, "2020-01-01T00:00:00.500Z": 1,
            "2020-01-01T00:00:00.75Z": 1, "2020-01-01T00:00:01Z": 0, "2020-01-01T00:00:01.000Z": 0,
        }.items():  # fmt: skip
            assert len(store.query(Filter(), AsOf(valid)).items) == there, valid

    def test_retiring_takes_back(self, store: ObjectStore) -> None:
        """Without a date an object is no longer stated at all; its history stays, and it may come again."""
        tim_id = put(store, box("a", 1)).touched[0].tim_id
        applied = store.apply(Changeset("town", [Retire(tim_id)]))
        assert (applied.seq, applied.retired) == (2, 1)
        assert (applied.touched[0].old_box, applied.touched[0].new_box) == (box("a", 1).box, None)
        assert store.get(tim_id) is None
        assert store.get(tim_id, AsOf("1999-01-01")) is None
        assert some(store.get(tim_id, AsOf(seq=1))).object.name == "a1"
        assert [v.db_to is None for v in store.history(tim_id)] == [False]
        assert store.apply(Changeset("town", [Retire(tim_id)])).seq == 2
        assert put(store, box("a", 1)).created == 1
        assert [v.version for v in store.history(tim_id)] == [1, 2]

    def test_retiring_at_a_date_ends_it_there(self, store: ObjectStore) -> None:
        """With a date an object ended then in the real world."""
        tim_id = put(store, replace(box("a", 1), valid_from="2010-01-01")).touched[0].tim_id
        assert store.apply(Changeset("town", [Retire(tim_id, "2020-01-01")])).retired == 1
        assert store.get(tim_id) is None
        assert some(store.get(tim_id, AsOf("2015-01-01"))).object.valid_to == "2020-01-01"
        assert store.get(tim_id, AsOf("2020-01-01")) is None
        assert some(store.get(tim_id, AsOf("2025-01-01", seq=1))).object.name == "a1"
        assert store.apply(Changeset("town", [Retire(tim_id, "2022-01-01")])).unchanged == 1
        with pytest.raises(StoreError):
            store.apply(Changeset("town", [Retire(uuid4())]))

    def test_scenarios_lie_beside_the_common_line(self, store: ObjectStore) -> None:
        """What a scenario says does not touch what is."""
        tim_id = put(store, box("a", 1)).touched[0].tim_id
        put(store, replace(box("a", 2), scenario="scheme-1"), replace(box("b", 1), scenario="scheme-1"))
        assert [v.object.name for v in store.query(Filter()).items] == ["a1"]
        assert sorted(v.object.name for v in store.query(Filter(scenario="scheme-1")).items) == ["a2", "b1"]
        assert some(store.get(tim_id)).object.name == "a1"
        assert some(store.get(tim_id, scenario="scheme-1")).object.name == "a2"
        assert store.count() == 1
        store.apply(Changeset("town", [Retire(tim_id, scenario="scheme-1")]))
        assert some(store.get(tim_id)).object.name == "a1"
        assert store.get(tim_id, scenario="scheme-1") is None
