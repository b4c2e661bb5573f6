"""The tables of the embedded store, and connections to them.

A *version* row is a rectangle in two times: what changeset ``seq_from`` said (and ``seq_to`` took back) about ``valid_from`` to
``valid_to`` in the real world. Rectangles of one object in one scenario never overlap, so a moment in both times meets one at most.

Boxes stand in the row as float64; ``box_index`` holds them as float32 rounded outward by SQLite, found first and rechecked. Its id is
twice the version's id, plus one for the eastern part of a box across the antimeridian.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from tim.errors import StoreError, WorkspaceError
from tim.store.sqlite.where import register

APPLICATION_ID = 0x54494D53
"""``TIMS``: what ``file`` and SQLite itself know the file by."""
VERSION = 4

DDL = """
CREATE TABLE dataset (
  id INTEGER PRIMARY KEY, slug TEXT NOT NULL UNIQUE, uid BLOB NOT NULL UNIQUE, title TEXT NOT NULL, kind TEXT NOT NULL,
  frame TEXT NOT NULL, private INTEGER NOT NULL, settings TEXT NOT NULL
) STRICT;
CREATE TABLE changeset (
  seq INTEGER PRIMARY KEY, parent INTEGER REFERENCES changeset, hash TEXT NOT NULL, dataset INTEGER NOT NULL REFERENCES dataset,
  author TEXT NOT NULL, reason TEXT NOT NULL, time TEXT NOT NULL,
  created INTEGER NOT NULL, updated INTEGER NOT NULL, retired INTEGER NOT NULL, sources INTEGER NOT NULL
) STRICT;
CREATE TABLE class (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE object (
  id INTEGER PRIMARY KEY, tim_id BLOB NOT NULL, dataset INTEGER NOT NULL REFERENCES dataset, layer TEXT NOT NULL, source_key TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX object_tim_id ON object (tim_id);
CREATE INDEX object_dataset ON object (dataset, tim_id);
CREATE TABLE version (
  id INTEGER PRIMARY KEY, object INTEGER NOT NULL REFERENCES object, n INTEGER NOT NULL,
  seq_from INTEGER NOT NULL, seq_to INTEGER, valid_from TEXT NOT NULL, valid_to TEXT NOT NULL,
  stage TEXT NOT NULL, scenario TEXT NOT NULL, class INTEGER NOT NULL REFERENCES class, name TEXT NOT NULL, attributes TEXT NOT NULL,
  west REAL, south REAL, bottom REAL, east REAL, north REAL, top REAL, digest BLOB NOT NULL, source INTEGER REFERENCES source
) STRICT;
CREATE UNIQUE INDEX version_object ON version (object, n);
CREATE VIRTUAL TABLE box_index USING rtree (id, west, east, south, north, bottom, top);
CREATE TABLE code (
  version INTEGER NOT NULL REFERENCES version, i INTEGER NOT NULL, scheme TEXT NOT NULL, edition TEXT NOT NULL, value TEXT NOT NULL,
  valid_from TEXT, valid_to TEXT, PRIMARY KEY (version, i)
) STRICT, WITHOUT ROWID;
CREATE INDEX code_value ON code (value, scheme);
CREATE TABLE relation (
  version INTEGER NOT NULL REFERENCES version, i INTEGER NOT NULL, kind TEXT NOT NULL, target BLOB NOT NULL,
  valid_from TEXT, valid_to TEXT, evidence TEXT NOT NULL, PRIMARY KEY (version, i)
) STRICT, WITHOUT ROWID;
CREATE INDEX relation_target ON relation (target, kind);
CREATE TABLE representation (
  version INTEGER NOT NULL REFERENCES version, i INTEGER NOT NULL, role TEXT NOT NULL, lod TEXT NOT NULL, format TEXT NOT NULL,
  content TEXT NOT NULL, properties TEXT NOT NULL, PRIMARY KEY (version, i)
) STRICT, WITHOUT ROWID;
CREATE TABLE source (
  id INTEGER PRIMARY KEY, dataset INTEGER NOT NULL REFERENCES dataset, key TEXT NOT NULL,
  seq_from INTEGER NOT NULL, seq_to INTEGER, digest BLOB NOT NULL, record TEXT NOT NULL
) STRICT;
CREATE INDEX source_key ON source (dataset, key);
CREATE TABLE blob (hash BLOB NOT NULL UNIQUE, data BLOB NOT NULL) STRICT;
"""

INDEXES = """
CREATE INDEX object_layer ON object (dataset, layer);
CREATE INDEX version_made ON version (seq_from, object);
CREATE INDEX version_ended ON version (seq_to, object) WHERE seq_to IS NOT NULL;
CREATE INDEX version_scenario ON version (scenario) WHERE scenario != '';
CREATE INDEX version_name ON version (name COLLATE NOCASE) WHERE name != '';
"""
UPGRADES = {
    1: INDEXES,
    2: "ALTER TABLE version ADD COLUMN source INTEGER REFERENCES source;",
    3: """
DROP INDEX IF EXISTS object_layer;
DROP INDEX IF EXISTS version_made;
DROP INDEX IF EXISTS version_ended;
DROP INDEX IF EXISTS version_name;
DROP INDEX IF EXISTS version_scenario;
"""
    + INDEXES,
}
"""What brings a store of a version to the next, when it is opened."""

_READ_CACHE_KIB = 16 * 1024
_MAPPED = 64 * 1024 * 1024
_WRITE_CACHE_KIB = 128 * 1024
_KEPT_WAL = 64 * 1024 * 1024


def create(path: Path) -> None:
    """Make an empty store. Raises FileExistsError where there is a file already."""
    with path.open("xb"):
        pass
    db = _connect(path, "rwc", 30.0)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(
            f"BEGIN IMMEDIATE; {DDL} {INDEXES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT"
        )
    finally:
        db.close()


def upgrade(path: Path, wait: float) -> None:
    """Bring a store of an older version up to this one. Raises what :func:`writer` does."""
    db = writer(path, wait)
    try:
        db.execute("BEGIN IMMEDIATE")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        for step in range(version, VERSION):
            for statement in UPGRADES[step].strip().split(";\n"):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {max(version, VERSION)}")
        db.execute("COMMIT")
    finally:
        db.close()


def reader(path: Path, wait: float) -> sqlite3.Connection:
    """A connection for looking only. Raises StoreError where the file is no store, or one of a newer version."""
    try:
        db = _checked(_connect(path, "rw" if _writable(path) else "ro", wait), path)
    except sqlite3.OperationalError:
        if _writable(path) or _wal(path).exists():
            raise
        db = _checked(_connect(path, "ro&immutable=1", wait), path)
    if db.execute("PRAGMA user_version").fetchone()[0] < VERSION and _writable(path):
        upgrade(path, wait)
    db.execute(f"PRAGMA cache_size = -{_READ_CACHE_KIB}")
    db.execute(f"PRAGMA mmap_size = {_MAPPED}")
    db.execute("PRAGMA query_only = 1")
    register(db)
    return db


def writer(path: Path, wait: float) -> sqlite3.Connection:
    """A connection for changing; what it commits survives a power cut (synchronous = FULL)."""
    if path.exists() and not _writable(path):
        raise WorkspaceError("store.read-only", path=str(path))
    db = _checked(_connect(path, "rw", wait), path)
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute(f"PRAGMA cache_size = -{_WRITE_CACHE_KIB}")
    db.execute(f"PRAGMA journal_size_limit = {_KEPT_WAL}")
    return db


def _connect(path: Path, mode: str, wait: float) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=wait, isolation_level=None, check_same_thread=False)


def _checked(db: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    try:
        application, version = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        if application != APPLICATION_ID:
            raise StoreError("store.foreign", path=str(path))
        if version > VERSION:
            raise StoreError("store.newer", path=str(path), version=version, known=VERSION)
    except BaseException:
        db.close()
        raise
    return db


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")
