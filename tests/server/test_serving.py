"""The running server: sockets, processes, signals, and what goes on while it serves."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from server.app import create_app
from server.run import listen, url
from tests.server.conftest import BASE, BOX, FRAME, HARBOUR, TOWN, Client, Site
from tiling.archive import Archive, TilesetInfo
from tiling.builder import TileEntry
from tim.errors import UsageError, WorkspaceError

ROOT = Path(__file__).resolve().parents[2]
SERVE = (
    "import sys, logging; from pathlib import Path; from server.run import serve; from tim.workspace import Workspace;"
    "logging.basicConfig(level=logging.INFO);"
    "serve(Workspace.open(Path(sys.argv[1])), port=0, on_ready=lambda url: print(url, flush=True), **eval(sys.argv[2]));"
    "print('ended')"
)
TILE = f"/tiles/town/c/{hashlib.blake2b(TOWN, digest_size=32).hexdigest()}.glb"
ZIPPED = f"/tiles/harbour/c/{hashlib.blake2b(HARBOUR, digest_size=32).hexdigest()}.glb"
HIDDEN = f"/tiles/base/c/{hashlib.blake2b(BASE, digest_size=32).hexdigest()}.glb"


class Running:
    """A server process."""

    def __init__(self, site: Site, process: subprocess.Popen[str], base: str) -> None:
        self.site, self.process, self.base = site, process, base
        self.port = int(re.findall(r":(\d+)/", base)[0])

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def get(
        self, path: str, headers: dict[str, str] | None = None, method: str = "GET"
    ) -> tuple[int, dict[str, str], bytes]:
        connection = self.connection()
        try:
            return ask(connection, path, headers, method)
        finally:
            connection.close()

    def raw(self, data: bytes) -> bytes:
        """Send bytes, read until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as sock:
            sock.sendall(data)
            got = b""
            while more := sock.recv(1 << 16):
                got += more
            return got


def ask(
    connection: http.client.HTTPConnection, path: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    connection.request(method, path, headers=headers or {})
    answer = connection.getresponse()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


@contextmanager
def serving(site: Site, stop: bool = True, **options: Any) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(site.workspace.path), repr(options)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        encoding="utf-8", env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        base = process.stdout.readline().strip()
        assert base, process.communicate()[1]
        yield Running(site, process, base)
    finally:
        if process.poll() is None and stop:
            process.send_signal(signal.SIGTERM)
        with suppress(ValueError):
            process.communicate(timeout=30)


@pytest.fixture(scope="module")
def running(_made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    import shutil

    from tim.workspace import Workspace

    site = Site(Workspace.open(shutil.copytree(_made, tmp_path_factory.mktemp("running") / "ws")))
    site.keys.create("surveyor")
    with serving(site) as running:
        yield running


REQUESTS: list[tuple[str, dict[str, str], str]] = [
    (TILE, {}, "GET"), (TILE, {}, "HEAD"), (f"{TILE}?v=1", {}, "GET"), (TILE, {"If-None-Match": "*"}, "GET"), (TILE, {"Range": "bytes=4-9"}, "GET"),
    (TILE, {"Range": "bytes=999999-"}, "GET"), (ZIPPED, {"Accept-Encoding": "gzip"}, "GET"), (ZIPPED, {"Accept-Encoding": "identity"}, "GET"),
    ("/tiles/town/tileset.json", {"Accept-Encoding": "gzip"}, "GET"), ("/tiles/town/@1/tileset.json", {}, "GET"), ("/tiles/cloud/@1/t/1/1/1/1.glb", {"Accept-Encoding": "gzip"}, "GET"),
    ("/tiles/cloud/@1/s/0/0/0/0.subtree", {}, "GET"), ("/tiles/none/tileset.json", {}, "GET"), ("/tiles/town/x", {}, "GET"), (TILE, {}, "OPTIONS"), (TILE, {}, "DELETE"),
    (HIDDEN, {}, "GET"), (HIDDEN, {"X-API-Key": "wrong"}, "GET"), ("/tiles/town/%63/", {}, "GET"), (TILE.replace("/c/", "/%63/"), {}, "GET"), ("/api/collections/town", {}, "GET"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "headers", "method"), REQUESTS)
def test_the_short_cut_answers_as_the_application_does(
    running: Running, path: str, headers: dict[str, str], method: str
):
    from urllib.parse import unquote

    client = Client(create_app(running.site.workspace))
    try:
        straight = client.get(
            unquote(path), {"accept-encoding": "identity", **{k.lower(): v for k, v in headers.items()}}, method
        )
    finally:
        client.close()
    connection = running.connection()
    for _ in range(3):  # the first may come while the server looks at the archive, the others not
        status, found, body = ask(connection, path, headers, method)
        assert found.pop("date")
        assert (status, found) == (straight.status, straight.headers)
        assert body == (b"" if method == "HEAD" else straight.body)
    connection.close()


def test_the_short_cut_is_taken(client: Client):
    client.get("/tiles/town/tileset.json")
    client.app.catalog.fresh = 1000.0
    host = (b"host", b"x")
    for path in (TILE, f"{TILE}?v=1", "/tiles/town/tileset.json", "/tiles/cloud/@1/t/0/0/0/0.glb"):
        reply = client.app.instant(path.encode(), [host, (b"accept-encoding", b"gzip")])
        assert reply is not None
        assert reply.status == 200
    not_modified = client.app.instant(TILE.encode(), [(b"if-none-match", b"*")])
    assert not_modified is not None
    assert not_modified.status == 304


@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("/api", (b"a", b"b")), ("/", (b"a", b"b")), ("/s/x", (b"a", b"b")), ("http://other/tiles/town/tileset.json", (b"a", b"b")), (TILE, (b"content-length", b"3")),
        (TILE, (b"transfer-encoding", b"chunked")), (ZIPPED, (b"accept-encoding", b"br")), ("/tiles/none/tileset.json", (b"a", b"b")), (HIDDEN + "?token=x", (b"a", b"b")),
        (TILE, (b"range", b"bytes=99999999-")), ("/tiles/town/%74ileset.json", (b"a", b"b")),
    ],
)  # fmt: skip
def test_everything_else_goes_through_the_application(guarded: Client, path: str, header: tuple[bytes, bytes]):
    guarded.get("/tiles/town/tileset.json")
    guarded.app.catalog.fresh = 1000.0
    assert guarded.app.instant(path.encode(), [header]) is None


def test_signed_prefix_over_sockets(running: Running):
    prefix = running.site.keys.sign("surveyor", "base", days=1)
    for _ in range(3):
        status, headers, body = running.get(f"/{prefix}{HIDDEN}")
        assert (status, body) == (200, BASE)
        assert headers["cache-control"].startswith("private")
    assert running.get(HIDDEN)[0] == 401


def test_one_connection_for_everything(running: Running):
    """Short-cut answers and the framework's take turns on one connection."""
    connection = running.connection()
    for path in (TILE, "/api", TILE, TILE, "/healthz", "/tiles/town/tileset.json", "/tiles/town/none", TILE):
        status, _, body = ask(connection, path)
        assert status == (404 if "none" in path else 200)
        assert path != TILE or body == TOWN
    connection.close()


def test_pipelined_requests_are_answered_in_order(running: Running):
    def request(path: str, more: str = "") -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode()

    got = running.raw(
        request("/healthz")
        + request(TILE)
        + request("/tiles/town/none")
        + request(TILE)
        + request("/healthz", "Connection: close\r\n")
    )
    assert [m.decode() for m in re.findall(rb"HTTP/1.1 (\d+)", got)] == ["200", "200", "404", "200", "200"]
    assert got.index(b'"status":"ok"') < got.index(TOWN)
    assert got.count(TOWN) == 2


def test_a_request_with_a_body_does_not_confuse_the_next(running: Running):
    smuggled = b"GET /api/none HTTP/1.1\r\nHost: y\r\n\r\n"
    head = f"GET {TILE} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(smuggled)}\r\n\r\n".encode()
    got = running.raw(head + smuggled + f"GET {TILE} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert got.count(TOWN) == 2
    assert b"404" not in got.replace(TOWN, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET " + b"/" * 200_000 + b" HTTP/1.1\r\n\r\n", b"GET /tiles/\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /tiles/town/%00%ff%2e%2e/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"GET http:// HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET //tiles/town/tileset.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"GET /%c0%af..%c0%af HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ],
)  # fmt: skip
def test_hostile_bytes(running: Running, data: bytes):
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as sock:
        with suppress(OSError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        got = b""
        with suppress(OSError):
            while more := sock.recv(1 << 16):
                got += more
    assert not re.match(rb"HTTP/1.1 5", got), got[:300]
    assert running.get(TILE)[2] == TOWN


def test_idle_connections_are_closed_and_busy_ones_not(running: Running):
    """A short-cut answer does not set the idle timer, but counts."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as sock:
        request = f"GET {TILE} HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n".encode()
        for _ in range(8):
            sock.sendall(request)
            assert b"304" in sock.recv(4096)
            time.sleep(0.8)
        started = time.monotonic()
        assert sock.recv(10) == b""
        assert 2 < time.monotonic() - started < 8


def test_no_file_descriptors_leak(running: Running):
    fds = Path(f"/proc/{running.process.pid}/fd")
    if not fds.exists():
        pytest.skip("needs /proc")

    def count() -> int:
        return len(list(fds.iterdir()))

    def use() -> None:
        for path in (TILE, "/tiles/town/tileset.json", "/api/collections", "/tiles/none/x", "/", "/nothing"):
            running.get(path)
        with Archive(running.site.workspace.archive_root) as archive:
            archive.collect()

    for _ in range(3):
        use()
    time.sleep(0.3)
    before = count()
    for _ in range(15):
        use()
    time.sleep(0.5)
    assert count() <= before + 1


def test_ends_gracefully(site: Site):
    for number in (signal.SIGTERM, signal.SIGINT):
        with serving(site) as running:
            assert running.get(TILE)[0] == 200
            idle = running.connection()
            assert ask(idle, TILE)[0] == 200
            running.process.send_signal(number)
            out, err = running.process.communicate(timeout=20)
            assert running.process.returncode == 0, err
            assert "ended" in out
            assert "Traceback" not in err
            idle.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_told_to_stop_as_soon_as_it_is_ready(site: Site, workers: int):
    with serving(site, workers=workers) as running:
        running.process.send_signal(signal.SIGTERM)
        _, err = running.process.communicate(timeout=25)
        assert running.process.returncode == 0, err
        assert "Traceback" not in err


def test_prefix_in_the_url(site: Site):
    with serving(site, root_path="/gis") as running:
        assert running.base.endswith("/gis/")
        for _ in range(2):
            assert running.get("/gis" + TILE)[2] == TOWN
            assert running.get(TILE)[2] == TOWN
            assert running.get("/gisx" + TILE)[0] == 404


def test_more_workers(site: Site):
    with serving(site, workers=2) as running:
        assert {running.get(TILE)[2] for _ in range(6)} == {TOWN}
        running.process.send_signal(signal.SIGTERM)
        running.process.communicate(timeout=30)
        assert running.process.returncode == 0


def test_the_access_log_has_no_keys(secret_site: Site):
    key = secret_site.keys.create("surveyor")
    prefix = secret_site.keys.sign("surveyor", "base", days=1)
    with serving(secret_site, access_log=True) as running:
        assert running.get(f"{HIDDEN}?token={key}")[0] == 200
        assert running.get(f"/{prefix}{HIDDEN}")[0] == 200
        running.process.send_signal(signal.SIGTERM)
        log = running.process.communicate(timeout=20)[1]
    assert log.count(HIDDEN) == 2
    assert key not in log
    assert prefix.rpartition(".")[2] not in log


def test_rollback_and_collection_while_clients_stream(site: Site):
    """Publish, roll back and collect for some seconds while clients walk the tileset: no request fails, every byte is right."""
    stop = threading.Event()
    failures: list[str] = []
    requests = [0]

    def walk(running: Running) -> None:
        connection = running.connection()
        try:
            while not stop.is_set():
                status, _, page = ask(connection, "/tiles/town/tileset.json", {"Accept-Encoding": "gzip"})
                assert status == 200
                for uri in set(
                    re.findall(
                        rb'"uri":"(c/[0-9a-f]{64}\.glb)"', gzip.decompress(page) if page[:2] == b"\x1f\x8b" else page
                    )
                ):
                    status, headers, body = ask(connection, f"/tiles/town/{uri.decode()}", {"Accept-Encoding": "gzip"})
                    plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
                    assert status == 200, uri
                    assert hashlib.blake2b(plain, digest_size=32).hexdigest() == uri.decode()[2:-4]
                    requests[0] += 1
        except Exception as error:
            failures.append(repr(error))
        finally:
            connection.close()

    with serving(site) as running:
        threads = [threading.Thread(target=walk, args=(running,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        freed = 0
        end = time.monotonic() + 6
        turn = 0
        with Archive(site.workspace.archive_root) as archive:
            while time.monotonic() < end:
                turn += 1
                writer = archive.writer(f"turn-{turn}")
                refs = [writer.put(f"glTF {turn} {i} ".encode() * 800, compress=i % 2 == 0) for i in range(6)]
                archive.add(writer.close())
                tiles = [TileEntry(f"osgb/a/{i}#0", None, BOX, 0.0, "REPLACE", ref) for i, ref in enumerate(refs)]
                snapshot = archive.publish("town", tiles, TilesetInfo(FRAME, 1))
                if turn % 3 == 0:
                    archive.rollback("town", snapshot.seq - 1)
                freed += archive.collect(keep_snapshots=2, keep_seconds=1.5, grace_seconds=1.5).packs
                time.sleep(0.05)
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert freed > 0, "nothing was collected, so nothing was shown"
    assert requests[0] > 100


def test_port_in_use():
    with listen("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(WorkspaceError, match="--port") as error, listen("127.0.0.1", port):
            pass
        assert (error.value.code, error.value.fields["port"]) == ("server.port-in-use", port)
    with listen("127.0.0.1", port):
        pass


@pytest.mark.parametrize(
    ("host", "port"), [("no such host", 0), ("192.0.2.1", 0), ("127.0.0.1", 99999), ("a" * 300, 0)]
)
def test_addresses_that_are_not_ours(host: str, port: int):
    with pytest.raises(UsageError) as error, listen(host, port):
        pass
    assert error.value.code == "server.bad-host"


def test_urls():
    with listen("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        assert url(sock, "0.0.0.0") == url(sock, "127.0.0.1") == f"http://127.0.0.1:{port}/"
        assert url(sock, "::1", "gis/") == f"http://[::1]:{port}/gis/"
