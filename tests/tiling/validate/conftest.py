"""Sound tilesets, and copies of them to break."""

from __future__ import annotations

import shutil

import pytest

from tests.tiling.samples import (
    fill,
    mesh_info,
    mesh_tiles,
    octree_info,
    octree_tiles,
)
from tests.tiling.validate.faults import MESH, OCTREE
from tiling.archive import Archive


@pytest.fixture(scope="session")
def sound(tmp_path_factory):
    """A folder each, exported; small enough to be copied for every fault."""
    root = tmp_path_factory.mktemp("sound")
    with Archive(root / "tiles") as archive:
        archive.publish(MESH, fill(archive, "s", mesh_tiles, count=520), mesh_info())
        archive.publish(OCTREE, fill(archive, "o", octree_tiles), octree_info())
        for name in (MESH, OCTREE):
            archive.export(name, root / name)
            archive.export(name, root / f"{name}.3tz")
    return root


@pytest.fixture
def mesh(sound, tmp_path):
    return shutil.copytree(sound / MESH, tmp_path / MESH)


@pytest.fixture
def octree(sound, tmp_path):
    return shutil.copytree(sound / OCTREE, tmp_path / OCTREE)
