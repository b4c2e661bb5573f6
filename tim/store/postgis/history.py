"""What changed, on which lines, and how objects hang together, in PostgreSQL's SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from tim.model import Code
from tim.store import Changed, Changes, Link, Touched
from tim.store.postgis.query import OBJECTS
from tim.store.postgis.session import Session
from tim.store.sql import COLUMNS, INT64, Where, changes_of, in_force, valid_itself

_NEWEST = (
    "LEFT JOIN LATERAL (SELECT west, south, bottom, east, north, top FROM version WHERE object = hit.object AND seq_from <= ?"
    " AND (seq_to IS NULL OR seq_to > ?) ORDER BY n DESC LIMIT 1) {} ON TRUE"
)


def changed(db: Session, dataset: int, since: int, limit: int) -> Changed:
    """Objects with versions made or ended after a sequence number."""
    rows = db.execute(
        f"SELECT o.tim_id, old.*, young.* FROM (SELECT object FROM version WHERE seq_from > ? UNION SELECT object FROM version WHERE seq_to > ?) hit"
        f" JOIN object o ON o.id = hit.object {_NEWEST.format('old')} {_NEWEST.format('young')} WHERE o.dataset = ? LIMIT ?",
        (since, since, since, since, INT64 - 1, INT64 - 1, dataset, limit + 1),
    ).fetchall()
    touched = [
        Touched(tim_id, None if box[0] is None else tuple(box[:6]), None if box[6] is None else tuple(box[6:]))
        for tim_id, *box in rows[:limit]
    ]
    return Changed(touched, len(rows) <= limit)


def changes(db: Session, dataset: int, since: int, until: int, after: tuple[int, int] | None, limit: int) -> Changes:
    """Objects by the last changeset up to ``until`` that touched them. ``after``: where the page before ended, sequence and object."""
    start = after or (since, INT64 - 1)
    hits: Sequence[Any] = db.execute(
        "SELECT hit.seq, o.id FROM (SELECT seq_from seq, object FROM version WHERE (seq_from, object) > (?, ?) AND seq_from <= ?"
        " UNION SELECT seq_to, object FROM version WHERE seq_to IS NOT NULL AND (seq_to, object) > (?, ?) AND seq_to <= ? ORDER BY 1, 2) hit"
        " JOIN object o ON o.id = hit.object WHERE o.dataset = ? AND NOT EXISTS (SELECT 1 FROM version w WHERE w.object = o.id"
        " AND (w.seq_from > hit.seq AND w.seq_from <= ? OR w.seq_to > hit.seq AND w.seq_to <= ?)) ORDER BY hit.seq, hit.object LIMIT ?",
        (*start, until, *start, until, dataset, until, until, limit + 1),
    ).fetchall()
    rows = db.execute(
        "SELECT o.id, v.seq_from <= ? AND coalesce(v.seq_to > ?, TRUE), v.seq_from <= ? AND coalesce(v.seq_to > ?, TRUE), uuid_send(o.tim_id), COLUMNS"
        f" FROM {OBJECTS} JOIN unnest(?::bigint[]) WITH ORDINALITY hit (object, place) ON hit.object = o.id"
        " WHERE v.seq_from <= ? AND coalesce(v.seq_to > ?, TRUE) ORDER BY hit.place, v.valid_from, v.n".replace(
            "COLUMNS", COLUMNS
        ),
        (since, since, until, until, [row for _, row in hits[:limit]], until, since),
    )
    return changes_of(hits[:limit], iter(rows), db.names, len(hits) > limit)


def related(
    db: Session, ids: Sequence[UUID], kinds: Sequence[str], seq: int | None, valid: str, scenario: str, *, inverse: bool
) -> Iterable[Link]:
    """The relations of some hundred objects."""
    where = Where()
    where.add(f"{'r.target' if inverse else 'o.tim_id'} = ANY(?::uuid[])", list(ids))
    if kinds:
        where.add("r.kind = ANY(?::text[])", list(kinds))
    where.add("v.scenario = ?", scenario)
    in_force(where, seq, valid)
    valid_itself(where, "r", valid)
    rows: Iterable[Any] = db.execute(
        "SELECT o.tim_id, r.kind, r.target, r.valid_from, r.valid_to, r.evidence"
        f" FROM {OBJECTS} JOIN relation r ON r.version = v.id WHERE {where.sql}",
        where.parameters,
    )
    return map(Link._make, rows)


def scenarios(db: Session, dataset: int) -> dict[str, int]:
    """Scenarios with objects, by name."""
    rows: Iterable[Any] = db.execute(
        f"SELECT v.scenario, count(DISTINCT o.id) FROM {OBJECTS}"
        " WHERE v.scenario != '' AND v.seq_to IS NULL AND o.dataset = ? GROUP BY 1 ORDER BY 1",
        (dataset,),
    )
    return dict(rows)


def duplicate_codes(db: Session, dataset: int, valid: str) -> Iterator[tuple[Code, list[UUID]]]:
    """Codes of several objects on the common line."""
    where = Where()
    in_force(where, None, valid)
    valid_itself(where, "c", valid)
    where.add("v.scenario = '' AND o.dataset = ?", dataset)
    for batch in db.stream(
        "SELECT c.scheme, c.edition, c.value, array_agg(DISTINCT o.tim_id) FROM code c JOIN version v ON v.id = c.version"
        f" JOIN object o ON o.id = v.object WHERE {where.sql} GROUP BY c.value, c.scheme, c.edition HAVING count(DISTINCT o.id) > 1"
        " ORDER BY 1, 2, 3",
        where.parameters,
        1000,
    ):
        for scheme, edition, value, ids in batch:
            yield Code(scheme, edition, value), sorted(ids)
