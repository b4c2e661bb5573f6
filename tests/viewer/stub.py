"""A stand-in for the server: the built viewer, the API's JSON and the sample tilesets, on a loopback port."""

from __future__ import annotations

import json
import mimetypes
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from pyproj import CRS, Transformer

from tests.viewer import objects, sample
from tests.viewer.objects import information

KEY = "s3cret"
IMAGE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="256" height="256"><path fill="#a33" d="M0 0h256v256H0z"/></svg>'
)
COLOURS = {"building.house": "#e3ddd1", "vegetation.tree": "#7c9f5b", "land.parcel": "#c9c3a4"}
Answer = tuple[int, str, bytes]
"""Status, content type and body."""


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
    objects: dict[str, dict[str, Any]] = field(default_factory=information)
    """What the API says about objects, by tim_id."""
    can_edit: bool = False
    sent: list[tuple[str, str, bytes]] = field(default_factory=list)
    """Target, content type and body of every model that was posted."""
    requests: list[str] = field(default_factory=list)
    """Path and query of every request, below the prefix."""
    url: str = ""

    def answer(self, target: str) -> Answer:
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
            return _json(
                {
                    "title": title,
                    "version": "0.0.0",
                    "baseMaps": self.base_maps,
                    "defaultLanguage": "zh",
                    "canEdit": self.can_edit,
                }
            )
        if path.startswith("api/"):
            return self._ask(path.removeprefix("api/"), {k: v[-1] for k, v in parse_qs(urlsplit(target).query).items()})
        if path.startswith("tiles/"):
            private = [c["id"] for c in self.collections if c["tim"]["private"]]
            if path.split("/")[1] in private and not keys:
                return _refusal(401, "server.key-needed", "This needs a key.", "需要密钥。")
            return _file(self.tiles / path.removeprefix("tiles/"))
        if path.startswith("basemap/"):
            return 200, "image/svg+xml", IMAGE
        return _file(self.static / (path or "index.html"))

    def _ask(self, path: str, asked: dict[str, str]) -> Answer:
        """Objects, search and coordinates."""
        if path.startswith("objects/"):
            found = self.objects.get(path.removeprefix("objects/"))
            return (
                _json(found)
                if found
                else _refusal(404, "server.object-unknown", "There is no such object.", "没有这个对象。")
            )
        if path.startswith("collections/") and path.endswith("/classes"):
            return _json({"classes": self._classes(path.split("/")[1])})
        if path == "search":
            return _json(
                {
                    "results": [
                        self._result(item, asked["q"]) for item in self.objects.values() if _matches(item, asked["q"])
                    ][:20]
                }
            )
        if path == "crs":
            known = [("EPSG:4547", CRS(4547).name), ("EPSG:4526", CRS(4526).name), ("EPSG:32650", CRS(32650).name)]
            words = asked["q"].lower().split()
            return _json(
                {"results": [{"code": c, "name": n} for c, n in known if all(w in f"{c} {n}".lower() for w in words)]}
            )
        if path == "coordinates":
            crs = CRS(asked["crs"])
            x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(float(asked["lon"]), float(asked["lat"]))
            h = float(asked["h"]) + (0 if asked["vertical"] == "ellipsoid" else float(asked["vertical"].rstrip("m")))
            return _json(
                {
                    "crs": asked["crs"],
                    "name": crs.name,
                    "x": x,
                    "y": y,
                    "h": h,
                    "axes": ["E", "N", "h"],
                    "units": ["m"] * 3,
                }
            )
        return _refusal(404, "server.not-found", "There is nothing here.", "此处没有内容。")

    def _classes(self, dataset: str) -> list[dict[str, Any]]:
        found = Counter(item["class"]["id"] for item in self.objects.values() if item["dataset"] == dataset)
        return [
            {**objects.CLASSES[kind], "count": count, "colour": COLOURS[kind]} for kind, count in sorted(found.items())
        ]

    def _result(self, item: dict[str, Any], text: str) -> dict[str, Any]:
        code = next((code["value"] for code in item["codes"] if text.lower() in code["value"].lower()), None)
        return {name: item[name] for name in ("id", "dataset", "name", "class", "bbox")} | {"code": code}

    def place(self, target: str, kind: str, body: bytes) -> Answer:
        """A model posted into a scheme: a new collection with one object."""
        self.sent.append((target.removeprefix(self.prefix), kind, body))
        asked = {k: v[-1] for k, v in parse_qs(urlsplit(target).query).items()}
        if "dryRun" in asked:
            return _json(_foreseen(*(float(asked[name]) for name in ("lon", "lat", "h"))))
        scenario, slug = unquote(urlsplit(target).path.split("/")[-2]), f"scheme-{len(self.sent)}"
        lon, lat, h = (float(asked[name]) for name in ("lon", "lat", "h"))
        objects.placed(self.tiles / slug, body, lon, lat, h)
        made = {**next(iter(self.objects.values())), "id": objects.object_id(slug), "dataset": slug, "name": asked["name"],
                "stage": "planned", "scenario": scenario, "relations": [], "class": objects.CLASSES["building.house"]}  # fmt: skip
        self.objects[made["id"]] = made
        self.collections.append(collection(slug, asked["name"], "objects", scenario=scenario))
        return _json({"id": made["id"], "dataset": slug}, 201)

    def remove(self, target: str) -> Answer:
        item = self.objects.pop(urlsplit(target).path.split("/")[-1])
        self.collections = [c for c in self.collections if c["id"] != item["dataset"]]
        return 204, "application/json", b""


def _foreseen(lon: float, lat: float, h: float) -> dict[str, Any]:
    """What a dry run says of a model: 40 m to the east, 20 m to the north, 15 m high."""
    north, east = 1 / 110_743, 1 / (111_320 * np.cos(np.radians(lat)))
    remark = {"en": "Two walls have no shape.", "zh": "两面墙没有几何。"}
    return {
        "objects": 12, "bbox": [lon, lat, h, lon + 40 * east, lat + 20 * north, h + 15], "fixed": False,
        "problems": [{"code": "ifc.no-shape", "count": 2, "message": remark}],
    }  # fmt: skip


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
            self.reply(stub.answer(self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.reply(stub.place(self.path, self.headers["Content-Type"], body))

        def do_DELETE(self) -> None:
            self.reply(stub.remove(self.path))

        def reply(self, answer: Answer) -> None:
            status, kind, body = answer
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


def _matches(item: dict[str, Any], text: str) -> bool:
    words = [item["name"] or "", *(code["value"] for code in item["codes"])]
    return any(text.lower() in word.lower() for word in words)


def _json(document: Any, status: int = 200) -> Answer:
    return status, "application/json", json.dumps(document, ensure_ascii=False).encode()


def _refusal(status: int, code: str, en: str, zh: str) -> Answer:
    return _json({"code": code, "message": {"en": en, "zh": zh}, "fields": {}}, status)


def _file(path: Path) -> Answer:
    if not path.is_file():
        return _refusal(404, "server.not-found", f"There is no {path.name}.", f"没有 {path.name}。")
    kind = {".glb": "model/gltf-binary", ".wasm": "application/wasm", ".js": "text/javascript"}.get(path.suffix)
    return 200, kind or mimetypes.guess_type(path.name)[0] or "application/octet-stream", path.read_bytes()
