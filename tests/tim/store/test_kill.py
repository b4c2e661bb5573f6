"""kill -9 of a writer: nothing reported is lost, nothing is torn."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.postgres import Server
from tim.store import Filter, ObjectStore
from tim.store.contract.samples import TOWN
from tim.store.postgis import PostgisStore
from tim.store.sqlite import SqliteStore

ROOT = Path(__file__).resolve().parents[3]
SIZE = 400
WRITER = f"""
import itertools, sys
from tim.store.contract.samples import box, put
from tim.store.{{module}} import {{store}}
with {{store}}(sys.argv[1]) as store:
    for i in itertools.count(int(sys.argv[2])):
        print(put(store, *(box(f"{{{{i}}}}/{{{{k}}}}", k) for k in range({SIZE}))).seq, flush=True)
"""


@pytest.fixture
def url(postgres: Server) -> Iterator[str]:
    yield f"{postgres.url}?schema=killed"
    with psycopg.connect(postgres.url, autocommit=True) as db:
        db.execute("DROP SCHEMA killed CASCADE")


def test_killed_writers(tmp_path: Path):
    path = tmp_path / "store.sqlite"
    with SqliteStore.create(path) as store:
        store.put_dataset(TOWN)
    for _ in kill_writers(WRITER.format(module="sqlite", store="SqliteStore"), str(path), lambda: SqliteStore(path), 6):
        db = sqlite3.connect(path)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT rtreecheck('box_index')").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        db.close()


def test_killed_writers_of_postgis(url: str):
    with PostgisStore.create(url) as store:
        store.put_dataset(TOWN)
    for _ in kill_writers(WRITER.format(module="postgis", store="PostgisStore"), url, lambda: PostgisStore(url), 4):
        with psycopg.connect(url.partition("?")[0]) as db:
            db.execute("SET search_path = killed")
            versions = "SELECT count(*), count(DISTINCT object), max(id) FROM version"
            objects, versions_of, last = db.execute(versions).fetchone() or ()
            assert objects == versions_of == last
            lost = "SELECT count(*) FROM version v LEFT JOIN object o ON o.id = v.object WHERE o.id IS NULL"
            assert db.execute(lost).fetchone() == (0,)


def kill_writers(script: str, where: str, reopened: Callable[[], ObjectStore], rounds: int) -> Iterator[None]:
    """Have writers write and kill them at any moment; stops for a look after each."""
    moments = random.Random(20261121)
    reported = 0
    for round_ in range(rounds):
        writer = subprocess.Popen(
            [sys.executable, "-c", script, where, str(round_ * 10_000)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(moments.uniform(0.0, 0.15))
        writer.kill()
        lines = [first, *writer.stdout.read().splitlines()]
        writer.stdout.close()
        writer.wait()
        reported = max(reported, *(int(line) for line in lines if line.strip()))

        with reopened() as store:
            assert store.seq >= reported
            counts: Counter[str] = Counter()
            cursor = None
            while True:
                page = store.query(Filter(), cursor=cursor, limit=5000)
                counts.update(item.object.source_key.split("/")[0] for item in page.items)
                if (cursor := page.cursor) is None:
                    break
            assert set(counts.values()) == {SIZE}
            assert len(counts) == store.seq
        yield
