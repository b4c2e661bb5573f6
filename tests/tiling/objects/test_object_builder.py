"""Tiles of a dataset of objects: everything once in full, the largest from afar, and what did not change stays as it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiling.objects import town
from tests.tiling.objects.things import FRAME, LAT, LON, table
from tests.tiling.objects.town import FULL, HOUSES, SLUG, SPARSE, Town, contents, job_of, made, spot, tiled, tiles, uid
from tests.validator import gltf_errors
from tiling.archive import Archive
from tiling.builder import Job
from tiling.contract import BuilderContract, MemorySink
from tiling.engine.update import update
from tiling.objects import drawing
from tiling.objects.builder import ObjectBuilder
from tiling.objects.layout import Objects, Splits, locate, place, settle
from tiling.spec import glb
from tiling.validate import validate
from tim.errors import TilingError
from tim.model import Representation, derived_id
from tim.workspace import Workspace


@pytest.fixture(autouse=True)
def small_leaves(monkeypatch: pytest.MonkeyPatch):
    town.small(monkeypatch)


class TestObjectBuilder(BuilderContract):
    def builder(self) -> ObjectBuilder:
        return ObjectBuilder()

    def job(self, folder: Path) -> Job:
        return job_of(made(folder / "w")[0], {"attributes": ["storeys", "屋主"]})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return made(tmp_path / "w")[0]


def is_leaf(key: str, every) -> bool:
    return all(entry.parent != key for entry in every.values())


def shown(workspace: Workspace) -> dict[str, list[UUID]]:
    """Who stands in the table of each tile."""
    return {key: [UUID(i) for i in table(glb.parse(data))["tim_id"]] for key, data in contents(workspace).items()}


def test_a_leaf_with_much_geometry_becomes_several_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Everyone is still in exactly one, and what is seen from afar is the same; an edit there takes a whole run."""
    workspace, houses = made(tmp_path / "w")
    light, _ = made(tmp_path / "light")
    tiled(light)
    monkeypatch.setattr(drawing, "HEAVY", 2000)
    tiled(workspace)
    every, who = tiles(workspace), shown(workspace)
    parts = {key for key in every if "#" in key}
    assert len(parts) > 20
    assert {key.partition("#")[0] for key in parts} == {key for key in every if f"{key}#1" in every}
    assert Counter(i for key in every if is_leaf(key, every) for i in who[key]) == Counter(
        [*map(uid, range(HOUSES)), uid(9000)]
    )
    above, truth = contents(workspace), contents(light)
    inner = {key for key in truth if not is_leaf(key, tiles(light))}
    assert {key: above[key] for key in inner} == {key: truth[key] for key in inner}
    with Archive(workspace.archive_root) as archive:
        archive.export(SLUG, tmp_path / "out")
    assert validate(tmp_path / "out").errors == []
    edited = next(n for n in range(HOUSES) if uid(n) in who[sorted(parts)[0]])
    monkeypatch.undo()
    town.small(monkeypatch)
    houses.put(workspace, houses.house(edited, attributes={}))
    assert update(workspace, SLUG).whole
    assert sorted(parts)[0] not in tiles(workspace)


def test_everything_is_in_one_leaf(workspace: Workspace):
    report = tiled(workspace)
    every, who = tiles(workspace), shown(workspace)
    inner = {entry.parent for entry in every.values()} - {None}
    leaves = every.keys() - inner
    assert len(leaves) > 20
    assert len(inner) > 3
    counted = Counter(i for key in leaves for i in who[key])
    assert counted == Counter([*map(uid, range(HOUSES)), uid(9000)])
    assert report.counts["objects"] == HOUSES + 1
    assert all(len(who[key]) <= FULL for key in leaves)
    # A leaf stands where an object's place says it does, and above it only what is below.
    below = {key: set(who[key]) for key in leaves}
    for key in sorted(leaves):
        at = every[key].parent
        while at is not None:
            below.setdefault(at, set()).update(below[key])
            at = every[at].parent
    for key in inner:
        assert set(who[key]) <= below[key]
        assert len(who[key]) == min(len(below[key]), 12)


def test_what_stands_within_others_is_not_shown_from_afar(tmp_path: Path):
    """Rooms are the largest here: only where there is nothing else do they stand for what is below, and only there are they missed."""
    houses = Town()
    room = lambda n, at: replace(houses.house(n, at, (40.0, 40.0, 40.0)), class_id="building.room")  # noqa: E731
    among = [room(5000 + n, spot(n)) for n in range(0, HOUSES, 2)]
    alone = [room(6000 + n, (-4000.0 + 9 * (n % 9), 9.0 * (n // 9), 0.0)) for n in range(60)]
    workspace, _ = made(tmp_path / "w", *among, *alone, town=houses)
    tiled(workspace)
    every, who = tiles(workspace), shown(workspace)
    rooms = {derived_id(town.TOWN.uid, "houses", record.source_key) for record in (*among, *alone)}
    inner = {key: set(ids) for key, ids in who.items() if not is_leaf(key, every)}
    of_rooms = {key for key, ids in inner.items() if ids <= rooms}
    assert of_rooms
    assert all(not ids & rooms for key, ids in inner.items() if key not in of_rooms)
    assert all(every[key].geometric_error > 60 for key in of_rooms)
    deepest = [
        key
        for key in inner
        if key not in of_rooms and all(child.parent != key or is_leaf(child.key, every) for child in every.values())
    ]
    assert any(every[key].geometric_error < 60 for key in deepest)


def test_errors_bound_what_is_dropped(workspace: Workspace):
    tiled(workspace)
    every, who = tiles(workspace), shown(workspace)
    with workspace.store() as store:
        objects, _ = place(store.outline(SLUG), FRAME)
    size = dict(zip([UUID(bytes=i.tobytes()) for i in objects.ids], objects.size.tolist(), strict=True))
    below: dict[str, set[UUID]] = {}
    for key, entry in every.items():
        if is_leaf(key, every):
            assert entry.geometric_error == 0
            at = entry.parent
            while at is not None:
                below.setdefault(at, set()).update(who[key])
                at = every[at].parent
    for key, ids in below.items():
        dropped = ids - set(who[key])
        assert every[key].geometric_error >= max((size[i] for i in dropped), default=0.0)
        assert min(size[i] for i in who[key]) >= max((size[i] for i in dropped), default=0.0)


def test_the_export_is_valid(workspace: Workspace, tmp_path: Path):
    tiled(workspace, settings={"attributes": ["storeys", "屋主"]})
    with Archive(workspace.archive_root) as archive:
        archive.export(SLUG, tmp_path / "out")
    assert validate(tmp_path / "out").errors == []
    assert gltf_errors(tmp_path / "out") == []


def test_attributes_have_their_own_names(workspace: Workspace):
    tiled(workspace, settings={"attributes": ["storeys", "屋主", "nobody has it"]})
    for data in contents(workspace).values():
        rows = table(glb.parse(data))
        assert rows.keys() == {"tim_id", "class", "name", "storeys", "屋主"}
        for name, storeys, owner in zip(rows["name"], rows["storeys"], rows["屋主"], strict=True):
            number = int(name.split()[1])
            assert (storeys, owner) == (number % 9, f"owner {number}")
    with Archive(workspace.archive_root) as archive:
        carried = archive.info(SLUG).asset_extras["attributes"]
    assert [column["name"] for column in carried] == ["tim_id", "class", "name", "storeys", "屋主"]


def test_only_leaves_of_what_changed_are_built(workspace: Workspace):
    changes = Town()
    first, before = tiled(workspace), tiles(workspace)
    changes.put(workspace, changes.house(7, size=(7.0, 6.0, 30.0)), changes.house(8, name="Another name"))
    second, after, who = tiled(workspace), tiles(workspace), shown(workspace)
    assert before.keys() == after.keys()
    changed = {key for key in after if after[key].content != before[key].content}
    held = {key for key, ids in who.items() if is_leaf(key, after) and {uid(7), uid(8)} & set(ids)}
    assert {key for key in changed if is_leaf(key, after)} == held
    assert changed < after.keys()
    assert all({uid(7), uid(8)} & set(who[key]) for key in changed)
    assert second.shards_reused > 0
    assert first.snapshot.hash != second.snapshot.hash
    assert tiled(workspace).up_to_date


def test_what_cannot_be_drawn_is_counted(tmp_path: Path):
    houses = Town()
    nowhere = houses.house(500, box=None)
    bare = houses.house(501, representations=())
    missing = houses.house(
        502,
        size=(300.0, 300.0, 9.0),
        representations=(Representation("model", "", "glb", "ab" * 32, {"at": [LON, LAT, 5.0]}),),
    )
    workspace, _ = made(tmp_path / "w", nowhere, bare, missing, town=houses)
    report = tiled(workspace)
    assert report.counts["objects"] == HOUSES + 1
    assert report.counts["without_geometry"] == 1
    assert [code for code, _ in report.problems] == ["objects.model-missing"]
    every = tiles(workspace)
    assert all(np.isfinite(entry.geometric_error) for entry in every.values())


def test_a_scenario_is_drawn_alone(tmp_path: Path):
    houses = Town()
    plan = [replace(houses.house(number), scenario="plan") for number in (1, 2, 3)]
    workspace, _ = made(tmp_path / "w", *plan, town=houses)
    tiled(workspace)
    job = job_of(workspace)
    assert job.objects is not None
    planned = replace(job, objects=replace(job.objects, scenario="plan"))
    builder, sink = ObjectBuilder(), MemorySink()
    (shard,) = builder.plan(planned, "leaves", {})
    (entry,) = builder.build(planned, shard, sink).tiles
    assert entry.counts["objects"] == 3
    assert sum(len(ids) for key, ids in shown(workspace).items() if is_leaf(key, tiles(workspace))) == HOUSES + 1


def test_nothing_to_draw_is_refused(tmp_path: Path):
    workspace = Workspace.create(tmp_path / "w")
    with workspace.store() as store:
        store.put_dataset(town.TOWN)
    with pytest.raises(TilingError) as caught:
        tiled(workspace)
    assert caught.value.code == "objects.nothing"
    houses = Town()
    houses.put(workspace, houses.house(1, representations=()))
    with pytest.raises(TilingError) as caught:
        tiled(workspace)
    assert caught.value.code == "objects.nothing-drawn"


def test_the_folder_does_not_matter(workspace: Workspace, tmp_path: Path):
    other, _ = made(tmp_path / "elsewhere" / "deep")
    assert tiled(workspace).snapshot.hash == tiled(other).snapshot.hash


PLACES = st.lists(
    st.tuples(st.integers(0, 2000), st.integers(0, 2000), st.sampled_from([1.0, 30.0, 700.0])), max_size=120
)


def objects_at(places: list[tuple[int, int, float]], first: int = 0) -> Objects:
    """Objects by hand; x, y in cells of 1 m."""
    ids = np.array(
        [((first + i + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128).to_bytes(16) for i in range(len(places))],
        "V16",
    )
    xy = np.array([(x, y) for x, y, _ in places], np.int64).reshape(-1, 2) + 2**23
    width = np.array([w for _, _, w in places])
    return Objects(
        ids, np.zeros(len(ids), "V32"), np.arange(len(ids)), np.zeros(len(ids), np.int32), ("",), xy, width, width
    )


@settings(max_examples=40, deadline=None)
@given(before=PLACES, after=PLACES)
def test_layouts_settle(before, after):
    """Twice is as once, each object is found where it is, no leaf overflows, and what is sparse is merged."""
    known, _ = settle(objects_at(before), Splits())
    objects = objects_at(after)
    splits, leaves = settle(objects, known)
    again, same = settle(objects, splits)
    assert again == splits
    assert [(leaf.key, leaf.members.tolist()) for leaf in same] == [
        (leaf.key, leaf.members.tolist()) for leaf in leaves
    ]
    rows = sorted(row for leaf in leaves for row in leaf.members.tolist())
    assert rows == list(range(len(after)))
    for leaf in leaves:
        assert len(leaf.members) <= FULL
        for row in leaf.members.tolist():
            found = locate(objects.xy[row].tolist(), float(objects.width[row]), objects.ids[row].tobytes(), splits)
            assert found == (leaf.key, leaf.cell)


def test_a_cell_splits_late_and_merges_late():
    """Over FULL it is split; down to SPARSE it stays so; below it is merged."""
    crowd = [(x % 5 * 400, x // 5 * 400, 1.0) for x in range(FULL + 1)]
    splits = settle(objects_at(crowd[:-1]), Splits())[0]
    assert not splits.cells
    splits = settle(objects_at(crowd), splits)[0]
    assert splits.cells
    for count in range(FULL, SPARSE - 1, -1):
        splits = settle(objects_at(crowd[:count]), splits)[0]
        assert splits.cells
    assert not settle(objects_at(crowd[: SPARSE - 1]), splits)[0].cells


def test_classes_look_as_the_workspace_says(workspace: Workspace, tmp_path: Path):
    """Its colours reach the tiles, which are built anew for them and for nothing else."""
    tiled(workspace)
    before = contents(workspace)
    folder = workspace.path / "classes"
    folder.mkdir()
    (folder / "own.toml").write_text('"water" = { en = "Water", zh = "水", colour = "#000000" }', encoding="utf-8")
    assert tiled(workspace).shards_built == 0
    own = '"building" = { en = "Building", zh = "建筑", opacity = 0.4 }'
    (folder / "own.toml").write_text(own, encoding="utf-8")
    assert tiled(workspace).shards_reused == 0
    glass = contents(workspace)
    assert glass.keys() == before.keys()
    assert {m.get("alphaMode") for data in glass.values() for m in glb.parse(data).json["materials"]} == {"BLEND"}
    with Archive(workspace.archive_root) as archive:
        archive.export(SLUG, tmp_path / "out")
    assert validate(tmp_path / "out").errors == []
    assert tiled(workspace).shards_built == 0
    (folder / "own.toml").unlink()
    tiled(workspace)
    assert contents(workspace) == before
