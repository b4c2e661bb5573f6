"""Classes as JSON Schema 2020-12: what a client may expect of an object's attributes, and what it may ask by."""

from __future__ import annotations

from typing import Any

from tim.classes.codelists import CodeList
from tim.classes.registry import Attribute, ObjectClass, Registry
from tim.errors import LANGUAGES, Language

_TYPES: dict[str, dict[str, Any]] = {
    "text": {"type": "string"}, "integer": {"type": "integer"}, "number": {"type": "number"}, "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"}, "timestamp": {"type": "string", "format": "date-time"},
    "array": {"type": "array"}, "object": {"type": "object"},
}  # fmt: skip
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(registry: Registry, class_id: str, language: Language = "en") -> dict[str, Any]:
    """What a class says of its objects' attributes. Others are allowed: a class says what it knows of, not all there is.

    Titles are in ``language``, and in both under ``x-titles``; a unit is under ``x-ogc-unit``. Raises UsageError ``classes.unknown``.
    """
    found = registry.get(class_id)
    document = _document(registry, found, language, list(found.attributes.values()))
    if required := [name for name, attribute in found.attributes.items() if attribute.required]:
        document["required"] = required
    return document


def queryables(registry: Registry, class_id: str, language: Language = "en") -> dict[str, Any]:
    """The attributes of a class one can compare with a value, as :func:`schema`; none of them need be there."""
    found = registry.get(class_id)
    return _document(registry, found, language, [a for a in found.attributes.values() if a.type != "object"])


def _document(registry: Registry, found: ObjectClass, language: Language, attributes: list[Attribute]) -> dict[str, Any]:  # fmt: skip
    return {
        "$schema": _DIALECT, "type": "object", **_titles(found, language),
        "properties": {a.name: _property(a, registry.lists.get(a.list), language) for a in attributes}, "additionalProperties": True,
    }  # fmt: skip


def _property(attribute: Attribute, codes: CodeList | None, language: Language) -> dict[str, Any]:
    document = {**_TYPES[attribute.type], **_titles(attribute, language)}
    if attribute.unit:
        document["x-ogc-unit"] = attribute.unit
    if codes is not None:
        document["x-codelist"] = {"scheme": codes.scheme, "edition": codes.edition, "complete": codes.complete}
        named = [
            {"const": e.value, "title": (e.en if language == "en" else "") or e.zh} for e in codes.entries.values()
        ]
        # An incomplete list helps to choose; it cannot forbid.
        document["oneOf" if codes.complete else "x-values"] = named
    return document


def _titles(named: ObjectClass | Attribute, language: Language) -> dict[str, Any]:
    return {"title": getattr(named, language), "x-titles": {each: getattr(named, each) for each in LANGUAGES}}
