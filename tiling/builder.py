"""The contract between the engine and the builders: a job is planned into shards, shards are built anywhere, results are finished.

A builder is deterministic: the same job gives the same shards, and the same shard gives the same bytes, on any machine, with any
number of workers, in any order, after any number of kills.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from tim.place import Frame
from tim.sources import SourceRef

Box12 = tuple[float, ...]
"""3D Tiles ``box`` in the dataset frame: centre and three half-axes, 12 metres in all."""
Refine = Literal["ADD", "REPLACE"]
Encoding = Literal["identity", "gzip"]


@dataclass(frozen=True, slots=True)
class ContentRef:
    """A tile content in the archive."""

    hash: str
    """blake2b-256 hex of the plain payload (before transfer encoding)."""
    size: int
    """Bytes of the plain payload."""
    stored: int
    """Bytes as stored and sent."""
    encoding: Encoding = "identity"


@dataclass(frozen=True, slots=True)
class TileEntry:
    """One tile of a dataset: its opaque key, its place in the tree, what it shows."""

    key: str
    """``osgb/{block}/{file}#{lod}``, ``oct/{level}/{x}/{y}/{z}``, ``quad/{z}/{x}/{y}``; unique in the dataset."""
    parent: str | None
    """Key of the parent; ``None`` for tiles directly below the dataset root."""
    box: Box12
    """Contains the content and all descendants."""
    geometric_error: float
    """Metres; never above the parent's, 0 for a leaf."""
    refine: Refine
    content: ContentRef | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    """``points``, ``vertices``, ``triangles``, …: summed into the report and the snapshot."""


@dataclass(frozen=True, slots=True)
class ObjectsRef:
    """The objects of a dataset as they stood at a moment; workers open the workspace's store by it. It does not enter the identity of
    shards: what they make of objects is determined by the digests in their specs."""

    workspace: Path
    seq: int
    """The store's sequence number."""
    valid: str
    """The moment in the real world."""
    scenario: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a builder may know about what it builds. Picklable."""

    dataset: str
    """Slug."""
    kind: str
    frame: Frame
    sources: tuple[SourceRef, ...]
    """By key."""
    settings: Mapping[str, Any]
    """JSON values; defaults filled in by the builder's ``settings``."""
    scratch: Path
    """A folder of this job's own for data between stages; gone after publishing. Builders never delete what another shard wrote there."""
    objects: ObjectsRef | None = None
    """Where the kind is ``objects``; such a job has no sources."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A piece of work of some seconds, and everything needed to do it again."""

    stage: str
    name: str
    """Readable and unique in its stage: ``lone-star.copc.laz/0``."""
    spec: Mapping[str, Any]
    """JSON values. Together with job frame, settings and builder version it determines the result.

    Two names are the engine's. ``source`` (a source key) or ``sources`` (several): the shard is built again when one of these changes; without
    either it depends on all sources of the job. ``scratch``: names of what it reads in ``Job.scratch``; without it, all that earlier stages wrote.
    A shard that names one ``source`` may fail alone: the source is quarantined in part, the rest goes on.
    """
    cost: float = 1.0
    """Relative weight, for progress and for starting the heaviest first."""


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What a shard made. JSON-able: bulk data goes to the sink or to ``Job.scratch``, never in here."""

    tiles: Sequence[TileEntry] = ()
    output: Mapping[str, Any] = field(default_factory=dict)
    """For later stages: histograms, sizes, …; JSON values. ``scratch`` lists the files or folders this shard wrote in ``Job.scratch``, relative
    with ``/``: where they are gone and a later stage needs them, the engine does the shard again."""
    counts: Mapping[str, int] = field(default_factory=dict)
    problems: Sequence[tuple[str, Mapping[str, Any]]] = ()
    """Message codes and fields of what was quarantined or left out."""


class TileSink(Protocol):
    """Where a worker puts finished tile contents."""

    def put(self, payload: bytes | Sequence[bytes | memoryview], *, compress: bool = False) -> ContentRef:
        """Store one content (a buffer, or buffers to be joined). ``compress`` gzips where that saves a tenth or more."""


class Builder(Protocol):
    """One lane: points, meshes, objects, terrain, volumes."""

    version: ClassVar[int]
    """Raise it when the same input gives other bytes; finished shards of older versions are then built again."""
    stages: ClassVar[tuple[str, ...]]
    """In order; a stage starts when the one before is complete."""
    defaults: ClassVar[Mapping[str, Any]]
    """Every setting with its default."""

    def plan(self, job: Job, stage: str, done: Mapping[str, Sequence[ShardResult]]) -> Iterator[Shard]:
        """The shards of one stage; ``done`` holds the results of the earlier stages, in plan order. Never reads scratch: it may be gone."""

    def build(self, job: Job, shard: Shard, sink: TileSink) -> ShardResult:
        """Do one shard, in any process. Idempotent: what a killed attempt left is overwritten, never trusted."""

    def finish(self, job: Job, results: Mapping[str, Sequence[ShardResult]]) -> Iterable[TileEntry]:
        """All tiles of the dataset, parents before children; each parent's box contains its children's.

        Raises TilingError where counts in and out differ: nothing is lost silently.
        """

    def tileset(self, job: Job, results: Mapping[str, Sequence[ShardResult]]) -> Mapping[str, Any]:
        """What the root page says besides the tiles: fields of ``tiling.archive.TilesetInfo`` other than frame and sequence."""
