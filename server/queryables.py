"""What can be asked of a dataset's objects, and what they say, as JSON Schemas (OGC 19-079r2 §6, 23-058): one list of properties for both.

System properties are those of every store; attributes are what the dataset's objects have, with the types their values have. Which those
are is found out once for each state of the dataset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tim.classes import Attribute, Registry
from tim.errors import UsageError
from tim.model import Stage
from tim.query.tree import ATTRIBUTE, FUNCTIONS, PROPERTIES, Expression, Property, attribute_name, walk
from tim.store import ObjectStore

Json = dict[str, Any]
DRAFT = "https://json-schema.org/draft/2020-12/schema"
_MOMENT: Json = {"type": "string", "format": "date-time"}
_SYSTEM: Mapping[str, Json] = {
    "id": {"type": "string", "format": "uuid", "x-ogc-role": "id", "title": "Id 对象标识"},
    "class": {"type": "string", "x-ogc-role": "type", "title": "Class 类别"},
    "name": {"type": "string", "title": "Name 名称"},
    "layer": {"type": "string", "title": "Layer 图层"},
    "sourceKey": {"type": "string", "title": "Key in the source 源标识"},
    "stage": {"type": "string", "enum": [stage.value for stage in Stage], "title": "Stage of life 阶段"},
    "version": {"type": "integer", "minimum": 1, "title": "Version 版本"},
    "validFrom": {**_MOMENT, "x-ogc-role": "primary-interval-start", "title": "Valid from 有效期起"},
    "validTo": {**_MOMENT, "x-ogc-role": "primary-interval-end", "title": "Valid to 有效期止"},
    "changed": {**_MOMENT, "title": "Learned by the database 入库时间"},
    "codes": {"type": "array", "items": {"type": "string"}, "title": "Codes 编码"},
    "geometry": {"format": "geometry-any", "x-ogc-role": "primary-geometry", "title": "Footprint 平面范围"},
}
READ_ONLY = ("id", "layer", "sourceKey", "version", "changed")
"""What a change of a feature cannot set; a new one's layer can be said."""
_TYPES = {
    "null": "null", "true": "boolean", "false": "boolean", "integer": "integer", "real": "number", "text": "string", "array": "array",
    "object": "object",
}  # fmt: skip
_ORDER = ("boolean", "integer", "number", "string", "array", "object", "null")


class Attributes:
    """The attributes of datasets and the JSON types of their values, remembered until a dataset changes."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[int, dict[str, set[str]]]] = {}

    def of(self, store: ObjectStore, dataset: str, scenario: str) -> dict[str, set[str]]:
        """As they are now."""
        newest = next((record.seq for record in store.log(dataset, 1)), 0)
        known = self._known.get((dataset, scenario))
        if known is None or known[0] != newest:
            known = self._known[dataset, scenario] = newest, store.attribute_kinds(dataset, scenario=scenario)
        return known[1]

    def require(self, store: ObjectStore, dataset: str, scenario: str, names: Iterable[str]) -> None:
        """Refuse properties that nothing has, or had since the server looked. Raises UsageError ``server.no-property``."""
        wanted = [attribute for name in names if (attribute := attribute_name(name)) is not None]
        known = self._known.get((dataset, scenario), (0, {}))[1]
        if any(name not in known for name in wanted):
            known = self.of(store, dataset, scenario)
        missing = next((name for name in wanted if name not in known), None)
        if missing is not None:
            raise UsageError("server.no-property", name=missing[:100], dataset=dataset)


def asked_for(expression: Expression) -> list[str]:
    """The names of the properties in a condition."""
    return list(dict.fromkeys(part.name for part in walk(expression) if isinstance(part, Property)))


def said_by_classes(store: ObjectStore, dataset: str, scenario: str, classes: Registry) -> dict[str, Attribute]:
    """What the classes of a dataset's objects say of attributes, by name; of two classes that say something, the first by id."""
    known = classes.classes
    found: dict[str, Attribute] = {}
    for class_id in sorted(store.class_counts(dataset, scenario=scenario)):
        for name, attribute in known[class_id].attributes.items() if class_id in known else ():
            found.setdefault(name, attribute)
    return found


def queryables(
    dataset: str, title: str, kinds: Mapping[str, set[str]], uri: str, said: Mapping[str, Attribute]
) -> Json:
    """What conditions may name."""
    return _document(title, uri, {**_SYSTEM, **_attributes(kinds, said)}, dataset)


def schema(dataset: str, title: str, kinds: Mapping[str, set[str]], uri: str, said: Mapping[str, Attribute]) -> Json:
    """What features say and take; what only they say is ``readOnly``."""
    system = {name: ({**own, "readOnly": True} if name in READ_ONLY else own) for name, own in _SYSTEM.items()}
    return {**_document(title, uri, {**system, **_attributes(kinds, said)}, dataset), "required": ["class"]}


def functions() -> Json:
    """The functions that conditions may call."""
    return {
        "functions": [
            {
                "name": name,
                "description": _FUNCTIONS[name],
                "arguments": [{"title": kind, "type": ["string"]} for kind in arguments],
                "returns": ["string" if name in ("casei", "accenti") else "boolean"],
            }
            for name, arguments in FUNCTIONS.items()
        ]
    }


_FUNCTIONS = {
    "casei": "The text without regard to case",
    "accenti": "The text without regard to accents",
    "inClass": "Of this class or one below it",
    "hasCode": "Known by this code: scheme, value",
    "relatedTo": "States a relation of this kind (empty: any) to this object",
    "relatedFrom": "This object states a relation of this kind (empty: any) to it",
}


def _document(title: str, uri: str, properties: Mapping[str, Json], dataset: str) -> Json:
    return {
        "$schema": DRAFT, "$id": uri, "type": "object", "title": title or dataset, "properties": dict(properties), "additionalProperties": False,
    }  # fmt: skip


def _attributes(kinds: Mapping[str, set[str]], said: Mapping[str, Attribute]) -> dict[str, Json]:
    return {
        f"{ATTRIBUTE}{name}" if name in PROPERTIES else name: _typed(name, found, said.get(name))
        for name, found in sorted(kinds.items())
    }


def _typed(name: str, found: set[str], said: Attribute | None) -> Json:
    """The schema of one attribute: types as its values have them, titles and unit as its class says."""
    types = {_TYPES[kind] for kind in found}
    if "number" in types:
        types.discard("integer")
    ordered = [kind for kind in _ORDER if kind in types]
    document: Json = {
        "title": f"{said.en} {said.zh}" if said else name,
        "type": ordered[0] if len(ordered) == 1 else ordered,
    }
    if said is not None and said.unit:
        document["x-ogc-unit"] = said.unit
    return document
