"""Differences, roll-backs, scenarios and lives, one by one; random histories are in ``tim.store.contract.branches``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tim.errors import Conflict, TimError, UsageError
from tim.history import adopt, compare, diff, diff_moments, drop, fields_changed, life, revert, rollback
from tim.model import Code, ObjectRecord, Relation, Representation, Stage, derived_id
from tim.store import AsOf, Changeset, DropSource, Filter, ObjectVersion, Put, PutSource, Retire
from tim.store.contract.samples import HILLS, TOWN, box, put, some, source
from tim.store.sqlite import SqliteStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore.create(tmp_path / "store.sqlite") as store:
        store.put_dataset(TOWN)
        store.put_dataset(HILLS)
        yield store


def id_of(key: str) -> UUID:
    return derived_id(TOWN.uid, "", key)


def in_force(store: SqliteStore, key: str) -> list[tuple[str, str, str | None, str | None]]:
    found = [v.object for v in store.history(id_of(key)) if v.db_to is None]
    found.sort(key=lambda r: (r.scenario, r.valid_from or ""))
    return [(r.scenario, r.name, r.valid_from, r.valid_to) for r in found]


def code_of(caught: pytest.ExceptionInfo[TimError]) -> str:
    return caught.value.code


# Differences


def test_fields_one_by_one():
    before = ObjectRecord(
        "a",
        "building",
        name="旧",
        attributes={"floors": 1, "same": [1], "gone": None, "用途": "居住"},
        box=(0, 0, 0, 1, 1, 1),
    )
    after = ObjectRecord(
        "a", "building.house", name="新", attributes={"floors": True, "same": [1], "用途": "商业", "new": 1.0}, box=(0, 0, 0, 1, 1, 2), stage=Stage.AS_BUILT,
        codes=(Code("s", "", "1"),), relations=(Relation("partOf", id_of("b")),), representations=(Representation("body", "", "glb", "00"),),
    )  # fmt: skip
    found = fields_changed(before, after)
    assert {change.name for change in found} == {
        "class", "name", "stage", "box", "codes", "relations", "representations", "attributes.floors", "attributes.gone", "attributes.new",
        "attributes.用途",
    }  # fmt: skip
    assert [change[1:] for change in found if change.name == "attributes.用途"] == [("居住", "商业")]
    assert fields_changed(before, before) == ()


def test_what_changesets_changed(store: SqliteStore):
    put(store, box("a", 1), box("b", 1), box("c", 1))
    put(store, replace(box("a", 2), valid_from="2020-01-01", valid_to="2021-01-01"))
    store.apply(Changeset("town", [Retire(id_of("b"), "2022-01-01"), Put(replace(box("d", 1), scenario="x"))]))
    found = {(d.kind, d.scenario, (d.after or some(d.before)).object.name, d.during) for d in diff(store, "town", 1)}
    assert found == {
        ("changed", "", "a2", ("2020-01-01", "2021-01-01")), ("removed", "", "b1", ("2022-01-01", None)),
        ("added", "x", "d1", (None, None)),
    }  # fmt: skip
    backwards = {(d.kind, d.during) for d in diff(store, "town", 3, 1)}
    assert backwards == {
        ("changed", ("2020-01-01", "2021-01-01")),
        ("added", ("2022-01-01", None)),
        ("removed", (None, None)),
    }
    assert [d.kind for d in diff(store, "town", 0, 1)] == ["added"] * 3
    assert list(diff(store, "town", 3)) == list(diff(store, "hills", 0)) == []
    (changed,) = (d for d in diff(store, "town", 1, 2))
    assert [change.name for change in changed.fields] == ["name", "box", "attributes.i"]


@pytest.mark.parametrize(("since", "until"), [(-1, None), (2, None), (0, 2), (1 << 70, None)])
def test_there_must_be_such_changesets(store: SqliteStore, since: int, until: int | None):
    put(store, box("a", 1))
    with pytest.raises(UsageError) as caught:
        list(diff(store, "town", since, until))
    assert code_of(caught) == "history.no-seq"


def test_said_again_is_no_difference(store: SqliteStore):
    put(store, box("a", 1))
    store.apply(Changeset("town", [Retire(id_of("a"))]))
    put(store, replace(box("a", 1), valid_to="2020-01-01"), replace(box("a", 1), valid_from="2020-01-01"))
    assert list(diff(store, "town", 1)) == []


def test_between_two_moments(store: SqliteStore):
    put(
        store,
        box("same", 1),
        replace(box("ends", 1), valid_to="2010-01-01"),
        replace(box("comes", 1), valid_from="2010-01-01"),
    )
    put(store, replace(box("turns", 1), valid_to="2010-01-01"), replace(box("turns", 2), valid_from="2010-01-01"))
    put(store, *(box(f"n{i}", i) for i in range(1200)))
    told = diff_moments(store, "town", AsOf("2009-01-01"), AsOf("2011-01-01"))
    assert {(d.kind, (d.after or some(d.before)).object.name) for d in told} == {
        ("removed", "ends1"), ("added", "comes1"), ("changed", "turns2"),
    }  # fmt: skip
    grown = list(diff_moments(store, "town", AsOf("2009-01-01", 1), AsOf("2009-01-01")))
    assert len(grown) == 1201
    assert {d.kind for d in grown} == {"added"}
    shrunk = list(diff_moments(store, "town", AsOf("2009-01-01"), AsOf("2009-01-01", 0)))
    assert {d.kind for d in shrunk} == {"removed"}
    assert len(shrunk) == 1203
    assert list(diff_moments(store, "town", AsOf(seq=0), AsOf(seq=0))) == []


# Taking back


_INTERVALS = st.lists(
    st.tuples(st.integers(2000, 2009), st.integers(2000, 2009), st.sampled_from("xyz")).filter(lambda s: s[0] < s[1]),
    max_size=4,
)


@settings(max_examples=30)
@given(_INTERVALS, _INTERVALS)
def test_any_rectangles_come_back(was: list[tuple[int, int, str]], then: list[tuple[int, int, str]]):
    """However a line was cut before and since."""
    with TemporaryDirectory() as folder, SqliteStore.create(Path(folder) / "s") as store:
        store.put_dataset(TOWN)
        put(store, box("a", 0))
        for said in (was, then):
            for start, end, name in said:
                put(store, replace(box("a", 0), name=name, valid_from=f"{start}-01-01", valid_to=f"{end}-01-01"))
            if said is was:
                kept, seq = in_force(store, "a"), store.seq
        put(store, box("a", 1))
        rollback(store, "town", seq)
        assert in_force(store, "a") == kept


def test_words_that_would_touch_each_other(store: SqliteStore):
    """Two parts of what is one now: said one after the other, the second would cut what the first left."""
    put(store, box("a", 1))
    for start in (2000, 2004):
        put(store, replace(box("a", start), valid_from=f"{start}-01-01", valid_to=f"{start + 1}-01-01"))
    kept = in_force(store, "a")
    put(store, box("a", 1))
    assert len(in_force(store, "a")) == 1
    rollback(store, "town", 3)
    assert in_force(store, "a") == kept


def test_rolling_back(store: SqliteStore):
    store.apply(Changeset("town", [PutSource(source("k")), Put(box("a", 1), source="k"), Put(box("b", 1))]))
    store.apply(Changeset("hills", [Put(box("h", 1))]))
    refreshed = replace(source("k"), count=9)
    store.apply(
        Changeset(
            "town", [PutSource(refreshed), PutSource(source("l")), Put(box("a", 2), source="l"), Retire(id_of("b"))]
        )
    )
    put(store, box("c", 1), replace(box("c", 2), scenario="x"))
    planned = rollback(store, "town", 1, dry_run=True)
    assert (planned.objects, planned.sources, planned.applied, store.seq) == (4, 2, None, 4)
    done = rollback(store, "town", 1, "me", "the delivery was wrong")
    assert (done.objects, done.sources) == (4, 2)
    assert [r.key for r in store.sources("town")] == ["k"]
    assert store.sources("town") == store.sources("town", 1)
    assert [(v.object.name, v.source) for v in map(some, map(store.get, (id_of("a"), id_of("b"))))] == [
        ("a1", "k"),
        ("b1", ""),
    ]
    assert store.get(id_of("c")) is None
    assert store.scenarios("town") == {}
    assert store.count("hills") == 1
    line = next(store.log())
    assert (line.seq, line.author, line.reason, line.dataset) == (5, "me", "the delivery was wrong", "town")
    assert some(store.get(id_of("a"), AsOf(seq=4))).object.name == "a2"
    assert rollback(store, "town", 5).applied == replace(
        some_applied(done), created=0, updated=0, retired=0, touched=()
    )
    rollback(store, "town", 0)
    assert store.count("town") == 0
    assert store.sources("town") == []


def some_applied(done):
    assert done.applied is not None
    return done.applied


def test_rolling_back_only_what_was_seen(store: SqliteStore):
    put(store, box("a", 1))
    put(store, box("a", 2))
    put(store, box("a", 3))
    with pytest.raises(Conflict) as caught:
        rollback(store, "town", 1, seen=2)
    assert (code_of(caught), store.seq) == ("history.moved", 3)
    store.apply(Changeset("hills", [Put(box("h", 1))]))
    assert rollback(store, "town", 1, seen=3).objects == 1
    with pytest.raises(UsageError) as refused:
        rollback(store, "town", 6)
    assert code_of(refused) == "history.no-seq"
    with pytest.raises(UsageError):
        rollback(store, "twon", 1)


def test_a_source_that_is_gone_is_not_named(store: SqliteStore):
    """What is restored names its source only where the source is there as well."""
    store.apply(Changeset("town", [PutSource(source("k")), Put(box("a", 1), source="k")]))
    store.apply(Changeset("town", [DropSource("k")]))
    store.apply(Changeset("town", [Retire(id_of("a"))]))
    rollback(store, "town", 2)
    assert some(store.get(id_of("a"))).source == ""
    rollback(store, "town", 1)
    store.apply(Changeset("town", [Retire(id_of("a"))]))
    revert(store, store.seq)
    assert [v.source for v in store.history(id_of("a"))] == ["k", "", ""]


def test_taking_back_one(store: SqliteStore):
    put(store, box("a", 1), box("b", 1))
    put(store, box("a", 2), box("c", 1))
    store.apply(Changeset("hills", [Put(box("h", 1))]))
    put(store, box("b", 2))
    done = revert(store, 2, "me")
    assert done.objects == 2
    assert sorted(v.object.name for v in store.query(Filter(dataset="town")).items) == ["a1", "b2"]
    assert next(store.log()).reason == "revert 2"
    with pytest.raises(Conflict) as caught:
        revert(store, 1)
    assert (code_of(caught), caught.value.fields["count"]) == ("history.later", 2)
    assert all(str(id_of(key)) in caught.value.fields["objects"] for key in "ab")
    for seq in (0, -1, 99):
        with pytest.raises(UsageError) as refused:
            revert(store, seq)
        assert code_of(refused) == "history.no-seq"
    revert(store, store.seq)
    assert sorted(v.object.name for v in store.query(Filter(dataset="town")).items) == ["a2", "b2", "c1"]


def test_taking_back_sources(store: SqliteStore):
    store.apply(Changeset("town", [PutSource(source("k"))]))
    store.apply(Changeset("town", [PutSource(replace(source("k"), count=9)), PutSource(source("l"))]))
    assert revert(store, 2).sources == 2
    assert store.sources("town") == store.sources("town", 1)
    with pytest.raises(Conflict) as caught:
        revert(store, 2)
    assert (caught.value.fields["count"], caught.value.fields["objects"]) == (2, "k, l")


# Scenarios


def made(store: SqliteStore) -> None:
    put(store, box("a", 1), box("b", 1), box("c", 1), box("d", 1))
    put(
        store,
        replace(box("a", 2), scenario="plan", valid_from="2030-01-01", stage=Stage.PLANNED),
        replace(box("b", 1), scenario="plan", valid_from="2030-01-01", stage=Stage.RETIRED),
        replace(box("c", 1), scenario="plan"),
        replace(box("e", 1), scenario="plan", valid_from="2030-01-01", valid_to="2040-01-01"),
        replace(box("e", 2), scenario="plan", valid_from="2050-01-01"),
    )


def test_what_a_scenario_would_change(store: SqliteStore):
    made(store)
    found = {(d.kind, (d.after or some(d.before)).object.name, d.during) for d in compare(store, "town", "plan")}
    assert found == {
        ("changed", "a2", ("2030-01-01", None)), ("removed", "b1", ("2030-01-01", None)), ("added", "e1", ("2030-01-01", "2040-01-01")),
        ("added", "e2", ("2050-01-01", None)),
    }  # fmt: skip
    (change,) = (d for d in compare(store, "town", "plan") if d.kind == "changed")
    assert {c.name for c in change.fields} == {"name", "stage", "box", "attributes.i"}


def test_adopting(store: SqliteStore):
    made(store)
    told = list(compare(store, "town", "plan"))
    applied = adopt(store, "town", "plan", "me", "the council said so")
    assert in_force(store, "a") == [("", "a1", None, "2030-01-01"), ("", "a2", "2030-01-01", None)]
    assert in_force(store, "b") == [("", "b1", None, "2030-01-01")]
    assert in_force(store, "c") == [("", "c1", None, None)]
    assert in_force(store, "e") == [("", "e1", "2030-01-01", "2040-01-01"), ("", "e2", "2050-01-01", None)]
    assert store.scenarios("town") == {}
    assert next(store.log()).reason == "the council said so"
    since = {(d.kind, d.tim_id, d.during) for d in diff(store, "town", applied.seq - 1) if not d.scenario}
    assert since == {(d.kind, d.tim_id, d.during) for d in told}
    rollback(store, "town", applied.seq - 1)
    assert [(d.kind, d.during) for d in compare(store, "town", "plan")] == [(d.kind, d.during) for d in told]


def test_adopting_what_was_overtaken(store: SqliteStore):
    """Changed since, retired since, changed before: only the last may be adopted."""
    made(store)
    put(store, box("a", 7))
    store.apply(Changeset("town", [Retire(id_of("c")), Retire(id_of("d"))]))
    put(store, replace(box("d", 9), scenario="plan"))
    with pytest.raises(Conflict) as caught:
        adopt(store, "town", "plan")
    assert (code_of(caught), caught.value.fields["count"]) == ("history.overtaken", 2)
    assert store.seq == 5
    adopt(store, "town", "plan", skip=True)
    assert in_force(store, "a") == [("", "a7", None, None), ("plan", "a2", "2030-01-01", None)]
    assert in_force(store, "c") == [("plan", "c1", None, None)]
    assert in_force(store, "d") == [("", "d9", None, None)]
    assert store.scenarios("town") == {"plan": 2}
    put(store, replace(box("a", 8), scenario="plan"), replace(box("c", 8), scenario="plan"))
    adopt(store, "town", "plan")
    assert [in_force(store, key)[0][1] for key in "ac"] == ["a8", "c8"]


def test_changes_at_another_time_do_not_hinder(store: SqliteStore):
    put(store, replace(box("a", 1), valid_to="2020-01-01"))
    put(store, replace(box("a", 2), scenario="plan", valid_from="2030-01-01"))
    put(store, replace(box("a", 3), valid_to="2020-01-01"))
    adopt(store, "town", "plan")
    assert [row[1] for row in in_force(store, "a")] == ["a3", "a2"]


def test_dropping(store: SqliteStore):
    made(store)
    before = in_force(store, "a")[:1]
    drop(store, "town", "plan", "me")
    assert store.scenarios("town") == {}
    assert in_force(store, "a") == before
    assert len(store.history(id_of("e"))) == 2
    for verb in (drop, adopt, lambda *args: list(compare(*args))):
        for name in ("plan", "", "no\u00a0one"):
            with pytest.raises(UsageError) as caught:
                verb(store, "town", name)
            assert code_of(caught) == "history.no-scenario"


# Lives


def test_a_life(store: SqliteStore):
    """Who said a stage first is named, also where the time he spoke of was cut by what others said."""
    for author, stage, since in (
        ("survey", Stage.SURVEYED, None),
        ("office", Stage.PERMITTED, "2010-01-01"),
        ("site", Stage.BUILDING, "2012-01-01"),
    ):
        record = replace(box("a", 1), stage=stage, valid_from=since)
        store.apply(Changeset("town", [Put(record)], author))
    put(store, replace(box("a", 1), scenario="x", stage=Stage.RETIRED))
    store.apply(Changeset("hills", [Put(box("h", 1))], "other"))
    told = [(s.stage, s.valid_from, s.valid_to, s.changeset.author) for s in life(store, id_of("a"))]
    assert told == [
        (Stage.SURVEYED, None, "2010-01-01", "survey"), (Stage.PERMITTED, "2010-01-01", "2012-01-01", "office"), (Stage.BUILDING, "2012-01-01", None, "site"),
    ]  # fmt: skip
    assert [s.stage for s in life(store, id_of("a"), "x")] == [Stage.RETIRED]
    store.apply(Changeset("town", [Retire(id_of("a"), "2015-01-01")], "wrecker"))
    assert [s.changeset.author for s in life(store, id_of("a"))] == ["survey", "office", "site"]
    assert life(store, id_of("a"))[-1].valid_to == "2015-01-01"
    assert life(store, UUID(int=0)) == []


def test_a_version_of_all_kinds_comes_back(store: SqliteStore):
    """Every field of a record survives a roll-back."""
    full = ObjectRecord(
        "full", "building.house", name="楼", layer="建筑", attributes={"n": [1, {"a": None}]}, box=(179, 0, 0, -179, 1, 1), stage=Stage.PERMITTED,
        valid_from="2000-01-01", valid_to="2040-01-01T12:00:00.5Z", codes=(Code("s", "e", "v", "2001-01-01", None),),
        relations=(Relation("partOf", id_of("b"), None, "2030-01-01", "deed"),), representations=(Representation("body", "2", "glb", "ab", {"at": [1, 2, 3]}),),
    )  # fmt: skip
    tim_id = put(store, full).touched[0].tim_id

    def unnumbered(version: ObjectVersion | None) -> ObjectRecord:
        return some(version).object

    kept = unnumbered(store.get(tim_id))
    store.apply(Changeset("town", [Retire(tim_id, "2020-01-01")]))
    rollback(store, "town", 1)
    assert unnumbered(store.get(tim_id)) == kept
