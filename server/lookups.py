"""Small questions beside objects: the classes of a dataset, batch tables of mounted tilesets, coordinates in any CRS."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Request
from starlette.concurrency import run_in_threadpool

from server.catalog import Catalog
from server.features import Json, class_document
from server.foreign import batch_tables
from server.negotiate import secret_of
from server.parameters import Limit
from tim.classes import Registry
from tim.place.readout import find_crs, read_off
from tim.store import ObjectStore


def register(api: FastAPI, catalog: Catalog) -> None:
    """Add the routes."""
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
                known = counted[dataset] = seq, {"classes": [_class(*item, catalog.classes) for item in found.items()]}
            return known[1]

        return await catalog.ask(look)

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


def _class(class_id: str, count: int, classes: Registry) -> Json:
    return {**class_document(class_id, classes), "count": count, "colour": f"#{classes.colour(class_id):06x}"}
