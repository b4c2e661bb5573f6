"""kill -9 of a writer: nothing reported is lost, nothing is torn."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tim.store import Filter
from tim.store.contract.samples import TOWN
from tim.store.sqlite import SqliteStore

ROOT = Path(__file__).resolve().parents[3]
SIZE = 400
WRITER = f"""
import itertools, sys
from dataclasses import replace
from tim.store.contract.samples import box, put
from tim.store.sqlite import SqliteStore
with SqliteStore(sys.argv[1]) as store:
    for i in itertools.count(int(sys.argv[2])):
        print(put(store, *(box(f"{{i}}/{{k}}", k) for k in range({SIZE}))).seq, flush=True)
"""


def test_killed_writers(tmp_path: Path):
    path = tmp_path / "store.sqlite"
    with SqliteStore.create(path) as store:
        store.put_dataset(TOWN)
    moments = random.Random(20261121)
    reported = 0
    for round_ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(round_ * 10_000)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(moments.uniform(0.0, 0.15))
        writer.kill()
        lines = [first, *writer.stdout.read().splitlines()]
        writer.stdout.close()
        writer.wait()
        reported = max(reported, *(int(line) for line in lines if line.strip()))

        with SqliteStore(path) as store:
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
        db = sqlite3.connect(path)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT rtreecheck('box_index')").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        db.close()
