"""One tile's glb: how vertices, texture coordinates, colours and materials are stored."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.importers.osgb.scenes import jpeg, sheet
from tests.tiling.meshes.building import frame_positions
from tests.validator import gltf_errors
from tiling.meshes.content import encode, on_lattice
from tiling.meshes.texture import texture_info
from tiling.spec import glb
from tim.errors import TilingError
from tim.geometry import EncodedImage, Mesh
from tim.place import Frame, LocalMap

FRAME = Frame(114.0, 30.0, 0.0, 2**-10)


@dataclass(frozen=True)
class Shift(LocalMap):
    """Native coordinates moved by a fixed vector: the frame is parallel to them."""

    by: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __call__(self, xyz: Any) -> Any:
        return np.asarray(xyz, float) + self.by

    def from_raw(self, raw: Any, scale: Any, offset: Any) -> Any:
        return self(raw * scale + offset)


PLACE = Shift(0.0)


def parsed(*meshes: Mesh, place: LocalMap = PLACE) -> glb.Glb:
    return glb.parse(b"".join(encode(meshes, place, FRAME).chunks))


def test_small_tiles_are_uint16_large_ones_exact_float32():
    for size, dtype in ((60.0, np.uint16), (70.0, np.float32), (8000.0, np.float32)):
        mesh = sheet((-1234.5, 777.25), size, 5)
        document = parsed(mesh)
        stored = document.accessor(document.json["meshes"][0]["primitives"][0]["attributes"]["POSITION"])
        assert stored.dtype == dtype
        (decoded,) = frame_positions(document)
        assert np.array_equal(decoded, np.rint(mesh.positions.astype(float) * 1024) / 1024)
        assert ("KHR_mesh_quantization" in document.json.get("extensionsRequired", [])) == (dtype == np.uint16)


@given(st.floats(-5000, 5000), st.floats(-5000, 5000), st.floats(1, 63))
@settings(max_examples=50, deadline=None)
def test_a_vertex_in_two_tiles_is_the_same_vertex(x: float, y: float, size: float):
    one, two = sheet((x, y), size, 3), sheet((x, y), size * 40, 3)
    two.positions[:] = two.positions.astype(np.float32)
    two.positions[0] = one.positions[0]
    place = Shift(0.0, (0.1, 0.7, -3.3))
    (a,), (b,) = frame_positions(parsed(one, place=place)), frame_positions(parsed(two, place=place))
    assert np.array_equal(a[0], b[0])


def test_box_is_tight_and_counts_right():
    meshes = [sheet((0, 0), 10, 3), sheet((50, 0), 10, 2, seed=2)]
    content = encode(meshes, PLACE, FRAME)
    decoded = np.concatenate(frame_positions(glb.parse(b"".join(content.chunks))))
    assert np.array_equal(content.low, decoded.min(axis=0))
    assert np.array_equal(content.high, decoded.max(axis=0))
    assert (content.vertices, content.triangles) == (16 + 9, 18 + 8)


def test_several_meshes_are_primitives_with_their_own_materials():
    shared = jpeg(5)
    meshes = [
        sheet((0, 0), 10, 3, seed=1),
        Mesh(**{**_fields(sheet((10, 0), 10, 3, seed=1)), "texture": shared}),
        Mesh(**{**_fields(sheet((20, 0), 10, 3, seed=1)), "texture": shared}),
        sheet((30, 0), 10, 3, texture=False),
    ]
    document = parsed(*meshes)
    primitives = document.json["meshes"][0]["primitives"]
    assert [p["material"] for p in primitives] == [0, 1, 1, 2]
    assert len(document.json["images"]) == 2
    assert all(m["extensions"] == {"KHR_materials_unlit": {}} for m in document.json["materials"])
    for mesh, primitive in zip(meshes, primitives, strict=True):
        assert np.array_equal(document.accessor(primitive["indices"]).reshape(-1, 3), mesh.triangles)


def _fields(mesh: Mesh) -> dict[str, Any]:
    return {name: getattr(mesh, name) for name in Mesh.__slots__}


def uv_of(mesh: Mesh) -> tuple[np.ndarray, dict[str, Any]]:
    document = parsed(mesh)
    return document.accessor(document.json["meshes"][0]["primitives"][0]["attributes"]["TEXCOORD_0"]), document.json


@given(st.integers(1, 16383), st.floats(0, 1, width=32))
@settings(max_examples=100, deadline=None)
def test_texture_coordinates_move_less_than_an_eighth_of_a_texel(side: int, u: float):
    mesh = Mesh(**{**_fields(sheet((0, 0), 10, 1)), "texture": png(1, 1, side)})
    assert mesh.uv is not None
    mesh.uv[0, 0] = u
    stored, _ = uv_of(mesh)
    assert stored.dtype == np.uint16
    assert abs(float(stored[0, 0]) / 65535 - u) * side <= 1 / 8


def test_texture_coordinates_stay_float_where_they_repeat_or_the_texture_is_huge():
    mesh = sheet((0, 0), 10, 2)
    assert mesh.uv is not None
    mesh.uv[0] = [-0.5, 1.5]
    stored, document = uv_of(mesh)
    assert stored.dtype == np.float32
    assert np.array_equal(stored, mesh.uv)
    assert document["samplers"][0]["wrapS"] == 10497
    huge = Mesh(**{**_fields(sheet((0, 0), 10, 2)), "texture": png(1, 1, 20000)})
    stored, document = uv_of(huge)
    assert stored.dtype == np.float32
    assert document["samplers"][0]["wrapS"] == 33071


def test_colours_are_linear_and_base_colour_too():
    mesh = sheet((0, 0), 10, 1, texture=False)
    colors = np.array([[0, 128, 255, 255], [255, 255, 255, 128], [1, 2, 3, 0], [64, 64, 64, 255]], np.uint8)
    document = parsed(Mesh(mesh.positions, mesh.triangles, colors=colors, base_color=(0.5, 1.0, 0.0, 0.5)))
    primitive = document.json["meshes"][0]["primitives"][0]
    stored = document.accessor(primitive["attributes"]["COLOR_0"]) / 65535
    truth = np.where(colors / 255 <= 0.04045, colors / 255 / 12.92, ((colors / 255 + 0.055) / 1.055) ** 2.4)
    assert np.allclose(stored[:, :3], truth[:, :3], atol=1e-5)
    assert np.allclose(stored[:, 3], colors[:, 3] / 255, atol=1e-5)
    material = document.json["materials"][0]
    assert material["pbrMetallicRoughness"]["baseColorFactor"] == pytest.approx([0.214041, 1, 0, 0.5], abs=1e-5)
    assert material["alphaMode"] == "BLEND"


def test_normals_light_untextured_meshes_only():
    mesh = sheet((0, 0), 10, 1)
    normals = np.tile(np.array([[0.6, 0, 0.8]], np.float32), (4, 1))
    lit = parsed(Mesh(mesh.positions, mesh.triangles, normals=normals))
    primitive = lit.json["meshes"][0]["primitives"][0]
    assert np.allclose(lit.accessor(primitive["attributes"]["NORMAL"]) / 127, normals, atol=0.005)
    assert "extensions" not in lit.json["materials"][0]
    textured = parsed(Mesh(mesh.positions, mesh.triangles, mesh.uv, normals, texture=mesh.texture))
    assert "NORMAL" not in textured.json["meshes"][0]["primitives"][0]["attributes"]


def png(width: int, height: int, claimed: int | None = None, mode: str = "RGB") -> EncodedImage:
    """A PNG whose header may claim another size."""
    out = io.BytesIO()
    Image.new(mode, (width, height)).save(out, "PNG")
    data = bytearray(out.getvalue())
    if claimed is not None:
        data[16:20] = claimed.to_bytes(4, "big")
    return EncodedImage("image/png", bytes(data))


def test_image_headers():
    for size in ((64, 32), (7, 999)):
        info = texture_info(jpeg(0, size))
        assert (info.width, info.height, info.alpha) == (*size, False)
    progressive = io.BytesIO()
    Image.new("RGB", (33, 44)).save(progressive, "JPEG", progressive=True, exif=b"Exif\0\0" + bytes(500))
    info = texture_info(EncodedImage("image/jpeg", progressive.getvalue()))
    assert (info.width, info.height) == (33, 44)
    assert texture_info(png(5, 6, mode="RGBA")).alpha
    assert texture_info(EncodedImage("image/jpeg", b"\xff\xd8\xff")).width == 65535


def test_transparent_textures_are_masked():
    mesh = Mesh(**{**_fields(sheet((0, 0), 10, 2)), "texture": png(4, 4, mode="RGBA")})
    material = parsed(mesh).json["materials"][0]
    assert (material["alphaMode"], material["alphaCutoff"]) == ("MASK", 0.5)


def test_a_vertex_beyond_the_lattice_is_refused():
    for value in (3e6, 1e30, np.inf, np.nan):
        with pytest.raises(TilingError):
            on_lattice(np.array([[value, 0, 0]]), PLACE, FRAME.step)


def test_every_form_is_valid_gltf(tmp_path: Path):
    mesh = sheet((0, 0), 10, 2)
    normals = np.tile(np.array([[0.0, 0.6, 0.8]], np.float32), (9, 1))
    colors = np.full((9, 4), 200, np.uint8)
    forms = {
        "textured": [mesh], "large": [sheet((0, 0), 500, 4)], "several": [mesh, sheet((10, 0), 10, 2, seed=1)],
        "plain": [Mesh(mesh.positions, mesh.triangles)], "lit": [Mesh(mesh.positions, mesh.triangles, normals=normals)],
        "coloured": [Mesh(mesh.positions, mesh.triangles, colors=colors)],
        "masked": [Mesh(mesh.positions, mesh.triangles, mesh.uv, texture=png(4, 4, mode="RGBA"))],
        "clear": [Mesh(mesh.positions, mesh.triangles, base_color=(1.0, 0.0, 0.0, 0.25))],
        "double": [Mesh(mesh.positions.astype(float), mesh.triangles)],
    }  # fmt: skip
    for name, meshes in forms.items():
        (tmp_path / f"{name}.glb").write_bytes(b"".join(encode(meshes, PLACE, FRAME).chunks))
    assert gltf_errors(tmp_path) == []
