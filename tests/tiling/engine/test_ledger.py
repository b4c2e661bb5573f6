from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tiling.engine.synthetic import BOX, FRAME, PLACE
from tiling.builder import ContentRef, Job, Shard, ShardResult, TileEntry
from tiling.engine.ledger import Done, Identity, Ledger, read_result, write_result
from tim.errors import TilingError
from tim.place import Height
from tim.sources import Fingerprint, SourceRef

SOURCE = SourceRef("/disk/a", "las", "points", "a", PLACE, Fingerprint(10, 1, "x"), (0.0,) * 6, 5, {"bits": 8})
OTHER = replace(SOURCE, key="b", uri="/disk/b")
JOB = Job("d", "points", FRAME, (SOURCE, OTHER), {"depth": 3}, Path("scratch"))
NAMED = Shard("s", "n", {"source": "a", "from": 0})
ALL = Shard("s", "m", {"from": 0})


def test_ids_depend_on_what_determines_the_result():
    base = Identity(JOB, 1)
    assert base(NAMED) == Identity(replace(JOB, scratch=Path("elsewhere")), 1)(NAMED)
    assert base(NAMED) == base(replace(NAMED, name="other", cost=7.0))
    assert base(NAMED) == base(replace(NAMED, spec={"from": 0, "source": "a"}))
    others = [
        Identity(JOB, 2)(NAMED), Identity(replace(JOB, settings={"depth": 4}), 1)(NAMED), Identity(replace(JOB, kind="meshes"), 1)(NAMED),
        Identity(replace(JOB, frame=replace(FRAME, height=1.0)), 1)(NAMED), base(replace(NAMED, stage="t")),
        base(replace(NAMED, spec={"source": "a", "from": 1})), base(replace(NAMED, spec={"source": "b", "from": 0})), base(ALL),
    ]  # fmt: skip
    assert base(NAMED) not in others
    assert len(set(others)) == len(others)


@pytest.mark.parametrize(("change", "same"), [
    ({"uri": "/other/a"}, True),
    ({"fingerprint": Fingerprint(10, 99, "x")}, True),
    ({"box": (1.0,) * 6, "count": 6}, True),
    ({"fingerprint": Fingerprint(11, 1, "x")}, False),
    ({"fingerprint": Fingerprint(10, 1, "y")}, False),
    ({"options": {"bits": 16}}, False),
    ({"place": replace(PLACE, height=Height("constant", "+1 m", 1.0))}, False),
])  # fmt: skip
def test_ids_and_sources(change: dict[str, object], same: bool):
    changed = Identity(replace(JOB, sources=(replace(SOURCE, **change), OTHER)), 1)
    base = Identity(JOB, 1)
    assert (changed(NAMED) == base(NAMED)) is same
    assert (changed(ALL) == base(ALL)) is same
    named_b = replace(NAMED, spec={"source": "b"})
    assert changed(named_b) == base(named_b)


def test_what_was_lost_is_part_of_what_follows():
    identity = Identity(JOB, 1)
    before, other = identity(NAMED), replace(NAMED, spec={"sources": ["b"]})
    untouched = identity(other)
    identity.lose("a", ["n"])
    assert identity(NAMED) != before
    assert identity(other) == untouched


numbers = st.floats(allow_nan=False)
fields = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.none() | numbers, max_size=3)
refs = st.builds(
    ContentRef,
    st.text("0123456789abcdef", min_size=64, max_size=64),
    st.integers(0),
    st.integers(0),
    st.sampled_from(["identity", "gzip"]),
)
entries = st.builds(
    TileEntry, st.text(), st.none() | st.text(), st.tuples(*[numbers] * 12), numbers, st.sampled_from(["ADD", "REPLACE"]), st.none() | refs,
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip
results = st.builds(
    ShardResult, st.lists(entries, max_size=3).map(tuple), fields, st.dictionaries(st.text(max_size=3), st.integers()),
    st.lists(st.tuples(st.text(max_size=5), fields), max_size=2).map(tuple),
)  # fmt: skip


@given(results)
def test_results_round_trip(result: ShardResult):
    assert read_result(write_result(result)) == result


def test_a_result_must_be_json():
    with pytest.raises(TypeError):
        Done.of(ShardResult(output={"path": Path("x")}), 0.0)


def shard(n: int, stage: str = "s", cost: float = 1.0) -> tuple[str, Shard]:
    return f"{stage}{n}".encode().hex(), Shard(stage, str(n), {"n": n, "source": "a"}, cost)


def result(n: int, *, content: bool = True) -> ShardResult:
    ref = ContentRef(f"{n:064x}", 1, 1)
    return ShardResult([TileEntry(str(n), None, BOX, 0.0, "ADD", ref if content else None)], {"n": n}, {"points": n})


def test_plan_do_and_resume(tmp_path: Path):
    path = tmp_path / "l" / "ledger.sqlite"
    with Ledger(path) as ledger:
        ledger.begin(["s"])
        ledger.plan("s", [shard(0, cost=1), shard(1, cost=5), shard(2, cost=3)])
        assert [ledger.shard(id_).name for id_ in ledger.todo("s")] == ["1", "2", "0"]
        ledger.done(shard(1)[0], Done.of(result(1), 0.5))
        ledger.failed(shard(2)[0], TilingError("tile.unexpected", error="e", trace=""))
    with Ledger(path) as ledger:
        ledger.begin(["s"])
        ledger.plan("s", [shard(3), shard(2, cost=3), shard(1, cost=5), shard(0)])
        assert [ledger.shard(id_).name for id_ in ledger.todo("s")] == ["2", "3", "0"]
        totals = ledger.totals("s")
        assert (totals.shards, totals.done, totals.cost, totals.cost_done) == (4, 1, 10.0, 5.0)
        for n in (0, 3, 2):
            ledger.done(shard(n)[0], Done.of(result(n), 0.1))
        out = ledger.results("s")
        assert [r.output["n"] for r in out] == [3, 2, 1, 0]
        assert (out[-1].counts, len(out), [r.output["n"] for r in out[1:3]]) == ({"points": 0}, 4, [2, 1])
        assert out[0] == read_result(write_result(result(3)))
        with pytest.raises(IndexError):
            out[4]
        assert ledger.planned("a") == 4
        before = ledger.inputs("s")
        ledger.plan("s", [shard(0), shard(1), shard(2, cost=3), shard(3)])
        assert ledger.inputs("s") != before
        ledger.begin(["t"])
        assert ledger.totals("s").shards == 0


def test_lost_contents_are_done_again(tmp_path: Path):
    with Ledger(tmp_path / "l") as ledger:
        ledger.begin(["s"])
        ledger.plan("s", [shard(n) for n in range(2500)])
        for n in range(2500):
            ledger.done(shard(n)[0], Done.of(result(n, content=n % 2 == 0), 0.0))
        gone = {f"{n:064x}" for n in (0, 7, 1200, 2498)}
        ledger.recheck("s", lambda hashes: set(hashes) - gone)
        assert [ledger.shard(id_).name for id_ in ledger.todo("s")] == ["0", "1200", "2498"]


def test_the_same_work_twice_is_a_defect_of_the_builder(tmp_path: Path):
    with Ledger(tmp_path / "l") as ledger:
        ledger.begin(["s"])
        with pytest.raises(ValueError, match="'1'"):
            ledger.plan("s", [shard(0), shard(1), shard(1)])
        assert ledger.totals("s").shards == 0


def test_prune_keeps_the_plan(tmp_path: Path):
    with Ledger(tmp_path / "l") as ledger:
        ledger.begin(["s"])
        ledger.plan("s", [shard(0), shard(1)])
        ledger.done(shard(0)[0], Done.of(result(0), 0.0))
        ledger.done(shard(1)[0], Done.of(result(1), 0.0))
        ledger.begin(["s"])
        ledger.plan("s", [shard(1)])
        ledger.prune()
        ledger.begin(["s"])
        ledger.plan("s", [shard(0), shard(1)])
        assert [ledger.shard(id_).name for id_ in ledger.todo("s")] == ["0"]
