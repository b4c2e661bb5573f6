"""One tile of objects as a glb: every vertex says whose it is, and a property table says who that is.

Bodies are one mesh on the dataset's lattice, so neighbours meet exactly: flat surfaces, lit, in the colours of :mod:`tiling.objects.looks`
or unlit with their photographs (:mod:`tiling.objects.texture`). Models stand in the tile once and are placed by instancing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiling.objects.bodies import Bodies, bodies_of
from tiling.objects.drawn import Column, Content, Drawn, Kind, Model
from tiling.objects.faces import (
    METRES,
    Faces,
    Stored,
    add_faces,
    add_lattice_mesh,
    add_run,
    extent,
    faces_of,
    folded,
)
from tiling.objects.features import add_table
from tiling.objects.instances import add_instances, from_y_up, placements, to_y_up
from tiling.objects.looks import Looks
from tiling.objects.merge import BROKEN, Unsupported, merge
from tiling.objects.proxy import proxies
from tiling.objects.texture import Skin, add_skins
from tiling.spec.glb import GlbWriter
from tim.errors import StoreError
from tim.geometry import F64
from tim.place import Frame
from tim.shape import FORMAT, STEP, Problem, Shapes, decode_many

__all__ = ["Column", "Content", "Drawn", "Kind", "Model", "encode", "proxies"]

I64 = NDArray[np.int64]


def encode(
    tiles: Sequence[Sequence[Drawn]], frame: Frame, blobs: Callable[[str], bytes], columns: Sequence[Column] = ()
) -> Iterator[Content]:
    """The glb of each of some tiles, which show their objects in full, one after the other.

    blobs: bytes of images and models by content hash; KeyError where there are none. What cannot be drawn is in the problems, with the
    object's ``tim_id`` or the hash of the image or model. Raises TilingError where a vertex lies beyond the lattice.
    """
    ordered = [sorted(objects, key=lambda o: o.tim_id) for objects in tiles]
    made = zip(ordered, bodies_of(ordered, frame), strict=True)
    return (_Tile(objects, bodies, frame, blobs).content(columns) for objects, bodies in made)


@dataclass(slots=True)
class _Standing:
    """One model of a tile and all its instances."""

    format: str
    content: str
    rgba: int
    """Of the class whose colour a tim-shape has where it has none of its own."""
    models: list[Model] = field(default_factory=list)
    features: list[int] = field(default_factory=list)
    faces: Faces | None = None
    """Of a tim-shape, in glTF's axes."""


class _Tile:
    def __init__(self, objects: Sequence[Drawn], bodies: Bodies, frame: Frame, blobs: Callable[[str], bytes]) -> None:
        self.objects, self.bodies, self.frame, self.blobs = objects, bodies, frame, blobs
        self.writer, self.looks = GlbWriter(), Looks({look: number for number, look in enumerate(bodies.looks)})
        self.problems: list[Problem] = bodies.problems
        self.drawn = np.zeros(len(objects), bool)
        self.vertices = self.triangles = 0
        self.low, self.high = np.full(3, np.inf), np.full(3, -np.inf)

    def content(self, columns: Sequence[Column]) -> Content:
        add_table(self.writer, self.objects, columns)
        standing = self._standing()
        skins = self._skins([self.bodies.faces, *(s.faces for s in standing)])
        if self.bodies.faces is not None:
            self._add_bodies(self.bodies.faces, skins)
        for one in standing:
            self._add_standing(one, skins)
        counts = {"vertices": self.vertices, "triangles": self.triangles, "features": int(self.drawn.sum())}
        if not self.drawn.any():
            return Content([], np.zeros(3), np.zeros(3), counts, tuple(self.problems))
        return Content(self.writer.chunks(), self.low, self.high, counts, tuple(self.problems))

    def _standing(self) -> list[_Standing]:
        found: dict[tuple[str, str, int], _Standing] = {}
        for feature, o in enumerate(self.objects):
            for model in o.models:
                key = (model.format, model.content, o.rgba if model.format == FORMAT else 0)
                one = found.setdefault(key, _Standing(*key))
                one.models.append(model)
                one.features.append(feature)
        out = []
        for _, one in sorted(found.items()):
            if one.format != FORMAT:
                out.append(one)
            elif (data := self._model(one)) is not None:
                shapes = self._model_shapes(data, one)
                if shapes is not None:
                    xyz = to_y_up(shapes.positions * np.float64(STEP) + shapes.origins[0])
                    one.faces = faces_of(shapes, xyz, self.looks, [one.rgba])
                    out.append(one)
        return out

    def _model(self, one: _Standing) -> bytes | None:
        try:
            return self.blobs(one.content)
        except KeyError:
            self.problems.append(("objects.model-missing", {"model": one.content, "count": len(one.models)}))
            return None

    def _model_shapes(self, data: bytes, one: _Standing) -> Shapes | None:
        try:
            shapes = decode_many([data])
        except StoreError as error:
            fields = {"model": one.content, "count": len(one.models), "reason": str(error.fields["reason"])}
            self.problems.append(("objects.model-broken", fields))
            return None
        return shapes if len(shapes.triangles) else None

    def _skins(self, all_faces: Sequence[Faces | None]) -> list[Skin]:
        """The material of each look, once it is known what is used of the images."""
        looks = list(self.looks.numbers)
        used: list[tuple[F64, F64] | None] = [None] * len(looks)
        for faces in all_faces:
            if faces is None or faces.uv is None or not len(faces.triangles):
                continue
            uv = folded(faces.uv[faces.triangles])
            for number in np.unique(faces.looks).tolist():
                if looks[number].image:
                    own = uv[faces.looks == number].reshape(-1, 2)
                    low, high = own.min(axis=0), own.max(axis=0)
                    before = used[number]
                    used[number] = (
                        (low, high) if before is None else (np.minimum(before[0], low), np.maximum(before[1], high))
                    )
        skins, problems = add_skins(self.writer, looks, used, self.blobs)
        self.problems += problems
        return skins

    def _add_bodies(self, faces: Faces, skins: Sequence[Skin]) -> None:
        bodies, step = self.bodies, self.frame.step
        stored = Stored.lattice(bodies.low, bodies.high)
        primitives, vertices = add_faces(self.writer, faces, skins, stored)
        for look, run in bodies.runs:
            primitive = add_run(self.writer, run, faces.positions, faces.features, stored)
            primitives.append({**primitive, "material": skins[look].material})
            vertices += len(run.vertex)
        add_lattice_mesh(self.writer, primitives, stored, step)
        self.drawn[bodies.drawn] = True
        self._count(vertices, bodies.triangles, bodies.low * step, bodies.high * step)

    def _add_standing(self, one: _Standing, skins: Sequence[Skin]) -> None:
        if one.faces is not None:
            primitives, vertices = add_faces(self.writer, one.faces, skins, METRES)
            triangles, (low, high) = len(one.faces.triangles), extent(one.faces.positions)
        elif (data := self._model(one)) is not None:
            try:
                merged = merge(self.writer, data)
            except Unsupported as error:
                fields = {"model": one.content, "count": len(one.models), "feature": str(error)}
                self.problems.append(("objects.model-unsupported", fields))
                return
            except BROKEN as error:
                reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
                fields = {"model": one.content, "count": len(one.models), "reason": reason[:200]}
                self.problems.append(("objects.model-broken", fields))
                return
            primitives, vertices, triangles = merged.primitives, merged.vertices, merged.triangles
            low, high = merged.low, merged.high
        else:
            return
        placed = placements(one.models, self.frame)
        add_instances(self.writer, primitives, placed, one.features)
        self.drawn[one.features] = True
        count = len(one.models)
        self._count(vertices * count, triangles * count, *placed.bounds(*from_y_up(low, high)))

    def _count(self, vertices: int, triangles: int, low: F64, high: F64) -> None:
        self.vertices += vertices
        self.triangles += triangles
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
