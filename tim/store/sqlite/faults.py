"""SQLite's errors in our words: the disk and the folder are the workspace's, everything else is the store's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tim.errors import StoreError, TimError, WorkspaceError

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
