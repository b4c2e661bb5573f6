"""What changed: the log of changesets, and objects that were made, changed or retired since one of them, for those who keep a copy.

A copy is kept up by asking again with ``since`` set to the ``until`` of the last answer; where nothing happened, the entity tag is the same.
"""

from __future__ import annotations

import hashlib
import json
from itertools import islice
from typing import Annotated

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from server.catalog import Catalog
from server.describe import NOT_MODIFIED, answers
from server.features import Json, changeset_document
from server.links import here, link, up
from server.negotiate import matched_tag, secret_of
from server.parameters import Limit, bad
from tim.errors import UsageError
from tim.store import Change, ChangesetRecord, ObjectStore

MOST = 1000
_LARGEST = 2**53
Since = Annotated[int, Query(ge=0, le=_LARGEST, description="The number of a changeset; what came after it")]


def register(api: FastAPI, catalog: Catalog) -> None:
    """Add the routes."""

    @api.get(
        "/api/changes", summary="Objects made, changed and retired since a changeset", tags=["Changes"],
        responses={**answers("Changes"), **NOT_MODIFIED},
    )  # fmt: skip
    async def changes(
        request: Request, since: Since = 0, dataset: Annotated[str | None, Query(description="Only of this one")] = None,
        until: Annotated[int | None, Query(ge=0, le=_LARGEST, description="And not after this one; the newest where left out")] = None,
        limit: Limit = 100, cursor: Annotated[str | None, Query(max_length=200)] = None,
    ) -> Response:  # fmt: skip
        await catalog.ensure(live=True)
        if dataset is not None:
            catalog.authorize(dataset, secret_of(request), None)
        may = catalog.shows(secret_of(request))
        shown = [dataset] if dataset is not None else sorted(slug for slug in catalog.datasets if may(slug))

        def look(store: ObjectStore) -> Json:
            end = store.seq if until is None else min(until, store.seq)
            found, following = _changes(store, shown, since, end, cursor, min(limit, MOST))
            links = [link("self", here(request), "application/json", "This page")]
            if following is not None:
                links.append(
                    link("next", here(request, {"until": end, "cursor": following}), "application/json", "Next page")
                )
            return {
                "since": since, "until": end, "numberReturned": len(found), "changes": [_change(slug, c, request) for slug, c in found],
                "links": links,
            }  # fmt: skip

        return _tagged(await catalog.ask(look), request)

    @api.get(
        "/api/changesets", summary="The log of changesets, newest first", tags=["Changes"], responses={**answers("Changesets"), **NOT_MODIFIED}
    )  # fmt: skip
    async def changesets(
        request: Request, dataset: Annotated[str | None, Query(description="Only of this one")] = None, limit: Limit = 100,
        before: Annotated[int, Query(ge=0, le=_LARGEST, description="Only those before this one")] = _LARGEST,
    ) -> Response:  # fmt: skip
        await catalog.ensure(live=True)
        if dataset is not None:
            catalog.authorize(dataset, secret_of(request), None)
        may, size = catalog.shows(secret_of(request)), min(limit, MOST)

        def look(store: ObjectStore) -> list[ChangesetRecord]:
            return list(islice((c for c in store.log(dataset, before=before) if may(c.dataset)), size + 1))

        found = await catalog.ask(look)
        links = [link("self", here(request), "application/json", "This page")]
        if len(found) > size:
            links.append(link("next", here(request, {"before": found[size - 1].seq}), "application/json", "Next page"))
        return _tagged({"changesets": [changeset_document(record) for record in found[:size]], "links": links}, request)

    @api.get(
        "/api/changesets/{seq}",
        summary="One changeset",
        tags=["Changes"],
        responses={**answers("Changeset"), **NOT_MODIFIED},
    )
    async def changeset(seq: Annotated[int, Path(ge=0, le=_LARGEST)], request: Request) -> Response:
        await catalog.ensure(live=True)
        may = catalog.shows(secret_of(request))
        record = (await catalog.ask(lambda store: store.changesets([seq]))).get(seq)
        if record is None or not may(record.dataset):
            raise UsageError("server.no-changeset", seq=seq)
        changed = f"{up(request)}api/changes?dataset={record.dataset}&since={seq - 1}&until={seq}"
        links = [
            link("self", here(request), "application/json", "This changeset"),
            link("related", changed, "application/json", "What it changed"),
        ]
        return _tagged({**changeset_document(record), "links": links}, request)


def _changes(
    store: ObjectStore, datasets: list[str], since: int, until: int, cursor: str | None, limit: int
) -> tuple[list[tuple[str, Change]], str | None]:
    """A page of changes, dataset by dataset, and where the next begins: in which dataset, and where in it."""
    first, _, inner = (cursor or "").partition("~")
    if cursor is not None and first not in datasets:
        raise bad("cursor", "one that a next link has")
    found: list[tuple[str, Change]] = []
    for slug in datasets[datasets.index(first) if cursor else 0 :]:
        place: str | None = inner if slug == first and inner else None
        while True:
            if len(found) >= limit:
                return found, f"{slug}~{place or ''}"
            page = store.changes(slug, since, until, place, limit - len(found))
            found += [(slug, change) for change in page.items]
            place = page.cursor
            if place is None:
                break
    return found, None


def _change(dataset: str, change: Change, request: Request) -> Json:
    before, after = change.before, change.after
    boxes = [
        next((list(v.object.box) for v in reversed(side) if v.object.box is not None), None) for side in (before, after)
    ]
    path = f"{up(request)}api/objects/{change.tim_id}"
    return {
        "id": str(change.tim_id), "dataset": dataset, "scenario": change.scenario, "seq": change.seq,
        "kind": "updated" if before and after else "created" if after else "retired",
        "before": {"versions": [v.version for v in before], "bbox": boxes[0]}, "after": {"versions": [v.version for v in after], "bbox": boxes[1]},
        "links": [link("item", path, "application/json", "The object"), link("version-history", f"{path}/history", "application/json", "Its history")],
    }  # fmt: skip


def _tagged(document: Json, request: Request) -> Response:
    """A document by its content: unchanged, it is not sent again."""
    name = hashlib.blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=16).hexdigest()
    condition = request.headers.get("if-none-match")
    headers = {"etag": f'"{name}"'}
    if condition is not None and matched_tag(condition.encode("latin-1", "replace"), name):
        return Response(status_code=304, headers=headers)
    return JSONResponse(document, headers=headers)
