"""What every store does alike to answer a condition: what an index can help with, and looking again at what its SQL only comes near to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from tim.place import Box3
from tim.query import solids
from tim.query.evaluate import matches
from tim.query.tree import And, Box, Expression, Geometry, Property, Spatial
from tim.shape import footprint
from tim.store import ObjectVersion


def conjuncts(expression: Expression) -> tuple[Expression, ...]:
    """Conditions all of which hold where the whole does."""
    return expression.conditions if isinstance(expression, And) else (expression,)


def envelope(condition: Spatial) -> Box3 | None:
    """A box that the boxes of objects meet of which the condition holds; ``None`` where it says nothing of the kind. Heights are infinite
    where none are given; west is east of east across the antimeridian."""
    stated = condition.right if isinstance(condition.left, Property) else condition.left
    one_object = isinstance(condition.left, Property) != isinstance(condition.right, Property)
    if condition.operator == "s_disjoint" or not one_object or not isinstance(stated, Box | Geometry):
        return None
    found = solids.literal(stated)
    west, south, east, north = found.bounds
    bottom, top = found.heights or (-math.inf, math.inf)
    return west, south, bottom, east, north, top


def written_id(text: object) -> UUID | None:
    """The id that is written like this; ``None`` where none is."""
    try:
        found = UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if str(found) == text else None


def checked_again(
    batches: Iterable[Sequence[ObjectVersion]], condition: Expression, moment: str | None,
    blobs: Callable[[Iterable[str]], Mapping[str, bytes]], on_time: Callable[[], None],
) -> Iterator[ObjectVersion]:  # fmt: skip
    """Those of some candidates of which a condition holds, the first version of each object. ``blobs`` reads geometry, all of a batch at once
    when it is first asked for; ``on_time`` is called now and then and raises when it takes too long."""
    last: UUID | None = None
    for batch in batches:
        drawn = Footprints(batch, blobs)
        for version in batch:
            on_time()
            if version.tim_id != last and matches(condition, version, drawn, moment) is True:
                last = version.tim_id
                yield version


class Footprints:
    """The footprints of a batch of objects."""

    def __init__(self, batch: Sequence[ObjectVersion], blobs: Callable[[Iterable[str]], Mapping[str, bytes]]) -> None:
        self._batch, self._read = batch, blobs
        self._blobs: Mapping[str, bytes] | None = None

    def __call__(self, version: ObjectVersion) -> Any:
        """A shapely geometry, or ``None``."""
        content = footprint.content(version.object)
        if content is not None and self._blobs is None:
            contents = (footprint.content(other.object) for other in self._batch)
            self._blobs = self._read(found for found in contents if found is not None)
        return footprint.flat(version.object, (self._blobs or {}).get(content or ""))
