"""Sorted points between two stages: one file of columns, ordered by key, so that any octree cell of it is one range of rows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def allocate(layout: Layout, count: int) -> Columns:
    """Columns of ``count`` rows, to be filled."""
    return {name: np.empty((count, width) if width > 1 else count, dtype) for name, (dtype, width) in layout.items()}
