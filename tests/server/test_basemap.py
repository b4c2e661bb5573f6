"""Base maps: settings, what the viewer learns of them, and what the server will and will not fetch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from server.app import create_app
from server.basemap import LARGEST, BaseMap, load_base_maps
from tests.server.conftest import Client, Site
from tim.errors import WorkspaceError

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"


class Source(BaseHTTPRequestHandler):
    """Somebody else's tile service."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        if "elsewhere" in self.path:
            self.send_response(302)
            self.send_header("Location", "http://localhost:1/secret")
            self.end_headers()
            return
        body = {"page": b"<html>login</html>", "huge": PNG + bytes(LARGEST)}.get(self.path.split("/")[1], PNG)
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Source.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Source)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def served(site: Site, *maps: BaseMap) -> Client:
    return Client(create_app(site.workspace, base_maps=maps))


def named(url: str, **more: object) -> BaseMap:
    return BaseMap("img", {"zh": "影像", "en": "Imagery"}, url, **more)  # type: ignore[arg-type]


def test_an_image_comes_through_and_the_key_stays(site: Site, source: str):
    client = served(site, named(source + "/wmts?m={z}&r={y}&c={x}&tk={key}", key="SECRET", scheme="wmts", min_zoom=1))
    answer = client.get("/basemap/img/3/5/2")
    assert (answer.status, answer.body) == (200, PNG)
    assert answer.headers["content-type"] == "image/png"
    assert "max-age" in answer.headers["cache-control"]
    assert Source.asked == ["/wmts?m=3&r=2&c=5&tk=SECRET"]
    viewer = client.get("/api/viewer")
    assert viewer.json["baseMaps"] == [
        {
            "id": "img",
            "title": {"zh": "影像", "en": "Imagery"},
            "url": "basemap/img/{z}/{x}/{y}",
            "minZoom": 1,
            "maxZoom": 18,
            "attribution": "",
            "scheme": "wmts",
        }
    ]
    assert b"SECRET" not in viewer.body
    client.close()


@pytest.mark.parametrize("path", ["0/0/0", "19/0/0", "3/8/0", "3/0/8", "3/-1/0", "-1/0/0", "99999999999/0/0"])
def test_only_places_of_the_pyramid(site: Site, source: str, path: str):
    client = served(site, named(source + "/{z}/{x}/{y}", min_zoom=1))
    assert client.get(f"/basemap/img/{path}").status in (400, 404)
    assert Source.asked == []
    client.close()


@pytest.mark.parametrize("path", ["1/0/a", "1/0/..", "1/0/0@evil.example", "1/0/1e3", "1.5/0/0", "1/0/%2e"])
def test_only_whole_numbers(site: Site, source: str, path: str):
    client = served(site, named(source + "/{z}/{x}/{y}"))
    assert client.get(f"/basemap/img/{path}").status in (400, 404)
    assert Source.asked == []
    client.close()


@pytest.mark.parametrize(("kind", "status"), [("page", 502), ("huge", 502), ("elsewhere", 502), ("missing", 404)])
def test_what_is_not_passed_on(site: Site, source: str, kind: str, status: int):
    client = served(site, named(source + f"/{kind}/{{z}}/{{x}}/{{y}}?tk={{key}}", key="SECRET"))
    answer = client.get("/basemap/img/1/0/0")
    assert answer.status == status
    assert b"SECRET" not in answer.body
    assert b"127.0.0.1" not in answer.body
    client.close()


def test_a_dead_source(site: Site):
    client = served(site, named("http://127.0.0.1:1/{z}/{x}/{y}"))
    assert client.get("/basemap/img/1/0/0").json["code"] == "server.base-map-failed"
    client.close()


def test_a_local_folder(site: Site, tmp_path: Path):
    (tmp_path / "1" / "0").mkdir(parents=True)
    (tmp_path / "1" / "0" / "1.png").write_bytes(PNG)
    client = served(site, named(f"file:{tmp_path}/{{z}}/{{x}}/{{-y}}.png"))
    assert client.get("/basemap/img/1/0/0").body == PNG
    assert client.get("/basemap/img/1/1/0").status == 404
    client.close()


def test_columns_in_degrees():
    c = named("http://t{s}.example/{z+1}/{x}/{y}", scheme="geographic", subdomains="0123")
    assert c.source(0, 1, 0) == "http://t1.example/1/1/0"


def test_settings_file(tmp_path: Path):
    path = tmp_path / "base-maps.toml"
    path.write_text(
        '[[base-map]]\nid="a"\ntitle="甲"\nurl="https://a.example/{z}/{x}/{y}"\nmax-zoom=9\n', encoding="utf-8"
    )
    (found,) = load_base_maps(path)
    assert (found.id, found.title, found.max_zoom) == ("a", {"zh": "甲", "en": "甲"}, 9)


@pytest.mark.parametrize(
    "text",
    [
        "nonsense", '[[base-map]]\nid="a"', '[[base-map]]\nurl="https://a/"', '[[base-map]]\nid="A b"\nurl="https://a/"', '[[base-map]]\nid="a"\nurl="gopher://a/"',
        '[[base-map]]\nid="a"\nurl="https://{x}.example/"', '[[base-map]]\nid="a"\nurl="https://a/"\ncolour=1', '[[base-map]]\nid="a"\nurl="https://a/"\nmax-zoom=99',
        '[[base-map]]\nid="a"\nurl="https://a/"\nscheme="x"', '[[base-map]]\nid="a"\nurl="https://a/"\n[[base-map]]\nid="a"\nurl="https://b/"', '[[base-map]]\nid="a"\nurl="https://a/"\nmax-zoom="9"',
        '[[base-map]]\nid="a"\nurl=5', "base-map=5",
    ],
)  # fmt: skip
def test_wrong_settings_are_refused_by_name(tmp_path: Path, text: str):
    path = tmp_path / "base-maps.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(WorkspaceError, match=r"base-maps\.toml") as error:
        load_base_maps(path)
    assert error.value.code.startswith("server.base-map")
