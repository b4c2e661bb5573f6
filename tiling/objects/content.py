"""One tile of objects as a glb: every vertex says whose it is, and a property table says who that is.

Bodies are one mesh on the dataset's lattice, so neighbours meet exactly: flat surfaces, lit, in the colours of :mod:`tiling.objects.looks`
or unlit with their photographs (:mod:`tiling.objects.texture`). Models stand in the tile once and are placed by instancing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiling.objects.drawn import Column, Content, Drawn, Kind, Model
from tiling.objects.faces import Faces, add_bodies, add_faces, extent, faces_of, folded, on_lattice
from tiling.objects.features import add_table
from tiling.objects.instances import add_instances, from_y_up, placements, to_y_up
from tiling.objects.looks import Looks
from tiling.objects.merge import BROKEN, Unsupported, merge
from tiling.objects.proxy import proxies
from tiling.objects.texture import Skin, add_skins
from tiling.spec.glb import GlbWriter
from tiling.spec.streams import Stream
from tim.errors import StoreError
from tim.geometry import F64
from tim.place import Frame
from tim.shape import FORMAT, STEP, Problem, Shapes, decode_many

__all__ = ["Column", "Content", "Drawn", "Kind", "Model", "encode", "proxies"]

I64 = NDArray[np.int64]


def encode(
    objects: Sequence[Drawn], frame: Frame, blobs: Callable[[str], bytes], columns: Sequence[Column] = ()
) -> Content:
    """The glb of some objects in full.

    blobs: bytes of images and models by content hash; KeyError where there are none. What cannot be drawn is in the problems, with the
    object's ``tim_id`` or the hash of the image or model. Raises TilingError where a vertex lies beyond the lattice.
    """
    tile = _Tile(sorted(objects, key=lambda o: o.tim_id.int), frame, blobs)
    return tile.content(columns)


@dataclass(slots=True)
class _Standing:
    """One model of a tile and all its instances."""

    format: str
    content: str
    class_id: str
    models: list[Model] = field(default_factory=list)
    features: list[int] = field(default_factory=list)
    faces: Faces | None = None
    """Of a tim-shape, in glTF's axes."""


class _Tile:
    def __init__(self, objects: Sequence[Drawn], frame: Frame, blobs: Callable[[str], bytes]) -> None:
        self.objects, self.frame, self.blobs = objects, frame, blobs
        self.writer, self.looks = GlbWriter(), Looks()
        self.problems: list[Problem] = []
        self.drawn = np.zeros(len(objects), bool)
        self.vertices = self.triangles = 0
        self.low, self.high = np.full(3, np.inf), np.full(3, -np.inf)

    def content(self, columns: Sequence[Column]) -> Content:
        add_table(self.writer, self.objects, columns)
        bodies = self._bodies()
        standing = self._standing()
        skins = self._skins([bodies, *(s.faces for s in standing)])
        if bodies is not None:
            self._add_bodies(bodies, skins)
        for one in standing:
            self._add_standing(one, skins)
        counts = {"vertices": self.vertices, "triangles": self.triangles, "features": int(self.drawn.sum())}
        if not self.drawn.any():
            return Content([], np.zeros(3), np.zeros(3), counts, tuple(self.problems))
        return Content(self.writer.chunks(), self.low, self.high, counts, tuple(self.problems))

    def _bodies(self) -> Faces | None:
        blobs = [blob for o in self.objects for blob in o.shapes]
        owners = np.repeat(np.arange(len(self.objects)), [len(o.shapes) for o in self.objects])
        shapes, good = self._decoded(blobs, [str(o.tim_id) for o in self.objects for _ in o.shapes])
        if not len(shapes.triangles):
            return None
        owners = owners[good]
        classes = [self.objects[i].class_id for i in owners.tolist()]
        steps = on_lattice(shapes, self.frame)
        self.drawn[owners[np.diff(shapes.triangle_ends, prepend=0) > 0]] = True
        return faces_of(shapes, steps, self.looks, classes, owners)

    def _decoded(self, blobs: Sequence[bytes | memoryview], names: Sequence[str]) -> tuple[Shapes, list[int]]:
        """All shapes at once, and which they are; one that is broken is left out."""
        try:
            return decode_many(blobs), list(range(len(blobs)))
        except StoreError:
            good = []
            for number, blob in enumerate(blobs):
                try:
                    decode_many([blob])
                    good.append(number)
                except StoreError as error:
                    reason = str(error.fields.get("reason", error.code))
                    self.problems.append(("objects.shape-broken", {"object": names[number], "reason": reason}))
            return decode_many([blobs[number] for number in good]), good

    def _standing(self) -> list[_Standing]:
        found: dict[tuple[str, str, str], _Standing] = {}
        for feature, o in enumerate(self.objects):
            for model in o.models:
                key = (model.format, model.content, o.class_id if model.format == FORMAT else "")
                one = found.setdefault(key, _Standing(*key))
                one.models.append(model)
                one.features.append(feature)
        out = []
        for _, one in sorted(found.items()):
            if one.format != FORMAT:
                out.append(one)
            elif (data := self._model(one)) is not None:
                shapes, good = self._decoded([data], [one.content])
                if good and len(shapes.triangles):
                    xyz = to_y_up(shapes.positions * np.float64(STEP) + shapes.origins[0])
                    one.faces = faces_of(shapes, xyz, self.looks, [one.class_id], None)
                    out.append(one)
        return out

    def _model(self, one: _Standing) -> bytes | None:
        try:
            return self.blobs(one.content)
        except KeyError:
            self.problems.append(("objects.model-missing", {"model": one.content, "count": len(one.models)}))
            return None

    def _skins(self, all_faces: Sequence[Faces | None]) -> list[Skin]:
        """The material of each look, once it is known what is used of the images."""
        looks = list(self.looks.numbers)
        used: list[tuple[F64, F64] | None] = [None] * len(looks)
        for faces in all_faces:
            if faces is None or faces.uv is None:
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
        vertices, low, high = add_bodies(self.writer, faces, skins, self.frame.step)
        self._count(vertices, len(faces.triangles), low, high)

    def _add_standing(self, one: _Standing, skins: Sequence[Skin]) -> None:
        if one.faces is not None:
            positions = one.faces.positions

            def stored(vertex: I64) -> Stream:
                return Stream("POSITION", np.ascontiguousarray(positions[vertex].T.astype("<f4")), bounded=True)

            primitives, vertices = add_faces(self.writer, one.faces, skins, stored)
            triangles, (low, high) = len(one.faces.triangles), extent(positions)
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
