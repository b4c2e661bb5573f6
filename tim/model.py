"""The object model: what a TIM object is, what its versions, codes, relations, sources and changesets are.

Times are ISO 8601 text in UTC (``2026-11-21T08:00:00Z``) or ISO dates; ``None`` is open. Boxes are EPSG:4979 (see :data:`tim.place.Box3`).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from tim.place import Box3, Frame


class Stage(StrEnum):
    """Where in its life a version of an object stands (全周期)."""

    SURVEYED = "surveyed"
    PLANNED = "planned"
    APPROVED = "approved"
    PERMITTED = "permitted"
    BUILDING = "building"
    AS_BUILT = "as-built"
    REGISTERED = "registered"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Code:
    """One of the codes an object is known by. A value means nothing without its scheme and edition."""

    scheme: str
    """e.g. ``cn.real-estate-unit``."""
    edition: str
    """e.g. ``GB/T 37346-2019``."""
    value: str
    valid_from: str | None = None
    valid_to: str | None = None


@dataclass(frozen=True, slots=True)
class Relation:
    """A typed link to another object, valid in time."""

    kind: str
    """e.g. ``partOf``, ``connectsTo``, ``derivedFrom``."""
    target: UUID
    valid_from: str | None = None
    valid_to: str | None = None
    evidence: str = ""


_NOTHING: Mapping[str, Any] = {}


class Representation(NamedTuple):
    """One way an object looks: geometry stored by content, or a share of a bulk source. A plain tuple, as there are very many."""

    role: str
    """``body``: geometry that lies where it is (:mod:`tim.shape`). ``footprint``: the same, flat. ``model``: a model that is placed, the same
    for many objects. ``bulk``: a share of a source."""
    lod: str
    """Level of detail as the source names it; empty where it has none."""
    format: str
    """``tim-shape`` (:data:`tim.shape.FORMAT`), ``glb``, or the source format of bulk data."""
    content: str
    """blake2b-256 hex of the stored blob, or the source key of bulk data."""
    properties: Mapping[str, Any] = _NOTHING
    """Of a ``model``: ``at`` [longitude, latitude, ellipsoidal height], ``heading`` (degrees clockwise from north, 0 where left out),
    ``scale`` (a factor, or three for east, north, up before turning; 1 where left out). A glb model is y up, as glTF is."""


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One version of one object, as an importer or the API gives it; the store adds ids and database times."""

    source_key: str
    """Unique in its dataset and layer, stable across deliveries; empty only for what is made in the API."""
    class_id: str
    name: str = ""
    layer: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    box: Box3 | None = None
    stage: Stage = Stage.SURVEYED
    scenario: str = ""
    """Empty for the common line; otherwise the scenario (branch) this version belongs to."""
    valid_from: str | None = None
    valid_to: str | None = None
    codes: tuple[Code, ...] = ()
    relations: tuple[Relation, ...] = ()
    representations: tuple[Representation, ...] = ()
    tim_id: UUID | None = None
    """Known for objects already in the store; derived from the source key otherwise."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that representations refer to by their content. An importer gives each once, before or after the objects that use it."""

    data: bytes

    @property
    def content(self) -> str:
        """What a representation says."""
        return content_hash(self.data)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that could not be taken: counted, listed, quarantined, never dropped silently."""

    where: str
    """File, layer and record."""
    code: str
    """Message code of why."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    source: str = field(default="", compare=False)
    """Key of the delivery it is from; empty where it is from none in particular."""
    record: Mapping[str, Any] | None = field(default=None, compare=False)
    """The record itself as a GeoJSON feature, coordinates as its source has them, where it could be read: what can be repaired."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A named body of data from one authority, tiled and served as one."""

    slug: str
    """ASCII, lower case, in URLs: ``[a-z0-9][a-z0-9-]{0,62}``."""
    title: str
    kind: str
    """``points``, ``meshes``, ``objects``, … (:data:`tim.sources.Kind`)."""
    uid: UUID
    frame: Frame
    """Fixed when the dataset is made."""
    private: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Tiling settings that belong to the data, e.g. attributes to carry."""


def content_hash(data: bytes | memoryview) -> str:
    """The name of bytes: blake2b-256 hex, as the store and the tile archive have it."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def dataset_uid(slug: str, namespace: str = "") -> UUID:
    """The uid of a dataset: from its slug and the workspace's namespace, so the same import elsewhere gives the same ids."""
    return _uuid8(b"dataset", namespace.encode(), slug.encode())


def derived_id(dataset: UUID, layer: str, source_key: str) -> UUID:
    """The ``tim_id`` of an imported object (UUIDv8): the same for a re-import, after a restart, and at another site."""
    return _uuid8(b"object", dataset.bytes, layer.encode(), source_key.encode())


def new_id() -> UUID:
    """The ``tim_id`` of an object made in the API: UUIDv7 (RFC 9562 §5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & 0xFFFFFFFFFFFF) << 80 | int.from_bytes(os.urandom(10))
    return UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)


def _uuid8(*parts: bytes) -> UUID:
    text = b"".join([len(part).to_bytes(4, "little") + part for part in parts])
    value = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest())
    return UUID(int=value & _FREE | 0x8 << 76 | 0x2 << 62)


_FREE = ~(0xF << 76) & ~(0x3 << 62)
"""All bits of a UUID but those of its version and variant."""
