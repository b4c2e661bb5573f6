"""Series of objects, their readings, and what no sensor should send."""

from __future__ import annotations

import itertools
import math
import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from tests.tim.observations.samples import LEVEL, PUMP, START, WELL, year
from tim.errors import StoreError, TimError, UsageError, WorkspaceError
from tim.observations import Link, Observations, Series, chunks, microseconds, rows, texts
from tim.workspace import Workspace


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
