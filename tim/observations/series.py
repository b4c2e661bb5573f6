"""Series and readings: what they are, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tim.errors import UsageError
from tim.observations.chunks import F64, I64

BEGINNING = -62_135_596_800_000_000
"""0001-01-01, µs."""
END = 253_402_300_800_000_000
"""10000-01-01, the first moment that cannot be told, µs."""


@dataclass(frozen=True, slots=True)
class Link:
    """Where readings are that are not kept here."""

    url: str
    """Absolute, without user or password."""
    protocol: str
    """How they are asked for: ``sta`` (OGC SensorThings), ``opc-ua``, ``mqtt``, ``influx``, …"""


@dataclass(frozen=True, slots=True)
class Series:
    """What is observed of an object."""

    tim_id: UUID
    name: str
    """Among the object's series, e.g. ``water_level``: up to 100 printable characters, no slash."""
    unit: str = ""
    """UCUM, e.g. ``m``, ``Cel``, ``m3/h``."""
    kind: Literal["number", "boolean"] = "number"
    """Of a boolean series all values are 0, 1 or gaps."""
    title: Mapping[str, str] = field(default_factory=dict)
    """``en`` and ``zh``, either may be absent."""
    link: Link | None = None
    """A series with a link has no readings here."""


class Reading(NamedTuple):
    """One reading."""

    time: int
    value: float


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings in the order of time."""

    times: I64
    """int64[n], µs UTC."""
    values: F64
    """float64[n]; NaN is a gap."""

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True)
class Buckets:
    """Readings summed up in equal spans of time, each from its edge to before the next."""

    edges: I64
    """int64[n + 1], µs UTC."""
    count: I64
    """int64[n]: readings that are no gaps."""
    minimum: F64
    """float64[n], as those below; NaN where there are none."""
    maximum: F64
    mean: F64
    first: F64
    last: F64


def check(series: Series) -> None:
    """Raise UsageError ``observations.series`` naming what of it cannot be."""
    texts = {"name": (series.name, 100), "unit": (series.unit, 40)}
    texts |= {f"title.{language}": (text, 200) for language, text in series.title.items()}
    if series.link is not None:
        texts |= {"link.url": (series.link.url, 2000), "link.protocol": (series.link.protocol, 40)}
    for what, (text, most) in texts.items():
        if not isinstance(text, str) or len(text) > most or not text.isprintable() or text != text.strip():
            raise UsageError("observations.series", what=what, value=str(text)[:100])
    if not series.name or "/" in series.name or set(series.title) - {"en", "zh"}:
        raise UsageError(
            "observations.series", what="title" if series.name and "/" not in series.name else "name", value=series.name
        )
    if series.kind not in ("number", "boolean"):
        raise UsageError("observations.series", what="kind", value=series.kind)
    if series.link is not None:
        try:
            parts = urlsplit(series.link.url)
            good = bool(parts.scheme and parts.hostname and "@" not in parts.netloc and series.link.protocol)
        except ValueError:
            good = False
        if not good:
            raise UsageError("observations.link", series=series.name)


def readings(name: str, times: ArrayLike, values: ArrayLike) -> tuple[I64, F64]:
    """Readings as they are kept, in the order given. Raises UsageError."""
    clock, column = _times(name, times), _values(name, values)
    if clock.shape != column.shape:
        raise UsageError("observations.lengths", series=name, times=len(clock), values=len(column))
    return clock, column


def _times(name: str, times: ArrayLike) -> I64:
    given = _array(name, times, "observations.times")
    if not given.size:
        return np.empty(0, np.int64)
    if given.dtype.kind == "M":
        years = given.astype("datetime64[Y]").astype(np.int64) + 1970
        outside = np.flatnonzero((years < 1) | (years > 9999))
        if outside.size:
            raise UsageError("observations.times", series=name, index=int(outside[0]), value=str(given[outside[0]]))
        return given.astype("datetime64[us]").astype(np.int64)
    if given.dtype.kind not in "iu":
        raise UsageError("observations.times", series=name, index=0, value=str(given[0])[:100])
    outside = np.flatnonzero((given < BEGINNING) | (given >= END))
    if outside.size:
        raise UsageError("observations.times", series=name, index=int(outside[0]), value=str(given[outside[0]]))
    return given.astype(np.int64)


def _values(name: str, values: ArrayLike) -> F64:
    given = _array(name, values, "observations.values")
    try:
        column = given.astype(np.float64) if given.dtype.kind in "biufO" else None
    except (TypeError, ValueError, OverflowError):
        column = None
    if column is None:
        raise UsageError("observations.values", series=name, reason=f"{given.dtype}")
    if np.isinf(column).any():
        raise UsageError("observations.values", series=name, reason=f"inf [{int(np.flatnonzero(np.isinf(column))[0])}]")
    return column + 0.0  # -0 is 0


def _array(name: str, given: ArrayLike, code: Literal["observations.times", "observations.values"]) -> NDArray[Any]:
    try:
        array = np.asarray(given)
    except ValueError:  # lists of different lengths
        array = np.empty((0, 0))
    if array.ndim != 1:
        raise UsageError(code, series=name, index=0, value="…", reason=f"{array.ndim}-D")
    return array


def span(start: int | None, end: int | None) -> tuple[int, int]:
    """From and to, within the years that there are. Raises UsageError ``observations.span`` where nothing is between."""
    low = BEGINNING if start is None else max(start, BEGINNING)
    high = END if end is None else min(end, END)
    if low >= high:
        raise UsageError("observations.span")
    return low, high


def microseconds(moment: datetime) -> int:
    """A moment with a time zone as a reading's time."""
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def texts(times: I64) -> list[str]:
    """Times of readings as ISO 8601 in UTC, as short as they are exact."""
    whole = np.datetime_as_string(times.astype("datetime64[us]"), unit="s" if not (times % 1_000_000).any() else "us")
    return [f"{text}Z" for text in whole.tolist()]
