"""A file of observations with one series."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tim.observations.samples import LEVEL
from tim.observations import Observations


@pytest.fixture
def observations(tmp_path: Path) -> Iterator[Observations]:
    with Observations(tmp_path / "observations.sqlite") as made:
        made.put(LEVEL)
        yield made
