"""Deliveries by structure: what is found, what it is called, what is left out and why."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from importers import ImportContext, Probe, open_source, osgb
from importers.osgb.production import blocks_below
from importers.osgb.writer import PagedNode, write_osgb
from tests.importers.osgb.scenes import METADATA, block, paged, production, sheet
from tim.errors import SourceError
from tim.model import ObjectRecord, Rejected
from tim.place import Place
from tim.place.resolve import PlaceOptions, resolve
from tim.sources import MeshTree, NodeRef, SourceRef


def place_of(probe: Probe) -> Place:
    assert probe.low is not None
    assert probe.high is not None
    options = PlaceOptions(crs=None if probe.found.horizontal else "ENU:30.5,114.25", vertical="ellipsoid")
    low, high = np.array(probe.low), np.array(probe.high)
    return resolve(probe.found, options, low, high)


def read(path: Path, key: str = "") -> tuple[list[SourceRef], list[ObjectRecord], list[Rejected]]:
    (probe,) = osgb.probe(path, key)
    items = list(osgb.read(probe, ImportContext(place_of(probe), "layer")))
    return tuple([i for i in items if isinstance(i, kind)] for kind in (SourceRef, ObjectRecord, Rejected))  # type: ignore[return-value]


def test_a_production_is_one_probe(tmp_path):
    folder = production(tmp_path / "Production_5")
    (probe,) = osgb.probe(folder)
    assert (probe.format, probe.kind, probe.key, probe.fatal, probe.problems) == ("osgb", "meshes", "", False, ())
    files = list(folder.rglob("*.osgb"))
    assert probe.files == len(files)
    assert probe.size == sum(f.stat().st_size for f in files)
    assert probe.low is not None
    assert probe.high is not None
    assert np.allclose(probe.low[:2], [0, 0], atol=1e-3)
    assert np.allclose(probe.high[:2], [100, 200], atol=1e-3)
    assert probe.found.horizontal == "EPSG:4547"


def test_each_block_is_an_object_and_a_source(tmp_path):
    sources, objects, rejected = read(production(tmp_path / "p"), "deliveries/p")
    assert rejected == []
    assert [ref.key for ref in sources] == ["deliveries/p/Tile_+000_+000", "deliveries/p/Tile_+000_+001"]
    first = objects[0]
    assert first.source_key == sources[0].key
    assert (first.class_id, first.name, first.layer) == ("survey.oblique-model", "Tile_+000_+000", "layer")
    assert first.attributes["files"] == 6
    assert first.attributes["levels"] == 3
    assert first.attributes["metres_per_pixel"] == pytest.approx(0.5)
    assert first.attributes["bytes"] == sources[0].fingerprint.size
    assert first.box == sources[0].box
    assert first.representations[0].content == first.source_key
    west, south, bottom, east, north, top = sources[0].box
    assert (west, south) < (east, north)
    assert bottom < 10 + 20 < top


def test_keys_do_not_know_the_path(tmp_path):
    one, _, _ = read(production(tmp_path / "a" / "p"))
    shutil.copytree(tmp_path / "a" / "p", tmp_path / "b" / "elsewhere 别处")
    two, _, _ = read(tmp_path / "b" / "elsewhere 别处")
    for a, b in zip(one, two, strict=True):
        assert (a.key, a.box, a.options, a.fingerprint.sample) == (b.key, b.box, b.options, b.fingerprint.sample)


@pytest.mark.parametrize("layout", ["Data/{}", "Data2/{}", "terra_osgbs/{}", "{}", "model/osgb/{}"])
def test_layouts(tmp_path, layout):
    folder = tmp_path / "delivery"
    for name in ("Block", "BlockB"):
        block(folder / layout.format(name), low=(0, 100 if name == "BlockB" else 0))
    (folder / "metadata.xml").write_text(METADATA.format(srs="EPSG:4547", origin="500000,2500000"), encoding="utf-8")
    sources, _, rejected = read(folder)
    assert [ref.key for ref in sources] == ["Block", "BlockB"]
    assert rejected == []
    for ref in sources:
        tree = open_source(ref)
        assert isinstance(tree, MeshTree)
        assert tree.roots() == [NodeRef(f"{ref.key}.osgb")]
        assert len(tree.files()) == 6


def test_data_and_data2_with_equal_names_keep_apart(tmp_path):
    for part in ("Data", "Data2"):
        block(tmp_path / "p" / part / "Tile_0")
    block(tmp_path / "p" / "Data3" / "Tile_1")
    (tmp_path / "p" / "metadata.xml").write_text(
        METADATA.format(srs="EPSG:4547", origin="500000,2500000"), encoding="utf-8"
    )
    sources, _, _ = read(tmp_path / "p")
    assert [ref.key for ref in sources] == ["Data/Tile_0", "Data2/Tile_0", "Tile_1"]


def test_metadata_is_found_from_inside_and_missing_is_said(tmp_path):
    folder = production(tmp_path / "p", blocks=1)
    assert osgb.probe(folder / "Data")[0].found.horizontal == "EPSG:4547"
    assert osgb.probe(folder / "Data" / "Tile_+000_+000")[0].found.horizontal == "EPSG:4547"
    (folder / "metadata.xml").unlink()
    (probe,) = osgb.probe(folder)
    assert probe.found.horizontal is None
    assert not probe.fatal


def test_broken_metadata_is_a_problem_not_the_end(tmp_path):
    folder = production(tmp_path / "p", blocks=1, origin="here")
    (probe,) = osgb.probe(folder)
    assert [p.code for p in probe.problems] == ["osgb.metadata"]
    assert probe.found.horizontal is None
    assert not probe.fatal


def test_several_productions_under_one_folder_are_left_to_the_walk(tmp_path):
    for name in ("north", "south"):
        production(tmp_path / "all" / name, blocks=1)
    assert osgb.probe(tmp_path / "all") == []
    assert len(osgb.probe(tmp_path / "all" / "north")) == 1


def test_one_block_one_file_flat_folder(tmp_path):
    folder = production(tmp_path / "p", blocks=1) / "Data" / "Tile_+000_+000"
    sources, _, _ = read(folder)
    assert [ref.key for ref in sources] == ["Tile_+000_+000"]
    sources, _, _ = read(folder / "Tile_+000_+000.osgb", "Tile_+000_+000.osgb")
    assert [ref.key for ref in sources] == ["Tile_+000_+000.osgb"]
    tree = open_source(sources[0])
    assert isinstance(tree, MeshTree)
    assert len(tree.files()) == 6
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in ("house", "tower"):
        write_osgb(flat / f"{name}.osgb", [paged(sheet((0, 0), 10, 3), f"{name}_fine.osgb", 0.1)])
        write_osgb(flat / f"{name}_fine.osgb", [PagedNode((sheet((0, 0), 10, 9),))])
    sources, _, _ = read(flat)
    (ref,) = sources
    assert ref.key == "flat"
    tree = open_source(ref)
    assert isinstance(tree, MeshTree)
    assert tree.roots() == [NodeRef("house.osgb"), NodeRef("tower.osgb")]


def test_foreign_places_are_nothing(tmp_path):
    (tmp_path / "a.osgb").write_bytes(b"\xff\xd8\xff not a scene")
    (tmp_path / "b.las").write_bytes(b"LASF")
    assert osgb.probe(tmp_path / "a.osgb") == []
    assert osgb.probe(tmp_path / "b.las") == []
    assert osgb.probe(tmp_path / "missing") == []
    empty = tmp_path / "empty"
    empty.mkdir()
    assert osgb.probe(empty) == []


def test_broken_files_are_reported_where_they_are_seen(tmp_path):
    folder = production(tmp_path / "p")
    good, bad = (folder / "Data" / f"Tile_+000_+00{n}" for n in range(2))
    (bad / f"{bad.name}.osgb").write_bytes((bad / f"{bad.name}.osgb").read_bytes()[:100])
    (good / f"{good.name}_L2_01.osgb").write_bytes(b"")
    (probe,) = osgb.probe(folder)
    assert [(p.where, p.code) for p in probe.problems] == [("Tile_+000_+001/Tile_+000_+001.osgb", "osgb.truncated")]
    assert not probe.fatal
    sources, objects, rejected = read(folder)
    assert [ref.key for ref in sources] == ["Tile_+000_+000"]
    assert len(objects) == 1
    assert [(r.where, r.code) for r in rejected] == [
        ("Tile_+000_+000/Tile_+000_+000_L2_01.osgb", "osgb.not-osgb"), ("Tile_+000_+001", "osgb.truncated"),
    ]  # fmt: skip


def test_nothing_readable_is_fatal(tmp_path):
    folder = production(tmp_path / "p", blocks=1)
    for file in folder.rglob("*.osgb"):
        file.write_bytes(file.read_bytes()[:60])
    (probe,) = osgb.probe(folder)
    assert probe.fatal
    assert {p.code for p in probe.problems} == {"osgb.truncated", "osgb.no-geometry"}


def test_changed_or_moved_sources_are_refused(tmp_path):
    sources, _, _ = read(production(tmp_path / "p", blocks=1))
    folder = Path(sources[0].uri)
    (folder / "Tile_+000_+000_L2_00.osgb").unlink()
    with pytest.raises(SourceError) as caught:
        open_source(sources[0])
    assert caught.value.code == "osgb.changed"
    shutil.rmtree(folder)
    with pytest.raises(SourceError) as caught:
        open_source(sources[0])
    assert caught.value.code == "osgb.gone"


def test_a_reference_travels_as_json(tmp_path):
    import json

    sources, _, _ = read(production(tmp_path / "p", blocks=1))
    back = SourceRef.from_record(json.loads(json.dumps(sources[0].record())))
    a, b = open_source(sources[0]), open_source(back)
    assert isinstance(a, MeshTree)
    assert isinstance(b, MeshTree)
    assert a == b


def test_real_production(real_data):
    (probe,) = osgb.probe(real_data / "oblique")
    assert probe.files == len(list((real_data / "oblique").rglob("*.osgb")))
    assert [b.name for b in blocks_below(real_data / "oblique")] == [
        "Tile_+000_+012",
        "Tile_+000_+013",
        "Tile_+000_+014",
    ]
    sources, objects, rejected = read(real_data / "oblique")
    assert len(sources) == len(objects) == 3
    assert rejected == []
    assert all(o.attributes["metres_per_pixel"] == 0.25 for o in objects)
