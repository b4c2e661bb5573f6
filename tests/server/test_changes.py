"""What changed: the feed that keeps a copy, the log, histories of objects, relations step by step, codes and who claims them."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urljoin
from uuid import UUID

import pytest

from server.app import create_app
from tests.server.conftest import FRAME, Client, Site
from tim.model import Code, Dataset, ObjectRecord, Relation, dataset_uid, derived_id
from tim.store import Changeset, Put, Retire
from tim.workspace import Workspace

BOX = (114.0, 30.0, 0.0, 114.1, 30.1, 5.0)


def key(i: int, slug: str = "a") -> UUID:
    return derived_id(dataset_uid(slug), "", str(i))


def record(i: int, name: str, **fields) -> ObjectRecord:
    return ObjectRecord(str(i), "building", name, box=BOX, **fields)


@pytest.fixture
def site(tmp_path) -> Site:
    """Datasets a, b (public) and p (private); changesets 1 a, 2 b, 3 p, 4 a, 5 a."""
    workspace = Workspace.create(tmp_path / "ws")
    code = Code("cn.unit", "2020", "U-1")
    with workspace.store() as store:
        for slug in ("a", "b", "p"):
            dataset = Dataset(slug, slug, "objects", dataset_uid(slug), FRAME, slug == "p")
            chain = [(Relation("partOf", key(i + 1, slug)),) for i in range(4)] + [()]
            if slug == "p":
                chain[0] = (Relation("locatedIn", key(0)),)
            puts = [Put(record(i, f"{slug}{i}", relations=chain[i], codes=(code,) if i == 0 else ())) for i in range(5)]
            store.apply(Changeset(slug, puts, "甲", f"deliver {slug}", make=dataset))
        store.apply(
            Changeset(
                "a", [Put(record(0, "a0 new", codes=(code,), relations=(Relation("partOf", key(1)),)))], "乙", "rename"
            )
        )
        store.apply(Changeset("a", [Retire(key(4)), Put(record(9, "a9"))]))
    return Site(workspace)


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    client = Client(create_app(site.workspace))
    client.app.catalog.fresh = 0.0
    yield client
    client.close()


def all_changes(client: Client, path: str) -> list:
    seen = []
    while path:
        page = client.get(path).json
        assert page["numberReturned"] == len(page["changes"])
        seen += page["changes"]
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        path = urljoin(path, following[0]) if following else ""
    return seen


def test_a_copy_is_kept_by_asking_what_changed(client: Client, site: Site):
    """A copy that follows the feed names, at every step, the objects that the items do."""
    for limit in (1, 2, 3, 100):
        copy: dict[str, list[int]] = {}
        since = 0
        for until in (1, 2, 4, 5):
            for change in all_changes(client, f"/api/changes?dataset=a&since={since}&until={until}&limit={limit}"):
                assert change["before"]["versions"] == copy.get(change["id"], [])
                copy[change["id"]] = change["after"]["versions"]
            since = until
        alive = {tim_id for tim_id, versions in copy.items() if versions}
        assert alive == {f["id"] for f in client.get("/api/collections/a/items").json["features"]}
        assert len({c["id"] for c in all_changes(client, f"/api/changes?since=0&limit={limit}")}) == 10


def test_what_became_of_each(client: Client):
    found = {c["id"]: c for c in all_changes(client, "/api/changes?since=3")}
    assert {tim_id: c["kind"] for tim_id, c in found.items()} == {
        str(key(0)): "updated",
        str(key(4)): "retired",
        str(key(9)): "created",
    }
    updated = found[str(key(0))]
    assert (updated["before"], updated["after"], updated["seq"]) == (
        {"versions": [1], "bbox": list(BOX)},
        {"versions": [2], "bbox": list(BOX)},
        4,
    )
    assert found[str(key(4))]["after"] == {"versions": [], "bbox": None}
    for link in updated["links"]:
        assert client.get(urljoin("/api/changes", link["href"])).status == 200


def test_nothing_new_is_told_shortly(client: Client, site: Site):
    path = "/api/changes?since=5"
    tag = client.get(path).headers["etag"]
    assert client.get(path, {"if-none-match": tag}).status == 304
    with site.workspace.store() as store:
        store.apply(Changeset("b", [Put(record(7, "b7"))]))
    answer = client.get(path, {"if-none-match": tag})
    assert (answer.status, answer.json["until"], [c["id"] for c in answer.json["changes"]]) == (
        200,
        6,
        [str(key(7, "b"))],
    )


def test_what_is_hidden_does_not_change_either(client: Client, site: Site):
    assert {c["dataset"] for c in all_changes(client, "/api/changes?since=0&limit=2")} == {"a", "b"}
    assert client.get("/api/changes?dataset=p").status == 401
    assert client.get("/api/changes?since=0&cursor=p~").status == 400
    assert [r["seq"] for r in client.get("/api/changesets").json["changesets"]] == [5, 4, 2, 1]
    assert client.get("/api/changesets/3").status == 404
    assert client.get(f"/api/objects/{key(1, 'p')}/history").status == 404
    assert {o["dataset"] for c in client.get("/api/codes?value=U-1").json["claims"] for o in c["objects"]} == {"a", "b"}
    assert {link["kind"] for link in client.get(f"/api/objects/{key(0)}/relations").json["links"]} == {"partOf"}
    token = site.keys.create("reader", ["p"])
    client.app.catalog.fresh = 0.0
    opened = {"x-api-key": token}
    assert [r["seq"] for r in client.get("/api/changesets", opened).json["changesets"]] == [5, 4, 3, 2, 1]
    assert {link["kind"] for link in client.get(f"/api/objects/{key(0)}/relations", opened).json["links"]} == {
        "partOf",
        "locatedIn",
    }


def test_the_log_is_paged(client: Client):
    path, seen = "/api/changesets?limit=1", []
    while path:
        page = client.get(path).json
        seen += [r["seq"] for r in page["changesets"]]
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        path = urljoin(path, following[0]) if following else ""
    assert seen == [5, 4, 2, 1]
    one = client.get("/api/changesets/4")
    assert (one.json["author"], one.json["reason"], one.json["counts"]["updated"]) == ("乙", "rename", 1)
    assert client.get("/api/changesets/4", {"if-none-match": one.headers["etag"]}).status == 304
    related = next(link["href"] for link in one.json["links"] if link["rel"] == "related")
    assert [c["id"] for c in all_changes(client, urljoin("/api/changesets/4", related))] == [str(key(0))]
    assert [r["seq"] for r in client.get("/api/changesets?dataset=b").json["changesets"]] == [2]


def test_an_object_as_it_was(client: Client):
    path = f"/api/objects/{key(0)}"
    now = client.get(path)
    assert (now.json["name"], now.headers["etag"]) == ("a0 new", '"v2"')
    then = client.get(f"{path}?seq=3")
    assert (then.json["name"], then.headers["etag"]) == ("a0", '"v1"')
    assert client.get(f"{path}?seq=0").status == 404
    history = client.get(f"{path}/history").json["versions"]
    assert [(v["version"], v["name"], v["changeset"]["reason"]) for v in history] == [
        (1, "a0", "deliver a"),
        (2, "a0 new", "rename"),
    ]
    assert history[0]["recordedTo"] == history[1]["recordedFrom"]
    assert client.get(f"/api/objects/{key(4)}").status == 404
    assert client.get(f"/api/objects/{key(4)}?seq=4").json["name"] == "a4"


@pytest.mark.parametrize(
    ("query", "ends"),
    [
        ("direction=out", {0: {1}}), ("direction=out&hops=2", {0: {1}, 1: {2}}), ("direction=in", {}), ("direction=out&hops=9", {0: {1}, 1: {2}, 2: {3}}),
        ("direction=out&hops=9&seq=3", {0: {1}, 1: {2}, 2: {3}, 3: {4}}), ("direction=out&kind=crosses", {}), ("direction=out&kind=partOf&kind=crosses", {0: {1}}),
    ],
)  # fmt: skip
def test_relations_step_by_step(client: Client, query: str, ends):
    found = client.get(f"/api/objects/{key(0)}/relations?{query}").json
    expected = {(str(key(i)), str(key(j))) for i, targets in ends.items() for j in targets}
    assert {(one["source"], one["target"]) for one in found["links"]} == expected
    hops = {o["id"]: o["hops"] for o in found["objects"]}
    assert hops == {str(key(i)): i for i in range(len(ends) + 1)}


def test_codes_and_who_claims_them(client: Client):
    (claim,) = client.get(f"/api/objects/{key(0)}/codes").json["claims"]
    assert (claim["scheme"], claim["edition"], claim["value"], claim["duplicate"]) == ("cn.unit", "2020", "U-1", True)
    assert {o["id"] for o in claim["objects"]} == {str(key(0)), str(key(0, "b"))}
    assert client.get("/api/codes?value=U-1&scheme=cn.unit").json["claims"][0]["duplicate"] is True
    for nothing in ("value=U-1&scheme=other", "value=U-2", "value=a0", "value=%25"):
        assert client.get(f"/api/codes?{nothing}").json["claims"] == []


@pytest.mark.parametrize(
    "path",
    ["changes?since=-1", "changes?since=x", "changes?cursor=zz", "changes?cursor=a~zz", "changes?limit=0", "changesets/x", "changesets?before=x", "codes", "codes?value=",
     f"objects/{key(0)}?seq=-1", f"objects/{key(0)}?datetime=2020-01-01/2021-01-01", f"objects/{key(0)}?scenario=a/b", f"objects/{key(0)}/relations?hops=0",
     f"objects/{key(0)}/relations?direction=up", "objects/x/history", "collections/a/diff?from=99", "collections/a/diff", "scenarios/x"],
)  # fmt: skip
def test_bad_questions_are_the_callers(client: Client, path: str):
    answer = client.get(f"/api/{path}")
    assert answer.status == 400, answer.body
    assert answer.json["message"]["zh"]
