"""Histories over HTTP: differences between changesets, roll-back, and scenarios compared, adopted and dropped (:mod:`tim.history`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Annotated, TypeVar
from urllib.parse import quote

from fastapi import Body, FastAPI, Query, Request, Response

from server.catalog import Catalog
from server.describe import answers
from server.edit import Editor
from server.features import Json
from server.follow import Follower
from server.links import here, link, up
from server.negotiate import secret_of
from server.parameters import Limit, Reason, scenario_name
from tim import history
from tim.history import Difference
from tim.model import Code, Relation
from tim.store import ObjectStore

MOST = 1000
_LARGEST = 2**53
T = TypeVar("T")
Number = Annotated[int, Query(ge=0, le=_LARGEST)]
Of = Annotated[str, Query(min_length=1, max_length=63, description="The dataset whose scenario it is")]


def register(api: FastAPI, catalog: Catalog, editor: Editor | None, follower: Follower | None) -> None:
    """Add the routes; those that change things where there is an editor."""

    @api.get(
        "/api/collections/{dataset}/diff", summary="What became of its objects between two changesets", tags=["Changes"],
        responses=answers("Differences"),
    )  # fmt: skip
    async def diff(
        dataset: str, request: Request, since: Annotated[int, Query(alias="from", ge=0, le=_LARGEST)],
        until: Annotated[int | None, Query(alias="to", ge=0, le=_LARGEST, description="The newest where left out")] = None,
        limit: Limit = 100, offset: Number = 0,
    ) -> Json:  # fmt: skip
        await catalog.ensure(live=True)
        catalog.authorize(dataset, secret_of(request), None)

        def look(store: ObjectStore) -> Json:
            end = store.seq if until is None else until
            page = _page(history.diff(store, dataset, since, end), request, offset, min(limit, MOST), {"to": end})
            return {"from": since, "to": end, **page}

        return await catalog.ask(look)

    @api.get("/api/scenarios", summary="The scenarios there are", tags=["Scenarios"], responses=answers("Scenarios"))
    async def scenarios(request: Request) -> Json:
        await catalog.ensure(live=True)
        may = catalog.shows(secret_of(request))
        shown = sorted(slug for slug, dataset in catalog.datasets.items() if dataset.kind == "objects" and may(slug))
        found = await catalog.ask(lambda store: {slug: store.scenarios(slug) for slug in shown})
        root = up(request)
        return {
            "scenarios": [
                {
                    "name": name, "dataset": slug, "objects": count,
                    "links": [link("item", f"{root}api/scenarios/{quote(name)}?dataset={slug}", "application/json", "What it changes")],
                } for slug, lines in found.items() for name, count in lines.items()
            ],
            "links": [link("self", here(request), "application/json", "This document")],
        }  # fmt: skip

    @api.get(
        "/api/scenarios/{scenario}", summary="What a scenario adds to the common line, changes in it and takes from it", tags=["Scenarios"],
        responses=answers("Differences"),
    )  # fmt: skip
    async def compare(scenario: str, dataset: Of, request: Request, limit: Limit = 100, offset: Number = 0) -> Json:
        await catalog.ensure(live=True)
        catalog.authorize(dataset, secret_of(request), None)
        name = scenario_name(scenario)

        def look(store: ObjectStore) -> Json:
            found = history.compare(store, dataset, name)
            return {"scenario": name, "dataset": dataset, **_page(found, request, offset, min(limit, MOST), {})}

        return await catalog.ask(look)

    if editor is None or follower is None:
        return

    async def change(dataset: str, request: Request, work: Callable[[ObjectStore, str], T]) -> T:
        """Do some work on a dataset, when it is its turn, in the caller's name."""
        await catalog.ensure(live=True)
        editor.require(request)
        catalog.authorize(dataset, secret_of(request), None)
        author = editor.author(request)

        def do() -> T:
            with editor.workspace.store() as store:
                return work(store, author)

        done = await editor.do(do)
        follower.changed(dataset)
        return done

    @api.post(
        "/api/collections/{dataset}/rollback", summary="Make a dataset what it was after a changeset; history stays, and grows by one changeset",
        tags=["Changes"], responses=answers("Undone"),
    )  # fmt: skip
    async def rollback(
        dataset: str, request: Request, to: Annotated[int, Body(ge=0, le=_LARGEST)],
        seen: Annotated[int | None, Body(ge=0, le=_LARGEST, description="The newest changeset you know of: refused where there are others")] = None,
        dry_run: Annotated[bool, Body(alias="dryRun")] = False, reason: Annotated[str, Body(max_length=500)] = "",
    ) -> Json:  # fmt: skip
        def work(store: ObjectStore, author: str) -> Json:
            undone = history.rollback(store, dataset, to, author, reason, seen=seen, dry_run=dry_run)
            return {
                "objects": undone.objects, "sources": undone.sources, "dryRun": dry_run, "seq": undone.applied.seq if undone.applied else None,
            }  # fmt: skip

        return await change(dataset, request, work)

    @api.post(
        "/api/scenarios/{scenario}/adopt", summary="Put what a scenario says onto the common line, and end it", tags=["Scenarios"],
        responses=answers("Adopted"),
    )  # fmt: skip
    async def adopt(
        scenario: str, dataset: Of, request: Request, reason: Reason = "",
        skip: Annotated[bool, Query(description="Leave objects that changed on the common line meanwhile in the scenario")] = False,
    ) -> Json:  # fmt: skip
        name = scenario_name(scenario)

        def work(store: ObjectStore, author: str) -> Json:
            done = history.adopt(store, dataset, name, author, reason, skip=skip)
            record = store.dataset(dataset)
            if record.settings.get("scenario") == name and name not in store.scenarios(dataset):
                kept = {key: value for key, value in record.settings.items() if key != "scenario"}
                store.put_dataset(replace(record, settings=kept))
            return {"seq": done.seq, "created": done.created, "updated": done.updated, "retired": done.retired}

        return await change(dataset, request, work)

    @api.delete(
        "/api/scenarios/{scenario}", status_code=204, summary="End a scenario; its history stays", tags=["Scenarios"]
    )
    async def drop(scenario: str, dataset: Of, request: Request, reason: Reason = "") -> Response:
        name = scenario_name(scenario)
        await change(dataset, request, lambda store, author: history.drop(store, dataset, name, author, reason))
        return Response(status_code=204)


def _page(found: Iterator[Difference], request: Request, offset: int, limit: int, pinned: Json) -> Json:
    """Some of the differences, and a link to those that follow."""
    some = list(islice(found, offset, offset + limit + 1))
    links = [link("self", here(request), "application/json", "This page")]
    if len(some) > limit:
        links.append(link("next", here(request, {**pinned, "offset": offset + limit}), "application/json", "Next page"))
    return {"differences": [_difference(one) for one in some[:limit]], "links": links}


def _difference(one: Difference) -> Json:
    return {
        "id": str(one.tim_id), "scenario": one.scenario, "kind": one.kind, "during": list(one.during) if one.during else None,
        "before": one.before and one.before.version, "after": one.after and one.after.version,
        "fields": [{"name": f.name, "before": _plain(f.before), "after": _plain(f.after)} for f in one.fields if f.name != "representations"],
        "geometry": any(f.name == "representations" for f in one.fields),
    }  # fmt: skip


def _plain(value: object) -> object:
    """A field's value as JSON has it."""
    if isinstance(value, Code):
        return {"scheme": value.scheme, "edition": value.edition, "value": value.value}
    if isinstance(value, Relation):
        return {"kind": value.kind, "target": str(value.target)}
    return [_plain(part) for part in value] if isinstance(value, tuple) else value
