"""What query parameters say, read once for all paths: boxes, times, and which parameters there are at all."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request

from server.crs import CRS84H, Crs
from tim.errors import UsageError
from tim.place import Box3

ALWAYS = frozenset({"token", "f"})
"""Parameters that every path takes: a key, and the format, of which there is one."""
OPEN = "x-open-parameters"
"""In a route's ``openapi_extra``: it looks at further parameters itself."""
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)(?:[Tt](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d))?", re.ASCII)
Limit = Annotated[
    int, Query(ge=1, description="At most so many; the server has a limit of its own, to which larger ones are cut")
]
Times = Annotated[
    str | None,
    Query(alias="datetime", description="A moment or an interval: 2026-11-21, 2026-11-21T08:00:00Z, 2020-01-01/2026-11-21, ../2026-11-21, 2020-01-01/.."),
]  # fmt: skip
Moment = Annotated[
    str | None, Query(alias="datetime", description="A moment in the real world: 2026-11-21 or 2026-11-21T08:00:00Z")
]
Reason = Annotated[str, Query(max_length=500, description="Why, for the log")]
Seq = Annotated[int | None, Query(ge=0, le=2**53, description="As the database was after the changeset of this number")]
Scenario = Annotated[str | None, Query(max_length=60, description="A scenario upon the common line")]


def known_parameters(request: Request) -> None:
    """Refuse query parameters that the path does not have (OGC 17-069r4 §7.6). Raises UsageError ``server.no-parameter``."""
    route = request.scope["route"]
    if (route.openapi_extra or {}).get(OPEN):
        return
    known = {parameter.alias for parameter in route.dependant.query_params}
    for name in request.query_params:
        if name not in known and name not in ALWAYS:
            raise no_parameter(name, sorted(known))


def no_parameter(name: str, known: list[str]) -> UsageError:
    """The refusal of a parameter, with those there are."""
    return UsageError("server.no-parameter", name=name[:100], known=", ".join(known) or "-")


def bad(name: str, reason: str) -> UsageError:
    """The refusal of a parameter's value."""
    return UsageError("server.bad-parameter", name=name, reason=reason)


def read_uuid(text: str) -> UUID:
    """An object's id in a path: what is none names nothing. Raises UsageError ``server.no-object``."""
    try:
        return UUID(text)
    except ValueError:
        raise UsageError("server.no-object", id=text[:64]) from None


def scenario_name(text: str) -> str:
    """A scenario's name as it is stored. Raises UsageError ``server.scenario-name``."""
    name = text.strip()
    if not name or len(name) > 60 or any(not c.isprintable() or c in "/\\" for c in name):
        raise UsageError("server.scenario-name", name=name[:60])
    return name


def read_box(text: str | None, crs: Crs = CRS84H) -> Box3 | None:
    """``west,south,east,north`` or with heights after each pair (OGC 17-069r4 §7.15.3), in the axes of a CRS; EPSG:4979 comes of it."""
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
        low, high = (numbers[:2], numbers[2:]) if len(numbers) == 4 else (numbers[:3], numbers[3:])
        if (len(low), len(high)) not in ((2, 2), (3, 3)):
            raise ValueError(text)
    except ValueError:
        raise bad("bbox", "4 or 6 numbers: west,south[,bottom],east,north[,top]") from None
    bottom, top = (low[2], high[2]) if len(low) == 3 else (-1e9, 1e9)
    west, south, east, north = crs.bounds(low[0], low[1], high[0], high[1])
    good = -180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90 and bottom <= top
    if not good:
        raise bad("bbox", "within the Earth; south ≤ north, bottom ≤ top")
    return west, south, bottom, east, north, top


def read_times(text: str | None) -> tuple[str | None, tuple[str | None, str | None] | None]:
    """A moment, or an interval with its ends (OGC 17-069r4 §7.15.4): ``a``, ``a/b``, ``../b``, ``a/..``, where nothing may stand for ``..``.

    A date is its beginning, and as the end of an interval its last moment.
    """
    if text is None:
        return None, None
    start, mark, end = text.partition("/")
    if not mark:
        return _instant(start, text), None
    first, last = (None if part in ("", "..") else _instant(part, text) for part in (start, end))
    if last is not None and "T" not in last:
        last = f"{last}T23:59:59.999999999Z"  # the finest a store tells apart
    return None, (first, last)


def read_moment(text: str | None) -> str | None:
    """A moment. Raises UsageError ``server.bad-datetime``."""
    return None if text is None else _instant(text, text)


def _instant(text: str, whole: str) -> str:
    """A date as it is, an instant (RFC 3339 §5.6) in UTC."""
    match = _INSTANT.fullmatch(text)
    try:
        if match is None:
            raise ValueError(text)
        date, clock, fraction, zone = match.groups()
        told = datetime.fromisoformat(f"{date}T{clock or '00:00:00'}{(zone or 'Z').upper()}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError("server.bad-datetime", value=whole[:100]) from None
    return f"{told.replace(tzinfo=None).isoformat()}{fraction or ''}Z" if clock else str(date)
