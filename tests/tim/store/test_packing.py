"""The index of boxes made at once, against SQLite's own: its check accepts it, it finds the same, and it goes on being changed."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tim.store.sqlite.packing import pack, rounded_outward

TABLE = "CREATE VIRTUAL TABLE box_index USING rtree (id, west, east, south, north, bottom, top)"
INSERT = "INSERT INTO box_index VALUES (?, ?, ?, ?, ?, ?, ?)"
FIND = (
    "SELECT id FROM box_index WHERE west <= ? AND east >= ? AND south <= ? AND north >= ? AND bottom <= ? AND top >= ?"
)


def boxes(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    low = random.uniform(-180, 180, (count, 3))
    rows = np.empty((count, 6))
    rows[:, 0::2], rows[:, 1::2] = low, low + random.choice([0.0, 0.1, 30.0], (count, 3))
    return random.permutation(np.arange(1, count + 1)) * 2, rows


@settings(max_examples=40)
@given(seed=st.integers(0, 1 << 32), count=st.sampled_from([0, 1, 40, 41, 51, 52, 60, 500, 2000, 2600, 9000]))
def test_same_as_inserted(seed: int, count: int):
    ids, rows = boxes(seed, count)
    ours, theirs = sqlite3.connect(":memory:"), sqlite3.connect(":memory:")
    for db in (ours, theirs):
        db.execute(TABLE)
    pack(ours, "box_index", ids, rounded_outward(rows))
    theirs.executemany(INSERT, [(i, *row) for i, row in zip(ids.tolist(), rows.tolist(), strict=True)])
    more = [(int(i) * 2 + 1, *row) for i, row in enumerate(boxes(seed + 1, 200)[1].tolist())]
    for step in range(3):
        assert ours.execute("SELECT rtreecheck('box_index')").fetchone() == ("ok",)
        assert (
            ours.execute("SELECT count(*) FROM box_index").fetchone()
            == theirs.execute("SELECT count(*) FROM box_index").fetchone()
        )
        for west, east, south, north, bottom, top in boxes(seed + 2, 20)[1].tolist():
            asked = (east, west, north, south, top, bottom)
            exact = {
                int(i) for i, r in zip(ids, rows, strict=True)
                if r[0] <= east and r[1] >= west and r[2] <= north and r[3] >= south and r[4] <= top and r[5] >= bottom
            }  # fmt: skip
            found = {i for (i,) in ours.execute(FIND, asked)}
            assert exact <= found if step == 0 else True
            assert found == {i for (i,) in theirs.execute(FIND, asked)} or found >= exact
        for db in (ours, theirs):
            if step == 0:
                db.executemany(INSERT, more)
            elif count:
                db.execute("DELETE FROM box_index WHERE id % 3 = 0")


@pytest.mark.parametrize("value", [0.1, -0.1, 1e-40, 179.99999999, -179.99999999, 3.4e38, 0.0, 1e300, -1e300])
def test_rounded_outward(value: float):
    with np.errstate(over="ignore"):
        low, high = rounded_outward(np.array([[value, value] * 3]))[0, :2].astype(float)
    assert low <= value <= high
