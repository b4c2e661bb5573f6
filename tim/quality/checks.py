"""All checks over a dataset in the store: one pass, page by page, so that a million objects need no more memory than their heights."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from tim.classes import Registry
from tim.errors import UsageError
from tim.geometry import F64
from tim.model import Dataset, Representation, Stage
from tim.place import Box3
from tim.quality import geometry, records
from tim.quality.findings import CHECKS, EXAMPLES, Finding, Findings, Problem
from tim.quality.record import DatasetRecord, record_of
from tim.shape import FORMAT
from tim.store import Filter, ObjectStore, ObjectVersion

PAGE = 1000
"""Objects that are looked at at once."""
_BYTES = 64 << 20
"""Geometry that is held at once."""
_FEWEST = 20
"""Objects of a class from which on its heights say what is usual."""
_FAR = 6.0
"""Robust standard deviations beyond which a height is an outlier."""
_SIGMA = 1.4826
"""Of a normal distribution, in median absolute deviations."""
_SPREAD, _METRES = 0.1, 10.0
"""The least robust deviation: of the logarithm of heights, and of bases in metres."""
_STAGES = {stage: rank for rank, stage in enumerate(Stage)}


@dataclass(frozen=True, slots=True)
class Report:
    """What the checks of a dataset found."""

    dataset: str
    title: str
    seq: int
    """The store's sequence number it was looked at."""
    objects: int
    checks: Sequence[str]
    """Those that were made."""
    findings: Sequence[Finding]
    record: DatasetRecord | None = None
    """What the dataset says of itself."""

    @property
    def errors(self) -> int:
        """How many there are that are no warnings."""
        return sum(f.count for f in self.findings if f.severity == "error")

    @property
    def warnings(self) -> int:
        """How many only ask for attention."""
        return sum(f.count for f in self.findings if f.severity == "warning")

    def to_json(self) -> dict[str, Any]:
        """JSON-able document; the same for the same content of the store."""
        return {
            "dataset": self.dataset, "title": self.title, "seq": self.seq, "objects": self.objects, "errors": self.errors,
            "warnings": self.warnings, "checks": list(self.checks), "record": self.record.record() if self.record else None,
            "findings": [finding.record() for finding in self.findings],
        }  # fmt: skip


Progress = Callable[[int], None]
"""Called with the number of objects looked at so far."""


def check(
    store: ObjectStore, dataset: str, registry: Registry, checks: Sequence[str] = CHECKS, progress: Progress | None = None
) -> Report:  # fmt: skip
    """Look at every object of a dataset, on the common line and in its scenarios, whenever it is valid (of versions, at the last).

    Raises UsageError ``store.no-dataset`` and, for a check there is not, ``quality.no-check``.
    """
    for name in checks:
        if name not in CHECKS:
            raise UsageError("quality.no-check", name=name, known=", ".join(CHECKS))
    one = store.dataset(dataset)
    run = _Run(store, one, registry, frozenset(checks))
    seq, count = store.seq, 0
    for scenario in ["", *store.scenarios(dataset)]:
        cursor = None
        while True:
            page = store.query(Filter(dataset, scenario=scenario, during=(None, None)), cursor=cursor, limit=PAGE)
            run.look(page.items)
            count += len(page.items)
            if progress is not None:
                progress(count)
            if (cursor := page.cursor) is None:
                break
    run.finish()
    made = [name for name in CHECKS if name in checks and (name != "extent" or run.extent is not None)]
    return Report(one.slug, one.title, seq, count, made, run.findings.all(), run.record)


def duplicates(store: ObjectStore, dataset: str) -> Iterator[tuple[str, UUID, Problem]]:
    """Codes that several current objects of a dataset claim: the code, the first of the objects, and the problem."""
    for code, ids in store.duplicate_codes(dataset):
        said = {"value": code.value, "scheme": code.scheme, "edition": code.edition, "count": len(ids)}
        yield code.value, ids[0], ("quality.duplicate-code", {**said, "objects": ", ".join(map(str, ids[:10]))})


@dataclass(slots=True)
class _Heights:
    """Of the objects of one class."""

    ids: bytearray = field(default_factory=bytearray)
    heights: array[float] = field(default_factory=lambda: array("d"))
    bases: array[float] = field(default_factory=lambda: array("d"))


class _Run:
    def __init__(self, store: ObjectStore, dataset: Dataset, registry: Registry, checks: frozenset[str]) -> None:
        self.store, self.dataset, self.registry, self.checks = store, dataset.slug, registry, checks
        self.record = record_of(dataset)
        self.extent = self.record.extent if self.record else None
        self.findings = Findings()
        self.heights: dict[str, _Heights] = {}
        self.targets: dict[UUID, str] = {}
        """Code of what is wrong with a target, empty for nothing."""

    def note(self, check: str, found: ObjectVersion, code: str, **fields: Any) -> None:
        """One finding of an object."""
        if check in self.checks:
            self.findings.add(check, (code, fields), records.where(found.object), found.tim_id)

    def look(self, items: Sequence[ObjectVersion]) -> None:
        """One page."""
        for item in items:
            for name, (code, fields) in records.problems(item.object, self.registry, self.extent):
                self.note(name, item, code, **fields)
            if item.object.box is not None:
                self.place(item, item.object.box)
            if item.version > 1 and "stages" in self.checks:
                self.stages(item)
        if "relations" in self.checks:
            self.relations(items)
        if "geometry" in self.checks:
            self.geometry(items)

    def finish(self) -> None:
        """What can only be told at the end."""
        if "duplicates" in self.checks:
            for where, tim_id, problem in duplicates(self.store, self.dataset):
                self.findings.add("duplicates", problem, where, tim_id)
        if "heights" in self.checks:
            for class_id in sorted(self.heights):
                self.outliers(class_id, self.heights[class_id])

    def place(self, item: ObjectVersion, box: Box3) -> None:
        """How high it is and where it stands."""
        if "heights" in self.checks:
            one = self.heights.setdefault(item.object.class_id, _Heights())
            one.ids += item.tim_id.bytes
            one.heights.append(box[5] - box[2])
            one.bases.append(box[2])

    def outliers(self, class_id: str, one: _Heights) -> None:
        """Heights and bases far from what is usual in the class. Heights are compared by their ratio: 300 m among houses is a tower, 3000 m is
        a mistake of the unit."""
        heights, bases = np.frombuffer(one.heights), np.frombuffer(one.bases)
        far = np.zeros((2, len(heights)), bool)
        solid = heights > 0
        far[0, solid] = _outlying(np.log(heights[solid]), _SPREAD)
        far[1] = _outlying(bases, _METRES)
        usual = (float(np.median(heights[solid])) if solid.any() else 0.0, float(np.median(bases)))
        for which, code in enumerate(("quality.height", "quality.base")):
            rows = np.flatnonzero(far[which]).tolist()
            ids = [UUID(bytes=bytes(one.ids[16 * at : 16 * at + 16])) for at in rows]
            names = {v.tim_id: records.where(v.object) for v in self.store.read(ids[:EXAMPLES])}
            for at, tim_id in zip(rows, ids, strict=True):
                value = float((heights, bases)[which][at])
                said = {"value": round(value, 3), "usual": round(usual[which], 3), "class": class_id}
                self.findings.add("heights", (code, said), names.get(tim_id, str(tim_id)), tim_id)

    def stages(self, item: ObjectVersion) -> None:
        """Stages of its versions in the order of their validity."""
        now = [
            v for v in self.store.history(item.tim_id) if v.db_to is None and v.object.scenario == item.object.scenario
        ]
        now.sort(key=lambda v: v.object.valid_from or "")
        for before, after in pairwise(now):
            if _STAGES[after.object.stage] < _STAGES[before.object.stage]:
                said = {
                    "before": before.object.stage.value,
                    "after": after.object.stage.value,
                    "date": after.object.valid_from or "–",
                }
                self.note("stages", item, "quality.stage-backwards", **said)

    def relations(self, items: Sequence[ObjectVersion]) -> None:
        """Whether the objects that relations name are there."""
        named = {r.target for item in items for r in item.object.relations}
        new = [target for target in sorted(named) if target not in self.targets]
        there = self.store.standing([target.bytes for target in new]) if new else {}
        fresh = {t: "" if t.bytes in there else self.missing(t) for t in new}
        for item in items:
            for relation in item.object.relations:
                code = fresh.get(relation.target) or self.targets.get(relation.target, "")
                if code:
                    self.note("relations", item, code, kind=relation.kind, target=str(relation.target))
        self.targets.update({target: code for target, code in fresh.items() if code})

    def missing(self, target: UUID) -> str:
        """What is to be said of an object that is not there now on the common line."""
        versions = self.store.history(target)
        if not versions:
            return "quality.no-target"
        return "" if any(v.object.scenario and v.db_to is None for v in versions) else "quality.target-ended"

    def geometry(self, items: Sequence[ObjectVersion]) -> None:
        """The shapes of the objects, as many at once as their bytes allow."""
        wanted = [(item, rep) for item in items for rep in item.object.representations if rep.format == FORMAT]
        while wanted:
            blobs = self.store.get_blobs([rep.content for _, rep in wanted], most=_BYTES)
            done = [pair for pair in wanted if pair[1].content in blobs]
            if not done:
                for item, rep in wanted:
                    self.note("geometry", item, "quality.no-shape", content=rep.content)
                return
            self.shapes(done, blobs)
            wanted = [pair for pair in wanted if pair[1].content not in blobs]

    def shapes(self, pairs: Sequence[tuple[ObjectVersion, Representation]], blobs: dict[str, bytes]) -> None:
        """Some shapes that are there."""
        users: dict[str, list[tuple[ObjectVersion, Representation, bool]]] = {}
        for item, rep in pairs:
            solid = rep.role == "body" and self.solid(item.object.class_id)
            users.setdefault(rep.content, []).append((item, rep, solid))
        wanted = [any(solid for _, _, solid in these) for these in users.values()]
        contents = list(users)
        for number, (code, fields) in geometry.problems([blobs[content] for content in contents], wanted):
            for item, rep, solid in users[contents[number]]:
                if solid or code != "quality.unclosed":
                    self.note("geometry", item, code, lod=rep.lod or "–", content=rep.content, **fields)

    def solid(self, class_id: str) -> bool:
        """Whether bodies of a class enclose a space."""
        found = self.registry.nearest(class_id)
        return found is not None and found.solid


def _outlying(values: F64, least: float) -> NDArray[np.bool_]:
    """bool[n]: values farther from the median than :data:`_FAR` robust deviations; none where there are too few to tell."""
    off = np.abs(values - np.median(values)) if len(values) >= _FEWEST else np.zeros(len(values))
    far: NDArray[np.bool_] = off > _FAR * max(_SIGMA * float(np.median(off)) if len(off) else 0.0, least)
    return far
