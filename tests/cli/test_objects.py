"""Objects from the command line: asked for, compared, taken back, adopted, checked; for people and for programs."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cli.app import run
from tests.system.command import Outcome, ok, tim
from tests.tim.rules.zones import keep, square, zone
from tim.model import Code, Dataset, ObjectRecord, Relation, Stage, dataset_uid, derived_id
from tim.place import Frame
from tim.store import Changeset, Put, Retire
from tim.workspace import Workspace

TOWN = Dataset("town", "海滨小镇", "objects", dataset_uid("town"), Frame(120.0, 30.0, 0.0, 2**-10))


def house(key: str, i: int, **said: Any) -> ObjectRecord:
    record = ObjectRecord(
        key, "building.house", f"{key}号楼", "houses", {"floors": i, "用途": "居住" if i % 2 else "办公"},
        (120 + i / 1000, 30.0, 0.0, 120 + i / 1000 + 0.0005, 30.0005, 3.0 * i), Stage.AS_BUILT, codes=(Code("cn.address", "2021", f"滨海路{i}号"),),
        valid_from="2010-01-01",
    )  # fmt: skip
    return replace(record, **said)


@dataclass
class Town:
    folder: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str | Path, code: int = 0) -> Outcome:
        """The command in this process, which must end so."""
        self.capture.readouterr()
        ended = run([*map(str, arguments), "-w", str(self.folder)])
        found = self.capture.readouterr()
        assert ended == code, f"tim {arguments}: exit {ended}\n{found.err}\n{found.out}"
        return Outcome(ended, found.out, found.err)

    def id(self, key: str) -> UUID:
        return derived_id(TOWN.uid, "houses", key)

    def names(self, *arguments: str) -> list[str]:
        return sorted(o["sourceKey"] for o in self("query", "town", *arguments, "--json").json["objects"])


@pytest.fixture
def town(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Town:
    """Houses a, b, c; then a has a storey more, c is torn down in 2020 and d is built; in plan-a b goes and e comes."""
    workspace = Workspace.create(tmp_path / "ws")
    plan: dict[str, Any] = {"scenario": "plan-a", "stage": Stage.PLANNED}
    with workspace.store() as store:
        first = [
            Put(house("a", 3)),
            Put(house("b", 4)),
            Put(house("c", 5, relations=(Relation("partOf", UUID(int=9)),))),
        ]
        store.apply(Changeset("town", first, "surveyor", "survey", make=TOWN))
        second = [
            Put(house("a", 3, attributes={"floors": 4, "用途": "居住"})),
            Retire(derived_id(TOWN.uid, "houses", "c"), "2020-06-01"),
        ]
        store.apply(Changeset("town", [*second, Put(house("d", 6))], "clerk", "a storey more"))
        store.apply(
            Changeset(
                "town",
                [Put(house("b", 4, scenario="plan-a", stage=Stage.RETIRED)), Put(house("e", 7, **plan))],
                "planner",
                "draft",
            )
        )
    return Town(workspace.path, capsys)


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        ((), "abd"),
        (("--class", "building"), "abd"),
        (("--class", "vegetation"), ""),
        (("--code", "cn.address:滨海路4号"), "b"),
        (("--code", "cn.address@2021:滨海路4号"), "b"),
        (("--code", "cn.address@1999:滨海路4号"), ""),
        (("--bbox", "120.0036,29,120.0065,31"), "bd"),
        (("--bbox", "120.0036,29,12.5,120.0065,31,100"), "d"),
        (("--at", "2015-01-01"), "abcd"),
        (("--at", "2000-01-01"), ""),
        (("--seq", "1"), "abc"),
        (("--layer", "roads"), ""),
        (("--stage", "as-built"), "abd"),
        (("--scenario", "plan-a"), "be"),
        (("--scenario", "plan-a", "--upon"), "ade"),
    ],
)
def test_query(town: Town, asked: tuple[str, ...], keys: str):
    assert town.names(*asked) == list(keys)


def test_a_condition_in_cql2(town: Town, tmp_path: Path):
    assert town.names("--where", "floors > 4 OR 用途 = '居住'") == ["a", "d"]
    file = tmp_path / "filter.json"
    file.write_text(json.dumps({"op": ">", "args": [{"property": "floors"}, 4]}), encoding="utf-8")
    assert town.names("--filter-file", str(file)) == ["d"]
    assert town.names("--filter-file", str(file), "--where", "用途 = '居住'") == []


def test_query_for_people_and_programs(town: Town):
    found = town("query", "town", "--code", "cn.address:滨海路3号")
    assert all(
        text in found.out
        for text in (str(town.id("a")), "a号楼", "building.house", "滨海路3号", "floors 4", "2010-01-01 – …")
    )
    (record,) = town("query", "town", "--code", "cn.address:滨海路3号", "--json").json["objects"]
    assert (record["id"], record["version"], record["attributes"]["floors"]) == (str(town.id("a")), 2, 4)
    features = town("query", "town", "--geojson").json
    assert features["type"] == "FeatureCollection"
    assert {f["geometry"]["type"] for f in features["features"]} == {"Polygon"}


def test_what_people_are_shown_is_what_is_there(town: Town):
    """Brackets, line ends and the like in names and values are data."""
    with Workspace.open(town.folder).store() as store:
        store.apply(Changeset("town", [Put(house("a", 3, name="[/red][bold]x :warning:", attributes={"note": "[/]"}))]))
    for shown in (town("query", "town").out, town("diff", "town", "3").out):
        assert "[/red][bold]x :warning:" in shown
        assert "[/]" in shown


def test_pages_follow_each_other(town: Town):
    seen, more = [], ()
    while True:
        page = town("query", "town", "--limit", "2", *more, "--json").json
        seen += [o["id"] for o in page["objects"]]
        if page["cursor"] is None:
            break
        more = ("--cursor", page["cursor"])
    assert sorted(seen) == sorted(str(town.id(k)) for k in "abd")
    assert "--cursor" in town("query", "town", "--limit", "2").err


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("query", "nowhere"), "store.no-dataset"),
        (("query", "town", "--where", "floors >"), "query."),
        (("query", "town", "--where", "(" * 10_000), "query."),
        (("query", "town", "--filter-file", "missing.json"), "cli.filter-unreadable"),
        (("query", "town", "--bbox", "1,2,3"), "cli.bad-box"),
        (("query", "town", "--bbox", "0,9,1,8"), "cli.bad-box"),
        (("query", "town", "--code", "滨海路4号"), "cli.bad-code"),
        (("query", "town", "--stage", "ruined"), "cli.unknown-stage"),
        (("query", "town", "--class", "castle"), "classes.unknown"),
        (("query", "town", "--cursor", "x"), "store.cursor"),
        (("diff", "town", "1", "2020-01-01"), "cli.bad-moments"),
        (("diff", "town", "1", "99"), "history.no-seq"),
        (("diff", "town", "1", "2", "--scenario", "plan-a"), "cli.diff-scenario"),
        (("diff", "nowhere", "1"), "store.no-dataset"),
        (("rollback", "town"), "cli.rollback-what"),
        (("rollback", "town", "1", "--to", "1"), "cli.rollback-what"),
        (("rollback", "town", "--to", "99"), "history.no-seq"),
        (("rollback", "town", "--to", "1"), "cli.not-confirmed"),
        (("scenario", "adopt", "town", "plan-a"), "cli.not-confirmed"),
        (("scenario", "drop", "town", "plan-z", "--yes"), "history.no-scenario"),
        (("scenario", "compare", "town", "plan-z"), "history.no-scenario"),
        (("check", "town", "--checks", "smell"), "quality.no-check"),
        (("log", "--object", "x"), "cli.no-object"),
        (("log", "--object", str(UUID(int=5))), "cli.no-object"),
        (("describe", "town", "missing.yaml"), "quality.unreadable"),
        (("rules", "here"), "cli.bad-place"),
        (("rules", "1,2,3"), "cli.bad-place"),
        (("rules", "200,30"), "rules.place"),
        (("rules", "nan,30"), "rules.place"),
        (("rules", "120,30", "--kind", "smell"), "rules.no-kind"),
        (("rules", str(UUID(int=5))), "rules.no-object"),
        (("rules", str(UUID(int=5)), "--height", "3"), "cli.only-places"),
    ],
)
def test_what_is_refused(town: Town, command: tuple[str, ...], code: str, monkeypatch: pytest.MonkeyPatch):
    """One error, one JSON document, and nothing has happened."""
    monkeypatch.setattr("sys.stdin", None)
    refused = town(*command, "--json", code=2)
    assert refused.json["error"]["code"].startswith(code)
    with Workspace.open(town.folder).store() as store:
        assert store.seq == 3


def test_times_that_are_none(town: Town):
    assert town("query", "town", "--at", "yesterday", "--json", code=1).json["error"]["code"] == "store.time"
    assert town("diff", "town", "yesterday", "--json", code=1).json["error"]["code"] == "store.time"


def test_diff_between_changesets(town: Town):
    told = town("diff", "town", "1", "2", "--json").json
    assert told["counts"] == {"added": 1, "removed": 1, "changed": 1}
    by_id = {d["id"]: d for d in told["differences"]}
    changed, removed = by_id[str(town.id("a"))], by_id[str(town.id("c"))]
    assert changed["fields"] == [{"name": "attributes.floors", "before": 3, "after": 4}]
    assert (changed["before"], changed["after"]) == (1, 2)
    assert (removed["kind"], removed["during"]) == ("removed", ["2020-06-01", None])
    back = town("diff", "town", "2", "1", "--json").json
    assert back["counts"] == told["counts"]
    assert town("diff", "town", "2", "--json").json["counts"]["added"] == 2, "the plan, up to now"
    shown = town("diff", "town", "1", "2")
    assert all(text in shown.out for text in ("floors 3 → 4", "2020-06-01 – …", "a号楼"))
    assert "1 added, 1 removed, 1 changed" in shown.err
    assert "the first 1 are shown" in town("diff", "town", "1", "2", "--limit", "1").err
    assert town("diff", "town", "3", "3", "--json").json["differences"] == []


def test_diff_between_days(town: Town):
    told = town("diff", "town", "2015-01-01", "2021-01-01", "--json").json
    assert [(d["kind"], d["id"]) for d in told["differences"]] == [("removed", str(town.id("c")))]
    assert town("diff", "town", "2000-01-01", "--scenario", "plan-a", "--json").json["counts"]["added"] == 2


def test_rolled_back_by_a_changeset(town: Town):
    foreseen = town("rollback", "town", "--to", "1", "--dry-run", "--json").json
    assert (foreseen["objects"], foreseen["applied"]) == (5, None)
    done = town("rollback", "town", "--to", "1", "--reason", "a mistake", "--author", "chief", "--yes", "--json").json
    assert (done["objects"], done["applied"]["seq"]) == (5, 4)
    assert town("diff", "town", "1", "--json").json["differences"] == []
    newest = town("log", "town", "--json").json["changesets"][0]
    assert (newest["author"], newest["reason"], newest["seq"]) == ("chief", "a mistake", 4)
    assert "chief" in town("log", "town").out
    again = town("rollback", "town", "--to", "1", "--yes", "--json").json
    assert (again["objects"], again["applied"]) == (0, None)
    assert "tim tile town" in town("rollback", "town", "--to", "3", "--yes").err
    assert town("diff", "town", "3", "--json").json["differences"] == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_people_are_asked(town: Town, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert "5 objects" in town("rollback", "town", "--to", "1", code=130).err
    assert town.names() == ["a", "b", "d"]
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    town("rollback", "town", "--to", "1")
    assert town("diff", "town", "1", "--json").json["differences"] == []


def test_scenarios(town: Town):
    assert town("scenario", "list", "town", "--json").json["scenarios"] == [{"name": "plan-a", "objects": 2}]
    assert "plan-a" in town("scenario", "list", "town").out
    compared = town("scenario", "compare", "town", "plan-a", "--json").json
    assert {(d["kind"], d["id"]) for d in compared["differences"]} == {
        ("removed", str(town.id("b"))),
        ("added", str(town.id("e"))),
    }
    assert "e号楼" in town("scenario", "compare", "town", "plan-a").out
    assert town("scenario", "adopt", "town", "plan-a", "--yes", "--json").json["applied"]["seq"] == 4
    assert town.names() == ["a", "d", "e"]
    assert town("scenario", "list", "town", "--json").json["scenarios"] == []


def test_a_scenario_is_dropped(town: Town):
    assert "tim tile town" in town("scenario", "drop", "town", "plan-a", "--yes").err
    assert town.names() == ["a", "b", "d"]
    assert town("scenario", "list", "town", "--json").json["scenarios"] == []


def test_a_scenario_that_was_overtaken(town: Town):
    with Workspace.open(town.folder).store() as store:
        store.apply(Changeset("town", [Put(house("b", 4, name="renamed"))]))
    assert (
        town("scenario", "adopt", "town", "plan-a", "--yes", "--json", code=1).json["error"]["code"]
        == "history.overtaken"
    )
    town("scenario", "adopt", "town", "plan-a", "--yes", "--skip")
    assert town.names() == ["a", "b", "d", "e"]


def test_the_versions_of_one_object(town: Town):
    told = town("log", "--object", str(town.id("a")), "--json").json
    assert told["dataset"] == "town"
    assert [(v["version"], v["seq"], v["author"], v["fields"]) for v in told["versions"]] == [
        (1, 1, "surveyor", []), (2, 2, "clerk", ["attributes.floors"]),
    ]  # fmt: skip
    shown = town("log", "--object", str(town.id("a"))).out
    assert "a storey more" in shown
    assert "attributes.floors" in shown


def test_checked_and_described(town: Town, tmp_path: Path):
    assert "errors" in town("check", "town", code=3).err, "a relation to what is not there"
    found = town("check", "town", "--json", "--checks", "relations", code=3).json
    assert [(f["check"], f["count"]) for f in found["findings"]] == [("relations", 1)]
    page = tmp_path / "page.html"
    town("check", "town", "--report", page, code=3)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert (
        town("check", "town", "--report", tmp_path / "no" / "page.html", "--json", code=1).json["error"]["code"]
        == "workspace.read-only"
    )
    town("check", "town", "--checks", "duplicates")
    record = tmp_path / "record.yaml"
    record.write_text("title: 小镇\nauthority: 测绘院\nextent: [120.0, 29.9, 120.0055, 30.1]\n", encoding="utf-8")
    assert town("describe", "town", record, "--json").json["record"]["authority"] == "测绘院"
    assert "测绘院" in town("describe", "town").out
    assert "测绘院" in town("info", "town").out
    assert "plan-a" in town("info", "town").out
    (told,) = town("info", "town", "--json").json["datasets"]
    assert (told["record"]["title"], told["scenarios"]) == ("小镇", {"plan-a": 2})
    outside = town("check", "town", "--checks", "extent", "--json", code=3).json["findings"]
    assert {e["where"] for f in outside for e in f["examples"]} >= {"houses#d"}


def test_rules_at_a_place_and_for_an_object(town: Town):
    """Which height limits hold here on this day, under which notice."""
    limit = {
        "type": "HeightControlDistrict",
        "maximumBuildingHeight": {"value": 31, "uom": "m"},
        "notificationNumber": "告示第590号",
        "custodian": "市",
    }
    keep(
        Workspace.open(town.folder),
        "city",
        zone("A", [[square(120.0, 29.995)]], limit, valid=("2009-11-11", "2019-01-01")),
    )
    asked = ("rules", "120.003,30.0", "--kind", "height-limit")
    (rule,) = town(*asked, "--at", "2015-01-01", "--json").json["rules"]
    assert (rule["kind"], rule["parameters"]["max_height_m"], rule["basis"]["notice"]) == (
        "height-limit",
        31.0,
        "告示第590号",
    )
    assert town(*asked, "--at", "2020-01-01", "--json").json["rules"] == []
    shown = town(*asked, "--at", "2015-01-01").out
    assert all(text in shown for text in ("Height limit", "31.0 m", "告示第590号", "2009-11-11 – 2019-01-01"))
    assert [r["id"] for r in town("rules", str(town.id("a")), "--at", "2015-01-01", "--json").json["rules"]] == [
        rule["id"]
    ]
    assert town(*asked, "--at", "2015-01-01", "--dataset", "town", "--json").json["rules"] == []
    assert town(*asked, "--at", "2015-01-01", "--seq", "3", "--json").json["rules"] == []


def test_the_command_itself(town: Town):
    """In a process of its own, in the other language."""
    found = ok("query", "town", "-w", town.folder, "--limit", "1", TIM_LANG="zh")
    assert "名称" in found.out
    assert "还有更多" in found.err
    assert "恢复到较早" in ok("rollback", "--help", TIM_LANG="zh").out
    assert tim("rollback", "town", "--to", "1", "-w", town.folder, TIM_LANG="zh").code == 2


def test_align(town: Town, capsys: pytest.CaptureFixture[str]):
    """Proposals of two datasets; what is decided is in the log and not proposed again."""
    other = Dataset("survey", "Survey", "objects", dataset_uid("survey"), TOWN.frame)
    with Workspace.open(town.folder).store() as store:
        twins = [house(key, i, codes=(), valid_from=None) for key, i in (("a", 3), ("b", 4), ("d", 6))]
        store.apply(Changeset("survey", map(Put, twins), make=other))
    found = town("align", "town", "survey", "--json").json["proposals"]
    assert sorted((p["nameA"], p["nameB"], p["score"]) for p in found) == [(f"{k}号楼", f"{k}号楼", 1.0) for k in "abd"]
    shown = town("align", "town", "survey", "--limit", "2").out
    assert "footprint 1.000" in shown
    pairs = {p["nameA"][0]: f"{p['a']}={p['b']}" for p in found}
    assert "cli.not-confirmed" in town("align", "town", "survey", "--accept", pairs["a"], "--json", code=2).out
    for wrong, code in (("x=y", "cli.bad-pair"), (f"{UUID(int=1)}={UUID(int=2)}", "alignment.not-proposed")):
        assert code in town("align", "town", "survey", "--accept", wrong, "--json", code=2).out
    said = ("--reject", pairs["b"], "--reason", "another yard", "--author", "me", "--yes", "--json")
    done = town("align", "town", "survey", "--accept-from", "0.9", *said).json
    assert (done["accepted"], done["rejected"], done["applied"]["updated"]) == (2, 1, 3)
    assert town("align", "town", "survey", "--json").json["proposals"] == []
    with Workspace.open(town.folder).store() as store:
        kinds = {key: [r.kind for r in store.read([town.id(key)])[0].object.relations] for key in "abd"}
        assert kinds == {"a": ["represents"], "b": ["distinctFrom"], "d": ["represents"]}
        assert (next(store.log()).author, next(store.log()).reason) == ("me", "another yard")
