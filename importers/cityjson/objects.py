"""CityObjects to drafts: every level of detail a list of surfaces with semantics and appearance (CityJSON 2.0.1, chapters 2 to 6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from importers import ImportContext
from importers.beside import Images
from importers.city import CLASSES, Draft, Models, patches_of
from importers.cityjson.document import Document
from tim import shape
from tim.errors import SourceError
from tim.geometry import F32, F64
from tim.model import Blob, ObjectRecord, Rejected, Relation

_DEPTHS = {"MultiSurface": 0, "CompositeSurface": 0, "Solid": 1, "MultiSolid": 2, "CompositeSolid": 2}
"""How many lists there are around the surfaces of a geometry."""
_NAMES = ("name", "gml:name", "naam", "名称")
_FLIP, _TOP = np.array([1, -1], np.float32), np.array([0, 1], np.float32)
"""CityJSON counts texture rows from below, glTF from above."""
_TYPE = "cityObjectType"
"""Attribute that keeps the type as the file has it: several types share a class."""


class Reader:
    """Turns the documents of one file into drafts."""

    def __init__(self, path: Path, key: str, context: ImportContext, swap: bool) -> None:
        """key: of the probe, for messages; swap: the file's first two coordinates are north, east."""
        self._key, self._context, self._swap = key, context, swap
        self._images = Images(path.parent)
        self._models = Models(context.place)
        self._seen: set[str] = set()
        self._told: set[str] = set()

    def drafts(self, document: Document) -> Iterator[Draft | Blob | Rejected]:
        """The objects of one document in its order, blobs of images and models before those that use them."""
        place = f"{self._key}:{document.line}" if document.line else self._key
        for name in document.doubles:
            yield Rejected(place, "cityjson.double-name", {"file": self._key, "name": name})
        vertices = document.vertices[:, [1, 0, 2]] if self._swap else document.vertices
        for identity, item in document.objects.items():
            where = f"{place}#{identity}"
            if not isinstance(item, dict) or not isinstance(item.get("type"), str):
                yield Rejected(where, "cityjson.bad-object", {"file": self._key, "object": identity})
                continue
            if identity in self._seen:
                yield Rejected(where, "city.twice", {"object": where})
                continue
            self._seen.add(identity)
            draft = Draft(self._record(identity, item), where)
            yield from self._geometries(draft, item, vertices, document)
            yield draft

    def _record(self, identity: str, item: Mapping[str, Any]) -> ObjectRecord:
        found = item.get("attributes")
        attributes: dict[str, Any] = dict(found) if isinstance(found, dict) else {}
        if isinstance(item.get("address"), list):
            attributes["address"] = [
                {k: v for k, v in a.items() if k != "location"} for a in item["address"] if isinstance(a, dict)
            ]
        name = next((str(attributes[n]) for n in _NAMES if isinstance(attributes.get(n), str)), "")
        parents = item.get("parents")
        relations = tuple(
            Relation("partOf", self._context.id_of(parent))
            for parent in (parents if isinstance(parents, list) else ())
            if isinstance(parent, str)
        )
        return ObjectRecord(
            source_key=identity, class_id=CLASSES.get(item["type"].removeprefix("+"), "land.other"), name=name, layer=self._context.layer,
            attributes={**attributes, _TYPE: item["type"]}, relations=relations,
        )  # fmt: skip

    def _geometries(
        self, draft: Draft, item: Mapping[str, Any], vertices: F64, document: Document
    ) -> Iterator[Blob | Rejected]:
        geometries = item.get("geometry")
        for number, geometry in enumerate(geometries if isinstance(geometries, list) else ()):
            try:
                kind, lod = geometry["type"], str(geometry.get("lod", ""))
                if kind == "GeometryInstance":
                    yield from self._instance(draft, geometry, vertices, document)
                elif kind in _DEPTHS:
                    surfaces, problems = self._surfaces(geometry, vertices, document.appearance)
                    if problems:
                        draft.lost = True
                        yield Rejected(
                            draft.where,
                            "city.bad-surface",
                            {"object": draft.where, "count": problems, "geometry": number},
                        )
                    if surfaces:
                        patches_of(draft, lod).extend(surfaces)
                else:
                    indices = np.array(list(_flat(geometry["boundaries"])), np.int64)
                    if len(indices):
                        draft.points.append(_picked(vertices, indices))
            except (KeyError, TypeError, ValueError, IndexError, OverflowError, RecursionError) as error:
                draft.lost = True
                fields = {"object": draft.where, "geometry": number, "reason": f"{type(error).__name__} {error}"[:120]}
                yield Rejected(draft.where, "city.bad-geometry", fields)
            yield from self._image_problems(draft.where)
            yield from self._images.take()

    def _surfaces(
        self, geometry: Mapping[str, Any], vertices: F64, appearance: Mapping[str, Any]
    ) -> tuple[list[shape.Patch], int]:
        """The surfaces of a geometry, and how many were left out because an index leads nowhere."""
        depth = _DEPTHS[geometry["type"]]
        surfaces = _level(geometry["boundaries"], depth)
        semantics = geometry.get("semantics") or {}
        kinds = [str(s.get("type", "")) for s in semantics.get("surfaces") or ()]
        values = _level(semantics.get("values"), depth, len(surfaces))
        colors = _themed(geometry.get("material"), depth, len(surfaces))
        images = _themed(geometry.get("texture"), depth, len(surfaces))
        out: list[shape.Patch] = []
        lost = 0
        for rings, kind, color, image in zip(surfaces, values, colors, images, strict=True):
            try:
                points = [_picked(vertices, np.array(ring, np.int64)) for ring in rings]
            except (IndexError, ValueError, TypeError, OverflowError):
                lost += 1
                continue
            semantic = kinds[kind] if isinstance(kind, int) and 0 <= kind < len(kinds) else ""
            material, uv = self._material(appearance, color, image, [len(p) for p in points])
            out.append(shape.Polygon(points, semantic, material, uv))
        return out, lost

    def _material(
        self, appearance: Mapping[str, Any], color: Any, image: Any, sizes: Sequence[int]
    ) -> tuple[shape.Material | None, list[F32] | None]:
        rgba = (1.0, 1.0, 1.0, 1.0)
        materials = appearance.get("materials") or ()
        colored = isinstance(color, int) and 0 <= color < len(materials)
        if colored:
            found = materials[color]
            r, g, b = (float(v) for v in found.get("diffuseColor", (0.8, 0.8, 0.8)))
            rgba = (r, g, b, 1.0 - float(found.get("transparency", 0.0)))
        textured = self._texture(appearance, image, sizes)
        if textured is not None:
            content, mime, repeat, uv = textured
            return shape.Material(rgba, content, mime, repeat), uv
        return (shape.Material(rgba) if colored else None), None

    def _texture(
        self, appearance: Mapping[str, Any], rings: Any, sizes: Sequence[int]
    ) -> tuple[str, str, bool, list[F32]] | None:
        """Content, MIME type, repetition and coordinates of a surface's image; ``None`` where it has none, or none that can be read."""
        textures, places = appearance.get("textures") or (), appearance.get("vertices-texture") or ()
        if not isinstance(rings, list) or not rings or not rings[0] or rings[0][0] is None:
            return None
        try:
            found = textures[rings[0][0]]
            uv = [np.array([places[k] for k in ring[1:]], np.float32).reshape(-1, 2) for ring in rings]
        except (IndexError, TypeError, ValueError):
            return None
        if [len(part) for part in uv] != list(sizes):
            return None
        try:
            content, mime = self._images.get(str(found["image"]))
        except SourceError as error:
            self._told.add(f"{error.code}\0{found['image']}\0{error.fields.get('reason', '')}")
            return None
        return content, mime, found.get("wrapMode") in ("wrap", "mirror"), [part * _FLIP + _TOP for part in uv]

    def _instance(self, draft: Draft, geometry: Mapping[str, Any], vertices: F64, document: Document) -> Iterator[Blob]:
        templates = document.templates
        number = int(geometry["template"])
        template = templates["templates"][number]
        local = np.array(templates["vertices-templates"], np.float64).reshape(-1, 3)
        surfaces, _ = self._surfaces(template, local, document.appearance)
        matrix = np.array(geometry.get("transformationMatrix", np.eye(4).ravel().tolist()), np.float64).reshape(4, 4)
        (point,) = _picked(vertices, np.array(geometry["boundaries"], np.int64))
        lod = str(template.get("lod", ""))
        made, blobs = self._models.put(f"template {number}", surfaces, lod, matrix, point)
        yield from blobs
        draft.points.append(point[None])
        if made is not None:
            draft.models.append(made)

    def _image_problems(self, where: str) -> Iterator[Rejected]:
        for told in sorted(self._told):
            code, image, reason = told.split("\0")
            yield Rejected(where, code, {"object": where, "image": image, "reason": reason})
        self._told.clear()


def _picked(vertices: F64, indices: Any) -> F64:
    """float64[n, 3]. Raises IndexError for an index that leads nowhere; negative ones lead nowhere as well."""
    if indices.size and (indices.min() < 0 or indices.max() >= len(vertices)):
        raise IndexError(int(indices.max()))
    out: F64 = vertices[indices]
    return out


def _level(nested: Any, depth: int, count: int | None = None) -> list[Any]:
    """What lies ``depth`` lists down; as many ``None`` as there are surfaces where there is nothing of that shape."""
    items = nested if isinstance(nested, list) else []
    for _ in range(depth):
        items = [inner for outer in items if isinstance(outer, list) for inner in outer]
    if count is None or len(items) == count:
        return items
    return [None] * count


def _themed(themes: Any, depth: int, count: int) -> list[Any]:
    """The values of one theme (the first by name, ``visual`` before all others), surface by surface."""
    if not isinstance(themes, dict) or not themes:
        return [None] * count
    theme = themes["visual"] if "visual" in themes else themes[min(themes)]
    if "value" in theme:
        return [theme["value"]] * count
    return _level(theme.get("values"), depth, count)


def _flat(nested: Any) -> Iterator[int]:
    if isinstance(nested, list):
        for item in nested:
            yield from _flat(item)
    else:
        yield int(nested)
