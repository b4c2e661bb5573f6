"""Our files of SQLite: known by their application id, versioned, in WAL mode; many readers and one writer at once; errors in our words.

What is committed survives a power cut (each commit is synced). Readers never wait for the writer.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from tim.errors import StoreError, TimError, WorkspaceError

C = TypeVar("C", bound=sqlite3.Connection)

_KEPT_WAL = 64 * 1024 * 1024
_FAULTS: dict[int, tuple[type[TimError], str]] = {
    sqlite3.SQLITE_FULL: (WorkspaceError, "store.full"),
    sqlite3.SQLITE_READONLY: (WorkspaceError, "store.read-only"),
    sqlite3.SQLITE_PERM: (WorkspaceError, "store.read-only"),
    sqlite3.SQLITE_CANTOPEN: (WorkspaceError, "store.cannot-open"),
    sqlite3.SQLITE_IOERR: (WorkspaceError, "store.io"),
    sqlite3.SQLITE_BUSY: (StoreError, "store.locked"),
    sqlite3.SQLITE_LOCKED: (StoreError, "store.locked"),
    sqlite3.SQLITE_CORRUPT: (StoreError, "store.corrupt"),
    sqlite3.SQLITE_NOTADB: (StoreError, "store.foreign"),
    sqlite3.SQLITE_TOOBIG: (StoreError, "store.too-big"),
    sqlite3.SQLITE_INTERRUPT: (StoreError, "store.too-slow"),
}


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn any sqlite3 error raised inside into a StoreError or WorkspaceError that names the file."""
    try:
        yield
    except sqlite3.Error as error:
        primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
        kind, code = _FAULTS.get(primary, (StoreError, "store.failed"))
        raise kind(code, path=str(path), reason=str(error)) from error


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file: what it is known by, and its tables."""

    application_id: int
    """What ``file`` and SQLite itself know it by."""
    version: int
    ddl: str
    upgrades: Mapping[int, str] = field(default_factory=dict)
    """What brings a file of a version to the next, when it is opened."""

    def create(self, path: Path) -> None:
        """Make an empty file. Raises FileExistsError where there is one already."""
        with path.open("xb"):
            pass
        self.ensure(path)

    def ensure(self, path: Path) -> None:
        """Make the tables where there is no file yet, or an empty one; whoever comes first, in one step that a kill cannot tear."""
        db = _connect(path, "rwc", 30.0, sqlite3.Connection)
        try:
            db.execute("BEGIN IMMEDIATE")
            if db.execute("PRAGMA schema_version").fetchone()[0] == 0:
                for statement in self.ddl.strip().split(";\n"):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {self.application_id}")
                db.execute(f"PRAGMA user_version = {self.version}")
            db.execute("COMMIT")
            with suppress(sqlite3.OperationalError):  # somebody else is at it just now
                db.execute("PRAGMA journal_mode = WAL")
        finally:
            db.close()

    def reader(self, path: Path, wait: float, factory: type[C]) -> C:
        """A connection for looking. Raises StoreError where the file is of another kind or a newer version, WorkspaceError where it is of an older
        one and cannot be brought up."""
        try:
            db = self._checked(_connect(path, "rw" if _writable(path) else "ro", wait, factory), path)
        except sqlite3.OperationalError:
            if _writable(path) or _wal(path).exists():
                raise
            db = self._checked(_connect(path, "ro&immutable=1", wait, factory), path)
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version < self.version:
            if not _writable(path):
                db.close()
                raise WorkspaceError("store.older", path=str(path), version=version, known=self.version)
            self._upgrade(path, wait)
        return db

    def writer(self, path: Path, wait: float, factory: type[C]) -> C:
        """A connection for changing; what it commits survives a power cut (synchronous = FULL)."""
        if path.exists() and not _writable(path):
            raise WorkspaceError("store.read-only", path=str(path))
        db = self._checked(_connect(path, "rw", wait, factory), path)
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute(f"PRAGMA journal_size_limit = {_KEPT_WAL}")
        return db

    def _upgrade(self, path: Path, wait: float) -> None:
        db = self.writer(path, wait, sqlite3.Connection)
        try:
            db.execute("BEGIN IMMEDIATE")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            for step in range(version, self.version):
                for statement in self.upgrades[step].strip().split(";\n"):
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {max(version, self.version)}")
            db.execute("COMMIT")
        finally:
            db.close()

    def _checked(self, db: C, path: Path) -> C:
        try:
            application, version = (
                db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
            if application != self.application_id:
                raise StoreError("store.foreign", path=str(path))
            if version > self.version:
                raise StoreError("store.newer", path=str(path), version=version, known=self.version)
        except BaseException:
            db.close()
            raise
        return db


class Connections(Generic[C]):
    """The connections of one process to one file, opened when needed; safe to share between threads."""

    def __init__(self, path: Path, reader: Callable[[], C], writer: Callable[[], C]) -> None:
        """``reader`` and ``writer`` open a connection each."""
        self.path = path
        self._reader, self._open_writer = reader, writer
        self.idle: list[C] = []
        """Connections for looking that nobody uses just now."""
        self._idle_lock = threading.Lock()
        self.writer: C | None = None
        """The one for changing, once there was a change."""
        self._write_lock = threading.RLock()
        self._closed = False

    def close(self) -> None:
        """Let go of the file; using it afterwards raises StoreError ``store.closed``."""
        with self._write_lock, self._idle_lock, translated(self.path):
            self._closed = True
            for db in self.idle:
                db.close()
            self.idle.clear()
            if self.writer is not None:
                self.writer.close()
                self.writer = None

    @contextmanager
    def reading(self) -> Iterator[C]:
        """A connection of one's own for a moment: as many are open as there were readers at once."""
        with translated(self.path):
            with self._idle_lock:
                if self._closed:
                    raise StoreError("store.closed", path=str(self.path))
                db = self.idle.pop() if self.idle else None
            db = db or self._reader()
            try:
                yield db
            finally:
                with self._idle_lock:
                    if self._closed:
                        db.close()
                    else:
                        self.idle.append(db)

    @contextmanager
    def writing(self) -> Iterator[C]:
        """A transaction of the one writer; inside another of the same thread, a part of it."""
        with self._write_lock, translated(self.path):
            if self._closed:
                raise StoreError("store.closed", path=str(self.path))
            if self.writer is None:
                self.writer = self._open_writer()
            db = self.writer
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


def _connect(path: Path, mode: str, wait: float, factory: type[C]) -> C:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=wait, isolation_level=None, check_same_thread=False, factory=factory)


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")
