"""Asking for objects: one, many, by search, by collection; and coordinates in any CRS.

What a caller may not see is not there: an object of a private dataset answers like one that never was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Body, FastAPI, Query, Request
from starlette.concurrency import run_in_threadpool

from server.catalog import Catalog
from server.features import Json, brief_document, class_document, features, object_document
from server.foreign import batch_tables
from server.negotiate import secret_of
from tiling.objects.looks import class_color
from tim import classes
from tim.errors import UsageError
from tim.model import Stage
from tim.place import Box3
from tim.place.readout import find_crs, read_off
from tim.store import AsOf, Filter, ObjectStore, ObjectVersion

MOST_IDS = 1000
MOST_ITEMS = 1000
_OWN = {"bbox", "datetime", "limit", "cursor", "class", "stage", "layer", "token", "f"}
"""Query parameters of items that are no attributes."""
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)(?:[Tt](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d))?", re.ASCII)
Limit = Annotated[int, Query(ge=1)]
Times = Annotated[
    str | None,
    Query(alias="datetime", description="A moment or an interval: 2026-11-21, 2026-11-21T08:00:00Z, 2020-01-01/2026-11-21, ../2026-11-21, 2020-01-01/.."),
]  # fmt: skip


def register(api: FastAPI, catalog: Catalog) -> None:
    """Add the routes."""

    @api.get(
        "/api/objects/{tim_id}", summary="One object: class, attributes, codes, relations, sources", tags=["Objects"]
    )
    async def one(tim_id: UUID, request: Request) -> Json:
        may = _may_see(catalog, request)
        await catalog.ensure(live=True)

        def look(store: ObjectStore) -> Json:
            found = _visible(store, [tim_id], may).get(tim_id)
            if found is None:
                raise UsageError("server.no-object", id=str(tim_id))
            related = _visible(store, [r.target for r in found.object.relations[:MOST_IDS]], may)
            return object_document(found, store.sources(found.dataset), related)

        return await catalog.ask(look)

    @api.post("/api/objects/batch", summary="Many objects by their ids", tags=["Objects"])
    async def many(ids: Annotated[list[UUID], Body(embed=True, max_length=MOST_IDS)], request: Request) -> Json:
        may = _may_see(catalog, request)
        await catalog.ensure(live=True)

        def look(store: ObjectStore) -> Json:
            found = _visible(store, ids, may)
            sources = {slug: store.sources(slug) for slug in {version.dataset for version in found.values()}}
            related = _visible(store, [r.target for f in found.values() for r in f.object.relations][:MOST_IDS], may)
            return {
                "objects": [
                    object_document(found[i], sources[found[i].dataset], related)
                    for i in dict.fromkeys(ids)
                    if i in found
                ],
                "missing": [str(i) for i in dict.fromkeys(ids) if i not in found],
            }

        return await catalog.ask(look)

    counted: dict[str, tuple[int, Json]] = {}

    @api.get(
        "/api/collections/{dataset}/classes",
        summary="The classes its objects have: names, how many, the colour of those without one of their own",
        tags=["Objects"],
    )
    async def class_summary(dataset: str, request: Request) -> Json:
        await catalog.ensure(live=True)
        record = catalog.authorize(dataset, secret_of(request), None)

        def look(store: ObjectStore) -> Json:
            seq, known = store.seq, counted.get(dataset)
            if known is None or known[0] != seq:
                found = store.class_counts(dataset, scenario=str(record.settings.get("scenario", "")))
                known = counted[dataset] = seq, {"classes": [_class(*item) for item in found.items()]}
            return known[1]

        return await catalog.ask(look)

    @api.get("/api/search", summary="Objects by a code, or by (a part of) their name", tags=["Objects"])
    async def search(
        q: Annotated[str, Query(min_length=1, max_length=200)], request: Request, limit: Limit = 20
    ) -> Json:
        may = _may_see(catalog, request)
        await catalog.ensure(live=True)
        shown = [slug for slug in catalog.datasets if may(slug)]
        found = await catalog.ask(lambda store: store.search(q.strip(), shown, min(limit, 100)))
        return {"results": [brief_document(item, q.strip()) for item in found]}

    @api.get(
        "/api/collections/{dataset}/items", summary="The objects of a dataset as GeoJSON features", tags=["Objects"]
    )
    async def items(
        dataset: str, request: Request, bbox: str | None = None, times: Times = None, limit: Limit = 100, cursor: str | None = None,
        class_: Annotated[str | None, Query(alias="class")] = None, stage: Stage | None = None, layer: str | None = None,
    ) -> Json:  # fmt: skip
        await catalog.ensure(live=True)
        record = catalog.authorize(dataset, secret_of(request), None)
        if class_ is not None:
            classes.get(class_)
        moment, during = _times(times)
        wanted = Filter(
            dataset, during=during, box=_box(bbox), class_id=class_, stage=stage, layer=layer, scenario=str(record.settings.get("scenario", "")),
            properties={name: value for name, value in request.query_params.items() if name not in _OWN},
        )  # fmt: skip
        size = min(limit, MOST_ITEMS)

        def look(store: ObjectStore) -> tuple[list[Json], str | None]:
            page = store.query(wanted, AsOf(valid=moment), cursor, size)
            return features(page.items, store), page.cursor

        found, following = await catalog.ask(look)
        links = [{"rel": "self", "href": _here(request, {}), "type": "application/geo+json", "title": "This page"}]
        if following is not None:
            links.append(
                {
                    "rel": "next",
                    "href": _here(request, {"cursor": following}),
                    "type": "application/geo+json",
                    "title": "Next page",
                }
            )
        return {"type": "FeatureCollection", "features": found, "numberReturned": len(found), "links": links}

    @api.get(
        "/api/collections/{dataset}/batch", summary="The batch table of a content of a mounted tileset", tags=["Tiles"]
    )
    async def batch(
        dataset: str, content: Annotated[str, Query(min_length=1, max_length=1000)], request: Request
    ) -> Json:
        await catalog.ensure(live=True)
        catalog.authorize(dataset, secret_of(request), None)
        return await run_in_threadpool(batch_tables, catalog.mounts, dataset, content)

    @api.get("/api/coordinates", summary="A place in the coordinates of a CRS and height system", tags=["Coordinates"])
    async def coordinates(lon: float, lat: float, crs: str, h: float = 0.0, vertical: str = "ellipsoid") -> Json:
        found = await run_in_threadpool(read_off, lon, lat, h, crs, vertical)
        return {
            "crs": found.crs, "name": found.name, "x": found.x, "y": found.y, "h": found.h, "axes": list(found.axes),
            "units": list(found.units), "warnings": list(found.warnings),
        }  # fmt: skip

    @api.get(
        "/api/crs",
        summary="CRSs of the EPSG register by code or name; those that cover the place first",
        tags=["Coordinates"],
    )
    async def crs_register(
        q: Annotated[str, Query(min_length=2, max_length=100)],
        lon: float | None = None,
        lat: float | None = None,
        limit: Limit = 30,
    ) -> Json:
        at = (lon, lat) if lon is not None and lat is not None else None
        found = await run_in_threadpool(find_crs, q, at, min(limit, 100))
        return {"results": [{"code": known.code, "name": known.name} for known in found]}


def _may_see(catalog: Catalog, request: Request) -> Callable[[str], bool]:
    secret = secret_of(request)

    def may(slug: str) -> bool:
        dataset = catalog.datasets.get(slug)
        return dataset is not None and (not dataset.private or catalog.guard.visible(slug, secret))

    return may


def _visible(store: ObjectStore, ids: list[UUID], may: Callable[[str], bool]) -> Mapping[UUID, ObjectVersion]:
    """Those of the objects that this caller may see, on the common line or, where they are not on it, in their scenario."""
    found = {version.tim_id: version for version in store.read(ids)}
    for missing in [i for i in ids if i not in found]:
        in_scenario = [
            version for version in store.history(missing) if version.db_to is None and version.object.scenario
        ]
        if in_scenario:
            found[missing] = in_scenario[-1]
    return {tim_id: version for tim_id, version in found.items() if may(version.dataset)}


def _class(class_id: str, count: int) -> Json:
    return {**class_document(class_id), "count": count, "colour": f"#{class_color(class_id):06x}"}


def _box(text: str | None) -> Box3 | None:
    """``west,south,east,north`` or with heights after each pair (OGC API Features §7.15.3)."""
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
        west, south, bottom, east, north, top = (
            numbers if len(numbers) == 6 else [*numbers[:2], -1e9, *numbers[2:], 1e9]
        )
    except ValueError:
        raise UsageError(
            "server.bad-parameter", name="bbox", reason="4 or 6 numbers: west,south[,bottom],east,north[,top]"
        ) from None
    good = -180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90 and bottom <= top
    if not good:
        raise UsageError("server.bad-parameter", name="bbox", reason="degrees; south ≤ north, bottom ≤ top")
    return west, south, bottom, east, north, top


def _times(text: str | None) -> tuple[str | None, tuple[str | None, str | None] | None]:
    """A moment, or an interval with its ends (OGC API Features §7.15.4): ``a``, ``a/b``, ``../b``, ``a/..``, where nothing may stand for ``..``.

    A date is its beginning, and as the end of an interval its last moment.
    """
    if text is None:
        return None, None
    start, mark, end = text.partition("/")
    if not mark:
        return _instant(start, text), None
    first, last = (None if part in ("", "..") else _instant(part, text) for part in (start, end))
    if last is not None and "T" not in last:
        last = f"{last}T23:59:59.999999999Z"  # the finest a store tells apart
    return None, (first, last)


def _instant(text: str, whole: str) -> str:
    """A date as it is, an instant (RFC 3339 §5.6) in UTC."""
    match = _INSTANT.fullmatch(text)
    try:
        if match is None:
            raise ValueError(text)
        date, clock, fraction, zone = match.groups()
        told = datetime.fromisoformat(f"{date}T{clock or '00:00:00'}{(zone or 'Z').upper()}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError("server.bad-datetime", value=whole) from None
    return f"{told.replace(tzinfo=None).isoformat()}{fraction or ''}Z" if clock else str(date)


def _here(request: Request, changes: Mapping[str, Any]) -> str:
    """This request's relative address with some parameters changed; never with a key."""
    parameters = {name: value for name, value in request.query_params.items() if name not in ("token", *changes)}
    query = urlencode({**parameters, **changes})
    return f"items?{query}" if query else "items"
