"""The glb writer against its own reader and against arithmetic; gltf-validator judges whole tiles elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tiling.spec.glb import GlbWriter, parse


def written(writer: GlbWriter) -> bytes:
    return b"".join(writer.chunks())


@given(
    st.sampled_from(["<u1", "<i1", "<u2", "<i2", "<f4"]).flatmap(
        lambda d: st.integers(1, 4).flatmap(
            lambda w: st.integers(1, 40).flatmap(
                lambda n: arrays(d, (n, w), elements={"allow_nan": False} if "f" in d else None)
            )
        )
    )
)
def test_vertices_read_back(values):
    writer = GlbWriter()
    index = writer.vertices(values)
    glb = parse(written(writer))
    np.testing.assert_array_equal(glb.accessor(index), values)
    view = glb.json["bufferViews"][0]
    assert view["byteStride"] % 4 == 0
    assert view["byteOffset"] % 4 == 0


@pytest.mark.parametrize(("count", "component"), [(65535, 5123), (65536, 5125)])
def test_indices_are_as_narrow_as_allowed(count, component):
    writer = GlbWriter()
    index = writer.indices(np.array([[0, 1, count - 1]], np.uint32), count)
    glb = parse(written(writer))
    assert glb.json["accessors"][index]["componentType"] == component
    assert glb.accessor(index).ravel().tolist() == [0, 1, count - 1]


def test_lattice_node_is_in_the_frame_after_the_tiles_rule():
    writer = GlbWriter()
    writer.lattice_node(0, (100.0, 200.0, 30.0), 0.5)
    matrix = np.array(parse(written(writer)).json["nodes"][0]["matrix"]).reshape(4, 4).T
    gltf = matrix @ [2.0, 4.0, 6.0, 1.0]
    # 3D Tiles turns glTF's y-up into z-up: x, -z, y.
    assert [gltf[0], -gltf[2], gltf[1]] == [101.0, 202.0, 33.0]


def test_same_parts_same_bytes():
    def make() -> bytes:
        writer = GlbWriter()
        for name in ("KHR_mesh_quantization", "EXT_mesh_features"):
            writer.extension(name, required=name.startswith("KHR"))
        writer.image("image/jpeg", b"\xff\xd8\xff")
        return written(writer)

    assert make() == make()
    assert len(make()) % 4 == 0


@pytest.mark.parametrize("cut", [0, 10, 19, 24, -1, -5])
def test_a_cut_glb_is_refused(cut):
    writer = GlbWriter()
    writer.vertices(np.arange(9, dtype="<f4").reshape(3, 3))
    with pytest.raises(ValueError, match=r"glb|header|chunk|binary"):
        parse(written(writer)[:cut])
