"""Run the server: one listening socket, one or more processes, a graceful end. Prints nothing; what there is to say goes to a callback."""

from __future__ import annotations

import asyncio
import errno
import logging
import multiprocessing
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from server.edit import is_loopback
from tim.errors import UsageError, WorkspaceError

if TYPE_CHECKING:
    from server.app import App
    from tim.workspace import Workspace

GRACE_SECONDS = 5
"""What is under way when the server is told to stop gets this long."""
_SECRETS = re.compile(r"(?<=[?&]token=)[^&\s\"]+|(?<=/s/)\d+\.[a-z0-9]+\.[^/\s\"?]+")


def serve(
    workspace: Workspace, host: str = "127.0.0.1", port: int = 8080, *, root_path: str = "", base_maps: Path | None = None,
    cors: str | Sequence[str] = "*", workers: int = 1, access_log: bool = False, edit: bool = False,
    on_ready: Callable[[str], None] | None = None,
) -> None:  # fmt: skip
    """Serve a workspace until SIGINT or SIGTERM, then end gracefully.

    ``port`` 0 takes a free one; ``root_path`` is the prefix a gateway serves it under; ``base_maps`` is a settings file
    (:mod:`server.basemap`), by default ``base-maps.toml`` in the workspace where that exists; ``on_ready`` gets the URL once requests are
    accepted; ``edit`` lets whoever is on this machine change things. Raises WorkspaceError (``server.port-in-use``; a workspace that cannot be read), UsageError (an address that is not ours; ``edit`` on an address that others reach).
    """
    if edit and not is_loopback(host):
        raise UsageError("server.edit-needs-loopback", host=host)
    make = partial(_make, workspace.path, root_path, base_maps, cors, edit)
    app = make()
    with listen(host, port) as sock:
        if workers <= 1:
            _run(app, sock, access_log, on_ready and partial(on_ready, url(sock, host, root_path)))
        else:
            asyncio.run(app.catalog.close())
            _run_workers(
                partial(_work, make, sock, access_log),
                workers,
                on_ready and partial(on_ready, url(sock, host, root_path)),
            )


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """The listening socket. Raises WorkspaceError ``server.port-in-use`` or ``server.port-denied``, UsageError ``server.bad-host``."""
    if not 0 <= port <= 0xFFFF:
        raise UsageError("server.bad-host", host=host, port=port, reason="port")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise UsageError("server.bad-host", host=host, port=port, reason=str(error)) from error
    with socket.socket(family, kind, protocol) as sock:
        if sys.platform != "win32":  # there it would let two servers share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(address)
            sock.listen(2048)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise WorkspaceError("server.port-in-use", host=host, port=port) from error
            if error.errno == errno.EACCES:
                raise WorkspaceError("server.port-denied", host=host, port=port) from error
            raise UsageError("server.bad-host", host=host, port=port, reason=error.strerror or str(error)) from error
        sock.set_inheritable(True)
        yield sock


def url(sock: socket.socket, host: str, root_path: str = "") -> str:
    """Where a browser on this machine finds it."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    prefix = f"/{root_path.strip('/')}" if root_path.strip("/") else ""
    return f"http://{f'[{name}]' if ':' in name else name}:{sock.getsockname()[1]}{prefix}/"


def redact(text: str) -> str:
    """A path without the keys in it."""
    return _SECRETS.sub("***", text)


class Redaction(logging.Filter):
    """Takes keys out of access log lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true; the record is changed."""
        if isinstance(record.args, tuple):
            record.args = tuple(redact(value) if isinstance(value, str) else value for value in record.args)
        record.msg = redact(str(record.msg))
        return True


def _make(path: Path, root_path: str, base_maps: Path | None, cors: str | Sequence[str], edit: bool) -> App:
    from server.app import create_app
    from server.basemap import load_base_maps
    from tim.workspace import Workspace

    settings = base_maps or path / "base-maps.toml"
    maps = load_base_maps(settings) if base_maps is not None or settings.exists() else []
    return create_app(Workspace.open(path), root_path=root_path, base_maps=maps, cors=cors, edit=edit)


def _run(app: App, sock: socket.socket, access_log: bool, on_ready: Callable[[], None] | None = None) -> None:
    import uvicorn

    config = uvicorn.Config(
        app, log_config=None, access_log=access_log, proxy_headers=False, server_header=False, ws="none", lifespan="on",
        http=_protocol(), timeout_graceful_shutdown=GRACE_SECONDS,
    )  # fmt: skip
    server = uvicorn.Server(config)
    access = logging.getLogger("uvicorn.access")
    access.addFilter(redaction := Redaction())
    try:
        with _stopping(
            lambda: setattr(server, "should_exit", True)
        ):  # until uvicorn's own handlers stand, and after them
            if on_ready is not None:
                on_ready()
            server.run(sockets=[sock])
    finally:
        access.removeFilter(redaction)


def _protocol() -> Any:
    if find_spec("httptools") is None:
        return "auto"
    from server.protocol import TileProtocol

    return TileProtocol


def _work(make: Callable[[], App], sock: socket.socket, access_log: bool) -> None:
    _run(make(), sock, access_log)


def _run_workers(work: Callable[[], None], workers: int, on_ready: Callable[[], None] | None) -> None:
    """Keep so many processes at the socket; one that dies is replaced, but not one that cannot even start."""
    stop = threading.Event()
    context = multiprocessing.get_context("spawn")

    def start() -> tuple[BaseProcess, float]:
        process = context.Process(target=work)
        process.start()
        return process, time.monotonic()

    running: list[tuple[BaseProcess, float]] = []
    with _stopping(stop.set):
        try:
            running += [start() for _ in range(workers)]
            if on_ready is not None:
                on_ready()
            while not stop.is_set():
                wait([process.sentinel for process, _ in running], timeout=0.2)
                for at, (process, since) in enumerate(running):
                    if not process.is_alive() and not stop.is_set():
                        if time.monotonic() - since < 5:
                            raise WorkspaceError("server.worker-died", status=process.exitcode)
                        running[at] = start()
        finally:
            for process, _ in running:
                process.terminate()
            for process, _ in running:
                process.join(GRACE_SECONDS + 2)
                if process.is_alive():
                    process.kill()
                    process.join()


@contextmanager
def _stopping(stop: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM call ``stop`` and do nothing else, so that ``serve`` returns after a graceful end. In the main thread only."""

    def note(_number: int, _frame: FrameType | None) -> None:
        stop()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(TypeError, ValueError):
                signal.signal(number, handler)
