"""Deliveries that share a layer: what is another's there, and who of several keeps a key that comes more than once.

An object belongs to the source that its current version is from. A delivery replaces what is its own: of its key, of its path, of a source
it is said to replace (setting ``replaces``), or of none that is still there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from tim.store import ObjectStore

Ids = NDArray[np.bytes_]
"""S16[n]: ``tim_id``, big-endian."""
Numbers = NDArray[np.int32]
NOBODY = -1


@dataclass(frozen=True, slots=True)
class Held:
    """The objects of one scenario that a source has in layers which several share, in columns."""

    ids: Ids
    """Sorted."""
    sources: Numbers
    """int32[n]: indices into ``names``, of which those below ``read`` are deliveries of this run."""
    names: Sequence[str]
    """Source keys: first of the deliveries that are read now, then of others."""
    read: int

    @property
    def foreign(self) -> Ids:
        """Objects of sources that are not read now."""
        return self.ids[self.sources >= self.read]


def held(
    store: ObjectStore, dataset: str, reached: Mapping[tuple[str, str], Collection[str]], read: Mapping[str, str], replaced: Collection[str],
) -> dict[str, Held]:  # fmt: skip
    """What sources have in the layers of a reading, by scenario; nothing is read of layers that only one source has ever given.

    ``reached``: by scenario and layer, the keys of deliveries read now. ``read``: key and path of all of these. ``replaced``: keys of
    sources they replace.
    """
    there = {source.key: source for source in store.sources(dataset) if source.kind == "objects"}
    places = {_place(key, path) for key, path in read.items()}
    free = {key for key, s in there.items() if key not in read and (key in replaced or _place(key, s.uri) in places)}
    names = [*read, *sorted(there.keys() - read.keys() - free)]
    number = {name: i for i, name in enumerate(names)}
    columns: dict[str, list[tuple[Ids, Numbers]]] = {}
    for (scenario, layer), deliveries in reached.items():
        givers = {key for key, source in there.items() if layer in source.options.get("layers", ())} - free
        if not givers or len(givers.union(deliveries)) < 2:
            continue
        # A store of before origins were noted: what the only source has given is its.
        unknown = number[min(givers)] if len(givers) == 1 else NOBODY
        for part in store.origins(dataset, layer, scenario):
            of = np.array([*(number.get(key, NOBODY) for key in part.keys), unknown], np.int32)[part.sources]
            ids = np.ascontiguousarray(part.ids).view("S16")
            columns.setdefault(scenario, []).append((ids[of != NOBODY], of[of != NOBODY]))
    found = {}
    for scenario, parts in columns.items():
        ids, of = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(ids, kind="stable")
        if len(order):
            found[scenario] = Held(ids[order], of[order], names, len(read))
    return found


def _place(key: str, path: str) -> tuple[str, str]:
    """The file, and what of it: the layer of a container."""
    return path, key.partition("#")[2]


def judged(slots: Ids, givers: Numbers, held: Mapping[str, Held]) -> Numbers:
    """Of each record, who has its key: :data:`NOBODY` where the record is taken, otherwise an index into ``Held.names``, or the giver's own.

    ``slots`` as :func:`slot` makes them, ``givers`` the delivery of each record. A source that is not read now keeps what it has; of
    several deliveries the one that has it in the store, otherwise the first; of several records of one delivery the first.
    """
    lost = np.full(len(slots), NOBODY, np.int32)
    holder = np.full(len(slots), NOBODY, np.int32)
    for scenario, there in held.items():
        ids = masked(there.ids, scenario)
        order = np.argsort(ids, kind="stable")
        at = order[np.minimum(np.searchsorted(ids, slots, sorter=order), len(ids) - 1)]
        met = ids[at] == slots
        holder[met] = there.sources[at[met]]
        lost[met] = np.where(there.sources[at[met]] >= there.read, there.sources[at[met]], NOBODY)
    column = np.sort(slots)
    again = np.flatnonzero(np.isin(slots, np.unique(column[1:][column[1:] == column[:-1]])) & (lost == NOBODY))
    order = again[np.lexsort((again, holder[again] != givers[again], np.unique(slots[again], return_inverse=True)[1]))]
    first = np.ones(len(order), bool)
    first[1:] = slots[order][1:] != slots[order][:-1]
    winner = order[np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))]
    lost[order[~first]] = givers[winner[~first]]
    return lost


def slot(name: bytes, scenario: str) -> bytes:
    """16 bytes that two records share only where one would replace the other: id and scenario."""
    return masked(np.frombuffer(name, "S16"), scenario).tobytes() if scenario else name


def masked(ids: Ids, scenario: str) -> Ids:
    """The slots of ids in a scenario."""
    if not scenario:
        return ids
    mask = np.frombuffer(blake2b(scenario.encode(), digest_size=16).digest(), np.uint8)
    column: Ids = (
        np.ascontiguousarray(np.ascontiguousarray(ids).view(np.uint8).reshape(-1, 16) ^ mask).view("S16").ravel()
    )
    return column
