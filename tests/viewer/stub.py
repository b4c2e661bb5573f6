"""A stand-in for the server: the built viewer, the API's JSON and the sample tilesets, on a loopback port."""

from __future__ import annotations

import json
import mimetypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.viewer import sample

KEY = "s3cret"
IMAGE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="256" height="256"><path fill="#a33" d="M0 0h256v256H0z"/></svg>'
)


@dataclass
class Stub:
    """What the stub serves and what it was asked; tests change it while it runs."""

    static: Path
    tiles: Path
    prefix: str = "/"
    collections: list[dict[str, Any]] = field(default_factory=list)
    base_maps: list[dict[str, Any]] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    """Paths below the prefix that answer 500."""
    requests: list[str] = field(default_factory=list)
    """Path and query of every request, below the prefix."""
    url: str = ""

    def answer(self, target: str) -> tuple[int, str, bytes]:
        """Status, content type and body for a path with query."""
        if not target.startswith(self.prefix):
            return _refusal(404, "server.not-found", "There is nothing here.", "此处没有内容。")
        target = target.removeprefix(self.prefix)
        self.requests.append(target)
        path, keys = urlsplit(target).path, parse_qs(urlsplit(target).query).get("token", [])
        if path in self.broken:
            return _refusal(500, "server.broken", "It broke.", "出了故障。")
        if keys and keys != [KEY]:
            return _refusal(401, "server.key-unknown", "This key is not known.", "密钥无效。")
        if path == "api/collections":
            return _json({"collections": self.collections})
        if path == "api/viewer":
            title = {"zh": "滨海新城国土空间信息模型", "en": "Coastal town territory model"}
            return _json({"title": title, "version": "0.0.0", "baseMaps": self.base_maps, "defaultLanguage": "zh"})
        if path.startswith("tiles/"):
            private = [c["id"] for c in self.collections if c["tim"]["private"]]
            if path.split("/")[1] in private and not keys:
                return _refusal(401, "server.key-needed", "This needs a key.", "需要密钥。")
            return _file(self.tiles / path.removeprefix("tiles/"))
        if path.startswith("basemap/"):
            return 200, "image/svg+xml", IMAGE
        return _file(self.static / (path or "index.html"))


def collection(name: str, title: str, kind: str, **tim: Any) -> dict[str, Any]:
    """One collection as the API gives it."""
    counts = {"points": 60_000} if kind == "points" else {"triangles": 66}
    snapshot = {
        "seq": 1,
        "hash": "5f0c" * 16,
        "created": "2026-11-21T08:00:00Z",
        "tiles": 2,
        "bytes": 1_340_000,
        "counts": counts,
    }
    attributes = [
        {"name": "rgb", "title": "rgb"},
        {"name": "classification", "title": "Class", "values": [2, 5, 6, 9]},
        {"name": "intensity", "title": "Intensity", "minimum": 0, "maximum": 2500},
    ]
    tim = {"kind": kind, "private": False, "snapshot": snapshot, "attributes": attributes if kind == "points" else [],
           "tileset": f"tiles/{name}/tileset.json", **tim}  # fmt: skip
    return {
        "id": name,
        "title": title,
        "description": "",
        "extent": {"spatial": {"bbox": [sample.BOX]}},
        "links": [],
        "tim": tim,
    }


@contextmanager
def serve(static: Path, tiles: Path, **changes: Any) -> Iterator[Stub]:
    """Run a stub with the town and the cloud on a free port."""
    stub = Stub(static, tiles, **changes)
    if not stub.collections:
        stub.collections = [collection("town", "城区倾斜摄影", "meshes"), collection("cloud", "山体机载点云", "points")]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, kind, body = stub.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A browser that closes a connection early is no news."""

    with Server(("127.0.0.1", 0), Handler) as server:
        stub.url = f"http://127.0.0.1:{server.server_port}{stub.prefix}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()


def _json(document: Any, status: int = 200) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps(document, ensure_ascii=False).encode()


def _refusal(status: int, code: str, en: str, zh: str) -> tuple[int, str, bytes]:
    return _json({"code": code, "message": {"en": en, "zh": zh}, "fields": {}}, status)


def _file(path: Path) -> tuple[int, str, bytes]:
    if not path.is_file():
        return _refusal(404, "server.not-found", f"There is no {path.name}.", f"没有 {path.name}。")
    kind = {".glb": "model/gltf-binary", ".wasm": "application/wasm", ".js": "text/javascript"}.get(path.suffix)
    return 200, kind or mimetypes.guess_type(path.name)[0] or "application/octet-stream", path.read_bytes()
