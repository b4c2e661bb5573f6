"""Who may change what is served, and how what they send is read: bounded, and never from another site's page.

Two ways to be an editor: a key that was made for editing (``tim key add NAME --edit``), or a server started with ``--edit``, which listens on
loopback only and takes changes from anybody on this machine, except from pages of other sites (a browser names them in ``Origin``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from server.access import Guard
from server.negotiate import secret_of
from tim.errors import AccessError, UsageError

if TYPE_CHECKING:
    from tim.workspace import Workspace

T = TypeVar("T")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Editor:
    """The changing side of a served workspace. Belongs to one event loop; changes happen one after another."""

    def __init__(self, workspace: Workspace, guard: Guard, *, open_here: bool = False) -> None:
        """``open_here``: whoever reaches the server on this machine may edit."""
        self.workspace = workspace
        self._guard = guard
        self._open_here = open_here
        self._turn = asyncio.Lock()

    def may(self, request: Request) -> bool:
        """Whether this caller may change things."""
        secret = secret_of(request)
        if secret is not None and self._guard.edits(secret):
            return True
        return self._open_here and _from_here(request)

    def require(self, request: Request) -> None:
        """Raise AccessError ``access.not-editor`` unless this caller may change things."""
        if not self.may(request):
            raise AccessError("access.not-editor")

    def author(self, request: Request) -> str:
        """Whose changes these are: the name of the key, or nobody's."""
        secret = secret_of(request)
        return "" if secret is None else self._guard.name(secret)

    async def do(self, work: Callable[[], T]) -> T:
        """Do some work that changes the workspace, in a thread, when it is its turn."""
        async with self._turn:
            return await run_in_threadpool(work)


async def body_of_request(request: Request, limit: int) -> bytes:
    """The request's body. Raises UsageError ``server.too-large`` as soon as it passes ``limit`` bytes."""
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said) > limit:
        raise UsageError("server.too-large", limit_mb=limit // 1_000_000)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise UsageError("server.too-large", limit_mb=limit // 1_000_000)
        parts.append(part)
    return b"".join(parts)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    return host.strip("[]").lower() in _LOOPBACK


def _from_here(request: Request) -> bool:
    """The address names this machine (a name of somebody else's may point here), and so does the page that asks, if one does."""
    host = request.headers.get("host", "")
    origin = request.headers.get("origin")
    if not is_loopback(urlsplit(f"//{host}").hostname or ""):
        return False
    return origin is None or urlsplit(origin).netloc.lower() == host.lower()
