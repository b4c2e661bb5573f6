"""A power cut at any moment: SIGKILL of ``tim import`` and ``tim tile``, run again, gives the snapshot of an undisturbed run."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely

from tests.system.command import environment, ok

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is not known on Windows")
ROUNDS = 10 if os.environ.get("TIM_SOAK") else 3
"""Fresh starts for each number of workers; in each both imports and the tiling are killed twice before they may end."""
OBJECTS = 100_000
KILLS = 20 if os.environ.get("TIM_SOAK") else 4
"""Of one import of so many objects."""


def test_killed_and_resumed_gives_the_same_snapshot(tmp_path: Path, real_data: Path):
    sources = [real_data / "points/lone-star.copc.laz", real_data / "oblique/Data/Tile_+000_+013"]
    shutil.copytree(sources[1], tmp_path / "oblique/Data/Tile_+000_+013")
    shutil.copyfile(real_data / "oblique/metadata.xml", tmp_path / "oblique/metadata.xml")
    imports = [
        ("import", sources[0], "--crs", "EPSG:26912", "--vertical", "ellipsoid", "--dataset", "star"),
        ("import", tmp_path / "oblique", "--vertical", "ellipsoid", "--dataset", "town"),
    ]
    undisturbed, took = run(tmp_path / "undisturbed", imports, 2)
    dice = random.Random(20_26)
    for workers, number in itertools.product((1, 2), range(ROUNDS)):
        workspace = tmp_path / f"killed-{workers}-{number}"
        ok("init", workspace)
        for command in imports:
            for _ in range(2):
                kill_after(dice.uniform(0.2, took["import"]), *command, "-w", workspace)
            ok(*command, "-w", workspace)
        for _ in range(2):
            kill_after(dice.uniform(0.4, took["tile"]), "tile", "-w", workspace, "--workers", str(workers))
        ok("tile", "-w", workspace, "--workers", str(workers))
        assert hashes(workspace) == undisturbed
        assert [p.name for p in (workspace / "tiles").rglob("*.part")] == []
        for dataset in undisturbed:
            ok("validate", dataset, "-w", workspace)
        shutil.rmtree(workspace)


def test_killed_import_of_100_000_objects(tmp_path: Path):
    """Each kill leaves the store as it was before or as it is after, and whole; the run that may end gives the history of an undisturbed one."""
    delivery = tmp_path / "parcels.gpkg"
    write_parcels(delivery, OBJECTS)
    command = ("import", delivery, "--vertical", "ellipsoid", "--dataset", "parcels", "--key", "code", "--quiet")
    undisturbed = tmp_path / "undisturbed"
    ok("init", undisturbed)
    started = time.monotonic()
    ok(*command, "-w", undisturbed)
    took = time.monotonic() - started
    (wanted,) = ok("log", "-w", undisturbed, "--json").json["changesets"]
    assert wanted["counts"]["created"] == OBJECTS
    workspace = tmp_path / "killed"
    ok("init", workspace)
    dice = random.Random(20_26)
    for _ in range(KILLS):
        kill_after(dice.uniform(0.3, 0.95 * took), *command, "-w", workspace)
        with closing(sqlite3.connect(workspace / "store.sqlite")) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert db.execute("SELECT rtreecheck('box_index')").fetchone() == ("ok",)
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []
            objects, versions, blobs, changesets = (
                db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("object", "version", "blob", "changeset")
            )
        assert (objects, versions, changesets) in ((0, 0, 0), (OBJECTS, OBJECTS, 1))
        assert bool(blobs) == bool(objects)
    ok(*command, "-w", workspace)
    (log,) = ok("log", "-w", workspace, "--json").json["changesets"]
    assert (log["hash"], log["counts"]) == (wanted["hash"], wanted["counts"])
    assert not list(workspace.rglob("*.part"))


def write_parcels(path: Path, count: int) -> None:
    """A delivery of so many parcels in a square."""
    numbers = np.arange(count)
    x, y = 114.0 + numbers % 400 * 1e-3, 30.0 + numbers // 400 * 1e-3
    parcels = shapely.box(x, y, x + 8e-4, y + 8e-4)
    fields = {"code": [f"P{n:06}" for n in numbers], "用途": [("居住", "商业")[n % 2] for n in numbers]}
    pyogrio.raw.write(
        path, shapely.to_wkb(parcels), [np.array(v, object) for v in fields.values()], list(fields), layer="parcels",
        geometry_type="Polygon", crs="EPSG:4490",
    )  # fmt: skip


def run(workspace: Path, imports: list[tuple[object, ...]], workers: int) -> tuple[dict[str, str], dict[str, float]]:
    """An undisturbed run: snapshot hashes by dataset, and how long a command takes."""
    ok("init", workspace)
    started = time.monotonic()
    for command in imports:
        ok(*map(str, command), "-w", workspace)
    imported = time.monotonic()
    ok("tile", "-w", workspace, "--workers", str(workers))
    return hashes(workspace), {"import": (imported - started) / len(imports), "tile": time.monotonic() - imported}


def hashes(workspace: Path) -> dict[str, str]:
    return {d["dataset"]: d["snapshot"]["hash"] for d in ok("info", "-w", workspace, "--json").json["datasets"]}


def kill_after(seconds: float, *command: object) -> None:
    """Start the command, SIGKILL its first process after a while, and see that no worker outlives it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", *map(str, command)],
        env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 20
    while members(process.pid):
        assert time.monotonic() < deadline, f"workers outlive their parent: {members(process.pid)}"
        time.sleep(0.05)


def members(group: int) -> list[int]:
    """Live processes of a session."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == group and fields[0] != "Z":
            found.append(int(entry.parent.name))
    return found
