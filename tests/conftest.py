"""Fixtures every test may use."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.postgres import Server, missing, running

# A busy machine is no reason to fail: examples have no deadline.
settings.register_profile("tim", deadline=None)
settings.load_profile("tim")

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SCHEMAS = REAL_DATA.with_name("schemas")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; tests that need it skip where it is absent, and fail there in CI."""
    if REAL_DATA.is_dir():
        return REAL_DATA
    if os.environ.get("CI") == "true":
        pytest.fail("the real data sets (../shared/data) are absent, and CI must have them")
    pytest.skip("the real data sets (../shared/data) are absent")


@pytest.fixture(scope="session")
def schemas() -> Path:
    """The folder of the JSON schemas of 3D Tiles 1.1; tests that need it skip where it is absent, and fail there in CI."""
    if SCHEMAS.is_dir():
        return SCHEMAS
    if os.environ.get("CI") == "true":
        pytest.fail("the 3D Tiles schemas (../shared/schemas) are absent, and CI must have them")
    pytest.skip("the 3D Tiles schemas (../shared/schemas) are absent")


@pytest.fixture
def shared_tmp() -> Iterator[Path]:
    """A new folder that other users may enter, for tests that give up root's rights to meet a read-only file."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for item in [folder, *folder.rglob("*")]:
        item.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server with PostGIS; tests that need it skip where it is not installed, and fail there in CI."""
    if why := missing():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{why}, and CI must have it")
        pytest.skip(why)
    with running() as server:
        yield server
