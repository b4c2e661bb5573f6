"""Taking back: a dataset as it was at a sequence number, or one changeset; by a compensating changeset, so that history stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from tim.errors import Conflict, UsageError
from tim.history.differences import changes, checked
from tim.history.spans import restated, spans
from tim.sources import SourceRef
from tim.store import Applied, Changeset, DropSource, ObjectStore, Operation, PutSource
from tim.store.canonical import source_digest

NAMED = 20
"""How many objects a Conflict names."""


@dataclass(frozen=True, slots=True)
class Undone:
    """What taking back did, or would do."""

    objects: int
    """Objects on lines that read otherwise afterwards."""
    sources: int
    applied: Applied | None
    """``None`` where it was only worked out."""


def rollback(
    store: ObjectStore, dataset: str, to_seq: int, author: str = "", reason: str = "", *, seen: int | None = None, dry_run: bool = False,
) -> Undone:  # fmt: skip
    """Make a dataset read as it did at a sequence number: on every line and about all time, its sources too.

    Streamed from pages of the log into one changeset. It is worked out while the changeset holds the one writer's place, so nothing comes
    between; ``seen`` is the newest sequence number the caller has looked at: Conflict ``history.moved`` where the dataset went on since.
    Raises UsageError ``history.no-seq``, ``store.no-dataset``.
    """
    checked(store, to_seq)
    store.dataset(dataset)
    count = _Count()

    def operations() -> Iterator[Operation]:
        if seen is not None and (newest := next(store.log(dataset, 1), None)) is not None and newest.seq > seen:
            raise Conflict("history.moved", dataset=dataset, seen=seen, newest=newest.seq)
        was, now = (_sources(store, dataset, seq) for seq in (to_seq, None))
        yield from count.sourced(_put_sources(now, was))
        for change in changes(store, dataset, to_seq, None):
            yield from count.said(
                restated(change.tim_id, change.scenario, spans(change.after), spans(change.before), was.keys())
            )
        yield from count.sourced(_drop_sources(now, was))

    return _done(store, dataset, operations(), count, author, reason or f"rollback to {to_seq}", dry_run=dry_run)


def revert(store: ObjectStore, seq: int, author: str = "", reason: str = "", *, dry_run: bool = False) -> Undone:
    """Take back one changeset. Raises Conflict ``history.later`` naming objects and sources that later ones touched as well, UsageError
    ``history.no-seq``."""
    made = store.changesets([seq]).get(seq)
    if made is None:
        raise UsageError("history.no-seq", seq=seq, newest=store.seq)
    dataset = made.dataset
    count = _Count()

    def operations() -> Iterator[Operation]:
        was, then, now = (_sources(store, dataset, s) for s in (seq - 1, seq, None))
        touched = {key for key in {*was, *then} if _digest(was, key) != _digest(then, key)}
        later = [key for key in sorted(touched) if _digest(then, key) != _digest(now, key)]
        wanted = {key: ref for key, ref in now.items() if key not in touched}
        wanted |= {key: was[key] for key in touched if key in was}
        yield from count.sourced(_put_sources(now, wanted))
        # Both run in one order; the objects of the first that nothing touched later are the beginning of the second.
        untouched = takewhile(lambda c: c.seq == seq, changes(store, dataset, seq - 1, None))
        free = next(untouched, None)
        hindered = len(later)
        for change in changes(store, dataset, seq - 1, seq):
            if free is None or (free.tim_id, free.scenario) != (change.tim_id, change.scenario):
                hindered += 1
                if len(later) < NAMED:
                    later.append(str(change.tim_id))
                continue
            yield from count.said(
                restated(free.tim_id, free.scenario, spans(free.after), spans(free.before), wanted.keys())
            )
            free = next(untouched, None)
        if hindered:
            raise Conflict("history.later", seq=seq, count=hindered, objects=", ".join(later[:NAMED]))
        yield from count.sourced(_drop_sources(now, wanted))

    return _done(store, dataset, operations(), count, author, reason or f"revert {seq}", dry_run=dry_run)


@dataclass(slots=True)
class _Count:
    objects: int = 0
    sources: int = 0

    def said(self, operations: Iterator[Operation]) -> Iterator[Operation]:
        """Operations about one object, passed on."""
        for i, operation in enumerate(operations):
            self.objects += i == 0
            yield operation

    def sourced(self, operations: Iterator[Operation]) -> Iterator[Operation]:
        """Operations about sources, passed on."""
        for operation in operations:
            self.sources += 1
            yield operation


def _done(
    store: ObjectStore, dataset: str, operations: Iterator[Operation], count: _Count, author: str, reason: str, *, dry_run: bool
) -> Undone:  # fmt: skip
    applied = None
    if dry_run:
        for _ in operations:
            pass
    else:
        applied = store.apply(Changeset(dataset, operations, author, reason))
    return Undone(count.objects, count.sources, applied)


def _sources(store: ObjectStore, dataset: str, seq: int | None) -> dict[str, SourceRef]:
    return {ref.key: ref for ref in store.sources(dataset, seq)}


def _digest(sources: dict[str, SourceRef], key: str) -> bytes | None:
    return source_digest(sources[key]) if key in sources else None


def _put_sources(now: dict[str, SourceRef], wanted: dict[str, SourceRef]) -> Iterator[Operation]:
    """Before the objects, which may be from them."""
    return (PutSource(ref) for key, ref in wanted.items() if _digest(now, key) != source_digest(ref))


def _drop_sources(now: dict[str, SourceRef], wanted: dict[str, SourceRef]) -> Iterator[Operation]:
    return (DropSource(key) for key in now if key not in wanted)
