"""What can be asked of an object: a tree of conditions, whatever language it was written in. CQL2 (OGC 21-065r2) reads into it and writes out of it.

What a tree means is the same in every store, and :mod:`tim.query.evaluate` says it in plain Python:

* Logic has three values. What is absent, JSON ``null``, or of another type than it is compared with is *unknown*; only objects of which the
  whole is true are found.
* Numbers compare as IEEE doubles, text by code point, booleans only as equal or not, moments on one time line (a date is its midnight in UTC).
  Text that reads as a moment is one where it meets one.
* A property is one of :data:`PROPERTIES` or the name of an attribute, taken whole; ``attributes.NAME`` names an attribute that is called like
  one of those.
* ``geometry`` is the footprint of an object, its box where it has none, standing from the bottom to the top of its box and no further than
  it; what has no box has no geometry. A condition in three dimensions holds where footprints and heights do. Where one of the two has no
  heights, footprints alone are compared: a building contains a point of the map.
* A relation counts at the moment that is asked for, a code always.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any
from typing import Literal as Choice

PROPERTIES = (
    "id", "class", "name", "layer", "sourceKey", "stage", "version", "validFrom", "validTo", "changed", "codes", "geometry",
)  # fmt: skip
"""Names that are no attributes: what the store itself knows of every object. ``validFrom``, ``validTo`` and ``changed`` (when the database
learned it) are moments, ``version`` a number, ``codes`` the array of all code values, the others text (``id`` as a UUID is written)."""
ATTRIBUTE = "attributes."
"""Before the name of an attribute that is called like one of :data:`PROPERTIES`."""
TIMES = ("validFrom", "validTo", "changed")

FUNCTIONS: dict[str, tuple[str, ...]] = {
    "casei": ("text",),
    "accenti": ("text",),
    "inClass": ("text",),
    "hasCode": ("text", "text"),
    "relatedTo": ("text", "text"),
    "relatedFrom": ("text", "text"),
}
"""Names of functions and the types of their arguments. ``casei`` and ``accenti`` fold case and accents (OGC 21-065r2 §7.3, §7.4).
``inClass('building')``: of this class or one below it. ``hasCode(scheme, value)``: known by a code. ``relatedTo(kind, id)`` and
``relatedFrom(kind, id)``: a relation goes to that object, or comes from it; an empty kind stands for any."""

Comparator = Choice["=", "<>", "<", ">", "<=", ">="]
Operator = Choice["+", "-", "*", "/", "div", "%", "^"]
SPATIAL = ("s_intersects", "s_equals", "s_disjoint", "s_touches", "s_within", "s_overlaps", "s_crosses", "s_contains")
TEMPORAL = (
    "t_after", "t_before", "t_contains", "t_disjoint", "t_during", "t_equals", "t_finishedBy", "t_finishes", "t_intersects", "t_meets",
    "t_metBy", "t_overlappedBy", "t_overlaps", "t_startedBy", "t_starts",
)  # fmt: skip
ARRAYS = ("a_equals", "a_contains", "a_containedBy", "a_overlaps")


@dataclass(frozen=True, slots=True)
class Property:
    """What an object says under a name."""

    name: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A text, a number, or a truth value."""

    value: str | float | bool


@dataclass(frozen=True, slots=True)
class Instant:
    """A date (``2026-11-21``) or a moment in UTC (``2026-11-21T08:00:00[.5]Z``)."""

    text: str


@dataclass(frozen=True, slots=True)
class Interval:
    """From one moment to another, both among it; ``None`` where open. An end that is a property without a value is open as well."""

    start: Expression | None
    end: Expression | None


@dataclass(frozen=True, slots=True)
class Geometry:
    """A geometry in CRS84h (longitude, latitude, and ellipsoidal height in metres where given)."""

    type: str
    """As GeoJSON names it; ``GeometryCollection`` too."""
    coordinates: Any
    """Nested tuples of floats as in GeoJSON; of a collection a tuple of :class:`Geometry`."""


@dataclass(frozen=True, slots=True)
class Box:
    """``west, south, east, north`` or ``west, south, bottom, east, north, top``; west may be east of east (across the antimeridian)."""

    bounds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Array:
    """Values in a row."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function of :data:`FUNCTIONS`."""

    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Two numbers make one; what is not finite, or divides by zero, is unknown."""

    operator: Operator
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more."""

    conditions: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of two or more."""

    conditions: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite; of what is unknown, unknown."""

    condition: Expression


@dataclass(frozen=True, slots=True)
class Compare:
    """Two scalars."""

    operator: Comparator
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Like:
    """A text like a pattern: ``%`` stands for any characters, ``_`` for one, ``\\`` makes the next one plain."""

    value: Expression
    pattern: Expression
    """A text, or a text folded by ``casei`` or ``accenti``."""


@dataclass(frozen=True, slots=True)
class Between:
    """Not below one and not above another number."""

    value: Expression
    low: Expression
    high: Expression


@dataclass(frozen=True, slots=True)
class In:
    """Equal to one of some."""

    value: Expression
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class IsNull:
    """Absent or JSON null. Never unknown."""

    value: Expression


@dataclass(frozen=True, slots=True)
class Spatial:
    """A predicate of :data:`SPATIAL` between two geometries."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Temporal:
    """A predicate of :data:`TEMPORAL` between moments or intervals."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Arrays:
    """A predicate of :data:`ARRAYS` between two arrays, taken as sets (but ``a_equals``: in order)."""

    operator: str
    left: Expression
    right: Expression


Expression = (
    Property | Literal | Instant | Interval | Geometry | Box | Array | Call | Arithmetic
    | And | Or | Not | Compare | Like | Between | In | IsNull | Spatial | Temporal | Arrays
)  # fmt: skip


def parts(expression: Expression) -> list[Expression]:
    """What an expression holds, in order; of a geometry nothing."""
    if isinstance(expression, Geometry):
        return []
    found: list[Any] = []
    for field in fields(expression):
        value = getattr(expression, field.name)
        found += value if isinstance(value, tuple) else (value,)
    return [part for part in found if hasattr(part, "__dataclass_fields__")]


def walk(expression: Expression) -> Iterator[Expression]:
    """An expression and all within it, each before what it holds. Without recursion."""
    waiting = [expression]
    while waiting:
        found = waiting.pop()
        yield found
        waiting += reversed(parts(found))


def attribute_name(name: str) -> str | None:
    """The attribute a property's name stands for; ``None`` where it is one of :data:`PROPERTIES`."""
    if name.startswith(ATTRIBUTE) and name.removeprefix(ATTRIBUTE) in PROPERTIES:
        return name.removeprefix(ATTRIBUTE)
    return None if name in PROPERTIES else name
