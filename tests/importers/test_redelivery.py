from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from importers.plan import Options, Plan, make_plan
from importers.run import ImportReport, diff_import, run_import
from tests.importers import tiny_parcels
from tests.importers.test_run import ROOT, state
from tests.importers.test_walk import dot
from tim.model import dataset_uid, derived_id
from tim.store import AsOf
from tim.workspace import Workspace

pytestmark = pytest.mark.usefixtures("tiny_formats")
MANY = 10_000


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    tiny_parcels.reads.clear()
    return Workspace.create(tmp_path / "workspace")


def parcels(path: Path, lines: dict[str, tuple[str, int]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key} {name} {floors}\n" for key, (name, floors) in lines.items()), encoding="utf-8")
    return path


def deliver(workspace: Workspace, path: Path, retire: str | None = None, **settings: object) -> ImportReport:
    return run_import(workspace, make_plan([path], Options(dataset="p", settings=settings)), retire=retire)


def town(count: int) -> dict[str, tuple[str, int]]:
    return {f"k{n}": (f"house-{n}", n % 7) for n in range(count)}


def test_exactly_the_changed_records_get_versions(workspace: Workspace, tmp_path: Path):
    lines = town(MANY)
    path = parcels(tmp_path / "town.parcels", lines)
    first = deliver(workspace, path)
    assert first.datasets[0].objects == {"created": MANY, "updated": 0, "unchanged": 0}
    assert first.datasets[0].diff is None
    changed = {f"k{n}" for n in range(0, MANY, 97)}
    gone = {f"k{n}" for n in range(5, MANY, 1000)}
    new = {"x1": ("new", 3), "x2": ("new", 4)}
    again = {k: (name, floors + (k in changed)) for k, (name, floors) in lines.items() if k not in gone} | new
    parcels(path, again)
    changed -= gone
    with workspace.store() as store:
        before = store.seq
    foreseen = diff_import(workspace, make_plan([path], Options(dataset="p"))).datasets[0]
    with workspace.store() as store:
        assert store.seq == before
    done = deliver(workspace, path).datasets[0]
    assert foreseen.diff == done.diff
    diff = done.diff
    assert diff is not None
    unchanged = MANY - len(changed) - len(gone)
    assert (diff.created, diff.changed, diff.unchanged, diff.absent) == (2, len(changed), unchanged, len(gone))
    assert done.objects == {"created": 2, "updated": len(changed), "unchanged": unchanged}
    assert diff.fields == {"attributes.floors": len(changed), "representations.body": len(changed)}
    assert {s.key for s in diff.samples["created"]} == {"x1", "x2"}
    assert {s.key for s in diff.samples["absent"]} <= gone
    assert {s.fields for s in diff.samples["changed"]} == {("attributes.floors", "representations.body")}
    uid = dataset_uid("p")
    with workspace.store() as store:
        assert store.seq == before + 1
        ids = {key: derived_id(uid, "town", key) for key in [*lines, *new]}
        versions = {v.object.source_key: v.version for v in store.read(list(ids.values()))}
        assert {key for key, version in versions.items() if version == 2} == changed
        assert set(versions.values()) == {1, 2}
        assert gone <= versions.keys()  # reported, not retired


def test_absent_ones_are_retired_only_when_told(workspace: Workspace, tmp_path: Path):
    path = parcels(tmp_path / "town.parcels", town(5))
    deliver(workspace, path)
    parcels(path, town(3))
    told = deliver(workspace, path).datasets[0]
    assert told.diff is not None
    assert (told.diff.absent, told.retired) == (2, 0)
    assert deliver(workspace, path).datasets[0].diff == told.diff  # told again until something is done
    done = deliver(workspace, path, retire="2026-01-01").datasets[0]
    assert (done.diff, done.retired) == (told.diff, 2)
    gone = derived_id(dataset_uid("p"), "town", "k4")
    with workspace.store() as store:
        assert store.count("p") == 3
        assert store.get(gone) is None
        past = store.get(gone, AsOf(valid="2025-06-01"))
        assert past is not None
        assert past.object.valid_to == "2026-01-01"
        assert store.get(derived_id(dataset_uid("p"), "town", "k0")) is not None
    os.utime(path, (1, 1))
    after = deliver(workspace, path).datasets[0]
    assert after.diff is not None
    assert (after.seq, after.diff.absent) == (None, 0)


def test_layers_do_not_miss_each_other(workspace: Workspace, tmp_path: Path):
    one, two = (parcels(tmp_path / f"{name}.parcels", town(4)) for name in ("one", "two"))
    run_import(workspace, make_plan([one, two], Options(dataset="p")))
    parcels(one, town(3))
    alone = deliver(workspace, one).datasets[0]
    assert alone.diff is not None
    assert (alone.diff.absent, alone.diff.unchanged) == (1, 3)


def test_bulk_data_is_never_absent(workspace: Workspace, tmp_path: Path):
    deliver(workspace, dot(tmp_path / "a.dot"))
    assert deliver(workspace, dot(tmp_path / "b.dot"), retire="2026-01-01").datasets[0].retired == 0
    with workspace.store() as store:
        assert store.count("p") == 2


def test_keys_that_come_twice(workspace: Workspace, tmp_path: Path):
    path = tmp_path / "town.parcels"
    path.write_text("a one 1\na two 2\nb three 3\n", encoding="utf-8")
    for _ in range(2):
        report = deliver(workspace, path)
        assert [(r.where, r.code) for r in report.rejected] == [("town#a", "import.object-twice")]
        os.utime(path, (1, 1))
    assert report.datasets[0].seq is None
    with workspace.store() as store:
        found = store.get(derived_id(dataset_uid("p"), "town", "a"))
        assert found is not None
        assert found.object.name == "one"


def test_scenarios_stand_beside_the_common_line(workspace: Workspace, tmp_path: Path):
    path = parcels(tmp_path / "town.parcels", town(3))
    deliver(workspace, path)
    parcels(path, {"k1": ("new", 9)})
    planned = deliver(workspace, path, scenario="north", stage="planned").datasets[0]
    assert planned.diff is not None
    assert (planned.diff.created, planned.diff.absent) == (1, 0)
    with workspace.store() as store:
        one = derived_id(dataset_uid("p"), "town", "k1")
        common, version = store.get(one), store.get(one, scenario="north")
        assert common is not None
        assert version is not None
        assert (common.object.name, version.object.name, version.object.stage) == ("house-1", "new", "planned")


def test_what_is_done_is_not_read_again(workspace: Workspace, tmp_path: Path):
    for name in ("a", "b", "c"):
        parcels(tmp_path / "d" / f"{name}.parcels", town(2))
    first = run_import(workspace, make_plan([tmp_path / "d"]))
    before = state(workspace)
    assert tiny_parcels.reads == ["a.parcels", "b.parcels", "c.parcels"]
    tiny_parcels.reads.clear()
    again = run_import(workspace, make_plan([tmp_path / "d"]))
    assert tiny_parcels.reads == []
    assert again.datasets[0].objects == {"created": 0, "updated": 0, "unchanged": 6}
    assert again.datasets[0].sources == {"added": 0, "changed": 0, "unchanged": 3}
    assert [d.record() | {"known": False} for d in again.deliveries] == [d.record() for d in first.deliveries]
    assert state(workspace) == before
    parcels(tmp_path / "d" / "b.parcels", town(3))
    parcels(tmp_path / "d" / "e.parcels", town(1))
    part = run_import(workspace, make_plan([tmp_path / "d"]))
    assert tiny_parcels.reads == ["b.parcels", "e.parcels"]
    assert part.datasets[0].objects == {"created": 2, "updated": 0, "unchanged": 6}
    assert part.datasets[0].diff is not None
    assert part.datasets[0].diff.absent == 0
    with workspace.store() as store:
        assert store.count("d") == 8


@pytest.mark.parametrize("change", ["settings", "neighbour", "edit", "record", "problem"])
def test_any_doubt_means_reading(workspace: Workspace, tmp_path: Path, change: str):
    path = parcels(tmp_path / "a.parcels", town(2))
    if change == "problem":
        path.write_text("a one 1\n" + "x\n" * 200, encoding="utf-8")
    deliver(workspace, path)
    tiny_parcels.reads.clear()
    match change:
        case "neighbour":
            (tmp_path / "a.dbf").write_text("x")
        case "edit":
            from tim.store import Changeset, Retire

            with workspace.store() as store:
                store.apply(Changeset("p", [Retire(derived_id(dataset_uid("p"), "a", "k1"))]))
        case "record":
            (workspace.imports / "p.json").write_text('{"version": 1')
    deliver(workspace, path, **({"key": "id"} if change == "settings" else {}))
    assert tiny_parcels.reads == ["a.parcels"]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is not known on Windows")
def test_a_plan_goes_on_after_a_kill(workspace: Workspace, tmp_path: Path):
    """Killed while the third of five datasets is read: the first two are there and are not read again."""
    lines = ["version: 1", "deliveries:"]
    for name in "abcde":
        path = parcels(tmp_path / f"{name}.parcels", town(50))
        lines.append(f"- {{uri: {path}, format: parcels, kind: objects, key: {name}.parcels, dataset: {name}}}")
    plan = tmp_path / "plan.yaml"
    plan.write_text("\n".join(lines), encoding="utf-8")
    code = (
        "import importers, os, signal, sys; from pathlib import Path\n"
        "importers.FORMATS['parcels'] = 'tests.importers.tiny_parcels'\n"
        "from importers.plan import Plan; from importers.run import run_import; from tim.workspace import Workspace\n"
        "stop = lambda d, n, of: os.kill(os.getpid(), signal.SIGKILL) if n == 3 else None\n"
        "run_import(Workspace.open(Path(sys.argv[1])), Plan.from_yaml(Path(sys.argv[2]).read_text()), stop)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, workspace.path, plan], cwd=ROOT, env=environment, check=False
    )  # fmt: skip
    assert done.returncode == -9
    with workspace.store() as store:
        assert [(d.slug, store.count(d.slug)) for d in store.datasets()] == [("a", 50), ("b", 50)]
    report = run_import(workspace, Plan.from_yaml(plan.read_text(encoding="utf-8")))
    assert tiny_parcels.reads == ["c.parcels", "d.parcels", "e.parcels"]
    assert [d.known for d in report.deliveries] == [True, True, False, False, False]
    other = Workspace.create(tmp_path / "other")
    run_import(other, Plan.from_yaml(plan.read_text(encoding="utf-8")))
    assert state(workspace) == state(other)
