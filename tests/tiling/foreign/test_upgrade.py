"""Upgrading and batch tables: geometry and attributes are the same before and after, and the result is valid."""

from __future__ import annotations

import itertools
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.tiles1 import ENU, NAMES, b3dm, boxes, composite, container, i3dm, pnts, tileset
from tests.validator import gltf_errors
from tiling.foreign.batch import read_batch_tables
from tiling.foreign.gltf import Y_UP
from tiling.foreign.upgrade import UpgradeReport, upgrade
from tiling.spec import glb
from tiling.spec.scene import node_matrix
from tim.errors import CorruptSource, UsageError


def run(tmp_path: Path, contents: dict[str, bytes], **asset: str) -> tuple[UpgradeReport, Path]:
    out = tmp_path / "out"
    return upgrade(tileset(tmp_path / "src", contents, **asset), out), out


def placed(data: bytes) -> np.ndarray:
    """float64[n, 3] in tile coordinates: every vertex of every instance."""
    model = glb.parse(data)
    found = []
    stack = [(index, Y_UP) for index in model.json["scenes"][0]["nodes"]]
    while stack:
        index, above = stack.pop()
        node = model.json["nodes"][index]
        own = above @ node_matrix(node)
        stack += [(child, own) for child in node.get("children", [])]
        if "mesh" not in node:
            continue
        at = model.accessor(model.json["meshes"][node["mesh"]]["primitives"][0]["attributes"]["POSITION"]).astype(float)
        instances = [np.eye(4)]
        if (extension := node.get("extensions", {}).get("EXT_mesh_gpu_instancing")) is not None:
            columns = [model.accessor(extension["attributes"][name]) for name in ("TRANSLATION", "ROTATION", "SCALE")]
            instances = [
                node_matrix({"translation": t, "rotation": r, "scale": s}) for t, r, s in zip(*columns, strict=True)
            ]
        for instance in instances:
            whole = own @ instance
            found.append(at @ whole[:3, :3].T + whole[:3, 3])
    return np.vstack(found)


def turned(at: np.ndarray) -> np.ndarray:
    """y up to z up, by hand."""
    return np.column_stack([at[:, 0], -at[:, 2], at[:, 1]])


def vertices(count: int, **kind: object) -> np.ndarray:
    model = glb.parse(boxes(count, **kind))  # type: ignore[arg-type]
    return model.accessor(model.json["meshes"][0]["primitives"][0]["attributes"]["POSITION"]).astype(float)


def strings(data: bytes, name: str) -> list[str]:
    model = glb.parse(data)
    metadata = model.json["extensions"]["EXT_structural_metadata"]
    table = metadata["propertyTables"][0]
    [key] = [k for k, p in metadata["schema"]["classes"]["feature"]["properties"].items() if p["name"] == name]
    offsets = np.frombuffer(model.view(table["properties"][key]["stringOffsets"]), "<u4")
    text = bytes(model.view(table["properties"][key]["values"]))
    return [text[a:b].decode() for a, b in itertools.pairwise(offsets)]


def test_everything_becomes_valid_glb_with_its_attributes(tmp_path: Path):
    contents = {
        "a.b3dm": b3dm(),
        "t/b.i3dm": i3dm(),
        "c.pnts": pnts(),
        "d.cmpt": composite(b3dm(), pnts()),
        "#extra.txt": b"kept",
    }
    report, out = run(tmp_path, contents)
    assert (report.problems, report.contents) == ([], {"b3dm": 2, "i3dm": 1, "pnts": 2})
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) == [
        "a.glb", "c.glb", "d-0.glb", "d-1.glb", "extra.txt", "t/b.glb", "tileset.json",
    ]  # fmt: skip
    assert gltf_errors(out) == []
    page = json.loads((out / "tileset.json").read_text())
    assert (page["asset"]["version"], page["root"]["refine"], page["root"]["transform"]) == ("1.1", "ADD", ENU)
    children = page["root"]["children"]
    assert [c.get("content", c.get("contents")) for c in children] == [
        {"uri": "a.glb"}, {"uri": "t/b.glb"}, {"uri": "c.glb"}, [{"uri": "d-0.glb"}, {"uri": "d-1.glb"}],
    ]  # fmt: skip
    assert strings((out / "a.glb").read_bytes(), "name") == NAMES
    assert strings((out / "a.glb").read_bytes(), "note") == ["", '{"floors": 1}', '{"floors": 2}']
    assert strings((out / "c.glb").read_bytes(), "kind") == ["ground", "tree"]


def test_geometry_stays_where_it_is(tmp_path: Path):
    centre = [-2_000_000.25, 5_000_000.5, 3_000_000.125]
    report, out = run(
        tmp_path, {"a.b3dm": b3dm(), "r.b3dm": b3dm(center=centre), "b.i3dm": i3dm(), "c.pnts": pnts(RTC_CENTER=centre)}
    )
    assert report.problems == []
    plain = turned(vertices(3))
    assert placed((out / "a.glb").read_bytes()) == pytest.approx(plain)
    assert placed((out / "r.glb").read_bytes()) == pytest.approx(plain + centre, abs=1e-6)
    one = turned(vertices(1, batched=False, side=4.0))
    first = oriented(one, [1, 0, 0], [0, 0, 1])
    second = oriented(one, [0, 1, 0], [0, 0, 1]) * 2 + [50, 10, 0]
    assert placed((out / "b.glb").read_bytes()) == pytest.approx(np.vstack([first, second]), abs=1e-5)
    assert placed((out / "c.glb").read_bytes()) == pytest.approx(np.vstack([np.zeros(3), np.eye(3)]) + centre, abs=1e-6)


def oriented(at: np.ndarray, right: list[float], up: list[float]) -> np.ndarray:
    """x becomes right, y becomes up, z what is left (3D Tiles 1.0, Instanced 3D Model, "Instance orientation")."""
    return at @ np.array([right, up, np.cross(right, up)])


def test_z_up_contents_become_y_up(tmp_path: Path):
    report, out = run(tmp_path, {"a.b3dm": b3dm(), "g.glb": boxes()}, gltfUpAxis="Z")
    assert report.problems == []
    assert "gltfUpAxis" not in json.loads((out / "tileset.json").read_text())["asset"]
    for name in ("a.glb", "g.glb"):
        assert placed((out / name).read_bytes()) == pytest.approx(vertices(3)), "z was up already"


def test_quantised_and_packed_points(tmp_path: Path):
    positions = np.array([[0, 0, 0], [65535, 32768, 1]], "<u2")
    colours = np.array([0b11111_000000_00000, 0b00000_111111_00000], "<u2")
    normals = np.array([[128, 128], [255, 128]], "u1")
    cloud = container(
        b"pnts",
        {"POINTS_LENGTH": 2, "POSITION_QUANTIZED": {"byteOffset": 0}, "QUANTIZED_VOLUME_OFFSET": [1e6, 0, 0],
         "QUANTIZED_VOLUME_SCALE": [100, 10, 1], "RGB565": {"byteOffset": 12}, "NORMAL_OCT16P": {"byteOffset": 16}},
        positions.tobytes() + colours.tobytes() + normals.tobytes(),
    )  # fmt: skip
    report, out = run(tmp_path, {"q.pnts": cloud})
    assert report.problems == []
    assert gltf_errors(out) == []
    model = glb.parse((out / "q.glb").read_bytes())
    assert placed((out / "q.glb").read_bytes()) == pytest.approx(
        positions / 65535 * [100, 10, 1] + [1e6, 0, 0], abs=1e-5
    )
    attributes = model.json["meshes"][0]["primitives"][0]["attributes"]
    assert model.accessor(attributes["COLOR_0"])[:, :3].tolist() == [[65535, 0, 0], [0, 65535, 0]]
    assert model.accessor(attributes["NORMAL"]) == pytest.approx(np.array([[0, 0, 1], [1, 0, 0]]), abs=0.01)


def test_what_is_broken_is_named_and_the_rest_goes_on(tmp_path: Path):
    old = bytearray(b3dm())
    at = old.index(b"glTF")
    old[at + 4 : at + 8] = struct.pack("<I", 1)
    report, out = run(
        tmp_path, {"good.b3dm": b3dm(), "one.b3dm": bytes(old), "cut.b3dm": b3dm()[:400], "gone.pnts": pnts()[:40]}
    )
    assert {(code, fields["path"]) for code, fields in report.problems} == {
        ("tiles3d.gltf-1", "one.b3dm"), ("tiles3d.content-cut", "cut.b3dm"), ("tiles3d.content-cut", "gone.pnts"),
    }  # fmt: skip
    assert [child.get("content") for child in json.loads((out / "tileset.json").read_text())["root"]["children"]] == [
        {"uri": "good.glb"}, None, None, None,
    ]  # fmt: skip


def test_nothing_is_overwritten_unasked(tmp_path: Path):
    _, out = run(tmp_path, {"a.b3dm": b3dm()})
    with pytest.raises(UsageError):
        upgrade(tmp_path / "src", out)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    upgrade(tmp_path / "src", out, overwrite=True)
    assert before == {p.name: p.read_bytes() for p in out.iterdir()}, "the same input gives the same bytes"


def test_batch_tables():
    [table] = read_batch_tables(b3dm())
    record = table.record()
    assert (record["count"], record["unsupported"]) == (3, [])
    assert record["columns"] == {
        "name": NAMES, "height": [20.0, 30.0, 40.0], "code": [[0, 1], [2, 3], [4, 5]], "note": [None, {"floors": 1}, {"floors": 2}],
    }  # fmt: skip
    assert [t.count for t in read_batch_tables(composite(b3dm(), i3dm(), pnts()))] == [3, 2, 2]


@pytest.mark.parametrize(
    "column",
    [
        {"byteOffset": 0, "componentType": "DOUBLE", "type": "VEC4"},
        {"byteOffset": -8},
        {"componentType": "FLOAT"},
        7,
        ["a"],
    ],
)
def test_columns_that_lie_are_refused(column: object):
    data = container(b"b3dm", {"BATCH_LENGTH": 3}, b"", {"x": column}, bytes(24), boxes(3))
    with pytest.raises(CorruptSource) as refused:
        read_batch_tables(data, "a.b3dm")
    assert refused.value.fields["path"] == "a.b3dm"


def test_the_hierarchy_extension_is_named():
    batch = {"HIERARCHY": {"classes": []}, "extensions": {"3DTILES_batch_table_hierarchy": {}}, "name": ["a"]}
    [table] = read_batch_tables(container(b"b3dm", {"BATCH_LENGTH": 1}, b"", batch, b"", boxes(1)))
    assert (table.unsupported, list(table.columns)) == (("3DTILES_batch_table_hierarchy",), ["name"])
