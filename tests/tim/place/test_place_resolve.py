"""What a source and its user say, and what is refused or warned about; every refusal in both languages with its
help."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from pyproj import CRS

from tim.errors import PlaceError, render
from tim.place import FoundCrs, Place, PlaceOptions, resolve

ELLIPSOID = PlaceOptions(vertical="ellipsoid")
WUHAN = np.array([529000.0, 3387000.0, 20.0])  # in EPSG:4547


def refusal(found, options, low, high=None):
    low = np.asarray(low, float)
    with pytest.raises(PlaceError) as caught:
        resolve(
            FoundCrs(found, where="a.las") if isinstance(found, str | None) else found,
            options,
            low,
            low + 10 if high is None else high,
        )
    error = caught.value
    for language in ("en", "zh"):
        text = render(error.code, error.fields, language)
        assert "{" not in text, text
        assert not text.startswith(error.code), text
    return error


def codes(place):
    return [code for code, _ in place.warnings]


def test_no_crs():
    assert refusal(None, ELLIPSOID, WUHAN).code == "place.crs-missing"


@pytest.mark.parametrize(
    ("easting", "fitting"), [(38529000, "EPSG:4526"), (39529000, "EPSG:4527"), (20529000, "EPSG:4498")]
)
def test_zone_prefix_names_the_fitting_code(easting, fitting):
    error = refusal("EPSG:4547", ELLIPSOID, [easting, 3387000, 20])
    assert error.code == "place.zone-prefix"
    assert fitting in str(error)


def test_six_degree_zone_prefix():
    error = refusal("EPSG:4509", ELLIPSOID, [20350000, 3387000, 20])  # CGCS2000 / Gauss-Kruger CM 117E
    assert (error.code, error.fields["fitting"]) == ("place.zone-prefix", "EPSG:4498 (CGCS2000 / Gauss-Kruger zone 20)")


def test_zone_prefix_missing():
    error = refusal("EPSG:4526", ELLIPSOID, WUHAN)
    assert (error.code, error.fields["fitting"]) == (
        "place.zone-prefix-missing",
        "EPSG:4547 (CGCS2000 / 3-degree Gauss-Kruger CM 114E)",
    )


@pytest.mark.parametrize(
    ("crs", "at"),
    [
        ("EPSG:4547", [3387000, 529000, 20]),
        ("EPSG:4526", [3387000, 38529000, 20]),
        ("EPSG:32650", [3387000, 529000, 20]),
        ("EPSG:4490", [30.6, 114.3, 20]),
        ("EPSG:4490", [43.8, 87.6, 900]),
        ("EPSG:4326", [30.6, 114.3, 20]),
    ],
)
def test_swapped_axes(crs, at):
    assert refusal(crs, ELLIPSOID, at, np.array(at) + 0.001).code == "place.axes-swapped"


def test_feet_and_metres():
    oregon = [636000.0, 849000.0, 400.0]  # feet
    assert refusal("EPSG:2991", ELLIPSOID, oregon).code == "place.feet"
    assert resolve(FoundCrs("EPSG:2992"), ELLIPSOID, np.array(oregon), np.array(oregon)).crs == "EPSG:2992"
    utah = [480000.0, 2270000.0, 1300.0]  # metres, EPSG:32143
    place = resolve(FoundCrs("EPSG:32143"), ELLIPSOID, np.array(utah), np.array(utah))
    assert 40 < place.to_geographic(np.array([utah]))[0, 1] < 42
    assert refusal("EPSG:3566", ELLIPSOID, utah).code == "place.not-feet"


@pytest.mark.parametrize("form", ["WKT1_GDAL", "WKT1_ESRI", "WKT2_2019"])
def test_a_wkt_without_area_of_use_is_judged_by_its_registered_twin(form):
    oregon = [636000.0, 849000.0, 400.0]  # feet
    assert refusal(CRS("EPSG:2991").to_wkt(form), ELLIPSOID, oregon).code == "place.feet"
    assert refusal(CRS("EPSG:4547").to_wkt(form), ELLIPSOID, [38529000, 3387000, 20]).code == "place.zone-prefix"


def test_degrees_and_metres_mixed_up():
    assert (
        refusal("EPSG:4547", ELLIPSOID, [114.3, 30.6, 20], np.array([114.31, 30.61, 30])).code
        == "place.degrees-in-projected"
    )
    assert refusal("EPSG:4490", ELLIPSOID, [529000, 3387000, 20]).code == "place.metres-in-geographic"
    assert refusal("EPSG:4978", PlaceOptions(), [515368, 4918340, 2322]).code == "place.not-geocentric"
    assert refusal("ENU:30.6,114.3,20", PlaceOptions(), [529000, 3387000, 20]).code == "place.enu-too-far"


def test_area_of_use():
    neighbour = resolve(
        FoundCrs("EPSG:4547"), ELLIPSOID, WUHAN + np.array([150e3, 0, 0]), WUHAN + np.array([151e3, 100, 0])
    )
    assert codes(neighbour) == ["place.beyond-area"]
    assert refusal("EPSG:4547", ELLIPSOID, [5e5, -3e6, 20]).code == "place.outside-area"
    assert refusal("EPSG:4547", ELLIPSOID, [np.nan, 0, 0]).code == "place.bounds-not-finite"


def test_height_plausibility_is_a_warning():
    place = resolve(FoundCrs("EPSG:4547"), ELLIPSOID, WUHAN, WUHAN + np.array([10, 10, 20000]))
    assert codes(place) == ["place.height-implausible"]


def test_a_wide_box_of_geocentric_coordinates_is_not_implausible():
    at = np.array([-2262e3, 5006e3, 3229e3])  # near Wuhan
    assert codes(resolve(FoundCrs("EPSG:4978"), PlaceOptions(), at - 8e3, at + 8e3)) == []


def test_vertical_unknown():
    error = refusal("EPSG:4547", PlaceOptions(), WUHAN)
    assert (error.code, error.fields["where"]) == ("place.vertical-unknown", "a.las")
    assert "--vertical" in str(error)
    assert refusal("ENU:30.6,114.3", PlaceOptions(), [0, 0, 0]).code == "place.vertical-unknown"
    assert refusal("EPSG:4547", PlaceOptions(vertical="sea level"), WUHAN).code == "place.vertical-unreadable"


@pytest.mark.parametrize("vertical", [5737, 5736, 5703, 3855])
def test_declared_heights_need_their_separation(vertical, monkeypatch, tmp_path):
    monkeypatch.setattr("tim.place.files.datadir.get_user_data_dir", lambda: str(tmp_path))
    code = "place.geoid-missing" if vertical == 3855 else "place.vertical-needs-separation"
    for found in (
        f"EPSG:4547+{vertical}",
        FoundCrs("EPSG:4547", f"EPSG:{vertical}"),
        FoundCrs("EPSG:4547", str(vertical)),
    ):
        assert refusal(found, PlaceOptions(), WUHAN).code == code
        assert refusal(found, ELLIPSOID, WUHAN).code == "place.vertical-contradicts"
    found = FoundCrs(f"EPSG:4547+{vertical}")
    overridden = resolve(found, PlaceOptions(vertical="ellipsoid", override_vertical=True), WUHAN, WUHAN)
    assert codes(overridden) == ["place.vertical-overridden"]
    constant = resolve(found, PlaceOptions(vertical="-14.7m"), WUHAN, WUHAN)
    assert codes(constant) == []
    assert constant.to_geographic(WUHAN[None])[0, 2] == pytest.approx(5.3)


def test_a_horizontal_crs_from_the_user_does_not_unsay_the_files_heights():
    found = FoundCrs(CRS("EPSG:26910+5703").to_wkt("WKT1_GDAL"))
    at = np.array([507494.0, 5185407.0, 850.0])
    assert refusal(found, PlaceOptions(crs="EPSG:26910", vertical="ellipsoid"), at).code == "place.vertical-contradicts"
    assert refusal(found, PlaceOptions(crs="EPSG:26910"), at).code == "place.vertical-needs-separation"
    place = resolve(found, PlaceOptions(crs="EPSG:26910+6360", vertical="+0m"), at, at)
    assert place.height.unit == pytest.approx(1200 / 3937)


@pytest.mark.parametrize("crs", ["EPSG:4979", "EPSG:4480", "EPSG:4937"])
def test_three_dimensional_crs_has_ellipsoidal_heights(crs):
    at = np.array([10.0, 50.0, 20.0]) if crs == "EPSG:4937" else np.array([114.3, 30.6, 20.0])
    assert resolve(FoundCrs(crs), PlaceOptions(), at, at).to_geographic(at[None])[0, 2] == 20.0
    corrected = resolve(FoundCrs(crs), PlaceOptions(vertical="+5m"), at, at)
    assert "place.ellipsoidal-corrected" in codes(corrected)
    assert (
        refusal("EPSG:4978", PlaceOptions(vertical="+5m"), [-2.2e6, 5.0e6, 3.25e6]).code == "place.vertical-geocentric"
    )


@pytest.mark.parametrize("code", ["5030", "EPSG:5030", "ellipsoid"])
def test_ellipsoidal_vertical_codes_of_geotiff(code):
    place = resolve(FoundCrs("EPSG:4547", code), PlaceOptions(), WUHAN, WUHAN)
    assert place.height.method == "ellipsoid"


def test_ellipsoidal_vert_cs_of_wkt1():
    wkt = (
        'COMPD_CS["x",'
        + CRS("EPSG:32650").to_wkt("WKT1_GDAL")
        + ',VERT_CS["Ellipsoid (Meters)",VERT_DATUM["Ellipsoid",2002],'
        'UNIT["metre",1.0],AXIS["Up",UP]]]'
    )
    assert resolve(FoundCrs(wkt), PlaceOptions(), WUHAN, WUHAN).height.method == "ellipsoid"


def test_the_users_crs_goes_first_and_says_how_far_it_moves_the_data():
    place = resolve(FoundCrs("EPSG:4548"), PlaceOptions(crs="EPSG:4547", vertical="ellipsoid"), WUHAN, WUHAN)
    ((code, fields),) = place.warnings
    assert code == "place.crs-overridden"
    assert fields["km"] == pytest.approx(3 * 111.3 * np.cos(np.radians(30.6)), rel=0.01)
    same = resolve(FoundCrs("EPSG:4547"), PlaceOptions(crs="EPSG:4547", vertical="ellipsoid"), WUHAN, WUHAN)
    unreadable = resolve(FoundCrs("LOCAL"), PlaceOptions(crs="EPSG:4547", vertical="ellipsoid"), WUHAN, WUHAN)
    assert same.warnings == unreadable.warnings == ()


def test_origin_is_added_before_judging():
    found = FoundCrs("EPSG:4547", origin=(529000.0, 3387000.0, 0.0))
    place = resolve(found, ELLIPSOID, np.zeros(3), np.ones(3))
    assert place.origin == found.origin
    assert place.to_geographic(np.zeros((1, 3)))[0, 0] == pytest.approx(114.3, abs=0.01)


def test_record_and_pickle_keep_everything():
    place = resolve(
        FoundCrs("EPSG:26910"),
        ELLIPSOID,
        np.array([507494.0, 5185407.0, 850.0]),
        np.array([507594.0, 5185507.0, 900.0]),
    )
    again = Place.from_record(json.loads(json.dumps(place.record())))
    assert again == place
    assert pickle.loads(pickle.dumps(place)) == place
    at = np.array([[507500.0, 5185450.0, 870.0]])
    assert (again.to_ecef(at) == place.to_ecef(at)).all()


def test_report_has_three_steps_in_both_languages():
    at = np.array([507494.0, 5185407.0, 850.0])
    report = resolve(FoundCrs("EPSG:26910"), ELLIPSOID, at, at).report()
    json.dumps(report)
    assert [step["step"] for step in report["steps"]] == ["conversion", "datum", "height"]
    for told in [*report["steps"], *report["warnings"]]:
        for text in told["text"].values():
            assert "{" not in text
            assert not text.startswith("place.")
    assert "NAD83 / UTM zone 10N" in report["steps"][0]["text"]["en"]
    assert "NAD83 = WGS 84" in report["steps"][1]["text"]["zh"]


def test_box_holds_the_data():
    low, high = np.array([400e3, 3.0e6, -10.0]), np.array([617e3, 3.4e6, 90.0])
    place = resolve(FoundCrs("EPSG:4547"), ELLIPSOID, low, high)
    west, south, bottom, east, north, top = place.box(low, high)
    at = place.to_geographic(low + (high - low) * np.random.default_rng(1).random((20_000, 3)))
    edge = place.to_geographic(
        np.column_stack([np.linspace(low[0], high[0], 5000), np.full(5000, high[1]), np.full(5000, 0.0)])
    )
    both = np.vstack([at, edge])
    assert (both.min(axis=0) >= [west, south, bottom]).all()
    assert (both.max(axis=0) <= [east, north, top]).all()
    assert (east - west) < np.ptp(both[:, 0]) * 1.05


def test_box_over_the_antimeridian():
    low, high = np.array([179.5, -17.0, 0.0]), np.array([180.5, -16.0, 10.0])
    west, _, _, east, _, _ = resolve(FoundCrs("EPSG:4326"), ELLIPSOID, low, high).box(low, high)
    assert (west, east) == pytest.approx((179.5, -179.5))


def test_a_missing_file_is_named(tmp_path):
    for options in (PlaceOptions(crs=f"@{tmp_path / 'no.prj'}"), PlaceOptions(vertical=f"grid:{tmp_path / 'no.gtx'}")):
        error = refusal("EPSG:4547", options, WUHAN)
        assert error.code == "place.file-missing"
        assert error.fields["file"].startswith("no.")


def test_an_unnamed_datum_is_refused_until_somebody_says_it_is_wgs84():
    utm = "+proj=utm +zone=50 +ellps=GRS80 +units=m"
    at = np.array([529000.0, 3387000.0, 20.0])
    assert refusal(utm, ELLIPSOID, at).code == "place.datum-needs-operation"
    place = resolve(FoundCrs(utm), PlaceOptions(vertical="ellipsoid", datum="+proj=noop"), at, at)
    same = resolve(FoundCrs("EPSG:32650"), ELLIPSOID, at, at)
    assert np.abs(place.to_ecef(at[None]) - same.to_ecef(at[None])).max() < 1e-3
