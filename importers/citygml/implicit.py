"""Implicit geometry: a prototype in metres of its own, placed by a matrix about a reference point (CityGML 2.0, 8.2; 3.0, 7.2.5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from importers.beside import inside
from importers.city import Draft, Models
from importers.citygml.names import HREF, Element
from importers.citygml.surfaces import Collector, Sheet
from importers.gltf import LARGEST, examine
from tim.errors import PlaceError, SourceError
from tim.geometry import F64
from tim.model import Blob, Representation
from tim.shape import Patch


class Unplaced(Exception):
    """An implicit geometry that cannot be drawn; the argument is the reason, for messages."""


@dataclass(slots=True)
class Prototypes:
    """The prototypes of one file; one that many refer to is built once."""

    folder: Path
    """Where the file lies."""
    sheet: Sheet
    models: Models
    _shared: dict[str, list[Patch]] = field(default_factory=dict)
    """By id."""
    _library: dict[str, str] = field(default_factory=dict)
    """Content hashes of glb files by name."""
    _alone: int = 0

    def place(self, element: Element, lod: str, draft: Draft, own: Collector) -> list[Blob]:
        """Add an ``ImplicitGeometry``, or the property that links to one, to a draft, with the blobs that are new. ``own`` gathers
        what is wrong with its surfaces. Raises Unplaced; its reference point is kept where it has one."""
        if element.get(HREF):
            element = self.sheet.target(element.get(HREF))
            if element is None:
                raise Unplaced("a link leads nowhere")
        point = self._point(element)
        draft.points.append(point[None])
        matrix = _matrix(element.findtext("{*}transformationMatrix"))
        holder = element.find("{*}relativeGMLGeometry")
        holder = element.find("{*}relativeGeometry") if holder is None else holder
        try:
            if holder is None:
                name = (element.findtext("{*}libraryObject") or "").strip()
                placed, blobs = self._from_library(name, lod, matrix, point)
            else:
                placed, blobs = self._from_surfaces(holder, lod, matrix, point, own)
        except PlaceError as error:
            raise Unplaced(str(error)[:200]) from None
        draft.models.append(placed)
        return blobs

    def _from_surfaces(
        self, holder: Element, lod: str, matrix: F64, point: F64, own: Collector
    ) -> tuple[Representation, list[Blob]]:
        key = holder.get(HREF, "").removeprefix("#")
        patches = self._shared.get(key) if key else None
        if patches is None:
            shape = Collector(self.sheet, native=False, steps=own.steps)
            shape.add(holder, "")
            own.steps = shape.steps
            own.problems += shape.problems
            own.images |= shape.images
            patches = shape.patches.get("", [])
            if key:
                self._shared[key] = patches
        if not key:
            self._alone += 1
            key = f"#{self._alone}"
        placed, blobs = self.models.put(key, patches, lod, matrix, point)
        if placed is None:
            raise Unplaced("no surfaces")
        return placed, blobs

    def _from_library(self, name: str, lod: str, matrix: F64, point: F64) -> tuple[Representation, list[Blob]]:
        blobs = []
        if name not in self._library:
            path = inside(self.folder, name) if name else None
            if path is None or path.suffix.lower() != ".glb":
                raise Unplaced(f"libraryObject {name[:200]} is no .glb beside the file" if name else "no geometry")
            try:
                if path.stat().st_size > LARGEST:
                    raise Unplaced(f"libraryObject {name[:200]}: > {LARGEST >> 20} MiB")
                data = path.read_bytes()
                examine(data, name)
            except OSError as error:
                raise Unplaced(f"libraryObject {name[:200]}: {error.strerror}") from None
            except SourceError as error:
                raise Unplaced(f"libraryObject {name[:200]}: {error.code}") from None
            blobs.append(Blob(data))
            self._library[name] = blobs[0].content
        placed = self.models.put_glb(self._library[name], lod, matrix, point)
        if placed is None:
            raise Unplaced("the matrix tilts or shears a libraryObject")
        return placed, blobs

    def _point(self, element: Element) -> F64:
        found = Collector(self.sheet)
        if (holder := element.find("{*}referencePoint")) is not None:
            found.add(holder, "")
        if len(found.points) != 1 or len(found.points[0]) != 1:
            raise Unplaced("no reference point")
        point: F64 = found.points[0][0]
        return point


def _matrix(text: str | None) -> F64:
    """Row by row; the identity where there is none."""
    try:
        matrix = np.array((text or "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1").split(), np.float64).reshape(4, 4)
    except ValueError:
        matrix = np.full((4, 4), np.nan)
    if not np.isfinite(matrix).all():
        raise Unplaced("transformationMatrix is not 16 finite numbers")
    return matrix
