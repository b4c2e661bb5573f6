"""Changesets: what is kept, and that all of it is or nothing."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tim.errors import Conflict, StoreError, UsageError
from tim.model import Code, ObjectRecord, Representation, Stage, derived_id
from tim.store import AsOf, Changeset, Filter, ObjectStore, Operation, Put, PutSource, Retire
from tim.store.contract.samples import FRAME, FULL, HILLS, TOWN, box, key_of, put, some, source
from tim.store.contract.stores import Stores


class Changes(Stores):
    """Putting in."""

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
