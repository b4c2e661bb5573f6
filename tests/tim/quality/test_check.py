"""Checks over a store: each finds what is wrong, and nothing where nothing is."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tim.classes import Registry, shipped
from tim.errors import UsageError
from tim.model import Code, ObjectRecord, Relation, Representation, Stage, derived_id
from tim.place import Datum, Height, Place
from tim.quality import CHECKS, DatasetRecord, Report, check, put_record, to_html, write_page
from tim.quality.geometry import problems
from tim.shape import Polygon, build
from tim.store import Changeset, ObjectStore, Put, Retire
from tim.store.contract.samples import TOWN, put
from tim.store.sqlite import SqliteStore
from tim.workspace import Workspace

GB = "GB/T 37346-2019"
PLACE = Place(crs="EPSG:4979", height=Height("ellipsoid", "ellipsoid"), datum=Datum("equivalent", "WGS 84", 0.0))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    with SqliteStore.create(tmp_path / "store.sqlite") as store:
        store.put_dataset(TOWN)
        yield store


def record(key: str, class_id: str = "land.other", **said: object) -> ObjectRecord:
    return replace(ObjectRecord(key, class_id), **said)  # type: ignore[arg-type]


def id_of(key: str) -> UUID:
    return derived_id(TOWN.uid, "", key)


def found(report: Report) -> dict[str, int]:
    return {f.code: f.count for f in report.findings}


def named(report: Report, code: str) -> list[str]:
    return [e.where for f in report.findings if f.code == code for e in f.examples]


def checked(store: ObjectStore, *records: ObjectRecord, registry: Registry | None = None) -> Report:
    put(store, *records)
    return check(store, "town", registry or shipped())


def box(
    height: float = 10.0, base: float = 5.0, lon: float = 120.5, lat: float = 30.5
) -> tuple[float, float, float, float, float, float]:
    return (lon, lat, base, lon + 0.0001, lat + 0.0001, base + height)


def block(lon: float = 120.5, lat: float = 30.5, *, top: bool = True, crossed: bool = False) -> list[Polygon]:
    """A box of about 10 m; without its roof it is open. ``crossed``: its roof crosses itself."""
    s = 1e-4
    low = np.array([[lon, lat, 0], [lon + s, lat, 0], [lon + s, lat + s, 0], [lon, lat + s, 0.0]])
    high = low + [0, 0, 10]
    walls = [
        Polygon([np.array([low[i], low[(i + 1) % 4], high[(i + 1) % 4], high[i]])], "WallSurface") for i in range(4)
    ]
    roof = [Polygon([high], "RoofSurface")] if top else []
    if crossed:
        roof = [Polygon([np.array([high[0], high[2] + [s, s, 0], high[1] + [s, 0, 0], high[3]])], "RoofSurface")]
    return [Polygon([low[::-1]], "GroundSurface"), *walls, *roof]


def shaped(
    store: ObjectStore, key: str, patches: list[Polygon], class_id: str = "building.house", role: str = "body"
) -> ObjectRecord:
    made = build([patches], PLACE)[0]
    content = store.put_blob(made.blob)
    return record(key, class_id, box=made.box, representations=(Representation(role, "2", "tim-shape", content),))


def test_nothing_is_found_where_nothing_is_wrong(store: ObjectStore):
    good = record(
        "a", "planning.plot", attributes={"territorialUse": "05", "area": 12.5, "own": [1]}, box=box(),
        codes=(Code("cn.real-estate-unit", GB, "340123002004GB00011F00010001"), Code("cn.space-identity", "", "x")),
        relations=(Relation("partOf", id_of("b"), "2020-01-01", "2021-01-01"), Relation("partOf", id_of("b"), "2021-01-01")),
    )  # fmt: skip
    report = checked(store, good, shaped(store, "b", block()))
    assert found(report) == {}
    assert (report.errors, report.warnings, report.objects) == (0, 0, 2)
    assert report.checks == [name for name in CHECKS if name != "extent"]


def test_classes_and_attributes(store: ObjectStore):
    report = checked(
        store,
        record("a", "water.thing"),
        record("b", "geology.borehole"),
        record("c", "geology.borehole", attributes={"depth": "12 m"}),
        record("d", "geology.borehole", attributes={"depth": 12, "drilled": "2020-13-01"}),
        record("e", "planning.plot", attributes={"territorialUse": "0799"}),
        record("f", "pipeline.pipe.gas.main", attributes={"pressure": True}),
        record("g", "geology.borehole", attributes={"depth": None}),
    )
    assert found(report) == {
        "quality.unknown-class": 2, "quality.missing": 2, "quality.wrong-type": 3, "quality.not-in-part": 1,
    }  # fmt: skip
    assert set(named(report, "quality.missing")) == {"b", "g"}
    assert set(named(report, "quality.wrong-type")) == {"c", "d", "f"}
    assert set(named(report, "quality.unknown-class")) == {"a", "f"}


def test_a_complete_list_forbids_what_it_lacks(store: ObjectStore, tmp_path: Path):
    folder = tmp_path / "classes"
    folder.mkdir()
    (folder / "own.toml").write_text(
        '"land.other" = { attributes.line = {type = "text", list = "tim.control-line@1", required = true, en = "L", zh = "线"} }',
        encoding="utf-8",
    )
    from tim import classes

    registry = Registry.load([Path(classes.__file__).parent, folder])
    report = checked(
        store,
        record("a", attributes={"line": "ecology"}),
        record("b", attributes={"line": "lake"}),
        record("c"),
        registry=registry,
    )
    assert found(report) == {"quality.not-in-list": 1, "quality.missing": 1}
    assert named(report, "quality.not-in-list") == ["b"]


def test_codes(store: ObjectStore):
    unit = Code("cn.real-estate-unit", GB, "340123002004GB00011F00010001")
    report = checked(
        store,
        record("a", codes=(unit,)),
        record("b", codes=(unit,)),
        record("c", codes=(replace(unit, value="340123002004GB00011"),)),
        record("d", codes=(Code("cn.land-use", "2023", "05"),)),
        record("e", codes=(replace(unit, edition="other"), Code("own.scheme", "", "1"))),
    )
    assert found(report) == {
        "codes.unit-length": 1, "codes.unknown-edition": 2, "codes.unknown-scheme": 1, "quality.duplicate-code": 1,
    }  # fmt: skip
    duplicate = next(f for f in report.findings if f.code == "quality.duplicate-code")
    assert {str(id_of("a")), str(id_of("b"))} == set(duplicate.examples[0].fields["objects"].split(", "))
    assert (report.errors, report.warnings) == (2, 3)


def test_open_bodies_and_crossing_roofs(store: ObjectStore):
    report = checked(
        store,
        shaped(store, "closed", block()),
        shaped(store, "open", block(top=False)),
        shaped(store, "road", block(120.6, top=False), "transport.road"),
        shaped(store, "crossed", block(120.7, crossed=True), "land.other"),
    )
    assert found(report) == {"quality.unclosed": 1, "quality.self-intersection": 1}
    assert named(report, "quality.unclosed") == ["open"]
    assert named(report, "quality.self-intersection") == ["crossed"]
    assert next(f for f in report.findings if f.code == "quality.unclosed").examples[0].fields["edges"] == 4


def test_shapes_that_are_not_there_or_not_shapes(store: ObjectStore):
    good = shaped(store, "good", block())
    broken = store.get_blob(good.representations[0].content) or b""
    cut = store.put_blob(broken[:-1])
    wild = bytearray(broken)
    wild[64 + 8 * 12 : 64 + 8 * 12 + 4] = b"\xff\xfe\xff\xfe"  # vertices that there are not
    report = checked(
        store, good,
        record("cut", representations=(Representation("body", "", "tim-shape", cut),)),
        record("wild", representations=(Representation("body", "", "tim-shape", store.put_blob(bytes(wild))),)),
        record("gone", representations=(Representation("body", "", "tim-shape", "ab" * 32),)),
    )  # fmt: skip
    assert found(report) == {"quality.bad-shape": 2, "quality.no-shape": 1}
    assert named(report, "quality.no-shape") == ["gone"]


def test_one_shape_of_many_objects_is_told_of_each(store: ObjectStore):
    one = shaped(store, "a", block(top=False))
    report = checked(store, one, replace(one, source_key="b"), replace(one, source_key="c", class_id="transport.road"))
    assert set(named(report, "quality.unclosed")) == {"a", "b"}


@settings(max_examples=150)
@given(st.data())
def test_any_bytes_are_looked_at_or_refused(data: st.DataObject):
    """A damaged shape changes nothing of what is said of its neighbours."""
    closed, open_ = (built.blob for built in build([block(), block(120.6, top=False)], PLACE))
    broken = bytearray(open_)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        broken[32:56] = struct.pack("<3d", *data.draw(st.lists(st.floats(), min_size=3, max_size=3)))
    told = list(problems([closed, bytes(broken), open_], [True] * 3))
    assert [problem for number, problem in told if number == 0] == []
    assert [problem for number, problem in told if number == 2] == [("quality.unclosed", {"edges": 4})]


def test_stated_extent(store: ObjectStore):
    put_record(store, "town", DatasetRecord("Town", "Bureau", extent=(120.0, 30.0, 0.0, 121.0, 31.0, 100.0)))
    report = checked(
        store,
        record("in", box=box()),
        record("east", box=box(lon=121.0)),
        record("deep", box=box(base=-1.0)),
        record("none"),
    )
    assert found(report) == {"quality.outside": 2}
    assert set(named(report, "quality.outside")) == {"east", "deep"}
    assert "extent" in report.checks
    assert report.record is not None


def test_extent_across_the_antimeridian(store: ObjectStore):
    put_record(store, "town", DatasetRecord("Fiji", "Bureau", extent=(177.0, -20.0, -1e9, -178.0, -15.0, 1e9)))
    report = checked(
        store,
        record("west", box=(178.0, -18.0, 0.0, 179.0, -17.0, 1.0)),
        record("over", box=(179.5, -18.0, 0.0, -179.5, -17.0, 1.0)),
        record("east", box=(-179.0, -18.0, 0.0, -178.5, -17.0, 1.0)),
        record("beyond", box=(-179.0, -18.0, 0.0, -177.5, -17.0, 1.0)),
        record("around", box=(-178.5, -18.0, 0.0, 177.5, -17.0, 1.0)),
    )
    assert set(named(report, "quality.outside")) == {"beyond", "around"}


def test_height_outliers(store: ObjectStore):
    rng = random.Random(4)
    usual = [
        record(f"h{i}", "building.house", box=box(rng.lognormvariate(2.5, 0.5), rng.gauss(5, 2))) for i in range(200)
    ]
    report = checked(
        store, *usual,
        record("tower", "building.house", box=box(120)),
        record("millimetres", "building.house", box=box(12000)),
        record("flat", "building.house", box=box(0)),
        record("sunk", "building.house", box=box(10, -3000)),
        record("tree", "vegetation.tree", box=box(12000)),
    )  # fmt: skip
    assert found(report) == {"quality.height": 1, "quality.base": 1}
    ids = {f.code: f.examples[0].tim_id for f in report.findings}
    assert ids == {"quality.height": id_of("millimetres"), "quality.base": id_of("sunk")}


def test_relations(store: ObjectStore):
    put(store, record("ended", valid_from="2001-01-01"), record("b"), record("planned", scenario="east"))
    store.apply(Changeset("town", [Retire(id_of("ended"), valid_to="2020-01-01")]))
    report = checked(
        store,
        record("a", relations=(
            Relation("partOf", id_of("b")), Relation("partOf", id_of("never")), Relation("partOf", id_of("ended")),
            Relation("partOf", id_of("planned")),
        )),
        record("c", relations=(
            Relation("partOf", id_of("b"), "2020-01-01", "2022-01-01"), Relation("partOf", id_of("b"), "2021-01-01"),
            Relation("locatedIn", id_of("b"), "2021-01-01"),
        )),
    )  # fmt: skip
    assert found(report) == {"quality.no-target": 1, "quality.target-ended": 1, "quality.relation-overlaps": 1}
    assert named(report, "quality.relation-overlaps") == ["c"]


def test_stages_that_go_back(store: ObjectStore):
    steps = [("a", Stage.PLANNED, Stage.PERMITTED), ("b", Stage.PERMITTED, Stage.PLANNED)]
    for key, first, then in steps:
        put(store, record(key, stage=first, valid_from="2020-01-01", valid_to="2021-01-01"))
        put(store, record(key, stage=then, valid_from="2021-01-01"))
    report = check(store, "town", shipped())
    assert found(report) == {"quality.stage-backwards": 1}
    assert named(report, "quality.stage-backwards") == ["b"]


def test_scenarios_and_other_times_are_looked_at(store: ObjectStore):
    report = checked(
        store,
        record("future", "no.such", valid_from="2999-01-01"),
        record("past", "no.such", valid_from="1999-01-01", valid_to="2000-01-01"),
        record("other", "no.such", scenario="east"),
    )
    assert set(named(report, "quality.unknown-class")) == {"future", "past", "other"}
    assert report.objects == 3


def test_examples_are_few_and_the_report_is_the_same_each_time(store: ObjectStore, tmp_path: Path):
    put(store, *(record(f"k{i}", "no.such", layer="层") for i in range(2500)))
    seen: list[int] = []
    report = check(store, "town", shipped(), progress=seen.append)
    assert seen == [1000, 2000, 2500]
    one = report.findings[0]
    assert (one.count, len(one.examples)) == (2500, 100)
    assert report == check(store, "town", shipped())
    text = json.dumps(report.to_json(), ensure_ascii=False)
    assert "层#k" in text
    assert json.loads(text)["findings"][0]["examples"][0]["text"]["zh"].startswith("类别")


def test_only_the_checks_asked_for_are_made(store: ObjectStore):
    put(store, record("a", "no.such", codes=(Code("own", "", "1"),)))
    assert found(check(store, "town", shipped(), ["codes"])) == {"codes.unknown-scheme": 1}
    with pytest.raises(UsageError, match="duplicates"):
        check(store, "town", shipped(), ["everything"])
    with pytest.raises(UsageError):
        check(store, "nowhere", shipped())


def test_the_page(store: ObjectStore, tmp_path: Path):
    put_record(store, "town", DatasetRecord("Town <b>", "局", currency="2025-01-01"))
    report = checked(store, record("<script>", "no.such"))
    workspace = Workspace.create(tmp_path / "w")
    path = write_page(workspace, report, "zh")
    page = path.read_text(encoding="utf-8")
    assert path.name == "check-town.html"
    assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) == json.loads(json.dumps(report.to_json()))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "类别“no.such”不在类别表中" in page
    assert "2025-01-01" in page
    assert page == to_html(report, "zh") != to_html(report, "en")
    assert "is not in the registry" in to_html(report, "en")


@pytest.mark.usefixtures("store")
def test_put_is_what_the_dataset_says(store: ObjectStore):
    store.apply(Changeset("town", [Put(record("a"))]))
    put_record(store, "town", DatasetRecord("Town", "Bureau"))
    assert store.dataset("town").settings["attributes"] == ["owner"]
