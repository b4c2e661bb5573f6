"""SIGKILL of the parent at random moments: no worker outlives it, nothing finished is done again, the result is that of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tiling.engine.synthetic import SLUG, make_workspace, traced
from tiling.archive import Archive
from tiling.engine import SerialExecutor, tile
from tim.workspace import Workspace

pytestmark = [pytest.mark.usefixtures("words"), pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]
ROOT = Path(__file__).resolve().parents[3]
KILLS = 10
PAUSE = 0.05
TEXTS = {
    f"{name}.words": "\n".join(f"{name}{n} {chr(97 + n)}{name} word{n}" for n in range(10)) for name in ("ab", "cd")
}


def start(workspace: Workspace, workers: int, pause: float = PAUSE) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.tiling.engine.synthetic", str(workspace.path), str(workers), str(pause)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def alive(session: int) -> list[int]:
    """Processes of a session that are not yet gone."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(entry.parent.name))
    return found


def all_gone(session: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while alive(session):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_random_moments(tmp_path: Path, workers: int):
    (tmp_path / "undisturbed").mkdir()
    expected = tile(
        make_workspace(tmp_path / "undisturbed", TEXTS), SLUG, executor=SerialExecutor(), settings={"pause": PAUSE}
    )
    workspace = make_workspace(tmp_path, TEXTS)
    dice = random.Random(workers)
    killed = 0
    while killed < KILLS:
        process = start(workspace, workers)
        trace = workspace.jobs(SLUG) / "trace"
        if killed % 3:  # not before work has begun: wait for the first shard of this run
            size = trace.stat().st_size if trace.exists() else 0
            while process.poll() is None and (trace.stat().st_size if trace.exists() else 0) == size:
                time.sleep(0.01)
            time.sleep(dice.uniform(0.0, 0.15))
        else:
            time.sleep(dice.uniform(0.0, 0.8))
        finished = process.poll() is not None
        process.send_signal(signal.SIGKILL)
        out, err = process.communicate(timeout=10)
        assert all_gone(process.pid, 10), f"still there: {alive(process.pid)}"
        assert not finished or out.decode() == expected.snapshot.hash, err.decode()
        killed += 1
    process = start(workspace, workers)
    out, err = process.communicate(timeout=60)
    assert out.decode() == expected.snapshot.hash, err.decode()
    assert all_gone(process.pid, 5)
    built = traced(workspace)
    # Every kill costs at most what was running then; and once the rest of a stage stands, it stands.
    assert len(built) <= expected.shards_built + (KILLS + 1) * workers
    assert not list(workspace.archive_root.rglob("*.part"))


def test_interrupted_by_the_keyboard(tmp_path: Path):
    workspace = make_workspace(tmp_path, TEXTS)
    process = start(workspace, 2, pause=1.0)  # on a busy machine, too, it must not be over before it is interrupted
    trace = workspace.jobs(SLUG) / "trace"
    while not trace.exists():
        assert process.poll() is None, process.stderr
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the parent and its workers
    _, err = process.communicate(timeout=20)
    assert err.decode().count("Traceback") == 1, err.decode()  # the parent's, which the command turns into a word
    assert "KeyboardInterrupt" in err.decode()
    assert all_gone(process.pid, 5)


def test_leftovers_of_killed_writers_go_at_once(tmp_path: Path):
    workspace = make_workspace(tmp_path, TEXTS)
    with Archive(workspace.archive_root) as archive:
        archive.packs.mkdir(exist_ok=True)
        for name in (".pages-words-1.99999.part", ".pages-other-7.99999.part"):
            (archive.packs / name).touch()
    tile(workspace, SLUG, executor=SerialExecutor())
    assert not list(workspace.archive_root.rglob("*.part"))
