"""Faults of contents: each is found, and only those."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from tests.tiling.samples import (
    points_glb,
    triangle_glb,
)
from tests.tiling.validate.faults import edit, rewrite
from tiling.spec import glb
from tiling.spec.glb import GlbWriter
from tiling.validate import validate


def patch(offset, value):
    def change(document, binary):
        binary[offset : offset + len(value)] = value

    return change


def on(change):
    return lambda document, binary: change(document)


def declared(document):
    document["nodes"][0]["extensions"] = {"X_y": {}}
    document.update(extensionsUsed=["X_y"], extensionsRequired=["X_y"])


def with_image(document, mime="image/png"):
    document["images"] = [{"bufferView": 0, "mimeType": mime}]


def instance(document, attributes):
    document["nodes"][0].update(extensions={"EXT_mesh_gpu_instancing": {"attributes": attributes}})
    document.update(extensionsUsed=["EXT_mesh_gpu_instancing"])


GLB_FAULTS = {
    "moved": (on(lambda d: d["nodes"][0]["matrix"].__setitem__(12, 1e4)), "content-outside-box"),
    "moved by half a box": (on(lambda d: d["nodes"][0]["matrix"].__setitem__(13, 300.0)), "content-outside-box"),
    "z up": (on(lambda d: d["nodes"][0].update(matrix=[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 400, 0, 400, 1])), "content-outside-box"),
    "translation": (on(lambda d: d["nodes"][0].update(matrix=[*np.eye(4).ravel()]) or d["nodes"].append(
        {"children": [0], "translation": [0, 5e3, 0]}) or d["scenes"][0].update(nodes=[1])), "content-outside-box"),
    "NaN": (patch(0, struct.pack("<f", np.nan)), "glb-not-finite"),
    "bounds too small": (patch(0, struct.pack("<f", -600.0)), "glb-bounds"),
    "max wrong": (on(lambda d: d["accessors"][0]["max"].__setitem__(2, 1e3)), "glb-bounds"),
    "no bounds": (on(lambda d: d["accessors"][0].pop("min")), "glb-broken"),
    "index too high": (patch(48, struct.pack("<H", 4)), "glb-index"),
    "indices of floats": (on(lambda d: d["accessors"][1].update(componentType=5126)), "glb-broken"),
    "not whole triangles": (on(lambda d: d["accessors"][1].update(count=5)), "glb-broken"),
    "accessor leaves its view": (on(lambda d: d["accessors"][0].update(count=99)), "glb-broken"),
    "accessor empty": (on(lambda d: d["accessors"][0].update(count=0)), "glb-broken"),
    "accessor unaligned": (on(lambda d: d["accessors"][1].update(byteOffset=1, count=3)), "glb-broken"),
    "view leaves its buffer": (on(lambda d: d["bufferViews"][1].update(byteLength=999)), "glb-broken"),
    "stride": (on(lambda d: d["bufferViews"][0].update(byteStride=6)), "glb-broken"),
    "buffer too long": (on(lambda d: d["buffers"][0].update(byteLength=9999)), "glb-broken"),
    "attribute of another length": (on(lambda d: (
        d["accessors"].append({**d["accessors"][0], "count": 3}), d["meshes"][0]["primitives"][0]["attributes"].update(NORMAL=2))), "glb-count"),
    "no position": (on(lambda d: d["meshes"][0]["primitives"][0].update(attributes={})), "glb-broken"),
    "material that is none": (on(lambda d: d["meshes"][0]["primitives"][0].update(material=0)), "glb-broken"),
    "mode that is none": (on(lambda d: d["meshes"][0]["primitives"][0].update(mode=9)), "glb-broken"),
    "node twice": (on(lambda d: d["scenes"][0].update(nodes=[0, 0])), "glb-broken"),
    "node in itself": (on(lambda d: d["nodes"][0].update(children=[0])), "glb-broken"),
    "extension not declared": (on(lambda d: d["nodes"][0].update(extensions={"KHR_x": {}})), "glb-extension"),
    "extension required, not used": (on(lambda d: d.update(extensionsRequired=["KHR_x"])), "glb-extension"),
    "extension unknown": (on(declared), "extension-unknown"),
    "quantised but not declared": (on(lambda d: d["accessors"][0].update(componentType=5123, min=[0] * 3, max=[0] * 3)), "glb-extension"),
    "image of another kind": (on(with_image), "glb-image"),
    "version": (on(lambda d: d["asset"].update(version="1.0")), "glb-broken"),
    "asset of another kind": (on(lambda d: d.update(asset=[])), "glb-broken"),
    "meshes of another kind": (on(lambda d: d.update(meshes={"0": 1})), "glb-broken"),
    "instanced without attributes": (on(lambda d: instance(d, {})), "glb-broken"),
    "instanced by what cannot be read": (on(lambda d: (
        d["accessors"].append({"componentType": 5126, "count": 1, "type": "VEC3", "sparse": {}}), instance(d, {"TRANSLATION": 2}))), "content-not-decoded"),
    "instances beyond the box": (on(lambda d: (
        instance(d, {"TRANSLATION": 0}), d["nodes"][0]["matrix"].__setitem__(12, 100.0))), "content-outside-box"),
}  # fmt: skip


@pytest.fixture
def content(mesh):
    """The content of the top tile: at the origin, 256 m half, in a box of 512 m half."""
    return mesh / "tiles" / "osgb" / "_" / "0-0.glb"


@pytest.mark.parametrize("name", GLB_FAULTS)
def test_faults_of_contents_are_found(mesh, content, name):
    change, code = GLB_FAULTS[name]
    assert content.is_file()
    rewrite(content, change)
    report = validate(mesh)
    assert code in report.totals, report.record()
    for issue in report.errors + report.warnings:
        assert "{" not in issue.text("en").replace(str(issue.fields.get("reason")), "")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "content-kind"),
        (b"glTF", "glb-broken"),
        (triangle_glb((0, 0, 0))[:-4], "glb-broken"),
        (triangle_glb((0, 0, 0)) + b"1234", "glb-broken"),
        (gzip.compress(triangle_glb((0, 0, 0)), mtime=0), "gzip-stored"),
        (b"b3dm" + struct.pack("<2I", 1, 12), "legacy-content"),
        (b"b3dm" + struct.pack("<2I", 1, 13), "content-broken"),
        (b"<svg/>", "content-kind"),
        (b"glTF" + struct.pack("<4I", 2, 20 + 200_000, 200_000, glb.JSON_CHUNK) + b'{"a":' * 40_000, "glb-broken"),
    ],
)
def test_contents_that_are_none_are_reported(mesh, content, data, code):
    content.write_bytes(data)
    assert code in validate(mesh).totals


def test_every_vertex_counts_not_the_corners_of_a_box(mesh, content):
    """A turned tile box that a turned content fills: its axis-aligned bounds reach outside, its vertices do not."""
    turned = [0.0, 0.0, 0.0, 200.0, 200.0, 0.0, -200.0, 200.0, 0.0, 0.0, 0.0, 1.0]
    values = np.array([[400, 0, 0], [0, 400, 0], [-400, 0, 0], [0, -400, 0]], np.float32)

    def write(points):
        writer = GlbWriter()
        index = writer.vertices(points, bounds=True)
        mesh_ = writer.add("meshes", {"primitives": [{"attributes": {"POSITION": index}, "mode": 0}]})
        writer.lattice_node(mesh_, (0, 0, 0), 1.0)
        content.write_bytes(b"".join(bytes(c) for c in writer.chunks()))

    def only(document):
        document["root"]["children"] = [
            {"boundingVolume": {"box": turned}, "geometricError": 0, "content": {"uri": "tiles/osgb/_/0-0.glb"}}
        ]

    edit(mesh / "tileset.json", only)
    write(values)
    assert validate(mesh).ok
    write(values + np.float32([0.5, 0, 0]))
    assert "content-outside-box" in validate(mesh).totals


def test_quantised_and_normalised_positions_are_decoded(octree):
    path = octree / "t" / "0" / "0" / "0" / "0.glb"
    path.write_bytes(points_glb((-64.0, -64.0, -64.0), 130.0, 50, 0))
    assert "content-outside-box" in validate(octree).totals

    def normalise(document, binary):
        document["accessors"][0]["normalized"] = True
        document["nodes"][0]["matrix"] = [1000, 0, 0, 0, 0, 1000, 0, 0, 0, 0, 1000, 0, 0, 0, 0, 1]

    path.write_bytes(points_glb((0.0, 0.0, 0.0), 4096.0, 50, 0))
    rewrite(path, normalise)
    assert validate(octree).ok  # 4095 / 65535 of 1000 m is 62.5 m


def test_meshopt_compressed_positions_are_decoded(octree):
    path = octree / "t" / "0" / "0" / "0" / "0.glb"

    def write(low):
        values = np.random.default_rng(1).integers(0, 1 << 12, (50, 3), dtype=np.uint16)
        writer = GlbWriter()
        writer.extension("KHR_mesh_quantization", required=True)
        position = writer.vertices(values, bounds=True, compress=True)
        mesh = writer.add("meshes", {"primitives": [{"attributes": {"POSITION": position}, "mode": 0}]})
        writer.lattice_node(mesh, low, 128 / 4096)
        path.write_bytes(b"".join(bytes(c) for c in writer.chunks()))

    write((-64.0, -64.0, -64.0))
    assert validate(octree).totals == {}
    write((-32.0, -64.0, -64.0))
    assert validate(octree).totals == {"content-outside-box": 1}
