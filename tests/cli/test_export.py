"""``tim export``: the name of the file decides what goes out; options of objects do not go with tiles."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.importers.vector.fixtures import squares, write
from tests.system.command import ok, tim


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    ok("init", folder / "ws", "--vertical", "ellipsoid")
    write(folder / "建筑.gpkg", squares(3), {"名称": ["甲楼", "乙楼", "丙楼"], "高度": [12.0, 30.5, 9.0]})
    ok("import", folder / "建筑.gpkg", "-w", folder / "ws", "--dataset", "houses")
    return folder / "ws"


def test_objects_by_suffix(workspace: Path, tmp_path: Path):
    out = tmp_path / "new" / "h.geojsonl"
    done = ok("export", "houses", out, "-w", workspace, "--class", "building", "--json").json
    assert (done["format"], done["objects"], done["bytes"]) == ("geojsonseq", 3, out.stat().st_size)
    assert [problem["code"] for problem in done["problems"]] == ["export.flattened"]
    names = {
        json.loads(line.lstrip("\x1e"))["properties"]["name"] for line in out.read_text(encoding="utf-8").splitlines()
    }
    assert names == {"甲楼", "乙楼", "丙楼"}
    again = tim("export", "houses", out, "-w", workspace)
    assert (again.code, "export.exists" in again.err) == (2, True)
    ok("export", "houses", out, "-w", workspace, "--overwrite", "--versions", "all")
    ok(
        "export",
        "houses",
        tmp_path / "h.txt",
        "-w",
        workspace,
        "--format",
        "csv",
        "--spreadsheet",
        "--at",
        "2020-01-01",
        "--bbox",
        "113,30,115,31",
    )
    assert (tmp_path / "h.txt").read_bytes().startswith(b"\xef\xbb\xbftim_id,")
    ok(
        "export",
        "houses",
        tmp_path / "h.gpkg",
        "-w",
        workspace,
        "--crs",
        "EPSG:4547",
        "--geometry",
        "body",
        "--seq",
        "1",
    )
    ok("export", "houses", tmp_path / "h.city.json", "-w", workspace, "--where", "inClass('building')")


def test_tiles_otherwise(workspace: Path, tmp_path: Path):
    ok("tile", "-w", workspace)
    ok("export", "houses", tmp_path / "tiles", "-w", workspace)
    assert (tmp_path / "tiles" / "tileset.json").exists()
    refused = tim("export", "houses", tmp_path / "tiles.3tz", "-w", workspace, "--class", "building")
    assert (refused.code, "--class" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--bbox", "1,2,3"], "cli.bad-box"), (["--bbox", "1,5,3,4"], "cli.bad-box"), (["--stage", "old"], "cli.unknown-stage"),
        (["--class", "no.such"], "classes.unknown"), (["--where", "a ="], "query."), (["--format", "dwg"], "export.no-format"),
        (["--at", "yesterday"], "store."),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(workspace: Path, tmp_path: Path, arguments: list[str], code: str):
    refused = tim("export", "houses", tmp_path / "h.csv", "-w", workspace, *arguments)
    assert refused.code in (1, 2)
    assert code in refused.err
    assert list(tmp_path.iterdir()) == []
