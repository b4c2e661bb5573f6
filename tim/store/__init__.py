"""The object store: one protocol, hand-written SQL per store, one contract suite (``tim.store.contract``) for all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, NamedTuple, Protocol, Self
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from tim.model import Code, Dataset, ObjectRecord, Representation, Stage
from tim.place import Box3
from tim.query.tree import Expression
from tim.sources import SourceRef


@dataclass(frozen=True, slots=True)
class Put:
    """Make an object, or a new version of it where anything differs from its current one."""

    object: ObjectRecord
    if_version: int | None = None
    """The version number the writer has seen, 0 for none; Conflict where it is no longer current or others would be replaced as well."""
    source: str = ""
    """Key of the source that says so, registered before. It is noted with the version, also where nothing else is new; no part of history.
    Empty: as what it replaces."""


@dataclass(frozen=True, slots=True)
class Retire:
    """End an object's current version; its history stays."""

    tim_id: UUID
    valid_to: str | None = None
    """When it ended in the real world; ``None`` where it is taken back altogether."""
    if_version: int | None = None
    scenario: str = ""


@dataclass(frozen=True, slots=True)
class PutSource:
    """Register or refresh a bulk source of the dataset."""

    source: SourceRef


@dataclass(frozen=True, slots=True)
class DropSource:
    """Take a bulk source out of the dataset."""

    key: str


Operation = Put | Retire | PutSource | DropSource


@dataclass(frozen=True, slots=True)
class Changeset:
    """One atomic step of a dataset's history."""

    dataset: str
    """Slug; the dataset must exist, unless :attr:`make` makes it."""
    operations: Iterable[Operation]
    """Consumed once, streamed: a changeset may be far larger than memory."""
    author: str = ""
    reason: str = ""
    make: Dataset | None = None
    """A dataset to make first, as ``put_dataset`` does, in the same step: it is there with its content or not at all."""


@dataclass(frozen=True, slots=True)
class Touched:
    """What a changeset did to one object: its boxes before and after (``None``: was not, or is no longer)."""

    tim_id: UUID
    old_box: Box3 | None
    new_box: Box3 | None


@dataclass(frozen=True, slots=True)
class Applied:
    """The result of a changeset. Unchanged records touch nothing; a changeset that changes nothing gets no sequence number."""

    seq: int
    """The store's sequence number after it."""
    hash: str
    """blake2b-256 hex over parent hash and content: equal histories have equal hashes; times and authors do not enter."""
    created: int
    updated: int
    retired: int
    unchanged: int
    touched: Sequence[Touched]
    """At most the first 100,000; ``touched_all`` says whether that is all."""
    touched_all: bool = True


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """A stored version of an object."""

    tim_id: UUID
    version: int
    """1, 2, 3, … within the object."""
    dataset: str
    object: ObjectRecord
    seq: int
    """The changeset that made it."""
    db_from: str
    db_to: str | None
    """Database time; open for the current version."""
    source: str = ""
    """Key of the source that says so; empty where none was named."""


@dataclass(frozen=True, slots=True)
class AsOf:
    """A moment to look at: both times default to now."""

    valid: str | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """What to ask for; conditions are joined by *and*."""

    dataset: str | None = None
    box: Box3 | None = None
    class_id: str | None = None
    """This class and all below it (prefix of dotted ids)."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Attribute equals value."""
    properties: Mapping[str, str] = field(default_factory=dict)
    """Attribute reads as this text: ``7`` is 7, 7.0 and ``"7"``; ``true`` is true and ``"true"``."""
    stage: Stage | None = None
    scenario: str = ""
    code: Code | None = None
    """Scheme and value must match; edition where it is not empty."""
    layer: str | None = None
    during: tuple[str | None, str | None] | None = None
    """Valid at any moment from the first to the second, both among them, open where ``None``; instead of the one moment of :attr:`AsOf.valid`.
    All conditions hold of one version; of an object with several such versions, the one that is valid last is found."""
    where: Expression | None = None
    """A condition (:mod:`tim.query.tree`), as CQL2 writes it."""
    upon: bool = False
    """Look at the scenario upon the common line: what the scenario says of an object, else what the common line says. What it retires
    (:attr:`Stage.RETIRED`) is not there."""


@dataclass(frozen=True, slots=True)
class Outline:
    """Some objects in columns: enough to lay out tiles, without attributes or geometry."""

    ids: NDArray[np.void]
    """V16[n]: ``tim_id``, big-endian."""
    boxes: NDArray[np.float64]
    """float64[n, 6], EPSG:4979; NaN where an object has no box."""
    classes: NDArray[np.int32]
    """int32[n]: indices into :attr:`class_ids`."""
    class_ids: Sequence[str]
    digests: NDArray[np.void]
    """V32[n]: of what the version says (class, name, attributes, box, representations, …), without identity and validity."""
    versions: NDArray[np.int64]
    """int64[n]: what the store calls the version, for :meth:`ObjectStore.appearances`."""

    def __len__(self) -> int:
        return len(self.ids)


class Appearance(NamedTuple):
    """What drawing an object needs to know, and no more. A plain tuple, as there are very many."""

    tim_id: bytes
    """16 of them."""
    class_id: str
    name: str
    attributes: str
    """JSON as it is stored: parsed by those who carry attributes."""
    representations: Sequence[Representation]


class Standing(NamedTuple):
    """Where an object is."""

    version: int
    """As in :attr:`Outline.versions`."""
    box: Box3 | None


@dataclass(frozen=True, slots=True)
class Origins:
    """Which source some objects are from, in columns."""

    ids: NDArray[np.void]
    """V16[n]: ``tim_id``, big-endian."""
    sources: NDArray[np.int32]
    """int32[n]: indices into :attr:`keys`; -1 where no source was named."""
    keys: Sequence[str]
    """Source keys, also of sources that are no longer in force."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Changed:
    """What happened to a dataset's objects between two sequence numbers."""

    touched: Sequence[Touched]
    """Each object once, with its box at the beginning and at the end."""
    complete: bool
    """False where there were more than were asked for."""


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one object on one line between two sequence numbers."""

    tim_id: UUID
    scenario: str
    seq: int
    """The last changeset, of those looked at, that said something of the object."""
    before: tuple[ObjectVersion, ...]
    """Its versions in force at the beginning, by validity; none where it was not there."""
    after: tuple[ObjectVersion, ...]
    """And at the end."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes in the order of the last changeset that touched the object; within it in an order of the store's own that stays, an object's lines
    together, by scenario."""

    items: Sequence[Change]
    cursor: str | None
    """Give it back for those that follow; ``None`` after the last."""


class Link(NamedTuple):
    """A relation as it stands between two objects. A plain tuple, as there are very many."""

    source: UUID
    """The object that states it."""
    kind: str
    target: UUID
    valid_from: str | None
    valid_to: str | None
    evidence: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a query in a stable order."""

    items: Sequence[ObjectVersion]
    cursor: str | None
    """Give it back for the next page; ``None`` after the last."""


@dataclass(frozen=True, slots=True)
class ChangesetRecord:
    """A line of the log."""

    seq: int
    parent: int | None
    hash: str
    dataset: str
    author: str
    reason: str
    time: str
    counts: Mapping[Literal["created", "updated", "retired", "sources"], int]


class ObjectStore(Protocol):
    """The store of objects, datasets, sources and history. Safe for one writer and many readers at once, across processes."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def seq(self) -> int:
        """The sequence number of the newest changeset; 0 when empty."""

    def put_dataset(self, dataset: Dataset) -> Dataset:
        """Make a dataset or change its title, access and settings. Frame and kind never change (StoreError)."""

    def dataset(self, slug: str) -> Dataset:
        """One dataset. Raises UsageError ``store.no-dataset`` naming those there are."""

    def datasets(self) -> list[Dataset]:
        """All, by slug."""

    def sources(self, dataset: str, seq: int | None = None) -> list[SourceRef]:
        """The dataset's bulk sources by key, now or as they were at a sequence number."""

    def apply(self, changeset: Changeset) -> Applied:
        """Do all of it or nothing. Raises Conflict, StoreError; WorkspaceError where the disk is full or read-only."""

    def get(self, tim_id: UUID, as_of: AsOf | None = None, scenario: str = "") -> ObjectVersion | None:
        """One object as it is at a moment, on the common line or in a scenario."""

    def history(self, tim_id: UUID) -> list[ObjectVersion]:
        """All versions, oldest first."""

    def query(
        self, filter: Filter, as_of: AsOf | None = None, cursor: str | None = None, limit: int = 1000, seconds: float | None = None,  # noqa: A002
    ) -> Page:  # fmt: skip
        """Objects that match, ordered by ``tim_id``; all pages of one query show the moment of the first. Raises StoreError ``store.too-slow``
        after ``seconds``, UsageError for an unknown dataset, a foreign cursor, a limit below 1, a condition that cannot be asked."""

    def count(self, dataset: str | None = None) -> int:
        """Current objects."""

    def read(self, ids: Sequence[UUID], as_of: AsOf | None = None, scenario: str = "") -> list[ObjectVersion]:
        """Those of many objects that there are at a moment, in the order asked for."""

    def outline(
        self, dataset: str, as_of: AsOf | None = None, scenario: str = "", *, box: Box3 | None = None, layer: str | None = None,
    ) -> Iterator[Outline]:  # fmt: skip
        """All objects of a dataset that meet a box, in batches of at most 50,000, in no particular order. Raises UsageError ``store.no-dataset``."""

    def standing(self, ids: Sequence[bytes], as_of: AsOf | None = None, scenario: str = "") -> dict[bytes, Standing]:
        """Those of many objects that there are at a moment. ids: 16 bytes each."""

    def appearances(self, versions: Sequence[int]) -> dict[int, Appearance]:
        """Many versions as drawing wants them; those that there are not are left out."""

    def attribute_kinds(
        self, dataset: str, names: Sequence[str] | None = None, as_of: AsOf | None = None, scenario: str = ""
    ) -> dict[str, set[str]]:
        """The JSON types (``null``, ``true``, ``false``, ``integer``, ``real``, ``text``, ``array``, ``object``) a dataset's objects have
        under these attributes, or all; a name none of them has is left out."""

    def class_counts(self, dataset: str, as_of: AsOf | None = None, scenario: str = "") -> dict[str, int]:
        """How many objects of each class a dataset has, by class id. Raises UsageError ``store.no-dataset``."""

    def changed(self, dataset: str, since: int, limit: int = 100_000) -> Changed:
        """The objects of a dataset that changesets after ``since`` touched, on the common line and in scenarios. A box is that of the newest version."""

    def changes(
        self, dataset: str, since: int, until: int | None = None, cursor: str | None = None, limit: int = 1000
    ) -> Changes:
        """Whose versions changesets after ``since``, and not after ``until``, made or ended, with what was in force before and after."""

    def related(
        self, ids: Sequence[UUID], kinds: Sequence[str] = (), *, inverse: bool = False, as_of: AsOf | None = None, scenario: str = "",
    ) -> list[Link]:  # fmt: skip
        """Relations that objects in force state, and that are valid themselves at the moment: those from ``ids``, or with ``inverse`` those to them.
        Ordered by source, kind and target. kinds: empty for all."""

    def stated(self, dataset: str, kinds: Sequence[str]) -> list[Link]:
        """Relations of some kinds that the current objects of a dataset state on the common line, whenever those are valid themselves. Ordered as
        :meth:`related`."""

    def scenarios(self, dataset: str) -> dict[str, int]:
        """The scenarios of a dataset, with how many objects each says something of, whenever that is valid; by name."""

    def duplicate_codes(self, dataset: str) -> Iterator[tuple[Code, list[UUID]]]:
        """Codes (scheme, edition, value) that several current objects of a dataset claim now, and which objects."""

    def search(self, text: str, datasets: Sequence[str], limit: int = 20) -> list[ObjectVersion]:
        """Current objects of these datasets by a code (exactly), the beginning of a name, or a part of one, in this order."""

    def origins(self, dataset: str, layer: str, scenario: str = "") -> Iterator[Origins]:
        """Which source the current objects of a layer are from, in batches of at most 50,000. Raises UsageError ``store.no-dataset``."""

    def log(
        self, dataset: str | None = None, limit: int | None = None, before: int | None = None
    ) -> Iterator[ChangesetRecord]:
        """Changesets, newest first, those before a sequence number where one is given."""

    def changesets(self, seqs: Collection[int]) -> dict[int, ChangesetRecord]:
        """Some changesets by their sequence numbers; those that there are not are left out."""

    def put_blob(self, data: bytes | memoryview) -> str:
        """Keep bytes by their content (geometry of objects); blake2b-256 hex. Within a changeset's operations, a part of it."""

    def get_blob(self, content: str) -> bytes | None:
        """The bytes of a content hash; ``None`` where they are not here."""

    def get_blobs(self, contents: Iterable[str], most: int | None = None) -> dict[str, bytes]:
        """The bytes of many content hashes; those that are not here are left out. Reading stops once there are more than ``most`` bytes."""
