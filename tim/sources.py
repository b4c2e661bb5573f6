"""How bulk data is read: the protocols that importers implement and tiling consumes.

A source travels between processes only as its :class:`SourceRef`; ``importers.open_source(ref)`` opens it again in the worker.
Every source reads lazily and holds no more than one part, node, window or block in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from tim.geometry import EncodedImage, Grid, Mesh, Points, PointSchema, Volume
from tim.place import Box3, Place

Kind = Literal["points", "meshes", "grid", "volume", "objects", "tiles"]

__all__ = [
    "EncodedImage", "Fingerprint", "GridSource", "Kind", "MeshLink", "MeshNode", "MeshTree", "NodeRef", "Part", "PointSource",
    "SourceRef", "VolumeSource", "fingerprint",
]  # fmt: skip

_SAMPLE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Enough of a file to notice that it changed, without reading it whole."""

    size: int
    """Bytes; of a folder, the sum of its files."""
    mtime_ns: int
    """Modification time; of a folder, the latest of its files."""
    sample: str
    """blake2b-128 hex of the first and last 64 KiB; of a folder, of its sorted relative names and sizes."""

    def same_bytes(self, other: Fingerprint) -> bool:
        """Whether both look like the same content: size and sample, not time (copies change times)."""
        return (self.size, self.sample) == (other.size, other.sample)


def fingerprint(path: Path, pattern: str = "*") -> Fingerprint:
    """Fingerprint of a file, or of all files of a folder that match ``pattern``, at any depth.

    Raises OSError where a file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    if path.is_dir():
        size = mtime = 0
        for file in sorted(p for p in path.rglob(pattern) if p.is_file()):
            stat = file.stat()
            digest.update(f"{file.relative_to(path).as_posix()}\0{stat.st_size}\n".encode())
            size += stat.st_size
            mtime = max(mtime, stat.st_mtime_ns)
        return Fingerprint(size, mtime, digest.hexdigest())
    stat = path.stat()
    with path.open("rb") as stream:
        digest.update(stream.read(_SAMPLE))
        if stat.st_size > _SAMPLE:
            stream.seek(max(_SAMPLE, stat.st_size - _SAMPLE))
            digest.update(stream.read(_SAMPLE))
    return Fingerprint(stat.st_size, stat.st_mtime_ns, digest.hexdigest())


@dataclass(frozen=True, slots=True)
class SourceRef:
    """One bulk source of a dataset: where it lies, who reads it, where it is on Earth. Picklable and JSON-able."""

    uri: str
    """Path of the file or folder. Never part of an identity and never written into tiles."""
    format: str
    """The importer that opens it: ``las``, ``osgb``."""
    kind: Kind
    key: str
    """The source key: stable and unique within its dataset, without a path of any machine."""
    place: Place
    fingerprint: Fingerprint
    box: Box3
    """EPSG:4979 degrees and metres: west, south, bottom, east, north, top."""
    count: int = 0
    """Points, or vertices of the finest level where known; 0 where not counted."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the importer needs to open it the same way again; JSON values only."""

    def record(self) -> dict[str, Any]:
        """JSON-able record; :meth:`from_record` reads it back."""
        print_ = self.fingerprint
        return {
            "uri": self.uri, "format": self.format, "kind": self.kind, "key": self.key, "place": self.place.record(),
            "fingerprint": {"size": print_.size, "mtime_ns": print_.mtime_ns, "sample": print_.sample},
            "box": list(self.box), "count": self.count, "options": dict(self.options),
        }  # fmt: skip

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> SourceRef:
        """The reference that :meth:`record` wrote."""
        west, south, bottom, east, north, top = record["box"]
        return cls(
            uri=record["uri"], format=record["format"], kind=record["kind"], key=record["key"],
            place=Place.from_record(record["place"]), fingerprint=Fingerprint(**record["fingerprint"]),
            box=(west, south, bottom, east, north, top), count=record["count"], options=record["options"],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """A run of points that one worker reads: ``count`` points from index ``start`` in file order."""

    start: int
    count: int


@runtime_checkable
class PointSource(Protocol):
    """A point cloud file."""

    schema: PointSchema
    place: Place

    @property
    def bounds(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Native lower and upper corner, as the header says."""

    def parts(self, target: int) -> list[Part]:
        """Cut into runs of about ``target`` points, together every point exactly once, at boundaries cheap to seek to."""

    def read(self, part: Part, attributes: Collection[str] | None = None) -> Iterator[Points]:
        """The points of one part in batches of at most a million, in file order, with the named attributes (all by default).

        Raises CorruptSource where the file ends early or does not decode, naming file and point index.
        """


@dataclass(frozen=True, slots=True)
class NodeRef:
    """A file of a mesh tree, relative to the tree's root folder with ``/`` between parts."""

    path: str


@dataclass(frozen=True, slots=True)
class MeshLink:
    """From a coarse node to its refinement: the node shows until a screen pixel covers ``metres_per_pixel``."""

    target: NodeRef | MeshNode
    metres_per_pixel: float


@dataclass(frozen=True, slots=True)
class MeshNode:
    """One level of detail: what it shows itself, and what replaces it closer up."""

    key: str
    """``{file}#{index}``: unique within the tree and stable across reads."""
    meshes: tuple[Mesh, ...]
    children: tuple[MeshLink, ...] = ()
    problems: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    """Message codes and fields of what was left out here (missing children, unreadable images)."""


@runtime_checkable
class MeshTree(Protocol):
    """A tree of textured meshes in files, as photogrammetry writes it."""

    place: Place

    @property
    def bounds(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Native lower and upper corner, about; finer levels may reach beyond it."""

    def roots(self) -> list[NodeRef]:
        """The files nobody links to, sorted by path."""

    def files(self) -> list[tuple[NodeRef, int]]:
        """Every file with its size in bytes, sorted by path: what a build is planned from without reading any."""

    def load(self, ref: NodeRef) -> list[MeshNode]:
        """The nodes of one file, in file order: one per level-of-detail switch, so that siblings refine apart.

        Raises CorruptSource where the file does not decode, SourceError where it is missing.
        """


@runtime_checkable
class GridSource(Protocol):
    """A raster with overviews: terrain, seabed, an ocean surface."""

    place: Place

    @property
    def levels(self) -> Sequence[int]:
        """Decimation factors available, 1 first."""

    def read(self, window: tuple[int, int, int, int], overview: int) -> Grid:
        """Row, column, height, width at one decimation factor."""


@runtime_checkable
class VolumeSource(Protocol):
    """A field on a lattice of three axes and time."""

    place: Place

    @property
    def axes(self) -> Mapping[str, Sequence[float]]:
        """Coordinates along ``x``, ``y``, ``z``."""

    @property
    def times(self) -> Sequence[str]:
        """ISO 8601 moments; empty where the field is static."""

    def read(self, block: tuple[slice, slice, slice], time: int = 0) -> Volume:
        """One block, as [z, y, x]."""
