"""Points whose class is a matter of their record get the model of that class."""

from __future__ import annotations

from pathlib import Path

from importers.plan import Options, make_plan
from importers.run import run_import
from tim.place.resolve import PlaceOptions
from tim.store import Filter
from tim.workspace import Workspace

MAPPING = """\
layers:
  - match: "*"
    class: {field: 类别, table: {树: vegetation.tree, 路灯: land.furniture.lamp}}
    height: 高度
"""


def test_trees_and_lamps_of_one_table_differ(tmp_path: Path):
    (tmp_path / "部件.csv").write_text(
        "x,y,类别,高度\n500000,3400000,树,7\n500010,3400000,路灯,8\n500020,3400000,树,14\n", encoding="utf-8"
    )
    (tmp_path / "mapping.yaml").write_text(MAPPING, encoding="utf-8")
    workspace = Workspace.create(tmp_path / "ws")
    options = Options(
        "parts", place=PlaceOptions("EPSG:4547", "ellipsoid"), settings={"mapping": str(tmp_path / "mapping.yaml")}
    )
    run_import(workspace, make_plan([tmp_path / "部件.csv"], options))
    with workspace.store() as store:
        found = {o.object.attributes["高度"]: o.object for o in store.query(Filter("parts")).items}
    small, lamp, tall = found[7], found[8], found[14]
    assert (small.class_id, lamp.class_id) == ("vegetation.tree", "land.furniture.lamp")
    assert small.representations[0].content == tall.representations[0].content != lamp.representations[0].content
    scales = [one.representations[0].properties["scale"] for one in (small, tall)]
    assert abs(scales[1] - 2 * scales[0]) <= 0.002
