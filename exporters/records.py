"""Versions of objects out of the store, some thousand at a time: however many there are, only those are in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from tim.store import AsOf, Filter, ObjectStore, ObjectVersion

BATCH = 8192
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a dataset goes out."""

    filter: Filter
    """Names its dataset."""
    as_of: AsOf
    versions: Literal["current", "all"] = "current"
    """``all``: every version there ever was, on all lines, of the objects of the dataset; where the filter has conditions, of the objects
    that meet them in any version in force."""


def batches(store: ObjectStore, selection: Selection) -> Iterator[list[ObjectVersion]]:
    """At most :data:`BATCH` at a time, by ``tim_id``; all versions by the changesets that made them. One state, however long it takes."""
    versions = _current(store, selection) if selection.versions == "current" else _all(store, selection)
    while batch := list(islice(versions, BATCH)):
        yield batch


def _current(store: ObjectStore, selection: Selection) -> Iterator[ObjectVersion]:
    cursor: str | None = None
    while True:
        page = store.query(selection.filter, selection.as_of, cursor=cursor, limit=_PAGE)
        yield from page.items
        cursor = page.cursor
        if cursor is None:
            return


def _all(store: ObjectStore, selection: Selection) -> Iterator[ObjectVersion]:
    last = store.seq if selection.as_of.seq is None else selection.as_of.seq
    asked = selection.filter
    assert asked.dataset is not None
    if asked == Filter(dataset=asked.dataset):
        yield from _ever(store, asked.dataset, last)
        return
    found = replace(selection, filter=replace(asked, during=(None, None)), as_of=AsOf(seq=last))
    for version in _current(store, found):
        yield from _until(store.history(version.tim_id), last)


def _ever(store: ObjectStore, dataset: str, last: int) -> Iterator[ObjectVersion]:
    """What each changeset made: also of objects that were taken back altogether, which no query finds."""
    for seq in sorted(record.seq for record in store.log(dataset) if record.seq <= last):
        cursor: str | None = None
        while True:
            page = store.changes(dataset, seq - 1, seq, cursor, _PAGE)
            yield from (version for change in page.items for version in change.after if version.seq == seq)
            cursor = page.cursor
            if cursor is None:
                break


def _until(versions: Iterable[ObjectVersion], last: int) -> Iterator[ObjectVersion]:
    return (version for version in versions if version.seq <= last)
