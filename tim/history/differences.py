"""Differences: between two sequence numbers on every line and about all time, or between two moments on one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from tim.errors import UsageError
from tim.history.spans import Span, content, segments, spans
from tim.model import ObjectRecord
from tim.store import AsOf, Change, ObjectStore, ObjectVersion, Outline
from tim.store.canonical import dumps, moment

_PAGE = 1000
_READ = 500


class FieldChange(NamedTuple):
    """One field that differs."""

    name: str
    """``class``, ``name``, ``box``, ``stage``, ``codes``, ``relations``, ``representations``, or ``attributes.NAME``."""
    before: Any
    """``None`` also where there was none."""
    after: Any


@dataclass(frozen=True, slots=True)
class Difference:
    """One object that is said to be otherwise on one line, about one time."""

    tim_id: UUID
    scenario: str
    before: ObjectVersion | None
    after: ObjectVersion | None
    during: tuple[str | None, str | None] | None = None
    """The real-world time it is about, open where ``None``; no time where two moments are compared."""

    @property
    def kind(self) -> Literal["added", "removed", "changed"]:
        """Whether there is something before, after, or both."""
        return "added" if self.before is None else "removed" if self.after is None else "changed"

    @property
    def fields(self) -> tuple[FieldChange, ...]:
        """What differs, where there is something on both sides."""
        if self.before is None or self.after is None:
            return ()
        return fields_changed(self.before.object, self.after.object)


def diff(store: ObjectStore, dataset: str, since: int, until: int | None = None) -> Iterator[Difference]:
    """What changesets after ``since``, up to ``until`` or the newest, made of a dataset: each line of each object, cut by real-world time.

    Streams in the order of the log. What was said again, or said in parts, is no difference. Raises UsageError ``history.no-seq``,
    ``store.no-dataset``.
    """
    last = store.seq if until is None else until
    checked(store, since)
    checked(store, last)
    for change in changes(store, dataset, min(since, last), max(since, last)):
        before, after = spans(change.before), spans(change.after)
        pair = (before, after) if since <= last else (after, before)
        yield from differences(change.tim_id, change.scenario, *pair)


def diff_moments(
    store: ObjectStore, dataset: str, before: AsOf, after: AsOf, scenario: str = ""
) -> Iterator[Difference]:
    """How a line reads at two moments in either time. Validity is no difference by itself: what is there at both and says the same is the same.

    Digests are compared; only objects that differ are read. Memory: 60 bytes per object at the first moment. By ``tim_id`` within batches.
    Raises UsageError ``store.no-dataset``.
    """
    now = store.seq
    before, after = (AsOf(m.valid, now if m.seq is None else m.seq) for m in (before, after))
    ids, digests = _columns(store.outline(dataset, before, scenario))
    order = np.argsort(ids)
    ids, digests = ids[order], digests[order]
    met = np.zeros(len(ids), bool)
    for batch in store.outline(dataset, after, scenario):
        at = np.searchsorted(ids, batch.ids)
        there = at < len(ids)
        there[there] = ids[at[there]] == batch.ids[there]
        met[at[there]] = True
        same = there.copy()
        same[there] = digests[at[there]] == batch.digests[there]
        yield from _read(store, np.sort(batch.ids[~same]), before, after, scenario)
    yield from _read(store, ids[~met], before, after, scenario)


def fields_changed(before: ObjectRecord, after: ObjectRecord) -> tuple[FieldChange, ...]:
    """Which fields two records differ in, attribute by attribute by name; as JSON has it: ``1`` is neither ``1.0`` nor ``true``."""
    pairs: list[tuple[str, Any, Any]] = [
        ("class", before.class_id, after.class_id), ("name", before.name, after.name), ("stage", before.stage.value, after.stage.value),
        ("box", before.box, after.box), ("codes", before.codes, after.codes), ("relations", before.relations, after.relations),
    ]  # fmt: skip
    changed = [FieldChange(*pair) for pair in pairs if pair[1] != pair[2]]
    shapes = [[dumps([*r[:4], dict(r.properties)], "") for r in record.representations] for record in (before, after)]
    if shapes[0] != shapes[1]:
        changed.append(FieldChange("representations", before.representations, after.representations))
    changed += [
        FieldChange(f"attributes.{name}", before.attributes.get(name), after.attributes.get(name))
        for name in sorted({*before.attributes, *after.attributes})
        if _spelled(before.attributes, name) != _spelled(after.attributes, name)
    ]
    return tuple(changed)


def differences(tim_id: UUID, scenario: str, before: Sequence[Span], after: Sequence[Span]) -> Iterator[Difference]:
    """What differs between two readings of one object, by time."""
    digests: dict[int, bytes] = {}

    def said(span: Span | None) -> bytes | None:
        return None if span is None else digests.setdefault(span.version.version, content(span.version))

    for start, end, old, new in segments(before, after):
        if said(old) != said(new):
            during = moment(start), moment(end)
            yield Difference(tim_id, scenario, old and old.version, new and new.version, during)


def changes(store: ObjectStore, dataset: str, since: int, until: int | None) -> Iterator[Change]:
    """All pages of :meth:`ObjectStore.changes`."""
    cursor = None
    while True:
        page = store.changes(dataset, since, until, cursor, _PAGE)
        yield from page.items
        if (cursor := page.cursor) is None:
            return


def checked(store: ObjectStore, seq: int) -> int:
    """A sequence number that there is. Raises UsageError ``history.no-seq``."""
    newest = store.seq
    if not 0 <= seq <= newest:
        raise UsageError("history.no-seq", seq=seq, newest=newest)
    return seq


def _columns(batches: Iterator[Outline]) -> tuple[NDArray[np.void], NDArray[np.void]]:
    columns = [(batch.ids, batch.digests) for batch in batches]
    if not columns:
        return np.empty(0, "V16"), np.empty(0, "V32")
    ids, digests = zip(*columns, strict=True)
    return np.concatenate(ids), np.concatenate(digests)


def _read(store: ObjectStore, ids: NDArray[np.void], before: AsOf, after: AsOf, scenario: str) -> Iterator[Difference]:
    for start in range(0, len(ids), _READ):
        batch = [UUID(bytes=raw.tobytes()) for raw in ids[start : start + _READ]]
        old, new = ({v.tim_id: v for v in store.read(batch, as_of, scenario)} for as_of in (before, after))
        for tim_id in batch:
            yield Difference(tim_id, scenario, old.get(tim_id), new.get(tim_id))


def _spelled(attributes: Mapping[str, Any], name: str) -> str | None:
    return dumps(attributes[name], name) if name in attributes else None
