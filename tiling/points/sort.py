"""The first stage: read a part of a source once, place it, put it on the lattice, sort it and spill it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

import importers
from tiling.builder import Job, ShardResult
from tiling.points import morton
from tiling.points.root import Root
from tiling.points.spill import AXES, Columns, Spill, allocate, digest, layout_of
from tim.errors import CorruptSource
from tim.geometry import F64, Points
from tim.place import Frame, LocalMap, local_map
from tim.sources import Part, PointSource

COARSE = 8
"""Digits of the key that points are counted by, to cut the cloud into chunks."""
CELLS = np.dtype([("prefix", "<u4"), ("count", "<u4")])
"""How many points of a part lie in each coarse cell, in key order."""
_WHITE = 0xFFFFFFFF
"""The colour of points from sources without any, beside others that have it; of other attributes such points get 0."""


def sort_part(job: Job, spec: Mapping[str, Any]) -> ShardResult:
    """Read, place, sort and spill one part."""
    ref = next(source for source in job.sources if source.key == spec["source"])
    source = cast("PointSource", importers.open_source(ref))
    root, layout = Root.of(spec), layout_of(spec)
    low, high = (np.array(corner) for corner in source.bounds)
    place = local_map(ref.place, job.frame, low, high)
    columns = allocate({k: v for k, v in layout.items() if k != "key"}, spec["count"])
    count = read = 0
    problems: list[tuple[str, Mapping[str, Any]]] = []
    try:
        for batch in source.read(Part(spec["start"], spec["count"]), [k for k in layout if k in source.schema]):
            exact = place
            if _beyond(batch, low, high):  # the header's extent is wrong: the polynomial holds only inside it
                exact = local_map(
                    ref.place,
                    job.frame,
                    np.minimum(low, batch.xyz.min(axis=0)),
                    np.maximum(high, batch.xyz.max(axis=0)),
                )
            kept = _fill(columns, count, batch, exact, job.frame, root)
            read += len(batch)
            count += kept
    except CorruptSource as error:
        problems.append((error.code, {**error.fields, "file": ref.key}))
    if count < read:
        problems.append(("points.outside", {"file": ref.key, "count": read - count}))
    name = digest(spec) + ".sorted"
    keys = _keys([columns[axis][:count] for axis in AXES], root)
    order = morton.order(keys)
    keys = keys.take(order)
    Spill(job.scratch / name, count, layout).write(
        {"key": keys, **{k: column[:count].take(order, axis=0) for k, column in columns.items()}}
    )
    coarse = (keys >> np.uint64(3 * max(0, root.depth - COARSE))).astype(np.uint32)
    firsts = np.flatnonzero(np.diff(coarse, prepend=coarse[:1] + np.uint32(1)))
    cells = np.empty(len(firsts), CELLS)
    cells["prefix"], cells["count"] = coarse[firsts], np.diff(firsts, append=count)
    output = {
        "scratch": [name], "sources": [ref.key], "count": count, "cells": base64.b64encode(cells.tobytes()).decode("ascii"),
        "root": spec["root"], "layout": spec["layout"], "attributes": _describe({k: c[:count] for k, c in columns.items() if k not in AXES}),
    }  # fmt: skip
    return ShardResult((), output, {"read": spec["count"], "left_out": spec["count"] - count}, problems)


def _describe(columns: Columns) -> dict[str, Any]:
    """What a viewer offers to colour by: the range of each attribute of one number, and the values of classes."""
    found: dict[str, Any] = {}
    for name, column in columns.items():
        if name == "rgb" or column.ndim > 1 or not len(column):
            found[name] = {}
            continue
        found[name] = {"minimum": column.min().item(), "maximum": column.max().item()}
        if name == "classification":
            found[name]["values"] = np.flatnonzero(np.bincount(column)).tolist()
    return found


def _beyond(batch: Points, low: F64, high: F64) -> bool:
    """Whether a batch leaves the box by more than a hundredth of it."""
    margin = (high - low) * 0.01 + 1e-3
    first, last = (np.floor((edge - batch.offset) / batch.scale) for edge in (low - margin, high + margin))
    return any(bool(raw.min() < a or raw.max() > b) for raw, a, b in zip(batch.raw.T, first, last, strict=True))


def _fill(columns: Columns, at: int, batch: Points, place: LocalMap, frame: Frame, root: Root) -> int:
    """Put a batch into the columns from row ``at``, on the lattice; returns how many points lie in the root cube."""
    local = place.from_raw(batch.raw, batch.scale, batch.offset)
    np.multiply(local, 1 / frame.step, out=local)
    np.rint(local, out=local)
    np.subtract(local, np.array(root.origin, np.float64), out=local)
    inside = None
    if not (local.min() >= 0 and local.max() < 2.0**root.bits):
        inside = ((local >= 0) & (local < 2.0**root.bits)).all(axis=1)
        local = local[inside]
    end = at + len(local)
    for axis, values in zip(AXES, local.T, strict=True):
        columns[axis][at:end] = values
    for name, column in columns.items():
        if name in AXES:
            continue
        if name not in batch.attributes:
            column[at:end] = _WHITE if name == "rgb" else 0
            continue
        values = batch.attributes[name] if inside is None else batch.attributes[name][inside]
        if name == "rgb":
            rgba = column[at:end].view(np.uint8).reshape(-1, 4)
            for channel in range(3):
                rgba[:, channel] = values[:, channel]
            rgba[:, 3] = 255
        else:
            column[at:end] = values.reshape(column[at:end].shape)
    return len(local)


def _keys(position: Sequence[NDArray[np.uint32]], root: Root) -> NDArray[np.uint64]:
    """Keys of lattice positions, given as one column for each axis."""
    out = np.empty(len(position[0]), np.uint64)
    shift = np.uint32(root.bits - root.depth)
    block = 1 << 14
    for start in range(0, len(out), block):
        out[start : start + block] = morton.keys(
            [column[start : start + block] >> shift for column in position], root.depth
        )
    return out
