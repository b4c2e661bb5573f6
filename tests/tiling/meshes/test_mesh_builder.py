"""OSGB productions to tiles: the tree, the errors, the places, and what happens to broken files."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pyproj import CRS, Transformer

from importers import open_source
from importers.osgb.writer import PagedNode, write_osgb
from tests.importers.osgb.scenes import METADATA, block, paged, production, sheet
from tests.tiling.meshes.building import STEP, Built, build, corners, frame_positions, job_of
from tests.validator import gltf_errors
from tiling.meshes import MeshBuilder
from tim.sources import MeshTree, NodeRef


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(job_of(production(tmp_path_factory.mktemp("meshes") / "p")))


def check_tree(built: Built) -> None:
    seen: dict[str, object] = {}
    parents = {tile.parent for tile in built.tiles}
    for tile in built.tiles:
        assert tile.key not in seen
        assert tile.refine == "REPLACE"
        low, high = corners(tile)
        assert (high >= low).all()
        if tile.key not in parents:
            assert tile.geometric_error == 0
        if tile.parent is not None:
            assert tile.parent in seen, "parents come first"
            parent = built.by_key[tile.parent]
            assert tile.geometric_error <= parent.geometric_error
            parent_low, parent_high = corners(parent)
            assert (low >= parent_low).all()
            assert (high <= parent_high).all()
        if tile.content is not None:
            points = np.concatenate(frame_positions(built.glb(tile)))
            assert (points >= low - 1e-9).all()
            assert (points <= high + 1e-9).all()
            assert len(points) == tile.counts["vertices"]
        seen[tile.key] = tile


def worst_error(built: Built) -> tuple[float, int]:
    """Largest distance in metres to pyproj's own way through the CRS's parameters, and vertices compared."""
    refs = {ref.key: ref for ref in built.job.sources}
    to_ecef = Transformer.from_crs(4979, 4978, always_xy=True)
    worst, count = 0.0, 0
    for tile in built.tiles:
        if tile.content is None:
            continue
        source, file = tile.key.removeprefix("osgb/").split("/", 1)
        path, _, index = file.rpartition("#")
        ref, tree = refs[source], open_source(refs[source])
        assert isinstance(tree, MeshTree)
        node = tree.load(NodeRef(path))[int(index)]
        assert node.key == file
        local = Transformer.from_crs(CRS(ref.place.crs), 4490, always_xy=True)
        decoded = frame_positions(built.glb(tile))
        assert len(decoded) == len(node.meshes)
        for ours, mesh in zip(decoded, node.meshes, strict=True):
            native = mesh.positions.astype(float) + ref.place.origin
            lon, lat = local.transform(native[:, 0], native[:, 1])
            exact = np.column_stack(to_ecef.transform(lon, lat, native[:, 2]))
            worst = max(worst, float(np.linalg.norm(built.job.frame.to_ecef(ours) - exact, axis=1).max()))
            count += len(native)
    return worst, count


def test_the_tree_is_that_of_the_files(built: Built):
    check_tree(built)
    name = "Tile_+000_+000"
    tops = [tile for tile in built.tiles if tile.parent is None]
    assert [tile.key for tile in tops] == [f"osgb/Tile_+000_+00{n}/Tile_+000_+00{n}.osgb#0" for n in range(2)]
    by_key = built.by_key
    assert by_key[f"osgb/{name}/{name}_L1_0.osgb#2"].parent == f"osgb/{name}/{name}.osgb#0"
    assert by_key[f"osgb/{name}/{name}_L2_02.osgb#0"].parent == f"osgb/{name}/{name}_L1_0.osgb#2"
    assert len(built.tiles) == 2 * (1 + 4 + 16 // 4)


def test_errors_are_sixteen_pixels_at_the_switch(built: Built):
    name = "osgb/Tile_+000_+000/Tile_+000_+000"
    errors = [built.by_key[f"{name}{end}"].geometric_error for end in (".osgb#0", "_L1_0.osgb#0", "_L2_00.osgb#0")]
    assert errors == pytest.approx([16 * 1.0, 16 * 0.5, 0], rel=1e-6)


def test_every_vertex_lies_where_pyproj_puts_it(built: Built):
    worst, count = worst_error(built)
    assert count >= 1000
    assert worst <= 0.001


def test_counts_and_contents_agree(built: Built):
    for key in ("vertices", "triangles"):
        assert sum(t.counts.get(key, 0) for t in built.tiles) == sum(r.counts[key] for r in built.results)
    assert built.problems == []


def test_jpeg_is_passed_through(built: Built):
    tile = next(t for t in built.tiles if t.key.endswith("_L1_0.osgb#3"))
    tree = open_source(built.job.sources[0])
    assert isinstance(tree, MeshTree)
    texture = tree.load(NodeRef("Tile_+000_+000_L1_0.osgb"))[3].meshes[0].texture
    assert texture is not None
    document = built.glb(tile)
    assert document.json["images"][0]["mimeType"] == "image/jpeg"
    assert bytes(document.view(document.json["images"][0]["bufferView"])) == bytes(texture.data)


def test_every_vertex_is_on_the_datasets_lattice(built: Built):
    """Whatever the tile's own origin: so a vertex that two tiles share is one place (see test_mesh_content)."""
    for tile in built.tiles:
        steps = np.concatenate(frame_positions(built.glb(tile))) / STEP
        assert np.array_equal(steps, np.rint(steps))


def test_glb_is_valid(built: Built, tmp_path: Path):
    for name, data in built.contents.items():
        (tmp_path / f"{name}.glb").write_bytes(data)
    assert gltf_errors(tmp_path) == []


def test_same_bytes_whatever_the_order_the_shards_and_the_path(built: Built, tmp_path: Path):
    other = tmp_path / "别处 elsewhere"
    shutil.copytree(Path(built.job.sources[0].uri).parents[1], other)
    again = build(job_of(other, {"shard_bytes": 20_000}), backwards=True)
    assert len(again.results) > len(built.results)
    assert again.tiles == built.tiles
    assert again.contents == built.contents


def test_shards_name_their_source_and_are_plain_json(built: Built):
    shards = list(MeshBuilder().plan(built.job, "build", {}))
    assert [shard.spec["source"] for shard in shards] == [ref.key for ref in built.job.sources]
    assert all(json.loads(json.dumps(shard.spec)) == shard.spec for shard in shards)
    assert all(json.loads(json.dumps(result.output)) == result.output for result in built.results)
    assert str(Path(built.job.sources[0].uri).parent) not in json.dumps([shard.spec for shard in shards])


def spoilt(tmp_path: Path, name: str, cut: float = 0.5) -> Built:
    folder = production(tmp_path / "p", blocks=1)
    path = folder / "Data" / "Tile_+000_+000" / name
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    return build(job_of(folder))


def test_a_file_cut_in_half_leaves_its_parent_visible_as_a_leaf(tmp_path: Path):
    built = spoilt(tmp_path, "Tile_+000_+000_L2_01.osgb")
    check_tree(built)
    assert [(code, fields["file"]) for code, fields in built.problems] == [
        ("osgb.truncated", "Tile_+000_+000/Tile_+000_+000_L2_01.osgb")
    ]
    parent = built.by_key["osgb/Tile_+000_+000/Tile_+000_+000_L1_0.osgb#1"]
    assert parent.content is not None
    assert parent.geometric_error == 0
    sibling = built.by_key["osgb/Tile_+000_+000/Tile_+000_+000_L1_0.osgb#0"]
    assert sibling.geometric_error == pytest.approx(8)


def test_what_hangs_below_a_broken_file_goes_with_it(tmp_path: Path):
    built = spoilt(tmp_path, "Tile_+000_+000_L1_0.osgb")
    check_tree(built)
    assert [tile.key for tile in built.tiles] == ["osgb/Tile_+000_+000/Tile_+000_+000.osgb#0"]
    assert built.tiles[0].geometric_error == 0


def test_a_broken_root_is_replaced_by_what_it_linked_to(tmp_path: Path):
    folder = production(tmp_path / "p", blocks=1)
    job = job_of(folder)
    path = folder / "Data" / "Tile_+000_+000" / "Tile_+000_+000.osgb"
    data = bytearray(path.read_bytes())
    data[40:60] = b"\xff" * 20
    path.write_bytes(data)
    built = build(job)
    check_tree(built)
    tops = [tile.key for tile in built.tiles if tile.parent is None]
    assert tops == [f"osgb/Tile_+000_+000/Tile_+000_+000_L1_0.osgb#{n}" for n in range(4)]
    assert len(built.problems) == 1


def test_files_nobody_links_to_are_shown(tmp_path: Path):
    folder = production(tmp_path / "p", blocks=1)
    extra = folder / "Data" / "Tile_+000_+000" / "extra.osgb"
    write_osgb(extra, [PagedNode((sheet((200, 0), 10, 2),))])
    built = build(job_of(folder))
    check_tree(built)
    assert built.by_key["osgb/Tile_+000_+000/extra.osgb#0"].parent is None


def test_links_in_circles_and_twice(tmp_path: Path):
    folder = tmp_path / "p" / "Tile"
    folder.mkdir(parents=True)
    (tmp_path / "p" / "metadata.xml").write_text(
        METADATA.format(srs="EPSG:4547", origin="500000,2500000"), encoding="utf-8"
    )
    for name, child in (("Tile", "a"), ("a", "b"), ("b", "a")):
        write_osgb(folder / f"{name}.osgb", [paged(sheet((0, 0), 10, 2, seed=ord(child)), f"{child}.osgb", 1.0)])
    built = build(job_of(tmp_path / "p"))
    check_tree(built)
    assert [(t.key, t.parent) for t in built.tiles] == [
        ("osgb/Tile/Tile.osgb#0", None), ("osgb/Tile/a.osgb#0", "osgb/Tile/Tile.osgb#0"), ("osgb/Tile/b.osgb#0", "osgb/Tile/a.osgb#0"),
    ]  # fmt: skip


def test_a_vertex_out_of_this_world_costs_its_file_only(tmp_path: Path):
    folder = production(tmp_path / "p", blocks=1)
    mesh = sheet((0, 0), 10, 2)
    mesh.positions[3] = [1e30, 0, 0]
    write_osgb(folder / "Data" / "Tile_+000_+000" / "Tile_+000_+000_L2_00.osgb", [PagedNode((mesh,))])
    built = build(job_of(folder))
    check_tree(built)
    ((code, fields),) = built.problems
    assert code.split(".")[0] in ("meshes", "place")
    assert fields["file"] == "Tile_+000_+000/Tile_+000_+000_L2_00.osgb"


def test_many_blocks_get_a_quadtree_above(tmp_path: Path):
    folder = tmp_path / "p"
    for number in range(30):
        block(folder / f"Tile_{number:03d}", low=(100.0 * (number % 6), 100.0 * (number // 6)), levels=2)
    (folder / "metadata.xml").write_text(METADATA.format(srs="EPSG:4547", origin="500000,2500000"), encoding="utf-8")
    built = build(job_of(folder, {"quadtree_from": 20}))
    check_tree(built)
    cells = [tile for tile in built.tiles if tile.key.startswith("quad/")]
    assert [tile.key for tile in built.tiles if tile.parent is None] == ["quad/0/0/0"]
    assert len(cells) > 1
    for cell in cells:
        assert cell.content is None
        low, high = corners(cell)
        assert cell.geometric_error >= float(np.linalg.norm(high - low)) * 0.999
    assert {built.by_key[t.key].parent[:4] for t in built.tiles if t.key.endswith(".osgb#0") and "_L" not in t.key} == {
        "quad"
    }  # type: ignore[index]
    flat = build(replace(built.job, settings={"quadtree_from": 30}))
    assert not [tile for tile in flat.tiles if tile.key.startswith("quad/")]


def test_real_production(real_data: Path, tmp_path: Path):
    built = build(job_of(real_data / "oblique"))
    check_tree(built)
    worst, count = worst_error(built)
    assert count > 400_000
    assert worst <= 0.001
    tops = [tile for tile in built.tiles if tile.parent is None]
    assert [tile.geometric_error for tile in tops] == [64.0] * 3
    assert {tile.geometric_error for tile in built.tiles} == {64.0, 32.0, 16.0, 8.0, 4.0, 0.0}
    missing = [fields for code, fields in built.problems if code == "osgb.child-missing"]
    assert len(missing) == len(built.problems) > 80
    assert all("_L20_" in fields["child"] for fields in missing)
    for tile in built.tiles[::5]:
        assert tile.content is not None
        (tmp_path / f"{tile.content.hash}.glb").write_bytes(built.contents[tile.content.hash])
    assert gltf_errors(tmp_path) == []
