"""An update leaves the tiles as a whole run would, at once; where it cannot, it is a whole run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiling.objects import town
from tests.tiling.objects.town import FULL, HOUSES, SLUG, Town, contents, corners, made, spot, tiled, tiles, uid
from tiling.archive import Archive, partial
from tiling.engine import update
from tiling.objects.memory import Memory
from tiling.validate import validate
from tim.errors import TilingError
from tim.store import Changeset, Put
from tim.workspace import Workspace


@pytest.fixture(autouse=True)
def small_leaves(monkeypatch: pytest.MonkeyPatch):
    town.small(monkeypatch)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace, _ = made(tmp_path / "w")
    tiled(workspace)
    return workspace


def leaves(every: dict[str, Any]) -> set[str]:
    return every.keys() - {entry.parent for entry in every.values()}


def is_sound(every: dict[str, Any]) -> None:
    """Nothing stands out of what is above it, or says to be finer."""
    for entry in every.values():
        if entry.parent is not None:
            above = every[entry.parent]
            (low, high), (outer_low, outer_high) = corners(entry), corners(above)
            assert (low >= outer_low - 1e-6).all()
            assert (high <= outer_high + 1e-6).all()
            assert entry.geometric_error <= above.geometric_error


def leaf_contents(workspace: Workspace) -> dict[str, bytes]:
    return {key: data for key, data in contents(workspace).items() if key in leaves(tiles(workspace))}


EVERY = [*range(HOUSES), 9000]
EDITS: dict[str, Callable[[Town, Workspace], None]] = {
    "another name": lambda t, w: t.put(w, t.house(20, name="Renamed")),
    "higher": lambda t, w: t.put(w, t.house(20, size=(7.0, 6.0, 90.0))),
    "a few metres away": lambda t, w: t.put(w, t.house(20, at=(spot(20)[0] + 3.0, spot(20)[1] + 2.0, 0.0))),
    "to the other end": lambda t, w: t.put(w, t.house(20, at=(spot(21)[0] + 1.0, spot(21)[1] + 1.0, 0.0))),
    "taken away": lambda t, w: t.put(w, retire=[20]),
    "one more": lambda t, w: t.put(w, t.house(700, at=(spot(20)[0] + 9.0, spot(20)[1] + 9.0, 0.0))),
    "one that is nowhere": lambda t, w: t.put(w, t.house(700, box=None)),
    "no longer anywhere": lambda t, w: t.put(w, t.house(20, box=None)),
    "several": lambda t, w: t.put(w, t.house(20, name="A"), t.house(21, name="B"), retire=[40, 41]),
    "twice": lambda t, w: [t.put(w, t.house(20, name=name)) for name in "AB"] and None,
}


@pytest.mark.parametrize("edit", EDITS)
def test_leaves_are_as_after_a_whole_run(workspace: Workspace, edit: str):
    before = tiles(workspace)
    EDITS[edit](Town(), workspace)
    report = update(workspace, SLUG)
    every, shown = tiles(workspace), leaf_contents(workspace)
    is_sound(every)
    with workspace.store() as store:
        assert report.snapshot.store_seq == store.seq
    whole = tiled(workspace)
    assert shown == leaf_contents(workspace)
    fresh = tiles(workspace)
    assert leaves(every) == leaves(fresh)
    assert {key: every[key].box for key in leaves(every)} == {key: fresh[key].box for key in leaves(fresh)}
    # What the update left for later is above the leaves, and on the safe side.
    for key in every.keys() - leaves(every):
        (low, high), (fresh_low, fresh_high) = corners(every[key]), corners(fresh[key])
        assert (low <= fresh_low + 1e-6).all()
        assert (high >= fresh_high - 1e-6).all()
    assert not report.whole
    changed = {key for key in leaves(every) if every[key].content != before[key].content}
    assert changed <= set(report.tiles)
    assert len(report.tiles) <= 4
    assert whole.counts["objects"] == sum(entry.counts.get("objects", 0) for entry in every.values())


def test_tiling_after_an_update_is_as_tiling_afresh(workspace: Workspace, tmp_path: Path):
    houses = Town()
    houses.put(workspace, houses.house(20, name="Renamed"), houses.house(31, size=(8.0, 7.0, 45.0)))
    assert not update(workspace, SLUG).whole
    other, _ = made(tmp_path / "other")
    houses.put(other, houses.house(20, name="Renamed"), houses.house(31, size=(8.0, 7.0, 45.0)))
    tiled(workspace)
    tiled(other)
    assert tiles(workspace) == tiles(other)


def test_the_export_of_an_update_is_valid(workspace: Workspace, tmp_path: Path):
    houses = Town()
    houses.put(workspace, houses.house(20, size=(20.0, 6.0, 90.0)), retire=[21])
    assert not update(workspace, SLUG).whole
    with Archive(workspace.archive_root) as archive:
        archive.export(SLUG, tmp_path / "out")
    assert validate(tmp_path / "out").errors == []


def test_a_large_newcomer_is_not_understated(workspace: Workspace):
    """The tiles above do not show it: their error is at least its size."""
    houses = Town()
    houses.put(workspace, houses.house(20, size=(7.0, 6.0, 300.0)))
    report = update(workspace, SLUG)
    assert not report.whole
    every = tiles(workspace)
    (key,) = report.tiles
    at = every[key].parent
    assert at is not None
    while at is not None:
        assert every[at].geometric_error > 300
        at = every[at].parent


def test_nothing_new_makes_no_snapshot(workspace: Workspace):
    before = tiles(workspace)
    with Archive(workspace.archive_root) as archive:
        newest = archive.latest(SLUG)
    report = update(workspace, SLUG)
    assert (report.tiles, report.whole, report.snapshot) == ((), False, newest)
    houses = Town()
    houses.put(workspace, houses.house(20))
    assert update(workspace, SLUG).snapshot.seq == newest.seq
    assert tiles(workspace) == before


def test_changes_of_others_change_nothing(workspace: Workspace):
    other = replace(town.TOWN, slug="other", uid=uid(1))
    with workspace.store() as store:
        store.apply(Changeset("other", [Put(Town().house(1))], make=other))
        seq = store.seq
    report = update(workspace, SLUG)
    assert (report.tiles, report.whole, report.snapshot.store_seq) == ((), False, seq)
    houses = Town()
    houses.put(workspace, houses.house(20, name="Renamed"))
    assert len(update(workspace, SLUG).tiles) == 1


def emptied(houses: Town, workspace: Workspace) -> None:
    members = next(ids for ids in all_members(workspace).values() if len(ids) < 4)
    houses.put(workspace, retire=[n for n in EVERY if uid(n).bytes in members])


def overflowing(houses: Town, workspace: Workspace) -> None:
    x, y, _ = spot(20)
    houses.put(workspace, *(houses.house(800 + n, at=(x + n % 5, y + n // 5, 0.0)) for n in range(FULL + 1)))


def undrawable(houses: Town, workspace: Workspace) -> None:
    members = next(ids for ids in all_members(workspace).values() if len(ids) < 4)
    houses.put(workspace, *(houses.house(n, representations=()) for n in EVERY if uid(n).bytes in members))


def all_members(workspace: Workspace) -> dict[str, set[Any]]:
    return Memory(workspace.jobs(SLUG)).members(sorted(leaves(tiles(workspace))))


WHOLE: dict[str, Callable[[Town, Workspace], None]] = {
    "a new leaf": lambda t, w: t.put(w, t.house(700, at=(-5000.0, -5000.0, 0.0))),
    "an empty leaf": emptied,
    "a leaf that overflows": overflowing,
    "a leaf that shows nothing": undrawable,
    "other settings": lambda t, w: set_attributes(w, ["storeys"]),
    "nothing remembered": lambda t, w: (w.jobs(SLUG) / "layout.sqlite").unlink(),
}


def set_attributes(workspace: Workspace, names: list[str]) -> None:
    with workspace.store() as store:
        store.put_dataset(replace(store.dataset(SLUG), settings={"attributes": names}))


@pytest.mark.parametrize("edit", WHOLE)
def test_what_takes_a_whole_run(workspace: Workspace, edit: str):
    WHOLE[edit](Town(), workspace)
    report = update(workspace, SLUG)
    assert (report.whole, report.tiles) == (True, ())
    assert tiled(workspace).up_to_date
    is_sound(tiles(workspace))
    houses = Town()
    houses.put(workspace, houses.house(20, name="Renamed"))
    update(workspace, SLUG)
    houses.put(workspace, houses.house(20, name="Renamed again"))
    assert not update(workspace, SLUG).whole


def test_a_scenario_leaves_the_common_line_alone(workspace: Workspace):
    """What is planned elsewhere still stands where it is."""
    houses, before = Town(), leaf_contents(workspace)
    houses.put(workspace, replace(houses.house(20, at=spot(61)), scenario="plan"))
    update(workspace, SLUG)
    assert leaf_contents(workspace) == before
    houses.put(workspace, houses.house(22, name="Renamed"))
    assert len(update(workspace, SLUG).tiles) == 1
    shown = leaf_contents(workspace)
    tiled(workspace)
    assert shown == leaf_contents(workspace)


def test_the_first_time_takes_a_whole_run(tmp_path: Path):
    workspace, _ = made(tmp_path / "w")
    assert update(workspace, SLUG).whole
    assert len(leaf_contents(workspace)) > 20


def test_attributes_are_kept(workspace: Workspace):
    set_attributes(workspace, ["storeys", "屋主"])
    tiled(workspace)
    houses = Town()
    houses.put(workspace, houses.house(20, attributes={"storeys": 3, "屋主": "new"}))
    assert not update(workspace, SLUG).whole
    shown = leaf_contents(workspace)
    tiled(workspace)
    assert shown == leaf_contents(workspace)


def test_an_attribute_of_another_type_is_drawn_again_as_a_whole(workspace: Workspace):
    """A column cannot hold what it was not made for: the value is missing until the next run, and then there."""
    set_attributes(workspace, ["storeys"])
    tiled(workspace)
    houses = Town()
    houses.put(workspace, houses.house(20, attributes={"storeys": "many"}))
    update(workspace, SLUG)
    tiled(workspace)
    assert any(b"many" in data for data in leaf_contents(workspace).values())


@pytest.mark.parametrize(("owner", "verb"), [(Memory, "amend"), (partial, "_publish")])
def test_killed_in_between(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, owner: Any, verb: str):
    """Whatever was done, the next update ends as a whole run does."""
    houses = Town()
    houses.put(workspace, houses.house(20, at=(spot(21)[0] + 1.0, spot(21)[1] + 1.0, 0.0)))
    with monkeypatch.context() as broken:
        broken.setattr(owner, verb, killed)
        with pytest.raises(KeyboardInterrupt):
            update(workspace, SLUG)
    houses.put(workspace, houses.house(20, at=(spot(61)[0] + 1.0, spot(61)[1] + 1.0, 0.0)))
    update(workspace, SLUG)
    shown = leaf_contents(workspace)
    tiled(workspace)
    assert shown == leaf_contents(workspace)


def killed(*args: object, **fields: object) -> None:
    raise KeyboardInterrupt


def test_a_run_that_is_killed_before_publishing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    """It has remembered its layout, but its tiles were never shown."""
    houses = Town()
    houses.put(workspace, houses.house(20, name="First"))
    with monkeypatch.context() as broken:
        broken.setattr(Archive, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            tiled(workspace)
    houses.put(workspace, houses.house(40, name="Second"))
    update(workspace, SLUG)
    shown = leaf_contents(workspace)
    tiled(workspace)
    assert shown == leaf_contents(workspace)
    assert any(b"First" in data for data in shown.values())


def test_an_empty_dataset_is_refused(workspace: Workspace):
    Town().put(workspace, retire=EVERY)
    with pytest.raises(TilingError) as caught:
        update(workspace, SLUG)
    assert caught.value.code == "objects.nothing"


STEP = st.tuples(st.integers(0, 60), st.sampled_from(["name", "move", "away", "back"]), st.integers(0, 119))


@settings(max_examples=6, deadline=None)
@given(steps=st.lists(st.lists(STEP, min_size=1, max_size=5), min_size=1, max_size=4))
def test_any_history(tmp_path_factory: pytest.TempPathFactory, steps: list[list[tuple[int, str, int]]]):
    """One update after another, and the leaves are always those of a whole run."""
    workspace, houses = made(tmp_path_factory.mktemp("any") / "w", count=120)
    tiled(workspace)
    for number, step in enumerate(steps):
        there = {n for n in range(121) if has(workspace, n)}
        chosen = {n: (verb, to) for n, verb, to in step}
        records = [
            houses.house(n, at=spot(to) if verb == "move" else None, name=f"{verb} {number}")
            for n, (verb, to) in chosen.items()
            if verb != "away"
        ]
        houses.put(workspace, *records, retire=[n for n, (verb, _) in chosen.items() if verb == "away" and n in there])
        update(workspace, SLUG)
        is_sound(tiles(workspace))
    shown = leaf_contents(workspace)
    tiled(workspace)
    assert shown == leaf_contents(workspace)


def has(workspace: Workspace, number: int) -> bool:
    with workspace.store() as store:
        return store.get(uid(number)) is not None
