"""The embedded object store: one SQLite file in WAL mode, one writer and many readers at once, across threads and processes.

What :meth:`SqliteStore.apply` reports as done survives a power cut (each commit is synced). Readers never wait for the writer.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from uuid import UUID

from tim.errors import StoreError, UsageError
from tim.model import Code, Dataset
from tim.place import Box3, Frame
from tim.query.check import checked
from tim.query.evaluate import prepare
from tim.sources import SourceRef
from tim.store import (
    Appearance,
    Applied,
    AsOf,
    Changed,
    Changes,
    Changeset,
    ChangesetRecord,
    Filter,
    Link,
    ObjectVersion,
    Origins,
    Outline,
    Page,
    Standing,
)
from tim.store.canonical import EVER, dumps, instant, moment
from tim.store.sqlite import apply as applying
from tim.store.sqlite import history as tracing
from tim.store.sqlite import query as looking
from tim.store.sqlite import schema
from tim.store.sqlite.faults import translated

__all__ = ["SqliteStore"]

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_LOG_PAGE = 500
_BATCH = 500
_LAST = (1 << 63) - 1
_STEPS = 20_000
"""Instructions of SQLite's machine between two looks at the clock: about a millisecond."""
Counts = dict[Literal["created", "updated", "retired", "sources"], int]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class SqliteStore:
    """An :class:`tim.store.ObjectStore` in one file. Safe to share between threads; every process opens its own."""

    def __init__(self, path: Path | str, *, wait: float = 30.0, clock: Callable[[], str] = _now) -> None:
        """Open the store at ``path``. ``wait`` seconds for other writers; ``clock`` tells the time to log and *now*.

        Raises StoreError where there is none, or one of a newer version.
        """
        self.path = Path(path)
        self._wait, self._clock = wait, clock
        self._idle: list[sqlite3.Connection] = []
        self._idle_lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._write_lock = threading.RLock()
        self._applying = False
        self._closed = False
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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

    @property
    def seq(self) -> int:
        """The sequence number of the newest changeset; 0 when empty."""
        with self._reading() as db:
            return int(db.execute("SELECT coalesce(max(seq), 0) FROM changeset").fetchone()[0])

    def put_dataset(self, dataset: Dataset) -> Dataset:
        """Make a dataset or change its title, access and settings.

        Raises UsageError for a name that cannot stand in a URL, StoreError where frame, kind or uid would change.
        """
        if not _SLUG.fullmatch(dataset.slug):
            raise UsageError("store.slug", slug=dataset.slug)
        frame, settings = dumps(dataset.frame.record(), dataset.slug), dumps(dataset.settings, dataset.slug)
        _encodable(dataset.slug, dataset.title, dataset.kind, settings)
        with self._writing() as db:
            found = db.execute(f"{_DATASET} WHERE slug = ?", (dataset.slug,)).fetchone()
            if found is not None:
                known = _dataset(found)
                for name in ("uid", "kind", "frame"):
                    if getattr(known, name) != getattr(dataset, name):
                        raise StoreError("store.dataset-fixed", dataset=dataset.slug, what=name)
            db.execute(
                "INSERT INTO dataset (slug, uid, title, kind, frame, private, settings) VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (slug) DO UPDATE SET title = excluded.title, private = excluded.private, settings = excluded.settings",
                (dataset.slug, dataset.uid.bytes, dataset.title, dataset.kind, frame, dataset.private, settings),
            )
            return _dataset(db.execute(f"{_DATASET} WHERE slug = ?", (dataset.slug,)).fetchone())

    def dataset(self, slug: str) -> Dataset:
        """One dataset. Raises UsageError ``store.no-dataset`` naming those there are."""
        with self._reading() as db:
            return _dataset(self._dataset_row(db, slug))

    def datasets(self) -> list[Dataset]:
        """All, by slug."""
        with self._reading() as db:
            return [_dataset(row) for row in db.execute(f"{_DATASET} ORDER BY slug")]

    def sources(self, dataset: str, seq: int | None = None) -> list[SourceRef]:
        """The dataset's bulk sources by key, now or as they were at a sequence number."""
        with self._reading() as db:
            where, parameters = ("seq_to IS NULL", [])
            if seq is not None:
                where, parameters = "seq_from <= ? AND (seq_to IS NULL OR seq_to > ?)", [seq, seq]
            row = self._dataset_row(db, dataset)[0]
            found = db.execute(
                f"SELECT record FROM source WHERE dataset = ? AND {where} ORDER BY key", [row, *parameters]
            )
            return [SourceRef.from_record(json.loads(record)) for (record,) in found]

    def apply(self, changeset: Changeset) -> Applied:
        """Do all of it or nothing. The operations may read this store meanwhile; they see it as it was before.

        Raises Conflict, StoreError; WorkspaceError where the disk is full or read-only; whatever the operations raise.
        """
        _encodable(changeset.dataset, changeset.author, changeset.reason)
        with self._writing() as db:
            if self._applying:
                raise RuntimeError("a changeset cannot be applied from within the operations of another")
            self._applying = True
            try:
                if changeset.make is not None:
                    self.put_dataset(changeset.make)
                row = self._dataset_row(db, changeset.dataset)
                return applying.apply(db, changeset, row[0], _dataset(row), self._clock())
            finally:
                self._applying = False

    def get(self, tim_id: UUID, as_of: AsOf | None = None, scenario: str = "") -> ObjectVersion | None:
        """One object as it is on the common line or in a scenario; ``None`` where there is none at that moment."""
        where = looking.Where()
        where.add("o.tim_id = ? AND v.scenario = ?", tim_id.bytes, scenario)
        looking.in_force(where, *self._moment(as_of))
        found = self._versions(where, "LIMIT 1")
        return found[0] if found else None

    def history(self, tim_id: UUID) -> list[ObjectVersion]:
        """All versions, oldest first."""
        where = looking.Where()
        where.add("o.tim_id = ?", tim_id.bytes)
        return self._versions(where, "ORDER BY v.n")

    def query(
        self, filter: Filter, as_of: AsOf | None = None, cursor: str | None = None, limit: int = 1000, seconds: float | None = None,  # noqa: A002
    ) -> Page:  # fmt: skip
        """Objects that match, ordered by ``tim_id``. All pages of one query show the moment of the first.

        Raises StoreError ``store.too-slow`` after ``seconds``; UsageError for an unknown dataset, a foreign cursor, a limit below 1, or a
        scenario upon the common line over an interval, a condition that cannot be asked (``query.*``).
        """
        if filter.upon and filter.during is not None:
            raise UsageError("store.upon-during")
        if limit < 1:
            raise UsageError("store.limit", limit=limit)
        _encodable(
            filter.class_id or "",
            filter.scenario,
            filter.layer or "",
            dumps(filter.attributes, "filter"),
            *filter.properties,
            *filter.properties.values(),
            *_code_texts(filter.code),
        )
        seq, valid = self._moment(as_of)
        after = None
        if cursor is not None:
            seq, valid, after = looking.read_cursor(cursor)
        if filter.where is not None:
            at = AsOf(moment(valid), seq)
            where = prepare(checked(filter.where), lambda source, kind: self._related_to(filter, source, kind, at))
            filter = replace(filter, where=where)  # noqa: A001
        with self._reading() as db, _within(db, seconds, self.path) as on_time:
            return looking.page(db, filter, seq, valid, after, limit, self.get_blobs, on_time)

    def read(self, ids: Sequence[UUID], as_of: AsOf | None = None, scenario: str = "") -> list[ObjectVersion]:
        """Those of many objects that there are at a moment, in the order asked for."""
        seq, valid = self._moment(as_of)
        found: dict[UUID, ObjectVersion] = {}
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            where = looking.Where()
            where.add(f"o.tim_id IN ({','.join('?' * len(batch))})", *(i.bytes for i in batch))
            where.add("v.scenario = ?", scenario)
            looking.in_force(where, seq, valid)
            found.update((version.tim_id, version) for version in self._versions(where, ""))
        return [found[i] for i in ids if i in found]

    def outline(
        self, dataset: str, as_of: AsOf | None = None, scenario: str = "", *, box: Box3 | None = None, layer: str | None = None,
    ) -> Iterator[Outline]:  # fmt: skip
        """All objects of a dataset that meet a box, in batches of at most 50,000, in no particular order. Raises UsageError ``store.no-dataset``."""
        seq, valid = self._moment(as_of)
        with self._reading() as db:
            row = self._dataset_row(db, dataset)[0]
            yield from looking.outline(db, row, seq, valid, scenario, box, layer)

    def standing(self, ids: Sequence[bytes], as_of: AsOf | None = None, scenario: str = "") -> dict[bytes, Standing]:
        """Those of many objects that there are at a moment. ids: 16 bytes each."""
        seq, valid = self._moment(as_of)
        found: dict[bytes, Standing] = {}
        with self._reading() as db:
            for start in range(0, len(ids), _BATCH):
                found.update(looking.standing(db, ids[start : start + _BATCH], seq, valid, scenario))
        return found

    def appearances(self, versions: Sequence[int]) -> dict[int, Appearance]:
        """Many versions as drawing wants them; those that there are not are left out."""
        found: dict[int, Appearance] = {}
        with self._reading() as db:
            for start in range(0, len(versions), _BATCH):
                looking.appearances(db, versions[start : start + _BATCH], found)
        return found

    def attribute_kinds(
        self, dataset: str, names: Sequence[str] | None = None, as_of: AsOf | None = None, scenario: str = ""
    ) -> dict[str, set[str]]:
        """The JSON types a dataset's objects have under these attributes, or all; a name none of them has is left out."""
        seq, valid = self._moment(as_of)
        with self._reading() as db:
            row = self._dataset_row(db, dataset)[0]
            return looking.attribute_kinds(db, row, names, seq, valid, scenario)

    def class_counts(self, dataset: str, as_of: AsOf | None = None, scenario: str = "") -> dict[str, int]:
        """How many objects of each class a dataset has, by class id. Raises UsageError ``store.no-dataset``."""
        seq, valid = self._moment(as_of)
        with self._reading() as db:
            return looking.class_counts(db, self._dataset_row(db, dataset)[0], seq, valid, scenario)

    def changed(self, dataset: str, since: int, limit: int = 100_000) -> Changed:
        """The objects of a dataset that changesets after ``since`` touched, on the common line and in scenarios. A box is that of the newest version."""
        with self._reading() as db:
            return tracing.changed(db, self._dataset_row(db, dataset)[0], min(since, _LAST), limit)

    def changes(
        self, dataset: str, since: int, until: int | None = None, cursor: str | None = None, limit: int = 1000
    ) -> Changes:
        """Whose versions changesets after ``since``, and not after ``until``, made or ended, with what was in force before and after."""
        if limit < 1:
            raise UsageError("store.limit", limit=limit)
        last = _LAST if until is None else min(until, _LAST)
        with self._reading() as db:
            row = self._dataset_row(db, dataset)[0]
            return tracing.changes(db, row, min(since, _LAST - 1), last, tracing.read_cursor(cursor), limit)

    def related(
        self, ids: Sequence[UUID], kinds: Sequence[str] = (), *, inverse: bool = False, as_of: AsOf | None = None, scenario: str = "",
    ) -> list[Link]:  # fmt: skip
        """Relations in force from some objects, or with ``inverse`` to them, ordered by source, kind and target."""
        _encodable(scenario, *kinds)
        seq, valid = self._moment(as_of)
        raw = [i.bytes for i in dict.fromkeys(ids)]
        with self._reading() as db:
            found = [
                link
                for start in range(0, len(raw), _BATCH)
                for link in tracing.related(
                    db, raw[start : start + _BATCH], kinds, seq, valid, scenario, inverse=inverse
                )
            ]
        return sorted(found, key=lambda link: link[:3])

    def scenarios(self, dataset: str) -> dict[str, int]:
        """The scenarios of a dataset, with how many objects each says something of, whenever that is valid; by name."""
        with self._reading() as db:
            return tracing.scenarios(db, self._dataset_row(db, dataset)[0])

    def duplicate_codes(self, dataset: str) -> Iterator[tuple[Code, list[UUID]]]:
        """Codes that several current objects of a dataset claim, and which objects. Raises UsageError ``store.no-dataset``."""
        _, valid = self._moment(None)
        with self._reading() as db:
            yield from tracing.duplicate_codes(db, self._dataset_row(db, dataset)[0], valid)

    def search(self, text: str, datasets: Sequence[str], limit: int = 20) -> list[ObjectVersion]:
        """Current objects of these datasets by a code (exactly), the beginning of a name, or a part of one, in this order."""
        _encodable(text)
        _, valid = self._moment(None)
        with self._reading() as db:
            rows = looking.search(db, text, [self._dataset_row(db, d)[0] for d in datasets], valid, limit)
            if not rows:
                return []
            sql = (
                f"SELECT {looking.COLUMNS}, v.id FROM version v CROSS JOIN object o ON o.id = v.object {looking.JOINS}"
            )
            found = {
                row[-1]: looking.version(row)
                for row in db.execute(f"{sql} WHERE v.id IN ({','.join('?' * len(rows))})", rows)
            }
        return [found[row] for row in rows]

    def count(self, dataset: str | None = None) -> int:
        """Objects there are now on the common line."""
        where = looking.Where()
        where.add("v.scenario = ''")
        looking.in_force(where, *self._moment(None))
        with self._reading() as db:
            tables = "version v"
            if dataset is not None:
                tables = "version v CROSS JOIN object o ON o.id = v.object"
                where.add("o.dataset = ?", self._dataset_row(db, dataset)[0])
            return int(db.execute(f"SELECT count(*) FROM {tables} WHERE {where.sql}", where.parameters).fetchone()[0])

    def origins(self, dataset: str, layer: str, scenario: str = "") -> Iterator[Origins]:
        """Which source the current objects of a layer are from, in batches of at most 50,000. Raises UsageError ``store.no-dataset``."""
        _, valid = self._moment(None)
        with self._reading() as db:
            yield from looking.origins(db, self._dataset_row(db, dataset)[0], valid, scenario, layer)

    def log(self, dataset: str | None = None, limit: int | None = None) -> Iterator[ChangesetRecord]:
        """Changesets, newest first."""
        condition, parameters = "1", []
        if dataset is not None:
            with self._reading() as db:
                condition, parameters = "c.dataset = ?", [self._dataset_row(db, dataset)[0]]
        before, left = _LAST, limit
        while left is None or left > 0:
            size = _LOG_PAGE if left is None else min(left, _LOG_PAGE)
            with self._reading() as db:
                rows = db.execute(
                    "SELECT c.seq, c.parent, c.hash, d.slug, c.author, c.reason, c.time, c.created, c.updated, c.retired, c.sources"
                    f" FROM changeset c JOIN dataset d ON d.id = c.dataset WHERE {condition} AND c.seq < ? ORDER BY c.seq DESC LIMIT ?",
                    [*parameters, before, size],
                ).fetchall()
            for row in rows:
                seq, parent, digest, slug, author, reason, time, created, updated, retired, sources = row
                counts: Counts = {"created": created, "updated": updated, "retired": retired, "sources": sources}
                yield ChangesetRecord(seq, parent, digest, slug, author, reason, time, counts)
            if len(rows) < size:
                return
            before = rows[-1][0]
            left = None if left is None else left - size

    def put_blob(self, data: bytes | memoryview) -> str:
        """Keep bytes by their content; blake2b-256 hex. Called by a changeset's operations, it is done or undone with it."""
        digest = hashlib.blake2b(data, digest_size=32)
        with self._writing() as db:
            db.execute("INSERT INTO blob (hash, data) VALUES (?, ?) ON CONFLICT DO NOTHING", (digest.digest(), data))
        return digest.hexdigest()

    def get_blob(self, content: str) -> bytes | None:
        """The bytes of a content hash; ``None`` where they are not here."""
        return self.get_blobs([content]).get(content)

    def get_blobs(self, contents: Iterable[str], most: int | None = None) -> dict[str, bytes]:
        """The bytes of many content hashes; those that are not here are left out. Reading stops once there are more than ``most`` bytes."""
        wanted = [digest for content in dict.fromkeys(contents) if (digest := _digest(content)) is not None]
        found: dict[str, bytes] = {}
        left = sys.maxsize if most is None else most
        with self._reading() as db:
            for start in range(0, len(wanted), _BATCH):
                batch = looking.padded(wanted[start : start + _BATCH])
                for name, data in db.execute(
                    f"SELECT hash, data FROM blob WHERE hash IN ({looking.marks(batch)})", batch
                ):
                    found[name.hex()] = data
                    left -= len(data)
                    if left < 0:
                        return found
        return found

    def _versions(self, where: looking.Where, tail: str) -> list[ObjectVersion]:
        with self._reading() as db:
            rows = db.execute(
                f"SELECT {looking.COLUMNS} FROM object o CROSS JOIN version v ON v.object = o.id {looking.JOINS} WHERE {where.sql} {tail}",
                where.parameters,
            )
            return [looking.version(row) for row in rows]

    def _related_to(self, wanted: Filter, source: UUID, kind: str, at: AsOf) -> list[UUID]:
        """Where the relations of an object go, on the line that is looked at."""
        upon_common = wanted.upon and self.get(source, at, wanted.scenario) is None
        links = self.related(
            [source], [kind] if kind else [], as_of=at, scenario="" if upon_common else wanted.scenario
        )
        return [link.target for link in links]

    def _moment(self, as_of: AsOf | None) -> tuple[int | None, str]:
        chosen = as_of or AsOf()
        seq = None if chosen.seq is None else max(0, min(chosen.seq, _LAST))
        return seq, instant(chosen.valid or self._clock(), EVER)

    def _dataset_row(self, db: sqlite3.Connection, slug: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = db.execute(f"{_DATASET} WHERE slug = ?", (slug,)).fetchone()
        if row is None:
            raise looking.no_dataset(db, slug)
        return row

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
def _within(db: sqlite3.Connection, seconds: float | None, path: Path) -> Iterator[Callable[[], None]]:
    """Interrupt what goes on longer. What is done meanwhile outside SQLite calls the function given now and then."""
    if seconds is None:
        yield lambda: None
        return
    end = time.monotonic() + seconds

    def on_time() -> None:
        if time.monotonic() > end:
            raise StoreError("store.too-slow", path=str(path))

    db.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
    try:
        yield on_time
    finally:
        db.set_progress_handler(None, 0)


_DATASET = "SELECT id, slug, title, kind, uid, frame, private, settings FROM dataset"


def _dataset(row: tuple[Any, ...]) -> Dataset:
    _, slug, title, kind, uid, frame, private, settings = row
    return Dataset(slug, title, kind, UUID(bytes=uid), Frame(**json.loads(frame)), bool(private), json.loads(settings))


def _code_texts(code: Code | None) -> tuple[str, ...]:
    return () if code is None else (code.scheme, code.edition, code.value)


def _encodable(*texts: str) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise StoreError("store.text", object=text.encode(errors="replace").decode(), reason=error.reason) from None


def _digest(content: str) -> bytes | None:
    """The bytes of a content hash; ``None`` for anything else."""
    try:
        return bytes.fromhex(content)
    except ValueError:
        return None
