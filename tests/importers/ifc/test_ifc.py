"""IFC models against ifcopenshell itself, the four ways to say where one lies, and what is refused."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import Geod, Transformer

from importers import ImportContext, ifc
from importers.ifc import child, classes
from importers.plan import Options, make_plan, place_of
from importers.run import run_import
from importers.walk import probe as walk
from tests.importers.ifc.houses import (
    BUILDING,
    DEPTH,
    HEIGHT,
    SITE,
    SLAB,
    SPACE,
    STOREY,
    WALL,
    WIDTH,
    conversion,
    house,
    written,
)
from tim.classes import all_classes
from tim.errors import PlaceError, TimError, UsageError, is_warning
from tim.model import Blob, ObjectRecord, Rejected, Stage, dataset_uid, derived_id
from tim.place.ellipsoid import to_geographic
from tim.place.resolve import PlaceOptions
from tim.shape import Shape, decode
from tim.sources import SourceRef
from tim.store import Filter
from tim.workspace import Workspace

ENU = PlaceOptions(crs="ENU:30.5,114.3,20")
REAL = {
    "csg-primitive": ENU, "geographic-referencing-gk": PlaceOptions(vertical="+48m", datum="EPSG:1777"),
    "geographic-referencing-utm": PlaceOptions(vertical="+48m"), "linear-placement-of-signal": PlaceOptions(vertical="+48m", datum="EPSG:1099"),
    "mapped-shape-with-multiple-items": ENU, "slab-openings": ENU, "tessellation-with-individual-colors": ENU,
}  # fmt: skip


def taken(path: Path, options: PlaceOptions = ENU, settings: dict[str, Any] | None = None) -> list[Any]:
    (probe,) = ifc.probe(path)
    return list(
        ifc.read(
            probe, ImportContext(place_of(probe, options, PlaceOptions()), "m", settings or {}, dataset_uid("bim"))
        )
    )


def objects(found: list[Any]) -> dict[str, ObjectRecord]:
    return {item.source_key: item for item in found if isinstance(item, ObjectRecord)}


def shape(found: list[Any], guid: str) -> Shape:
    (shown,) = objects(found)[guid].representations
    return decode(next(item.data for item in found if isinstance(item, Blob) and item.content == shown.content))


def codes(found: list[Any]) -> list[str]:
    return [item.code for item in found if isinstance(item, Rejected)]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return taken(written(tmp_path_factory.mktemp("small"), house()))


@pytest.mark.parametrize("name", REAL)
def test_all_products_of_real_files(real_data: Path, name: str):
    """As many objects of each IFC class as ifcopenshell counts; what is left out is counted by class too."""
    import ifcopenshell

    path = real_data / "city" / "ifc" / f"{name}.ifc"
    products = ifcopenshell.open(str(path)).by_type("IfcProduct")
    found = taken(path, REAL[name])
    made = Counter(item.attributes["ifc_class"] for item in objects(found).values())
    for item in found:
        if isinstance(item, Rejected) and item.code == "ifc.helpers-left-out":
            made.update(
                {kind: int(count) for kind, count in (part.split() for part in item.fields["types"].split(", "))}
            )
    assert made == Counter(product.is_a() for product in products)
    assert set(codes(found)) <= {"ifc.helpers-left-out", "ifc.scale-corrected"}
    assert {item.class_id for item in objects(found).values()} <= set(all_classes())
    (ref,) = [item for item in found if isinstance(item, SourceRef)]
    assert ref.count == len(objects(found))
    with_body = {guid for guid, item in objects(found).items() if item.representations}
    assert with_body == {
        p.GlobalId
        for p in products
        if p.Representation and not p.is_a("IfcFeatureElementSubtraction") and not p.is_a("IfcAlignmentSegment")
    }


def test_a_library_of_types_is_refused(real_data: Path):
    found = taken(real_data / "city" / "ifc" / "tessellation-with-image-texture.ifc")
    assert codes(found) == ["ifc.textures-left-out", "ifc.no-products"]
    assert objects(found) == {}


@pytest.mark.parametrize(("name", "metres"), [("geographic-referencing-utm", 1.0), ("geographic-referencing-gk", 3.5)])
def test_the_map_and_the_site_agree(real_data: Path, name: str, metres: float):
    """The same point by map conversion (Scale 1000 the wrong way round, millimetres) and by the site's latitude and longitude."""
    found = taken(real_data / "city" / "ifc" / f"{name}.ifc", REAL[name])
    assert "ifc.scale-corrected" in codes(found)
    body = shape(found, "0rBru4syGxGOZb$M8kVJuS")
    geographic = to_geographic(body.xyz)
    lon, lat, height = geographic[geographic[:, 2].argmin()]
    assert Geod(ellps="WGS84").inv(lon, lat, 8 + 26 / 60 + 1.2473 / 3600, 49 + 5 / 60 + 43.9837 / 3600)[2] < metres
    assert height == pytest.approx(113.7 + 48, abs=1e-3)
    assert np.ptp(geographic[:, 2]) == pytest.approx(4, abs=1e-3)
    # One metre wide, in true size: the map's scale there is within a thousandth.
    spread = np.linalg.norm(body.xyz[:, None] - body.xyz[None], axis=2).max()
    assert spread == pytest.approx(np.sqrt(0.5 + 16), rel=1e-3)


def test_faces_keep_their_colours(real_data: Path):
    found = taken(real_data / "city" / "ifc" / "tessellation-with-individual-colors.ifc")
    body = shape(found, "25c34fWeL1NQux73WfnXox")
    counts = np.diff(body.surface_triangle_ends.astype(int), prepend=0)
    seen = {
        body.materials[m].color: int(n)
        for m, n in zip(body.surface_materials, counts, strict=True)
        if body.materials[m] is not None
    }
    assert seen == {(1, 0, 0, 1): 8, (0, 0.502, 0, 1): 2, (1, 1, 0, 1): 2}


def test_signals_have_the_colour_of_their_surface(real_data: Path):
    found = taken(real_data / "city" / "ifc" / "linear-placement-of-signal.ifc", REAL["linear-placement-of-signal"])
    colors = {m.color[:3] for m in shape(found, "0t_GtwGFT0nPszZsjyA9w4").materials if m is not None}
    assert (0.4824, 0.5098, 0.5294) in colors
    track = shape(found, "0jJsLoidn8SB_UvO4H9xXU")
    assert len(track.triangles) > 2000
    assert objects(found)["0jJsLoidn8SB_UvO4H9xXU"].class_id == "transport.alignment"


def test_objects_and_relations(small: list[Any]):
    made = objects(small)
    assert {guid: item.class_id for guid, item in made.items()} == {
        WALL: "building.element.wall", SLAB: "building.element.slab", SPACE: "building.room", STOREY: "building.storey",
        BUILDING: "building.house", SITE: "building.site",
    }  # fmt: skip
    known = {derived_id(dataset_uid("bim"), "m", guid): guid for guid in made}
    links = {guid: [(r.kind, known[r.target]) for r in item.relations] for guid, item in made.items()}
    assert links == {
        WALL: [("locatedIn", STOREY)], SLAB: [("locatedIn", STOREY)], SPACE: [("partOf", STOREY)], STOREY: [("partOf", BUILDING)],
        BUILDING: [("partOf", SITE)], SITE: [],
    }  # fmt: skip
    assert made[STOREY].name == "一层"
    assert made[WALL].attributes == {
        "ifc_class": "IfcWall", "predefined_type": "SOLIDWALL", "tag": "W1", "material": "Concrete",
        "Pset_WallCommon": {"FireRating": "EI60", "IsExternal": True}, "Qto_WallBaseQuantities": {"Length": WIDTH * 1000},
    }  # fmt: skip
    assert made[SPACE].attributes["long_name"] == "Office"
    assert all(item.stage == Stage.SURVEYED and item.scenario == "" for item in made.values())
    (ref,) = [item for item in small if isinstance(item, SourceRef)]
    assert (ref.options["project"], ref.options["units"]["length"]) == ("示范", "millimetre")
    assert codes(small) == ["ifc.helpers-left-out"]
    boxes = [made[guid].box for guid in (WALL, SLAB, SPACE)]
    assert None not in boxes
    together = np.array(boxes, dtype=float)
    assert made[SITE].box == (*together[:, :3].min(axis=0), *together[:, 3:].max(axis=0))


def test_geometry(small: list[Any]):
    """The wall has its opening, its colour and transparency; a room is told from a wall by its semantics and is seen through."""
    wall = shape(small, WALL)
    a, b, c = (wall.xyz[wall.triangles[:, k]] - wall.xyz[0] for k in range(3))
    volume = float((a * np.cross(b, c)).sum() / 6)
    assert volume == pytest.approx(WIDTH * DEPTH * HEIGHT - DEPTH * 1.0, rel=1e-3)
    assert [m.color for m in wall.materials if m is not None] == [(1, 0, 0, 0.75)]
    room = shape(small, SPACE)
    assert room.semantics == ("IfcSpace",)
    assert room.materials[0] is not None
    assert room.materials[0].color[3] < 0.5
    assert wall.semantics == ("IfcWall",)


def native_corner(found: list[Any], guid: str, crs: str) -> np.ndarray[Any, Any]:
    """Eastings, northings, heights of a shape's vertices, through pyproj."""
    geographic = to_geographic(shape(found, guid).xyz)
    east, north = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(geographic[:, 0], geographic[:, 1])
    return np.column_stack([east, north, geographic[:, 2]])


@pytest.mark.parametrize(
    ("values", "kind", "milli", "warned"),
    [
        ("500000.,3400000.,20.,0.8,0.6,0.001", "IFCMAPCONVERSION", True, False),
        ("500000.,3400000.,20.,8.,6.,1.", "IFCMAPCONVERSION", False, False),
        ("500000.,3400000.,20.,0.8,0.6,$", "IFCMAPCONVERSION", True, True),
        ("500000.,3400000.,20.,0.8,0.6,1000.", "IFCMAPCONVERSION", True, True),
        ("500000.,3400000.,20.,0.8,0.6,0.001,1.,1.,1.", "IFCMAPCONVERSIONSCALED", True, False),
    ],
)
def test_map_conversion(tmp_path: Path, values: str, kind: str, milli: bool, warned: bool):
    """Corners of the wall against the formula worked out by hand: x axis along (0.8, 0.6), so y along (-0.6, 0.8)."""
    schema = "IFC4X3_ADD2" if kind.endswith("SCALED") else "IFC4"
    found = taken(
        written(tmp_path, house(conversion(values, kind=kind), milli=milli, schema=schema)),
        PlaceOptions(vertical="ellipsoid"),
    )
    assert ("ifc.scale-corrected" in codes(found)) == warned
    corners = native_corner(found, SLAB, "EPSG:4547")
    for x, y in ((0, 0), (WIDTH, 0), (0, 8), (WIDTH, 8)):
        wanted = np.array([500000 + 0.8 * x - 0.6 * y, 3400000 + 0.6 * x + 0.8 * y])
        assert np.linalg.norm(corners[:, :2] - wanted, axis=1).min() < 2e-3
    assert sorted({round(float(z), 3) for z in corners[:, 2]}) == [20.0, 20.2]


def test_map_conversion_as_ifcopenshell_has_it(tmp_path: Path):
    """A factor of the map projection on top of the units, against the library's own helper."""
    import ifcopenshell
    from ifcopenshell.util.geolocation import auto_xyz2enh

    path = written(tmp_path, house(conversion("512345.,3412345.,-5.,0.36,0.48,0.0009996")))
    found = taken(path, PlaceOptions(vertical="ellipsoid"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = np.array(
            auto_xyz2enh(ifcopenshell.open(str(path)), WIDTH * 1000, 8000.0, 200.0, should_return_in_map_units=True)
        )
    corners = native_corner(found, SLAB, "EPSG:4547")
    assert np.linalg.norm(corners - wanted, axis=1).min() < 2e-3


def test_a_map_unit_that_is_not_said(tmp_path: Path):
    """Project in millimetres, no MapUnit: by the standard eastings are millimetres; metres are taken where only they lie in the CRS's area."""
    bare = "'EPSG:4547',$,$,$,$,$,$"
    for values, warned in (("500000.,3400000.,20.,1.,0.,1.", True), ("500000000.,3400000000.,20000.,1.,0.,1.", False)):
        found = taken(written(tmp_path, house(conversion(values, bare))), PlaceOptions(vertical="ellipsoid"))
        assert ("ifc.map-unit-assumed" in codes(found)) == warned
        corners = native_corner(found, SLAB, "EPSG:4547")
        np.testing.assert_allclose(corners.min(axis=0), [500000, 3400000, 20], atol=2e-3)


def test_a_scale_that_fits_nothing_is_refused(tmp_path: Path):
    (probe,) = ifc.probe(written(tmp_path, house(conversion("500000.,3400000.,20.,1.,0.,42."))))
    assert (probe.fatal, [p.code for p in probe.problems]) == (True, ["ifc.bad-conversion"])
    assert "42" in str(TimError(probe.problems[0].code, **probe.problems[0].fields))


def test_rigid_operation(tmp_path: Path):
    """IFC4.3: a translation into a map, or to longitude and latitude."""
    values = "IFCLENGTHMEASURE(500000.),IFCLENGTHMEASURE(3400000.),20."
    found = taken(
        written(tmp_path, house(conversion(values, kind="IFCRIGIDOPERATION"), schema="IFC4X3_ADD2")),
        PlaceOptions(vertical="ellipsoid"),
    )
    np.testing.assert_allclose(native_corner(found, SLAB, "EPSG:4547").min(axis=0), [500000, 3400000, 20], atol=2e-3)
    angles = f"IFCPLANEANGLEMEASURE({math.radians(30.5)!r}),IFCPLANEANGLEMEASURE({math.radians(114.3)!r}),20000."
    text = house(
        conversion(angles, "'EPSG:4326',$,$,$,$,$", "IFCRIGIDOPERATION", "IFCGEOGRAPHICCRS"), schema="IFC4X3_ADD2"
    )
    found = taken(written(tmp_path, text, "geographic.ifc"), PlaceOptions(vertical="ellipsoid"))
    box = objects(found)[SLAB].box
    assert box is not None
    assert box[:3] == pytest.approx((114.3, 30.5, 20), abs=1e-6)


def test_site_with_true_north(tmp_path: Path):
    """The site's corner is at its latitude and longitude; true north is 30 degrees off the model's y axis."""
    north = "#1000=IFCDIRECTION((0.5,0.866025403784));"
    text = house(north, site="(30,30,0),(114,18,0,0),21500.", north="#1000", at=(3, 4, 1))
    found = taken(written(tmp_path, text), PlaceOptions(vertical="ellipsoid"))
    geographic = to_geographic(shape(found, SLAB).xyz)
    geod = Geod(ellps="WGS84")
    azimuth, _, distance = geod.inv(
        np.full(len(geographic), 114.3), np.full(len(geographic), 30.5), geographic[:, 0], geographic[:, 1]
    )
    bearings = {round(float(a)) % 360 for a, d in zip(azimuth, distance, strict=True) if abs(d - 10) < 0.01}
    assert distance.min() < 1e-3
    # True north lies 30 degrees clockwise of y, so y points 30 degrees left of north and x to 60.
    assert bearings == {60}
    assert geographic[:, 2].min() == pytest.approx(21.5, abs=1e-3)
    with pytest.raises(PlaceError, match="--vertical"):
        taken(tmp_path / "house.ifc", PlaceOptions())


def test_coordinates_of_the_map(tmp_path: Path):
    """Placement only: the site stands at map coordinates, and the user says of which map. Its latitude (a default of the program) is no help."""
    text = house(at=(500000, 3400000, 20), site="(42,21,31),(-71,-3,-24),0.")
    (probe,) = ifc.probe(written(tmp_path, text))
    assert probe.found.horizontal is None
    with pytest.raises(PlaceError, match="--crs"):
        place_of(probe, PlaceOptions(), PlaceOptions())
    found = taken(tmp_path / "house.ifc", PlaceOptions(crs="EPSG:4547", vertical="ellipsoid"))
    np.testing.assert_allclose(native_corner(found, SLAB, "EPSG:4547").min(axis=0), [500000, 3400000, 20], atol=2e-3)


def test_no_place_at_all(tmp_path: Path):
    """Refused with the option that helps; in a local frame it may be turned, scaled and planned."""
    path = written(tmp_path, house())
    with pytest.raises(PlaceError, match="--crs ENU"):
        taken(path, PlaceOptions())
    found = taken(path, ENU, {"heading": 90, "scale": 2, "scenario": "plan-a"})
    geographic = to_geographic(shape(found, SLAB).xyz)
    assert geographic[:, 1].min() < 30.5 - 19.9 / 111e3  # what lay east lies south
    assert geographic[:, 1].max() == pytest.approx(30.5, abs=1e-8)
    assert {(item.stage, item.scenario) for item in objects(found).values()} == {(Stage.PLANNED, "plan-a")}
    assert {item.stage for item in objects(taken(path, ENU, {"stage": "as-built"})).values()} == {Stage.AS_BUILT}
    for settings in ({"width": "wide"}, {"timeout": 0}, {"heading": "north"}):
        with pytest.raises(UsageError):
            taken(path, ENU, settings)


def test_at_through_the_plan(tmp_path: Path):
    """``--at`` is a local frame; imported twice is imported once; the same ids elsewhere."""
    path = written(tmp_path, house())
    workspace = Workspace.create(tmp_path / "ws")
    plan = make_plan(
        [path], Options(dataset="bim", settings={"at": "114.3,30.5,21", "heading": 30, "scenario": "plan-a"})
    )
    report = run_import(workspace, type(plan).from_yaml(plan.to_yaml()))
    assert [r.code for r in report.rejected] == ["ifc.helpers-left-out"]
    assert report.datasets[0].objects == {"created": 6, "updated": 0, "unchanged": 0}
    assert run_import(workspace, plan).datasets[0].seq is None
    with workspace.store() as store:
        rooms = store.query(Filter(dataset="bim", scenario="plan-a", class_id="building.room")).items
    assert [room.object.name for room in rooms] == ["101"]


def test_one_thing_off_the_map(tmp_path: Path):
    """It is named and the others are placed; where all are off the map, the file is refused."""
    text = house(conversion("500000.,3400000.,20.,1.,0.,0.001"))
    astray = text.replace("#215=IFCCARTESIANPOINT((5000.0,4000.0))", "#215=IFCCARTESIANPOINT((3.0E10,4000.0))")
    assert astray != text
    found = taken(written(tmp_path, astray), PlaceOptions(vertical="ellipsoid"))
    assert [r.fields["object"] for r in found if isinstance(r, Rejected) and r.code == "ifc.not-drawn"] == [SLAB]
    assert objects(found)[WALL].representations
    place = place_of(ifc.probe(written(tmp_path, text))[0], PlaceOptions(vertical="ellipsoid"), PlaceOptions())
    (probe,) = ifc.probe(written(tmp_path, text.replace("500000.,3400000.", "50000000.,3400000.")))
    with pytest.raises(PlaceError):
        list(ifc.read(probe, ImportContext(place)))


def test_twins_and_the_nameless(tmp_path: Path):
    text = house().replace(SLAB, WALL).replace(f"'{SPACE}'", "''")
    found = taken(written(tmp_path, text))
    assert sorted(code for code in codes(found) if not is_warning(code)) == ["ifc.id-twice", "ifc.no-id"]
    assert set(objects(found)) == {WALL, STOREY, BUILDING, SITE}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("#212=IFCEXTRUDEDAREASOLID(#213,#12,#14,200.0)", "#212=IFCEXTRUDEDAREASOLID(#213,#12,#14,0.0)"),
        ("#215=IFCCARTESIANPOINT((5000.0,4000.0))", "#215=IFCCARTESIANPOINT((5.0E20,4000.0))"),
    ],
)
def test_geometry_that_cannot_be_made(tmp_path: Path, old: str, new: str):
    """Without height, or far off all maps: the object stays, without a shape, and is named."""
    text = house().replace(old, new)
    assert text != house()
    (probe,) = ifc.probe(written(tmp_path, text))
    place = place_of(ifc.probe(written(tmp_path, house(), "sound.ifc"))[0], ENU, PlaceOptions())
    found = list(ifc.read(probe, ImportContext(place)))
    lost = [r.fields["object"] for r in found if isinstance(r, Rejected) and r.code == "ifc.not-drawn"]
    assert lost == [SLAB]
    assert objects(found)[SLAB].representations == ()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "ifc.not-ifc"), (b"\0" * 999, "ifc.not-ifc"), (b"ISO-10303-21;HEADER;FILE_SCHEMA(('AP214'));ENDSEC;END-ISO-10303-21;", "ifc.not-ifc"),
        (house().encode()[:3000], "ifc.cut-off"), (house().replace("\nENDSEC;\nEND-ISO-10303-21;", "").encode(), "ifc.cut-off"),
    ],
)  # fmt: skip
def test_what_is_no_model_is_named(tmp_path: Path, data: bytes, code: str):
    (probe,) = ifc.probe(written(tmp_path, data))
    assert (probe.fatal, [p.code for p in probe.problems]) == (True, [code])


def test_garbage_inside_is_refused(tmp_path: Path):
    """A header and an end with nonsense between, and a schema nobody knows."""
    head, tail = house().split("DATA;")[0], "\nENDSEC;\nEND-ISO-10303-21;\n"
    for number, text in enumerate(
        (head + "DATA;\n#1=IFCWALL(((((" * 50 + tail, house(schema="IFC9"), head + "DATA;" + "\x01\x02" * 500 + tail)
    ):
        found = taken(written(tmp_path, text, f"{number}.ifc"))
        assert objects(found) == {}
        assert codes(found)
        assert set(codes(found)) <= {"ifc.unreadable", "ifc.no-products", "ifc.crashed", "ifc.no-id"}
        assert not [item for item in found if isinstance(item, SourceRef)]
        assert str(tmp_path) not in str(found)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("kill -SEGV $$", "ifc.crashed"),
        ("exec sleep 30", "ifc.too-slow"),
        ("echo no good >&2; exit 1", "ifc.unreadable"),
    ],
)
def test_a_kernel_that_fails_takes_nobody_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, code: str
):
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(child.sys, "executable", str(program))
    found = taken(written(tmp_path, house()), ENU, {"timeout": 1})
    assert codes(found) == [code]
    assert len(found) == 1


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Probing works; reading says what to install."""
    monkeypatch.setattr(ifc, "find_spec", lambda name: None)
    found = taken(written(tmp_path, house()))
    assert codes(found) == ["ifc.needs-extra"]
    assert "tim-engine[bim]" in str(TimError("ifc.needs-extra", **found[0].fields))


def test_other_files_are_unknown(tmp_path: Path, real_data: Path):
    """Codes of land use and other JSON are no business of ours."""
    written(tmp_path, house())
    (tmp_path / "landuse_2023_codes.json").write_bytes((real_data / "city" / "landuse_2023_codes.json").read_bytes())
    (tmp_path / "notes.txt").write_text("ISO-10303-21")
    found = walk(tmp_path)
    assert {(p.format, p.key) for p in found.probes if p.format in ("ifc", "glb", "epanet")} == {("ifc", "house.ifc")}
    assert "landuse_2023_codes.json" not in {p.key for p in found.probes if p.format in ("ifc", "glb", "epanet")}


def test_classes_are_known_ones():
    assert set(classes.CLASSES.values()) <= set(all_classes())
