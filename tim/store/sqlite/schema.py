"""The tables of the embedded store, and connections to them.

A *version* row is a rectangle in two times: what changeset ``seq_from`` said (and ``seq_to`` took back) about ``valid_from`` to
``valid_to`` in the real world. Rectangles of one object in one scenario never overlap, so a moment in both times meets one at most.

Boxes stand in the row as float64; ``box_index`` holds them as float32 rounded outward by SQLite, found first and rechecked. Its id is
twice the version's id, plus one for the eastern part of a box across the antimeridian.

``linked`` is what a version has of codes, relations and representations, as :class:`tim.store.canonical.Canonical` writes it, so that an object is
read from two rows; ``code`` and ``relation`` say the same to be found by.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from tim.sqlite import Kind
from tim.store.sql import Names
from tim.store.sqlite.where import register

APPLICATION_ID = 0x54494D53
"""``TIMS``: what ``file`` and SQLite itself know the file by."""
VERSION = 5

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
CREATE TABLE version (
  id INTEGER PRIMARY KEY, object INTEGER NOT NULL REFERENCES object, n INTEGER NOT NULL,
  seq_from INTEGER NOT NULL, seq_to INTEGER, valid_from TEXT NOT NULL, valid_to TEXT NOT NULL,
  stage TEXT NOT NULL, scenario TEXT NOT NULL, class INTEGER NOT NULL REFERENCES class, name TEXT NOT NULL, attributes TEXT NOT NULL,
  west REAL, south REAL, bottom REAL, east REAL, north REAL, top REAL, digest BLOB NOT NULL, source INTEGER REFERENCES source,
  linked TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX version_object ON version (object, n);
CREATE VIRTUAL TABLE box_index USING rtree (id, west, east, south, north, bottom, top);
CREATE TABLE code (
  version INTEGER NOT NULL REFERENCES version, i INTEGER NOT NULL, scheme TEXT NOT NULL, edition TEXT NOT NULL, value TEXT NOT NULL,
  valid_from TEXT, valid_to TEXT, PRIMARY KEY (version, i)
) STRICT, WITHOUT ROWID;
CREATE TABLE relation (
  version INTEGER NOT NULL REFERENCES version, i INTEGER NOT NULL, kind TEXT NOT NULL, target BLOB NOT NULL,
  valid_from TEXT, valid_to TEXT, evidence TEXT NOT NULL, PRIMARY KEY (version, i)
) STRICT, WITHOUT ROWID;
CREATE TABLE source (
  id INTEGER PRIMARY KEY, dataset INTEGER NOT NULL REFERENCES dataset, key TEXT NOT NULL,
  seq_from INTEGER NOT NULL, seq_to INTEGER, digest BLOB NOT NULL, record TEXT NOT NULL
) STRICT;
CREATE INDEX source_key ON source (dataset, key);
CREATE TABLE blob (hash BLOB NOT NULL UNIQUE, data BLOB NOT NULL) STRICT;
"""

INDEXES = """
CREATE INDEX IF NOT EXISTS object_dataset ON object (dataset, tim_id);
CREATE INDEX IF NOT EXISTS object_layer ON object (dataset, layer);
CREATE INDEX IF NOT EXISTS version_made ON version (seq_from, object);
CREATE INDEX IF NOT EXISTS version_ended ON version (seq_to, object) WHERE seq_to IS NOT NULL;
CREATE INDEX IF NOT EXISTS version_scenario ON version (scenario) WHERE scenario != '';
CREATE INDEX IF NOT EXISTS version_name ON version (name COLLATE NOCASE) WHERE name != '';
CREATE INDEX IF NOT EXISTS code_value ON code (value, scheme);
CREATE INDEX IF NOT EXISTS relation_target ON relation (target, kind);
"""
"""Those that changing does not need: made anew after what first fills a store, which takes half as long as keeping them meanwhile."""
UPGRADES = {
    1: INDEXES,
    2: "ALTER TABLE version ADD COLUMN source INTEGER REFERENCES source;",
    3: f"DROP INDEX IF EXISTS version_made;\nDROP INDEX IF EXISTS version_ended;\n{INDEXES}",
    4: """
ALTER TABLE version ADD COLUMN linked TEXT NOT NULL DEFAULT '[[],[],[]]';
UPDATE version SET linked = json_array(
  json((SELECT json_group_array(json_array(scheme, edition, value, c.valid_from, c.valid_to)) FROM code c WHERE version = version.id)),
  json((SELECT json_group_array(json_array(kind, hex(target), r.valid_from, r.valid_to, evidence)) FROM relation r WHERE version = version.id)),
  json((SELECT json_group_array(json_array(role, lod, format, content, json(properties))) FROM representation WHERE version = version.id))
);
DROP TABLE representation;
""",
}
"""What brings a store of a version to the next, when it is opened."""

KIND = Kind(APPLICATION_ID, VERSION, DDL + INDEXES, UPGRADES)

_READ_CACHE_KIB = 16 * 1024
_MAPPED = 64 * 1024 * 1024
_WRITE_CACHE_KIB = 128 * 1024


class Connection(sqlite3.Connection):
    """One that remembers what rows call by number."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """As for its base."""
        super().__init__(*arguments, **options)
        self.names = Names(self)


def reader(path: Path, wait: float) -> Connection:
    """A connection for looking only. Raises StoreError where the file is no store, or one of a newer version."""
    db = KIND.reader(path, wait, Connection)
    db.execute(f"PRAGMA cache_size = -{_READ_CACHE_KIB}")
    db.execute(f"PRAGMA mmap_size = {_MAPPED}")
    db.execute("PRAGMA query_only = 1")
    register(db)
    return db


def writer(path: Path, wait: float) -> Connection:
    """A connection for changing; what it commits survives a power cut (synchronous = FULL)."""
    db = KIND.writer(path, wait, Connection)
    db.execute(f"PRAGMA cache_size = -{_WRITE_CACHE_KIB}")
    return db
