"""Scenarios as branches: what one would change, making it so, letting it go. A scenario needs nothing but its name to be made.

What a scenario says stands upon the common line; a version of :attr:`tim.model.Stage.RETIRED` says that the object is not there in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from uuid import UUID

from tim.errors import Conflict, UsageError
from tim.history.differences import Difference, differences
from tim.history.spans import Span, overlaid, restated, retired, spans
from tim.history.undoing import NAMED
from tim.store import Applied, AsOf, Changeset, Filter, ObjectStore, ObjectVersion, Operation
from tim.store.canonical import EVER, moment

_FIRST = "0000-01-01"
"""The first moment that can be written."""


def compare(store: ObjectStore, dataset: str, scenario: str) -> Iterator[Difference]:
    """What a scenario adds to the common line, changes in it and takes from it, by time. Streams in the order of ids.

    Raises UsageError ``history.no-scenario`` naming those there are.
    """
    for tim_id, versions in _objects(store, dataset, scenario):
        common, own = _lines(versions, scenario)
        yield from differences(tim_id, scenario, common, overlaid(common, own))


def conflicts(store: ObjectStore, dataset: str, scenario: str) -> Iterator[UUID]:
    """Objects whose common line changed after the scenario said its word of them, about a time it speaks of."""
    return (
        tim_id
        for tim_id, versions in _objects(store, dataset, scenario)
        if _overtaken(store, tim_id, versions, scenario)
    )


def adopt(
    store: ObjectStore, dataset: str, scenario: str, author: str = "", reason: str = "", *, skip: bool = False
) -> Applied:
    """Put what a scenario says onto the common line and end the scenario, in one changeset: afterwards the common line reads as the scenario
    upon it did.

    Raises Conflict ``history.overtaken`` naming objects whose common line changed since the scenario said its word of them; with ``skip`` these
    stay in the scenario. Raises UsageError ``history.no-scenario``.
    """

    def operations() -> Iterator[Operation]:
        sources = {ref.key for ref in store.sources(dataset)}
        overtaken: list[UUID] = []
        count = 0
        for tim_id, versions in _objects(store, dataset, scenario):
            if _overtaken(store, tim_id, versions, scenario):
                count += 1
                overtaken += [tim_id] * (count <= NAMED)
                continue
            common, own = _lines(versions, scenario)
            yield from restated(tim_id, "", common, overlaid(common, own), sources)
            yield retired(tim_id, scenario, own)
        if count and not skip:
            raise Conflict(
                "history.overtaken", scenario=scenario, count=count, objects=", ".join(str(i) for i in overtaken)
            )

    return store.apply(Changeset(dataset, operations(), author, reason or f"adopt {scenario}"))


def drop(store: ObjectStore, dataset: str, scenario: str, author: str = "", reason: str = "") -> Applied:
    """End a scenario; its history stays. Raises UsageError ``history.no-scenario``."""

    def operations() -> Iterator[Operation]:
        for tim_id, versions in _objects(store, dataset, scenario):
            yield retired(tim_id, scenario, _lines(versions, scenario)[1])

    return store.apply(Changeset(dataset, operations(), author, reason or f"drop {scenario}"))


def _objects(store: ObjectStore, dataset: str, scenario: str) -> Iterator[tuple[UUID, Sequence[ObjectVersion]]]:
    """The objects a scenario says something of, with all their versions."""
    known = store.scenarios(dataset)
    if scenario not in known:
        names = ", ".join(islice(known, 20)) or "-"
        raise UsageError("history.no-scenario", scenario=scenario, dataset=dataset, known=names)
    wanted = Filter(dataset=dataset, scenario=scenario, during=(None, None))
    cursor = None
    while True:
        page = store.query(wanted, None, cursor)
        for found in page.items:
            yield found.tim_id, store.history(found.tim_id)
        if (cursor := page.cursor) is None:
            return


def _lines(versions: Sequence[ObjectVersion], scenario: str) -> tuple[list[Span], list[Span]]:
    """What is in force on the common line, and in the scenario."""
    common, own = (
        spans(v for v in versions if v.db_to is None and v.object.scenario == line) for line in ("", scenario)
    )
    return common, own


def _overtaken(store: ObjectStore, tim_id: UUID, versions: Sequence[ObjectVersion], scenario: str) -> bool:
    common, own = _lines(versions, scenario)
    for word in own:
        if any(s.version.seq > word.version.seq and _meet(s, word) for s in common):
            return True
        gone = spans(v for v in versions if v.db_to is not None and not v.object.scenario and v.seq <= word.version.seq)
        for span in gone:
            # Whether it was still in force when the scenario spoke; then it went afterwards.
            if _meet(span, word):
                at = AsOf(_FIRST if span.start == EVER else moment(span.start), word.version.seq)
                then = store.get(tim_id, at)
                if then is not None and then.version == span.version.version:
                    return True
    return False


def _meet(a: Span, b: Span) -> bool:
    return a.start < b.end and b.start < a.end
