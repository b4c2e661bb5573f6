"""Planning rules: an area, what it lets be done there, on which basis and since when.

A rule is what an object says that is such an area (a zone, a plot, an envelope): the store keeps the object as it was delivered, and
:mod:`tim.rules.table` says which attributes state what. So a rule has the history of its object, and no copy of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tim.errors import UsageError
from tim.model import Relation
from tim.place import Box3
from tim.rules.area import area_of, content_of
from tim.rules.table import Table, load, parse, shipped
from tim.store import Applied, AsOf, Changeset, Filter, ObjectStore, ObjectVersion, Put

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

__all__ = [
    "Rule",
    "Table",
    "controls",
    "load",
    "parse",
    "rules_at",
    "rules_for",
    "rules_of",
    "shipped",
    "state_controls",
]

_PAGE = 1000
_DEEP, _HIGH = -1e9, 1e9
_EDGE = 2e-8
"""Degrees, some 2 mm: how far the edge of an area may be from where it was drawn."""
_MARK = "rule: "
"""What evidence begins with that :func:`state_controls` wrote."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of one object."""

    kind: str
    """e.g. ``height-limit``; its names are in :attr:`Table.kinds`."""
    parameters: Mapping[str, Any]
    """By name; the unit of a number is in the name and in :attr:`Table.parameters`. Codes are ``{"code", "value"}`` as delivered.
    Empty where the object states that there is such a rule, but not which."""
    unread: Mapping[str, Any]
    """Attributes that should state a number and do not (``"30 m near the road, else 100 m"``): for a person to read."""
    basis: Mapping[str, Any]
    """``notice``, ``custodian``, ``law``, ``decision``, … where the object states them."""
    attributes: Sequence[str]
    """Names of the attributes that the parameters are from."""
    tim_id: UUID
    version: int
    dataset: str
    class_id: str
    name: str
    valid_from: str | None
    valid_to: str | None
    volume: bool = False
    """Whether it holds only within the heights of the object's body."""

    def record(self) -> dict[str, Any]:
        """JSON-able record."""
        return {
            "kind": self.kind, "parameters": dict(self.parameters), "unread": dict(self.unread), "basis": dict(self.basis),
            "attributes": list(self.attributes), "id": str(self.tim_id), "version": self.version, "dataset": self.dataset,
            "class": self.class_id, "name": self.name, "validFrom": self.valid_from, "validTo": self.valid_to,
        }  # fmt: skip


def rules_of(version: ObjectVersion, table: Table | None = None) -> list[Rule]:
    """What an object says as it stands, in the order of the table's kinds."""
    table, record = table or shipped(), version.object
    read = table.read(record.class_id, record.attributes)
    basis = table.read_basis(record.attributes) if read else {}
    return [
        Rule(
            kind, stated.parameters, stated.unread, basis, stated.attributes, version.tim_id, version.version, version.dataset,
            record.class_id, record.name, record.valid_from, record.valid_to, stated.volume,
        )
        for kind, stated in read.items()
    ]  # fmt: skip


def rules_at(
    store: ObjectStore, lon: float, lat: float, day: str | None = None, kinds: Sequence[str] = (), height: float | None = None,
    datasets: Sequence[str] | None = None, as_of_seq: int | None = None, table: Table | None = None, scenario: str = "",
) -> list[Rule]:  # fmt: skip
    """The rules in force at a place (EPSG:4979 degrees) on a day (today where ``None``), by kind, class and object.

    A place on the edge of an area is in it. ``height``: ellipsoidal metres; leaves out rules that hold for a volume above or below it.
    ``kinds``, ``datasets``: all where empty or ``None``. ``as_of_seq``: as the store was then. ``scenario``: upon the common line. Raises
    UsageError ``rules.place``, ``rules.no-kind``, ``store.no-dataset``; StoreError ``store.time``.
    """
    if not (-180 <= lon <= 180 and -90 <= lat <= 90) or not math.isfinite(height or 0.0):
        raise UsageError("rules.place", lon=lon, lat=lat, height=height)
    import shapely

    box, point = (lon, lat, _DEEP, lon, lat, _HIGH), shapely.Point(lon, lat).buffer(_EDGE)
    rules = [
        rule
        for zone, _ in _meeting(store, box, point, kinds, datasets, AsOf(day, as_of_seq), table, scenario)
        for rule in rules_of(zone, table)
        if (not kinds or rule.kind in kinds) and _holds(rule, zone, height)
    ]
    return _ordered(rules, table)


def rules_for(
    store: ObjectStore, tim_id: UUID, day: str | None = None, kinds: Sequence[str] = (), datasets: Sequence[str] | None = None,
    table: Table | None = None, scenario: str = "",
) -> list[Rule]:  # fmt: skip
    """The rules in force on a day whose areas share ground with an object, not merely an edge. ``scenario``: of the object, where it is planned
    in one; rules of the scenario stand upon those of the common line. Raises UsageError ``rules.no-object``, and as :func:`rules_at` does."""
    version = _object(store, tim_id, day, scenario)
    return _ordered([rule for rule, _ in _controlling(store, version, day, kinds, datasets, table)], table)


def controls(
    store: ObjectStore, tim_id: UUID, day: str | None = None, kinds: Sequence[str] = (), datasets: Sequence[str] | None = None,
    table: Table | None = None, scenario: str = "",
) -> list[Relation]:  # fmt: skip
    """What could be stated of an object: ``controlledBy``, one for each area, valid as long as it, with kinds, notice and shared ground as
    evidence. Nothing is written. Raises as :func:`rules_for` does."""
    shares: dict[UUID, list[tuple[Rule, float]]] = {}
    for rule, share in _controlling(store, _object(store, tim_id, day, scenario), day, kinds, datasets, table):
        shares.setdefault(rule.tim_id, []).append((rule, share))
    return [
        Relation("controlledBy", target, found[0][0].valid_from, found[0][0].valid_to, _evidence([rule for rule, _ in found], found[0][1]))
        for target, found in sorted(shares.items())
    ]  # fmt: skip


def state_controls(
    store: ObjectStore, tim_id: UUID, author: str, reason: str = "rules", day: str | None = None, kinds: Sequence[str] = (),
    datasets: Sequence[str] | None = None, table: Table | None = None, scenario: str = "",
) -> Applied:  # fmt: skip
    """Write what :func:`controls` proposes: in place of what was written so before, beside all other relations. Raises Conflict where the
    object changed meanwhile, and as :func:`rules_for` does."""
    version = _object(store, tim_id, day, scenario)
    record = version.object
    kept = [r for r in record.relations if not (r.kind == "controlledBy" and r.evidence.startswith(_MARK))]
    stated = replace(record, relations=(*kept, *controls(store, tim_id, day, kinds, datasets, table, scenario)))
    return store.apply(Changeset(version.dataset, [Put(stated, if_version=version.version)], author, reason))


def _controlling(
    store: ObjectStore, version: ObjectVersion, day: str | None, kinds: Sequence[str], datasets: Sequence[str] | None, table: Table | None,
) -> Iterator[tuple[Rule, float]]:  # fmt: skip
    """Rules whose areas share ground with an object, each with the share of the object's ground."""
    box = version.object.box
    if box is None:
        return
    content = content_of(version)
    ground = area_of(version, store.get_blob(content) if content else None, box[0])
    if ground is None:
        return
    wanted: Box3 = (box[0], box[1], _DEEP, box[3], box[4], _HIGH)
    for zone, area in _meeting(store, wanted, ground, kinds, datasets, AsOf(day), table, version.object.scenario):
        common = area.intersection(ground)
        share = common.area / ground.area if ground.area else 1.0
        if zone.tim_id == version.tim_id or (ground.area and common.buffer(-_EDGE).is_empty):
            continue
        for rule in rules_of(zone, table):
            heights = zone.object.box
            apart = rule.volume and heights is not None and (heights[2] > box[5] or heights[5] < box[2])
            if (not kinds or rule.kind in kinds) and not apart:
                yield rule, share


def _meeting(
    store: ObjectStore, box: Box3, place: BaseGeometry, kinds: Sequence[str], datasets: Sequence[str] | None, as_of: AsOf,
    table: Table | None, scenario: str,
) -> Iterator[tuple[ObjectVersion, BaseGeometry]]:  # fmt: skip
    """Objects that may be rules and whose ground meets a place, with their ground."""
    for class_id in (table or shipped()).classes(kinds):
        for dataset in [None] if datasets is None else sorted(datasets):
            for versions in _pages(
                store, Filter(dataset, box, class_id, scenario=scenario, upon=bool(scenario)), as_of
            ):
                contents = {version.tim_id: content for version in versions if (content := content_of(version))}
                blobs = store.get_blobs(contents.values())
                for version in versions:
                    blob = blobs.get(contents.get(version.tim_id, ""))
                    area = None if blob is None else area_of(version, blob, box[0])
                    if area is not None and area.intersects(place):
                        yield version, area


def _pages(store: ObjectStore, asked: Filter, as_of: AsOf) -> Iterator[Sequence[ObjectVersion]]:
    cursor: str | None = None
    while True:
        page = store.query(asked, as_of, cursor, _PAGE)
        yield page.items
        cursor = page.cursor
        if cursor is None:
            return


def _object(store: ObjectStore, tim_id: UUID, day: str | None, scenario: str) -> ObjectVersion:
    version = store.get(tim_id, AsOf(day), scenario)
    if version is None:
        raise UsageError("rules.no-object", id=str(tim_id))
    return version


def _holds(rule: Rule, version: ObjectVersion, height: float | None) -> bool:
    box = version.object.box
    return height is None or not rule.volume or box is None or box[2] <= height <= box[5]


def _ordered(rules: list[Rule], table: Table | None) -> list[Rule]:
    order = {kind: i for i, kind in enumerate((table or shipped()).kinds)}
    return sorted(rules, key=lambda rule: (order[rule.kind], rule.dataset, rule.class_id, rule.tim_id))


def _evidence(rules: Sequence[Rule], share: float) -> str:
    """Kinds, notice and custodian, and how much of the object's ground, to a tenth of a percent."""
    basis = rules[0].basis
    stated = " ".join(str(basis[name]) for name in ("custodian", "notice") if name in basis)
    return _MARK + "; ".join(filter(None, (", ".join(rule.kind for rule in rules), stated, f"{share:.1%}")))
