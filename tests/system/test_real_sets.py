"""The real sets through the real command: counts, determinism, place, validity."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import laspy
import numpy as np
import pytest
from pyproj import Transformer

from tests.system.command import ok
from tests.validator import gltf_errors
from tiling.archive import Archive
from tiling.spec import glb

SETS = {
    "terrain": ("points/terrain_3M.laz", ["--crs", "EPSG:26910", "--vertical", "ellipsoid"]),
    "star": ("points/lone-star.copc.laz", ["--crs", "EPSG:26912", "--vertical", "ellipsoid"]),
    "oblique": ("oblique", ["--vertical", "ellipsoid"]),
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> Path:
    folder = tmp_path_factory.mktemp("real") / "ws"
    build(folder, real_data)
    return folder


def build(folder: Path, data: Path) -> None:
    ok("init", folder)
    for name, (source, options) in SETS.items():
        ok("import", data / source, "-w", folder, "--dataset", name, *options)
    ok("tile", "-w", folder, timeout=900)


def info(workspace: Path) -> dict[str, dict]:
    return {d["dataset"]: d for d in ok("info", "-w", workspace, "--json").json["datasets"]}


def test_points_in_are_points_out(workspace: Path, real_data: Path):
    for name in ("terrain", "star"):
        with laspy.open(real_data / SETS[name][0]) as file:
            expected = file.header.point_count
        archive = Archive(workspace / "tiles")
        decoded = 0
        for tile in archive.tiles(name):
            if tile.content:
                document = glb.parse(archive.read(tile.content.hash))
                mesh = document.json["meshes"][0]["primitives"][0]
                decoded += document.json["accessors"][mesh["attributes"]["POSITION"]]["count"]
        assert decoded == expected


def test_no_errors_from_validate_and_gltf_validator(workspace: Path, tmp_path: Path):
    for name in SETS:
        report = ok("validate", name, "-w", workspace, "--json").json
        assert report["errors"] == []
        ok("export", name, tmp_path / name, "-w", workspace)
        report = ok("validate", tmp_path / name, "--json").json
        assert report["errors"] == []
        assert gltf_errors(tmp_path / name) == []


def test_two_imports_on_two_paths_are_equal(workspace: Path, real_data: Path, tmp_path: Path):
    elsewhere = tmp_path / "另一个 path"
    shutil.copytree(real_data / "oblique", elsewhere / "renamed", copy_function=shutil.copyfile)
    (elsewhere / "points").mkdir()
    for name in ("lone-star.copc.laz", "terrain_3M.laz"):
        shutil.copyfile(real_data / "points" / name, elsewhere / "points" / name)
    other = tmp_path / "ws2"
    ok("init", other)
    for name, (source, options) in SETS.items():
        path = elsewhere / "renamed" if name == "oblique" else elsewhere / source
        ok("import", path, "-w", other, "--dataset", name, *options)
    ok("tile", "-w", other, "--workers", "1", timeout=900)
    first, second = info(workspace), info(other)
    assert {n: d["snapshot"]["hash"] for n, d in first.items()} == {n: d["snapshot"]["hash"] for n, d in second.items()}
    one, two = Archive(workspace / "tiles"), Archive(other / "tiles")
    for name in SETS:
        assert list(one.tiles(name)) == list(two.tiles(name))
        for tile in list(one.tiles(name))[::7]:
            if tile.content:
                assert one.read(tile.content.hash) == two.read(tile.content.hash)


@pytest.mark.parametrize(("name", "zone"), [("terrain", 10), ("star", 12)])
def test_points_lie_where_an_independent_computation_puts_them(workspace: Path, real_data: Path, name: str, zone: int):
    """Every decoded point has a source point within a centimetre, by pyproj's own path to geocentric (NAD83 taken as WGS 84)."""
    las = laspy.read(real_data / SETS[name][0])
    transformer = Transformer.from_pipeline(
        f"+proj=pipeline +step +inv +proj=utm +zone={zone} +ellps=GRS80 +step +proj=cart +ellps=WGS84"
    )
    expected = np.column_stack(transformer.transform(np.asarray(las.x), np.asarray(las.y), np.asarray(las.z)))
    decoded = world_positions(workspace, name, limit=20_000)
    assert len(decoded) >= 1000
    order = np.argsort(expected[:, 0], kind="stable")
    ordered = expected[order]
    worst = 0.0
    for point in decoded[:: max(1, len(decoded) // 1500)]:
        near = ordered[
            np.searchsorted(ordered[:, 0], point[0] - 0.05) : np.searchsorted(ordered[:, 0], point[0] + 0.05)
        ]
        worst = max(worst, float(np.sqrt(((near - point) ** 2).sum(1)).min()))
    assert worst <= 0.01


def world_positions(workspace: Path, dataset: str, limit: int) -> np.ndarray:
    """ECEF positions decoded from finished tiles, through node matrices and the tileset's root transform."""
    archive = Archive(workspace / "tiles")
    frame = info(workspace)[dataset]["frame"]
    from tim.place import Frame

    parts, count = [], 0
    for tile in archive.tiles(dataset):
        if not tile.content:
            continue
        document = glb.parse(archive.read(tile.content.hash))
        for node in document.json["nodes"]:
            matrix = np.array(node["matrix"]).reshape(4, 4).T
            for primitive in document.json["meshes"][node["mesh"]]["primitives"]:
                local = document.accessor(primitive["attributes"]["POSITION"])[:, :3].astype(float)
                gltf = local @ matrix[:3, :3].T + matrix[:3, 3]
                parts.append(Frame(**frame).to_ecef(np.column_stack([gltf[:, 0], -gltf[:, 2], gltf[:, 1]])))
                count += len(local)
        if count > limit:
            break
    return np.concatenate(parts)


def test_oblique_lies_where_its_wkt_puts_it(workspace: Path):
    source = info(workspace)["oblique"]["sources"][0]
    west, south, _, east, north, _ = source["box"]
    assert 113.37 < (west + east) / 2 < 113.40
    assert 22.4 < (south + north) / 2 < 22.6
    warnings = json.dumps(source["place"]["warnings"], ensure_ascii=False)
    assert "4547" in warnings


def test_oblique_counts_equal_osgconv(workspace: Path, real_data: Path, tmp_path: Path):
    """Vertices and triangles of all tiles together equal the sum over all files as OpenSceneGraph reads them."""
    if shutil.which("osgconv") is None:
        pytest.skip("osgconv is not installed")
    vertices = triangles = 0
    for path in sorted((real_data / "oblique").rglob("*.osgb"))[::3]:
        subprocess.run(
            ["osgconv", str(path), str(tmp_path / "o.obj")],
            env={"OSG_OPTIMIZER": "OFF", "PATH": "/usr/bin:/bin"},
            check=True,
            capture_output=True,
        )
        lines = (tmp_path / "o.obj").read_text().splitlines()
        file = path.name
        expected = sum(line.startswith("v ") for line in lines), sum(line.startswith("f ") for line in lines)
        got = [0, 0]
        for tile in Archive(workspace / "tiles").tiles("oblique"):
            if f"/{file}#" in tile.key:
                got[0] += tile.counts.get("vertices", 0)
                got[1] += tile.counts.get("triangles", 0)
        assert tuple(got) == expected, file
        vertices, triangles = vertices + got[0], triangles + got[1]
    assert vertices > 100_000
    assert triangles > 50_000
