"""Each check must catch a planted fault, and sound tilesets must pass without a word."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tiling.samples import (
    CUBE,
    FRAME,
    box,
    fill,
    mesh_info,
    mesh_tiles,
    octree_info,
    octree_tiles,
    points_glb,
    triangle_glb,
)
from tiling.archive import Archive, export
from tiling.spec import glb, subtree
from tiling.spec.glb import GlbWriter
from tiling.validate import Archived, validate
from tim.errors import UsageError
from tim.place import ellipsoid

MESH, OCTREE = "mesh", "octree"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A folder each, exported; small enough to be copied for every fault."""
    root = tmp_path_factory.mktemp("sound")
    with Archive(root / "tiles") as archive:
        archive.publish(MESH, fill(archive, "s", mesh_tiles, count=520), mesh_info())
        archive.publish(OCTREE, fill(archive, "o", octree_tiles), octree_info())
        for name in (MESH, OCTREE):
            archive.export(name, root / name)
            archive.export(name, root / f"{name}.3tz")
    return root


@pytest.fixture
def mesh(sound, tmp_path):
    return shutil.copytree(sound / MESH, tmp_path / MESH)


@pytest.fixture
def octree(sound, tmp_path):
    return shutil.copytree(sound / OCTREE, tmp_path / OCTREE)


@pytest.mark.parametrize("name", [MESH, OCTREE])
def test_sound_tilesets_pass_in_every_form(sound, name):
    reports = [validate(target) for target in (sound / name, sound / name / "tileset.json", sound / f"{name}.3tz")]
    reports += [validate(Archived(sound / "tiles", name, seq)) for seq in (None, 1)]
    for report in reports:
        assert report.errors == report.warnings == []
        assert report.ok
        assert {k: v for k, v in report.counts.items() if k != "bytes"} == {
            k: v for k, v in reports[0].counts.items() if k != "bytes"
        }
        assert report.extent == reports[0].extent
    if name == MESH:
        assert reports[0].counts["triangles"] == 1040
        assert reports[0].counts["pages"] > 1
    else:
        assert reports[0].counts["points"] == sum(range(50, 60))
    json.dumps(reports[0].record())


def test_extent_is_where_the_frame_puts_the_contents(sound):
    extent = validate(sound / OCTREE).extent
    corners = np.array([[x, y, z] for x in (-64, 64) for y in (-64, 64) for z in (-64, 64)], np.float64)
    expected = ellipsoid.to_geographic(FRAME.to_ecef(corners))
    # The last points stop one lattice step (4 mm) short; between the corners the floor comes 0.6 mm nearer to the ellipsoid.
    for found, true in ((extent[:3], expected.min(axis=0)), (extent[3:], expected.max(axis=0))):
        np.testing.assert_allclose(found[:2], true[:2], atol=1e-7, rtol=0)
        np.testing.assert_allclose(found[2], true[2], atol=5e-3, rtol=0)


def test_workers_find_the_same(mesh):
    (mesh / "tiles" / "osgb" / "_" / "7-0.glb").write_bytes(b"glTF")
    assert validate(mesh, workers=2).record() == validate(mesh).record()
    assert not validate(mesh).ok


def edit(path, change):
    """Change a page in place."""
    document = json.loads(path.read_text("utf-8"))
    change(document)
    path.write_text(json.dumps(document), "utf-8")


def at(document, *path):
    for step in path:
        document = document[step]
    return document


def setting(*path_and_value):
    *path, last, value = path_and_value

    def change(document):
        at(document, *path)[last] = value

    return change


def deleting(*path):
    def change(document):
        del at(document, *path[:-1])[path[-1]]

    return change


TILE = ("root", "children", 0)
PAGE_FAULTS = {
    "no asset": (deleting("asset"), "missing-field"),
    "asset of another kind": (setting("asset", []), "wrong-field"),
    "version 2": (setting("asset", "version", "2.0"), "wrong-field"),
    "no error": (deleting("geometricError"), "missing-field"),
    "error as text": (setting("geometricError", "1"), "wrong-field"),
    "error true": (setting("geometricError", True), "wrong-field"),
    "error negative": (setting(*TILE, "geometricError", -1), "wrong-field"),
    "error huge": (setting(*TILE, "geometricError", 10**400), "wrong-field"),
    "tileset error below root's": (setting("geometricError", 0.5), "error-order"),
    "no root": (deleting("root"), "missing-field"),
    "root a list": (setting("root", [1]), "wrong-field"),
    "no refine at root": (deleting("root", "refine"), "missing-field"),
    "refine unknown": (setting(*TILE, "refine", "replace"), "wrong-field"),
    "no volume": (deleting(*TILE, "boundingVolume"), "missing-field"),
    "empty volume": (setting(*TILE, "boundingVolume", {}), "wrong-field"),
    "short box": (setting(*TILE, "boundingVolume", "box", [1.0] * 11), "wrong-field"),
    "box with text": (setting(*TILE, "boundingVolume", "box", [*[1.0] * 11, "1"]), "wrong-field"),
    "negative sphere": (setting(*TILE, "boundingVolume", {"sphere": [0, 0, 0, -1]}), "wrong-field"),
    "region in degrees": (setting(*TILE, "boundingVolume", {"region": [114, 30, 115, 31, 0, 9]}), "wrong-field"),
    "region upside down": (setting(*TILE, "boundingVolume", {"region": [2, 0.6, 2, 0.5, 0, 9]}), "wrong-field"),
    "transform too short": (setting("root", "transform", [1] * 15), "wrong-field"),
    "transform singular": (setting("root", "transform", [0] * 15 + [1]), "wrong-field"),
    "transform projective": (setting("root", "transform", 3, 1.0), "wrong-field"),
    "content without uri": (setting(*TILE, "content", {}), "wrong-field"),
    "content and contents": (setting(*TILE, "contents", [{"uri": "tileset.json"}]), "wrong-field"),
    "no children but said": (setting(*TILE, "children", []), "wrong-field"),
    "children of another kind": (setting(*TILE, "children", [1]), "wrong-field"),
    "required but not used": (setting("extensionsRequired", ["3DTILES_metadata"]), "wrong-field"),
    "extension twice": (setting("extensionsUsed", ["a", "a"]), "wrong-field"),
    "extension unknown": (lambda d: d.update(extensionsUsed=["X_y"], extensionsRequired=["X_y"]), "extension-unknown"),
    "schema and schemaUri": (lambda d: d.update(schema={"id": "a"}, schemaUri="x"), "wrong-field"),
    "child outside parent": (setting(*TILE, "children", 0, "boundingVolume", "box", list(box((5000.0, 0.0, 0.0), 1.0))), "box-outside-parent"),
    "child just outside": (setting(*TILE, "children", 0, "boundingVolume", "box", list(box((-256.01, -256.0, 0.0), 256.0))), "box-outside-parent"),
    "child a hair outside": (setting(*TILE, "children", 0, "boundingVolume", "box", list(box((-256.0005, -256.0, 0.0), 256.0))), None),
    "child moved by its own transform": (
        setting(*TILE, "children", 0, "transform", [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 900, 0, 0, 1]), "box-outside-parent"),
    "child sphere outside": (setting(*TILE, "children", 0, "boundingVolume", {"sphere": [0, 0, 0, 600]}), "box-outside-parent"),
    "child region outside": (setting(*TILE, "children", 0, "boundingVolume", {"region": [0.1, 0.5, 0.2, 0.6, 0, 9]}), "box-outside-parent"),
    "content volume outside": (setting(*TILE, "content", "boundingVolume", {"sphere": [900, 0, 0, 1]}), "box-outside-parent"),
    "content outside its volume": (setting(*TILE, "content", "boundingVolume", {"sphere": [0, 0, 0, 2]}), "content-outside-box"),
    "content outside its tile": (setting(*TILE, "boundingVolume", "box", list(box((0.0, 0.0, 0.0), 250.0))), "content-outside-box"),
    "error grows": (setting(*TILE, "children", 0, "geometricError", 1e5), "error-grows"),
    "missing content": (setting(*TILE, "content", "uri", "tiles/none.glb"), "missing-file"),
    "missing page": (setting(*TILE, "content", "uri", "pages/none.json"), "missing-file"),
    "same content twice": (lambda d: setting(*TILE, "content", "uri", at(d, *TILE, "children", 0, "content", "uri"))(d), "duplicate-uri"),
    "circle": (setting(*TILE, "content", "uri", "./tileset.json"), "duplicate-uri"),
    "remote content": (setting(*TILE, "content", "uri", "https://example.org/a.glb"), "remote"),
    "content outside the folder": (setting(*TILE, "content", "uri", "../secret.glb"), "leaves-folder"),
    "encoded way out": (setting(*TILE, "content", "uri", "%2e%2e/%2e%2e/etc/passwd"), "leaves-folder"),
    "no transform": (deleting("root", "transform"), "not-on-earth"),
    "in the sky": (lambda d: at(d, "root", "transform").__setitem__(slice(12, 15), [9e6, 0.0, 0.0]), "not-on-earth"),
    "scaled": (lambda d: at(d, "root", "transform").__setitem__(0, 2.0), "transform-scales"),
}  # fmt: skip


@pytest.mark.parametrize("name", PAGE_FAULTS)
def test_faults_of_pages_are_found(mesh, name):
    change, code = PAGE_FAULTS[name]
    edit(mesh / "tileset.json", change)
    report = validate(mesh)
    if code is None:
        assert report.totals == {}
        return
    assert code in report.totals, report.totals
    for issue in report.errors + report.warnings:
        assert "{" not in issue.text("en") + issue.text("zh")
    json.dumps(report.record())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "page-broken"),
        (b"{", "page-broken"),
        (b"[]", "page-broken"),
        (b"\xff\xfe{}", "page-broken"),
        (b'{"geometricError": NaN}', "page-broken"),
        (b'{"a":' * 100_000, "page-broken"),
        (gzip.compress(b"{}", mtime=0), "gzip-stored"),
    ],
)
def test_pages_that_are_none_are_reported(mesh, text, code):
    (mesh / "tileset.json").write_bytes(text)
    assert code in validate(mesh).totals


def test_a_byte_order_mark_is_forgiven(mesh):
    text = (mesh / "tileset.json").read_bytes()
    (mesh / "tileset.json").write_bytes(b"\xef\xbb\xbf" + text)
    assert validate(mesh).ok


def test_files_nobody_refers_to_are_named(mesh):
    (mesh / "tiles" / "left.glb").write_bytes(b"x")
    report = validate(mesh)
    assert report.ok
    assert [(i.code, i.file) for i in report.warnings] == [("unreferenced", "tiles/left.glb")]


def rewrite(path, change):
    """Change a glb's JSON or binary in place, keeping the container sound."""
    document = glb.parse(path.read_bytes())
    binary = bytearray(document.binary)
    change(document.json, binary)
    text = json.dumps(document.json).encode()
    text += b" " * (-len(text) % 4)
    total = 28 + len(text) + len(binary)
    head = struct.pack("<5I", glb.MAGIC, 2, total, len(text), glb.JSON_CHUNK)
    path.write_bytes(head + text + struct.pack("<2I", len(binary), glb.BIN_CHUNK) + binary)


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


SUBTREE = "s/0/0/0/0.subtree"


def with_subtree(change):
    def apply(folder):
        path = folder / SUBTREE
        found = subtree.decode(path.read_bytes(), 2)
        tiles, contents, children = found.tiles.copy(), found.contents.copy(), found.children.copy()
        change(tiles, contents, children)
        path.write_bytes(subtree.encode(subtree.Subtree(tiles, contents, children)))

    return apply


def page(change):
    return lambda folder: edit(folder / "tileset.json", change)


SUBTREE_FAULTS = {
    "content promised": (with_subtree(lambda t, c, k: c.__setitem__(3, True) or t.__setitem__(3, True)), "missing-file"),
    "content forgotten": (with_subtree(lambda t, c, k: c.__setitem__(0, False)), "unreferenced"),
    "content without tile": (with_subtree(lambda t, c, k: c.__setitem__(3, True)), "subtree-broken"),
    "no root": (with_subtree(lambda t, c, k: t.__setitem__(0, False)), "subtree-broken"),
    "child subtree without tile": (with_subtree(lambda t, c, k: k.__setitem__(8 * 3, True)), "subtree-broken"),
    "child subtree missing": (with_subtree(lambda t, c, k: k.__setitem__(1, True)), "missing-file"),
    "too deep": (page(setting("root", "implicitTiling", "availableLevels", 3)), "subtree-broken"),
    "cut off": (lambda f: (f / SUBTREE).write_bytes((f / SUBTREE).read_bytes()[:-8]), "subtree-broken"),
    "empty": (lambda f: (f / SUBTREE).write_bytes(b""), "subtree-broken"),
    "bits miscounted": (lambda f: (f / SUBTREE).write_bytes((f / SUBTREE).read_bytes().replace(b'unt":4', b'unt":5')), "subtree-broken"),
    "constant of another kind": (lambda f: (f / SUBTREE).write_bytes(
        (f / SUBTREE).read_bytes().replace(b'"bitstream":0', b'"bitstream":9')), "subtree-broken"),
    "gone": (lambda f: (f / SUBTREE).unlink(), "missing-file"),
    "one too many": (lambda f: shutil.copy(f / SUBTREE, f / "s/0/0/0/1.subtree"), "unreferenced"),
    "content moved to its neighbour": (lambda f: shutil.copy(f / "t/1/0/0/0.glb", f / "t/1/1/1/1.glb"), "content-outside-box"),
    "smaller root": (page(setting("root", "boundingVolume", "box", list(box((0.0, 0.0, 0.0), 63.0)))), "content-outside-box"),
    "scheme": (page(setting("root", "implicitTiling", "subdivisionScheme", "KD")), "wrong-field"),
    "levels": (page(setting("root", "implicitTiling", "subtreeLevels", 40)), "wrong-field"),
    "no template": (page(setting("root", "implicitTiling", "subtrees", {})), "wrong-field"),
    "with children": (page(setting("root", "children", [{}])), "wrong-field"),
    "a sphere": (page(setting("root", "boundingVolume", {"sphere": [0, 0, 0, 200]})), "wrong-field"),
    "templates without places": (page(setting("root", "content", "uri", "t/0/0/0/0.glb")), "duplicate-uri"),
    "subtrees without places": (page(setting("root", "implicitTiling", "subtrees", "uri", SUBTREE)), "duplicate-uri"),
}  # fmt: skip


@pytest.mark.parametrize("name", SUBTREE_FAULTS)
def test_faults_of_implicit_tiling_are_found(octree, name):
    plant, code = SUBTREE_FAULTS[name]
    plant(octree)
    report = validate(octree)
    assert code in report.totals, report.totals


def test_an_implicit_quadtree_of_regions_is_walked(tmp_path):
    """Two levels below a region, written by hand; the contents lie in the quarters' places."""
    lon, lat, d = np.radians(114.3), np.radians(30.5), 1e-5
    tileset = {
        "asset": {"version": "1.1"}, "geometricError": 100,
        "root": {
            "boundingVolume": {"region": [lon - d, lat - d, lon + d, lat + d, -10, 50]}, "geometricError": 50, "refine": "REPLACE",
            "content": {"uri": "{level}-{x}-{y}.glb"},
            "implicitTiling": {"subdivisionScheme": "QUADTREE", "subtreeLevels": 2, "availableLevels": 2,
                               "subtrees": {"uri": "{level}-{x}-{y}.subtree"}},
        },
    }  # fmt: skip
    (tmp_path / "tileset.json").write_text(json.dumps(tileset))
    bits = np.ones(5, np.bool_)
    (tmp_path / "0-0-0.subtree").write_bytes(subtree.encode(subtree.Subtree(bits, bits, np.zeros(16, np.bool_))))

    def write(name, degrees_lon, degrees_lat):
        ecef = ellipsoid.to_ecef(np.array([[degrees_lon, degrees_lat, 20.0]]))[0]
        writer = GlbWriter()
        position = writer.vertices(np.zeros((3, 3), np.float32), bounds=True)
        mesh = writer.add("meshes", {"primitives": [{"attributes": {"POSITION": position}}]})
        writer.lattice_node(mesh, ecef, 1.0)
        (tmp_path / name).write_bytes(b"".join(bytes(c) for c in writer.chunks()))

    write("0-0-0.glb", 114.3, 30.5)
    for x in (0, 1):
        for y in (0, 1):
            write(f"1-{x}-{y}.glb", 114.3 + np.degrees(d) * (x - 0.5), 30.5 + np.degrees(d) * (y - 0.5))
    report = validate(tmp_path)
    assert report.totals == {}
    assert report.counts["contents"] == 5
    shutil.copy(tmp_path / "1-0-1.glb", tmp_path / "1-1-0.glb")
    assert "content-outside-box" in validate(tmp_path).totals


def test_expected_box(sound):
    extent = validate(sound / MESH).extent
    assert validate(sound / MESH, expect=extent).ok
    assert "outside-expected" in validate(sound / MESH, expect=(*extent[:3], extent[3] - 1e-4, *extent[4:])).totals
    assert "outside-expected" in validate(sound / MESH, expect=(*extent[:2], extent[2] + 1.0, *extent[3:])).totals


@pytest.fixture
def workspace(tmp_path):
    with Archive(tmp_path / "tiles") as archive:
        archive.publish(MESH, fill(archive, "s", mesh_tiles), mesh_info())
        archive.publish(OCTREE, fill(archive, "o", octree_tiles), octree_info())
        yield archive


@pytest.mark.parametrize("dataset", [MESH, OCTREE])
def test_damage_in_the_archive_is_found(workspace, dataset):
    from tiling.archive.pages import LIVE

    assert validate(Archived(workspace.root, dataset)).totals == {}
    db = workspace._db
    codes = set()
    path = workspace.packs / ("s.pack" if dataset == MESH else "o.pack")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    data[-1] ^= 1
    path.write_bytes(data)
    codes |= validate(Archived(workspace.root, dataset)).totals.keys()
    assert codes & {"hash-wrong", "entry-broken"}
    counts = json.dumps({"points": 1, "triangles": 1})
    db.execute("UPDATE snapshot SET counts=?", (counts,))
    assert "counts-differ" in validate(Archived(workspace.root, dataset)).totals
    db.execute("UPDATE snapshot SET info=replace(info, '114.3', '114.4')")
    assert "transform-differs" in validate(Archived(workspace.root, dataset)).totals
    db.execute("UPDATE content SET gzip = 1 - gzip WHERE id NOT IN (SELECT content FROM page WHERE name=?)", (LIVE,))
    db.execute("UPDATE meta SET generation=generation+1")
    found = validate(Archived(workspace.root, dataset)).totals
    assert "gzip-stored" in found
    assert ("entry-broken" if dataset == MESH else "subtree-broken") in found


def test_an_unknown_snapshot_is_a_usage_error(workspace, tmp_path):
    for target in (Archived(workspace.root, "nothing"), Archived(workspace.root, MESH, 9), tmp_path / "none", tmp_path):
        with pytest.raises(UsageError):
            validate(target)
    (tmp_path / "x.3tz").write_bytes(b"PK")
    with pytest.raises(UsageError):
        validate(tmp_path / "x.3tz")


def test_the_index_of_a_3tz_is_checked(sound, tmp_path):
    def copy(name, change):
        with zipfile.ZipFile(sound / f"{MESH}.3tz") as old, zipfile.ZipFile(tmp_path / name, "w") as new:
            for entry in old.infolist():
                data = old.read(entry)
                if (changed := change(entry.filename, data)) is not None:
                    new.writestr(zipfile.ZipInfo(entry.filename), changed)
        return validate(tmp_path / name).totals

    assert copy("same.3tz", lambda n, d: d) == {}
    assert copy("cut.3tz", lambda n, d: d[:-24] if n == export.INDEX else d) == {"index-wrong": 1}
    assert copy("none.3tz", lambda n, d: None if n == export.INDEX else d) == {"index-missing": 1}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=6,
)


def paths_of(value, prefix=()):
    yield prefix
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths_of(inner, (*prefix, key))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), what=st.sampled_from(["tileset", "implicit", "glb"]), value=JSON)
def test_hostile_json_gives_a_report(tmp_path_factory, small, data, what, value):
    """Any value in any place of a page or a glb: never an exception, always a JSON-able report."""
    folder = tmp_path_factory.mktemp("hostile")
    name = "octree" if what == "implicit" else "mesh"
    shutil.copytree(small / name, folder / name)
    path = next((folder / name).rglob("0-0.glb")) if what == "glb" else folder / name / "tileset.json"
    document = glb.parse(path.read_bytes()).json if what == "glb" else json.loads(path.read_text("utf-8"))
    place = data.draw(st.sampled_from(sorted(paths_of(document), key=repr)))
    if not place:
        document = value
    else:
        at(document, *place[:-1])[place[-1]] = value
    if what == "glb":
        binary = bytes(glb.parse(path.read_bytes()).binary)
        text = json.dumps(document).encode()
        text += b" " * (-len(text) % 4)
        head = struct.pack("<5I", glb.MAGIC, 2, 28 + len(text) + len(binary), len(text), glb.JSON_CHUNK)
        path.write_bytes(head + text + struct.pack("<2I", len(binary), glb.BIN_CHUNK) + binary)
    else:
        path.write_text(json.dumps(document), "utf-8")
    record = validate(folder / name).record()
    assert json.loads(json.dumps(record, allow_nan=False))["ok"] == (not record["errors"])
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("small")
    with Archive(root / "tiles") as archive:
        archive.publish(MESH, fill(archive, "s", mesh_tiles, count=3), mesh_info())
        archive.publish(OCTREE, fill(archive, "o", octree_tiles, depth=1), octree_info())
        archive.export(MESH, root / MESH)
        archive.export(OCTREE, root / OCTREE)
    return root


def test_the_sample_cube_is_the_octree_root():
    assert box((0.0, 0.0, 0.0), 64.0) == CUBE


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
