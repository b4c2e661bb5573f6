"""Images of objects: what of them a tile carries, and where it is seen."""

from __future__ import annotations

import io
import subprocess
import sys
import zlib

import numpy as np
from PIL import Image

from tests.tiling.objects.things import box, holds, image, objects, parsed, shown
from tests.validator import gltf_errors
from tiling.spec import glb
from tim.errors import render
from tim.model import content_hash
from tim.shape import Material, Polygon


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
