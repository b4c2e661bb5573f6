"""The town as an oblique photography production: blocks of OSGB files in three levels, and the ``metadata.xml`` beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from demo import scene, town
from importers.osgb.writer import PagedNode, write_osgb
from tim.geometry import Mesh

BLOCK = 192.0
"""Side of a block in metres; its middle level halves it, its finest quarters it."""


@dataclass(frozen=True, slots=True)
class Level:
    """How one level of detail is made."""

    suffix: str
    size: float
    cells: int
    """Ground cells along a side."""
    pixels: int
    """Orthophoto pixels along a side."""
    sides: int
    """Sides of a tree crown; 0 leaves trees to the orthophoto."""
    divisor: int
    """The sheet is this many times smaller."""

    @property
    def metres_per_pixel(self) -> float:
        """Size of an orthophoto texel, where the next level should take over."""
        return self.size / self.pixels


LEVELS = (
    Level("", BLOCK, 16, 192, 0, 4),
    Level("_L17_0", BLOCK / 2, 24, 256, 4, 2),
    Level("_L18_00", BLOCK / 4, 24, 240, 6, 1),
)

METADATA = """<?xml version="1.0" encoding="utf-8"?>
<ModelMetadata version="1">
\t<!--Spatial Reference System-->
\t<SRS>{crs}</SRS>
\t<!--Origin in Spatial Reference System-->
\t<SRSOrigin>{x:.0f},{y:.0f},{z:.0f}</SRSOrigin>
</ModelMetadata>
"""


def write_production(folder: Path, workers: int = 2) -> int:
    """Write the whole production below ``folder``; the number of files."""
    (folder / "Data").mkdir(parents=True)
    x, y, z = town.ORIGIN
    (folder / "metadata.xml").write_text(METADATA.format(crs=town.CRS, x=x, y=y, z=z), encoding="utf-8")
    blocks = [(folder, column, row) for row in range(4) for column in range(4)]
    if workers == 1:
        return sum(write_block(*block) for block in blocks)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return sum(pool.map(write_block, *zip(*blocks, strict=True)))


def write_block(folder: Path, column: int, row: int) -> int:
    """Write one block: its root, one file of middle tiles, four of finest; the number of files."""
    name = f"Tile_+{column:03d}_+{row:03d}"
    path = folder / "Data" / name
    path.mkdir()
    west, south = -town.HALF + column * BLOCK, -town.HALF + row * BLOCK
    coarse, middle, fine = LEVELS
    middle_file = f"{name}{middle.suffix}.osgb"
    write_osgb(path / f"{name}.osgb", [node(coarse, west, south, middle_file)])
    parts = list(quarters(west, south, middle.size))
    fine_files = [f"{name}{fine.suffix}{i}.osgb" for i in range(4)]
    write_osgb(path / middle_file, [node(middle, x, y, file) for (x, y), file in zip(parts, fine_files, strict=True)])
    for (x, y), file in zip(parts, fine_files, strict=True):
        write_osgb(path / file, [node(fine, u, v) for u, v in quarters(x, y, fine.size)])
    return 6


def node(level: Level, west: float, south: float, child: str = "") -> PagedNode:
    """One square at one level."""
    ground = scene.ground(west, south, level.size, level.cells, level.pixels, crowns=not level.sides)
    standing = scene.standing(west, south, level.size, sides=level.sides, divisor=level.divisor)
    meshes: tuple[Mesh, ...] = (ground,) if standing is None else (ground, standing)
    radius = level.size * 0.75
    centre = (
        west + level.size / 2,
        south + level.size / 2,
        town.height_at(west + level.size / 2, south + level.size / 2),
    )
    return PagedNode(meshes, child, 2 * radius / level.metres_per_pixel if child else 0.0, centre, radius)


def quarters(west: float, south: float, size: float) -> Iterator[tuple[float, float]]:
    """South-west corners of the four quarters, each of ``size`` metres."""
    for row in range(2):
        for column in range(2):
            yield west + column * size, south + row * size


def recipe() -> str:
    """A digest of everything the deliveries are made from, to know when they are out of date."""
    digest = hashlib.blake2b(digest_size=16)
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()
