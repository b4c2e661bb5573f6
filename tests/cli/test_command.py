"""The command and what is said about it: every command that a guide names exists, in both languages, and versions can be turned back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.importers.las import clouds
from tests.system.command import ROOT, ok, tim

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
