"""Features and what they are made of: attributes, parts, surfaces."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lxml import etree

from importers import ImportContext
from importers.beside import Images
from importers.city import CLASSES, Draft, Models, patches_of, say_surfaces
from importers.citygml.document import codelist, features, members, references
from importers.citygml.implicit import Prototypes, Unplaced
from importers.citygml.names import HREF, Element, gml_id, local
from importers.citygml.surfaces import Collector, Sheet
from importers.citygml.versions import HELD, HOLDERS, Span, identifier, key_of, members_of, span_of
from tim.model import Blob, Code, ObjectRecord, Rejected, Relation

_GEOMETRY = re.compile(
    r"(?:Multi|Composite)(?:Surface|Solid|Curve|Point|Geometry)|Solid|TriangulatedSurface|Tin|TIN|Surface|Polygon|(?:Orientable)?Curve|LineString|Point"
    r"|OrientableSurface|GeometricComplex"
)
_SEMANTIC = re.compile(r"\w+Surface|Door|Window")
_LOD = re.compile(r"lod(\d)")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d+)?(?:[eE][-+]?\d{1,2})?")
_BOUNDS = ("boundedBy", "boundary", "opening", "fillingSurface")
_KIND = re.compile(r"[A-Za-z][\w-]*", re.ASCII)


class Reader:
    """The features of one file. Raises OSError where it cannot be read."""

    def __init__(self, path: Path, key: str, context: ImportContext, swap: bool, dimension: int) -> None:
        self._path, self._key, self._context = path, key, context
        self.sheet = Sheet(references(path), Images(path.parent), swap, dimension)
        self.prototypes = Prototypes(path.parent, self.sheet, Models(context.place))
        self._versions = self.sheet.references.versions
        self._groups = dict(self._versions.groups)
        """Of those that were not met yet."""
        self._lists: dict[str, dict[str, str]] = {}
        self._said: set[str] = set()
        self._ids: set[str] = set()
        self._nameless = 0

    def drafts(self) -> Iterator[Draft | Blob | Rejected]:
        """Objects in the order of the file, parts after what they belong to."""
        try:
            for member in members(self._path):
                if local(member) == "appearanceMember":
                    continue
                self.sheet.ids = {gml_id(element): element for element in member.iter(etree.Element) if gml_id(element)}
                for feature in features(member):
                    yield from self._feature(feature, "", Span())
            if self._groups:
                fields = {"file": self._key, "count": len(self._groups), "first": next(iter(self._groups))}
                yield Rejected(self._key, "citygml.no-member", fields)
        except etree.XMLSyntaxError as error:
            line = error.lineno or 0
            fields = {"file": self._key, "line": line, "reason": re.sub(r",? line \d+.*", "", error.msg or "")}
            yield Rejected(f"{self._key}:{line}", "citygml.broken", fields)

    def _feature(self, feature: Element, parent: str, life: Span) -> Iterator[Draft | Blob | Rejected]:
        """A feature and its parts. ``parent``: the key of what it is part of; ``life``: when that stands, and what is part of it
        unless it says otherwise."""
        where, kind, name = f"{self._key}:{feature.sourceline}", local(feature), gml_id(feature)
        fields = {"file": self._key, "line": feature.sourceline, "object": name or kind}
        source_key = key_of(feature)
        if not source_key:
            self._nameless += 1
            source_key = f"{kind}-{self._nameless}"
            yield Rejected(where, "citygml.no-id", {**fields, "key": source_key})
        if name in self._ids:
            yield Rejected(where, "citygml.duplicate-id", fields)
            return
        self._ids |= {name} if name else set()
        if kind not in CLASSES and kind not in self._said:
            self._said.add(kind)
            yield Rejected(where, "citygml.unknown-type", {**fields, "type": kind})
        draft = Draft(ObjectRecord(source_key, CLASSES.get(kind, "land.other"), layer=self._context.layer), where)
        work = _Work(self, draft)
        work.walk(feature)
        yield from work.geometry()
        life = span_of(feature).filled(self._versions.span(name)).filled(life)
        space, value = identifier(feature)
        title = (feature.findtext("{*}name") or (feature.findtext("{*}tag") if kind == "Version" else "") or "").strip()
        named = {"gmlId": name} if name and name != source_key else {}
        draft.record = ObjectRecord(
            source_key, draft.record.class_id, title, self._context.layer,
            {"type": kind, **named, **work.attributes, **self._versions.said.get(name, {})},
            valid_from=life.begin, valid_to=life.end, codes=(Code(space, "", value),) if space and value else (),
            relations=tuple(self._relations(feature, name, source_key, parent, work.relations)),
        )  # fmt: skip
        yield from self.sheet.images.take()
        for code, count in (work.problems + work.found.problems).items():
            yield Rejected(where, code, {**fields, "count": count})
        if work.unplaced:
            reasons = "; ".join(work.unplaced)
            yield Rejected(where, "citygml.implicit", {**fields, "count": work.unplaced.total(), "reason": reasons})
        for error in work.found.images.values():
            yield Rejected(where, error.code, {"object": source_key, **error.fields})
        yield draft
        for part in work.parts:
            yield from self._feature(part, source_key, life)

    def _relations(
        self, feature: Element, name: str, key: str, parent: str, said: list[tuple[str, str, str]]
    ) -> Iterator[Relation]:
        """What it is part of, what it took the place of, what it says itself. Versions of one feature do not replace each other: they are one."""
        known = self._versions
        if parent:
            yield Relation("partOf", self._context.id_of(parent))
        for group, role in self._groups.pop(name, ()):
            yield Relation("partOf", self._context.id_of(known.key(group)), evidence=role)
        for old, why in known.replaced.get(name, ()):
            if known.key(old) != key:
                yield Relation("replaces", self._context.id_of(known.key(old)), evidence=why)
        if local(feature) == "Version":
            said = [*said, *(("versionMember", member, member) for member in members_of(feature))]
        for kind, target, evidence in said:
            yield Relation(kind, self._context.id_of(known.key(target)), evidence=evidence)

    def value(self, element: Element) -> Any:
        """A leaf as JSON; a code with its text where the list lies beside."""
        text, space = (element.text or element.get(HREF) or "").strip(), element.get("codeSpace")
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

    def __init__(self, reader: Reader, draft: Draft) -> None:
        self._reader, self._draft = reader, draft
        self.attributes: dict[str, Any] = {}
        self.parts: list[Element] = []
        self.relations: list[tuple[str, str, str]] = []
        """Kind, ``gml:id`` of the target, evidence."""
        self.problems: Counter[str] = Counter()
        self.found = Collector(reader.sheet)
        self.unplaced: Counter[str] = Counter()
        """Implicit geometries that are not drawn, by reason."""
        self._shapes: list[tuple[str, dict[str, Any] | None, Element]] = []
        self._implicit: list[tuple[str, Element]] = []
        self._bounds: set[Element] = set()

    def walk(self, feature: Element, surface: dict[str, Any] | None = None) -> None:
        """The properties of a feature, or of a ``surface`` that bounds it: what that says is kept with the geometry it has."""
        into = self.attributes if surface is None else surface
        for prop in feature.iterchildren(etree.Element):
            name, children = local(prop), list(prop.iterchildren(etree.Element))
            child = children[0] if len(children) == 1 else None
            if surface is None and not children and name in _BOUNDS and prop.get(HREF):
                child = self._reader.sheet.target(prop.get(HREF))
            kind = "" if child is None else local(child)
            lod = match.group(1) if (match := _LOD.match(name)) else (feature.findtext("{*}lod") or "").strip()
            if (name == "boundedBy" and kind == "Envelope") or name in ("appearance", "appearanceMember"):
                continue
            if local(feature) in HOLDERS and name in HELD and (children or _inside(prop)):
                continue  # features of their own, and relations
            if name == "groupMember" and _inside(prop):
                continue  # what is a member says so
            if kind == "CityObjectRelation" and surface is None and self._related(child):
                continue
            if kind == "ImplicitGeometry":
                self._implicit.append((lod, child))
            elif not children and prop.get(HREF) and name.endswith("ImplicitRepresentation"):
                self._implicit.append((lod, prop))
            elif kind == "Dynamizer":
                self.problems["citygml.dynamizer"] += 1
                attribute(into, name, _plain(child, self._reader))
            elif child is not None and name in _BOUNDS and _SEMANTIC.fullmatch(kind):
                self._bound(child, kind)
            elif child is not None and kind in CLASSES:
                self.parts.append(child)
            elif _GEOMETRY.fullmatch(kind) or (not children and match and prop.get(HREF)):
                self._shapes.append((lod, surface, prop))
            elif not children and (href := prop.get(HREF)):
                if href.startswith("#") and surface is None:
                    self.relations.append((name, href[1:], ""))
                else:
                    attribute(into, name, href)
            else:
                target, value = prop.get("name") or name, _plain(prop, self._reader)
                if prop.get("name") and isinstance(value, dict) and len(value) == 1:
                    value = next(iter(value.values()))
                elif isinstance(value, dict) and value.keys() == {"name", "value"} and isinstance(value["name"], str):
                    target, value = value["name"], value["value"]  # a generic attribute of CityGML 3
                attribute(into, target, value)

    def _related(self, element: Element) -> bool:
        """A relation to another feature of the file, of the kind it states; whether there is one (CityGML 3.0, 7.2)."""
        target, stated = element.find("{*}relatedTo"), (element.findtext("{*}relationType") or "").strip()
        href = "" if target is None else target.get(HREF) or ""
        if not href.startswith("#"):
            return False
        kind = re.split(r"[/#:]", stated)[-1]
        self.relations.append(
            (kind if _KIND.fullmatch(kind) else "relatedTo", href[1:], stated if stated != kind else "")
        )
        return True

    def _bound(self, element: Element, kind: str) -> None:
        """A surface that bounds the feature; one without geometry of its own says what it says as an attribute of the feature."""
        if element in self._bounds:
            return
        self._bounds.add(element)
        surface = {"type": kind, **({"id": gml_id(element)} if gml_id(element) else {})}
        plain, before = len(surface), len(self._shapes)
        self.walk(element, surface)
        if len(self._shapes) == before and len(surface) > plain:
            self.attributes.setdefault("surfaces", []).append(surface)

    def geometry(self) -> Iterator[Blob]:
        """Surfaces that say what they are first: a solid that refers to them does not draw them again. Then what is placed by itself."""
        found, draft = self.found, self._draft
        said: dict[str, list[dict[str, Any]]] = {}
        for lod, surface, prop in sorted(self._shapes, key=lambda shape: shape[1] is None):
            found.add(prop, lod, surface["type"] if surface else "")
            if surface and surface not in said.setdefault(lod, []):
                said[lod].append(surface)
        for lod, element in self._implicit:
            try:
                yield from self._reader.prototypes.place(element, lod, draft, found)
            except Unplaced as reason:
                self.unplaced[str(reason)] += 1
                draft.lost = True
        for lod, patches in found.patches.items():
            patches_of(draft, lod).extend(patches)
            say_surfaces(draft, lod, said.get(lod, ()))
        draft.points += found.points
        draft.lost |= found.lost


def _inside(prop: Element) -> bool:
    """Whether a property leads to something in the same file."""
    return any((element.get(HREF) or "").startswith("#") for element in prop.iter(etree.Element))


def attribute(into: dict[str, Any], name: str, value: Any) -> None:
    """Add a value; one more of a name makes it a list."""
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
        attribute(out, child.get("name") or local(child), value)
    return out
