"""Both stores, told the same, say the same: hashes, records, answers to whatever is asked."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.postgres import Server
from tim.model import Code, ObjectRecord, Relation, Representation, Stage, derived_id
from tim.store import AsOf, Changeset, Filter, ObjectStore, Operation, Put, PutSource, Retire
from tim.store.contract.samples import HILLS, TOWN, source
from tim.store.postgis import PostgisStore
from tim.store.sqlite import SqliteStore

KEYS = [f"k/{i}" for i in range(60)]
VALUES: list[Any] = [
    0,
    1,
    1.0,
    -0.0,
    2**40,
    2**63,
    1e22,
    0.1,
    True,
    False,
    None,
    "1",
    "x",
    "城",
    "",
    [1, 2.5],
    [],
    {"a": None},
    {"b": 1, "a": [True]},
]
NAMES = ("v", "w", "名 \"'", "a.b")
CLASSES = ("building", "building.house", "building-x", "water", "transport.road")
YEARS = (None, "2001-01-01", "2002-06-01T08:00:00Z", "2003-01-01", "2004-01-01T00:00:00.5Z", "2005-01-01")


@pytest.fixture(scope="module")
def stores(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ObjectStore, ObjectStore]]:
    """The same history in both."""
    moments = [iter(f"2026-01-01T00:{i // 60:02}:{i % 60:02}Z" for i in range(3600)) for _ in range(2)]
    path: Path = tmp_path_factory.mktemp("agree") / "store.sqlite"
    one = SqliteStore.create(path, clock=lambda: next(moments[0]))
    two = PostgisStore.create(postgres.url, "agree", clock=lambda: next(moments[1]))
    for store in (one, two):
        store.put_dataset(TOWN)
        store.put_dataset(HILLS)
    said = [[store.apply(change) for change in history()] for store in (one, two)]
    assert said[0] == said[1]
    yield one, two
    one.close()
    two.close()
    with psycopg.connect(postgres.url, autocommit=True) as db:
        db.execute("DROP SCHEMA agree CASCADE")


def history() -> Iterator[Changeset]:
    chance = random.Random(4)
    there: set[tuple[str, str]] = set()
    yield Changeset("town", [PutSource(source("one")), PutSource(source("two"))])
    for _ in range(25):
        dataset = chance.choice((TOWN, TOWN, HILLS))
        operations: list[Operation] = []
        for key in chance.sample(KEYS, 12):
            if (dataset.slug, key) in there and chance.random() < 0.15:
                line = chance.choice(("", "x"))
                operations.append(Retire(derived_id(dataset.uid, "", key), chance.choice(YEARS), scenario=line))
            else:
                there.add((dataset.slug, key))
                given = chance.choice(("", "one", "two")) if dataset is TOWN else ""
                operations.append(Put(record(chance, key), source=given))
        yield Changeset(dataset.slug, operations, "A", "B")


def record(chance: random.Random, key: str) -> ObjectRecord:
    start, end = chance.choice([(a, b) for i, a in enumerate(YEARS) for b in (None, *YEARS[i + 1 :])])
    targets = [derived_id(TOWN.uid, "", chance.choice(KEYS)) for _ in range(chance.randrange(3))]
    return ObjectRecord(
        key, chance.choice(CLASSES), name=chance.choice(("", "Main", "main street", "Älter", "城", "a%_\\")),
        attributes={name: chance.choice(VALUES) for name in chance.sample(NAMES, chance.randrange(4))}, box=box(chance),
        stage=chance.choice(list(Stage)), scenario=chance.choice(("", "", "x")), valid_from=start, valid_to=end,
        codes=tuple(Code(chance.choice("st"), chance.choice("ef"), chance.choice("12"), *chance.choice(((None, None), ("2001-01-01", "2004-01-01"))))
                    for _ in range(chance.randrange(3))),
        relations=tuple(Relation(chance.choice(("partOf", "near")), t, *chance.choice(((None, None), ("2002-01-01", None)))) for t in targets),
        representations=tuple(Representation("body", str(i), "glb", "ab" * 32, {"n": i + 0.5}) for i in range(chance.randrange(3))),
    )  # fmt: skip


def box(chance: random.Random) -> Any:
    if chance.random() < 0.1:
        return None
    west, south, bottom = chance.uniform(-180, 180), chance.uniform(-80, 70), chance.uniform(-50, 50)
    east = west + chance.choice((0.0, 1e-9, 3.0, 60.0))
    return (
        west,
        south,
        bottom,
        east - 360 if east > 180 else east,
        south + chance.choice((0.0, 10.0)),
        bottom + chance.choice((0.0, 30.0)),
    )


def a_filter(chance: random.Random) -> Filter:
    def perhaps(value: Any, otherwise: Any = None, odds: float = 0.25) -> Any:
        return value if chance.random() < odds else otherwise

    span = perhaps((chance.choice(YEARS[:3]), chance.choice((None, *YEARS[3:]))))
    return Filter(
        dataset=perhaps("town", odds=0.5), box=perhaps(box(chance), odds=0.5), class_id=perhaps(chance.choice(("building", *CLASSES))),
        attributes=perhaps({chance.choice(NAMES): chance.choice(VALUES)}, {}),
        properties=perhaps({chance.choice(NAMES): chance.choice(("1", "0", "true", "x", "1e22", "", "nan"))}, {}),
        stage=perhaps(chance.choice(list(Stage)), odds=0.1), scenario=perhaps("x", ""), during=span, upon=span is None and chance.random() < 0.5,
        code=perhaps(Code(chance.choice("st"), chance.choice(("", "e")), chance.choice("12"))), layer=perhaps("", odds=0.1),
    )  # fmt: skip


def test_the_same_is_found(stores: tuple[ObjectStore, ObjectStore]):
    chance = random.Random(5)
    full = 0
    for _ in range(250):
        wanted = a_filter(chance)
        as_of = AsOf(chance.choice(YEARS[1:]), chance.choice((None, None, chance.randrange(27))))
        pages = [store.query(wanted, as_of, None, 7) for store in stores]
        assert pages[0] == pages[1], wanted
        if cursor := pages[0].cursor:
            assert stores[0].query(wanted, as_of, cursor, 7) == stores[1].query(wanted, as_of, cursor, 7)
        full += bool(pages[0].items)
    assert full > 60, "questions that find something"


def test_the_same_is_told(stores: tuple[ObjectStore, ObjectStore]):
    """Whole histories, changes, columns, relations, counts."""
    ids = [derived_id(d.uid, "", key) for d in (TOWN, HILLS) for key in KEYS]

    def told(store: ObjectStore, at: AsOf) -> list[Any]:
        outline = [
            (i, b, part.class_ids[c], d)
            for part in store.outline("town", at)
            for i, b, c, d in zip(part.ids.tolist(), part.boxes.tolist(), part.classes.tolist(), part.digests.tolist(), strict=True)
        ]  # fmt: skip
        return [
            [store.history(i) for i in ids], store.read(ids, at, "x"), sorted(map(repr, outline)), list(store.log()), store.sources("town"),
            store.related(ids, as_of=at), store.related(ids, ["near"], inverse=True, as_of=at), store.scenarios("town"),
            store.class_counts("town", at), store.attribute_kinds("town", None, at), store.count(), store.count("hills"), list(store.duplicate_codes("town")),
            sorted(store.changed("town", 9).touched, key=lambda t: t.tim_id), store.changes("town", 5, 20).items,
            sorted((i, s.box) for i, s in store.standing([i.bytes for i in ids], at).items()),
            [sorted(v.tim_id for v in store.search(text, ["town", "hills"], 1000)) for text in ("1", "main", "Main", "MAIN ST", "älter", "Älter", "%_\\", "城")],
            sorted((UUID(bytes=i).hex, part.keys[s] if s >= 0 else None)
                   for part in store.origins("town", "") for i, s in zip(part.ids.tolist(), part.sources.tolist(), strict=True)),
        ]  # fmt: skip

    for at in (AsOf(), AsOf("2002-01-01"), AsOf("2003-06-01", 15)):
        for one, two in zip(told(stores[0], at), told(stores[1], at), strict=True):
            assert one == two
