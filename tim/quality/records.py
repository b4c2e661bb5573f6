"""What can be told of one record by itself: its class, its attributes, its codes, the validity of its relations. Cheap enough for an import."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any

from tim import codes
from tim.classes import Attribute, Registry
from tim.model import ObjectRecord
from tim.quality.findings import Problem

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def problems(record: ObjectRecord, registry: Registry) -> Iterator[tuple[str, Problem]]:
    """The check and the problem of whatever is not right with a record."""
    found = registry.nearest(record.class_id)
    if found is None or found.id != record.class_id:
        yield "classes", ("quality.unknown-class", {"class": record.class_id})
    if found is not None:
        for name, attribute in found.attributes.items():
            if (problem := _attribute(record.attributes.get(name), attribute, registry)) is not None:
                yield "attributes", (problem[0], {"attribute": name, "class": record.class_id, **problem[1]})
    for code in record.codes:
        if (error := codes.check(code, registry)) is not None:
            yield "codes", (error.code, error.fields)
    yield from (("validity", problem) for problem in _overlaps(record))


def where(record: ObjectRecord) -> str:
    """How a record is named: by its layer and source key, or what else it has."""
    key = record.source_key or record.name or str(record.tim_id or "")
    return f"{record.layer}#{key}" if record.layer else key


def _attribute(value: Any, attribute: Attribute, registry: Registry) -> Problem | None:
    if value is None or value == "":
        return ("quality.missing", {}) if attribute.required else None
    if not _TYPES[attribute.type](value):
        return "quality.wrong-type", {"value": _shown(value), "type": attribute.type}
    if attribute.list:
        known = registry.lists[attribute.list]
        if value not in known:
            said = {"value": _shown(value), "list": attribute.list}
            return ("quality.not-in-list", said) if known.complete else ("quality.not-in-part", said)
    return None


def _overlaps(record: ObjectRecord) -> Iterator[Problem]:
    """Relations of one kind to one target that are valid at the same time."""
    spans: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for relation in record.relations:
        span = (relation.valid_from or "", relation.valid_to or "~")
        spans.setdefault((relation.kind, str(relation.target)), []).append(span)
    for (kind, target), these in spans.items():
        these.sort()
        if any(after[0] < before[1] for before, after in pairwise(these)):
            yield "quality.relation-overlaps", {"kind": kind, "target": target}


def _instant(value: Any, pattern: re.Pattern[str]) -> bool:
    try:
        return isinstance(value, str) and bool(pattern.fullmatch(value)) and bool(datetime.fromisoformat(value.upper()))
    except ValueError:
        return False


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:59] + "…"


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "text": lambda v: isinstance(v, str),
    "integer": lambda v: not isinstance(v, bool) and (isinstance(v, int) or (isinstance(v, float) and v.is_integer())),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "boolean": lambda v: isinstance(v, bool),
    "date": lambda v: _instant(v, _DATE),
    "timestamp": lambda v: _instant(v, _INSTANT),
    "array": lambda v: isinstance(v, list | tuple),
    "object": lambda v: isinstance(v, dict),
}
"""Whether a JSON value is of a type of attributes."""
