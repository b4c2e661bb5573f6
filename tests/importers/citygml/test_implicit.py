"""Implicit geometry stands where the matrix and the reference point say, and a prototype is stored once."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import Transformer

from importers import ImportContext, importer
from importers.plan import place_of
from importers.walk import probe as walk
from tests.importers.citygml.samples import house, imported, model
from tests.importers.matrices import MIRRORED, SHEARED, UPRIGHT
from tim.errors import is_warning
from tim.model import Blob, ObjectRecord, Rejected
from tim.place.resolve import PlaceOptions
from tim.shape import decode

CORNERS = np.array([[0.0, 0, 0], [4, 0, 0], [0, 2, 0], [0, 0, 7]])
FACES = ((0, 1, 2), (0, 1, 3), (0, 2, 3))
LIBRARY = "<libraryObject>models/tree.glb</libraryObject>"
LINKED = '<relativeGMLGeometry xlink:href="#proto"/>'


def ring(corners: tuple[int, ...]) -> str:
    numbers = " ".join(f"{v}" for k in (*corners, corners[0]) for v in CORNERS[k])
    return (
        "<gml:surfaceMember><gml:Polygon><gml:exterior><gml:LinearRing><gml:posList>"
        f"{numbers}</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon></gml:surfaceMember>"
    )


INLINE = f'<relativeGMLGeometry><gml:MultiSurface gml:id="proto">{"".join(map(ring, FACES))}</gml:MultiSurface></relativeGMLGeometry>'


def tree(
    name: str, geometry: str, matrix: np.ndarray[Any, Any] | str | None = None, point: str = "35.005 139.005 3"
) -> str:
    """A tree at a reference point, latitude first."""
    if isinstance(matrix, np.ndarray):
        matrix = " ".join(repr(float(v)) for v in matrix.ravel())
    said = "" if matrix is None else f"<transformationMatrix>{matrix}</transformationMatrix>"
    stands = f"<referencePoint><gml:Point><gml:pos>{point}</gml:pos></gml:Point></referencePoint>" if point else ""
    return (
        f'<cityObjectMember><veg:SolitaryVegetationObject xmlns:veg="http://www.opengis.net/citygml/vegetation/2.0" gml:id="{name}">'
        f"<veg:lod2ImplicitRepresentation><ImplicitGeometry>{said}{geometry}{stands}</ImplicitGeometry>"
        "</veg:lod2ImplicitRepresentation></veg:SolitaryVegetationObject></cityObjectMember>"
    )


def read(folder: Path, *members: str) -> tuple[dict[str, ObjectRecord], dict[str, bytes], list[Rejected]]:
    path = folder / "trees.gml"
    path.write_text(model(*members), encoding="utf-8")
    items = imported(path)
    blobs = [item for item in items if isinstance(item, Blob)]
    assert len({blob.content for blob in blobs}) == len(blobs)
    objects = {item.source_key: item for item in items if isinstance(item, ObjectRecord)}
    rejected = [item for item in items if isinstance(item, Rejected)]
    return objects, {blob.content: blob.data for blob in blobs}, rejected


@pytest.mark.parametrize("matrix", [None, np.eye(4), UPRIGHT, SHEARED, MIRRORED])
def test_prototypes_stand_where_they_should(tmp_path: Path, matrix: np.ndarray[Any, Any] | None) -> None:
    """To a centimetre, by an independent computation in the tangent plane at the reference point."""
    objects, blobs, rejected = read(tmp_path, tree("a", INLINE, matrix))
    assert not rejected
    (shown,) = objects["a"].representations
    assert (shown.role, shown.lod) == ("model", "2")
    matrix = np.eye(4) if matrix is None else matrix
    local = CORNERS @ matrix[:3, :3].T + matrix[:3, 3]
    base = "+proj=topocentric +ellps=WGS84 +lon_0={} +lat_0={} +h_0={}"
    expected = np.column_stack(
        Transformer.from_pipeline(base.format(139.005, 35.005, 39)).transform(*local.T, direction="INVERSE")
    )
    turn = np.radians(shown.properties.get("heading", 0.0))
    east, north, up = (decode(blobs[shown.content]).xyz * shown.properties.get("scale", [1, 1, 1])).T
    enu = (east * np.cos(turn) + north * np.sin(turn), north * np.cos(turn) - east * np.sin(turn), up)
    placed = np.column_stack(
        Transformer.from_pipeline(base.format(*shown.properties["at"])).transform(*enu, direction="INVERSE")
    )
    gaps = np.linalg.norm(expected[:, None] - placed[None], axis=2)
    assert gaps.min(axis=1).max() < 0.01
    box = objects["a"].box
    assert box is not None
    np.testing.assert_allclose(box[:3], (139.005, 35.005, 39), atol=1e-9)


def test_it_is_what_cityjson_makes_of_the_same_template(tmp_path: Path) -> None:
    """Same bytes, same place, in a map projection far off its meridian."""
    x, y = 560_000.0, 3_400_000.0
    envelope = (
        '<gml:boundedBy><gml:Envelope srsName="EPSG:4547" srsDimension="3"><gml:lowerCorner>'
        f"{x} {y} 0</gml:lowerCorner><gml:upperCorner>{x + 9} {y + 9} 9</gml:upperCorner></gml:Envelope></gml:boundedBy>"
    )
    (tmp_path / "a.gml").write_text(model(tree("t", INLINE, UPRIGHT, f"{x + 1} {y + 2} 3"), envelope=envelope))
    template = {"type": "MultiSurface", "lod": "2", "boundaries": [[list(face)] for face in FACES]}
    instance = {
        "type": "GeometryInstance",
        "template": 0,
        "boundaries": [0],
        "transformationMatrix": UPRIGHT.ravel().tolist(),
    }
    document = {
        "type": "CityJSON", "version": "2.0", "transform": {"scale": [1, 1, 1], "translate": [x, y, 0]}, "vertices": [[1, 2, 3], [9, 9, 9]],
        "CityObjects": {"t": {"type": "SolitaryVegetationObject", "geometry": [instance]}},
        "geometry-templates": {"templates": [template], "vertices-templates": CORNERS.tolist()},
    }  # fmt: skip
    (tmp_path / "a.city.json").write_text(json.dumps(document))
    seen = []
    for form, name in (("citygml", "a.gml"), ("cityjson", "a.city.json")):
        (probe,) = importer(form).probe(tmp_path / name, name)
        place = place_of(probe, PlaceOptions(crs="EPSG:4547", vertical="ellipsoid"), PlaceOptions())
        (one,) = (i for i in importer(form).read(probe, ImportContext(place)) if isinstance(i, ObjectRecord))
        seen.append((one.representations, one.box, one.class_id))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("first", [True, False])
def test_a_prototype_of_another_member_is_stored_once(tmp_path: Path, first: bool) -> None:
    """Two trees refer to the one that has it, whether it stands before or after them; their turn and scale stay theirs."""
    members = [tree("own", INLINE), tree("b", LINKED, UPRIGHT), tree("c", LINKED, None, "35.006 139.005 3")]
    objects, blobs, rejected = read(tmp_path, *(members if first else members[::-1]))
    assert not rejected
    shown = {name: one.representations[0] for name, one in objects.items()}
    assert len({one.content for one in shown.values()}) == len(blobs) == 1
    assert shown["b"].properties["heading"] == pytest.approx(330)
    assert shown["b"].properties["scale"] == [2, 3, 1.5]
    assert "scale" not in shown["c"].properties


def test_a_prototype_that_refers_to_surfaces_of_its_member(tmp_path: Path) -> None:
    """What the prototype links to is kept with it."""
    holder = '<relativeGMLGeometry><gml:MultiSurface gml:id="proto"><gml:surfaceMember xlink:href="#far"/></gml:MultiSurface></relativeGMLGeometry>'
    spare = f"<gml:MultiSurface>{ring(FACES[0])}</gml:MultiSurface>".replace("Polygon>", 'Polygon gml:id="far">', 1)
    own = tree("own", f"{holder}<relativeGMLGeometry>{spare}</relativeGMLGeometry>")
    objects, blobs, rejected = read(tmp_path, own, tree("b", LINKED))
    assert not rejected
    assert len({one.representations[0].content for one in objects.values()}) == len(blobs) == 1


def tiny_glb() -> bytes:
    binary = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0]], "<f4").tobytes()
    document = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}], "buffers": [{"byteLength": len(binary)}],
        "bufferViews": [{"buffer": 0, "byteLength": len(binary)}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 2, 0]}],
    }  # fmt: skip
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    parts = struct.pack("<2I", len(text), 0x4E4F534A) + text + struct.pack("<2I", len(binary), 0x004E4942) + binary
    return struct.pack("<4s2I", b"glTF", 2, 12 + len(parts)) + parts


def test_a_library_object_beside_the_file(tmp_path: Path) -> None:
    """The glb is taken as it is, once for all trees."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tree.glb").write_bytes(tiny_glb())
    objects, blobs, rejected = read(tmp_path, tree("a", LIBRARY, UPRIGHT), tree("b", LIBRARY))
    assert not rejected
    assert list(blobs.values()) == [tiny_glb()]
    (shown,) = objects["a"].representations
    assert (shown.role, shown.format) == ("model", "glb")
    assert shown.properties["scale"] == [2, 3, 1.5]
    assert shown.content == objects["b"].representations[0].content


def test_library_objects_are_no_deliveries_of_their_own(tmp_path: Path) -> None:
    """In a folder, the models that a town places are left to it; another model stays a delivery."""
    (tmp_path / "models").mkdir()
    for name in ("tree", "spare"):
        (tmp_path / "models" / f"{name}.glb").write_bytes(tiny_glb())
    (tmp_path / "town.gml").write_text(model(tree("a", LIBRARY), tree("b", LIBRARY.replace("models", "../models"))))
    assert [p.key for p in walk(tmp_path).probes] == ["models/spare.glb", "town.gml"]


@pytest.mark.parametrize(
    ("geometry", "matrix", "reason"),
    [
        (LIBRARY, None, "No such file"), (LIBRARY.replace(".glb", ".bin"), None, "no .glb beside"), (LIBRARY, SHEARED, "tilts or shears"),
        (LIBRARY.replace("models/tree", "../tree"), None, "no .glb beside"), (LIBRARY.replace("models/tree", "models/cut"), None, "glb.cut-off"),
        (LIBRARY.replace("models", "http://host"), None, "no .glb beside"), ("", None, "no geometry"), (LINKED, None, "no surfaces"),
        (INLINE, "1 2 3", "16 finite numbers"), (INLINE, "nan " * 16, "16 finite numbers"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_keeps_its_place(tmp_path: Path, geometry: str, matrix: Any, reason: str) -> None:
    """The object is imported with its location; a warning says why it is not drawn."""
    folder = tmp_path / "town"
    (folder / "models").mkdir(parents=True)
    (tmp_path / "tree.glb").write_bytes(tiny_glb())
    (folder / "models" / "cut.glb").write_bytes(tiny_glb()[:-4])
    if reason != "No such file":
        (folder / "models" / "tree.glb").write_bytes(tiny_glb())
    objects, _, rejected = read(folder, tree("a", geometry, matrix))
    assert objects["a"].representations == ()
    assert objects["a"].box == pytest.approx((139.005, 35.005, 39) * 2)
    (said,) = (item for item in rejected if item.code == "citygml.implicit")
    assert reason in said.fields["reason"]
    assert str(tmp_path) not in said.fields["reason"]
    assert all(is_warning(item.code) for item in rejected)


def test_one_without_a_place_is_left_out(tmp_path: Path) -> None:
    objects, _, rejected = read(tmp_path, tree("a", INLINE, point=""), house("h"))
    assert set(objects) == {"h"}
    assert {item.code for item in rejected} == {"citygml.implicit", "city.nothing-left"}


def test_the_whole_implicit_geometry_may_be_linked(tmp_path: Path) -> None:
    """Also in the form of CityGML 3."""
    own = tree("own", INLINE.replace("relativeGMLGeometry", "relativeGeometry")).replace(
        "<ImplicitGeometry>", '<ImplicitGeometry gml:id="impl">'
    )
    other = tree("b", "")
    start, end = other.index("<veg:lod2Implicit"), other.index("</veg:Solitary")
    objects, blobs, rejected = read(
        tmp_path, own, other[:start] + '<veg:lod2ImplicitRepresentation xlink:href="#impl"/>' + other[end:]
    )
    assert not rejected
    assert len(blobs) == 1
    assert objects["own"].representations == objects["b"].representations


def test_prototypes_that_branch_end(tmp_path: Path) -> None:
    """Two thousand prototypes, each a link to one that has no end, share one budget."""
    link = '<gml:surfaceMember xlink:href="#c"/>'
    twice = f'<gml:CompositeSurface gml:id="c">{link * 2}</gml:CompositeSurface>'
    one = f"<lod2ImplicitRepresentation><ImplicitGeometry><relativeGMLGeometry>{twice}</relativeGMLGeometry>"
    point = "<referencePoint><gml:Point><gml:pos>35 139 3</gml:pos></gml:Point></referencePoint>"
    many = f"{one}{point}</ImplicitGeometry></lod2ImplicitRepresentation>" * 2_000
    objects, _, rejected = read(tmp_path, house("a", extra=many))
    assert len(objects["a"].representations) == 1
    assert {"citygml.too-deep", "citygml.implicit"} <= {item.code for item in rejected}
