"""Sources, the log, blobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tim.errors import StoreError
from tim.model import ObjectRecord, derived_id
from tim.sources import Fingerprint
from tim.store import Applied, Changeset, DropSource, ObjectStore, Operation, Put, PutSource, Retire
from tim.store.contract.samples import HILLS, TOWN, box, put, source
from tim.store.contract.stores import Stores


class Origins(Stores):
    """Where it all comes from."""

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
        assert [c.seq for c in store.log(before=3)] == [2, 1]
        assert [c.seq for c in store.log("town", 1, before=3)] == [1]
        assert store.changesets([3, 1, 1]) == {1: one, 3: three}
        assert store.changesets([0, -1, 4, 2**63, 2]) == {2: two}
        assert store.changesets([]) == {}
        assert store.changesets(range(1200)) == {1: one, 2: two, 3: three}
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
