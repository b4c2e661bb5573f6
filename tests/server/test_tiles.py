"""The tile path: names, codings, conditions, ranges, caching, hostile paths."""

from __future__ import annotations

import gzip
import hashlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.conftest import HARBOUR, TOWN, Client, Site
from tiling.archive import Archive

GZIP = {"accept-encoding": "gzip, deflate, br"}
FOREVER = "max-age=31536000, immutable"


def name(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def test_content_by_hash(client: Client):
    answer = client.get(f"/tiles/town/c/{name(TOWN)}.glb")
    assert (answer.status, answer.body) == (200, TOWN)
    assert answer.headers["content-type"] == "model/gltf-binary"
    assert answer.headers["cache-control"] == f"public, {FOREVER}"
    assert answer.headers["etag"] == f'"{name(TOWN)}"'
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "ETag" in answer.headers["access-control-expose-headers"]
    assert "content-encoding" not in answer.headers


def test_every_link_of_an_explicit_tileset_leads_somewhere(client: Client):
    for root in ("/tiles/town/", "/tiles/town/@1/"):
        page = client.get(root + "tileset.json")
        assert page.headers["content-type"] == "application/json"
        uri = page.json["root"]["children"][0]["content"]["uri"]
        path = (root + uri).replace("@1/../", "")
        assert client.get(path).body == TOWN


def test_every_link_of_an_implicit_tileset_leads_somewhere(client: Client):
    live, frozen = client.get("/tiles/cloud/tileset.json"), client.get("/tiles/cloud/@1/tileset.json")
    for root, page in (("/tiles/cloud/", live), ("/tiles/cloud/@1/", frozen)):
        for level, x, y, z in ((0, 0, 0, 0), (1, 0, 0, 0), (1, 1, 1, 1)):
            uri = page.json["root"]["content"]["uri"].format(level=level, x=x, y=y, z=z)
            answer = client.get(root + uri, GZIP)
            assert answer.status == 200
            assert gzip.decompress(answer.body).startswith(b"glTFpoints")
            assert answer.headers["cache-control"] == f"public, {FOREVER}"
        uri = page.json["root"]["implicitTiling"]["subtrees"]["uri"].format(level=0, x=0, y=0, z=0)
        subtree = client.get(root + uri)
        assert subtree.body[:4] == b"subt"
        assert subtree.headers["content-type"] == "application/octet-stream"
    assert client.get("/tiles/cloud/@1/t/1/1/0/0.glb").status == 404
    assert client.get("/tiles/cloud/@2/t/0/0/0/0.glb").status == 404


def test_the_live_page_is_revalidated_and_the_frozen_one_is_not(client: Client):
    live, frozen = client.get("/tiles/town/tileset.json"), client.get("/tiles/town/@1/tileset.json")
    assert live.headers["cache-control"] == "no-cache"
    assert frozen.headers["cache-control"] == f"public, {FOREVER}"
    again = client.get("/tiles/town/tileset.json", {"if-none-match": live.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == live.headers["etag"]
    assert again.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ('"{}"', 304), ('W/"{}"', 304), ('"a", "{}"', 304), ('"a",W/"b" , "{}.gzip"', 304), ("*", 304),
        ('"{}x"', 200), ("{}", 200), ("", 200), ('"', 200), ('W/"', 200), ('"a", "b"', 200),
    ],
)  # fmt: skip
@pytest.mark.parametrize("data", [TOWN, HARBOUR])
def test_if_none_match(client: Client, condition: str, status: int, data: bytes):
    dataset = "town" if data is TOWN else "harbour"
    answer = client.get(f"/tiles/{dataset}/c/{name(data)}.glb", {"if-none-match": condition.format(name(data)), **GZIP})
    assert answer.status == status
    assert (answer.body == b"") == (status == 304)


def test_unknown_content_is_not_confirmed(client: Client):
    assert client.get(f"/tiles/town/c/{'0' * 64}.glb", {"if-none-match": "*"}).status == 404


def test_stored_gzip_goes_out_as_it_is(client: Client):
    answer = client.get(f"/tiles/harbour/c/{name(HARBOUR)}.glb", GZIP)
    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.body) < len(HARBOUR)
    assert gzip.decompress(answer.body) == HARBOUR
    assert answer.headers["vary"] == "accept-encoding"


@pytest.mark.parametrize(
    "accepted", [None, "identity", "br", "gzip;q=0", "gzip; q=0.000, *;q=1", "*;q=0", "gzip;q=7", "deflate,br;q=1"]
)
def test_clients_without_gzip_get_it_unpacked(client: Client, accepted: str | None):
    headers = {} if accepted is None else {"accept-encoding": accepted}
    plain = client.get(f"/tiles/harbour/c/{name(HARBOUR)}.glb", headers)
    assert plain.body == HARBOUR
    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == "accept-encoding"
    zipped = client.get(f"/tiles/harbour/c/{name(HARBOUR)}.glb", GZIP)
    assert plain.headers["etag"] != zipped.headers["etag"], (
        "different bytes need different entity tags (RFC 9110 §8.8.3)"
    )


@pytest.mark.parametrize("accepted", ["gzip", "GZIP", "br, gzip;q=0.1", "*", "x-gzip", "deflate , gzip ; q=1.0"])
def test_clients_with_gzip_get_it(client: Client, accepted: str):
    assert (
        client.get(f"/tiles/harbour/c/{name(HARBOUR)}.glb", {"accept-encoding": accepted}).headers["content-encoding"]
        == "gzip"
    )


def test_head(client: Client):
    for path in (f"/tiles/town/c/{name(TOWN)}.glb", "/tiles/town/tileset.json"):
        get, head = client.get(path, GZIP), client.get(path, GZIP, method="HEAD")
        assert head.status == 200
        assert head.headers == get.headers


@pytest.mark.parametrize(
    ("asked", "part"),
    [("bytes=0-0", slice(0, 1)), ("bytes=4-99", slice(4, 100)), ("bytes=10000-", slice(10000, None)), ("bytes=-6", slice(-6, None)), ("bytes=9-99999", slice(9, None)), ("bytes=-99999", slice(0, None))],
)  # fmt: skip
def test_ranges(client: Client, asked: str, part: slice):
    answer = client.get(f"/tiles/town/c/{name(TOWN)}.glb", {"range": asked})
    start, stop, _ = part.indices(len(TOWN))
    assert (answer.status, answer.body) == (206, TOWN[part])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(TOWN)}"
    assert answer.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize("asked", ["bytes=99999-", "bytes=-0"])
def test_ranges_outside(client: Client, asked: str):
    answer = client.get(f"/tiles/town/c/{name(TOWN)}.glb", {"range": asked})
    assert answer.status == 416
    assert answer.headers["content-range"] == f"bytes */{len(TOWN)}"
    assert answer.json["code"] == "server.range"


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b", "bytes=-", "", "bytes=²-3"])
def test_ranges_that_are_ignored(client: Client, asked: str):
    answer = client.get(f"/tiles/town/c/{name(TOWN)}.glb", {"range": asked})
    assert (answer.status, answer.body) == (200, TOWN)


def test_if_range(client: Client):
    path, tag = f"/tiles/town/c/{name(TOWN)}.glb", f'"{name(TOWN)}"'
    assert client.get(path, {"range": "bytes=0-9", "if-range": tag}).status == 206
    assert client.get(path, {"range": "bytes=0-9", "if-range": f"W/{tag}"}).status == 200
    assert client.get(path, {"range": "bytes=0-9", "if-range": '"other"'}).status == 200


def test_stored_gzip_has_no_ranges(client: Client):
    assert client.get(f"/tiles/harbour/c/{name(HARBOUR)}.glb", {"range": "bytes=0-9", **GZIP}).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_other_methods(client: Client, method: str):
    answer = client.get("/tiles/town/tileset.json", method=method)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert answer.json["code"] == "server.method"


def test_preflight(client: Client):
    answer = client.get(
        "/tiles/town/tileset.json",
        {"origin": "https://a.example", "access-control-request-headers": "authorization"},
        method="OPTIONS",
    )
    assert answer.status == 204
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "path",
    [
        "/tiles/", "/tiles/town", "/tiles/town/", "/tiles/none/tileset.json", "/tiles/town/c/", "/tiles/town/c/abc.glb", "/tiles/town/p/abc.json",
        "/tiles/town/../../keys.json", "/tiles/../keys.json", "/tiles/town/c/../../../keys.json", "/tiles/town/\0", "/tiles/town/c/\udcff.glb",
        "/tiles/城市/tileset.json", "/tiles/town/@/tileset.json", "/tiles/town/@x/tileset.json", "/tiles/town/@9/tileset.json",
        "/tiles/town/@99999999999999999999/tileset.json", "/tiles/town/@-1/tileset.json", "/tiles/town/@１/tileset.json",
        "/tiles/cloud/t/0/0/0/0.glb", "/tiles/cloud/@1/t/0/0/0.glb", "/tiles/cloud/@1/t/99/9999999999/0/0.glb", "/tiles/cloud/@1/s/0/0/0/1.subtree",
        "/tiles//tileset.json", "/tiles/town//tileset.json", "/tiles/TOWN/tileset.json", "/tiles/town/tileset.json/", "/tiles/" + "a" * 100_000,
        "/tiles/town/c/" + "A" * 64 + ".glb", "/s/", "/s/x", "/s/x/tiles/", "/s/x/api", "/tilesets",
    ],
)  # fmt: skip
def test_nothing_there(client: Client, path: str):
    answer = client.get(path)
    assert answer.status == 404
    assert answer.json["code"].startswith("server.no-")
    assert set(answer.json["message"]) == {"en", "zh"}
    assert answer.headers["cache-control"] == "no-store"
    assert len(answer.body) < 2000


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(
    path=st.one_of(st.text(), st.sampled_from(["/tiles/town/", "/tiles/cloud/@1/", "/s/1.abcdefgh." + "x" * 43 + "/tiles/town/", "/api/collections/"]).flatmap(lambda p: st.text(max_size=80).map(lambda t: p + t))),
    headers=st.dictionaries(
        st.sampled_from(["if-none-match", "range", "if-range", "accept-encoding", "authorization", "x-api-key", "origin"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60),
    ),
)  # fmt: skip
def test_nothing_a_client_sends_makes_the_server_fail(client: Client, path: str, headers: dict[str, str]):
    assert client.get("/" + path.lstrip("/"), headers).status < 500


def test_a_new_snapshot_is_seen_and_the_old_one_stays(client: Client, site: Site):
    before = client.get("/tiles/town/tileset.json")
    client.app.catalog.fresh = 1000.0
    site.publish("town", b"glTF rebuilt")
    assert client.get("/tiles/town/tileset.json").headers["etag"] == before.headers["etag"], "not looked again yet"
    assert client.get(f"/tiles/town/c/{name(b'glTF rebuilt')}.glb").status == 200, (
        "what is missed is looked for at once"
    )
    client.app.catalog.fresh = 0.0
    after = client.get("/tiles/town/tileset.json", {"if-none-match": before.headers["etag"]})
    assert after.status == 200
    assert name(b"glTF rebuilt") in after.body.decode()
    assert (
        client.get("/tiles/town/@1/tileset.json")
        .json["root"]["children"][0]["content"]["uri"]
        .endswith(f"{name(TOWN)}.glb")
    )
    assert client.get(f"/tiles/town/c/{name(TOWN)}.glb").status == 200


def test_a_dataset_made_later_is_seen(client: Client, site: Site):
    client.app.catalog.fresh = 1000.0
    assert client.get("/tiles/quay/tileset.json").json["code"] == "server.no-dataset"
    site.add("quay")
    site.publish("quay", TOWN)
    assert client.get("/tiles/quay/tileset.json").status == 200


def test_a_dataset_without_tiles_says_how_to_make_them(client: Client):
    answer = client.get("/tiles/bare/tileset.json")
    assert (answer.status, answer.json["code"]) == (404, "server.no-tiles")
    assert "tim tile bare" in answer.json["message"]["en"]


def test_a_dataset_the_store_does_not_know_is_not_served(client: Client, site: Site):
    """Default-deny: without a record nobody said that it is public."""
    with Archive(site.workspace.archive_root) as archive:
        archive.publish("ghost", list(archive.tiles("town")), archive.info("town"))
    assert client.get("/tiles/ghost/tileset.json").status == 404


def test_a_damaged_pack_is_an_error_with_a_number(client: Client, site: Site):
    for pack in (site.workspace.archive_root / "packs").glob("*.pack"):
        pack.unlink()
    answer = client.get(f"/tiles/town/c/{name(TOWN)}.glb")
    assert (answer.status, answer.json["code"]) == (500, "server.internal")
    assert str(site.workspace.path) not in json.dumps(answer.json)
