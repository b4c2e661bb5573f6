"""The embedded object store: one SQLite file in WAL mode, one writer and many readers at once, across threads and processes.

What :meth:`SqliteStore.apply` reports as done survives a power cut (each commit is synced). Readers never wait for the writer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from tim.errors import StoreError
from tim.sqlite import Connections, translated
from tim.store.relational import RelationalStore, now
from tim.store.sqlite import history, query, schema
from tim.store.sqlite.apply import SqliteWork

__all__ = ["SqliteStore"]

_STEPS = 20_000
"""Instructions of SQLite's machine between two looks at the clock: about a millisecond."""


class SqliteStore(RelationalStore[schema.Connection]):
    """An :class:`tim.store.ObjectStore` in one file. Safe to share between threads; every process opens its own."""

    looking, tracing, work = query, history, SqliteWork

    def __init__(self, path: Path | str, *, wait: float = 30.0, clock: Callable[[], str] = now) -> None:
        """Open the store at ``path``. ``wait`` seconds for other writers; ``clock`` tells the time to log and *now*.

        Raises StoreError where there is none, or one of a newer version.
        """
        super().__init__(clock)
        self.path = Path(path)
        self._file = Connections(
            self.path, lambda: schema.reader(self.path, wait), lambda: schema.writer(self.path, wait)
        )
        if not self.path.is_file():
            raise StoreError("store.missing", path=str(self.path))
        with self._reading() as db:
            db.execute("SELECT 1 FROM dataset LIMIT 1").fetchone()

    @classmethod
    def create(cls, path: Path | str, **options: Any) -> SqliteStore:
        """Make an empty store and open it. Raises FileExistsError where there is a file already."""
        with translated(Path(path)):
            schema.KIND.create(Path(path))
        return cls(path, **options)

    def close(self) -> None:
        """Let go of the file; using the store afterwards raises StoreError."""
        self._file.close()

    def _reading(self) -> AbstractContextManager[schema.Connection]:
        return self._file.reading()

    def _writing(self) -> AbstractContextManager[schema.Connection]:
        return self._file.writing()

    @contextmanager
    def _within(self, db: schema.Connection, seconds: float) -> Iterator[None]:
        end = time.monotonic() + seconds
        db.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
        try:
            yield
        finally:
            db.set_progress_handler(None, 0)

    def _insert_blobs(self, db: schema.Connection, blobs: Sequence[tuple[bytes, bytes | memoryview]]) -> None:
        db.executemany("INSERT INTO blob (hash, data) VALUES (?, ?) ON CONFLICT DO NOTHING", blobs)

    def _raw(self, uid: UUID) -> bytes:
        return uid.bytes
