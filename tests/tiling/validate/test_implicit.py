"""Faults of implicit tiling."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from tests.tiling.samples import (
    CUBE,
    box,
)
from tests.tiling.validate.faults import edit, setting
from tiling.spec import subtree
from tiling.spec.glb import GlbWriter
from tiling.validate import validate
from tim.place import ellipsoid

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


def test_the_sample_cube_is_the_octree_root():
    assert box((0.0, 0.0, 0.0), 64.0) == CUBE
