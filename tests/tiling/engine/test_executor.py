from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tiling.engine.executor import DaskExecutor, Executor, ProcessExecutor, SerialExecutor
from tim.errors import CorruptSource, TilingError, WorkspaceError


def square(x: int) -> int:
    return x * x


def misbehave(task: str) -> str:
    match task:
        case "corrupt":
            raise CorruptSource("las.empty", file="f")
        case "bug":
            raise ZeroDivisionError("oops")
        case "full":
            raise OSError(28, "No space left on device", "x.pack")
        case "memory":
            raise MemoryError
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(7)
        case "lambda":
            return lambda: None  # type: ignore[return-value]
    return task


def nothing(task: object) -> None:
    return None


def environment(name: str) -> str | None:
    return os.environ.get(name)


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def fail_in_unpickling() -> None:
    raise ImportError("no such builder")


class Unloadable:
    def __reduce__(self):
        return fail_in_unpickling, ()

    def __call__(self, task: int) -> int:
        return task


class Deadly:
    """A function that takes its process down when it is loaded."""

    def __reduce__(self):
        return os._exit, (3,)

    def __call__(self, task: int) -> int:
        return task


@pytest.mark.parametrize(
    "executor", [SerialExecutor(), ProcessExecutor(1), ProcessExecutor(2)], ids=["serial", "one", "two"]
)
def test_every_task_once(executor: Executor):
    try:
        assert sorted(executor.map(square, range(20))) == [(n, n * n) for n in range(20)]
        assert list(executor.map(nothing, [None, 0])) in ([(None, None), (0, None)], [(0, None), (None, None)])
        assert list(executor.map(square, [])) == []
    finally:
        executor.close()


def test_failures_are_outcomes():
    tasks = ["corrupt", "bug", "full", "memory", "die", "exit", "lambda", "good"]
    with ProcessExecutor(2) as executor:
        outcomes = dict(executor.map(misbehave, tasks))
    assert outcomes["good"] == "good"
    assert (type(outcomes["corrupt"]), outcomes["corrupt"].fields) == (CorruptSource, {"file": "f"})
    assert outcomes["bug"].code == "tile.unexpected"
    assert "ZeroDivisionError: oops" in outcomes["bug"].fields["error"]
    assert "misbehave" in outcomes["bug"].fields["trace"]
    assert (type(outcomes["full"]), outcomes["full"].code) == (WorkspaceError, "tile.disk-full")
    assert outcomes["memory"].code == "tile.out-of-memory"
    assert outcomes["die"].fields == {"attempts": 3, "how": "SIGKILL"}
    assert outcomes["exit"].fields == {"attempts": 3, "how": "exit code 7"}
    assert outcomes["lambda"].code == "tile.unexpected"


def test_a_function_that_does_not_load():
    with ProcessExecutor(1) as executor:
        ((_, outcome),) = executor.map(Unloadable(), [1])
        assert isinstance(outcome, TilingError)
        assert "no such builder" in outcome.fields["error"]
        with pytest.raises(TilingError) as caught:
            list(executor.map(Deadly(), range(100)))
        assert caught.value.code == "tile.worker-start"
        assert list(executor.map(square, [3])) == [(3, 9)]


def test_tasks_are_taken_lazily():
    taken = []

    def tasks():
        for n in range(100):
            taken.append(n)
            yield n

    with ProcessExecutor(2) as executor:
        outcomes = executor.map(square, tasks())
        next(outcomes)
        assert len(taken) <= 4


def test_numeric_libraries_get_one_thread_and_the_parent_keeps_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with ProcessExecutor(1) as executor:
        values = dict(executor.map(environment, ["OMP_NUM_THREADS", "MKL_NUM_THREADS"]))
    assert set(values.values()) == {"1"}
    assert os.environ["OMP_NUM_THREADS"] == "8"
    assert "MKL_NUM_THREADS" not in os.environ


def test_the_heartbeat_tells_what_runs():
    seen: list[tuple[float, float]] = []
    with ProcessExecutor(1) as executor:
        list(executor.map(sleep, [1.5], watch=seen.extend))
    assert any(task == 1.5 and seconds > 0.5 for task, seconds in seen)


def test_leaving_early_ends_the_workers():
    executor = ProcessExecutor(2)
    outcomes = executor.map(sleep, [0.0, 60.0, 60.0])
    next(outcomes)
    started = time.monotonic()
    outcomes.close()
    executor.close()
    assert time.monotonic() - started < 10


def test_a_dask_cluster_does_the_same():
    distributed = pytest.importorskip("distributed", reason="the dask extra is not installed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        executor = DaskExecutor(cluster.scheduler_address)
        assert sorted(executor.map(square, range(5))) == [(n, n * n) for n in range(5)]
        assert dict(executor.map(misbehave, ["bug"]))["bug"].code == "tile.unexpected"
        executor.close()


def test_importing_the_engine_starts_nothing():
    code = "import tiling.engine, threading, multiprocessing as m; assert threading.active_count() == 1 and not m.active_children()"
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, env={**os.environ, "PYTHONPATH": str(root)})
