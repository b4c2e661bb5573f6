"""Several writers at once, killed ones, a full disk."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from tests.tim.observations.samples import LEVEL, PUMP, START, WELL
from tim.errors import UsageError, WorkspaceError
from tim.observations import Observations

ROOT = Path(__file__).resolve().parents[3]


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
