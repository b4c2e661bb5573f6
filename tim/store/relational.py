"""What an object store in SQL tables is, whatever database keeps them: arguments checked, moments pinned, one writer, blobs written together.

A store gives its connections and asks in its own SQL (:mod:`tim.store.dialect`); what both say alike is asked here.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from math import inf
from time import monotonic, time_ns
from types import TracebackType
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar
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
from tim.store.dialect import Looking, Tracing
from tim.store.sql import INT64, Connection, Where, in_force, marks, no_dataset, padded, read_change_cursor, read_cursor
from tim.store.working import Work

C = TypeVar("C", bound=Connection)
Counts = dict[Literal["created", "updated", "retired", "sources"], int]

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_LOG_PAGE = 500
_BATCH = 500
_LAST = INT64 - 1
_BLOBS = 4_000_000
"""Bytes that are written together."""
_CHANGESET = (
    "SELECT c.seq, c.parent, c.hash, d.slug, c.author, c.reason, c.time, c.created, c.updated, c.retired, c.sources"
    " FROM changeset c JOIN dataset d ON d.id = c.dataset"
)
_DATASET = "SELECT id, slug, title, kind, uid, frame, private, settings FROM dataset"


def now() -> str:
    """This moment, to the millisecond."""
    second, millisecond = divmod(time_ns() // 1_000_000, 1000)
    return f"{_second(second)}.{millisecond:03}Z"


@lru_cache(2)
def _second(since_1970: int) -> str:
    return datetime.fromtimestamp(since_1970, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class RelationalStore(ABC, Generic[C]):
    """An :class:`tim.store.ObjectStore` in tables. Safe to share between threads."""

    looking: Looking[C]
    tracing: Tracing[C]
    work: ClassVar[Callable[..., Work[Any]]]
    """Makes what applies a changeset: of a connection, the changeset, the dataset's row and the dataset."""

    def __init__(self, clock: Callable[[], str]) -> None:
        """``clock`` tells the time to log and *now*."""
        self._clock = clock
        self._applying: int | None = None
        """The thread that applies a changeset, whose blobs wait to be written together."""
        self._blobs: list[tuple[bytes, bytes | memoryview]] = []
        self._blob_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Let go of everything; using the store afterwards raises StoreError."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[C]:
        """A connection of one's own for a moment: as many are open as there were readers at once."""

    @abstractmethod
    def _writing(self) -> AbstractContextManager[C]:
        """A transaction of the one writer; inside another of the same thread, a part of it."""

    @abstractmethod
    def _within(self, db: C, seconds: float) -> AbstractContextManager[None]:
        """Interrupt what the store does longer."""

    @abstractmethod
    def _insert_blobs(self, db: C, blobs: Sequence[tuple[bytes, bytes | memoryview]]) -> None:
        """Hashes with their bytes; those that are there already stay."""

    @abstractmethod
    def _raw(self, uid: UUID) -> Any:
        """A UUID as the tables have it."""

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
        encodable(dataset.slug, dataset.title, dataset.kind, settings)
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
                (dataset.slug, self._raw(dataset.uid), dataset.title, dataset.kind, frame, dataset.private, settings),
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
        encodable(changeset.dataset, changeset.author, changeset.reason)
        with self._writing() as db:
            if self._applying:
                raise RuntimeError("a changeset cannot be applied from within the operations of another")
            self._applying = threading.get_ident()
            try:
                if changeset.make is not None:
                    self.put_dataset(changeset.make)
                row = self._dataset_row(db, changeset.dataset)
                applied = self.work(db, changeset, row[0], _dataset(row)).run(self._clock())
                self._write_blobs()
                return applied
            finally:
                self._applying = None
                self._blobs.clear()
                self._blob_bytes = 0

    def get(self, tim_id: UUID, as_of: AsOf | None = None, scenario: str = "") -> ObjectVersion | None:
        """One object as it is on the common line or in a scenario; ``None`` where there is none at that moment."""
        seq, valid = self._moment(as_of)
        with self._reading() as db:
            found = self.looking.read(db, [tim_id], seq, valid, scenario)
        return found[0] if found else None

    def history(self, tim_id: UUID) -> list[ObjectVersion]:
        """All versions, oldest first."""
        with self._reading() as db:
            return self.looking.history(db, tim_id)

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
        encodable(
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
            seq, valid, after = read_cursor(cursor)
        if filter.where is not None:
            at = AsOf(moment(valid), seq)
            where = prepare(checked(filter.where), lambda source, kind: self._related_to(filter, source, kind, at))
            filter = replace(filter, where=where)  # noqa: A001
        end = inf if seconds is None else monotonic() + seconds

        def on_time() -> None:
            if monotonic() > end:
                raise StoreError("store.too-slow")

        with self._reading() as db, nullcontext() if seconds is None else self._within(db, seconds):
            page = self.looking.page(db, filter, seq, valid, after, limit, self.get_blobs, on_time)
            if not page.items and filter.dataset is not None:
                self._dataset_row(db, filter.dataset)
            return page

    def read(self, ids: Sequence[UUID], as_of: AsOf | None = None, scenario: str = "") -> list[ObjectVersion]:
        """Those of many objects that there are at a moment, in the order asked for."""
        seq, valid = self._moment(as_of)
        found: dict[UUID, ObjectVersion] = {}
        with self._reading() as db:
            for start in range(0, len(ids), _BATCH):
                batch = self.looking.read(db, ids[start : start + _BATCH], seq, valid, scenario)
                found.update((version.tim_id, version) for version in batch)
        return [found[i] for i in ids if i in found]

    def outline(
        self, dataset: str, as_of: AsOf | None = None, scenario: str = "", *, box: Box3 | None = None, layer: str | None = None,
    ) -> Iterator[Outline]:  # fmt: skip
        """All objects of a dataset that meet a box, in batches of at most 50,000, in no particular order. Raises UsageError ``store.no-dataset``."""
        seq, valid = self._moment(as_of)
        with self._reading() as db:
            row = self._dataset_row(db, dataset)[0]
            yield from self.looking.outline(db, row, seq, valid, scenario, box, layer)

    def standing(self, ids: Sequence[bytes], as_of: AsOf | None = None, scenario: str = "") -> dict[bytes, Standing]:
        """Those of many objects that there are at a moment. ids: 16 bytes each."""
        seq, valid = self._moment(as_of)
        found: dict[bytes, Standing] = {}
        with self._reading() as db:
            for start in range(0, len(ids), _BATCH):
                found.update(self.looking.standing(db, ids[start : start + _BATCH], seq, valid, scenario))
        return found

    def appearances(self, versions: Sequence[int]) -> dict[int, Appearance]:
        """Many versions as drawing wants them; those that there are not are left out."""
        found: dict[int, Appearance] = {}
        with self._reading() as db:
            for start in range(0, len(versions), _BATCH):
                self.looking.appearances(db, versions[start : start + _BATCH], found)
        return found

    def attribute_kinds(
        self, dataset: str, names: Sequence[str] | None = None, as_of: AsOf | None = None, scenario: str = ""
    ) -> dict[str, set[str]]:
        """The JSON types a dataset's objects have under these attributes, or all; a name none of them has is left out."""
        seq, valid = self._moment(as_of)
        with self._reading() as db:
            row = self._dataset_row(db, dataset)[0]
            kinds: dict[str, set[str]] = {}
            for name, kind in self.looking.attribute_kinds(db, row, names, seq, valid, scenario):
                kinds.setdefault(name, set()).add(kind)
            return kinds

    def class_counts(self, dataset: str, as_of: AsOf | None = None, scenario: str = "") -> dict[str, int]:
        """How many objects of each class a dataset has, by class id. Raises UsageError ``store.no-dataset``."""
        seq, valid = self._moment(as_of)
        with self._reading() as db:
            return self.looking.class_counts(db, self._dataset_row(db, dataset)[0], seq, valid, scenario)

    def changed(self, dataset: str, since: int, limit: int = 100_000) -> Changed:
        """The objects of a dataset that changesets after ``since`` touched, on the common line and in scenarios. A box is that of the newest version."""
        with self._reading() as db:
            return self.tracing.changed(db, self._dataset_row(db, dataset)[0], min(since, _LAST), limit)

    def changes(
        self, dataset: str, since: int, until: int | None = None, cursor: str | None = None, limit: int = 1000
    ) -> Changes:
        """Whose versions changesets after ``since``, and not after ``until``, made or ended, with what was in force before and after."""
        if limit < 1:
            raise UsageError("store.limit", limit=limit)
        last = _LAST if until is None else min(until, _LAST)
        with self._reading() as db:
            row = self._dataset_row(db, dataset)[0]
            return self.tracing.changes(db, row, min(since, _LAST - 1), last, read_change_cursor(cursor), limit)

    def related(
        self, ids: Sequence[UUID], kinds: Sequence[str] = (), *, inverse: bool = False, as_of: AsOf | None = None, scenario: str = "",
    ) -> list[Link]:  # fmt: skip
        """Relations in force from some objects, or with ``inverse`` to them, ordered by source, kind and target."""
        encodable(scenario, *kinds)
        seq, valid = self._moment(as_of)
        asked = list(dict.fromkeys(ids))
        with self._reading() as db:
            found = [
                link
                for start in range(0, len(asked), _BATCH)
                for link in self.tracing.related(
                    db, asked[start : start + _BATCH], kinds, seq, valid, scenario, inverse=inverse
                )
            ]
        return sorted(found, key=lambda link: link[:3])

    def stated(self, dataset: str, kinds: Sequence[str]) -> list[Link]:
        """Relations of some kinds that the current objects of a dataset state on the common line, whenever those are valid themselves. Ordered as
        :meth:`related`."""
        encodable(*kinds)
        if not kinds:
            return []
        where = Where()
        where.add(f"r.kind IN ({marks(kinds)}) AND v.scenario = ''", *kinds)
        in_force(where, None, self._moment(None)[1])
        with self._reading() as db:
            where.add("o.dataset = ?", self._dataset_row(db, dataset)[0])
            # SQLite takes the tables of CROSS JOIN in their order: there are far fewer relations than versions, as a rule.
            rows = db.execute(
                "SELECT o.tim_id, r.kind, r.target, r.valid_from, r.valid_to, r.evidence FROM relation r CROSS JOIN version v CROSS JOIN object o"
                f" WHERE v.id = r.version AND o.id = v.object AND {where.sql}",
                where.parameters,
            ).fetchall()
        found = [Link(_uuid(source), kind, _uuid(target), *rest) for source, kind, target, *rest in rows]
        return sorted(found, key=lambda link: link[:3])

    def scenarios(self, dataset: str) -> dict[str, int]:
        """The scenarios of a dataset, with how many objects each says something of, whenever that is valid; by name."""
        with self._reading() as db:
            return self.tracing.scenarios(db, self._dataset_row(db, dataset)[0])

    def duplicate_codes(self, dataset: str) -> Iterator[tuple[Code, list[UUID]]]:
        """Codes that several current objects of a dataset claim, and which objects. Raises UsageError ``store.no-dataset``."""
        _, valid = self._moment(None)
        with self._reading() as db:
            yield from self.tracing.duplicate_codes(db, self._dataset_row(db, dataset)[0], valid)

    def search(self, text: str, datasets: Sequence[str], limit: int = 20) -> list[ObjectVersion]:
        """Current objects of these datasets by a code (exactly), the beginning of a name, or a part of one, in this order."""
        encodable(text)
        _, valid = self._moment(None)
        with self._reading() as db:
            within = [self._dataset_row(db, d)[0] for d in datasets]
            rows: dict[int, None] = {}
            if text and within:
                for row in self.looking.search(db, text, within, valid, limit):
                    rows[row] = None
                    if len(rows) >= limit:
                        break
            found = self.looking.versions(db, list(rows)) if rows else {}
        return [found[row] for row in rows]

    def count(self, dataset: str | None = None) -> int:
        """Objects there are now on the common line."""
        _, valid = self._moment(None)
        with self._reading() as db:
            row = None if dataset is None else self._dataset_row(db, dataset)[0]
            return self.looking.count(db, row, valid)

    def origins(self, dataset: str, layer: str, scenario: str = "") -> Iterator[Origins]:
        """Which source the current objects of a layer are from, in batches of at most 50,000. Raises UsageError ``store.no-dataset``."""
        _, valid = self._moment(None)
        with self._reading() as db:
            yield from self.looking.origins(db, self._dataset_row(db, dataset)[0], valid, scenario, layer)

    def log(
        self, dataset: str | None = None, limit: int | None = None, before: int | None = None
    ) -> Iterator[ChangesetRecord]:
        """Changesets, newest first, those before a sequence number where one is given."""
        condition, parameters = "TRUE", []
        if dataset is not None:
            with self._reading() as db:
                condition, parameters = "c.dataset = ?", [self._dataset_row(db, dataset)[0]]
        before, left = _LAST if before is None else before, limit
        while left is None or left > 0:
            size = _LOG_PAGE if left is None else min(left, _LOG_PAGE)
            with self._reading() as db:
                rows = db.execute(
                    f"{_CHANGESET} WHERE {condition} AND c.seq < ? ORDER BY c.seq DESC LIMIT ?",
                    [*parameters, before, size],
                ).fetchall()
            yield from map(_changeset, rows)
            if len(rows) < size:
                return
            before = rows[-1][0]
            left = None if left is None else left - size

    def changesets(self, seqs: Collection[int]) -> dict[int, ChangesetRecord]:
        """Some changesets by their sequence numbers; those that there are not are left out."""
        wanted = sorted(seq for seq in set(seqs) if 0 < seq <= _LAST)
        found: dict[int, ChangesetRecord] = {}
        with self._reading() as db:
            for start in range(0, len(wanted), _BATCH):
                batch = padded(wanted[start : start + _BATCH])
                rows = db.execute(f"{_CHANGESET} WHERE c.seq IN ({marks(batch)})", batch)
                found.update((row[0], _changeset(row)) for row in rows)
        return found

    def put_blob(self, data: bytes | memoryview) -> str:
        """Keep bytes by their content; blake2b-256 hex. Called by a changeset's operations, it is done or undone with it."""
        digest = hashlib.blake2b(data, digest_size=32)
        if self._applying and threading.get_ident() == self._applying:
            self._blobs.append((digest.digest(), data))
            self._blob_bytes += len(data)
            if self._blob_bytes > _BLOBS:
                self._write_blobs()
        else:
            with self._writing() as db:
                self._insert_blobs(db, [(digest.digest(), data)])
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
                for name, data in self.looking.blobs(db, wanted[start : start + _BATCH]):
                    found[name.hex()] = data
                    left -= len(data)
                    if left < 0:
                        return found
        return found

    def _write_blobs(self) -> None:
        if not self._blobs:
            return
        with self._writing() as db:
            self._insert_blobs(db, self._blobs)
        self._blobs.clear()
        self._blob_bytes = 0

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

    def _dataset_row(self, db: C, slug: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = db.execute(f"{_DATASET} WHERE slug = ?", (slug,)).fetchone()
        if row is None:
            raise no_dataset(db, slug)
        return row


def _dataset(row: tuple[Any, ...]) -> Dataset:
    _, slug, title, kind, uid, frame, private, settings = row
    return Dataset(
        slug,
        title,
        kind,
        _uuid(uid),
        Frame(**json.loads(frame)),
        bool(private),
        json.loads(settings),
    )


def _uuid(raw: Any) -> UUID:
    """An id as either store has it."""
    return raw if isinstance(raw, UUID) else UUID(bytes=raw)


def _changeset(row: tuple[Any, ...]) -> ChangesetRecord:
    seq, parent, digest, slug, author, reason, time, created, updated, retired, sources = row
    counts: Counts = {"created": created, "updated": updated, "retired": retired, "sources": sources}
    return ChangesetRecord(seq, parent, digest, slug, author, reason, time, counts)


def _code_texts(code: Code | None) -> tuple[str, ...]:
    return () if code is None else (code.scheme, code.edition, code.value)


def encodable(*texts: str) -> None:
    """Raise StoreError ``store.text`` for what no store can hold."""
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
