"""Walks along relations against networkx; 地-楼-房 and pipe networks worked through."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importers import ImportContext, epanet
from importers.plan import place_of
from tim.model import Code, ObjectRecord, Relation, Stage, dataset_uid, derived_id
from tim.place.resolve import PlaceOptions
from tim.relations import Condition, all_kinds, holding, shortest_path, trace, traverse, unknown_kinds
from tim.store import AsOf, Changeset, Put, Retire
from tim.store.contract.samples import TOWN, put
from tim.store.sqlite import SqliteStore


def make_store(folder: Path) -> SqliteStore:
    store = SqliteStore.create(folder / "store.sqlite")
    store.put_dataset(TOWN)
    return store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with make_store(tmp_path) as store:
        yield store


def id_of(key: str) -> UUID:
    return derived_id(TOWN.uid, "", key)


def thing(key: str, class_id: str, *links: tuple[str, str], **fields: Any) -> ObjectRecord:
    """An object with relations to others by key."""
    relations = tuple(Relation(kind, id_of(target)) for kind, target in links)
    return ObjectRecord(key, class_id, name=key, relations=relations, **fields)


def names(graph: Any) -> set[str]:
    return {node.version.object.name for node in graph.nodes.values()}


# Kinds


def test_kinds_have_names_both_ways():
    kinds = all_kinds()
    assert set(kinds) >= {
        "partOf", "locatedIn", "boundedBy", "connectsTo", "crosses", "controlledBy", "registeredAs", "derivedFrom", "replaces", "represents",
    }  # fmt: skip
    for kind in kinds.values():
        assert all(text.isascii() for text in (kind.en, kind.inverse_en))
        assert not any(text.isascii() for text in (kind.zh, kind.inverse_zh))
        assert kind.symmetric == (kind.en == kind.inverse_en) == (kind.zh == kind.inverse_zh)
    assert unknown_kinds(["partOf", "smellsLike", "smellsLike"]) == ["smellsLike"]


# Walks


_EDGES = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), st.sampled_from("pq")), max_size=16)


@settings(max_examples=40)
@given(
    _EDGES,
    st.sets(st.integers(0, 9), min_size=1, max_size=2),
    st.integers(0, 4),
    st.sampled_from(["out", "in", "both"]),
    st.sampled_from(["", "p"]),
)
def test_walks_against_networkx(
    edges: list[tuple[int, int, str]], start: set[int], hops: int, direction: Any, kind: str
):
    """Circles, double edges and loops among them: who is met, how far away, over which links, and the shortest chain."""
    with TemporaryDirectory() as folder, make_store(Path(folder)) as store:
        put(store, *(thing(f"{i}", "x", *((k, f"{b}") for a, b, k in edges if a == i)) for i in range(8)))
        graph = networkx.MultiDiGraph()
        graph.add_nodes_from(range(8))
        graph.add_edges_from((a, b, k) for a, b, k in edges if kind in ("", k))
        seen = {"out": graph, "in": graph.reverse(), "both": graph.to_undirected(as_view=True)}[direction]
        far: dict[int, int] = {}
        for begin in start & set(range(8)):
            for node, hop in networkx.single_source_shortest_path_length(seen, begin, cutoff=hops).items():
                far[node] = min(hop, far.get(node, 99))
        found = traverse(
            store, map(id_of, map(str, start)), hops=hops, kinds=[kind] if kind else [], direction=direction
        )
        assert {int(n.version.object.name): n.hops for n in found.nodes.values()} == far
        assert found.complete
        assert found.absent == {id_of(f"{i}") for i in start if i > 7}
        expected = {
            (id_of(f"{a}"), k, id_of(f"{b}"))
            for a, b, k in edges
            if kind in ("", k)
            and any(far.get(end, 99) < hops for end in {"out": [a], "in": [b], "both": [a, b]}[direction])
        }
        assert {link[:3] for link in found.links} == expected
        assert len(found.links) == len(set(found.links))
        begin, end = min(start), 7
        chain = shortest_path(
            store, id_of(f"{begin}"), id_of(f"{end}"), kinds=[kind] if kind else [], direction=direction
        )
        if begin > 7 or not networkx.has_path(seen, begin, end):
            assert (list(chain.nodes), list(chain.links), chain.complete) == ([], [], True)
        else:
            assert len(chain.links) == networkx.shortest_path_length(seen, begin, end)
            assert [v.object.name for v in (chain.nodes[0], chain.nodes[-1])] == [f"{begin}", f"{end}"]
            for (a, b), link in zip(itertools.pairwise(v.tim_id for v in chain.nodes), chain.links, strict=True):
                assert (
                    (a, b) == (link.source, link.target) if direction == "out" else {a, b} == {link.source, link.target}
                )


def test_conditions(store: SqliteStore):
    """Others are not met; what stops is met, and nothing beyond it."""
    put(
        store,
        thing("a", "building", ("partOf", "b"), ("smellsLike", "c")),
        thing("b", "building.part", ("partOf", "d"), stage=Stage.PLANNED, attributes={"n": 1}),
        thing("c", "land.use", ("partOf", "d"), attributes={"n": True}),
        thing("d", "buildings"),
    )
    start = [id_of("a")]
    assert names(traverse(store, start, hops=9)) == {"a", "b", "c", "d"}
    assert traverse(store, start, hops=1).unknown_kinds == ["smellsLike"]
    assert names(traverse(store, start, hops=9, where=Condition(("building",)))) == {"a", "b"}
    assert names(traverse(store, start, hops=9, where=Condition(stages=(Stage.PLANNED,)))) == {"a", "b"}
    assert names(traverse(store, start, hops=9, where=Condition(attributes={"n": True}))) == {"a", "c"}
    assert names(traverse(store, start, hops=9, kinds=["partOf"], stop=Condition(("building.part",)))) == {"a", "b"}
    assert names(traverse(store, [id_of("b")], hops=9, stop=Condition(("building.part",)))) == {"b", "d"}
    assert shortest_path(store, start[0], id_of("d"), where=Condition(("land",))).nodes[1].object.name == "c"


def test_walks_end_somewhere(store: SqliteStore):
    put(store, thing("hub", "x"), *(thing(f"{i}", "x", ("partOf", "hub")) for i in range(300)))
    whole = traverse(store, [id_of("hub")], hops=3, direction="in")
    assert (len(whole.nodes), len(whole.links), whole.complete) == (301, 300, True)
    part = traverse(store, [id_of("hub")], hops=3, direction="in", limit=10)
    assert (len(part.nodes), len(part.links), part.complete) == (10, 9, False)
    late = traverse(store, [id_of("hub")], hops=3, direction="in", seconds=-1.0)
    assert (len(late.nodes), late.complete) == (1, False)
    assert not shortest_path(store, id_of("7"), id_of("9"), limit=2).complete
    assert not traverse(store, map(id_of, map(str, range(20))), hops=0, limit=10).complete


def test_walks_at_a_moment_and_in_a_scenario(store: SqliteStore):
    """A scenario's word of an object, its relations and its end stand instead of the common line's."""
    put(
        store,
        thing("a", "x", ("partOf", "b")),
        thing("b", "x", ("partOf", "c")),
        thing("c", "x"),
        thing("e", "x", ("partOf", "c")),
    )
    put(
        store,
        replace(thing("b", "x", ("partOf", "d")), scenario="plan"),
        replace(thing("d", "x"), scenario="plan"),
        replace(thing("e", "x"), scenario="plan", stage=Stage.RETIRED),
    )
    assert names(traverse(store, [id_of("a")], hops=5)) == {"a", "b", "c"}
    assert names(traverse(store, [id_of("a")], hops=5, scenario="plan")) == {"a", "b", "d"}
    assert names(traverse(store, [id_of("c")], hops=5, direction="in")) == {"a", "b", "c", "e"}
    assert names(traverse(store, [id_of("c")], hops=5, direction="in", scenario="plan")) == {"c"}
    store.apply(Changeset("town", [Retire(id_of("b"), "2020-01-01")]))
    assert names(traverse(store, [id_of("a")], hops=5)) == {"a"}
    assert traverse(store, [id_of("a")], hops=5).absent == {id_of("b")}
    assert names(traverse(store, [id_of("a")], hops=5, as_of=AsOf("2019-01-01"))) == {"a", "b", "c"}
    assert names(traverse(store, [id_of("a")], hops=5, as_of=AsOf(seq=2))) == {"a", "b", "c"}


# 地-楼-房


def test_parcel_buildings_units(store: SqliteStore):
    """Up from a flat and down from its ground, with the codes each is registered by."""
    ground = "340123002004GB00011"
    units = [f"{ground}F{building:04}{flat:04}" for building in (1, 2) for flat in (1, 2)]
    put(
        store,
        thing("宗地", "cadastre.parcel", codes=(Code("cn.real-estate-unit", "GB/T 37346-2019", f"{ground}W00000000"),)),
        thing("另一宗地", "cadastre.parcel"),
        *(thing(f"{i}号楼", "building.house", ("locatedIn", "宗地")) for i in (1, 2)),
        thing("邻楼", "building", ("locatedIn", "另一宗地")),
        thing("1层", "building.storey", ("partOf", "1号楼")),
        *(
            thing(code[-8:], "building.unit", ("partOf", "1层" if code[-8:-4] == "0001" else "2号楼"), codes=(Code("cn.real-estate-unit", "GB/T 37346-2019", code),))
            for code in units
        ),
        thing("路灯", "land.furniture.lamp", ("locatedIn", "宗地")),
    )  # fmt: skip

    def told(key: str) -> tuple[list[str], list[str], list[str]]:
        found = holding(store, id_of(key))
        assert found.complete
        parcels, buildings, flats = (
            sorted(v.object.name for v in part) for part in (found.parcels, found.buildings, found.units)
        )
        return parcels, buildings, flats

    flats = [code[-8:] for code in units]
    assert told("宗地") == (["宗地"], ["1号楼", "2号楼"], flats)
    assert told("1号楼") == (["宗地"], ["1号楼"], flats[:2])
    assert told(flats[0]) == (["宗地"], ["1号楼"], flats[:1])
    assert told(flats[3]) == (["宗地"], ["2号楼"], flats[3:])
    assert told("邻楼") == (["另一宗地"], ["邻楼"], [])
    assert {c.value for v in holding(store, id_of("宗地")).units for c in v.object.codes} == set(units)
    assert not holding(store, id_of("宗地"), limit=2).complete


# Pipes


@pytest.fixture(scope="module", params=["Net3", "ky4"])
def network(request: pytest.FixtureRequest, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A network in a store, and as WNTR reads it, its closed pipes by name."""
    path = real_data / "city" / "pipes" / f"{request.param}.inp"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wntr

        model = wntr.network.WaterNetworkModel(str(path))
    shut = {name for name, link in model.links() if link.initial_status == wntr.network.LinkStatus.Closed}
    options = {
        "Net3": PlaceOptions(crs="ENU:30.5,114.3,20"), "ky4": PlaceOptions(crs="EPSG:3089", vertical="+0m", datum="EPSG:1188"),
    }[request.param]  # fmt: skip
    (probe,) = epanet.probe(path)
    context = ImportContext(place_of(probe, options, PlaceOptions()), "net", {}, dataset_uid("net"))
    records = [item for item in epanet.read(probe, context) if isinstance(item, ObjectRecord)]
    with SqliteStore.create(tmp_path_factory.mktemp("net") / "store.sqlite") as store:
        store.put_dataset(replace(TOWN, slug="net", uid=dataset_uid("net")))
        store.apply(Changeset("net", [Put(record) for record in records]))
        yield (
            store,
            model,
            shut,
            {record.source_key: derived_id(dataset_uid("net"), record.layer, record.source_key) for record in records},
        )


def keys(graph: Any) -> set[str]:
    return {node.version.object.source_key for node in graph.nodes.values()}


def test_traces_against_networkx(network: Any):
    """Downstream, upstream and both ways from every reservoir and tank and some junctions, past what is open."""
    store, model, shut, ids = network
    graph = networkx.MultiDiGraph()
    graph.add_nodes_from(model.node_name_list)
    links = {name: (link.start_node_name, link.end_node_name) for name, link in model.links()}
    graph.add_edges_from((*ends, name) for name, ends in links.items() if name not in shut)
    starts = [*model.reservoir_name_list, *model.tank_name_list, *model.junction_name_list[::250]]
    for start in starts:
        downstream = {start} | networkx.descendants(graph, start)
        upstream = {start} | networkx.ancestors(graph, start)
        whole = networkx.node_connected_component(graph.to_undirected(as_view=True), start)
        pipes = {
            "downstream": {name for name, (a, _) in links.items() if a in downstream},
            "upstream": {name for name, (_, b) in links.items() if b in upstream},
            "both": {name for name, ends in links.items() if set(ends) & whole},
        }
        for flow, nodes in (("downstream", downstream), ("upstream", upstream), ("both", whole)):
            found = trace(store, ids[f"node/{start}"], flow)
            assert keys(found) == {f"node/{n}" for n in nodes} | {f"link/{p}" for p in pipes[flow]}, (start, flow)
            assert found.complete


def test_the_way_from_a_reservoir(network: Any):
    """As many pipes as the shortest way has; open ones where asked for."""
    store, model, _, ids = network
    graph = networkx.Graph((link.start_node_name, link.end_node_name) for _, link in model.links())
    source = model.reservoir_name_list[0]
    for node in model.junction_name_list[::200]:
        chain = shortest_path(store, ids[f"node/{source}"], ids[f"node/{node}"], kinds=["connectsTo"])
        assert len(chain.links) == 2 * networkx.shortest_path_length(graph, source, node)
        assert [v.object.class_id.count("pipe.") for v in chain.nodes][::2] == [0] * (len(chain.nodes) // 2 + 1)


def test_closing_a_valve_cuts_off_what_is_behind_it(tmp_path: Path):
    """What can be reached from the source ends at a valve once it is shut, from the day it is."""
    with make_store(tmp_path) as store:
        put(
            store,
            *(thing(key, "pipeline.junction") for key in "abc"),
            thing("source", "pipeline.reservoir"),
            thing(
                "p", "pipeline.pipe.water", ("connectsTo", "source"), ("connectsTo", "a"), attributes={"status": "OPEN"}
            ),
            thing("v", "pipeline.valve", ("connectsTo", "a"), ("connectsTo", "b"), attributes={"status": "OPEN"}),
            thing("q", "pipeline.pipe.water", ("connectsTo", "b"), ("connectsTo", "c")),
        )
        shut = thing(
            "v",
            "pipeline.valve",
            ("connectsTo", "a"),
            ("connectsTo", "b"),
            attributes={"status": "CLOSED"},
            valid_from="2020-05-01",
        )
        put(store, shut)
        source = id_of("source")
        assert names(trace(store, source, as_of=AsOf("2020-04-30"))) == {"source", "p", "a", "v", "b", "q", "c"}
        assert names(trace(store, source, as_of=AsOf("2020-05-01"))) == {"source", "p", "a", "v"}
        assert names(trace(store, source, "upstream")) == {"source"}
        assert names(trace(store, id_of("c"), "upstream", as_of=AsOf("2020-04-30"))) == {
            "source",
            "p",
            "a",
            "v",
            "b",
            "q",
            "c",
        }
        assert names(trace(store, id_of("v"), "downstream")) == {"v", "b", "q", "c"}
        assert names(trace(store, source, closed=Condition(("pipeline.valve",)), as_of=AsOf("2020-04-30"))) == {
            "source",
            "p",
            "a",
            "v",
        }
