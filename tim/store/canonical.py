"""The canonical form of what enters a store: checked, in one spelling, with a digest; the same for every store.

A digest covers what a record says, not who said it or when, so equal content is recognised without comparing fields, and equal
histories have equal changeset hashes whatever store keeps them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from tim.errors import StoreError, UsageError
from tim.model import Code, ObjectRecord, Relation, derived_id, new_id
from tim.place import Box3
from tim.sources import SourceRef

EVER = ""
"""Open beginning, as a sort key: before every instant."""
NEVER = "~"
"""Open end, as a sort key: after every instant."""
GENESIS = "0" * 64
"""The hash before the first changeset."""

_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z)?", re.ASCII)
_CLASS = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9]+(?:-[a-z0-9]+)*)*")
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""A NUL as JSON writes it; neither SQLite's JSON nor PostgreSQL's text can hold one."""
NOTHING = "[[],[],[]]"
"""What nothing is linked to: neither codes nor relations nor representations."""
_BOX = struct.Struct("<6d")
_SIZE = struct.Struct("<I")
_PUT = struct.Struct("<I3sI16sI32s")
"""How :class:`HistoryHash` is fed with what all puts have, each part after its size."""
_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _encoder() -> Callable[[Any], str]:
    """What :data:`_JSON` does, made once: it makes CPython's encoder anew for every value, which takes as long as the encoding itself."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return _JSON.encode
    encode = make(None, _JSON.default, json.encoder.encode_basestring, None, ":", ",", True, False, False)
    return lambda value: "".join(encode(value, 0))


_encoded = _encoder()


class Canonical(NamedTuple):
    """An object record as a store keeps it. A plain tuple, as there are very many."""

    tim_id: UUID
    layer: str
    source_key: str
    class_id: str
    name: str
    attributes: str
    """JSON with sorted keys."""
    box: Box3 | None
    stage: str
    scenario: str
    valid_from: str
    """Sort key of :func:`instant`."""
    valid_to: str
    codes: tuple[Code, ...]
    relations: tuple[Relation, ...]
    linked: str
    """JSON of the codes, the relations and the representations, each with its fields in their order."""
    digest: bytes
    """blake2b-256 of all of it but the identity and the validity."""


def canonical(record: ObjectRecord, dataset: UUID) -> Canonical:
    """Check a record and bring it into its one spelling.

    Raises StoreError naming the object and what of it cannot be kept.
    """
    where = record.source_key or str(record.tim_id or record.name)
    if not _CLASS.fullmatch(record.class_id):
        raise StoreError("store.class", object=where, value=record.class_id)
    codes: tuple[Code, ...] = ()
    if record.codes:
        codes = tuple(
            Code(c.scheme, c.edition, c.value, *_texts(c.valid_from, c.valid_to, where)) for c in record.codes
        )
    relations: tuple[Relation, ...] = ()
    if record.relations:
        relations = tuple(
            Relation(r.kind, r.target, *_texts(r.valid_from, r.valid_to, where), evidence=r.evidence)
            for r in record.relations
        )
    box = None if record.box is None else _box(record.box, where)
    valid_from, valid_to = validity(record.valid_from, record.valid_to, where)
    attributes = dumps(record.attributes, where)
    linked = NOTHING
    if codes or relations or record.representations:
        linked = dumps(
            [
                [[c.scheme, c.edition, c.value, c.valid_from, c.valid_to] for c in codes],
                [[r.kind, str(r.target), r.valid_from, r.valid_to, r.evidence] for r in relations],
                [[r.role, r.lod, r.format, r.content, dict(r.properties)] for r in record.representations],
            ],
            where,
        )
    parts = (
        record.class_id, record.name, record.stage.value, record.scenario, record.layer, record.source_key, attributes, linked,
    )  # fmt: skip
    text = "\0".join(parts)
    if text.count("\0") >= len(parts) or ("\\u0000" in text and (_NUL.search(attributes) or _NUL.search(linked))):
        raise StoreError("store.text", object=where.replace("\0", "?"), reason="NUL")
    try:
        digest = hashlib.blake2b(text.encode(), digest_size=32)
    except UnicodeEncodeError as error:
        raise StoreError("store.text", object=where.encode(errors="replace").decode(), reason=error.reason) from None
    if box is not None:
        digest.update(b"\0" + _BOX.pack(*box))
    tim_id = record.tim_id or (derived_id(dataset, record.layer, record.source_key) if record.source_key else new_id())
    return Canonical(
        tim_id, record.layer, record.source_key, record.class_id, record.name, attributes, box, record.stage.value,
        record.scenario, valid_from, valid_to, codes, relations, linked, digest.digest(),
    )  # fmt: skip


def instant(text: str | None, open_end: str, where: str = "") -> str:
    """The sort key of a moment: text that orders as time does, whether date or instant; ``open_end`` where there is none.

    A date is its midnight in UTC. Raises StoreError for anything but ``2026-11-21`` and ``2026-11-21T08:00:00[.5]Z``.
    """
    if text is None:
        return open_end
    key = _instant(text)
    if key is None:
        raise StoreError("store.time", object=where, value=text)
    return key


@lru_cache(1000)
def _instant(text: str) -> str | None:
    match = _INSTANT.fullmatch(text)
    if match is None or not _in_calendar(match[1], match[2]):
        return None
    date, clock, fraction = match.groups()
    fraction = (fraction or "").rstrip("0")
    if fraction:
        return f"{date}T{clock}.{fraction}"
    return date if clock in (None, "00:00:00") else f"{date}T{clock}"


def moment(key: str) -> str | None:
    """The text of a sort key of :func:`instant`; ``None`` where it is open."""
    if key in (EVER, NEVER):
        return None
    return f"{key}Z" if "T" in key else key


def validity(valid_from: str | None, valid_to: str | None, where: str) -> tuple[str, str]:
    """Both ends as sort keys, half-open. Raises StoreError where the end does not come after the beginning."""
    if valid_from is None and valid_to is None:
        return EVER, NEVER
    start, end = instant(valid_from, EVER, where), instant(valid_to, NEVER, where)
    if start >= end:
        raise StoreError("store.validity", object=where, valid_from=valid_from, valid_to=valid_to)
    return start, end


def interval(during: tuple[str | None, str | None]) -> tuple[str, str]:
    """Both ends as sort keys, each a moment of it. Raises StoreError for what is no moment, UsageError where the end comes before the beginning."""
    start, end = instant(during[0], EVER), instant(during[1], NEVER)
    if start > end:
        raise UsageError("store.interval", start=during[0], end=during[1])
    return start, end


def dumps(value: Any, where: str) -> str:
    """JSON in its one spelling: sorted keys, no spaces. Raises StoreError for what JSON cannot hold (NaN, other types)."""
    if type(value) is not dict and isinstance(value, Mapping):
        value = dict(value)
    try:
        return _encoded(value) if value else _JSON.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError("store.not-json", object=where, reason=str(error)) from None


def source_digest(source: SourceRef) -> bytes:
    """blake2b-256 of what a source is, wherever it lies: its path and file times do not enter."""
    record = source.record()
    del record["uri"], record["fingerprint"]["mtime_ns"]
    return hashlib.blake2b(dumps(record, source.key).encode(), digest_size=32).digest()


class HistoryHash:
    """The hash of one changeset, fed with its effective operations in order."""

    def __init__(self, parent: str, dataset: str) -> None:
        self._digest = hashlib.blake2b(digest_size=32)
        self._feed(b"changeset", parent.encode(), dataset.encode())

    def put(self, record: Canonical) -> None:
        """An object made or changed."""
        start, end = record.valid_from.encode(), record.valid_to.encode()
        fixed = _PUT.pack(3, b"put", 16, record.tim_id.bytes, 32, record.digest)
        self._digest.update(b"%b%b%b%b%b" % (fixed, _SIZE.pack(len(start)), start, _SIZE.pack(len(end)), end))

    def retire(self, tim_id: UUID, valid_to: str, scenario: str) -> None:
        """An object ended."""
        self._feed(b"retire", tim_id.bytes, valid_to.encode(), scenario.encode())

    def source(self, key: str, digest: bytes) -> None:
        """A source registered or refreshed."""
        self._feed(b"source", key.encode(), digest)

    def drop(self, key: str) -> None:
        """A source taken out."""
        self._feed(b"drop", key.encode())

    def hexdigest(self) -> str:
        """blake2b-256 hex."""
        return self._digest.hexdigest()

    def _feed(self, *parts: bytes) -> None:
        self._digest.update(b"".join(_SIZE.pack(len(part)) + part for part in parts))


def _texts(valid_from: str | None, valid_to: str | None, where: str) -> tuple[str | None, str | None]:
    if valid_from is None and valid_to is None:
        return None, None
    start, end = validity(valid_from, valid_to, where)
    return moment(start), moment(end)


def _box(box: Box3, where: str) -> Box3:
    west, south, bottom, east, north, top = map(float, box)
    on_earth = -180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90
    if not on_earth or not -math.inf < bottom <= top < math.inf:
        raise StoreError("store.box", object=where, box=list(box))
    return west, south, bottom, east, north, top


def _in_calendar(date: str, clock: str | None) -> bool:
    year, month, day = int(date[:4]), int(date[5:7]), int(date[8:])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if (
        not 1 <= month <= 12
        or not 1 <= day <= (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]
    ):
        return False
    return clock is None or (clock[:2] < "24" and clock[3:5] < "60" and clock[6:] < "60")
