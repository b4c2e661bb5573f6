"""Planning rules over HTTP: at a place, of an object, and only those that may be seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.access import Keys
from server.app import create_app
from tests.server.conftest import Client
from tests.tim.rules.zones import keep, square, zone
from tim.model import dataset_uid, derived_id
from tim.workspace import Workspace

HEIGHT = {
    "type": "HeightControlDistrict",
    "maximumBuildingHeight": {"value": 31, "uom": "m"},
    "notificationNumber": "川崎市告示第590号",
    "custodian": "川崎市",
}
AT = "lon=114.001&lat=30.001"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace.create(tmp_path / "workspace")
    keep(
        workspace, "city", zone("A", [[square(114, 30)]], HEIGHT, valid=("2009-11-11", None)),
        zone("fire", [[square(114, 30)]], {"function": {"code": "25", "value": "準防火地域"}}, "planning.zone.fire"),
        zone("house", [[square(114, 30)]], {}, "building.house"), zone("tower", [[square(114, 30)]], {}, "planning.scheme", scenario="plan"),
    )  # fmt: skip
    keep(
        workspace, "secret", zone("plan", [[square(114, 30)]], {"floorAreaRate": 2}, "planning.zone.use"), private=True
    )
    return workspace


@pytest.fixture
def client(workspace: Workspace) -> Iterator[Client]:
    client = Client(create_app(workspace))
    client.app.catalog.fresh = 0.0
    yield client
    client.close()


def id_of(key: str, slug: str = "city") -> str:
    return str(derived_id(dataset_uid(slug), "zones", key))


def test_rules_at_a_place(client: Client) -> None:
    answer = client.get(f"/api/rules?{AT}&kind=height-limit")
    assert answer.status == 200
    (rule,) = answer.json["rules"]
    assert rule == {
        "kind": {"id": "height-limit", "en": "Height limit", "zh": "建筑高度控制"},
        "parameters": [
            {"id": "max_height_m", "en": "Highest building", "zh": "建筑高度上限", "unit": "m", "value": 31.0},
            {"id": "datum", "en": "Heights count from", "zh": "高度起算", "unit": None, "value": "ground"},
        ],
        "unread": {}, "basis": {"notice": "川崎市告示第590号", "custodian": "川崎市"}, "attributes": ["maximumBuildingHeight"], "id": id_of("A"),
        "version": 1, "dataset": "city", "class": {"id": "planning.zone.height", "en": "Height control district", "zh": "高度控制区"}, "name": "A",
        "validFrom": "2009-11-11", "validTo": None,
    }  # fmt: skip
    assert kinds(client, f"{AT}&datetime=2009-11-10") == ["fire"]
    assert kinds(client, f"{AT}&h=20&seq=1&kind=fire&kind=height-limit") == ["height-limit", "fire"]
    assert kinds(client, f"{AT}&seq=0") == []
    assert kinds(client, "lon=114.02&lat=30.001") == []


def kinds(client: Client, query: str, headers: dict[str, str] | None = None) -> list[str]:
    return [rule["kind"]["id"] for rule in client.get(f"/api/rules?{query}", headers).json["rules"]]


def test_rules_of_an_object(client: Client) -> None:
    found = client.get(f"/api/objects/{id_of('house')}/rules?kind=height-limit").json["rules"]
    assert [rule["id"] for rule in found] == [id_of("A")]
    assert (
        client.get(f"/api/objects/{id_of('house')}/rules?datetime=2000-01-01").json["rules"][0]["kind"]["id"] == "fire"
    )


def test_only_what_may_be_seen(workspace: Workspace, client: Client) -> None:
    assert kinds(client, AT) == ["height-limit", "fire"]
    hidden = client.get(f"/api/objects/{id_of('plan', 'secret')}/rules")
    assert (hidden.status, hidden.json["code"]) == (404, "server.no-object")
    key = Keys(workspace.path).create("reader", ["secret"])
    client.app.catalog.fresh = 0.0
    held = {"X-API-Key": key}
    assert kinds(client, AT, held) == ["use", "floor-area-ratio", "height-limit", "fire"]
    assert len(client.get(f"/api/objects/{id_of('house')}/rules", held).json["rules"]) == 4


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("lon=114", 400, "server.bad-parameter"), ("lon=181&lat=0", 400, "server.bad-parameter"), ("lon=nan&lat=0", 400, "server.bad-parameter"),
        (f"{AT}&h=inf", 400, "server.bad-parameter"), (f"{AT}&kind=tax", 400, "rules.no-kind"), (f"{AT}&datetime=yesterday", 400, "server.bad-datetime"),
        (f"{AT}&seq=-1", 400, "server.bad-parameter"), (f"{AT}&datetime=2009-11-11/..", 400, "server.bad-datetime"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked(client: Client, query: str, status: int, code: str) -> None:
    answer = client.get(f"/api/rules?{query}")
    assert (answer.status, answer.json["code"]) == (status, code)


def test_a_workspace_has_rules_of_its_own(workspace: Workspace) -> None:
    (workspace.path / "rules.toml").write_text(
        '[kinds.house]\nen = "House"\nzh = "房屋"\n[[rules]]\nclass = "building.house"\nkind = "house"\nalways = true\n',
        encoding="utf-8",
    )
    client = Client(create_app(workspace))
    client.app.catalog.fresh = 0.0
    assert kinds(client, f"{AT}&kind=house") == ["house"]
    client.close()
