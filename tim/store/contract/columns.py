"""Many objects at once, in columns."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from tim.errors import TimError, UsageError
from tim.model import Code, derived_id
from tim.place import Box3
from tim.store import AsOf, Changeset, Filter, ObjectStore, Put, Retire
from tim.store.contract.samples import FULL, NOW, TOWN, box, key_of, put, some
from tim.store.contract.stores import Stores


class Columns(Stores):
    """What tiling and the server ask for."""

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
