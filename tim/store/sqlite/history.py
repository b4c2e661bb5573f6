"""What changed, on which lines, and how objects hang together: from versions' beginnings and ends to records."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from tim.errors import UsageError
from tim.model import Code
from tim.place import Box3
from tim.store import Change, Changed, Changes, Link, ObjectVersion, Touched
from tim.store.sqlite.query import COLUMNS, JOINS, Where, in_force, marks, padded, version

_INT64 = 1 << 63


def changed(db: sqlite3.Connection, dataset: int, since: int, limit: int) -> Changed:
    """Objects with versions made or ended after a sequence number."""
    rows = db.execute(
        "SELECT DISTINCT o.id, o.tim_id FROM (SELECT object FROM version WHERE seq_from > ? UNION SELECT object FROM version WHERE seq_to > ?) hit"
        " CROSS JOIN object o ON o.id = hit.object WHERE o.dataset = ? LIMIT ?",
        (since, since, dataset, limit + 1),
    ).fetchall()
    newest = (
        "SELECT west, south, bottom, east, north, top FROM version WHERE object = ? AND seq_from <= ? AND (seq_to IS NULL OR seq_to > ?)"
        " ORDER BY n DESC LIMIT 1"
    )

    def box(row: int, seq: int) -> Box3 | None:
        found = db.execute(newest, (row, seq, seq)).fetchone()
        return None if found is None or found[0] is None else found

    touched = [Touched(UUID(bytes=tim_id), box(row, since), box(row, _INT64 - 1)) for row, tim_id in rows[:limit]]
    return Changed(touched, len(rows) <= limit)


def changes(
    db: sqlite3.Connection, dataset: int, since: int, until: int, after: tuple[int, int] | None, limit: int
) -> Changes:
    """Objects by the last changeset up to ``until`` that touched them. ``after``: where the page before ended, sequence and object."""
    start = after or (since, _INT64 - 1)
    hits = db.execute(
        "SELECT hit.seq, o.id, o.tim_id FROM (SELECT seq_from seq, object FROM version WHERE (seq_from, object) > (?, ?) AND seq_from <= ?"
        " UNION SELECT seq_to, object FROM version WHERE seq_to IS NOT NULL AND (seq_to, object) > (?, ?) AND seq_to <= ? ORDER BY 1, 2) hit"
        " CROSS JOIN object o ON o.id = hit.object WHERE o.dataset = ? AND NOT EXISTS (SELECT 1 FROM version w WHERE w.object = o.id"
        " AND (w.seq_from > hit.seq AND w.seq_from <= ? OR w.seq_to > hit.seq AND w.seq_to <= ?)) ORDER BY hit.seq, hit.object LIMIT ?",
        (*start, until, *start, until, dataset, until, until, limit + 1),
    ).fetchall()
    page = hits[:limit]
    last: dict[int, int] = {row: seq for seq, row, _ in page}
    lines: dict[int, dict[str, tuple[list[ObjectVersion], list[ObjectVersion]]]] = {row: {} for row in last}
    for rows in (padded(list(last)[i : i + 500]) for i in range(0, len(last), 500)):
        for row, at_start, at_end, *columns in db.execute(
            "SELECT o.id, v.seq_from <= ? AND coalesce(v.seq_to > ?, 1), v.seq_from <= ? AND coalesce(v.seq_to > ?, 1),"
            f" {COLUMNS} FROM object o CROSS JOIN version v ON v.object = o.id {JOINS}"
            f" WHERE o.id IN ({marks(rows)}) AND v.seq_from <= ? AND coalesce(v.seq_to > ?, 1) ORDER BY v.valid_from, v.n",
            (since, since, until, until, *rows, until, since),
        ):
            found = version(tuple(columns))
            line = lines[row].setdefault(found.object.scenario, ([], []))
            if at_start:
                line[0].append(found)
            if at_end:
                line[1].append(found)
    items = []
    for row, known in lines.items():
        for scenario, (before, then) in sorted(known.items()):
            if [v.version for v in before] != [v.version for v in then]:
                tim_id = (before or then)[0].tim_id
                items.append(Change(tim_id, scenario, last[row], tuple(before), tuple(then)))
    return Changes(items, f"{page[-1][0]}_{page[-1][1]}" if len(hits) > limit else None)


def read_cursor(text: str | None) -> tuple[int, int] | None:
    """What :func:`changes` gave. Raises UsageError for anything else."""
    if text is None:
        return None
    seq, mark, row = text.partition("_")
    if not (mark and seq.isdecimal() and row.isdecimal() and len(text) < 40):
        raise UsageError("store.cursor", cursor=text)
    return min(int(seq), _INT64 - 1), min(int(row), _INT64 - 1)


def related(
    db: sqlite3.Connection, ids: Sequence[bytes], kinds: Sequence[str], seq: int | None, valid: str, scenario: str, *, inverse: bool,
) -> Iterator[Link]:  # fmt: skip
    """The relations of some hundred objects."""
    every = padded(ids)
    where = Where()
    where.add(f"{'r.target' if inverse else 'o.tim_id'} IN ({marks(every)})", *every)
    if kinds:
        where.add(f"r.kind IN ({marks(kinds)})", *kinds)
    where.add("v.scenario = ?", scenario)
    in_force(where, seq, valid)
    _valid(where, "r", valid)
    tables = (
        "relation r CROSS JOIN version v ON v.id = r.version CROSS JOIN object o ON o.id = v.object"
        if inverse
        else "object o CROSS JOIN version v ON v.object = o.id CROSS JOIN relation r ON r.version = v.id"
    )
    rows = db.execute(
        f"SELECT o.tim_id, r.kind, r.target, r.valid_from, r.valid_to, r.evidence FROM {tables} WHERE {where.sql}",
        where.parameters,
    )
    for source, kind, target, *rest in rows:
        yield Link(UUID(bytes=source), kind, UUID(bytes=target), *rest)


def scenarios(db: sqlite3.Connection, dataset: int) -> dict[str, int]:
    """Scenarios with objects, by name."""
    return dict(
        db.execute(
            "SELECT v.scenario, count(DISTINCT o.id) FROM version v CROSS JOIN object o ON o.id = v.object"
            " WHERE v.scenario != '' AND v.seq_to IS NULL AND o.dataset = ? GROUP BY 1 ORDER BY 1",
            (dataset,),
        )
    )


def duplicate_codes(db: sqlite3.Connection, dataset: int, valid: str) -> Iterator[tuple[Code, list[UUID]]]:
    """Codes of several objects on the common line."""
    where = Where()
    in_force(where, None, valid)
    _valid(where, "c", valid)
    where.add("v.scenario = '' AND o.dataset = ?", dataset)
    rows: Iterator[tuple[Any, ...]] = db.execute(
        "SELECT c.scheme, c.edition, c.value, json_group_array(DISTINCT hex(o.tim_id)) FROM code c CROSS JOIN version v ON v.id = c.version"
        f" CROSS JOIN object o ON o.id = v.object WHERE {where.sql} GROUP BY c.value, c.scheme, c.edition HAVING count(DISTINCT o.id) > 1"
        " ORDER BY 1, 2, 3",
        where.parameters,
    )
    for scheme, edition, value, ids in rows:
        yield Code(scheme, edition, value), sorted(UUID(i) for i in json.loads(ids))


def _valid(where: Where, row: str, valid: str) -> None:
    """What is valid itself at a moment, a sort key; its ends are stored as texts."""
    where.add(f"({row}.valid_from IS NULL OR rtrim({row}.valid_from, 'Z') <= ?)", valid)
    where.add(f"({row}.valid_to IS NULL OR rtrim({row}.valid_to, 'Z') > ?)", valid)
