"""Schemes: placed by those who may, shown as a dataset of their scenario, taken away again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from pyproj import Transformer

from server.app import create_app
from tests.importers.glb.test_glb import box_document, packed
from tests.importers.ifc.houses import WIDTH, house
from tests.server.conftest import Client, Site
from tiling.spec.glb import parse
from tim.workspace import Workspace

GLB = packed(*box_document())
HERE = {"host": "127.0.0.1:8080", "content-type": "model/gltf-binary"}
WHERE = "lon=114.3&lat=30.5&h=21&heading=30&scale=2"


@pytest.fixture
def open_client(tmp_path: Path) -> Iterator[Client]:
    client = Client(create_app(Workspace.create(tmp_path / "ws"), edit=True))
    client.app.catalog.fresh = 0.0
    yield client
    client.close()


def place(client: Client, scenario: str = "plan-a", name: str = "方案一", body: bytes = GLB, **headers: str):
    return client.send(f"/api/scenarios/{scenario}/models?name={quote(name)}&{WHERE}", body, {**HERE, **headers})


def test_place_look_remove(open_client: Client):
    made = place(open_client).json
    found = open_client.get(f"/api/objects/{made['id']}").json
    assert (found["name"], found["scenario"], found["stage"], found["class"]["id"]) == (
        "方案一",
        "plan-a",
        "planned",
        "planning.scheme",
    )
    (collection,) = open_client.get("/api/collections").json["collections"]
    assert (collection["id"], collection["tim"]["scenario"]) == (made["dataset"], "plan-a")
    assert collection["tim"]["snapshot"]["counts"]["objects"] == 1
    page = open_client.get(f"/tiles/{made['dataset']}/tileset.json").json
    uri = page["root"]["children"][0]["content"]["uri"]
    content = parse(open_client.get(f"/tiles/{made['dataset']}/{uri}", {"accept-encoding": "identity"}).body)
    assert "EXT_instance_features" in content.json["extensionsUsed"]
    again = place(open_client, name="方案二").json
    assert again["id"] != made["id"]
    assert again["dataset"] == made["dataset"]
    assert open_client.get(f"/api/collections/{made['dataset']}").json["tim"]["snapshot"]["counts"]["objects"] == 2
    for left, one in ((1, made), (0, again)):
        assert open_client.send(f"/api/objects/{one['id']}", b"", HERE, "DELETE").status == 204
        snapshot = open_client.get(f"/api/collections/{made['dataset']}").json["tim"]["snapshot"]
        assert (snapshot["counts"]["objects"] if snapshot else 0) == left
        assert open_client.get(f"/api/objects/{one['id']}").status == 404
    assert open_client.send(f"/api/objects/{made['id']}", b"", HERE, "DELETE").status == 404


def test_scenarios_are_apart(open_client: Client):
    one, two = place(open_client, "plan-a").json, place(open_client, "方案乙").json
    assert one["dataset"] != two["dataset"]
    by_id = {c["id"]: c["tim"]["scenario"] for c in open_client.get("/api/collections").json["collections"]}
    assert by_id == {one["dataset"]: "plan-a", two["dataset"]: "方案乙"}


def test_pages_of_other_sites_may_not(open_client: Client):
    """A browser says which page asks; a name of somebody else's that points here is no address of this machine."""
    assert place(open_client, origin="https://evil.example").status == 403
    assert place(open_client, host="evil.example", origin="http://evil.example").status == 403
    assert place(open_client, origin="http://127.0.0.1:8080").status == 201


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 415), (b"PK\x03\x04zip", 415), (b"glTF" + bytes(40), 422), (packed({"asset": {"version": "1.0"}}), 422)],
)
def test_bad_models_are_refused_and_leave_nothing(open_client: Client, body: bytes, status: int):
    answer = place(open_client, body=body)
    assert answer.status == status, answer.body
    assert answer.json["message"]["zh"]
    assert open_client.get("/api/collections").json["collections"] == []


@pytest.mark.parametrize("scenario", [" ", "a" * 61, "line\nbreak"])
def test_bad_names(open_client: Client, scenario: str):
    assert place(open_client, scenario).status == 400


def test_a_model_that_is_too_large(open_client: Client):
    answer = open_client.send(
        f"/api/scenarios/a/models?name=x&{WHERE}", b"glTF", {**HERE, "content-length": "900000000"}
    )
    assert (answer.status, answer.json["code"]) == (413, "server.too-large")


def foresee(client: Client, body: bytes, heading: float = 0.0, scale: float = 1.0):
    asked = f"name=house&lon=114.3&lat=30.5&h=21&heading={heading}&scale={scale}&dryRun=true"
    answer = client.send(f"/api/scenarios/plan-a/models?{asked}", body, HERE)
    assert answer.status == 200
    return answer.json


def metres(bbox: list[float]) -> np.ndarray:
    """East, north and up of the place, lowest and highest."""
    corners = Transformer.from_crs(4979, 4978, always_xy=True).transform(*np.array(bbox).reshape(2, 3).T)
    local = "+proj=topocentric +ellps=WGS84 +lon_0=114.3 +lat_0=30.5 +h_0=21"
    return np.column_stack(Transformer.from_pipeline(local).transform(*corners))


def test_a_dry_run_tells_what_would_stand_where_and_leaves_no_trace(open_client: Client):
    pytest.importorskip("ifcopenshell")
    body = house().encode()
    told = foresee(open_client, body)
    assert (told["dataset"], told["fixed"]) == ("scheme-plan-a", False)
    assert open_client.get("/api/collections").json["collections"] == []
    low, high = metres(told["bbox"])
    assert (high - low)[0] >= WIDTH - 0.01
    turned = metres(foresee(open_client, body, heading=90, scale=2)["bbox"])
    # A right angle clockwise: east becomes south.
    assert turned[:, 0] == pytest.approx([2 * low[1], 2 * high[1]], abs=0.02)
    assert turned[:, 1] == pytest.approx([-2 * high[0], -2 * low[0]], abs=0.02)
    assert turned[:, 2] == pytest.approx([2 * low[2], 2 * high[2]], abs=0.02)
    where = "lon=114.3&lat=30.5&h=21"
    made = open_client.send(f"/api/scenarios/plan-a/models?name=house&{where}", body, HERE).json
    stand = [open_client.get(f"/api/objects/{i}").json["bbox"] for i in made["ids"]]
    boxes = np.array([box for box in stand if box is not None])
    assert len(stand) == told["objects"]
    assert told["bbox"] == pytest.approx([*boxes[:, :3].min(axis=0), *boxes[:, 3:].max(axis=0)])


def test_a_dry_run_names_what_is_wrong(open_client: Client):
    answer = open_client.send(f"/api/scenarios/a/models?name=x&{WHERE}&dryRun=1", b"PK", HERE)
    assert answer.json["code"] == "server.model-kind"
    stranger = {**HERE, "origin": "https://elsewhere.example"}
    assert open_client.send(f"/api/scenarios/a/models?name=x&{WHERE}&dryRun=1", GLB, stranger).status == 403


def test_a_key_for_editing(site: Site):
    client = Client(create_app(site.workspace))
    client.app.catalog.fresh = 0.0
    try:
        reader, editor = site.keys.create("reader"), site.keys.create("editor", edit=True)
        assert place(client, **{"x-api-key": reader}).status == 403
        assert json.loads(client.get("/api/viewer", {"x-api-key": editor}).body)["canEdit"] is True
        assert place(client, **{"x-api-key": editor}).status == 201
        client.app.catalog.fresh = 0.0
        assert [record["edit"] for record in site.keys.records()] == [False, True]
    finally:
        client.close()
