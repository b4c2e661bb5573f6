"""``tile``: from a dataset's sources to a published snapshot, in parallel, resumable at any moment.

Stage by stage the builder plans shards; those the ledger knows as finished are taken over, the others run; at the end the builder
says which tiles there are and the archive publishes them at once. Whatever is killed, the next run goes on from the finished shards.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from importers import open_source
from importers.plan import estimate
from tiling.archive import Archive, Snapshot, TilesetInfo
from tiling.builder import Builder, Job, ObjectsRef, Shard
from tiling.engine.executor import Executor, ProcessExecutor
from tiling.engine.ledger import Identity, Ledger, sources_of
from tiling.engine.progress import Listener, Meter
from tiling.engine.work import Task, Work, builder_for, load_builder
from tiling.foreign import mount
from tim.errors import CorruptSource, SourceError, TilingError, TimError, UsageError, WorkspaceError, is_warning
from tim.model import Dataset, Rejected
from tim.sources import SourceRef
from tim.workspace import Workspace

_NAMED = 5
"""So many names fit into one message."""


@dataclass(frozen=True, slots=True)
class TileReport:
    """What a run did."""

    dataset: str
    snapshot: Snapshot
    shards_built: int
    shards_reused: int
    counts: Mapping[str, int]
    """Of the snapshot: points, triangles, …"""
    problems: Sequence[tuple[str, Mapping[str, Any]]]
    """Message codes and fields of what is not in the tiles, or not as it should be; also in the workspace's quarantine."""
    seconds: float
    up_to_date: bool
    """Nothing had changed, and nothing was published."""

    def record(self) -> dict[str, Any]:
        """JSON-able record."""
        return {
            "dataset": self.dataset, "snapshot": {"seq": self.snapshot.seq, "hash": self.snapshot.hash, "tiles": self.snapshot.tiles,
            "bytes": self.snapshot.bytes}, "shards_built": self.shards_built, "shards_reused": self.shards_reused,
            "counts": dict(self.counts), "seconds": round(self.seconds, 3), "up_to_date": self.up_to_date,
            "problems": [TimError(code, **fields).record() for code, fields in self.problems],
        }  # fmt: skip


def tile(
    workspace: Workspace,
    dataset: str,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Listener | None = None,
    settings: Mapping[str, Any] | None = None,
) -> TileReport:
    """Bring the tiles of ``dataset`` (a slug) up to date with its sources and publish them.

    ``workers`` processes are spawned here (default: one per processor) unless an ``executor`` is given, which stays open.
    ``settings`` go over the dataset's own and the builder's defaults.

    Raises UsageError (no such dataset, unknown setting), SourceError ``tile.sources-changed`` (gone or changed since the import),
    WorkspaceError (locked by another run, disk full), TilingError (nothing could be built, or more than single sources failed). What was
    finished stays finished.
    """
    with workspace.store() as store:
        found = store.dataset(dataset)
    if found.kind == "tiles":
        return _mount(workspace, found)
    name = builder_for(found.kind)
    builder = load_builder(name)
    chosen = _settings(builder.defaults, found.settings, settings or {})
    folder = workspace.jobs(dataset)
    with (
        workspace.lock(f"tile-{dataset}"),
        Archive(workspace.archive_root) as archive,
        Ledger(folder / "ledger.sqlite") as ledger,
    ):
        with workspace.store() as store:
            store_seq = store.seq  # before the sources: tiles may show more than this, never less
            sources = store.sources(dataset) if found.kind != "objects" else []
        if not sources and found.kind != "objects":
            raise UsageError("tile.no-sources", dataset=dataset)
        archive.sweep()
        good, problems = _open_all(sources) if sources else ([], [])
        objects = objects_ref(workspace, found, store_seq) if found.kind == "objects" else None
        job = Job(dataset, found.kind, found.frame, tuple(good), chosen, _scratch(folder), objects)
        crew = executor or ProcessExecutor(workers)
        try:
            run = _Run(job, name, builder, ledger, archive, crew, Meter(dataset, builder.stages, progress))
            run.build()
            problems += run.problems()
            report = run.publish(store_seq, problems)
        finally:
            if executor is None:
                crew.close()
        workspace.quarantine.replace(dataset, (p for p in problems if not is_warning(p.code)), "tile")
        shutil.rmtree(job.scratch, ignore_errors=True)
        ledger.prune()
        return report


def _mount(workspace: Workspace, dataset: Dataset) -> TileReport:
    """Publish tilesets from elsewhere as they are: there is nothing to build."""
    began = time.monotonic()
    with (
        workspace.lock(f"tile-{dataset.slug}"), Archive(workspace.archive_root) as archive, workspace.store() as store,
    ):  # fmt: skip
        before = archive.latest(dataset.slug)
        snapshot = mount.publish(archive, dataset, store)
    same = before is not None and before.seq == snapshot.seq
    return TileReport(dataset.slug, snapshot, 0, 0, snapshot.counts, (), time.monotonic() - began, same)


@dataclass(slots=True)
class _Run:
    job: Job
    name: str
    builder: Builder
    """Of this run alone: it may keep what it has planned."""
    ledger: Ledger
    archive: Archive
    executor: Executor
    meter: Meter
    built: int = 0
    lost: list[tuple[Shard, TimError]] = field(default_factory=list)
    """Shards that failed with their source."""

    def build(self) -> None:
        """All stages, or an error; nothing at all where the newest snapshot shows these sources already."""
        builder = self.builder
        identity = Identity(self.job, builder.version)
        self.ledger.begin(builder.stages)
        for number, stage in enumerate(builder.stages):
            self.meter.step("plan", stage)
            self._plan(builder, identity, number)
            todo = self.ledger.todo(stage)
            if number == 0:
                if not todo and self._published():
                    return
                self._check_disk(stage)
            if todo:
                self._restore(builder.stages[:number], todo)
            lost = len(self.lost)
            self._work(stage, todo)
            for key, names in _by_source(self.lost[lost:]).items():
                identity.lose(key, names)
            totals = self.ledger.totals(stage)
            if totals.shards and not totals.done:
                shard, error = self.lost[-1]
                raise TilingError(
                    "tile.nothing-built", dataset=self.job.dataset, shard=shard.name, error=error
                ) from error

    def publish(self, store_seq: int, problems: Sequence[Rejected]) -> TileReport:
        """Let the builder finish and the archive publish, unless the newest snapshot is just that."""
        builder, dataset = self.builder, self.job.dataset
        newest = before = self.archive.latest(dataset)
        if newest is None or not self._published():
            self.meter.step("finish")
            results = {stage: self.ledger.results(stage) for stage in builder.stages}
            try:
                tiles = builder.finish(self.job, results)
            except TilingError as error:
                if self.lost:  # the sum is wrong because of these
                    raise self._failed(self.lost) from error
                raise
            info = TilesetInfo(self.job.frame, store_seq, **builder.tileset(self.job, results))
            self.meter.step("publish")
            newest = self.archive.publish(dataset, tiles, info)
            self.ledger.remember(
                "published", "" if self.lost else f"{self.ledger.inputs(builder.stages[0])} {newest.hash}"
            )
        reused = max(0, sum(self.ledger.totals(stage).done for stage in builder.stages) - self.built)
        up_to_date = before is not None and before.seq == newest.seq
        told = [(problem.code, problem.fields) for problem in problems]
        return TileReport(dataset, newest, self.built, reused, newest.counts, told, self.meter.seconds, up_to_date)

    def problems(self) -> list[Rejected]:
        """What builders left out, and the shards that failed."""
        out = [
            Rejected(shard.name, code, {**_named(shard), **fields}) for shard, code, fields in self.ledger.problems()
        ]
        for key, names in _by_source(self.lost).items():
            planned = self.ledger.planned(key)
            out.append(Rejected(key, "tile.source-incomplete", {"source": key, "lost": len(names), "shards": planned}))
        return out + [Rejected(shard.name, error.code, {**error.fields, **_named(shard)}) for shard, error in self.lost]

    def _work(self, stage: str, ids: Sequence[str]) -> None:
        """Run these shards of one stage. Raises where a failure is not one source's own."""
        if not ids:
            return
        self._clear(set(ids))
        self.meter.step("build", stage, self.ledger.totals(stage))
        work = Work(self.archive.packs, self.name, self.job)
        fatal: list[tuple[Shard, TimError]] = []
        tasks = (Task(id_, self.ledger.shard(id_)) for id_ in ids)
        for task, outcome in self.executor.map(work, tasks, self.meter.watch):
            if not isinstance(outcome, TimError):
                done, rows = outcome
                self.archive.add(rows)
                self.ledger.done(task.id, done)
                self.built += 1
                self.meter.shard(task.shard.cost, done.counts)
                continue
            self.ledger.failed(task.id, outcome)
            if isinstance(outcome, WorkspaceError) or (
                isinstance(outcome, SourceError) and not isinstance(outcome, CorruptSource)
            ):
                raise outcome  # every other shard would meet the same
            (self.lost if "source" in task.shard.spec else fatal).append((task.shard, outcome))
            self.meter.shard(task.shard.cost, {})
        if fatal:
            raise self._failed(fatal)

    def _failed(self, failures: Sequence[tuple[Shard, TimError]]) -> TilingError:
        shard, error = min(failures, key=lambda failure: failure[0].name)
        return TilingError(
            "tile.shards-failed", dataset=self.job.dataset, count=len(failures), error=error, **_named(shard)
        )

    def _published(self) -> bool:
        """Whether the newest snapshot was made of the first stage as it is planned now, whole: all later stages follow from it."""
        newest, note = self.archive.latest(self.job.dataset), self.ledger.note("published")
        return newest is not None and note == f"{self.ledger.inputs(self.builder.stages[0])} {newest.hash}"

    def _plan(self, builder: Builder, identity: Identity, number: int) -> None:
        """Plan one stage, and take back what the archive no longer has."""
        stage, earlier = builder.stages[number], builder.stages[:number]
        done = {name: self.ledger.results(name) for name in earlier}
        self.ledger.plan(stage, ((identity(shard), shard) for shard in builder.plan(self.job, stage, done)))
        self.ledger.recheck(stage, self.archive.has)

    def _clear(self, ids: set[str]) -> None:
        """Remove what killed workers left of these packs: whoever holds the dataset's lock is alone with its shards."""
        for path in self.archive.packs.glob(".*.part"):
            if path.name.split(".")[1] in ids:
                with suppress(OSError):
                    path.unlink()

    def _restore(self, earlier: Sequence[str], todo: Sequence[str]) -> None:
        """Do again those finished shards of earlier stages whose scratch is gone and needed, first stage first."""
        needs = _Needs()
        for id_ in todo:
            needs.add(self.ledger.shard(id_))
        again: list[tuple[str, list[str]]] = []
        for stage in reversed(earlier):
            gone = [
                id_ for id_, names in self.ledger.scratch(stage)
                if any(needs.match(name) and not (self.job.scratch / name).exists() for name in names)
            ]  # fmt: skip
            for id_ in gone:
                needs.add(self.ledger.shard(id_))
            again.insert(0, (stage, gone))
        for stage, ids in again:
            self.ledger.forget(ids)
            lost = len(self.lost)
            self._work(stage, ids)
            if len(self.lost) > lost:  # it worked once: the plan that counts on it no longer holds
                raise self.lost[-1][1]

    def _check_disk(self, stage: str) -> None:
        totals = self.ledger.totals(stage)
        open_share = 1.0 - totals.cost_done / totals.cost if totals.cost else 0.0
        need = open_share * sum(estimate(s.format, s.fingerprint.size, s.count or None).disk for s in self.job.sources)
        free = shutil.disk_usage(self.archive.root).free
        if free < need:
            raise WorkspaceError(
                "tile.disk-short", path=str(self.archive.root), need=_gigabytes(need), free=_gigabytes(free)
            )


class _Needs:
    """Names in scratch that are needed; everything, as soon as one shard does not say."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._all = False

    def add(self, shard: Shard) -> None:
        if "scratch" in shard.spec:
            for name in shard.spec["scratch"]:
                # A need for a file is a need for the folder around it.
                parts = name.split("/")
                self._names.update("/".join(parts[:n]) for n in range(1, len(parts) + 1))
        else:
            self._all = True

    def match(self, name: str) -> bool:
        return self._all or name in self._names


def objects_ref(workspace: Workspace, dataset: Dataset, store_seq: int) -> ObjectsRef:
    """The objects of a dataset as they are now: those of its scenario where it has one."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return ObjectsRef(workspace.path.absolute(), store_seq, now, str(dataset.settings.get("scenario", "")))


def _settings(defaults: Mapping[str, Any], of_dataset: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Given over the dataset's over the defaults; the dataset may have settings for others."""
    for name in given:
        if name not in defaults:
            raise UsageError("tile.unknown-setting", name=name, known=", ".join(sorted(defaults)))
    own = {name: value for name, value in of_dataset.items() if name in defaults}
    return {**defaults, **own, **given}


def _open_all(sources: Sequence[SourceRef]) -> tuple[list[SourceRef], list[Rejected]]:
    """The sources that open, and those that are corrupt. Raises SourceError where any is gone or changed."""
    good: list[SourceRef] = []
    problems: list[Rejected] = []
    changed: list[tuple[SourceRef, SourceError]] = []
    for source in sources:
        try:
            open_source(source)
        except CorruptSource as error:
            problems.append(Rejected(source.key, error.code, error.fields))
        except SourceError as error:
            changed.append((source, error))
        else:
            good.append(source)
    if changed:
        names = ", ".join(source.uri for source, _ in changed[:_NAMED]) + (", …" if len(changed) > _NAMED else "")
        raise SourceError("tile.sources-changed", count=len(changed), sources=names, error=changed[0][1])
    if not good:
        first = problems[0]
        raise TilingError(
            "tile.all-corrupt", count=len(problems), first=first.where, error=CorruptSource(first.code, **first.fields)
        )
    return good, problems


def _by_source(lost: Sequence[tuple[Shard, TimError]]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for shard, _ in lost:
        out.setdefault(shard.spec["source"], []).append(shard.name)
    return out


def _named(shard: Shard) -> dict[str, str]:
    return {"shard": shard.name, "source": ", ".join((sources_of(shard) or ["-"])[:_NAMED])}


def _scratch(folder: Path) -> Path:
    """The job's scratch folder. What was written before the machine last started is not trusted: nobody synced it."""
    scratch, boot = folder / "scratch", _boot()
    stamp = scratch / ".boot"
    if boot is None or not stamp.exists() or stamp.read_text(encoding="ascii") != boot:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        stamp.write_text(boot or "", encoding="ascii")
    return scratch


def _boot() -> str | None:
    """A name of this start of the machine; ``None`` where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
