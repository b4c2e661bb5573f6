"""Observations over HTTP: made and filled by those who may, read by those who see the object, bad requests refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import pytest

from server.app import create_app
from tests.server.conftest import Answer, Client, Site
from tests.server.test_objects import Town, fill
from tim.workspace import Workspace

HERE = {"host": "127.0.0.1:8080", "content-type": "application/json"}
HOURS = [
    (datetime(2026, 11, 21, tzinfo=UTC) + timedelta(hours=i)).isoformat().replace("+00:00", "Z") for i in range(24)
]


@pytest.fixture
def town(tmp_path) -> Iterator[Town]:
    workspace = Workspace.create(tmp_path / "ws")
    fill(workspace, "houses", 2)
    fill(workspace, "secret", 2, private=True)
    client = Client(create_app(workspace, edit=True))
    client.app.catalog.fresh = 0.0
    yield Town(client, Site(workspace))
    client.close()


def send(
    town: Town, name: str, body: Any, method: str = "POST", key: str = "1", slug: str = "houses", **headers: str
) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    path = f"/api/objects/{town.id(key, slug)}/observations/{name}"
    return town.client.send(path, data, {**HERE, **headers}, method)


def read(town: Town, rest: str = "", key: str = "1") -> Answer:
    return town.client.get(f"/api/objects/{town.id(key)}/observations{rest}")


def test_a_series_is_made_filled_read_and_dropped(town: Town):
    assert read(town).json == {"object": town.id("1"), "series": []}
    made = send(town, "水位", {"unit": "m", "title": {"zh": "水位"}}, "PUT")
    assert (made.status, made.json["name"], made.json["count"]) == (200, "水位", 0)
    values: list[float | None] = [i / 10 for i in range(24)]
    values[5] = None
    assert send(town, "水位", {"times": HOURS, "values": values}).json == {"appended": 24}
    (series,) = read(town).json["series"]
    assert (series["count"], series["from"], series["to"]) == (24, HOURS[0], HOURS[-1])
    assert series["latest"] == {"time": HOURS[-1], "value": 2.3}
    found = town.client.get(f"/api/objects/{town.id('1')}/{unquote(series['href'])}").json
    assert (found["times"], found["values"], found["next"], found["unit"]) == (HOURS, values, None, "m")
    summed = read(town, "/水位?buckets=2&from=2026-11-21&to=2026-11-22").json
    assert summed["edges"] == [HOURS[0], HOURS[12], "2026-11-22T00:00:00Z"]
    assert (summed["count"], summed["min"], summed["last"]) == ([11, 12], [0.0, 1.2], [1.1, 2.3])
    assert summed["mean"][1] == pytest.approx(1.75)
    assert send(town, "水位", b"", "DELETE").status == 204
    assert read(town, "/水位").status == 404


def test_readings_are_paged_without_gap_or_repetition(town: Town):
    send(town, "level", {}, "PUT")
    later = [text.replace("00Z", "00.000250Z") for text in HOURS]
    send(town, "level", {"times": later, "values": list(range(24))})
    rest, seen = f"level?limit=5&to={later[-1]}", []
    while rest:
        page = read(town, f"/{rest}").json
        assert len(page["times"]) == len(page["values"]) <= 5
        seen += page["values"]
        rest = page["next"]
    assert seen == list(range(23)), "before the end that was given"


def test_booleans_links_and_zones(town: Town):
    send(town, "open", {"kind": "boolean"}, "PUT")
    times = ["2026-11-21T08:00:00+08:00", "2026-11-21T00:00:01Z", "2026-11-21T00:00:02Z"]
    assert send(town, "open", {"times": times, "values": [True, None, 0]}).status == 200
    assert read(town, "/open").json["values"] == [True, None, False]
    assert read(town, "/open").json["times"][0] == "2026-11-21T00:00:00Z"
    link = {"url": "https://sta.example/Datastreams(1)", "protocol": "sta"}
    assert send(town, "flow", {"link": link}, "PUT").json["link"] == link
    assert send(town, "flow", {"times": HOURS[:1], "values": [1]}).status == 409
    assert send(town, "open", {"kind": "number"}, "PUT").status == 409


def test_what_may_not_be_seen_is_not_there(town: Town):
    key = town.site.keys.create("reader", ["secret"])
    assert send(town, "level", {}, "PUT", slug="secret", **{"x-api-key": key}).status == 200
    hidden = f"/api/objects/{town.id('1', 'secret')}/observations"
    for path in (hidden, f"{hidden}/level", f"/api/objects/{uuid4()}/observations"):
        answer = town.client.get(path)
        assert (answer.status, answer.json["code"]) == (404, "server.no-object")
    assert send(town, "level", {"times": [], "values": []}, slug="secret").status == 404
    assert [s["name"] for s in town.client.get(hidden, {"x-api-key": key}).json["series"]] == ["level"]
    for path in (hidden, f"{hidden}/level"):
        assert b"level" not in town.client.get(path).body


def test_only_editors_write(town: Town):
    stranger = {"origin": "https://elsewhere.example"}
    send(town, "level", {}, "PUT")
    for body, method in (({}, "PUT"), ({"times": HOURS, "values": HOURS}, "POST"), ({}, "DELETE")):
        answer = send(town, "level", body, method, **stranger)
        assert (answer.status, answer.json["code"]) == (403, "access.not-editor")
    assert read(town, "/level").json["values"] == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "server.bad-parameter"),
        (b"[1]", "server.bad-parameter"),
        (b"\xff", "server.bad-parameter"),
        (b"[" * 100_000, "server.bad-parameter"),
        (b'{"times": ["2026-11-21T00:00:00Z"], "values": [NaN]}', "server.bad-parameter"),
        (b'{"times": ["2026-11-21T00:00:00Z"], "values": [1e999]}', "observations.values"),
        ({"times": HOURS[:1]}, "server.bad-parameter"),
        ({"times": HOURS[:1], "values": [1], "also": 1}, "server.bad-parameter"),
        ({"times": HOURS[:2], "values": [1]}, "observations.lengths"),
        ({"times": [5], "values": [1]}, "observations.times"),
        ({"times": ["2026-11-21T00:00:00"], "values": [1]}, "observations.times"),
        ({"times": ["2026-11-31T00:00:00Z"], "values": [1]}, "observations.times"),
        ({"times": ["0001-01-01T00:00:00+08:00"], "values": [1]}, "observations.times"),
        ({"times": HOURS[:1], "values": ["7"]}, "observations.values"),
        ({"times": HOURS[:1], "values": [[1]]}, "observations.values"),
        ({"times": HOURS[:2], "values": [1, "\ud800"]}, "observations.values"),
        ({"times": HOURS[:1], "values": [{}]}, "observations.values"),
    ],
)
def test_bad_readings_are_refused(town: Town, body: Any, code: str):
    send(town, "level", {}, "PUT")
    answer = send(town, "level", body)
    assert (answer.status, answer.json["code"]) == (400, code)
    assert answer.json["message"]["zh"]
    assert read(town, "/level").json["values"] == []


@pytest.mark.parametrize(
    "body",
    [{"unit": 5}, {"kind": "text"}, {"kind": []}, {"title": "x"}, {"title": {"fr": "x"}}, {"link": {"url": "x"}}, {"link": {"url": 1, "protocol": "sta"}},
     {"link": {"url": "https://a:b@x.example/", "protocol": "sta"}}, {"unit": "\ud800"}, {"other": 1}],
)  # fmt: skip
def test_bad_series_are_refused(town: Town, body: Any):
    answer = send(town, "level", body, "PUT")
    assert answer.status == 400
    assert read(town).json["series"] == []


@pytest.mark.parametrize(
    "query",
    ["from=yesterday", "to=2026-13-01", "from=2026-11-21T00:00:00", "from=0001-01-01T00:00:00%2B08:00", "limit=0", "limit=100001", "buckets=0",
     "buckets=10001", "from=2026-11-22&to=2026-11-21", "buckets=3&from=2026-11-22&to=2026-11-21"],
)  # fmt: skip
def test_bad_questions_are_refused(town: Town, query: str):
    send(town, "level", {}, "PUT")
    answer = read(town, f"/level?{query}")
    assert answer.status == 400
    assert answer.json["message"]["en"]


def test_too_much_at_once(town: Town):
    answer = send(town, "level", b"{}", **{"content-length": "900000000"})
    assert (answer.status, answer.json["code"]) == (413, "server.too-large")
    assert read(town, f"/{'a' * 3000}").status == 404
    assert read(town, "/%00").status == 404


def test_the_description_names_them(town: Town):
    paths = town.client.get("/api/openapi.json").json["paths"]
    described = paths["/api/objects/{tim_id}/observations/{name}"]
    assert {"get", "put", "post", "delete"} <= described.keys()
    assert described["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"].keys() == {
        "times",
        "values",
    }
