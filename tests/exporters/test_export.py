"""What goes out and what is refused: versions, conditions, places, files that are there, disks that are full."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from exporters import geojsonseq
from exporters.cityjson import closed
from exporters.job import Options
from exporters.shapes import box_of
from tests.exporters.towns import CRS, SLUG, UID, current, export_to, town
from tim.errors import PlaceError, UsageError, WorkspaceError, is_warning, render
from tim.exchange import RESERVED, column_names, own_values, record_of
from tim.model import Code, ObjectRecord, Relation, Stage, derived_id
from tim.place import PlaceOptions
from tim.place.inverse import place_in, to_native
from tim.store import Changeset, ObjectVersion, Put, Retire
from tim.workspace import Workspace

HOUSE = derived_id(UID, "房屋", "H1")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.create(tmp_path / "workspace")
    town(made)
    return made


def features(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().replace(b"\x1e", b"").splitlines()]


def test_all_versions_go_out_those_of_retired_objects_too(workspace: Workspace, tmp_path: Path):
    with workspace.store() as store:
        store.apply(Changeset(SLUG, [Retire(derived_id(UID, "用地", "Y1"))]))
        house = current(store)[HOUSE].object
        store.apply(Changeset(SLUG, [Put(replace(house, scenario="plan", name="甲楼方案", tim_id=HOUSE))]))
        everything = {
            (str(v.tim_id), v.version)
            for tim_id in [*current(store), derived_id(UID, "用地", "Y1")]
            for v in store.history(tim_id)
        }
    export_to(workspace, tmp_path / "now.geojsonl")
    assert len(features(tmp_path / "now.geojsonl")) == 4
    done = export_to(workspace, tmp_path / "all.geojsonl", versions="all")
    found = [f["properties"] for f in features(tmp_path / "all.geojsonl")]
    assert {(p["tim_id"], p["version"]) for p in found} == everything
    assert done.objects == len(found) == len(everything)
    house_versions = [p for p in found if p["tim_id"] == str(HOUSE)]
    assert {p["name"] for p in house_versions} == {"甲楼", "甲楼改", "甲楼方案"}
    assert {p.get("scenario") for p in house_versions} == {None, "plan"}
    assert [p["class"] for p in found if "db_to" in p and p["tim_id"] != str(HOUSE)] == ["land.use"]
    export_to(workspace, tmp_path / "some.geojsonl", versions="all", class_id="building.house")
    assert {f["id"] for f in features(tmp_path / "some.geojsonl")} == {str(HOUSE)}
    assert len(features(tmp_path / "some.geojsonl")) == len(house_versions)
    export_to(workspace, tmp_path / "all.city.json", versions="all")
    names = json.loads((tmp_path / "all.city.json").read_text(encoding="utf-8"))["CityObjects"]
    assert {(o["attributes"]["tim"]["tim_id"], o["attributes"]["tim"]["version"]) for o in names.values()} == everything


def test_conditions_choose(workspace: Workspace, tmp_path: Path):
    for wanted, count in (({"class_id": "building"}, 2), ({"stage": Stage.AS_BUILT}, 1), ({"layer": "用地"}, 2)):
        assert export_to(workspace, tmp_path / "c.csv", overwrite=True, **wanted).objects == count
    with workspace.store() as store:
        box = current(store)[HOUSE].object.box
    assert export_to(workspace, tmp_path / "c.gpkg", box=box).objects == 1
    assert export_to(workspace, tmp_path / "none.gpkg", layer="no such").objects == 0
    assert export_to(workspace, tmp_path / "none.parquet", layer="no such").objects == 0
    assert export_to(workspace, tmp_path / "none.city.json", layer="no such").objects == 0


def test_what_a_format_cannot_hold_is_said(workspace: Workspace, tmp_path: Path):
    told = dict(export_to(workspace, tmp_path / "a.gpkg").problems)
    counts = {code: fields["count"] for code, fields in told.items()}
    assert counts == {"export.flattened": 2, "export.models": 1, "export.no-geometry": 1}
    for code, fields in told.items():
        assert is_warning(code)
        for language in ("en", "zh"):
            assert "{" not in render(code, fields, language)
    told = dict(export_to(workspace, tmp_path / "b.gpkg", Options(geometry="body")).problems)
    assert "export.flattened" not in told


def test_a_file_that_is_there_stays(workspace: Workspace, tmp_path: Path):
    out = tmp_path / "a.csv"
    out.write_text("mine")
    with pytest.raises(UsageError, match="already"):
        export_to(workspace, out)
    assert out.read_text() == "mine"
    export_to(workspace, out, overwrite=True)
    assert out.read_bytes().startswith(b"tim_id,class,")
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(UsageError):
        export_to(workspace, tmp_path / "b.csv", overwrite=True)


@pytest.mark.parametrize("name", ["a.csv", "a.geojsons", "a.gpkg", "a.parquet", "a.city.json"])
@pytest.mark.parametrize("fault", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_nothing_half_is_left(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fault: BaseException
):
    """Interrupted or out of disk after the first objects: what was there before stays, and nothing beside it."""
    from exporters import job as jobs

    def broken(*given: Any) -> Iterator[list[ObjectVersion]]:
        yield from whole(*given)
        raise fault

    whole = jobs.batches
    monkeypatch.setattr(jobs, "batches", broken)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / name).write_text("before")
    with pytest.raises(KeyboardInterrupt if isinstance(fault, KeyboardInterrupt) else WorkspaceError) as caught:
        export_to(workspace, folder / name, overwrite=True)
    if not isinstance(fault, KeyboardInterrupt):
        assert caught.value.code == "export.disk-full"
    assert [(item.name, item.read_text()) for item in folder.iterdir()] == [(name, "before")]


@pytest.mark.parametrize("name", ["a.csv", "a.gpkg", "a.parquet"])
def test_a_path_that_cannot_be_is_refused(workspace: Workspace, tmp_path: Path, name: str):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match=r"cannot be written"):
        export_to(workspace, tmp_path / "file" / name)


def test_options_a_format_does_not_have_are_refused(workspace: Workspace, tmp_path: Path):
    for options in (Options(CRS), Options(geometry="body")):
        with pytest.raises(UsageError):
            export_to(workspace, tmp_path / "a.geojsons", options)
    for crs in ("ENU:30,114", "nonsense"):
        with pytest.raises(PlaceError):
            export_to(workspace, tmp_path / "a.gpkg", Options(PlaceOptions(crs=crs)))
    assert not (tmp_path / "a.gpkg").exists()


def test_geoparquet_without_pyarrow_names_the_extra(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"\[parquet\]"):
        export_to(workspace, tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("crs", "vertical", "datum", "at"),
    [
        ("EPSG:28992", "+43.2m", "EPSG:15934", (4.36, 52.01)), ("EPSG:4547", "+12.5m", None, (114.0, 30.7)),
        ("EPSG:2263", "ellipsoid,us-ft", "EPSG:1188", (-74.0, 40.7)), ("EPSG:4978", None, None, (10.0, 50.0)), ("EPSG:32660", "ellipsoid", None, (179.9, 10.0)),
    ],
)  # fmt: skip
def test_the_way_back_is_the_way_there(crs: str, vertical: str | None, datum: str | None, at: tuple[float, float]):
    points = np.array(
        [[at[0] + dx, at[1] + dy, h] for dx in (-0.05, 0.0, 0.05) for dy in (-0.05, 0.05) for h in (-20.0, 300.0)]
    )
    place = place_in(PlaceOptions(crs=crs, vertical=vertical, datum=datum), points)
    there = place.to_ecef(to_native(place, points))
    from tim.place import ellipsoid

    assert np.abs(there - ellipsoid.to_ecef(points)).max() < 1e-5


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
JSON = st.recursive(st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | NAMES,
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6)  # fmt: skip


@given(
    st.dictionaries(
        NAMES.filter(lambda n: not n.startswith("attributes.")) | st.sampled_from(sorted(RESERVED)), JSON, max_size=6
    ),
    NAMES,
    NAMES,
)
def test_a_row_says_all_that_an_object_says(attributes: dict[str, Any], name: str, value: str):
    """Whatever attributes are called and hold: our own columns, with structures as JSON, give the object again."""
    record = ObjectRecord(
        "k", "building.house", name=name, layer="层", attributes=attributes, stage=Stage.PLANNED, scenario="s", valid_from="2020-01-01",
        codes=(Code("a", "b", value, None, "2021-01-01"),), relations=(Relation("partOf", HOUSE, "2020-01-01", None, value),), tim_id=HOUSE,
    )  # fmt: skip
    names = column_names(attributes)
    assert len({n.casefold() for n in names.values()} | {n.casefold() for n in RESERVED}) == len(names) + len(RESERVED)
    version = ObjectVersion(HOUSE, 3, SLUG, record, 9, "2026-01-01T00:00:00Z", None)
    plain = {k: v for k, v in attributes.items() if isinstance(v, str | int | float)}
    row = own_values(version, {k: v for k, v in attributes.items() if k not in plain})
    row = {k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in row.items()}
    assert record_of(row | {names[k]: v for k, v in plain.items()}) == record


@pytest.mark.parametrize("row", [{}, {"tim_id": "x"}, {"tim_id": str(HOUSE), "codes": "{"}, {"tim_id": str(HOUSE), "codes": "[1]"},
                                 {"tim_id": str(HOUSE), "relations": '[{"kind":"a","target":3}]'}, {"tim_id": str(HOUSE), "stage": "?"},
                                 {"tim_id": str(HOUSE), "attributes": "[]"}])  # fmt: skip
def test_a_damaged_row_is_no_object(row: dict[str, Any]):
    with pytest.raises(ValueError):  # noqa: PT011  whatever the reason
        record_of(row)


def test_boxes_are_what_they_hold():
    assert box_of((1, 2, 3, 1, 2, 9)).geom_type == "Point"
    assert box_of((1, 2, 3, 4, 2, 9)).geom_type == "LineString"
    assert box_of((1, 2, 3, 4, 5, 9)).bounds == (1, 2, 4, 5)
    assert shapely.get_coordinates(box_of((179, 2, 3, -179, 5, 9)))[:, 0].max() == 181


def test_over_the_antimeridian_an_area_is_cut():
    from exporters.shapes import _unwrapped

    shapes = np.array([box_of((179, 2, 3, -179, 5, 9)), None], object)
    (cut, nothing) = _unwrapped(shapes).tolist()
    assert nothing is None
    assert sorted(part.bounds for part in cut.geoms) == [(-180, 2, -179, 5), (179, 2, 180, 5)]


def test_shells_close_or_do_not():
    faces = [[[0, 3, 2, 1]], [[4, 5, 6, 7]], [[0, 1, 5, 4]], [[1, 2, 6, 5]], [[2, 3, 7, 6]], [[3, 0, 4, 7]]]
    assert closed(faces)
    assert not closed(faces[1:])
    assert not closed([[[0, 1, 2, 3]], *faces[1:]])
    assert not closed([*faces, *[[[i + 8 for i in ring] for ring in face] for face in faces]])


def test_a_feature_is_json():
    assert json.loads(geojsonseq.feature("x", None, {"a": "\x1e"}))["properties"] == {"a": "\x1e"}
