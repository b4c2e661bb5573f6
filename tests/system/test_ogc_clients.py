"""Clients nobody here wrote read a served workspace: OWSLib, and GDAL's driver for OGC API Features; and two servers write it at once."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pyproj import Transformer

from tests.server.test_objects import fill
from tests.system.serving import served
from tim.model import dataset_uid, derived_id
from tim.workspace import Workspace

COUNT = 12
ROUNDS = 100


@dataclass(frozen=True)
class Here:
    workspace: Workspace
    url: str


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    workspace = Workspace.create(tmp_path_factory.mktemp("clients") / "ws")
    fill(workspace, "houses", COUNT)
    with served(workspace.path, "--edit", "--root-path", "/") as url:
        yield Here(workspace, url)


def test_owslib_reads_and_filters(here: Here):
    features = pytest.importorskip("owslib.ogcapi.features")
    service = features.Features(here.url + "api")
    assert service.feature_collections() == ["houses"]
    assert any(c.endswith("ogcapi-features-1/1.0/conf/core") for c in service.conformance()["conformsTo"])
    assert service.collection("houses")["itemType"] == "feature"
    queryables = service.collection_queryables("houses")["properties"]
    assert queryables["floors"]["type"] == "integer"
    assert len(service.collection_items("houses", limit=1000)["features"]) == COUNT + 1
    found = service.collection_items("houses", filter="floors > 8 AND CASEI(owner) = 'b'", limit=100)
    assert sorted(f["properties"]["floors"] for f in found["features"]) == [10]
    west, south, _, east, north, _ = found["features"][0]["bbox"]
    near = service.collection_items("houses", bbox=[west, south, east, north], filter="owner = 'B'")["features"]
    assert [f["id"] for f in near] == [found["features"][0]["id"]]
    one = service.collection_item("houses", near[0]["id"])
    assert one["properties"]["name"] == "10号楼"


def test_gdal_reads_and_filters(here: Here):
    """Pages, axes of a CRS, the box that it hands on; attribute filters it works out itself, as it knows a draft of CQL only."""
    pyogrio = pytest.importorskip("pyogrio")
    if "OAPIF" not in pyogrio.list_drivers():
        pytest.skip("this GDAL has no driver for OGC API Features")
    source = f"OAPIF:{here.url}api"
    assert pyogrio.list_layers(source)[:, 0].tolist() == ["houses"]

    def read(**options: Any):
        meta, _, geometry, columns = pyogrio.raw.read(source, layer="houses", **options)
        return meta, geometry, dict(zip(meta["fields"].tolist(), columns, strict=True))

    meta, geometry, columns = read(PAGE_SIZE=5)
    assert len(geometry) == COUNT + 1
    assert sorted(n for n in columns["floors"].tolist() if n == n) == list(range(COUNT))
    assert set(columns["name"]) == {f"{i}号楼" for i in range(COUNT)} | {"古树"}
    _, _, columns = read(where="floors >= 3 AND owner = 'B'")
    assert sorted(columns["floors"].tolist()) == [4, 6, 8, 10]
    from shapely import from_wkb

    bounds = from_wkb(geometry[0]).bounds
    meta, near, _ = read(bbox=bounds)
    assert 1 <= len(near) < COUNT
    mercator = {"CRS": "EPSG:3857"}
    meta, geometry, columns = read(**mercator)
    assert meta["crs"] == "EPSG:3857"
    plain = {
        f["id"]: f["geometry"]["coordinates"][0][0]
        for f in fetch(f"{here.url}api/collections/houses/items?limit=100&name=3%E5%8F%B7%E6%A5%BC")[1]["features"]
    }
    x, y = Transformer.from_crs("OGC:CRS84", "EPSG:3857", always_xy=True).transform(*next(iter(plain.values()))[:2])
    at = columns["name"].tolist().index("3号楼")
    assert from_wkb(geometry[at]).exterior.coords[0][:2] == pytest.approx((x, y), abs=0.01)


def fetch(url: str, method: str = "GET", document: Any = None, **headers: str) -> tuple[int, Any, str]:
    """Status, document and entity tag."""
    data = None if document is None else json.dumps(document).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, {"content-type": "application/geo+json", **named}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            body, status, tag = answer.read(), answer.status, answer.headers.get("etag", "")
    except urllib.error.HTTPError as error:
        body, status, tag = error.read(), error.code, error.headers.get("etag", "")
    return status, json.loads(body) if body else None, tag


def test_of_two_writers_exactly_one_wins_each_round(here: Here):
    """Two servers over one workspace, a writer at each: what both say from the same version, one says; the sum of all that was said is there."""
    tim_id = derived_id(dataset_uid("houses"), "buildings", "5")
    with served(here.workspace.path, "--edit") as second:
        paths = [f"{url}api/collections/houses/items/{tim_id}" for url in (here.url, second)]
        start = threading.Barrier(2, timeout=120)
        outcomes: list[Counter[int]] = [Counter(), Counter()]
        rounds: list[list[int]] = [[0, 0] for _ in range(ROUNDS)]

        def write(who: int) -> None:
            for turn in range(ROUNDS):
                _, feature, tag = fetch(paths[who])
                total = feature["properties"].get("total", 0)
                start.wait()  # both have seen the same version
                patch = {"properties": {"total": total + 1, f"by{who}": turn}}
                status, _, _ = fetch(paths[who], "PATCH", patch, if_match=tag)
                outcomes[who][status] += 1
                rounds[turn][who] = status
                start.wait()  # both have been answered

        threads = [threading.Thread(target=write, args=(who,)) for who in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(240)
        assert all(sorted(one) == [200, 412] for one in rounds)
        assert sum(outcomes, Counter()) == {200: ROUNDS, 412: ROUNDS}
        _, feature, tag = fetch(paths[1])
        assert (feature["properties"]["total"], tag) == (ROUNDS, f'"v{ROUNDS + 1}"')
    with here.workspace.store() as store:
        said = [version.object.attributes.get("total", 0) for version in store.history(UUID(str(tim_id)))]
    assert said == list(range(ROUNDS + 1)), "no change is lost, none is said twice"


def test_writers_that_try_again_lose_nothing(here: Here, tmp_path: Path):
    """Counting up with read, change, and again where another came first."""
    tim_id = derived_id(dataset_uid("houses"), "buildings", "6")
    path = f"{here.url}api/collections/houses/items/{tim_id}"

    def count() -> None:
        for _ in range(10):
            while True:
                _, feature, tag = fetch(path)
                patch = {"properties": {"total": feature["properties"].get("total", 0) + 1}}
                if fetch(path, "PATCH", patch, if_match=tag)[0] == 200:
                    break

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert fetch(path)[1]["properties"]["total"] == 40
