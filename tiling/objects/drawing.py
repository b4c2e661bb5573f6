"""From the store to the tile: which representation of an object is drawn, and which attributes it carries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from tiling.builder import ObjectsRef
from tiling.objects.drawn import Column, Drawn, Kind, Model
from tim.classes import Registry
from tim.model import Representation
from tim.shape import FORMAT
from tim.store import Appearance, AsOf, ObjectStore, Standing
from tim.workspace import Workspace

_NUMBERS = re.compile(r"\d+(?:\.\d+)?")
_KINDS: Sequence[tuple[frozenset[str], Kind]] = (
    (frozenset({"integer"}), "INT64"),
    (frozenset({"integer", "real"}), "FLOAT64"),
    (frozenset({"true", "false"}), "BOOLEAN"),
)

HEAVY = 1 << 24
"""Bytes of geometry that are drawn in one tile: 256 objects seldom have more."""
Found = tuple[Appearance, Sequence[Representation], Sequence[Representation]]
"""An object, and what is drawn of it: bodies and models."""


class Reader:
    """Objects of one job, as tiles show them; a worker keeps it for the next shard."""

    def __init__(self, objects: ObjectsRef) -> None:
        self._store = opened(str(objects.workspace))
        self._classes = Workspace.open(objects.workspace).classes()
        self._as_of = AsOf(objects.valid, objects.seq)
        self._scenario = objects.scenario

    def standing(self, ids: Sequence[bytes]) -> dict[bytes, Standing]:
        """Those of the job's objects that there are."""
        return self._store.standing(ids, self._as_of, self._scenario)

    def find(self, versions: Sequence[int], lod: str) -> dict[int, Found]:
        """Objects by version. ``lod``: drawn where an object has it, otherwise its highest."""
        found = self._store.appearances(versions)
        return {version: (one, *shown(one.representations, lod)) for version, one in found.items()}

    def portions(self, found: Iterable[Found], names: Sequence[str] = ()) -> Iterator[tuple[list[Drawn], int]]:
        """The objects with their geometry and how many bytes that is, by id: all at once, or, where that is more than :data:`HEAVY`, some at
        a time. ``names``: attributes."""
        ordered = sorted(found, key=lambda one: one[0].tim_id)
        wanted = [r.content for _, bodies, _ in ordered for r in bodies]
        blobs = self._store.get_blobs(wanted, HEAVY)
        weight = sum(map(len, blobs.values()))
        if weight <= HEAVY:
            yield [_drawn(*one, blobs, names, self._classes) for one in ordered], weight
            return
        portion: list[Drawn] = []
        weight = 0
        for one in ordered:
            blobs = self._store.get_blobs(r.content for r in one[1])
            more = sum(map(len, blobs.values()))
            if portion and weight + more > HEAVY:
                yield portion, weight
                portion, weight = [], 0
            portion.append(_drawn(*one, blobs, names, self._classes))
            weight += more
        yield portion, weight

    def blob(self, content: str) -> bytes:
        """An image or a model. Raises KeyError where it is not there."""
        data = self._store.get_blob(content)
        if data is None:
            raise KeyError(content)
        return data


def shown(
    representations: Sequence[Representation], lod: str = ""
) -> tuple[list[Representation], list[Representation]]:
    """The body and the models to draw: of this level of detail, otherwise of the highest; without either, the footprint.

    What says no level of detail is drawn with any: a model that was placed beside a body.
    """
    if len(representations) == 1 and representations[0].format == FORMAT and representations[0].role == "body":
        return [representations[0]], []  # nearly all objects of nearly all datasets
    models = [r for r in representations if r.role == "model" and "at" in r.properties]
    bodies = [r for r in representations if r.role == "body" and r.format == FORMAT]
    if not bodies and not models:
        bodies = [r for r in representations if r.role == "footprint" and r.format == FORMAT]
    if not bodies and not models:
        return [], []
    best = _best(tuple(r.lod for r in (*bodies, *models)), lod)
    if not any(r.lod == best for r in models) and bodies:
        return [r for r in bodies if r.lod == best], [r for r in models if not r.lod]
    return [r for r in bodies if r.lod in (best, "")], [r for r in models if r.lod in (best, "")]


def columns_of(store: ObjectStore, dataset: str, objects: ObjectsRef, names: Sequence[str]) -> list[Column]:
    """Columns for attributes, typed by what the objects have; one that none has is left out."""
    if not names:
        return []
    kinds = store.attribute_kinds(dataset, names, AsOf(objects.valid, objects.seq), objects.scenario)
    return [Column(name, _kind(kinds[name] - {"null"})) for name in names if kinds.get(name, set()) - {"null"}]


@lru_cache(maxsize=4)
def opened(workspace: str) -> ObjectStore:
    """The store of a workspace, open as long as the process lives."""
    return Workspace.open(Path(workspace)).store().__enter__()


def _drawn(
    one: Appearance,
    bodies: Sequence[Representation],
    models: Sequence[Representation],
    blobs: Mapping[str, bytes],
    names: Sequence[str],
    classes: Registry,
) -> Drawn:
    attributes: dict[str, Any] = {}
    if names:
        every = json.loads(one.attributes)
        attributes = {name: every[name] for name in names if name in every}
    shapes = [blobs[r.content] for r in bodies if r.content in blobs]
    rgba = classes.rgba(one.class_id)
    return Drawn(one.tim_id, one.class_id, one.name, attributes, shapes, [_model(r) for r in models], rgba)


def _model(shown: Representation) -> Model:
    properties = shown.properties
    lon, lat, height = (float(v) for v in properties["at"])
    scale = properties.get("scale", 1.0)
    x, y, z = (float(v) for v in scale) if isinstance(scale, list | tuple) else (float(scale),) * 3
    return Model(shown.content, shown.format, (lon, lat, height), float(properties.get("heading", 0.0)), (x, y, z))


@lru_cache(maxsize=1024)
def _best(lods: Sequence[str], wanted: str) -> str:
    """The level of detail to draw."""
    return max(lods, key=lambda name: (name == wanted and wanted != "", _height(name)))


def _height(lod: str) -> tuple[float, str]:
    """How detailed a level of detail is, by the number in its name."""
    found = _NUMBERS.search(lod)
    return float(found[0]) if found else -1.0, lod


def _kind(types: set[str]) -> Kind:
    return next((kind for allowed, kind in _KINDS if types <= allowed), "STRING")
