"""The workspace folder: making, opening, refusing, locking, quarantine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.postgres import Server
from tim import workspace as module
from tim.errors import TimError, WorkspaceError
from tim.model import Rejected
from tim.store.contract.samples import TOWN
from tim.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def made(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "工作 空间", "site-a", {"vertical": "egm96"})


def refusal(code: str, error: TimError, *mentions: str) -> None:
    assert error.code == code
    for text in error.record()["text"].values():
        assert "{" not in text
        assert all(mention in text for mention in mentions)


def test_made_and_opened(made: Workspace):
    again = Workspace.open(made.path)
    assert (again.namespace, again.defaults) == ("site-a", {"vertical": "egm96"})
    assert again.archive_root == made.path / "tiles"
    assert again.jobs("town") == made.path / "jobs" / "town"
    assert again.jobs("town").is_dir()
    with again.store() as store:
        store.put_dataset(TOWN)
    with made.store() as store:
        assert [d.slug for d in store.datasets()] == ["town"]


def test_two_workspaces_have_equal_records(tmp_path: Path):
    records = [
        (Workspace.create(tmp_path / name, "n", {"b": 1, "a": 2}).path / "workspace.json").read_bytes() for name in "ab"
    ]
    assert records[0] == records[1]
    assert str(tmp_path).encode() not in records[0]


def test_defaults_change(made: Workspace):
    made.set_defaults({"vertical": "ellipsoid"})
    assert Workspace.open(made.path).defaults == made.defaults == {"vertical": "ellipsoid"}
    assert Workspace.open(made.path).namespace == "site-a"
    assert not list(made.path.glob("*.part"))


def test_missing(tmp_path: Path):
    with pytest.raises(WorkspaceError) as caught:
        Workspace.open(tmp_path / "none")
    refusal("workspace.missing", caught.value, "tim init", str(tmp_path / "none"))


def test_not_a_workspace(tmp_path: Path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(WorkspaceError) as caught:
            Workspace.open(path)
        refusal("workspace.foreign", caught.value, str(path))


def test_newer(made: Workspace):
    (made.path / "workspace.json").write_text(
        json.dumps({"format": 7, "namespace": "", "defaults": {}}), encoding="utf-8"
    )
    with pytest.raises(WorkspaceError) as caught:
        Workspace.open(made.path)
    refusal("workspace.newer", caught.value, "7")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "1", "{}", '{"format": "x", "namespace": "", "defaults": {}}', "\ufeff{}"]
)
def test_garbled(made: Workspace, text: str):
    (made.path / "workspace.json").write_text(text, encoding="utf-8")
    with pytest.raises(WorkspaceError) as caught:
        Workspace.open(made.path)
    refusal("workspace.garbled", caught.value, "workspace.json")


def test_made_once(made: Workspace):
    before = (made.path / "workspace.json").read_bytes()
    with pytest.raises(WorkspaceError) as caught:
        Workspace.create(made.path)
    refusal("workspace.exists", caught.value)
    assert (made.path / "workspace.json").read_bytes() == before


def test_never_among_other_things(tmp_path: Path):
    (tmp_path / "论文.docx").touch()
    with pytest.raises(WorkspaceError) as caught:
        Workspace.create(tmp_path)
    refusal("workspace.not-empty", caught.value, "论文.docx")
    assert [p.name for p in tmp_path.iterdir()] == ["论文.docx"]


def test_an_interrupted_making_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_write_atomically", dies)
    with pytest.raises(KeyboardInterrupt):
        Workspace.create(tmp_path / "w")
    with pytest.raises(WorkspaceError):
        Workspace.open(tmp_path / "w")
    monkeypatch.undo()
    Workspace.create(tmp_path / "w")
    with Workspace.open(tmp_path / "w").store() as store:
        assert store.datasets() == []


def test_a_file_in_the_way(tmp_path: Path):
    (tmp_path / "w").touch()
    with pytest.raises(WorkspaceError) as caught:
        Workspace.create(tmp_path / "w")
    refusal("workspace.read-only", caught.value, str(tmp_path / "w"))


def test_no_space(made: Workspace):
    made.require_space(1)
    with pytest.raises(WorkspaceError) as caught:
        made.require_space(10**18)
    refusal("workspace.no-space", caught.value, "1000000000000 MB")


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_read_only(shared_tmp: Path):
    made = Workspace.create(shared_tmp / "w")
    script = (
        "import os, sys; from tim.workspace import Workspace; from tim.errors import WorkspaceError\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "w = Workspace.open(sys.argv[1])\n"
        "for verb in (w.require_writable, lambda: w.jobs('new'), lambda: w.set_defaults({}), lambda: w.lock('x').__enter__()):\n"
        "    try: verb()\n    except WorkspaceError as error: print(error.code)"
    )
    made.require_writable()
    for item in [*made.path.rglob("*"), made.path]:
        item.chmod(0o555 if item.is_dir() else 0o444)
    said = subprocess.run(
        [sys.executable, "-c", script, str(made.path)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert said.stdout.split() == ["workspace.read-only"] * 4, said.stderr


# Locks


def test_one_writer_of_a_dataset(made: Workspace):
    with made.lock("tile-town"):
        with made.lock("tile-hills"):
            pass
        with pytest.raises(WorkspaceError) as caught, Workspace.open(made.path).lock("tile-town"):
            pass
        refusal("workspace.busy", caught.value, str(os.getpid()), "tile-town")
    with made.lock("tile-town"):
        pass


def test_lock_is_let_go_by_an_error(made: Workspace):
    with pytest.raises(ZeroDivisionError), made.lock("a/b"):
        raise ZeroDivisionError
    with made.lock("a/b"):
        pass


def test_lock_dies_with_its_holder(made: Workspace):
    script = (
        "import sys, time; from tim.workspace import Workspace\n"
        "with Workspace.open(sys.argv[1]).lock('tile-town'):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(made.path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(WorkspaceError) as caught, made.lock("tile-town"):
            pass
        refusal("workspace.busy", caught.value, str(holder.pid))
    finally:
        holder.kill()
        holder.communicate()
    with made.lock("tile-town"):
        pass


# Quarantine


def rejects(*names: str) -> Iterator[Rejected]:
    return (Rejected(f"文件/{name}", "las.truncated", {"count": 3, "path": Path("x")}) for name in names)


def test_quarantine(made: Workspace):
    quarantine = made.quarantine
    assert quarantine.add("town", rejects()) == 0
    assert (quarantine.count("town"), list(quarantine.records("town"))) == (0, [])
    assert not (made.path / "quarantine" / "town").exists()
    assert quarantine.add("town", rejects("a", "b")) == 2
    assert quarantine.add("town", rejects("b", "c")) == 2
    assert quarantine.count("hills") == 0
    assert [r.where for r in quarantine.records("town")] == ["文件/a", "文件/b", "文件/c"]
    assert quarantine.count("town") == 3
    assert next(quarantine.records("town")) == Rejected("文件/a", "las.truncated", {"count": 3, "path": "x"})
    assert len(quarantine.runs("town")) == 2


def test_quarantined_records_are_settled_by_delivery_and_by_record(made: Workspace):
    quarantine = made.quarantine

    def left(*names: str) -> list[Rejected]:
        return [Rejected(name, "las.truncated", {}, name.partition(":")[0]) for name in names]

    quarantine.add("town", left("x:1", "x:2", "y:1", "z"))
    assert quarantine.add("town", left("x:2"), read=["x"]) == 1
    assert [r.where for r in quarantine.records("town")] == ["y:1", "z", "x:2"]
    assert quarantine.add("town", [], read=["z", "never"], repaired=["y:1"]) == 0
    assert [(r.where, r.source) for r in quarantine.records("town")] == [("x:2", "x")]
    runs = len(quarantine.runs("town"))
    assert quarantine.add("town", [], read=["z"], repaired=["y:1"]) == 0
    assert len(quarantine.runs("town")) == runs
    quarantine.add("town", left("z"))
    assert [r.where for r in quarantine.records("town")] == ["x:2", "z"]


def test_quarantined_records_are_given_out(made: Workspace, tmp_path: Path):
    feature = {"type": "Feature", "geometry": None, "properties": {"名称": "甲", "day": Path("x")}}
    made.quarantine.add(
        "town", [Rejected("f:1", "las.truncated", {}, "f", feature), Rejected("f:2", "las.truncated", {}, "f")]
    )
    out = tmp_path / "out.geojsonl"
    assert made.quarantine.export("town", out) == 1
    assert json.loads(out.read_text(encoding="utf-8")) == {
        "type": "Feature", "geometry": None, "properties": {"名称": "甲", "day": "x", "tim:repairs": "f:1"},
    }  # fmt: skip
    with pytest.raises(WorkspaceError):
        made.quarantine.export("town", tmp_path / "no" / "out.geojsonl")


def test_quarantine_of_a_step_that_looks_at_everything(made: Workspace):
    quarantine = made.quarantine
    quarantine.add("town", rejects("import"))
    quarantine.replace("town", rejects("a", "b"), "tile")
    quarantine.replace("town", rejects("b"), "tile")
    assert [r.where for r in quarantine.records("town")] == ["文件/import", "文件/b"]
    quarantine.replace("town", (), "tile")
    assert quarantine.count("town") == 1


def test_quarantine_survives_a_torn_line(made: Workspace):
    made.quarantine.add("town", rejects("a", "b"))
    (path,) = made.quarantine.runs("town")
    path.write_bytes(path.read_bytes()[:-5])
    assert [r.where for r in made.quarantine.records("town")] == ["文件/a"]


def test_quarantine_streams_what_was_found_before_an_error(made: Workspace):
    def failing() -> Iterator[Rejected]:
        yield from rejects("a")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        made.quarantine.add("town", failing())
    assert made.quarantine.count("town") == 1


def test_objects_in_postgresql(tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch):
    """Two folders may share a store; the record has no password, and programs of before refuse it."""
    shown = f"{postgres.url}?schema=workspace"
    url = shown.replace("tim@", "tim:secret@")
    try:
        made = Workspace.create(tmp_path / "a", "site", store_url=url)
        with made.store() as store:
            store.put_dataset(TOWN)
        made.set_defaults({"vertical": "egm96"})
        again = Workspace.create(tmp_path / "b", "site", store_url=shown)
        for folder in (made, again):
            record = json.loads((folder.path / "workspace.json").read_text(encoding="utf-8"))
            assert (record["format"], record["store"]) == (2, shown)
            assert not (folder.path / "store.sqlite").exists()
            with Workspace.open(folder.path).store() as store:
                assert store.datasets() == [TOWN]
        for told in (url, shown.replace("=workspace", "=another")):
            monkeypatch.setenv("TIM_STORE_URL", told)
            with made.store() as store:
                assert store.datasets() == [TOWN]
    finally:
        with psycopg.connect(postgres.url, autocommit=True) as db:
            db.execute("DROP SCHEMA workspace CASCADE")


def test_a_store_that_cannot_be_made_leaves_no_workspace(tmp_path: Path):
    with pytest.raises(WorkspaceError) as caught:
        Workspace.create(tmp_path / "w", store_url="postgresql://u:secret@127.0.0.1:1/db?connect_timeout=2")
    assert caught.value.code == "store.pg-unreachable"
    assert not (tmp_path / "w" / "workspace.json").exists()
    assert Workspace.create(tmp_path / "w").store_url is None


def test_a_workspace_with_its_store_in_the_folder_is_as_before(made: Workspace):
    record = json.loads((made.path / "workspace.json").read_text(encoding="utf-8"))
    assert record.keys() == {"format", "namespace", "defaults"}
    assert record["format"] == 1
