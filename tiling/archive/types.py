"""What the archive speaks in: rows of packs, snapshots, blobs, and what a dataset's pages need besides its tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from tiling.builder import Box12, Encoding, Refine
from tim.place import Frame

Scheme = Literal["explicit", "implicit-octree"]
"""``explicit``: every tile is written in a page. ``implicit-octree``: keys are ``oct/{level}/{x}/{y}/{z}``, pages are subtrees."""


@dataclass(frozen=True, slots=True)
class ContentRow:
    """Where one content lies. Picklable: this is all that travels from a worker to the parent."""

    hash: str
    """blake2b-256 hex of the plain payload."""
    pack: str
    """File name without folder: ``{name}.pack``."""
    offset: int
    stored: int
    """Bytes in the pack."""
    size: int
    """Bytes of the plain payload."""
    encoding: Encoding


@dataclass(frozen=True, slots=True)
class Link:
    """A tileset that is not in the archive and that the root page shows: one mounted beside it, or another dataset."""

    uri: str
    """Relative to the live root page: ``f/{id}/tileset.json``, ``../{dataset}/tileset.json``."""
    volume: Mapping[str, Any]
    """Its bounding volume, before ``transform``."""
    geometric_error: float
    transform: Sequence[float]
    """To ECEF, column-major."""
    stamp: str = ""
    """Changes when what is behind the link is known to have changed."""

    @property
    def exported(self) -> str:
        """Where an export keeps it, relative to the root page: a folder has nothing above it."""
        return self.uri.replace("../", "d/", 1)


@dataclass(frozen=True, slots=True)
class TilesetInfo:
    """All of a dataset's tileset that is not tiles. It enters the snapshot's hash, except for the store's sequence and counts."""

    frame: Frame
    store_seq: int
    """The object store's sequence number these tiles show."""
    scheme: Scheme = "explicit"
    refine: Refine = "REPLACE"
    """Of the root tile; implicit tiles all refine like this."""
    root_box: Box12 | None = None
    """The implicit root volume. Explicit datasets: a box around the top tiles where ``None``."""
    root_error: float | None = None
    """Geometric error of the root tile in metres. ``None``: implicit, that of ``oct/0/0/0/0``; explicit, the diagonal of the root box,
    since the explicit root shows nothing itself."""
    subtree_levels: int = 5
    """Implicit only."""
    attributes: Mapping[str, Any] | None = None
    """Further top-level members of the root page: ``schema``, ``metadata``, ``statistics``, ``extensionsUsed``, …"""
    asset_extras: Mapping[str, Any] | None = None
    """``asset.extras`` of the root page; must be the same in every run."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Counts of the whole dataset to record beside the sums over tiles."""
    links: tuple[Link, ...] = ()
    """Explicit only: tilesets from elsewhere."""
    up_axis: str = "Y"
    """Of the contents behind the links (``asset.gltfUpAxis`` of 3D Tiles before 1.0); ours are y up."""

    def record(self) -> dict[str, Any]:
        """JSON-able record; :meth:`restore` reads it back."""
        return {
            "frame": self.frame.record(), "store_seq": self.store_seq, "scheme": self.scheme, "refine": self.refine,
            "root_box": None if self.root_box is None else list(self.root_box), "root_error": self.root_error,
            "subtree_levels": self.subtree_levels, "attributes": self.attributes, "asset_extras": self.asset_extras,
            "counts": dict(self.counts), **({"links": [asdict(link) for link in self.links], "up_axis": self.up_axis} if self.links else {}),
        }  # fmt: skip

    @classmethod
    def restore(cls, record: Mapping[str, Any]) -> TilesetInfo:
        """Read back what :meth:`record` gave."""
        box = record["root_box"]
        links = tuple(Link(**link) for link in record.get("links", ()))
        frame = Frame(**record["frame"])
        return cls(**{**record, "frame": frame, "root_box": None if box is None else tuple(box), "links": links})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A published state of a dataset."""

    dataset: str
    seq: int
    """1, 2, 3, … within the dataset; never used twice, not even after ``drop``."""
    hash: str
    """blake2b-256 hex over the rows (key, parent, box, error, refine, content hash), the frame and the rest of the info; neither sequence
    nor time: equal tilesets have equal hashes. Of an explicit dataset over a tree of hashes that follows the pages, so that a small change
    costs little."""
    store_seq: int
    """The newest store sequence these tiles are known to show."""
    created: str
    """ISO 8601, UTC."""
    tiles: int
    bytes: int
    """Of all tile contents as stored."""
    counts: Mapping[str, int]
    """``points``, ``vertices``, ``triangles``, …: sums over tiles."""
    attributes: Sequence[Mapping[str, Any]] = ()
    """What features or points carry, as the builder says (``asset.extras.attributes`` of the root page): ``name``, and where they
    help a viewer ``minimum``, ``maximum``, ``values``."""


class Blob(NamedTuple):
    """A content or page as it is sent. A tuple because one is made for every request: a frozen dataclass takes three times as long."""

    data: memoryview
    """As stored (gzip members stay gzip), mapped from the pack; stays valid whatever garbage collection does."""
    encoding: Encoding
    hash: str
    """Of the plain payload: the ETag."""
    media_type: str
    size: int
    """Bytes of the plain payload."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What garbage collection did."""

    snapshots: int
    """Snapshots forgotten."""
    contents: int
    """Contents forgotten."""
    rewritten: int
    """Packs whose living contents were moved to a new pack."""
    packs: int
    """Pack files deleted."""
    bytes: int
    """Bytes those files had."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote."""

    snapshot: Snapshot
    path: str
    files: int
    bytes: int
