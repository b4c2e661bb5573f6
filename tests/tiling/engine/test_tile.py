from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.tiling.engine import synthetic
from tests.tiling.engine.synthetic import SLUG, make_workspace, put_sources, traced
from tiling.archive import Archive
from tiling.engine import Progress, SerialExecutor, tile
from tim.errors import CorruptSource, SourceError, TilingError, UsageError, WorkspaceError
from tim.model import Dataset, dataset_uid
from tim.store import Changeset, DropSource

pytestmark = pytest.mark.usefixtures("words")
TEXTS = {
    "a.words": "alpha beta gamma\nalef bet gimel\n",
    "b.words": "delta epsilon alpha\n",
    "c.words": "eta theta zeta beta\nomega\n",
}
SERIAL = SerialExecutor()


def contents(workspace) -> dict[str, bytes]:
    with Archive(workspace.archive_root) as archive:
        return {t.key: archive.read(t.content.hash) for t in archive.tiles(SLUG)}


def test_tiles_hold_every_word(tmp_path: Path):
    workspace = make_workspace(tmp_path, TEXTS)
    report = tile(workspace, SLUG, workers=2)
    words = sorted(w for text in TEXTS.values() for w in text.split())
    out = sorted(w for payload in contents(workspace).values() for w in payload[: len(payload) // 50].decode().split())
    assert out == words
    assert report.counts == {"words": len(words)}
    assert (report.shards_reused, report.problems, report.up_to_date) == (0, [], False)
    assert report.shards_built == 5 + len({w[0] for w in words})
    assert not (workspace.jobs(SLUG) / "scratch").exists()


def test_workers_do_not_matter(tmp_path: Path):
    hashes = set()
    for number, workers in enumerate((1, 2, None)):
        (tmp_path / str(number)).mkdir()
        workspace = make_workspace(tmp_path / str(number), TEXTS)
        executor = SERIAL if workers is None else None
        hashes.add(tile(workspace, SLUG, workers=workers, executor=executor).snapshot.hash)
    assert len(hashes) == 1


def test_second_run_is_up_to_date(tmp_path: Path):
    workspace = make_workspace(tmp_path, TEXTS)
    first = tile(workspace, SLUG, executor=SERIAL)
    traced(workspace)
    second = tile(workspace, SLUG, executor=SERIAL)
    assert traced(workspace) == []
    assert second.up_to_date
    assert second.snapshot == first.snapshot
    assert (second.shards_built, second.shards_reused) == (0, first.shards_built)


def test_append_builds_what_it_touches(tmp_path: Path):
    workspace = make_workspace(tmp_path, TEXTS)
    tile(workspace, SLUG, executor=SERIAL)
    traced(workspace)
    put_sources(workspace, tmp_path, {"d.words": "gamma delta"})
    report = tile(workspace, SLUG, executor=SERIAL)
    built = traced(workspace)
    # Scratch was gone: of the old pieces those that share a tile with the new ones are cut again, and only those.
    assert built == ["cut:a.words/0", "cut:a.words/1", "cut:b.words/0", "cut:d.words/0", "join:d", "join:g"]
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    alone = tile(make_workspace(fresh, {**TEXTS, "d.words": "gamma delta"}), SLUG, executor=SERIAL)
    assert report.snapshot.hash == alone.snapshot.hash
    assert not report.up_to_date


def test_changed_and_dropped_sources(tmp_path: Path):
    workspace = make_workspace(tmp_path, TEXTS)
    tile(workspace, SLUG, executor=SERIAL)
    traced(workspace)
    put_sources(workspace, tmp_path, {"c.words": "eta theta zeta beta\nohm\n"})
    tile(workspace, SLUG, executor=SERIAL)
    assert "cut:c.words/1" in traced(workspace)
    assert contents(workspace)["words/o"].startswith(b"ohm")
    with workspace.store() as store:
        store.apply(Changeset(SLUG, [DropSource("c.words")]))
    tile(workspace, SLUG, executor=SERIAL)
    assert "words/o" not in contents(workspace)


def test_settings_are_part_of_the_work(tmp_path: Path):
    workspace = make_workspace(tmp_path, TEXTS)
    lower = tile(workspace, SLUG, executor=SERIAL)
    upper = tile(workspace, SLUG, executor=SERIAL, settings={"upper": True})
    assert upper.snapshot.hash != lower.snapshot.hash
    assert contents(workspace)["words/o"].startswith(b"OMEGA")
    with pytest.raises(UsageError, match="uper"):
        tile(workspace, SLUG, executor=SERIAL, settings={"uper": True})


def test_scratch_of_other_settings_is_not_trusted(tmp_path: Path):
    """Stopped after ``cut``, run with other settings, then again with the first: the files have the same names."""
    workspace = make_workspace(tmp_path, {"a.words": "one two !bug"})
    texts = {"a.words": "one two three"}
    for setting in ({"upper": False}, {"upper": True}):
        with pytest.raises(TilingError):
            tile(workspace, SLUG, executor=SERIAL, settings=setting)
    put_sources(workspace, tmp_path, texts)
    tile(workspace, SLUG, executor=SERIAL)
    assert b"".join(v[: len(v) // 50] for _, v in sorted(contents(workspace).items())) == b"onethree two"


def test_contents_that_are_gone_are_built_again(tmp_path: Path):
    workspace = make_workspace(tmp_path, TEXTS)
    first = tile(workspace, SLUG, executor=SERIAL)
    shutil.rmtree(workspace.archive_root)
    again = tile(workspace, SLUG, executor=SERIAL)
    assert again.snapshot.hash == first.snapshot.hash
    assert again.shards_built == first.shards_built


def test_a_copy_on_another_path_is_the_same_source(tmp_path: Path):
    workspace = make_workspace(tmp_path, TEXTS)
    first = tile(workspace, SLUG, executor=SERIAL)
    moved = tmp_path / "moved"
    moved.mkdir()
    traced(workspace)
    put_sources(workspace, moved, TEXTS)
    assert tile(workspace, SLUG, executor=SERIAL).snapshot == first.snapshot
    assert traced(workspace) == []


def test_a_crashing_worker_is_survived(tmp_path: Path):
    workspace = make_workspace(tmp_path, {**TEXTS, "x.words": f"!once={tmp_path / 'mark'} xi"})
    report = tile(workspace, SLUG, workers=2)
    assert report.problems == []
    assert "words/x" in contents(workspace)
    assert len([line for line in traced(workspace) if line == "cut:x.words/0"]) == 2


def test_a_shard_that_always_crashes_costs_its_part_of_its_source(tmp_path: Path):
    workspace = make_workspace(tmp_path, {**TEXTS, "x.words": "!crash xi\nxenon\n"})
    report = tile(workspace, SLUG, workers=2)
    codes = dict(report.problems)
    assert codes["tile.source-incomplete"] == {"source": "x.words", "lost": 1, "shards": 2}
    lost = codes["tile.worker-lost"]
    assert (lost["shard"], lost["source"], lost["attempts"], lost["how"]) == ("x.words/0", "x.words", 3, "SIGKILL")
    assert contents(workspace)["words/x"].startswith(b"xenon")
    assert traced(workspace).count("cut:x.words/0") == 3
    # Healed, the result is what it would have been.
    put_sources(workspace, tmp_path, {"x.words": "xi\nxenon\n"})
    assert tile(workspace, SLUG, workers=2).problems == []
    assert contents(workspace)["words/x"].startswith(b"xenon xi")


def test_corrupt_sources_are_quarantined_the_rest_goes_on(tmp_path: Path):
    workspace = make_workspace(
        tmp_path, {**TEXTS, "x.words": "xi\n!corrupt\n", "y.words": "!unreadable", "z.words": "? !bug\nzoo ?"}
    )
    report = tile(workspace, SLUG, executor=SERIAL)
    found = sorted((code, fields.get("source") or fields.get("file")) for code, fields in report.problems)
    assert found == [
        ("las.empty", "x.words"), ("las.empty", "y.words"), ("tile.source-incomplete", "x.words"), ("tile.source-incomplete", "z.words"),
        ("tile.unexpected", "z.words"), ("tile.unexpected", "z.words"),
    ]  # fmt: skip
    assert contents(workspace)["words/x"].startswith(b"xi")
    # The next run reports them again and changes nothing.
    again = tile(workspace, SLUG, executor=SERIAL)
    assert again.up_to_date
    assert again.problems == report.problems


def test_failures_of_shared_work_publish_nothing(tmp_path: Path):
    workspace = make_workspace(tmp_path, {**TEXTS, "x.words": "!crash-join"})
    with pytest.raises(TilingError) as caught:
        tile(workspace, SLUG, workers=2)
    assert caught.value.code == "tile.shards-failed"
    assert (caught.value.fields["shard"], caught.value.fields["source"]) == ("!", "x.words")
    with Archive(workspace.archive_root) as archive:
        assert archive.latest(SLUG) is None
    traced(workspace)
    with pytest.raises(TilingError):
        tile(workspace, SLUG, workers=2)
    assert set(traced(workspace)) == {"join:!"}  # all else is kept


def test_everything_corrupt(tmp_path: Path):
    workspace = make_workspace(tmp_path, {"x.words": "!corrupt\n", "y.words": "!corrupt"})
    with pytest.raises(TilingError) as caught:
        tile(workspace, SLUG, executor=SERIAL)
    assert caught.value.code == "tile.nothing-built"
    (tmp_path / "o").mkdir()
    with pytest.raises(TilingError) as caught:
        tile(make_workspace(tmp_path / "o", {"y.words": "!unreadable"}), SLUG, executor=SERIAL)
    assert caught.value.code == "tile.all-corrupt"


def test_sources_gone_or_changed_are_refused(tmp_path: Path):
    workspace = make_workspace(tmp_path, TEXTS)
    (tmp_path / "a.words").write_text("other")
    (tmp_path / "b.words").unlink()
    with pytest.raises(SourceError) as caught:
        tile(workspace, SLUG, executor=SERIAL)
    assert not isinstance(caught.value, CorruptSource)
    assert caught.value.fields["count"] == 2
    assert "a.words" in caught.value.fields["sources"]
    assert "tim import" in str(caught.value)


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    workspace = make_workspace(tmp_path, TEXTS)
    with pytest.raises(UsageError):
        tile(workspace, "nothing")
    with workspace.store() as store:
        store.put_dataset(Dataset("empty", "Empty", "points", dataset_uid("empty"), synthetic.FRAME))
    with pytest.raises(UsageError, match="empty"):
        tile(workspace, "empty")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1))
    with pytest.raises(WorkspaceError) as caught:
        tile(workspace, SLUG, executor=SERIAL)
    assert caught.value.code == "tile.disk-short"


def test_two_runs_at_once(tmp_path: Path):
    workspace = make_workspace(tmp_path, TEXTS)
    second: list[WorkspaceError] = []

    def listen(event: Progress) -> None:
        if event.step == "finish":
            with pytest.raises(WorkspaceError) as caught:
                tile(workspace, SLUG, executor=SERIAL)
            second.append(caught.value)

    tile(workspace, SLUG, executor=SERIAL, progress=listen)
    assert len(second) == 1


def test_progress(tmp_path: Path):
    workspace = make_workspace(tmp_path, TEXTS)
    events: list[Progress] = []
    tile(workspace, SLUG, workers=1, progress=events.append)
    assert list(dict.fromkeys(e.step for e in events)) == ["plan", "build", "finish", "publish"]
    last = [e for e in events if e.step == "build"][-1]
    assert (last.stage, last.number, last.stages, last.done, last.fraction) == ("join", 2, 2, last.total, 1.0)
    assert last.counts == {"words_read": 14, "words": 14}
    fractions = [e.fraction for e in events if e.stage == "cut" and e.step == "build"]
    assert fractions == sorted(fractions)
