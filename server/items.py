"""Objects as features: OGC API Features with filters (OGC 17-069r4, 18-058r1, 19-079r2), their queryables and schema.

A question is read once, whether it comes as a URL or, where a filter is too long for one, as a body.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import FastAPI, Query, Request, Response

from server import crs as systems
from server.catalog import Catalog
from server.crs import Crs
from server.describe import (
    COLLECTION,
    FEATURE,
    NOT_MODIFIED,
    SCHEMA_DOCUMENT,
    FeatureResponse,
    SchemaResponse,
    answers,
    body,
)
from server.edit import body_of_request
from server.features import Json, features
from server.links import GEOJSON, here, link, up
from server.negotiate import matched_tag, secret_of
from server.parameters import (
    ALWAYS,
    OPEN,
    Limit,
    Scenario,
    Times,
    bad,
    no_parameter,
    read_box,
    read_times,
    read_uuid,
    scenario_name,
)
from server.queryables import Attributes, asked_for, functions, queryables, said_by_classes, schema
from tim.classes import Attribute
from tim.errors import UsageError
from tim.model import Dataset, Stage
from tim.query import cql2_json, cql2_text
from tim.query.tree import PROPERTIES, And, Compare, Expression, Property, attribute_name
from tim.query.tree import Literal as Value
from tim.store import AsOf, Filter, ObjectStore, ObjectVersion

MOST_ITEMS = 1000
SECONDS = 10.0
"""How long the store may look for one page."""
MOST_FILTER = 7_000
"""Characters of a filter in a URL, which is cut at 64 kB when it is percent-encoded."""
MOST_BODY = 65_536
"""Bytes of a search's body."""
Language = Literal["cql2-text", "cql2-json"]
_EQUALS = ("id", "name", "sourceKey")
"""System properties that a parameter of their name compares as text."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a dataset's objects."""

    wanted: Filter
    moment: str | None
    limit: int
    cursor: str | None
    crs: Crs
    named: tuple[str, ...]
    """Properties it names."""


def register(api: FastAPI, catalog: Catalog) -> None:
    """Add the routes."""
    attributes = Attributes()

    def described(store: ObjectStore, record: Dataset) -> tuple[dict[str, set[str]], dict[str, Attribute]]:
        line = line_of(record, None)
        return attributes.of(store, record.slug, line), said_by_classes(store, record.slug, line, catalog.classes)

    @api.get(
        "/api/collections/{dataset}/items", summary="The objects of a dataset as GeoJSON features", tags=["OGC API Features"],
        response_class=FeatureResponse, responses=answers(COLLECTION), openapi_extra={OPEN: True},
        description="Any further parameter is the name of an attribute, or of id, name or sourceKey, and what it must be.",
    )  # fmt: skip
    async def items(
        dataset: str, request: Request,
        bbox: Annotated[str | None, Query(description="west,south,east,north, or with heights: west,south,bottom,east,north,top")] = None,
        bbox_crs: Annotated[str | None, Query(alias="bbox-crs")] = None, times: Times = None, limit: Limit = 100,
        cursor: Annotated[str | None, Query(description="Where to go on; next links have it")] = None,
        class_: Annotated[str | None, Query(alias="class", description="This class, or one below it")] = None,
        stage: Stage | None = None, layer: str | None = None, scenario: Scenario = None,
        condition: Annotated[str | None, Query(alias="filter", max_length=MOST_FILTER, description="A condition in CQL2; longer ones: search")] = None,
        language: Annotated[Language, Query(alias="filter-lang")] = "cql2-text",
        filter_crs: Annotated[str | None, Query(alias="filter-crs")] = None, crs: str | None = None,
    ) -> Response:  # fmt: skip
        record = await _dataset(catalog, dataset, request)
        known = {parameter.alias for parameter in request.scope["route"].dependant.query_params} | ALWAYS
        further = {name: value for name, value in request.query_params.items() if name not in known}
        if class_ is not None:
            catalog.classes.get(class_)
        question = _question(
            record, bbox, bbox_crs, times, limit, cursor, class_, stage, layer, scenario,
            _condition(condition, language, filter_crs), crs, further,
        )  # fmt: skip
        try:
            found, following = await catalog.ask(lambda store: _page(store, attributes, question))
        except UsageError as error:
            if error.code == "server.no-property" and error.fields["name"] in further:
                raise no_parameter(error.fields["name"], sorted(known - ALWAYS)) from None
            raise
        links = [link("self", here(request), GEOJSON, "This page")]
        if following is not None:
            links.append(link("next", here(request, {"cursor": following}), GEOJSON, "Next page"))
        return _answer(question, found, following, [*links, _to_collection(dataset, request)])

    @api.post(
        "/api/collections/{dataset}/search", summary="The same, asked in a body: for long filters", tags=["OGC API Features"],
        response_class=FeatureResponse, responses=answers(COLLECTION), openapi_extra=body(_SEARCH),
    )  # fmt: skip
    async def search(dataset: str, request: Request) -> Response:
        record = await _dataset(catalog, dataset, request)
        said = _body(await body_of_request(request, MOST_BODY))
        question = _question(
            record, ",".join(map(repr, said["bbox"])) if "bbox" in said else None, said.get("bbox-crs"), said.get("datetime"), said.get("limit", 100), said.get("cursor"),
            None, None, None, said.get("scenario"), _condition(said.get("filter"), said.get("filter-lang"), said.get("filter-crs")),
            said.get("crs"), {},
        )  # fmt: skip
        found, following = await catalog.ask(lambda store: _page(store, attributes, question))
        links = [_to_collection(dataset, request)]
        if following is not None:
            again = {"method": "POST", "body": {**said, "cursor": following}}
            links.append({**link("next", here(request), GEOJSON, "Next page"), **again})
        return _answer(question, found, following, links)

    @api.get(
        "/api/collections/{dataset}/items/{feature}", summary="One object as a GeoJSON feature", tags=["OGC API Features"],
        response_class=FeatureResponse, responses={**answers(FEATURE), **NOT_MODIFIED},
    )  # fmt: skip
    async def item(
        dataset: str, feature: str, request: Request, crs: str | None = None, scenario: Scenario = None
    ) -> Response:
        record = await _dataset(catalog, dataset, request)
        system, line = systems.find(crs, "crs"), line_of(record, scenario)
        condition = request.headers.get("if-none-match")

        def look(store: ObjectStore) -> tuple[ObjectVersion, Json | None]:
            found = standing(store, record, feature, line)
            if condition is not None and matched_tag(condition.encode(), tag(found)):
                return found, None
            return found, features([found], store, system)[0]

        found, document = await catalog.ask(look)
        headers = {"etag": f'"{tag(found)}"', "content-crs": f"<{system.uri}>"}
        if document is None:
            return Response(status_code=304, headers=headers)
        document["links"] = [link("self", here(request), GEOJSON, "This feature"), _to_collection(dataset, request)]
        return FeatureResponse(document, headers=headers)

    @api.get(
        "/api/collections/{dataset}/queryables", summary="What conditions may name, as JSON Schema", tags=["OGC API Features"],
        response_class=SchemaResponse, responses=answers(SCHEMA_DOCUMENT),
    )  # fmt: skip
    async def asked(dataset: str, request: Request) -> Response:
        record = await _dataset(catalog, dataset, request)
        kinds, known = await catalog.ask(lambda store: described(store, record))
        uri = f"{up(request)}api/collections/{dataset}/queryables"
        return SchemaResponse(queryables(dataset, record.title, kinds, uri, known))

    @api.get(
        "/api/collections/{dataset}/schema", summary="What features say, and take, as JSON Schema", tags=["OGC API Features"],
        response_class=SchemaResponse, responses=answers(SCHEMA_DOCUMENT),
    )  # fmt: skip
    async def said(dataset: str, request: Request) -> Response:
        record = await _dataset(catalog, dataset, request)
        kinds, known = await catalog.ask(lambda store: described(store, record))
        return SchemaResponse(
            schema(dataset, record.title, kinds, f"{up(request)}api/collections/{dataset}/schema", known)
        )

    @api.get("/api/functions", summary="The functions that conditions may call", tags=["OGC API Features"])
    async def callable_functions() -> Json:
        return functions()


def tag(found: ObjectVersion) -> str:
    """The entity tag of an object, without its quotes: versions are numbered within the object, whatever line they are on."""
    return f"v{found.version}"


def standing(store: ObjectStore, dataset: Dataset, feature: str, line: str) -> ObjectVersion:
    """A dataset's object as it is now, in a scenario or else on the common line. Raises UsageError ``server.no-object``."""
    tim_id = read_uuid(feature)
    found = store.get(tim_id, scenario=line)
    if found is None and line and not dataset.settings.get("scenario"):
        found = store.get(tim_id)
    if found is None or found.dataset != dataset.slug or (line and found.object.stage is Stage.RETIRED):
        raise UsageError("server.no-object", id=str(tim_id))
    return found


def line_of(record: Dataset, scenario: str | None) -> str:
    """The scenario that is looked at: the one that is all the dataset has, or the one asked for."""
    return str(record.settings.get("scenario", "")) or ("" if scenario is None else scenario_name(scenario))


async def _dataset(catalog: Catalog, dataset: str, request: Request) -> Dataset:
    """A dataset this caller may see, as it is now."""
    await catalog.ensure(live=True)
    return catalog.authorize(dataset, secret_of(request), None)


def _question(
    record: Dataset, bbox: str | None, bbox_crs: str | None, times: str | None, limit: int, cursor: str | None, class_id: str | None,
    stage: Stage | None, layer: str | None, scenario: str | None, where: Expression | None, crs: str | None,
    further: Mapping[str, str],
) -> Question:  # fmt: skip
    moment, during = read_times(times)
    box = read_box(bbox, systems.find(bbox_crs, "bbox-crs"))
    named = [*further, *(asked_for(where) if where is not None else [])]
    equal: list[Expression] = []
    for name, value in further.items():
        if name in _EQUALS:
            equal.append(Compare("=", Property(name), Value(value)))
        elif name in PROPERTIES:
            raise no_parameter(name, [*_EQUALS, "filter"])
    if equal:
        every = (*equal, *([where] if where is not None else []))
        where = every[0] if len(every) == 1 else And(every)
    attributes = {a: value for name, value in further.items() if (a := attribute_name(name)) is not None}
    line = line_of(record, scenario)
    upon = bool(line) and not record.settings.get("scenario")
    wanted = Filter(
        record.slug, box=box, class_id=class_id, stage=stage, layer=layer, scenario=line, upon=upon, during=during, properties=attributes, where=where
    )  # fmt: skip
    return Question(wanted, moment, min(limit, MOST_ITEMS), cursor, systems.find(crs, "crs"), tuple(named))


def _page(store: ObjectStore, attributes: Attributes, question: Question) -> tuple[list[Json], str | None]:
    """One page, and where the next one begins."""
    wanted = question.wanted
    if question.named and question.moment is None and wanted.during is None:  # at another time there may be other names
        attributes.require(store, str(wanted.dataset), wanted.scenario, question.named)
    page = store.query(wanted, AsOf(valid=question.moment), question.cursor, question.limit, SECONDS)
    return features(page.items, store, question.crs), page.cursor


def _answer(question: Question, found: list[Json], following: str | None, links: list[Json]) -> Response:
    document: Json = {
        "type": "FeatureCollection", "timeStamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "numberReturned": len(found),
        "features": found, "links": links,
    }  # fmt: skip
    if following is None and question.cursor is None:
        document["numberMatched"] = len(found)
    return FeatureResponse(document, headers={"content-crs": f"<{question.crs.uri}>"})


def _to_collection(dataset: str, request: Request) -> Json:
    return link("collection", f"{up(request)}api/collections/{quote(dataset)}", "application/json", "The collection")


def _condition(condition: Any, language: str | None, crs: str | None) -> Expression | None:
    """A condition in text or JSON, its geometries in CRS84h; in a body, JSON may stand as it is."""
    system = systems.find(crs, "filter-crs")
    if condition is None:
        return None
    if language not in (None, "cql2-text", "cql2-json"):
        raise bad("filter-lang", "cql2-text | cql2-json")
    if isinstance(condition, str) and language != "cql2-json":
        return cql2_text.read(condition, system.read)
    return cql2_json.read(condition, system.read)


_TEXT: Json = {"type": "string"}
_SEARCH: Json = {
    "type": "object",
    "properties": {
        "filter": {"description": "CQL2 as text, or as JSON", "type": ["string", "object", "boolean"]},
        "filter-lang": {"enum": ["cql2-text", "cql2-json"]},
        "bbox": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6},
        "limit": {"type": "integer", "minimum": 1},
        **dict.fromkeys(("filter-crs", "bbox-crs", "crs", "datetime", "cursor", "scenario"), _TEXT),
    },
    "additionalProperties": False,
}


def _body(data: bytes) -> dict[str, Any]:
    """What a search's body says, each value of its type. Raises UsageError ``server.bad-parameter``."""
    said = read_json(data)
    for name, value in said.items():
        if name not in _SEARCH["properties"]:
            raise no_parameter(name, sorted(_SEARCH["properties"]))
        if name == "limit":
            good = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        elif name == "bbox":
            good = isinstance(value, list) and all(
                isinstance(n, int | float) and not isinstance(n, bool) for n in value
            )
        else:
            good = name == "filter" or isinstance(value, str)
        if not good:
            raise bad(name, "its type: /api/openapi.json")
    return said


def read_json(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises UsageError ``server.bad-body``."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise UsageError("server.bad-body")
    return said
