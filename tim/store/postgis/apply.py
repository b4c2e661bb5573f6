"""Changing: how a batch is read from and written to PostgreSQL, with COPY."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from tim.model import Dataset
from tim.place import Box3
from tim.store import Changeset
from tim.store.postgis.schema import INDEXES
from tim.store.postgis.session import Session
from tim.store.working import KEPT, PARTS, Work

_MANY = 10_000
"""Versions after which the planner's statistics are made again."""

_OBJECT = (("id", "int8"), ("tim_id", "uuid"), ("dataset", "int4"), ("layer", "text"), ("source_key", "text"))
_VERSION = (
    ("id", "int8"), ("object", "int8"), ("n", "int4"), ("seq_from", "int8"), ("valid_from", "text"), ("valid_to", "text"), ("stage", "text"),
    ("scenario", "text"), ("class", "int4"), ("name", "text"), ("attributes", "text"), ("west", "float8"), ("south", "float8"),
    ("bottom", "float8"), ("east", "float8"), ("north", "float8"), ("top", "float8"), ("digest", "bytea"), ("source", "int4"),
    ("linked", "text"),
)  # fmt: skip
_PART = (("version", "int8"), ("i", "int4"))
_SPAN = (("valid_from", "text"), ("valid_to", "text"))
_CODE = (*_PART, ("scheme", "text"), ("edition", "text"), ("value", "text"), *_SPAN)
_RELATION = (*_PART, ("kind", "text"), ("target", "uuid"), *_SPAN, ("evidence", "text"))


class PostgisWork(Work[Session]):
    """A changeset on its way to the server."""

    BATCH = 2000

    def __init__(self, db: Session, changeset: Changeset, row: int, dataset: Dataset) -> None:
        """As for all stores."""
        super().__init__(db, changeset, row, dataset)
        self.filling = self.next_object == 1
        """Whether there were no objects before, and indexes wait until there are."""

    def load(self, ids: set[UUID]) -> Iterable[tuple[UUID, Sequence[Any]]]:
        """One statement for a batch."""
        for tim_id, *row in self.db.execute(
            "SELECT o.tim_id, o.id, o.dataset, o.layer, o.source_key, (SELECT max(n) FROM version WHERE object = o.id),"
            " v.id, v.n, v.seq_from, v.scenario, v.valid_from, v.valid_to, v.digest, v.source, v.west, v.south, v.bottom, v.east, v.north, v.top"
            " FROM object o LEFT JOIN version v ON v.object = o.id AND v.seq_to IS NULL WHERE o.tim_id = ANY(?::uuid[]) ORDER BY v.n",
            (list(ids),),
        ):
            yield tim_id, row

    def write(self) -> None:
        """A statement for each table."""
        db = self.db
        if self.closed:
            ended = [row for _, row in self.closed]
            db.execute("UPDATE version SET seq_to = ? WHERE id = ANY(?::bigint[])", (self.seq, ended))
        db.executemany("UPDATE version SET source = ? WHERE id = ?", self.noted)
        self.copy()
        db.copy("object", _OBJECT, self.objects)
        db.copy("version", _VERSION, self.versions)
        db.copy("code", _CODE, self.codes)
        db.copy("relation", _RELATION, self.relations)

    def copy(self) -> None:
        """A statement for each table, too."""
        if not self.copies:
            return
        spans, rows, numbers, starts, ends = (list(column) for column in zip(*self.copies, strict=True))
        old = [span.row for span in spans]
        self.db.execute(
            f"INSERT INTO version (id, n, seq_from, valid_from, valid_to, {KEPT}) SELECT made.id, made.n, ?, made.since, made.until, {KEPT}"
            " FROM unnest(?::bigint[], ?::int[], ?::text[], ?::text[], ?::bigint[]) made (id, n, since, until, old) JOIN version v ON v.id = made.old",
            (self.seq, rows, numbers, starts, ends, old),
        )
        for table, columns in PARTS.items():
            self.db.execute(
                f"INSERT INTO {table} SELECT made.id, {columns} FROM unnest(?::bigint[], ?::bigint[]) made (id, old)"
                f" JOIN {table} ON version = made.old",
                (rows, old),
            )

    def raw(self, tim_id: UUID) -> UUID:
        """As it is."""
        return tim_id

    def index(self, row: int, box: Box3) -> None:
        """The table's own indexes find boxes."""

    def settle(self) -> None:
        """Make the indexes of a store that was empty, and statistics of what has grown much."""
        if self.filling and self.created:
            for statement in INDEXES.strip().split(";\n"):
                self.db.execute(statement)
        if self.created + self.updated >= _MANY:
            self.db.execute("ANALYZE object, version, code, relation, class")
