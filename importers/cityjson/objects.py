"""CityObjects to drafts: attributes, relations, and geometry with its semantics, materials and textures (CityJSON 2.0.1, 2 to 4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from importers import ImportContext
from importers.beside import Images
from importers.city import CLASSES, Draft, Models, moment, patches_of, say_surfaces
from importers.cityjson.document import Document
from tim import shape
from tim.errors import PlaceError, SourceError
from tim.exchange import OWN_ATTRIBUTE as OWN
from tim.exchange import record_of
from tim.geometry import F32, F64
from tim.model import Blob, ObjectRecord, Rejected, Relation

_DEPTH = {"MultiSurface": 0, "CompositeSurface": 0, "Solid": 1, "MultiSolid": 2, "CompositeSolid": 2}
"""How many lists there are around the list of surfaces, less one."""
_NO_SURFACE = ("MultiPoint", "MultiLineString")


class Broken(Exception):
    """Geometry that is not as its type says; the argument is the reason, for messages."""


class Reader:
    """Makes drafts of the CityObjects of one file."""

    def __init__(self, path: Path, key: str, context: ImportContext, swap: bool) -> None:
        self.key, self.context, self.swap = key, context, swap
        self.images = Images(path.parent)
        self.models = Models(context.place)
        self.seen: set[str] = set()

    def drafts(self, document: Document) -> Iterator[Draft | Blob | Rejected]:
        """Every object once, blobs of images and models before the object that uses them."""
        at = f":{document.line}" if document.line else ""
        for name in document.doubles:
            if name in document.objects:
                where = f"{self.key}{at}#{name}"
                yield Rejected(where, "cityjson.double", {"object": where})
        look = _Look(document, self.images, self.swap)
        for name, record in document.objects.items():
            where = f"{self.key}{at}#{name}"
            if not isinstance(record, dict) or not isinstance(record.get("type"), str) or not name:
                yield Rejected(where, "cityjson.no-type", {"object": where})
            elif name in self.seen:
                yield Rejected(where, "cityjson.duplicate", {"object": where})
            else:
                self.seen.add(name)
                yield from self.draft(name, record, where, look)

    def draft(self, name: str, record: Mapping[str, Any], where: str, look: _Look) -> Iterator[Draft | Blob | Rejected]:
        """One object; what of its geometry is broken is named and left out."""
        try:
            draft = Draft(_ours(record) or self.record(name, record), where)
        except ValueError as error:
            yield Rejected(where, "cityjson.bad-own", {"object": where, "reason": str(error)[:200]})
            return
        for number, geometry in enumerate(_list(record.get("geometry"))):
            try:
                yield from self.geometry(draft, _mapping(geometry), look)
            except (Broken, PlaceError) as error:
                draft.lost = True
                fields = {"object": where, "number": number, "reason": str(error)[:200]}
                yield Rejected(where, "cityjson.bad-geometry", fields)
        for image, lost in look.lost.items():
            fields = {"object": where, "image": image, "reason": lost.fields.get("reason", "")}
            yield Rejected(f"{self.key}#{image}", lost.code, fields)
        look.lost.clear()
        yield from self.images.take()
        yield draft

    def record(self, name: str, record: Mapping[str, Any]) -> ObjectRecord:
        """The object without its geometry."""
        kind = record["type"]
        attributes = {**_mapping(record.get("attributes")), "featureType": kind}
        if record.get("address"):
            attributes["address"] = record["address"]
        parents = [p for p in _list(record.get("parents")) if isinstance(p, str)]
        relations = [Relation("partOf", self.context.id_of(parent)) for parent in parents]
        if kind == "CityObjectGroup":
            members = _list(record.get("children")) or _list(record.get("members"))
            relations += [Relation("hasMember", self.context.id_of(m)) for m in members if isinstance(m, str)]
        return ObjectRecord(
            source_key=name, class_id=CLASSES.get(kind, "land.other"), name=_name(attributes), layer=self.context.layer,
            attributes=attributes, relations=tuple(relations),
            valid_from=moment(_text(attributes.get("validFrom")) or _text(attributes.get("creationDate"))),
            valid_to=moment(_text(attributes.get("validTo")) or _text(attributes.get("terminationDate"))),
        )  # fmt: skip

    def geometry(self, draft: Draft, geometry: Mapping[str, Any], look: _Look) -> Iterator[Blob | Rejected]:
        """Add one geometry to a draft. Raises Broken."""
        kind = geometry.get("type")
        if kind == "GeometryInstance":
            yield from self.instance(draft, geometry, look)
        elif kind in _NO_SURFACE:
            points = look.points(_indices(geometry.get("boundaries")))
            if not np.isfinite(points).all():
                raise Broken("coordinates that are no numbers")
            if len(points):
                draft.points.append(points)
            yield Rejected(draft.where, "city.not-drawn", {"object": draft.where, "kind": kind})
        else:
            lod = _text(geometry.get("lod"))
            patches, details = look.patches(geometry, look.document.vertices, look.swap)
            say_surfaces(draft, lod, details)
            patches_of(draft, lod).extend(patches)

    def instance(self, draft: Draft, geometry: Mapping[str, Any], look: _Look) -> Iterator[Blob | Rejected]:
        """Add a placed template to a draft. Raises Broken, PlaceError."""
        number = geometry.get("template")
        templates = _list(look.document.templates.get("templates"))
        if not isinstance(number, int) or not 0 <= number < len(templates):
            raise Broken(f"template {number} of {len(templates)}")
        point = look.points(_indices(geometry.get("boundaries")))
        try:
            matrix = np.array(geometry.get("transformationMatrix") or np.eye(4), np.float64).reshape(4, 4)
            corners = np.array(look.document.templates.get("vertices-templates") or [], np.float64).reshape(-1, 3)
        except (ValueError, TypeError) as error:
            raise Broken(str(error)) from None
        if len(point) != 1 or not np.isfinite(point).all() or not np.isfinite(matrix).all():
            raise Broken("one reference point and 16 finite numbers are needed")
        template = _mapping(templates[number])
        patches, _ = look.patches(template, corners, False)
        placed, blobs = self.models.put(str(number), patches, _text(template.get("lod")), matrix, point[0])
        yield from blobs
        if placed is None:
            raise Broken(f"template {number} has no surfaces")
        draft.models.append(placed)
        draft.points.append(point)


def _ours(record: Mapping[str, Any]) -> ObjectRecord | None:
    """The object as an export of ours says it (:mod:`tim.exchange`); ``None`` where it is none. Raises ValueError."""
    attributes = _mapping(record.get("attributes"))
    own = _mapping(attributes.get(OWN))
    if not own.keys() >= {"tim_id", "class"}:
        return None
    said = record_of(own)
    return replace(said, attributes={k: v for k, v in attributes.items() if k != OWN} | dict(said.attributes))


class _Look:
    """The geometry of one document, with its appearance."""

    def __init__(self, document: Document, images: Images, swap: bool) -> None:
        self.document, self.images, self.swap = document, images, swap
        self.lost: dict[str, SourceError] = {}
        """Why images cannot be used, by name; for the object that refers to them first."""
        appearance = document.appearance
        self.textures = _list(appearance.get("textures"))
        self.materials = _list(appearance.get("materials"))
        try:
            self.uv = np.array(appearance.get("vertices-texture") or [], np.float32).reshape(-1, 2)
        except (ValueError, TypeError):
            self.uv = np.empty((0, 2), np.float32)
        self.uv[:, 1] = 1 - self.uv[:, 1]  # CityJSON counts v from the lower edge, glTF from the upper
        self._plain: dict[int, shape.Material | None] = {}
        self._textured: dict[int, shape.Material | None] = {}

    def points(self, indices: Sequence[int]) -> F64:
        """float64[n, 3] native. Raises Broken."""
        return _corners(self.document.vertices, indices, self.swap)

    def patches(
        self, geometry: Mapping[str, Any], vertices: F64, swap: bool
    ) -> tuple[list[shape.Patch], list[dict[str, Any]]]:
        """The surfaces of a geometry, and what its semantic surfaces say. Raises Broken."""
        depth = _DEPTH.get(str(geometry.get("type")))
        if depth is None:
            raise Broken(f"type {str(geometry.get('type'))[:40]}")
        semantics = _mapping(geometry.get("semantics"))
        named = [_mapping(one) for one in _list(semantics.get("surfaces"))]
        textures = next((_mapping(t) for t in _mapping(geometry.get("texture")).values()), {})
        materials = next((_mapping(m) for m in _mapping(geometry.get("material")).values()), {})
        out: list[shape.Patch] = []
        for path, rings in _surfaces(geometry.get("boundaries"), depth):
            semantic = _at(semantics.get("values"), path)
            label = named[semantic].get("type") if isinstance(semantic, int) and 0 <= semantic < len(named) else ""
            number = materials["value"] if "value" in materials else _at(materials.get("values"), path)
            corners = [_corners(vertices, ring, swap) for ring in rings]
            material, uv = self._texture(_at(textures.get("values"), path), rings)
            out.append(shape.Polygon(corners, _text(label), material or self._material(number), uv))
        details = [{k: v for k, v in one.items() if k not in ("children", "parent")} for one in named]
        return out, details

    def _texture(
        self, values: object, rings: Sequence[Sequence[int]]
    ) -> tuple[shape.Material | None, list[F32] | None]:
        if not isinstance(values, list) or len(values) != len(rings):
            return None, None
        coordinates = []
        for ring, numbers in zip(rings, values, strict=True):
            fits = isinstance(numbers, list) and len(numbers) == len(ring) + 1 and all(type(n) is int for n in numbers)
            if not fits or not all(0 <= n < len(self.uv) for n in numbers[1:]):
                return None, None
            coordinates.append(self.uv[numbers[1:]])
        material = self._image(values[0][0])
        return (material, coordinates) if material else (None, None)

    def _image(self, number: int) -> shape.Material | None:
        if number not in self._textured:
            material = None
            if 0 <= number < len(self.textures):
                texture = _mapping(self.textures[number])
                name = _text(texture.get("image"))
                try:
                    content, mime = self.images.get(name)
                    material = shape.Material(
                        image=content, mime=mime, repeat=texture.get("wrapMode") in ("wrap", "mirror")
                    )
                except SourceError as error:
                    self.lost[name] = error
            self._textured[number] = material
        return self._textured[number]

    def _material(self, number: object) -> shape.Material | None:
        if type(number) is not int or not 0 <= number < len(self.materials):
            return None
        if number not in self._plain:
            record = _mapping(self.materials[number])
            try:
                red, green, blue = (min(max(float(v), 0.0), 1.0) for v in record["diffuseColor"])
                clear = min(max(float(record.get("transparency") or 0.0), 0.0), 1.0)
                self._plain[number] = shape.Material((red, green, blue, round(1 - clear, 6)))
            except (KeyError, TypeError, ValueError):
                self._plain[number] = None
        return self._plain[number]


def _surfaces(boundaries: object, depth: int) -> Iterator[tuple[tuple[int, ...], list[list[int]]]]:
    """Where each surface stands in the nested lists, and its rings."""
    if not isinstance(boundaries, list):
        raise Broken("boundaries are no list")
    for i, inner in enumerate(boundaries):
        if depth:
            for path, rings in _surfaces(inner, depth - 1):
                yield (i, *path), rings
        elif not isinstance(inner, list) or not inner or not all(isinstance(ring, list) for ring in inner):
            raise Broken("a surface is no list of rings")
        else:
            yield (i,), inner


def _corners(vertices: F64, indices: Sequence[Any], swap: bool) -> F64:
    if not all(type(i) is int for i in indices):
        raise Broken("a ring is no list of whole numbers")
    if indices and not (min(indices) >= 0 and max(indices) < len(vertices)):
        raise Broken(f"vertex {max(indices) if min(indices) >= 0 else min(indices)} of {len(vertices)}")
    out: F64 = vertices[np.array(indices, np.int64)]
    return out[:, [1, 0, 2]] if swap else out


def _indices(boundaries: object) -> list[int]:
    """All whole numbers in nested lists."""
    if isinstance(boundaries, list):
        return [i for inner in boundaries for i in _indices(inner)]
    return [boundaries] if type(boundaries) is int else []


def _at(values: object, path: Sequence[int]) -> object:
    for i in path:
        if not isinstance(values, list) or i >= len(values):
            return None
        values = values[i]
    return values


def _name(attributes: Mapping[str, Any]) -> str:
    return next((_text(attributes[key]) for key in ("name", "gml_name", "naam") if _text(attributes.get(key))), "")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value) if type(value) in (int, float) else ""
