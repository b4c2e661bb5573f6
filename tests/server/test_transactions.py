"""Changing objects: made, replaced, patched and retired over HTTP, each from the version that was seen; tiles follow."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urljoin
from uuid import UUID, uuid4

import numpy as np
import pytest
from pyproj import Geod
from shapely.geometry import shape

from server.app import create_app
from tests.server.conftest import FRAME, Answer, Client, Site
from tests.server.test_objects import fill
from tiling import engine
from tim.model import Dataset, ObjectRecord, Relation, dataset_uid, derived_id
from tim.shape import decode
from tim.store import Changeset, Put
from tim.workspace import Workspace

HERE = {"host": "127.0.0.1:8080", "content-type": "application/geo+json"}
RING = [[114.3, 30.5, 20.0], [114.301, 30.5, 20.0], [114.301, 30.501, 20.0], [114.3, 30.501, 20.0], [114.3, 30.5, 20.0]]
HOUSE = {
    "type": "Feature",
    "geometry": {"type": "Polygon", "coordinates": [RING]},
    "properties": {
        "class": "building.house", "name": "新楼", "stage": "planned", "validFrom": "2026-01-01", "height": 12.5, "attributes.id": 7,
        "codes": [{"scheme": "cn.address", "edition": "2021", "value": "N-1"}], "owner": {"name": "甲方"},
    },
}  # fmt: skip
ITEMS = "/api/collections/houses/items"


@pytest.fixture
def site(tmp_path) -> Site:
    workspace = Workspace.create(tmp_path / "ws")
    fill(workspace, "houses", 3)
    return Site(workspace)


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    client = Client(create_app(site.workspace, edit=True))
    client.app.catalog.fresh = 0.0
    yield client
    client.close()


def send(client: Client, method: str, path: str, document: Any = None, **headers: str) -> Answer:
    body = b"" if document is None else document if isinstance(document, bytes) else json.dumps(document).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.send(path, body, {**HERE, **named}, method)


def made(client: Client, document: Any = HOUSE) -> tuple[str, str, Any]:
    """Path, entity tag and feature of a new object."""
    answer = send(client, "POST", ITEMS, document)
    assert answer.status == 201, answer.body
    return urljoin(ITEMS, answer.headers["location"]), answer.headers["etag"], answer.json


def test_what_is_made_is_there(client: Client, site: Site):
    path, etag, feature = made(client)
    found = client.get(path)
    assert (found.status, found.headers["etag"], etag) == (200, '"v1"', '"v1"')
    assert found.json["properties"] == feature["properties"]
    said = found.json["properties"]
    assert (said["class"], said["name"], said["stage"], said["validFrom"]) == (
        "building.house",
        "新楼",
        "planned",
        "2026-01-01",
    )
    assert (said["height"], said["attributes.id"], said["codes"], said["owner"]) == (12.5, 7, ["N-1"], {"name": "甲方"})
    assert shape(found.json["geometry"]).equals_exact(shape(HOUSE["geometry"]), 1e-8)
    whole = client.get(f"/api/objects/{feature['id']}").json
    assert whole["attributes"] == {"height": 12.5, "id": 7, "owner": {"name": "甲方"}}
    assert whole["bbox"] == pytest.approx([114.3, 30.5, 20.0, 114.301, 30.501, 32.5], abs=1e-6)
    assert client.get("/api/codes?value=N-1").json["claims"][0]["objects"][0]["id"] == feature["id"]


def test_a_footprint_with_a_height_is_a_closed_prism(client: Client, site: Site):
    hole = [[114.3004, 30.5004], [114.3006, 30.5004], [114.3006, 30.5006], [114.3004, 30.5006], [114.3004, 30.5004]]
    geometry = {"type": "Polygon", "coordinates": [RING[::-1], hole]}  # turned the wrong way round
    _, _, feature = made(client, {**HOUSE, "geometry": geometry})
    with site.workspace.store() as store:
        record = store.history(UUID(feature["id"]))[0].object
        body = decode(store.get_blobs([record.representations[0].content])[record.representations[0].content])
    corners = body.xyz[body.triangles] - body.xyz.mean(axis=0)
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    area = abs(Geod(ellps="WGS84").geometry_area_perimeter(shape(geometry))[0])
    assert volume == pytest.approx(area * 12.5, rel=1e-4)
    edges = {
        tuple(edge)
        for triangle in body.triangles.tolist()
        for edge in zip(triangle, triangle[1:] + triangle[:1], strict=True)
    }
    assert {edge[::-1] for edge in edges} == edges, "each edge is met from both sides"


def test_a_change_names_what_it_was_made_from(client: Client):
    path, etag, feature = made(client)
    feature["properties"]["name"] = "二号"
    assert send(client, "PUT", path, feature).status == 428
    assert send(client, "PUT", path, feature, if_match='"v9"').status == 412
    assert send(client, "PUT", path, feature, if_match=f"W/{etag}").status == 412, "a weak tag is none here"
    answer = send(client, "PUT", path, feature, if_match=f'"v9", {etag}')
    assert (answer.status, answer.headers["etag"]) == (200, '"v2"')
    assert send(client, "PUT", path, feature, if_match=etag).json["code"] == "server.changed"
    assert client.get(path, {"if-none-match": '"v2"'}).status == 304
    assert client.get(path, {"if-none-match": etag}).status == 200
    again = send(client, "PUT", path, feature, if_match='"v2"')
    assert (again.status, again.headers["etag"]) == (200, '"v2"'), "nothing new is no version"
    assert send(client, "PATCH", path, {"properties": {"name": "三号"}}, if_match="*").headers["etag"] == '"v3"'


def test_a_patch_changes_what_it_names(client: Client):
    path, etag, before = made(client)
    answer = send(
        client, "PATCH", path, {"properties": {"owner": {"phone": "1"}, "attributes.id": None, "stage": "building"}}, if_match=etag,
        content_type="application/merge-patch+json",
    )  # fmt: skip
    after = answer.json["properties"]
    assert after["owner"] == {"name": "甲方", "phone": "1"}
    assert "attributes.id" not in after
    changed = {"owner", "attributes.id", "stage", "version", "changed"}
    assert {k: v for k, v in after.items() if k not in changed} == {
        k: v for k, v in before["properties"].items() if k not in changed
    }
    assert answer.json["geometry"] == before["geometry"]
    higher = send(client, "PATCH", path, {"properties": {"height": 30}}, if_match='"v2"').json
    assert higher["bbox"][5] == pytest.approx(50.0, abs=1e-3)
    flat = send(client, "PATCH", path, {"properties": {"height": None}}, if_match='"v3"').json
    assert flat["bbox"][5] == pytest.approx(20.0, abs=1e-3)
    point = send(
        client, "PATCH", path, {"geometry": {"type": "Point", "coordinates": [114.3, 30.5, 21.0]}}, if_match='"v4"'
    ).json
    assert point["geometry"] == {"type": "Point", "coordinates": [114.3, 30.5, 21.0]}
    assert send(client, "PATCH", path, {"geometry": None}, if_match='"v5"').json["geometry"] is None


def test_a_surveyed_body_stays_when_only_words_change(client: Client, site: Site):
    tim_id = derived_id(dataset_uid("houses"), "buildings", "1")
    path = f"{ITEMS}/{tim_id}"
    with site.workspace.store() as store:
        before = store.history(tim_id)[-1].object
    feature = client.get(path).json
    feature["properties"] |= {"name": "改名", "height": 99}
    answer = send(client, "PUT", path, feature, if_match='"v1"')
    assert answer.status == 200, answer.body
    with site.workspace.store() as store:
        after = store.history(tim_id)[-1].object
    assert after.name == "改名"
    for name in ("representations", "box", "relations", "codes", "source_key", "layer"):
        assert getattr(after, name) == getattr(before, name), name
    moved = {**feature, "geometry": HOUSE["geometry"]}
    assert send(client, "PUT", path, moved, if_match='"v2"').json["bbox"][5] == pytest.approx(119.0, abs=1e-3)


def test_relations_can_be_stated(client: Client):
    target = str(derived_id(dataset_uid("houses"), "buildings", "0"))
    stated = [{"kind": "partOf", "target": target, "evidence": "图纸", "validFrom": "2026-01-01"}]
    path, etag, feature = made(client, {**HOUSE, "relations": stated})
    found = client.get(f"/api/objects/{feature['id']}/relations?direction=out").json
    assert [(one["kind"], one["target"], one["evidence"]) for one in found["links"]] == [("partOf", target, "图纸")]
    back = client.get(f"/api/objects/{target}/relations?direction=in").json["links"]
    assert feature["id"] in {one["source"] for one in back}
    send(client, "PATCH", path, {"properties": {"name": "x"}}, if_match=etag)
    assert len(client.get(f"/api/objects/{feature['id']}/relations?direction=out").json["links"]) == 1


def test_what_is_retired_is_gone_but_not_forgotten(client: Client):
    path, etag, feature = made(client)
    assert send(client, "DELETE", path).status == 428
    assert send(client, "DELETE", path, if_match='"v7"').status == 412
    assert send(client, "DELETE", path, if_match=etag).status == 204
    assert client.get(path).status == 404
    assert send(client, "DELETE", path, if_match="*").status == 404
    history = client.get(f"/api/objects/{feature['id']}/history").json["versions"]
    assert [(v["version"], v["recordedTo"] is None) for v in history] == [(1, False)]
    path, etag, feature = made(client)
    assert send(client, "DELETE", f"{path}?validTo=2026-06-01&reason={quote('拆除')}", if_match=etag).status == 204
    last = client.get(f"/api/objects/{feature['id']}/history").json["versions"][-1]
    assert (last["validFrom"], last["validTo"], last["changeset"]["reason"]) == ("2026-01-01", "2026-06-01", "拆除")
    assert client.get(f"/api/objects/{feature['id']}?datetime=2026-03-01").status == 200
    assert client.get(f"/api/objects/{feature['id']}?datetime=2026-07-01").status == 404


def test_an_id_can_be_chosen_once(client: Client):
    path = f"{ITEMS}/{uuid4()}"
    answer = send(client, "PUT", path, HOUSE, if_none_match="*")
    assert (answer.status, urljoin(path, answer.headers["location"])) == (201, path)
    assert send(client, "PUT", path, HOUSE, if_none_match="*").json["code"] == "server.exists"
    assert send(client, "PUT", f"{ITEMS}/{uuid4()}", HOUSE, if_match="*").status == 404
    assert send(client, "PUT", f"{ITEMS}/nothing", HOUSE, if_none_match="*").status == 404
    assert send(client, "PUT", path, {**HOUSE, "id": str(uuid4())}, if_match="*").status == 422


@pytest.mark.parametrize(
    ("document", "status"),
    [
        (b"", 400), (b"[1]", 400), (b"\xff{}", 400), (b"[" * 100_000, 400), (b'{"a":' * 50_000, 400), ({}, 422),
        ({**HOUSE, "type": "FeatureCollection"}, 422), ({**HOUSE, "properties": None}, 422), ({**HOUSE, "properties": [1]}, 422),
        ({**HOUSE, "properties": {"class": "no-such"}}, 400), ({**HOUSE, "properties": {"class": 7}}, 422),
        ({**HOUSE, "properties": {"class": "building", "name": 7}}, 422), ({**HOUSE, "properties": {"class": "building", "stage": "x"}}, 422),
        ({**HOUSE, "properties": {"class": "building", "geometry": 1}}, 422), ({**HOUSE, "properties": {"class": "building", "a": "\0"}}, 400),
        ({**HOUSE, "properties": {"class": "building", "validFrom": "now"}}, 400),
        ({**HOUSE, "properties": {"class": "building", "validFrom": "2027-01-01", "validTo": "2026-01-01"}}, 422),
        ({**HOUSE, "properties": {"class": "building", "codes": ["unknown"]}}, 422), ({**HOUSE, "properties": {"class": "building", "codes": {}}}, 422),
        (json.dumps({**HOUSE, "properties": {"class": "building", "a": float("nan")}}).encode(), 422),
        (b'{"type": "Feature", "properties": {"class": "building", "a": "\\ud800"}}', 400),
        (b'{"type": "Feature", "properties": {"class": "building", "a": ' + b"9" * 5000 + b"}}", 400),
        ({**HOUSE, "relations": [{"kind": "partOf", "target": "x"}]}, 422), ({**HOUSE, "relations": {}}, 422),
        *(
            ({**HOUSE, "geometry": geometry}, 422)
            for geometry in (
                7, {}, {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}, {"type": "Point", "coordinates": []}, {"type": "Point", "coordinates": [181, 0]},
                {"type": "Point", "coordinates": [1, "2"]}, {"type": "Point", "coordinates": [1, 2, 3, 4]}, {"type": "Point", "coordinates": [1, True]},
                {"type": "Polygon", "coordinates": []}, {"type": "Polygon", "coordinates": [[]]}, {"type": "Polygon", "coordinates": [RING[:-1]]},
                {"type": "Polygon", "coordinates": [[RING[0]] * 4]}, {"type": "Polygon", "coordinates": None}, {"type": "MultiPolygon", "coordinates": [RING]},
                {"type": "Polygon", "coordinates": [[[0, 0], [0.001, 0.001], [0.001, 0], [0, 0.001], [0, 0]]]},
            )
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_refused_with_its_place(client: Client, site: Site, document: Any, status: int):
    with site.workspace.store() as store:
        before = store.seq
    answer = send(client, "POST", ITEMS, document)
    assert answer.status == status, answer.body
    assert answer.json["message"]["zh"] != answer.json["message"]["en"]
    with site.workspace.store() as store:
        assert store.seq == before


def test_who_may(client: Client, site: Site):
    assert send(client, "POST", ITEMS, HOUSE, origin="https://evil.example").status == 403
    assert send(client, "POST", ITEMS, HOUSE, content_type="text/csv").status == 415
    assert send(client, "POST", ITEMS, b"x" * 4_000_001).status == 413
    assert send(client, "POST", "/api/collections/nowhere/items", HOUSE).status == 404
    site.add("town")
    assert send(client, "POST", "/api/collections/town/items", HOUSE).json["code"] == "server.no-objects"
    site.add("base", private=True)
    key = site.keys.create("王编辑", ["houses"], edit=True)
    client.app.catalog.fresh = 0.0
    away = {"host": "gis.example", "x_api_key": key}
    assert send(client, "POST", ITEMS, HOUSE, **(away | {"x_api_key": "no"})).status == 403
    assert send(client, "POST", "/api/collections/base/items", HOUSE, **away).status == 403
    assert send(client, "POST", ITEMS, HOUSE, **away).status == 201
    assert client.get("/api/changesets?limit=1").json["changesets"][0]["author"] == "王编辑"


def test_methods_are_told(client: Client):
    for path, methods in (
        (ITEMS, {"GET", "HEAD", "POST"}),
        (f"{ITEMS}/{uuid4()}", {"GET", "HEAD", "PUT", "PATCH", "DELETE"}),
    ):
        for method in ("OPTIONS", "TRACE"):
            answer = send(client, method, path)
            assert answer.status == (204 if method == "OPTIONS" else 405)
            assert methods <= set(answer.headers["allow"].split(", ")), answer.headers


def test_a_scenario_upon_the_common_line(client: Client):
    one = f"{ITEMS}/{derived_id(dataset_uid('houses'), 'buildings', '1')}"
    two = f"{ITEMS}/{derived_id(dataset_uid('houses'), 'buildings', '2')}"
    plan = "?scenario=plan-b"
    assert client.get(one + plan).json["properties"]["name"] == "1号楼"
    answer = send(client, "PATCH", one + plan, {"properties": {"name": "拟改"}}, if_match='"v1"')
    assert (answer.status, answer.json["properties"]["version"]) == (200, 2)
    assert send(client, "PATCH", one + plan, {"properties": {"name": "又改"}}, if_match='"v1"').status == 412
    assert send(client, "DELETE", two + plan, if_match='"v1"').status == 204
    fresh = send(client, "POST", ITEMS + plan, HOUSE).json
    common = {f["properties"]["name"] for f in client.get(ITEMS).json["features"]}
    upon = {f["properties"]["name"] for f in client.get(ITEMS + plan).json["features"]}
    assert common == {"0号楼", "1号楼", "2号楼", "古树"}
    assert upon == {"0号楼", "拟改", "新楼", "古树"}
    assert (client.get(two).status, client.get(two + plan).status) == (200, 404)
    compared = client.get("/api/scenarios/plan-b?dataset=houses").json["differences"]
    assert {(d["kind"], d["id"]) for d in compared} == {
        ("changed", one[-36:]),
        ("removed", two[-36:]),
        ("added", fresh["id"]),
    }
    (changed,) = [d for d in compared if d["kind"] == "changed"]
    assert changed["fields"] == [{"name": "name", "before": "1号楼", "after": "拟改"}]
    listed = client.get("/api/scenarios").json["scenarios"]
    assert {s["name"] for s in listed} == {"plan-a", "plan-b"}
    assert send(client, "POST", "/api/scenarios/plan-b/adopt?dataset=houses").status == 200
    assert {f["properties"]["name"] for f in client.get(ITEMS).json["features"]} == upon
    assert send(client, "DELETE", "/api/scenarios/plan-a?dataset=houses").status == 204
    assert client.get("/api/scenarios").json["scenarios"] == []
    assert client.get("/api/scenarios/plan-b?dataset=houses").status == 404


def test_rollback_is_one_more_changeset(client: Client, site: Site):
    with site.workspace.store() as store:
        start = store.seq
    path, etag, _ = made(client)
    send(client, "PATCH", path, {"properties": {"name": "x"}}, if_match=etag)
    rollback = "/api/collections/houses/rollback"
    as_json = {"content_type": "application/json"}
    assert send(client, "POST", rollback, {"to": start, "seen": start}, **as_json).status == 409
    tried = send(client, "POST", rollback, {"to": start, "dryRun": True}, **as_json).json
    assert (tried["objects"], tried["seq"]) == (1, None)
    assert client.get(path).status == 200
    done = send(client, "POST", rollback, {"to": start, "reason": "误"}, **as_json).json
    assert done["seq"] == start + 3
    assert client.get(path).status == 404
    assert client.get(f"/api/collections/houses/diff?from={start}").json["differences"] == []
    between = client.get(f"/api/collections/houses/diff?from={start}&to={start + 2}").json["differences"]
    assert [d["kind"] for d in between] == ["added"]
    for body in ({}, {"to": -1}, {"to": start, "seen": "x"}, [1]):
        assert send(client, "POST", rollback, body, **as_json).status == 400


def wait_for(client: Client, path: str, changed_from: str) -> Answer:
    deadline = time.monotonic() + 20
    while (found := client.get(path)).headers["etag"] == changed_from:
        assert time.monotonic() < deadline, "the tiles do not follow"
        client.loop.run_until_complete(asyncio.sleep(0.05))
    return found


def test_tiles_follow(client: Client, site: Site):
    engine.tile(site.workspace, "houses")
    first = client.get("/tiles/houses/tileset.json").headers["etag"]
    path, etag, _ = made(client)
    second = wait_for(client, "/tiles/houses/tileset.json", first).headers["etag"]
    count = client.get("/api/collections/houses").json["tim"]["snapshot"]["counts"]["objects"]
    for _ in range(5):  # changes that come fast are drawn together
        etag = send(client, "PATCH", path, {"properties": {"name": etag}}, if_match=etag).headers["etag"]
    wait_for(client, "/tiles/houses/tileset.json", second)
    assert send(client, "DELETE", path, if_match=etag).status == 204
    deadline = time.monotonic() + 20
    while client.get("/api/collections/houses").json["tim"]["snapshot"]["counts"]["objects"] != count - 1:
        assert time.monotonic() < deadline
        client.loop.run_until_complete(asyncio.sleep(0.05))


def test_objects_with_several_ages_are_changed_one_by_one(client: Client, site: Site):
    dataset = Dataset("ages", "ages", "objects", dataset_uid("ages"), FRAME)
    with site.workspace.store() as store:
        inn = ObjectRecord("a", "building", "inn", valid_from="2010-01-01", valid_to="2020-01-01")
        hotel = ObjectRecord(
            "a", "building", "hotel", valid_from="2020-01-01", relations=(Relation("partOf", uuid4()),)
        )
        store.apply(Changeset("ages", [Put(inn), Put(hotel)], make=dataset))
    path = f"/api/collections/ages/items/{derived_id(dataset.uid, '', 'a')}"
    answer = client.get(path)
    assert (answer.json["properties"]["name"], answer.headers["etag"]) == ("hotel", '"v2"')
    assert send(client, "PATCH", path, {"properties": {"name": "Grand"}}, if_match='"v2"').status == 200
    names = [
        v["name"] for v in client.get(f"/api/objects/{path[-36:]}/history").json["versions"] if v["recordedTo"] is None
    ]
    assert sorted(names) == ["Grand", "inn"]


def test_classes_of_the_workspace_hold(tmp_path):
    """A class that a file in the workspace adds is taken, named, and told as what may be asked; one that it does not know is refused."""
    workspace = Workspace.create(tmp_path / "ws")
    (workspace.path / "classes").mkdir()
    text = '"building.pagoda" = { en = "Pagoda", zh = "塔", attributes = { tiers = { type = "integer", en = "Tiers", zh = "层数" } } }\n'
    (workspace.path / "classes" / "own.toml").write_text(text, encoding="utf-8")
    fill(workspace, "houses", 1)
    client = Client(create_app(workspace, edit=True))
    client.app.catalog.fresh = 0.0
    pagoda = {**HOUSE, "properties": {"class": "building.pagoda", "name": "六和塔", "tiers": 13}}
    path, _, _ = made(client, pagoda)
    assert send(client, "POST", ITEMS, {**HOUSE, "properties": {"class": "building.temple"}}).status == 400
    names = {c["id"]: c["zh"] for c in client.get("/api/collections/houses/classes").json["classes"]}
    assert names["building.pagoda"] == "塔"
    assert client.get(f"/api/objects/{path.rpartition('/')[2]}").json["class"]["en"] == "Pagoda"
    tiers = client.get("/api/collections/houses/queryables").json["properties"]["tiers"]
    assert (tiers["title"], tiers["type"]) == ("Tiers", "integer") or "层数" in str(tiers)
    found = client.get(f"{ITEMS}?class=building.pagoda").json["features"]
    assert [f["properties"]["name"] for f in found] == ["六和塔"]
    client.close()
