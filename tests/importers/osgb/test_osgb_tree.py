"""Scene graphs to nodes: which levels become which nodes, what is left out and said."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from importers.osgb import tree
from importers.osgb.arrays import Array, Primitives
from importers.osgb.image import Image
from importers.osgb.scene import DISTANCE, PIXEL_SIZE, Geometry, Item, Lod, Node, StateSet
from importers.osgb.writer import PagedNode, encode_osgb, write_osgb
from tests.importers.osgb.scenes import jpeg, paged, sheet
from tim.errors import CorruptSource
from tim.sources import MeshNode, NodeRef


def triangle(x: float = 0.0, size: float = 3.0) -> Geometry:
    """Its box has a diagonal of ``size * sqrt(2)``."""
    points = np.array([[x, 0, 0], [x + size, 0, 0], [x, size, 0]], np.float32)
    return Geometry(
        "osg::Geometry", primitives=[Primitives(4, [np.array([0, 1, 2], np.uint32)])], vertices=Array(points)
    )


def geode(*drawables: Item) -> Node:
    return Node("osg::Geode", children=list(drawables))


def nodes(monkeypatch: pytest.MonkeyPatch, folder: Path, root: Item) -> list[MeshNode]:
    monkeypatch.setattr(tree, "read_scene", lambda data, name: root)
    return tree.nodes_of(b"", folder, "f.osgb", "f.osgb")


def first_x(node: MeshNode) -> list[float]:
    return [float(mesh.positions[0, 0]) for mesh in node.meshes]


def test_plain_geometry_beside_paged_is_a_leaf_of_its_own(monkeypatch, tmp_path):
    (tmp_path / "c.osgb").touch()
    lod = Lod(
        "osg::PagedLOD",
        children=[geode(triangle(1))],
        range_mode=PIXEL_SIZE,
        ranges=[(0, 100), (100, 1e30)],
        files=["", "c.osgb"],
    )
    leaf, paged_node = nodes(
        monkeypatch, tmp_path, Node("osg::Group", children=[lod, geode(triangle(2)), geode(triangle(3))])
    )
    assert (leaf.key, first_x(leaf), leaf.children) == ("f.osgb#0", [2, 3], ())
    assert (paged_node.key, first_x(paged_node)) == ("f.osgb#1", [1])
    (link,) = paged_node.children
    assert link.target == NodeRef("c.osgb")
    assert link.metres_per_pixel == pytest.approx(3 * math.sqrt(2) / 100)


def test_given_radius_counts_and_grows_with_transforms(monkeypatch, tmp_path):
    (tmp_path / "c.osgb").touch()
    lod = Lod(
        "osg::PagedLOD", children=[geode(triangle())], center_mode=1, center=(0, 0, 0), radius=50.0, range_mode=PIXEL_SIZE,
        ranges=[(0, 25), (25, 1e30)], files=["", "c.osgb"],
    )  # fmt: skip
    (plain,) = nodes(monkeypatch, tmp_path, lod)
    assert plain.children[0].metres_per_pixel == 4.0
    (grown,) = nodes(
        monkeypatch, tmp_path, Node("osg::MatrixTransform", children=[lod], matrix=np.diag([2.0, 2, 2, 1]))
    )
    assert grown.children[0].metres_per_pixel == pytest.approx(8.0)
    assert grown.meshes[0].positions.max() == 6.0


def test_distance_ranges_switch_where_a_pixel_of_the_reference_screen_is_that_size(monkeypatch, tmp_path):
    (tmp_path / "c.osgb").touch()
    lod = Lod(
        "osg::PagedLOD",
        children=[geode(triangle())],
        range_mode=DISTANCE,
        ranges=[(935.3, 1e30), (0, 935.3)],
        files=["", "c.osgb"],
    )
    (node,) = nodes(monkeypatch, tmp_path, lod)
    assert first_x(node) == [0]
    assert node.children[0].metres_per_pixel == pytest.approx(1.0, abs=1e-3)


def test_inline_levels_nest(monkeypatch, tmp_path):
    lod = Lod(
        "osg::LOD", children=[geode(triangle(1)), geode(triangle(2)), geode(triangle(3))], center_mode=1, radius=50, range_mode=PIXEL_SIZE,
        ranges=[(0, 100), (100, 400), (400, 1e30)],
    )  # fmt: skip
    (coarse,) = nodes(monkeypatch, tmp_path, lod)
    (middle_link,) = coarse.children
    middle = middle_link.target
    assert isinstance(middle, MeshNode)
    (fine_link,) = middle.children
    assert isinstance(fine_link.target, MeshNode)
    assert [first_x(coarse), first_x(middle), first_x(fine_link.target)] == [[1], [2], [3]]
    assert [middle_link.metres_per_pixel, fine_link.metres_per_pixel] == [1.0, 0.25]
    assert [coarse.key, middle.key, fine_link.target.key] == ["f.osgb#0", "f.osgb#1", "f.osgb#2"]


def test_several_files_of_one_level_are_all_linked(monkeypatch, tmp_path):
    for name in ("a.osgb", "b.osgb"):
        (tmp_path / name).touch()
    lod = Lod(
        "osg::PagedLOD", children=[geode(triangle())], center_mode=1, radius=50, range_mode=PIXEL_SIZE,
        ranges=[(0, 100), (100, 1e30), (100, 1e30)], files=["", "a.osgb", "b.osgb"],
    )  # fmt: skip
    (node,) = nodes(monkeypatch, tmp_path, lod)
    assert [link.target for link in node.children] == [NodeRef("a.osgb"), NodeRef("b.osgb")]


def test_two_external_levels_use_the_finer_and_say_so(monkeypatch, tmp_path):
    for name in ("a.osgb", "b.osgb"):
        (tmp_path / name).touch()
    lod = Lod(
        "osg::PagedLOD", children=[geode(triangle())], center_mode=1, radius=50, range_mode=PIXEL_SIZE,
        ranges=[(0, 100), (100, 400), (400, 1e30)], files=["", "a.osgb", "b.osgb"],
    )  # fmt: skip
    (node,) = nodes(monkeypatch, tmp_path, lod)
    assert [(link.target, link.metres_per_pixel) for link in node.children] == [(NodeRef("b.osgb"), 1.0)]
    assert [code for code, _ in node.problems] == ["osgb.level-skipped"]


def test_missing_child_makes_a_leaf_with_a_problem(tmp_path):
    write_osgb(tmp_path / "f.osgb", [paged(sheet((0, 0), 5, 2), "gone.osgb", 1.0)])
    (node,) = tree.nodes_of((tmp_path / "f.osgb").read_bytes(), tmp_path, "f.osgb", "Tile/f.osgb")
    assert node.children == ()
    assert node.problems == (("osgb.child-missing", {"file": "Tile/f.osgb", "child": "gone.osgb"}),)


@pytest.mark.parametrize(
    "name", ["../secret.osgb", "a/../../secret.osgb", "/etc/passwd", "C:\\x.osgb", "..\\secret.osgb", "a\0b.osgb"]
)
def test_links_out_of_the_folder_are_refused(tmp_path, name):
    folder = tmp_path / "block"
    folder.mkdir()
    (tmp_path / "secret.osgb").touch()
    data = encode_osgb([paged(sheet((0, 0), 5, 2), name, 1.0)], "f")
    (node,) = tree.nodes_of(data, folder, "f.osgb", "f.osgb")
    assert node.children == ()
    assert [code for code, _ in node.problems] == ["osgb.child-outside"]


def test_links_through_a_symlink_out_of_the_folder_are_refused(tmp_path):
    folder = tmp_path / "block"
    folder.mkdir()
    (tmp_path / "secret.osgb").touch()
    (folder / "inside.osgb").symlink_to(tmp_path / "secret.osgb")
    (node,) = tree.nodes_of(encode_osgb([paged(sheet((0, 0), 5, 2), "inside.osgb", 1.0)], "f"), folder, "f.osgb", "f")
    assert [code for code, _ in node.problems] == ["osgb.child-outside"]


def test_windows_paths_and_names_in_chinese(monkeypatch, tmp_path):
    (tmp_path / "子目录").mkdir()
    (tmp_path / "子目录" / "瓦片.osgb").touch()
    lod = Lod(
        "osg::PagedLOD",
        children=[geode(triangle())],
        range_mode=PIXEL_SIZE,
        ranges=[(0, 9), (9, 1e30)],
        files=["", "瓦片.osgb"],
    )
    lod.database_path = "子目录\\"
    (node,) = nodes(monkeypatch, tmp_path, lod)
    assert node.children[0].target == NodeRef("子目录/瓦片.osgb")
    lod.database_path, lod.files = "D:\\production\\Data\\", ["", "子目录\\瓦片.osgb"]
    (node,) = nodes(monkeypatch, tmp_path, lod)
    assert node.children[0].target == NodeRef("子目录/瓦片.osgb")


def test_gbk_strings_are_understood(tmp_path):
    name = "瓦片.osgb"
    (tmp_path / name).touch()
    utf8, gbk = name.encode("utf-8"), name.encode("gb18030")
    data = encode_osgb([paged(sheet((0, 0), 5, 2), name, 1.0)], "f")
    data = data.replace(len(utf8).to_bytes(4, "little") + utf8, len(gbk).to_bytes(4, "little") + gbk)
    (node,) = tree.nodes_of(data, tmp_path, "f.osgb", "f")
    assert node.children[0].target == NodeRef(name)


@pytest.mark.parametrize(("mode", "indices", "expected"), [
    (4, [0, 1, 2, 2, 1, 3], [[0, 1, 2], [2, 1, 3]]),
    (5, [0, 1, 2, 3], [[0, 1, 2], [1, 3, 2]]),
    (6, [0, 1, 2, 3], [[0, 1, 2], [0, 2, 3]]),
    (7, [0, 1, 2, 3], [[0, 1, 2], [0, 2, 3]]),
    (8, [0, 1, 2, 3], [[0, 1, 3], [0, 3, 2]]),
    (9, [0, 1, 2, 3], [[0, 1, 2], [0, 2, 3]]),
    (1, [0, 1], []),
    (5, [0, 1], []),
])  # fmt: skip
def test_primitive_modes(mode, indices, expected):
    found = [t.tolist() for part in Primitives(mode, [np.array(indices, np.uint16)]).triangles() for t in part]
    assert found == expected


def test_vertices_that_are_not_there_or_not_finite_break_the_file(monkeypatch, tmp_path):
    broken = triangle()
    broken.primitives[0].runs[0] = np.array([0, 1, 3], np.uint32)
    with pytest.raises(CorruptSource) as caught:
        nodes(monkeypatch, tmp_path, geode(broken))
    assert caught.value.code == "osgb.index"
    broken = triangle()
    assert broken.vertices is not None
    broken.vertices.values[0, 0] = np.nan
    with pytest.raises(CorruptSource) as caught:
        nodes(monkeypatch, tmp_path, geode(broken))
    assert caught.value.code == "osgb.not-finite"


def test_state_is_inherited_and_texture_turned_upside_down(monkeypatch, tmp_path):
    image = jpeg()
    shape = triangle()
    shape.texcoords = [Array(np.array([[0, 0], [1, 0], [0.25, 0.75]], np.float32))]
    parent = Node(
        "osg::Group", state=StateSet("osg::StateSet", Image("x.jpg", memoryview(image.data))), children=[geode(shape)]
    )
    (node,) = nodes(monkeypatch, tmp_path, parent)
    mesh = node.meshes[0]
    assert mesh.texture is not None
    assert bytes(mesh.texture.data) == image.data
    assert mesh.uv is not None
    assert mesh.uv.tolist() == [[0, 1], [1, 1], [0.25, 0.25]]


def test_broken_and_external_images(monkeypatch, tmp_path):
    shape = triangle()
    shape.texcoords = [Array(np.zeros((3, 2), np.float32))]
    (tmp_path / "beside.jpg").write_bytes(jpeg().data)
    for image, code in (
        (Image("x.jpg", memoryview(b"no image")), "osgb.image"),
        (Image("gone.jpg"), "osgb.image"),
        (Image("../beside.jpg"), "osgb.child-outside"),
        (Image("beside.jpg"), None),
    ):
        shape.state = StateSet("osg::StateSet", image)
        (node,) = nodes(monkeypatch, tmp_path, geode(shape))
        assert [c for c, _ in node.problems] == ([code] if code else [])
        assert (node.meshes[0].texture is None) == (code is not None)


def test_writing_is_deterministic_and_reads_back(tmp_path):
    mesh = sheet((1, 2), 7, 5, seed=3)
    items = [paged(mesh, "c.osgb", 0.25), PagedNode((mesh,))]
    assert encode_osgb(items, "a") == encode_osgb(items, "a")
    (tmp_path / "c.osgb").touch()
    leaf, node = tree.nodes_of(encode_osgb(items, "a"), tmp_path, "a.osgb", "a")
    assert leaf.children == ()
    assert node.children[0].metres_per_pixel == pytest.approx(0.25, rel=1e-6)
    back = node.meshes[0]
    assert np.array_equal(back.positions, mesh.positions)
    assert np.array_equal(back.triangles, mesh.triangles)
    assert back.uv is not None
    assert mesh.uv is not None
    assert np.allclose(back.uv, mesh.uv, atol=1e-7)
    assert back.texture is not None
    assert mesh.texture is not None
    assert bytes(back.texture.data) == mesh.texture.data
