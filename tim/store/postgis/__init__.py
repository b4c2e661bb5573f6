"""The object store for many machines and many writers: PostgreSQL with PostGIS. Needs psycopg (the extra ``postgis``).

An address is ``postgresql://user@host:port/database?schema=tim``. Passwords are best left to libpq (``PGPASSWORD``, ``~/.pgpass``). One writer at a time
holds an advisory lock of the schema, so that changesets stay a chain; readers never wait. A connection that the server dropped is made again
when it is needed next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from tim.errors import StoreError, WorkspaceError
from tim.store.relational import RelationalStore, now

try:
    import psycopg  # noqa: F401
except ImportError as error:
    raise WorkspaceError("store.pg-needs-extra", reason=str(error)) from error

from tim.store.postgis import history, query
from tim.store.postgis import schema as making
from tim.store.postgis.apply import PostgisWork
from tim.store.postgis.faults import translated
from tim.store.postgis.session import Address, Session, address

__all__ = ["PostgisStore", "address"]

_LOCK = 0x54494D53
"""``TIMS``: the first key of the writer's advisory lock; the second is the schema's."""


class PostgisStore(RelationalStore[Session]):
    """An :class:`tim.store.ObjectStore` in a schema of a PostgreSQL database. Safe to share between threads; every process opens its own."""

    looking, tracing, work = query, history, PostgisWork

    def __init__(
        self, url: str, schema: str | None = None, *, wait: float = 30.0, clock: Callable[[], str] = now
    ) -> None:
        """Open the store at ``url``. ``wait`` seconds for the server and for other writers; ``clock`` tells the time to log and *now*.

        Raises UsageError for an address that cannot be read; StoreError where there is no store, or one of a newer version; WorkspaceError where
        the server cannot be reached or lets nobody in.
        """
        self._address: Address = address(url, schema)
        super().__init__(clock)
        self._name, self._wait = self._address.name, wait
        self._idle: list[Session] = []
        self._idle_lock = threading.Lock()
        self._writer: Session | None = None
        self._write_lock = threading.RLock()
        self._closed = False
        with self._reading():
            pass

    @classmethod
    def create(cls, url: str, schema: str | None = None, **options: Any) -> PostgisStore:
        """Make an empty store and open it. Raises StoreError ``store.pg-exists`` where there is one already."""
        to = address(url, schema)
        with translated(to.name):
            making.create(to, options.get("wait", 30.0))
        return cls(url, schema, **options)

    def close(self) -> None:
        """Let go of all connections; using the store afterwards raises StoreError."""
        with self._write_lock, self._idle_lock:
            self._closed = True
            for db in (*self._idle, *([self._writer] if self._writer else [])):
                db.close()
            self._idle.clear()
            self._writer = None

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        """A connection of one's own for a moment: as many are open as there were readers at once."""
        with translated(self._name):
            db = self._rested() or self._connect(writes=False)
            try:
                yield db
            finally:
                with self._idle_lock:
                    if self._closed or not db.usable:
                        db.close()
                    else:
                        self._idle.append(db)

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        """A transaction of the one writer; inside another of the same thread, a part of it."""
        with self._write_lock, translated(self._name):
            if self._closed:
                raise StoreError("store.closed", path=self._name)
            if self._writer is not None and self._writer.in_transaction:
                yield self._writer
                return
            if self._writer is None or not self._writer.alive:
                if self._writer is not None:
                    self._writer.close()
                self._writer = self._connect(writes=True)
            with self._writer.transaction():
                key = (_LOCK, self._address.schema)
                self._writer.execute("SELECT pg_advisory_xact_lock(?::int, hashtext(?::text))", key)
                yield self._writer

    @contextmanager
    def _within(self, db: Session, seconds: float) -> Iterator[None]:
        """Have the server cancel what goes on longer."""
        with db.transaction():
            limit = f"{max(1, round(seconds * 1000))}ms"
            db.execute("SELECT set_config('statement_timeout', ?, true)", (limit,))
            yield

    def _insert_blobs(self, db: Session, blobs: Sequence[tuple[bytes, bytes | memoryview]]) -> None:
        hashes, data = zip(*blobs, strict=True)
        db.execute(
            "INSERT INTO blob (hash, data) SELECT * FROM unnest(?::bytea[], ?::bytea[]) ON CONFLICT DO NOTHING",
            (list(hashes), list(data)),
        )

    def _raw(self, uid: UUID) -> UUID:
        return uid

    def _rested(self) -> Session | None:
        """An idle connection that still lives."""
        while True:
            with self._idle_lock:
                if self._closed:
                    raise StoreError("store.closed", path=self._name)
                db = self._idle.pop() if self._idle else None
            if db is None or db.alive:
                return db
            db.close()

    def _connect(self, *, writes: bool) -> Session:
        db = Session(self._address, writes=writes, wait=self._wait)
        try:
            making.check(db, self._address, self._wait)
        except BaseException:
            db.close()
            raise
        return db
