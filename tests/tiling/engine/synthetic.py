"""A builder of two stages over text files, an importer for them, and a run in a process of its own that can be killed.

A source is a text file; every line is a shard of stage ``cut``, which writes its words to scratch. Stage ``join`` collects all words of
one first letter from every ``cut`` shard and makes one tile of them. Words give orders: ``!crash``, ``!corrupt``, ``!once=FILE`` (crash the first time),
``!slow``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import ClassVar

import importers
from importers import ImportContext, Probe
from tiling.builder import Shard, ShardResult, TileEntry
from tiling.engine import run, work
from tim.errors import CorruptSource, SourceError, TilingError
from tim.model import Dataset, ObjectRecord, dataset_uid
from tim.place import Datum, Frame, Height, Place
from tim.place.resolve import FoundCrs
from tim.sources import SourceRef, fingerprint
from tim.store import Changeset, PutSource
from tim.workspace import Workspace

PLACE = Place("EPSG:4979", Height("ellipsoid", "ellipsoid"), Datum("equivalent", "WGS 84", 0.0))
FRAME = Frame(114.0, 30.0, 20.0, 2**-10)
BOX = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
SLUG = "words"


class WordBuilder:
    version = 1
    stages = ("cut", "join")
    defaults: ClassVar = {"pause": 0.0, "upper": False}

    def plan(self, job, stage, done):
        if stage == "cut":
            for source in job.sources:
                for number, line in enumerate(Path(source.uri).read_text(encoding="utf-8").splitlines()):
                    yield Shard(
                        stage,
                        f"{source.key}/{number}",
                        {"source": source.key, "line": number, "words": len(line.split())},
                        len(line),
                    )
            return
        letters: dict[str, list] = {}
        for result in done["cut"]:
            for letter in result.output["letters"]:
                letters.setdefault(letter, []).append(result.output)
        for letter, outputs in sorted(letters.items()):
            spec = {
                "letter": letter, "sources": sorted({o["source"] for o in outputs}), "scratch": [o["scratch"][0] for o in outputs],
                "words": sum(o["letters"][letter] for o in outputs),
            }  # fmt: skip
            yield Shard(stage, letter, spec, spec["words"])

    def build(self, job, shard, sink):
        time.sleep(job.settings["pause"])
        trace(job, shard)
        if shard.stage == "cut":
            return self._cut(job, shard)
        words = sorted(
            w
            for name in shard.spec["scratch"]
            for w in (job.scratch / name).read_text().split()
            if w[0] == shard.spec["letter"]
        )
        if len(words) != shard.spec["words"]:
            raise TilingError("tile.unexpected", error=f"{shard.spec}: {len(words)} words", trace="")
        if "!crash-join" in words:
            os.kill(os.getpid(), signal.SIGKILL)
        text = " ".join(words)
        ref = sink.put((text.upper() if job.settings["upper"] else text).encode() * 50)
        tile = TileEntry(f"words/{shard.spec['letter']}", None, BOX, 0.0, "REPLACE", ref, {"words": len(words)})
        return ShardResult([tile], {}, {"words": len(words)})

    def _cut(self, job, shard):
        ref = next(s for s in job.sources if s.key == shard.spec["source"])
        words = Path(ref.uri).read_text(encoding="utf-8").splitlines()[shard.spec["line"]].split()
        for word in words:
            self._obey(word, ref.key)
        name = f"{ref.key}-{shard.spec['line']}"
        path = job.scratch / name
        path.write_text(" ".join(words[: len(words) // 2]))
        time.sleep(job.settings["pause"] / 2)  # a kill here leaves half a file behind
        path.write_text(" ".join(words))
        problems = [("tile.unexpected", {"error": word, "trace": ""}) for word in words if word == "?"]
        letters = dict(sorted(Counter(word[0] for word in words).items()))
        return ShardResult(
            [], {"source": ref.key, "scratch": [name], "letters": letters}, {"words_read": len(words)}, problems
        )

    def _obey(self, word, key):
        if word == "!crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "!corrupt":
            raise CorruptSource("las.empty", file=key)
        if word == "!bug":
            raise ZeroDivisionError("bug")
        if word.startswith("!once="):
            mark = Path(word.removeprefix("!once="))
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGSEGV)

    def finish(self, job, results):
        cut = sum(r.counts["words_read"] for r in results["cut"])
        joined = sum(r.counts["words"] for r in results["join"])
        if cut != joined:
            raise TilingError("tile.unexpected", error=f"{cut} words in, {joined} out", trace="")
        return [tile for result in results["join"] for tile in result.tiles]

    def tileset(self, job, results):
        return {}


def trace(job, shard):
    """What was really built, by name."""
    with (job.scratch.parent / "trace").open("a", encoding="utf-8") as file:
        file.write(f"{shard.stage}:{shard.name}\n")


def traced(workspace) -> list[str]:
    """What was built since the last call."""
    path = workspace.jobs(SLUG) / "trace"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return sorted(lines)


def probe(path: Path, key: str = "") -> list[Probe]:
    """The importer's side, format ``words``."""
    if path.suffix != ".words" or not path.is_file():
        return []
    return [
        Probe(
            str(path),
            "words",
            "points",
            key or path.name,
            1,
            path.stat().st_size,
            None,
            (0.0,) * 3,
            (1.0,) * 3,
            FoundCrs("EPSG:4979"),
        )
    ]


def read(found: Probe, context: ImportContext):
    ref = reference(Path(found.uri), found.key)
    yield SourceRef(**{**{f: getattr(ref, f) for f in ref.__slots__}, "place": context.place})
    yield ObjectRecord(found.key, "survey.words", name=found.key)


def open(ref: SourceRef):  # noqa: A001
    path = Path(ref.uri)
    if not path.exists():
        raise SourceError("las.gone", file=ref.key, reason="")
    if not fingerprint(path).same_bytes(ref.fingerprint):
        raise SourceError("las.changed", file=ref.key)
    if path.read_bytes().startswith(b"!unreadable"):
        raise CorruptSource("las.empty", file=ref.key)
    return object()


def reference(path: Path, key: str = "") -> SourceRef:
    return SourceRef(
        str(path), "words", "points", key or path.name, PLACE, fingerprint(path), (0.0, 0.0, 0.0, 1.0, 1.0, 0.0)
    )


def install() -> None:
    """Make the builder and the importer known in this process."""
    importers.FORMATS = {**importers.FORMATS, "words": __name__}
    work.BUILDERS = {**work.BUILDERS, "points": f"{__name__}:WordBuilder"}


def make_workspace(path: Path, texts: dict[str, str]) -> Workspace:
    """A workspace whose dataset has these sources."""
    workspace = Workspace.create(path / "workspace")
    with workspace.store() as store:
        store.put_dataset(Dataset(SLUG, "Words", "points", dataset_uid(SLUG), FRAME))
    put_sources(workspace, path, texts)
    return workspace


def put_sources(workspace: Workspace, path: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (path / name).write_text(text, encoding="utf-8")
    with workspace.store() as store:
        store.apply(Changeset(SLUG, [PutSource(reference(path / name)) for name in texts]))


if __name__ == "__main__":  # python -m tests.tiling.engine.synthetic WORKSPACE WORKERS PAUSE
    from tests.tiling.engine import synthetic  # under its own name, so that workers find the classes

    synthetic.install()
    report = run.tile(
        Workspace.open(Path(sys.argv[1])), SLUG, workers=int(sys.argv[2]), settings={"pause": float(sys.argv[3])}
    )
    sys.stdout.write(report.snapshot.hash)
