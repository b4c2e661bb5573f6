"""Changing objects one at a time: OGC API Features Part 4 (OGC 20-002r1) with entity tags, so that nobody overwrites what he has not seen.

A change names the version it is made from (``If-Match``); the store refuses it where another came first, whichever process that was. The
answer is given once the change is in the store; the dataset's tiles follow in the background (:mod:`server.follow`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import FastAPI, Query, Request, Response

from server.catalog import Catalog
from server.describe import FEATURE, INPUT, FeatureResponse, answers, body
from server.edit import Editor, body_of_request
from server.features import Json, features
from server.follow import Follower
from server.items import line_of, read_json, standing, tag
from server.links import GEOJSON, link, up
from server.negotiate import every_tag, secret_of
from server.parameters import Reason, Scenario, read_moment, read_uuid
from server.receive import merged, read, refused
from tim.classes import Registry
from tim.errors import Conflict, UsageError
from tim.model import Blob, Dataset, ObjectRecord, Stage, new_id
from tim.store import Applied, Changeset, ObjectStore, ObjectVersion, Operation, Put, Retire

T = TypeVar("T")
LIMIT = 4_000_000
"""Bytes of a feature."""
_JSON = ("application/geo+json", "application/json")
_PATCH = ("application/merge-patch+json", *_JSON)
_AGAIN = 5
"""How often a change is tried that may replace whatever there is."""
ValidTo = Annotated[
    str | None, Query(alias="validTo", description="When it ended; left out: it is taken back altogether")
]


@dataclass(frozen=True, slots=True)
class Desk:
    """Where one request changes things."""

    store: ObjectStore
    dataset: Dataset
    line: str
    author: str
    reason: str
    classes: Registry

    def put(self, record: ObjectRecord, seen: int, blob: Blob | None) -> bool:
        """Whether that was anything new. Raises Conflict where ``seen`` is not the version there is."""
        applied = self._apply(Put(record, if_version=seen), blob)
        return applied.created + applied.updated > 0

    def retire(self, tim_id: UUID, ended: str | None, seen: int | None) -> None:
        """End an object on this line."""
        self._apply(Retire(tim_id, ended, if_version=seen, scenario=self.line), None)

    def newest(self, tim_id: UUID) -> ObjectVersion:
        """What was said last of an object on this line, also where it is not valid now."""
        return next(
            v for v in reversed(self.store.history(tim_id)) if v.db_to is None and v.object.scenario == self.line
        )

    def _apply(self, operation: Operation, blob: Blob | None) -> Applied:
        def operations() -> Iterator[Operation]:
            if blob is not None:
                self.store.put_blob(blob.data)
            yield operation

        return self.store.apply(Changeset(self.dataset.slug, operations(), self.author, self.reason))


Work = Callable[[Desk], ObjectVersion | None]


def register(api: FastAPI, catalog: Catalog, editor: Editor, follower: Follower) -> None:
    """Add the routes."""

    async def change(dataset: str, request: Request, scenario: str | None, reason: str, work: Work) -> Json | None:
        """Do some work on a dataset, when it is its turn; the feature that comes of it."""
        record = catalog.authorize(dataset, secret_of(request), None)
        if record.kind != "objects":
            raise UsageError("server.no-objects", dataset=dataset)
        line, author = line_of(record, scenario), editor.author(request)

        def do() -> Json | None:
            with editor.workspace.store() as store:
                found = work(Desk(store, record, line, author, reason, catalog.classes))
                return None if found is None else features([found], store)[0]

        made = await editor.do(do)
        follower.changed(dataset)
        return made

    def answer(document: Json | None, dataset: str, request: Request, status: int) -> Response:
        if document is None:
            return Response(status_code=204)
        path = f"{up(request)}api/collections/{dataset}/items/{document['id']}"
        document["links"] = [link("self", path, GEOJSON, "This feature")]
        headers = {"etag": f'"v{document["properties"]["version"]}"'}
        if status == 201:
            headers["location"] = path
        return FeatureResponse(document, status, headers)

    @api.post(
        "/api/collections/{dataset}/items", summary="Make an object; its id is in Location", tags=["Transactions"], status_code=201,
        response_class=FeatureResponse, responses=answers(FEATURE, 201, "Made"), openapi_extra=body(INPUT, *_JSON),
    )  # fmt: skip
    async def create(dataset: str, request: Request, scenario: Scenario = None, reason: Reason = "create") -> Response:
        await _ready(catalog, editor, request)
        document = await _document(request, _JSON)

        work = _making(document, None)
        return answer(await change(dataset, request, scenario, reason, work), dataset, request, 201)

    @api.put(
        "/api/collections/{dataset}/items/{feature}", summary="Replace an object (If-Match), or make one under an id (If-None-Match: *)",
        tags=["Transactions"], response_class=FeatureResponse, responses={**answers(FEATURE), **answers(FEATURE, 201, "Made")},
        openapi_extra=body(INPUT, *_JSON),
    )  # fmt: skip
    async def put(
        dataset: str, feature: str, request: Request, scenario: Scenario = None, reason: Reason = "replace"
    ) -> Response:
        await _ready(catalog, editor, request)
        document = await _document(request, _JSON)
        if str(document.get("id", feature)).lower() != feature.lower():
            raise refused("/id", feature)
        fresh = request.headers.get("if-none-match", "").strip() == "*"

        work = _making(document, feature) if fresh else _replacing(request, feature, lambda _: document)
        return answer(await change(dataset, request, scenario, reason, work), dataset, request, 201 if fresh else 200)

    @api.patch(
        "/api/collections/{dataset}/items/{feature}", summary="Change what a JSON merge patch names (If-Match)", tags=["Transactions"],
        response_class=FeatureResponse, responses=answers(FEATURE), openapi_extra=body({"type": "object"}, *_PATCH),
    )  # fmt: skip
    async def patch(
        dataset: str, feature: str, request: Request, scenario: Scenario = None, reason: Reason = "update"
    ) -> Response:
        await _ready(catalog, editor, request)
        document = await _document(request, _PATCH)
        work = _replacing(request, feature, lambda shown: merged(shown, document))
        return answer(await change(dataset, request, scenario, reason, work), dataset, request, 200)

    @api.delete(
        "/api/collections/{dataset}/items/{feature}", summary="Retire an object (If-Match); its history stays", tags=["Transactions"],
        status_code=204, response_class=Response,
    )  # fmt: skip
    async def delete(
        dataset: str, feature: str, request: Request, scenario: Scenario = None, reason: Reason = "delete",
        valid_to: ValidTo = None,
    ) -> Response:  # fmt: skip
        await _ready(catalog, editor, request)
        ended = read_moment(valid_to)

        def work(desk: Desk) -> None:
            def once(found: ObjectVersion) -> None:
                if desk.line and not desk.dataset.settings.get("scenario") and desk.store.get(found.tim_id) is not None:
                    gone = replace(
                        found.object, stage=Stage.RETIRED, scenario=desk.line, tim_id=found.tim_id, valid_from=ended
                    )
                    desk.put(gone, found.version if found.object.scenario == desk.line else 0, None)
                else:
                    desk.retire(found.tim_id, ended, None if "*" in _condition(request) else found.version)

            _conditional(request, desk, feature, once)

        return answer(await change(dataset, request, scenario, reason, work), dataset, request, 204)


async def _ready(catalog: Catalog, editor: Editor, request: Request) -> None:
    """Raises AccessError unless this caller may change things."""
    await catalog.ensure(live=True)
    editor.require(request)


async def _document(request: Request, media: tuple[str, ...]) -> Json:
    """The JSON object that was sent. Raises UsageError ``server.media-type``, ``server.bad-body``, ``server.too-large``."""
    said = request.headers.get("content-type", media[0]).partition(";")[0].strip().lower()
    if said not in media:
        raise UsageError("server.media-type", media=said[:100], known=", ".join(media))
    return read_json(await body_of_request(request, LIMIT))


def _making(document: Json, feature: str | None) -> Work:
    """Make an object, under an id of its own or the one that is asked for."""

    def work(desk: Desk) -> ObjectVersion:
        record, blob = read(document, None, None, desk.line, desk.classes)
        tim_id = new_id() if feature is None else read_uuid(feature)
        if feature is not None and desk.store.history(tim_id):
            raise UsageError("server.exists", id=str(tim_id))
        try:
            desk.put(replace(record, tim_id=tim_id), 0, blob)
        except Conflict:
            raise UsageError("server.exists", id=str(tim_id)) from None
        return desk.newest(tim_id)

    return work


def _replacing(request: Request, feature: str, change: Callable[[Json], Json]) -> Work:
    """Put what ``change`` makes of the feature as it is shown."""

    def work(desk: Desk) -> ObjectVersion:
        def once(found: ObjectVersion) -> ObjectVersion:
            shown = features([found], desk.store)[0]
            document = change({name: shown[name] for name in ("type", "geometry", "properties")})
            record, blob = read(document, found, shown, desk.line, desk.classes)
            own = found.object.scenario == desk.line
            return desk.newest(found.tim_id) if desk.put(record, found.version if own else 0, blob) else found

        return _conditional(request, desk, feature, once)

    return work


def _condition(request: Request) -> list[str]:
    """The entity tags of ``If-Match``. Raises UsageError ``server.condition-needed`` (RFC 6585 §3)."""
    condition = request.headers.get("if-match")
    if condition is None:
        raise UsageError("server.condition-needed")
    return every_tag(condition)


def _conditional(request: Request, desk: Desk, feature: str, once: Callable[[ObjectVersion], T]) -> T:
    """Do it to the version the caller has seen; to any, and again where another came first, where he says ``*``."""
    tags = _condition(request)
    for left in reversed(range(_AGAIN)):
        found = standing(desk.store, desk.dataset, feature, desk.line)
        if "*" not in tags and tag(found) not in tags:
            raise Conflict("server.changed", id=str(found.tim_id), current=tag(found))
        try:
            return once(found)
        except Conflict as error:
            if "*" not in tags or not left:
                raise Conflict("server.changed", id=str(found.tim_id), current=f"v{error.fields['current']}") from None
    raise AssertionError  # the last turn returns or raises
