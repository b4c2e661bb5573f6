"""Objects over HTTP: a click's answer, batches, search, items with filters and paging, coordinates; and who may see what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urljoin
from uuid import UUID, uuid4

import numpy as np
import pytest

from server.app import create_app
from tests.server.conftest import FRAME, Client, Site
from tim.model import Code, Dataset, ObjectRecord, Relation, Representation, Stage, dataset_uid, derived_id
from tim.place import Datum, FoundCrs, Height, Place, PlaceOptions, resolve
from tim.shape import FORMAT, Polygon, build
from tim.sources import Fingerprint, SourceRef
from tim.store import Changeset, Put, PutSource, Retire
from tim.workspace import Workspace

PLACE = resolve(
    FoundCrs("EPSG:4547"),
    PlaceOptions(vertical="ellipsoid"),
    np.array([528_000.0, 3_375_000, 0]),
    np.array([529_000.0, 3_376_000, 50]),
)
SQUARE = np.array([[0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0]]) + [528_500, 3_375_500, 20.0]


def house(i: int) -> list[Polygon]:
    """A box with semantics, its parts in no helpful order."""
    ground, top = SQUARE + [20 * i, 0, 0], SQUARE + [20 * i, 0, 9]
    walls = [Polygon([np.array([ground[k], ground[k - 3], top[k - 3], top[k]])], "WallSurface") for k in range(4)]
    return [Polygon([top], "RoofSurface"), *walls, Polygon([ground[::-1]], "GroundSurface")]


@dataclass
class Town:
    client: Client
    site: Site
    slug: str = "houses"

    def id(self, key: str, slug: str = "houses") -> str:
        return str(derived_id(dataset_uid(slug), "buildings", key))


def fill(workspace: Workspace, slug: str, count: int, *, private: bool = False) -> None:
    dataset = Dataset(slug, slug, "objects", dataset_uid(slug), FRAME, private)
    built = build([house(i) for i in range(count)], PLACE)
    place = Place("EPSG:4490", Height("ellipsoid", "ellipsoid"), Datum("equivalent", "CGCS2000 = WGS 84", 0.1))
    with workspace.store() as store:

        def operations():
            yield PutSource(SourceRef(
                "/data/buildings.shp", "vector", "objects", "2024/buildings.shp", place, Fingerprint(1, 1, "00"), built[0].box,
                options={"layers": ["buildings"]},
            ))  # fmt: skip
            for i, one in enumerate(built):
                yield Put(ObjectRecord(
                    str(i), "building.house", f"{i}号楼", "buildings", {"floors": i, "owner": "甲方" if i % 2 else "B", "flag": i == 3}, one.box,
                    codes=(Code("cn.address", "2021", f"A-{i}"),),
                    relations=(Relation("partOf", derived_id(dataset.uid, "buildings", "0")),) if i else (),
                    representations=(Representation("body", "1", FORMAT, store.put_blob(one.blob)),),
                ))  # fmt: skip
            yield Put(ObjectRecord("tree", "vegetation.tree", "古树", "buildings", box=built[0].box, representations=(
                Representation("model", "", FORMAT, "ab" * 32, {"at": [114.3, 30.5, 20.0]}),
            )))  # fmt: skip
            yield Put(
                ObjectRecord(
                    "plan",
                    "planning.scheme",
                    "方案甲",
                    "buildings",
                    box=built[0].box,
                    stage=Stage.PLANNED,
                    scenario="plan-a",
                )
            )

        store.apply(Changeset(slug, operations(), make=dataset))


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    workspace = Workspace.create(tmp_path_factory.mktemp("objects") / "ws")
    fill(workspace, "houses", 12)
    fill(workspace, "secret", 3, private=True)
    client = Client(create_app(workspace))
    yield Town(client, Site(workspace))
    client.close()


def test_a_click_answers_with_everything(town: Town):
    found = town.client.get(f"/api/objects/{town.id('5')}").json
    assert found["class"] == {"id": "building.house", "en": "Building", "zh": "房屋建筑"}
    assert (found["name"], found["dataset"], found["stage"], found["version"]) == ("5号楼", "houses", "surveyed", 1)
    assert found["attributes"] == {"floors": 5, "owner": "甲方", "flag": False}
    assert found["codes"] == [{"scheme": "cn.address", "edition": "2021", "value": "A-5"}]
    ((relation),) = found["relations"]
    assert (relation["kind"], relation["target"], relation["name"]) == ("partOf", town.id("0"), "0号楼")
    assert found["sources"] == [{"key": "2024/buildings.shp", "format": "vector", "title": "buildings.shp"}]
    assert found["representations"] == [{"role": "body", "lod": "1", "format": FORMAT}]
    assert "/data" not in json.dumps(found)


def test_an_object_of_a_scenario_is_found_as_well(town: Town):
    found = town.client.get(f"/api/objects/{town.id('plan')}").json
    assert (found["scenario"], found["stage"]) == ("plan-a", "planned")


def test_what_may_not_be_seen_is_not_there(town: Town):
    hidden, unknown = town.id("1", "secret"), str(uuid4())
    for tim_id in (hidden, unknown):
        answer = town.client.get(f"/api/objects/{tim_id}")
        assert (answer.status, answer.json["code"]) == (404, "server.no-object")
    found = town.client.send(
        "/api/objects/batch",
        json.dumps({"ids": [hidden, unknown, town.id("1")]}).encode(),
        {"content-type": "application/json"},
    ).json
    assert [o["id"] for o in found["objects"]] == [town.id("1")]
    assert found["missing"] == [hidden, unknown]
    assert all(
        r["dataset"] == "houses" for r in town.client.get(f"/api/search?q={quote('号楼')}&limit=100").json["results"]
    )
    assert town.client.get("/api/collections/secret/items").status == 401
    key = town.site.keys.create("reader", ["secret"])
    town.client.app.catalog.fresh = 0.0
    try:
        assert town.client.get(f"/api/objects/{hidden}", {"X-API-Key": key}).json["dataset"] == "secret"
        assert town.client.get(f"/api/collections/secret/items?token={key}").json["numberReturned"] == 4
        assert key not in json.dumps(town.client.get(f"/api/collections/secret/items?limit=2&token={key}").json)
    finally:
        town.site.keys.revoke("reader")


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"ids": ["x"]}', b'{"ids": 7}', b"\xff", b"[" * 100_000])
def test_a_bad_batch_is_refused(town: Town, body: bytes):
    answer = town.client.send("/api/objects/batch", body, {"content-type": "application/json"})
    assert answer.status == 400
    assert answer.json["message"]["zh"]


def test_search_by_code_then_name(town: Town):
    results = town.client.get("/api/search?q=A-7").json["results"]
    assert [(r["id"], r["code"]) for r in results] == [(town.id("7"), "A-7")]
    names = [r["name"] for r in town.client.get("/api/search?q=1&limit=5").json["results"]]
    assert set(names) == {"1号楼", "10号楼", "11号楼"}
    assert [r["name"] for r in town.client.get(f"/api/search?q={quote('古')}").json["results"]] == ["古树"]
    assert town.client.get("/api/search?q=%25").json["results"] == []
    assert town.client.get("/api/search?q=").status == 400


def test_items_are_paged_without_gap_or_repetition(town: Town):
    path, seen = "/api/collections/houses/items?limit=5", []
    while path:
        page = town.client.get(path).json
        assert page["numberReturned"] == len(page["features"]) <= 5
        seen += [f["id"] for f in page["features"]]
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        path = urljoin(path, following[0]) if following else ""
    assert len(seen) == len(set(seen)) == 13
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("floors=7", {"7号楼"}),
        ("floors=7.0", {"7号楼"}),
        ("owner=甲方&flag=true", {"3号楼"}),
        ("flag=false&floors=5", {"5号楼"}),
        ("owner=nobody", set()),
        ("class=vegetation", {"古树"}),
        ("class=building&floors=2&layer=buildings", {"2号楼"}),
        ("layer=other", set()),
        ("stage=planned", set()),
        ("datetime=1990-01-01&floors=2", {"2号楼"}),
    ],
)
def test_simple_filters(town: Town, query: str, names: set[str]):
    answer = town.client.get(f"/api/collections/houses/items?{quote(query, safe='=&-')}")
    assert {f["properties"]["name"] for f in answer.json["features"]} == names


def test_items_by_place(town: Town):
    west, south, _, east, north, top = town.client.get(f"/api/objects/{town.id('4')}").json["bbox"]
    inner = f"{west + 1e-6},{south + 1e-6},{east - 1e-6},{north - 1e-6}"
    assert [
        f["properties"]["name"] for f in town.client.get(f"/api/collections/houses/items?bbox={inner}").json["features"]
    ] == ["4号楼"]
    above = f"{west},{south},{top + 5},{east},{north},{top + 9}"
    assert town.client.get(f"/api/collections/houses/items?bbox={above}").json["features"] == []


@pytest.fixture(scope="module")
def ages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A dataset ``town``: an inn of 2010 to 2020 that is a hotel since, a barn until noon of 1 May 2015, a church always."""
    workspace = Workspace.create(tmp_path_factory.mktemp("ages") / "ws")
    dataset = Dataset("town", "town", "objects", dataset_uid("town"), FRAME)
    said = [
        ("a", "inn", "2010-01-01", "2020-01-01"), ("a", "hotel", "2020-01-01", None), ("b", "barn", None, "2015-05-01T12:00:00Z"), ("c", "church", None, None)
    ]  # fmt: skip
    with workspace.store() as store:
        puts = [Put(ObjectRecord(k, "building", name, valid_from=start, valid_to=end)) for k, name, start, end in said]
        store.apply(Changeset("town", puts, make=dataset))
    client = Client(create_app(workspace))
    yield client
    client.close()


@pytest.mark.parametrize(
    ("times", "names"),
    [
        ("2012-01-01", {"inn", "barn", "church"}),
        ("2020-01-01", {"hotel", "church"}),
        ("2015-05-01T12:00:00Z", {"inn", "church"}),
        ("2015-05-01T20:00:00+08:00", {"inn", "church"}),
        ("2015-05-01T19:59:59.9+08:00", {"inn", "barn", "church"}),
        ("2009-01-01/2009-12-31", {"barn", "church"}),
        ("2009-01-01/2010-01-01", {"inn", "barn", "church"}),
        ("2009-12-31T00:00:00Z/2009-12-31T23:59:59.999Z", {"barn", "church"}),
        ("2016-01-01/2019-12-31", {"inn", "church"}),
        ("2015-05-01T12:00:00Z/2016-01-01", {"inn", "church"}),
        ("2015-05-01/2015-05-01", {"inn", "barn", "church"}),
        ("2015-01-01/2021-01-01", {"hotel", "barn", "church"}),
        ("../2009-12-31", {"barn", "church"}),
        ("/2009-12-31", {"barn", "church"}),
        ("2016-01-01/..", {"hotel", "church"}),
        ("2016-01-01/", {"hotel", "church"}),
        ("../..", {"hotel", "barn", "church"}),
    ],
)
def test_items_by_time(ages: Client, times: str, names: set[str]):
    path, seen = f"/api/collections/town/items?limit=1&datetime={quote(times, safe='')}", []
    while path:
        page = ages.get(path).json
        seen += [f["properties"]["name"] for f in page["features"]]
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        path = urljoin(path, following[0]) if following else ""
    assert sorted(seen) == sorted(names)


def test_a_wrong_time_is_told_in_both_languages(ages: Client):
    for times, code in {"yesterday": "server.bad-datetime", "2021-01-01/2020-01-01": "store.interval"}.items():
        answer = ages.get(f"/api/collections/town/items?datetime={times}")
        assert (answer.status, answer.json["code"]) == (400, code)
        assert all(times.split("/")[-1] in answer.json["message"][language] for language in ("en", "zh"))


@pytest.mark.parametrize(
    "query",
    [
        "bbox=1,2,3",
        "bbox=a,b,c,d",
        "bbox=0,9,1,8",
        "limit=0",
        "limit=x",
        "class=nothing",
        "stage=no",
        "cursor=x",
        "datetime=yesterday",
        "datetime=2020-13-01",
        "datetime=2020-01-01T08:00:00",
        "datetime=2021-01-01/2020-01-01",
        "datetime=2020-01-01/now",
        "datetime=2020-01-01/2021-01-01/2022-01-01",
        "datetime=",
    ],
)
def test_bad_parameters_are_the_callers(town: Town, query: str):
    answer = town.client.get(f"/api/collections/houses/items?{query}")
    assert answer.status == 400, answer.body
    assert answer.json["message"]["en"]


def test_geometry_is_the_footprint(town: Town):
    by_name = {
        f["properties"]["name"]: f for f in town.client.get("/api/collections/houses/items?limit=100").json["features"]
    }
    geometry = by_name["0号楼"]["geometry"]
    assert geometry["type"] == "Polygon"
    (ring,) = geometry["coordinates"]
    truth = PLACE.to_geographic(SQUARE)
    assert ring[0] == ring[-1]
    assert np.array(sorted(ring[:-1])) == pytest.approx(np.array(sorted(truth.tolist())), abs=2e-3)
    assert np.abs(np.array(sorted(ring[:-1]))[:, :2] - np.array(sorted(truth.tolist()))[:, :2]).max() < 1e-8
    x, y = np.array(ring)[:, 0], np.array(ring)[:, 1]
    assert ((x[:-1] - x[0]) * (y[1:] - y[0]) - (x[1:] - x[0]) * (y[:-1] - y[0])).sum() > 0
    assert by_name["古树"]["geometry"] == {"type": "Point", "coordinates": [114.3, 30.5, 20.0]}


def test_collections_lead_to_items(town: Town):
    collection = town.client.get("/api/collections/houses").json
    assert collection["itemType"] == "feature"
    assert {
        "rel": "items",
        "href": "../../api/collections/houses/items",
        "type": "application/geo+json",
        "title": "Objects",
    } in collection["links"]


def test_classes_are_listed_with_counts_and_colours(town: Town):
    url = "/api/collections/houses/classes"
    house = {"id": "building.house", "en": "Building", "zh": "房屋建筑", "count": 12, "colour": "#e3ddd1"}
    tree = {"id": "vegetation.tree", "en": "Tree", "zh": "树木", "count": 1, "colour": "#7c9f5b"}
    assert town.client.get(url).json == {"classes": [house, tree]}
    oak = ObjectRecord("oak", "vegetation.tree", "", "buildings", box=(114.0, 30.0, 0.0, 114.1, 30.1, 1.0))
    with town.site.workspace.store() as store:
        made = store.apply(Changeset("houses", [Put(oak)])).touched[0].tim_id
        try:
            assert town.client.get(url).json == {"classes": [house, tree | {"count": 2}]}, "not what it was before"
        finally:
            store.apply(Changeset("houses", [Retire(made)]))
    refused = town.client.get("/api/collections/secret/classes")
    assert refused.status == 401


def test_coordinates(town: Town):
    native = PLACE.to_geographic(SQUARE[:1])[0].tolist()
    found = town.client.get(f"/api/coordinates?lon={native[0]!r}&lat={native[1]!r}&h={native[2]!r}&crs=EPSG:4547").json
    assert (found["x"], found["y"], found["h"]) == pytest.approx(tuple(SQUARE[0]), abs=1e-4)
    assert (found["axes"], found["units"]) == (["E", "N", "h"], ["m", "m", "m"])
    refused = town.client.get("/api/coordinates?lon=114&lat=30&crs=@/etc/passwd")
    assert (refused.status, refused.json["code"]) == (422, "place.crs-unreadable")
    codes = [c["code"] for c in town.client.get("/api/crs?q=cgcs2000%20CM%20114E&lon=114.3&lat=30.5").json["results"]]
    assert "EPSG:4547" in codes


def test_nobody_edits_unasked(town: Town):
    for method, path in (
        ("POST", "/api/scenarios/a/models?name=x&lon=1&lat=1&h=0"),
        ("DELETE", f"/api/objects/{UUID(int=1)}"),
    ):
        answer = town.client.send(path, b"glTF", method=method)
        assert (answer.status, answer.json["code"]) == (403, "access.not-editor")
    assert town.client.get("/api/viewer").json["canEdit"] is False
