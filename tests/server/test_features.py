"""OGC API Features: core, CRSs, filters, queryables and schemas; each conformance class that is claimed is asked for something."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import quote, urlencode, urljoin

import jsonschema
import numpy as np
import pytest
from pyproj import Transformer

from server import crs as systems
from server import items
from server.app import create_app
from server.queryables import functions
from tests.server.conftest import FRAME, Client, Site
from tests.server.test_objects import Town, fill
from tim.model import Code, Dataset, ObjectRecord, Relation, dataset_uid, derived_id
from tim.query.tree import FUNCTIONS
from tim.store import Changeset, Put
from tim.workspace import Workspace

TREES = "/api/collections/trees"


def tree(key: str, **fields) -> ObjectRecord:
    i = int(key)
    said = {
        "attributes": {
            "height": i * 1.5,
            "种类": "樟树" if i % 2 else "Röd Ek",
            "girth": i,
            "tags": ["a", "b"][: i % 3],
            "when": f"20{20 + i}-05-01",
            "name": f"n{i}",
        }
    }
    box = (114.0 + i / 100, 30.0, 0.0, 114.001 + i / 100, 30.001, 10.0 * i)
    return ObjectRecord(
        key, "vegetation.tree", f"树{i}", "trees", box=box, valid_from=f"20{10 + i}-01-01", **(said | fields)
    )


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    workspace = Workspace.create(tmp_path_factory.mktemp("features") / "ws")
    fill(workspace, "houses", 12)
    fill(workspace, "secret", 1, private=True)
    dataset = Dataset("trees", "古树", "objects", dataset_uid("trees"), FRAME)
    one = derived_id(dataset.uid, "trees", "1")
    with workspace.store() as store:
        puts = [Put(tree(str(i))) for i in range(1, 8)]
        puts.append(Put(tree("8", relations=(Relation("partOf", one),), codes=(Code("cn.tree", "1", "T-8"),))))
        store.apply(Changeset("trees", puts, make=dataset))
    client = Client(create_app(workspace))
    client.app.catalog.fresh = 0.0
    yield Town(client, Site(workspace), "trees")
    client.close()


def ask(client: Client, **parameters):
    named = {name.replace("_", "-"): value for name, value in parameters.items()}
    return client.get(f"{TREES}/items?{urlencode(named)}")


def found(client: Client, **parameters) -> list[int]:
    answer = ask(client, limit=1000, **parameters)
    assert answer.status == 200, answer.body
    return sorted(int(f["properties"]["sourceKey"]) for f in answer.json["features"])


def test_a_page_says_what_it_is(town: Town):
    answer = ask(town.client, limit=3)
    page = answer.json
    assert answer.headers["content-type"] == "application/geo+json"
    assert answer.headers["content-crs"] == "<http://www.opengis.net/def/crs/OGC/0/CRS84h>"
    assert (page["type"], page["numberReturned"]) == ("FeatureCollection", 3)
    assert "numberMatched" not in page
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", page["timeStamp"])
    assert {link["rel"] for link in page["links"]} == {"self", "next", "collection"}
    assert ask(town.client).json["numberMatched"] == 8


def test_next_links_keep_the_question(town: Town):
    path, seen = (
        f"{TREES}/items?{urlencode({'limit': 2, 'girth': 3, 'bbox': '114.0,30,115,31', 'crs': systems.CRS84.uri})}",
        [],
    )
    assert town.client.get(path).json["numberReturned"] == 1
    path = f"{TREES}/items?{urlencode({'limit': 3, 'bbox': '114.015,30,115,31', 'token': 'x'})}"
    while path:
        page = town.client.get(path).json
        seen += [f["properties"]["girth"] for f in page["features"]]
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        assert all("token" not in link["href"] for link in page["links"])
        path = urljoin(path, following[0]) if following else ""
    assert sorted(seen) == [2, 3, 4, 5, 6, 7, 8]


def test_one_feature(town: Town):
    feature = ask(town.client, limit=1).json["features"][0]
    path = f"{TREES}/items/{feature['id']}"
    answer = town.client.get(path)
    assert answer.headers["content-type"] == "application/geo+json"
    assert {k: v for k, v in answer.json.items() if k != "links"} == feature
    assert {urljoin(path, link["href"]) for link in answer.json["links"]} == {path, TREES}
    for wrong in ("nothing", feature["id"][:-1] + "g", str(derived_id(dataset_uid("houses"), "buildings", "1"))):
        assert town.client.get(f"{TREES}/items/{wrong}").status == 404
    assert town.client.get("/api/collections/secret/items/" + feature["id"]).status == 401


@pytest.mark.parametrize(
    "path",
    ["/api", "/api/conformance", "/api/collections", TREES, f"{TREES}/items", f"{TREES}/queryables", f"{TREES}/schema", "/api/functions", "/api/changes"],
)  # fmt: skip
def test_unknown_parameters_are_refused_by_name(town: Town, path: str):
    assert town.client.get(f"{path}?f=json").status == 200
    answer = town.client.get(f"{path}?heigth=3")
    assert (answer.status, answer.json["code"], answer.json["fields"]["name"]) == (400, "server.no-parameter", "heigth")


def test_attributes_called_like_what_every_object_has(town: Town):
    said = ask(town.client, girth=3).json["features"][0]["properties"]
    assert (said["name"], said["attributes.name"]) == ("树3", "n3")
    assert found(town.client, name="树3") == found(town.client, **{"attributes.name": "n3"}) == [3]
    assert found(town.client, name="n3") == []
    assert found(town.client, sourceKey="5") == [5]
    assert ask(town.client, version=1).status == 400


def test_every_crs_says_the_same_places(town: Town):
    collection = town.client.get(TREES).json
    assert collection["storageCrs"] == collection["crs"][0] == systems.CRS84H.uri
    assert set(collection["crs"]) == {crs.uri for crs in systems.ALL}
    plain = ask(town.client, girth=3).json["features"][0]["geometry"]["coordinates"][0]
    for uri in collection["crs"]:
        answer = ask(town.client, girth=3, crs=uri)
        assert answer.headers["content-crs"] == f"<{uri}>"
        ring = np.array(answer.json["features"][0]["geometry"]["coordinates"][0])
        code = uri.removeprefix("http://www.opengis.net/def/crs/")
        authority, _, number = code.split("/")
        axes = Transformer.from_crs(
            "OGC:CRS84", f"{authority}:{number}" if authority == "EPSG" else "OGC:CRS84", always_xy=False
        )
        truth = np.column_stack(axes.transform(*np.array(plain)[:, :2].T))
        assert ring[:, :2] == pytest.approx(truth, abs=1e-3 if number == "3857" else 1e-8)
        assert ring.shape[1] == (3 if code in ("OGC/0/CRS84h", "EPSG/0/4979") else 2)
        low, high = ring[:, :2].min(axis=0), ring[:, :2].max(axis=0)
        inside = ",".join(repr(float(v)) for v in (*(low * 0.9 + high * 0.1), *(low * 0.1 + high * 0.9)))
        assert found(town.client, bbox=inside, **{"bbox-crs": uri}) == [3]
    for name in ("crs", "bbox-crs", "filter-crs"):
        asked = {"bbox": "1,2,3,4", "filter": "girth=1", name: "http://www.opengis.net/def/crs/EPSG/0/9999"}
        assert ask(town.client, **asked).status == 400
    assert ask(town.client, bbox="1e30,2,3e30,4", **{"bbox-crs": systems.ALL[-1].uri}).status == 400


CLASSES = {
    "basic-cql2": [
        ("girth = 3", [3]), ("girth <> 3 AND girth <= 5", [1, 2, 4, 5]), ("NOT girth > 2", [1, 2]), ("height IS NULL", []), ("(girth = 1 OR girth = 8) AND height > 2", [8]),
        ("种类 = '樟树' AND girth < 4", [1, 3]), ("\"attributes.name\" = 'n4'", [4]), ("changed > TIMESTAMP('2001-01-01T00:00:00Z') AND girth=1", [1]), ("false", []),
    ],
    "advanced-comparison-operators": [("name LIKE '%3'", [3]), ("girth BETWEEN 2 AND 4", [2, 3, 4]), ("girth IN (1, 7, 99)", [1, 7]), ("name NOT LIKE '树_'", [])],
    "case-insensitive-comparison": [("CASEI(种类) = CASEI('RÖD ek')", [2, 4, 6, 8])],
    "accent-insensitive-comparison": [("ACCENTI(种类) = ACCENTI('Rod Ek')", [2, 4, 6, 8]), ("CASEI(ACCENTI(种类)) LIKE CASEI(ACCENTI('ROD%'))", [2, 4, 6, 8])],
    "basic-spatial-functions": [("S_INTERSECTS(geometry, BBOX(114.015, 30, 114.035, 31))", [2, 3]), ("S_INTERSECTS(geometry, POINT(114.0105 30.0005))", [1])],
    "basic-spatial-functions-plus": [
        ("S_INTERSECTS(geometry, POLYGON((114.015 30, 114.035 30, 114.035 31, 114.015 30)))", [2, 3]), ("S_INTERSECTS(geometry, LINESTRING(114.0 30.0005, 114.025 30.0005))", [1, 2]),
    ],
    "spatial-functions": [
        ("S_WITHIN(geometry, BBOX(114.015, 29, 114.035, 31))", [2, 3]), ("S_DISJOINT(geometry, BBOX(114.0, 29, 114.075, 31))", [8]),
        ("S_CONTAINS(geometry, POINT(114.0405 30.0005))", [4]), ("S_TOUCHES(geometry, POINT(114.04 30.0005))", [4]), ("S_CROSSES(geometry, LINESTRING(114.0405 29, 114.0405 31))", [4]),
        ("S_OVERLAPS(geometry, BBOX(114.0405, 29, 114.06, 31))", [4]), ("S_EQUALS(geometry, BBOX(114.05, 30, 114.051, 30.001))", [5]),
    ],
    "temporal-functions": [
        ("T_AFTER(validFrom, DATE('2015-06-01'))", [6, 7, 8]), ("T_BEFORE(validFrom, DATE('2012-06-01'))", [1, 2]), ("T_DURING(validFrom, INTERVAL('2012-06-01', '2014-06-01'))", [3, 4]),
        ("T_INTERSECTS(INTERVAL(validFrom, validTo), INTERVAL('2000-01-01', '2012-06-01'))", [1, 2]), ("T_EQUALS(validFrom, DATE('2013-01-01'))", [3]),
    ],
    "array-functions": [("A_CONTAINS(tags, ('b'))", [2, 5, 8]), ("A_OVERLAPS(tags, ('a', 'z'))", [1, 2, 4, 5, 7, 8]), ("A_EQUALS(tags, ('a', 'b'))", [2, 5, 8]), ("A_CONTAINEDBY(codes, ('T-8', 'x')) AND A_CONTAINS(codes, ('T-8'))", [8])],
    "property-property": [("height = girth", []), ("name <> 种类 AND girth = 1", [1]), ("\"attributes.name\" < 种类", list(range(1, 8 + 1, 2)))],
    "functions": [("inClass('vegetation') AND girth = 2", [2]), ("hasCode('cn.tree', 'T-8')", [8]), ("relatedTo('partOf', '{one}')", [8]), ("relatedFrom('', '{eight}')", [1])],
    "arithmetic": [("girth * 2 = 6", [3]), ("height - girth > 3", [7, 8]), ("girth % 3 = 2", [2, 5, 8]), ("girth DIV 4 = 2", [8]), ("girth ^ 2 = 49", [7])],
}  # fmt: skip


def said(text: str) -> str:
    uid = dataset_uid("trees")
    return text.replace("{one}", str(derived_id(uid, "trees", "1"))).replace(
        "{eight}", str(derived_id(uid, "trees", "8"))
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [pytest.param(*case, id=f"{name}: {case[0]}") for name, cases in CLASSES.items() for case in cases],
)
def test_filters_in_text(town: Town, text: str, expected: list[int]):
    assert found(town.client, filter=said(text)) == expected


AS_JSON = [
    ({"op": "=", "args": [{"property": "girth"}, 3]}, [3]),
    ({"op": "and", "args": [{"op": ">", "args": [{"property": "height"}, 4]}, {"op": "not", "args": [{"op": "like", "args": [{"property": "name"}, "%8"]}]}]}, [3, 4, 5, 6, 7]),
    ({"op": "s_intersects", "args": [{"property": "geometry"}, {"type": "Point", "coordinates": [114.0105, 30.0005]}]}, [1]),
    ({"op": "s_intersects", "args": [{"property": "geometry"}, {"bbox": [114.015, 30, 50, 114.085, 31, 60]}]}, [5, 6, 7, 8]),
    ({"op": "t_after", "args": [{"property": "validFrom"}, {"date": "2015-06-01"}]}, [6, 7, 8]),
    ({"op": "a_contains", "args": [{"property": "tags"}, ["b"]]}, [2, 5, 8]),
    ({"op": "=", "args": [{"op": "casei", "args": [{"property": "种类"}]}, {"op": "casei", "args": ["RÖD EK"]}]}, [2, 4, 6, 8]),
    ({"op": "=", "args": [{"op": "*", "args": [{"property": "girth"}, 2]}, 6]}, [3]),
    ({"op": "hasCode", "args": ["cn.tree", "T-8"]}, [8]),
]  # fmt: skip


@pytest.mark.parametrize(("document", "expected"), AS_JSON)
def test_filters_in_json(town: Town, document, expected: list[int]):
    assert found(town.client, filter=json.dumps(document), filter_lang="cql2-json") == expected
    answer = town.client.send(f"{TREES}/search", json.dumps({"filter": document, "limit": 1000}).encode())
    assert sorted(int(f["properties"]["sourceKey"]) for f in answer.json["features"]) == expected


def test_filters_join_with_all_else(town: Town):
    assert found(town.client, filter="girth > 2", bbox="114.0,30,114.055,31", 种类="樟树") == [3, 5]
    assert found(town.client, filter="girth > 2", datetime="2013-06-01") == [3]
    assert found(town.client, filter="nosuch = 1", datetime="2013-06-01") == [], "there may have been such a thing then"
    flipped = "http://www.opengis.net/def/crs/EPSG/0/4326"
    assert found(town.client, filter="S_INTERSECTS(geometry, POINT(30.0005 114.0105))", **{"filter-crs": flipped}) == [
        1
    ]
    nested = "girth = 1 OR S_INTERSECTS(geometry, BBOX(30, 114.015, 31, 114.035))"
    assert found(town.client, filter=nested, **{"filter-crs": flipped}) == [1, 2, 3]


def test_a_search_goes_on_in_its_body(town: Town):
    body, seen = {"filter": "girth > 1", "limit": 3, "bbox": [114, 30, 115, 31]}, []
    path = f"{TREES}/search"
    while True:
        page = town.client.send(path, json.dumps(body).encode()).json
        seen += [f["properties"]["girth"] for f in page["features"]]
        following = [link for link in page["links"] if link["rel"] == "next"]
        if not following:
            break
        path, body = urljoin(path, following[0]["href"]), following[0]["body"]
        assert following[0]["method"] == "POST"
    assert sorted(seen) == [2, 3, 4, 5, 6, 7, 8]


HOSTILE = [
    "(" * 5000 + "girth=1" + ")" * 5000, "NOT " * 20_000 + "girth=1", " OR ".join(["girth=1"] * 9000), "girth = 'a\0b'", "name = '", "name = ''' OR 1=1 --",
    "girth=1; DROP TABLE object", "\"girth\"\" = 1", "girth = 1e999", "S_INTERSECTS(geometry, POLYGON((0 0)))", "girth =", "", "\ud800", "nosuch(girth)",
    "T_AFTER(validFrom, DATE('2015-13-41'))", "heigth > 3", "name LIKE 5", "girth IN ()", "((((((", "girth = " + "9" * 400, "\"" + "x" * 60_000 + "\" = 1",
]  # fmt: skip


@pytest.mark.parametrize(
    "text", HOSTILE, ids=[text[:30].encode("ascii", "backslashreplace").decode() for text in HOSTILE]
)
def test_hostile_filters_are_the_callers(town: Town, text: str):
    for answer in (
        town.client.get(f"{TREES}/items?filter={quote(text, safe='', errors='surrogatepass')}"),
        town.client.send(f"{TREES}/search", json.dumps({"filter": text}).encode()),
    ):
        assert 400 <= answer.status < 500, answer.body[:500]
        assert answer.json["message"]["zh"]


def test_nothing_is_too_long_for_a_refusal(town: Town):
    deep = '{"op":"not","args":[' * 30_000 + "true" + "]}" * 30_000
    assert town.client.get(f"{TREES}/items?filter-lang=cql2-json&filter={quote(deep[:60_000])}").status == 400
    assert town.client.get(f"{TREES}/items?filter={'a' * 10_000_000}").status == 400
    for body in (
        b"x" * 10_000_000,
        b'{"filter": ' + b"[" * 60_000 + b"]" * 100,
        b"",
        b"[]",
        b'{"limit": 0}',
        b'{"bbox": "1,2,3,4"}',
        b'{"bbox": [1,2]}',
        b'{"sortby": "x"}',
        b'{"filter": 7}',
    ):
        answer = town.client.send(f"{TREES}/search", body)
        assert answer.status in (400, 413), (body[:30], answer.body)
    assert ask(town.client, filter="girth=1", filter_lang="sql").status == 400


def test_a_question_that_takes_too_long_is_given_up(town: Town, monkeypatch: pytest.MonkeyPatch):
    slow = " OR ".join(f"girth ^ 2 + height * {i} < 0" for i in range(100))
    assert found(town.client, filter=slow) == []
    monkeypatch.setattr(items, "SECONDS", 0.0)
    answer = ask(town.client, filter=slow)
    assert (answer.status, answer.json["code"]) == (422, "store.too-slow")


def test_queryables_describe_what_there_is(town: Town):
    answer = town.client.get(f"{TREES}/queryables")
    assert answer.headers["content-type"] == "application/schema+json"
    document = answer.json
    jsonschema.Draft202012Validator.check_schema(document)
    assert urljoin(f"{TREES}/queryables", document["$id"]) == f"{TREES}/queryables"
    assert document["additionalProperties"] is False
    height = {"title": "Height 树高", "type": "number", "x-ogc-unit": "m"}
    assert (document["properties"]["height"], document["properties"]["girth"]["title"]) == (height, "girth"), (
        "as the class of trees says"
    )
    kinds = {name: own.get("type") for name, own in document["properties"].items()}
    assert (kinds["height"], kinds["girth"], kinds["种类"], kinds["tags"], kinds["attributes.name"]) == (
        "number",
        "integer",
        "string",
        "array",
        "string",
    )
    assert document["properties"]["geometry"] == {
        "format": "geometry-any",
        "x-ogc-role": "primary-geometry",
        "title": "Footprint 平面范围",
    }
    for name in document["properties"]:
        if name != "geometry":
            assert ask(town.client, filter=f'"{name}" IS NULL').status == 200
    with town.site.workspace.store() as store:
        store.apply(Changeset("trees", [Put(tree("1", attributes={"girth": 1.5, "late": None}))]))
        try:
            properties = town.client.get(f"{TREES}/queryables").json["properties"]
            assert (properties["girth"]["type"], properties["late"]["type"]) == ("number", "null")
        finally:
            store.apply(Changeset("trees", [Put(tree("1"))]))


def test_the_schema_holds_for_every_feature(town: Town):
    answer = town.client.get(f"{TREES}/schema")
    assert answer.headers["content-type"] == "application/schema+json"
    schema = answer.json
    jsonschema.Draft202012Validator.check_schema(schema)
    roles = {own["x-ogc-role"] for own in schema["properties"].values() if "x-ogc-role" in own}
    assert roles == {"id", "type", "primary-geometry", "primary-interval-start", "primary-interval-end"}
    assert schema["properties"]["version"]["readOnly"] is True
    for feature in ask(town.client, limit=1000).json["features"]:
        flat = {k: v for k, v in feature["properties"].items() if v is not None} | {
            "id": feature["id"],
            "geometry": feature["geometry"],
        }
        jsonschema.validate(flat, schema)


def test_functions_are_listed(town: Town):
    listed = town.client.get("/api/functions").json
    assert listed == functions()
    assert {f["name"] for f in listed["functions"]} == set(FUNCTIONS)


def test_every_claim_is_asked_for(town: Town):
    """What is claimed of CQL2 is what the cases above ask for, in one language or the other."""
    claimed = {c.rpartition("/")[2] for c in town.client.get("/api/conformance").json["conformsTo"] if "/cql2/" in c}
    assert claimed == {*CLASSES, "cql2-text", "cql2-json"}


def test_collections_lead_to_what_describes_them(town: Town):
    links = {
        link["rel"].rpartition("/")[2]: urljoin(TREES, link["href"]) for link in town.client.get(TREES).json["links"]
    }
    assert {"items", "queryables", "schema"} <= set(links)
    for rel in ("items", "queryables", "schema"):
        assert town.client.get(links[rel]).status == 200
