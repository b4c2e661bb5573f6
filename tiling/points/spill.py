"""Sorted points between two stages: one file of columns, ordered by key, so that any octree cell of it is one range of rows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
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
    """Columns one after another in a file: ``key``, ``position``, then the attributes, as ``layout`` says."""

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

    def read(self, ranges: Sequence[tuple[int, int]], names: Sequence[str]) -> Columns:
        """Rows of some columns, several ranges joined in their order."""
        out: Columns = {}
        total = sum(hi - lo for lo, hi in ranges)
        with self.path.open("rb") as file:
            start = 0
            for name, (dtype, components) in self.layout.items():
                width = np.dtype(dtype).itemsize * components
                if name in names:
                    column = np.empty(total * components, dtype)
                    at = 0
                    for lo, hi in ranges:
                        file.seek(start + lo * width)
                        at += _fill(file, column[at : at + (hi - lo) * components])
                    out[name] = column.reshape(total, components) if components > 1 else column
                start += self.count * width
        return out

    def column(self, name: str) -> NDArray[Any]:
        """A read-only memory map of a one-component column."""
        start = 0
        for other, (dtype, components) in self.layout.items():
            if other == name:
                return np.memmap(self.path, dtype, "r", start, (self.count,))
            start += self.count * np.dtype(dtype).itemsize * components
        raise KeyError(name)


def _fill(file: Any, column: NDArray[Any]) -> int:
    if column.size and file.readinto(column.data.cast("B")) != column.nbytes:
        raise EOFError(f"{file.name} is shorter than it should be")
    return int(column.size)
