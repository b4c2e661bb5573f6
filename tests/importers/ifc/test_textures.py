"""Images of triangulated face sets: each corner shows the texel the model says, in whatever way the product is placed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.importers.ifc.houses import house, written
from tests.importers.ifc.test_ifc import codes, shape, taken
from tim.errors import is_warning
from tim.model import Blob
from tim.place import Frame

BOARD = "2O2Fr$t4X7Zf8NOew3FNrP"
CORNERS = {(0.0, 0.0): (0, 0, 255), (2.0, 0.0): (255, 255, 0), (2.0, 1.0): (0, 255, 0), (0.0, 1.0): (255, 0, 0)}
"""By metres right and up, the colour there: lower left blue, lower right yellow, upper right green, upper left red."""
COLORS = list(CORNERS.values())


def picture(kind: str = "PNG") -> bytes:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[16:, :16], pixels[16:, 16:], pixels[:16, 16:], pixels[:16, :16] = COLORS
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def binary(data: bytes) -> str:
    return f'"0{data.hex().upper()}"'


BESIDE = "#1007=IFCIMAGETEXTURE(.T.,.T.,$,$,$,'textures/board.png');"
BLOB = f"#1007=IFCBLOBTEXTURE(.T.,.T.,$,$,$,'PNG',{binary(picture())});"
PIXELS = f"#1007=IFCPIXELTEXTURE(.T.,.T.,$,$,$,2,2,3,({','.join(binary(bytes(COLORS[k])) for k in (0, 1, 3, 2))}));"


def board(
    texture: str = BESIDE, index: str = "((1,2,3),(1,3,4))", corners: str = "((0.,0.),(1.,0.),(1.,1.),(0.,1.))",
    shown: str = "#1002=IFCSHAPEREPRESENTATION(#10,'Body','Tessellation',(#1003,#1050));", at: str = "(1000.,0.,0.)", more: str = "",
) -> str:  # fmt: skip
    """A textured board, two by one metre, upright, turned a quarter; above it a plain one. Texture corners are in an order of their own."""
    return house(f"""#1000=IFCBUILDINGELEMENTPROXY('{BOARD}',$,'Board',$,$,#1020,#1001,$,$);
#1001=IFCPRODUCTDEFINITIONSHAPE($,$,(#1002));
{shown}
#1003=IFCTRIANGULATEDFACESET(#1004,$,.F.,((2,3,1),(3,4,1)),$);
#1004=IFCCARTESIANPOINTLIST3D(((0.,0.,0.),(2000.,0.,0.),(2000.,0.,1000.),(0.,0.,1000.)));
#1005=IFCINDEXEDTRIANGLETEXTUREMAP((#1007),#1003,#1006,{index});
#1006=IFCTEXTUREVERTEXLIST({corners});
{texture}
#1020=IFCLOCALPLACEMENT(#41,#1021);
#1021=IFCAXIS2PLACEMENT3D(#1022,#14,#1023);
#1022=IFCCARTESIANPOINT({at});
#1023=IFCDIRECTION((0.,1.,0.));
#1050=IFCTRIANGULATEDFACESET(#1051,$,.F.,((1,2,3),(1,3,4)),$);
#1051=IFCCARTESIANPOINTLIST3D(((0.,0.,2000.),(2000.,0.,2000.),(2000.,0.,3000.),(0.,0.,3000.)));
{more}""")


INDEX = "((2,3,1),(3,4,1))"


def seen(found: list[Any], scale: float = 1.0, at: tuple[float, float, float] = (1.0, 0.0, 0.0)) -> dict[Any, Any]:
    """Colours near the corners of the board's textured triangles, by metres right and up; read from the shape as it is stored."""
    body = shape(found, BOARD)
    frame = Frame(114.3, 30.5, 20.0, 1.0)
    local = (body.xyz - frame.origin) @ frame.axes.T - at
    right, up = local[:, 1] / scale, local[:, 2] / scale
    starts = np.concatenate([[0], body.surface_triangle_ends]).astype(int)
    out: dict[Any, Any] = {}
    for surface, number in enumerate(body.surface_materials):
        material = body.materials[number]
        if material is None or not material.image:
            continue
        data = next(item.data for item in found if isinstance(item, Blob) and item.content == material.image)
        image = Image.open(io.BytesIO(data)).convert("RGB")
        for triangle in body.triangles[starts[surface] : starts[surface + 1]]:
            assert body.uv is not None
            middle = np.array([0.5, 0.5])
            for corner in triangle:
                u, v = (body.uv[corner] - middle) * 0.7 + middle
                texel = image.getpixel((int(u * image.width), int(v * image.height)))
                out.setdefault((round(float(right[corner]), 2), round(float(up[corner]), 2)), set()).add(texel)
    return out


EXPECTED = {place: {color} for place, color in CORNERS.items()}


@pytest.mark.parametrize("texture", [BESIDE, BLOB, PIXELS])
def test_each_corner_shows_its_texel(tmp_path: Path, texture: str):
    """An image beside the model, in it, or as pixels: the lower left of the image is (0, 0)."""
    (tmp_path / "textures").mkdir()
    (tmp_path / "textures" / "board.png").write_bytes(picture())
    found = taken(written(tmp_path, board(texture, INDEX)))
    assert seen(found) == EXPECTED
    assert "ifc.textures-left-out" not in codes(found)
    assert len(shape(found, BOARD).triangles) == 4
    assert len(set(shape(found, BOARD).surface_materials.tolist())) == 2


def test_without_an_index_the_corners_are_those_of_the_face_set(tmp_path: Path):
    found = taken(written(tmp_path, board(BLOB, "$")))
    assert seen(found) == EXPECTED


def test_a_transform_moves_the_coordinates(tmp_path: Path):
    """Coordinates that were halved and shifted are brought back by the texture's transform."""
    moved = BLOB.replace("$,$,$,'PNG'", "$,#1030,$,'PNG'")
    more = "#1030=IFCCARTESIANTRANSFORMATIONOPERATOR2D($,$,#1031,2.);\n#1031=IFCCARTESIANPOINT((-1.,-1.));"
    found = taken(written(tmp_path, board(moved, INDEX, "((0.5,0.5),(1.,0.5),(1.,1.),(0.5,1.))", more=more)))
    assert seen(found) == EXPECTED


def test_a_mapped_board_twice_as_large(tmp_path: Path):
    shown = (
        "#1002=IFCSHAPEREPRESENTATION(#10,'Body','MappedRepresentation',(#1040));\n#1040=IFCMAPPEDITEM(#1041,#1042);\n"
        "#1041=IFCREPRESENTATIONMAP(#12,#1043);\n#1043=IFCSHAPEREPRESENTATION(#10,'Body','Tessellation',(#1003));\n"
        "#1042=IFCCARTESIANTRANSFORMATIONOPERATOR3D($,$,#1044,2.,$);\n#1044=IFCCARTESIANPOINT((5000.,0.,0.));"
    )
    found = taken(written(tmp_path, board(BLOB, INDEX, shown=shown)))
    assert seen(found, 2.0, (1.0, 5.0, 0.0)) == EXPECTED


def test_triangles_that_the_kernel_made_anew_have_no_image(tmp_path: Path):
    """An opening cut out of the board: drawn in plain, and a warning counts the texture."""
    hole = (
        "#1060=IFCOPENINGELEMENT('2O2Fr$t4X7Zf8NOew3FNrQ',$,'Hole',$,$,#1020,#1062,$,$);\n"
        "#1061=IFCRELVOIDSELEMENT('2O2Fr$t4X7Zf8NOew3FNrR',$,$,$,#1000,#1060);\n"
        "#1062=IFCPRODUCTDEFINITIONSHAPE($,$,(#151));"
    )
    found = taken(written(tmp_path, board(BLOB, INDEX, more=hole)))
    assert len(shape(found, BOARD).triangles) > 4
    assert seen(found) == {}
    assert "ifc.textures-left-out" in codes(found)


@pytest.mark.parametrize(
    ("texture", "index", "corners", "code"),
    [
        (BESIDE, INDEX, "((0.,0.),(1.,0.),(1.,1.),(0.,1.))", "city.image-missing"),
        (BESIDE.replace("textures/", "../"), INDEX, "((0.,0.),(1.,0.),(1.,1.),(0.,1.))", "city.image-outside"),
        (BESIDE.replace("textures/", "https://host/"), INDEX, "((0.,0.),(1.,0.),(1.,1.),(0.,1.))", "city.image-outside"),
        (f"#1007=IFCBLOBTEXTURE(.T.,.T.,$,$,$,'PNG',{binary(b'no image')});", INDEX, "((0.,0.),(1.,0.),(1.,1.),(0.,1.))", "city.image-unreadable"),
        (BLOB, "((2,3,9),(3,4,1))", "((0.,0.),(1.,0.),(1.,1.),(0.,1.))", "ifc.textures-left-out"),
        (BLOB, "((2,3,1))", "((0.,0.),(1.,0.),(1.,1.),(0.,1.))", "ifc.textures-left-out"),
        (BLOB, "$", "((0.,0.))", "ifc.textures-left-out"),
        (PIXELS.replace(",2,2,3,", ",9,9,3,"), INDEX, "((0.,0.),(1.,0.),(1.,1.),(0.,1.))", "ifc.textures-left-out"),
        (BLOB.replace("$,$,$,'PNG'", "'NORMAL',$,$,'PNG'"), INDEX, "((0.,0.),(1.,0.),(1.,1.),(0.,1.))", "ifc.textures-left-out"),
    ],
)  # fmt: skip
def test_images_that_cannot_be_used_cost_only_themselves(
    tmp_path: Path, texture: str, index: str, corners: str, code: str
):
    """The board is drawn in plain, and a warning says why."""
    found = taken(written(tmp_path, board(texture, index, corners)))
    assert code in codes(found)
    assert all(is_warning(said) for said in codes(found))
    assert len(shape(found, BOARD).triangles) == 4
    assert seen(found) == {}
    assert str(tmp_path) not in str([item for item in found if hasattr(item, "fields")])
