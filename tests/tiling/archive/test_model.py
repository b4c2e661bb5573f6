"""The archive against a brute-force model: whatever is published, rolled back, dropped and collected, every kept snapshot is true."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.tiling.samples import CUBE, FRAME
from tiling.archive import Archive, Reader, TilesetInfo
from tiling.builder import TileEntry
from tiling.validate import Archived, validate

INFO = TilesetInfo(FRAME, 1, "implicit-octree", "ADD", CUBE, subtree_levels=2)
KEYS = ["oct/0/0/0/0", *(f"oct/1/{x}/{y}/0" for x in (0, 1) for y in (0, 1)), "oct/2/3/1/0", "oct/2/0/0/1"]
DATASETS = st.sampled_from(["a", "b"])


def payload(number: int) -> bytes:
    return b"content %d" % number * 50


class ArchiveModel(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp()) / "tiles"
        self.archive = Archive(self.root)
        self.reader = Reader(self.root)
        self.kept: dict[str, dict[int, dict[str, int]]] = {}
        self.next: dict[str, int] = {}
        self.packs = 0

    def teardown(self):
        self.reader.close()
        self.archive.close()
        shutil.rmtree(self.root.parent)

    @rule(dataset=DATASETS, shown=st.dictionaries(st.sampled_from(KEYS), st.integers(0, 6), min_size=1))
    def publish(self, dataset, shown):
        writer = self.archive.writer(f"s{self.packs}")
        self.packs += 1
        refs = {number: writer.put(payload(number), compress=number % 2 == 0) for number in shown.values()}
        self.archive.add(writer.close())
        tiles = [TileEntry(key, None, CUBE, 1.0, "ADD", refs[number]) for key, number in shown.items()]
        snapshot = self.archive.publish(dataset, tiles, INFO)
        snapshots = self.kept.setdefault(dataset, {})
        if snapshots and snapshots[max(snapshots)] == shown:
            assert snapshot.seq == max(snapshots)
        else:
            self.next[dataset] = self.next.get(dataset, 0) + 1
            assert snapshot.seq == self.next[dataset]
            snapshots[snapshot.seq] = dict(shown)

    @precondition(lambda self: any(self.kept.values()))
    @rule(data=st.data())
    def rollback(self, data):
        dataset = data.draw(st.sampled_from(sorted(d for d, s in self.kept.items() if s)))
        snapshots = self.kept[dataset]
        seq = data.draw(st.sampled_from(sorted(snapshots)))
        found = self.archive.rollback(dataset, seq)
        if snapshots[max(snapshots)] != snapshots[seq]:
            self.next[dataset] += 1
            snapshots[self.next[dataset]] = dict(snapshots[seq])
        assert found.seq == max(snapshots)

    @rule(dataset=DATASETS)
    def drop(self, dataset):
        self.archive.drop(dataset)
        self.kept.pop(dataset, None)

    @rule(keep=st.integers(1, 3), refresh=st.booleans())
    def collect(self, keep, refresh):
        old = {(d, s): dict(tiles) for d, snapshots in self.kept.items() for s, tiles in snapshots.items()}
        if refresh:
            self.reader.refresh()
        self.archive.collect(keep_snapshots=keep, keep_seconds=0, grace_seconds=0)
        for snapshots in self.kept.values():
            for seq in sorted(snapshots)[:-keep]:
                del snapshots[seq]
        if refresh:  # a reader that has not looked again still answers for all that is kept
            for (dataset, seq), tiles in old.items():
                if seq in self.kept.get(dataset, {}):
                    self.check(dataset, seq, tiles)

    @rule()
    def collect_twice_leaves_nothing_dead(self):
        for _ in range(2):
            self.archive.collect(keep_snapshots=9, keep_seconds=1e9, grace_seconds=0)
        on_disk = {p.name for p in self.archive.packs.glob("*.pack")} if self.archive.packs.exists() else set()
        registered = {name for (name,) in self.archive._db.execute("SELECT name FROM pack")}
        assert on_disk == registered
        if not any(self.kept.values()):
            assert on_disk == set()

    @invariant()
    def every_kept_snapshot_is_true(self):
        self.reader.refresh()
        assert not self.reader.refresh()
        for dataset, snapshots in self.kept.items():
            assert [s.seq for s in self.archive.snapshots(dataset)] == sorted(snapshots)
            assert [s.seq for s in self.reader.snapshots(dataset)] == sorted(snapshots)
            for seq, tiles in snapshots.items():
                assert {
                    t.key: t.content.hash for t in self.archive.tiles(dataset, seq) if t.content
                }.keys() == tiles.keys()
                self.check(dataset, seq, tiles)
            if snapshots:
                assert self.reader.page(dataset, None, "tileset.json") is not None
                assert self.reader.page(dataset, max(snapshots) + 1, "tileset.json") is None

    def check(self, dataset, seq, tiles):
        for key in KEYS:
            blob = self.reader.tile(dataset, seq, key)
            if key not in tiles:
                assert blob is None
                continue
            from tiling.archive.pack import plain

            assert plain(bytes(blob.data), blob.encoding) == payload(tiles[key])
            assert self.reader.content(blob.hash).data == blob.data
        report = validate(Archived(self.root, dataset, seq))
        assert {i.code for i in report.errors} <= {"glb-broken"}, report.record()
        assert report.counts.get("contents", 0) == len(tiles)


TestArchiveModel = ArchiveModel.TestCase
TestArchiveModel.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
