"""What every object store must do, as tests; for the stores here and for those of others. Needs pytest and hypothesis.

::

    class TestMyStore(StoreContract):
        def open_store(self, folder: Path) -> ObjectStore:
            return MyStore(folder / "mine")


    TestMyStoreHistory = history_machine(lambda folder: MyStore(folder / "mine"))
"""

from __future__ import annotations

import json
import math
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import TestCase
from uuid import UUID, uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tim.errors import Conflict, StoreError, TimError, UsageError
from tim.model import Code, Dataset, ObjectRecord, Relation, Representation, Stage, dataset_uid, derived_id
from tim.place import Box3, Datum, Frame, Height, Place
from tim.sources import Fingerprint, SourceRef
from tim.store import (
    Applied,
    AsOf,
    Changeset,
    DropSource,
    Filter,
    ObjectStore,
    ObjectVersion,
    Operation,
    Put,
    PutSource,
    Retire,
)

__all__ = ["StoreContract", "history_machine"]

FRAME = Frame(120.0, 30.0, 0.0, 2**-10)
TOWN = Dataset("town", "海滨小镇", "objects", dataset_uid("town"), FRAME, settings={"attributes": ["owner"]})
HILLS = Dataset("hills", "Western hills", "points", dataset_uid("hills"), FRAME, private=True)
FULL = ObjectRecord(
    "block/7", "building.house", name="七号楼 “A”", layer="建筑", attributes={"floors": 7, "用途": "居住", "nested": {"b": [1, 2.5, None, True]}},
    box=(120.1, 30.1, -3.5, 120.2, 30.2, 21.25), stage=Stage.AS_BUILT, valid_from="2020-01-01", valid_to="2030-06-30T12:00:00Z",
    codes=(Code("cn.real-estate-unit", "GB/T 37346-2019", "340123002004GB00011", "2020-01-01", None), Code("cn.address", "2021", "七号")),
    relations=(Relation("partOf", UUID(int=77), "2020-01-01", "2025-01-01", "deed 12"),),
    representations=(Representation("body", "2", "tim-mesh", "ab" * 32, {"faces": 64}), Representation("bulk", "", "osgb", "Tile_7")),
)  # fmt: skip
NOW = AsOf()


class StoreContract:
    """Inherit, define :meth:`open_store`, and pytest does the rest."""

    def open_store(self, folder: Path) -> ObjectStore:
        """The store that lives in ``folder``: an empty one the first time, the same one when called again."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[ObjectStore]:
        """A store with two datasets."""
        with self.open_store(tmp_path) as store:
            store.put_dataset(TOWN)
            store.put_dataset(HILLS)
            yield store

    # Datasets

    def test_empty(self, tmp_path: Path) -> None:
        """An empty store answers everything with nothing."""
        with self.open_store(tmp_path) as store:
            assert (store.seq, store.count(), store.datasets(), list(store.log())) == (0, 0, [], [])
            assert store.query(Filter()).items == []
            assert store.get(uuid4()) is None
            assert store.history(uuid4()) == []

    def test_datasets_come_back(self, store: ObjectStore) -> None:
        """As they were put, by slug."""
        assert store.datasets() == [HILLS, TOWN]
        assert store.dataset("town") == TOWN

    def test_dataset_may_change_its_title_but_not_its_frame(self, store: ObjectStore) -> None:
        """Title, access and settings change; uid, kind and frame never."""
        changed = replace(TOWN, title="小镇", private=True, settings={"error": 1.5})
        assert store.put_dataset(changed) == changed
        assert store.dataset("town") == changed
        for other in (
            replace(TOWN, frame=replace(FRAME, lon=121.0)),
            replace(TOWN, kind="points"),
            replace(TOWN, uid=uuid4()),
        ):
            with pytest.raises(StoreError):
                store.put_dataset(other)
        assert store.dataset("town") == changed

    @pytest.mark.parametrize("slug", ["", "Town", "-town", "town_1", "城", "a" * 64, "a/b", "town\n"])
    def test_slugs_fit_urls(self, store: ObjectStore, slug: str) -> None:
        """What cannot stand in a URL cannot name a dataset."""
        with pytest.raises(UsageError):
            store.put_dataset(replace(TOWN, slug=slug, uid=uuid4()))

    def test_unknown_dataset_names_the_known_ones(self, store: ObjectStore) -> None:
        """Every verb that takes a dataset says which there are."""
        verbs: list[Callable[[], object]] = [
            lambda: store.dataset("twon"), lambda: store.sources("twon"), lambda: store.count("twon"), lambda: store.class_counts("twon"), lambda: list(store.log("twon")),
            lambda: store.query(Filter(dataset="twon")), lambda: store.apply(Changeset("twon", [])),
        ]  # fmt: skip
        for verb in verbs:
            with pytest.raises(UsageError, match="hills, town") as caught:
                verb()
            assert caught.value.code == "store.no-dataset"

    # Objects and versions

    def test_every_field_comes_back(self, store: ObjectStore) -> None:
        """A record is stored whole."""
        applied = put(store, FULL)
        tim_id = derived_id(TOWN.uid, "建筑", "block/7")
        assert (applied.seq, applied.created, applied.updated, applied.retired, applied.unchanged) == (1, 1, 0, 0, 0)
        assert [t.tim_id for t in applied.touched] == [tim_id]
        found = store.get(tim_id)
        assert found is not None
        assert found.object == replace(FULL, tim_id=tim_id)
        assert (found.tim_id, found.version, found.dataset, found.seq, found.db_to) == (tim_id, 1, "town", 1, None)
        assert store.history(tim_id) == [found]
        assert store.query(Filter()).items == [found]
        assert store.count() == store.count("town") == 1
        assert store.count("hills") == 0

    def test_nothing_is_lost_by_closing(self, tmp_path: Path) -> None:
        """What was applied is there for the next who opens."""
        with self.open_store(tmp_path) as store:
            store.put_dataset(TOWN)
            applied = put(store, FULL)
        with self.open_store(tmp_path) as store:
            assert store.seq == applied.seq
            assert [c.hash for c in store.log()] == [applied.hash]
            assert key_of(store.query(Filter()).items) == ["block/7"]

    def test_what_says_the_same_changes_nothing(self, store: ObjectStore) -> None:
        """A re-import gets no version, no sequence number, no hash."""
        first = put(store, FULL, box("b", 1))
        again = put(store, box("b", 1), replace(FULL, attributes=dict(reversed(list(FULL.attributes.items())))))
        assert (again.seq, again.hash, again.unchanged, again.touched) == (first.seq, first.hash, 2, ())
        assert len(list(store.log())) == 1

    @pytest.mark.parametrize(
        "change",
        [
            {"class_id": "building.shed"}, {"name": "八号楼"}, {"attributes": {"floors": 8}}, {"attributes": {"floors": True}}, {"box": None},
            {"box": (120.1, 30.1, -3.5, 120.2, 30.2, 21.250001)}, {"stage": Stage.REGISTERED}, {"valid_to": None}, {"codes": FULL.codes[:1]},
            {"codes": FULL.codes[::-1]}, {"relations": ()}, {"representations": FULL.representations[:1]},
        ],
        ids=lambda change: next(iter(change)),
    )  # fmt: skip
    def test_any_difference_makes_a_version(self, store: ObjectStore, change: Mapping[str, Any]) -> None:
        """Whatever field differs, the object gets a new version and keeps the old."""
        put(store, FULL)
        changed = replace(FULL, **change)
        applied = put(store, changed)
        assert (applied.seq, applied.updated) == (2, 1)
        assert (applied.touched[0].old_box, applied.touched[0].new_box) == (FULL.box, changed.box)
        old, new = store.history(applied.touched[0].tim_id)
        assert (old.version, new.version, old.seq, new.seq) == (1, 2, 1, 2)
        assert (old.db_to, new.db_to) == (new.db_from, None)
        assert new.object == replace(changed, tim_id=new.tim_id)
        assert store.get(new.tim_id) == new
        assert store.get(new.tim_id, AsOf(seq=1)) == old
        assert store.count() == 1

    def test_ids_stay(self, store: ObjectStore) -> None:
        """An id given with a record wins; made in the API without a key, an object gets a new one."""
        chosen = uuid4()
        put(store, ObjectRecord("", "building", name="made", tim_id=chosen))
        put(store, ObjectRecord("", "building", name="made again", tim_id=chosen))
        assert [v.object.name for v in store.history(chosen)] == ["made", "made again"]
        fresh = {put(store, ObjectRecord("", "building")).touched[0].tim_id for _ in range(3)}
        assert len(fresh) == 3
        assert all(i.version == 7 for i in fresh)

    def test_an_object_keeps_its_key_and_its_dataset(self, store: ObjectStore) -> None:
        """An id cannot come to stand for something else."""
        tim_id = put(store, box("a", 1)).touched[0].tim_id
        with pytest.raises(StoreError):
            put(store, replace(box("b", 1), tim_id=tim_id))
        with pytest.raises(StoreError):
            store.apply(Changeset("hills", [Put(replace(box("a", 2), tim_id=tim_id))]))
        with pytest.raises(StoreError):
            store.apply(Changeset("hills", [Retire(tim_id)]))

    @pytest.mark.parametrize(
        "bad",
        [
            {"class_id": ""}, {"class_id": "Building"}, {"class_id": "a..b"}, {"class_id": "a b"}, {"attributes": {"x": math.nan}},
            {"attributes": {"x": math.inf}}, {"attributes": {"x": object()}}, {"attributes": {"x": b""}}, {"name": "\ud800"},
            {"name": "a\0b"},
            {"attributes": {"x": ["\\\0"]}},
            {"attributes": {"x": "\udfff"}}, {"box": (0, 0, 0, 0, 0, math.nan)}, {"box": (0, 1, 0, 0, 0, 0)}, {"box": (0, 0, 1, 0, 0, 0)},
            {"box": (-181, 0, 0, 0, 0, 0)}, {"box": (0, 0, 0, 0, 90.5, 0)}, {"valid_from": "yesterday"}, {"valid_from": "2021-02-29"},
            {"valid_from": "2020-01-01T00:00:00"}, {"valid_from": "2020-01-01T00:00:00+08:00"}, {"valid_from": "2021-01-01", "valid_to": "2021-01-01"},
            {"valid_from": "2022-01-01", "valid_to": "2021-01-01"}, {"codes": (Code("a", "", "b", "2021"),)},
            {"representations": (Representation("body", "", "glb", "", {"x": math.nan}),)},
        ],
        ids=lambda bad: f"{next(iter(bad))}-{type(next(iter(bad.values()))).__name__}",
    )  # fmt: skip
    def test_what_cannot_be_kept_is_refused_whole(self, store: ObjectStore, bad: Mapping[str, Any]) -> None:
        """A record that cannot be kept stops its changeset; nothing of it stays, and the refusal can be shown."""
        with pytest.raises(StoreError) as caught:
            put(store, box("good", 1), ObjectRecord("bad", **{"class_id": "building", **bad}))
        assert "bad" in str(caught.value)
        assert caught.value.record()["text"]["zh"]
        assert (store.seq, store.count()) == (0, 0)

    @pytest.mark.parametrize(
        "text", ["", "'; DROP TABLE version; --", "%_", "a\\u0000b", "“引号”\n\t", "🏠", "'" * 50, "\\", "\x7f"]
    )
    def test_text_is_text(self, store: ObjectStore, text: str) -> None:
        """No character means anything to the store."""
        record = ObjectRecord(
            f"k{text}",
            "building",
            name=text,
            layer=text,
            attributes={text: text},
            codes=(Code(text, text, text),),
            scenario=text,
        )
        put(store, record)
        query = Filter(attributes={text: text}, scenario=text, code=Code(text, text, text))
        (found,) = store.query(query).items
        assert found.object == replace(record, tim_id=found.tim_id)

    def test_twice_in_one_changeset(self, store: ObjectStore) -> None:
        """Saying the same twice is harmless; saying two things about one time is refused; about two times is fine."""
        assert put(store, box("a", 1), box("a", 1)).unchanged == 1
        with pytest.raises(StoreError):
            put(store, box("b", 1), box("b", 2))
        put(store, replace(box("c", 1), valid_to="2020-01-01"), replace(box("c", 2), valid_from="2020-01-01"))
        assert [
            v.object.name for v in store.query(Filter(), AsOf("2019-01-01")).items if v.object.source_key == "c"
        ] == ["c1"]

    # All or nothing

    def test_operations_are_streamed(self, store: ObjectStore) -> None:
        """A changeset may be any length; its report of touched objects is capped and says so."""
        seen = []

        def operations() -> Iterator[Operation]:
            for i in range(5000):
                seen.append(store.count())
                yield Put(box(f"{i}", i % 100))

        applied = store.apply(Changeset("town", operations()))
        assert (applied.created, len(applied.touched), applied.touched_all) == (5000, 5000, True)
        assert set(seen) == {0}, "operations see the store as it was before"
        assert store.count() == 5000

    def test_a_failing_changeset_leaves_no_trace(self, store: ObjectStore) -> None:
        """Whatever the operations raise comes out, and nothing stays."""
        before = put(store, box("a", 1))

        def operations() -> Iterator[Operation]:
            for i in range(3000):
                yield Put(box(f"{i}", i))
            yield PutSource(source("s"))
            yield Retire(before.touched[0].tim_id)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.apply(Changeset("town", operations()))
        assert (store.seq, store.count(), store.sources("town")) == (1, 1, [])
        assert put(store, box("b", 1)).seq == 2

    def test_a_dataset_comes_with_its_first_changeset(self, tmp_path: Path) -> None:
        """Made in the same step, it is there with its content or not at all."""
        with self.open_store(tmp_path) as store:
            with pytest.raises(StoreError):
                store.apply(Changeset("town", [Put(box("a", 1)), Retire(uuid4())], make=TOWN))
            assert store.datasets() == []
            assert store.apply(Changeset("town", [Put(box("a", 1))], make=TOWN)).seq == 1
            assert store.datasets() == [TOWN]
            with pytest.raises(StoreError):
                store.apply(Changeset("town", [Put(box("b", 1))], make=replace(TOWN, kind="points")))
            assert (store.seq, store.count()) == (1, 1)

    def test_two_writers_never_overwrite_each_other(self, store: ObjectStore) -> None:
        """Who has not seen the current version gets a Conflict and changes nothing."""
        tim_id = put(store, box("a", 1)).touched[0].tim_id
        store.apply(Changeset("town", [Put(box("a", 2), if_version=1)]))
        for stale in (Put(box("a", 3), if_version=1), Put(box("a", 3), if_version=0), Retire(tim_id, if_version=1)):
            with pytest.raises(Conflict) as caught:
                store.apply(Changeset("town", [Put(box("b", 1)), stale]))
            assert caught.value.fields["current"] == 2
        assert store.count() == 1
        store.apply(Changeset("town", [Put(box("c", 1), if_version=0), Retire(tim_id, if_version=2)]))
        assert key_of(store.query(Filter()).items) == ["c"]

    def test_a_writer_cannot_replace_a_plan_he_has_not_seen(self, store: ObjectStore) -> None:
        """A version seen covers its own time only."""
        tim_id = put(store, replace(box("a", 1), valid_from="2020-01-01")).touched[0].tim_id
        put(store, replace(box("a", 2), valid_from="2900-01-01"))
        seen = some(store.get(tim_id)).version
        with pytest.raises(Conflict):
            store.apply(Changeset("town", [Put(replace(box("a", 3), valid_from="2020-01-01"), if_version=seen)]))
        store.apply(
            Changeset(
                "town", [Put(replace(box("a", 3), valid_from="2020-01-01", valid_to="2900-01-01"), if_version=seen)]
            )
        )
        assert some(store.get(tim_id)).object.name == "a3"
        assert some(store.get(tim_id, AsOf("2950-01-01"))).object.name == "a2"

    def test_racing_writers(self, store: ObjectStore) -> None:
        """Of several who saw the same version, one wins and the others hear of it."""
        put(store, box("a", 0))

        def write(i: int) -> bool:
            try:
                store.apply(Changeset("town", [Put(box("a", i), if_version=1)]))
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(write, range(1, 9))) == 1
        assert store.seq == 2

    def test_readers_see_whole_changesets(self, store: ObjectStore) -> None:
        """While changesets are written, every reader sees each of them whole or not at all."""
        done = threading.Event()

        def read() -> set[int]:
            sizes = set()
            while not done.is_set():
                sizes.add(len(store.query(Filter(dataset="town"), limit=10_000).items))
            return sizes

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            try:
                for step in range(5):
                    put(store, *(box(f"{step}/{i}", i % 100) for i in range(300)))
            finally:
                done.set()
            sizes = set.union(*(reader.result() for reader in readers))
        assert all(size % 300 == 0 for size in sizes)

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

    # Sources, log, blobs

    def test_sources_have_history(self, store: ObjectStore) -> None:
        """Sources come, change and go with changesets, and can be asked for as they were."""
        first, second = source("b"), source("a")
        applied = store.apply(Changeset("town", [PutSource(first), PutSource(second)]))
        assert (applied.seq, applied.touched) == (1, ())
        assert store.sources("town") == [second, first]
        assert store.sources("hills") == []
        changed = replace(first, fingerprint=Fingerprint(11, 1, "cd"))
        store.apply(Changeset("town", [PutSource(changed), DropSource("a")]))
        assert store.sources("town") == [changed]
        assert store.sources("town", 1) == [second, first]
        assert store.sources("town", 0) == []
        assert [c.counts["sources"] for c in store.log()] == [2, 2]
        with pytest.raises(StoreError):
            store.apply(Changeset("town", [DropSource("a")]))
        with pytest.raises(StoreError):
            store.apply(Changeset("town", [PutSource(first), PutSource(changed)]))
        assert store.sources("town") == [changed]

    def test_where_objects_are_from(self, store: ObjectStore) -> None:
        """A version notes the source that gave it; a note alone makes no history, and a statement without a source leaves it."""

        def origins(layer: str = "", scenario: str = "") -> dict[str, str | None]:
            names = {derived_id(TOWN.uid, layer, key).bytes: key for key in "abcd"}
            found: dict[str, str | None] = {}
            for part in store.origins("town", layer, scenario):
                for i, source_ in zip(part.ids, part.sources, strict=True):
                    found[names[i.tobytes()]] = None if source_ < 0 else part.keys[source_]
            return found

        def said(*puts: tuple[ObjectRecord, str]) -> Applied:
            return store.apply(Changeset("town", [Put(record, source=key) for record, key in puts]))

        store.apply(Changeset("town", [PutSource(source("one")), PutSource(source("two"))]))
        other = replace(box("d", 1), layer="other")
        said((box("a", 1), "one"), (box("b", 1), "two"), (box("c", 1), ""), (other, "one"))
        assert origins() == {"a": "one", "b": "two", "c": None}
        assert origins("other") == {"d": "one"}
        seq = store.seq
        assert said((box("a", 1), "two"), (box("c", 1), "one"), (box("b", 1), "")).unchanged == 3
        assert store.seq == seq
        assert origins() == {"a": "two", "b": "two", "c": "one"}
        said((box("b", 2), "one"), (replace(box("b", 3), scenario="x"), "two"))
        put(store, replace(box("c", 1), valid_from="2020-01-01", valid_to="2021-01-01", name="was"))
        assert origins() == {"a": "two", "b": "one", "c": "one"}
        assert origins(scenario="x") == {"b": "two"}
        store.apply(
            Changeset(
                "town", [PutSource(replace(source("one"), count=77)), Put(box("a", 2), source="one"), DropSource("two")]
            )
        )
        assert origins() == {"a": "one", "b": "one", "c": "one"}
        store.apply(Changeset("town", [Retire(derived_id(TOWN.uid, "", "b"))]))
        assert origins() == {"a": "one", "c": "one"}
        with pytest.raises(StoreError) as caught:
            said((box("a", 9), "two"))
        assert caught.value.code == "store.no-source"

    def test_a_source_that_moved_is_the_same(self, store: ObjectStore) -> None:
        """Another path or time of the same bytes is noted without history."""
        store.apply(Changeset("town", [PutSource(source("a"))]))
        moved = replace(source("a"), uri="/elsewhere/a", fingerprint=Fingerprint(10, 999, "ab"))
        applied = store.apply(Changeset("town", [PutSource(moved)]))
        assert (applied.seq, applied.unchanged) == (1, 1)
        assert store.sources("town") == [moved]

    def test_the_log_is_a_chain(self, store: ObjectStore) -> None:
        """Newest first, each naming its parent; author, reason and counts as given."""
        put(store, box("a", 1), box("b", 1))
        store.apply(Changeset("hills", [Put(box("a", 1))], author="张三", reason="复测"))
        tim_id = derived_id(TOWN.uid, "", "b")
        store.apply(Changeset("town", [Put(box("a", 2)), Retire(tim_id), PutSource(source("s"))]))
        three, two, one = store.log()
        assert [(c.seq, c.parent) for c in (one, two, three)] == [(1, None), (2, 1), (3, 2)]
        assert (two.author, two.reason, two.dataset) == ("张三", "复测", "hills")
        assert one.counts == {"created": 2, "updated": 0, "retired": 0, "sources": 0}
        assert three.counts == {"created": 0, "updated": 1, "retired": 1, "sources": 1}
        assert [c.seq for c in store.log("town")] == [3, 1]
        assert [c.seq for c in store.log(limit=2)] == [3, 2]
        assert list(store.log(limit=0)) == []
        assert len({c.hash for c in (one, two, three)}) == 3

    def test_equal_histories_have_equal_hashes(self, tmp_path: Path) -> None:
        """Authors, times and paths do not enter; content, order of changesets and datasets do."""

        def history(name: str, *steps: Changeset) -> list[str]:
            folder = tmp_path / name
            folder.mkdir()
            with self.open_store(folder) as store:
                store.put_dataset(TOWN)
                store.put_dataset(HILLS)
                return [store.apply(step).hash for step in steps]

        def step(name: str, i: int, dataset: str = "town", author: str = "", reason: str = "") -> Changeset:
            elsewhere = replace(source(name), uri=f"/{author}/{name}")
            return Changeset(dataset, [Put(box(name, i)), PutSource(elsewhere)], author, reason)

        one = history("one", step("a", 1), step("b", 2))
        assert history("same", step("a", 1, author="x", reason="y"), step("b", 2)) == one
        assert all(len(h) == 64 and int(h, 16) for h in one)
        others = [history("other", step("a", 1), step("b", 3)), history("order", step("b", 2), step("a", 1)),
                  history("dataset", step("a", 1), step("b", 2, "hills"))]  # fmt: skip
        assert len({h[-1] for h in [one, *others]}) == 4
        assert others[0][0] == one[0]

    def test_blobs_are_kept_by_content(self, store: ObjectStore) -> None:
        """Equal bytes are one blob; what is not there is None."""
        name = store.put_blob(b"\0geometry")
        assert store.put_blob(memoryview(b"\0geometry")) == name
        assert store.get_blob(name) == b"\0geometry"
        assert store.get_blob(store.put_blob(b"")) == b""
        assert store.get_blob("00" * 32) is None
        assert store.get_blob("no hash") is None

    def test_blobs_of_a_failed_changeset_go_with_it(self, store: ObjectStore) -> None:
        """Geometry put by a changeset's operations is a part of it."""
        names = []

        def operations(fail: bool) -> Iterator[Operation]:
            names.append(store.put_blob(b"geometry"))
            yield Put(box("a", 1))
            if fail:
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.apply(Changeset("town", operations(fail=True)))
        assert store.get_blob(names[0]) is None
        store.apply(Changeset("town", operations(fail=False)))
        assert store.get_blob(names[0]) == b"geometry"

    # Many at once

    def test_reading_many(self, store: ObjectStore) -> None:
        """In the order asked for, what is not there left out, at any moment."""
        ids = [t.tim_id for t in put(store, *(box(f"k{i}", i) for i in range(1200))).touched]
        put(store, replace(box("k3", 3), name="later"))
        store.apply(Changeset("town", [Retire(ids[4])]))
        wanted = [ids[7], uuid4(), ids[3], *ids[1100:], ids[4]]
        assert [v.tim_id for v in store.read(wanted)] == [ids[7], ids[3], *ids[1100:]]
        assert [v.object.name for v in store.read([ids[3], ids[4]], AsOf(seq=1))] == ["k33", "k44"]
        assert store.read(wanted) == [version for i in wanted if (version := store.get(i))]
        assert store.read([]) == store.read(wanted, scenario="plan") == []

    def test_outlines_are_columns_of_what_there_is(self, store: ObjectStore) -> None:
        """Ids, boxes, classes and digests of a dataset at a moment, on one line, in one layer, within a box."""
        put(store, FULL, box("a", 1), replace(box("b", 2), box=None, layer="x"), replace(box("p", 3), scenario="plan"))
        store.apply(Changeset("hills", [Put(box("far", 4))]))
        put(store, replace(box("a", 1), name="other"))

        def rows(*of: Any, **fields: Any) -> dict[UUID, tuple[Any, str, bytes]]:
            return {
                UUID(bytes=i): (None if math.isnan(b[0]) else tuple(b), part.class_ids[c], d)
                for part in store.outline(*of, **fields)
                for i, b, c, d in zip(part.ids.tolist(), part.boxes.tolist(), part.classes.tolist(), part.digests.tolist(), strict=True)
            }  # fmt: skip

        whole = rows("town")
        found = store.query(Filter(dataset="town")).items
        assert {i: row[:2] for i, row in whole.items()} == {v.tim_id: (v.object.box, v.object.class_id) for v in found}
        assert len({row[2] for row in whole.values()}) == 3
        a, b = derived_id(TOWN.uid, "", "a"), derived_id(TOWN.uid, "x", "b")
        before = rows("town", AsOf(seq=1))
        assert {i for i in whole if whole[i] != before[i]} == {a}
        assert rows("town", layer="x").keys() == {b}
        assert rows("town", box=(0.5, 0.5, 0.0, 1.2, 1.2, 1.0)).keys() == {a}
        assert [key for key, _, _ in rows("town", scenario="plan").values()] == [box("p", 3).box]
        assert rows("town", AsOf(seq=0)) == {}
        with pytest.raises(UsageError):
            rows("twon")

    def test_appearances_are_what_drawing_needs(self, store: ObjectStore) -> None:
        """Representations in their order."""
        ids = [t.tim_id.bytes for t in put(store, FULL, *(box(f"k{i}", i) for i in range(700))).touched]
        stand = store.standing([*ids, uuid4().bytes])
        assert stand.keys() == set(ids)
        versions = [one.version for one in stand.values()]
        assert sorted(versions) == sorted(v for part in store.outline("town") for v in part.versions.tolist())
        found = store.appearances([*versions, max(versions) + 1])
        assert found.keys() == set(versions)
        for tim_id, (version, where) in stand.items():
            one, said = found[version], some(store.get(UUID(bytes=tim_id))).object
            assert (one.tim_id, one.class_id, one.name, where) == (tim_id, said.class_id, said.name, said.box)
            assert tuple(one.representations) == said.representations
            assert json.loads(one.attributes) == said.attributes
        put(store, replace(FULL, name="renamed"), replace(FULL, name="planned", scenario="plan"))

        def names(*of: Any, **fields: Any) -> list[str]:
            there = [one.version for one in store.standing(*of, **fields).values()]
            return [one.name for one in store.appearances(there).values()]

        assert names(ids[:1]) == ["renamed"]
        assert names(ids[:1], AsOf(seq=1)) == [FULL.name]
        assert names(ids, scenario="plan") == ["planned"]
        assert store.standing([]) == {}
        assert store.appearances([]) == {}

    def test_kinds_of_attributes(self, store: ObjectStore) -> None:
        """As JSON has them, of a dataset at a moment; what none has is left out."""
        values = {"a": 1, "b": 1.5, "c": True, "d": None, "e": "x", "f": [1], "g": {"h": 1}, "名": "y", "a.b": 2}
        put(store, replace(box("a", 1), attributes=values))
        put(store, replace(box("b", 1), attributes={"a": "text", "c": False, "z": 1}))
        store.apply(Changeset("hills", [Put(replace(box("c", 1), attributes={"a": None}))]))
        kinds = store.attribute_kinds("town", [*values, "missing"])
        assert kinds == {
            "a": {"integer", "text"}, "b": {"real"}, "c": {"true", "false"}, "d": {"null"}, "e": {"text"}, "f": {"array"},
            "g": {"object"}, "名": {"text"}, "a.b": {"integer"},
        }  # fmt: skip
        assert store.attribute_kinds("town", ["a", "z"], AsOf(seq=1)) == {"a": {"integer"}}
        assert store.attribute_kinds("town", [], NOW) == store.attribute_kinds("town", ["a"], scenario="plan") == {}

    def test_classes_are_counted(self, store: ObjectStore) -> None:
        """What there is at a moment in a scenario, of one dataset, by class id."""
        made = put(
            store,
            *(replace(box(key, 1), class_id="transport.road") for key in "bcd"),
            replace(box("a", 1), class_id="building"),
        )
        put(store, replace(box("b", 2), class_id="building"), replace(box("p", 1), class_id="water", scenario="plan"))
        store.apply(Changeset("town", [Retire(made.touched[2].tim_id)]))
        store.apply(Changeset("hills", [Put(replace(box("far", 4), class_id="terrain"))]))
        assert list(store.class_counts("town").items()) == [("building", 2), ("transport.road", 1)]
        assert store.class_counts("town", AsOf(seq=1)) == {"building": 1, "transport.road": 3}
        assert store.class_counts("town", scenario="plan") == {"water": 1}
        assert store.class_counts("hills") == {"terrain": 1}

    def test_what_changed_since(self, store: ObjectStore) -> None:
        """Each object once, with its boxes then and now; nothing of other datasets."""
        ids = [t.tim_id for t in put(store, *(box(key, 1) for key in "abcd")).touched]
        put(store, box("a", 2))
        put(store, box("a", 3), replace(box("b", 1), name="renamed"))
        store.apply(Changeset("hills", [Put(box("far", 4))]))
        store.apply(Changeset("town", [Retire(ids[2]), Put(box("e", 5))]))
        e = derived_id(TOWN.uid, "", "e")

        def changes(since: int) -> dict[UUID, tuple[Box3 | None, Box3 | None]]:
            found = store.changed("town", since)
            assert found.complete
            assert len(found.touched) == len({t.tim_id for t in found.touched})
            return {t.tim_id: (t.old_box, t.new_box) for t in found.touched}

        first = box("", 1).box
        late = {ids[2]: (first, None), e: (None, box("", 5).box)}
        assert changes(3) == changes(4) == late
        assert changes(2) == {ids[0]: (box("", 2).box, box("", 3).box), ids[1]: (first, first), **late}
        assert changes(1)[ids[0]] == (first, box("", 3).box)
        assert changes(store.seq) == changes(10**30) == {}
        assert changes(0).keys() == {*ids, e}
        some_of_them = store.changed("town", 0, limit=2)
        assert (len(some_of_them.touched), some_of_them.complete) == (2, False)
        assert store.changed("town", 0, limit=5).complete

    def test_searching(self, store: ObjectStore) -> None:
        """A code first, then the beginning of a name, then a part of it; without case, within datasets, only what is there now."""
        coded = replace(box("c", 1), name="zzz", codes=(Code("cn.address", "2021", "Main Street"),))
        names = {"start": "Main Street 5", "part": "Old main street", "percent": "100% _main\\", "other": "Elsewhere"}
        put(
            store,
            coded,
            *(replace(box(key, 1), name=name) for key, name in names.items()),
            replace(box("empty", 1), name=""),
        )
        store.apply(Changeset("hills", [Put(replace(box("far", 4), name="Main Street 5"))]))

        def keys(text: str, *datasets: str, limit: int = 20) -> list[str]:
            return key_of(store.search(text, datasets or ["town"], limit))

        assert keys("Main Street") == ["c", "start", "part"]
        assert keys("MAIN STREET") == ["start", "part"]
        assert keys("Main Street", limit=2) == ["c", "start"]
        assert sorted(keys("Main Street 5", "town", "hills")) == ["far", "start"]
        assert keys("100%") == keys("% _") == keys("main\\") == ["percent"]
        assert keys("%main%") == keys("") == keys("' OR 1=1 --") == []
        assert store.search("Main", []) == []
        store.apply(Changeset("town", [Retire(derived_id(TOWN.uid, "", "start"))]))
        put(store, replace(box("part", 1), name="Renamed"))
        assert keys("Main Street") == ["c"]
        with pytest.raises(UsageError):
            keys("Main", "twon")

    def test_blobs_by_the_hundred(self, store: ObjectStore) -> None:
        """All that are here, whatever is asked with them, however often."""
        blobs = {store.put_blob(f"blob {i}".encode()): f"blob {i}".encode() for i in range(1100)}
        assert store.get_blobs([*blobs, *blobs, "00" * 32]) == blobs
        assert store.get_blobs(["no hash", *list(blobs)[:1]]) == dict(list(blobs.items())[:1])
        assert store.get_blobs([]) == {}

    def test_layers_and_what_attributes_read_as(self, store: ObjectStore) -> None:
        """A layer is asked for by name; a property by its text: numbers by value, truth by word."""
        values: dict[str, Any] = {
            "i": 7,
            "f": 7.0,
            "t": "7",
            "h": 7.5,
            "yes": True,
            "word": "true",
            "no": False,
            "null": None,
        }
        put(store, *(replace(box(key, 1), layer="x", attributes={"v": value}) for key, value in values.items()))
        put(store, replace(box("y", 1), layer="y", attributes={"v": 7}))
        assert key_of(store.query(Filter(layer="y")).items) == ["y"]
        assert store.query(Filter(layer="z")).items == []

        def matching(text: str) -> set[str]:
            return set(key_of(store.query(Filter(layer="x", properties={"v": text})).items))

        assert matching("7") == {"i", "f", "t"}
        assert matching("7.0") == {"i", "f"}
        assert matching("7.5") == {"h"}
        assert matching("true") == {"yes", "word"}
        assert matching("false") == {"no"}
        assert matching("null") == matching("nan") == matching("") == set()
        assert store.query(Filter(properties={"w": "7"})).items == []

    def test_errors_have_text(self, store: ObjectStore) -> None:
        """Refusals name what was wrong in both languages, with every field filled in."""
        with pytest.raises(TimError) as caught:
            store.dataset("nothing")
        for text in caught.value.record()["text"].values():
            assert "nothing" in text
            assert "{" not in text


# Random histories against a plain model


@dataclass(frozen=True, slots=True)
class _Said:
    """One statement: from changeset ``seq`` on, about a time, on a line: content, or that there is none."""

    seq: int
    scenario: str
    start: int
    end: int
    record: ObjectRecord | None


_YEARS = st.integers(2000, 2006)
_KEYS = ("a", "b", "c")
_OPEN = (-1, 9999)
_BOXES: tuple[Box3 | None, ...] = (
    None, (0, 0, 0, 1, 1, 1), (1, 0, 0, 2, 1, 1), (0.5, 0.5, 5, 1.5, 1.5, 6), (179, 0, 0, -179, 1, 1), (-180, 0, 0, -179.5, 1, 1),
)  # fmt: skip
_RECORDS = st.builds(
    ObjectRecord, source_key=st.just(""), class_id=st.sampled_from(["a", "a.b", "ab"]), name=st.sampled_from(["x", "y"]),
    attributes=st.fixed_dictionaries({}, optional={"v": st.sampled_from([0, 1, True, None, "1"])}), box=st.sampled_from(_BOXES),
    stage=st.sampled_from([Stage.SURVEYED, Stage.PLANNED]), codes=st.sampled_from([(), (Code("s", "e", "1"),), (Code("s", "f", "1"),)]),
)  # fmt: skip
_SPANS = st.tuples(st.none() | _YEARS, st.none() | _YEARS).filter(lambda s: s[0] is None or s[1] is None or s[0] < s[1])
_SCENARIOS = st.sampled_from(["", "x"])
_STEP = st.tuples(st.sampled_from(_KEYS), _SCENARIOS, _SPANS, st.none() | _RECORDS)
_FILTERS = st.builds(
    Filter, box=st.none() | st.sampled_from([b for b in _BOXES if b]), class_id=st.none() | st.sampled_from(["a", "a.b", "ab"]),
    attributes=st.fixed_dictionaries({}, optional={"v": st.sampled_from([0, 1, 1.0, True, None, "1"])}),
    stage=st.none() | st.sampled_from([Stage.SURVEYED, Stage.PLANNED]), scenario=_SCENARIOS,
    code=st.none() | st.sampled_from([Code("s", "", "1"), Code("s", "e", "1"), Code("t", "", "1")]),
)  # fmt: skip


class _HistoryMachine(RuleBasedStateMachine):
    """Random changesets on few objects; the model just remembers who said what, last word counts."""

    opener: Callable[[Path], ObjectStore]

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = type(self).opener(Path(self.folder.name))
        self.store.put_dataset(TOWN)
        self.said: dict[str, list[_Said]] = {key: [] for key in _KEYS}

    def teardown(self) -> None:
        self.store.__exit__(None, None, None)
        self.folder.cleanup()

    @rule(steps=st.lists(_STEP, min_size=1, max_size=3, unique_by=lambda s: s[:2]), fail=st.booleans())
    def change(
        self, steps: list[tuple[str, str, tuple[int | None, int | None], ObjectRecord | None]], fail: bool
    ) -> None:
        """One changeset; some fail at their end and must leave nothing."""
        operations: list[Operation] = []
        heard: list[tuple[str, _Said]] = []
        for key, scenario, (start, end), record in steps:
            if record is None:
                if not self.said[key] or any(k == key for k, _ in heard):
                    continue
                operations.append(Retire(derived_id(TOWN.uid, "", key), _date(start), scenario=scenario))
                heard.append((key, _Said(0, scenario, _OPEN[0] if start is None else start, _OPEN[1], None)))
            else:
                full = replace(record, source_key=key, scenario=scenario, valid_from=_date(start), valid_to=_date(end))
                operations.append(Put(full))
                heard.append((key, _Said(0, scenario, start or _OPEN[0], end or _OPEN[1], full)))
        before = self.store.seq
        if fail:
            with pytest.raises(StoreError):
                self.store.apply(Changeset("town", [*operations, Retire(UUID(int=0))]))
            assert self.store.seq == before
            return
        applied = self.store.apply(Changeset("town", operations))
        assert applied.seq in (before, before + 1)
        assert applied.created + applied.updated + applied.retired + applied.unchanged == len(operations)
        for key, said in heard:
            self.said[key].append(replace(said, seq=applied.seq))

    @precondition(lambda self: self.store.seq)
    @rule(wanted=_FILTERS, year=_YEARS, back=st.integers(0, 3), limit=st.integers(1, 3))
    def ask(self, wanted: Filter, year: int, back: int, limit: int) -> None:
        """A random question at a random moment, page by page."""
        seq = max(0, self.store.seq - back)
        expected = {
            key
            for key in _KEYS
            if (r := self._record(key, wanted.scenario, seq, year)) is not None and _matches(r, wanted)
        }
        assert sorted(key_of(self._pages(wanted, AsOf(_date(year), seq), limit))) == sorted(expected)

    @precondition(lambda self: self.store.seq)
    @rule(wanted=_FILTERS, ends=st.tuples(st.none() | _YEARS, st.none() | _YEARS), limit=st.integers(1, 3))
    def ask_of_an_interval(self, wanted: Filter, ends: tuple[int | None, int | None], limit: int) -> None:
        """Whoever matches in any year of it is found once, as in the last such year."""
        if None not in ends:
            ends = (min(ends), max(ends))  # type: ignore[type-var]
        years = range(1999 if ends[0] is None else ends[0], 2008 if ends[1] is None else ends[1] + 1)
        expected = {}
        for key in _KEYS:
            for year in years:
                record = self._record(key, wanted.scenario, self.store.seq, year)
                if record is not None and _matches(record, wanted):
                    expected[key] = record
        during = (_date(ends[0]), _date(ends[1]))
        found = self._pages(replace(wanted, during=during), None, limit)
        assert sorted(key_of(found)) == sorted(expected)
        for version in found:
            assert _unbounded(version.object) == _unbounded(expected[version.object.source_key])

    @invariant()
    def every_moment(self) -> None:
        """Each object at each moment of the last changesets."""
        for key in _KEYS:
            tim_id = derived_id(TOWN.uid, "", key)
            for scenario in ("", "x"):
                for seq in range(max(0, self.store.seq - 2), self.store.seq + 1):
                    for year in (1990, 2000, 2003, 2006, 2020):
                        found = self.store.get(tim_id, AsOf(_date(year), seq), scenario)
                        expected = self._record(key, scenario, seq, year)
                        assert (found is None) == (expected is None), (key, scenario, seq, year)
                        if found is not None and expected is not None:
                            assert _unbounded(found.object) == _unbounded(expected)

    def _pages(self, wanted: Filter, as_of: AsOf | None, limit: int) -> list[ObjectVersion]:
        found: list[ObjectVersion] = []
        page = self.store.query(wanted, as_of, None, limit)
        while page.cursor is not None:
            found += page.items
            page = self.store.query(wanted, as_of, page.cursor, limit)
        return [*found, *page.items]

    def _record(self, key: str, scenario: str, seq: int, year: int) -> ObjectRecord | None:
        last = [s for s in self.said[key] if s.scenario == scenario and s.seq <= seq and s.start <= year < s.end]
        return last[-1].record if last else None


def history_machine(opener: Callable[[Path], ObjectStore], examples: int = 40) -> type[TestCase]:
    """A test case that plays random histories on stores made by ``opener`` and on a plain model, and compares."""
    machine: Any = type("History", (_HistoryMachine,), {"opener": staticmethod(opener)})
    case: type[TestCase] = machine.TestCase
    case.settings = settings(max_examples=examples, stateful_step_count=12, deadline=None)  # type: ignore[attr-defined]
    return case


def _unbounded(record: ObjectRecord) -> ObjectRecord:
    return replace(record, valid_from=None, valid_to=None, tim_id=None)


def _matches(record: ObjectRecord, wanted: Filter) -> bool:
    """Plain meaning of a filter."""
    return (
        (wanted.box is None or (record.box is not None and _meet(record.box, wanted.box)))
        and (wanted.class_id is None or f"{record.class_id}.".startswith(f"{wanted.class_id}."))
        and all(k in record.attributes and _same(record.attributes[k], v) for k, v in wanted.attributes.items())
        and wanted.stage in (None, record.stage)
        and (wanted.code is None or any(_is(c, wanted.code) for c in record.codes))
    )


def _is(code: Code, wanted: Code) -> bool:
    return (code.scheme, code.value) == (wanted.scheme, wanted.value) and wanted.edition in ("", code.edition)


def _same(a: Any, b: Any) -> bool:
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def _meet(a: Box3, b: Box3) -> bool:
    spans = [[(x[0], x[3])] if x[0] <= x[3] else [(x[0], 180.0), (-180.0, x[3])] for x in (a, b)]
    around = any(p <= s and r <= q for p, q in spans[0] for r, s in spans[1])
    return around and all(a[i] <= b[i + 3] and b[i] <= a[i + 3] for i in (1, 2))


def _date(year: int | None) -> str | None:
    return None if year is None else f"{year:04}-01-01"


# Shorthand


def put(store: ObjectStore, *records: ObjectRecord) -> Applied:
    """One changeset of the town."""
    return store.apply(Changeset("town", [Put(record) for record in records]))


def box(key: str, i: int) -> ObjectRecord:
    """A record whose name and box tell ``i``."""
    x = float(i % 90)
    return ObjectRecord(key, "building", name=f"{key}{i}", attributes={"i": i}, box=(x, x, 0.0, x + 0.5, x + 0.5, 1.0))


def source(key: str) -> SourceRef:
    """A bulk source."""
    place = Place(
        crs="EPSG:4547", height=Height("ellipsoid", "ellipsoid"), datum=Datum("equivalent", "CGCS2000 = WGS 84", 0.1)
    )
    return SourceRef(
        f"/data/{key}", "las", "points", key, place, Fingerprint(10, 1, "ab"), (120, 30, 0, 121, 31, 9), 5, {"a": 1}
    )


def key_of(items: Any) -> list[str]:
    """Source keys, in order."""
    return [item.object.source_key for item in items]


def some(version: ObjectVersion | None) -> ObjectVersion:
    """The version there must be."""
    assert version is not None
    return version


def walk(store: ObjectStore, wanted: Filter, limit: int) -> tuple[list[int], list[UUID]]:
    """Sizes of all pages, and all ids in order."""
    sizes: list[int] = []
    ids: list[UUID] = []
    cursor = None
    while True:
        page = store.query(wanted, cursor=cursor, limit=limit)
        sizes.append(len(page.items))
        ids += [v.tim_id for v in page.items]
        if (cursor := page.cursor) is None:
            return sizes, ids
