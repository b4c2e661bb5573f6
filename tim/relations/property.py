"""地-楼-房: the parcel a building stands on, the building a unit is part of, and back; each with its codes."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from tim.relations.walk import Condition, Graph, traverse
from tim.store import AsOf, ObjectStore, ObjectVersion

KINDS = ("partOf", "locatedIn")
"""A unit is ``partOf`` its storey or building, a building ``locatedIn`` its parcel."""
_PARCEL = Condition(("cadastre.parcel",))
_UNIT = Condition(("cadastre.unit", "building.unit"))
_WITHIN = Condition((
    "building.part", "building.storey", "building.room", "building.element", "building.installation",
))  # fmt: skip
"""What is of a building without being one."""
_BUILDING = Condition(("building",))
_HOPS = 6


@dataclass(frozen=True, slots=True)
class Holding:
    """What belongs together, by id. The codes of each are those of its record."""

    parcels: tuple[ObjectVersion, ...]
    buildings: tuple[ObjectVersion, ...]
    units: tuple[ObjectVersion, ...]
    complete: bool
    """False where there are more than were asked for."""


def holding(
    store: ObjectStore, tim_id: UUID, as_of: AsOf | None = None, scenario: str = "", *, limit: int = 10_000
) -> Holding:
    """The parcels, buildings and units above and below one of them, itself among them: of a unit its building and parcel, without its neighbours;
    of a parcel everything on it."""

    def side(direction: str) -> Graph:
        return traverse(
            store, [tim_id], hops=_HOPS, kinds=KINDS, direction="out" if direction == "up" else "in", as_of=as_of, scenario=scenario, limit=limit
        )  # fmt: skip

    up, down = side("up"), side("down")
    met = sorted((node.version for node in {**up.nodes, **down.nodes}.values()), key=lambda v: v.tim_id)
    return Holding(
        tuple(v for v in met if _PARCEL(v)),
        tuple(v for v in met if _BUILDING(v) and not _UNIT(v) and not _WITHIN(v)),
        tuple(v for v in met if _UNIT(v)),
        up.complete and down.complete,
    )
