"""Features and what they are made of: attributes, parts, surfaces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lxml import etree

from importers import ImportContext
from importers.beside import Images
from importers.city import CLASSES, Draft, moment, patches_of
from importers.citygml.document import HREF, Element, codelist, gml_id, local, members, numbers, references
from tim.errors import SourceError
from tim.geometry import F32, F64
from tim.model import Blob, ObjectRecord, Rejected, Relation
from tim.shape import Material, Polygon

_DEEP = 100
"""Levels of geometry in geometry, references followed."""
_MOST = 500_000
"""Elements of geometry of one object: references that branch would otherwise have no end."""
_SURFACES = {"Polygon", "PolygonPatch", "Triangle", "Rectangle"}
_LINES = {"Point", "LineString", "LineStringSegment", "MultiPoint"}
_GEOMETRY = re.compile(
    r"(?:Multi|Composite)(?:Surface|Solid|Curve|Point|Geometry)|Solid|TriangulatedSurface|Tin|TIN|Surface|Polygon|Curve|LineString|Point|OrientableSurface"
)
_SEMANTIC = re.compile(r"\w+Surface|Door|Window")
_LOD = re.compile(r"lod(\d)")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d+)?(?:[eE][-+]?\d{1,2})?")
_FLIP, _TOP = np.array([1, -1], np.float32), np.array([0, 1], np.float32)
"""From v up to v down."""
_TIMES = {"creationDate", "terminationDate", "validFrom", "validTo"}


class Reader:
    """The features of one file. Raises OSError where it cannot be read."""

    def __init__(self, path: Path, key: str, context: ImportContext, swap: bool, dimension: int) -> None:
        self._path, self._key, self._context, self._swap, self._dimension = path, key, context, swap, dimension
        self._images = Images(path.parent)
        self._lists: dict[str, dict[str, str]] = {}
        self._said: set[str] = set()
        self._keys: set[str] = set()
        self._references = references(path)
        self._ids: dict[str, Element] = {}
        self._nameless = 0

    def drafts(self) -> Iterator[Draft | Blob | Rejected]:
        """Objects in the order of the file, parts after what they belong to."""
        try:
            for member in members(self._path):
                if local(member) in ("appearanceMember", "versionTransitionMember"):
                    continue
                self._ids = {gml_id(element): element for element in member.iter(etree.Element) if gml_id(element)}
                for feature in member.iterchildren(etree.Element):
                    if local(feature) != "Version":
                        yield from self._feature(feature, "")
        except etree.XMLSyntaxError as error:
            line = error.lineno or 0
            fields = {"file": self._key, "line": line, "reason": re.sub(r",? line \d+.*", "", error.msg or "")}
            yield Rejected(f"{self._key}:{line}", "citygml.broken", fields)

    def _feature(self, feature: Element, parent: str) -> Iterator[Draft | Blob | Rejected]:
        where, kind = f"{self._key}:{feature.sourceline}", local(feature)
        fields = {"file": self._key, "line": feature.sourceline, "object": gml_id(feature) or kind}
        source_key = gml_id(feature)
        if not source_key:
            self._nameless += 1
            source_key = f"{kind}-{self._nameless}"
            yield Rejected(where, "citygml.no-id", {**fields, "key": source_key})
        if source_key in self._keys:
            yield Rejected(where, "citygml.duplicate-id", fields)
            return
        self._keys.add(source_key)
        if kind not in CLASSES and kind not in self._said:
            self._said.add(kind)
            yield Rejected(where, "citygml.unknown-type", {**fields, "type": kind})
        draft = Draft(ObjectRecord(source_key, CLASSES.get(kind, "land.other"), layer=self._context.layer), where)
        work = _Work(self, draft, fields)
        work.walk(feature, "")
        work.geometry()
        times = {name: moment(feature.findtext(f"{{*}}{name}")) for name in _TIMES}
        relations = [Relation("partOf", self._context.id_of(parent))] if parent else []
        relations += [
            Relation("replaces", self._context.id_of(old)) for old in self._references.replaced.get(source_key, ())
        ]
        relations += [Relation(name, self._context.id_of(target)) for name, target in work.relations]
        draft.record = ObjectRecord(
            source_key, draft.record.class_id, (feature.findtext("{*}name") or "").strip(), self._context.layer,
            {"type": kind, **work.attributes}, valid_from=times["validFrom"] or times["creationDate"],
            valid_to=times["validTo"] or times["terminationDate"], relations=tuple(relations),
        )  # fmt: skip
        yield from self._images.take()
        for code, count in work.problems.items():
            yield Rejected(where, code, {**fields, "count": count})
        for error in work.images.values():
            yield Rejected(where, error.code, {"object": source_key, **error.fields})
        yield draft
        for part in work.parts:
            yield from self._feature(part, source_key)

    def value(self, element: Element) -> Any:
        """A leaf as JSON; a code with its text where the list lies beside."""
        text, space = (element.text or "").strip(), element.get("codeSpace")
        if space:
            if space not in self._lists:
                self._lists[space] = codelist(self._path.parent, space)
            known = self._lists[space].get(text)
            return {"code": text, "value": known} if known else {"code": text, "codeSpace": space}
        if _NUMBER.fullmatch(text):
            number = float(text) if re.search(r"[.eE]", text) else int(text)
            return {"value": number, "uom": element.get("uom")} if element.get("uom") else number
        return text


class _Work:
    """What one feature is found to have."""

    def __init__(self, reader: Reader, draft: Draft, fields: dict[str, Any]) -> None:
        self._reader, self._draft, self._fields = reader, draft, fields
        self.attributes: dict[str, Any] = {}
        self.parts: list[Element] = []
        self.relations: list[tuple[str, str]] = []
        self.problems: dict[str, int] = {}
        self.images: dict[str, SourceError] = {}
        self._shapes: list[tuple[str, str, Element]] = []
        self._taken: set[tuple[str, Element]] = set()
        self._steps = 0

    def walk(self, feature: Element, semantic: str) -> None:
        """The properties of a feature or of a surface that bounds it."""
        for prop in feature.iterchildren(etree.Element):
            name, children = local(prop), list(prop.iterchildren(etree.Element))
            child = children[0] if len(children) == 1 else None
            kind = "" if child is None else local(child)
            if (name == "boundedBy" and kind == "Envelope") or name in ("appearance", "appearanceMember"):
                continue
            if kind == "ImplicitGeometry":
                self._problem("citygml.implicit")
            elif kind == "Dynamizer":
                self._problem("citygml.dynamizer")
                self._attribute(self.attributes, name, _plain(child, self._reader))
            elif (
                child is not None
                and name in ("boundedBy", "boundary", "opening", "fillingSurface")
                and _SEMANTIC.fullmatch(kind)
            ):
                self.walk(child, kind)
            elif child is not None and kind in CLASSES and not semantic:
                self.parts.append(child)
            elif child is not None and (_GEOMETRY.fullmatch(kind)):
                match = _LOD.match(name)
                lod = match.group(1) if match else (feature.findtext("{*}lod") or "").strip()
                self._shapes.append((lod, semantic, prop))
            elif not children and _LOD.match(name) and prop.get(HREF):
                self._shapes.append((_LOD.match(name).group(1), semantic, prop))  # type: ignore[union-attr]
            elif not children and (href := prop.get(HREF)):
                if href.startswith("#"):
                    self.relations.append((name, href[1:]))
                else:
                    self._attribute(self.attributes, name, href)
            elif not semantic:
                target, value = prop.get("name") or name, _plain(prop, self._reader)
                if prop.get("name") and isinstance(value, dict) and len(value) == 1:
                    value = next(iter(value.values()))
                self._attribute(self.attributes, target, value)

    def geometry(self) -> None:
        """Surfaces that say what they are first: a solid that refers to them does not draw them again."""
        for lod, semantic, prop in sorted(self._shapes, key=lambda shape: not shape[1]):
            self._add(prop, lod, semantic, False, 0)

    def _add(self, element: Element, lod: str, semantic: str, turned: bool, depth: int) -> None:
        self._steps += 1
        if depth > _DEEP or self._steps > _MOST:
            self._problem("citygml.too-deep")
            return
        if href := element.get(HREF):
            target = self._reader._ids.get(href[1:])
            target = self._reader._references.elements.get(href[1:]) if target is None else target
            if target is None or not href.startswith("#"):
                self._problem("citygml.no-target")
            else:
                self._add(target, lod, semantic, turned, depth + 1)
            return
        kind = local(element)
        if kind in _SURFACES:
            if (lod, element) not in self._taken:
                self._taken.add((lod, element))
                self._polygon(element, lod, semantic, turned)
        elif kind in _LINES:
            for item in element.iter("{*}posList", "{*}pos"):
                if (points := self._points(item)) is not None:
                    self._draft.points.append(points)
            self._problem("citygml.lines")
        else:
            turned ^= kind == "OrientableSurface" and element.get("orientation") == "-"
            for child in element.iterchildren(etree.Element):
                if self._steps > _MOST:
                    return
                self._add(child, lod, semantic, turned, depth + 1)

    def _polygon(self, element: Element, lod: str, semantic: str, turned: bool) -> None:
        rings: list[F64] = []
        uvs: list[F32] = []
        material = None
        names = [gml_id(element), gml_id(element.getparent()) if element.getparent() is not None else ""]
        if color := next((c for n in names if (c := self._reader._references.colors.get(n))), None):
            material = Material(color)
        for ring in element.iter("{*}LinearRing"):
            lists = list(ring.iter("{*}posList", "{*}pos"))
            parts = [self._points(item) for item in lists]
            if not parts or any(part is None for part in parts):
                self._problem("citygml.bad-ring")
                self._draft.lost = True
                return
            points: F64 = np.concatenate([part for part in parts if part is not None])
            closed = len(points) > 1 and bool((points[0] == points[-1]).all())
            rings.append((points[:-1] if closed else points)[:: -1 if turned else 1])
            image, uv = self._reader._references.textures.get(gml_id(ring), ("", None))
            if uv is not None and len(uv) in (len(points), len(rings[-1])):
                uv = uv[: len(rings[-1])] * _FLIP + _TOP
                uvs.append(uv[:: -1 if turned else 1])
                material = self._image(image) or material
        if not rings:
            self._problem("citygml.bad-ring")
            self._draft.lost = True
            return
        whole = uvs if len(uvs) == len(rings) and material is not None and material.image else None
        if whole is None and material is not None and material.image:
            material = None
        patches_of(self._draft, lod).append(Polygon(rings, semantic, material, whole))

    def _image(self, name: str) -> Material | None:
        try:
            content, mime = self._reader._images.get(name)
        except SourceError as error:
            self.images[name] = error
            return None
        return Material(image=content, mime=mime, repeat=True)

    def _points(self, element: Element) -> F64 | None:
        holders = (element, *element.iterancestors())
        said = next((d for e in holders[:8] if (d := e.get("srsDimension"))), None)
        points = numbers(element.text, int(said) if said in ("2", "3") else self._reader._dimension)
        if points is None and said is None:  # a footprint of two numbers a point below an envelope of three
            points = numbers(element.text, 5 - self._reader._dimension)
        return points[:, [1, 0, 2]] if points is not None and self._reader._swap else points

    def _problem(self, code: str) -> None:
        self.problems[code] = self.problems.get(code, 0) + 1

    @staticmethod
    def _attribute(into: dict[str, Any], name: str, value: Any) -> None:
        if name not in into:
            into[name] = value
        elif isinstance(into[name], list):
            into[name].append(value)
        else:
            into[name] = [into[name], value]


def _plain(element: Element, reader: Reader) -> Any:
    """An element as JSON: a leaf, or its children by name."""
    out: dict[str, Any] = {}
    children = list(element.iterchildren(etree.Element))
    if not children:
        return reader.value(element)
    for child in children:
        value = _plain(child, reader)
        if len(children) == 1 and isinstance(value, dict) and local(child)[:1].isupper():
            return value
        _Work._attribute(out, child.get("name") or local(child), value)
    return out
