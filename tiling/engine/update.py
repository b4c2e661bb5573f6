"""``update``: what changed in the store since the newest snapshot, in the tiles at once.

Only the leaves of the changed objects are drawn again, in this process; the tiles above them keep their prisms, and grow in box and error
where they must, so that nothing is hidden or understated meanwhile. The next ``tile`` draws those anew. What an update cannot do (a leaf
that appears, empties or overflows; very much that changed) is left to ``tile``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

import numpy as np

from tiling.archive import Archive, PackWriter, Snapshot
from tiling.builder import Job, TileEntry
from tiling.engine.executor import SerialExecutor
from tiling.engine.run import objects_ref, tile
from tiling.objects import layout
from tiling.objects.builder import draw_leaves, notes_hold
from tiling.objects.drawing import Reader, opened
from tiling.objects.drawn import Column
from tiling.objects.layout import locate, measure
from tiling.objects.memory import Memory
from tiling.spec.boxes import box_around, corners
from tim.model import Dataset
from tim.place import Box3
from tim.store import AsOf
from tim.workspace import Workspace

_Boxes = Mapping[bytes, Box3 | None]
"""By ``tim_id``."""

MOST = 2000
"""Changed objects up to which an update is cheaper than a run."""


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What an update did."""

    snapshot: Snapshot
    tiles: tuple[str, ...]
    """Keys of the leaves that were drawn again; empty where ``tile`` did the work, or nothing had changed."""
    whole: bool
    """Whether it took a whole run."""
    seconds: float


def update(workspace: Workspace, dataset: str) -> UpdateReport:
    """Bring the tiles of a dataset of objects up to what the store has now.

    Raises what :func:`tiling.engine.tile` raises; UsageError for a dataset that was never tiled and cannot be.
    """
    began = time.perf_counter()
    found = opened(str(workspace.path.absolute())).dataset(dataset)
    if found.kind == "objects":
        with workspace.lock(f"tile-{dataset}"), Archive(workspace.archive_root) as archive:
            done = _Update(workspace, found, archive).run()
        if done is not None:
            snapshot, keys = done
            return UpdateReport(snapshot, keys, False, time.perf_counter() - began)
    report = tile(workspace, dataset, executor=SerialExecutor())
    return UpdateReport(report.snapshot, (), True, time.perf_counter() - began)


class _Update:
    """One update, under the dataset's lock."""

    def __init__(self, workspace: Workspace, dataset: Dataset, archive: Archive) -> None:
        self.workspace, self.dataset, self.archive = workspace, dataset, archive
        self.memory = Memory(workspace.jobs(dataset.slug))

    def run(self) -> tuple[Snapshot, tuple[str, ...]] | None:
        """The new snapshot and the leaves drawn again; ``None`` where a whole run is needed."""
        slug = self.dataset.slug
        snapshot, notes = self.archive.latest(slug), self.memory.notes()
        if snapshot is None or notes is None or not notes_hold(notes, self.dataset):
            return None
        store = opened(str(self.workspace.path.absolute()))
        now, since = store.seq, notes.store_seq
        if snapshot.store_seq < since:
            return None
        changed = store.changed(slug, since, MOST)
        if not changed.complete:
            return None
        notes = replace(notes, store_seq=now)
        if not changed.touched:
            self.memory.amend({}, notes)
            return self.archive.update(slug, [], now, self._sink()), ()
        objects = objects_ref(self.workspace, self.dataset, now)
        touched = [one.tim_id.bytes for one in changed.touched]
        before, after = (
            {
                tim_id: one.box
                for tim_id, one in store.standing(touched, AsOf(objects.valid, seq), objects.scenario).items()
            }
            for seq in (since, now)
        )
        members = self._members(before, after)
        if members is None:
            return None
        job = Job(slug, "objects", self.dataset.frame, (), notes.settings, self.workspace.jobs(slug), objects)
        columns = [Column(name, kind) for name, kind in notes.columns]  # type: ignore[arg-type]
        reader = Reader(objects)
        sink = self._sink()
        try:
            tiles = self._draw(job, reader, columns, members, sink)
            if tiles is None:
                sink.abort()
                return None
            tiles += self._above(tiles, _reach(after, self.dataset))
            # First: killed before the snapshot is there, the notes are ahead of it and the next update is a whole run.
            self.memory.amend(members, notes)
        except BaseException:
            sink.abort()
            raise
        return self.archive.update(slug, tiles, now, sink), tuple(members)

    def _members(self, before: _Boxes, after: _Boxes) -> dict[str, set[bytes]] | None:
        """Who is in the leaves of what changed, afterwards."""
        old, new = (self._leaves(boxes) for boxes in (before, after))
        keys = {*old.values(), *new.values()}
        members = self.memory.members(keys)
        if members.keys() != keys:  # a leaf that is new
            return None
        for tim_id, key in old.items():
            members[key].discard(tim_id)
        for tim_id, key in new.items():
            members[key].add(tim_id)
        return members if all(0 < len(ids) <= layout.FULL for ids in members.values()) else None

    def _leaves(self, boxes: _Boxes) -> dict[bytes, str]:
        """The leaf of each object that has a box."""
        placed = [(tim_id, box) for tim_id, box in boxes.items() if box is not None]
        if not placed:
            return {}
        xy, width, _ = measure(np.array([box for _, box in placed]), self.dataset.frame)
        at = xy.tolist()
        splits = self.memory.splits_at(at)
        rows = zip(placed, at, width.tolist(), strict=True)
        return {tim_id: locate(where, wide, tim_id, splits)[0] for (tim_id, _), where, wide in rows}

    def _draw(
        self, job: Job, reader: Reader, columns: Sequence[Column], members: Mapping[str, set[bytes]], sink: PackWriter
    ) -> list[TileEntry] | None:
        known = self.archive.entries(job.dataset, [*members, *(f"{key}#1" for key in members)])
        if known.keys() != members.keys():
            return None
        there = reader.standing([i for ids in members.values() for i in ids])
        found = reader.find([one.version for one in there.values()], str(job.settings.get("lod", "")))
        specs = [({"key": key}, [found[there[i].version] for i in ids if i in there]) for key, ids in members.items()]
        made, _ = draw_leaves(specs, job, reader, columns, sink)
        if len(made) != len(members) or any(tile.content is None for tile in made):
            return None
        return [replace(tile, parent=known[tile.key].parent) for tile in made]

    def _above(self, tiles: Sequence[TileEntry], reach: float) -> list[TileEntry]:
        """The tiles above, wide enough for what is below them now and as coarse as an object they do not show."""
        grown: dict[str, TileEntry] = {}
        wanted: dict[str, list[TileEntry]] = {}
        for changed in tiles:
            if changed.parent is not None:
                wanted.setdefault(changed.parent, []).append(changed)
        while wanted:
            following: dict[str, list[TileEntry]] = {}
            for key, entry in self.archive.entries(self.dataset.slug, wanted).items():
                entry = grown.get(key, entry)
                low, high = corners(entry.box)
                for child in wanted[key]:
                    child_low, child_high = corners(child.box)
                    low, high = np.minimum(low, child_low), np.maximum(high, child_high)
                error = max(entry.geometric_error, reach, *(child.geometric_error for child in wanted[key]))
                grown[key] = replace(entry, box=box_around(low, high), geometric_error=error)
                if entry.parent is not None:
                    following.setdefault(entry.parent, []).append(grown[key])
            wanted = following
        return list(grown.values())

    def _sink(self) -> PackWriter:
        return PackWriter(self.archive.packs, f"update-{uuid4().hex}", fast=True)


def _reach(boxes: _Boxes, dataset: Dataset) -> float:
    """The largest diagonal of some boxes, metres."""
    there = [box for box in boxes.values() if box is not None]
    return float(measure(np.array(there), dataset.frame)[2].max()) if there else 0.0
