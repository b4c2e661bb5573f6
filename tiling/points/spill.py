"""Sorted points between two stages: one file of columns, ordered by key, so that any octree cell of it is one range of rows."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

AXES = ("x", "y", "z")
"""Columns of the lattice position: steps from the root's lower corner."""
Columns = dict[str, NDArray[Any]]
Layout = Mapping[str, tuple[str, int]]
"""Column name to element type and components."""


@dataclass(frozen=True, slots=True)
class Spill:
    """Columns one after another in a file: ``key``, ``x``, ``y``, ``z``, then the attributes, as ``layout`` says."""

    path: Path
    count: int
    layout: Layout

    def write(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Write all columns, under another name first: a file with the right name is whole."""
        draft = self.path.with_suffix(f".{os.getpid()}.tmp")
        with draft.open("wb") as file:
            for name, (dtype, components) in self.layout.items():
                column = np.ascontiguousarray(columns[name], dtype)
                assert column.size == self.count * components, name
                file.write(column.data.cast("B") if column.size else b"")
        draft.replace(self.path)

    def read(self, low: int, high: int, into: Columns, at: int) -> None:
        """Read the rows ``low``..``high`` of all columns into the rows from ``at`` of others.

        Raises EOFError where the file is shorter than it should be.
        """
        start = 0
        with self.path.open("rb") as file:
            for name, (dtype, components) in self.layout.items():
                width = np.dtype(dtype).itemsize * components
                rows = into[name][at : at + high - low]
                file.seek(start + low * width)
                if rows.size and file.readinto(rows.data.cast("B")) != rows.nbytes:
                    raise EOFError(f"{self.path.name} is shorter than it should be")
                start += self.count * width

    def search(self, low: int, high: int, keys: Sequence[int]) -> list[int]:
        """Where keys would stand among the rows ``low``..``high``; reads only the pages it looks at."""
        column = np.memmap(self.path, "<u8", "r", 0, (self.count,))  # the first column
        return [low + int(at) for at in np.searchsorted(column[low:high], np.array(keys, np.uint64))]


@dataclass(frozen=True, slots=True)
class Rows:
    """A run of rows of a spill."""

    spill: Spill
    low: int
    high: int

    def __len__(self) -> int:
        return self.high - self.low

    def between(self, first: int, last: int) -> Rows:
        """Those with keys from ``first`` to below ``last``."""
        return Rows(self.spill, *self.spill.search(self.low, self.high, (first, last)))

    def read(self, into: Columns, at: int) -> None:
        """See :meth:`Spill.read`."""
        self.spill.read(self.low, self.high, into, at)


def allocate(layout: Layout, count: int) -> Columns:
    """Columns of ``count`` rows, to be filled."""
    return {name: np.empty((count, width) if width > 1 else count, dtype) for name, (dtype, width) in layout.items()}


def join(layout: Layout, parts: Sequence[Columns]) -> Columns:
    """Columns one after another."""
    return parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in layout}


def layout_of(record: Mapping[str, Any]) -> Layout:
    """The columns that a shard or result names."""
    return {name: (dtype, components) for name, dtype, components in record["layout"]}


def digest(value: Any) -> str:
    """A file name for what a JSON value determines."""
    return hashlib.blake2b(
        json.dumps(value, sort_keys=True, separators=(",", ":")).encode(), digest_size=16
    ).hexdigest()
