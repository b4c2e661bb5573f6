"""Where shards run: one protocol, three places. A task that fails, or takes its process down, is an outcome, never the end of the run.

Processes are always spawned. A worker leaves when its parent is gone, ignores Ctrl-C (the parent ends it), and keeps numeric libraries to one thread.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import pickle
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from tim.errors import TilingError, TimError, WorkspaceError

T = TypeVar("T")
R = TypeVar("R")

Watch = Callable[[Sequence[tuple[Any, float]]], None]
"""Called about once a second with what is running and for how many seconds."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS")
_WORKER_ENVIRONMENT = {
    **dict.fromkeys(_THREADS, "1"),
    # glibc gives large arrays back to the system at once and fetches them anew, page by page, for the next shard: a tenth of a worker's time.
    "MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "268435456", "MALLOC_TOP_PAD_": "67108864",
}  # fmt: skip
_HEARTBEAT = 1.0
_SPAWN = get_context("spawn")
_environment = threading.Lock()


class Executor(Protocol):
    """Runs a function over tasks, somewhere."""

    @property
    def workers(self) -> int:
        """How many tasks run at once."""

    def map(
        self, function: Callable[[T], R], tasks: Iterable[T], watch: Watch | None = None
    ) -> Iterator[tuple[T, R | TimError]]:
        """Each task with its result or its error, in the order they finish. Function, tasks and results are picklable; tasks are taken lazily.

        What is not a :class:`TimError` comes as TilingError ``tile.unexpected``; a task whose process died, ``tile.worker-lost``.
        """

    def close(self) -> None:
        """End the workers."""


def default_workers() -> int:
    """As many as this process may use processors."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class SerialExecutor:
    """In this process, one after the other: for debugging, and where no process can be started. A crash here is a crash of everything."""

    workers = 1

    def map(
        self, function: Callable[[T], R], tasks: Iterable[T], watch: Watch | None = None
    ) -> Iterator[tuple[T, R | TimError]]:
        """See :class:`Executor`."""
        for task in tasks:
            if watch is not None:
                watch([(task, 0.0)])
            yield task, _attempt(function, task)

    def close(self) -> None:
        """Nothing to end."""


class ProcessExecutor:
    """Spawned processes on this machine, also where there is only one: a crash or an out-of-memory kill costs a shard's attempt, not the run.

    A task whose worker dies is tried again in a fresh process, ``attempts`` times in all. Not for use from several threads at once.
    """

    def __init__(self, workers: int | None = None, attempts: int = 3) -> None:
        self.workers = workers or default_workers()
        self._attempts = attempts
        self._crew: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def map(
        self, function: Callable[[T], R], tasks: Iterable[T], watch: Watch | None = None
    ) -> Iterator[tuple[T, R | TimError]]:
        """See :class:`Executor`. Raises TilingError ``tile.worker-start`` where processes cannot start at all."""
        load = b"f" + pickle.dumps(function)
        source = iter(tasks)
        again: deque[tuple[T, int]] = deque()
        stillborn = 0
        for worker in self._crew:
            worker.loaded = False
        try:
            while True:
                while len(self._busy()) < self.workers:
                    given = next(((task, 1) for task in source), None) or (again.popleft() if again else None)
                    if given is None:
                        break
                    self._idle().give(load, *given)
                if not self._busy():
                    return
                for worker, reply in self._replies():
                    task, attempt = worker.task, worker.attempt
                    stillborn = 0 if worker.started else stillborn + 1
                    if reply is not None:
                        worker.busy = False
                        yield task, reply[0]
                        continue
                    self._crew.remove(worker)
                    how = worker.bury()
                    if stillborn == self._attempts:
                        raise TilingError("tile.worker-start", how=how)
                    if attempt < self._attempts:
                        again.append((task, attempt + 1))
                    else:
                        yield task, TilingError("tile.worker-lost", attempts=attempt, how=how)
                if watch is not None:
                    now = time.monotonic()
                    watch([(worker.task, now - worker.since) for worker in self._busy()])
        finally:
            for worker in self._busy():
                self._crew.remove(worker)
                worker.bury()

    def close(self) -> None:
        """End the workers: idle ones leave by themselves, busy ones are killed."""
        for worker in self._crew:
            worker.pipe.close()
        for worker in self._crew:
            worker.bury(patience=0.0 if worker.busy else 5.0)
        self._crew = []

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._crew if worker.busy]

    def _idle(self) -> _Worker:
        worker = next((worker for worker in self._crew if not worker.busy), None)
        if worker is None:
            worker = _Worker.spawn()
            self._crew.append(worker)
        return worker

    def _replies(self) -> list[tuple[_Worker, tuple[Any] | None]]:
        """Waits a heartbeat for some; a dead worker's reply is ``None``."""
        busy = {worker.pipe: worker for worker in self._busy()}
        replies: list[tuple[_Worker, tuple[Any] | None]] = []
        for pipe in connection.wait(list(busy), timeout=_HEARTBEAT):
            worker = busy[pipe]  # type: ignore[index]
            replies += [(worker, reply) for reply in worker.replies()]
        return replies


@dataclass(eq=False, slots=True)
class _Worker:
    process: BaseProcess
    pipe: Connection[Any, Any]
    started: bool = False
    loaded: bool = False
    busy: bool = False
    task: Any = None
    attempt: int = 0
    since: float = 0.0

    @classmethod
    def spawn(cls) -> _Worker:
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_serve, args=(theirs,), daemon=True, name="tim-worker")
        # Numeric libraries and the allocator read these when they load, before any code of ours could run in the child.
        with _environment, _deaf():
            before = {name: os.environ.get(name) for name in _WORKER_ENVIRONMENT}
            os.environ.update(_WORKER_ENVIRONMENT)
            try:
                process.start()
            finally:
                for name, value in before.items():
                    if value is None:
                        del os.environ[name]
                    else:
                        os.environ[name] = value
        theirs.close()
        return cls(process, ours)

    def give(self, load: bytes, task: Any, attempt: int) -> None:
        self.busy, self.task, self.attempt, self.since = True, task, attempt, time.monotonic()
        # A worker that died idle is noticed when its reply is awaited: the pipe ends.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if not self.loaded:
                self.pipe.send_bytes(load)
                self.loaded = True
            self.pipe.send_bytes(b"t" + pickle.dumps(task))

    def replies(self) -> list[tuple[Any] | None]:
        """The result, ``None`` for death, or nothing where the worker only said that it is there."""
        try:
            while self.pipe.poll():
                reply = self.pipe.recv_bytes()
                if reply != _READY:
                    return [(pickle.loads(reply),)]
                self.started = True
        except (EOFError, OSError):
            return [None]
        return []

    def bury(self, patience: float = 0.0) -> str:
        """Make sure it is gone; how it ended."""
        self.pipe.close()
        if patience:
            self.process.join(patience)
        if self.process.is_alive():
            # A pipe can break a moment before its process is gone by itself: give that moment, so that the true exit code is seen.
            self.process.join(0.2)
            self.process.kill()
        self.process.join()
        code = self.process.exitcode or 0
        self.process.close()
        return signal.Signals(-code).name if -code in signal.Signals.__members__.values() else f"exit code {code}"


class DaskExecutor:
    """Workers of a Dask cluster, which see the workspace and the sources under the same paths (extra ``dask``)."""

    def __init__(self, address: str) -> None:
        from distributed import Client

        self._client = Client(address)

    @property
    def workers(self) -> int:
        """Threads of the cluster now."""
        return sum(self._client.ncores().values()) or 1

    def map(
        self, function: Callable[[T], R], tasks: Iterable[T], watch: Watch | None = None
    ) -> Iterator[tuple[T, R | TimError]]:
        """See :class:`Executor`."""
        from distributed import TimeoutError as NothingYet
        from distributed import wait

        source = iter(tasks)
        shared = self._client.scatter(function, broadcast=True)
        running: dict[Any, tuple[T, float]] = {}
        try:
            while True:
                while len(running) < 2 * self.workers:
                    given = next(((task,) for task in source), None)
                    if given is None:
                        break
                    running[self._client.submit(_attempt, shared, *given, pure=False)] = (given[0], time.monotonic())
                if not running:
                    return
                with contextlib.suppress(NothingYet):
                    wait(list(running), timeout=_HEARTBEAT, return_when="FIRST_COMPLETED")
                for future in [future for future in running if future.done()]:
                    task, _ = running.pop(future)
                    error = future.exception()
                    yield (
                        task,
                        TilingError("tile.worker-lost", attempts=1, how=str(error)) if error else future.result(),
                    )
                if watch is not None:
                    now = time.monotonic()
                    watch([(task, now - since) for task, since in running.values()])
        finally:
            self._client.cancel(list(running))

    def close(self) -> None:
        """Leave the cluster; it goes on."""
        self._client.close()


_READY = b"ready"
_GARBAGE = 50_000
"""Objects made between two searches for cycles."""


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """A process started meanwhile does not hear Ctrl-C, not even before its first line of Python."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Its start would unblock the signal again: have it running before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection[Any, Any]) -> None:
    """A worker's life: load the function, then tasks, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    function: Callable[[Any], Any] | TimError = TilingError("tile.unexpected", error="no function", trace="")
    with contextlib.suppress(EOFError, OSError):  # the parent has closed the pipe, or is gone
        while True:
            message = pipe.recv_bytes()
            if message[:1] == b"f":
                function = _attempt(pickle.loads, message[1:])
                # Builders make very many small tuples, of which none is in a cycle: looking for cycles took a tenth of their time.
                gc.freeze()
                gc.set_threshold(_GARBAGE)
                pipe.send_bytes(_READY)
            else:
                reply = function if isinstance(function, TimError) else _attempt(function, pickle.loads(message[1:]))
                pipe.send_bytes(_attempt_dump(reply))


def _attempt_dump(reply: Any) -> bytes:
    try:
        return pickle.dumps(reply)
    except Exception as error:
        return pickle.dumps(_as_tim_error(error))


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _attempt(function: Callable[[T], R], task: T) -> R | TimError:
    try:
        return function(task)
    except Exception as error:
        return _as_tim_error(error)


def _as_tim_error(error: Exception) -> TimError:
    if isinstance(error, TimError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
        return WorkspaceError("tile.disk-full", path=error.filename or "", reason=error.strerror or "")
    if isinstance(error, MemoryError):
        return TilingError("tile.out-of-memory")
    return TilingError("tile.unexpected", error=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
