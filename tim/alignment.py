"""The same thing from two sources: proposed with a score and its reasons, never merged unasked.

Two objects of different datasets are proposed where

* they share a code (scheme and value, and edition where both state one) that is valid now: score 1;
* or their footprints and heights agree: score = C · (0.7 · F + 0.3 · H), with F the area of the intersection of both footprints over that of
  their union, H the same of their vertical ranges, and C 1 where one class is the other's or below it, 0.8 where they only share the domain, 0
  otherwise. Where either has no height, H is one half: agreement that was not seen earns no full score.

Candidates by geometry are pairs whose boxes do so by :data:`NEAR` at least. Whoever looks at a proposal accepts or rejects it; both become relations
with the score as evidence, and what is related is not proposed again. New deliveries of an object keep what was decided of it (:func:`decided`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from tim.errors import UsageError
from tim.geometry import F64
from tim.model import Code, ObjectRecord, Relation
from tim.place import Box3
from tim.shape.footprint import content, flat
from tim.store import Applied, Changeset, Filter, ObjectStore, ObjectVersion, Outline, Put
from tim.store.canonical import EVER, NEVER, instant

Kind = Literal["represents", "derivedFrom"]
DISTINCT = "distinctFrom"
"""The relation of what was rejected."""
SETTLED = ("represents", "derivedFrom", DISTINCT)
_EVIDENCE = "alignment score"
"""What evidence begins with that was decided here."""
NEAR = 0.1
LEAST = 0.5
CELL = 0.01
"""Degrees: objects are compared by cells of this size, those of a cell at once."""

_FOOTPRINT, _HEIGHT, _UNSEEN, _DOMAIN = 0.7, 0.3, 0.5, 0.8
_FLAT = 0.01
"""Metres: what is no higher has no height."""
_DEPTH = 1e6
_EDGE = 1e-9
"""Degrees: a middle on the edge of a cell may be rounded into either."""
_PAGE = 500
_COLUMNS = round(360 / CELL) + 1


class Reason(NamedTuple):
    """Why two objects may be the same."""

    kind: Literal["code", "footprint", "height", "class"]
    value: str | float
    """The code as ``scheme edition value``; otherwise agreement from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """Two objects that may be the same thing."""

    a: UUID
    b: UUID
    score: float
    """0 to 1."""
    reasons: tuple[Reason, ...]

    @property
    def evidence(self) -> str:
        """As a relation states it."""
        told = (f"{r.kind} {r.value if isinstance(r.value, str) else format(r.value, '.3f')}" for r in self.reasons)
        return "; ".join([f"{_EVIDENCE} {self.score:.3f}", *told])


def propose(store: ObjectStore, a: str, b: str, *, least: float = LEAST) -> Iterator[Proposal]:
    """Pairs of current objects of two datasets with a score of ``least`` at least, each once: those with a common code first, then cell by cell.

    Memory: objects of a cell and what meets them. Raises UsageError ``alignment.same-dataset``, ``store.no-dataset``.
    """
    if a == b:
        raise UsageError("alignment.same-dataset", dataset=a)
    if least <= 1:
        yield from _by_code(store, a, b)
    cells = np.unique(np.concatenate([np.empty(0, np.int64), *(np.unique(_cells(o.boxes)) for o in store.outline(a))]))
    for cell in cells[cells >= 0]:
        yield from _by_place(store, a, b, int(cell), least)


def accept(
    store: ObjectStore, proposal: Proposal, author: str = "", reason: str = "", *, kind: Kind = "represents"
) -> Applied:
    """State that ``a`` represents ``b``, or is derived from it. Raises UsageError ``alignment.gone``."""
    return settle(store, [proposal], (), author, reason or "alignment accepted", kind=kind)


def reject(store: ObjectStore, proposal: Proposal, author: str = "", reason: str = "") -> Applied:
    """State that they are not the same, so that it is not proposed again. Raises as :func:`accept` does."""
    return settle(store, (), [proposal], author, reason or "alignment rejected", why=reason)


def settle(
    store: ObjectStore, accepted: Sequence[Proposal], rejected: Sequence[Proposal], author: str = "", reason: str = "", *,
    kind: Kind = "represents", why: str = "",
) -> Applied:  # fmt: skip
    """Many proposals of the same two datasets, one at least, accepted and rejected in one changeset. ``why``: of those rejected. Raises UsageError
    ``alignment.gone``."""
    stated: dict[UUID, list[Relation]] = {}
    for proposal in accepted:
        stated.setdefault(proposal.a, []).append(Relation(kind, proposal.b, evidence=proposal.evidence))
    for proposal in rejected:
        evidence = f"{proposal.evidence}; rejected{f': {why}' if why else ''}"
        stated.setdefault(proposal.a, []).append(Relation(DISTINCT, proposal.b, evidence=evidence))
    ids = sorted(stated)
    (first,) = _there(store, ids[:1]).values()

    def operations() -> Iterator[Put]:
        for start in range(0, len(ids), _PAGE):
            batch = ids[start : start + _PAGE]
            there = _there(store, [*batch, *(relation.target for i in batch for relation in stated[i])])
            for version in map(there.__getitem__, batch):
                record = version.object
                known = {(relation.kind, relation.target) for relation in record.relations}
                new = (r for r in stated[version.tim_id] if (r.kind, r.target) not in known)
                yield Put(replace(record, relations=(*record.relations, *new)), version.version)

    return store.apply(Changeset(first.dataset, operations(), author, reason or "alignment"))


def best(proposals: Sequence[Proposal], least: float) -> list[Proposal]:
    """Those with a score of ``least`` at least that are the one best of both their objects: what can be accepted together without making two
    things of one."""
    scores: tuple[dict[UUID, list[float]], dict[UUID, list[float]]] = {}, {}
    for proposal in proposals:
        for side, tim_id in zip(scores, (proposal.a, proposal.b), strict=True):
            side.setdefault(tim_id, []).append(proposal.score)

    def first(side: dict[UUID, list[float]], tim_id: UUID, score: float) -> bool:
        return [other for other in side[tim_id] if other >= score] == [score]

    return [
        p for p in proposals if p.score >= least and first(scores[0], p.a, p.score) and first(scores[1], p.b, p.score)
    ]


def decided(store: ObjectStore, dataset: str) -> dict[UUID, list[Relation]]:
    """What was accepted and rejected of the current objects of a dataset, as relations: for those who say anew what an object is. Raises UsageError
    ``store.no-dataset``."""
    found: dict[UUID, list[Relation]] = {}
    for link in store.stated(dataset, SETTLED):
        if link.evidence.startswith(_EVIDENCE):
            found.setdefault(link.source, []).append(Relation(*link[1:]))
    return found


def score(footprint: float, height: float | None, related: float) -> float:
    """The formula above: F, H (``None`` where either has no height) and C."""
    return related * (_FOOTPRINT * footprint + _HEIGHT * (_UNSEEN if height is None else height))


def class_agreement(a: str, b: str) -> float:
    """C of the formula."""
    if f"{a}.".startswith(f"{b}.") or f"{b}.".startswith(f"{a}."):
        return 1.0
    return _DOMAIN if a.partition(".")[0] == b.partition(".")[0] else 0.0


def height_agreement(a: Box3 | F64, b: Box3 | F64) -> float | None:
    """H of the formula, from two boxes."""
    if min(a[5] - a[2], b[5] - b[2]) < _FLAT:
        return None
    return max(0.0, float(min(a[5], b[5]) - max(a[2], b[2]))) / float(max(a[5], b[5]) - min(a[2], b[2]))


def _there(store: ObjectStore, ids: Sequence[UUID]) -> dict[UUID, ObjectVersion]:
    """Objects, all of them. Raises UsageError ``alignment.gone``."""
    found = {version.tim_id: version for version in store.read(list(dict.fromkeys(ids)))}
    if gone := [tim_id for tim_id in ids if tim_id not in found]:
        raise UsageError("alignment.gone", object=str(gone[0]))
    return found


def _by_code(store: ObjectStore, a: str, b: str) -> Iterator[Proposal]:
    for page in _pages(store, Filter(dataset=a)):
        coded = [version for version in page if version.object.codes]
        settled = _settled(store, [version.tim_id for version in coded])
        for version in coded:
            found: dict[UUID, list[Reason]] = {}
            for code in version.object.codes:
                for others in _pages(store, Filter(dataset=b, code=Code(code.scheme, "", code.value))):
                    for other in others:
                        shared = _shared(version.object, other.object)
                        if shared and (version.tim_id, other.tim_id) not in settled:
                            found[other.tim_id] = [Reason("code", text) for text in shared]
            for tim_id, reasons in sorted(found.items()):
                yield Proposal(version.tim_id, tim_id, 1.0, tuple(reasons))


def _by_place(store: ObjectStore, a: str, b: str, cell: int, least: float) -> Iterator[Proposal]:
    """The objects of ``a`` whose middle is in a cell, against what meets them."""
    import shapely

    row, column = divmod(cell, _COLUMNS)
    west, south = column * CELL - 180, row * CELL - 90
    grown = (west - _EDGE, south - _EDGE, west + CELL + _EDGE, south + CELL + _EDGE)
    edges = (max(grown[0], -180.0), max(grown[1], -90.0), -_DEPTH, min(grown[2], 180.0), min(grown[3], 90.0), _DEPTH)
    mine = _gathered(store.outline(a, box=edges))
    mine = mine.chosen(_cells(mine.boxes) == cell)
    turned = mine.around(west)
    low, high = turned.min(axis=0), turned.max(axis=0)
    ends = _wrapped(low[0] + west), _wrapped(high[3] + west)
    if high[3] - low[0] >= 360:
        ends = -180.0, 180.0
    theirs = _gathered(store.outline(b, box=(ends[0], low[1], -_DEPTH, ends[1], high[4], _DEPTH)))
    if not len(theirs.ids):
        return
    flats = [shapely.box(*boxes[:, [0, 1, 3, 4]].T) for boxes in (turned, theirs.around(west))]
    i, j = shapely.STRtree(flats[1]).query(flats[0])
    near = _overlap(flats[0][i], flats[1][j]) >= NEAR
    pairs = [
        (UUID(bytes=mine.ids[m].tobytes()), UUID(bytes=theirs.ids[n].tobytes()))
        for m, n in zip(i[near], j[near], strict=True)
        if (related := class_agreement(mine.classes[m], theirs.classes[n])) > 0.0
        and least <= score(1.0, height_agreement(mine.boxes[m], theirs.boxes[n]), related)
    ]
    settled = _settled(store, list(dict.fromkeys(m for m, _ in pairs)))
    yield from _scored(store, sorted(pair for pair in pairs if pair not in settled), least)


def _scored(store: ObjectStore, pairs: Sequence[tuple[UUID, UUID]], least: float) -> Iterator[Proposal]:
    """Those of some pairs that agree enough. What shares a code was proposed already."""
    for start in range(0, len(pairs), _PAGE):
        batch = pairs[start : start + _PAGE]
        versions = {v.tim_id: v for v in store.read(sorted({i for pair in batch for i in pair}))}
        footprints = _footprints(store, versions)
        for a, b in batch:
            if a not in versions or b not in versions:
                continue
            one, two = versions[a].object, versions[b].object
            if one.box is None or two.box is None or _shared(one, two):
                continue
            area = float(_overlap(footprints[a], footprints[b]))
            height, related = height_agreement(one.box, two.box), class_agreement(one.class_id, two.class_id)
            total = score(area, height, related)
            if area > 0 and total >= least:
                reasons = [Reason("footprint", area), Reason("class", related)]
                if height is not None:
                    reasons.insert(1, Reason("height", height))
                yield Proposal(a, b, total, tuple(reasons))


def _footprints(store: ObjectStore, versions: Mapping[UUID, ObjectVersion]) -> dict[UUID, Any]:
    contents = {tim_id: content(version.object) for tim_id, version in versions.items()}
    blobs = store.get_blobs(name for name in contents.values() if name)
    return {i: flat(version.object, blobs.get(contents[i] or "")) for i, version in versions.items()}


def _overlap(a: Any, b: Any) -> Any:
    """Area of the intersection over that of the union, elementwise; 0 where there is none. Degrees do: both are scaled alike."""
    import shapely

    common = np.nan_to_num(shapely.area(shapely.intersection(a, b)))
    whole = np.nan_to_num(shapely.area(a)) + np.nan_to_num(shapely.area(b)) - common
    return np.divide(common, whole, out=np.zeros_like(np.asarray(whole, np.float64)), where=np.asarray(whole) > 0)


def _shared(a: ObjectRecord, b: ObjectRecord) -> list[str]:
    """Codes of both that are valid now."""
    return [
        " ".join(part for part in (one.scheme, one.edition or two.edition, one.value) if part)
        for one in filter(_valid, a.codes)
        for two in filter(_valid, b.codes)
        if (one.scheme, one.value) == (two.scheme, two.value) and (one.edition == two.edition or not (one.edition and two.edition))
    ]  # fmt: skip


def _settled(store: ObjectStore, ids: Sequence[UUID]) -> set[tuple[UUID, UUID]]:
    """Pairs that were accepted or rejected, whichever of both states it; the object that was asked for first."""
    said = {(link.source, link.target) for link in store.related(ids, SETTLED)}
    return said | {(link.target, link.source) for link in store.related(ids, SETTLED, inverse=True)}


def _valid(code: Code) -> bool:
    now = instant(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), EVER)
    return instant(code.valid_from, EVER) <= now < instant(code.valid_to, NEVER)


def _pages(store: ObjectStore, wanted: Filter) -> Iterator[Sequence[ObjectVersion]]:
    cursor = None
    while True:
        page = store.query(wanted, None, cursor, _PAGE)
        yield page.items
        if (cursor := page.cursor) is None:
            return


def _cells(boxes: F64) -> NDArray[np.int64]:
    """int64[n]: the cell of each box's middle; -1 where there is no box."""
    west, south, east, north = boxes[:, 0], boxes[:, 1], boxes[:, 3], boxes[:, 4]
    middle = _wrapped((west + np.where(east < west, east + 360.0, east)) / 2)
    column, row = np.floor((middle + 180.0) / CELL), np.floor(((south + north) / 2 + 90.0) / CELL)
    return np.where(np.isnan(west), -1, row * _COLUMNS + column).astype(np.int64)


def _wrapped(longitude: Any) -> Any:
    """Within -180 to 180."""
    return (longitude + 180.0) % 360.0 - 180.0


@dataclass(frozen=True, slots=True)
class _Gathered:
    """Objects with boxes, in columns."""

    ids: NDArray[np.void]
    boxes: F64
    classes: NDArray[np.object_]

    def chosen(self, rows: NDArray[np.bool_]) -> _Gathered:
        return _Gathered(self.ids[rows], self.boxes[rows], self.classes[rows])

    def around(self, west: float) -> F64:
        """The boxes with longitudes counted from a meridian near them, so that none is cut."""
        turned = self.boxes.copy()
        turned[:, 0] = _wrapped(self.boxes[:, 0] - west)
        turned[:, 3] = turned[:, 0] + (self.boxes[:, 3] - self.boxes[:, 0]) % 360.0
        return turned


def _gathered(batches: Iterator[Outline]) -> _Gathered:
    found = [_Gathered(o.ids, o.boxes, np.array([*o.class_ids, ""], object)[o.classes]) for o in batches]
    if not found:
        return _Gathered(np.empty(0, "V16"), np.empty((0, 6)), np.empty(0, object))
    return _Gathered(
        np.concatenate([f.ids for f in found]), np.concatenate([f.boxes for f in found]), np.concatenate([f.classes for f in found])
    )  # fmt: skip
