"""The embedded store against the contract, and what only a file can suffer."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from tim.errors import StoreError, WorkspaceError
from tim.query import cql2_text
from tim.store import Changeset, Filter, ObjectStore, Put
from tim.store.contract import StoreContract, branches_machine, history_machine
from tim.store.contract.samples import FULL, TOWN, box, put, walk
from tim.store.sqlite import SqliteStore, query

ROOT = Path(__file__).resolve().parents[3]


def open_store(folder: Path) -> ObjectStore:
    path = folder / "store.sqlite"
    return SqliteStore(path) if path.exists() else SqliteStore.create(path)


class TestSqlite(StoreContract):
    def open_store(self, folder: Path) -> ObjectStore:
        return open_store(folder)


TestSqliteHistory = history_machine(open_store)
TestSqliteBranches = branches_machine(open_store)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store.sqlite"
    with SqliteStore.create(path) as store:
        store.put_dataset(TOWN)
        put(store, *(box(f"{i}", i) for i in range(50)))
    return path


@pytest.mark.parametrize("text", ["i >= 0", "i = 47", "i > 30", "i < 3 OR i > 45", "i < 0"])
@pytest.mark.parametrize("dataset", [None, "town"])
def test_near_objects_are_looked_at_first(path: Path, monkeypatch: pytest.MonkeyPatch, text: str, dataset: str | None):
    """However many they are, pages are the same."""
    wanted = Filter(dataset=dataset, where=cql2_text.read(text))
    with SqliteStore(path) as store:
        expected = walk(store, wanted, 7)
        assert len(expected[1]) == {"i >= 0": 50, "i = 47": 1, "i > 30": 19, "i < 3 OR i > 45": 7, "i < 0": 0}[text]
        for near in (0, 1, 5, 20, 49, 50):
            monkeypatch.setattr(query, "_NEAR", near)
            assert walk(store, wanted, 7) == expected


def test_closed_store_leaves_one_file(path: Path):
    assert [p.name for p in path.parent.iterdir()] == ["store.sqlite"]


def test_missing(tmp_path: Path):
    with pytest.raises(StoreError) as caught:
        SqliteStore(tmp_path / "store.sqlite")
    assert caught.value.code == "store.missing"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content", [b"", b"not a database, but long enough to be looked at" * 40, b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_foreign_file(tmp_path: Path, content: bytes):
    path = tmp_path / "store.sqlite"
    path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        SqliteStore(path)
    assert caught.value.code in {"store.foreign", "store.corrupt"}
    assert path.read_bytes() == content


def test_foreign_database(tmp_path: Path):
    path = tmp_path / "store.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE t (x)")
    db.close()
    with pytest.raises(StoreError) as caught:
        SqliteStore(path)
    assert caught.value.code == "store.foreign"


def test_newer_schema(path: Path):
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError) as caught:
        SqliteStore(path)
    assert (caught.value.code, caught.value.fields["version"]) == ("store.newer", 99)


def indexes(path: Path) -> set[str]:
    with sqlite3.connect(path) as db:
        found = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    db.close()
    return found


REPRESENTATIONS = """
CREATE TABLE representation (
  version INTEGER NOT NULL REFERENCES version, i INTEGER NOT NULL, role TEXT NOT NULL, lod TEXT NOT NULL, format TEXT NOT NULL,
  content TEXT NOT NULL, properties TEXT NOT NULL, PRIMARY KEY (version, i)
) STRICT, WITHOUT ROWID;
INSERT INTO representation SELECT v.id, r.key, r.value ->> 0, r.value ->> 1, r.value ->> 2, r.value ->> 3, r.value -> 4
FROM version v, json_each(v.linked, '$[2]') r;
ALTER TABLE version DROP COLUMN linked;
"""
"""What brings a store of version 5 back to version 4."""


def test_a_store_of_version_1_is_brought_up(path: Path):
    """Opening it to look is enough, and what was in it is found as before."""
    wanted = indexes(path)
    with SqliteStore(path) as store:
        tim_id = put(store, FULL).touched[0].tim_id
        known = store.get(tim_id)
    since_2 = {"object_layer", "version_made", "version_ended", "version_name", "version_scenario"}
    assert since_2 <= wanted
    with sqlite3.connect(path) as db:
        for name in since_2:
            db.execute(f"DROP INDEX {name}")
        db.executescript(REPRESENTATIONS)
        assert db.execute("SELECT count(*) FROM representation").fetchone() == (len(FULL.representations),)
        db.execute("ALTER TABLE version DROP COLUMN source")
        db.execute("PRAGMA user_version = 1")
    db.close()
    with SqliteStore(path) as store:
        assert store.count("town") == 51
        assert store.get(tim_id) == known
        assert put(store, FULL).updated == 0
        assert [v.object.source_key for v in store.search("7", ["town"], limit=1)] == ["7"]
        put(store, box("more", 1))
        assert [part.sources.tolist() for part in store.origins("town", "")] == [[-1] * 51]
    assert indexes(path) == wanted
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (5,)
    db.close()


def test_an_older_store_in_a_folder_that_cannot_be_written(path: Path, monkeypatch: pytest.MonkeyPatch):
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 4")
    db.close()
    monkeypatch.setattr("tim.sqlite._writable", lambda _: False)
    with pytest.raises(WorkspaceError) as caught:
        SqliteStore(path)
    assert caught.value.code == "store.older"


def test_damaged_pages(path: Path):
    content = bytearray(path.read_bytes())
    for page in range(1, len(content) // 4096):
        content[page * 4096 : page * 4096 + 2000] = b"\xa5" * 2000
    path.write_bytes(content)
    with pytest.raises(StoreError) as caught, SqliteStore(path) as store:
        store.query(Filter())
    assert caught.value.code == "store.corrupt"


def test_locked_by_another_writer(path: Path):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with SqliteStore(path, wait=0.05) as store:
            with pytest.raises(StoreError) as caught:
                put(store, box("x", 1))
            assert caught.value.code == "store.locked"
            assert store.count() == 50, "readers do not wait"
    finally:
        other.close()


def test_full_disk(path: Path):
    with SqliteStore(path) as store:
        put(store, box("x", 1))
        assert store._file.writer is not None
        pages = store._file.writer.execute("PRAGMA page_count").fetchone()[0]
        store._file.writer.execute(f"PRAGMA max_page_count = {pages + 5}")
        with pytest.raises(WorkspaceError) as caught:
            put(store, *(box(f"y{i}", i) for i in range(5000)))
        assert caught.value.code == "store.full"
        assert (store.seq, store.count()) == (2, 51)
        store._file.writer.execute("PRAGMA max_page_count = 1000000")
        assert put(store, box("z", 1)).seq == 3


@pytest.mark.skipif(sys.platform != "linux", reason="uses RLIMIT_FSIZE to stand for a quota")
def test_quota(path: Path):
    script = (
        "import resource, signal, sys; from tim.store.sqlite import SqliteStore; from tim.store.contract.samples import box, put;"
        "from tim.errors import WorkspaceError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "try:\n    put(SqliteStore(sys.argv[1]), *(box(f'y{i}', i) for i in range(9000)))\n"
        "except WorkspaceError as error:\n    print(error.code)"
    )
    said = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert said.stdout.strip() in {"store.io", "store.full"}
    with SqliteStore(path) as store:
        assert store.count() == 50


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_read_only_folder_can_be_read_but_not_written(shared_tmp: Path):
    path = shared_tmp / "store.sqlite"
    with SqliteStore.create(path) as store:
        store.put_dataset(TOWN)
        put(store, box("a", 1))
    script = (
        "import os, sys\nfrom tim.store.sqlite import SqliteStore\nfrom tim.store.contract.samples import box, put\nfrom tim.errors import WorkspaceError\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "store = SqliteStore(sys.argv[1])\nprint(store.count())\n"
        "try:\n    put(store, box('x', 1))\nexcept WorkspaceError as error:\n    print(error.code)\nstore.close()"
    )
    path.chmod(0o444)
    shared_tmp.chmod(0o555)
    said = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert said.stdout.split() == ["1", "store.read-only"], said.stderr


def test_use_after_close(path: Path):
    store = SqliteStore(path)
    store.close()
    for use in (store.count, lambda: put(store, box("x", 1))):
        with pytest.raises(StoreError) as caught:
            use()
        assert caught.value.code == "store.closed"


def test_index_boxes_are_rounded_outward(path: Path):
    with SqliteStore(path) as store:
        put(store, *(box(f"k{i}", i) for i in range(3)), *(ofbox(i) for i in range(200)))
    db = sqlite3.connect(path)
    rows = db.execute(
        "SELECT b.west <= v.west AND b.south <= v.south AND b.bottom <= v.bottom AND b.east >= v.east AND b.north >= v.north AND b.top >= v.top"
        " FROM version v JOIN box_index b ON b.id = v.id * 2"
    ).fetchall()
    db.close()
    assert len(rows) == 253
    assert all(fits for (fits,) in rows)


def ofbox(i: int):
    x = 100 + i / 7
    return replace(box(f"of{i}", i), box=(x, -x / 3, -x * 31, x + 1e-9, -x / 3 + 1e-9, -x * 31 + 1e-9))


def test_connections_do_not_pile_up(path: Path):
    with SqliteStore(path) as store:
        for _ in range(20):
            thread = Thread(target=store.count)
            thread.start()
            thread.join()
        list(store.log(limit=1))
        assert len(store._file.idle) == 1


def test_an_abandoned_log_holds_nothing(path: Path):
    with SqliteStore(path) as store:
        log = store.log()
        next(log)
        put(store, box("x", 1))
        log.close()
    assert [p.name for p in path.parent.iterdir()] == ["store.sqlite"]


def test_a_changeset_within_another_is_a_defect(path: Path):
    with SqliteStore(path) as store:

        def operations():
            yield Put(box("x", 1))
            put(store, box("y", 1))

        with pytest.raises(RuntimeError):
            store.apply(Changeset("town", operations()))
        assert store.count() == 50


def test_writers_of_two_processes(path: Path):
    script = (
        "import sys; from tim.store.sqlite import SqliteStore; from tim.store.contract.samples import box, put\n"
        "store = SqliteStore(sys.argv[1])\n"
        "for i in range(20): put(store, box(f'{sys.argv[2]}/{i}', i))\n"
        "store.close()"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(path), name], cwd=ROOT) for name in "ab"]
    assert [w.wait(60) for w in writers] == [0, 0]
    with SqliteStore(path) as store:
        assert (store.seq, store.count()) == (41, 90)
        seqs = [c.seq for c in store.log()]
        assert seqs == list(range(41, 0, -1))
