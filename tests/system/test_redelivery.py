"""The same layer delivered again, through the real command: what changed gets a version and new tiles, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import shapely

from tests.importers.vector.fixtures import CRS, EAST, NORTH, write
from tests.system.command import ok
from tiling.archive import Archive
from tiling.spec import glb
from tim.model import dataset_uid, derived_id
from tim.store import ObjectVersion
from tim.workspace import Workspace

ACROSS, COUNT = 50, 1500
"""Houses of 12 m, 40 m apart: a quarter of 2 km × 1.2 km, some leaves of tiles."""
RENAMED, MOVED, HIGHER, GONE = "B00007", "B00512", "B01203", "B00900"
CHANGED = {RENAMED, MOVED, HIGHER}
NEW = {"N00001", "N00002"}
OPTIONS = ("--key", "楼号", "--crs", CRS, "--vertical", "ellipsoid", "--dataset", "quarter")


@dataclass(frozen=True)
class House:
    key: str
    east: float
    north: float
    name: str
    height: float


@dataclass(frozen=True)
class Deliveries:
    """A workspace with the first delivery in it and tiled, and both deliveries."""

    path: Path
    first: Path
    second: Path

    def state(self) -> tuple[Any, ...]:
        """All that a command which changes nothing must leave."""
        with Workspace.open(self.path).store() as store, Archive(self.path / "tiles") as archive:
            return (
                store.seq,
                [entry.hash for entry in store.log()],
                archive.snapshots("quarter"),
                store.count("quarter"),
            )

    def versions(self, key: str) -> list[ObjectVersion]:
        with Workspace.open(self.path).store() as store:
            return store.history(derived_id(dataset_uid("quarter", ""), "quarter", key))

    def diff(self, source: Path) -> Mapping[str, Any]:
        before = self.state()
        [found] = ok("import", source, "-w", self.path, *OPTIONS, "--diff", "--json").json["datasets"]
        assert self.state() == before, "--diff only looks"
        return found["diff"]

    def take(self, source: Path, *more: str) -> Mapping[str, Any]:
        [made] = ok("import", source, "-w", self.path, *OPTIONS, *more, "--json").json["datasets"]
        return made

    def tiles(self) -> dict[str, tuple[str, set[str]]]:
        """Of the current snapshot, by tile: the hash of the content, and whose features it has."""
        ok("tile", "-w", self.path)
        with Archive(self.path / "tiles") as archive:
            return {
                entry.key: (entry.content.hash, ids_of(archive.read(entry.content.hash)))
                for entry in archive.tiles("quarter")
                if entry.content
            }


def deliver(folder: Path, houses: list[House]) -> Path:
    """A shapefile as survey offices send it: GBK, names in Chinese."""
    shapes = [shapely.box(h.east, h.north, h.east + 12, h.north + 12) for h in houses]
    columns = {"楼号": [h.key for h in houses], "名称": [h.name for h in houses], "高度": [h.height for h in houses]}
    return write(folder / "quarter.shp", shapes, columns, encoding="GBK")


def ids_of(content: bytes) -> set[str]:
    """The tim_ids in a tile's property table, read by the specification and not by the writer's code."""
    document = glb.parse(content)
    views = document.json["bufferViews"]
    found: set[str] = set()

    def view(number: int) -> bytes:
        start = views[number].get("byteOffset", 0)
        return bytes(document.binary[start : start + views[number]["byteLength"]])

    for table in document.json["extensions"]["EXT_structural_metadata"]["propertyTables"]:
        column = table["properties"]["tim_id"]
        text, count = view(column["values"]).decode(), table["count"]
        assert len(text) == 36 * count, "an id is 36 characters"
        found |= {text[36 * i : 36 * i + 36] for i in range(count)}
    return found


@pytest.fixture
def quarter(tmp_path: Path) -> Deliveries:
    houses = [
        House(f"B{i:05}", EAST + 40 * (i % ACROSS), NORTH + 40 * (i // ACROSS), f"{i}号楼", 6.0 + i % 30)
        for i in range(COUNT)
    ]
    change: dict[str, Callable[[House], House]] = {
        RENAMED: lambda h: replace(h, name="图书馆"),
        MOVED: lambda h: replace(h, east=h.east + 3),
        HIGHER: lambda h: replace(h, height=h.height + 10),
    }
    later = [change[h.key](h) if h.key in change else h for h in houses if h.key != GONE]
    later += [House(key, EAST + 20, NORTH + 20 + 40 * i, "新楼", 9.0) for i, key in enumerate(sorted(NEW))]
    made = Deliveries(tmp_path / "ws", deliver(tmp_path / "a", houses), deliver(tmp_path / "b", later[::-1]))
    ok("init", made.path)
    return made


def test_only_what_changed_is_written_and_tiled_again(quarter: Deliveries) -> None:
    assert quarter.take(quarter.first)["objects"]["created"] == COUNT
    before = quarter.tiles()
    assert len(before) > 4, "one tile would show nothing"

    for found in (quarter.diff(quarter.second), quarter.take(quarter.second)["diff"]):
        counts = [found[kind] for kind in ("created", "changed", "unchanged", "absent")]
        assert counts == [2, 3, COUNT - 4, 1]
        keys = {kind: {sample["key"] for sample in samples} for kind, samples in found["samples"].items()}
        assert keys == {"created": NEW, "changed": CHANGED, "absent": {GONE}}
        fields = {sample["key"]: set(sample["fields"]) for sample in found["samples"]["changed"]}
        assert "name" in fields[RENAMED]
        assert "representations.body" not in fields[RENAMED], "its walls stand as they stood"
        assert {"box", "representations.body"} <= fields[MOVED]
        assert {"attributes.高度", "representations.body"} <= fields[HIGHER]
        assert not any(field.startswith("attributes") for field in fields[MOVED])

    assert {key: len(quarter.versions(key)) for key in CHANGED} == dict.fromkeys(CHANGED, 2)
    others = [f"B{i:05}" for i in range(0, COUNT, 97) if f"B{i:05}" not in CHANGED]
    assert {len(quarter.versions(key)) for key in (*others, *NEW, GONE)} == {1}
    [absent] = quarter.versions(GONE)
    assert absent.db_to is None
    assert quarter.state()[3] == COUNT + 2, "what is absent is only reported"

    after = quarter.tiles()
    touched = {str(quarter.versions(key)[-1].tim_id) for key in CHANGED | NEW}
    assert set().union(*(ids for _, ids in after.values())) > touched
    same = {key for key in before.keys() & after.keys() if before[key][0] == after[key][0]}
    for key in before.keys() | after.keys():
        here = before.get(key, ("", set()))[1] | after.get(key, ("", set()))[1]
        assert key in same or here & touched, f"{key} was written again for nothing"
    assert len(same) > 0
    assert not any(after[key][1] & touched - before[key][1] for key in same), "new objects are in new tiles"
    ok("validate", "quarter", "-w", quarter.path)


def test_absent_objects_end_when_told(quarter: Deliveries) -> None:
    quarter.take(quarter.first)
    before = quarter.tiles()
    made = quarter.take(quarter.second, "--retire-absent", "--valid-to", "2026-06-30")
    assert (made["diff"]["absent"], made["retired"]) == (1, 1)
    assert quarter.versions(GONE)[-1].object.valid_to == "2026-06-30"
    assert quarter.state()[3] == COUNT + 1
    gone = str(quarter.versions(GONE)[-1].tim_id)
    assert any(gone in ids for _, ids in before.values())
    assert not any(gone in ids for _, ids in quarter.tiles().values())


def test_the_same_delivery_changes_nothing(quarter: Deliveries, tmp_path: Path) -> None:
    quarter.take(quarter.first)
    tiles, before = quarter.tiles(), quarter.state()
    copy = tmp_path / "次" / quarter.first.name
    copy.parent.mkdir()
    for part in quarter.first.parent.iterdir():
        copy.with_suffix(part.suffix).write_bytes(part.read_bytes())
    for source in (quarter.first, copy):
        made = quarter.take(source)
        assert made["seq"] is None
        assert made["objects"].get("created", 0) == made["objects"].get("updated", 0) == 0
        assert quarter.tiles() == tiles
        assert quarter.state() == before
