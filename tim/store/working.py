"""Changing, whatever the store: one changeset, streamed in batches through one transaction.

A batch reads the state of the objects it names, works on it in memory, and writes what came of it: some statements for a thousand
operations instead of some thousands. What is asked here is SQL that all our stores speak; how a batch is read and written is theirs.
"""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar
from uuid import UUID

from tim.errors import Conflict, StoreError
from tim.model import Dataset
from tim.place import Box3
from tim.sources import SourceRef
from tim.store import Applied, Changeset, DropSource, Operation, Put, PutSource, Retire, Touched
from tim.store.canonical import EVER, GENESIS, NEVER, Canonical, HistoryHash, canonical, dumps, instant, source_digest
from tim.store.sql import Connection

_YOUNG = 200_000
"""Objects of Python that are made between two looks at them."""
KEPT = "object, stage, scenario, class, name, attributes, west, south, bottom, east, north, top, digest, source, linked"
"""Columns of a version that its rest has as well."""
PARTS = {
    "code": "i, scheme, edition, value, valid_from, valid_to",
    "relation": "i, kind, target, valid_from, valid_to, evidence",
}
"""Tables that find a version by what is linked to it, with their columns after its row."""
TOUCHED = 100_000
"""How many touched objects a changeset reports."""


class Span(NamedTuple):
    """A version in force: its row and its rectangle."""

    row: int
    n: int
    seq_from: int
    scenario: str
    valid_from: str
    valid_to: str
    digest: bytes
    box: Box3 | None
    source: int | None
    """Row of the source that says so, in force or not."""


@dataclass(slots=True)
class State:
    """An object as it stands while the changeset goes on."""

    row: int
    dataset: int
    key: tuple[str, str]
    last: int
    spans: list[Span] = field(default_factory=list)


C = TypeVar("C", bound=Connection)


class Work(ABC, Generic[C]):
    """A changeset being applied inside the open transaction of ``db``. Rows are numbered here, so that a batch can be written in any order."""

    BATCH: ClassVar[int]
    """Operations that are worked on together."""

    def __init__(self, db: C, changeset: Changeset, row: int, dataset: Dataset) -> None:
        """``row``: the dataset's."""
        self.db, self.changeset, self.row, self.dataset = db, changeset, row, dataset
        last = db.execute("SELECT seq, hash FROM changeset ORDER BY seq DESC LIMIT 1").fetchone()
        self.parent: int | None
        self.parent_hash: str
        self.parent, self.parent_hash = last or (None, GENESIS)
        self.seq: int = (self.parent or 0) + 1
        self.hash = HistoryHash(self.parent_hash, changeset.dataset)
        self.next_object = self.next_row("object")
        self.next_version = self.next_row("version")
        self.classes: dict[str, int] = dict(db.execute("SELECT path, id FROM class"))
        self.source_keys: dict[int | None, str] = dict(
            db.execute("SELECT id, key FROM source WHERE dataset = ?", (row,))
        )
        self.source_rows: dict[str, int] = {}
        self.created = self.updated = self.retired = self.unchanged = self.sources = 0
        self.touched: list[Touched] = []
        self.clear()

    def run(self, time: str) -> Applied:
        """Do all of it. ``time`` is the moment to log."""
        operations = iter(self.changeset.operations)
        with _seldom_collected():
            while batch := list(islice(operations, self.BATCH)):
                self.batch(batch)
                self.clear()
        return self.finish(time)

    @abstractmethod
    def load(self, ids: set[UUID]) -> Iterable[tuple[UUID, Sequence[Any]]]:
        """Objects with their versions in force by number, a row each: object, dataset, layer, source key, the last number, and of the version, ``None``
        where none is in force: row, number, sequence, scenario, validity, digest, source and corners."""

    @abstractmethod
    def write(self) -> None:
        """Write what the batch queued."""

    @abstractmethod
    def raw(self, tim_id: UUID) -> Any:
        """An id as a row has it."""

    @abstractmethod
    def index(self, row: int, box: Box3) -> None:
        """Note the box of a version, where the store finds boxes by rows of their own."""

    @abstractmethod
    def settle(self) -> None:
        """What is left to do after the last batch."""

    def clear(self) -> None:
        """Begin a batch."""
        self.states: dict[UUID, State] = {}
        self.objects: list[tuple[Any, ...]] = []
        self.versions: list[tuple[Any, ...]] = []
        self.codes: list[tuple[Any, ...]] = []
        self.relations: list[tuple[Any, ...]] = []
        self.closed: list[tuple[int, int]] = []
        self.noted: list[tuple[int | None, int]] = []
        self.copies: list[tuple[Span, int, int, str, str]] = []

    def batch(self, operations: Sequence[Operation]) -> None:
        """Do some operations in their order."""
        records = {i: canonical(o.object, self.dataset.uid) for i, o in enumerate(operations) if isinstance(o, Put)}
        ids = {r.tim_id for r in records.values()} | {o.tim_id for o in operations if isinstance(o, Retire)}
        self.clear()
        self.look(ids)
        for i, operation in enumerate(operations):
            match operation:
                case Put():
                    self.put(
                        records[i], operation.if_version, operation.source, derived=operation.object.tim_id is None
                    )
                case Retire():
                    self.retire(operation)
                case PutSource():
                    self.put_source(operation.source)
                case DropSource():
                    self.drop_source(operation.key)
        self.write()

    def look(self, ids: set[UUID]) -> None:
        """Make the states of objects that are there."""
        if not ids or self.next_object == 1:
            return
        for tim_id, (
            row,
            dataset,
            layer,
            key,
            last,
            version,
            n,
            seq_from,
            scenario,
            start,
            end,
            digest,
            source,
            *box,
        ) in self.load(ids):
            state = self.states.setdefault(tim_id, State(row, dataset, (layer, key), last))
            if version is not None:
                corners = None if box[0] is None else tuple(box)
                state.spans.append(Span(version, n, seq_from, scenario, start, end, digest, corners, source))

    def put(self, record: Canonical, if_version: int | None, source: str, *, derived: bool) -> None:
        """Make an object or a version, unless it says what is in force already."""
        state = self.states.get(record.tim_id)
        key = (record.layer, record.source_key)
        if state is None:
            state = self.states[record.tim_id] = State(self.next_object, self.row, key, 0)
            self.objects.append((self.next_object, self.raw(record.tim_id), self.row, *key))
            self.next_object += 1
        elif state.dataset != self.row:
            raise StoreError("store.other-dataset", tim_id=str(record.tim_id), dataset=self.dataset.slug)
        elif state.key != key and (derived or record.source_key):
            raise StoreError("store.other-key", tim_id=str(record.tim_id), key=record.source_key, known=state.key[1])
        replaced = _overlapping(state, record.scenario, record.valid_from, record.valid_to)
        _expect(record.tim_id, state, record.scenario, replaced, if_version)
        stated = (record.digest, record.valid_from, record.valid_to)
        for span in replaced:
            if (span.digest, span.valid_from, span.valid_to) == stated:
                if source and self.source_keys.get(span.source) != source:
                    self.noted.append((self.source_row(source), span.row))
                self.unchanged += 1
                return
        self.cut(record.tim_id, state, replaced, record.valid_from, record.valid_to)
        inherited = replaced[-1].source if replaced else None
        self.insert(state, record, self.source_row(source) if source else inherited)
        self.hash.put(record)
        if replaced:
            self.updated += 1
        else:
            self.created += 1
        self.touch(record.tim_id, replaced[-1].box if replaced else None, record.box)

    def retire(self, operation: Retire) -> None:
        """End what is in force from a moment on, or altogether."""
        state = self.states.get(operation.tim_id)
        if state is None or state.dataset != self.row:
            raise StoreError("store.no-object", tim_id=str(operation.tim_id), dataset=self.dataset.slug)
        since = instant(operation.valid_to, EVER, str(operation.tim_id))
        replaced = _overlapping(state, operation.scenario, since, NEVER)
        _expect(operation.tim_id, state, operation.scenario, replaced, operation.if_version)
        if not replaced:
            self.unchanged += 1
            return
        self.cut(operation.tim_id, state, replaced, since, NEVER)
        self.hash.retire(operation.tim_id, since, operation.scenario)
        self.retired += 1
        self.touch(operation.tim_id, replaced[-1].box, None)

    def cut(self, tim_id: UUID, state: State, replaced: Sequence[Span], start: str, end: str) -> None:
        """Take ``start`` to ``end`` out of the versions in force; what they say before and after goes on as versions of its own."""
        for span in replaced:
            if span.seq_from == self.seq:
                raise StoreError("store.twice", tim_id=str(tim_id), key=state.key[1])
            state.spans.remove(span)
            self.closed.append((self.seq, span.row))
            for left, right in ((span.valid_from, start), (end, span.valid_to)):
                if left < right:
                    state.last += 1
                    self.copies.append((span, self.next_version, state.last, left, right))
                    rest = span._replace(
                        row=self.next_version, n=state.last, seq_from=self.seq, valid_from=left, valid_to=right
                    )
                    state.spans.append(rest)
                    self.next_version += 1

    def insert(self, state: State, record: Canonical, source: int | None) -> None:
        """Queue the rows of a new version."""
        row, self.next_version = self.next_version, self.next_version + 1
        state.last += 1
        state.spans.append(
            Span(
                row,
                state.last,
                self.seq,
                record.scenario,
                record.valid_from,
                record.valid_to,
                record.digest,
                record.box,
                source,
            )
        )
        self.versions.append((
            row, state.row, state.last, self.seq, record.valid_from, record.valid_to, record.stage, record.scenario,
            self.class_row(record.class_id), record.name, record.attributes, *(record.box or (None,) * 6), record.digest, source, record.linked,
        ))  # fmt: skip
        if record.box:
            self.index(row, record.box)
        if record.codes:
            self.codes += [
                (row, i, c.scheme, c.edition, c.value, c.valid_from, c.valid_to) for i, c in enumerate(record.codes)
            ]
        if record.relations:
            self.relations += [
                (row, i, r.kind, self.raw(r.target), r.valid_from, r.valid_to, r.evidence)
                for i, r in enumerate(record.relations)
            ]

    def class_row(self, path: str) -> int:
        """The row of a class, made where it is new."""
        if path not in self.classes:
            self.classes[path] = len(self.classes) + 1
            self.db.execute("INSERT INTO class (id, path) VALUES (?, ?)", (self.classes[path], path))
        return self.classes[path]

    def put_source(self, source: SourceRef) -> None:
        """Register a source. One that merely moved is the same source: its path is noted, history is not."""
        digest, record = source_digest(source), dumps(source.record(), source.key)
        known = self.source(source.key)
        if known and known[2] == digest:
            self.db.execute("UPDATE source SET record = ? WHERE id = ?", (record, known[0]))
            self.unchanged += 1
            return
        self.close_source(source.key, known)
        self.source_rows.pop(source.key, None)
        self.db.execute(
            "INSERT INTO source (dataset, key, seq_from, digest, record) VALUES (?, ?, ?, ?, ?)",
            (self.row, source.key, self.seq, digest, record),
        )
        self.hash.source(source.key, digest)
        self.sources += 1

    def drop_source(self, key: str) -> None:
        """End a source."""
        known = self.source(key)
        if known is None:
            raise StoreError("store.no-source", key=key, dataset=self.dataset.slug)
        self.close_source(key, known)
        self.source_rows.pop(key, None)
        self.hash.drop(key)
        self.sources += 1

    def source_row(self, key: str) -> int:
        """The row of a source in force, for a version that is from it."""
        if key not in self.source_rows:
            known = self.source(key)
            if known is None:
                raise StoreError("store.no-source", key=key, dataset=self.dataset.slug)
            self.source_rows[key] = known[0]
        return self.source_rows[key]

    def source(self, key: str) -> tuple[int, int, bytes] | None:
        """Row, first sequence and digest of a source in force."""
        found: tuple[int, int, bytes] | None = self.db.execute(
            "SELECT id, seq_from, digest FROM source WHERE dataset = ? AND key = ? AND seq_to IS NULL", (self.row, key)
        ).fetchone()
        return found

    def close_source(self, key: str, known: tuple[int, int, bytes] | None) -> None:
        """End what a source was."""
        if known is None:
            return
        if known[1] == self.seq:
            raise StoreError("store.source-twice", key=key, dataset=self.dataset.slug)
        self.db.execute("UPDATE source SET seq_to = ? WHERE id = ?", (self.seq, known[0]))

    def next_row(self, table: str) -> int:
        """The first number that is free."""
        return int(self.db.execute(f"SELECT coalesce(max(id), 0) + 1 FROM {table}").fetchone()[0])

    def touch(self, tim_id: UUID, old: Box3 | None, new: Box3 | None) -> None:
        """Note what changed, while there is room."""
        if len(self.touched) < TOUCHED:
            self.touched.append(Touched(tim_id, old, new))

    def copy(self) -> None:
        """Versions that say the same as those they are the rest of, about a part of their time."""
        if not self.copies:
            return
        many = self.db.executemany
        many(
            f"INSERT INTO version (id, n, seq_from, valid_from, valid_to, {KEPT}) SELECT ?, ?, ?, ?, ?, {KEPT} FROM version WHERE id = ?",
            [(row, n, self.seq, start, end, span.row) for span, row, n, start, end in self.copies],
        )
        for table, columns in PARTS.items():
            many(
                f"INSERT INTO {table} SELECT ?, {columns} FROM {table} WHERE version = ?",
                [(row, span.row) for span, row, *_ in self.copies],
            )
        for span, row, *_ in self.copies:
            if span.box:
                self.index(row, span.box)

    def finish(self, time: str) -> Applied:
        """Log the changeset, unless it changed nothing."""
        self.settle()
        counts = (self.created, self.updated, self.retired, self.sources)
        if not any(counts):
            return Applied(self.parent or 0, self.parent_hash, 0, 0, 0, self.unchanged, ())
        digest = self.hash.hexdigest()
        self.db.execute(
            f"INSERT INTO changeset VALUES ({','.join('?' * 11)})",
            (self.seq, self.parent, digest, self.row, self.changeset.author, self.changeset.reason, time, *counts),
        )
        total = self.created + self.updated + self.retired
        return Applied(self.seq, digest, *counts[:3], self.unchanged, tuple(self.touched), len(self.touched) == total)


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """With the collector of cycles at work once for some batches: going through all that they make, which has none, takes a fifth of the time."""
    usual = gc.get_threshold()
    if usual[0] >= _YOUNG:  # another changeset is being applied, or somebody wants it so
        yield
        return
    gc.set_threshold(_YOUNG, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _overlapping(state: State, scenario: str, start: str, end: str) -> list[Span]:
    return sorted(
        (s for s in state.spans if s.scenario == scenario and s.valid_from < end and start < s.valid_to),
        key=lambda s: s.valid_from,
    )


def _expect(tim_id: UUID, state: State, scenario: str, replaced: Sequence[Span], seen: int | None) -> None:
    """Refuse a writer who would replace what he has not seen; version 0 stands for an object that is not there yet."""
    if seen is None:
        return
    current = [s.n for s in state.spans if s.scenario == scenario]
    if (seen not in current and not (seen == 0 and not current)) or any(s.n != seen for s in replaced):
        raise Conflict("store.conflict", tim_id=str(tim_id), seen=seen, current=max(current, default=0))
