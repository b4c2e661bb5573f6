"""Garbage collection: snapshots by number and age, contents nobody refers to, packs that are mostly dead.

In two phases with a grace between, so that whoever read the index before never fails: a content that loses its last reference is marked
and forgotten a grace later; a pack without living contents is marked (living ones are moved first) and its file deleted a grace later.
Contents that were never referenced (a build that has not published yet, or never will) are spared for a week.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from tiling.archive import index
from tiling.archive.pack import PackWriter, refusals
from tiling.archive.types import Collected
from tiling.builder import ContentRef
from tim.errors import TilingError

ABANDONED_SECONDS = 7 * 86400.0
DEAD_SHARE = 0.5
"""A pack is rewritten when at least this share of it is dead."""
SMALL_BYTES = 1 << 20
SMALL_PACKS = 64
"""More packs than this below SMALL_BYTES (every publishing makes one) are merged."""

Row = tuple[bytes, int, int, int, int]
"""Hash, offset, stored, size, gzip."""


def drop(db: sqlite3.Connection, path: Path, dataset: str) -> None:
    """Forget all snapshots of a dataset."""
    with index.write(db, path):
        for (number,) in db.execute("SELECT id FROM dataset WHERE name=?", (dataset,)).fetchall():
            db.execute("DELETE FROM snapshot WHERE dataset=?", (number,))
            db.execute("DELETE FROM shown WHERE dataset=?", (number,))
            _forget_rows(db, number, time.time())


def collect(
    db: sqlite3.Connection, path: Path, packs: Path, keep_snapshots: int, keep_seconds: float, grace_seconds: float
) -> Collected:
    """Keep of each dataset the newest ``keep_snapshots`` (at least the newest) and those that were live ``keep_seconds`` ago or later."""
    now = time.time()
    with index.write(db, path):
        snapshots = _forget_snapshots(db, max(1, keep_snapshots), now - keep_seconds, now)
    with index.write(db, path):
        contents = _forget_contents(db, now - grace_seconds, now - ABANDONED_SECONDS)
        if contents:
            db.execute("UPDATE meta SET generation=generation+1")
    rewritten = _rewrite(db, path, packs)
    with index.write(db, path):
        db.execute("UPDATE pack SET doomed=? WHERE doomed IS NULL AND id NOT IN (SELECT pack FROM content)", (now,))
    with index.write(db, path):
        names = db.execute("DELETE FROM pack WHERE doomed <= ? RETURNING name", (now - grace_seconds,)).fetchall()
    sizes = [_delete(packs / name) for (name,) in names]
    return Collected(snapshots, contents, rewritten, len(sizes), sum(sizes))


def _forget_snapshots(db: sqlite3.Connection, keep: int, since: float, now: float) -> int:
    forgotten = 0
    for (dataset,) in db.execute("SELECT id FROM dataset").fetchall():
        rows = db.execute("SELECT seq, created FROM snapshot WHERE dataset=? ORDER BY seq DESC", (dataset,)).fetchall()
        old = []
        for place, (seq, _) in enumerate(rows):
            if place >= keep and rows[place - 1][1] < since:  # superseded when the next one was made
                old.append((dataset, seq))
        if old:
            db.executemany("DELETE FROM snapshot WHERE dataset=? AND seq=?", old)
            _forget_rows(db, dataset, now)
            forgotten += len(old)
    return forgotten


def _forget_rows(db: sqlite3.Connection, dataset: int, now: float) -> None:
    """Delete tile and page rows no snapshot shows; mark contents that lost their last reference."""
    candidates: set[int] = set()
    for table in ("tile", "page"):
        gone = db.execute(
            f"DELETE FROM {table} AS t WHERE dataset=? AND NOT EXISTS (SELECT 1 FROM snapshot s WHERE s.dataset=t.dataset"
            " AND s.seq >= t.from_seq AND s.seq < t.to_seq) RETURNING content",
            (dataset,),
        )
        candidates.update(content for (content,) in gone.fetchall() if content is not None)
    db.executemany(
        "UPDATE content SET orphaned=? WHERE id=? AND NOT EXISTS (SELECT 1 FROM tile WHERE content=content.id)"
        " AND NOT EXISTS (SELECT 1 FROM page WHERE content=content.id)",
        ((now, number) for number in sorted(candidates)),
    )


def _forget_contents(db: sqlite3.Connection, orphaned_by: float, added_by: float) -> int:
    unused = (
        " AND NOT EXISTS (SELECT 1 FROM tile WHERE tile.content=content.id)"
        " AND NOT EXISTS (SELECT 1 FROM page WHERE page.content=content.id)"
    )
    orphans = db.execute("DELETE FROM content WHERE orphaned <= ?" + unused, (orphaned_by,)).rowcount
    return (
        orphans + db.execute("DELETE FROM content WHERE orphaned IS NULL AND added <= ?" + unused, (added_by,)).rowcount
    )


def _rewrite(db: sqlite3.Connection, path: Path, packs: Path) -> int:
    """Move living contents out of packs that are mostly dead or many and small, into one new pack."""
    query = "SELECT p.id, p.name, sum(c.stored) FROM pack p JOIN content c ON c.pack=p.id WHERE p.doomed IS NULL GROUP BY p.id ORDER BY p.id"
    dead: list[tuple[int, str]] = []
    small: list[tuple[int, str]] = []
    with index.refusals(path):
        living = db.execute(query).fetchall()
    for number, name, alive in living:
        try:
            size = (packs / name).stat().st_size
        except FileNotFoundError:
            continue  # damage: `validate` and `read` report it; nothing here makes it worse
        if size - alive >= DEAD_SHARE * size:
            dead.append((number, name))
        elif size < SMALL_BYTES:
            small.append((number, name))
    chosen = dead + (small if len(small) > SMALL_PACKS else [])
    for batch in index.batches(chosen, 256):
        _move(db, path, packs, batch)
    return len(chosen)


def _move(db: sqlite3.Connection, path: Path, packs: Path, old: list[tuple[int, str]]) -> None:
    writer = PackWriter(packs, f"kept-{old[0][0]}")
    try:
        for number, name in old:
            with index.refusals(path):
                rows: list[Row] = db.execute(
                    "SELECT hash, offset, stored, size, gzip FROM content WHERE pack=? ORDER BY offset", (number,)
                ).fetchall()
            with refusals(packs / name), (packs / name).open("rb") as file:
                for hash_, offset, stored, size, gz in rows:
                    file.seek(offset)
                    data = file.read(stored)
                    if len(data) != stored:
                        raise TilingError("archive.damaged-pack", pack=name, hash=hash_.hex(), reason="length")
                    writer.copy(ContentRef(hash_.hex(), size, stored, "gzip" if gz else "identity"), data)
        moved = writer.close()
    except BaseException:
        writer.abort()
        raise
    if not moved:
        return
    numbers = [number for number, _ in old]
    with index.write(db, path):
        ((new,),) = db.execute("INSERT INTO pack (name) VALUES (?) RETURNING id", (moved[0].pack,)).fetchall()
        db.executemany(
            f"UPDATE content SET pack=?, offset=? WHERE hash=? AND pack IN ({index.marks(numbers)})",
            ((new, row.offset, bytes.fromhex(row.hash), *numbers) for row in moved),
        )
        db.execute("UPDATE meta SET generation=generation+1")


def _delete(path: Path) -> int:
    """Delete a pack file; where a reader's map prevents it (Windows), ``sweep`` finds it later."""
    try:
        size = path.stat().st_size
        path.unlink()
    except OSError:
        return 0
    return size
