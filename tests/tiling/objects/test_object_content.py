"""Tiles of objects: where the geometry lies, whose it is, how it looks, and that broken input costs only itself."""

from __future__ import annotations

import json
import random
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiling.objects.things import (
    EAST,
    FAR,
    FRAME,
    NORTH,
    PLACE,
    box,
    corners,
    delft,
    holds,
    image,
    in_frame,
    objects,
    parsed,
    shown,
    standing,
    table,
    tripod,
    uid,
)
from tests.validator import gltf_errors
from tiling.objects.content import Column, Drawn, encode, proxies
from tim.shape import Material, build


@pytest.mark.parametrize("spread", [20.0, 900.0])
def test_triangles_lie_where_the_shapes_are_and_say_whose_they_are(spread):
    rng = np.random.default_rng(5)
    things = objects([box((*rng.uniform(0, spread, 2), 3.0), rng.uniform(3, 12, 3), turn=t) for t in range(12)])
    content = shown(things)
    document = parsed(content)
    holds(content)
    by_id = {str(UUID(bytes=o.tim_id)): o for o in things}
    rows = table(document)
    assert rows["tim_id"] == sorted(by_id, key=lambda i: by_id[i].tim_id)
    found = corners(document)
    assert found.keys() == set(range(12))
    for feature, triangles in found.items():
        own = by_id[rows["tim_id"][feature]]
        assert rows["name"][feature] == own.name
        assert rows["class"][feature] == "building.house"
        assert np.abs(triangles - in_frame(own.shapes[0])).max() < 1e-3
    assert content.counts["features"] == 12
    (primitive,) = document.json["meshes"][0]["primitives"]
    stored = document.accessor(primitive["attributes"]["POSITION"]).dtype
    assert stored == (np.uint16 if spread < 60 else np.float32)


def test_buildings_of_delft(real_data, tmp_path):
    things = objects(delft(real_data))
    content = shown(things)
    holds(content)
    found = corners(parsed(content))
    order = sorted((o for o in things if o.shapes[0]), key=lambda o: o.tim_id)
    assert content.counts["features"] == len(found) == len(order) > 100
    for feature, own in enumerate(order):
        truth = in_frame(own.shapes[0])
        assert len(found[feature]) == len(truth)
        assert np.abs(found[feature] - truth).max() < 1e-3
    coarse = proxies([things], FRAME)
    holds(coarse)
    for name, tile in (("full", content), ("coarse", coarse)):
        (tmp_path / f"{name}.glb").write_bytes(b"".join(tile.chunks))
    assert gltf_errors(tmp_path) == []


def test_a_wall_between_two_tiles_has_the_same_corners_in_both():
    one, two = objects([box((0, 0, 0), (10, 8, 6)), box((10, 0, 0), (900, 8, 6))])
    (a,), (b,) = corners(parsed(shown([one]))).values(), corners(parsed(shown([two]))).values()
    wall = {tuple(p) for p in a.reshape(-1, 3)} & {tuple(p) for p in b.reshape(-1, 3)}
    assert len(wall) == 4


def test_order_of_objects_does_not_matter_and_bytes_repeat():
    things = objects([box((x, 0, 0)) for x in range(0, 200, 20)])
    first = b"".join(shown(things).chunks)
    coarse = b"".join(proxies([things], FRAME).chunks)
    random.Random(1).shuffle(things)
    assert b"".join(shown(things).chunks) == first
    assert b"".join(proxies([things], FRAME).chunks) == coarse


@given(st.data())
@settings(max_examples=25)
def test_tiles_drawn_together_are_those_drawn_alone(data):
    """Opaque, clear and with images, bodies and models, broken ones and empty tiles, in any company."""
    kinds = [
        None,
        Material((0.2, 0.4, 0.6, 1.0)),
        Material((1.0, 0.0, 0.0, 0.5)),
        Material(image="a"),
        Material(image="none"),
    ]
    standing_, blobs = standing(tripod(), "tim-shape")
    blobs["a"] = image((5, 6, 7))
    tiles = []
    for _ in range(data.draw(st.integers(1, 5))):
        chosen = data.draw(st.lists(st.sampled_from(range(len(kinds))), max_size=4))
        things = objects([box((20.0 * i, 0, 0), material=kinds[k], turn=i) for i, k in enumerate(chosen)])
        things += data.draw(st.sampled_from([[], standing_, [Drawn(uid(99).bytes, "x", shapes=[b"bad"])]]))
        tiles.append(things)
    together = encode(tiles, FAR, blobs.__getitem__)
    for things, content in zip(tiles, together, strict=True):
        alone = shown(things, FAR, blobs)
        assert b"".join(content.chunks) == b"".join(alone.chunks)
        assert (content.counts, content.problems) == (alone.counts, alone.problems)
        assert np.array_equal([content.low, content.high], [alone.low, alone.high])


def test_normals_are_those_of_the_surfaces_and_colours_linear():
    content = shown(objects([box(turn=0.4), box((30, 0, 0), material=Material((0.5, 0.0, 1.0, 1.0)))]))
    document = parsed(content)
    (mesh,) = document.json["meshes"]
    (primitive,) = mesh["primitives"]
    get = {k: document.accessor(v) for k, v in primitive["attributes"].items()}
    index = document.accessor(primitive["indices"]).reshape(-1, 3).astype(int)
    p = get["POSITION"].astype(float)[index]
    normal = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    for k in range(3):
        assert np.abs(get["NORMAL"][index[:, k]] / 127 - normal).max() < 0.01
    srgb = np.array([0.5, 0.0, 1.0])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4) * 255
    given = get["COLOR_0"][
        get["_FEATURE_ID_0"].reshape(-1) == [str(uid(1))].index(str(uid(1))) * 0 + int(uid(1).int > uid(0).int)
    ]
    assert np.abs(given[:, :3] - linear).max() <= 1
    assert len(np.unique(get["COLOR_0"], axis=0)) == 4  # roof, walls, ground and the one given
    assert len(p) == 24
    assert len(get["POSITION"]) == 48  # four corners for each of twelve sides


def test_translucent_surfaces_are_blended_in_their_own_primitive():
    content = shown(objects([box(), box((20, 0, 0), material=Material((1, 1, 1, 0.5)))]))
    document = parsed(content)
    modes = [
        document.json["materials"][p["material"]].get("alphaMode") for p in document.json["meshes"][0]["primitives"]
    ]
    assert sorted(map(str, modes)) == ["BLEND", "None"]
    holds(content)


def test_columns_carry_attributes_and_say_what_is_missing():
    columns = [
        Column("height", "FLOAT64"), Column("楼层", "INT64"), Column("open", "BOOLEAN"), Column("all", "BOOLEAN"), Column("note", "STRING"),
        Column("name", "STRING"), Column("big", "INT64"), Column("huge", "INT64"),
    ]  # fmt: skip
    given = [
        {
            "height": 2.5,
            "楼层": 3,
            "open": True,
            "all": False,
            "note": "é",
            "name": "own",
            "big": 2**40,
            "huge": 2**60 + 1,
        },
        {"height": float("nan"), "楼层": 2.5, "all": True, "note": [1, {"a": None}]},
        {"height": "tall", "楼层": True, "open": None, "all": True, "note": "", "big": -1, "huge": 2**70},
    ]
    things = [
        Drawn(uid(i).bytes, "land.other", "", g, o.shapes)
        for i, (g, o) in enumerate(zip(given, objects([box()] * 3), strict=True))
    ]
    content = shown(things, columns=columns)
    rows = table(parsed(content))
    place = [rows["tim_id"].index(str(uid(i))) for i in range(3)]
    cells = {name: [values[p] for p in place] for name, values in rows.items() if name != "name"}
    assert cells["height"] == [2.5, None, None]
    assert cells["楼层"] == [3, None, None]
    assert cells["open"] == [1, None, None]
    assert cells["all"] == [False, True, True]
    assert cells["note"] == ["é", '[1,{"a":null}]', None]
    assert cells["big"] == [2**40, None, -1]
    assert cells["huge"] == [2**60 + 1, None, None]
    schema = parsed(content).json["extensions"]["EXT_structural_metadata"]["schema"]
    names = schema["classes"]["object"]["properties"]
    assert {"attribute_1", "attribute_5"} <= names.keys()  # the second is not the object's own name
    assert all(json.dumps(n).strip('"').isascii() for n in names)


@pytest.mark.parametrize("draw", [shown, lambda things: proxies([things], FRAME)])
def test_nothing_to_draw_is_no_tile(draw):
    for things in ([], [Drawn(uid(1).bytes, "x")], [Drawn(uid(1).bytes, "x", shapes=[b"bad"])]):
        content = draw(things)
        assert content.chunks == []
        assert content.counts == {"vertices": 0, "triangles": 0, "features": 0}
        assert len(content.problems) == len(things and things[0].shapes)


def test_a_large_object_has_wide_indices():
    side = np.linspace(0, 4000, 300)
    x, y = np.meshgrid(side, side)
    from tim.shape import Triangles

    cell = np.arange(299 * 300).reshape(299, 300)[:, :-1].reshape(-1)
    triangles = np.concatenate(
        [np.stack([cell, cell + 1, cell + 300], 1), np.stack([cell + 1, cell + 301, cell + 300], 1)]
    )
    xyz = np.column_stack([x.ravel() + EAST, y.ravel() + NORTH, 30 * np.sin(x.ravel() / 300)])
    things = objects([[Triangles(xyz, triangles.astype(np.uint32))], box()])
    content = shown(things)
    holds(content)
    assert content.counts["triangles"] == len(triangles) + 12
    holds(proxies([things], FRAME))


def test_build_gives_what_is_drawn():
    """The helpers use the real place: a shape's box agrees with the tile's corners."""
    (built,) = build([box((100, 50, 7))], PLACE)
    content = shown([Drawn(uid(1).bytes, "x", shapes=[built.blob])])
    assert np.allclose(content.high - content.low, [10, 8, 6], atol=0.2)
