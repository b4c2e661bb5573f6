"""Who may see what: keys in four ways, signed prefixes, and what refusals give away."""

from __future__ import annotations

import hashlib
import json
import stat
import sys
import time
from typing import Any

import pytest

from server.access import Keys
from server.run import redact
from tests.server.conftest import BASE, TOWN, Client, Site
from tim.errors import AccessError, UsageError, WorkspaceError

TILE = f"/tiles/base/c/{hashlib.blake2b(BASE, digest_size=32).hexdigest()}.glb"
PAGE = "/tiles/base/tileset.json"


@pytest.fixture
def key(secret_site: Site) -> str:
    return secret_site.keys.create("surveyor", ["base"])


def ways(key: str) -> list[tuple[str, dict[str, str]]]:
    return [
        (TILE, {"authorization": f"Bearer {key}"}), (TILE, {"authorization": f"bearer  {key}"}), (TILE, {"x-api-key": key}),
        (f"{TILE}?token={key}", {}), (f"{TILE}?v=1&token={key}", {}),
    ]  # fmt: skip


def test_a_key_opens_in_every_way(guarded: Client, key: str):
    for path, headers in ways(key):
        answer = guarded.get(path, headers)
        assert (answer.status, answer.body) == (200, BASE)
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"


def test_a_signed_prefix_opens_and_relative_links_inherit_it(guarded: Client, secret_site: Site, key: str):
    prefix = "/" + secret_site.keys.sign("surveyor", "base", days=1)
    page = guarded.get(prefix + PAGE)
    assert page.headers["cache-control"] == "private, no-cache"
    uri = page.json["root"]["children"][0]["content"]["uri"]
    assert guarded.get(f"{prefix}/tiles/base/{uri}").body == BASE
    assert guarded.get(f"{prefix}/tiles/base/@1/tileset.json").headers["cache-control"].startswith("private, max-age")


def test_without_a_key_nothing_is_served(guarded: Client, key: str):
    for path in (TILE, PAGE, "/tiles/base/@1/tileset.json", "/api/collections/base", "/api/collections/base/snapshots"):
        answer = guarded.get(path)
        assert (answer.status, answer.json["code"]) == (401, "access.key-needed")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert "?token=" in answer.json["message"]["en"]
        assert guarded.get(path, {"if-none-match": "*"}).status == 401
        assert guarded.head(path).status == 401


def test_wrong_keys_open_nothing(guarded: Client, key: str):
    for wrong in (key[:-1], key + "x", key.upper(), "x", "tim__", "é", key.replace("_", "-")):
        for path, headers in ways(wrong):
            assert guarded.get(path, headers).status == 401
    for headers in (
        {"authorization": f"Basic {key}"},
        {"authorization": key},
        {"authorization": "Bearer"},
        {"cookie": f"token={key}"},
    ):
        assert guarded.get(TILE, headers).status == 401


def test_an_expired_key(guarded: Client, secret_site: Site):
    old = secret_site.keys.create("old", days=-1)
    for path, headers in ways(old):
        answer = guarded.get(path, headers)
        assert (answer.status, answer.json["code"]) == (401, "access.key-expired")


def test_a_key_expires_though_its_verdict_is_remembered(
    guarded: Client, secret_site: Site, key: str, monkeypatch: pytest.MonkeyPatch
):
    short = secret_site.keys.create("short", days=1)
    prefix = "/" + secret_site.keys.sign("surveyor", "base", days=1)
    assert guarded.get(f"{TILE}?token={short}").status == 200
    assert guarded.get(prefix + TILE).status == 200
    later = time.time() + 86401
    monkeypatch.setattr("server.access.time.time", lambda: later)
    assert guarded.get(f"{TILE}?token={short}").status == 401
    assert guarded.get(prefix + TILE).status == 401
    assert guarded.get(f"{TILE}?token={key}").status == 200


def test_a_revoked_key_and_its_links_die(guarded: Client, secret_site: Site, key: str):
    prefix = "/" + secret_site.keys.sign("surveyor", "base", days=1)
    assert guarded.get(prefix + TILE).status == guarded.get(f"{TILE}?token={key}").status == 200
    secret_site.keys.revoke("surveyor")
    assert guarded.get(f"{PAGE}?token={key}").status == 401, (
        "the live page waits for a look at the keys; the rest follows within a second"
    )
    assert guarded.get(prefix + TILE).status == guarded.get(f"{TILE}?token={key}").status == 401


def test_tampered_signatures(guarded: Client, secret_site: Site, key: str):
    secret_site.add("other", private=True)
    secret_site.publish("other", TOWN)
    everything = secret_site.keys.create("everything")
    assert everything
    prefix = secret_site.keys.sign("everything", "base", days=1)
    expires, key_id, signature = prefix.removeprefix("s/").split(".")
    other_id = next(r["id"] for r in secret_site.keys.records() if r["name"] == "surveyor")
    assert guarded.get(f"/{prefix}{TILE}").status == 200
    assert guarded.get(f"/{prefix}/tiles/other/tileset.json").status == 401, "a link opens one dataset"
    for forged in (
        f"{int(expires) + 1}.{key_id}.{signature}", f"0{expires}.{key_id}.{signature}", f"{expires}.{other_id}.{signature}", f"{expires}.{key_id}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
        f"{expires}.{key_id}.{signature}=", f"{expires}.{key_id}.", f"{expires}.{key_id}", ".." , f"{expires}.{key_id}.{signature}.x", f"٣.{key_id}.{signature}",
    ):  # fmt: skip
        assert guarded.get(f"/s/{forged}{TILE}").status in (401, 404), forged
        assert guarded.get(f"/s/{forged}{TILE}?token={key}").status in (401, 404), "a link is judged as such"


def test_an_expired_link(guarded: Client, secret_site: Site, key: str):
    prefix = secret_site.keys.sign("surveyor", "base", days=-1)
    answer = guarded.get(f"/{prefix}{TILE}")
    assert (answer.status, answer.json["code"]) == (401, "access.key-expired")


def test_a_link_never_outlives_its_key(secret_site: Site):
    secret_site.keys.create("short", ["base"], days=1)
    expires = int(secret_site.keys.sign("short", "base", days=100).removeprefix("s/").split(".")[0])
    assert expires <= time.time() + 86400
    with pytest.raises(AccessError, match="town"):
        secret_site.keys.sign("short", "town")


def without_name(answer: Any) -> tuple[int, str, dict[str, str]]:
    text = answer.body.decode().replace("nowhere", "NAME").replace("base", "NAME")
    headers = {k: v for k, v in answer.headers.items() if k != "content-length"}
    return answer.status, text, headers


@pytest.mark.parametrize(
    "path",
    [
        "/tiles/{}/tileset.json",
        "/tiles/{}/@1/tileset.json",
        f"/tiles/{{}}/c/{'0' * 64}.glb",
        "/api/collections/{}",
        "/api/collections/{}/snapshots",
    ],
)
@pytest.mark.parametrize("who", ["nobody", "wrong", "narrow"])
def test_a_private_dataset_looks_like_none(guarded: Client, secret_site: Site, path: str, who: str):
    narrow = secret_site.keys.create("narrow", ["town"])
    headers: dict[str, str] = {"nobody": {}, "wrong": {"x-api-key": "wrong"}, "narrow": {"x-api-key": narrow}}[who]
    hidden, missing = guarded.get(path.format("base"), headers), guarded.get(path.format("nowhere"), headers)
    assert without_name(hidden) == without_name(missing)
    assert hidden.status == (403 if who == "narrow" else 401)


def test_a_key_for_everything_sees_what_is_missing(guarded: Client, secret_site: Site):
    key = secret_site.keys.create("all")
    assert guarded.get(f"/tiles/nowhere/tileset.json?token={key}").status == 404


def test_public_data_need_no_key_and_take_any(guarded: Client, key: str):
    for query in ("", "?token=wrong", f"?token={key}"):
        answer = guarded.get("/tiles/town/tileset.json" + query)
        assert answer.status == 200
        assert answer.headers["cache-control"] == "no-cache"


def test_listing_shows_what_the_key_opens(guarded: Client, secret_site: Site, key: str):
    def listed(query: str) -> set[str]:
        return {c["id"] for c in guarded.get("/api/collections" + query).json["collections"]}

    public = {"town", "harbour", "cloud", "bare"}
    assert listed("") == public
    assert listed("?token=wrong") == public
    assert listed(f"?token={key}") == public | {"base"}
    answer = guarded.get(f"/api/collections?token={key}")
    assert answer.headers["cache-control"] == "private, no-cache"
    assert next(c for c in answer.json["collections"] if c["id"] == "base")["tim"]["private"] is True


def test_becoming_private_takes_effect(client: Client, site: Site):
    assert client.get("/tiles/town/tileset.json").status == 200
    site.add("town", private=True)
    assert client.get("/tiles/town/tileset.json").status == 401


def test_the_file_holds_no_key_and_is_the_owners(secret_site: Site, key: str):
    text = secret_site.keys.path.read_text(encoding="utf-8")
    assert key not in text
    assert key.rpartition("_")[2] not in text
    if sys.platform != "win32":
        assert stat.S_IMODE(secret_site.keys.path.stat().st_mode) == 0o600
    assert key not in json.dumps(secret_site.keys.records())
    assert "signing" not in secret_site.keys.records()[0]


def test_names(secret_site: Site, key: str):
    with pytest.raises(UsageError, match="surveyor"):
        secret_site.keys.create("surveyor")
    with pytest.raises(UsageError, match="surveyor"):
        secret_site.keys.revoke("nobody")
    secret_site.keys.revoke("surveyor")
    assert secret_site.keys.records() == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"version": 1}',
        '{"version": 1, "keys": [{}]}',
        '{"version": 9, "keys": []}',
        '{"version": 1, "keys": 5}',
    ],
)
def test_a_broken_key_file_opens_nothing(guarded: Client, secret_site: Site, key: str, text: str):
    assert guarded.get(f"{TILE}?token={key}").status == 200
    secret_site.keys.path.write_text(text, encoding="utf-8")
    with pytest.raises(WorkspaceError):
        Keys(secret_site.workspace.path).load()
    fresh = Client(type(guarded.app)(guarded.app.catalog, guarded.app._api), guarded.loop)
    assert fresh.get(TILE).status == 401
    assert fresh.get("/tiles/town/tileset.json").status == 200, "public data stay public"


def test_keys_are_not_logged():
    assert redact("GET /tiles/a/tileset.json?v=1&token=tim_1_abc&w=2") == "GET /tiles/a/tileset.json?v=1&token=***&w=2"
    assert redact("/gis/s/1799999999.abcd1234.QUJD-_x/tiles/a/b") == "/gis/s/***/tiles/a/b"
    assert redact("/tiles/s/t") == "/tiles/s/t"
