"""What changed, on which lines, and how objects hang together: from versions' beginnings and ends to records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from tim.model import Code
from tim.place import Box3
from tim.store import Changed, Changes, Link, Touched
from tim.store.sql import COLUMNS, INT64, Where, changes_of, in_force, marks, padded, valid_itself
from tim.store.sqlite.schema import Connection


def changed(db: Connection, dataset: int, since: int, limit: int) -> Changed:
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

    touched = [Touched(UUID(bytes=tim_id), box(row, since), box(row, INT64 - 1)) for row, tim_id in rows[:limit]]
    return Changed(touched, len(rows) <= limit)


def changes(db: Connection, dataset: int, since: int, until: int, after: tuple[int, int] | None, limit: int) -> Changes:
    """Objects by the last changeset up to ``until`` that touched them. ``after``: where the page before ended, sequence and object."""
    start = after or (since, INT64 - 1)
    hits = db.execute(
        "SELECT hit.seq, o.id, o.tim_id FROM (SELECT seq_from seq, object FROM version WHERE (seq_from, object) > (?, ?) AND seq_from <= ?"
        " UNION SELECT seq_to, object FROM version WHERE seq_to IS NOT NULL AND (seq_to, object) > (?, ?) AND seq_to <= ? ORDER BY 1, 2) hit"
        " CROSS JOIN object o ON o.id = hit.object WHERE o.dataset = ? AND NOT EXISTS (SELECT 1 FROM version w WHERE w.object = o.id"
        " AND (w.seq_from > hit.seq AND w.seq_from <= ? OR w.seq_to > hit.seq AND w.seq_to <= ?)) ORDER BY hit.seq, hit.object LIMIT ?",
        (*start, until, *start, until, dataset, until, until, limit + 1),
    ).fetchall()
    objects = [row for _, row, _ in hits[:limit]]

    def versions() -> Iterator[tuple[Any, ...]]:
        for rows in (padded(objects[i : i + 500]) for i in range(0, len(objects), 500)):
            yield from db.execute(
                "SELECT o.id, v.seq_from <= ? AND coalesce(v.seq_to > ?, 1), v.seq_from <= ? AND coalesce(v.seq_to > ?, 1),"
                f" o.tim_id, {COLUMNS} FROM object o CROSS JOIN version v ON v.object = o.id"
                f" WHERE o.id IN ({marks(rows)}) AND v.seq_from <= ? AND coalesce(v.seq_to > ?, 1) ORDER BY v.valid_from, v.n",
                (since, since, until, until, *rows, until, since),
            )

    return changes_of([(seq, row) for seq, row, _ in hits[:limit]], versions(), db.names, len(hits) > limit)


def related(
    db: Connection, ids: Sequence[UUID], kinds: Sequence[str], seq: int | None, valid: str, scenario: str, *, inverse: bool,
) -> Iterator[Link]:  # fmt: skip
    """The relations of some hundred objects."""
    every = padded([i.bytes for i in ids])
    where = Where()
    where.add(f"{'r.target' if inverse else 'o.tim_id'} IN ({marks(every)})", *every)
    if kinds:
        where.add(f"r.kind IN ({marks(kinds)})", *kinds)
    where.add("v.scenario = ?", scenario)
    in_force(where, seq, valid)
    valid_itself(where, "r", valid)
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


def scenarios(db: Connection, dataset: int) -> dict[str, int]:
    """Scenarios with objects, by name."""
    return dict(
        db.execute(
            "SELECT v.scenario, count(DISTINCT o.id) FROM version v CROSS JOIN object o ON o.id = v.object"
            " WHERE v.scenario != '' AND v.seq_to IS NULL AND o.dataset = ? GROUP BY 1 ORDER BY 1",
            (dataset,),
        )
    )


def duplicate_codes(db: Connection, dataset: int, valid: str) -> Iterator[tuple[Code, list[UUID]]]:
    """Codes of several objects on the common line."""
    where = Where()
    in_force(where, None, valid)
    valid_itself(where, "c", valid)
    where.add("v.scenario = '' AND o.dataset = ?", dataset)
    rows: Iterator[tuple[Any, ...]] = db.execute(
        "SELECT c.scheme, c.edition, c.value, json_group_array(DISTINCT hex(o.tim_id)) FROM code c CROSS JOIN version v ON v.id = c.version"
        f" CROSS JOIN object o ON o.id = v.object WHERE {where.sql} GROUP BY c.value, c.scheme, c.edition HAVING count(DISTINCT o.id) > 1"
        " ORDER BY 1, 2, 3",
        where.parameters,
    )
    for scheme, edition, value, ids in rows:
        yield Code(scheme, edition, value), sorted(UUID(i) for i in json.loads(ids))
