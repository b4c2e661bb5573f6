"""Our reader and writer against OpenSceneGraph's own program."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from importers.osgb.objects import SceneReader, read_scene
from importers.osgb.stream import Stream
from importers.osgb.tree import links_of, nodes_of
from importers.osgb.writer import write_osgb
from tests.importers.osgb.scenes import block, jpeg, paged, sheet
from tim.geometry import Mesh
from tim.sources import MeshNode

VERSIONS = (77, 80, 91, 94, 95, 97, 98, 99, 112, 123, 141, 146, 148, 150, 153, 154, 155, 156, 161)


@pytest.fixture(scope="session")
def osgconv() -> str:
    found = shutil.which("osgconv")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("osgconv (Debian: openscenegraph) is absent, and CI must have it")
        pytest.skip("osgconv (Debian: openscenegraph) is absent")
    return found


def convert(osgconv: str, source: Path, target: Path, options: str = "") -> None:
    command = [osgconv, *(["-O", options] if options else []), str(source), str(target)]
    done = subprocess.run(
        command,
        env={**os.environ, "OSG_OPTIMIZER": "OFF"},
        cwd=target.parent,  # where it puts images that are written out
        capture_output=True,
        text=True,
        check=False,
    )
    assert target.exists(), done.stderr


def obj(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [n, 3] and triangles [m, 3] (0-based) of an OBJ file."""
    vertices, faces = [], []
    with path.open(encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("v "):
                vertices.append(line.split()[1:4])
            elif line.startswith("f "):
                faces.append([int(part.split("/")[0]) - 1 for part in line.split()[1:4]])
    return np.array(vertices, float).reshape(-1, 3), np.array(faces, int).reshape(-1, 3)


def meshes(nodes: list[MeshNode]) -> list[Mesh]:
    out = []
    for node in nodes:
        out += node.meshes
        out += meshes([link.target for link in node.children if isinstance(link.target, MeshNode)])
    return out


@pytest.mark.slow
def test_real_files_equal_osgconv(osgconv: str, real_data: Path, tmp_path: Path):
    files = sorted((real_data / "oblique").rglob("*.osgb"))
    assert len(files) >= 30
    vertices = triangles = 0
    for path in files:
        target = tmp_path / "one.obj"
        target.unlink(missing_ok=True)
        convert(osgconv, path, target)
        points, faces = obj(target)
        found = meshes(nodes_of(path.read_bytes(), path.parent, path.name, path.name))
        assert sum(len(m.positions) for m in found) == len(points), path.name
        assert sum(len(m.triangles) for m in found) == len(faces), path.name
        ours = np.concatenate([m.positions for m in found])
        # OBJ has six significant digits.
        assert np.allclose(np.sort(ours, axis=0), np.sort(points, axis=0), rtol=1e-5, atol=1e-3), path.name
        vertices, triangles = vertices + len(points), triangles + len(faces)
    assert vertices > 400_000
    assert triangles > 300_000


def test_real_files_are_read_to_the_last_byte(real_data: Path):
    for path in sorted((real_data / "oblique").rglob("*.osgb")):
        stream = Stream(path.read_bytes(), path.name)
        SceneReader(stream).object()
        assert stream.left == 0, path.name


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A file with two paged nodes and a plain one."""
    path = tmp_path / "scene" / "scene.osgb"
    path.parent.mkdir()
    nodes = [paged(sheet((n * 10.0, 0.0), 10, 4, n), f"child{n}.osgb", 0.5) for n in range(2)]
    plain = paged(sheet((20.0, 0.0), 10, 3, texture=False), "", 1)
    write_osgb(path, [*nodes, plain])
    for n in range(2):
        (path.parent / f"child{n}.osgb").write_bytes(path.read_bytes())
    return path


def test_osgconv_reads_what_we_write(osgconv: str, scene: Path, tmp_path: Path):
    convert(osgconv, scene, tmp_path / "out.obj")
    points, faces = obj(tmp_path / "out.obj")
    assert len(points) == 2 * 25 + 16
    assert len(faces) == 2 * 32 + 18
    convert(osgconv, scene, tmp_path / "out.osgt")
    text = (tmp_path / "out.osgt").read_text(encoding="utf-8", errors="replace")
    assert text.count("osg::PagedLOD {") == 2
    assert "RangeMode PIXEL_SIZE_ON_SCREEN" in text
    assert '"child0.osgb"' in text


@pytest.mark.parametrize("options", [
    *(f"TargetFileVersion={version}" for version in VERSIONS),
    "Compressor=zlib", "SchemaData", "Compressor=zlib SchemaData TargetFileVersion=112", "Compressor=zlib TargetFileVersion=80",
    "WriteImageHint=IncludeFile", "WriteImageHint=IncludeData", "WriteImageHint=IncludeData TargetFileVersion=80",
    "WriteImageHint=UseExternal", "WriteImageHint=WriteOut",
])  # fmt: skip
def test_every_variant_that_osgconv_writes_reads_the_same(osgconv: str, scene: Path, options: str):
    target = scene.parent / "variant.osgb"
    convert(osgconv, scene, target, options)
    data = target.read_bytes()
    stream = Stream(data, target.name)
    SceneReader(stream).object()
    assert stream.left == 0
    expected = nodes_of(scene.read_bytes(), scene.parent, scene.name, "expected")
    found = nodes_of(data, scene.parent, target.name, "found")
    assert len(found) == len(expected) == 3
    for ours, theirs in zip(found, expected, strict=True):
        assert [round(link.metres_per_pixel, 6) for link in ours.children] == [0.5] * len(theirs.children)
        assert [link.target for link in ours.children] == [link.target for link in theirs.children]
        for a, b in zip(ours.meshes, theirs.meshes, strict=True):
            assert np.array_equal(a.positions, b.positions)
            assert np.array_equal(a.triangles, b.triangles)
            if b.texture is not None and "UseExternal" not in options and "WriteOut" not in options:
                assert a.uv is not None
                assert b.uv is not None
                assert np.allclose(a.uv, b.uv, atol=1e-7)
                assert a.texture is not None
                assert a.texture.mime in ("image/jpeg", "image/png")


def test_raw_pixels_keep_their_rows(osgconv: str, scene: Path):
    """Pixels written by OpenSceneGraph from our JPEG decode to the same picture, the same way up."""
    import io

    from PIL import Image

    target = scene.parent / "variant.osgb"
    convert(osgconv, scene, target, "WriteImageHint=IncludeData")
    found = next(
        node for node in nodes_of(target.read_bytes(), scene.parent, target.name, "found") if node.meshes[0].texture
    )
    texture = found.meshes[0].texture
    assert texture is not None
    assert texture.mime == "image/png"
    ours = np.asarray(Image.open(io.BytesIO(texture.data)).convert("RGB"), int)
    truth = [np.asarray(Image.open(io.BytesIO(jpeg(n).data)).convert("RGB"), int) for n in range(2)]
    assert min(np.abs(ours - t).mean() for t in truth) < 2


def test_old_files_without_brackets_carry_common_state(osgconv: str, tmp_path: Path):
    """State classes that productions use are known, so that files without sizes can be read."""
    text = """#Ascii Scene
#Version 161
#Generator OpenSceneGraph 3.6.5

osg::MatrixTransform {
  UniqueID 1
  Children 1 {
    osg::Geode {
      UniqueID 2
      StateSet TRUE {
        osg::StateSet {
          UniqueID 3
          ModeList 1 { GL_CULL_FACE ON }
          AttributeList 7 {
            osg::BlendFunc { UniqueID 4 SourceRGB SRC_ALPHA DestinationRGB ONE_MINUS_SRC_ALPHA } Value OFF
            osg::CullFace { UniqueID 5 } Value OFF
            osg::Depth { UniqueID 6 } Value OFF
            osg::AlphaFunc { UniqueID 7 Function GREATER ReferenceValue 0.1 } Value OFF
            osg::PolygonMode { UniqueID 8 Mode TRUE UseFrontAndBack TRUE Front FILL Back FILL } Value OFF
            osg::ShadeModel { UniqueID 9 } Value OFF
            osg::LightModel { UniqueID 10 } Value OFF
          }
          TextureAttributeList 1 { Data 2 {
            osg::TexEnv { UniqueID 11 Mode REPLACE } Value OFF
            osg::TexMat { UniqueID 12 } Value OFF
          } }
        }
      }
      Drawables 1 {
        osg::Geometry {
          UniqueID 20
          PrimitiveSetList 1 { osg::DrawArrays { UniqueID 21 Mode QUADS Count 4 } }
          VertexArray TRUE { osg::Vec3Array { UniqueID 22 Binding BIND_PER_VERTEX vector 4 { 0 0 0 1 0 0 1 1 0 0 1 0 } } }
          NormalArray TRUE { osg::Vec3Array { UniqueID 23 Binding BIND_PER_VERTEX vector 4 { 0 0 1 0 0 1 0 0 1 0 0 1 } } }
          ColorArray TRUE { osg::Vec4Array { UniqueID 24 Binding BIND_OVERALL vector 1 { 1 0 0 1 } } }
        }
      }
    }
  }
  Matrix { 2 0 0 0 0 2 0 0 0 0 2 0 10 20 30 1 }
}
"""
    (tmp_path / "in.osgt").write_text(text, encoding="ascii")
    for version in (80, 98, 112, 154, 161):
        target = tmp_path / f"v{version}.osgb"
        convert(osgconv, tmp_path / "in.osgt", target, f"TargetFileVersion={version}")
        (node,) = nodes_of(target.read_bytes(), tmp_path, target.name, target.name)
        (mesh,) = node.meshes
        assert mesh.positions.tolist() == [[10, 20, 30], [12, 20, 30], [12, 22, 30], [10, 22, 30]]
        assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
        assert mesh.normals is not None
        assert mesh.normals.tolist() == [[0, 0, 1]] * 4
        assert mesh.base_color == (1.0, 0.0, 0.0, 1.0)


def test_links_of_a_block(tmp_path: Path):
    folder = block(tmp_path / "Tile_1", levels=3)
    root = folder / "Tile_1.osgb"
    ((target, metres),) = links_of(root.read_bytes(), folder, root.name, "root")
    assert target == "Tile_1_L1_0.osgb"
    assert metres == pytest.approx(1.0)
    assert read_scene(root.read_bytes(), "root") is not None
