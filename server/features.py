"""Objects as documents: the full record behind a click, and GeoJSON features (RFC 7946, heights in CRS84h)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from server.crs import CRS84H, Crs
from tim.classes import Registry
from tim.errors import UsageError
from tim.query.tree import ATTRIBUTE, PROPERTIES
from tim.shape import footprint
from tim.sources import SourceRef
from tim.store import ChangesetRecord, ObjectStore, ObjectVersion

Json = dict[str, Any]


def class_document(class_id: str, classes: Registry) -> Json:
    """Id and names; an id this registry does not have stands for itself."""
    try:
        known = classes.get(class_id)
    except UsageError:
        return {"id": class_id, "en": class_id, "zh": class_id}
    return {"id": known.id, "en": known.en, "zh": known.zh}


def object_document(
    found: ObjectVersion, sources: Sequence[SourceRef], related: Mapping[UUID, ObjectVersion], classes: Registry
) -> Json:
    """All there is to say about one object. ``sources``: of its dataset; ``related``: the targets of its relations that may be seen."""
    record = found.object
    return {
        "id": str(found.tim_id), "dataset": found.dataset, "class": class_document(record.class_id, classes), "name": record.name,
        "layer": record.layer, "sourceKey": record.source_key, "stage": record.stage.value, "scenario": record.scenario,
        "validFrom": record.valid_from, "validTo": record.valid_to, "version": found.version, "changed": found.db_from,
        "attributes": dict(record.attributes),
        "codes": [{"scheme": c.scheme, "edition": c.edition, "value": c.value} for c in record.codes],
        "relations": [
            {"kind": r.kind, "target": str(r.target), **_named(related.get(r.target), classes), "evidence": r.evidence} for r in record.relations
        ],
        "sources": [
            {"key": s.key, "format": s.format, "title": s.key.rsplit("/", 1)[-1]} for s in sources
            if record.layer in s.options.get("layers", ()) or any(r.content == s.key for r in record.representations)
        ],
        "bbox": None if record.box is None else list(record.box),
        "representations": [{"role": r.role, "lod": r.lod, "format": r.format} for r in record.representations],
    }  # fmt: skip


def version_document(found: ObjectVersion, made: ChangesetRecord | None, classes: Registry) -> Json:
    """One version in an object's history, with the changeset that made it."""
    record = found.object
    return {
        "version": found.version, "scenario": record.scenario, "stage": record.stage.value, "validFrom": record.valid_from,
        "validTo": record.valid_to, "recordedFrom": found.db_from, "recordedTo": found.db_to, "class": class_document(record.class_id, classes),
        "name": record.name, "attributes": dict(record.attributes), "bbox": None if record.box is None else list(record.box),
        "source": found.source, "seq": found.seq, "changeset": None if made is None else changeset_document(made),
    }  # fmt: skip


def changeset_document(made: ChangesetRecord) -> Json:
    """One line of the log."""
    return {
        "seq": made.seq, "parent": made.parent, "hash": made.hash, "dataset": made.dataset, "author": made.author, "reason": made.reason,
        "time": made.time, "counts": dict(made.counts),
    }  # fmt: skip


def brief_document(found: ObjectVersion, classes: Registry, text: str = "") -> Json:
    """A line of a search result; ``code`` is the one that was asked for."""
    record = found.object
    code = next((c.value for c in record.codes if c.value == text), None)
    return {
        "id": str(found.tim_id), "dataset": found.dataset, "name": record.name, "class": class_document(record.class_id, classes), "code": code,
        "bbox": None if record.box is None else list(record.box),
    }  # fmt: skip


def features(found: Iterable[ObjectVersion], store: ObjectStore, crs: Crs = CRS84H) -> list[Json]:
    """GeoJSON features with footprints, geometry read from the store in one go."""
    items = list(found)
    bodies = [footprint.content(item.object) for item in items]
    blobs = store.get_blobs(content for content in bodies if content)
    return [_feature(item, blobs.get(content or ""), crs) for item, content in zip(items, bodies, strict=True)]


def properties(found: ObjectVersion) -> Json:
    """What an object says, by the names it can be asked by (:mod:`tim.query.tree`)."""
    record = found.object
    return {
        "class": record.class_id, "name": record.name, "layer": record.layer, "sourceKey": record.source_key, "stage": record.stage.value,
        "version": found.version, "validFrom": record.valid_from, "validTo": record.valid_to, "changed": found.db_from,
        "codes": [code.value for code in record.codes],
        **{f"{ATTRIBUTE}{name}" if name in PROPERTIES else name: value for name, value in record.attributes.items()},
    }  # fmt: skip


def _feature(found: ObjectVersion, blob: bytes | None, crs: Crs) -> Json:
    box, geometry = found.object.box, footprint.geometry(found.object, blob)
    document: Json = {
        "type": "Feature", "id": str(found.tim_id), "geometry": geometry if geometry is None or crs is CRS84H else crs.geometry(geometry),
        "properties": properties(found),
    }  # fmt: skip
    if box is not None and crs is CRS84H:
        document["bbox"] = list(box)
    return document


def _named(found: ObjectVersion | None, classes: Registry) -> Json:
    if found is None:
        return {"name": "", "class": None}
    return {"name": found.object.name, "class": class_document(found.object.class_id, classes)}
