"""EPANET networks against WNTR's reader, and what is wrong with files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from importers import ImportContext, epanet
from importers.epanet.network import parse
from importers.plan import make_plan, place_of
from importers.run import run_import
from importers.solids import tube
from tim.errors import PlaceError, TimError, UsageError, is_warning
from tim.model import Blob, ObjectRecord, Rejected, dataset_uid, derived_id
from tim.place.resolve import PlaceOptions
from tim.shape import decode
from tim.sources import SourceRef
from tim.store import Filter
from tim.workspace import Workspace

PLACES = {
    "Net3": PlaceOptions(crs="ENU:30.5,114.3,20"),
    "ky4": PlaceOptions(crs="EPSG:3089", vertical="+0m", datum="EPSG:1188"),
    "latin1": PlaceOptions(crs="ENU:30.5,114.3", vertical="ellipsoid"),
    "bad_syntax": PlaceOptions(crs="ENU:30.5,114.3", vertical="ellipsoid"),
}
SMALL = """[TITLE]
小网
[JUNCTIONS]
 A 10 5
 B 12
[TANKS]
 T 20 1 0 4 8 0
[PIPES]
 P A B 100 300 100 0 Closed
 Q B T 50 200 100
[VALVES]
 V A T 150 PRV 30 0
[OPTIONS]
 UNITS LPS
[COORDINATES]
 A 0 0
 B 100 0
 T 100 50
[VERTICES]
 P 50 20
[TAGS]
 NODE A first
 LINK P main
[END]
"""


def taken(path: Path, options: PlaceOptions, settings: dict[str, Any] | None = None) -> list[Any]:
    (probe,) = epanet.probe(path)
    context = ImportContext(place_of(probe, options, PlaceOptions()), "net", settings or {}, dataset_uid("net"))
    return list(epanet.read(probe, context))


def written(folder: Path, text: str | bytes, name: str = "net.inp") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("name", ["Net3", "ky4", "latin1"])
def test_all_that_wntr_reads(real_data: Path, name: str):
    """Same nodes and links, kinds, elevations, diameters, vertices, ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wntr

        model = wntr.network.WaterNetworkModel(str(real_data / "city" / "pipes" / f"{name}.inp"))
    path = real_data / "city" / "pipes" / f"{name}.inp"
    network = parse(path.read_bytes())
    assert network.problems == []
    assert {k: v.kind for k, v in network.nodes.items()} == {k: v.node_type.lower() for k, v in model.nodes()}
    assert {k: v.kind for k, v in network.links.items()} == {k: v.link_type.lower() for k, v in model.links()}
    for key, node in model.nodes():
        ours = network.nodes[key]
        assert ours.xy == tuple(node.coordinates)
        assert ours.elevation == pytest.approx(node.base_head if node.node_type == "Reservoir" else node.elevation)
        if node.node_type == "Tank":
            assert (ours.diameter, ours.height) == pytest.approx((node.diameter, node.max_level))
    for key, link in model.links():
        ours = network.links[key]
        assert (ours.start, ours.end) == (link.start_node_name, link.end_node_name)
        assert ours.vertices == [tuple(v) for v in link.vertices]
        if link.link_type == "Pipe":
            assert ours.diameter == pytest.approx(link.diameter)
            assert ours.attributes["length_m"] == pytest.approx(link.length, abs=1e-6)

    found = taken(path, PLACES[name])
    objects = [item for item in found if isinstance(item, ObjectRecord)]
    assert len(objects) == model.num_nodes + model.num_links
    assert len({item.source_key for item in objects}) == len(objects)
    assert not [item for item in found if isinstance(item, Rejected)]
    ids = {derived_id(dataset_uid("net"), "net", item.source_key): item.name for item in objects}
    for item in objects:
        if item.source_key.startswith("link/"):
            link = model.get_link(item.name)
            assert {ids[r.target] for r in item.relations} == {link.start_node_name, link.end_node_name}
            assert {r.kind for r in item.relations} == {"connectsTo"}


def test_a_tube_is_as_wide_as_the_pipe_in_any_unit(tmp_path: Path):
    """300 mm stay 300 mm, whether the map is in metres, in degrees or in feet."""

    def at(x: float, y: float) -> str:
        return SMALL.split("[COORDINATES]")[0] + f"[COORDINATES]\n A {x} {y}\n B {x * (1 + 1e-7)} {y * (1 + 1e-6)}\n"

    cases = [
        (at(500000.0, 3370000.0), PlaceOptions("EPSG:4547", "ellipsoid")),
        (at(114.3, 30.5), PlaceOptions("EPSG:4490", "ellipsoid")),
        (at(4950000.0, 3900000.0), PlaceOptions("EPSG:3089", "ellipsoid,us-ft", "EPSG:1188")),
    ]
    for number, (text, options) in enumerate(cases):
        found = taken(written(tmp_path, text, f"{number}.inp"), options)
        blobs = {b.content: b for b in found if isinstance(b, Blob)}
        objects = {item.source_key: item for item in found if isinstance(item, ObjectRecord)}
        a, b, pipe = (
            decode(blobs[objects[key].representations[0].content].data).xyz for key in ("node/A", "node/B", "link/P")
        )
        axis = (b.mean(axis=0) - a.mean(axis=0)) / np.linalg.norm(b.mean(axis=0) - a.mean(axis=0))
        away = pipe - a.mean(axis=0)
        radii = np.sort(np.linalg.norm(away - np.outer(away @ axis, axis), axis=1))
        assert radii[:2] == pytest.approx(0, abs=1e-3)
        assert radii[2:] == pytest.approx(0.15, abs=1e-3)
        # The elevations of the file are metres (LPS), whatever the unit of the map.
        node = objects["node/A"]
        assert node.box is not None
        assert (node.box[2] + node.box[5]) / 2 == pytest.approx(10, abs=0.01)


def test_attributes_and_depth(tmp_path: Path):
    found = taken(written(tmp_path, SMALL), PLACES["latin1"], {"depth": 3})
    objects = {item.source_key: item for item in found if isinstance(item, ObjectRecord)}
    assert objects["link/P"].attributes == {
        "length_m": 100,
        "diameter_mm": 300,
        "roughness": 100,
        "status": "CLOSED",
        "tag": "main",
    }
    assert objects["node/A"].attributes["tag"] == "first"
    assert objects["link/V"].attributes == {"diameter_mm": 150, "type": "PRV", "setting": "30"}
    box = objects["node/A"].box
    assert box is not None
    assert (box[2] + box[5]) / 2 == pytest.approx(7, abs=1e-3)
    (ref,) = [item for item in found if isinstance(item, SourceRef)]
    assert ref.kind == "objects"
    assert ref.options["layers"] == ["net"]
    with pytest.raises(UsageError):
        taken(tmp_path / "net.inp", PLACES["latin1"], {"depth": "deep"})
    with pytest.raises(UsageError):
        taken(tmp_path / "net.inp", PLACES["latin1"], {"encoding": "no-such"})


def test_bad_lines_are_named(tmp_path: Path, real_data: Path):
    """Each with its number; the rest is imported."""
    broken = SMALL.replace(" B 12\n", " B 12\n C many\n A 3\n D nan\n").replace(
        " Q B T 50 200 100\n", " Q B T 50 200 100\n R B X 50 200 100\n S A B 1 -5 100\n U A\n"
    )
    found = taken(written(tmp_path, broken), PLACES["latin1"])
    assert [(r.where, r.code) for r in found if isinstance(r, Rejected)] == [
        ("net.inp:6", "epanet.bad-line"), ("net.inp:7", "epanet.id-twice"), ("net.inp:8", "epanet.bad-line"), ("net.inp:14", "epanet.unknown-node"),
        ("net.inp:15", "epanet.bad-line"), ("net.inp:16", "epanet.bad-line"),
    ]  # fmt: skip
    assert {item.name for item in found if isinstance(item, ObjectRecord)} == set("ABTPQV")
    for rejected in (r for r in found if isinstance(r, Rejected)):
        assert "{" not in str(TimError(rejected.code, **rejected.fields))
    real = taken(real_data / "city" / "pipes" / "bad_syntax.inp", PLACES["bad_syntax"])
    assert [(r.where, r.code) for r in real if isinstance(r, Rejected)] == [
        ("bad_syntax.inp:330", "epanet.unknown-section"), ("bad_syntax.inp:331", "epanet.stray-line"),
    ]  # fmt: skip
    assert sum(isinstance(item, ObjectRecord) for item in real) == 5


@pytest.mark.parametrize(
    ("encoding", "name"), [("gb18030", "泵站一"), ("latin-1", "Süd"), ("utf-8", "泵站一"), ("utf-8-sig", "A1")]
)
def test_encodings(tmp_path: Path, encoding: str, name: str):
    path = written(tmp_path, SMALL.replace("小网", "net").replace(" B", f" {name}").encode(encoding))
    found = taken(path, PLACES["latin1"])
    assert f"node/{name}" in {item.source_key for item in found if isinstance(item, ObjectRecord)}
    warned = [r.fields["encoding"] for r in found if isinstance(r, Rejected)]
    assert warned == ([encoding] if encoding in ("gb18030", "latin-1") else [])


def test_a_node_without_coordinates_has_no_shape(tmp_path: Path):
    found = taken(written(tmp_path, SMALL.replace(" T 100 50\n", "")), PLACES["latin1"])
    codes = [r.code for r in found if isinstance(r, Rejected)]
    assert codes == ["epanet.not-drawn"] * 3
    assert all(map(is_warning, codes))
    objects = {item.name: item for item in found if isinstance(item, ObjectRecord)}
    assert len(objects) == 6
    assert objects["T"].representations == ()


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (probe,) = epanet.probe(written(tmp_path, SMALL.split("[COORDINATES]")[0], "bare.inp"))
    assert (probe.fatal, probe.problems[0].code) == (True, "epanet.no-coordinates")
    (probe,) = epanet.probe(written(tmp_path, SMALL))
    with pytest.raises(PlaceError, match="--crs"):
        place_of(probe, PlaceOptions(), PlaceOptions())
    with pytest.raises(PlaceError, match="--vertical"):
        place_of(probe, PlaceOptions(crs="ENU:30,114"), PlaceOptions())
    monkeypatch.setattr(epanet, "LARGEST", 10)
    (probe,) = epanet.probe(tmp_path / "net.inp")
    assert probe.problems[0].code == "epanet.too-large"
    for name, text in (
        ("swmm.inp", "[JUNCTIONS]\nA 1\n[CONDUITS]\nC A B\n"),
        ("abaqus.inp", "*NODE\n1, 0, 0\n"),
        ("net.txt", SMALL),
    ):
        assert epanet.probe(written(tmp_path, text, name)) == []


def test_twice_is_once(tmp_path: Path):
    """Through the plan and the store: a second import changes nothing."""
    workspace = Workspace.create(tmp_path / "ws")
    source = tmp_path / "in"
    source.mkdir()
    written(source, SMALL)
    from importers.plan import Options

    plan = make_plan([source], Options(dataset="net", place=PLACES["latin1"]))
    first = run_import(workspace, plan)
    assert first.rejected == []
    assert first.datasets[0].objects == {"created": 6, "updated": 0, "unchanged": 0}
    assert run_import(workspace, plan).datasets[0].seq is None
    with workspace.store() as store:
        assert len(list(store.query(Filter(dataset="net"), limit=100).items)) == 6


@given(st.binary(max_size=400))
def test_garbage_raises_nothing(noise: bytes):
    network = parse(b"[JUNCTIONS]\n" + noise + b"\n[PIPES]\n" + noise + b"\n[COORDINATES]\n" + noise)
    assert all(len(problem) == 3 for problem in network.problems)


points = st.lists(st.tuples(*[st.floats(-50, 50)] * 3), min_size=2, max_size=12)


@given(points, st.floats(0.01, 2))
def test_tubes_are_closed(path: list[tuple[float, float, float]], radius: float):
    """Every edge is met once in each direction, and no point lies further off than a mitre may reach."""
    made = tube(np.array(path), radius)
    if made is None:
        return
    edges = np.concatenate([made.triangles[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    assert {tuple(edge) for edge in edges.tolist()} == {(b, a) for a, b in edges.tolist()}
    assert len({tuple(edge) for edge in edges.tolist()}) == len(edges)
    assert np.isfinite(made.positions).all()
    rings = made.positions[:-2].reshape(-1, 8, 3)
    assert (np.linalg.norm(rings - rings.mean(axis=1, keepdims=True), axis=2) < radius * 4.01).all()
    assert np.linalg.norm(rings[[0, -1]] - made.positions[[-2, -1]][:, None], axis=2) == pytest.approx(radius, rel=1e-6)


def test_a_straight_tube_has_its_volume():
    made = tube(np.array([[0, 0, 0], [0, 0, 5], [0, 0, 10.0]]), 1.0, sides=64)
    assert made is not None
    a, b, c = (made.positions[made.triangles[:, k]] for k in range(3))
    assert float((a * np.cross(b, c)).sum() / 6) == pytest.approx(np.pi * 10, rel=2e-3)
