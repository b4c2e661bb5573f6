"""Any history of readings against a plain dict; chunks lose nothing and refuse damage."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.tim.observations.samples import WELL, moments, numbers, year
from tim.observations import Observations, Series, chunks, rows


class Journal(RuleBasedStateMachine):
    """Any appends against a dict from time to value: the last word counts. Tiny chunks, so that all of their business comes up."""

    folder: Path
    summed = 0
    """Spans with readings whose sums were held against the dict, over all histories."""

    @initialize()
    def make(self) -> None:
        for left in self.folder.glob("journal.sqlite*"):
            left.unlink()
        self.observations = Observations(self.folder / "journal.sqlite", sync=False)
        self.observations.put(Series(WELL, "x"))
        self.model: dict[int, float] = {}

    @rule(readings=st.lists(st.tuples(moments, numbers), max_size=30))
    def append(self, readings: list[tuple[int, float]]) -> None:
        self.observations.append(WELL, "x", np.array([r[0] for r in readings], np.int64), [r[1] for r in readings])
        self.model.update(readings)

    @rule(start=moments, count=st.integers(1, 40), step=st.integers(1, 10**9), value=numbers)
    def run(self, start: int, count: int, step: int, value: float) -> None:
        times = [t for t in range(start, start + count * step, step) if t < rows.END]
        self.observations.append(WELL, "x", np.array(times, "datetime64[us]"), [value] * len(times))
        self.model.update(dict.fromkeys(times, value))

    @rule(start=moments, end=moments, limit=st.none() | st.integers(1, 20))
    def look(self, start: int, end: int, limit: int | None) -> None:
        start, end = min(start, end), max(start, end) + 1
        found = self.observations.range(WELL, "x", start, end, limit)
        wanted = sorted((t, v) for t, v in self.model.items() if start <= t < end)[:limit]
        assert found.times.tolist() == [t for t, _ in wanted]
        assert np.array_equal(found.values, np.array([v for _, v in wanted], np.float64), equal_nan=True)

    @rule(start=moments, end=moments, number=st.integers(1, 12))
    def sum_up(self, start: int, end: int, number: int) -> None:
        start, end = min(start, end), max(start, end) + 1
        found = self.observations.downsample(WELL, "x", start, end, number)
        edges = [start + (end - start) * i // number for i in range(number + 1)]
        assert found.edges.tolist() == edges
        for i in range(number):
            inside = [v for t, v in sorted(self.model.items()) if edges[i] <= t < edges[i + 1] and not math.isnan(v)]
            assert found.count[i] == len(inside)
            if not inside:
                assert math.isnan(found.mean[i])
                continue
            Journal.summed += 1
            told = (found.minimum[i], found.maximum[i], found.first[i], found.last[i])
            assert told == (min(inside), max(inside), inside[0], inside[-1])
            mean, size = float(sum(map(Fraction, inside)) / len(inside)), max(map(abs, inside))
            assert found.mean[i] == pytest.approx(mean, rel=1e-9, abs=1e-12 * size)

    @invariant()
    def agree(self) -> None:
        assert self.observations.count(WELL, "x") == len(self.model)
        assert self.observations.extent(WELL, "x") == ((min(self.model), max(self.model)) if self.model else None)
        newest = self.observations.latest(WELL, "x")
        if self.model:
            assert newest is not None
            last = max(self.model)
            assert np.array_equal([newest.time, newest.value], [last, self.model[last]], equal_nan=True)
            self.sum_up(min(self.model), last, 3)
        else:
            assert newest is None

    def teardown(self) -> None:
        if hasattr(self, "observations"):
            self.observations.close()


def test_any_history_is_that_of_a_dict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from hypothesis.stateful import run_state_machine_as_test

    monkeypatch.setattr(rows, "_TAIL", 12)
    monkeypatch.setattr(chunks, "CHUNK", 8)
    monkeypatch.setattr(Journal, "folder", tmp_path, raising=False)
    monkeypatch.setattr(Journal, "summed", 0)
    run_state_machine_as_test(
        Journal,
        settings=settings(
            max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
    assert Journal.summed > 20, "histories in which there was nothing to look at"


@given(st.dictionaries(st.integers(rows.BEGINNING, rows.END - 1), numbers, min_size=1, max_size=50))
def test_chunks_lose_nothing(readings: dict[int, float]):
    times = np.array(sorted(readings), np.int64)
    values = np.array([readings[t] for t in times.tolist()]) + 0.0
    found = chunks.unpack(chunks.pack(times, values))
    assert found[0].tobytes() == times.tobytes()
    assert found[1].tobytes() == values.tobytes()


def test_what_instruments_give_is_small():
    times, values = year(8192)
    assert len(chunks.pack(times, values)) < 8192 * 2


@given(st.binary(max_size=40) | st.builds(lambda cut, bit: broken(cut, bit), st.integers(0, 200), st.integers(0, 7)))
def test_damaged_chunks_are_refused(data: bytes):
    try:
        times, values = chunks.unpack(data)
    except ValueError:
        return
    assert len(times) == len(values) == 100, "damage that hit nothing that matters"


def broken(cut: int, bit: int) -> bytes:
    times, values = year(100)
    whole = bytearray(chunks.pack(times, values))
    whole[cut % len(whole)] ^= 1 << bit
    return bytes(whole)
