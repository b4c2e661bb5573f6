"""IFC models (2x3, 4, 4.3; ``.ifc``, ``.ifczip``): products, storeys, spaces and sites as objects with their relations and property sets.

Probing reads a header and single instances as text; reading needs ifcopenshell (the extra ``bim``) and runs it in a process of its own.
Settings: ``heading``, ``scale`` (of a model in a local frame), ``scenario``, ``stage``, ``width`` (metres, of what is only a line),
``timeout`` (seconds for one file).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from importers import ImportContext, Probe
from importers.beside import Images
from importers.ifc.child import read_apart, records
from importers.ifc.classes import class_of
from importers.ifc.georeference import Georeference, georeference
from importers.ifc.model import Mesh, Product, Summary
from importers.ifc.packed import unpacked
from importers.ifc.step import MAGIC, StepFile
from importers.ifc.texture import Texture
from importers.solids import tube
from importers.standing import Standing, standing
from tim.errors import CorruptSource, PlaceError, SourceError, UsageError
from tim.geometry import F64, I32, U32
from tim.model import Blob, ObjectRecord, Rejected, Relation, Representation, Stage
from tim.place import Box3, Place, boxes
from tim.place.resolve import FoundCrs
from tim.shape import FORMAT, Built, Material, Triangles, build
from tim.sources import GridSource, MeshTree, PointSource, SourceRef, VolumeSource, fingerprint

__all__ = ["open", "probe", "read"]

SUFFIXES = (".ifc", ".ifczip", ".ifcxml")
FOLDERS = False


_BATCH, _VERTICES = 512, 400_000
"""Products, and vertices, that are placed at once."""
_SPACE = Material((0.6, 0.75, 0.95, 0.25))
"""Rooms are seen through unless the model says otherwise."""
_TIMEOUT, _WIDTH = 3600.0, 0.2
_LARGEST = 1e8
"""Metres: coordinates beyond are on no map."""


def probe(path: Path, key: str = "") -> list[Probe]:
    """One model; empty for files of other names. What cannot be read is ``fatal``."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return []
    key = key or path.name
    size = path.stat().st_size
    try:
        with unpacked(path) as plain:
            found, schema = _looked_at(plain)
    except CorruptSource as error:
        return [_refused(path, key, size, error.code, **error.fields)]
    except OSError as error:
        return [_refused(path, key, size, "ifc.unreadable", reason=error.strerror or str(error))]
    corners = found.to_native(np.array([found.low, found.high]), found.crs or "", 1.0)
    (x, y, z), (u, v, w) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    problems = tuple(Rejected(key, code, {"file": key, **fields}) for code, fields in found.problems)
    return [Probe(
        uri=str(path), format="ifc", kind="objects", key=key, files=1, size=size, count=None, low=(x, y, z), high=(u, v, w),
        found=FoundCrs(found.crs, found.vertical, where=key), problems=problems, fatal=any(p.code == "ifc.bad-conversion" for p in problems),
        options={"schema": schema, "georeference": found.record()},
    )]  # fmt: skip


def read(probe: Probe, context: ImportContext) -> Iterator[ObjectRecord | Blob | SourceRef | Rejected]:
    """Products as the kernel gives them, then those without geometry, and one reference. A file that fails on the way gives nothing but the reason."""
    yield from probe.problems
    if probe.fatal:
        return
    path = Path(probe.uri)
    with tempfile.TemporaryDirectory(prefix="tim-ifc-") as folder:
        out = Path(folder) / "records"
        try:
            if find_spec("ifcopenshell") is None:
                raise SourceError("ifc.needs-extra")
            print_ = fingerprint(path)
            with unpacked(path) as plain:
                read_apart(plain, out, _positive(context.settings, "timeout", _TIMEOUT))
        except OSError as error:
            yield Rejected(probe.key, "ifc.unreadable", {"file": probe.key, "reason": error.strerror or str(error)})
            return
        except SourceError as error:
            yield Rejected(probe.key, error.code, {"file": probe.key, **error.fields})
            return
        stream = records(out)
        summary = next(stream)
        assert isinstance(summary, Summary)
        yield from _remarks(summary, probe.key)
        model = _Model(probe, context)
        for batch in _batches(product for product in stream if isinstance(product, Product)):
            yield from model.take(batch)
        yield from model.rest()
        if summary.textures > len(model.textures):
            count = summary.textures - len(model.textures)
            yield Rejected(probe.key, "ifc.textures-left-out", {"file": probe.key, "count": count})
    if not model.count:
        yield Rejected(probe.key, "ifc.no-products", {"file": probe.key})
        return
    assert probe.low is not None
    assert probe.high is not None
    box = model.box or context.place.box(np.array(probe.low), np.array(probe.high))
    about = {"schema": summary.schema, "project": summary.project, "units": dict(summary.units)}
    yield context.source(probe, print_, box, model.count, **about)


def open(ref: SourceRef) -> PointSource | MeshTree | GridSource | VolumeSource:  # noqa: A001
    """Refused: a model is objects only. Raises SourceError."""
    raise SourceError("ifc.no-bulk", file=ref.key)


def _looked_at(path: Path) -> tuple[Georeference, str]:
    """Where an exchange file lies, and its schema. Raises OSError, CorruptSource."""
    with path.open("rb") as stream:
        if MAGIC not in stream.read(256):
            raise CorruptSource("ifc.not-ifc")
    with StepFile(path) as file:
        if not file.schema.upper().startswith("IFC"):
            raise CorruptSource("ifc.not-ifc")
        if not file.complete:
            raise CorruptSource("ifc.cut-off")
        return georeference(file), file.schema


class _Model:
    """Products on their way to objects."""

    def __init__(self, probe: Probe, context: ImportContext) -> None:
        self._key, self._context = probe.key, context
        self._reference = Georeference.from_record(probe.options["georeference"])
        planned = "scenario" in context.settings
        self._standing: Standing = standing(context.settings, probe.key, Stage.PLANNED if planned else Stage.SURVEYED)
        self._width = _positive(context.settings, "width", _WIDTH)
        self._without: list[Product] = []
        self._above: dict[str, str] = {}
        self._boxes: dict[str, Box3] = {}
        self._given: set[str] = set()
        self._refusal: PlaceError | None = None
        self._images = Images(Path(probe.uri).parent)
        self._lost: dict[str, SourceError] = {}
        self.textures: set[int] = set()
        """Instances of textures that were used or named as lost."""
        self.count = 0
        self.box: Box3 | None = None

    def take(self, batch: list[Product]) -> Iterator[ObjectRecord | Blob | Rejected]:
        """Objects and blobs of products with geometry; the others wait."""
        self.count += len(batch)
        for product in batch:
            self._above[product.guid] = product.parent or product.container
        drawn = [product for product in batch if product.mesh is not None]
        self._without += [product for product in batch if product.mesh is None]
        shapes = self._build([list(self._patches(p)) for p in drawn])
        yield from self._images.take()
        for image, error in self._lost.items():
            yield Rejected(f"{self._key}#{image}", error.code, error.fields)
        self._lost.clear()
        for product, built in zip(drawn, shapes, strict=True):
            for code, fields in built.problems:
                yield Rejected(f"{self._key}#{product.guid}", code, {"object": product.guid, **fields})
            if not built.blob:
                self._without.append(product)
                continue
            blob = Blob(built.blob)
            if blob.content not in self._given:
                self._given.add(blob.content)
                yield blob
            if built.box is not None:
                self._boxes[product.guid] = built.box
                self.box = boxes.union(self.box, built.box)
            yield self._record(product, built.box, (Representation("body", "", FORMAT, blob.content),))

    def rest(self) -> Iterator[ObjectRecord | Rejected]:
        """Objects without geometry of their own, with the box of what is in them. Raises PlaceError where nothing at all could be placed."""
        if self._refusal is not None and not self._boxes:
            raise self._refusal
        inside: dict[str, Box3] = {}
        for guid, box in self._boxes.items():
            seen = {guid}
            above = self._above[guid]
            while above and above not in seen:
                seen.add(above)
                inside[above] = boxes.union(inside.get(above), box)
                above = self._above.get(above, "")
        for product in self._without:
            if product.failed or product.mesh is not None:
                where = f"{self._key}#{product.guid}"
                yield Rejected(
                    where, "ifc.not-drawn", {"file": self._key, "type": product.ancestry[0], "object": product.guid}
                )
            yield self._record(product, inside.get(product.guid), ())

    def _build(self, objects: list[list[Triangles]]) -> list[Built]:
        """The shapes; where one cannot be placed it is left without, and the others are not."""
        try:
            return build(objects, self._context.place)
        except PlaceError as error:
            if len(objects) == 1:
                self._refusal = self._refusal or error
                return [Built(b"", None)]
            half = len(objects) // 2
            return self._build(objects[:half]) + self._build(objects[half:])

    def _record(self, product: Product, box: Box3 | None, shapes: tuple[Representation, ...]) -> ObjectRecord:
        relations = []
        if product.parent:
            relations.append(Relation("partOf", self._context.id_of(product.parent)))
        if product.container:
            relations.append(Relation("locatedIn", self._context.id_of(product.container)))
        return ObjectRecord(
            source_key=product.guid, class_id=class_of(product.ancestry), name=product.name, layer=self._context.layer, attributes=product.attributes,
            box=box, stage=self._standing.stage, scenario=self._standing.scenario, relations=tuple(relations), representations=shapes,
        )  # fmt: skip

    def _patches(self, product: Product) -> Iterator[Triangles]:
        assert product.mesh is not None
        mesh, semantic = product.mesh, product.ancestry[0]
        if not np.abs(mesh.positions).max() < _LARGEST:
            return
        default = _SPACE if "IfcSpace" in product.ancestry else None
        if not len(mesh.triangles):
            for path in _paths(mesh.lines):
                if (line := tube(mesh.positions[path], self._width / 2, 6)) is not None:
                    yield Triangles(self._native(line.positions), line.triangles, semantic)
            return
        native = self._native(mesh.positions)
        skins = self._skins(mesh)
        for number, skin in np.unique(np.column_stack([mesh.materials, skins]), axis=0).tolist():
            chosen = (mesh.materials == number) & (skins == skin)
            look = Material(mesh.colors[number]) if 0 <= number < len(mesh.colors) else default
            if skin >= 0:
                alpha = 1.0 if look is None else look.color[3]
                image, mime = self._image(mesh.images[skin])
                look = Material((1.0, 1.0, 1.0, alpha), image, mime, mesh.images[skin].repeat)
                corners = mesh.triangles[chosen].reshape(-1)
                apart = np.arange(len(corners), dtype=np.uint32).reshape(-1, 3)
                yield Triangles(native[corners], apart, semantic, look, mesh.uv[chosen].reshape(-1, 2))
                continue
            used, triangles = np.unique(mesh.triangles[chosen], return_inverse=True)
            yield Triangles(native[used], triangles.reshape(-1, 3).astype(np.uint32), semantic, look)

    def _skins(self, mesh: Mesh) -> I32:
        """int32[m]: the image of each triangle, negative for none and for one that cannot be used."""
        if not mesh.images:
            return np.full(len(mesh.triangles), -1, np.int32)
        usable = []
        for number, texture in enumerate(mesh.images):
            self.textures.add(texture.number)
            try:
                self._image(texture)
                usable.append(number)
            except SourceError as error:
                self._lost[texture.name or f"#{texture.number}"] = error
        return np.where(np.isin(mesh.skins, usable), mesh.skins, -1).astype(np.int32)

    def _image(self, texture: Texture) -> tuple[str, str]:
        """Content hash and MIME type. Raises SourceError."""
        if texture.data:
            return self._images.put(f"#{texture.number}", texture.data)
        return self._images.get(texture.name)

    def _native(self, xyz: F64) -> F64:
        place: Place = self._context.place
        return self._reference.to_native(
            xyz, place.definition, place.height.unit, self._standing.heading, self._standing.scale
        )


def _paths(lines: U32) -> Iterator[list[int]]:
    """Polylines from edges that follow one another."""
    path: list[int] = []
    for a, b in lines.tolist():
        if path and path[-1] == a:
            path.append(b)
        else:
            if path:
                yield path
            path = [a, b]
    if path:
        yield path


def _remarks(summary: Summary, key: str) -> Iterator[Rejected]:
    if summary.helpers:
        counted = ", ".join(f"{name} {count}" for name, count in sorted(summary.helpers.items()))
        yield Rejected(key, "ifc.helpers-left-out", {"file": key, "types": counted})
    if summary.without_id:
        yield Rejected(key, "ifc.no-id", {"file": key, "count": summary.without_id})
    for guid in summary.twice:
        yield Rejected(f"{key}#{guid}", "ifc.id-twice", {"file": key, "id": guid})


def _batches(products: Iterable[Product]) -> Iterator[list[Product]]:
    batch: list[Product] = []
    vertices = 0
    for product in products:
        batch.append(product)
        mesh: Mesh | None = product.mesh
        vertices += 0 if mesh is None else len(mesh.positions)
        if len(batch) >= _BATCH or vertices >= _VERTICES:
            yield batch
            batch, vertices = [], 0
    if batch:
        yield batch


def _positive(settings: Mapping[str, Any], name: str, default: float) -> float:
    try:
        value = float(settings.get(name, default))
    except (TypeError, ValueError):
        value = -1.0
    if not 0 < value < 1e6:
        raise UsageError("ifc.bad-setting", setting=name, value=str(settings.get(name)))
    return value


def _refused(path: Path, key: str, size: int, code: str, **fields: Any) -> Probe:
    return Probe(
        uri=str(path), format="ifc", kind="objects", key=key, files=1, size=size, count=None, low=None, high=None, found=FoundCrs(where=key),
        problems=(Rejected(key, code, {"file": key, **fields}),), fatal=True,
    )  # fmt: skip
