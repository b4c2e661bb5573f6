"""The command and what is said about it: every command that a guide names exists, in both languages, and versions can be turned back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.importers.las import clouds
from tests.importers.vector.fixtures import squares, write
from tests.system.command import ROOT, ok, tim
from tests.tiling.objects.things import table as feature_table
from tiling.archive import Archive
from tiling.spec import glb

SITE = """[harbour]
kind = "helmert-2d"
to = "EPSG:4547"
dx = 12.345
dy = -6.789
rotation = 1.5
rotation_unit = "arcsec"
scale_ppm = 3.2
"""
GUIDES = sorted([*ROOT.glob("README*.md"), *(ROOT / "docs").glob("*.md")])


def commands(**env: str) -> set[str]:
    return set(re.findall(r"^│ (\w+) ", ok("--help", **env).out, re.MULTILINE))


def test_guides_name_only_commands_that_exist():
    known = commands()
    assert {"init", "import", "tile", "serve", "collect", "rollback", "demo"} <= known
    for guide in GUIDES:
        text = guide.read_text(encoding="utf-8")
        named = set(re.findall(r"(?:^|`|/)tim ([a-z]+)", text, re.MULTILINE))
        assert named <= known, guide.name


def test_help_speaks_chinese():
    assert commands(TIM_LANG="zh") == commands()
    assert "切片" in ok("tile", "--help", TIM_LANG="zh").out + ok("--help", TIM_LANG="zh").out


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    ok("init", tmp_path / "ws", "--crs", "EPSG:32650", "--vertical", "ellipsoid")
    clouds.write(tmp_path / "a.laz", 3000)
    ok("import", tmp_path / "a.laz", "-w", tmp_path / "ws", "--dataset", "cloud")
    ok("tile", "-w", tmp_path / "ws")
    return tmp_path / "ws"


def test_versions_are_made_turned_back_and_collected(workspace: Path):
    first = ok("info", "-w", workspace, "--json").json["datasets"][0]["snapshot"]
    ok("tile", "-w", workspace, "--attributes", "gps_time")
    second = ok("info", "-w", workspace, "--json").json["datasets"][0]["snapshot"]
    assert second["hash"] != first["hash"]
    back = ok("rollback", "cloud", "1", "-w", workspace, "--json").json
    assert back == {"dataset": "cloud", "seq": 3, "hash": first["hash"]}
    assert [s["seq"] for s in ok("log", "-w", workspace, "--json").json["snapshots"]] == [3, 2, 1]
    done = ok("collect", "--keep", "1", "--hours", "0", "-w", workspace, "--json").json
    assert done["snapshots"] == 2
    assert [s["seq"] for s in ok("log", "-w", workspace, "--json").json["snapshots"]] == [3]
    ok("validate", "cloud", "-w", workspace)
    refused = tim("rollback", "cloud", "2", "-w", workspace)
    assert refused.code == 2
    assert "3" in refused.err


def test_doctor_says_what_is_there():
    report = ok("doctor", "--json").json
    assert report["ok"]
    assert {c["name"] for c in report["checks"]} >= {"Python", "numpy", "EGM96"}


def test_doctor_names_the_files_that_places_need(tmp_path: Path):
    """A parameter set that was stored with a dataset and is gone, or another now, is told before tiling fails."""
    site, folder = tmp_path / "site.toml", tmp_path / "ws"
    site.write_text(SITE, encoding="utf-8")
    ok("init", folder)
    clouds.write(tmp_path / "a.laz", 300, crs=None)
    ok(
        "import",
        tmp_path / "a.laz",
        "-w",
        folder,
        "--dataset",
        "cloud",
        "--crs",
        f"@{site}#harbour",
        "--vertical",
        "ellipsoid",
    )

    def told() -> tuple[int, bool, str]:
        outcome = tim("doctor", "-w", folder, "--json")
        (check,) = [c for c in outcome.json["checks"] if c["name"] == "@site.toml#harbour"]
        return outcome.code, check["ok"], check["detail"]

    assert told() == (0, True, str(site))
    site.write_text(SITE + "\n# another\n", encoding="utf-8")
    code, good, detail = told()
    assert (code, good) == (1, False)
    assert "cloud" in detail
    site.unlink()
    code, good, detail = told()
    assert (code, good) == (1, False)
    assert "site.toml" in detail
    assert "✗" in tim("doctor", "-w", folder).out


AS_HOUSES = ("--dataset", "houses", "--layer", "houses", "--key", "编号", "--vertical", "ellipsoid")


@pytest.fixture
def houses(tmp_path: Path) -> Path:
    columns = {"编号": ["A1", "A2", "A3"], "屋主": ["甲", "乙", "丙"], "层数": [3, 5, 7], "备注": ["x", "y", "z"]}
    write(tmp_path / "houses.shp", squares(3), columns, encoding="GBK")
    ok("init", tmp_path / "ws")
    ok("import", tmp_path / "houses.shp", "-w", tmp_path / "ws", *AS_HOUSES)
    return tmp_path / "ws"


def test_attributes_are_columns_of_objects(houses: Path):
    """``tim tile --attributes`` for objects: each feature's values, by the tile's own table; a name that nobody has is told."""
    done = tim("tile", "-w", houses, "--attributes", "屋主, 层数,nothing")
    assert done.code == 0
    assert "nothing" in done.err
    shown = ok("tile", "-w", houses, "--attributes", "屋主,层数,nothing", "--json").json["datasets"][0]
    assert [problem["code"] for problem in shown["problems"]] == ["objects.no-attribute"]
    rows: dict[str, list[object]] = {}
    with Archive(houses / "tiles") as archive:
        assert [a["name"] for a in archive.latest("houses").attributes] == ["tim_id", "class", "name", "屋主", "层数"]  # type: ignore[union-attr]
        for entry in archive.tiles("houses"):
            if entry.content:
                for name, values in feature_table(glb.parse(archive.read(entry.content.hash))).items():
                    rows.setdefault(name, []).extend(values)
    assert rows.keys() == {"tim_id", "class", "name", "屋主", "层数"}, "and no other column"
    assert sorted(zip(rows["屋主"], rows["层数"], strict=True), key=lambda row: row[1]) == [
        ("甲", 3),
        ("乙", 5),
        ("丙", 7),
    ]  # type: ignore[index, arg-type, return-value]
    ok("tile", "-w", houses, "--json")
    with Archive(houses / "tiles") as archive:
        assert "屋主" not in [a["name"] for a in archive.latest("houses").attributes]  # type: ignore[union-attr]


def test_a_delivery_under_another_name(houses: Path, tmp_path: Path):
    """Without a word it is another source, and what is there stays; --replaces says that it is the same."""
    columns = {"编号": ["A1", "A2", "A4"], "屋主": ["甲", "丁", "戊"], "层数": [3, 5, 9], "备注": ["x", "y", "z"]}
    write(tmp_path / "houses_2025.shp", squares(3), columns, encoding="GBK")
    command = ("import", tmp_path / "houses_2025.shp", "-w", houses, *AS_HOUSES)
    done = tim(*command, "--diff", "--json")
    assert done.code == 3
    assert {r["code"] for r in done.json["rejected"]} == {"import.object-of-other"}
    done = tim(*command)
    assert done.code == 3
    assert "--replaces 'houses.shp'" in tim(*command, "--json").out
    (made,) = ok(*command, "--replaces", "houses.shp", "--json").json["datasets"]
    assert made["objects"] == {"created": 0, "updated": 1, "unchanged": 2}
    assert made["diff"]["absent"] == 1
    assert [s["key"] for s in ok("info", "-w", houses, "--json").json["datasets"][0]["sources"]] == ["houses_2025.shp"]


def test_quarantined_records_are_listed_given_out_and_mended(tmp_path: Path):
    workspace, source, bad = tmp_path / "ws", tmp_path / "点.geojsonl", tmp_path / "bad.geojsonl"
    ok("init", workspace, "--vertical", "ellipsoid")
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [120 + i / 10, 30.0]},
            "properties": {"编号": key},
        }
        for i, key in enumerate(["a", None])
    ]
    source.write_text("".join(json.dumps(f, ensure_ascii=False) + "\n" for f in features), encoding="utf-8")
    command = ("-w", workspace, "--dataset", "points", "--key", "编号")
    assert tim("import", source, *command).code == 3
    listed = ok("info", "points", "-w", workspace, "--quarantine", "--json").json
    assert [(r["where"], r["code"]) for r in listed["records"]] == [("点.geojsonl:2", "vector.key-missing")]
    assert "点.geojsonl:2" in ok("info", "points", "-w", workspace, "--quarantine", TIM_LANG="zh").out
    assert ok("info", "points", "-w", workspace, "--repair", bad, "--json").json["written"] == 1
    bad.write_text(bad.read_text(encoding="utf-8").replace('"编号": null', '"编号": "b"'), encoding="utf-8")
    ok("import", bad, *command)
    assert ok("info", "points", "-w", workspace, "--quarantine", "--json").json["records"] == []
    assert ok("info", "-w", workspace, "--json").json["datasets"][0]["objects"] == 2
    assert tim("info", "-w", workspace, "--quarantine").code == 2
