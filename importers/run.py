"""``run_import``: do what a plan says, one atomic changeset per dataset.

Bulk data stays where it is; what is written are objects, references to their sources, and the reasons for what was left out.
"""

from __future__ import annotations

import math
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import numpy as np

from importers import ImportContext, Probe, importer, layer_of
from importers.plan import Delivery, Plan, defaults_of, place_of
from tim.errors import CorruptSource, PlaceError, SourceError, TimError, UsageError, is_warning
from tim.model import Blob, Dataset, ObjectRecord, Rejected, dataset_uid
from tim.place import Box3, Frame, Place
from tim.place.resolve import PlaceOptions
from tim.sources import SourceRef
from tim.store import Changeset, ObjectStore, Operation, Put, PutSource
from tim.workspace import Workspace

FINEST, COARSEST = 2.0**-10, 2.0**-5
"""Metres: the lattice of a point cloud is no finer and no coarser, whatever its file says."""
_SPOOL = 16 << 20


@dataclass(frozen=True, slots=True)
class Imported:
    """What one delivery gave, and where it lies."""

    key: str
    uri: str
    dataset: str
    sources: int
    place: Place

    def record(self) -> dict[str, Any]:
        """JSON-able record with the placing report."""
        return {
            "key": self.key,
            "uri": self.uri,
            "dataset": self.dataset,
            "sources": self.sources,
            "place": self.place.report(),
        }


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

    def record(self) -> dict[str, Any]:
        """JSON-able record."""
        return {
            "dataset": self.dataset, "title": self.title, "kind": self.kind, "made": self.made, "seq": self.seq,
            "sources": dict(self.sources), "objects": dict(self.objects), "count": self.count, "rejected": self.rejected,
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


def run_import(workspace: Workspace, plan: Plan, progress: Listener | None = None) -> ImportReport:
    """Import all deliveries of a plan. Killed at any moment, each dataset is as before or as after; what is unchanged changes nothing.

    A delivery that cannot be read or placed is quarantined where others can; where none can, its refusal is raised (SourceError,
    PlaceError). Raises UsageError ``import.kind-differs`` where a dataset exists with another kind.
    """
    began = time.monotonic()
    if not plan.deliveries:
        raise UsageError("import.empty-plan")
    ordered = sorted(plan.deliveries, key=lambda d: (d.dataset, d.probe.key))
    reads: list[_Reading] = []
    defaults = defaults_of(workspace) if plan.defaults == PlaceOptions() else plan.defaults
    with ExitStack() as locks:
        for slug in sorted({delivery.dataset for delivery in ordered}):
            locks.enter_context(workspace.lock(f"import-{slug}"))
        try:
            number = 0
            for slug, group in groupby(ordered, key=lambda d: d.dataset):
                reading = _Reading(slug, dataset_uid(slug, workspace.namespace))
                reads.append(reading)
                for delivery in group:
                    number += 1
                    if progress is not None:
                        progress(delivery, number, len(ordered))
                    reading.take(_fresh(delivery), defaults)
            refusal = next((reading.refusal for reading in reads if reading.refusal), None)
            if refusal is not None and not any(reading.deliveries for reading in reads):
                raise refusal
            with workspace.store() as store:
                _check_kinds(store, reads)
                datasets = [_apply(store, reading) for reading in reads if reading.deliveries]
        finally:
            for reading in reads:
                reading.spool.close()
        rejected = list(plan.left_out)
        for number, reading in enumerate(reads):
            # What belongs to no dataset in particular is kept with the first.
            lost = [*([] if number else plan.left_out), *reading.rejected]
            workspace.quarantine.add(reading.dataset, (one for one in lost if not is_warning(one.code)))
            rejected += reading.rejected
    imported = [one for reading in reads for one in reading.deliveries]
    return ImportReport(datasets, imported, rejected, time.monotonic() - began)


@dataclass(slots=True)
class _Reading:
    """What the deliveries of one dataset gave; objects wait in a file, so that their number does not matter."""

    dataset: str
    uid: UUID
    title: str = ""
    kind: str = ""
    deliveries: list[Imported] = field(default_factory=list)
    sources: dict[str, SourceRef] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    refusal: TimError | None = None
    records: int = 0
    """Objects."""
    box: Box3 | None = None
    step: float = COARSEST
    spool: IO[bytes] = field(default_factory=lambda: tempfile.SpooledTemporaryFile(_SPOOL))  # noqa: SIM115 - closed by run_import

    def take(self, delivery: Delivery, defaults: PlaceOptions) -> None:
        """Read one delivery, or note why not."""
        self.title, self.kind = self.title or delivery.title, delivery.probe.kind
        found = delivery.probe
        problems = {(p.where, p.code): p for p in found.problems}
        try:
            if found.fatal:
                first = found.problems[0]
                raise CorruptSource(first.code, **first.fields)
            place = place_of(found, delivery.place, defaults, delivery.settings)
            before = len(self.sources)
            for item in importer(found.format).read(found, _context(delivery, place, self.uid)):
                self.keep(item, problems)
            losses = [problem for problem in problems.values() if not is_warning(problem.code)]
            if len(self.sources) == before and losses:
                raise CorruptSource(losses[0].code, **losses[0].fields)
        except (SourceError, PlaceError) as error:
            where = found.key or found.uri
            problems.setdefault((where, error.code), Rejected(where, error.code, error.fields))
            self.refusal = self.refusal or error
        else:
            self.deliveries.append(Imported(found.key, found.uri, self.dataset, len(self.sources) - before, place))
            self.step = min(self.step, _step(found, place))
        self.rejected += problems.values()

    def keep(self, item: ObjectRecord | Blob | SourceRef | Rejected, problems: dict[tuple[str, str], Rejected]) -> None:
        """One record of an importer."""
        match item:
            case Rejected():
                problems.setdefault((item.where, item.code), item)
            case SourceRef():
                if item.key in self.sources:
                    raise UsageError(
                        "import.key-twice",
                        dataset=self.dataset,
                        key=item.key,
                        first=self.sources[item.key].uri,
                        second=item.uri,
                    )
                self.sources[item.key] = item
                self.box = _union(self.box, item.box)
            case Blob():
                pickle.dump(item, self.spool)
            case ObjectRecord():
                pickle.dump(item, self.spool)
                self.records += 1
                if item.box is not None:
                    self.box = _union(self.box, item.box)

    def objects(self) -> Iterator[ObjectRecord | Blob]:
        """The objects and blobs, in the order they were read."""
        self.spool.seek(0)
        while True:
            try:
                yield pickle.load(self.spool)
            except EOFError:
                return


def _context(delivery: Delivery, place: Place, dataset: UUID) -> ImportContext:
    """What the importer needs besides the probe. Bulk data has one layer; objects have one per delivery, unless the user names it."""
    layer = layer_of(delivery.probe) if delivery.probe.kind == "objects" else ""
    return ImportContext(place, str(delivery.settings.get("layer", layer)), delivery.settings, dataset)


def _fresh(delivery: Delivery) -> Delivery:
    """A delivery of a written plan is looked at again: the file may not be what it was."""
    if delivery.fresh:
        return delivery
    planned = delivery.probe
    uri = str(Path(planned.uri).absolute())
    again = importer(planned.format).probe(Path(uri), planned.key)
    found = next((p for p in again if str(Path(p.uri).absolute()) == uri and p.kind == planned.kind), None)
    if found is None:
        gone = Rejected(planned.key or uri, "import.gone", {"path": uri, "format": planned.format})
        return replace(delivery, probe=replace(planned, problems=(gone,), fatal=True))
    return replace(delivery, probe=replace(found, uri=uri))


def _check_kinds(store: ObjectStore, reads: Sequence[_Reading]) -> None:
    there = {dataset.slug: dataset for dataset in store.datasets()}
    for reading in reads:
        old = there.get(reading.dataset)
        if old is not None and old.kind != reading.kind:
            raise UsageError(
                "import.kind-differs",
                dataset=old.slug,
                kind=old.kind,
                new=reading.kind,
                suggestion=f"{old.slug}-{reading.kind}",
            )


def _apply(store: ObjectStore, reading: _Reading) -> DatasetImport:
    """Write one dataset: itself if it is new, then its changeset."""
    old = next((dataset for dataset in store.datasets() if dataset.slug == reading.dataset), None)
    known = {source.key: source for source in store.sources(reading.dataset)} if old else {}
    states = {key: _state(known.get(key), source) for key, source in reading.sources.items()}
    dataset = old or Dataset(
        reading.dataset, reading.title, reading.kind, reading.uid,
        frame_around(reading.box, reading.step if reading.kind == "points" else FINEST),
    )  # fmt: skip

    def operations() -> Iterator[Operation]:
        for key in sorted(reading.sources):
            yield PutSource(reading.sources[key])
        for item in reading.objects():
            if isinstance(item, Blob):
                store.put_blob(item.data)
            else:
                yield Put(item)

    before = store.seq
    applied = store.apply(Changeset(dataset.slug, operations(), reason="import", make=None if old else dataset))
    return DatasetImport(
        dataset.slug, dataset.title, dataset.kind, old is None, applied.seq if applied.seq != before else None,
        {state: sum(s == state for s in states.values()) for state in ("added", "changed", "unchanged")},
        {"created": applied.created, "updated": applied.updated, "unchanged": reading.records - applied.created - applied.updated},
        sum(source.count for source in reading.sources.values()), len(reading.rejected),
    )  # fmt: skip


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


def _step(found: Probe, place: Place) -> float:
    """The lattice of a point cloud: the largest power of two metres not above its scale, within bounds."""
    scale = found.options.get("scale")
    if scale is None or found.low is None:
        return FINEST
    low, steps = np.array(found.low), np.diag(np.array(scale, dtype=np.float64) * 1000)
    at = place.to_ecef(np.vstack([low, low + steps]))
    metres = float(np.linalg.norm(at[1:] - at[0], axis=1).min()) / 1000
    # A map's scale factor is a matter of 0.1 %: a file of 1/1024 m is one, also where its projection shortens it.
    power: float = 2.0 ** math.floor(math.log2(metres * 1.01))
    return min(max(power, FINEST), COARSEST)


def _union(a: Box3 | None, b: Box3) -> Box3:
    """The smallest box around both; west exceeds east where it crosses the antimeridian."""
    if a is None:
        return b
    width, start = min(
        (max((box[0] - west) % 360 + (box[3] - box[0]) % 360 for box in (a, b)), west) for west in (a[0], b[0])
    )
    east = start + width
    return (
        start, min(a[1], b[1]), min(a[2], b[2]), east - 360 if east > 180 else east, max(a[4], b[4]), max(a[5], b[5]),
    )  # fmt: skip
