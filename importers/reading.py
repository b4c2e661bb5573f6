"""What the deliveries of one dataset give when they are read: objects wait in a file, so that their number does not matter."""

from __future__ import annotations

import math
import pickle
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import numpy as np

from importers import ImportContext, Probe, importer, layer_of, settled
from importers.origins import NOBODY, Held, Numbers, judged, slot
from importers.plan import Delivery, place_of
from importers.redelivery import id_of
from tim.classes import Registry
from tim.errors import CorruptSource, PlaceError, SourceError, TimError, UsageError, is_warning
from tim.model import Blob, ObjectRecord, Rejected, Relation, Stage
from tim.place import Box3, Place, boxes
from tim.place.resolve import PlaceOptions
from tim.sources import SourceRef
from tim.store import Put
from tim.store.canonical import validity

FINEST, COARSEST = 2.0**-10, 2.0**-5
"""Metres: the lattice of a point cloud is no finer and no coarser, whatever its file says."""
_SPOOL = 16 << 20
_NAMED = 1000
"""Records of one delivery whose keys another has that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What one delivery gave, and where it lies."""

    key: str
    format: str
    uri: str
    dataset: str
    sources: int
    objects: int
    count: int
    """Points, or what the sources count."""
    layers: tuple[str, ...]
    """Of its objects, where it is of kind ``objects``."""
    place: Place
    rejected: tuple[Rejected, ...] = field(default=(), compare=False)
    known: bool = False
    """Whether it was imported before, has not changed since, and was not read again."""

    def record(self) -> dict[str, Any]:
        """JSON-able record with the placing report."""
        return {
            "key": self.key, "format": self.format, "uri": self.uri, "dataset": self.dataset, "sources": self.sources, "objects": self.objects,
            "known": self.known, "place": self.place.report(),
        }  # fmt: skip


@dataclass(slots=True)
class Reading:
    """One dataset's deliveries, read one after another; a context that gives the waiting objects up."""

    dataset: str
    uid: UUID
    classes: Registry
    kind: str = ""
    title: str = ""
    deliveries: list[Imported] = field(default_factory=list)
    sources: dict[str, SourceRef] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    refusal: TimError | None = None
    records: int = 0
    """Objects."""
    layers: dict[str, set[str]] = field(default_factory=dict)
    """By scenario: the layers whose objects were read whole."""
    reached: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """By scenario and layer: the keys of the deliveries whose objects go there, also of those that broke off."""
    box: Box3 | None = None
    step: float = COARSEST
    ids: bytearray = field(default_factory=bytearray)
    given: dict[str, Given] = field(default_factory=dict)
    """What was read, by key."""
    lost: Numbers = field(default_factory=lambda: np.empty(0, np.int32))
    """Of each record, :func:`importers.origins.judged`, once :meth:`judge` was asked to."""
    names: Sequence[str] = ()
    """What ``lost`` counts in."""
    versions: dict[tuple[UUID, str], list[tuple[str, str]]] = field(default_factory=dict)
    """By object and scenario, of those with several records that are taken: when each is valid, as sort keys."""
    decided: Mapping[UUID, Sequence[Relation]] = field(default_factory=dict)
    """Relations of objects on the common line that people decided on, which no delivery states (:func:`tim.alignment.decided`)."""
    spool: IO[bytes] = field(default_factory=lambda: tempfile.SpooledTemporaryFile(_SPOOL))  # noqa: SIM115 - closed by close

    def close(self) -> None:
        """Give the waiting objects up."""
        self.spool.close()

    def take(self, delivery: Delivery, defaults: PlaceOptions) -> None:
        """Read one delivery, or note why not."""
        self.title, self.kind = self.title or delivery.title, delivery.probe.kind
        found = delivery.probe
        problems = {(p.where, p.code): p for p in found.problems}
        self.given[found.key] = Given(found.uri, self.records, str(delivery.settings.get("replaces", "")))
        try:
            if found.fatal:
                first = found.problems[0]
                raise CorruptSource(first.code, **first.fields)
            place = place_of(found, delivery.place, defaults, delivery.settings)
            one = _One(found.key, str(delivery.settings.get("scenario", "")))
            said = _said(delivery.settings)
            for item in importer(found.format).read(found, _context(delivery, place, self)):
                self.keep(said(item) if isinstance(item, ObjectRecord) else item, problems, one)
            losses = [problem for problem in problems.values() if not is_warning(problem.code)]
            if not one.sources and losses:
                raise CorruptSource(losses[0].code, **losses[0].fields)
        except (SourceError, PlaceError) as error:
            where = found.key or found.uri
            problems.setdefault((where, error.code), Rejected(where, error.code, error.fields))
            self.refusal = self.refusal or error
            own = _of(found.key, problems.values())
        else:
            own = _of(found.key, problems.values())
            layers = {layer for layers in one.layers.values() for layer in layers}
            self.deliveries.append(
                Imported(
                    found.key, found.format, found.uri, self.dataset, one.sources, one.objects, one.count,
                    tuple(sorted(layers)), place, own,
                )
            )  # fmt: skip
            for scenario, names in one.layers.items():
                self.layers.setdefault(scenario, set()).update(names)
            self.step = min(self.step, _step(found, place))
        self.rejected += own

    def keep(
        self, item: ObjectRecord | Blob | SourceRef | Rejected, problems: dict[tuple[str, str], Rejected], one: _One
    ) -> None:
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
                one.sources += 1
                one.count += item.count
                self.box = boxes.union(self.box, item.box)
                if item.kind == "objects":
                    one.layers.setdefault(one.scenario, set()).update(item.options.get("layers", ()))
            case Blob():
                pickle.dump(item, self.spool)
            case ObjectRecord():
                pickle.dump(item, self.spool)
                self.records += 1
                self.ids += slot(id_of(item, self.uid).bytes, item.scenario)
                one.objects += 1
                if self.kind == "objects":
                    self.reached.setdefault((item.scenario, item.layer), set()).add(one.key)
                    one.layers.setdefault(item.scenario, set()).add(item.layer)
                if item.box is not None:
                    self.box = boxes.union(self.box, item.box)

    @property
    def renewed(self) -> set[str]:
        """Keys of the deliveries that were read, and of those that they are said to replace."""
        return {name for key, given in self.given.items() for name in (key, given.replaces) if name}

    @property
    def repaired(self) -> set[str]:
        """What was quarantined once, and the deliveries give repaired."""
        return {where for source in self.sources.values() for where in source.options.get("repairs", ())}

    @property
    def taken(self) -> int:
        """Objects of which none else has the key."""
        return int((self.lost == NOBODY).sum())

    @property
    def contested(self) -> set[str]:
        """Keys of the deliveries of which another has objects."""
        givers, keys = self._givers(), list(self.given)
        return {keys[giver] for giver in np.unique(givers[(self.lost != NOBODY) & (self.lost != givers)])}

    def judge(self, held: Mapping[str, Held]) -> None:
        """Tell which records are taken, knowing what others have (:func:`importers.origins.held`)."""
        self.names = next((one.names for one in held.values()), list(self.given))
        self.lost = judged(np.frombuffer(bytes(self.ids), "S16"), self._givers(), held)
        self._tell_versions()

    def items(self, lost: Callable[[Rejected], None] = lambda _: None) -> Iterator[Put | Blob]:
        """The objects that :meth:`judge` lets be taken, with their sources, and blobs, in the order they were read.

        ``lost`` is told what has a key that another delivery has (the first, then how many more), or one that its own has given already.
        """
        givers = self._givers()
        keys = list(self.given)
        counts: Counter[tuple[int, int]] = Counter()
        number = -1
        for item in self._waiting():
            if isinstance(item, Blob):
                yield item
                continue
            number += 1
            giver, other = int(givers[number]), int(self.lost[number])
            if other == NOBODY:
                if self.decided and not item.scenario:
                    item = _upheld(item, self.decided.get(id_of(item, self.uid), ()))
                yield Put(item, source=keys[giver] if self.kind == "objects" and keys[giver] in self.sources else "")
                continue
            where = f"{item.layer}#{item.source_key}" if item.layer else item.source_key
            said = {"key": item.source_key, "layer": item.layer or "-"}
            if other == giver:
                dated = item.valid_from or item.valid_to
                code = "import.versions-overlap" if dated else "import.object-twice"
                lost(Rejected(where, code, said, keys[giver]))
                continue
            counts[giver, other] += 1
            if counts[giver, other] <= _NAMED:
                said |= {"first": self.names[other], "second": keys[giver]}
                lost(Rejected(where, "import.object-of-other", said, keys[giver]))
        for (giver, other), count in counts.items():
            if count > _NAMED:
                more = {"count": count - _NAMED, "first": self.names[other], "second": keys[giver]}
                lost(Rejected(keys[giver], "import.objects-of-other", more, keys[giver]))

    def objects(self, scenario: str) -> Iterator[ObjectRecord]:
        """The objects of one scenario that are taken."""
        return (item.object for item in self.items() if isinstance(item, Put) and item.object.scenario == scenario)

    def _tell_versions(self) -> None:
        """Records that one delivery has of one object and that are valid at different times are versions of it: all are taken."""
        givers, slots = self._givers(), np.frombuffer(bytes(self.ids), "S16")
        several = np.isin(slots, np.unique(slots[(self.lost != NOBODY) & (self.lost == givers)]))
        if not several.any():
            return
        spans: dict[tuple[UUID, str], list[tuple[str, str]]] = {}
        records = (item for item in self._waiting() if isinstance(item, ObjectRecord))
        for number, record in enumerate(records):
            if several[number] and self.lost[number] in (NOBODY, givers[number]):
                start, end = validity(record.valid_from, record.valid_to, record.source_key)
                given = spans.setdefault((id_of(record, self.uid), record.scenario), [])
                free = all(end <= since or until <= start for since, until in given)
                self.lost[number] = NOBODY if free else givers[number]
                given += [(start, end)] if free else []
        self.versions = {key: given for key, given in spans.items() if len(given) > 1}

    def _waiting(self) -> Iterator[ObjectRecord | Blob]:
        """What was read, from the beginning."""
        self.spool.seek(0)
        while True:
            try:
                yield pickle.load(self.spool)
            except EOFError:
                return

    def _givers(self) -> Numbers:
        """Of each record, the number of its delivery."""
        starts = [one.start for one in self.given.values()]
        return np.repeat(np.arange(len(starts), dtype=np.int32), np.diff([*starts, self.records]))


@dataclass(frozen=True, slots=True)
class Given:
    """A delivery that was read."""

    uri: str
    start: int
    """The number of its first object."""
    replaces: str
    """Key of the source whose objects are its, where it is said to replace one."""


@dataclass(slots=True)
class _One:
    """What is known of the delivery that is being read."""

    key: str
    scenario: str
    sources: int = 0
    objects: int = 0
    count: int = 0
    layers: dict[str, set[str]] = field(default_factory=dict)


def _upheld(record: ObjectRecord, decided: Sequence[Relation]) -> ObjectRecord:
    """A record that states, beside its own, what was decided of the object."""
    stated = {(relation.kind, relation.target) for relation in record.relations}
    more = tuple(relation for relation in decided if (relation.kind, relation.target) not in stated)
    return replace(record, relations=(*record.relations, *more)) if more else record


def _of(key: str, problems: Iterable[Rejected]) -> tuple[Rejected, ...]:
    """The problems of one delivery, with its key."""
    return tuple(replace(one, source=key) for one in problems)


def fresh(delivery: Delivery) -> Delivery:
    """A delivery of a written plan is looked at again: the file may not be what it was."""
    if delivery.fresh:
        return delivery
    planned = delivery.probe
    uri = str(Path(planned.uri).absolute())
    again = importer(planned.format).probe(Path(uri), planned.key)
    same = [p for p in again if str(Path(p.uri).absolute()) == uri and p.kind == planned.kind]
    # One file may hold several deliveries, each with a key of its own.
    found = next((p for p in same if p.key == planned.key), same[0] if len(same) == 1 else None)
    if found is None:
        gone = Rejected(planned.key or uri, "import.gone", {"path": uri, "format": planned.format})
        return replace(delivery, probe=replace(planned, problems=(gone,), fatal=True))
    return replace(delivery, probe=settled(replace(found, uri=uri), delivery.settings))


def _context(delivery: Delivery, place: Place, reading: Reading) -> ImportContext:
    """What the importer needs besides the probe. Bulk data has one layer; objects have one per delivery, unless the user names it."""
    layer = layer_of(delivery.probe) if delivery.probe.kind == "objects" else ""
    return ImportContext(
        place, str(delivery.settings.get("layer", layer)), delivery.settings, reading.uid, reading.classes
    )


def _said(settings: Mapping[str, Any]) -> Callable[[ObjectRecord], ObjectRecord]:
    """What the user says about all objects of a delivery, where its records say nothing themselves."""
    scenario, stage = str(settings.get("scenario", "")), settings.get("stage")
    if not scenario and stage is None:
        return lambda record: record

    def said(record: ObjectRecord) -> ObjectRecord:
        staged = Stage(stage) if stage is not None and record.stage is Stage.SURVEYED else record.stage
        return replace(record, scenario=record.scenario or scenario, stage=staged)

    return said


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
