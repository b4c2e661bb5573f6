from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from importers.plan import Options, Plan, make_plan
from importers.run import frame_around, run_import
from tests.importers.test_walk import dot, town
from tim.errors import PlaceError, SourceError, UsageError, WorkspaceError
from tim.place.boxes import union
from tim.place.resolve import PlaceOptions
from tim.workspace import Workspace

pytestmark = pytest.mark.usefixtures("tiny_formats")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "workspace")


def state(workspace: Workspace) -> dict[str, object]:
    """All that an import may change, without times and paths."""
    with workspace.store() as store:
        return {
            "seq": store.seq, "log": [record.hash for record in store.log()],
            "datasets": [(d.slug, d.uid, d.frame, [s.key for s in store.sources(d.slug)], store.count(d.slug)) for d in store.datasets()],
        }  # fmt: skip


def test_import(workspace: Workspace, tmp_path: Path):
    dot(tmp_path / "d" / "a.dot", "114 30 5 0.01")
    dot(tmp_path / "d" / "b.dot", "114.01 30.02 25 0.03")
    town(tmp_path / "d" / "town", "h1", "h2")
    seen = []
    report = run_import(workspace, make_plan([tmp_path / "d"]), lambda d, n, of: seen.append((d.probe.key, n, of)))
    assert seen == [("town", 1, 3), ("a.dot", 2, 3), ("b.dot", 3, 3)]
    meshes, points = report.datasets
    assert (points.dataset, points.kind, points.made, points.seq, points.count) == ("d-points", "points", True, 2, 14)
    assert points.sources == {"added": 2, "changed": 0, "unchanged": 0}
    assert points.objects == {"created": 2, "updated": 0, "unchanged": 0}
    assert (meshes.dataset, meshes.sources["added"]) == ("d-meshes", 2)
    with workspace.store() as store:
        frame = store.dataset("d-points").frame
        assert (frame.lon, frame.lat, frame.height, frame.step) == (114.00505, 30.01005, 20.0, 2**-7)
        assert store.dataset("d-meshes").frame.step == 2**-10
        assert [s.key for s in store.sources("d-meshes")] == ["town/h1", "town/h2"]
    record = json.loads(json.dumps(report.record()))
    assert [d["key"] for d in record["deliveries"]] == ["town", "a.dot", "b.dot"]
    assert {"steps", "warnings"} <= record["deliveries"][0]["place"].keys()
    assert record["rejected"] == []


def test_again_changes_nothing(workspace: Workspace, tmp_path: Path):
    path = dot(tmp_path / "d" / "a.dot")
    run_import(workspace, make_plan([tmp_path / "d"]))
    before = state(workspace)
    os.utime(path, (1, 1))
    again = run_import(workspace, make_plan([tmp_path / "d"]))
    assert again.datasets[0].seq is None
    assert again.datasets[0].sources == {"added": 0, "changed": 0, "unchanged": 1}
    assert again.datasets[0].made is False
    assert state(workspace) == before
    # The same delivery somewhere else is found there from now on, and is no news.
    shutil.move(tmp_path / "d", tmp_path / "elsewhere")
    moved = run_import(workspace, make_plan([tmp_path / "elsewhere"], Options(dataset="d")))
    assert moved.datasets[0].seq is None
    with workspace.store() as store:
        assert store.sources("d")[0].uri == str(tmp_path / "elsewhere" / "a.dot")
    assert state(workspace) == before


def test_two_workspaces_are_equal(tmp_path: Path):
    states = []
    for name in ("one", "另一个"):
        folder = tmp_path / name
        dot(folder / "d" / "b.dot", "114.01 30.02 25 0.03")
        dot(folder / "d" / "a.dot")
        workspace = Workspace.create(folder / "workspace")
        run_import(workspace, make_plan([folder / "d"]))
        states.append(state(workspace))
    assert states[0] == states[1]


def test_a_new_delivery_and_a_changed_one(workspace: Workspace, tmp_path: Path):
    dot(tmp_path / "d" / "a.dot")
    dot(tmp_path / "d" / "b.dot")
    run_import(workspace, make_plan([tmp_path / "d"]))
    with workspace.store() as store:
        frame = store.dataset("d").frame
    dot(tmp_path / "d" / "a.dot", "114 30 50 0.01")
    dot(tmp_path / "d" / "c.dot", "115 31 5 0.01")
    report = run_import(workspace, make_plan([tmp_path / "d"]))
    assert report.datasets[0].sources == {"added": 1, "changed": 1, "unchanged": 1}
    assert report.datasets[0].objects == {"created": 1, "updated": 1, "unchanged": 1}
    with workspace.store() as store:
        assert store.dataset("d").frame == frame


def test_one_bad_among_good_is_quarantined(workspace: Workspace, tmp_path: Path):
    dot(tmp_path / "d" / "a.dot", "114 30 5 0.01 hole")
    dot(tmp_path / "d" / "b.dot", "114 30 5 0.01 broken")
    dot(tmp_path / "d" / "c.dot", "114 30 5 0.01 bare")
    dot(tmp_path / "d" / "e.dot", "114 30 5 0.01 warn")
    (tmp_path / "d" / "x.pdf").touch()
    report = run_import(workspace, make_plan([tmp_path / "d"]))
    assert report.datasets[0].sources["added"] == 2
    lost = [("a.dot#3", "las.empty"), ("b.dot", "las.empty"), ("c.dot", "place.crs-missing")]
    warned = [("x.pdf", "import.unknown-type"), ("e.dot", "import.unknown-type")]
    assert sorted((r.where, r.code) for r in report.rejected) == sorted(lost + warned)
    assert sorted((r.where, r.code) for r in workspace.quarantine.records("d")) == lost


@pytest.mark.parametrize(("words", "error"), [("broken", SourceError), ("bare", PlaceError)])
def test_a_single_bad_one_is_refused(workspace: Workspace, tmp_path: Path, words: str, error: type[Exception]):
    before = state(workspace)
    for name in ("a.dot", "b.dot"):
        dot(tmp_path / "d" / name, f"114 30 5 0.01 {words}")
        with pytest.raises(error, match=r"a\.dot"):
            run_import(workspace, make_plan([tmp_path / "d"]))
    assert state(workspace) == before


def test_written_plans_are_looked_at_again(workspace: Workspace, tmp_path: Path):
    dot(tmp_path / "d" / "a.dot", "114 30 5 0.01 bare")
    path = dot(tmp_path / "d" / "b.dot", "114 30 5 0.01")
    text = make_plan([tmp_path / "d"]).to_yaml()
    path.unlink()
    plan = Plan.from_yaml(text.replace("crs: null", "crs: EPSG:4979"))
    report = run_import(workspace, plan)
    assert [(r.where, r.code) for r in report.rejected] == [("b.dot", "import.gone")]
    with workspace.store() as store:
        assert [s.key for s in store.sources("d")] == ["a.dot"]
    with pytest.raises(SourceError, match=r"b\.dot"):
        run_import(workspace, Plan(tuple(d for d in plan.deliveries if d.probe.key == "b.dot")))


def test_workspace_defaults_fill_gaps(tmp_path: Path):
    workspace = Workspace.create(tmp_path / "w", defaults={"crs": "EPSG:4979"})
    path = dot(tmp_path / "a.dot", "114 30 5 0.01 bare")
    assert run_import(workspace, make_plan([path])).deliveries[0].place.crs == "EPSG:4326"  # its height apart
    with pytest.raises(PlaceError):  # what is said goes before
        run_import(workspace, make_plan([path], Options(dataset="b", place=PlaceOptions(crs="EPSG:4547"))))


def test_refusals(workspace: Workspace, tmp_path: Path):
    dot(tmp_path / "x" / "a.dot")
    town(tmp_path / "y" / "x", "h")
    run_import(workspace, make_plan([tmp_path / "x"]))
    before = state(workspace)
    with pytest.raises(UsageError) as caught:
        run_import(workspace, make_plan([tmp_path / "y" / "x"]))
    assert (caught.value.code, caught.value.fields["suggestion"]) == ("import.kind-differs", "x-meshes")
    with pytest.raises(UsageError, match="no deliveries"):
        run_import(workspace, Plan(()))
    with workspace.lock("import-x"), pytest.raises(WorkspaceError):
        run_import(workspace, make_plan([tmp_path / "x"]))
    assert state(workspace) == before


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is not known on Windows")
@pytest.mark.parametrize("delay", [0.0, 0.002, 0.006, 0.015, 0.03])
def test_killed_is_before_or_after(workspace: Workspace, tmp_path: Path, delay: float):
    """A process that imports is killed a moment after it began to write."""
    for n in range(40):
        dot(tmp_path / "d" / f"{n}.dot")
    code = (
        "import importers, os, signal, sys, threading, time; from pathlib import Path\n"
        "importers.FORMATS['dot'] = 'tests.importers.tiny_dot'\n"
        "from importers import run, plan; from tim.workspace import Workspace\n"
        "made = plan.make_plan([Path(sys.argv[2])]); inner = run._apply\n"
        "def apply(*a):\n"
        "    threading.Thread(target=lambda: (time.sleep(float(sys.argv[3])), os.kill(os.getpid(), signal.SIGKILL))).start()\n"
        "    return inner(*a)\n"
        "run._apply = apply; run.run_import(Workspace.open(Path(sys.argv[1])), made)"
    )
    before = state(workspace)
    arguments = [str(workspace.path), str(tmp_path / "d"), str(delay)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    assert done.returncode in (0, -9)
    after = state(workspace)
    (tmp_path / "o").mkdir()
    other = Workspace.create(tmp_path / "o" / "workspace")
    run_import(other, make_plan([tmp_path / "d"]))
    assert after in (before, state(other))
    run_import(workspace, make_plan([tmp_path / "d"]))
    assert state(workspace) == state(other)


@pytest.mark.parametrize(("boxes", "joined"), [
    ([(1, 2, 3, 4, 5, 6), (0, 3, 2, 2, 9, 5)], (0, 2, 2, 4, 9, 6)),
    ([(170, 0, 0, 175, 1, 1), (-175, 0, 0, -170, 1, 1)], (170, 0, 0, -170, 1, 1)),
    ([(179, 0, 0, -179, 1, 1), (178, 0, 0, 179.5, 1, 1)], (178, 0, 0, -179, 1, 1)),
    ([(10, 0, 0, 20, 1, 1), (12, 0, 0, 13, 1, 1)], (10, 0, 0, 20, 1, 1)),
])  # fmt: skip
def test_boxes_join_across_the_antimeridian(boxes, joined):
    a, b = boxes
    assert union(None, a) == a
    assert union(a, b) == pytest.approx(joined)
    assert union(b, a) == pytest.approx(joined)


def test_frames_across_the_antimeridian():
    assert frame_around((179.0, -1.0, 0.0, -178.0, 1.0, 5.0), 2**-10).lon == -179.5
    assert frame_around((178.0, -1.0, 0.0, -179.0, 1.0, 5.0), 2**-10).lon == 179.5
