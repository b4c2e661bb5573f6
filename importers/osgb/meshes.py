"""From stored geometry to :class:`tim.geometry.Mesh`: triangles, texture coordinates, normals, colours, images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from importers.osgb.arrays import OVERALL, PER_VERTEX, Array
from importers.osgb.image import Image, encoded, encoded_pixels
from importers.osgb.scene import Color, Geometry, StateSet
from tim.errors import CorruptSource
from tim.geometry import F32, F64, U32, EncodedImage, Mesh

Problem = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Look:
    """What geometry inherits from the nodes above it."""

    image: Image | None = None
    diffuse: Color | None = None

    def below(self, state: StateSet | None) -> Look:
        """The look below a node with this state."""
        if state is None:
            return self
        return Look(state.image or self.image, state.diffuse or self.diffuse)


class MeshMaker:
    """Makes the meshes of one file; images that several of them share are encoded once."""

    def __init__(self, folder: Path, path: str, name: str) -> None:
        """``path`` of the file is relative to ``folder``; ``name`` is what messages call it."""
        self.folder = folder
        self.path = path
        self.name = name
        self.problems: list[Problem] = []
        self._textures: dict[int, EncodedImage | None] = {}

    def mesh(self, geometry: Geometry, matrix: F64 | None, state: Look) -> Mesh | None:
        """The triangles of a geometry; ``None`` with a problem where it has none. Raises CorruptSource."""
        try:
            return self._triangles(geometry, matrix, state)
        except IndexError as error:
            raise CorruptSource("osgb.index", file=self.name) from error

    def _triangles(self, geometry: Geometry, matrix: F64 | None, state: Look) -> Mesh | None:
        parts = [t for p in geometry.primitives for t in p.triangles()]
        if geometry.vertices is None or not parts:
            self.problems.append(("osgb.no-triangles", {"file": self.name}))
            return None
        stored = geometry.vertices.per_vertex()
        if stored.ndim != 2 or stored.shape[1] < 3:
            raise CorruptSource("osgb.vertex-type", file=self.name)
        triangles: U32 = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if int(triangles.max()) >= len(stored):
            raise CorruptSource("osgb.index", file=self.name)
        positions = transformed(stored[:, :3], matrix)
        if not np.isfinite(positions.sum(dtype=np.float64)) and not np.isfinite(positions).all():
            raise CorruptSource("osgb.not-finite", file=self.name)
        texture = self._texture(state.image)
        uv = self._uv(geometry, len(stored)) if texture else None
        colors, overall = _colors(geometry.colors, len(stored))
        base = overall or state.diffuse or (1.0, 1.0, 1.0, 1.0)
        return Mesh(
            positions=positions, triangles=triangles, uv=uv, normals=_normals(geometry.normals, len(stored), matrix), colors=colors,
            texture=texture if uv is not None else None, base_color=(1.0, 1.0, 1.0, 1.0) if uv is not None else base,
        )  # fmt: skip

    def _uv(self, geometry: Geometry, count: int) -> F32 | None:
        """Texture coordinates with v down."""
        for array in geometry.texcoords:
            if array is None:
                continue
            stored = array.per_vertex()
            if stored.ndim != 2 or len(stored) != count or stored.shape[1] < 2:
                break
            uv = np.empty((count, 2), np.float32)
            uv[:, 0] = stored[:, 0]
            np.subtract(1.0, stored[:, 1], out=uv[:, 1], casting="same_kind")
            if np.isfinite(uv.sum()) or np.isfinite(uv).all():
                return uv
            break
        self.problems.append(("osgb.no-texture-coordinates", {"file": self.name}))
        return None

    def _texture(self, image: Image | None) -> EncodedImage | None:
        if image is None:
            return None
        if id(image) not in self._textures:
            self._textures[id(image)] = self._encode(image)
        return self._textures[id(image)]

    def _encode(self, image: Image) -> EncodedImage | None:
        try:
            if image.pixels is not None:
                return encoded_pixels(image)
            if image.data is not None:
                return encoded(image.data)
            target = link_target(self.folder, self.path, "", image.file)
            if target is None:
                self.problems.append(("osgb.child-outside", {"file": self.name, "child": image.file}))
                return None
            return encoded((self.folder / target).read_bytes())
        except (ValueError, OSError, SyntaxError) as error:
            # Pillow reports broken files with all three.
            self.problems.append(("osgb.image", {"file": self.name, "image": image.file, "reason": _reason(error)}))
            return None


def link_target(folder: Path, path: str, database_path: str, file: str) -> str | None:
    """The path of a file that ``path`` links to, relative to ``folder``; ``None`` where it leads out of it.

    A database path of another machine (absolute) means nothing here: links then start at the linking file.
    """
    base = PurePosixPath(path).parent
    prefix = database_path.replace("\\", "/")
    if prefix and not _absolute(prefix):
        base = base / prefix
    target = file.replace("\\", "/")
    if _absolute(target) or "\0" in target:
        return None
    parts: list[str] = []
    for part in (base / target).parts:
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part != ".":
            parts.append(part)
    if not parts:
        return None
    # Links in the file system can lead out as well; nearly always there are none, and looking costs one call a part.
    if any(folder.joinpath(*parts[:n]).is_symlink() for n in range(1, len(parts) + 1)):
        real = Path(os.path.realpath(folder.joinpath(*parts)))
        if not real.is_relative_to(os.path.realpath(folder)):
            return None
    return "/".join(parts)


def _absolute(path: str) -> bool:
    return path.startswith("/") or path[1:2] == ":"


def transformed(positions: np.ndarray[Any, Any], matrix: F64 | None) -> F32 | F64:
    """[n, 3] positions by a float64[4, 4] row-vector matrix; as stored where there is none, so that nothing is copied or rounded."""
    if matrix is not None:
        return np.asarray(positions, np.float64) @ matrix[:3, :3] + matrix[3, :3]
    return positions if positions.dtype in (np.float32, np.float64) else positions.astype(np.float64)


def _normals(array: Array | None, count: int, matrix: F64 | None) -> F32 | None:
    if array is None or array.binding != PER_VERTEX:
        return None
    stored = array.per_vertex()
    if stored.shape != (count, 3):
        return None
    normals = _unit(stored)
    if matrix is not None:
        normals = normals @ np.linalg.pinv(matrix[:3, :3]).T
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    if not np.isfinite(length).all() or (length == 0).any():
        return None
    unit: F32 = (normals / length).astype(np.float32)
    return unit


def _colors(array: Array | None, count: int) -> tuple[np.ndarray[Any, np.dtype[np.uint8]] | None, Color | None]:
    """Per-vertex uint8[n, 4], or one colour for all, or neither."""
    if (
        array is None
        or array.binding not in (OVERALL, PER_VERTEX)
        or array.values.ndim != 2
        or array.values.shape[1] < 3
    ):
        return None, None
    values = np.nan_to_num(_unit(array.per_vertex()).clip(0, 1), nan=1.0)
    if array.values.shape[1] == 3:
        values = np.concatenate([values, np.ones((len(values), 1))], axis=1)
    if array.binding == OVERALL:
        return None, (values[0, 0], values[0, 1], values[0, 2], values[0, 3]) if len(values) else None
    return (np.rint(values * 255).astype(np.uint8), None) if len(values) == count else (None, None)


def _unit(stored: np.ndarray[Any, Any]) -> F64:
    """Integers are fractions of their largest value, as OpenGL reads colours and normals."""
    values = np.asarray(stored, np.float64)
    return values / np.iinfo(stored.dtype).max if stored.dtype.kind in "iu" else values


def _reason(error: Exception) -> str:
    """A short text without paths or addresses, so that the same file always gives the same report."""
    return type(error).__name__ if isinstance(error, OSError) else str(error)[:80]
