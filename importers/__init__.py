"""File formats in: one module or sub-package per family, all with the same three verbs.

``probe(path)`` says what lies there and never fails on a foreign file; ``read(probe, context)`` streams objects, sources and
rejected records; ``open_source(ref)`` opens bulk data again, in any process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, cast
from uuid import UUID

import numpy as np

from tim.classes import Registry, shipped
from tim.model import Blob, ObjectRecord, Rejected, derived_id
from tim.place import Box3, Place
from tim.place.resolve import FoundCrs
from tim.sources import Fingerprint, GridSource, Kind, MeshTree, PointSource, SourceRef, VolumeSource

FORMATS: Mapping[str, str] = {
    "citygml": "importers.citygml",
    "cityjson": "importers.cityjson",
    "dem": "importers.dem",
    "epanet": "importers.epanet",
    "glb": "importers.glb",
    "ifc": "importers.ifc",
    "las": "importers.las",
    "osgb": "importers.osgb",
    "tiles3d": "importers.tiles3d",
    "vector": "importers.vector",
}
"""Format name to the module that knows it; folders first where a file could belong to one."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found at one place: enough for an inventory line, cheap to make."""

    uri: str
    """Path of the file or folder."""
    format: str
    kind: Kind
    key: str
    """Source key or its prefix: relative to the folder that was probed, ``/`` between parts; empty where that folder is the source itself."""
    files: int
    size: int
    """Bytes."""
    count: int | None
    """Points where known without decoding; otherwise ``None``."""
    low: tuple[float, float, float] | None
    """Native extent (``found.origin`` not added) as far as headers say."""
    high: tuple[float, float, float] | None
    found: FoundCrs
    problems: tuple[Rejected, ...] = ()
    """What will be quarantined or deserves a warning; a probe with ``fatal`` problems cannot be read."""
    fatal: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the format. ``owned``: relative paths of files beside it that are parts of it and no deliveries of their own."""


@dataclass(frozen=True, slots=True)
class ImportContext:
    """What reading needs besides the probe."""

    place: Place
    """The resolved place of the whole probe."""
    layer: str = ""
    """Of all objects of the probe, unless the format has layers of its own: :func:`layer_of` where the user names none."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the user says about how to read it, by name: ``key`` (field of the source key), ``mapping`` (path of a mapping file), …; JSON values."""
    dataset: UUID = field(default_factory=lambda: UUID(int=0))
    """Uid of the dataset the objects go to."""
    classes: Registry = field(default_factory=shipped)
    """What kinds of things there are."""

    def id_of(self, source_key: str, layer: str | None = None) -> UUID:
        """The ``tim_id`` that an object of this import gets: what relations between its objects name."""
        return derived_id(self.dataset, self.layer if layer is None else layer, source_key)

    def source(self, probe: Probe, prints: Fingerprint, box: Box3, count: int, **options: Any) -> SourceRef:
        """The reference to the source of a probe's objects, which are in the context's layer unless ``options`` has ``layers``."""
        said = {"layers": [self.layer], **options}
        return SourceRef(probe.uri, probe.format, "objects", probe.key, self.place, prints, box, count, said)

    def told(
        self, probe: Probe, items: Iterable[ObjectRecord | Blob | Rejected], prints: Fingerprint
    ) -> Iterator[ObjectRecord | Blob | Rejected | SourceRef]:
        """What a format says of a probe that knows its extent, and then the source, where there is any object."""
        count = 0
        layers: set[str] = set()
        for item in items:
            if isinstance(item, ObjectRecord):
                count += 1
                layers.add(item.layer)
            yield item
        if count:
            box = self.place.box(np.array(probe.low), np.array(probe.high))
            yield self.source(probe, prints, box, count, layers=sorted(layers))


def layer_of(probe: Probe) -> str:
    """The layer of a probe's objects: its key without the file's suffix, so that sheets with equal source keys stay apart."""
    file, mark, part = (probe.key or Path(probe.uri).name).partition("#")
    return f"{PurePosixPath(file).with_suffix('')}{mark}{part}"


class Importer(Protocol):
    """What each module of :data:`FORMATS` has.

    It may have ``SUFFIXES`` as well, the lower-case suffixes of the files it knows, and ``FOLDERS = False`` where no folder is a delivery of
    its: then a walk offers it nothing else, which saves opening files (:func:`offered`). It has ``LISTED`` where it cannot import what it
    knows: the codes of the remark on it and of its refusal (:func:`listed_only`).
    """

    def probe(self, path: Path, key: str = "") -> list[Probe]:
        """What of this format lies at ``path``: a file, or a folder that is one delivery. Empty for anything foreign; never raises for it."""

    def read(self, probe: Probe, context: ImportContext) -> Iterator[ObjectRecord | Blob | SourceRef | Rejected]:
        """Objects with the blobs they refer to, bulk sources, and what had to be left out.

        A probe of kind ``objects`` gives one :class:`SourceRef` of that kind as well: the provenance of its objects.
        """

    def open(self, ref: SourceRef) -> PointSource | MeshTree | GridSource | VolumeSource:
        """The bulk data behind a reference. Raises SourceError where it is gone or changed, CorruptSource where it is broken.

        Never asked of kind ``objects``: what was imported is in the store.
        """


def offered(format_name: str, path: Path, *, folder: bool) -> bool:
    """Whether a walk need ask this format what lies at ``path``."""
    module = importer(format_name)
    if folder:
        folders: bool | tuple[str, ...] = getattr(module, "FOLDERS", True)
        return folders if isinstance(folders, bool) else path.suffix.lower() in folders
    suffixes = getattr(module, "SUFFIXES", None)
    return suffixes is None or path.suffix.lower() in suffixes


def importer(format_name: str) -> Importer:
    """The importer of one format, loaded when asked for."""
    return cast("Importer", import_module(FORMATS[format_name]))


def listed_only(format_name: str) -> tuple[str, str] | None:
    """Of a format that is only listed: the codes of the remark on a delivery, and of its refusal; both have the field ``file``."""
    codes: tuple[str, str] | None = getattr(importer(format_name), "LISTED", None)
    return codes


def settled(probe: Probe, settings: Mapping[str, Any]) -> Probe:
    """The probe as the user's settings let its file be read: some formats need them to know what lies in it (their ``settle``)."""
    settle = getattr(importer(probe.format), "settle", None)
    return cast("Probe", settle(probe, settings)) if settle and settings else probe


def open_source(ref: SourceRef) -> PointSource | MeshTree | GridSource | VolumeSource:
    """Open bulk data by its reference; see :meth:`Importer.open`."""
    return importer(ref.format).open(ref)
