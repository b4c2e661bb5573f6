"""A year of readings of one sensor: appended, asked for, summed up; beside plain rows in SQLite, one a reading."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from benchmarks import _report
from tim.observations import Observations, Series

WELL = UUID(int=1)
LEVEL = "water_level"
PEER = "plain rows"


def main() -> None:
    """Measure and print."""
    parser = _report.arguments(__doc__ or "")
    parser.add_argument("--count", type=int, default=1_000_000, help="readings")
    options = parser.parse_args()
    random = np.random.default_rng(1)
    times = 1_600_000_000_000_000 + 30_000_000 * np.arange(options.count)
    values = np.round(10 + np.cumsum(random.normal(0, 0.01, options.count)), 3)
    with tempfile.TemporaryDirectory(prefix="tim-observations-") as folder:
        ours, peer = Ours(Path(folder) / "observations.sqlite"), Plain(Path(folder) / "rows.sqlite")
        told = {side: measured(side, times, values) for side in (ours, peer)}
        ours.close()
        peer.close()
    mine, its = told[ours], told[peer]
    bars: dict[str, tuple[str, float | None, bool]] = {
        "bulk_append": ("readings/s", 1_000_000, True), "bytes_per_reading": ("bytes", None, False), "latest": ("µs", None, False),
        "range_10k": ("ms", None, False), "downsample_1000": ("ms", None, False), "downsample_100": ("ms", None, False),
        "downsample_10": ("ms", None, False), "single_appends": ("appends/s", 2000, True), "single_appends_synced": ("appends/s", None, True),
    }  # fmt: skip
    rows = [
        _report.Row(name, mine[name], unit, bar, PEER, its[name], at_least)
        for name, (unit, bar, at_least) in bars.items()
    ]
    notes = [f"{options.count:,} readings; single appends are commits of one reading; synced ones wait for the disk"]
    _report.emit("observations", rows, options.json, notes)


class Ours:
    """The store of observations."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stores = {sync: Observations(path, sync=sync) for sync in (True, False)}
        self._stores[True].put(Series(WELL, LEVEL, "m"))

    def append(self, times: NDArray[np.int64], values: NDArray[np.float64], *, sync: bool = True) -> None:
        self._stores[sync].append(WELL, LEVEL, times, values)

    def latest(self) -> object:
        return self._stores[True].latest(WELL, LEVEL)

    def range(self, start: int, limit: int) -> NDArray[np.float64]:
        return self._stores[True].range(WELL, LEVEL, start, None, limit).values

    def downsample(self, start: int, end: int, number: int) -> NDArray[np.float64]:
        return self._stores[True].downsample(WELL, LEVEL, start, end, number).mean

    def close(self) -> None:
        for store in self._stores.values():
            store.close()


class Plain:
    """A table with a row for each reading, as anybody would make it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(
            "CREATE TABLE reading (series INTEGER, time INTEGER, value REAL, PRIMARY KEY (series, time)) STRICT, WITHOUT ROWID"
        )

    def append(self, times: NDArray[np.int64], values: NDArray[np.float64], *, sync: bool = True) -> None:
        self._db.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT OR REPLACE INTO reading VALUES (1, ?, ?)", zip(times.tolist(), values.tolist(), strict=True)
        )
        self._db.execute("COMMIT")

    def latest(self) -> object:
        return self._db.execute(
            "SELECT time, value FROM reading WHERE series = 1 ORDER BY time DESC LIMIT 1"
        ).fetchone()

    def range(self, start: int, limit: int) -> NDArray[np.float64]:
        rows = self._db.execute(
            "SELECT time, value FROM reading WHERE series = 1 AND time >= ? ORDER BY time LIMIT ?", (start, limit)
        ).fetchall()
        return np.array(rows)[:, 1]

    def downsample(self, start: int, end: int, number: int) -> NDArray[np.float64]:
        rows = self._db.execute(
            "SELECT avg(value), min(value), max(value), count(value) FROM reading WHERE series = 1 AND time >= ? AND time < ?"
            " GROUP BY (time - ?) / ?", (start, end, start, (end - start) // number),
        ).fetchall()  # fmt: skip
        return np.array(rows)[:, 0]

    def close(self) -> None:
        self._db.close()


def measured(store: Ours | Plain, times: NDArray[np.int64], values: NDArray[np.float64]) -> dict[str, float]:
    """The figures of one side by name."""
    start, end, step = int(times[0]), int(times[-1]), int(times[1] - times[0])
    # Whole buckets, so that both sides cut alike.
    whole = (end - start) // 1000 * 1000
    told = {"bulk_append": len(times) / seconds(lambda: store.append(times, values), 1)}
    store.append(times[:1], values[:1])
    checkpoint(store.path)
    told["bytes_per_reading"] = sum(p.stat().st_size for p in store.path.parent.glob(f"{store.path.name}*")) / len(
        times
    )
    told["latest"] = seconds(store.latest, 1000) * 1e6
    middle, few = int(times[len(times) // 2]), min(10_000, len(times) // 2)
    assert np.array_equal(store.range(middle, few), values[len(times) // 2 :][:few])
    told["range_10k"] = seconds(lambda: store.range(middle, few), 20) * 1e3
    for number in (1000, 100, 10):
        told[f"downsample_{number}"] = seconds(lambda n=number: store.downsample(start, start + whole, n), 3) * 1e3  # type: ignore[misc]
        parts = np.searchsorted(times, start + whole // number * np.arange(number + 1))
        wanted = np.add.reduceat(values[: parts[-1]], parts[:-1]) / np.diff(parts)
        assert np.allclose(store.downsample(start, start + whole, number), wanted, rtol=1e-9)
    for name, sync, count in (("single_appends", False, 2000), ("single_appends_synced", True, 300)):
        later = iter(range(int(times[-1]) + step, 1 << 62, step))
        told[name] = 1 / seconds(lambda s=sync, t=later: store.append(np.array([next(t)]), values[:1], sync=s), count)  # type: ignore[misc]
    return told


def checkpoint(path: Path) -> None:
    """Everything into the file itself."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def seconds(work: Callable[[], object], times: int) -> float:
    """Of one run, on average of so many."""
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) / times


if __name__ == "__main__":
    main()
