"""Links of documents: relative to the request, so that they hold behind any gateway and no header a client sends can bend them.

Where the operator says at which path the server stands (``--root-path``, which may be ``/``), they begin with it: GDAL takes the address of a
document for a folder and so resolves relative links its own way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request

Json = dict[str, Any]
REL = "http://www.opengis.net/def/rel/ogc/1.0/"
GEOJSON = "application/geo+json"
SCHEMA = "application/schema+json"


def link(rel: str, href: str, media: str, title: str) -> Json:
    """One link (RFC 8288 in OGC API's JSON)."""
    return {"rel": rel, "href": href, "type": media, "title": title}


def up(request: Request) -> str:
    """From the request's URL to the server's root: its path where that is known, else ``../`` for each folder the path is below it."""
    base: str | None = request.scope.get("base")
    if base is not None:
        return f"{base}/"
    return "../" * (request.scope.get("asked", request.scope["path"]).count("/") - 1) or "./"


def here(request: Request, changes: Mapping[str, Any] | None = None) -> str:
    """This request's relative address with some parameters changed, ``None`` to leave one out; never with a key."""
    changed = changes or {}
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in ("token", *changed)]
    query = urlencode([*kept, *((name, value) for name, value in changed.items() if value is not None)])
    address = up(request) + quote(request.scope["path"].removeprefix("/"))
    return f"{address}?{query}" if query else address
