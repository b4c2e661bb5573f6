"""The same thing delivered again: what of it is new, changed, as before, and what is no longer there.

Records are compared by the digest a store keeps of each version, so the objects of a layer are two columns of 48 bytes each and
only what differs is looked at field by field.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from importers.origins import Ids
from tim.model import Dataset, ObjectRecord, derived_id
from tim.store import ObjectStore
from tim.store.canonical import canonical, dumps, validity

SAMPLES = 10
"""Objects named per kind of difference; all are counted."""
_LOOKED_AT = 10_000
"""Changed objects whose fields are compared; more are only counted."""
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Sample:
    """One object that differs."""

    tim_id: UUID
    layer: str
    key: str
    name: str
    fields: tuple[str, ...] = ()
    """What differs, where it is changed: ``name``, ``box``, ``attributes.floors``, ``representations.body``, …"""

    def record(self) -> dict[str, Any]:
        """JSON-able record."""
        return {
            "tim_id": str(self.tim_id), "layer": self.layer, "key": self.key, "name": self.name, "fields": list(self.fields),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Diff:
    """A delivery against what the store has of the same layers."""

    created: int
    changed: int
    unchanged: int
    absent: int
    """Objects of these layers that are there now and that the delivery no longer has; those of other sources are not among them."""
    fields: Mapping[str, int]
    """How many of the changed objects differ in a field; of the first 10,000 of them."""
    samples: Mapping[str, Sequence[Sample]]
    """By ``created``, ``changed``, ``absent``: the first few."""
    absent_ids: Ids = field(compare=False, repr=False)

    def __add__(self, other: Diff) -> Diff:
        """Of two scenarios together."""
        fields = Counter(self.fields) + Counter(other.fields)
        samples = {kind: [*found, *other.samples[kind]][:SAMPLES] for kind, found in self.samples.items()}
        return Diff(
            self.created + other.created, self.changed + other.changed, self.unchanged + other.unchanged, self.absent + other.absent,
            _most_first(fields), samples, np.concatenate([self.absent_ids, other.absent_ids]),
        )  # fmt: skip

    def record(self) -> dict[str, Any]:
        """JSON-able record; the ids of the absent ones stay out of it."""
        return {
            "created": self.created, "changed": self.changed, "unchanged": self.unchanged, "absent": self.absent,
            "fields": dict(self.fields), "samples": {kind: [s.record() for s in found] for kind, found in self.samples.items()},
        }  # fmt: skip


def compare(
    store: ObjectStore, dataset: Dataset, objects: Iterable[ObjectRecord], layers: Collection[str], scenario: str = "",
    foreign: Ids | None = None,
) -> Diff:  # fmt: skip
    """Compare objects with what a dataset has in these layers: now, or at the time a version is given for. Those of ``foreign`` are not missed.

    Raises StoreError where a record cannot be kept at all.
    """
    known, digests = _known(store, dataset.slug, layers, scenario)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    seen = bytearray()
    tally = _Tally(store, dataset.uid, scenario)
    for record in objects:
        ours = canonical(record, dataset.uid)
        seen += ours.tim_id.bytes
        name = ours.tim_id.bytes.rstrip(b"\0")
        at = int(np.searchsorted(known, np.bytes_(name)))
        standing = at < len(known) and known[at] == name
        if not standing and ours.valid_from <= now < ours.valid_to:
            tally.create(record, ours.tim_id)
        elif not standing or digests[at].tobytes() != ours.digest or record.valid_from or record.valid_to:
            tally.look_at(record, ours.tim_id)
        else:
            tally.unchanged += 1
    tally.look()
    absent = np.setdiff1d(known, np.frombuffer(bytes(seen), "S16"))
    absent = absent if foreign is None else np.setdiff1d(absent, foreign)
    for version in store.read([uuid_of(i) for i in absent[:SAMPLES]], scenario=scenario):
        tally.sample("absent", version.object, version.tim_id)
    fields = _most_first(tally.fields)
    return Diff(tally.created, tally.changed, tally.unchanged, len(absent), fields, tally.samples, absent)


def differences(old: ObjectRecord, new: ObjectRecord, dataset: UUID) -> tuple[str, ...]:
    """The names of the fields in which two records of one object differ, as a store would keep them; attributes and representations one by one."""
    a, b = canonical(old, dataset), canonical(new, dataset)
    names = [
        name
        for name in ("class_id", "name", "box", "stage", "valid_from", "valid_to", "codes", "relations")
        if getattr(a, name) != getattr(b, name)
    ]
    if a.attributes != b.attributes:
        names += [
            f"attributes.{key}"
            for key in sorted({*old.attributes, *new.attributes})
            if (key in old.attributes) != (key in new.attributes)
            or dumps([old.attributes.get(key)], key) != dumps([new.attributes.get(key)], key)
        ]
    shapes = [{(r.role, r.lod): r for r in record.representations} for record in (old, new)]
    for role, lod in sorted({*shapes[0], *shapes[1]}):
        if shapes[0].get((role, lod)) != shapes[1].get((role, lod)):
            names.append(f"representations.{role}{f'.{lod}' if lod else ''}")
    return tuple(names)


def id_of(record: ObjectRecord, dataset: UUID) -> UUID:
    """The ``tim_id`` a record has or gets."""
    return record.tim_id or derived_id(dataset, record.layer, record.source_key)


def uuid_of(name: np.bytes_) -> UUID:
    """An id of a column; numpy leaves zeros at the end away."""
    return UUID(bytes=bytes(name).ljust(16, b"\0"))


def _known(store: ObjectStore, dataset: str, layers: Collection[str], scenario: str) -> tuple[Ids, NDArray[np.void]]:
    """Ids, sorted, and digests of what there is now."""
    ids, digests = [np.empty(0, "S16")], [np.empty(0, "V32")]
    for layer in sorted(layers):
        for outline in store.outline(dataset, scenario=scenario, layer=layer):
            ids.append(np.ascontiguousarray(outline.ids).view("S16"))
            digests.append(outline.digests)
    column = np.concatenate(ids)
    order = np.argsort(column, kind="stable")
    return column[order], np.concatenate(digests)[order]


def _most_first(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@dataclass(slots=True)
class _Tally:
    """Counts and samples; what may have changed is looked at in batches."""

    store: ObjectStore
    dataset: UUID
    scenario: str
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    fields: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[Sample]] = field(default_factory=lambda: {"created": [], "changed": [], "absent": []})
    waiting: list[tuple[UUID, ObjectRecord]] = field(default_factory=list)

    def look_at(self, record: ObjectRecord, tim_id: UUID) -> None:
        """Compare this one field by field, soon."""
        if self.changed >= _LOOKED_AT:
            self.changed += 1
            return
        self.waiting.append((tim_id, record))
        if len(self.waiting) == _BATCH:
            self.look()

    def look(self) -> None:
        """Compare what waits."""
        there = self.store.read([tim_id for tim_id, _ in self.waiting], scenario=self.scenario)
        standing = {version.tim_id: version.object for version in there}
        for tim_id, record in self.waiting:
            old = self.before(standing.get(tim_id), tim_id, record)
            if old is None:
                self.create(record, tim_id)
                continue
            names = differences(old, record, self.dataset)
            if not names:
                self.unchanged += 1
                continue
            self.changed += 1
            self.fields.update(names)
            self.sample("changed", record, tim_id, names)
        self.waiting.clear()

    def before(self, standing: ObjectRecord | None, tim_id: UUID, record: ObjectRecord) -> ObjectRecord | None:
        """What the store says of the time of a record: what stands now, else the last in force that meets it."""
        start, end = validity(record.valid_from, record.valid_to, record.source_key)

        def meets(known: ObjectRecord) -> bool:
            since, until = validity(known.valid_from, known.valid_to, known.source_key)
            return since < end and start < until

        if standing is not None and meets(standing):
            return standing
        history = (
            v.object for v in self.store.history(tim_id) if v.db_to is None and v.object.scenario == self.scenario
        )
        return max((o for o in history if meets(o)), key=lambda o: o.valid_from or "", default=None)

    def create(self, record: ObjectRecord, tim_id: UUID) -> None:
        """Note one that is new."""
        self.created += 1
        self.sample("created", record, tim_id)

    def sample(self, kind: str, record: ObjectRecord, tim_id: UUID, names: tuple[str, ...] = ()) -> None:
        """Note one of the first few."""
        if len(self.samples[kind]) < SAMPLES:
            self.samples[kind].append(Sample(tim_id, record.layer, record.source_key, record.name, names))
