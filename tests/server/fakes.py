"""Workspace and store, as much as the server asks of them."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from tim.model import Dataset
from tim.sources import SourceRef


class FakeStore:
    def __init__(self, datasets: dict[str, Dataset], sources: dict[str, list[SourceRef]]) -> None:
        self._datasets, self._sources = datasets, sources

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def datasets(self) -> list[Dataset]:
        return [self._datasets[slug] for slug in sorted(self._datasets)]

    def sources(self, dataset: str) -> list[SourceRef]:
        return self._sources.get(dataset, [])


class FakeWorkspace:
    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True)
        self.path = path
        self.known: dict[str, Dataset] = {}
        self.sources: dict[str, list[SourceRef]] = {}

    @property
    def archive_root(self) -> Path:
        return self.path / "tiles"

    def put(self, dataset: Dataset) -> None:
        self.known[dataset.slug] = dataset

    def store(self) -> FakeStore:
        return FakeStore(self.known, self.sources)
