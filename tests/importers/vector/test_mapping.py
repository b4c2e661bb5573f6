"""Mapping files and keys: what they say is done, what they cannot mean is refused with its line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely

from importers.plan import Options, Plan, make_plan
from importers.run import run_import
from importers.vector import recognise
from importers.vector.mapping import rule_of
from tests.importers.vector.fixtures import EAST, NORTH, squares, take, write
from tim.errors import SourceError, UsageError
from tim.model import Code, Stage, content_hash
from tim.place.resolve import PlaceOptions
from tim.workspace import Workspace

HOUSES = {
    "bh": ["A1", "A2", "A3"], "yt": ["住宅", "商业", "厂房"], "gd": [1200.0, 900.0, 300.0], "dm": ["0701", "0901", None],
    "rq": ["2020/1/2", "不详", "20191231"], "jd": ["planned", "as-built", "?"], "mc": ["甲", "乙", "丙"],
}  # fmt: skip


def houses(folder: Path) -> Path:
    return write(folder / "建筑物.gpkg", squares(3), HOUSES)


def mapping(folder: Path, text: str) -> str:
    path = folder / "mapping.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_everything_a_mapping_says(tmp_path: Path):
    said = mapping(tmp_path, """
layers:
  - match: "道路*"
    class: transport.road
  - match: "*建筑*"
    class: {field: yt, table: {住宅: building.house, 商业: building.unit, "*": building.other}}
    key: bh
    name: mc
    codes: [{scheme: cn.land-use, edition: "2023", field: dm}]
    height: {field: gd, unit: cm}
    base: 5.5
    valid_from: rq
    valid_to: 2030-01-01
    stage: jd
    layer: houses
    attributes: {drop: [gd, mc], rename: {yt: use}}
""")  # fmt: skip
    found = take(houses(tmp_path), mapping=said)
    assert [o.source_key for o in found.objects] == ["A1", "A2", "A3"]
    assert [o.class_id for o in found.objects] == ["building.house", "building.unit", "building.other"]
    assert [o.name for o in found.objects] == ["甲", "乙", "丙"]
    assert [(o.box[2], o.box[5]) for o in found.objects] == [
        pytest.approx(b) for b in ((5.5, 17.5), (5.5, 14.5), (5.5, 8.5))
    ]
    assert [o.codes for o in found.objects] == [
        (Code("cn.land-use", "2023", "0701"),),
        (Code("cn.land-use", "2023", "0901"),),
        (),
    ]
    assert [o.valid_from for o in found.objects] == ["2020-01-02", None, "2019-12-31"]
    assert {o.valid_to for o in found.objects} == {"2030-01-01"}
    assert [o.stage for o in found.objects] == [Stage.PLANNED, Stage.AS_BUILT, Stage.SURVEYED]
    assert {o.layer for o in found.objects} == {"houses"}
    assert set(found.objects[0].attributes) == {"bh", "use", "dm", "rq", "jd"}
    assert [(w.where, w.code) for w in found.warnings] == [
        ("建筑物.gpkg:2", "vector.bad-date"),
        ("建筑物.gpkg:3", "vector.bad-stage"),
    ]
    assert {o.layer for o in take(houses(tmp_path), mapping=said, layer="mine").objects} == {"mine"}


@pytest.mark.parametrize(
    ("line", "code", "at"),
    [
        ("    height: nothing", "vector.mapping-no-field", 4),
        ("    class: building.castle", "vector.mapping-no-class", 4),
        ("    colour: red", "import.plan-unknown-field", 4),
        ("    shape: sphere", "import.plan-wrong-value", 4),
        ("    height: {field: gd, unit: yards}", "import.plan-wrong-value", 4),
        ("    stage: dreamt", "import.plan-wrong-value", 4),
        ("    attributes: {drop: [zz]}", "vector.mapping-no-field", 4),
        ("    codes: [{scheme: a, field: zz}]", "vector.mapping-no-field", 4),
        *((f"    model: {path}", "vector.model-path", 4) for path in ("../tree.glb", "/etc/tree.glb", "C:/tree.glb", "a/../../t.glb", "tree.exe", "..\\\\t.glb")),
        ("   oops", "import.plan-not-yaml", 4),
    ],
)  # fmt: skip
def test_what_a_mapping_cannot_mean(tmp_path: Path, line: str, code: str, at: int):
    said = mapping(tmp_path, f'layers:\n  - match: "*"\n    key: bh\n{line}\n')
    with pytest.raises(UsageError) as refusal:
        take(houses(tmp_path), mapping=said)
    assert refusal.value.code == code
    assert refusal.value.fields["file"] == "mapping.yaml"
    assert refusal.value.fields["line"] == at


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2015", "2015-01-01"),
        ("2015年6月", "2015-06-01"),
        ("20200229", "2020-02-29"),
        ("2021-02-29", None),
        ("2020-01-02T03:04:05", "2020-01-02"),
        ("", None),
    ],
)
def test_dates(tmp_path: Path, text: str, day: str | None):
    said = mapping(tmp_path, "layers:\n  - {valid_from: d}\n")
    (one,) = take(write(tmp_path / "a.gpkg", squares(1), {"d": [text]}), mapping=said).objects
    assert one.valid_from == day


def test_keys(tmp_path: Path):
    path = write(tmp_path / "a.shp", squares(5), {"k": [7.0, 8.0, 7.0, np.nan, 9.5]})
    found = take(path, key="k")
    assert [o.source_key for o in found.objects] == ["7", "8", "9.5"]
    assert [(r.where, r.code) for r in found.rejected] == [
        ("a.shp:3", "vector.key-twice"),
        ("a.shp:4", "vector.key-missing"),
    ]
    assert (found.rejected[0].fields["first"], found.rejected[0].fields["key"]) == (1, "7")
    with pytest.raises(UsageError, match="no field nix"):
        take(path, key="nix")


def test_without_a_key_geometry_is_the_identity(tmp_path: Path):
    first = take(write(tmp_path / "a.shp", squares(3), {"n": [1, 2, 3]}))
    second = take(
        write(tmp_path / "b.shp", [squares(4)[3], *reversed(squares(3))], {"n": [9, 8, 7, 6], "m": [1, 1, 1, 1]})
    )
    assert [o.source_key for o in second.objects][:0:-1] == [o.source_key for o in first.objects]


def test_a_model_of_ones_own(tmp_path: Path):
    path = write(tmp_path / "statues.gpkg", [shapely.Point(EAST, NORTH)], {"turn": [90.0]})
    said = mapping(tmp_path, "layers:\n  - {model: models/statue.glb, scale: 2, heading: turn}\n")
    with pytest.raises(SourceError, match=r"statue\.glb"):
        take(path, mapping=said)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "statue.glb").write_bytes(b"glTF" + bytes(20))
    found = take(path, mapping=said)
    (model,) = found.objects[0].representations
    assert (model.role, model.format, model.content) == ("model", "glb", content_hash(b"glTF" + bytes(20)))
    assert (model.properties["scale"], model.properties["heading"]) == (2.0, 90.0)


@pytest.mark.parametrize("shape", ["extrude", "flat", "solid"])
def test_shapes(tmp_path: Path, shape: str):
    said = mapping(tmp_path, f"layers:\n  - {{shape: {shape}, height: 10}}\n")
    (one, *_) = take(houses(tmp_path), mapping=said).objects
    assert one.representations[0].role == ("footprint" if shape == "flat" else "body")
    assert (one.box[5] == 10.0) == (shape == "extrude")


@pytest.mark.parametrize("written", [False, True])
def test_columns_named_in_a_mapping(tmp_path: Path, written: bool):
    path = tmp_path / "点.csv"
    path.write_text(f"甲,乙,丙\n{EAST},{NORTH},a\n{EAST + 5},{NORTH},b\n", encoding="gb18030")
    said = mapping(tmp_path, "layers:\n  - {x: 甲, y: 乙, name: 丙}\n")
    options = Options(dataset="d", place=PlaceOptions(crs="EPSG:4547", vertical="ellipsoid"))
    assert [d.probe.fatal for d in make_plan([path], options).deliveries] == [True]
    plan = make_plan([path], replace(options, settings={"mapping": said, "encoding": "GBK"}))
    assert [(d.probe.fatal, d.probe.low, d.probe.count) for d in plan.deliveries] == [(False, (EAST, NORTH, 0.0), 2)]
    report = run_import(Workspace.create(tmp_path / "work"), Plan.from_yaml(plan.to_yaml()) if written else plan)
    assert report.datasets[0].objects["created"] == 2
    assert not report.rejected


@pytest.mark.parametrize(
    ("layer", "class_id"),
    [
        ("建筑", "building.house"), ("buildings_2024", "building.house"), ("雨水管线", "pipeline.pipe.drainage"), ("GasPipe", "pipeline.pipe.gas"),
        ("行道树", "vegetation.tree"), ("街道", "transport.road"), ("宗地", "cadastre.parcel"), ("x", "land.other"), ("路灯", "land.furniture.lamp"),
        ("greenhouse_street", "building.house"),
    ],
)  # fmt: skip
def test_classes_of_layers(layer: str, class_id: str):
    assert recognise.class_of(layer) == class_id
    rule = rule_of(layer, ["建筑高度(米)", "名称"])
    assert rule.recognised["class"] == class_id
    assert ("height" in rule.recognised) == class_id.startswith(("building", "land", "vegetation"))
