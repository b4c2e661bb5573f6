"""The tile path: ``/tiles/…`` as raw ASGI in front of FastAPI, because a framework would cost ten times the work itself.

::

    /tiles/{dataset}/tileset.json          the newest snapshot: entity tag, revalidated on every use
    /tiles/{dataset}/p/{hash}.json         a page below it, by content: immutable
    /tiles/{dataset}/c/{hash}.glb          a tile content: immutable, shared by all snapshots
    /tiles/{dataset}/@{seq}/…              the same names, frozen at a snapshot: immutable
    /tiles/{dataset}/@{seq}/t/L/x/y/z.glb  implicit content, found by its key
    /tiles/{dataset}/@{seq}/s/L/x/y/z.subtree
    /tiles/{dataset}/f/{id}/…              a file of a mounted tileset, as it lies (:mod:`server.foreign`)
    /s/{expires}.{key id}.{signature}/tiles/…   all of these, with the key in the path

Contents go out as they are stored: a gzip member with ``Content-Encoding: gzip``; the rare client that does not take gzip gets it
unpacked. A 304 is decided from the name alone wherever the name holds the hash.
"""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

from server.catalog import Catalog
from server.errors import body_of, headers_of, status_of
from server.foreign import answer
from server.negotiate import accepts_gzip, byte_range, credential, matched_tag
from tiling.archive import Blob
from tim.errors import TimError, UsageError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

TILESET = "tileset.json"
_YEAR = b"max-age=31536000, immutable"
_CACHE = (  # [needs a key][immutable]
    ((b"cache-control", b"no-cache"), (b"cache-control", b"public, " + _YEAR)),
    ((b"cache-control", b"private, no-cache"), (b"cache-control", b"private, " + _YEAR)),
)
_TYPES = {
    ".glb": (b"content-type", b"model/gltf-binary"),
    ".json": (b"content-type", b"application/json"),
    ".subtree": (b"content-type", b"application/octet-stream"),
}
_GZIP = (b"content-encoding", b"gzip")
_VARY = (b"vary", b"accept-encoding")
_EXPOSED = (b"access-control-expose-headers", b"ETag, Content-Range")
_ANY_ORIGIN = [(b"access-control-allow-origin", b"*"), _EXPOSED]
_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, HEAD, OPTIONS"),
    (b"access-control-allow-headers", b"Authorization, X-API-Key, If-None-Match, If-Range, Range"),
    (b"access-control-max-age", b"86400"),
    (b"allow", b"GET, HEAD, OPTIONS"),
]
_KNOWN = re.compile(r"/tiles/[a-z0-9][a-z0-9-]{0,62}/[0-9a-z@/.]{1,120}", re.ASCII)
"""What a name we gave out can look like; nothing else is worth a second look."""
_HASHED = re.compile(r"c/([0-9a-f]{64})\.glb|p/([0-9a-f]{64})\.json", re.ASCII)
_KEYED = re.compile(r"t/(\d{1,2}(?:/\d{1,10}){3})\.glb|s/\d{1,2}(?:/\d{1,10}){3}\.subtree", re.ASCII)
_MOUNTED = re.compile(r"f/[0-9a-f]{16}/.", re.ASCII)
_SEQ = re.compile(r"\d{1,15}", re.ASCII)
READ = frozenset(
    (
        b"accept-encoding",
        b"if-none-match",
        b"range",
        b"if-range",
        b"authorization",
        b"x-api-key",
        b"origin",
        b"content-length",
        b"transfer-encoding",
        b"expect",
    )
)


class Reply(NamedTuple):
    """An answer that is ready."""

    status: int
    headers: Headers
    body: bytes | memoryview = b""
    packed: bool = False
    """The body is gzip, and the client wants it unpacked first."""


class TileApp:
    """Answers ``/tiles/…``; ``cors`` is ``*`` or the origins allowed."""

    def __init__(self, catalog: Catalog, cors: str | Sequence[str] = "*") -> None:
        self._catalog = catalog
        self._cors = Cors(cors)

    async def __call__(self, scope: Scope, path: str, link: str | None, send: Send) -> None:
        """Answer one request. ``path`` begins with ``/tiles/``; ``link`` is the signed prefix it came under, without ``/s/``."""
        request = {name: value for name, value in scope["headers"] if name in READ}
        cors = self._cors.headers(request)
        method = scope["method"]
        try:
            if method == "GET" or method == "HEAD":
                reply = await self._reply(path, scope["query_string"], link, request)
            elif method == "OPTIONS":
                reply = Reply(204, [*cors, *_PREFLIGHT])
            else:
                raise UsageError("server.method", method=method, allowed="GET, HEAD, OPTIONS")
        except TimError as error:
            await send_error(error, cors, send)
            return
        body = await asyncio.to_thread(gzip.decompress, reply.body) if reply.packed else reply.body
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        await send({"type": "http.response.body", "body": body})

    async def _reply(self, path: str, query: bytes, link: str | None, request: Mapping[bytes, bytes]) -> Reply:
        catalog = self._catalog
        if catalog.due:
            await catalog.ensure(live=path.endswith(TILESET))
        reply = self.find(path, query, link, request)
        if reply is None and _KNOWN.fullmatch(path):  # something of this name may have been published a moment ago
            await catalog.look_again()
            reply = self.find(path, query, link, request)
        if reply is not None:
            return reply
        slug, _, rest = path[7:].partition("/")
        dataset = catalog.authorize(slug, credential(request, query), link)
        if _MOUNTED.match(rest):
            head = [*self._cors.headers(request), _CACHE[dataset.private][False]]
            if (found := await answer(catalog.mounts, slug, rest, request, head)) is not None:
                return Reply(*found)
        raise (
            UsageError("server.no-tiles", dataset=slug)
            if rest == TILESET
            else UsageError("server.no-path", path=path[:200])
        )

    def find(self, path: str, query: bytes, link: str | None, request: Mapping[bytes, bytes]) -> Reply | None:
        """The answer as far as is known, without waiting for anything; ``None``: there is no such thing. Raises AccessError, UsageError."""
        slug, _, rest = path[7:].partition("/")
        dataset = self._catalog.datasets.get(slug)
        if dataset is None:
            return None
        private = dataset.private
        if private:
            self._catalog.guard.check(slug, None if link else credential(request, query), link)
        frozen, rest = _frozen(rest) if rest[:1] == "@" else (None, rest)
        hashed = _HASHED.fullmatch(rest)
        head = [*self._cors.headers(request), _CACHE[private][hashed is not None or frozen is not None]]
        condition = request.get(b"if-none-match")
        if (
            condition is not None
            and hashed is not None
            and condition != b"*"
            and (tag := matched_tag(condition, hashed[1] or hashed[2]))
        ):
            return _unmodified(tag, head)
        blob = self._look_up(slug, frozen, rest, hashed)
        if blob is None:
            return None
        if condition is not None and (tag := matched_tag(condition, blob.hash)):
            return _unmodified(tag, head)
        head.append(_TYPES[rest[rest.rfind(".") :]])
        return _full(blob, head, request) if blob.encoding == "identity" else _zipped(blob, head, request)

    def _look_up(self, slug: str, seq: int | None, rest: str, hashed: re.Match[str] | None) -> Blob | None:
        archive = self._catalog.archive
        if hashed is not None and hashed[1]:
            return archive.content(hashed[1])
        if hashed is not None or rest == TILESET:
            return archive.page(slug, seq, rest)
        keyed = _KEYED.fullmatch(rest)
        if keyed is None or seq is None:
            return None
        return archive.tile(slug, seq, f"oct/{keyed[1]}") if keyed[1] else archive.page(slug, seq, rest)


class Cors:
    """Which origins may read answers. A key never travels by itself (no cookies), so ``*`` gives nothing away."""

    def __init__(self, allowed: str | Sequence[str]) -> None:
        self._any = allowed == "*"
        self._allowed = frozenset() if self._any else frozenset(origin.encode("latin-1") for origin in allowed)

    def headers(self, request: Mapping[bytes, bytes]) -> Headers:
        """What goes into the answer."""
        if self._any:
            return _ANY_ORIGIN
        origin = request.get(b"origin")
        if origin is None or origin not in self._allowed:
            return [(b"vary", b"origin")]
        return [(b"access-control-allow-origin", origin), (b"vary", b"origin"), _EXPOSED]


async def send_error(error: TimError, head: Headers, send: Send) -> None:
    """An error as JSON."""
    status, body = status_of(error), body_of(error)
    headers = [*head, *headers_of(error, status), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _unmodified(tag: str, head: Headers) -> Reply:
    head.append((b"etag", f'"{tag}"'.encode()))
    return Reply(304, head)


def _full(blob: Blob, head: Headers, request: Mapping[bytes, bytes]) -> Reply:
    """Stored plainly: all of it, or the range asked for."""
    data, size, etag = blob.data, blob.size, f'"{blob.hash}"'.encode()
    head.append((b"etag", etag))
    asked = request.get(b"range")
    part = byte_range(asked, request.get(b"if-range"), etag, size) if asked is not None else None
    if part is None:
        head.append((b"content-length", b"%d" % size))
        return Reply(200, head, data)
    start, stop = part
    if stop == 0:
        raise UsageError("server.range", size=size)
    head += (b"content-length", b"%d" % (stop - start)), (b"content-range", b"bytes %d-%d/%d" % (start, stop - 1, size))
    return Reply(206, head, data[start:stop])


def _zipped(blob: Blob, head: Headers, request: Mapping[bytes, bytes]) -> Reply:
    """Stored as gzip: so it goes out, unless the client cannot take it."""
    head.append(_VARY)
    if accepts_gzip(request.get(b"accept-encoding")):
        head += _GZIP, (b"etag", f'"{blob.hash}.gzip"'.encode()), (b"content-length", b"%d" % len(blob.data))
        return Reply(200, head, blob.data)
    head += (b"etag", f'"{blob.hash}"'.encode()), (b"content-length", b"%d" % blob.size)
    return Reply(200, head, blob.data, packed=True)


def _frozen(rest: str) -> tuple[int | None, str]:
    """``@12/tileset.json`` to 12 and the rest; what is no sequence is no name either."""
    seq, _, name = rest[1:].partition("/")
    return (int(seq), name) if _SEQ.fullmatch(seq) else (None, "")
