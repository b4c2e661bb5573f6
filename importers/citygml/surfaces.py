"""Geometry of GML as patches: surfaces with their rings and looks, references followed, points and lines as places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from lxml import etree

from importers.beside import Images
from importers.citygml.document import References, numbers
from importers.citygml.names import HREF, Element, gml_id, local
from tim.errors import SourceError
from tim.geometry import F32, F64
from tim.shape import Material, Patch, Polygon

_DEEP = 100
"""Levels of geometry in geometry, references followed."""
_MOST = 500_000
"""Elements of geometry of one object: references that branch would otherwise have no end."""
_SURFACES = {"Polygon", "PolygonPatch", "Triangle", "Rectangle"}
_FLIP, _TOP = np.array([1, -1], np.float32), np.array([0, 1], np.float32)
"""From v up to v down."""


@dataclass(slots=True)
class Sheet:
    """What the geometry of one file is read with."""

    references: References
    images: Images
    swap: bool
    """Whether its first two axes are exchanged."""
    dimension: int
    """Numbers to a point where an element does not say."""
    ids: Mapping[str, Element] = field(default_factory=dict)
    """Elements of the member that is read."""

    def target(self, href: str) -> Element | None:
        """What a link within the file leads to; ``None`` for any other and for what it does not have."""
        if not href.startswith("#"):
            return None
        own = self.ids.get(href[1:])
        return self.references.elements.get(href[1:]) if own is None else own


class Collector:
    """Gathers the geometry of one feature, or of one prototype in axes of its own (``native`` false: x, y, z as written)."""

    def __init__(self, sheet: Sheet, native: bool = True, steps: int = 0) -> None:
        self._sheet, self._swap = sheet, native and sheet.swap
        self._dimension = sheet.dimension if native else 3
        self.patches: dict[str, list[Patch]] = {}
        """By level of detail."""
        self.points: list[F64] = []
        """float64[n, 3] each: of points and lines, which are not drawn."""
        self.problems: Counter[str] = Counter()
        self.images: dict[str, SourceError] = {}
        self.lost = False
        """Whether a surface was left out."""
        self.steps = steps
        """Elements that were looked at, those before included."""
        self._taken: set[tuple[str, Element]] = set()

    def add(self, element: Element, lod: str, semantic: str = "", turned: bool = False, depth: int = 0) -> None:
        """Take what an element holds. A surface is drawn once in a level of detail, as what it is first said to be."""
        self.steps += 1
        if depth > _DEEP or self.steps > _MOST:
            self.problems["citygml.too-deep"] += 1
            return
        if href := element.get(HREF):
            if (target := self._sheet.target(href)) is None:
                self.problems["citygml.no-target"] += 1
            else:
                self.add(target, lod, semantic, turned, depth + 1)
            return
        kind = local(element)
        if kind in _SURFACES:
            if (lod, element) not in self._taken:
                self._taken.add((lod, element))
                self._polygon(element, lod, semantic, turned)
        elif kind in ("posList", "pos"):
            if (points := self._points(element)) is None:
                self.problems["citygml.bad-ring"] += 1
                self.lost = True
            else:
                self.points.append(points)
                self.problems["citygml.lines"] += 1
        else:
            turned ^= kind == "OrientableSurface" and element.get("orientation") == "-"
            for child in element.iterchildren(etree.Element):
                if self.steps > _MOST:
                    return
                self.add(child, lod, semantic, turned, depth + 1)

    def _polygon(self, element: Element, lod: str, semantic: str, turned: bool) -> None:
        rings: list[F64] = []
        uvs: list[F32] = []
        material = None
        names = [gml_id(element), gml_id(element.getparent()) if element.getparent() is not None else ""]
        if color := next((c for n in names if (c := self._sheet.references.colors.get(n))), None):
            material = Material(color)
        for ring in element.iter("{*}LinearRing"):
            parts = [self._points(item) for item in ring.iter("{*}posList", "{*}pos")]
            if not parts or any(part is None for part in parts):
                self._bad_ring()
                return
            points: F64 = np.concatenate([part for part in parts if part is not None])
            closed = len(points) > 1 and bool((points[0] == points[-1]).all())
            rings.append((points[:-1] if closed else points)[:: -1 if turned else 1])
            image, uv = self._sheet.references.textures.get(gml_id(ring), ("", None))
            if uv is not None and len(uv) in (len(points), len(rings[-1])):
                uv = uv[: len(rings[-1])] * _FLIP + _TOP
                uvs.append(uv[:: -1 if turned else 1])
                material = self._image(image) or material
        if not rings:
            self._bad_ring()
            return
        whole = uvs if len(uvs) == len(rings) and material is not None and material.image else None
        if whole is None and material is not None and material.image:
            material = None
        self.patches.setdefault(lod, []).append(Polygon(rings, semantic, material, whole))

    def _bad_ring(self) -> None:
        self.problems["citygml.bad-ring"] += 1
        self.lost = True

    def _image(self, name: str) -> Material | None:
        try:
            content, mime = self._sheet.images.get(name)
        except SourceError as error:
            self.images[name] = error
            return None
        return Material(image=content, mime=mime, repeat=True)

    def _points(self, element: Element) -> F64 | None:
        holders = (element, *element.iterancestors())
        said = next((d for e in holders[:8] if (d := e.get("srsDimension"))), None)
        points = numbers(element.text, int(said) if said in ("2", "3") else self._dimension)
        if points is None and said is None:  # a footprint of two numbers a point below an envelope of three
            points = numbers(element.text, 5 - self._dimension)
        return points[:, [1, 0, 2]] if points is not None and self._swap else points
