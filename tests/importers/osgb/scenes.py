"""Small OSGB scenes for tests, made by our own writer."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from importers.osgb.writer import PagedNode, write_osgb
from tim.geometry import EncodedImage, Mesh

METADATA = '<?xml version="1.0" encoding="utf-8"?>\n<ModelMetadata version="1"><SRS>{srs}</SRS><SRSOrigin>{origin}</SRSOrigin></ModelMetadata>'


def jpeg(seed: int = 0, size: tuple[int, int] = (64, 32)) -> EncodedImage:
    """A small JPEG that differs by seed."""
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=80)
    return EncodedImage("image/jpeg", out.getvalue())


def sheet(low: tuple[float, float], size: float, cells: int, seed: int = 0, texture: bool = True) -> Mesh:
    """A wavy square of ``2 * cells**2`` triangles with its lower corner at ``low``."""
    steps = np.linspace(0, 1, cells + 1)
    u, v = (a.ravel() for a in np.meshgrid(steps, steps))
    z = np.sin(u * 9 + seed) * 2 + np.cos(v * 7) + 20
    positions = np.column_stack([low[0] + u * size, low[1] + v * size, z]).astype(np.float32)
    corner = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    a, b, c, d = corner, corner + 1, corner + cells + 2, corner + cells + 1
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.uint32)
    uv = np.column_stack([u, 1 - v]).astype(np.float32)
    return Mesh(positions, triangles, uv if texture else None, texture=jpeg(seed) if texture else None)


def paged(mesh: Mesh, child: str, metres_per_pixel: float) -> PagedNode:
    """A node that its child replaces where a pixel covers ``metres_per_pixel``."""
    low, high = mesh.positions.min(axis=0), mesh.positions.max(axis=0)
    centre, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
    return PagedNode(
        (mesh,), child, 2 * radius / metres_per_pixel, (float(centre[0]), float(centre[1]), float(centre[2])), radius
    )


def block(
    folder: Path, name: str | None = None, low: tuple[float, float] = (0.0, 0.0), size: float = 100.0, levels: int = 3
) -> Path:
    """A block: a root, then quarters that each link to one child file down to ``levels`` levels. Level n switches at 2**-n m."""
    folder.mkdir(parents=True, exist_ok=True)
    name = folder.name if name is None else name
    write_osgb(folder / f"{name}.osgb", [paged(sheet(low, size, 4), f"{name}_L1_0.osgb", 1.0)])
    _level(folder, name, "0", low, size, 1, levels)
    return folder


def _level(folder: Path, name: str, path: str, low: tuple[float, float], size: float, level: int, levels: int) -> None:
    nodes, below = [], []
    half = size / 2
    for quarter in range(4):
        corner = (low[0] + half * (quarter % 2), low[1] + half * (quarter // 2))
        mesh = sheet(corner, half, 3 + level, seed=level * 10 + quarter)
        if level + 1 < levels:
            child = f"{path}{quarter}"
            nodes.append(paged(mesh, f"{name}_L{level + 1}_{child}.osgb", 2.0**-level))
            below.append((child, corner))
        else:
            nodes.append(PagedNode((mesh,)))
    write_osgb(folder / f"{name}_L{level}_{path}.osgb", nodes)
    for child, corner in below:
        _level(folder, name, child, corner, half, level + 1, levels)


def production(folder: Path, blocks: int = 2, srs: str = "EPSG:4547", origin: str = "500000,2500000,10") -> Path:
    """``Data/Tile_+000_+00n`` and ``metadata.xml``."""
    for number in range(blocks):
        block(folder / "Data" / f"Tile_+000_+{number:03d}", low=(0.0, 100.0 * number))
    (folder / "metadata.xml").write_text(METADATA.format(srs=srs, origin=origin), encoding="utf-8")
    return folder
