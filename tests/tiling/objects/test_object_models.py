"""Models that stand at many places: where PROJ puts them, and that a broken one costs only itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pyproj import Transformer

from tests.tiling.objects.things import (
    FAR,
    PLACES,
    box,
    holds,
    image,
    objects,
    parsed,
    shown,
    standing,
    table,
    tripod,
    uid,
)
from tests.validator import gltf_errors
from tiling.objects.content import Drawn, Model
from tiling.spec import glb
from tiling.spec.glb import GlbWriter
from tiling.spec.scene import placed_meshes
from tim.errors import render
from tim.geometry import F64
from tim.shape import Material


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
