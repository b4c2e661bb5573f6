"""A user's mistakes and broken deliveries: refused with what, where and what to do, in both languages, nothing half-written."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import laspy
import numpy as np
import pytest

from tests.system.command import Outcome, environment, ok, tim

CHINESE = range(0x4E00, 0x9FFF)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    ok("init", tmp_path / "ws")
    return tmp_path / "ws"


def laz(
    path: Path, *, crs: int | None = None, origin: tuple[float, float] = (500_500, 3_300_500), count: int = 60_000
) -> Path:
    """A small LAZ sheet around a place in EPSG:4547."""
    header = laspy.LasHeader(point_format=3, version="1.4" if crs else "1.2")
    header.scales = np.full(3, 0.01)
    header.offsets = np.array([*origin, 0.0])
    if crs:
        from pyproj import CRS

        header.add_crs(CRS.from_epsg(crs))
    las = laspy.LasData(header)
    random = np.random.default_rng(1)
    las.x, las.y, las.z = (
        origin[0] + random.uniform(0, 200, count),
        origin[1] + random.uniform(0, 200, count),
        random.uniform(20, 60, count),
    )
    las.intensity = random.integers(0, 2000, count).astype(np.uint16)
    las.write(str(path), laz_backend=laspy.LazBackend.Lazrs if path.suffix == ".laz" else None)
    return path


def import_(workspace: Path, source: Path, *options: str) -> Outcome:
    """Import in both languages; the outcome of the English run, after checking that the Chinese one says the same in Chinese."""
    chinese = tim("import", source, "-w", workspace, *options, TIM_LANG="zh")
    english = tim("import", source, "-w", workspace, *options)
    assert chinese.code == english.code
    assert any(ord(c) in CHINESE for c in chinese.err), chinese.err
    assert not any(ord(c) in CHINESE for c in english.err if c not in str(source)), english.err
    assert "Traceback" not in english.err + chinese.err
    return english


def nothing_imported(workspace: Path) -> bool:
    return ok("info", "-w", workspace, "--json").json["datasets"] == []


def test_truncated_laz(workspace: Path, tmp_path: Path):
    path = laz(tmp_path / "cut.laz", crs=4547)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    said = import_(workspace, path, "--vertical", "ellipsoid")
    assert said.code == 1
    assert "cut.laz" in said.err
    assert nothing_imported(workspace)


def test_one_broken_sheet_among_good_ones_is_quarantined(workspace: Path, tmp_path: Path):
    folder = tmp_path / "sheets"
    folder.mkdir()
    laz(folder / "a.laz", crs=4547)
    broken = laz(folder / "b.laz", crs=4547, origin=(500_700, 3_300_500))
    broken.write_bytes(broken.read_bytes()[:-5000])
    said = import_(workspace, folder, "--vertical", "ellipsoid")
    assert said.code == 3
    assert "b.laz" in said.err
    data = ok("info", "-w", workspace, "--json").json["datasets"]
    assert [s["key"] for s in data[0]["sources"]] == ["a.laz"]
    assert data[0]["quarantined"] >= 1


def test_osgb_cut_in_half(workspace: Path, tmp_path: Path, real_data: Path):
    shutil.copytree(real_data / "oblique", tmp_path / "oblique", copy_function=shutil.copyfile)
    for path in [tmp_path / "oblique", *(tmp_path / "oblique").rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    victim = tmp_path / "oblique/Data/Tile_+000_+013/Tile_+000_+013_L18_0uuuu.osgb"
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    imported = tim("import", tmp_path / "oblique", "-w", workspace, "--vertical", "ellipsoid")
    assert imported.code in (0, 3), imported.err
    tiled = tim("tile", "-w", workspace, "--json")
    assert tiled.code == 3, tiled.err
    assert "Tile_+000_+013_L18_0uuuu.osgb" in tiled.out + tiled.err
    ok("validate", "oblique", "-w", workspace)


def test_no_crs(workspace: Path, tmp_path: Path):
    said = import_(workspace, laz(tmp_path / "bare.las"))
    assert said.code == 1
    assert "bare.las" in said.err
    assert "--crs" in said.err
    assert nothing_imported(workspace)


def test_unknown_vertical_datum(workspace: Path, tmp_path: Path):
    said = import_(workspace, laz(tmp_path / "flat.laz", crs=4547))
    assert said.code == 1
    assert "--vertical" in said.err
    assert nothing_imported(workspace)


@pytest.mark.parametrize(
    ("origin", "named"),
    [((38_500_500, 3_300_500), "38"), ((3_300_500, 500_500), "swap")],
    ids=["zone-prefixed easting", "swapped axes"],
)
def test_coordinates_that_contradict_the_crs(workspace: Path, tmp_path: Path, origin: tuple[float, float], named: str):
    path = laz(tmp_path / "odd.las", origin=origin)
    said = import_(workspace, path, "--crs", "EPSG:4547", "--vertical", "ellipsoid")
    assert said.code == 1
    assert named in said.err
    assert nothing_imported(workspace)


def test_beijing_54_needs_a_named_operation(workspace: Path, tmp_path: Path):
    said = import_(workspace, laz(tmp_path / "old.las"), "--crs", "EPSG:2436", "--vertical", "ellipsoid")
    assert said.code == 1
    assert "--datum" in said.err
    assert nothing_imported(workspace)


def test_wrong_file_type(workspace: Path, tmp_path: Path):
    path = tmp_path / "report.pdf"
    path.write_bytes(b"%PDF-1.7 not a point cloud")
    said = import_(workspace, path)
    assert said.code == 1
    assert "report.pdf" in said.err


def test_missing_source(workspace: Path, tmp_path: Path):
    said = import_(workspace, tmp_path / "nowhere.laz")
    assert said.code in (1, 2)
    assert "nowhere.laz" in said.err


def test_no_workspace(tmp_path: Path):
    said = tim("info", "-w", tmp_path / "none")
    assert said.code == 1
    assert "tim init" in said.err


def test_wrong_usage():
    assert tim("import").code == 2
    assert tim("fly").code == 2
    assert "Traceback" not in tim("tile", "--workers", "zero").err


def test_read_only_workspace(workspace: Path, tmp_path: Path):
    path = laz(tmp_path / "a.laz", crs=4547)
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root ignores permissions and setpriv is not there to give them up")
        for folder in [tmp_path, *tmp_path.parents]:
            if not folder.stat().st_mode & 0o005 and folder != Path("/"):
                folder.chmod(folder.stat().st_mode | 0o055)
        prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    else:
        prefix = []
    for item in [*workspace.rglob("*"), workspace]:
        item.chmod(0o555 if item.is_dir() else 0o444)
    command = [
        *prefix,
        sys.executable,
        "-m",
        "cli",
        "import",
        str(path),
        "-w",
        str(workspace),
        "--vertical",
        "ellipsoid",
    ]
    probe = subprocess.run([*prefix, sys.executable, "-c", "import numpy"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("another user cannot run this Python")
    said = subprocess.run(command, env=environment(), cwd="/", capture_output=True, text=True, check=False)
    assert said.returncode == 1, said.stderr
    assert "Traceback" not in said.stderr
    assert str(workspace) in said.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="uses RLIMIT_FSIZE to stand for a full disk")
def test_full_disk_leaves_nothing_half_written(workspace: Path, tmp_path: Path):
    ok("import", laz(tmp_path / "a.laz", crs=4547, count=200_000), "-w", workspace, "--vertical", "ellipsoid")
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000)); from cli import main; sys.argv = ['tim', *sys.argv[1:]]; main()"
    )
    command = [sys.executable, "-c", limited, "tile", "-w", str(workspace), "--workers", "1"]
    said = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert said.returncode == 1, said.stderr
    assert "Traceback" not in said.stderr
    assert ok("info", "-w", workspace, "--json").json["datasets"][0]["snapshot"] is None
    ok("tile", "-w", workspace)
    ok("validate", "a", "-w", workspace)


def test_port_in_use(workspace: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = tim("serve", "-w", workspace, "--port", str(port))
    assert said.code == 1
    assert str(port) in said.err
    assert "--port" in said.err
    assert "Traceback" not in said.err


def test_errors_as_json(workspace: Path, tmp_path: Path):
    said = tim("import", laz(tmp_path / "bare.las"), "-w", workspace, "--json")
    error = said.json["error"]
    assert error["code"].startswith("place.")
    assert set(error["text"]) == {"en", "zh"}
