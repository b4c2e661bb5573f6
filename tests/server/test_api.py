"""The API: links that hold anywhere, collections, OpenAPI, documentation, viewer files, errors."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from server.app import App, create_app
from server.errors import STATUS
from tests.server.conftest import TOWN, Client, Site
from tim.errors import TimError, catalogue

PAGES = [
    "/api",
    "/api/",
    "/api/conformance",
    "/api/collections",
    "/api/collections/town",
    "/api/collections/town/snapshots",
    "/api/viewer",
]


def links(document: Any) -> list[dict[str, str]]:
    if isinstance(document, dict):
        own = document.get("links", [])
        return own + [link for key, value in document.items() if key != "links" for link in links(value)]
    return [link for item in document for link in links(item)] if isinstance(document, list) else []


def test_landing(client: Client):
    found = {link["rel"] for link in client.get("/api").json["links"]}
    assert {
        "self",
        "service-desc",
        "service-doc",
        "conformance",
        "data",
        "http://www.opengis.net/def/rel/ogc/1.0/conformance",
        "http://www.opengis.net/def/rel/ogc/1.0/data",
    } <= found


def test_conformance_claims_are_known_classes(client: Client):
    classes = client.get("/api/conformance").json["conformsTo"]
    assert classes
    known = r"http://www\.opengis\.net/spec/(ogcapi-common-[12]|ogcapi-features-[1-5]|cql2)/1\.0/conf/[a-z0-9-]+"
    assert all(re.fullmatch(known, c) for c in classes)
    assert len(classes) == len(set(classes))


def test_collections(client: Client, site: Site):
    site.add_source("town", "a.osgb", (114.1, 30.2, -3.5, 114.2, 30.3, 80.0))
    site.add_source("town", "b.osgb", (114.15, 30.1, 0.0, 114.3, 30.25, 90.0))
    by_id = {c["id"]: c for c in client.get("/api/collections").json["collections"]}
    town, bare = by_id["town"], by_id["bare"]
    assert town["title"] == "滨海小镇"
    assert town["extent"]["spatial"] == {
        "bbox": [[114.1, 30.1, -3.5, 114.3, 30.3, 90.0]],
        "crs": "http://www.opengis.net/def/crs/OGC/0/CRS84h",
    }
    assert town["tim"]["kind"] == "meshes"
    assert town["tim"]["private"] is False
    assert town["tim"]["attributes"] == [{"title": "height", "name": "height", "minimum": 0, "maximum": 9}]
    assert town["tim"]["snapshot"]["seq"] == 1
    assert town["tim"]["snapshot"]["counts"] == {"triangles": 2}
    assert town["tim"]["snapshot"]["bytes"] == len(TOWN)
    assert town["tim"]["tileset"] == "tiles/town/tileset.json"
    assert bare["tim"]["snapshot"] is None
    assert "extent" not in bare
    assert {link["rel"] for link in bare["links"]} == {"self"}
    assert client.get("/api/collections/town").json["tim"] == town["tim"]


def test_snapshots_newest_first(client: Client, site: Site):
    site.publish("town", b"glTF other")
    found = client.get("/api/collections/town/snapshots").json["snapshots"]
    assert [s["seq"] for s in found] == [2, 1]
    assert [client.get("/" + s["tileset"]).status for s in found] == [200, 200]


@pytest.mark.parametrize("base", ["", "/gis", "/gis/3d"])
@pytest.mark.parametrize("strips", [True, False])
def test_links_hold_behind_gateways(site: Site, base: str, strips: bool):
    """A gateway serves us under a prefix and passes requests on with or without it: every link, as a browser resolves it, leads to a 200."""
    client = Client(create_app(site.workspace, root_path=base))
    seen: set[str] = set()

    def through_gateway(url: str) -> Any:
        path = urlsplit(url).path
        assert path == base or path.startswith(base + "/")
        assert urlsplit(url).netloc == "gis.example"
        forwarded = {
            "x-forwarded-host": "evil.example",
            "x-forwarded-proto": "ftp",
            "x-forwarded-prefix": "//evil.example",
            "forwarded": "host=evil.example",
            "host": "evil.example",
        }
        answer = client.get(path[len(base) :] if strips else path, forwarded)
        assert answer.status == 200, url
        assert b"evil" not in answer.body
        return answer

    try:
        for page in PAGES:
            url = "https://gis.example" + base + page
            for link in links(through_gateway(url).json):
                target = urljoin(url, link["href"])
                if target not in seen:
                    seen.add(target)
                    answer = through_gateway(target)
                    assert answer.headers["content-type"].split(";")[0] in (
                        link["type"].split(";")[0],
                        "application/json",
                    )
        assert f"https://gis.example{base}/tiles/town/tileset.json" in seen
    finally:
        client.close()


def test_the_prefix_itself_gets_its_slash(site: Site):
    client = Client(create_app(site.workspace, root_path="/gis/3d"))
    answer = client.get("/gis/3d")
    assert answer.status == 308
    assert urljoin("https://gis.example/gis/3d", answer.headers["location"]) == "https://gis.example/gis/3d/"
    client.close()


def test_head_on_the_api(client: Client):
    for page in (*PAGES, "/api/docs", "/healthz"):
        head = client.head(page)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == client.get(page).headers["content-length"]


def test_openapi_describes_every_path_and_is_valid(client: Client):
    document = client.get("/api/openapi.json").json
    assert document["openapi"].startswith("3.1")
    assert {"/api", "/api/collections", "/tiles/{dataset}/tileset.json", "/tiles/{dataset}/c/{hash}.glb"} <= set(
        document["paths"]
    )
    ids = [
        operation.get("operationId")
        for path in document["paths"].values()
        for operation in path.values()
        if "operationId" in operation
    ]
    assert len(ids) == len(set(ids))
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"]
            named = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))
            assert all("description" in answer for answer in operation["responses"].values())

    def refs(node: Any) -> list[str]:
        if isinstance(node, dict):
            return ([node["$ref"]] if "$ref" in node else []) + [r for v in node.values() for r in refs(v)]
        return [r for v in node for r in refs(v)] if isinstance(node, list) else []

    for ref in refs(document):
        node: Any = document
        for part in ref.removeprefix("#/").split("/"):
            node = node[part]
    assert (
        urljoin("https://gis.example/gis/api/openapi.json", document["servers"][0]["url"]).rstrip("/")
        == "https://gis.example/gis"
    )


class Addresses(HTMLParser):
    """All attributes a browser would fetch or follow."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.found += [
            value or "" for name, value in attrs if name in ("src", "href", "action", "data", "srcset", "poster")
        ]


def test_documentation_needs_nothing_from_elsewhere(client: Client):
    answer = client.get("/api/docs")
    text = answer.body.decode()
    page = Addresses()
    page.feed(text)
    assert page.scripts == 0
    assert not [a for a in page.found if urlsplit(a).netloc or urlsplit(a).scheme]
    assert "://" not in text
    assert "@import" not in text
    assert "/tiles/{dataset}/@{seq}/tileset.json" in text


def test_errors_have_one_shape(client: Client):
    for path, status, code in (
        ("/api/collections/none", 404, "server.no-dataset"), ("/api/none", 404, "server.no-path"), ("/none", 404, "server.no-path"),
        ("/basemap/none/0/0/0", 404, "server.no-base-map"), ("/basemap/none/a/0/0", 400, "server.bad-parameter"), ("/../keys.json", 404, "server.no-path"),
        ("/%2e%2e/keys.json", 404, "server.no-path"), ("/assets/../../app.py", 404, "server.no-path"),
    ):  # fmt: skip
        answer = client.get(path)
        assert (answer.status, answer.json["code"]) == (status, code), path
        assert set(answer.json) == {"code", "message", "fields"}
        assert set(answer.json["message"]) == {"en", "zh"}
        assert "{" not in answer.json["message"]["en"]
    assert client.get("/api/collections", method="POST").status == 405


def test_an_unexpected_failure_gets_a_number_and_no_traceback(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(*_: Any) -> Any:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("server.api._collection", fail)
    monkeypatch.setattr(type(client.app.catalog.archive), "content", fail)
    for path in ("/api/collections/town", f"/tiles/town/c/{'0' * 64}.glb"):
        caplog.clear()
        answer = client.get(path)
        assert (answer.status, answer.json["code"]) == (500, "server.internal")
        assert b"secret" not in answer.body
        assert answer.json["fields"]["id"] in caplog.text
        assert caplog.text.count("ZeroDivisionError: secret detail") == 1


def test_every_code_of_the_status_table_has_texts():
    for code in STATUS:
        if isinstance(code, str) and code.split(".")[0] in ("server", "access"):
            assert code.split(".", 1)[1] in catalogue(code.split(".")[0])


def test_message_catalogues_are_complete_and_used():
    source = "".join(p.read_text(encoding="utf-8") for p in (Path(__file__).parents[2] / "server").glob("*.py"))
    for room in ("server", "access"):
        for slug, entry in catalogue(room).items():
            assert set(entry) == {"en", "en_help", "zh", "zh_help"}, slug
            fields = [set(re.findall(r"{(\w+)}", entry[lang] + entry[f"{lang}_help"])) for lang in ("en", "zh")]
            assert fields[0] == fields[1], slug
            assert f'"{room}.{slug}"' in source, f"{room}.{slug} is never raised"
        used = set(re.findall(rf'"{room}\.([a-z-]+)"', source))
        assert used == set(catalogue(room))


@pytest.fixture
def built(site: Site, tmp_path: Path) -> Any:
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<title>viewer</title>", encoding="utf-8")
    (static / "assets" / "main-Ab12Cd34.js").write_text("1", encoding="utf-8")
    (static / "cesium").mkdir()
    (static / "cesium" / "worker.js").write_text("2", encoding="utf-8")
    client = Client(create_app(site.workspace, static=static))
    yield client
    client.close()


def test_viewer_files(built: Client):
    index = built.get("/")
    assert index.body == b"<title>viewer</title>"
    assert index.headers["cache-control"] == "no-cache"
    assert "default-src 'self'" in index.headers["content-security-policy"]
    assert index.headers["x-content-type-options"] == "nosniff"
    assert built.get("/", {"if-none-match": index.headers["etag"]}).status == 304
    assert "immutable" in built.get("/assets/main-Ab12Cd34.js").headers["cache-control"]
    worker = built.get("/cesium/worker.js")
    assert worker.headers["cache-control"] == "no-cache"
    assert "javascript" in worker.headers["content-type"]
    assert built.get("/cesium/none.js").status == 404
    assert built.head("/").status == 200


def test_the_policy_names_no_other_origin(built: Client):
    policy = built.get("/").headers["content-security-policy"]
    assert set(re.findall(r"[^ ;]*[:.][^ ;]*", policy)) <= {"data:", "blob:"}
    assert "'unsafe-eval'" not in policy


def test_without_a_build_the_page_says_what_to_do(site: Site, tmp_path: Path):
    client = Client(create_app(site.workspace, static=tmp_path))
    answer = client.get("/")
    assert answer.status == 404
    assert b"make setup" in answer.body
    assert "尚未构建" in answer.body.decode()
    assert client.get("/index.html").status == 404
    client.close()


def test_origins_can_be_narrowed(site: Site):
    client = Client(create_app(site.workspace, cors=["https://a.example"]))
    for path in ("/tiles/town/tileset.json", "/api/collections"):
        good = client.get(path, {"origin": "https://a.example"})
        assert good.headers["access-control-allow-origin"] == "https://a.example"
        assert "origin" in good.headers["vary"].lower()
        assert "access-control-allow-origin" not in client.get(path, {"origin": "https://b.example"}).headers
        assert "origin" in client.get(path).headers["vary"].lower()
    client.close()


def test_the_application_is_asgi(client: Client):
    assert isinstance(client.app, App)
    assert issubclass(TimError, Exception)
