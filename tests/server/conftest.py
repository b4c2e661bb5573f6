"""A small workspace with archive, public and private datasets, and a client that speaks ASGI without sockets."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from server.access import Keys
from server.app import App, create_app
from tiling.archive import Archive, Snapshot, TilesetInfo
from tiling.builder import TileEntry
from tim.model import Dataset, dataset_uid
from tim.place import Datum, Frame, Height, Place
from tim.sources import Fingerprint, SourceRef
from tim.store import Changeset, PutSource
from tim.workspace import Workspace

FRAME = Frame(114.3, 30.5, 20.0, 2**-10)
INFO = TilesetInfo(FRAME, 1, asset_extras={"attributes": [{"name": "height", "minimum": 0, "maximum": 9}]})
BOX = (0.0, 0.0, 0.0, 50.0, 0.0, 0.0, 0.0, 50.0, 0.0, 0.0, 0.0, 10.0)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Sends requests into an application, one event loop for all of them, as a server would."""

    app: App
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def get(self, path: str, headers: dict[str, str] | None = None, method: str = "GET", root_path: str = "") -> Answer:
        return self.loop.run_until_complete(self.ask(path, headers, method, root_path))

    def send(self, path: str, body: bytes, headers: dict[str, str] | None = None, method: str = "POST") -> Answer:
        return self.loop.run_until_complete(self.ask(path, headers, method, body=body))

    def head(self, path: str, **headers: str) -> Answer:
        return self.get(path, headers, method="HEAD")

    async def ask(
        self, path: str, headers: dict[str, str] | None = None, method: str = "GET", root_path: str = "", body: bytes = b"",
    ) -> Answer:  # fmt: skip
        path, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode("utf-8", "replace"), "query_string": query.encode(), "root_path": root_path,
            "headers": [*([] if "host" in (headers or {}) else [(b"host", b"tiles.example")]), *((k.lower().encode(), v.encode("latin-1")) for k, v in (headers or {}).items())],
            "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 50000), "state": {},
        }  # fmt: skip
        sent: list[dict[str, Any]] = []

        requests = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> dict[str, Any]:
            if (message := next(requests, None)) is None:
                await asyncio.Event().wait()  # the client stays
            assert message is not None
            return message

        async def send(message: Any) -> None:
            sent.append(dict(message))

        await self.app(scope, receive, send)
        start, answer = sent[0], b"".join(bytes(message.get("body", b"")) for message in sent[1:])
        assert start["type"] == "http.response.start"
        assert not sent[-1].get("more_body", False)
        found: dict[str, str] = {}
        for name, value in start["headers"]:
            key, text = name.decode(), value.decode("latin-1")
            found[key] = f"{found[key]}, {text}" if key in found else text
        if method == "GET" and start["status"] not in (204, 304) and "content-length" in found:
            assert int(found["content-length"]) == len(answer)
        return Answer(start["status"], found, answer)

    def close(self) -> None:
        self.loop.run_until_complete(self.app.catalog.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@dataclass
class Site:
    """A workspace being served."""

    workspace: Workspace

    @property
    def keys(self) -> Keys:
        return Keys(self.workspace.path)

    def add(self, slug: str, *, private: bool = False, title: str = "") -> Dataset:
        dataset = Dataset(slug, title or slug, "meshes", dataset_uid(slug), FRAME, private)
        with self.workspace.store() as store:
            store.put_dataset(dataset)
        return dataset

    def add_source(self, slug: str, key: str, box: tuple[float, float, float, float, float, float]) -> None:
        place = Place("EPSG:4490", Height("ellipsoid", "ellipsoid"), Datum("equivalent", "CGCS2000 = WGS 84", 0.1))
        source = SourceRef("/data/" + key, "osgb", "meshes", key, place, Fingerprint(1, 1, "00"), box)
        with self.workspace.store() as store:
            store.apply(Changeset(slug, [PutSource(source)]))

    def publish(self, slug: str, payload: bytes, *, compress: bool = False) -> Snapshot:
        with Archive(self.workspace.archive_root) as archive:
            writer = archive.writer(f"{slug}-{len(payload)}-{hash(payload) & 0xFFFF}")
            ref = writer.put(payload, compress=compress)
            archive.add(writer.close())
            return archive.publish(
                slug, [TileEntry("osgb/a/a#0", None, BOX, 0.0, "REPLACE", ref, {"triangles": 2})], INFO
            )

    def publish_octree(self, slug: str, payload: bytes) -> Snapshot:
        with Archive(self.workspace.archive_root) as archive:
            writer = archive.writer(f"{slug}-octree")
            refs = [writer.put(payload + bytes([i]), compress=True) for i in range(3)]
            archive.add(writer.close())
            keys = ["oct/0/0/0/0", "oct/1/0/0/0", "oct/1/1/1/1"]
            tiles = [
                TileEntry(key, None if i == 0 else keys[0], BOX, 10.0 if i == 0 else 0.0, "ADD", ref)
                for i, (key, ref) in enumerate(zip(keys, refs, strict=True))
            ]
            return archive.publish(slug, tiles, TilesetInfo(FRAME, 1, "implicit-octree", "ADD", BOX, 100.0))


TOWN = b"glTF" + bytes(range(256)) * 40
BASE = b"glTF" + b"not for everybody" * 100
HARBOUR = b"glTF" + b"the harbour wall " * 600


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = Site(Workspace.create(tmp_path_factory.mktemp("site") / "ws"))
    site.add("town", title="滨海小镇")
    site.publish("town", TOWN)
    site.add("harbour")
    site.publish("harbour", HARBOUR, compress=True)
    site.add("cloud")
    site.publish_octree("cloud", b"glTF" + b"points" * 500)
    site.add("bare")
    site.add("base", private=True)
    site.publish("base", BASE)
    return site.workspace.path


@pytest.fixture
def secret_site(_made: Path, tmp_path: Path) -> Site:
    """With a private dataset ``base``."""
    return Site(Workspace.open(shutil.copytree(_made, tmp_path / "ws")))


@pytest.fixture
def site(secret_site: Site) -> Site:
    """All public: ``town`` (plain), ``harbour`` (gzip), ``cloud`` (implicit), ``bare`` (not tiled)."""
    secret_site.add("base")
    return secret_site


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    client = Client(create_app(site.workspace))
    client.app.catalog.fresh = 0.0
    yield client
    client.close()


@pytest.fixture
def guarded(secret_site: Site) -> Iterator[Client]:
    """Serves ``secret_site``."""
    client = Client(create_app(secret_site.workspace))
    client.app.catalog.fresh = 0.0
    yield client
    client.close()
