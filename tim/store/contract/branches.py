"""Random histories of edits, scenarios, adoptions and roll-backs against a plain model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import TestCase

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tim.errors import Conflict
from tim.history import adopt, compare, diff, drop, revert, rollback
from tim.model import ObjectRecord, Stage, derived_id
from tim.store import AsOf, Changeset, DropSource, ObjectStore, ObjectVersion, Operation, Put, PutSource, Retire
from tim.store.contract.history import KEYS, STEP, date_of, unbounded
from tim.store.contract.samples import HILLS, TOWN, box, source

_LINES = ("", "x")
_ALL_YEARS = range(1999, 2008)
"""All that can differ: times begin and end from 2000 to 2006."""
_Reading = dict[tuple[str, str, int], ObjectRecord | None]
_SOURCES = st.none() | st.tuples(st.sampled_from("kl"), st.integers(0, 2))
"""No source, or one that is registered as of a size, or dropped at 0."""


class _BranchMachine(RuleBasedStateMachine):
    """Edits and everything that compensates them on few objects. The model is a table of what is read, of which it keeps every state."""

    opener: Callable[[Path], ObjectStore]

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = type(self).opener(Path(self.folder.name))
        self.store.put_dataset(TOWN)
        self.store.put_dataset(HILLS)
        self.store.apply(Changeset("hills", [Put(box("h", 1))]))
        self.now: _Reading = {(k, line, year): None for k in KEYS for line in _LINES for year in _ALL_YEARS}
        self.sources: dict[str, int] = {}
        self.past: dict[int, tuple[_Reading, dict[str, int]]] = {}
        self.in_force: dict[int, dict[str, list[ObjectVersion]]] = {}
        self.remember(0)
        self.remember(1)

    def teardown(self) -> None:
        self.store.__exit__(None, None, None)
        self.folder.cleanup()

    @rule(steps=st.lists(STEP, min_size=1, max_size=3, unique_by=lambda s: s[:2]), said_by=_SOURCES)
    def edit(self, steps: list[Any], said_by: tuple[str, int] | None) -> None:
        """What people do."""
        operations: list[Operation] = []
        if said_by is not None:
            key, size = said_by
            if size:
                operations.append(PutSource(replace(source(key), count=size)))
                self.sources[key] = size
            elif self.sources.pop(key, None) is not None:
                operations.append(DropSource(key))
        named = said_by[0] if said_by and said_by[1] else ""
        for key, line, (start, end), record in steps:
            years = [y for y in _ALL_YEARS if (start or 0) <= y and (record is None or y < (end or 9999))]
            if record is not None:
                full = replace(record, source_key=key, scenario=line, valid_from=date_of(start), valid_to=date_of(end))
                operations.append(Put(full, source=named))
            elif self.in_force[self.store.seq][key]:
                operations.append(Retire(derived_id(TOWN.uid, "", key), date_of(start), scenario=line))
            else:
                continue
            for year in years:
                self.now[key, line, year] = record and unbounded(replace(record, source_key=key, scenario=line))
        self.remember(self.store.apply(Changeset("town", operations, "somebody")).seq)

    @rule(back=st.integers(0, 4))
    def roll_back(self, back: int) -> None:
        """Every line and the sources read as they did, in the same rectangles; nothing is done twice."""
        to = max(0, self.store.seq - back)
        head = self.store.seq
        planned = rollback(self.store, "town", to, dry_run=True)
        assert self.store.seq == head
        done = rollback(self.store, "town", to, "me", "because", seen=head)
        reading, sources = self.past[to]
        self.now, self.sources = dict(reading), dict(sources)
        assert done.applied is not None
        assert (planned.objects, planned.sources) == (done.objects, done.sources)
        assert (done.applied.seq > head) == bool(done.objects + done.sources)
        self.remember(done.applied.seq)
        assert _said(self.in_force[done.applied.seq]) == _said(self.in_force[to])
        assert list(diff(self.store, "town", to)) == []
        assert rollback(self.store, "town", to).objects == 0

    @precondition(lambda self: self.store.seq > 1)
    @rule(back=st.integers(0, 3))
    def take_back_one(self, back: int) -> None:
        """One changeset, where no later one touched the same."""
        seq = max(2, self.store.seq - back)
        touched = {key for key in KEYS if self.touched(key, seq)}
        later = {key for key in touched if any(self.touched(key, s) for s in range(seq + 1, self.store.seq + 1))}
        before, then = self.past[seq - 1][1], self.past[seq][1]
        of_sources = {key for key in "kl" if before.get(key) != then.get(key)}
        if later or any(then.get(key) != self.sources.get(key) for key in of_sources):
            head = self.store.seq
            try:
                revert(self.store, seq)
            except Conflict as conflict:
                assert conflict.code == "history.later"  # noqa: PT017
                assert self.store.seq == head
                return
            raise AssertionError("a later changeset was overwritten")
        done = revert(self.store, seq, "me", "because")
        for key, line, year in self.now:
            if key in touched:
                self.now[key, line, year] = self.past[seq - 1][0][key, line, year]
        for key in of_sources:
            self.sources.pop(key, None)
            if key in before:
                self.sources[key] = before[key]
        assert done.applied is not None
        self.remember(done.applied.seq)

    @precondition(lambda self: "x" in self.store.scenarios("town"))
    @rule(skip=st.booleans())
    def take_the_scenario(self, skip: bool) -> None:
        """The common line reads as the scenario upon it did, but where the common line went on."""
        head = self.store.seq
        overtaken = {key for key in KEYS if self.overtaken(key)}
        told = list(compare(self.store, "town", "x"))
        for key in KEYS:
            tim_id = derived_id(TOWN.uid, "", key)
            changed = any(self.upon(key, year) != self.now[key, "", year] for year in _ALL_YEARS)
            assert changed == any(d.tim_id == tim_id for d in told)
        if overtaken and not skip:
            try:
                adopt(self.store, "town", "x")
            except Conflict as conflict:
                assert conflict.fields["count"] == len(overtaken)  # noqa: PT017
                assert self.store.seq == head
                return
            raise AssertionError("the common line was overwritten")
        applied = adopt(self.store, "town", "x", "me", skip=skip)
        for key in set(KEYS) - overtaken:
            for year in _ALL_YEARS:
                self.now[key, "", year] = self.upon(key, year)
                self.now[key, "x", year] = None
        self.remember(applied.seq)
        assert set(self.store.scenarios("town")) == ({"x"} if overtaken else set())

    @precondition(lambda self: "x" in self.store.scenarios("town"))
    @rule()
    def drop_the_scenario(self) -> None:
        """It is as if nothing had been said in it."""
        applied = drop(self.store, "town", "x")
        self.now.update({place: None for place in self.now if place[1] == "x"})
        self.remember(applied.seq)
        assert self.store.scenarios("town") == {}

    @invariant()
    def every_moment(self) -> None:
        """Now and before, each line reads as the model has it; the log is one chain; others are left alone."""
        for seq in range(max(0, self.store.seq - 2), self.store.seq + 1):
            for (key, line, year), expected in self.past[seq][0].items():
                found = self.store.get(derived_id(TOWN.uid, "", key), AsOf(date_of(year), seq), line)
                assert (found and unbounded(found.object)) == expected, (key, line, year, seq)
            known = {ref.key: ref.count for ref in self.store.sources("town", seq)}
            assert known == self.past[seq][1]
        log = list(self.store.log())
        assert [line.parent for line in log] == [*(line.seq for line in log[1:]), None]
        assert len({line.hash for line in log}) == len(log)
        assert len(self.store.history(derived_id(HILLS.uid, "", "h"))) == 1

    def remember(self, seq: int) -> None:
        """The state after a changeset."""
        self.past[seq] = dict(self.now), dict(self.sources)
        self.in_force[seq] = {
            key: [v for v in self.store.history(derived_id(TOWN.uid, "", key)) if v.db_to is None] for key in KEYS
        }

    def touched(self, key: str, seq: int) -> bool:
        """Whether a changeset made or ended versions of an object."""
        numbers = [[v.version for v in self.in_force[s][key]] for s in (seq - 1, seq)]
        return numbers[0] != numbers[1]

    def upon(self, key: str, year: int) -> ObjectRecord | None:
        """What the scenario makes of the common line."""
        own = self.now[key, "x", year]
        if own is None:
            return self.now[key, "", year]
        return None if own.stage is Stage.RETIRED else replace(own, scenario="")

    def overtaken(self, key: str) -> bool:
        """Whether other versions of the common line meet a word of the scenario now than when it was said."""
        now = self.in_force[self.store.seq][key]
        for word in (v for v in now if v.object.scenario):
            met = [
                [v.version for v in versions if not v.object.scenario and _meet(v.object, word.object)]
                for versions in (self.in_force[word.seq][key], now)
            ]
            if met[0] != met[1]:
                return True
        return False


def branches_machine(opener: Callable[[Path], ObjectStore], examples: int = 30) -> type[TestCase]:
    """A test case that plays random histories of :mod:`tim.history` on stores made by ``opener`` and on a plain model, and compares."""
    machine: Any = type("Branches", (_BranchMachine,), {"opener": staticmethod(opener)})
    case: type[TestCase] = machine.TestCase
    case.settings = settings(max_examples=examples, stateful_step_count=12, deadline=None)  # type: ignore[attr-defined]
    return case


def _said(in_force: dict[str, list[ObjectVersion]]) -> list[str]:
    """Rectangles, whatever their numbers."""
    return sorted(repr(v.object) for versions in in_force.values() for v in versions)


def _meet(a: ObjectRecord, b: ObjectRecord) -> bool:
    return (a.valid_from or "") < (b.valid_to or "~") and (b.valid_from or "") < (a.valid_to or "~")
