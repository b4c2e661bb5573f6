"""Observations against a plain dict, a killed writer, and what no sensor should send."""

from __future__ import annotations

import itertools
import math
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from threading import Thread
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tim.errors import StoreError, TimError, UsageError, WorkspaceError
from tim.observations import Link, Observations, Series, chunks, microseconds, rows, texts
from tim.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
WELL, PUMP = UUID(int=1), UUID(int=2)
LEVEL = Series(WELL, "water_level", "m", title={"en": "Water level", "zh": "水位"})
DAY = 86_400_000_000
START = 1_700_000_000_000_000


@pytest.fixture
def observations(tmp_path: Path) -> Iterator[Observations]:
    with Observations(tmp_path / "observations.sqlite") as made:
        made.put(LEVEL)
        yield made


def year(count: int = 40_000, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return START + 30_000_000 * np.arange(count), np.round(10 + np.cumsum(random.normal(0, 0.01, count)), 3)


def test_series_of_an_object(observations: Observations):
    linked = Series(
        WELL, "flow", "m3/h", title={"zh": "流量"}, link=Link("https://sta.example/v1.1/Datastreams(1)", "sta")
    )
    observations.put(linked)
    assert observations.series(WELL) == [linked, LEVEL]
    assert observations.series(PUMP) == []
    changed = observations.put(Series(WELL, "water_level", "cm"))
    assert observations.get(WELL, "water_level") == changed
    observations.append(WELL, "water_level", [START], [1.5])
    observations.drop(WELL, "water_level")
    assert observations.series(WELL) == [linked]
    observations.put(LEVEL)
    assert observations.count(WELL, "water_level") == 0, "its readings went with it"


def test_nothing_is_made_by_looking(tmp_path: Path):
    with Workspace.create(tmp_path / "ws").observations() as observations:
        assert observations.series(WELL) == []
        for ask in (
            observations.latest,
            observations.count,
            observations.extent,
            observations.range,
            observations.drop,
        ):
            with pytest.raises(UsageError) as caught:
                ask(WELL, "x")
            assert caught.value.code == "observations.no-series"
        with pytest.raises(UsageError):
            observations.append(WELL, "x", [1], [1.0])
        assert not observations.path.exists()


def test_a_year_of_readings(observations: Observations):
    """Bulk, then late, repeated and scattered readings; statistics without opening chunks are those of the readings."""
    times, values = year()
    assert observations.append(WELL, "water_level", times[::2], values[::2]) == len(times) // 2
    observations.append(WELL, "water_level", times[1::2][::-1], values[1::2][::-1])
    assert observations.count(WELL, "water_level") == len(times)
    found = observations.range(WELL, "water_level")
    assert found.times.tolist() == times.tolist()
    assert found.values.tobytes() == values.tobytes()
    assert observations.latest(WELL, "water_level") == (times[-1], values[-1])
    part = observations.range(WELL, "water_level", int(times[9000]), int(times[30_000]), 7)
    assert part.times.tolist() == times[9000:9007].tolist()
    summed = observations.downsample(WELL, "water_level", None, None, 3)
    assert int(summed.count.sum()) == len(times)
    assert summed.minimum.min() == values.min()
    assert summed.maximum.max() == values.max()
    assert summed.mean @ summed.count / len(times) == pytest.approx(values.mean(), rel=1e-12)


def test_whole_chunks_are_not_opened(observations: Observations, monkeypatch: pytest.MonkeyPatch):
    times, values = year(80_000)
    observations.append(WELL, "water_level", times, values)
    opened: list[int] = []
    unpacked = rows.unpacked
    monkeypatch.setattr(rows, "unpacked", lambda db, number: opened.append(number) or unpacked(db, number))
    observations.downsample(WELL, "water_level", None, None, 1)
    assert opened == []
    observations.downsample(WELL, "water_level", None, None, 4)
    assert len(opened) == 3, "those on the inner edges"


def test_chunks_stay_whole(observations: Observations):
    """One reading at a time, in and out of order, ends in chunks of the size they should have, that do not overlap."""
    random = np.random.default_rng(5)
    times, values = year(30_000)
    order = np.concatenate([np.arange(20_000), 20_000 + random.permutation(10_000)])
    for part in np.array_split(order, 200):
        observations.append(WELL, "water_level", times[part], values[part])
    with sqlite3.connect(observations.path) as db:
        heads = db.execute("SELECT first, last, count FROM chunk ORDER BY first").fetchall()
    db.close()
    assert all(a[1] < b[0] for a, b in itertools.pairwise(heads))
    assert all(count < 2 * chunks.CHUNK for _, _, count in heads)
    assert len(heads) <= 2 + 30_000 // chunks.CHUNK * 2
    assert observations.range(WELL, "water_level").values.tobytes() == values.tobytes()


def test_gaps(observations: Observations):
    """A gap is a reading and enters no statistics; it takes back what was said before."""
    observations.append(WELL, "water_level", [START, START + 1, START + 2], [1.0, np.nan, 3.0])
    observations.append(WELL, "water_level", [START + 2], [np.nan])
    assert observations.count(WELL, "water_level") == 3
    newest = observations.latest(WELL, "water_level")
    assert newest is not None
    assert newest.time == START + 2
    assert math.isnan(newest.value)
    summed = observations.downsample(WELL, "water_level", None, None, 1)
    assert (summed.count.tolist(), summed.mean.tolist(), summed.last.tolist()) == ([1], [1.0], [1.0])
    times, _ = year(9000)
    observations.append(WELL, "water_level", times, np.full(9000, np.nan))
    newest = observations.latest(WELL, "water_level")
    assert newest is not None
    assert math.isnan(newest.value)
    assert np.isnan(observations.downsample(WELL, "water_level", int(times[1]), None, 4).minimum).all()


def test_booleans(observations: Observations):
    observations.put(Series(PUMP, "running", kind="boolean"))
    observations.append(PUMP, "running", [1, 2, 3], [True, False, None])
    assert observations.range(PUMP, "running").values[:2].tolist() == [1.0, 0.0]
    with pytest.raises(UsageError) as caught:
        observations.append(PUMP, "running", [4, 5], [1, 0.5])
    assert caught.value.code == "observations.values"


def test_many_sensors_in_one_step_or_none(observations: Observations):
    observations.put(Series(PUMP, "power", "kW"))
    batch = [(WELL, "water_level", [START], [1.0]), (PUMP, "power", [START], [2.0])]
    assert observations.extend(batch) == 2
    with pytest.raises(UsageError):
        observations.extend([(WELL, "water_level", [START + 1], [1.0]), (PUMP, "nothing", [START], [2.0])])
    assert observations.count(WELL, "water_level") == 1
    assert observations.extend([]) == 0
    assert observations.append(WELL, "water_level", [], []) == 0


moments = st.one_of(
    st.integers(0, 60), st.integers(START, START + 3 * DAY), st.sampled_from([rows.BEGINNING, rows.END - 1])
)
numbers = st.one_of(
    st.just(math.nan),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-50_000, 50_000).map(lambda n: n / 100),
)


class Journal(RuleBasedStateMachine):
    """Any appends against a dict from time to value: the last word counts. Tiny chunks, so that all of their business comes up."""

    folder: Path

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
        if start >= end:
            return
        found = self.observations.range(WELL, "x", start, end, limit)
        wanted = sorted((t, v) for t, v in self.model.items() if start <= t < end)[:limit]
        assert found.times.tolist() == [t for t, _ in wanted]
        assert np.array_equal(found.values, np.array([v for _, v in wanted], np.float64), equal_nan=True)

    @rule(start=moments, end=moments, number=st.integers(1, 12))
    def sum_up(self, start: int, end: int, number: int) -> None:
        if start >= end:
            return
        found = self.observations.downsample(WELL, "x", start, end, number)
        edges = [start + (end - start) * i // number for i in range(number + 1)]
        assert found.edges.tolist() == edges
        for i in range(number):
            inside = [v for t, v in sorted(self.model.items()) if edges[i] <= t < edges[i + 1] and not math.isnan(v)]
            assert found.count[i] == len(inside)
            if not inside:
                assert math.isnan(found.mean[i])
                continue
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
    run_state_machine_as_test(
        Journal,
        settings=settings(
            max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


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


def test_a_damaged_file_is_named(observations: Observations):
    times, values = year(5000)
    observations.append(WELL, "water_level", times, values)
    observations.close()
    with sqlite3.connect(observations.path) as db:
        db.execute("UPDATE chunk SET data = x'00'")
    db.close()
    with Observations(observations.path) as again, pytest.raises(StoreError) as caught:
        again.range(WELL, "water_level")
    assert caught.value.code == "store.corrupt"
    assert str(observations.path) in str(caught.value)


@pytest.mark.parametrize(
    ("times", "values", "code"),
    [
        ([1, 2], [1.0], "lengths"),
        ([[1]], [[1.0]], "times"),
        ([[1], [1, 2]], [1.0], "times"),
        (5, 1.0, "times"),
        ([1.5], [1.0], "times"),
        (["2024-01-01"], [1.0], "times"),
        ([True], [1.0], "times"),
        ([2**70], [1.0], "times"),
        ([2**63], [1.0], "times"),
        ([rows.END], [1.0], "times"),
        ([rows.BEGINNING - 1], [1.0], "times"),
        (np.array(["NaT"], "datetime64[us]"), [1.0], "times"),
        (np.array([10**15], "datetime64[Y]"), [1.0], "times"),
        (np.array([20_000], "datetime64[Y]"), [1.0], "times"),
        ([1], [math.inf], "values"),
        ([1], [-math.inf], "values"),
        ([1], ["7"], "values"),
        ([1], ["x"], "values"),
        ([1], [1j], "values"),
        ([1], [{}], "values"),
        ([1], [10**400], "values"),
        ([1], [np.datetime64("2024-01-01")], "values"),
    ],
)
def test_bad_readings_are_refused_whole(observations: Observations, times: object, values: object, code: str):
    with pytest.raises(UsageError) as caught:
        observations.extend([(WELL, "water_level", [START], [1.0]), (WELL, "water_level", times, values)])  # type: ignore[list-item]
    assert caught.value.code == f"observations.{code}"
    assert "{" not in str(caught.value)
    assert observations.count(WELL, "water_level") == 0


@pytest.mark.parametrize(
    "series",
    [
        Series(WELL, ""),
        Series(WELL, "a/b"),
        Series(WELL, "a" * 101),
        Series(WELL, " a"),
        Series(WELL, "a\0"),
        Series(WELL, "\ud800"),
        Series(WELL, "a", unit="m\n"),
        Series(WELL, "a", title={"fr": "x"}),
        Series(WELL, "a", title={"en": 5}),  # type: ignore[dict-item]
        Series(WELL, "a", kind="text"),  # type: ignore[arg-type]
        Series(WELL, "a", link=Link("example.org/x", "sta")),
        Series(WELL, "a", link=Link("https://user:secret@example.org/x", "sta")),
        Series(WELL, "a", link=Link("https://[::1", "sta")),
        Series(WELL, "a", link=Link("https://example.org/x", "")),
    ],
)
def test_bad_series_are_refused(observations: Observations, series: Series):
    with pytest.raises(UsageError) as caught:
        observations.put(series)
    assert caught.value.code in ("observations.series", "observations.link")
    assert "secret" not in str(caught.value)
    assert observations.series(WELL) == [LEVEL]


def test_what_readings_forbid(observations: Observations):
    elsewhere = Link("opc.tcp://plc.example:4840", "opc-ua")
    observations.put(Series(WELL, "linked", link=elsewhere))
    with pytest.raises(UsageError) as caught:
        observations.append(WELL, "linked", [1], [1.0])
    assert caught.value.code == "observations.linked"
    observations.append(WELL, "water_level", [1], [0.5])
    for changed, code in (
        (Series(WELL, "water_level", kind="boolean"), "kind-fixed"),
        (Series(WELL, "water_level", link=elsewhere), "has-readings"),
    ):
        with pytest.raises(UsageError) as caught:
            observations.put(changed)
        assert caught.value.code == f"observations.{code}"


def test_bad_questions(observations: Observations):
    for ask, code in (
        (lambda: observations.range(WELL, "water_level", 5, 5), "observations.span"),
        (lambda: observations.range(WELL, "water_level", limit=0), "store.limit"),
        (lambda: observations.downsample(WELL, "water_level", 9, 3, 10), "observations.span"),
        (lambda: observations.downsample(WELL, "water_level", None, None, 0), "observations.buckets"),
        (lambda: observations.downsample(WELL, "water_level", None, None, 10**9), "observations.buckets"),
        (lambda: observations.latest(WELL, "\ud800"), "observations.no-series"),
        (lambda: observations.get(PUMP, "water_level"), "observations.no-series"),
    ):
        with pytest.raises(TimError) as caught:
            ask()
        assert caught.value.code == code
    assert observations.downsample(WELL, "water_level", None, None, 2).count.tolist() == [0, 0]


def test_times_of_people():
    told = datetime(2026, 11, 21, 8, 0, 0, 5, timezone(timedelta(hours=8)))
    assert texts(np.array([microseconds(told)])) == ["2026-11-21T00:00:00.000005Z"]
    assert texts(np.array([0, 1_000_000])) == ["1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z"]
    assert microseconds(datetime(1, 1, 1, tzinfo=UTC)) == rows.BEGINNING
    assert texts(np.array([rows.BEGINNING, rows.END - 1])) == [
        "0001-01-01T00:00:00.000000Z",
        "9999-12-31T23:59:59.999999Z",
    ]


def test_a_file_of_something_else(tmp_path: Path):
    path = tmp_path / "observations.sqlite"
    path.write_bytes(b"not a database, but long enough to be looked at" * 40)
    with Observations(path) as observations:
        for ask in (lambda: observations.series(WELL), lambda: observations.put(LEVEL)):
            with pytest.raises(StoreError) as caught:
                ask()
            assert caught.value.code == "store.foreign"
    Workspace.create(tmp_path / "ws")
    with Observations(tmp_path / "ws" / "store.sqlite") as observations, pytest.raises(StoreError):
        observations.put(LEVEL)


def test_closed_and_unwritable(tmp_path: Path):
    observations = Observations(tmp_path / "o.sqlite")
    observations.put(LEVEL)
    observations.close()
    assert [p.name for p in tmp_path.iterdir()] == ["o.sqlite"]
    with pytest.raises(StoreError) as caught:
        observations.series(WELL)
    assert caught.value.code == "store.closed"
    with Observations(tmp_path / "missing" / "o.sqlite") as nowhere, pytest.raises(WorkspaceError):
        nowhere.put(LEVEL)


def test_several_writers_and_readers(tmp_path: Path):
    """Readers meanwhile see every reading that was there when they began, also while the tail becomes a chunk."""
    observations = Observations(tmp_path / "o.sqlite", sync=False)
    observations.put(LEVEL)
    errors: list[BaseException] = []

    def write(offset: int) -> None:
        for i in range(0, 30_000, 500):
            observations.append(WELL, "water_level", START + 10 * np.arange(i, i + 500) + offset, np.arange(500.0))

    def read() -> None:
        seen = 0
        while seen < 60_000 and not errors:
            try:
                count = observations.count(WELL, "water_level")
                assert len(observations.range(WELL, "water_level")) >= count >= seen
                seen = count
            except BaseException as error:
                errors.append(error)

    threads = [Thread(target=write, args=(k,)) for k in (0, 1)] + [Thread(target=read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    observations.close()
    assert not errors


def test_threads_wait_for_the_disk_together(observations: Observations, monkeypatch: pytest.MonkeyPatch):
    """Fewer commits than appends; a batch that is refused, or not there at all, hinders no other."""
    commits = 0
    write = observations._write

    def slow() -> None:
        nonlocal commits
        time.sleep(0.01)
        commits += 1
        write()

    monkeypatch.setattr(observations, "_write", slow)
    refused: list[str] = []

    def send(k: int) -> None:
        for i in range(10):
            observations.append(WELL, "water_level", [START + 100 * k + i], [1.0])
            try:
                observations.extend([(WELL, "water_level", [START - 1], [1.0]), (PUMP, "nothing", [START], [1.0])])
            except UsageError as error:
                refused.append(error.code)

    threads = [Thread(target=send, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["observations.no-series"] * 80
    assert observations.count(WELL, "water_level") == 80
    assert commits < 100, "of 160"


def test_a_full_disk_fails_all_that_waited(observations: Observations):
    observations.append(WELL, "water_level", [1], [1.0])
    assert observations._file.writer is not None
    (pages,) = observations._file.writer.execute("PRAGMA page_count").fetchone()
    observations._file.writer.execute(f"PRAGMA max_page_count = {pages + 2}")
    random = np.random.default_rng(1)
    with pytest.raises(WorkspaceError) as caught:
        observations.append(WELL, "water_level", np.arange(2, 50_002), random.normal(size=50_000))
    assert caught.value.code == "store.full"
    assert observations.count(WELL, "water_level") == 1
    observations._file.writer.execute("PRAGMA max_page_count = 1000000")
    assert observations.append(WELL, "water_level", np.arange(2, 50_002), random.normal(size=50_000)) == 50_000


FIRST = """
import sys
from uuid import UUID
from tim.observations import Observations, Series
with Observations(sys.argv[1]) as observations:
    for i in range(20):
        observations.put(Series(UUID(int=1), f"{sys.argv[2]}-{i}"))
        observations.append(UUID(int=1), f"{sys.argv[2]}-{i}", [1], [1.0])
"""


def test_several_processes_make_the_file(tmp_path: Path):
    path = tmp_path / "observations.sqlite"
    makers = [subprocess.Popen([sys.executable, "-c", FIRST, str(path), str(k)], cwd=ROOT) for k in range(4)]
    with Observations(path) as observations:
        while any(maker.poll() is None for maker in makers):
            observations.series(WELL)
        assert [maker.returncode for maker in makers] == [0] * 4
        assert len(observations.series(WELL)) == 80
        assert all(observations.count(WELL, series.name) == 1 for series in observations.series(WELL))


WRITER = """
import itertools, sys
from uuid import UUID
from tim.observations import Observations
with Observations(sys.argv[1]) as observations:
    at = int(sys.argv[2])
    for size in itertools.cycle([1, 1, 700, 1, 5000]):
        observations.append(UUID(int=1), "water_level", range(at, at + size), [float(t % 1000) for t in range(at, at + size)])
        at += size
        print(at, flush=True)
"""


def test_killed_writers(tmp_path: Path):
    """Every append that returned is there, whole; of the one that was going on all or nothing."""
    path = tmp_path / "observations.sqlite"
    with Observations(path) as observations:
        observations.put(LEVEL)
    at = 0
    random = np.random.default_rng(20261121)
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(at)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline()]
        time.sleep(random.uniform(0.0, 0.2))
        writer.kill()
        lines += writer.stdout.read().splitlines()
        writer.stdout.close()
        writer.wait()
        reported = int([line for line in lines if line.strip()][-1])
        with Observations(path) as observations:
            found = observations.range(WELL, "water_level")
            assert found.times.tolist() == list(range(len(found)))
            assert np.array_equal(found.values, found.times % 1000)
            assert len(found) - reported in (0, 1, 700, 5000)
            assert observations.count(WELL, "water_level") == len(found)
            at = len(found)
        db = sqlite3.connect(path)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.close()
