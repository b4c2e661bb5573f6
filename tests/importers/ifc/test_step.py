"""Exchange files as text."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from importers.ifc.georeference import Georeference, georeference, placement
from importers.ifc.step import Ref, StepFile, text_of
from tests.importers.ifc.houses import conversion, house, written


def opened(folder: Path, text: str | bytes) -> StepFile:
    return StepFile(written(folder, text))


def test_instances(tmp_path: Path):
    data = """ISO-10303-21;HEADER;FILE_SCHEMA (('IFC4'));ENDSEC;DATA;
#12=IFCTHING('it''s',$,*,-1.5E-3,7,.T.,(#1,#2,(3.)),IFCLENGTHMEASURE(2.5),/* a , comment ) */ 'end');
#1=IFCTHINGOTHER('IFCTHING(');#2 = IFCTHING ();/* x */#112=IFCTHING(#12);
ENDSEC;END-ISO-10303-21;"""
    with opened(tmp_path, data) as file:
        assert (file.schema, file.complete) == ("IFC4", True)
        first, second, third = file.of_type("IFCTHING")
        assert first.values == ["it's", None, None, -0.0015, 7, ".T.", [Ref(1), Ref(2), [3.0]], 2.5, "end"]
        assert (second.number, second.values) == (2, [])
        assert file.instance(third.values[0]) == first
        assert file.instance(Ref(2)) == second
        other = file.instance(Ref(1))
        assert other is not None
        assert other.type == "IFCTHINGOTHER"
        assert file.instance(Ref(999)) is None
        assert file.instance("#12") is None


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (r"\X2\56FD571F\X0\ TIM", "国土 TIM"),
        (r"\X4\0001F3E0\X0\ ", "🏠 "),
        (r"B\X\FCro", "Büro"),
        (r"B\S\|ro", "Büro"),
        (r"a\\b", "a\\b"),
        (r"\PA\x", "x"),
        ("plain", "plain"),
    ],
)
def test_text(raw: str, text: str):
    assert text_of(raw) == text


def test_text_is_what_ifcopenshell_reads(tmp_path: Path):
    import ifcopenshell

    path = written(tmp_path, house())
    with StepFile(path) as file:
        (storey,) = file.of_type("IFCBUILDINGSTOREY")
    assert storey.values[2] == ifcopenshell.open(str(path)).by_type("IfcBuildingStorey")[0].Name


def test_placements_are_those_of_ifcopenshell(tmp_path: Path):
    """Chains, turned axes and missing directions."""
    import ifcopenshell
    from ifcopenshell.util.placement import get_local_placement

    turned = """#1000=IFCLOCALPLACEMENT(#21,#1001);
#1001=IFCAXIS2PLACEMENT3D(#1002,#1003,#1004);
#1002=IFCCARTESIANPOINT((1.,2.,3.));
#1003=IFCDIRECTION((1.,1.,1.));
#1004=IFCDIRECTION((1.,-1.,0.));
#1005=IFCLOCALPLACEMENT(#1000,#1006);
#1006=IFCAXIS2PLACEMENT3D(#1002,$,#1007);
#1007=IFCDIRECTION((0.,1.,0.));"""
    path = written(tmp_path, house(turned, at=(5, 6, 7)))
    model = ifcopenshell.open(str(path))
    with StepFile(path) as file:
        for number in (21, 1000, 1005):
            np.testing.assert_allclose(
                placement(file, Ref(number)), get_local_placement(model.by_id(number)), atol=1e-9
            )


def test_a_direction_is_made_square(tmp_path: Path):
    """RefDirection need not be at right angles to Axis: it is projected (IfcFirstProjAxis)."""
    skew = """#1000=IFCLOCALPLACEMENT($,#1001);
#1001=IFCAXIS2PLACEMENT3D(#13,#14,#1004);
#1004=IFCDIRECTION((3.,4.,5.));"""
    with opened(tmp_path, house(skew)) as file:
        turn = placement(file, Ref(1000))[:3, :3]
    np.testing.assert_allclose(turn, [[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]], atol=1e-12)


def test_nonsense_in_a_site_is_named(tmp_path: Path):
    with opened(tmp_path, house(site="('x',1,2),(114,18,0),1.")) as file:
        found = georeference(file)
    assert [code for code, _ in found.problems] == ["ifc.bad-conversion"]


def test_a_georeference_survives_its_record(tmp_path: Path):
    for text in (house(), house(conversion("500000.,3400000.,20.,1.,0.,0.001")), house(site="(30,30,0),(114,18,0),1.")):
        with opened(tmp_path, text) as file:
            found = georeference(file)
        assert Georeference.from_record(found.record()) == found


def test_circles_end(tmp_path: Path):
    """Placements and units that refer to themselves."""
    text = house(site="(30,30,0),(114,18,0),1.").replace(
        "#21=IFCLOCALPLACEMENT($,#22)", "#21=IFCLOCALPLACEMENT(#21,#22)"
    )
    text = text.replace(
        "#3=IFCSIUNIT(*,.LENGTHUNIT.,.MILLI.,.METRE.)",
        "#3=IFCCONVERSIONBASEDUNIT($,.LENGTHUNIT.,'x',#5);\n#5=IFCMEASUREWITHUNIT(IFCRATIOMEASURE(0.5),#3)",
    )
    with opened(tmp_path, text) as file:
        assert georeference(file).form == "site"


pieces = st.sampled_from(
    ["#1", "=", "IFCSITE", "IFCMAPCONVERSION", "IFCPROJECTEDCRS", "IFCPROJECT", "IFCUNITASSIGNMENT", "(", ")", ",", "$", "'", ";", "\n", "#2", "#3", "1.", "1E999", "-9", "(1,2,3)", ".MILLI.", "EPSG:4326", " ", "\0"]
)  # fmt: skip


@given(
    st.lists(pieces, max_size=120),
    st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=3)), max_size=6),
)
def test_any_text_has_some_georeference(words: list[str], spoilt: list[tuple[int, Any]]):
    """Nothing that stands in a file makes looking at it fail."""
    data = bytearray(
        house("".join(words) + conversion("500000.,3400000.,20.,1.,0.,0.001"), site="(30,30,0),(114,18,0),1.").encode()
    )
    for at, change in spoilt:
        at %= len(data)
        data[at : at + len(change)] = change
    with tempfile.TemporaryDirectory() as folder, StepFile(written(Path(folder), bytes(data))) as file:
        found = georeference(file)
        assert found.form in ("map", "site", "coordinates", "none")
