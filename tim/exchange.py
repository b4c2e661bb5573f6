"""An object as a row: what the columns of our own are called in files others read, and an object out of such a row again.

The formats that hold rows (:mod:`exporters`) all have these columns, and each attribute under its own name; an attribute that is called
like one of the columns, or like another attribute in capitals, has :data:`tim.query.tree.ATTRIBUTE` before it. ``attributes`` holds, as
JSON, the attributes that have no column: those that are nested, null, or of several types.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from tim.classes import all_classes
from tim.model import Code, ObjectRecord, Relation, Stage
from tim.query.tree import ATTRIBUTE
from tim.store import ObjectVersion

TEXTS = (
    "tim_id", "class", "class_en", "class_zh", "name", "layer", "stage", "scenario", "valid_from", "valid_to", "db_from", "db_to",
    "source_key", "source",
)  # fmt: skip
NUMBERS = ("version",)
STRUCTURES = ("codes", "relations", "representations", "attributes")
"""Lists and, last, a mapping; JSON where a format has no such thing."""
OWN = (*TEXTS, *NUMBERS, *STRUCTURES)
RESERVED = frozenset({*OWN, "fid", "ogc_fid", "geom", "geometry", "wkt", "bbox", "id"})
"""Names that no attribute has for itself: those of our own, and those that formats give a meaning."""
OWN_ATTRIBUTE = "tim"
"""The attribute that has all of these where attributes are not columns (CityJSON)."""
_MARKS = {"tim_id", "class", "source_key", "codes", "relations", "attributes"}


def own_values(version: ObjectVersion, rest: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of our own, structures as lists and mappings; ``None`` for what is not said. rest: attributes without a column."""
    record = version.object
    of_class = all_classes().get(record.class_id)
    return {
        "tim_id": str(version.tim_id), "class": record.class_id, "class_en": of_class.en if of_class else None,
        "class_zh": of_class.zh if of_class else None, "name": record.name or None, "layer": record.layer or None, "stage": str(record.stage),
        "scenario": record.scenario or None, "valid_from": record.valid_from, "valid_to": record.valid_to, "db_from": version.db_from,
        "db_to": version.db_to, "source_key": record.source_key or None, "source": version.source or None, "version": version.version,
        "codes": [code_values(code) for code in record.codes], "relations": [relation_values(link) for link in record.relations],
        "representations": [
            {"role": r.role, "lod": r.lod, "format": r.format, "content": r.content, "properties": dict(r.properties)}
            for r in record.representations
        ],
        "attributes": dict(rest),
    }  # fmt: skip


def code_values(code: Code) -> dict[str, str | None]:
    """A code as a mapping."""
    return {
        "scheme": code.scheme, "edition": code.edition, "value": code.value, "valid_from": code.valid_from, "valid_to": code.valid_to,
    }  # fmt: skip


def relation_values(link: Relation) -> dict[str, str | None]:
    """A relation as a mapping."""
    return {
        "kind": link.kind, "target": str(link.target), "valid_from": link.valid_from, "valid_to": link.valid_to, "evidence": link.evidence,
    }  # fmt: skip


def column_names(attributes: Iterable[str]) -> dict[str, str]:
    """The columns of attributes, by attribute: each has a name no other column has, capitals or not."""
    taken = set(RESERVED)
    names = {}
    for attribute in sorted(attributes):
        name = attribute
        while name.casefold() in taken:
            name = ATTRIBUTE + name
        taken.add(name.casefold())
        names[attribute] = name
    return names


def is_ours(columns: Iterable[str]) -> bool:
    """Whether a table has our own columns."""
    return set(columns) >= _MARKS


def record_of(row: Mapping[str, Any]) -> ObjectRecord:
    """The object of a row, without box and representations. Structures may be JSON text. Raises ValueError for what no such row can be."""

    def text(name: str) -> str:
        value = row.get(name)
        return "" if value is None else str(value)

    def structure(name: str, kind: type) -> Any:
        value = row.get(name)
        value = json.loads(value) if isinstance(value, str) and value else value or kind()
        if not isinstance(value, kind):
            raise ValueError(f"{name}: {text(name)[:80]}")
        return value

    try:
        codes = tuple(
            Code(str(c["scheme"]), str(c.get("edition") or ""), str(c["value"]), c.get("valid_from"), c.get("valid_to"))
            for c in structure("codes", list)
        )
        relations = tuple(
            Relation(str(r["kind"]), UUID(r["target"]), r.get("valid_from"), r.get("valid_to"), r.get("evidence") or "")
            for r in structure("relations", list)
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"codes, relations: {error}") from None
    attributes = {
        _plain(name): value for name, value in row.items() if name.casefold() not in RESERVED and value is not None
    }
    return ObjectRecord(
        source_key=text("source_key"), class_id=text("class"), name=text("name"), layer=text("layer"),
        attributes=attributes | structure("attributes", dict), stage=Stage(text("stage") or Stage.SURVEYED), scenario=text("scenario"),
        valid_from=text("valid_from") or None, valid_to=text("valid_to") or None, codes=codes, relations=relations, tim_id=UUID(text("tim_id")),
    )  # fmt: skip


def _plain(name: str) -> str:
    """The attribute of a column."""
    while name.startswith(ATTRIBUTE):
        name = name.removeprefix(ATTRIBUTE)
    return name
