"""The store under test."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import pytest

from tim.store import ObjectStore
from tim.store.contract.samples import HILLS, TOWN


class Stores(ABC):
    """Where the tests get their store from."""

    @abstractmethod
    def open_store(self, folder: Path) -> ObjectStore:
        """The store that lives in ``folder``: an empty one the first time, the same one when called again."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[ObjectStore]:
        """A store with two datasets."""
        with self.open_store(tmp_path) as store:
            store.put_dataset(TOWN)
            store.put_dataset(HILLS)
            yield store
