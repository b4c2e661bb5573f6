"""The OGC API below ``/api``, by FastAPI: landing, conformance, collections, snapshots, the viewer's settings, base maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from server import changes, histories, items, lookups, objects, observations, rules, scenarios, transactions
from server.basemap import BaseMap, fetch
from server.catalog import Catalog
from server.crs import ALL, CRS84H
from server.describe import complete
from server.docs import page as docs_page
from server.docs import tile_paths
from server.edit import Editor
from server.errors import body_of, headers_of, report, status_of
from server.follow import Follower
from server.links import GEOJSON, REL, SCHEMA, link
from server.links import up as up_of
from server.negotiate import secret_of
from server.parameters import known_parameters
from tiling.archive import Snapshot
from tiling.foreign.mount import COMPOSE
from tim import __version__
from tim.errors import TimError, UsageError
from tim.model import Dataset
from tim.rules import Table
from tim.sources import SourceRef

_FEATURES, _CQL2 = "http://www.opengis.net/spec/ogcapi-features-", "http://www.opengis.net/spec/cql2/1.0/conf/"
CONFORMANCE = [
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/landing-page",
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/json",
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/collections",
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/json",
    *(f"{_FEATURES}1/1.0/conf/{name}" for name in ("core", "geojson")),
    f"{_FEATURES}2/1.0/conf/crs",
    *(f"{_FEATURES}3/1.0/conf/{name}" for name in ("filter", "features-filter", "queryables", "queryables-query-parameters")),
    *(f"{_FEATURES}4/1.0/conf/{name}" for name in ("create-replace-delete", "update", "features", "optimistic-locking-etags")),
    *(f"{_FEATURES}5/1.0/conf/{name}" for name in ("schemas", "core-roles-features", "queryables")),
    *(
        f"{_CQL2}{name}"
        for name in (
            "cql2-text", "cql2-json", "basic-cql2", "advanced-comparison-operators", "case-insensitive-comparison",
            "accent-insensitive-comparison", "basic-spatial-functions", "basic-spatial-functions-plus", "spatial-functions",
            "temporal-functions", "array-functions", "property-property", "functions", "arithmetic",
        )
    ),
]  # fmt: skip
"""Not ``oas30``: our description is OpenAPI 3.1."""
Json = dict[str, Any]


def make_api(
    catalog: Catalog,
    title: Mapping[str, str],
    language: str,
    base_maps: Sequence[BaseMap],
    editor: Editor | None = None,
    table: Table | None = None,
) -> FastAPI:
    """The application below ``/api`` and ``/basemap``, and ``/healthz``; with an editor, objects can be changed through it. ``table``: what is
    a planning rule, where it is not the one shipped."""
    api = FastAPI(
        title="TIM engine", version=__version__, openapi_url="/api/openapi.json", docs_url=None, redoc_url=None, servers=[{"url": ".."}],
        redirect_slashes=False, dependencies=[Depends(known_parameters)],
        description="Territory information as 3D Tiles, with identity. 国土空间信息模型服务。",
    )  # fmt: skip
    maps = {base_map.id: base_map for base_map in base_maps}

    @api.get("/api", summary="Landing page", tags=["OGC API Common"])
    async def landing(request: Request) -> Json:
        up = up_of(request)
        return {
            "title": title["en"], "titles": dict(title), "description": api.description,
            "links": [
                link("self", f"{up}api", "application/json", "This document"),
                link("service-desc", f"{up}api/openapi.json", "application/vnd.oai.openapi+json;version=3.1", "OpenAPI description"),
                link("service-doc", f"{up}api/docs", "text/html", "Documentation"),
                *(link(rel, f"{up}api/conformance", "application/json", "Conformance") for rel in ("conformance", f"{REL}conformance")),
                *(link(rel, f"{up}api/collections", "application/json", "Collections") for rel in ("data", f"{REL}data")),
                link(f"{REL}functions", f"{up}api/functions", "application/json", "Functions of filters"),
                link("version-history", f"{up}api/changesets", "application/json", "Changesets"),
            ],
        }  # fmt: skip

    @api.get("/api/conformance", summary="Conformance classes", tags=["OGC API Common"])
    async def conformance() -> Json:
        return {"conformsTo": CONFORMANCE}

    @api.get(
        "/api/collections", summary="What there is: public datasets, and those the key opens", tags=["OGC API Common"]
    )
    async def collections(request: Request) -> Json:
        await catalog.ensure(live=True)
        shown, up = _visible(catalog, request), up_of(request)
        return {
            "collections": await _collections(catalog, list(shown.values()), shown, up),
            "links": [link("self", f"{up}api/collections", "application/json", "This document")],
        }

    @api.get("/api/collections/{dataset}", summary="One dataset", tags=["OGC API Common"])
    async def collection(dataset: str, request: Request) -> Json:
        await catalog.ensure(live=True)
        record = catalog.authorize(dataset, secret_of(request), None)
        [document] = await _collections(catalog, [record], _visible(catalog, request), up_of(request))
        return document

    @api.get("/api/collections/{dataset}/snapshots", summary="Its published states, newest first", tags=["Tiles"])
    async def snapshots(dataset: str, request: Request) -> Json:
        await catalog.ensure(live=True)
        catalog.authorize(dataset, secret_of(request), None)
        up = up_of(request)
        return {
            "snapshots": [
                {
                    **_snapshot(s),
                    "tileset": f"tiles/{dataset}/@{s.seq}/tileset.json",
                    "links": [_tiles(f"{up}tiles/{dataset}/@{s.seq}/tileset.json")],
                }
                for s in reversed(catalog.archive.snapshots(dataset))
            ],
            "links": [link("self", f"{up}api/collections/{dataset}/snapshots", "application/json", "This document")],
        }

    @api.get("/api/viewer", summary="Settings of the viewer", tags=["Viewer"])
    async def viewer(request: Request) -> Json:
        await catalog.ensure(live=True)
        return {
            "title": dict(title), "version": __version__, "defaultLanguage": language,
            "baseMaps": [base_map.public() for base_map in base_maps], "canEdit": editor is not None and editor.may(request),
        }  # fmt: skip

    @api.get(
        "/basemap/{base_map}/{z}/{x}/{y}", summary="An image of a base map", tags=["Viewer"], response_class=Response
    )
    def base_map_image(base_map: str, z: int, x: int, y: int) -> Response:
        if base_map not in maps:
            raise UsageError("server.no-base-map", id=base_map)
        data, media = fetch(maps[base_map], z, x, y)
        return Response(data, media_type=media, headers={"cache-control": "public, max-age=604800"})

    @api.get("/healthz", summary="Whether the server answers", tags=["Service"])
    async def healthz() -> Json:
        return {"status": "ok", "version": __version__}

    @api.get("/api/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(
            docs_page(api.openapi()),
            headers={"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"},
        )

    items.register(api, catalog)
    objects.register(api, catalog)
    changes.register(api, catalog)
    lookups.register(api, catalog)
    rules.register(api, catalog, table)
    follower = None if editor is None else Follower(editor.workspace, catalog)
    histories.register(api, catalog, editor, follower)
    if editor is not None and follower is not None:
        scenarios.register(api, catalog, editor)
        observations.register(api, catalog, editor)
        transactions.register(api, catalog, editor, follower)
    _describe_tiles(api)
    _answer_errors(api)
    return api


def _visible(catalog: Catalog, request: Request) -> dict[str, Dataset]:
    """The datasets this caller may see, by slug."""
    may = catalog.shows(secret_of(request))
    return {slug: dataset for slug, dataset in catalog.datasets.items() if may(slug)}


async def _collections(
    catalog: Catalog, asked: Sequence[Dataset], visible: Mapping[str, Dataset], up: str
) -> list[Json]:
    parts = {dataset.slug: _parts(dataset, visible) for dataset in asked}
    sources = await catalog.sources(sorted({*parts, *(part for found in parts.values() for part in found)}))
    return [
        _collection(catalog, d, parts[d.slug], [s for slug in (d.slug, *parts[d.slug]) for s in sources[slug]], up)
        for d in asked
    ]


def _parts(dataset: Dataset, visible: Mapping[str, Dataset]) -> list[str]:
    """Of a composed dataset: the visible datasets with data of their own that it shows, at any depth."""
    found: dict[str, bool] = {}
    waiting = list(dataset.settings.get(COMPOSE, ()))
    while waiting:
        slug = waiting.pop(0)
        if slug in visible and slug not in found:
            further = visible[slug].settings.get(COMPOSE, ())
            found[slug] = not further
            waiting += further
    return [slug for slug, own in found.items() if own]


def _collection(
    catalog: Catalog, dataset: Dataset, parts: Sequence[str], sources: Sequence[SourceRef], up: str
) -> Json:
    slug = dataset.slug
    snapshot = catalog.archive.latest(slug)
    links = [link("self", f"{up}api/collections/{slug}", "application/json", "This collection")]
    if snapshot is not None:
        links.append(_tiles(f"{up}tiles/{slug}/tileset.json"))
        links.append(link("version-history", f"{up}api/collections/{slug}/snapshots", "application/json", "Snapshots"))
    document: Json = {
        "id": slug, "title": dataset.title, "description": str(dataset.settings.get("description", "")), "links": links,
        "tim": {
            "kind": dataset.kind, "private": dataset.private, "snapshot": None if snapshot is None else _snapshot(snapshot),
            "scenario": str(dataset.settings.get("scenario", "")), "attributes": _attributes(snapshot), "tileset": None if snapshot is None else f"tiles/{slug}/tileset.json",
            "parts": list(parts),
        },
    }  # fmt: skip
    if dataset.kind == "objects":
        document["itemType"] = "feature"
        document |= {"crs": [crs.uri for crs in ALL], "storageCrs": CRS84H.uri}
        links += [
            link("items", f"{up}api/collections/{slug}/items", GEOJSON, "Objects"),
            link(f"{REL}queryables", f"{up}api/collections/{slug}/queryables", SCHEMA, "What filters may name"),
            link(f"{REL}schema", f"{up}api/collections/{slug}/schema", SCHEMA, "What features say"),
        ]
    boxes = [source.box for source in sources]
    if boxes:
        low = [min(box[i] for box in boxes) for i in range(3)]
        high = [max(box[i] for box in boxes) for i in range(3, 6)]
        document["extent"] = {"spatial": {"bbox": [[*low, *high]], "crs": CRS84H.uri}}
    return document


def _attributes(snapshot: Snapshot | None) -> list[Json]:
    return [{"title": a["name"], **a} for a in snapshot.attributes] if snapshot else []


def _snapshot(snapshot: Snapshot) -> Json:
    return {
        "seq": snapshot.seq, "hash": snapshot.hash, "created": snapshot.created, "tiles": snapshot.tiles, "bytes": snapshot.bytes,
        "counts": dict(snapshot.counts),
    }  # fmt: skip


def _tiles(href: str) -> Json:
    return link("3d-tiles", href, "application/json", "3D Tiles 1.1")


def _describe_tiles(api: FastAPI) -> None:
    made = api.openapi

    def openapi() -> Json:
        document = made()
        document["paths"].update(tile_paths())
        return complete(document)

    api.openapi = openapi  # type: ignore[method-assign]


def _methods(api: FastAPI, request: Request) -> list[str]:
    """What can be done at a path, by all routes of the template that names it most closely; nothing where it is none of the API's."""
    routes = [r for r in api.routes if isinstance(r, Route) and r.matches(request.scope)[0] is not Match.NONE]
    if not routes:
        return [] if request.scope["path"].startswith("/api") else ["GET", "HEAD"]
    closest = min((route.path for route in routes), key=lambda path: path.count("{"))
    found = {method for route in routes if route.path == closest for method in route.methods or ()}
    return sorted(found | {"OPTIONS"} | ({"HEAD"} if "GET" in found else set()))


def _answer_errors(api: FastAPI) -> None:
    def answer(error: TimError, status: int = 0) -> Response:
        status = status or status_of(error)
        headers = {name.decode(): value.decode() for name, value in headers_of(error, status)}
        return Response(body_of(error), status, headers)

    @api.exception_handler(TimError)
    async def refused(_: Request, error: TimError) -> Response:
        return answer(error)

    @api.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> Response:
        return answer(TimError("server.internal", id=report(error)))

    @api.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return answer(UsageError("server.bad-parameter", name=str(first["loc"][-1]), reason=str(first["msg"])))

    @api.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        if error.status_code not in (404, 405):
            return answer(UsageError("server.refused", reason=str(error.detail)), error.status_code)
        allowed = _methods(api, request)
        if not allowed or (error.status_code == 404 and request.method in allowed):
            return answer(UsageError("server.no-path", path=request.scope["path"][:200]))
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"allow": ", ".join(allowed)})
        return answer(UsageError("server.method", method=request.method, allowed=", ".join(allowed)))
