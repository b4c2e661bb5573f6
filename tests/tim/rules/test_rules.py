"""Rules: what a table reads out of attributes, where a zone is, when it holds, and what is stated of an object."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tim.rules.zones import keep, square, zone
from tim.errors import StoreError, UsageError
from tim.model import Relation, dataset_uid, derived_id
from tim.rules import controls, load, parse, rules_at, rules_for, shipped, state_controls
from tim.store import Changeset, Retire
from tim.workspace import Workspace

HEIGHT = {
    "type": "HeightControlDistrict",
    "maximumBuildingHeight": {"value": 31, "uom": "m"},
    "notificationNumber": "告示第1号",
    "custodian": "市",
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "workspace")


def names(workspace: Workspace, lon: float, lat: float, *args: object, **more: object) -> list[str]:
    with workspace.store() as store:
        return [f"{rule.kind} {rule.name}" for rule in rules_at(store, lon, lat, *args, **more)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "metres"),
    [
        (31, 31.0), (12.5, 12.5), ({"value": 31, "uom": "m"}, 31.0), ({"value": 100, "uom": "ft"}, 30.48), ("31", 31.0), ("３１ｍ", 31.0),
        ("31 米", 31.0), ({"value": 3100, "uom": "#cm"}, 31.0), ({"value": 31, "uom": "urn:ogc:def:uom:UCUM::m"}, 31.0), ([31, 31.0], 31.0),
        ("高層部100ｍ、低層部30ｍ", None), ({"value": 31, "uom": "storeys"}, None), ([20, 31], None), (True, None), (10**400, None), (float("inf"), None), ({"code": "1"}, None),
    ],
)  # fmt: skip
def test_numbers_with_units_are_read_and_others_are_shown(value: object, metres: float | None) -> None:
    stated = shipped().read("planning.zone.height", {"type": "HeightControlDistrict", "maximumBuildingHeight": value})[
        "height-limit"
    ]
    assert stated.parameters.get("max_height_m") == (None if metres is None else pytest.approx(metres))
    assert stated.unread == ({"maximumBuildingHeight": value} if metres is None else {})
    assert stated.attributes == ["maximumBuildingHeight"]
    assert stated.parameters["datum"] == "ground"


@pytest.mark.parametrize("value", [-9999, -9999.0, "-9999", "不明", "-", "", None, {"value": -9999, "uom": "m"}])
def test_what_is_unknown_is_not_stated(value: object) -> None:
    assert "height-limit" not in shipped().read("planning.plot", {"maximumBuildingHeight": value})
    there = shipped().read("planning.zone.height", {"type": "HeightControlDistrict", "maximumBuildingHeight": value})
    assert there["height-limit"].parameters == {"datum": "ground"}


@pytest.mark.parametrize(("name", "value", "ratio"), [("floorAreaRate", 2, 2.0), ("maximumFloorAreaRate", 1050, 10.5), ("容积率", "2.5", 2.5),
    ("floorAreaRate", 13, 13.0), ("maximumFloorAreaRate", "200%", 2.0)])  # fmt: skip
def test_ratios_in_percent(name: str, value: object, ratio: float) -> None:
    assert shipped().read("planning.plot", {name: value})["floor-area-ratio"].parameters == {
        "max_floor_area_ratio": ratio
    }


@pytest.mark.parametrize(("value", "ratio"), [(0.6, 0.6), (60, 0.6), (1, 1.0)])
def test_coverage_in_percent(value: float, ratio: float) -> None:
    assert shipped().read("planning.zone.use", {"buildingCoverageRate": value})["building-coverage"].parameters == {
        "max_coverage_ratio": ratio
    }


def test_a_zone_of_a_special_urban_renaissance_district() -> None:
    """All it states, each kind once."""
    read = shipped().read("planning.zone", {
        "type": "SpecialUrbanRenaissanceDistrict", "maximumFloorAreaRate": 1050, "minimumFloorAreaRate": 600, "maximumBuildingCoverageRate": 70,
        "minimumBuildingArea": {"value": 1000, "uom": "m2"}, "setbackSize": "2ｍ、3ｍ、5.5ｍ",
    })  # fmt: skip
    assert {kind: (one.parameters, one.unread) for kind, one in read.items()} == {
        "floor-area-ratio": ({"max_floor_area_ratio": 10.5, "min_floor_area_ratio": 6.0}, {}), "building-coverage": ({"max_coverage_ratio": 0.7}, {}),
        "setback": ({}, {"setbackSize": "2ｍ、3ｍ、5.5ｍ"}), "site-area": ({"min_building_area_m2": 1000.0}, {}),
    }  # fmt: skip


def test_nested_and_several_attributes() -> None:
    flood = {"type": "WaterBody", "floodingRiskAttribute": [{"rank": {"code": "1"}}, {"rank": {"code": "2"}}, "?"]}
    (stated,) = shipped().read("water.body", flood).values()
    assert stated.parameters == {"depth_rank": [{"code": "1"}, {"code": "2"}]}
    assert shipped().read("water.body", {"type": "WaterBody"}) == {}
    assert shipped().read("building.house", HEIGHT) == {}
    assert shipped().read("planning-other.zone", HEIGHT) == {}


json = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["value", "uom", "code", "rank", ""]), inner, max_size=3)
    ),
    max_leaves=8,
)
stating = sorted(
    {path.split(".")[0] for entry in shipped().entries for paths in entry.parameters.values() for path in paths}
)


@given(
    st.dictionaries(st.sampled_from([*stating, "type"]), json),
    st.sampled_from(["planning.zone.use", "planning.zone.height", "water.body"]),
)
def test_no_attribute_breaks_the_reading(attributes: dict[str, object], class_id: str) -> None:
    """Whatever is stated is read as a finite number, shown as it is, or unknown."""
    for stated in shipped().read(class_id, attributes).values():
        for name, value in stated.parameters.items():
            assert not shipped().parameters[name].unit or abs(value) < 1e15


def test_where_a_zone_is(workspace: Workspace) -> None:
    """Two polygons that face up and down, one with a hole; an edge belongs to it."""
    hole = square(114.003, 30.003, 0.004, down=True)
    keep(workspace, "city", zone("A", [[square(114.0, 30.0), hole], [square(114.02, 30.0, down=True)]], HEIGHT))
    inside, outside = (
        [(114.001, 30.001), (114.025, 30.005), (114.0, 30.005)],
        [(114.005, 30.005), (114.015, 30.005), (114.025, 30.011)],
    )
    assert [names(workspace, *at) for at in inside] == [["height-limit A"]] * 3
    assert [names(workspace, *at) for at in outside] == [[]] * 3


def test_a_zone_across_the_antimeridian(workspace: Workspace) -> None:
    across = square(179.995, 10.0)
    across[:, 0] = (across[:, 0] + 180) % 360 - 180
    keep(workspace, "sea", zone("A", [[across]], HEIGHT))
    assert [names(workspace, lon, 10.005) for lon in (179.997, 180.0, -180.0, -179.997)] == [["height-limit A"]] * 4
    assert [names(workspace, lon, 10.005) for lon in (179.994, -179.994, 0.0)] == [[]] * 3


def test_when_a_zone_holds(workspace: Workspace) -> None:
    """In the real world and in the database."""
    first = keep(workspace, "city", zone("A", [[square(114, 30)]], HEIGHT, valid=("2000-01-01", "2010-01-01")))
    keep(workspace, "city", zone("B", [[square(114, 30)]], HEIGHT, valid=("2010-01-01", None)))
    with workspace.store() as store:
        third = store.apply(Changeset("city", [Retire(derived_id(dataset_uid("city"), "zones", "B"))])).seq
    at = 114.001, 30.001
    assert names(workspace, *at, "1999-12-31") == names(workspace, *at, "2010-01-01") == names(workspace, *at) == []
    assert names(workspace, *at, "2009-12-31T23:59:59Z") == ["height-limit A"]
    assert names(workspace, *at, "2010-01-01", as_of_seq=third - 1) == ["height-limit B"]
    assert names(workspace, *at, "2010-01-01", as_of_seq=first) == []


def test_kinds_datasets_and_heights(workspace: Workspace) -> None:
    plot = {"容积率": 2.5, "绿地率": 35}
    low, high = square(114, 30, height=10.0, down=True), square(114, 30, height=40.0)
    keep(
        workspace,
        "city",
        zone("plot", [[square(114, 30)]], plot, "planning.plot"),
        zone("shell", [[low], [high]], {}, "planning.envelope"),
    )
    keep(workspace, "other", zone("A", [[square(114, 30)]], HEIGHT))
    at = 114.001, 30.001
    everything = ["floor-area-ratio plot", "height-limit A", "greening plot", "envelope shell"]
    assert names(workspace, *at) == names(workspace, *at, height=25.0) == everything
    assert names(workspace, *at, height=41.0) == names(workspace, *at, height=9.0) == everything[:3]
    assert names(workspace, *at, kinds=["greening", "height-limit"]) == everything[1:3]
    assert names(workspace, *at, datasets=["other"]) == ["height-limit A"]
    assert names(workspace, *at, datasets=[]) == []
    for arguments, code in (
        ((*at, None, ["tax"]), "rules.no-kind"), ((181.0, 30.0), "rules.place"), ((114.0, float("nan")), "rules.place"),
        ((*at, None, (), float("inf")), "rules.place"),
    ):  # fmt: skip
        with pytest.raises(UsageError) as refused:
            names(workspace, *arguments)  # type: ignore[arg-type]
        assert refused.value.code == code
    with pytest.raises(StoreError, match="yesterday"):
        names(workspace, *at, "yesterday")


def test_what_controls_a_building(workspace: Workspace) -> None:
    """Half of it in one zone, the rest in none; a zone that only touches it does not control it."""
    keep(
        workspace, "city", zone("A", [[square(114.0, 30.0)]], HEIGHT | {"floorAreaRate": 2}, valid=("2000-01-01", None)),
        zone("B", [[square(113.985, 30.0)]], HEIGHT), zone("C", [[square(114.0, 30.0)]], HEIGHT, valid=("1990-01-01", "2000-01-01")),
        zone("house", [[square(113.995, 30.0, 0.01)]], {"type": "Building"}, "building.house"),
    )  # fmt: skip
    house, a = (derived_id(dataset_uid("city"), "zones", key) for key in ("house", "A"))
    with workspace.store() as store:
        assert [(rule.kind, rule.name) for rule in rules_for(store, house)] == [
            ("floor-area-ratio", "A"),
            ("height-limit", "A"),
        ]
        assert [rule.name for rule in rules_for(store, house, "1995-01-01")] == ["C"]
        (relation,) = controls(store, house)
        assert (relation.kind, relation.target, relation.valid_from, relation.valid_to) == (
            "controlledBy",
            a,
            "2000-01-01",
            None,
        )
        assert relation.evidence == "rule: floor-area-ratio, height-limit; 市 告示第1号; 50.0%"
        before = store.seq
        assert controls(store, house, kinds=["greening"]) == []
        assert store.seq == before
        applied = state_controls(store, house, "somebody")
        assert applied.updated == 1
        assert [link.source for link in store.related([a], inverse=True)] == [house]
        assert state_controls(store, house, "somebody").unchanged == 1
        with pytest.raises(UsageError) as refused:
            rules_for(store, UUID(int=0))
        assert refused.value.code == "rules.no-object"


def test_what_controls_a_planned_building(workspace: Workspace) -> None:
    """Rules of its scenario upon those of the common line."""
    keep(
        workspace, "city", zone("A", [[square(114.0, 30.0)]], HEIGHT), zone("B", [[square(114.0, 30.0)]], HEIGHT),
        zone("house", [[square(114.0, 30.0)]], {}, "planning.scheme", scenario="plan"),
    )  # fmt: skip
    keep(workspace, "city", zone("A", [[square(114.0, 30.0)]], {"floorAreaRate": 3}, "planning.plot", scenario="plan"))
    house = derived_id(dataset_uid("city"), "zones", "house")
    with workspace.store() as store:
        assert [f"{r.kind} {r.name}" for r in rules_for(store, house, scenario="plan")] == [
            "floor-area-ratio A",
            "height-limit B",
        ]
        with pytest.raises(UsageError):
            rules_for(store, house)
        state_controls(store, house, "somebody", scenario="plan")
        found = store.get(house, scenario="plan")
        assert found is not None
        assert {r.evidence.split(";")[0] for r in found.object.relations} == {
            "rule: floor-area-ratio",
            "rule: height-limit",
        }
    assert names(workspace, 114.001, 30.001, scenario="plan") == ["floor-area-ratio A", "height-limit B"]
    assert sorted(names(workspace, 114.001, 30.001)) == ["height-limit A", "height-limit B"]


def test_stated_controls_leave_other_relations(workspace: Workspace) -> None:
    own = Relation("controlledBy", UUID(int=7), evidence="a letter")
    keep(
        workspace,
        "city",
        zone("A", [[square(114.0, 30.0)]], HEIGHT),
        zone("house", [[square(114.0, 30.0)]], {}, "building.house", relations=(own,)),
    )
    house = derived_id(dataset_uid("city"), "zones", "house")
    with workspace.store() as store:
        state_controls(store, house, "somebody")
        found = store.get(house)
        assert found is not None
        assert [r.evidence for r in found.object.relations] == ["a letter", "rule: height-limit; 市 告示第1号; 100.0%"]
        store.apply(Changeset("city", [Retire(derived_id(dataset_uid("city"), "zones", "A"))]))
        state_controls(store, house, "somebody")
        found = store.get(house)
        assert found is not None
        assert found.object.relations == (own,)


def test_a_workspace_adds_rules_of_its_own(tmp_path: Path) -> None:
    assert load(tmp_path) is shipped()
    (tmp_path / "rules.toml").write_text(
        '[kinds.noise]\nen = "Noise"\nzh = "噪声"\n[parameters.max_db]\nen = "Loudest"\nzh = "噪声上限"\nunit = "dB"\n[units.dB]\ndB = 1.0\n'
        '[[rules]]\nclass = "planning.zone"\nkind = "noise"\nparameters.max_db = ["dB"]\n', encoding="utf-8",
    )  # fmt: skip
    read = load(tmp_path).read("planning.zone.use", {"dB": 55, "floorAreaRate": 2})
    assert {kind: one.parameters for kind, one in read.items() if kind != "use"} == {
        "noise": {"max_db": 55.0}, "floor-area-ratio": {"max_floor_area_ratio": 2.0},
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "[[rules", "rules = 1", '[[rules]]\nclass = "a"', '[[rules]]\nclass = "a"\nkind = "tax"', '[[rules]]\nclass = 1\nkind = "use"',
        '[[rules]]\nclass = "a"\nkind = "use"\ncolour = "red"', '[[rules]]\nclass = "a"\nkind = "use"\nparameters.tax = ["b"]',
        '[kinds.x]\nen = "X"', '[parameters.x]\nen = "X"\nzh = "X"\nunit = "ell"', '[parameters.x]\nen = "X"\nzh = "X"\ncolour = 1',
    ],
)  # fmt: skip
def test_tables_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "rules.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        load(tmp_path)
    assert refused.value.code == "rules.bad-table"
    assert str(tmp_path) not in str(refused.value)


def test_every_kind_and_parameter_is_used() -> None:
    table = shipped()
    assert {entry.kind for entry in table.entries} == set(table.kinds)
    assert {name for entry in table.entries for name in (*entry.parameters, *entry.constants)} == set(table.parameters)
    assert table.classes(["height-limit"]) == ["planning"]
    assert parse("", base=table) == table
