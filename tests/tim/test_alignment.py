"""The same thing from two sources: scores against plain arithmetic, codes, footprints, what is accepted and rejected."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importers import ImportContext, cityjson
from importers.plan import place_of
from tim.alignment import (
    Proposal,
    Reason,
    accept,
    best,
    class_agreement,
    height_agreement,
    propose,
    reject,
    score,
    settle,
)
from tim.errors import UsageError
from tim.model import Blob, Code, ObjectRecord, Representation, derived_id
from tim.place import FoundCrs, PlaceOptions, resolve
from tim.shape import FORMAT, Polygon, build
from tim.store import Changeset, Put, Retire
from tim.store.contract.samples import HILLS, TOWN, some
from tim.store.sqlite import SqliteStore

DUTCH = PlaceOptions(crs="EPSG:28992", vertical="ellipsoid", datum="EPSG:15934", override_vertical=True)


def make_store(folder: Path) -> SqliteStore:
    store = SqliteStore.create(folder / "store.sqlite")
    store.put_dataset(TOWN)
    store.put_dataset(HILLS)
    return store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with make_store(tmp_path) as store:
        yield store


def give(store: SqliteStore, dataset: str, *records: ObjectRecord) -> None:
    store.apply(Changeset(dataset, [Put(record) for record in records]))


def id_of(key: str, dataset: Any = TOWN) -> UUID:
    return derived_id(dataset.uid, "", key)


def house(
    key: str,
    *,
    x: float = 120.0,
    y: float = 30.0,
    size: float = 0.0002,
    bottom: float = 0.0,
    top: float = 10.0,
    **fields: Any,
) -> ObjectRecord:
    return ObjectRecord(
        key, fields.pop("class_id", "building"), name=key, box=(x, y, bottom, x + size, y + size, top), **fields
    )


# The formula


def test_the_formula():
    assert score(1.0, 1.0, 1.0) == pytest.approx(1.0)
    assert score(0.5, 0.5, 1.0) == pytest.approx(0.5)
    assert score(1.0, None, 1.0) == pytest.approx(0.85)
    assert score(1.0, 1.0, 0.8) == pytest.approx(0.8)
    assert class_agreement("building", "building.house") == class_agreement("building.house", "building") == 1.0
    assert class_agreement("building.house", "building.part") == 0.8
    assert class_agreement("building", "buildings") == 0.0
    assert height_agreement((0, 0, 0, 1, 1, 10), (0, 0, 5, 1, 1, 15)) == pytest.approx(1 / 3)
    assert height_agreement((0, 0, 0, 1, 1, 1), (0, 0, 5, 1, 1, 6)) == 0.0
    assert height_agreement((0, 0, 0, 1, 1, 0), (0, 0, 0, 1, 1, 9)) is None


_PLACES = st.tuples(
    st.sampled_from([119.9999, 120.0, 120.0095, 179.9999, -179.99995, -180.0]), st.sampled_from([-0.0001, 0.0, 29.99995]), st.sampled_from([0.0001, 0.0002, 0.0003]),
    st.sampled_from([0.0, 4.0]), st.sampled_from([0.0, 4.0, 9.0]), st.sampled_from(["building", "building.house", "building.part", "land.use"]),
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(_PLACES, max_size=6), st.lists(_PLACES, max_size=6), st.sampled_from([0.0, 0.3, 0.6]))
def test_proposals_against_plain_arithmetic(ours: list[Any], theirs: list[Any], least: float):
    """All pairs by their boxes, across cells and the antimeridian, with scores by the formula; each once."""
    with TemporaryDirectory() as folder, make_store(Path(folder)) as store:
        for dataset, places in (("town", ours), ("hills", theirs)):
            give(store, dataset, *(
                ObjectRecord(f"{i}", c, box=(x, y, b, x + s if x + s <= 180 else x + s - 360, y + s, b + h)) for i, (x, y, s, b, h, c) in enumerate(places)
            ))  # fmt: skip
        expected = {}
        for (i, one), (j, two) in itertools.product(enumerate(ours), enumerate(theirs)):
            apart = (two[0] - one[0] + 180) % 360 - 180
            along = max(0.0, min(one[2], apart + two[2]) - max(0.0, apart))
            across = max(0.0, min(one[1] + one[2], two[1] + two[2]) - max(one[1], two[1]))
            shared = along * across / (one[2] ** 2 + two[2] ** 2 - along * across)
            low, high = max(one[3], two[3]), min(one[3] + one[4], two[3] + two[4])
            span = max(one[3] + one[4], two[3] + two[4]) - min(one[3], two[3])
            heights = 0.5 if not (one[4] and two[4]) else max(0.0, high - low) / span
            domains = {c.split(".")[0] for c in (one[5], two[5])}
            related = (
                0.0 if len(domains) == 2 else 0.8 if {one[5], two[5]} == {"building.house", "building.part"} else 1.0
            )
            value = related * (0.7 * shared + 0.3 * heights)
            if related and shared >= 0.1 and abs(value - least) > 1e-6 and value >= least:
                expected[id_of(f"{i}"), id_of(f"{j}", HILLS)] = value
        found = [p for p in propose(store, "town", "hills", least=least) if abs(p.score - least) > 1e-6]
        assert {(p.a, p.b): pytest.approx(p.score, abs=1e-6) for p in found} == expected
        assert len(found) == len(expected)


# Codes


def test_codes(store: SqliteStore):
    """Scheme and value, edition where both state it, valid now; once for each pair, before everything else."""
    unit = Code("cn.real-estate-unit", "GB/T 37346-2019", "340123002004GB00011F00010001")
    give(
        store, "town", house("a", codes=(unit, Code("local", "", "7"))), house("b", x=121, codes=(replace(unit, valid_to="1990-01-01"),)),
        house("c", x=122, codes=(Code("local", "1", "9"),)), house("d", x=123),
    )  # fmt: skip
    give(
        store, "hills", house("a", x=50, codes=(replace(unit, edition=""), Code("local", "", "7"))), house("c", x=51, codes=(Code("local", "2", "9"),)),
        house("e", x=52, codes=(unit,)), house("f", x=53, codes=(Code("other", "", "7"),)),
    )  # fmt: skip
    found = {(p.a, p.b): p for p in propose(store, "town", "hills")}
    assert set(found) == {(id_of("a"), id_of("a", HILLS)), (id_of("a"), id_of("e", HILLS))}
    pair = found[id_of("a"), id_of("a", HILLS)]
    assert pair.score == 1.0
    assert [r.value for r in pair.reasons] == [f"{unit.scheme} {unit.edition} {unit.value}", "local 7"]


def test_a_pair_with_a_code_is_proposed_once(store: SqliteStore):
    code = Code("s", "", "1")
    give(store, "town", house("a", codes=(code,)))
    give(store, "hills", house("a", codes=(code,)))
    (found,) = propose(store, "town", "hills")
    assert [r.kind for r in found.reasons] == ["code"]


# Footprints


def test_footprints_count_and_not_boxes(store: SqliteStore):
    """An L fills three quarters of its box; a square that fills the box agrees with it by so much."""
    corners = np.array([[0, 0], [20, 0], [20, 10], [10, 10], [10, 20], [0, 20]], float)
    place = resolve(
        FoundCrs("EPSG:4547"),
        PlaceOptions(vertical="ellipsoid"),
        np.array([500_000.0, 3_400_000, 0]),
        np.array([500_100.0, 3_400_100, 9]),
    )
    square = np.array([[0, 0], [20, 0], [20, 20], [0, 20]], float)
    built = build(
        [
            [Polygon([np.column_stack([c + [500_000, 3_400_000], np.zeros(len(c))])], "GroundSurface")]
            for c in (corners, square)
        ],
        place,
    )
    for dataset, shape in zip(("town", "hills"), built, strict=True):
        content = store.put_blob(shape.blob)
        give(
            store,
            dataset,
            ObjectRecord(
                "a", "building", box=shape.box, representations=(Representation("footprint", "", FORMAT, content),)
            ),
        )
    (found,) = propose(store, "town", "hills")
    assert found.score == pytest.approx(0.7 * 0.75 + 0.15, abs=1e-3)
    assert [(r.kind, r.value) for r in found.reasons] == [("footprint", pytest.approx(0.75, abs=1e-3)), ("class", 1.0)]


def test_real_buildings_find_themselves(store: SqliteStore, real_data: Path):
    """A delivery under other keys: every building is proposed with its twin above all others."""
    path = real_data / "city" / "cityjson" / "rotterdam" / "rotterdam_subset.json"
    (probe,) = cityjson.probe(path)
    context = ImportContext(place_of(probe, DUTCH, PlaceOptions()), "", {}, TOWN.uid)
    items = list(cityjson.read(probe, context))
    for blob in items:
        if isinstance(blob, Blob):
            store.put_blob(blob.data)
    records = [replace(r, layer="", tim_id=None, codes=(), relations=()) for r in items if isinstance(r, ObjectRecord)]
    give(store, "town", *records)
    give(store, "hills", *(replace(r, source_key=f"other/{r.source_key}") for r in records))
    best: dict[UUID, Proposal] = {}
    for found in propose(store, "town", "hills", least=0.3):
        if found.a not in best or found.score > best[found.a].score:
            best[found.a] = found
    solid = [r for r in records if r.box and r.class_id.startswith("building") and r.box[5] - r.box[2] > 1]
    assert len(solid) == 16
    for record in solid:
        assert best[id_of(record.source_key)].score == pytest.approx(1.0, abs=1e-6)
        assert best[id_of(record.source_key)].b == id_of(f"other/{record.source_key}", HILLS)


# Settling


def test_what_is_settled_is_not_proposed_again(store: SqliteStore):
    give(store, "town", house("a"), house("b", x=121))
    give(store, "hills", house("a"), house("b", x=121))
    one, two = sorted(propose(store, "town", "hills"), key=lambda p: some(store.get(p.a)).object.name)
    accept(store, one, "me")
    (relation,) = some(store.get(one.a)).object.relations
    assert (relation.kind, relation.target) == ("represents", one.b)
    assert relation.evidence == "alignment score 1.000; footprint 1.000; height 1.000; class 1.000"
    assert next(store.log()).author == "me"
    assert [(p.a, p.b) for p in propose(store, "town", "hills")] == [(two.a, two.b)]
    reject(store, two, "me", "two houses in one yard")
    (relation,) = some(store.get(two.a)).object.relations
    assert (relation.kind, relation.evidence.split("; ")[-1]) == ("distinctFrom", "rejected: two houses in one yard")
    assert list(propose(store, "town", "hills")) == list(propose(store, "hills", "town")) == []
    assert accept(store, one).unchanged == 1
    assert store.related([one.b], inverse=True)[0].source == one.a


def test_many_at_once(store: SqliteStore):
    """One changeset, upon what the objects say by then; an object may have several words said of it."""
    give(store, "town", *(house(f"{n}", x=120 + n / 100) for n in range(1200)))
    give(store, "hills", *(house(f"{n}", x=120 + n / 100) for n in range(1200)), house("twin", x=120.0, top=9.0))
    found = list(propose(store, "town", "hills"))
    assert len(found) == 1201
    (twin,) = (p for p in found if p.b == id_of("twin", HILLS))
    give(store, "town", replace(house("7", x=120.07), name="changed"))
    before = store.seq
    done = settle(store, [p for p in found if p != twin], [twin], "me", "whole town", why="torn down")
    assert (done.seq, done.updated) == (before + 1, 1200)
    seventh, first = (some(store.get(id_of(key))).object for key in ("7", "0"))
    assert (seventh.name, [r.kind for r in seventh.relations]) == ("changed", ["represents"])
    assert [r.kind for r in first.relations] == ["represents", "distinctFrom"]
    assert first.relations[1].evidence.endswith("; rejected: torn down")
    assert list(propose(store, "town", "hills")) == []


def test_the_best_of_both():
    """Each the other's one best: neither the second best nor one of equals."""
    a, b, c, d = (UUID(int=n) for n in range(4))
    x, y, z, w = (UUID(int=n) for n in range(10, 14))
    scores = {
        (a, x): 0.9, (a, y): 0.8, (b, x): 0.7, (b, y): 0.95, (c, z): 0.9, (c, w): 0.9, (d, z): 0.6, (d, w): 0.3,
    }  # fmt: skip
    proposals = [Proposal(one, other, value, ()) for (one, other), value in scores.items()]
    assert [(p.a, p.b) for p in best(proposals, 0.5)] == [(a, x), (b, y)]
    assert [(p.a, p.b) for p in best(proposals, 0.92)] == [(b, y)]
    assert [(p.a, p.b) for p in best([p for p in proposals if p.a != c], 0.5)] == [(a, x), (b, y), (d, z)]
    assert best([], 0.0) == []


def test_nothing_is_merged_unasked(store: SqliteStore):
    give(store, "town", house("a"))
    give(store, "hills", house("a"))
    assert len(list(propose(store, "town", "hills"))) == 1
    assert store.seq == 2


def test_refusals(store: SqliteStore):
    give(store, "town", house("a"))
    give(store, "hills", house("a"))
    with pytest.raises(UsageError) as caught:
        list(propose(store, "town", "town"))
    assert caught.value.code == "alignment.same-dataset"
    with pytest.raises(UsageError):
        list(propose(store, "town", "twon"))
    (found,) = propose(store, "town", "hills")
    store.apply(Changeset("hills", [Retire(found.b)]))
    for verb in (accept, reject):
        with pytest.raises(UsageError) as gone:
            verb(store, found)
        assert (gone.value.code, gone.value.fields["object"]) == ("alignment.gone", str(found.b))
    assert Proposal(found.a, found.b, 0.5, (Reason("code", "s 1"),)).evidence == "alignment score 0.500; code s 1"
