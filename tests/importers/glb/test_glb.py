"""Placed models: what is taken, where it lies, what is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod

from importers import glb
from importers.glb import planned_model
from importers.gltf import EXTENSIONS, examine
from importers.plan import Options, make_plan
from importers.run import run_import
from importers.walk import probe as walk
from tests.validator import gltf_errors
from tim.errors import SourceError, TimError, UsageError
from tim.model import Stage, dataset_uid, derived_id
from tim.place.resolve import PlaceOptions
from tim.store import Filter
from tim.workspace import Workspace

AT = (114.3, 30.5, 21.0)
UID = dataset_uid("plans")


def packed(document: dict[str, Any], binary: bytes = b"") -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<2I", len(text), 0x4E4F534A) + text
    if binary:
        binary += b"\0" * (-len(binary) % 4)
        chunks += struct.pack("<2I", len(binary), 0x004E4942) + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def box_document(
    low: tuple[float, float, float] = (0, 0, 0), high: tuple[float, float, float] = (10, 30, 20)
) -> tuple[dict[str, Any], bytes]:
    """A box from ``low`` to ``high`` in glTF's axes: x right, y up, z towards the viewer."""
    corners = np.array(
        [[(low, high)[i][0], (low, high)[j][1], (low, high)[k][2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)],
        "<f4",
    )
    faces = np.array(
        [
            [0, 1, 3],
            [0, 3, 2],
            [4, 6, 7],
            [4, 7, 5],
            [0, 4, 5],
            [0, 5, 1],
            [2, 3, 7],
            [2, 7, 6],
            [0, 2, 6],
            [0, 6, 4],
            [1, 5, 7],
            [1, 7, 3],
        ],
        "<u2",
    )
    binary = corners.tobytes() + faces.tobytes()
    return {
        "asset": {"version": "2.0", "generator": "test"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3", "min": list(low), "max": list(high)},
            {"bufferView": 1, "componentType": 5123, "count": 36, "type": "SCALAR"},
        ],
        "bufferViews": [{"buffer": 0, "byteLength": 96, "target": 34962}, {"buffer": 0, "byteOffset": 96, "byteLength": 72, "target": 34963}],
        "buffers": [{"byteLength": 168}],
    }, binary  # fmt: skip


def house(**changes: Any) -> bytes:
    document, binary = box_document()
    return packed({**document, **changes}, binary)


def metres(box: tuple[float, ...] | None) -> tuple[float, float, float, float, float, float]:
    """West, south, bottom, east, north, top of a box about AT, along the ellipsoid: a second way to the same numbers."""
    assert box is not None
    geod = Geod(ellps="WGS84")

    def along(lon: float, lat: float) -> float:
        forward, _, distance = geod.inv(AT[0], AT[1], lon, lat)
        return distance if abs(forward) < 1 or abs(forward - 90) < 1 else -distance

    west, south, bottom, east, north, top = box
    return along(west, AT[1]), along(AT[0], south), bottom - AT[2], along(east, AT[1]), along(AT[0], north), top - AT[2]


def test_the_sample_is_sound(tmp_path: Path):
    (tmp_path / "a.glb").write_bytes(house())
    assert gltf_errors(tmp_path) == []


@pytest.mark.parametrize(
    ("heading", "scale", "wanted"),
    [
        (0, 1.0, (0, -20, 0, 10, 0, 30)),  # glTF's z is towards the viewer: south
        (90, 1.0, (-20, -10, 0, 0, 0, 30)),  # clockwise: what lay east lies south, what lay south lies west
        (180, 1.0, (-10, 0, 0, 0, 20, 30)),
        (0, (2, 3, 0.5), (0, -60, 0, 20, 0, 15)),
    ],
)
def test_where_it_stands(heading: float, scale: Any, wanted: tuple[float, ...]):
    record, (blob,) = planned_model(house(), "house.glb", AT, heading, scale, "plan-a", UID)
    assert metres(record.box) == pytest.approx(wanted, abs=0.02)
    (shown,) = record.representations
    assert (shown.role, shown.format, shown.content) == ("model", "glb", blob.content)
    assert shown.properties["at"] == list(AT)
    assert shown.properties.get("heading", 0) == heading
    assert (record.class_id, record.stage, record.scenario, record.name) == (
        "planning.scheme",
        Stage.PLANNED,
        "plan-a",
        "house",
    )
    assert record.tim_id == derived_id(UID, "", "house.glb")
    assert record.attributes["triangles"] == 12


def test_nodes_move_turn_and_scale():
    document, binary = box_document()
    turn = {
        "rotation": [0, float(np.sqrt(0.5)), 0, float(np.sqrt(0.5))],
        "scale": [2, 2, 2],
        "translation": [100, 0, 0],
    }
    document |= {"nodes": [{"children": [1], **turn}, {"mesh": 0}]}
    found = examine(packed(document, binary), "x")
    np.testing.assert_allclose((found.low, found.high), [(100, 0, -20), (140, 60, 0)], atol=1e-4)
    document["nodes"] = [{"children": [1], "matrix": [0, 0, -2, 0, 0, 2, 0, 0, 2, 0, 0, 0, 100, 0, 0, 1]}, {"mesh": 0}]
    again = examine(packed(document, binary), "x")
    np.testing.assert_allclose((again.low, again.high), (found.low, found.high), atol=1e-4)


def test_quantized_positions():
    document, binary = box_document()
    document["accessors"][0] |= {
        "componentType": 5122,
        "normalized": True,
        "min": [-32767, 0, 0],
        "max": [32767, 16384, 32767],
    }
    document |= {"extensionsRequired": ["KHR_mesh_quantization"], "nodes": [{"mesh": 0, "scale": [10, 10, 10]}]}
    found = examine(packed(document, binary), "x")
    np.testing.assert_allclose((found.low, found.high), [(-10, 0, 0), (10, 5, 10)], atol=1e-3)


def without(*path: Any) -> bytes:
    document, binary = box_document()
    inner: Any = document
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return packed(document, binary)


REFUSED = {
    "glb.not-glb": [b"", b"glTF", b"no model at all, but text", b"\0" * 64],
    "glb.version-1": [struct.pack("<4s4I", b"glTF", 1, 20, 0, 0), house(asset={"version": "1.0"})],
    "glb.cut-off": [house()[:-4], house() + b"more", house()[:60]],
    "glb.other-file": [house(buffers=[{"byteLength": 168, "uri": "../../etc/passwd"}]), house(images=[{"uri": "http://x/y.png"}])],
    "glb.extension": [house(extensionsRequired=["KHR_techniques_webgl"])],
    "glb.no-geometry": [house(nodes=[{}]), house(scenes=[{}])],
    "glb.no-bounds": [without("accessors", 0, "min")],
    "glb.geocentric": [house(nodes=[{"mesh": 0, "translation": [-2.2e6, 5e6, 3.2e6]}]), house(extensions={"CESIUM_RTC": {"center": [0, 0, 0]}})],
    "glb.corrupt": [
        house(nodes=[{"mesh": 7}]), house(nodes=[{"children": [0]}]), house(nodes=[{"mesh": 0, "children": [-1]}]), house(accessors=[]), house(meshes={"0": 1}),
        house(buffers=[{"byteLength": 10**9}]), house(nodes=[{"mesh": 0, "translation": [1, 2]}]), without("asset"), house(nodes="abc"),
        packed({"asset": {"version": "2.0"}, "x": float("nan")}), house(bufferViews=[{"buffer": 0, "byteLength": 999}]), house(nodes=[{"mesh": 0, "scale": [True, 1, 1]}]),
        packed({}).replace(b"{}  ", b"{{{{"), house(scene=3), house(nodes=[{"mesh": 0, "matrix": ["a"] * 16}]),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("code", "data"), [(code, data) for code, many in REFUSED.items() for data in many])
def test_what_is_refused(code: str, data: bytes):
    with pytest.raises(SourceError) as refused:
        planned_model(data, "x.glb", AT, 0, 1, "", UID)
    assert refused.value.code == code
    assert "{" not in str(TimError(code, **refused.value.fields)).replace(data[20:].decode("latin-1"), "")


def test_size_is_limited(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importers.gltf.LARGEST", 100)
    with pytest.raises(SourceError) as refused:
        planned_model(house(), "x.glb", AT, 0, 1, "", UID)
    assert refused.value.code == "glb.too-large"


@pytest.mark.parametrize(
    ("at", "heading", "scale"),
    [
        ((200, 0, 0), 0, 1),
        ((0, 95, 0), 0, 1),
        ((0, 0), 0, 1),
        ((0, 0, float("nan")), 0, 1),
        (AT, float("inf"), 1),
        (AT, 0, 0),
        (AT, 0, -1),
        (AT, 0, (1, 2)),
        (AT, "north", 1),
    ],
)
def test_places_that_are_none(at: Any, heading: Any, scale: Any):
    with pytest.raises(SourceError) as refused:
        planned_model(house(), "x.glb", at, heading, scale, "", UID)
    assert refused.value.code == "glb.bad-place"


def test_uploaded_names_are_names_only():
    for name in ("../../house.glb", "C:\\plans\\house.glb", "/house.glb"):
        assert planned_model(house(), name, AT, 0, 1, "", UID)[0].source_key == "house.glb"


def test_import_at(tmp_path: Path):
    """From the settings of the command to an object in a scenario; once more changes nothing; elsewhere has the same id."""
    (tmp_path / "方案一.glb").write_bytes(house())
    workspace = Workspace.create(tmp_path / "ws")
    settings = {"at": "114.3,30.5,21", "heading": 90, "scenario": "plan-a"}
    plan = make_plan([tmp_path / "方案一.glb"], Options(dataset="plans", settings=settings))
    assert plan.deliveries[0].probe.problems == ()
    report = run_import(workspace, type(plan).from_yaml(plan.to_yaml()))
    assert report.rejected == []
    with workspace.store() as store:
        (made,) = store.query(Filter(dataset="plans", scenario="plan-a")).items
        assert not store.query(Filter(dataset="plans")).items
        blob = store.get_blobs([made.object.representations[0].content])
    assert list(blob.values()) == [house()]
    assert made.object.stage == Stage.PLANNED
    assert metres(made.object.box) == pytest.approx((-20, -10, 0, 0, 0, 30), abs=0.02)
    assert run_import(workspace, plan).datasets[0].seq is None


def test_a_model_without_a_place_is_refused(tmp_path: Path):
    (tmp_path / "house.glb").write_bytes(house())
    workspace = Workspace.create(tmp_path / "ws")
    plan = make_plan([tmp_path / "house.glb"], Options(dataset="plans"))
    assert [p.code for p in plan.deliveries[0].probe.problems] == ["place.crs-missing"]
    projected = make_plan(
        [tmp_path / "house.glb"], Options(dataset="plans", place=PlaceOptions("EPSG:32650", "ellipsoid"))
    )
    with pytest.raises(TimError):
        run_import(workspace, projected)
    for settings in ({"at": "114.3"}, {"at": "a,b,c"}, {"at": "200,30,1"}):
        with pytest.raises(UsageError, match="--at"):
            make_plan([tmp_path / "house.glb"], Options(settings=settings))
    for settings in ({"heading": "x"}, {"scale": 0}, {"stage": "dreamt"}):
        plan = make_plan([tmp_path / "house.glb"], Options(settings={"at": "114.3,30.5,21", **settings}))
        with pytest.raises(UsageError, match="--stage"):
            run_import(workspace, plan)


def test_tiles_and_text_are_no_models(tmp_path: Path):
    """The content of a tileset is not offered as models; glTF in text form is named."""
    tiles = tmp_path / "tiles" / "content"
    tiles.mkdir(parents=True)
    (tiles.parent / "tileset.json").write_text("{}")
    (tiles / "0.glb").write_bytes(house())
    assert glb.probe(tiles / "0.glb") == []
    (tmp_path / "a.gltf").write_text('{"asset": {"version": "2.0"}}')
    (tmp_path / "b.glb").write_bytes(house()[:100])
    (tmp_path / "c.glb").write_bytes(house())
    (tmp_path / "d.glb").write_bytes(b"plain text")
    (tmp_path / "landuse.json").write_text('{"01": "耕地"}')
    found = walk(tmp_path)
    assert {p.key: [r.code for r in p.problems] for p in found.probes if p.format == "glb"} == {
        "a.gltf": ["glb.text-form"],
        "b.glb": ["glb.cut-off"],
        "c.glb": [],
    }
    assert {r.fields["suffix"] for r in found.rejected if r.code == "import.unknown-type"} >= {".glb"}


@given(st.data())
def test_spoilt_files_are_refused_or_read(data: st.DataObject):
    """Any few bytes changed: a model or a refusal, nothing else."""
    spoilt = bytearray(house())
    for _ in range(data.draw(st.integers(1, 6))):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    try:
        record, blobs = planned_model(bytes(spoilt), "x.glb", AT, 0, 1, "", UID)
        sound = record.representations[0].content in {blob.content for blob in blobs}
    except SourceError as error:
        sound = error.code.startswith("glb.")
    assert sound


def test_known_extensions_are_named_ones():
    assert all(name.startswith(("EXT_", "KHR_")) for name in EXTENSIONS)
