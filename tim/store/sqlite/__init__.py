"""The embedded object store: one SQLite file in WAL mode, one writer and many readers at once, across threads and processes.

What :meth:`SqliteStore.apply` reports as done survives a power cut (each commit is synced). Readers never wait for the writer.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from tim.errors import StoreError
from tim.store.relational import RelationalStore, now
from tim.store.sqlite import history, query, schema
from tim.store.sqlite.apply import SqliteWork
from tim.store.sqlite.faults import translated

__all__ = ["SqliteStore"]

_STEPS = 20_000
"""Instructions of SQLite's machine between two looks at the clock: about a millisecond."""


class SqliteStore(RelationalStore[sqlite3.Connection]):
    """An :class:`tim.store.ObjectStore` in one file. Safe to share between threads; every process opens its own."""

    looking, tracing, work = query, history, SqliteWork

    def __init__(self, path: Path | str, *, wait: float = 30.0, clock: Callable[[], str] = now) -> None:
        """Open the store at ``path``. ``wait`` seconds for other writers; ``clock`` tells the time to log and *now*.

        Raises StoreError where there is none, or one of a newer version.
        """
        super().__init__(str(path), clock)
        self.path = Path(path)
        self._wait = wait
        if not self.path.is_file():
            raise StoreError("store.missing", path=str(self.path))
        with self._reading() as db:
            db.execute("SELECT 1 FROM dataset LIMIT 1").fetchone()

    @classmethod
    def create(cls, path: Path | str, **options: Any) -> SqliteStore:
        """Make an empty store and open it. Raises FileExistsError where there is a file already."""
        with translated(Path(path)):
            schema.create(Path(path))
        return cls(path, **options)

    def close(self) -> None:
        """Let go of the file; using the store afterwards raises StoreError."""
        with self._write_lock, self._idle_lock, translated(self.path):
            self._closed = True
            for db in self._idle:
                db.close()
            self._idle.clear()
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection of one's own for a moment: as many are open as there were readers at once."""
        with translated(self.path):
            with self._idle_lock:
                if self._closed:
                    raise StoreError("store.closed", path=str(self.path))
                db = self._idle.pop() if self._idle else None
            db = db or schema.reader(self.path, self._wait)
            try:
                yield db
            finally:
                with self._idle_lock:
                    if self._closed:
                        db.close()
                    else:
                        self._idle.append(db)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction of the one writer; inside another of the same thread, a part of it."""
        with self._write_lock, translated(self.path):
            if self._closed:
                raise StoreError("store.closed", path=str(self.path))
            if self._writer is None:
                self._writer = schema.writer(self.path, self._wait)
            db = self._writer
            if db.in_transaction:
                yield db
                return
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def _within(self, db: sqlite3.Connection, seconds: float | None) -> Iterator[None]:
        """Interrupt what goes on longer."""
        if seconds is None:
            yield
            return
        end = time.monotonic() + seconds
        db.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
        try:
            yield
        finally:
            db.set_progress_handler(None, 0)

    def _raw(self, uid: UUID) -> bytes:
        return uid.bytes
