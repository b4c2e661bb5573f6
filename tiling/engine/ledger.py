"""The shard ledger of one dataset: what is planned, what is done, what came out. It outlives kills, power cuts and runs.

A shard is known by what determines its result (:class:`Identity`), so a later run finds what an earlier one finished, whatever
happened in between. A row is marked done after its contents are safe in the archive, in a transaction of its own. Only the
process that holds the dataset's lock writes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Self, overload

from tiling.builder import ContentRef, Job, Shard, ShardResult, TileEntry
from tim.errors import TimError
from tim.sources import SourceRef

_SCHEMA = """
CREATE TABLE IF NOT EXISTS shards (
  id TEXT PRIMARY KEY,
  stage TEXT NOT NULL,
  name TEXT NOT NULL,
  spec TEXT NOT NULL,
  cost REAL NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('planned', 'done', 'failed')),
  result TEXT,
  contents TEXT NOT NULL DEFAULT '',
  scratch TEXT,
  problems TEXT,
  attempts INTEGER NOT NULL DEFAULT 0,
  seconds REAL NOT NULL DEFAULT 0,
  error TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS plan (
  stage TEXT NOT NULL,
  position INTEGER NOT NULL,
  id TEXT NOT NULL UNIQUE,
  PRIMARY KEY (stage, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_BATCH = 1000


class Identity:
    """Gives shards their ids: blake2b-256 over dataset, builder, frame, settings, stage, spec and the sources the spec names.

    A source enters by key, format, options, place, size and sample: neither its path nor its times do, so a copy on another disk
    is the same source.
    """

    def __init__(self, job: Job, version: int) -> None:
        self._job = _digest(
            {
                "dataset": job.dataset,
                "kind": job.kind,
                "version": version,
                "frame": job.frame.record(),
                "settings": dict(job.settings),
            }
        )
        self._sources = {source.key: _digest(_identity(source)) for source in job.sources}
        self._all = _digest(sorted(self._sources.items()))

    def __call__(self, shard: Shard) -> str:
        """64 hex digits. Raises KeyError where the spec names a source the job does not have."""
        keys = sources_of(shard)
        sources = self._all if keys is None else [[key, self._sources[key]] for key in keys]
        return _digest({"job": self._job, "stage": shard.stage, "spec": dict(shard.spec), "sources": sources})

    def lose(self, key: str, lost: Sequence[str]) -> None:
        """Shards of a source failed: what later stages make of that source is not what they make of the whole of it."""
        self._sources[key] = _digest([self._sources[key], sorted(lost)])
        self._all = _digest(sorted(self._sources.items()))


def sources_of(shard: Shard) -> Sequence[str] | None:
    """The keys of the sources a shard says it reads, sorted; ``None`` where it says nothing and so depends on all."""
    if "source" in shard.spec:
        return (shard.spec["source"],)
    return sorted(shard.spec["sources"]) if "sources" in shard.spec else None


@dataclass(frozen=True, slots=True)
class Done:
    """A finished shard in the form that is stored; made in the worker, so that the parent only writes it down."""

    result: str
    """The :class:`ShardResult` as JSON."""
    contents: tuple[str, ...]
    """Hashes of the contents it refers to."""
    scratch: tuple[str, ...] | None
    """What it left in scratch for later stages."""
    problems: str | None
    """What it quarantined or left out, as JSON; ``None`` for nothing."""
    counts: Mapping[str, int]
    seconds: float

    @classmethod
    def of(cls, result: ShardResult, seconds: float) -> Done:
        """Raises TypeError where the result holds anything but JSON values."""
        contents = tuple(sorted({tile.content.hash for tile in result.tiles if tile.content}))
        names = result.output.get("scratch")
        return cls(
            write_result(result),
            contents,
            None if names is None else tuple(names),
            _json(list(result.problems)) if result.problems else None,
            dict(result.counts),
            seconds,
        )


@dataclass(frozen=True, slots=True)
class Totals:
    """How far a stage is."""

    shards: int
    done: int
    cost: float
    cost_done: float


class Results(Sequence[ShardResult]):
    """The results of one stage in plan order, read from the ledger one by one: never all in memory."""

    def __init__(self, connection: sqlite3.Connection, stage: str) -> None:
        self._connection = connection
        rows = connection.execute(
            "SELECT id FROM plan JOIN shards USING (id) WHERE plan.stage = ? AND state = 'done' ORDER BY position",
            (stage,),
        )
        self._ids = [row[0] for row in rows]

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> ShardResult: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ShardResult]: ...
    def __getitem__(self, index: int | slice) -> ShardResult | Sequence[ShardResult]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self._ids)))]
        row = self._connection.execute("SELECT result FROM shards WHERE id = ?", (self._ids[index],)).fetchone()
        return read_result(row[0])


class Ledger:
    """One SQLite file. A context manager; closing checkpoints it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        # A power cut may lose the last rows, never consistency: those shards are done again.
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def begin(self, stages: Sequence[str]) -> None:
        """Forget what was planned for other stages than these; the rest stands until it is planned anew."""
        self._db.execute(f"DELETE FROM plan WHERE stage NOT IN ({','.join('?' * len(stages))})", list(stages))

    def plan(self, stage: str, shards: Iterable[tuple[str, Shard]]) -> None:
        """Write down the shards of one stage, in order, with their ids. Raises ValueError where two are the same work."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute("DELETE FROM plan WHERE stage = ?", (stage,))
            for position, (id_, shard) in enumerate(shards):
                try:
                    self._db.execute("INSERT INTO plan VALUES (?, ?, ?)", (stage, position, id_))
                except sqlite3.IntegrityError:
                    raise ValueError(f"stage {stage!r} plans shard {shard.name!r} twice") from None
                self._db.execute(
                    "INSERT INTO shards (id, stage, name, spec, cost, state) VALUES (?, ?, ?, ?, ?, 'planned')"
                    " ON CONFLICT (id) DO UPDATE SET name = excluded.name, cost = excluded.cost",
                    (id_, stage, shard.name, _json(dict(shard.spec)), shard.cost),
                )
            # Shards of other settings or sources wrote under the same names in scratch: from here on nobody may trust theirs again.
            self._db.execute(
                "DELETE FROM shards WHERE stage = ? AND scratch IS NOT NULL AND id NOT IN (SELECT id FROM plan)",
                (stage,),
            )
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def recheck(self, stage: str, has: Callable[[Iterable[str]], set[str]]) -> None:
        """Take back finished shards whose contents are no longer in the archive."""
        rows = self._db.execute(
            "SELECT id, contents FROM plan JOIN shards USING (id) WHERE plan.stage = ? AND state = 'done' AND contents != ''",
            (stage,),
        )
        lost: list[str] = []
        while batch := rows.fetchmany(_BATCH):
            wanted = {id_: set(contents.split()) for id_, contents in batch}
            there = has(set().union(*wanted.values()))
            lost += [id_ for id_, contents in wanted.items() if not contents <= there]
        self.forget(lost)

    def forget(self, ids: Iterable[str]) -> None:
        """These shards are to be done (again)."""
        self._db.executemany("UPDATE shards SET state = 'planned' WHERE id = ?", [(id_,) for id_ in ids])

    def todo(self, stage: str) -> list[str]:
        """Ids of the planned shards that are not done, heaviest first."""
        rows = self._db.execute(
            "SELECT id FROM plan JOIN shards USING (id) WHERE plan.stage = ? AND state != 'done' ORDER BY cost DESC, position",
            (stage,),
        )
        return [row[0] for row in rows]

    def shard(self, id_: str) -> Shard:
        """One shard as it was planned."""
        stage, name, spec, cost = self._db.execute(
            "SELECT stage, name, spec, cost FROM shards WHERE id = ?", (id_,)
        ).fetchone()
        return Shard(stage, name, json.loads(spec), cost)

    def done(self, id_: str, done: Done) -> None:
        """A shard is finished and its contents are safe."""
        scratch = None if done.scratch is None else _json(list(done.scratch))
        self._db.execute(
            "UPDATE shards SET state = 'done', result = ?, contents = ?, scratch = ?, problems = ?, seconds = ?, error = NULL, attempts = attempts + 1"
            " WHERE id = ?",
            (done.result, " ".join(done.contents), scratch, done.problems, done.seconds, id_),
        )

    def failed(self, id_: str, error: TimError) -> None:
        """A shard could not be done; the next run tries again."""
        record = _json({"code": error.code, "fields": {k: str(v) for k, v in error.fields.items()}})
        self._db.execute(
            "UPDATE shards SET state = 'failed', error = ?, attempts = attempts + 1 WHERE id = ?", (record, id_)
        )

    def scratch(self, stage: str) -> Iterator[tuple[str, list[str]]]:
        """Finished shards of a stage that left something in scratch, with the names."""
        rows = self._db.execute(
            "SELECT id, scratch FROM plan JOIN shards USING (id) WHERE plan.stage = ? AND state = 'done' AND scratch IS NOT NULL"
            " ORDER BY position",
            (stage,),
        )
        for id_, names in rows.fetchall():
            yield id_, json.loads(names)

    def problems(self) -> Iterator[tuple[Shard, str, dict[str, Any]]]:
        """What finished shards of the plan quarantined or left out: shard, message code, fields."""
        rows = self._db.execute(
            "SELECT plan.stage, name, spec, cost, problems FROM plan JOIN shards USING (id)"
            " WHERE state = 'done' AND problems IS NOT NULL ORDER BY plan.stage, position"
        )
        for stage, name, spec, cost, problems in rows:
            for code, fields in json.loads(problems):
                yield Shard(stage, name, json.loads(spec), cost), code, fields

    def results(self, stage: str) -> Results:
        """What the finished shards of a stage made, in plan order."""
        return Results(self._db, stage)

    def planned(self, source: str) -> int:
        """Shards of the plan that read this one source."""
        query = "SELECT count(*) FROM plan JOIN shards USING (id) WHERE json_extract(spec, '$.source') = ?"
        return int(self._db.execute(query, (source,)).fetchone()[0])

    def totals(self, stage: str) -> Totals:
        """How far a stage is."""
        row = self._db.execute(
            "SELECT count(*), coalesce(sum(state = 'done'), 0), coalesce(sum(cost), 0), coalesce(sum(cost * (state = 'done')), 0)"
            " FROM plan JOIN shards USING (id) WHERE plan.stage = ?",
            (stage,),
        ).fetchone()
        return Totals(row[0], row[1], row[2], row[3])

    def inputs(self, stage: str) -> str:
        """A hash over the planned shards of one stage, in order."""
        digest = blake2b(digest_size=32)
        for (id_,) in self._db.execute("SELECT id FROM plan WHERE stage = ? ORDER BY position", (stage,)):
            digest.update(id_.encode())
        return digest.hexdigest()

    def prune(self) -> None:
        """Forget shards that are not in the plan."""
        self._db.execute("DELETE FROM shards WHERE id NOT IN (SELECT id FROM plan)")

    def note(self, name: str) -> str | None:
        """A remembered value."""
        row = self._db.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def remember(self, name: str, value: str) -> None:
        """Keep a value for later runs."""
        self._db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value))


def write_result(result: ShardResult) -> str:
    """JSON text; :func:`read_result` reads it back exactly."""
    tiles = [
        [
            t.key,
            t.parent,
            t.box,
            t.geometric_error,
            t.refine,
            None if t.content is None else asdict(t.content),
            dict(t.counts),
        ]
        for t in result.tiles
    ]
    problems = [[code, dict(fields)] for code, fields in result.problems]
    return json.dumps(
        [tiles, dict(result.output), dict(result.counts), problems], ensure_ascii=False, separators=(",", ":")
    )


def read_result(text: str) -> ShardResult:
    """The result that :func:`write_result` wrote."""
    tiles, output, counts, problems = json.loads(text)
    return ShardResult(
        tiles=tuple(
            TileEntry(key, parent, tuple(box), error, refine, None if content is None else ContentRef(**content), of)
            for key, parent, box, error, refine, content, of in tiles
        ),
        output=output,
        counts=counts,
        problems=tuple((code, fields) for code, fields in problems),
    )


def _identity(source: SourceRef) -> dict[str, Any]:
    record = source.record()
    print_ = source.fingerprint
    return {name: record[name] for name in ("format", "kind", "key", "place", "options")} | {
        "bytes": [print_.size, print_.sample]
    }


def _digest(value: Any) -> str:
    return blake2b(_json(value).encode(), digest_size=32).hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
