"""A writer killed at random moments: what it said was finished is there, and the next one goes on."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from tests.tiling.samples import fill, mesh_info, mesh_tiles
from tiling.archive import Archive
from tiling.validate import Archived, validate

ROOT = Path(__file__).resolve().parents[3]


def work(root: Path) -> None:
    """Publish, roll back and collect forever; say on stdout what is done."""
    archive = Archive(root)
    start = archive.latest("ds")
    n = start.seq if start else 0
    print("ready", flush=True)
    while True:
        n += 1
        tiles = fill(archive, f"s{n}", mesh_tiles, count=150, tags={i: n * 3 + i for i in range(n % 7, 150, 3)})
        print("shard", tiles[-1].content.hash, flush=True)
        snapshot = archive.publish("ds", tiles, mesh_info())
        print("seq", snapshot.seq, snapshot.hash, flush=True)
        if n % 3 == 0:
            snapshot = archive.rollback("ds", snapshot.seq - 1)
            print("seq", snapshot.seq, snapshot.hash, flush=True)
        archive.collect(keep_snapshots=3, keep_seconds=0, grace_seconds=0)


def test_nothing_finished_is_lost_whenever_the_writer_is_killed(tmp_path):
    root = tmp_path / "tiles"
    chance = random.Random(7)
    code = "import sys, pathlib; from tests.tiling.archive.test_kill import work; work(pathlib.Path(sys.argv[1]))"
    last = 0
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        ) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0.02, 0.5))
            process.kill()
            said = [line.split() for line in process.stdout]
        with Archive(root) as archive:
            # The last line may be cut off by the kill.
            published = [
                (int(line[1]), line[2]) for line in said if line[0] == "seq" and len(line) == 3 and len(line[2]) == 64
            ]
            shards = [line[1] for line in said if line[0] == "shard" and len(line) == 2 and len(line[1]) == 64]
            snapshots = {s.seq: s.hash for s in archive.snapshots("ds")}
            if published:
                assert max(snapshots) >= published[-1][0]
                last = published[-1][0]
                assert snapshots[last] == published[-1][1]
            assert archive.has(shards[-1:]) == set(shards[-1:])
            for seq in snapshots:
                report = validate(Archived(root, "ds", seq))
                assert report.ok, report.record()["errors"][:3]
            archive.sweep()
    assert last > 2
