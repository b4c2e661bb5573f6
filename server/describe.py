"""What the OpenAPI description says of answers and bodies: schemas by name, the one shape of refusals, nothing that is not so."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse

from server.links import GEOJSON, SCHEMA

Json = dict[str, Any]
COLLECTION, FEATURE, SCHEMA_DOCUMENT = "FeatureCollection", "Feature", "Schema"


class FeatureResponse(JSONResponse):
    """GeoJSON (RFC 7946)."""

    media_type = GEOJSON


class SchemaResponse(JSONResponse):
    """JSON Schema."""

    media_type = SCHEMA


_MEDIA = {COLLECTION: GEOJSON, FEATURE: GEOJSON, SCHEMA_DOCUMENT: SCHEMA}
NOT_MODIFIED: dict[int | str, Json] = {304: {"description": "If-None-Match names it"}}


def answers(name: str, status: int = 200, description: str = "As asked") -> dict[int | str, Json]:
    """The good answer of a route, by the name of its schema."""
    media = _MEDIA.get(name, "application/json")
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {status: {"description": description, "content": {media: {"schema": schema}}}}


def body(schema: Json, *media: str) -> Json:
    """The body a route reads itself."""
    content = {kind: {"schema": schema} for kind in media or ("application/json",)}
    return {"requestBody": {"required": True, "content": content}}


_LINKS: Json = {"type": "array", "items": {"$ref": "#/components/schemas/Link"}}
_TEXT: Json = {"type": "string"}
_NUMBERS: Json = {"type": "array", "items": {"type": "number"}}
_BOX: Json = {**_NUMBERS, "minItems": 6, "maxItems": 6}
_OPTIONAL: Json = {"type": ["string", "null"]}
_COUNT: Json = {"type": "integer", "minimum": 0}

_MOMENT: Json = {"type": ["string", "null"], "description": "2026-11-21 or 2026-11-21T08:00:00Z"}
INPUT: Json = {
    "type": "object", "required": ["type", "properties"],
    "properties": {
        "type": {"const": "Feature"}, "geometry": {"oneOf": [{"$ref": "#/components/schemas/Geometry"}, {"type": "null"}]},
        "properties": {
            "type": "object", "required": ["class"],
            "description": "Any further one is an attribute. A height above zero raises the footprint.",
            "properties": {
                "class": _TEXT, "name": _TEXT, "layer": _TEXT, "stage": {"$ref": "#/components/schemas/Stage"}, "validFrom": _MOMENT, "validTo": _MOMENT,
                "codes": {"type": "array", "items": {"$ref": "#/components/schemas/CodeIn"}},
            },
        },
        "relations": {"type": "array", "items": {"$ref": "#/components/schemas/RelationIn"}},
    },
}  # fmt: skip
"""A feature as it may be sent."""

SCHEMAS: dict[str, Json] = {
    "Error": {
        "type": "object", "required": ["code", "message", "fields"],
        "properties": {
            "code": _TEXT, "fields": {"type": "object"},
            "message": {"type": "object", "required": ["en", "zh"], "properties": {"en": _TEXT, "zh": _TEXT}},
        },
    },
    "Link": {
        "type": "object", "required": ["rel", "href"],
        "properties": {"rel": _TEXT, "href": _TEXT, "type": _TEXT, "title": _TEXT, "method": _TEXT, "body": {"type": "object"}},
    },
    "Geometry": {
        "type": "object", "required": ["type", "coordinates"],
        "properties": {"type": {"enum": ["Point", "Polygon", "MultiPolygon"]}, "coordinates": {"type": "array"}},
    },
    FEATURE: {
        "type": "object", "required": ["type", "id", "geometry", "properties"],
        "properties": {
            "type": {"const": "Feature"}, "id": {"type": "string", "format": "uuid"}, "bbox": _BOX, "properties": {"type": "object"},
            "geometry": {"oneOf": [{"$ref": "#/components/schemas/Geometry"}, {"type": "null"}]}, "links": _LINKS,
        },
    },
    COLLECTION: {
        "type": "object", "required": ["type", "features", "links", "numberReturned", "timeStamp"],
        "properties": {
            "type": {"const": "FeatureCollection"}, "features": {"type": "array", "items": {"$ref": f"#/components/schemas/{FEATURE}"}},
            "links": _LINKS, "numberReturned": _COUNT, "numberMatched": _COUNT, "timeStamp": {"type": "string", "format": "date-time"},
        },
    },
    "CodeIn": {
        "type": "object", "required": ["scheme", "value"],
        "properties": {"scheme": {"type": "string", "minLength": 1}, "edition": _TEXT, "value": {"type": "string", "minLength": 1}, "validFrom": _MOMENT, "validTo": _MOMENT},
    },
    "RelationIn": {
        "type": "object", "required": ["kind", "target"],
        "properties": {
            "kind": {"type": "string", "minLength": 1}, "target": {"type": "string", "format": "uuid"}, "validFrom": _MOMENT, "validTo": _MOMENT, "evidence": _TEXT,
        },
    },
    "ClassName": {"type": "object", "required": ["id", "en", "zh"], "properties": {"id": _TEXT, "en": _TEXT, "zh": _TEXT}},
    "Brief": {
        "type": "object", "required": ["id", "dataset", "name", "class", "code", "bbox"],
        "properties": {
            "id": {"type": "string", "format": "uuid"}, "dataset": _TEXT, "name": _TEXT, "class": {"$ref": "#/components/schemas/ClassName"}, "code": _OPTIONAL,
            "bbox": {"oneOf": [_BOX, {"type": "null"}]},
        },
    },
    "Object": {
        "type": "object", "required": ["id", "dataset", "class", "name", "attributes", "codes", "relations", "version", "stage", "scenario"],
        "properties": {
            "id": {"type": "string", "format": "uuid"}, "dataset": _TEXT, "class": {"$ref": "#/components/schemas/ClassName"}, "name": _TEXT, "layer": _TEXT,
            "sourceKey": _TEXT, "stage": {"$ref": "#/components/schemas/Stage"}, "scenario": _TEXT, "validFrom": _OPTIONAL, "validTo": _OPTIONAL,
            "version": {"type": "integer", "minimum": 1}, "changed": _TEXT, "attributes": {"type": "object"}, "bbox": {"oneOf": [_BOX, {"type": "null"}]},
            **{name: {"type": "array", "items": {"type": "object"}} for name in ("codes", "relations", "sources", "representations")},
        },
    },
    "History": {
        "type": "object", "required": ["id", "dataset", "versions"],
        "properties": {
            "id": _TEXT, "dataset": _TEXT,
            "versions": {
                "type": "array",
                "items": {
                    "type": "object", "required": ["version", "stage", "seq", "recordedFrom", "recordedTo", "changeset"],
                    "properties": {
                        "version": {"type": "integer", "minimum": 1}, "stage": {"$ref": "#/components/schemas/Stage"}, "seq": _COUNT,
                        "changeset": {"oneOf": [{"$ref": "#/components/schemas/Changeset"}, {"type": "null"}]},
                    },
                },
            },
        },
    },
    "Relations": {
        "type": "object", "required": ["id", "links", "objects", "complete"],
        "properties": {
            "id": _TEXT, "complete": {"type": "boolean"}, "objects": {"type": "array", "items": {"$ref": "#/components/schemas/Brief"}},
            "absent": {"type": "array", "items": _TEXT}, "unknownKinds": {"type": "array", "items": _TEXT},
            "links": {
                "type": "array",
                "items": {
                    "type": "object", "required": ["source", "kind", "target"],
                    "properties": {"source": _TEXT, "kind": _TEXT, "target": _TEXT, "validFrom": _OPTIONAL, "validTo": _OPTIONAL, "evidence": _TEXT},
                },
            },
        },
    },
    "Claims": {
        "type": "object", "required": ["claims"],
        "properties": {
            "claims": {
                "type": "array",
                "items": {
                    "type": "object", "required": ["scheme", "edition", "value", "duplicate", "objects"],
                    "properties": {
                        "scheme": _TEXT, "edition": _TEXT, "value": _TEXT, "validFrom": _OPTIONAL, "validTo": _OPTIONAL, "duplicate": {"type": "boolean"},
                        "objects": {"type": "array", "items": {"$ref": "#/components/schemas/Brief"}},
                    },
                },
            },
        },
    },
    "Changeset": {
        "type": "object", "required": ["seq", "parent", "hash", "dataset", "author", "reason", "time", "counts"],
        "properties": {
            "seq": _COUNT, "parent": {"type": ["integer", "null"]}, "hash": _TEXT, "dataset": _TEXT, "author": _TEXT, "reason": _TEXT, "time": _TEXT,
            "counts": {"type": "object", "additionalProperties": _COUNT}, "links": _LINKS,
        },
    },
    "Changesets": {
        "type": "object", "required": ["changesets", "links"],
        "properties": {"changesets": {"type": "array", "items": {"$ref": "#/components/schemas/Changeset"}}, "links": _LINKS},
    },
    "Changes": {
        "type": "object", "required": ["since", "until", "changes", "links", "numberReturned"],
        "properties": {
            "since": _COUNT, "until": _COUNT, "numberReturned": _COUNT, "links": _LINKS,
            "changes": {
                "type": "array",
                "items": {
                    "type": "object", "required": ["id", "dataset", "scenario", "seq", "kind", "before", "after", "links"],
                    "properties": {
                        "id": _TEXT, "dataset": _TEXT, "scenario": _TEXT, "seq": _COUNT, "kind": {"enum": ["created", "updated", "retired"]}, "links": _LINKS,
                        **{
                            side: {
                                "type": "object",
                                "properties": {"versions": {"type": "array", "items": _COUNT}, "bbox": {"oneOf": [_BOX, {"type": "null"}]}},
                            } for side in ("before", "after")
                        },
                    },
                },
            },
        },
    },
    "Differences": {
        "type": "object", "required": ["differences", "links"],
        "properties": {
            "from": _COUNT, "to": _COUNT, "scenario": _TEXT, "dataset": _TEXT, "links": _LINKS,
            "differences": {
                "type": "array",
                "items": {
                    "type": "object", "required": ["id", "scenario", "kind", "during", "before", "after", "fields", "geometry"],
                    "properties": {
                        "id": _TEXT, "scenario": _TEXT, "kind": {"enum": ["added", "removed", "changed"]}, "geometry": {"type": "boolean"},
                        "before": {"type": ["integer", "null"]}, "after": {"type": ["integer", "null"]},
                        "during": {"type": ["array", "null"], "items": _OPTIONAL},
                        "fields": {"type": "array", "items": {"type": "object", "required": ["name", "before", "after"], "properties": {"name": _TEXT}}},
                    },
                },
            },
        },
    },
    "Scenarios": {
        "type": "object", "required": ["scenarios", "links"],
        "properties": {
            "links": _LINKS,
            "scenarios": {
                "type": "array",
                "items": {
                    "type": "object", "required": ["name", "dataset", "objects"],
                    "properties": {"name": _TEXT, "dataset": _TEXT, "objects": _COUNT, "links": _LINKS},
                },
            },
        },
    },
    "Undone": {
        "type": "object", "required": ["objects", "sources", "dryRun", "seq"],
        "properties": {"objects": _COUNT, "sources": _COUNT, "dryRun": {"type": "boolean"}, "seq": {"type": ["integer", "null"]}},
    },
    "Adopted": {
        "type": "object", "required": ["seq", "created", "updated", "retired"],
        "properties": dict.fromkeys(("seq", "created", "updated", "retired"), _COUNT),
    },
    SCHEMA_DOCUMENT: {
        "type": "object", "required": ["$schema", "$id", "type", "properties"],
        "properties": {"$schema": _TEXT, "$id": _TEXT, "type": {"const": "object"}, "properties": {"type": "object"}},
    },
}  # fmt: skip


def complete(document: Json) -> Json:
    """An OpenAPI description with the schemas there are, and refusals as they are: one shape, 400 where a framework would say 422."""
    document.setdefault("components", {}).setdefault("schemas", {}).update(SCHEMAS)
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for operations in document["paths"].values():
        for operation in operations.values():
            answers = operation["responses"]
            if "HTTPValidationError" in str(answers.get("422", "")):
                del answers["422"]
            answers.setdefault("4XX", {"description": "Refused: why, in both languages", "content": error})
            operation.pop("x-open-parameters", None)
    return document
