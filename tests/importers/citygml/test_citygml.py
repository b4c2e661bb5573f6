"""CityGML against lxml's XPath on real files, and against texts that mean harm."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from lxml import etree

from importers import citygml, importer
from tests.importers.citygml.samples import house, imported, model, square
from tim.errors import is_warning
from tim.model import Blob, ObjectRecord, Rejected, derived_id
from tim.place.resolve import PlaceOptions
from tim.shape import decode
from tim.sources import SourceRef

REAL = (
    "citygml3/BuildingUnits_Storeys_xlink.gml", "citygml3/Building_LOD1-EPSG25832.gml", "citygml3/Building_LOD2-EPSG25832.gml",
    "citygml3/Building_LOD3-EPSG25832.gml", "citygml3/Opera-Lyon_CityGML3.0_LOD2_with_xAL3_FreeText.gml",
    "citygml3/historicalSuccession_CityGML_3.0_LOD2_Versioning.gml",
    "citygml3/Building_CityGML3.0_with_Dynamizer_and_inline_Timeseries.gml",
    "plateau/kawasaki-shi/udx/urf/533915_urf_6668_kodo_op.gml", "plateau/kawasaki-shi/udx/urf/533915_urf_6668_yoto_op.gml",
    "plateau/kawasaki-shi/udx/urf/533916_urf_6668_boka_op.gml", "plateau/numazu-shi/udx/fld/52385721_fld_6697_l1_op.gml",
    "plateau/numazu-shi/udx/lsld/523857_lsld_6668_op.gml", "plateau/numazu-shi/udx/luse/523836_luse_6668_op.gml",
    "plateau/numazu-shi/udx/tnm/523855_tnm_6697_op.gml", "plateau/numazu-shi/udx/urf/523857_urf_6668_op.gml",
    "plateau/yokosuka-shi/udx/bldg/52397519_bldg_6697_op.gml", "plateau/yokosuka-shi/udx/dem/523965_dem_6697_05_op.gml",
)  # fmt: skip


def _objects(items: list[object]) -> list[ObjectRecord]:
    return [item for item in items if isinstance(item, ObjectRecord)]


def _codes(items: list[object]) -> list[str]:
    return [item.code for item in items if isinstance(item, Rejected)]


@pytest.mark.parametrize("name", REAL)
def test_every_top_level_feature_of_real_files(real_data: Path, name: str) -> None:
    path = real_data / "city" / name
    datum = "EPSG:1777" if "Dynamizer" in name else None
    items = imported(path, PlaceOptions(vertical="+36m", datum=datum))
    tree = etree.parse(str(path))
    expected = set(tree.xpath("/*/*[local-name()='cityObjectMember']/*/@*[local-name()='id']"))
    expected |= set(tree.xpath("//*[local-name()='Version']/@*[local-name()='id']"))
    found = [o for o in _objects(items) if not any(r.kind == "partOf" for r in o.relations)]
    tops = {o.attributes.get("gmlId", o.source_key) for o in found}
    assert tops == expected
    (probe,) = importer("citygml").probe(path, path.name)
    assert probe.count == len(_objects(items))
    assert not [code for code in _codes(items) if not is_warning(code) and not code.startswith("shape.")]


def test_zoning_has_its_codes_and_validity(real_data: Path) -> None:
    path = real_data / "city/plateau/kawasaki-shi/udx/urf/533915_urf_6668_yoto_op.gml"
    first = _objects(imported(path))[0]
    assert first.class_id == "planning.zone.use"
    assert first.valid_from == "2009-11-11"
    assert first.attributes["city"] == {"code": "14130", "value": "神奈川県川崎市"}
    assert first.box is not None
    assert 139.7 < first.box[0] < first.box[3] < 139.8


def test_textures_of_yokosuka(real_data: Path) -> None:
    items = imported(real_data / "city/plateau/yokosuka-shi/udx/bldg/52397519_bldg_6697_op.gml")
    images = {item.content for item in items if isinstance(item, Blob) and item.data[:3] == b"\xff\xd8\xff"}
    assert len(images) == 3
    blobs = {item.content: item.data for item in items if isinstance(item, Blob)}
    used = set()
    for one in _objects(items):
        for shown in one.representations:
            used |= {m.image for m in decode(blobs[shown.content]).materials if m is not None and m.image}
    assert used == images


def test_versions_and_transitions_are_told(real_data: Path) -> None:
    """By the features they name; what the document says of each is read with XPath."""
    path = real_data / "city/citygml3/historicalSuccession_CityGML_3.0_LOD2_Versioning.gml"
    tree = etree.parse(str(path))
    by_key = {o.attributes.get("gmlId", o.source_key): o for o in _objects(imported(path))}
    tags = {
        href[1:]: version.findtext("{*}tag")
        for version in tree.iter("{*}Version")
        for href in version.xpath("*[local-name()='versionMember']/@*[local-name()='href']")
    }
    assert {key: o.attributes["version"] for key, o in by_key.items() if "version" in o.attributes} == {
        key: [tag] for key, tag in tags.items()
    }
    reason = next(tree.iter("{*}reason")).text
    ways = {key: o.attributes["versionTransition"] for key, o in by_key.items() if "versionTransition" in o.attributes}
    assert {key: [one["transaction"] for one in told] for key, told in ways.items()} == {
        "BU_69381AL47_2000-01-01": ["delete"], "BU_69381AL49_2000-01-01": ["replace"],
        "BU_69381AL49_2015-01-01": ["replace"], "BU_69381AL50_2015-01-01": ["insert"],
    }  # fmt: skip
    assert {one["reason"] for told in ways.values() for one in told} == {reason}


def test_features_that_stand_in_versions_are_imported(tmp_path: Path) -> None:
    """They may be held by a version or a transaction instead of being linked."""
    old, new, plain = (
        house(name, lon).removeprefix("<cityObjectMember>").removesuffix("</cityObjectMember>")
        for name, lon in (("old", 0.0), ("new", 0.001), ("plain", 0.002))
    )
    version = f'<versionMember><Version gml:id="v1"><versionMember>{old}</versionMember></Version></versionMember>'
    transition = (
        "<versionTransitionMember><VersionTransition><reason>built anew</reason><transaction><Transaction>"
        f'<type>replace</type><oldFeature xlink:href="#old"/><newFeature>{new}</newFeature></Transaction></transaction>'
        "</VersionTransition></versionTransitionMember>"
    )
    path = tmp_path / "a.gml"
    path.write_text(model(version, transition, f"<cityObjectMember>{plain}</cityObjectMember>"))
    items = imported(path)
    by_key = {o.source_key: o for o in _objects(items)}
    assert set(by_key) == {"old", "new", "plain", "v1"}
    assert _codes(items) == []
    assert by_key["old"].attributes["version"] == ["v1"]
    assert by_key["new"].attributes["versionTransition"] == [{"transaction": "replace", "reason": "built anew"}]
    assert [(r.kind, r.target) for r in by_key["new"].relations] == [
        ("replaces", derived_id(UUID(int=0), "town", "old"))
    ]
    assert [(r.kind, r.target) for r in by_key["v1"].relations] == [
        ("versionMember", derived_id(UUID(int=0), "town", "old"))
    ]
    assert all(o.representations for key, o in by_key.items() if key != "v1")


def test_what_boundary_surfaces_say(tmp_path: Path) -> None:
    """In the form of CityJSON's semantic surfaces, with the geometry they have; without any, with the object."""
    said = (
        '<gml:name>North</gml:name><bldg:function>1000</bldg:function><gen:doubleAttribute xmlns:gen="g" name="slope">'
        "<gen:value>30.5</gen:value></gen:doubleAttribute>"
    )
    bare = f"<bldg:boundedBy><bldg:WallSurface>{said}</bldg:WallSurface></bldg:boundedBy>"
    text = house("a", extra=bare).replace('<bldg:RoofSurface gml:id="as">', f'<bldg:RoofSurface gml:id="as">{said}')
    path = tmp_path / "a.gml"
    path.write_text(model(text))
    (one,) = _objects(imported(path))
    attributes = {"name": "North", "function": 1000, "slope": 30.5}
    (shown,) = one.representations
    assert shown.properties == {"surfaces": [{"type": "RoofSurface", "id": "as", **attributes}]}
    assert one.attributes["surfaces"] == [{"type": "WallSurface", **attributes}]
    assert one.name == "House a"


def test_a_surface_that_two_rooms_share_bounds_both(tmp_path: Path) -> None:
    link = '<bldg:boundedBy xlink:href="#as"/>'
    other = f'<cityObjectMember><bldg:Building gml:id="b">{link}</bldg:Building></cityObjectMember>'
    path = tmp_path / "a.gml"
    path.write_text(model(other, house("a")))
    first, second = _objects(imported(path))
    assert first.representations == second.representations != ()
    chain = "".join(
        house(f"c{i}", extra=link.replace("as", f"c{i + 1}s")).replace(
            f'gml:id="c{i}s">', f'gml:id="c{i}s">{link.replace("as", f"c{i + 1}s")}'
        )
        for i in range(1200)
    )
    path.write_text(model(chain))
    assert len(_objects(imported(path))) == 1200


@pytest.mark.parametrize(
    "line",
    [
        "<gml:LineString><gml:posList>{}</gml:posList></gml:LineString>",
        "<gml:Curve><gml:segments><gml:LineStringSegment><gml:posList>{}</gml:posList></gml:LineStringSegment></gml:segments></gml:Curve>",
        "<gml:Curve><gml:segments><gml:ArcString><gml:posList>{}</gml:posList></gml:ArcString></gml:segments></gml:Curve>",
        "<gml:MultiCurve><gml:curveMember><gml:LineString><gml:posList>{}</gml:posList></gml:LineString></gml:curveMember></gml:MultiCurve>",
        "<gml:MultiPoint><gml:pointMember><gml:Point><gml:pos>{}</gml:pos></gml:Point></gml:pointMember></gml:MultiPoint>",
        "<gml:GeometricComplex><gml:element><gml:LineString><gml:posList>{}</gml:posList></gml:LineString></gml:element></gml:GeometricComplex>",
    ],
)
def test_lines_and_points_are_a_place(tmp_path: Path, line: str) -> None:
    """The object is imported where they lie, counted, and a warning says that they are not drawn."""
    points = "35.0 139.0 3" if "Point" in line else "35.0 139.0 3 35.0004 139.0001 4 35.0002 139.0003 5"
    road = f'<cityObjectMember><Road gml:id="r"><lod1Geometry>{line.format(points)}</lod1Geometry></Road></cityObjectMember>'
    path = tmp_path / "a.gml"
    path.write_text(model(road))
    items = imported(path)
    (road_,) = _objects(items)
    assert road_.representations == ()
    assert set(road_.attributes) == {"type"}
    high = (139.0, 35.0, 39.0) if "Point" in line else (139.0003, 35.0004, 41.0)
    assert road_.box == pytest.approx((139.0, 35.0, 39.0, *high))
    assert _codes(items) == ["citygml.lines"]
    assert is_warning("citygml.lines")
    assert next(item for item in items if isinstance(item, SourceRef)).count == 1


def test_lines_of_no_numbers_reject_their_object(tmp_path: Path) -> None:
    line = "<lod1Geometry><gml:LineString><gml:posList>35 x 3</gml:posList></gml:LineString></lod1Geometry>"
    path = tmp_path / "a.gml"
    path.write_text(model(f'<cityObjectMember><Road gml:id="r">{line}</Road></cityObjectMember>', house("h")))
    items = imported(path)
    assert [o.source_key for o in _objects(items)] == ["h"]
    assert "city.nothing-left" in _codes(items)


def test_large_files_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.gml"
    path.write_text(model(house("a"), house("b", 0.001)))
    assert importer("citygml").probe(path, "a")[0].count == 2
    monkeypatch.setattr(citygml, "_COUNTED", path.stat().st_size - 1)
    assert importer("citygml").probe(path, "a")[0].count is None


def test_a_solid_that_refers_to_its_surfaces_draws_them_once(tmp_path: Path) -> None:
    path = tmp_path / "a.gml"
    path.write_text(model(house("a")))
    items = imported(path)
    (one,) = _objects(items)
    (shown,) = one.representations
    shape = decode(next(i.data for i in items if isinstance(i, Blob) and i.content == shown.content))
    assert len(shape.triangles) == 2
    assert list(shape.semantics) == ["RoofSurface"]
    assert one.box is not None
    np.testing.assert_allclose(one.box, (139.0, 35.0, 39.0, 139.0005, 35.0005, 39.0), atol=0.002)


@pytest.mark.parametrize(
    "positions", ["nan nan nan", "a b c", "35 139", "35.0 139.0 1 35.0 139.1 1", square()[:-9] + " x"]
)
def test_garbage_rings_reject_their_object_only(tmp_path: Path, positions: str) -> None:
    path = tmp_path / "a.gml"
    path.write_text(model(house("bad", positions=positions), house("good")))
    items = imported(path)
    assert [o.source_key for o in _objects(items)] == ["good"]
    assert "city.nothing-left" in _codes(items)


def test_what_stands_before_a_break_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.gml"
    path.write_text(model(house("a"), house("b", 0.001))[:-300])
    items = imported(path)
    assert [o.source_key for o in _objects(items)] == ["a"]
    assert "citygml.broken" in _codes(items)


def test_an_id_twice_is_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "a.gml"
    path.write_text(model(house("a"), house("a", 0.001)))
    items = imported(path)
    assert len(_objects(items)) == 1
    assert _codes(items) == ["citygml.duplicate-id"]


def test_bombs_and_entities_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    path = tmp_path / "a.gml"
    entity = (
        f'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;"><!ENTITY s SYSTEM "file://{tmp_path}/secret">]>'
    )
    path.write_text(entity + model(house("a", extra="<bldg:class>&s;</bldg:class>")))
    assert _codes(imported(path)) == ["citygml.doctype"]


def test_circles_of_references_end(tmp_path: Path) -> None:
    links = "".join(
        f'<gml:surfaceMember><gml:CompositeSurface gml:id="c{i}"><gml:surfaceMember xlink:href="#c{(i + 1) % 10000}"/></gml:CompositeSurface></gml:surfaceMember>'
        for i in range(10000)
    )
    path = tmp_path / "a.gml"
    extra = f"<bldg:lod1MultiSurface><gml:MultiSurface>{links}</gml:MultiSurface></bldg:lod1MultiSurface>"
    path.write_text(model(house("a", extra=extra)))
    items = imported(path)
    assert len(_objects(items)) == 1
    assert "citygml.too-deep" in _codes(items)


def test_nesting_without_end_is_broken_xml(tmp_path: Path) -> None:
    path = tmp_path / "a.gml"
    path.write_text(model(house("a"), house("b", extra="<x>" * 5000 + "</x>" * 5000)))
    items = imported(path)
    assert [o.source_key for o in _objects(items)] == ["a"]
    assert "citygml.broken" in _codes(items)


def test_references_that_branch_end(tmp_path: Path) -> None:
    twice = '<gml:surfaceMember xlink:href="#c"/>' * 2
    path = tmp_path / "a.gml"
    surface = f'<gml:CompositeSurface gml:id="c">{twice}</gml:CompositeSurface>'
    path.write_text(model(house("a", extra=f"<bldg:lod1MultiSurface>{surface}</bldg:lod1MultiSurface>")))
    items = imported(path)
    assert len(_objects(items)) == 1
    assert "citygml.too-deep" in _codes(items)
