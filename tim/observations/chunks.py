"""Readings in chunks: packed without loss, with statistics that answer for them unopened.

A chunk holds some thousand readings of one series in the order of time. Packed, it is a zlib stream of a head (``<2q4B``: the first time, how
many there are, how the two columns are written) and the columns: times as differences of differences, values as the differences of whole
numbers where all are decimal fractions of up to six places (what instruments give), otherwise as they are (float64). Differences take the fewest bytes
that hold them all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
CHUNK = 8192
"""Readings from which a chunk is full; one has fewer than twice as many."""
_HEAD = struct.Struct("<2q4B")
_WHOLE = ("<i1", "<i2", "<i4", "<i8")
_PLACES = 6
_PLAIN = 255
_EXACT = 2.0**53
_SAMPLE = 64


class Summary(NamedTuple):
    """What is known of some readings without reading them. Gaps count as readings and for nothing else."""

    first: int
    """Time of the first, µs UTC."""
    last: int
    readings: int
    numbers: int
    """Readings that are no gaps."""
    minimum: float | None
    """Of the numbers, as the four after it; ``None`` where there are none."""
    maximum: float | None
    mean: float | None
    opening: float | None
    """The first number."""
    closing: float | None
    newest: float | None
    """The last reading; ``None`` where it is a gap."""


class Parts(NamedTuple):
    """Summaries of runs of readings in columns: runs that do not overlap in time, in its order, each with a number at least."""

    first: I64
    numbers: I64
    minimum: F64
    maximum: F64
    mean: F64
    opening: F64
    closing: F64


def pieces(times: I64, values: F64) -> Iterator[tuple[I64, F64]]:
    """Readings cut into chunks of equal size."""
    number = max(1, len(times) // CHUNK)
    yield from zip(np.array_split(times, number), np.array_split(values, number), strict=True)


def merged(old: tuple[I64, F64], new: tuple[I64, F64]) -> tuple[I64, F64]:
    """Both in the order of time; of the same time only the new. The new may be in any order and repeat a time: the last counts."""
    times, values = np.concatenate([old[0], new[0]]), np.concatenate([old[1], new[1]])
    if len(times) < 2 or bool(np.all(times[1:] > times[:-1])):
        return times, values
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    kept = np.append(times[1:] != times[:-1], True)
    return times[kept], values[kept]


def pack(times: I64, values: F64) -> bytes:
    """The bytes of a chunk. times: ascending, at least one."""
    from isal import isal_zlib

    clock, ticks = _narrow(_differences(times - times[0], 2))
    for places in _decimal(values):
        whole = np.rint(values * 10.0**places)
        if bool(np.all(np.abs(whole) < _EXACT)) and (whole / 10.0**places).tobytes() == values.tobytes():
            width, column = _narrow(_differences(whole.astype(np.int64)))
            break
    else:
        places, width, column = _PLAIN, 0, np.asarray(values, "<f8").tobytes()
    head = _HEAD.pack(int(times[0]), len(times), clock, places, width, 0)
    packed: bytes = isal_zlib.compress(head + ticks + column, 1)
    return packed


def unpack(data: bytes) -> tuple[I64, F64]:
    """The readings of a chunk. Raises ValueError where the bytes are none."""
    from isal import isal_zlib

    try:
        plain = isal_zlib.decompress(data)
        first, count, clock, places, width, _ = _HEAD.unpack_from(plain)
        steps = np.frombuffer(plain, _WHOLE[clock], count, _HEAD.size)
        times = first + np.cumsum(np.cumsum(steps, dtype=np.int64))
        kind = "<f8" if places == _PLAIN else _WHOLE[width]
        column = np.frombuffer(plain, kind, count, _HEAD.size + steps.nbytes)
    except (isal_zlib.error, struct.error, IndexError, ValueError) as error:  # type: ignore[misc]
        raise ValueError(str(error)) from None
    if places == _PLAIN:
        return times, column.astype(np.float64)
    return times, np.cumsum(column, dtype=np.int64) / 10.0**places


def summary(times: I64, values: F64) -> Summary:
    """The statistics of a chunk."""
    part = runs(times, values, times[:1])
    told = [float(column[0]) for column in part[2:]] if len(part.first) else [None] * 5
    newest = None if np.isnan(values[-1]) else float(values[-1])
    whole = int(times[0]), int(times[-1]), len(times), int(part.numbers.sum())
    return Summary._make((*whole, *told, newest))


def runs(times: I64, values: F64, borders: I64) -> Parts:
    """Readings, without their gaps, as one part for all between two borders. times, borders: ascending; a border begins what is after it."""
    if (gaps := np.isnan(values)).any():
        times, values = times[~gaps], values[~gaps]
    starts = np.unique(np.append(0, np.searchsorted(times, borders)))
    starts = starts[starts < len(times)]
    numbers = np.diff(starts, append=len(times))
    if not len(starts):
        return Parts(times, numbers, values, values, values, values, values)
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    with np.errstate(over="ignore"):
        mean = np.add.reduceat(values, starts) / numbers
        if not np.isfinite(mean).all():  # sums may be larger than numbers can
            mean = np.clip(np.add.reduceat(values / np.repeat(numbers, numbers), starts), low, high)
    return Parts(
        times[starts], numbers, low, high, mean, values[starts], values[np.append(starts[1:], len(values)) - 1]
    )


def joined(parts: list[Parts], edges: I64) -> tuple[NDArray[np.intp], Parts]:
    """Parts that do not overlap, joined to one for each bucket that has any; the bucket of each. edges: as :func:`buckets` gives them."""
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.argsort(columns[0])
    first, numbers, minimum, maximum, mean, opening, closing = (column[order] for column in columns)
    bucket = np.searchsorted(edges, first, "right") - 1
    starts = _starts(bucket)
    if not len(starts):
        return bucket, Parts(first, numbers, minimum, maximum, mean, opening, closing)
    total = np.add.reduceat(numbers, starts)
    share = numbers / np.repeat(total, np.diff(starts, append=len(first)))
    low, high = np.minimum.reduceat(minimum, starts), np.maximum.reduceat(maximum, starts)
    with np.errstate(over="ignore"):
        mean = np.clip(np.add.reduceat(mean * share, starts), low, high)
    return bucket[starts], Parts(
        first[starts], total, low, high, mean, opening[starts], closing[np.append(starts[1:], len(first)) - 1],
    )  # fmt: skip


def buckets(start: int, end: int, number: int) -> I64:
    """The edges of equal buckets, int64[number + 1] in whole microseconds; without overflow."""
    step, rest = divmod(end - start, number)
    i = np.arange(number + 1, dtype=np.int64)
    return start + step * i + rest * i // number


def _starts(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where a label differs from the one before."""
    return np.flatnonzero(np.diff(labels, prepend=-1)) if len(labels) else np.empty(0, np.intp)


def _differences(column: I64, order: int = 1) -> I64:
    """What summing up gives the column back."""
    for _ in range(order):
        column = np.concatenate([column[:1], column[1:] - column[:-1]])
    return column


def _narrow(column: I64) -> tuple[int, bytes]:
    """Whole numbers in the fewest bytes that hold them all."""
    low, high = int(column.min()), int(column.max())
    width = next(i for i in range(4) if -(1 << (8 << i) - 1) <= low and high < 1 << (8 << i) - 1)
    return width, column.astype(_WHOLE[width]).tobytes()


def _decimal(values: F64) -> Iterator[int]:
    """Numbers of decimal places that a few of the values do with, the fewest first."""
    some = values[:: max(1, len(values) // _SAMPLE)]
    if not bool(np.all(np.abs(some) < _EXACT / 10.0**_PLACES)):
        return
    for places in range(_PLACES + 1):
        if bool(np.all(np.rint(some * 10.0**places) / 10.0**places == some)):
            yield places
