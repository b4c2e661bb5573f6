"""The life of one object: its stages over real-world time, and who said so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from tim.history.spans import content, spans
from tim.model import Stage
from tim.store import ChangesetRecord, ObjectStore, ObjectVersion


@dataclass(frozen=True, slots=True)
class LifeStage:
    """A stage of an object, about a time."""

    stage: Stage
    valid_from: str | None
    valid_to: str | None
    version: ObjectVersion
    """The version in force."""
    changeset: ChangesetRecord
    """The one that said so first, without anybody having said otherwise since."""


def life(store: ObjectStore, tim_id: UUID, scenario: str = "") -> list[LifeStage]:
    """The stages of an object on a line, by real-world time; versions of one stage that follow each other are told one by one. Empty where
    there is no such object."""
    versions = [v for v in store.history(tim_id) if v.object.scenario == scenario]
    now = [span.version for span in spans(v for v in versions if v.db_to is None)]
    if not now:
        return []
    said = [_first_said(version, versions) for version in now]
    made = store.changesets({v.seq for v in said})
    return [
        LifeStage(v.object.stage, v.object.valid_from, v.object.valid_to, v, made[first.seq])
        for v, first in zip(now, said, strict=True)
    ]


def _first_said(version: ObjectVersion, versions: Iterable[ObjectVersion]) -> ObjectVersion:
    """Back along versions that said the same about a wider time: they were cut where something else was said about a part of it."""
    ((start, end, _),) = spans([version])
    older = [span for span in spans(versions) if span.start <= start and end <= span.end]
    while True:
        same = [
            span.version
            for span in older
            if span.version.seq < version.seq
            and span.version.db_to == version.db_from
            and content(span.version) == content(version)
        ]
        if not same:
            return version
        version = max(same, key=lambda v: v.version)
