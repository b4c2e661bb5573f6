"""The synthetic builder, known for the length of a test."""

from __future__ import annotations

import pytest

import importers
from tests.tiling.engine import synthetic
from tiling.engine import work


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importers, "FORMATS", importers.FORMATS)
    monkeypatch.setattr(work, "BUILDERS", work.BUILDERS)
    synthetic.install()
