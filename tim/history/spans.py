"""Rectangles of one object on one line: laid upon each other, and what to say so that a line reads as it should."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

from tim.model import ObjectRecord, Stage
from tim.store import ObjectVersion, Operation, Put, Retire
from tim.store.canonical import canonical, moment, validity


class Span(NamedTuple):
    """What a version says, or a part of it."""

    start: str
    """Sort key (:func:`tim.store.canonical.instant`)."""
    end: str
    version: ObjectVersion

    def record(self, scenario: str) -> ObjectRecord:
        """As it is said on a line."""
        return replace(self.version.object, scenario=scenario, valid_from=moment(self.start), valid_to=moment(self.end))


def spans(versions: Iterable[ObjectVersion]) -> list[Span]:
    """Versions of one line that were in force at once, by validity."""
    found = [Span(*validity(v.object.valid_from, v.object.valid_to, str(v.tim_id)), v) for v in versions]
    return sorted(found, key=lambda span: span.start)


def content(version: ObjectVersion) -> bytes:
    """The digest of what a version says, on whichever line and about whatever time."""
    record = version.object
    return canonical(replace(record, scenario="") if record.scenario else record, _NOWHERE).digest


def overlaid(below: Sequence[Span], above: Sequence[Span]) -> list[Span]:
    """What a scenario (``above``) makes of the common line: its word where it has one, nothing where it retires."""
    rest = list(below)
    for span in above:
        rest = [part for other in rest for part in _without(other, span.start, span.end)]
    return sorted([*rest, *(s for s in above if s.version.object.stage is not Stage.RETIRED)], key=lambda s: s.start)


def segments(before: Sequence[Span], after: Sequence[Span]) -> Iterator[tuple[str, str, Span | None, Span | None]]:
    """The times in which two lines of one object say something, cut wherever either changes its word."""
    ends = sorted({end for span in (*before, *after) for end in span[:2]})
    for start, end in itertools.pairwise(ends):
        pair = [next((s for s in line if s.start <= start and end <= s.end), None) for line in (before, after)]
        if any(pair):
            yield start, end, pair[0], pair[1]


def restated(
    tim_id: UUID, scenario: str, now: Sequence[Span], wanted: Sequence[Span], sources: Collection[str]
) -> Iterator[Operation]:
    """What to say of an object on a line that reads as ``now``, so that it reads as ``wanted``.

    Nothing where it does already; the new words alone where what they leave of the old ones is wanted; else all is taken back and said anew, as
    a changeset cannot touch what it made itself. What replaces one version only names it (``if_version``). ``sources``: keys in force.
    """
    stated = [(s.start, s.end, content(s.version)) for s in now]
    aim = [(s.start, s.end, content(s.version)) for s in wanted]
    if stated == aim:
        return
    new = [span for span, said in zip(wanted, aim, strict=True) if said not in stated]
    if not _puts_do(stated, aim):
        yield retired(tim_id, scenario, now)
        new, now = list(wanted), []
    for span in new:
        replaced = [s.version.version for s in now if s.start < span.end and span.start < s.end]
        source = span.version.source if span.version.source in sources else ""
        seen = replaced[0] if len(replaced) == 1 else 0 if not now and span is new[0] else None
        yield Put(span.record(scenario), seen, source)


def retired(tim_id: UUID, scenario: str, now: Sequence[Span]) -> Retire:
    """The end of an object on a line."""
    return Retire(tim_id, if_version=now[0].version.version if len(now) == 1 else None, scenario=scenario)


_NOWHERE = UUID(int=0)
_Said = tuple[str, str, bytes]


def _puts_do(stated: Sequence[_Said], aim: Sequence[_Said]) -> bool:
    """Whether the new words, each put on its own, leave what is wanted, and none of them touches what another one left."""
    state = dict.fromkeys(stated, True)
    for start, end, digest in (said for said in aim if said not in stated):
        for old in [said for said in state if said[0] < end and start < said[1]]:
            if not state.pop(old):
                return False
            for left, right in ((old[0], start), (end, old[1])):
                if left < right:
                    state[left, right, old[2]] = False
        state[start, end, digest] = False
    return sorted(state) == sorted(aim)


def _without(span: Span, start: str, end: str) -> Iterator[Span]:
    """What is left of a span outside a time."""
    if end <= span.start or span.end <= start:
        yield span
        return
    for left, right in ((span.start, start), (end, span.end)):
        if left < right:
            yield span._replace(start=left, end=right)
