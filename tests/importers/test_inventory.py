"""A disk with every layout of deliveries, as the inventory sees it: kinds, extents, counts, CRS, problems, groups, estimates, documents, page."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from importers import Probe
from importers.inventory import COLUMNS, crs_name, groups, to_csv
from importers.page import to_html, write_page
from importers.plan import Delivery, Estimate, Options, Plan, estimate, make_plan
from importers.run import run_import
from tests.importers.citygml import samples
from tests.importers.dem.test_headers import copied
from tests.importers.dem.test_headers import write as write_heights
from tests.importers.ifc.houses import conversion, house, written
from tests.importers.las import clouds
from tests.importers.osgb.scenes import METADATA, block, production
from tests.importers.vector.fixtures import EAST, NORTH, squares, write
from tests.system.command import ok, tim
from tests.tiles1 import LAT, LON, b3dm, tileset
from tim.errors import SourceError, UsageError
from tim.model import Rejected
from tim.place.resolve import FoundCrs, PlaceOptions
from tim.workspace import Workspace

PLACE = PlaceOptions(vertical="ellipsoid")
NETWORK = "[JUNCTIONS]\n A 10 5\n B 12\n[PIPES]\n P A B 100 300 100 0 Open\n[COORDINATES]\n A 0 0\n B 100 0\n[END]\n"
CITY: Mapping[str, Any] = {
    "type": "CityJSON", "version": "2.0", "transform": {"scale": [0.001] * 3, "translate": [EAST, NORTH, 0]},
    "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/4547",
                 "geographicalExtent": [EAST, NORTH, 0, EAST + 10, NORTH + 10, 9]},
    "CityObjects": {"h1": {"type": "Building", "attributes": {}}, "h2": {"type": "Building", "attributes": {}}}, "vertices": [],
}  # fmt: skip


def make_disk(root: Path) -> Path:
    """One delivery or more of every kind, as producers lay them out, and what lies about on disks."""
    production(root / "cc" / "Production_1", blocks=2)
    for part in ("Data", "Data2", "Data3"):
        block(root / "cc3" / part / f"Tile_{part}", levels=2)
    (root / "cc3" / "metadata.xml").write_text(METADATA.format(srs="ENU:30.5,114.25", origin="0,0,0"), encoding="utf-8")
    for name in ("BlockA", "BlockB"):
        block(root / "dji" / "terra_osgbs" / name, levels=2)
    (root / "dji" / "terra_osgbs" / "metadata.xml").write_text(
        METADATA.format(srs="EPSG:4547", origin="500000,3400000,0"), encoding="utf-8"
    )
    block(root / "pix4d" / "tile_0", levels=2)
    for number in range(3):
        corner = clouds.CORNER + [300 * number, 0, 0]
        xyz = np.random.default_rng(number).uniform(0, 1, (500, 3)) * [300, 300, 30] + corner
        (root / "laser").mkdir(exist_ok=True)
        clouds.write(root / "laser" / f"sheet_{number}.laz", xyz=xyz)
    clouds.write(root / "laser" / "no_crs.las", 100, crs=None)
    heights(root / "dem")
    for name in ("地块", "道路"):
        write(root / "vector" / f"{name}.shp", squares(4), {"名称": ["一", "二", "三", "四"]}, encoding="GBK")
    write(
        root / "vector" / "town.gpkg",
        squares(3),
        {"height": [3.0, 4.0, 5.0]},
        layer="房屋",
        geometry_type="MultiPolygon",
    )
    write(
        root / "vector" / "town.gpkg", [shapely.Point(EAST, NORTH)], layer="trees", append=False, geometry_type="Point"
    )
    (root / "vector" / "wells.csv").write_text("id,lon,lat\n1,114.1,30.5\n2,114.2,30.6\n", encoding="utf-8")
    (root / "city").mkdir()
    (root / "city" / "quarter.city.json").write_text(json.dumps(CITY), encoding="utf-8")
    (root / "city" / "houses.gml").write_text(
        samples.model(samples.house("a"), samples.house("b", 0.001)), encoding="utf-8"
    )
    (root / "bim").mkdir()
    written(root / "bim", house(conversion("500000.,3400000.,20.,1.,0.,1.")))
    (root / "bim" / "water.inp").write_text(NETWORK, encoding="utf-8")
    tileset(root / "old tiles", {"a.b3dm": b3dm()})
    (root / "readme.txt").write_text("see the contract", encoding="utf-8")
    (root / "contract.PDF").write_bytes(b"%PDF-1.4")
    return root


def heights(folder: Path) -> None:
    """Sheets of heights in each format."""
    folder.mkdir()
    for number in range(2):
        write_heights(folder / f"dem_{number}.tif")
    write_heights(folder / "dem.img", "HFA")
    (folder / "dem.asc").write_text("ncols 3\nnrows 2\nxllcorner 500000\nyllcorner 3400000\ncellsize 2\n1 2 3\n4 5 6\n")
    (folder / "dem.prj").write_text('PROJCS["CGCS2000 / 3-degree Gauss-Kruger CM 114E"]')
    copied(folder / "N30E114.hgt", "SRTMHGT", 1201, 114, 30)
    copied(folder / "n30.dt0", "DTED", 121, 114, 30)


@dataclass(frozen=True)
class Disk:
    root: Path
    plan: Plan

    def __getitem__(self, key: str) -> Delivery:
        (one,) = [d for d in self.plan.deliveries if d.probe.key == key]
        return one


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Disk:
    root = make_disk(tmp_path_factory.mktemp("disk") / "盘 1")
    return Disk(root, make_plan([root], Options(place=PLACE)))


LINES = {
    "cc/Production_1": ("osgb", "meshes", "EPSG:4547", None),
    "cc3": ("osgb", "meshes", "ENU:30.5,114.25", None),
    "dji/terra_osgbs": ("osgb", "meshes", "EPSG:4547", None),
    "pix4d": ("osgb", "meshes", None, None),
    "laser/sheet_0.laz": ("las", "points", "EPSG:32650", 500),
    "laser/sheet_1.laz": ("las", "points", "EPSG:32650", 500),
    "laser/sheet_2.laz": ("las", "points", "EPSG:32650", 500),
    "laser/no_crs.las": ("las", "points", None, 100),
    "dem/dem_0.tif": ("dem", "grid", "EPSG:4547", None),
    "dem/dem_1.tif": ("dem", "grid", "EPSG:4547", None),
    "dem/dem.img": ("dem", "grid", "EPSG:4547", None),
    "dem/dem.asc": ("dem", "grid", "CGCS2000 / 3-degree Gauss-Kruger CM 114E", None),
    "dem/N30E114.hgt": ("dem", "grid", "EPSG:4326", None),
    "dem/n30.dt0": ("dem", "grid", "EPSG:4326", None),
    "vector/地块.shp": ("vector", "objects", "EPSG:4547", 4),
    "vector/道路.shp": ("vector", "objects", "EPSG:4547", 4),
    "vector/town.gpkg#房屋": ("vector", "objects", "EPSG:4547", 3),
    "vector/town.gpkg#trees": ("vector", "objects", "EPSG:4547", 1),
    "vector/wells.csv": ("vector", "objects", None, 2),
    "city/quarter.city.json": ("cityjson", "objects", "EPSG:4547", None),
    "city/houses.gml": ("citygml", "objects", "EPSG:6697", None),
    "bim/house.ifc": ("ifc", "objects", "EPSG:4547", None),
    "bim/water.inp": ("epanet", "objects", None, 3),
    "old tiles": ("tiles3d", "tiles", "EPSG:4979", None),
}


def test_every_layout_is_found_once_and_nothing_else(disk: Disk):
    assert sorted(d.probe.key for d in disk.plan.deliveries) == sorted(LINES)
    for key, (format_name, kind, _, _) in LINES.items():
        assert (disk[key].probe.format, disk[key].probe.kind) == (format_name, kind), key
    left = {item.fields["suffix"]: item.fields["count"] for item in disk.plan.left_out}
    assert left == {".txt": 1, ".pdf": 1}, "what belongs to a delivery is not left over"
    assert {item.code for item in disk.plan.left_out} == {"import.unknown-type"}


@pytest.mark.parametrize("key", LINES)
def test_crs_as_found_and_counts(disk: Disk, key: str):
    _, _, crs, count = LINES[key]
    probe = disk[key].probe
    if count is not None:
        assert probe.count == count
    found = probe.found.horizontal
    if crs is None or not crs.startswith("EPSG:"):
        assert crs_name(disk[key]) == (crs or "?")
    else:
        assert found is not None
        assert pyproj.CRS(found).to_2d().to_epsg(20) == int(crs[5:]) or pyproj.CRS(found).equals(pyproj.CRS(crs)), found


def test_sizes_are_those_of_the_files(disk: Disk):
    """A delivery has the bytes of its files, those that belong to it among them; a file is of one delivery."""
    for key, suffixes in {"dem/dem_0.tif": (".tif",), "laser/sheet_1.laz": (".laz",), "vector/地块.shp": (".shp", ".dbf", ".shx", ".prj", ".cpg")}.items():  # fmt: skip
        path = disk.root / key
        there = [path.with_suffix(s) for s in suffixes if path.with_suffix(s).exists()]
        assert disk[key].probe.size == sum(p.stat().st_size for p in there), key
        assert disk[key].probe.files == len(there), key
    for key in ("cc/Production_1", "cc3", "dji/terra_osgbs", "pix4d"):
        files = list((disk.root / key).rglob("*.osgb"))
        assert (disk[key].probe.files, disk[key].probe.size) == (len(files), sum(f.stat().st_size for f in files)), key


def test_extents_by_other_readers(disk: Disk):
    for number in range(3):
        probe = disk[f"laser/sheet_{number}.laz"].probe
        with laspy.open(disk.root / probe.key) as cloud:
            np.testing.assert_allclose([probe.low, probe.high], [cloud.header.mins, cloud.header.maxs])
    for key, layer in (
        ("vector/地块.shp", None),
        ("vector/town.gpkg#房屋", "房屋"),
        ("vector/town.gpkg#trees", "trees"),
    ):
        probe = disk[key].probe
        assert probe.low is not None
        assert probe.high is not None
        expected = pyogrio.read_info(probe.uri, layer=layer)["total_bounds"]
        np.testing.assert_allclose([*probe.low[:2], *probe.high[:2]], expected)
    model = disk["city/quarter.city.json"].probe
    assert (*(model.low or ()), *(model.high or ())) == tuple(CITY["metadata"]["geographicalExtent"])
    tiles = disk["old tiles"].probe
    assert tiles.low is not None
    assert tiles.high is not None
    for axis, value in enumerate((LON, LAT)):
        assert tiles.low[axis] < value < tiles.high[axis]
    for d in disk.plan.deliveries:
        if d.probe.low is not None and d.probe.high is not None:
            assert all(a <= b for a, b in zip(d.probe.low, d.probe.high, strict=True)), d.probe.key


def test_problems_are_named_where_they_are(disk: Disk):
    """Where a place is missing or contradicted, before anything is imported; heights that are only listed say so, each."""
    found = {d.probe.key: {p.code for p in d.probe.problems} for d in disk.plan.deliveries if d.probe.problems}
    expected = {key: {"place.crs-missing"} for key, line in LINES.items() if line[2] is None}
    expected |= {key: {"dem.listed"} for key, line in LINES.items() if line[0] == "dem"}
    expected |= {"city/houses.gml": {"place.vertical-contradicts"}, "bim/house.ifc": {"ifc.scale-corrected"}}
    assert found == expected
    for d in disk.plan.deliveries:
        assert all(p.fields.get("where", d.probe.key) == d.probe.key for p in d.probe.problems)
    placed = make_plan([disk.root / "pix4d"], Options(place=replace(PLACE, crs="ENU:30.5,114.25")))
    assert placed.deliveries[0].probe.problems == ()


def test_sheets_of_a_folder_are_one_line(disk: Disk):
    lines = groups(disk.plan)
    found = {(g.name, g.format): g for g in lines}
    sheets = found["laser/*", "las"]
    assert (len(sheets.deliveries), sheets.files, sheets.count) == (3, 3, 1500)
    assert sheets.size == sum((disk.root / "laser" / f"sheet_{n}.laz").stat().st_size for n in range(3))
    assert found["laser/no_crs.las", "las"].crs == "?", "another CRS is another line"
    assert sum(len(g.deliveries) for g in lines) == len(disk.plan.deliveries) == len(LINES)
    assert sum(g.problems for g in lines) == sum(len(d.probe.problems) for d in disk.plan.deliveries)


def test_estimates(disk: Disk):
    for d in disk.plan.deliveries:
        assert d.estimate == estimate(d.probe.format, d.probe.size, d.probe.count)
        assert d.estimate.seconds >= 0
    assert disk["laser/sheet_0.laz"].estimate.disk > 0
    assert {disk[key].estimate for key, line in LINES.items() if line[0] in ("dem", "tiles3d")} == {Estimate(0.0, 0)}
    points = estimate("las", 10**9, 10**8)
    assert 30 < points.seconds < 300, "a hundred million points are a minute or two"
    assert points.disk > 10**9


def test_the_same_disk_elsewhere_has_the_same_lines(disk: Disk, tmp_path: Path):
    there = make_disk(tmp_path / "deeper" / "盘 1")

    def lines(plan: Plan) -> list[tuple[Any, ...]]:
        return [(d.probe.key, d.dataset, d.probe.low, d.probe.high, d.probe.count, d.take) for d in plan.deliveries]

    assert lines(make_plan([there], Options(place=PLACE))) == lines(disk.plan)


def test_no_delivery_is_opened_beyond_its_head(disk: Disk, tmp_path: Path):
    """A bulky sheet that is a hole behind its header costs nothing."""
    path = tmp_path / "big.las"
    clouds.write(path, 10)
    os.truncate(path, 1 << 36)
    (one,) = make_plan([path]).deliveries
    assert one.probe.size == 1 << 36


# Documents


def rows(plan: Plan, **options: Any) -> list[dict[str, str]]:
    text = to_csv(plan, **options)
    assert text.startswith("\ufeff"), "spreadsheets know it for UTF-8"
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


def test_csv_says_what_the_plan_says(disk: Disk):
    found = rows(disk.plan)
    assert list(found[0]) == list(COLUMNS)
    assert len(found) == len(disk.plan.deliveries) + len(disk.plan.left_out)
    for row, d in zip(found, disk.plan.deliveries, strict=False):
        assert (row["uri"], row["key"], row["format"], row["dataset"]) == (
            d.probe.uri,
            d.probe.key,
            d.probe.format,
            d.dataset,
        )
        assert row["import"] == ("no" if d.probe.format == "dem" else "yes")
        assert row["bytes"] == str(d.probe.size)
        assert row["count"] == ("" if d.probe.count is None else str(d.probe.count))
        if d.probe.low is not None:
            assert [float(row[name]) for name in ("west", "south", "bottom")] == list(d.probe.low)
        assert row["problems"].count("\n") + bool(row["problems"]) == len(d.probe.problems)
    assert "contract.PDF" in found[-2]["problems"] + found[-1]["problems"]


def test_csv_speaks_chinese(disk: Disk):
    texts = [row["problems"] for row in rows(disk.plan, language="zh") if row["import"] == "no"]
    assert texts
    assert all("未导入" in text for text in texts)


def test_yaml_out_and_in_again(disk: Disk):
    text = disk.plan.to_yaml()
    assert "房屋" in text
    again = Plan.from_yaml(text)
    assert again.to_yaml() == text
    assert [(d.probe.uri, d.probe.key, d.dataset, d.take) for d in again.deliveries] == [
        (d.probe.uri, d.probe.key, d.dataset, d.take) for d in disk.plan.deliveries
    ]
    assert {d.take for d in again.deliveries if d.probe.format != "dem"} == {True}
    assert {d.take for d in again.deliveries if d.probe.format == "dem"} == {False}


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
numbers = st.floats(-1e9, 1e9, allow_nan=False)
triples = st.none() | st.tuples(numbers, numbers, numbers)
deliveries = st.builds(
    Delivery,
    probe=st.builds(
        Probe, uri=texts, format=st.sampled_from(["las", "osgb", "dem", "vector"]), kind=st.just("points"), key=texts,
        files=st.integers(0, 10**6), size=st.integers(0, 2**50), count=st.none() | st.integers(0, 10**12), low=triples, high=triples,
        found=st.builds(FoundCrs, horizontal=st.none() | texts, vertical=st.none() | texts, where=texts),
        problems=st.lists(st.builds(Rejected, where=texts, code=st.just("las.empty"), fields=st.fixed_dictionaries({"file": texts})), max_size=3).map(tuple),
        fatal=st.booleans(),
    ),
    dataset=st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True), title=texts, place=st.builds(PlaceOptions, crs=st.none() | texts),
    estimate=st.builds(Estimate, seconds=st.floats(0, 1e6).map(lambda s: round(s, 1)), disk=st.integers(0, 2**50)), take=st.booleans(),
)  # fmt: skip
plans = st.builds(
    lambda found: Plan(tuple(found)), st.lists(deliveries, max_size=6, unique_by=lambda d: (d.dataset, d.probe.key))
)


@settings(max_examples=100, deadline=None)
@given(plans)
def test_any_plan_survives_its_documents(plan: Plan):
    assert Plan.from_yaml(plan.to_yaml()) == plan
    found = rows(plan)
    assert len(found) == len(plan.deliveries)
    for row, d in zip(found, plan.deliveries, strict=True):
        # A cell that a spreadsheet would take for a formula has an apostrophe before it; nothing else is changed.
        for name, value in (("uri", d.probe.uri), ("key", d.probe.key)):
            assert row[name] in (value, f"'{value}")
            assert not row[name].startswith(("=", "+", "-", "@", "\t", "\r"))
    together = groups(plan)
    assert sum(len(g.deliveries) for g in together) == len(plan.deliveries)
    assert sum(g.size for g in together) == sum(d.probe.size for d in plan.deliveries)
    assert sum(g.disk for g in together) == sum(d.estimate.disk for d in plan.deliveries if d.take)


# What is only listed


def test_heights_beside_points_are_listed_not_imported(tmp_path: Path):
    """The run says so, and nothing is wrong: no quarantine, exit code 0."""
    (tmp_path / "d").mkdir()
    clouds.write(tmp_path / "d" / "a.laz", 500)
    write_heights(tmp_path / "d" / "dem.tif")
    workspace = Workspace.create(tmp_path / "ws")
    report = run_import(workspace, make_plan([tmp_path / "d"], Options(place=PLACE)))
    assert [(d.dataset, d.count) for d in report.datasets] == [("d-points", 500)]
    assert [(r.where, r.code) for r in report.rejected] == [("dem.tif", "dem.listed")]
    assert not any(path.stat().st_size for path in (tmp_path / "ws" / "quarantine").rglob("*") if path.is_file())
    done = tim("import", tmp_path / "d", "-w", tmp_path / "ws", "--vertical", "ellipsoid")
    assert done.code == 0, done.err
    assert "dem.tif is a height raster: listed, not imported" in done.err
    assert (
        "已列入清单，未导入"
        in tim("import", tmp_path / "d", "-w", tmp_path / "ws", "--vertical", "ellipsoid", TIM_LANG="zh").err
    )


def test_heights_alone_are_refused(tmp_path: Path):
    path = write_heights(tmp_path / "dem.tif")
    workspace = Workspace.create(tmp_path / "ws")
    with pytest.raises(SourceError) as refused:
        run_import(workspace, make_plan([path]))
    assert refused.value.code == "dem.not-imported"
    done = tim("import", path, "-w", tmp_path / "ws")
    assert done.code == 1
    assert "terrain cannot be imported yet" in done.err
    with workspace.store() as store:
        assert store.datasets() == []
    listed = ok("import", path, "--dry-run", "--json").json
    assert [(d["format"], d["import"]) for d in listed["deliveries"]] == [("dem", False)]


def test_a_plan_that_insists_on_heights_is_told(tmp_path: Path):
    """``import: true`` is an order that cannot be followed: quarantined, as anything that was to be imported and was not."""
    (tmp_path / "d").mkdir()
    clouds.write(tmp_path / "d" / "a.laz", 500)
    write_heights(tmp_path / "d" / "dem.tif")
    text = make_plan([tmp_path / "d"], Options(place=PLACE)).to_yaml()
    assert text.count("import: false") == 1
    plan = Plan.from_yaml(text.replace("import: false", "import: true"))
    report = run_import(Workspace.create(tmp_path / "ws"), plan)
    assert [(r.where, r.code) for r in report.rejected] == [("dem.tif", "dem.not-imported")]


def test_any_delivery_can_be_only_listed(tmp_path: Path):
    (tmp_path / "d").mkdir()
    for name in ("a", "b"):
        clouds.write(tmp_path / "d" / f"{name}.laz", 500)
    text = make_plan([tmp_path / "d"], Options(place=PLACE)).to_yaml()
    workspace = Workspace.create(tmp_path / "ws")
    report = run_import(workspace, Plan.from_yaml(text.replace("import: true", "import: false", 1)))
    assert [(r.where, r.code) for r in report.rejected] == [("a.laz", "import.not-taken")]
    with workspace.store() as store:
        assert [s.key for s in store.sources("d")] == ["b.laz"]
    with pytest.raises(UsageError) as refused:
        run_import(workspace, Plan.from_yaml(text.replace("import: true", "import: false")))
    assert refused.value.code == "import.empty-plan"


# The command and the page


def test_the_command_writes_both_documents(disk: Disk, tmp_path: Path):
    out = ok(
        "import",
        disk.root,
        "--dry-run",
        "--plan",
        tmp_path / "plan.yaml",
        "--csv",
        tmp_path / "list.csv",
        "--vertical",
        "ellipsoid",
    )
    plan = Plan.from_yaml((tmp_path / "plan.yaml").read_text(encoding="utf-8"))
    assert [d.probe.key for d in plan.deliveries] == [d.probe.key for d in disk.plan.deliveries]
    assert (tmp_path / "list.csv").read_bytes().decode() == to_csv(disk.plan, "en")
    for name in ("cc/Production_1", "laser/*", "dem/*", "old tiles"):
        assert name in out.out
    assert "listed, not imported" in out.err
    only = ok("import", disk.root, "--dry-run", "--json", "--as", "points").json
    assert {d["format"] for d in only["deliveries"]} == {"las"}
    assert {item["code"] for item in only["left_out"]} == {"import.unknown-type", "import.other-kind"}


def test_the_page_names_all(disk: Disk, tmp_path: Path):
    """What was imported, what was not and what to do, in either language; names are text, never markup."""
    (tmp_path / "d").mkdir()
    clouds.write(tmp_path / "d" / "<b>a&b.laz", 500)
    write_heights(tmp_path / "d" / "dem.tif")
    (tmp_path / "d" / "bad.laz").write_bytes(b"LASF" + bytes(300))
    workspace = Workspace.create(tmp_path / "ws")
    report = run_import(workspace, make_plan([tmp_path / "d"], Options(place=PLACE)))
    for language, words in (("en", ("listed, not imported", "bad.laz")), ("zh", ("未导入", "导入报告", "bad.laz"))):
        page = to_html(report, language)  # type: ignore[arg-type]
        assert all(word in page for word in words)
        assert "&lt;b&gt;a&amp;b.laz" in page
        assert "<b>" not in page
    path = write_page(workspace, report, "en")
    record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert {r["code"] for r in record["rejected"]} >= {"dem.listed"}
    assert write_page(workspace, report, "en").stem > path.stem
