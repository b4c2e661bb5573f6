"""Random histories against a plain model."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import TestCase
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tim.errors import StoreError
from tim.model import Code, ObjectRecord, Stage, derived_id
from tim.place import Box3
from tim.store import AsOf, Change, Changeset, Filter, ObjectStore, ObjectVersion, Operation, Put, Retire
from tim.store.contract.samples import TOWN, key_of


@dataclass(frozen=True, slots=True)
class _Said:
    """One statement: from changeset ``seq`` on, about a time, on a line: content, or that there is none."""

    seq: int
    scenario: str
    start: int
    end: int
    record: ObjectRecord | None


_YEARS = st.integers(2000, 2006)
KEYS = ("a", "b", "c")
"""Source keys of the objects that histories are about."""
_OPEN = (-1, 9999)
_UNCHANGED = Change(UUID(int=0), "", 0, (), ())
_BOXES: tuple[Box3 | None, ...] = (
    None, (0, 0, 0, 1, 1, 1), (1, 0, 0, 2, 1, 1), (0.5, 0.5, 5, 1.5, 1.5, 6), (179, 0, 0, -179, 1, 1), (-180, 0, 0, -179.5, 1, 1),
)  # fmt: skip
_RECORDS = st.builds(
    ObjectRecord, source_key=st.just(""), class_id=st.sampled_from(["a", "a.b", "ab"]), name=st.sampled_from(["x", "y"]),
    attributes=st.fixed_dictionaries({}, optional={"v": st.sampled_from([0, 1, True, None, "1"])}), box=st.sampled_from(_BOXES),
    stage=st.sampled_from([Stage.SURVEYED, Stage.PLANNED, Stage.RETIRED]), codes=st.sampled_from([(), (Code("s", "e", "1"),), (Code("s", "f", "1"),)]),
)  # fmt: skip
_SPANS = st.tuples(st.none() | _YEARS, st.none() | _YEARS).filter(lambda s: s[0] is None or s[1] is None or s[0] < s[1])
_SCENARIOS = st.sampled_from(["", "x"])
STEP = st.tuples(st.sampled_from(KEYS), _SCENARIOS, _SPANS, st.none() | _RECORDS)
"""Key, scenario, years it is about, and what is said: a record, or that there is none (from the first year on)."""
_FILTERS = st.builds(
    Filter, box=st.none() | st.sampled_from([b for b in _BOXES if b]), class_id=st.none() | st.sampled_from(["a", "a.b", "ab"]),
    attributes=st.fixed_dictionaries({}, optional={"v": st.sampled_from([0, 1, 1.0, True, None, "1"])}),
    stage=st.none() | st.sampled_from([Stage.SURVEYED, Stage.PLANNED]), scenario=_SCENARIOS,
    code=st.none() | st.sampled_from([Code("s", "", "1"), Code("s", "e", "1"), Code("t", "", "1")]), upon=st.booleans(),
)  # fmt: skip


class _HistoryMachine(RuleBasedStateMachine):
    """Random changesets on few objects; the model just remembers who said what, last word counts."""

    opener: Callable[[Path], ObjectStore]

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = type(self).opener(Path(self.folder.name))
        self.store.put_dataset(TOWN)
        self.said: dict[str, list[_Said]] = {key: [] for key in KEYS}

    def teardown(self) -> None:
        self.store.__exit__(None, None, None)
        self.folder.cleanup()

    @rule(steps=st.lists(STEP, min_size=1, max_size=3, unique_by=lambda s: s[:2]), fail=st.booleans())
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
                operations.append(Retire(derived_id(TOWN.uid, "", key), date_of(start), scenario=scenario))
                heard.append((key, _Said(0, scenario, _OPEN[0] if start is None else start, _OPEN[1], None)))
            else:
                full = replace(
                    record, source_key=key, scenario=scenario, valid_from=date_of(start), valid_to=date_of(end)
                )
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
            key for key in KEYS if (r := self._seen(key, wanted, seq, year)) is not None and _matches(r, wanted)
        }
        assert sorted(key_of(self._pages(wanted, AsOf(date_of(year), seq), limit))) == sorted(expected)

    @precondition(lambda self: self.store.seq)
    @rule(wanted=_FILTERS, ends=st.tuples(st.none() | _YEARS, st.none() | _YEARS), limit=st.integers(1, 3))
    def ask_of_an_interval(self, wanted: Filter, ends: tuple[int | None, int | None], limit: int) -> None:
        """Whoever matches in any year of it is found once, as in the last such year."""
        if None not in ends:
            ends = (min(ends), max(ends))  # type: ignore[type-var]
        years = range(1999 if ends[0] is None else ends[0], 2008 if ends[1] is None else ends[1] + 1)
        expected = {}
        for key in KEYS:
            for year in years:
                record = self._record(key, wanted.scenario, self.store.seq, year)
                if record is not None and _matches(record, wanted):
                    expected[key] = record
        during = (date_of(ends[0]), date_of(ends[1]))
        found = self._pages(replace(wanted, during=during, upon=False), None, limit)
        assert sorted(key_of(found)) == sorted(expected)
        for version in found:
            assert unbounded(version.object) == unbounded(expected[version.object.source_key])

    @precondition(lambda self: self.store.seq)
    @rule(back=st.tuples(st.integers(0, 3), st.integers(0, 3)), limit=st.integers(1, 3))
    def ask_what_changed(self, back: tuple[int, int], limit: int) -> None:
        """Lines that are told had a say in between, before and after are what was and is; the others are as they were."""
        since, until = (max(0, self.store.seq - n) for n in (max(back), min(back)))
        told: dict[tuple[str, str], Change] = {}
        cursor = None
        while True:
            page = self.store.changes("town", since, until, cursor, limit)
            for change in page.items:
                key = (*change.before, *change.after)[0].object.source_key
                assert (key, change.scenario) not in told
                told[key, change.scenario] = change
            if (cursor := page.cursor) is None:
                break
        for key, scenario in itertools.product(KEYS, ("", "x")):
            change = told.get((key, scenario), _UNCHANGED)
            spoken = {s.seq for s in self.said[key] if s.scenario == scenario and since < s.seq <= until}
            assert spoken or change is _UNCHANGED
            for year in range(1999, 2008):
                was, now = (self._record(key, scenario, seq, year) for seq in (since, until))
                if change is _UNCHANGED:
                    assert was == now
                    continue
                for expected, versions in ((was, change.before), (now, change.after)):
                    found = [v.object for v in versions if _covers(v.object, year)]
                    assert [unbounded(r) for r in found] == ([] if expected is None else [unbounded(expected)])

    @invariant()
    def every_moment(self) -> None:
        """Each object at each moment of the last changesets."""
        for key in KEYS:
            tim_id = derived_id(TOWN.uid, "", key)
            for scenario in ("", "x"):
                for seq in range(max(0, self.store.seq - 2), self.store.seq + 1):
                    for year in (1990, 2000, 2003, 2006, 2020):
                        found = self.store.get(tim_id, AsOf(date_of(year), seq), scenario)
                        expected = self._record(key, scenario, seq, year)
                        assert (found is None) == (expected is None), (key, scenario, seq, year)
                        if found is not None and expected is not None:
                            assert unbounded(found.object) == unbounded(expected)

    def _pages(self, wanted: Filter, as_of: AsOf | None, limit: int) -> list[ObjectVersion]:
        found: list[ObjectVersion] = []
        page = self.store.query(wanted, as_of, None, limit)
        while page.cursor is not None:
            found += page.items
            page = self.store.query(wanted, as_of, page.cursor, limit)
        return [*found, *page.items]

    def _seen(self, key: str, wanted: Filter, seq: int, year: int) -> ObjectRecord | None:
        """What a filter looks at: the line, or the scenario upon the common line."""
        record = self._record(key, wanted.scenario, seq, year)
        if not (wanted.upon and wanted.scenario):
            return record
        if record is None:
            return self._record(key, "", seq, year)
        return None if record.stage is Stage.RETIRED else record

    def _record(self, key: str, scenario: str, seq: int, year: int) -> ObjectRecord | None:
        last = [s for s in self.said[key] if s.scenario == scenario and s.seq <= seq and s.start <= year < s.end]
        return last[-1].record if last else None


def history_machine(opener: Callable[[Path], ObjectStore], examples: int = 40) -> type[TestCase]:
    """A test case that plays random histories on stores made by ``opener`` and on a plain model, and compares."""
    machine: Any = type("History", (_HistoryMachine,), {"opener": staticmethod(opener)})
    case: type[TestCase] = machine.TestCase
    case.settings = settings(max_examples=examples, stateful_step_count=12, deadline=None)  # type: ignore[attr-defined]
    return case


def _covers(record: ObjectRecord, year: int) -> bool:
    start, end = record.valid_from, record.valid_to
    return (start is None or int(start[:4]) <= year) and (end is None or year < int(end[:4]))


def unbounded(record: ObjectRecord) -> ObjectRecord:
    """What a record says, whenever and of whom."""
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


def date_of(year: int | None) -> str | None:
    """The beginning of a year."""
    return None if year is None else f"{year:04}-01-01"
