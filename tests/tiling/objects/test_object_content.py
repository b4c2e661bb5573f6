"""Tiles of objects: where the geometry lies, whose it is, how it looks, and that broken input costs only itself."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import zlib
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pyproj import Transformer

from tests.tiling.objects.things import (
    EAST,
    FRAME,
    NORTH,
    PLACE,
    blobs_of,
    box,
    corners,
    delft,
    image,
    objects,
    parsed,
    table,
    uid,
)
from tests.validator import gltf_errors
from tiling.objects.content import Column, Drawn, Model, encode, proxies
from tiling.objects.looks import class_color
from tiling.spec import glb
from tiling.spec.glb import GlbWriter
from tiling.spec.scene import placed_meshes
from tiling.validate import volumes
from tiling.validate.content import Task, check_glb
from tim.errors import render
from tim.geometry import F64
from tim.model import content_hash
from tim.place import Frame
from tim.shape import Material, Polygon, build, decode, model

NOTHING: dict[str, bytes] = {}


def shown(things, frame=FRAME, blobs=NOTHING, columns=()):
    (content,) = encode([things], frame, blobs.__getitem__, columns)
    return content


def in_frame(blob: bytes, frame: Frame = FRAME) -> F64:
    """float64[m, 3, 3]: the triangles of a shape in the frame."""
    shape = decode(blob)
    return ((shape.xyz - frame.origin) @ frame.axes.T)[shape.triangles]


def holds(content, frame=FRAME) -> None:
    """The project's own validation finds nothing against the content's own box."""
    center, half = (content.low + content.high) / 2, (content.high - content.low) / 2
    volume = volumes.read({"box": [*center, half[0], 0, 0, 0, half[1], 0, 0, 0, half[2]]})
    task = Task("a.glb", "/root", volume, np.array(frame.transform).reshape(4, 4).T)
    result = check_glb(b"".join(content.chunks), task)
    assert result.issues == []
    assert {k: result.counts[k] for k in ("vertices", "triangles")} == {
        k: content.counts[k] for k in ("vertices", "triangles")
    }


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


# Textures


def textured(*materials: Material, size=(10.0, 8.0, 6.0)):
    return objects([box((30.0 * i, 0, 0), size, m) for i, m in enumerate(materials)])


def sampled(document: glb.Glb, primitive, uv) -> np.ndarray:
    """float[n, 3 or 4]: the image of a primitive at texture coordinates, nearest pixel."""
    texture = document.json["textures"][
        document.json["materials"][primitive["material"]]["pbrMetallicRoughness"]["baseColorTexture"]["index"]
    ]
    item = document.json["images"][texture["source"]]
    picture = np.asarray(Image.open(io.BytesIO(document.view(item["bufferView"])))).astype(float)
    height, width = picture.shape[:2]
    wrap = document.json["samplers"][texture["sampler"]]["wrapS"]
    uv = uv % 1 if wrap == 10497 else uv
    x, y = np.clip(np.floor(uv * [width, height]).astype(int), 0, [width - 1, height - 1]).T
    return picture[y, x]


def pixels_by_feature(content) -> dict[int, np.ndarray]:
    """What is seen in the middle of every textured triangle and near its corners, by feature."""
    document = parsed(content)
    out: dict[int, list[np.ndarray]] = {}
    for primitive in document.json["meshes"][0]["primitives"]:
        if "TEXCOORD_0" not in primitive["attributes"]:
            continue
        accessor = document.json["accessors"][primitive["attributes"]["TEXCOORD_0"]]
        uv = document.accessor(primitive["attributes"]["TEXCOORD_0"]) / (65535 if accessor.get("normalized") else 1)
        owner = document.accessor(primitive["attributes"]["_FEATURE_ID_0"]).reshape(-1)
        index = document.accessor(primitive["indices"]).reshape(-1, 3).astype(int)
        for weights in ((1 / 3, 1 / 3, 1 / 3), (0.98, 0.01, 0.01), (0.01, 0.98, 0.01), (0.01, 0.01, 0.98)):
            at = np.einsum("k,mkd->md", weights, uv[index])
            for feature, color in zip(owner[index[:, 0]].tolist(), sampled(document, primitive, at), strict=True):
                out.setdefault(int(feature), []).append(color[:3])
    return {k: np.array(v) for k, v in out.items()}


def test_surfaces_show_their_images_from_a_shared_page(tmp_path):
    colors = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (220, 220, 20), (10, 10, 10)]
    blobs, materials = {}, []
    for i, color in enumerate(colors):
        data = image(color, (33 + 40 * i, 50), "JPEG" if i % 2 else "PNG")
        blobs[content_hash(data)] = data
        materials.append(Material(image=content_hash(data)))
    things = textured(*materials)
    content = shown(things, blobs=blobs)
    assert content.problems == ()
    document = parsed(content)
    assert len(document.json["images"]) == 1
    order = sorted(range(len(things)), key=lambda i: things[i].tim_id)
    seen = pixels_by_feature(content)
    for feature, i in enumerate(order):
        assert len(seen[feature]) == 12 * 4
        assert np.abs(seen[feature] - colors[i]).max() < 12
    holds(content)
    (tmp_path / "a.glb").write_bytes(b"".join(content.chunks))
    assert gltf_errors(tmp_path) == []


def test_only_what_is_used_of_an_image_is_carried():
    picture = Image.new("RGB", (1000, 1000), (255, 0, 0))
    picture.paste((0, 0, 255), (0, 0, 120, 120))
    out = io.BytesIO()
    picture.save(out, "PNG")
    small = image((0, 255, 0))
    blobs = {content_hash(d): d for d in (out.getvalue(), small)}
    big, other = (Material(image=h) for h in blobs)
    polygon = Polygon(
        [box()[1].rings[0]], "RoofSurface", big, [np.array([[0, 0.1], [0.1, 0.1], [0.1, 0], [0, 0]], np.float32)]
    )
    content = shown(objects([[polygon], box((30, 0, 0), material=other)]), blobs=blobs)
    (item,) = parsed(content).json["images"]
    assert Image.open(io.BytesIO(parsed(content).view(item["bufferView"]))).size <= (256, 256)
    seen = pixels_by_feature(content)
    assert any(np.abs(v - [0, 0, 255]).max() < 12 for v in seen.values())


def test_one_image_that_is_used_whole_passes_through():
    for kind in ("JPEG", "WEBP"):
        data = image((90, 120, 30), (512, 300), kind)
        blobs = {content_hash(data): data}
        content = shown(textured(Material(image=content_hash(data))), blobs=blobs)
        (item,) = parsed(content).json["images"]
        assert bytes(parsed(content).view(item["bufferView"])) == data
        holds(content)


def test_repeating_images_repeat_and_those_shifted_by_whole_images_need_not():
    stripes = Image.new("RGB", (64, 64), (250, 250, 250))
    stripes.paste((0, 0, 0), (0, 0, 32, 64))
    out = io.BytesIO()
    stripes.save(out, "PNG")
    other = image((7, 200, 7))
    blobs = {content_hash(d): d for d in (out.getvalue(), other)}
    names = list(blobs)

    def tile(scale, shift):
        ring = box()[1].rings[0]
        uv = [np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32) * scale + shift]
        return [Polygon([ring], "RoofSurface", Material(image=names[0], repeat=True), uv)]

    plain = box((30, 0, 0), material=Material(image=names[1]))
    repeated = parsed(shown(objects([tile(3, 0), plain]), blobs=blobs))
    assert {s["wrapS"] for s in repeated.json["samplers"]} == {10497, 33071}
    content = shown(objects([tile(1, 7), plain]), blobs=blobs)
    shifted = parsed(content)
    assert {s["wrapS"] for s in shifted.json["samplers"]} == {33071}
    assert len(shifted.json["images"]) == 1
    holds(content)


def test_transparent_images_are_masked_pngs():
    data, other = image((10, 200, 10, 0), (40, 40)), image((250, 0, 0), (40, 40))
    blobs = {content_hash(d): d for d in (data, other)}
    content = shown(textured(*(Material(image=h) for h in blobs)), blobs=blobs)
    document = parsed(content)
    assert sorted(i["mimeType"] for i in document.json["images"]) == ["image/jpeg", "image/png"]
    assert sorted(str(m.get("alphaMode")) for m in document.json["materials"]) == ["MASK", "None"]
    holds(content)


def test_bad_images_cost_only_themselves(monkeypatch):
    monkeypatch.setattr("tiling.objects.texture.MOST_PIXELS", 100_000)
    good, large = image((250, 0, 0)), image((0, 0, 0), (400, 400))
    cut = image((9, 99, 9), (300, 300), "JPEG")[:700]
    blobs = {content_hash(d): d for d in (good, large, cut, b"no image")}
    things = textured(*(Material((0.2, 0.4, 0.6, 1), image=h) for h in [*blobs, "0" * 64]))
    content = shown(things, blobs=blobs)
    assert sorted(code for code, _ in content.problems) == [
        "objects.image-broken", "objects.image-broken", "objects.image-missing", "objects.image-too-large"
    ]  # fmt: skip
    for code, fields in content.problems:
        assert "{" not in render(code, fields, "en") + render(code, fields, "zh")
    assert len(pixels_by_feature(content)) == 1
    assert content.counts["features"] == 5
    holds(content)


def test_a_header_that_claims_a_huge_image_is_refused_before_decoding():
    data = bytearray(image((1, 2, 3)))
    data[16:24] = (60000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    blobs = {content_hash(bytes(data)): bytes(data)}
    content = shown(textured(Material(image=next(iter(blobs)))), blobs=blobs)
    assert [code for code, _ in content.problems] == ["objects.image-too-large"]


def test_images_beyond_all_pages_are_reduced(monkeypatch):
    monkeypatch.setattr("tiling.objects.texture.PAGES", 1)
    monkeypatch.setattr("tiling.objects.texture.PAGE", 256)
    data = [image((20 * i, 255 - 20 * i, 9), (100, 100)) for i in range(10)]
    blobs = {content_hash(d): d for d in data}
    things = textured(*(Material(image=content_hash(d)) for d in data))
    content = shown(things, blobs=blobs)
    assert [(c, f["images"]) for c, f in content.problems] == [("objects.images-reduced", 10)]
    order = sorted(range(10), key=lambda i: things[i].tim_id)
    for feature, i in enumerate(order):
        assert np.abs(pixels_by_feature(content)[feature] - [20 * i, 255 - 20 * i, 9]).max() < 14


# Models

FAR = Frame(120.0, 30.0, 10.0, 2**-10)
PLACES = [
    ((120.2, 30.05, 25.0), 0.0, (1.0, 1.0, 1.0)),
    ((119.85, 29.9, -3.0), 75.0, (1.0, 2.0, 3.0)),
    ((120.0, 30.18, 80.0), 310.0, (0.5, 0.5, 0.5)),
]


def expected(local: F64, at, heading, scale) -> F64:
    """float64[n, 3]: where PROJ puts east, north, up metres about a point, in the far frame."""
    turn = np.radians(heading)
    e, n, u = (local * scale).T
    e, n = e * np.cos(turn) + n * np.sin(turn), n * np.cos(turn) - e * np.sin(turn)
    pipeline = f"+proj=pipeline +step +inv +proj=topocentric +lon_0={at[0]} +lat_0={at[1]} +h_0={at[2]} +ellps=WGS84"
    ecef = np.column_stack(Transformer.from_pipeline(pipeline).transform(e, n, u))
    local_frame = f"+proj=topocentric +lon_0={FAR.lon} +lat_0={FAR.lat} +h_0={FAR.height} +ellps=WGS84"
    return np.column_stack(Transformer.from_pipeline(local_frame).transform(*ecef.T))


def instances(document: glb.Glb) -> list[tuple[F64, F64]]:
    """For every mesh its vertices (as stored) and where they stand in the frame, for each instance."""
    out = []
    for mesh, matrices in placed_meshes(document):
        for primitive in mesh["primitives"]:
            p = document.accessor(primitive["attributes"]["POSITION"]).astype(float)
            world = np.einsum("kij,nj->kni", matrices[:, :3, :3], p) + matrices[:, None, :3, 3]
            out.append((p, np.stack([world[..., 0], -world[..., 2], world[..., 1]], axis=-1)))
    return out


def tripod() -> bytes:
    """A model no symmetry of which can hide a wrong turn."""
    return model(
        [
            Polygon([np.array([[0.0, 0, 0], [3, 0, 0], [0, 1, 0]])]),
            Polygon([np.array([[0.0, 0, 0], [0, 1, 2], [3, 0, 4]])]),
        ]
    ).blob


def glb_model(node=None, **material) -> bytes:
    writer = GlbWriter()
    position = np.array([[0, 0, 0], [3, 0, 0], [0, 2, -1]], np.float32)
    picture = writer.image("image/png", image((1, 2, 3)))
    texture = writer.add("textures", {"source": picture})
    writer.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": {"index": texture}}, **material})
    attributes = {
        "POSITION": writer.vertices(position, bounds=True), "NORMAL": writer.vertices(np.tile(np.array([[0, 0.6, 0.8]], "<f4"), (3, 1))),
        "TEXCOORD_0": writer.vertices(position[:, :2]),
    }  # fmt: skip
    primitive = {
        "attributes": attributes,
        "indices": writer.indices(np.array([[0, 1, 2]], np.uint32), 3),
        "material": 0,
    }
    mesh = writer.add("meshes", {"primitives": [primitive]})
    writer.json["scenes"][0]["nodes"].append(writer.add("nodes", {"mesh": mesh, **(node or {})}))
    return b"".join(writer.chunks())


def standing(data: bytes, form: str) -> tuple[list[Drawn], dict[str, bytes]]:
    name = content_hash(data)
    things = [
        Drawn(uid(i).bytes, "vegetation.tree", models=[Model(name, form, at, heading, scale)])
        for i, (at, heading, scale) in enumerate(PLACES)
    ]
    return things, {name: data}


@pytest.mark.parametrize("form", ["tim-shape", "glb"])
def test_models_stand_where_proj_puts_them_twenty_kilometres_off(form, tmp_path):
    data = tripod() if form == "tim-shape" else glb_model()
    things, blobs = standing(data, form)
    content = shown(things, FAR, blobs)
    document = parsed(content)
    assert content.problems == ()
    order = sorted(range(3), key=lambda i: things[i].tim_id)
    for stored, world in instances(document):
        local = np.column_stack([stored[:, 0], -stored[:, 2], stored[:, 1]])
        for k, i in enumerate(order):
            assert np.abs(world[k] - expected(local, *PLACES[i])).max() < 0.01
            assert np.linalg.norm(world[k][0]) > 14_000
    (node,) = (n for n in document.json["nodes"] if "extensions" in n)
    attributes = node["extensions"]["EXT_mesh_gpu_instancing"]["attributes"]
    assert document.accessor(attributes["_FEATURE_ID_0"]).reshape(-1).tolist() == [0, 1, 2]
    assert node["extensions"]["EXT_instance_features"]["featureIds"] == [
        {"featureCount": 3, "attribute": 0, "propertyTable": 0}
    ]
    assert content.counts["features"] == 3
    holds(content, FAR)
    (tmp_path / "a.glb").write_bytes(b"".join(content.chunks))
    assert gltf_errors(tmp_path) == []


def test_the_nodes_of_a_glb_model_are_applied_and_its_materials_follow():
    turned = {"matrix": [0, 0, -1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 5, 6, 7, 1]}
    mirrored = {"scale": [-1, 1, 1]}
    for node in (turned, mirrored):
        things, blobs = standing(glb_model(node, doubleSided=True), "glb")
        bodies = objects([box(material=Material(image="a"))])
        blobs["a"] = image((5, 6, 7))
        content = shown([*things, *[Drawn(uid(9).bytes, "x", shapes=o.shapes) for o in bodies]], FAR, blobs)
        document = parsed(content)
        (stored,) = [p for p, world in instances(document) if len(world) == 3]
        source = np.array([[0, 0, 0], [3, 0, 0], [0, 2, -1]], float)
        if node is turned:
            truth = source @ np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]]) + [5, 6, 7]
        else:
            truth = source * [-1, 1, 1]
        assert np.allclose(stored, truth)
        (primitive,) = [p for m in document.json["meshes"] for p in m["primitives"] if "extensions" not in p]
        index = document.accessor(primitive["indices"]).reshape(-1).tolist()
        assert index == ([2, 1, 0] if node is mirrored else [0, 1, 2])
        material = document.json["materials"][primitive["material"]]
        texture = document.json["textures"][material["pbrMetallicRoughness"]["baseColorTexture"]["index"]]
        assert bytes(document.view(document.json["images"][texture["source"]]["bufferView"])) == image((1, 2, 3))
        holds(content, FAR)


def broken_models() -> dict[str, tuple[bytes, str]]:
    def changed(change) -> bytes:
        parts = glb.parse(glb_model())
        change(parts.json)
        text = json.dumps(parts.json).encode()
        text += b" " * (-len(text) % 4)
        binary = bytes(parts.binary)
        head = np.array([0x46546C67, 2, 28 + len(text) + len(binary), len(text), 0x4E4F534A], "<u4").tobytes()
        return head + text + np.array([len(binary), 0x004E4942], "<u4").tobytes() + binary

    primitive = lambda d: d["meshes"][0]["primitives"][0]  # noqa: E731
    return {
        "not a glb": (b"glTF?", "model-broken"),
        "cut": (glb_model()[:-40], "model-broken"),
        "draco": (changed(lambda d: primitive(d).update(extensions={"KHR_draco_mesh_compression": {}})), "model-unsupported"),
        "required and unknown": (changed(lambda d: d.update(extensionsRequired=["X_y"])), "model-unsupported"),
        "index beyond": (changed(lambda d: d["accessors"][0].update(count=2)), "model-broken"),
        "no nodes": (changed(lambda d: d["scenes"][0].update(nodes=[])), "model-broken"),
        "no material": (changed(lambda d: primitive(d).update(material=4)), "model-broken"),
        "texture beyond": (changed(lambda d: d["textures"][0].update(source=9)), "model-broken"),
        "image outside": (changed(lambda d: d["images"].__setitem__(0, {"uri": "../../secret.png"})), "model-unsupported"),
        "types": (changed(lambda d: d.update(accessors=7)), "model-broken"),
        "own parent": (changed(lambda d: d["nodes"][0].update(children=[0])), "model-broken"),
        "sparse": (changed(lambda d: d["accessors"][0].update(sparse={})), "model-unsupported"),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(broken_models()))
def test_a_broken_model_costs_only_itself(name):
    data, code = broken_models()[name]
    things, blobs = standing(data, "glb")
    content = shown([*things, *(Drawn(uid(7).bytes, "x", shapes=o.shapes) for o in objects([box()]))], FAR, blobs)
    ((found, fields),) = content.problems
    assert found == f"objects.{code}"
    assert fields["count"] == 3
    assert "{" not in render(found, fields, "en").replace(str(fields.get("reason")), "") + render(
        found, fields, "zh"
    ).replace(str(fields.get("reason")), "")
    assert content.counts["features"] == 1
    holds(content, FAR)


def test_missing_models_and_broken_shapes_are_named():
    good = objects([box()])[0]
    things = [
        good, Drawn(uid(1).bytes, "x", models=[Model("f" * 64, "glb", (120, 30, 0)), Model("e" * 64, "tim-shape", (120, 30, 0))]),
        Drawn(uid(2).bytes, "x", shapes=[b"TIMG rubbish", good.shapes[0]]), Drawn(uid(3).bytes, "x"),
        Drawn(uid(4).bytes, "x", models=[Model("bad", "tim-shape", (120, 30, 0))]),
    ]  # fmt: skip
    content = shown(things, blobs={"bad": b"rubbish"})
    assert sorted(c for c, _ in content.problems) == [
        "objects.model-broken", "objects.model-missing", "objects.model-missing", "objects.shape-broken"
    ]  # fmt: skip
    assert content.counts["features"] == 2
    assert len(table(parsed(content))["tim_id"]) == 5
    holds(content)


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


def test_classes_have_colours_by_their_ancestors():
    assert class_color("building.element.roof.tile") == class_color("building.element.roof") != class_color("building")
    assert class_color("") == class_color("nothing.known")


# Proxies


def surface_points(triangles: F64, rng, count: int) -> F64:
    area = np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1)
    chosen = rng.choice(len(triangles), count, p=area / area.sum())
    weights = rng.dirichlet((0.6, 0.6, 0.6), count)
    return np.concatenate([np.einsum("nk,nkd->nd", weights, triangles[chosen]), triangles.reshape(-1, 3)])


def distance(points: F64, triangles: F64) -> F64:
    """float64[n]: from points to the nearest of some triangles (Ericson 2005, §5.1.5, by clamped projections)."""
    a, b, c = triangles[None, :, 0], triangles[None, :, 1], triangles[None, :, 2]
    p = points[:, None]
    best = np.full((len(points), len(triangles)), np.inf)
    for s, e in ((a, b), (b, c), (c, a)):
        edge = e - s
        t = np.clip(((p - s) * edge).sum(-1) / np.maximum((edge * edge).sum(-1), 1e-30), 0, 1)
        best = np.minimum(best, np.linalg.norm(p - s - t[..., None] * edge, axis=-1))
    normal = np.cross(b - a, c - a)
    length = np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-30)
    normal = normal / length
    height = ((p - a) * normal).sum(-1)
    foot = p - height[..., None] * normal
    inside = np.ones_like(best, bool)
    for s, e in ((a, b), (b, c), (c, a)):
        inside &= (np.cross(np.broadcast_to(e - s, foot.shape), foot - s) * normal).sum(-1) >= 0
    return np.where(inside & (length[..., 0] > 1e-9), np.minimum(best, np.abs(height)), best).min(axis=1)


def measured(thing: Drawn, rng, count=300) -> tuple[float, float]:
    """The sampled Hausdorff distance between an object and its proxy, and the bound."""
    content = proxies([[thing]], FRAME)
    (prism,) = corners(parsed(content)).values()
    truth = np.concatenate([in_frame(b) for b in thing.shapes])
    there = distance(surface_points(truth, rng, count), prism).max()
    back = distance(surface_points(prism, rng, count), truth).max()
    return float(max(there, back)), float(content.deviations[0])


@given(
    st.lists(
        st.tuples(*[st.floats(-15, 15)] * 2, st.floats(0, 5), *[st.floats(0.2, 30)] * 3, st.floats(0, 3)),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 5),
)
@settings(max_examples=60)
def test_deviation_is_never_understated(boxes, dropped):
    patches = [p for x, y, z, *size, turn in boxes for p in box((x, y, z), size, turn=turn)]
    del patches[:dropped]
    found, bound = measured(objects([patches])[0], np.random.default_rng(1))
    assert found <= bound


@given(
    st.lists(st.tuples(st.floats(1, 40), st.floats(1, 40), st.floats(1, 40)), min_size=1, max_size=6), st.floats(0, 60)
)
@settings(max_examples=30)
def test_a_deviation_is_measured_as_closely_as_it_must_be(sizes, enough):
    """What is known to be near enough stays a bound; all others have the closest one; in portions it is the same tile."""
    things = objects(
        [[*box((50.0 * i, 0, 0), size), *box((50.0 * i, 3, size[2]), (1, 1, 5))] for i, size in enumerate(sizes)]
    )
    close, rough = proxies([things], FRAME), proxies([things], FRAME, enough=enough)
    assert (rough.deviations >= close.deviations - 1e-9).all()
    far = rough.deviations > enough
    assert np.allclose(rough.deviations[far], close.deviations[far])
    assert b"".join(rough.chunks) == b"".join(close.chunks)
    apart = proxies(([one] for one in things), FRAME)
    assert b"".join(apart.chunks) == b"".join(close.chunks)
    assert np.allclose(apart.deviations, close.deviations)


def test_deviation_of_real_buildings_is_a_bound_and_not_a_guess(real_data):
    rng = np.random.default_rng(2)
    pairs = np.array([measured(o, rng, 150) for o in objects(delft(real_data)[:40]) if o.shapes[0]])
    assert (pairs[:, 0] <= pairs[:, 1]).all()
    assert np.median(pairs[:, 1] / pairs[:, 0]) < 4


def test_a_box_is_its_own_proxy():
    for turn in (0.0, 0.3, 1.2):
        thing = objects([box(size=(20, 10, 8), turn=turn)])[0]
        content = proxies([[thing]], FRAME)
        (prism,) = corners(parsed(content)).values()
        points, truth = (
            np.unique(np.rint(t.reshape(-1, 3) / 0.01), axis=0) for t in (prism, in_frame(thing.shapes[0]))
        )
        assert len(points) == len(truth) == 8
        assert np.abs(points - truth).max() <= 1
        assert content.deviations[0] < np.hypot(20, 10) / 4 + 0.01
        found = parsed(content)
        assert content.counts == {"vertices": 24, "triangles": 12, "features": 1}
        assert table(found)["tim_id"] == [str(UUID(bytes=thing.tim_id))]


def test_what_is_flat_stays_flat_and_what_has_only_models_is_left_out():
    flat = Drawn(uid(3).bytes, "transport.road", shapes=blobs_of([[box(size=(100, 6, 0.0))[1]]]))
    things, blobs = standing(tripod(), "tim-shape")
    content = proxies([[flat, *things]], FRAME)
    assert content.counts["features"] == 1
    assert content.counts["triangles"] <= 12
    assert np.isinf(content.deviations[1:]).all()
    assert np.isfinite(content.deviations[0])
    content = proxies([[flat, *things]], FRAME, blobs=blobs.__getitem__)
    own = np.linalg.norm([3, 1, 4])
    assert own <= content.deviations[1] < 1.8 * own
    assert 2 * own <= content.deviations[2]


def test_a_prism_takes_the_mean_colours_of_roof_and_walls():
    parts = box()
    parts[1] = Polygon(parts[1].rings, "RoofSurface", Material((1, 0, 0, 1)))
    document = parsed(proxies([objects([parts])], FRAME))
    (primitive,) = document.json["meshes"][0]["primitives"]
    colors = document.accessor(primitive["attributes"]["COLOR_0"])
    normals = document.accessor(primitive["attributes"]["NORMAL"])
    roof = colors[normals[:, 2] > 100]
    assert (roof == [255, 0, 0, 255]).all()
    assert (colors[np.abs(normals[:, 2]) < 20][:, 1] > 100).all()


def test_build_gives_what_is_drawn():
    """The helpers use the real place: a shape's box agrees with the tile's corners."""
    (built,) = build([box((100, 50, 7))], PLACE)
    content = shown([Drawn(uid(1).bytes, "x", shapes=[built.blob])])
    assert np.allclose(content.high - content.low, [10, 8, 6], atol=0.2)


_MANY_IMAGES = """
import io, resource
import numpy as np
from PIL import Image
from tests.tiling.objects.things import FRAME, box, objects
from tiling.objects.content import encode
from tim.shape import Material

def picture(number):
    out = io.BytesIO()
    Image.new("RGB", (2600, 2000), (number, 255 - number, 90)).save(out, "JPEG", quality=70)
    return out.getvalue()

things = objects([box((20.0 * i, 0, 0), material=Material(image=str(i))) for i in range(30)])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(content,) = encode([things], FRAME, lambda name: picture(int(name)))
assert content.counts["features"] == 30, content.counts
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_tile_with_many_images_needs_little_memory():
    """30 images of 15 MB each as pixels: they are never all in memory."""
    done = subprocess.run([sys.executable, "-c", _MANY_IMAGES], capture_output=True, text=True, check=True)
    assert int(done.stdout) / 1024 < 250
