"""The application: the tile path in front, the framework behind it.

Mind that middleware around the whole would undo what the split is for; around the framework alone it is welcome.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from server.access import Keys
from server.api import make_api
from server.basemap import BaseMap
from server.catalog import Catalog
from server.edit import Editor
from server.errors import report
from server.static import BUILT, Viewer
from server.tiles import READ, Receive, Reply, Scope, Send, TileApp, send_error
from tiling.archive import Reader
from tim.errors import TimError, UsageError
from tim.rules import load

if TYPE_CHECKING:
    from tim.workspace import Workspace

_BODY = frozenset((b"content-length", b"transfer-encoding", b"expect"))
"""Headers of a request that has a body."""
TITLE = {"zh": "国土空间信息模型", "en": "Territory Information Model"}


def create_app(
    workspace: Workspace, *, root_path: str = "", base_maps: Sequence[BaseMap] = (), cors: str | Sequence[str] = "*",
    title: Mapping[str, str] = TITLE, language: str = "zh", static: Path = BUILT, edit: bool = False,
) -> App:  # fmt: skip
    """The ASGI application of a workspace.

    ``root_path`` is the prefix a gateway serves it under; requests are understood with it (the gateway keeps it) and without (it strips it),
    and links begin with it; ``/`` for the root. Where it is empty, links are relative.
    ``cors``: ``*`` or the origins that may read. ``edit``: whoever is on this machine may change things (:mod:`server.edit`). Raises WorkspaceError where the archive cannot be read.
    """
    catalog = Catalog(
        Reader(workspace.archive_root),
        workspace.store,
        Keys(workspace.path),
        workspace.observations(),
        workspace.classes(),
    )
    editor = Editor(workspace, catalog.guard, open_here=edit)
    return App(
        catalog, make_api(catalog, title, language, base_maps, editor, load(workspace.path)), root_path, cors, static
    )


class App:
    """Sends tile requests one way and everything else the other."""

    def __init__(
        self, catalog: Catalog, api: FastAPI, root_path: str = "", cors: str | Sequence[str] = "*", static: Path = BUILT
    ) -> None:
        self.catalog = catalog
        self._tiles = TileApp(catalog, cors)
        self._root = "/" + root_path.strip("/") if root_path.strip("/") else ""
        self._base = self._root if root_path else None
        api.add_middleware(
            CORSMiddleware, allow_origins=[cors] if isinstance(cors, str) else list(cors), allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "If-Match", "If-None-Match"],
            expose_headers=["ETag", "Location", "Content-Crs"], max_age=86400,
        )  # fmt: skip
        api.mount("/", Viewer(static))
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._live(receive, send)
            return
        path: str = scope["path"]
        if root := self._root or scope.get("root_path"):
            path = _below(root, path)
        try:
            if path.startswith("/tiles/"):
                await self._tiles(scope, path, None, send)
            elif path.startswith("/s/"):
                await self._signed(scope, path, send)
            else:
                await self._framework(scope, path, receive, send)
        except Exception as error:  # the last resort: an id for the caller, the traceback for the log
            await send_error(TimError("server.internal", id=report(error)), [], send)

    def instant(self, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> Reply | None:
        """The answer to ``GET url`` for a tile, if it needs no waiting and is good news; ``None``: ask the application itself.

        Any request gets the same answer either way: this only saves the server's machinery (:mod:`server.protocol`).
        """
        if self.catalog.due or b"%" in url:
            return None
        raw, _, query = url.partition(b"?")
        path = raw.decode("latin-1")
        if self._root:
            path = _below(self._root, path)
        link = None
        if path.startswith("/s/"):
            link, slash, path = path[3:].partition("/")
            path = slash + path
        if not path.startswith("/tiles/"):
            return None
        request = {name: value for name, value in headers if name in READ}
        if not _BODY.isdisjoint(request):
            return None
        try:
            reply = self._tiles.find(path, query, link, request)
        except TimError:
            return None
        return None if reply is None or reply.packed else reply

    async def _signed(self, scope: Scope, path: str, send: Send) -> None:
        link, _, rest = path[3:].partition("/")
        if rest.startswith("tiles/"):
            await self._tiles(scope, f"/{rest}", link, send)
        else:
            await send_error(UsageError("server.no-path", path="/s/…"), [], send)

    async def _framework(self, scope: Scope, path: str, receive: Receive, send: Send) -> None:
        if not path:  # "/gis": without its slash, relative links would miss
            location = f"{self._root.rpartition('/')[2] or '.'}/".encode()
            await send(
                {
                    "type": "http.response.start",
                    "status": 308,
                    "headers": [(b"location", location), (b"content-length", b"0")],
                }
            )
            await send({"type": "http.response.body", "body": b""})
            return
        head = scope["method"] == "HEAD"
        inner = {
            **scope, "path": path.rstrip("/") if path.startswith("/api") else path, "root_path": "", "asked": path, "base": self._base,
            "method": "GET" if head else scope["method"],
        }  # fmt: skip
        complete = False

        async def watch(message: MutableMapping[str, Any]) -> None:
            nonlocal complete
            if message["type"] == "http.response.start":
                if path.startswith("/api"):  # what a caller may see depends on the key
                    message = {**message, "headers": [*message["headers"], (b"cache-control", b"private, no-cache")]}
            else:
                complete = not message.get("more_body", False)
            await send({**message, "body": b""} if head and "body" in message else message)

        try:
            await self._api(inner, receive, watch)
        except Exception:
            if not complete:  # otherwise the framework's own handler has answered and logged it, and raised it again
                raise

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.catalog.ensure(live=True)
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.catalog.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _below(root: str, path: str) -> str:
    """The path below the prefix, where it has it."""
    return path[len(root) :] if path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/") else path
