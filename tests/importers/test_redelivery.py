from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from importers.plan import Options, Plan, make_plan
from importers.run import ImportReport, diff_import, run_import
from tests.importers import tiny_parcels
from tests.importers.test_run import ROOT, state
from tests.importers.test_walk import dot
from tests.importers.vector.fixtures import squares, write
from tim.alignment import Proposal, accept, reject
from tim.errors import TimError
from tim.model import Dataset, ObjectRecord, Relation, dataset_uid, derived_id
from tim.place import Frame
from tim.place.resolve import PlaceOptions
from tim.store import AsOf, Changeset, Filter, Put
from tim.store.contract.samples import some
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


def test_what_was_decided_of_an_object_outlives_deliveries(workspace: Workspace, tmp_path: Path):
    """Accepted and rejected alignments are no delivery's to take back; nor do they make an unchanged object a changed one."""
    path = parcels(tmp_path / "town.parcels", town(5))
    deliver(workspace, path)
    a, b, c = (derived_id(dataset_uid("p"), "town", f"k{n}") for n in range(3))
    elsewhere = derived_id(dataset_uid("q"), "", "1")
    other = Dataset("q", "Q", "objects", dataset_uid("q"), Frame(114.0, 30.0, 0.0, 2**-10))
    with workspace.store() as store:
        store.apply(Changeset("q", [Put(ObjectRecord("1", "building", box=tiny_parcels.BOX))], make=other))
        accept(store, Proposal(a, elsewhere, 0.9, ()))
        reject(store, Proposal(b, elsewhere, 0.6, ()), reason="another house")
        own = some(store.get(c)).object
        store.apply(Changeset("p", [Put(replace(own, relations=(Relation("partOf", elsewhere),)))]))
        kept = {i: some(store.get(i)).object.relations for i in (a, b)}
    path.touch()
    plan = make_plan([path], Options(dataset="p"))
    foreseen = diff_import(workspace, plan).datasets[0]
    assert foreseen.objects == {"created": 0, "updated": 1, "unchanged": 4}
    assert run_import(workspace, plan).datasets[0].objects == foreseen.objects
    parcels(path, {key: (f"{name}-again", floors) for key, (name, floors) in town(5).items()})
    assert deliver(workspace, path).datasets[0].objects == {"created": 0, "updated": 5, "unchanged": 0}
    with workspace.store() as store:
        assert {i: some(store.get(i)).object.relations for i in (a, b)} == kept
        assert [r.kind for i in (a, b) for r in kept[i]] == ["represents", "distinctFrom"]
        assert some(store.get(c)).object.relations == ()  # what the delivery did not state, and nobody decided


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


# Deliveries that share a layer


def shared(workspace: Workspace, *paths: Path, retire: str | None = None, **settings: object) -> ImportReport:
    plan = make_plan(paths, Options(dataset="p", settings={"layer": "L", **settings}))
    return run_import(workspace, plan, retire=retire)


def names(workspace: Workspace) -> dict[str, str]:
    with workspace.store() as store:
        return {v.object.source_key: v.object.name for v in store.query(Filter(dataset="p")).items}


def refused(report: ImportReport) -> list[tuple[str, str, str]]:
    """Key, who has it, who wanted it."""
    found = [r for r in report.rejected if r.code == "import.object-of-other"]
    assert len(found) == len(report.rejected)
    return [(r.fields["key"], r.fields["first"], r.fields["second"]) for r in found]


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two districts that both count from 1."""
    one = parcels(tmp_path / "d" / "one.parcels", {"1": ("one-1", 1), "2": ("one-2", 2)})
    return one, parcels(tmp_path / "d" / "two.parcels", {"2": ("two-2", 9), "3": ("two-3", 9)})


def test_two_deliveries_do_not_overwrite_each_other(workspace: Workspace, two: tuple[Path, Path]):
    """In one run or one after the other, however often: the first keeps its key, the other is told both names and the way out."""
    report = shared(workspace, *two)
    assert refused(report) == [("2", "one.parcels", "two.parcels")]
    told = json.dumps(TimError(report.rejected[0].code, **report.rejected[0].fields).record(), ensure_ascii=False)
    assert all(word in told for word in ("one.parcels", "two.parcels", "--replaces", "图层"))
    kept = {"1": "one-1", "2": "one-2", "3": "two-3"}
    assert names(workspace) == kept
    assert report.datasets[0].objects == {"created": 3, "updated": 0, "unchanged": 0}
    for again in (two, two[1:], two[::-1], two[:1], two[1:]):
        report = shared(workspace, *again)
        assert names(workspace) == kept
        assert refused(report) == [("2", "one.parcels", "two.parcels")] * (two[1] in again)
        assert report.datasets[0].seq is None


def test_what_stands_in_the_store_is_not_overwritten(workspace: Workspace, two: tuple[Path, Path]):
    first, second = two
    shared(workspace, second)
    foreseen = diff_import(workspace, make_plan([first], Options(dataset="p", settings={"layer": "L"})))
    report = shared(workspace, first)
    for told in (foreseen, report):
        assert refused(told) == [("2", "two.parcels", "one.parcels")]
        (done,) = told.datasets
        assert done.objects == {"created": 1, "updated": 0, "unchanged": 0}
        assert done.diff is not None
        assert (done.diff.created, done.diff.changed, done.diff.absent) == (1, 0, 0), "what is another's is not missed"
    assert names(workspace) == {"1": "one-1", "2": "two-2", "3": "two-3"}
    together = shared(workspace, *two)
    assert refused(together) == [("2", "two.parcels", "one.parcels")], "who had it first keeps it, whatever the order"


def test_each_source_is_delivered_again_by_itself(workspace: Workspace, two: tuple[Path, Path], tmp_path: Path):
    shared(workspace, *two)
    parcels(two[1], {"2": ("two-2", 9), "3": ("renamed", 9), "4": ("new", 1)})
    again = shared(workspace, two[1]).datasets[0]
    assert again.diff is not None
    assert (again.diff.created, again.diff.changed, again.diff.absent) == (1, 1, 0)
    parcels(two[1], {"4": ("new", 1)})
    gone = shared(workspace, two[1], retire="2026-01-01").datasets[0]
    assert gone.retired == 1, "only its own"
    assert names(workspace) == {"1": "one-1", "2": "one-2", "4": "new"}
    # From another folder, a file of the same name is the same delivery.
    elsewhere = parcels(tmp_path / "e" / "one.parcels", {"1": ("one-1", 7), "2": ("one-2", 2)})
    assert shared(workspace, elsewhere).datasets[0].objects["updated"] == 1
    # The same file under another key, as the folder above it is given, is the same delivery as well.
    parcels(elsewhere, {"1": ("one-1", 8), "2": ("one-2", 2)})
    report = run_import(workspace, make_plan([tmp_path / "e"], Options(dataset="p", settings={"layer": "L"})))
    assert report.rejected == []
    assert report.datasets[0].objects["updated"] == 1


def test_a_key_that_its_source_gave_up_is_free(workspace: Workspace, two: tuple[Path, Path]):
    shared(workspace, *two)
    parcels(two[0], {"1": ("one-1", 1)})
    report = shared(workspace, *two)
    assert refused(report) == []
    assert names(workspace) == {"1": "one-1", "2": "two-2", "3": "two-3"}


def test_a_delivery_under_another_name_replaces_when_told(workspace: Workspace, tmp_path: Path):
    old = parcels(tmp_path / "town.parcels", town(4))
    shared(workspace, old)
    new = parcels(tmp_path / "town_2025.parcels", {"k0": ("house-0", 0), "k1": ("changed", 1), "k9": ("new", 9)})
    report = shared(workspace, new)
    assert refused(report) == [(key, "town.parcels", "town_2025.parcels") for key in ("k0", "k1")]
    for _ in range(2):
        report = shared(workspace, new, replaces="town.parcels")
        assert report.rejected == []
    with workspace.store() as store:
        assert [s.key for s in store.sources("p")] == ["town_2025.parcels"]
    assert names(workspace) == {"k0": "house-0", "k1": "changed", "k2": "house-2", "k3": "house-3", "k9": "new"}
    newest = parcels(tmp_path / "town_2026.parcels", town(4))
    report = shared(workspace, newest, replaces="town_2025.parcels", retire="2026-01-01")
    assert report.rejected == []
    assert names(workspace) == {key: name for key, (name, _) in town(4).items()}


def test_scenarios_of_a_shared_layer_are_apart(workspace: Workspace, two: tuple[Path, Path]):
    """A scheme may say another thing of the same object; two deliveries of one scheme may not."""
    shared(workspace, two[0])
    assert refused(shared(workspace, two[1], scenario="north")) == []
    third = parcels(two[0].parent / "three.parcels", {"2": ("three-2", 9)})
    assert refused(shared(workspace, third, scenario="north")) == [("2", "two.parcels", "three.parcels")]


def test_a_store_of_before_knows_its_only_source(workspace: Workspace, two: tuple[Path, Path]):
    """Objects that were imported before sources were noted are those of the one source there is."""
    shared(workspace, two[0])
    with sqlite3.connect(workspace.path / "store.sqlite") as db:
        db.execute("UPDATE version SET source = NULL")
    db.close()
    assert refused(shared(workspace, two[1])) == [("2", "one.parcels", "two.parcels")]


def test_layers_of_one_file_are_not_each_other(workspace: Workspace, tmp_path: Path):
    """Two tables of a GeoPackage in one layer: they lie at one path, and are two deliveries nevertheless."""
    for number, name in enumerate(("房屋", "古树")):
        write(tmp_path / "town.gpkg", squares(2), {"id": ["1", f"{name}2"]}, layer=name, append=number > 0)
    options = Options(dataset="p", settings={"layer": "L", "key": "id"}, place=PlaceOptions(vertical="ellipsoid"))
    plan = make_plan([tmp_path / "town.gpkg"], options)
    assert len(plan.deliveries) == 2
    expected = [("1", "town.gpkg#古树", "town.gpkg#房屋")]
    assert refused(run_import(workspace, plan)) == expected
    alone = replace(plan, deliveries=tuple(d for d in plan.deliveries if d.probe.key.endswith("房屋")))
    assert refused(run_import(workspace, alone)) == expected


def test_very_many_are_counted(workspace: Workspace, tmp_path: Path):
    one, other = (parcels(tmp_path / f"{name}.parcels", town(MANY)) for name in ("one", "other"))
    report = shared(workspace, one, other)
    named = [r for r in report.rejected if r.code == "import.object-of-other"]
    (rest,) = [r for r in report.rejected if r.code == "import.objects-of-other"]
    assert len(named) + rest.fields["count"] == MANY
    assert len(named) <= 1000


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.dictionaries(st.sampled_from("abc"), st.dictionaries(st.sampled_from("123"), st.integers(0, 3), min_size=1), min_size=1),
        min_size=1, max_size=5,
    )
)  # fmt: skip
def test_any_sequence_of_deliveries(tiny_formats: None, runs: list[dict[str, dict[str, int]]]):
    """Against a plain model: a key belongs to whom it was first given by, until he delivers without it while another delivers it."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.create(Path(folder, "ws"))
        owner: dict[str, tuple[str, int]] = {}
        for number, run in enumerate(runs):
            paths = [
                parcels(Path(folder, str(number), f"{name}.parcels"), {key: (name, floors) for key, floors in lines.items()})
                for name, lines in run.items()
            ]  # fmt: skip
            plan = make_plan([Path(folder, str(number))], Options(dataset="p", settings={"layer": "L"}))
            assert len(plan.deliveries) == len(paths)
            report = run_import(workspace, plan)
            lost = set()
            for key in sorted({key for lines in run.values() for key in lines}):
                claims = sorted(name for name, lines in run.items() if key in lines)
                has = owner.get(key, ("", 0))[0]
                winner = has if has in claims or (has and has not in run) else claims[0]
                if winner in claims:
                    owner[key] = (winner, run[winner][key])
                lost |= {(key, f"{winner}.parcels", f"{name}.parcels") for name in claims if name != winner}
            assert set(refused(report)) == lost
            with workspace.store() as store:
                found = {
                    v.object.source_key: (v.object.name, v.object.attributes["floors"])
                    for v in store.query(Filter(dataset="p")).items
                }
            assert found == owner


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
