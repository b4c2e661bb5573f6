"""What any tile sink, builder and executor must pass; the store's suite is ``tim.store.contract``, the importers' ``importers.contract``.

Needs pytest, as the tests do; nothing else imports this.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from tiling.builder import Builder, ContentRef, Job, Shard, ShardResult, TileEntry, TileSink
from tiling.engine import Executor
from tim.errors import CorruptSource, TimError


class MemorySink:
    """The smallest tile sink: contents by hash in a dictionary."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def put(self, payload: bytes | Sequence[bytes | memoryview], *, compress: bool = False) -> ContentRef:  # noqa: ARG002
        """Keep it plain."""
        data = payload if isinstance(payload, bytes) else b"".join(payload)
        name = hashlib.blake2b(data, digest_size=32).hexdigest()
        self.contents[name] = data
        return ContentRef(name, len(data), len(data))


class TileSinkContract(ABC):
    """Contents are named by what they are, and read back as they were."""

    @abstractmethod
    def sink(self, folder: Path) -> tuple[TileSink, Callable[[ContentRef], bytes]]:
        """A new sink, and how a content is read back in the end."""

    def test_contents_come_back(self, tmp_path: Path) -> None:
        """Whole or in buffers, compressed or not, empty or large; the name is the hash of the plain bytes."""
        sink, read = self.sink(tmp_path)
        payloads = [b"", b"x", b"glb" * 5000, bytes(Random(1).randbytes(100_000))]
        refs = [(sink.put(data, compress=compress), data) for data in payloads for compress in (False, True)]
        refs += [(sink.put([data[:7], memoryview(data)[7:]]), data) for data in payloads]
        for ref, data in refs:
            assert ref.hash == hashlib.blake2b(data, digest_size=32).hexdigest()
            assert ref.size == len(data)
            assert ref.encoding == "gzip" or ref.stored == ref.size
            assert read(ref) == data


class BuilderContract(ABC):
    """A builder is deterministic, its shards are plain and independent, its tree is a tree."""

    @abstractmethod
    def builder(self) -> Builder:
        """The builder."""

    @abstractmethod
    def job(self, folder: Path) -> Job:
        """A small job of several shards; called once a test."""

    def test_plans_are_plain_and_repeatable(self, tmp_path: Path) -> None:
        """JSON specs, names of their own in a stage, the same every time."""
        job, builder = self.job(tmp_path), self.builder()
        results = self._build(job, builder, MemorySink())
        for stage in builder.stages:
            earlier = {name: results[name] for name in builder.stages[: builder.stages.index(stage)]}
            shards = list(builder.plan(job, stage, earlier))
            assert json.loads(json.dumps([asdict(s) for s in shards])) == [
                asdict(s) for s in builder.plan(job, stage, earlier)
            ]
            assert len({shard.name for shard in shards}) == len(shards)
            assert all(shard.stage == stage for shard in shards)

    def test_order_and_repetition_do_not_matter(self, tmp_path: Path) -> None:
        """The same contents and the same tree, whether shards run in order, shuffled or twice."""
        job, builder = self.job(tmp_path), self.builder()
        first, second = MemorySink(), MemorySink()
        tree = list(builder.finish(job, self._build(job, builder, first)))
        again = list(builder.finish(job, self._build(job, builder, second, shuffle=Random(7))))
        assert first.contents == second.contents
        assert tree == again
        assert {tile.content.hash for tile in tree if tile.content} <= first.contents.keys()

    def test_results_are_plain(self, tmp_path: Path) -> None:
        """They survive JSON, and problems are message codes with fields."""
        job, builder = self.job(tmp_path), self.builder()
        for results in self._build(job, builder, MemorySink()).values():
            for result in results:
                json.dumps([dict(result.output), dict(result.counts), [asdict(tile) for tile in result.tiles]])
                assert all("." in code and isinstance(fields, Mapping) for code, fields in result.problems)

    def test_the_tree_is_a_tree(self, tmp_path: Path) -> None:
        """Parents come first, contain their children, and have no smaller error."""
        job, builder = self.job(tmp_path), self.builder()
        known: dict[str, TileEntry] = {}
        for tile in builder.finish(job, self._build(job, builder, MemorySink())):
            assert tile.key not in known
            if tile.parent is not None:
                parent = known[tile.parent]
                assert tile.geometric_error <= parent.geometric_error
                (low, high), (outer_low, outer_high) = _corners(tile), _corners(parent)
                assert (low >= outer_low - 1e-6).all()
                assert (high <= outer_high + 1e-6).all()
            known[tile.key] = tile
        assert known

    def _build(
        self, job: Job, builder: Builder, sink: TileSink, shuffle: Random | None = None
    ) -> dict[str, Sequence[ShardResult]]:
        done: dict[str, Sequence[ShardResult]] = {}
        for stage in builder.stages:
            shards = list(builder.plan(job, stage, done))
            order = list(range(len(shards)))
            if shuffle is not None:
                order += order[:1]
                shuffle.shuffle(order)
            results: dict[int, ShardResult] = {i: _plain(builder.build(job, shards[i], sink)) for i in order}
            done[stage] = [results[i] for i in range(len(shards))]
        return done


def _corners(tile: TileEntry) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    centre, axes = np.array(tile.box[:3]), np.array(tile.box[3:]).reshape(3, 3)
    half = np.abs(axes).sum(axis=0)
    return centre - half, centre + half


def _plain(result: ShardResult) -> ShardResult:
    """As it comes back from the ledger."""
    return ShardResult(result.tiles, json.loads(json.dumps(dict(result.output))), result.counts, result.problems)


class ExecutorContract(ABC):
    """An executor runs every task once and turns whatever goes wrong into an outcome."""

    @abstractmethod
    def open_executor(self) -> Executor:
        """A new executor; closed by the suite."""

    @pytest.fixture
    def executor(self) -> Iterator[Executor]:
        """The executor under test."""
        with closing(self.open_executor()) as executor:
            yield executor

    def test_every_task_has_one_outcome(self, executor: Executor) -> None:
        """In any order, more tasks than workers."""
        outcomes = list(executor.map(twice, range(23)))
        assert sorted(outcomes, key=lambda outcome: outcome[0]) == [(n, 2 * n) for n in range(23)]

    def test_errors_are_outcomes(self, executor: Executor) -> None:
        """Ours as they are, others as TilingError; the rest goes on."""
        outcomes = dict(executor.map(refuse, ["fine", "corrupt", "bug"]))
        assert outcomes["fine"] == "fine"
        assert isinstance(outcomes["corrupt"], CorruptSource)
        assert isinstance(outcomes["bug"], TimError)
        assert outcomes["bug"].code == "tile.unexpected"

    def test_it_can_be_used_again(self, executor: Executor) -> None:
        """One map after another, also an empty one."""
        assert list(executor.map(twice, [])) == []
        assert list(executor.map(twice, [1])) == [(1, 2)]
        assert list(executor.map(twice, [2])) == [(2, 4)]


def twice(number: int) -> int:
    """A task that works."""
    return 2 * number


def refuse(task: str) -> str:
    """A task that may not."""
    if task == "corrupt":
        raise CorruptSource("las.empty", file="f")
    if task == "bug":
        raise ZeroDivisionError(task)
    return task


__all__ = ["BuilderContract", "ExecutorContract", "MemorySink", "Shard", "TileSinkContract"]
