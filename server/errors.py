"""Errors on their way out: which status, and one JSON body ``{"code", "message": {"en", "zh"}, "fields"}`` for all of them.

The body carries both languages, so that nothing depends on ``Accept-Language`` and a cache may keep it.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from typing import Any

from tim.errors import (
    AccessError,
    Conflict,
    PlaceError,
    SourceError,
    StoreError,
    TilingError,
    TimError,
    UsageError,
    WorkspaceError,
)

log = logging.getLogger("tim.server")

STATUS: Mapping[type[TimError] | str, int] = {
    "access.not-allowed": 403,
    "access.not-editor": 403,
    "server.no-dataset": 404,
    "server.no-object": 404,
    "rules.no-object": 404,
    "server.no-changeset": 404,
    "server.no-path": 404,
    "server.no-tiles": 404,
    "server.no-base-map": 404,
    "store.no-dataset": 404,
    "store.time": 400,
    "store.text": 400,
    "store.too-slow": 422,
    "observations.no-series": 404,
    "observations.linked": 409,
    "observations.kind-fixed": 409,
    "observations.has-readings": 409,
    "store.class": 422,
    "store.box": 422,
    "store.validity": 422,
    "store.not-json": 422,
    "store.other-dataset": 409,
    "store.no-object": 404,
    "history.no-scenario": 404,
    "server.method": 405,
    "server.exists": 412,
    "server.changed": 412,
    "server.feature": 422,
    "server.condition-needed": 428,
    "server.too-large": 413,
    "server.model-kind": 415,
    "server.media-type": 415,
    "server.range": 416,
    "workspace.busy": 409,
    "server.internal": 500,
    "server.base-map-failed": 502,
    AccessError: 401,
    UsageError: 400,
    Conflict: 409,
    PlaceError: 422,
    SourceError: 422,
    TilingError: 500,
    StoreError: 500,
    WorkspaceError: 503,
    TimError: 500,
}
"""By code first, then by the nearest class."""


def status_of(error: TimError) -> int:
    """The HTTP status of an error."""
    if (status := STATUS.get(error.code)) is not None:
        return status
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def body_of(error: TimError) -> bytes:
    """The JSON body of an error, UTF-8. Paths of this machine stay here: of failures that are not the caller's, no fields are told."""
    record = error.record()
    if status_of(error) in (500, 503) and error.code != "server.internal":
        incident = report(error)
        record = TimError("server.internal", id=incident).record()
    document: dict[str, Any] = {"code": record["code"], "message": record["text"], "fields": record["fields"]}
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


def report(error: BaseException) -> str:
    """Log what was not expected, with its traceback; the id is all the caller gets to know."""
    incident = secrets.token_hex(4)
    log.error("error %s", incident, exc_info=error)
    return incident


def headers_of(error: TimError, status: int) -> list[tuple[bytes, bytes]]:
    """The headers that belong to an error's body."""
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="tim"'))
    if status == 405:
        headers.append((b"allow", str(error.fields.get("allowed", "GET, HEAD, OPTIONS")).encode("latin-1")))
    if status == 416:
        headers.append((b"content-range", b"bytes */%d" % error.fields["size"]))
    return headers
