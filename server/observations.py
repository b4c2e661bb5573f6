"""Observations over HTTP: what is observed of an object, its readings as JSON arrays, and readings sent by those who may.

Times are ISO 8601 with a zone (``2026-11-21T08:00:00Z``), in answers always UTC. A gap is ``null``. What is observed of an object that a caller may
not see is not there, like the object.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn
from urllib.parse import quote, urlencode
from uuid import UUID

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from server.catalog import Catalog
from server.edit import Editor, body_of_request
from server.features import Json
from server.objects import NOW, object_seen, ready
from tim.errors import UsageError
from tim.observations import Link, Observations, Series, microseconds, texts
from tim.observations.chunks import F64

LIMIT = 8_000_000
"""Bytes of a request: some hundred thousand readings."""
MOST_READINGS = 100_000
MOST_BUCKETS = 10_000
_PATH = "/api/objects/{tim_id}/observations"
_SERIES = {"unit", "kind", "title", "link"}
_TEXT = {"type": "string"}
_TIMES = {"type": "array", "items": {"type": "string", "format": "date-time"}}
_VALUES = {"type": "array", "items": {"type": ["number", "boolean", "null"]}}
Moment = Annotated[
    str | None, Query(max_length=40, description="A date, or an instant with its zone: 2026-11-21T08:00:00Z")
]
Readings = Annotated[int, Query(ge=1, le=MOST_READINGS)]
Buckets = Annotated[int | None, Query(ge=1, le=MOST_BUCKETS, description="Sum up in so many equal spans of time")]


def register(api: FastAPI, catalog: Catalog, editor: Editor) -> None:
    """Add the routes."""
    observations = catalog.observations

    async def seen(tim_id: UUID, request: Request) -> None:
        """Raise UsageError ``server.no-object`` where the caller may not see the object."""
        may = await ready(catalog, request)
        await catalog.ask(lambda store: object_seen(store, tim_id, may, NOW))

    async def editing(tim_id: UUID, request: Request) -> Any:
        """What an editor sent."""
        await catalog.ensure(live=True)
        editor.require(request)
        await seen(tim_id, request)
        return _read(await body_of_request(request, LIMIT))

    @api.get(_PATH, summary="What is observed of an object, with the newest readings", tags=["Observations"])
    async def every(tim_id: UUID, request: Request) -> Response:
        await seen(tim_id, request)
        return await run_in_threadpool(
            lambda: _json(
                {"object": str(tim_id), "series": [_document(observations, s) for s in observations.series(tim_id)]}
            )
        )

    @api.get(
        f"{_PATH}/{{name}}",
        summary="Readings in the order of time, or summed up in equal spans of it",
        tags=["Observations"],
    )
    async def readings(
        tim_id: UUID, name: str, request: Request, start: Annotated[Moment, Query(alias="from")] = None,
        end: Annotated[Moment, Query(alias="to")] = None, limit: Readings = 10_000, buckets: Buckets = None,
    ) -> Response:  # fmt: skip
        await seen(tim_id, request)
        first, last = _moment(start, "from"), _moment(end, "to")
        if buckets is not None:
            return await run_in_threadpool(_summed, observations, tim_id, name, first, last, buckets)
        return await run_in_threadpool(_listed, observations, tim_id, name, first, last, limit)

    @api.put(
        f"{_PATH}/{{name}}",
        summary="Make a series, or change its unit, title or link",
        tags=["Observations"],
        openapi_extra=_body(
            unit=_TEXT,
            kind={"enum": ["number", "boolean"]},
            title={"type": "object"},
            link={"type": ["object", "null"]},
        ),
    )
    async def put(tim_id: UUID, name: str, request: Request) -> Response:
        series = _series(tim_id, name, await editing(tim_id, request))
        return await run_in_threadpool(lambda: _json(_document(observations, observations.put(series))))

    @api.post(
        f"{_PATH}/{{name}}",
        summary="Add readings, in any order; of several of one time the last counts",
        tags=["Observations"],
        openapi_extra=_body(times=_TIMES, values=_VALUES),
    )
    async def append(tim_id: UUID, name: str, request: Request) -> Json:
        body = await editing(tim_id, request)

        def work() -> int:
            _only(body, {"times", "values"})
            return observations.append(
                tim_id, name, _times(name, body.get("times")), _list(body.get("values"), "values")
            )

        return {"appended": await run_in_threadpool(work)}

    @api.delete(
        f"{_PATH}/{{name}}", status_code=204, summary="Take a series away with all its readings", tags=["Observations"]
    )
    async def drop(tim_id: UUID, name: str, request: Request) -> Response:
        await catalog.ensure(live=True)
        editor.require(request)
        await seen(tim_id, request)
        await run_in_threadpool(observations.drop, tim_id, name)
        return Response(status_code=204)


def _document(observations: Observations, series: Series) -> Json:
    extent = newest = None
    count = 0
    if series.link is None:
        count = observations.count(series.tim_id, series.name)
        extent = observations.extent(series.tim_id, series.name)
        newest = observations.latest(series.tim_id, series.name)
    first, last = (None, None) if extent is None else texts(np.array(extent))
    return {
        **_head(series), "title": dict(series.title), "link": None if series.link is None else {"url": series.link.url, "protocol": series.link.protocol},
        "count": count, "from": first, "to": last,
        "latest": None if newest is None else {"time": last, "value": _plain(np.array([newest.value]), series)[0]},
        "href": f"observations/{quote(series.name, safe='')}",
    }  # fmt: skip


def _listed(
    observations: Observations, tim_id: UUID, name: str, start: int | None, end: int | None, limit: int
) -> Response:
    series = observations.get(tim_id, name)
    found = observations.range(tim_id, name, start, end, limit + 1)
    times, values = texts(found.times[:limit]), _plain(found.values[:limit], series)
    document: Json = {**_head(series), "times": times, "values": values, "next": None}
    if len(found) > limit:
        [following] = texts(found.times[limit:])
        span = {"from": following, "limit": limit} | ({} if end is None else {"to": texts(np.array([end]))[0]})
        document["next"] = f"{quote(name, safe='')}?{urlencode(span)}"
    return _json(document)


def _summed(
    observations: Observations, tim_id: UUID, name: str, start: int | None, end: int | None, number: int
) -> Response:
    series = observations.get(tim_id, name)
    found = observations.downsample(tim_id, name, start, end, number)
    columns = {"min": found.minimum, "max": found.maximum, "mean": found.mean, "first": found.first, "last": found.last}
    return _json({
        **_head(series), "edges": texts(found.edges), "count": found.count.tolist(),
        **{key: _numbers(column) for key, column in columns.items()},
    })  # fmt: skip


def _head(series: Series) -> Json:
    return {"name": series.name, "unit": series.unit, "kind": series.kind}


def _plain(values: F64, series: Series) -> list[Any]:
    """Values as JSON has them."""
    if series.kind == "boolean":
        return [None if math.isnan(value) else bool(value) for value in values.tolist()]
    return _numbers(values)


def _numbers(values: F64) -> list[Any]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _json(document: Json) -> Response:
    return Response(json.dumps(document, ensure_ascii=False, separators=(",", ":")), media_type="application/json")


def _read(data: bytes) -> Any:
    """A JSON object. Raises UsageError ``server.bad-parameter``."""
    try:
        body = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UsageError("server.bad-parameter", name="body", reason=str(error)) from None
    if not isinstance(body, dict):
        raise UsageError("server.bad-parameter", name="body", reason="a JSON object")
    return body


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _only(body: Json, known: set[str]) -> None:
    if unknown := sorted(body.keys() - known):
        raise UsageError("server.bad-parameter", name=unknown[0][:100], reason=", ".join(sorted(known)))


def _list(value: Any, name: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise UsageError("server.bad-parameter", name=name, reason="an array")
    return value


def _times(name: str, told: Any) -> Sequence[int]:
    """Times of readings. Raises UsageError ``observations.times``."""
    times = []
    for index, text in enumerate(_list(told, "times")):
        try:
            times.append(_microseconds(text))
        except (ValueError, OverflowError, TypeError):
            raise UsageError("observations.times", series=name, index=index, value=str(text)[:100]) from None
    return times


def _moment(text: str | None, name: str) -> int | None:
    try:
        return None if text is None else _microseconds(text if "T" in text.upper() else f"{text}T00:00:00Z")
    except (ValueError, OverflowError):
        raise UsageError("server.bad-parameter", name=name, reason="2026-11-21, 2026-11-21T08:00:00Z") from None


def _microseconds(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return microseconds(moment.astimezone(UTC))


def _series(tim_id: UUID, name: str, body: Json) -> Series:
    """A series as it was sent. Raises UsageError."""
    _only(body, _SERIES)
    title, link = body.get("title") or {}, body.get("link")
    if not isinstance(title, dict) or not (
        link is None or (isinstance(link, dict) and link.keys() == {"url", "protocol"})
    ):
        raise UsageError("server.bad-parameter", name="title, link", reason='{"en", "zh"}, {"url", "protocol"}')
    return Series(
        tim_id, name, body.get("unit", ""), body.get("kind", "number"), title, None if link is None else Link(**link)
    )


def _body(**properties: Json) -> Json:
    """What a request's body is, for the description."""
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
