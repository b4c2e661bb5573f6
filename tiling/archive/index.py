"""The archive's index: one SQLite file (WAL) that knows every content, tile, page and snapshot.

A tile or page row is valid for the snapshots ``from_seq <= seq < to_seq``; publishing closes the rows that changed and opens new ones.
``content.orphaned`` is the time a content lost its last reference; a content that never had one has ``NULL`` there and ages by ``added``.
``pack.doomed`` is the time from which no row points into a pack any more; its file goes after a grace for running readers.
``shown`` says where in the pages of the newest snapshot each tile of an explicit dataset stands: in which page (named by the key it begins with,
empty for the root page), and which page begins with it. A dataset without such rows is published whole the next time.
``generation`` counts the changes that move or remove contents, which a reader cannot follow by new rows alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

from tim.errors import WorkspaceError

OPEN = 1 << 62
"""``to_seq`` of rows that are valid now."""
VERSION = 2
T = TypeVar("T")

SCHEMA = """
CREATE TABLE meta (generation INTEGER NOT NULL);
INSERT INTO meta VALUES (0);
CREATE TABLE pack (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, doomed REAL);
CREATE TABLE content (
  id INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE, pack INTEGER NOT NULL REFERENCES pack, offset INTEGER NOT NULL,
  stored INTEGER NOT NULL, size INTEGER NOT NULL, gzip INTEGER NOT NULL, added REAL NOT NULL, orphaned REAL);
CREATE INDEX content_pack ON content (pack);
CREATE INDEX content_orphaned ON content (orphaned) WHERE orphaned IS NOT NULL;
CREATE TABLE dataset (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, last_seq INTEGER NOT NULL);
CREATE TABLE snapshot (
  dataset INTEGER NOT NULL REFERENCES dataset, seq INTEGER NOT NULL, hash BLOB NOT NULL, store_seq INTEGER NOT NULL,
  created REAL NOT NULL, tiles INTEGER NOT NULL, bytes INTEGER NOT NULL, counts TEXT NOT NULL, info TEXT NOT NULL,
  PRIMARY KEY (dataset, seq)) WITHOUT ROWID;
CREATE TABLE tile (
  dataset INTEGER NOT NULL REFERENCES dataset, key TEXT NOT NULL, from_seq INTEGER NOT NULL, to_seq INTEGER NOT NULL, digest BLOB NOT NULL,
  parent TEXT, box BLOB NOT NULL, error REAL NOT NULL, refine TEXT NOT NULL, content INTEGER REFERENCES content, counts TEXT NOT NULL,
  PRIMARY KEY (dataset, key, from_seq)) WITHOUT ROWID;
CREATE INDEX tile_content ON tile (content) WHERE content IS NOT NULL;
CREATE INDEX tile_closed ON tile (dataset, to_seq, from_seq);
CREATE TABLE page (
  dataset INTEGER NOT NULL REFERENCES dataset, name TEXT NOT NULL, from_seq INTEGER NOT NULL, to_seq INTEGER NOT NULL,
  content INTEGER NOT NULL REFERENCES content, digest BLOB,
  PRIMARY KEY (dataset, name, from_seq)) WITHOUT ROWID;
CREATE INDEX page_content ON page (content);
"""

SINCE_2 = """
CREATE TABLE shown (
  dataset INTEGER NOT NULL REFERENCES dataset, key TEXT NOT NULL, page TEXT NOT NULL, link BLOB, digest BLOB,
  PRIMARY KEY (dataset, key)) WITHOUT ROWID;
CREATE INDEX shown_page ON shown (dataset, page);
"""
"""An archive of version 1 gets this when it is opened for writing."""


def connect(path: Path) -> sqlite3.Connection:
    """Open or make the index for writing. Raises WorkspaceError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkspaceError(
            "archive.cannot-write", path=str(path.parent), reason=error.strerror or str(error)
        ) from error
    with refusals(path):
        db = sqlite3.connect(path, timeout=120, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA cache_size=-32000")
        if _version(db) == 0:
            db.execute("PRAGMA journal_mode=WAL")
            with write(db, path):
                if _version(db) == 0:
                    _run(db, SCHEMA)
                    _run(db, SINCE_2)
                    db.execute(f"PRAGMA user_version={VERSION}")
        elif _version(db) < VERSION:
            with write(db, path):
                if _version(db) < VERSION:
                    _run(db, SINCE_2)
                    db.execute(f"PRAGMA user_version={VERSION}")
    _check_version(db, path)
    return db


def connect_read_only(path: Path) -> sqlite3.Connection | None:
    """Open the index for reading; ``None`` where there is none yet."""
    if not path.exists():
        return None
    with refusals(path):
        db = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30, isolation_level=None, check_same_thread=False
        )
        if _version(db) == 0:
            db.close()
            return None
    _check_version(db, path)
    return db


@contextmanager
def write(db: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """One write transaction: all or nothing, one writer at a time."""
    with refusals(path):
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


@contextmanager
def read(db: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """One read transaction: all statements see the same state."""
    with refusals(path):
        db.execute("BEGIN")
        try:
            yield db
        finally:
            db.execute("ROLLBACK")


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn SQLite's refusals into WorkspaceError."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise WorkspaceError("archive.disk-full", path=str(path.parent)) from error
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise WorkspaceError("archive.read-only", path=str(path.parent)) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise WorkspaceError("archive.busy", path=str(path)) from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise WorkspaceError("archive.damaged", path=str(path)) from error
        if code == sqlite3.SQLITE_IOERR:
            raise WorkspaceError("archive.cannot-write", path=str(path.parent), reason=str(error)) from error
        raise


def batches(items: Iterable[T], size: int = 500) -> Iterator[list[T]]:
    """Lists of at most ``size`` items (SQLite's smallest limit on parameters is 999)."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def marks(items: list[T]) -> str:
    """``?,?,?`` for an IN list."""
    return ",".join("?" * len(items))


def _run(db: sqlite3.Connection, statements: str) -> None:
    for statement in statements.split(";\n"):
        db.execute(statement)


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    if (version := _version(db)) > VERSION:
        db.close()
        raise WorkspaceError("archive.version", path=str(path), found=version, known=VERSION)
