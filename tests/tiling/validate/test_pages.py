"""Sound tilesets pass without a word; faults of pages are found."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from tests.tiling.samples import (
    FRAME,
    box,
)
from tests.tiling.validate.faults import MESH, OCTREE, at, deleting, edit, setting
from tiling.validate import Archived, validate
from tim.place import ellipsoid


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


def test_expected_box(sound):
    extent = validate(sound / MESH).extent
    assert validate(sound / MESH, expect=extent).ok
    assert "outside-expected" in validate(sound / MESH, expect=(*extent[:3], extent[3] - 1e-4, *extent[4:])).totals
    assert "outside-expected" in validate(sound / MESH, expect=(*extent[:2], extent[2] + 1.0, *extent[3:])).totals
