"""Bad records: quarantined with their content, given out, repaired, imported again, and no longer open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from importers.page import to_html
from importers.plan import Options, make_plan
from importers.run import ImportReport, run_import
from tim.place.resolve import PlaceOptions
from tim.store import Filter
from tim.workspace import Workspace

MAPPING = """
layers:
  - match: "*"
    class: building.house
    key: 编号
    height: 高度
    codes: [{scheme: cn.real-estate-unit, edition: GB/T 37346-2019, field: 单元}]
"""


def feature(key: str | None, x: float | None, height: float = 10.0, unit: str = "") -> dict[str, Any]:
    ring = [[x, 30.0], [x + 0.001, 30.0], [x + 0.001, 30.001], [x, 30.001], [x, 30.0]] if x is not None else []
    geometry = None if x is None else {"type": "Polygon", "coordinates": [ring]}
    return {
        "type": "Feature",
        "geometry": geometry,
        "properties": {"编号": key, "高度": height, "单元": unit, "名称": "楼"},
    }


def write(path: Path, *features: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(f, ensure_ascii=False) + "\n" for f in features), encoding="utf-8")
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "w")


def take(workspace: Workspace, path: Path, **settings: str) -> ImportReport:
    mapping = path.parent / "mapping.yaml"
    mapping.write_text(MAPPING, encoding="utf-8")
    place = PlaceOptions(vertical="ellipsoid")
    return run_import(
        workspace,
        make_plan([path], Options(dataset="town", place=place, settings={"mapping": str(mapping), **settings})),
    )


def open_records(workspace: Workspace) -> dict[str, str]:
    return {r.where: r.code for r in workspace.quarantine.records("town")}


def keys(workspace: Workspace) -> dict[str, str]:
    with workspace.store() as store:
        return {v.object.source_key: v.object.layer for v in store.query(Filter("town")).items}


BAD = [feature("a", 120.0), feature(None, 120.01), feature("c", None), feature("a", 120.03)]
WRONG = {
    "houses.geojsonl:2": "vector.key-missing",
    "houses.geojsonl:3": "vector.no-geometry",
    "houses.geojsonl:4": "vector.key-twice",
}


def test_repaired_at_the_source(workspace: Workspace, tmp_path: Path):
    path = write(tmp_path / "houses.geojsonl", *BAD)
    take(workspace, path)
    assert open_records(workspace) == WRONG
    take(workspace, path)  # unchanged: not read again, still open, and no second run
    assert open_records(workspace) == WRONG
    assert len(workspace.quarantine.runs("town")) == 1
    write(path, feature("a", 120.0), feature("b", 120.01), feature("c", None), feature("d", 120.03))
    take(workspace, path)
    assert open_records(workspace) == {"houses.geojsonl:3": "vector.no-geometry"}
    write(path, *(feature(k, 120 + i / 100) for i, k in enumerate("abcd")))
    take(workspace, path)
    assert workspace.quarantine.count("town") == 0
    assert set(keys(workspace)) == set("abcd")


def test_given_out_repaired_and_imported(workspace: Workspace, tmp_path: Path):
    take(workspace, write(tmp_path / "houses.geojsonl", *BAD))
    out = tmp_path / "repaired.geojsonl"
    assert workspace.quarantine.export("town", out) == 3
    given = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [f["properties"]["tim:repairs"] for f in given] == list(WRONG)
    assert given[0]["properties"]["名称"] == "楼"
    assert given[0]["geometry"]["coordinates"][0][0] == [120.01, 30.0]
    assert given[1]["geometry"] is None
    given[0]["properties"]["编号"] = "b"
    given[2]["properties"]["编号"] = "d"
    report = take(workspace, write(out, *given))
    assert report.datasets[0].objects["created"] == 2
    assert report.datasets[0].diff is not None
    assert report.datasets[0].diff.absent == 0
    assert keys(workspace) == {"a": "houses", "b": "houses", "d": "houses"}
    assert open_records(workspace) == {
        "houses.geojsonl:3": "vector.no-geometry", "repaired.geojsonl:2": "vector.no-geometry",
    }  # fmt: skip
    with workspace.store() as store:
        found = next(v for v in store.query(Filter("town")).items if v.object.source_key == "b")
        assert found.object.attributes == {"编号": "b", "高度": 10.0, "名称": "楼"}
        assert found.source == "repaired.geojsonl"
        sources = {s.key: s.options.get("repairs") for s in store.sources("town")}
    assert sources == {"houses.geojsonl": None, "repaired.geojsonl": ["houses.geojsonl:2", "houses.geojsonl:4"]}


def test_a_delivery_that_cannot_be_read_is_settled_when_it_can(workspace: Workspace, tmp_path: Path):
    good, empty = tmp_path / "good", tmp_path / "houses.geojsonl"
    good.mkdir()
    write(good / "good.geojsonl", feature("a", 120.0))
    write(empty, feature("b", None))
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text(MAPPING, encoding="utf-8")
    options = Options(dataset="town", place=PlaceOptions(vertical="ellipsoid"), settings={"mapping": str(mapping)})
    run_import(workspace, make_plan([good, empty], options))
    assert set(open_records(workspace)) == {"houses.geojsonl"}
    take(workspace, write(empty, feature("b", 120.1)))
    assert open_records(workspace) == {}
    assert set(keys(workspace)) == {"a", "b"}


def test_records_are_checked_as_they_come(workspace: Workspace, tmp_path: Path):
    folder = workspace.path / "classes"
    folder.mkdir()
    (folder / "own.toml").write_text(
        '"building.house" = { attributes."层数" = {type = "integer", required = true, en = "S", zh = "层数"} }',
        encoding="utf-8",
    )
    report = take(
        workspace, write(tmp_path / "houses.geojsonl", feature("a", 120.0, unit="340123"), feature("b", 120.1))
    )
    found = {f.code: f.count for f in report.datasets[0].quality}
    assert found == {"quality.missing": 2, "codes.unit-length": 1}
    assert report.record()["datasets"][0]["quality"][0]["examples"][0]["where"] == "houses#a"
    page = to_html(report, "zh")
    assert "必填属性“层数”缺失" in page
    assert keys(workspace) == {"a": "houses", "b": "houses"}
    again = take(workspace, tmp_path / "houses.geojsonl")
    assert again.datasets[0].quality == []
    (folder / "own.toml").write_text('"building.house.tower" = { en = "Tower", zh = "塔楼" }', encoding="utf-8")
    towers = MAPPING.replace("building.house", "building.house.tower")
    (tmp_path / "towers.yaml").write_text(towers, encoding="utf-8")
    told = take(
        workspace, write(tmp_path / "towers.geojsonl", feature("t", 120.3)), mapping=str(tmp_path / "towers.yaml")
    )
    assert told.datasets[0].quality == []
