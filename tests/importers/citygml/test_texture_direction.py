"""Texture coordinates count v upwards from the lower left of the image, in CityGML and in CityJSON; seen through to the tiles."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from PIL import Image
from pyproj import Transformer

from importers import ImportContext, importer
from importers.plan import place_of
from tests.importers.citygml.samples import NAMESPACES
from tiling.objects.content import Drawn, encode
from tiling.spec import glb
from tiling.spec.scene import placed_meshes
from tim.model import Blob, ObjectRecord
from tim.place import Frame
from tim.place.resolve import PlaceOptions
from tim.shape import decode

X, Y = 500_000.0, 3_400_000.0
CORNERS = {"sw": (0, 0), "se": (10, 0), "ne": (10, 10), "nw": (0, 10)}
UV = {"sw": (0, 0), "se": (1, 0), "ne": (1, 1), "nw": (0, 1)}
TEXELS = {"sw": (0, 0, 255), "se": (255, 255, 0), "ne": (0, 255, 0), "nw": (255, 0, 0)}
"""Lower left blue, lower right yellow, upper right green, upper left red."""


def picture() -> bytes:
    """As a person sees it: rows from the top."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32, :32], pixels[:32, 32:] = TEXELS["nw"], TEXELS["ne"]
    pixels[32:, :32], pixels[32:, 32:] = TEXELS["sw"], TEXELS["se"]
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def citygml() -> str:
    ring = [*CORNERS, "sw"]
    positions = " ".join(f"{X + CORNERS[c][0]} {Y + CORNERS[c][1]} 5" for c in ring)
    coordinates = " ".join(f"{UV[c][0]} {UV[c][1]}" for c in ring)
    return (
        f'<CityModel {NAMESPACES}><gml:boundedBy><gml:Envelope srsName="EPSG:4547" srsDimension="3"><gml:lowerCorner>{X} {Y} 0</gml:lowerCorner>'
        f"<gml:upperCorner>{X + 10} {Y + 10} 5</gml:upperCorner></gml:Envelope></gml:boundedBy><app:appearanceMember><app:Appearance>"
        '<app:surfaceDataMember><app:ParameterizedTexture><app:imageURI>a.png</app:imageURI><app:target uri="#p"><app:TexCoordList>'
        f'<app:textureCoordinates ring="#r">{coordinates}</app:textureCoordinates></app:TexCoordList></app:target></app:ParameterizedTexture>'
        '</app:surfaceDataMember></app:Appearance></app:appearanceMember><cityObjectMember><bldg:Building gml:id="b"><bldg:lod2MultiSurface>'
        '<gml:MultiSurface><gml:surfaceMember><gml:Polygon gml:id="p"><gml:exterior><gml:LinearRing gml:id="r"><gml:posList>'
        f"{positions}</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon></gml:surfaceMember></gml:MultiSurface></bldg:lod2MultiSurface>"
        "</bldg:Building></cityObjectMember></CityModel>"
    )


def cityjson() -> str:
    geometry = {
        "type": "MultiSurface", "lod": "2", "boundaries": [[[0, 1, 2, 3]]], "texture": {"": {"values": [[[0, 0, 1, 2, 3]]]}},
    }  # fmt: skip
    return json.dumps({
        "type": "CityJSON", "version": "2.0", "transform": {"scale": [1, 1, 1], "translate": [X, Y, 0]},
        "vertices": [[*CORNERS[c], 5] for c in CORNERS], "CityObjects": {"b": {"type": "Building", "geometry": [geometry]}},
        "appearance": {"textures": [{"type": "PNG", "image": "a.png"}], "vertices-texture": [UV[c] for c in CORNERS]},
    })  # fmt: skip


def imported(folder: Path, form: str) -> tuple[ObjectRecord, dict[str, bytes]]:
    (folder / "a.png").write_bytes(picture())
    path = folder / ("a.gml" if form == "citygml" else "a.city.json")
    path.write_text(citygml() if form == "citygml" else cityjson())
    (probe,) = importer(form).probe(path, path.name)
    place = place_of(probe, PlaceOptions(crs="EPSG:4547", vertical="ellipsoid"), PlaceOptions())
    items: list[Any] = list(importer(form).read(probe, ImportContext(place)))
    (one,) = (item for item in items if isinstance(item, ObjectRecord))
    return one, {item.content: item.data for item in items if isinstance(item, Blob)}


def test_both_give_the_same_bytes(tmp_path: Path) -> None:
    (gml, _), (js, _) = (imported(tmp_path, form) for form in ("citygml", "cityjson"))
    (a,), (b,) = gml.representations, js.representations
    assert a.content != b.content  # one repeats its image and the other does not: the only difference
    shapes = [decode(imported(tmp_path, form)[1][r.content]) for form, r in (("citygml", a), ("cityjson", b))]
    np.testing.assert_array_equal(shapes[0].uv, shapes[1].uv)
    np.testing.assert_array_equal(shapes[0].xyz, shapes[1].xyz)
    np.testing.assert_array_equal(shapes[0].triangles, shapes[1].triangles)


@pytest.mark.parametrize("form", ["citygml", "cityjson"])
def test_each_corner_shows_its_quarter_of_the_image(tmp_path: Path, form: str) -> None:
    """The image and the coordinates as a viewer gets them, near each corner of the surface."""
    one, blobs = imported(tmp_path, form)
    box = one.box
    assert box is not None
    frame = Frame(round(box[0], 4), round(box[1], 4), 0.0, 2**-10)
    drawn = Drawn(UUID(int=1).bytes, one.class_id, "", shapes=[blobs[one.representations[0].content]])
    (content,) = encode([[drawn]], frame, blobs.__getitem__)
    document = glb.parse(b"".join(content.chunks))
    ((mesh, matrices),) = placed_meshes(document)
    (primitive,) = mesh["primitives"]
    assert matrices is not None
    stored = document.accessor(primitive["attributes"]["POSITION"]).astype(float)
    y_up = stored @ matrices[0][:3, :3].T + matrices[0][:3, 3]
    ecef = frame.to_ecef(np.column_stack([y_up[:, 0], -y_up[:, 2], y_up[:, 1]]))
    lon, lat, _ = Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True).transform(*ecef.T)
    east, north = Transformer.from_crs("EPSG:4490", "EPSG:4547", always_xy=True).transform(lon, lat)
    uv = document.accessor(primitive["attributes"]["TEXCOORD_0"]).astype(float)
    material = document.json["materials"][primitive["material"]]["pbrMetallicRoughness"]["baseColorTexture"]
    transform = material.get("extensions", {}).get("KHR_texture_transform", {})
    uv = uv * transform.get("scale", [1, 1]) + transform.get("offset", [0, 0])
    source = document.json["images"][document.json["textures"][material["index"]]["source"]]
    image = Image.open(io.BytesIO(bytes(document.view(source["bufferView"])))).convert("RGB")
    middle = uv.mean(axis=0)
    for name, (x, y) in CORNERS.items():
        (at,) = np.flatnonzero(np.hypot(east - X - x, north - Y - y) < 0.01)
        u, v = uv[at] * 0.7 + middle * 0.3
        texel = image.getpixel((int(u % 1 * image.width), int(v % 1 * image.height)))
        np.testing.assert_allclose(texel, TEXELS[name], atol=30, err_msg=name)
