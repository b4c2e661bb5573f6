"""A small town in a store: houses on a grid that is crowded in one corner, a hall wider than its cell, and things that cannot be drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from tests.tiling.objects.things import FRAME, PLACE, box
from tiling.archive import Archive
from tiling.builder import Job
from tiling.engine import SerialExecutor, tile
from tiling.engine.run import objects_ref
from tiling.objects import builder, layout
from tim.model import Dataset, ObjectRecord, Representation, content_hash, dataset_uid, derived_id
from tim.shape import FORMAT, build
from tim.store import Changeset, Put, Retire
from tim.workspace import Workspace

SLUG = "town"
TOWN = Dataset(SLUG, "Town", "objects", dataset_uid(SLUG), FRAME)
HOUSES = 240
FULL, SPARSE = 16, 6


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves of few objects, so that a small town has a deep tree."""
    monkeypatch.setattr(layout, "FULL", FULL)
    monkeypatch.setattr(layout, "SPARSE", SPARSE)
    monkeypatch.setattr(builder, "CROWD", 40)
    monkeypatch.setattr(builder, "PROXIES", 12)
    monkeypatch.setattr(builder, "_SHARD", 90)


def uid(number: int) -> UUID:
    return derived_id(TOWN.uid, "houses", str(number))


def spot(number: int) -> tuple[float, float, float]:
    """Every other house stands far apart, the rest in a crowd."""
    row, column = divmod(number // 2, 12)
    return (column * 14.0, row * 14.0, 0.0) if number % 2 else (2000.0 + column * 90.0, row * 90.0, 0.0)


def sides(number: int) -> tuple[float, float, float]:
    return (6.0 + number % 5, 6.0, 4.0 + number % 17)


class Town:
    """Records and their blobs, by number."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def house(self, number: int, at: Any = None, size: Any = None, **fields: Any) -> ObjectRecord:
        (built,) = build([box(at or spot(number), size or sides(number))], PLACE)
        self.blobs[content_hash(built.blob)] = built.blob
        attributes = {"storeys": number % 9, "屋主": f"owner {number}"}
        shown = (Representation("body", "2", FORMAT, content_hash(built.blob)),)
        given = {
            "name": f"House {number}",
            "attributes": attributes,
            "box": built.box,
            "representations": shown,
            **fields,
        }
        return ObjectRecord(str(number), "building.house", layer="houses", **given)

    def houses(self, numbers: Iterable[int]) -> list[ObjectRecord]:
        return [self.house(number) for number in numbers]

    def put(self, workspace: Workspace, *records: ObjectRecord, retire: Iterable[int] = ()) -> None:
        with workspace.store() as store:
            for data in self.blobs.values():
                store.put_blob(data)
            operations = [*map(Put, records), *(Retire(uid(number)) for number in retire)]
            store.apply(Changeset(SLUG, operations, make=None if store.datasets() else TOWN))


def made(folder: Path, *more: ObjectRecord, town: Town | None = None, count: int = HOUSES) -> tuple[Workspace, Town]:
    """A workspace with the houses, a hall across many of them, and what is ``more``."""
    workspace, town = Workspace.create(folder), town or Town()
    hall = town.house(9000, (0.0, 0.0, 30.0), (160.0, 130.0, 3.0))
    town.put(workspace, *town.houses(range(count)), hall, *more)
    return workspace, town


def job_of(workspace: Workspace, settings: Mapping[str, Any] | None = None) -> Job:
    with workspace.store() as store:
        dataset, seq = store.dataset(SLUG), store.seq
    chosen = {**builder.ObjectBuilder.defaults, **(settings or {})}
    jobs = workspace.jobs(SLUG)
    return Job(SLUG, "objects", dataset.frame, (), chosen, jobs, objects_ref(workspace, dataset, seq))


def tiled(workspace: Workspace, **options: Any) -> Any:
    return tile(workspace, SLUG, executor=SerialExecutor(), **options)


def tiles(workspace: Workspace) -> dict[str, Any]:
    """The tiles of the newest snapshot, by key."""
    with Archive(workspace.archive_root) as archive:
        return {entry.key: entry for entry in archive.tiles(SLUG)}


def contents(workspace: Workspace) -> dict[str, bytes]:
    """What the tiles show, by key."""
    with Archive(workspace.archive_root) as archive:
        return {t.key: archive.read(t.content.hash) for t in archive.tiles(SLUG) if t.content is not None}


def corners(entry: Any) -> tuple[np.ndarray, np.ndarray]:
    centre, half = np.array(entry.box[:3]), np.abs(np.array(entry.box[3:]).reshape(3, 3)).sum(axis=0)
    return centre - half, centre + half
