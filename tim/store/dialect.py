"""What an object store in SQL tables asks in its own SQL: two modules of functions with these names would do, and do.

``seq`` is ``None`` for now, ``valid`` a sort key, ``dataset`` a row; lists of ids have some hundred members, and one at least. What the functions
answer is what the verbs of :class:`tim.store.ObjectStore` that are called alike say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

from tim.model import Code
from tim.place import Box3
from tim.query.plan import Blobs, OnTime
from tim.store import Appearance, Changed, Changes, Filter, Link, ObjectVersion, Origins, Outline, Page, Standing
from tim.store.sql import Connection

C_contra = TypeVar("C_contra", bound=Connection, contravariant=True)


class Looking(Protocol[C_contra]):
    """Asking for objects."""

    def page(
        self, db: C_contra, wanted: Filter, seq: int | None, valid: str, after: UUID | None, limit: int, blobs: Blobs, on_time: OnTime
    ) -> Page:  # fmt: skip
        """``wanted.where`` is prepared and without ``relatedFrom``; ``blobs`` and ``on_time`` are for what is looked at again."""

    def history(self, db: C_contra, tim_id: UUID) -> list[ObjectVersion]:
        """All versions of an object, by number."""

    def read(
        self, db: C_contra, ids: Sequence[UUID], seq: int | None, valid: str, scenario: str
    ) -> list[ObjectVersion]:
        """Some objects, in no particular order."""

    def versions(self, db: C_contra, rows: Sequence[int]) -> dict[int, ObjectVersion]:
        """Versions by their rows."""

    def outline(
        self, db: C_contra, dataset: int, seq: int | None, valid: str, scenario: str, box: Box3 | None, layer: str | None
    ) -> Iterator[Outline]:  # fmt: skip
        """The columns of a dataset's objects, in batches."""

    def standing(
        self, db: C_contra, ids: Sequence[bytes], seq: int | None, valid: str, scenario: str
    ) -> Iterator[tuple[bytes, Standing]]:
        """Those of some objects that there are, by ``tim_id``."""

    def appearances(self, db: C_contra, versions: Sequence[int], found: dict[int, Appearance]) -> None:
        """Add some versions to ``found``, by their rows."""

    def attribute_kinds(
        self, db: C_contra, dataset: int, names: Sequence[str] | None, seq: int | None, valid: str, scenario: str
    ) -> Iterable[tuple[str, str]]:
        """Names and JSON types of some attributes, of all where ``None``; each pair once."""

    def class_counts(self, db: C_contra, dataset: int, seq: int | None, valid: str, scenario: str) -> dict[str, int]:
        """Objects by class, ordered by class id."""

    def count(self, db: C_contra, dataset: int | None, valid: str) -> int:
        """Objects on the common line, of a dataset or of all."""

    def origins(self, db: C_contra, dataset: int, valid: str, scenario: str, layer: str) -> Iterator[Origins]:
        """Where a layer's objects are from, in batches."""

    def search(self, db: C_contra, text: str, datasets: Sequence[int], valid: str, limit: int) -> Iterator[int]:
        """Rows of versions by code, by the beginning of a name, by a part of one; a row may come again."""

    def blobs(self, db: C_contra, hashes: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
        """Bytes by the hash of their content."""


class Tracing(Protocol[C_contra]):
    """Asking what became of them, and how they hang together."""

    def changed(self, db: C_contra, dataset: int, since: int, limit: int) -> Changed:
        """Objects with versions made or ended after a sequence number."""

    def changes(
        self, db: C_contra, dataset: int, since: int, until: int, after: tuple[int, int] | None, limit: int
    ) -> Changes:
        """The same as they were and are, a page. ``after``: where the one before ended, sequence and object's row."""

    def related(
        self, db: C_contra, ids: Sequence[UUID], kinds: Sequence[str], seq: int | None, valid: str, scenario: str, *, inverse: bool
    ) -> Iterable[Link]:  # fmt: skip
        """The relations from some objects, or to them; of all kinds where none is named."""

    def scenarios(self, db: C_contra, dataset: int) -> dict[str, int]:
        """Scenarios with how many objects each, by name."""

    def duplicate_codes(self, db: C_contra, dataset: int, valid: str) -> Iterator[tuple[Code, list[UUID]]]:
        """Codes of several objects on the common line."""
