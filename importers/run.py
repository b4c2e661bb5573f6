"""``run_import``: do what a plan says, one atomic changeset per dataset, one dataset after another.

Bulk data stays where it is; what is written are objects, references to their sources, and the reasons for what was left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from importers import listed_only
from importers.done import Done, Stamps
from importers.origins import Held, held
from importers.plan import Delivery, Plan, defaults_of
from importers.reading import FINEST, Imported, Reading, fresh
from importers.redelivery import Diff, compare, id_of, uuid_of
from tim.alignment import decided
from tim.errors import SourceError, TimError, UsageError, is_warning
from tim.model import Blob, Dataset, Rejected, dataset_uid
from tim.place import Box3, Frame
from tim.place.resolve import PlaceOptions
from tim.quality.checks import duplicates
from tim.quality.findings import Finding, Findings
from tim.quality.record import record_of
from tim.quality.records import problems, where
from tim.sources import SourceRef
from tim.store import Applied, Changeset, DropSource, ObjectStore, Operation, PutSource, Retire
from tim.store.canonical import validity
from tim.workspace import Workspace


@dataclass(frozen=True, slots=True)
class DatasetImport:
    """What happened to one dataset."""

    dataset: str
    title: str
    kind: str
    made: bool
    """Whether the import made it."""
    seq: int | None
    """The store's sequence number of the changeset; ``None`` where nothing had changed."""
    sources: Mapping[str, int]
    """``added``, ``changed``, ``unchanged``."""
    objects: Mapping[str, int]
    """``created``, ``updated``, ``unchanged``."""
    count: int
    """Points, or what the sources count."""
    rejected: int
    diff: Diff | None = None
    """Against what the dataset had before, where it holds objects and was there."""
    retired: int = 0
    """Of the absent objects of :attr:`diff`."""
    quality: Sequence[Finding] = ()
    """What checks of the records that were read found."""

    def record(self) -> dict[str, Any]:
        """JSON-able record."""
        return {
            "dataset": self.dataset, "title": self.title, "kind": self.kind, "made": self.made, "seq": self.seq,
            "sources": dict(self.sources), "objects": dict(self.objects), "count": self.count, "rejected": self.rejected,
            "diff": self.diff.record() if self.diff else None, "retired": self.retired, "quality": [f.record() for f in self.quality],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did."""

    datasets: Sequence[DatasetImport]
    deliveries: Sequence[Imported]
    rejected: Sequence[Rejected]
    """What could not be taken, which is in the workspace's quarantine as well, and warnings (:func:`tim.errors.is_warning`)."""
    seconds: float

    def record(self) -> dict[str, Any]:
        """JSON-able record."""
        return {
            "datasets": [dataset.record() for dataset in self.datasets],
            "deliveries": [delivery.record() for delivery in self.deliveries],
            "rejected": [TimError(r.code, **r.fields).record() | {"where": r.where} for r in self.rejected],
            "seconds": round(self.seconds, 3),
        }


Listener = Callable[[Delivery, int, int], None]
"""Called with each delivery before it is read, its number from 1, and how many there are."""


def run_import(workspace: Workspace, plan: Plan, progress: Listener | None = None, *, retire: str | None = None) -> ImportReport:  # fmt: skip
    """Import all deliveries of a plan. Killed at any moment, each dataset is as before or as after; what is unchanged changes nothing.

    Deliveries that are in the store already and have not changed since are not read again (:mod:`importers.done`). ``retire``: objects that
    their layer no longer has end at this date (ISO 8601) instead of only being reported.

    A delivery that cannot be read or placed is quarantined where others can; where none can, its refusal is raised (SourceError,
    PlaceError). Those the plan only lists are told by a warning; where it lists nothing else, that is refused. Raises UsageError ``import.kind-differs`` where a dataset exists with another kind.
    """
    began = time.monotonic()
    run = _Run(workspace, plan, progress)
    done: list[DatasetImport] = []
    imported: list[Imported] = []
    rejected = [*plan.left_out, *run.listed]
    failed: list[Reading] = []
    with run.locked(), workspace.store() as store:
        _check_kinds(store, run.ordered)
        for slug, deliveries in run.datasets():
            known = run.known(store, slug, deliveries) if retire is None else {}
            with closing(Reading(slug, dataset_uid(slug, workspace.namespace), run.classes)) as reading:
                run.read(reading, deliveries, known)
                if not reading.deliveries:
                    rejected += reading.rejected
                    failed.append(reading)
                    continue
                result = _apply(store, reading, retire)
            rejected += reading.rejected
            done.append(result)
            imported += reading.deliveries
            # What belongs to no dataset in particular is kept with the first.
            lost = [*(plan.left_out if len(done) == 1 else []), *reading.rejected]
            _quarantine(workspace, reading, lost)
            missing = result.diff.absent - result.retired if result.diff else 0
            contested = reading.contested
            settled = [] if missing else [one for one in reading.deliveries if one.key not in contested]
            Done(workspace, slug).write(store, settled, run.stamps(deliveries))
        refusal = next((reading.refusal for reading in failed if reading.refusal), None)
        if refusal is not None and not done:
            raise refusal
        for reading in failed:
            _quarantine(workspace, reading, reading.rejected)
    return ImportReport(done, imported, rejected, time.monotonic() - began)


def diff_import(workspace: Workspace, plan: Plan, progress: Listener | None = None) -> ImportReport:
    """What :func:`run_import` would do; everything is read, nothing is written. Raises the same."""
    began = time.monotonic()
    run = _Run(workspace, plan, progress)
    found: list[DatasetImport] = []
    readings: list[Reading] = []
    with workspace.store() as store:
        _check_kinds(store, run.ordered)
        for slug, deliveries in run.datasets():
            with closing(Reading(slug, dataset_uid(slug, workspace.namespace), run.classes)) as reading:
                run.read(reading, deliveries, {})
                readings.append(reading)
                if reading.deliveries:
                    found.append(_foreseen(store, reading))
    refusal = next((reading.refusal for reading in readings if reading.refusal), None)
    if refusal is not None and not found:
        raise refusal
    imported = [one for reading in readings for one in reading.deliveries]
    rejected = [*plan.left_out, *run.listed, *(one for reading in readings for one in reading.rejected)]
    return ImportReport(found, imported, rejected, time.monotonic() - began)


def today() -> str:
    """The date in UTC, ISO 8601: when what is no longer delivered ends, unless the user says when."""
    return datetime.now(UTC).date().isoformat()


class _Run:
    """The deliveries of a plan in their order, and what is the same for all."""

    def __init__(self, workspace: Workspace, plan: Plan, progress: Listener | None) -> None:
        self.listed = [_listed(delivery) for delivery in plan.deliveries if not delivery.take]
        if len(self.listed) == len(plan.deliveries):
            raise _nothing(plan)
        self.workspace, self.progress = workspace, progress
        self.ordered = sorted((d for d in plan.deliveries if d.take), key=lambda d: (d.dataset, d.probe.key))
        self.defaults = defaults_of(workspace) if plan.defaults == PlaceOptions() else plan.defaults
        self.classes = workspace.classes()
        self.number = 0
        self._stamps = Stamps(self.defaults)

    def locked(self) -> ExitStack:
        """Be the only one who imports into these datasets."""
        with ExitStack() as locks:
            for slug in sorted({delivery.dataset for delivery in self.ordered}):
                locks.enter_context(self.workspace.lock(f"import-{slug}"))
            return locks.pop_all()

    def datasets(self) -> Iterator[tuple[str, list[Delivery]]]:
        """The deliveries of one dataset after the other."""
        for slug, group in groupby(self.ordered, key=lambda d: d.dataset):
            yield slug, list(group)

    def stamps(self, deliveries: Sequence[Delivery]) -> dict[tuple[str, str], str]:
        """What tells that they are as they were, by format and key."""
        return {(d.probe.format, d.probe.key): self._stamps.of(d) for d in deliveries}

    def known(self, store: ObjectStore, slug: str, deliveries: Sequence[Delivery]) -> dict[tuple[str, str], Imported]:
        """Those that need not be read. A layer is read whole or not at all, so that what is absent from it can be told."""
        if all(dataset.slug != slug for dataset in store.datasets()):
            return {}
        known = Done(self.workspace, slug).of(store, self.stamps(deliveries))
        named = {str(d.settings["layer"]) for d in deliveries if "layer" in d.settings and _name(d) not in known}
        while again := [name for name, one in known.items() if named.intersection(one.layers)]:
            for name in again:
                named.update(known.pop(name).layers)
        return known

    def read(self, reading: Reading, deliveries: Sequence[Delivery], known: Mapping[tuple[str, str], Imported]) -> None:
        """Read what is not known."""
        for delivery in deliveries:
            self.number += 1
            if self.progress is not None:
                self.progress(delivery, self.number, len(self.ordered))
            one = known.get(_name(delivery))
            if one is None:
                reading.take(fresh(delivery), self.defaults)
            else:
                reading.title, reading.kind = reading.title or delivery.title, delivery.probe.kind
                reading.deliveries.append(one)
                reading.rejected += one.rejected


def _quarantine(workspace: Workspace, reading: Reading, lost: Iterable[Rejected]) -> None:
    """Note what was left out now; what earlier runs say of the same deliveries is settled. Those that were not read again are there already."""
    known = {one.key for one in reading.deliveries if one.known}
    kept = (one for one in lost if not is_warning(one.code) and one.source not in known)
    workspace.quarantine.add(reading.dataset, kept, read=reading.renewed, repaired=reading.repaired)


def _listed(delivery: Delivery) -> Rejected:
    """The remark on a delivery that is not to be imported."""
    name = delivery.probe.key or delivery.probe.uri
    remark, _ = listed_only(delivery.probe.format) or ("import.not-taken", "")
    return Rejected(name, remark, {"file": name})


def _nothing(plan: Plan) -> TimError:
    """Why a plan imports nothing."""
    for delivery in plan.deliveries:
        if codes := listed_only(delivery.probe.format):
            return SourceError(codes[1], file=delivery.probe.key or delivery.probe.uri)
    return UsageError("import.empty-plan")


def _name(delivery: Delivery) -> tuple[str, str]:
    return delivery.probe.format, delivery.probe.key


def _check_kinds(store: ObjectStore, deliveries: Sequence[Delivery]) -> None:
    there = {dataset.slug: dataset for dataset in store.datasets()}
    for delivery in deliveries:
        old, kind = there.get(delivery.dataset), delivery.probe.kind
        if old is not None and old.kind != kind:
            suggestion = f"{old.slug}-{kind}"
            raise UsageError("import.kind-differs", dataset=old.slug, kind=old.kind, new=kind, suggestion=suggestion)


def _settings(reading: Reading) -> dict[str, Any]:
    """What a new dataset is told: that it shows a scenario, where all its objects belong to one."""
    scenarios = [scenario for scenario in reading.layers if scenario]
    return {"scenario": scenarios[0]} if len(scenarios) == len(reading.layers) == 1 else {}


def _there(store: ObjectStore, reading: Reading) -> Dataset | None:
    return next((dataset for dataset in store.datasets() if dataset.slug == reading.dataset), None)


def _judge(store: ObjectStore, reading: Reading, old: Dataset | None) -> dict[str, Held]:
    """Let the reading know which of its objects are taken; what others have of its layers, by scenario."""
    read = {key: given.uri for key, given in reading.given.items()}
    replaced = {given.replaces for given in reading.given.values()}
    others = held(store, old.slug, reading.reached, read, replaced) if old and reading.kind == "objects" else {}
    reading.judge(others)
    if old and reading.kind == "objects":
        reading.decided = decided(store, old.slug)
    return others


def _replaced(store: ObjectStore, reading: Reading, old: Dataset | None) -> list[str]:
    """The sources that deliveries are said to replace, and that gave no layer but theirs."""
    named = {given.replaces for given in reading.given.values()} - reading.sources.keys()
    layers = set().union(*reading.layers.values())
    there = store.sources(old.slug) if old and any(named) else []
    return [s.key for s in there if s.key in named and layers.issuperset(s.options.get("layers", ()))]


def _diffs(store: ObjectStore, dataset: Dataset, reading: Reading, others: Mapping[str, Held]) -> dict[str, Diff]:
    """By scenario, what a dataset of objects has and what the reading has of the same layers."""
    return {
        scenario: compare(
            store, dataset, reading.objects(scenario), layers, scenario, others[scenario].foreign if scenario in others else None
        )
        for scenario, layers in sorted(reading.layers.items())
    }  # fmt: skip


def _apply(store: ObjectStore, reading: Reading, retire: str | None) -> DatasetImport:
    """Write one dataset: itself if it is new, then its changeset."""
    old = _there(store, reading)
    dataset = old or Dataset(
        reading.dataset, reading.title, reading.kind, reading.uid,
        frame_around(reading.box, reading.step if reading.kind == "points" else FINEST), settings=_settings(reading),
    )  # fmt: skip
    others = _judge(store, reading, old)
    diffs = _diffs(store, dataset, reading, others) if old else {}
    states = _states(store, reading, old)
    replaced = _replaced(store, reading, old)
    told_anew = list(_told_anew(store, reading)) if old else []
    before = store.seq
    quality, said = Findings(), record_of(old) if old else None
    extent = said.extent if said else None
    coded = False

    def operations() -> Iterator[Operation]:
        nonlocal coded
        for key in sorted(reading.sources):
            yield PutSource(reading.sources[key])
        for key in replaced:
            yield DropSource(key)
        for tim_id, scenario in told_anew:
            yield Retire(tim_id, scenario=scenario)
        for item in reading.items(reading.rejected.append):
            if isinstance(item, Blob):
                store.put_blob(item.data)
            else:
                coded |= bool(item.object.codes)
                for check, problem in problems(item.object, reading.classes, extent):
                    quality.add(check, problem, where(item.object), id_of(item.object, reading.uid))
                yield item
        if retire is not None:
            for scenario, diff in diffs.items():
                for name in diff.absent_ids:
                    yield Retire(uuid_of(name), valid_to=retire, scenario=scenario)

    if not (reading.sources or reading.records or (retire and diffs)):
        applied = Applied(before, "", 0, 0, 0, 0, ())
    else:
        applied = store.apply(Changeset(dataset.slug, operations(), reason="import", make=None if old else dataset))
    if coded and applied.seq != before:
        for name, tim_id, problem in duplicates(store, dataset.slug):
            quality.add("duplicates", problem, name, tim_id)
    known = [one for one in reading.deliveries if one.known]
    total = reading.taken + sum(one.objects for one in known)
    return DatasetImport(
        dataset.slug, dataset.title, dataset.kind, old is None, applied.seq if applied.seq != before else None,
        states | {"unchanged": states["unchanged"] + sum(one.sources for one in known)},
        {"created": applied.created, "updated": applied.updated, "unchanged": total - applied.created - applied.updated},
        sum(one.count for one in reading.deliveries), len(reading.rejected), _sum(diffs), applied.retired - len(told_anew),
        quality.all(),
    )  # fmt: skip


def _told_anew(store: ObjectStore, reading: Reading) -> Iterator[tuple[UUID, str]]:
    """Objects, and in which scenario, of which the delivery has several versions for the time of one that is there: a changeset can divide
    a version only once, so all that is there of them makes room."""
    for (tim_id, scenario), spans in reading.versions.items():
        for version in store.history(tim_id):
            if version.db_to is None and version.object.scenario == scenario:
                start, end = validity(version.object.valid_from, version.object.valid_to, version.object.source_key)
                if sum(since < end and start < until for since, until in spans) > 1:
                    yield tim_id, scenario
                    break


def _foreseen(store: ObjectStore, reading: Reading) -> DatasetImport:
    """What :func:`_apply` would do."""
    old = _there(store, reading)
    others = _judge(store, reading, old)
    diff = _sum(_diffs(store, old, reading, others)) if old else None
    if reading.taken < reading.records:
        for _ in reading.items(reading.rejected.append):
            pass
    objects = {"created": reading.taken, "updated": 0, "unchanged": 0}
    if diff is not None:
        objects = {"created": diff.created, "updated": diff.changed, "unchanged": diff.unchanged}
    return DatasetImport(
        reading.dataset, reading.title, reading.kind, old is None, None, _states(store, reading, old), objects,
        sum(one.count for one in reading.deliveries), len(reading.rejected), diff,
    )  # fmt: skip


def _sum(diffs: Mapping[str, Diff]) -> Diff | None:
    total: Diff | None = None
    for diff in diffs.values():
        total = diff if total is None else total + diff
    return total


def _states(store: ObjectStore, reading: Reading, old: Dataset | None) -> dict[str, int]:
    """How many sources are ``added``, ``changed``, ``unchanged``."""
    known = {source.key: source for source in store.sources(reading.dataset)} if old else {}
    states = [_state(known.get(key), source) for key, source in reading.sources.items()]
    return {state: states.count(state) for state in ("added", "changed", "unchanged")}


def _state(old: SourceRef | None, new: SourceRef) -> str:
    """A source is unchanged where only its path or its times differ: the store notes those without making history."""
    if old is None:
        return "added"
    same = replace(new, uri=old.uri, fingerprint=replace(new.fingerprint, mtime_ns=old.fingerprint.mtime_ns))
    return "unchanged" if old.record() == same.record() else "changed"


def frame_around(box: Box3 | None, step: float) -> Frame:
    """The frame in the middle of an EPSG:4979 box (west exceeds east across the antimeridian): 1e-5 degree and a metre are enough to be stable."""
    west, south, bottom, east, north, top = box or (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    lon = (west + (east if east >= west else east + 360)) / 2
    lon = lon - 360 if lon > 180 else lon
    return Frame(round(lon, 5), round((south + north) / 2, 5), float(round((bottom + top) / 2)), step)
