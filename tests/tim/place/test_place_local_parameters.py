"""Parameter sets and control points: against PROJ pipelines written here, published figures, and least squares done another way."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from pyproj import Transformer

from importers.page import to_html
from importers.plan import Options, make_plan
from importers.run import run_import
from tim.errors import PlaceError
from tim.place import Place
from tim.place.resolve import FoundCrs, PlaceOptions, resolve
from tim.workspace import Workspace

HARBOUR = {
    "kind": "helmert-2d", "to": "EPSG:4547", "dx": 512345.678, "dy": 3371234.567, "rotation": 1.2345678, "rotation_unit": "deg", "scale_ppm": 23.4567,
    "false_easting": 1234.5, "false_northing": 2345.25,
}  # fmt: skip
OLD = {
    "kind": "helmert-3d", "from": "EPSG:4984", "dx": 0, "dy": 0, "dz": 4.5, "rx": 0, "ry": 0, "rz": 0.554, "rotation_unit": "arcsec",
    "scale_ppm": 0.219, "convention": "position-vector",
}  # fmt: skip
AT = np.array([[1500.0, 2500.0, 12.0], [1800.0, 2100.0, -3.0]])


def file_of(folder: Path, name: str = "site.yaml", **sets: dict[str, object]) -> Path:
    path = folder / name
    path.write_text(json.dumps(sets), encoding="utf-8")  # JSON is YAML
    return path


def placed(crs: str, at: np.ndarray = AT, **options: str) -> Place:
    options.setdefault("vertical", "ellipsoid")
    return resolve(FoundCrs(), PlaceOptions(crs=crs, **options), at.min(axis=0), at.max(axis=0))


def test_four_parameters_as_proj_does_it(tmp_path: Path):
    found = placed(f"@{file_of(tmp_path, harbour=HARBOUR)}#harbour").to_geographic(AT)
    angle, scale = math.radians(1.2345678), 1 + 23.4567e-6
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    oracle = Transformer.from_pipeline(
        "+proj=pipeline +step +proj=affine +xoff=-1234.5 +yoff=-2345.25 "
        f"+step +proj=affine +s11={cos!r} +s12={-sin!r} +s21={sin!r} +s22={cos!r} +xoff=512345.678 +yoff=3371234.567 "
        "+step +inv +proj=tmerc +lat_0=0 +lon_0=114 +k=1 +x_0=500000 +y_0=0 +ellps=GRS80 +step +proj=unitconvert +xy_in=rad +xy_out=deg"
    )
    lon, lat = oracle.transform(AT[:, 0], AT[:, 1])
    assert np.abs(found[:, 0] - lon).max() < 1e-10
    assert np.abs(found[:, 1] - lat).max() < 1e-10
    assert (found[:, 2] == AT[:, 2]).all()


def test_seven_parameters_as_published(tmp_path: Path):
    """EPSG Guidance Note 7-2, section 4.3.3: WGS 72 to WGS 84, both conventions."""
    at = np.array([[3657660.66, 255768.55, 5201382.11]])
    published = np.array([3657660.78, 255778.43, 5201387.75])
    turned = OLD | {"convention": "coordinate-frame", "rz": -0.554}
    path = file_of(tmp_path, one=OLD, two=turned, wrong=OLD | {"convention": "coordinate-frame"})
    for name in ("one", "two"):
        place = resolve(FoundCrs(), PlaceOptions(crs=f"@{path}#{name}"), at[0], at[0])
        assert np.abs(place.to_ecef(at)[0] - published).max() < 0.01
        apart = resolve(FoundCrs("EPSG:4984"), PlaceOptions(datum=f"@{path}#{name}"), at[0], at[0])
        assert (apart.to_ecef(at) == place.to_ecef(at)).all()
        assert (Place.from_record(json.loads(json.dumps(place.record()))).to_ecef(at) == place.to_ecef(at)).all()
    wrong = resolve(FoundCrs(), PlaceOptions(crs=f"@{path}#wrong"), at[0], at[0])
    assert np.linalg.norm(wrong.to_ecef(at)[0] - published) > 10


def control(size: int, count: int, noise: float = 0.0) -> list[list[object]]:
    rng = np.random.default_rng(3)
    local = rng.uniform(0, 2000, (count, 2))
    turned = (local[:, 0] + 1j * local[:, 1]) * 1.00002 * np.exp(0.3j) + (512000 + 3370000j)
    h = rng.uniform(0, 50, count)
    columns = [local[:, 0], local[:, 1], h][:size] + [turned.real, turned.imag, h * 1.00002 + 7][:size]
    values = np.column_stack(columns)
    values[:, size:] += rng.normal(0, noise, (count, size)) if noise else 0
    return [[f"K{i}", *map(float, row)] for i, row in enumerate(values)]


@pytest.mark.parametrize("size", [2, 3])
def test_control_points(tmp_path: Path, size: int):
    points = control(size, 6)
    path = file_of(tmp_path, site={"kind": "control", "to": "EPSG:4547", "points": points})
    local = np.array([[*row[1:3], row[3] if size == 3 else 0.0] for row in points])
    east_north = np.array([row[1 + size : 3 + size] for row in points], float)
    place = placed(f"@{path}", local)  # the only set need not be named
    lon, lat = Transformer.from_crs(4547, 4490, always_xy=True).transform(*east_north.T)
    found = place.to_geographic(local)
    assert np.abs(found[:, :2] - np.column_stack([lon, lat])).max() < 1e-9
    if size == 3:
        assert np.abs(found[:, 2] - [row[6] for row in points]).max() < 1e-6
    (told,) = [step for step in place.report()["steps"] if step["step"] == "control"]
    assert told["fields"]["redundancy"] == 6 * size - (4 if size == 2 else 7)
    assert float(told["fields"]["max"]) == 0


def test_residuals_are_those_of_least_squares(tmp_path: Path):
    points = control(2, 8, noise=0.02)
    path = file_of(tmp_path, site={"kind": "control", "to": "EPSG:4547", "points": points})
    x, y, east, north = np.array([row[1:] for row in points], float).T
    one, zero = np.ones(8), np.zeros(8)
    design = np.vstack([np.column_stack([x, -y, one, zero]), np.column_stack([y, x, zero, one])])
    seen = np.concatenate([east - 512000, north - 3370000])
    solved, *_ = np.linalg.lstsq(design, seen, rcond=None)
    missed = np.hypot(*(design @ solved - seen).reshape(2, 8))
    fields = placed(f"@{path}#site", np.column_stack([x, y, zero])).report()["steps"][1]["fields"]
    assert float(fields["rms"]) == pytest.approx(np.sqrt((missed**2).mean()), abs=1e-4)
    assert (float(fields["max"]), fields["worst"]) == (pytest.approx(missed.max(), abs=1e-4), f"K{missed.argmax()}")


def test_an_outlier_is_named(tmp_path: Path):
    points = control(2, 6, noise=0.005)
    points[4][3] += 0.5
    path = file_of(tmp_path, site={"kind": "control", "to": "EPSG:4547", "points": points})
    warnings = placed(f"@{path}#site", np.array([[0.0, 0, 0], [2000, 2000, 0]])).warnings
    assert [(code, fields["point"]) for code, fields in warnings] == [("place.control-outlier", "K4")]


def test_a_csv_of_control_points(tmp_path: Path):
    points = control(2, 4)
    path = tmp_path / "points.csv"
    path.write_text("# EPSG:4547\nname,x,y,E,N\n" + "".join(",".join(map(str, row)) + "\n" for row in points))
    same = file_of(tmp_path, points={"kind": "control", "to": "EPSG:4547", "points": points})
    at = np.array([[100.0, 100.0, 0.0]])
    assert (placed(f"@{path}", at).to_ecef(at) == placed(f"@{same}", at).to_ecef(at)).all()


@pytest.mark.parametrize(("change", "code", "field"), [
    ({"rotation_unit": None}, "place.set-field", "rotation_unit"), ({"dx": "x"}, "place.set-field", "dx"),
    ({"scale": 1.0}, "place.set-field", "scale"), ({"to": "WGS 84 / UTM"}, "place.set-field", "to"),
    ({"dx": float("nan")}, "place.set-field", "dx"), ({"colour": 1}, "place.set-field", "colour"), ({"kind": "magic"}, "place.set-field", "kind"),
    ({"to": "EPSG:4490"}, "place.crs-unreadable", None),
])  # fmt: skip
def test_nothing_is_assumed(tmp_path: Path, change: dict[str, object], code: str, field: str | None):
    values = {k: v for k, v in (HARBOUR | change).items() if v is not None}
    path = tmp_path / "site.yaml"
    path.write_text(json.dumps({"harbour": values}).replace("NaN", ".nan"), encoding="utf-8")
    with pytest.raises(PlaceError) as caught:
        placed(f"@{path}#harbour")
    assert caught.value.code == code
    assert field in (None, caught.value.fields.get("field"))
    assert "512345" not in str(caught.value)


def test_a_convention_is_required(tmp_path: Path):
    path = file_of(tmp_path, old={k: v for k, v in OLD.items() if k != "convention"})
    with pytest.raises(PlaceError) as caught:
        placed(f"@{path}#old", np.array([[3657660.66, 255768.55, 5201382.11]]))
    assert caught.value.fields["field"] == "convention"


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = file_of(tmp_path, harbour=HARBOUR, site={"kind": "control", "to": "EPSG:4547", "points": control(2, 2)})
    for crs, code in (
        (f"@{path}", "place.set-unknown"),
        (f"@{path}#x", "place.set-unknown"),
        (f"@{path}#site", "place.control-exact"),
    ):
        with pytest.raises(PlaceError) as caught:
            placed(crs)
        assert caught.value.code == code
    with pytest.raises(PlaceError) as caught:
        placed("EPSG:4547", AT + [5e5, 338e4, 0], datum=f"@{path}#harbour")
    assert caught.value.code == "place.set-no-datum"
    (tmp_path / "bad.toml").write_text("dx = 512345.678 = 3")
    with pytest.raises(PlaceError) as caught:
        placed(f"@{tmp_path / 'bad.toml'}")
    assert (caught.value.code, "512345" in str(caught.value)) == ("place.set-unreadable", False)
    monkeypatch.setenv("TIM_DATUM_DIR", str(tmp_path))
    assert placed("@site.yaml#harbour").crs == "@site.yaml#harbour"
    exact = {"kind": "control", "to": "EPSG:4547", "points": control(2, 2), "exact": True}
    assert placed(f"@{file_of(tmp_path, 'e.yaml', site=exact)}", np.array([[10.0, 10, 0]])).warnings == ()


def test_local_coordinates_that_lie_nowhere_near(tmp_path: Path):
    path = file_of(tmp_path, harbour=HARBOUR | {"dx": 12, "dy": 5})
    with pytest.raises(PlaceError) as caught:
        placed(f"@{path}#harbour")
    assert caught.value.code == "place.outside-area"


def test_parameters_are_nowhere_to_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import importers

    monkeypatch.setitem(importers.FORMATS, "parcels", "tests.importers.tiny_parcels")  # type: ignore[attr-defined]
    secret = tmp_path / "secret"
    secret.mkdir()
    path = file_of(secret, harbour=HARBOUR)
    (tmp_path / "a.parcels").write_text("k house 3", encoding="utf-8")
    options = PlaceOptions(crs=f"@{path}#harbour", vertical="ellipsoid")
    workspace = Workspace.create(tmp_path / "w")
    plan = make_plan([tmp_path / "a.parcels"], Options(place=options))
    report = run_import(workspace, plan)
    texts = [plan.to_yaml(), json.dumps(report.record()), to_html(report), repr(report.deliveries[0].place)]
    everything = "".join(texts).encode() + b"".join(p.read_bytes() for p in workspace.path.rglob("*") if p.is_file())
    assert b"site.yaml#harbour" in everything
    for value in ("512345", "3371234", "1.2345678", "23.4567", "1234.5", "2345.25"):
        assert value.encode() not in everything, value


def test_heights_of_1956_reach_the_datum_of_the_grid_first(small_grid: Path):
    at = np.array([[114.0, 30.0, 50.0]])
    plain = resolve(FoundCrs("EPSG:4490"), PlaceOptions(vertical=f"grid:{small_grid}"), at[0], at[0])
    moved = resolve(FoundCrs("EPSG:4490"), PlaceOptions(vertical=f"grid:{small_grid},-0.029m"), at[0], at[0])
    assert plain.to_geographic(at)[0, 2] == pytest.approx(50 - 20 + 2 + 3)
    assert moved.to_geographic(at)[0, 2] == pytest.approx(50 - 20 + 2 + 3 - 0.029)
    told = moved.report()["steps"][-1]
    assert told["code"] == "place.height-grid-offset"
    assert "-0.029" in told["text"]["zh"]
    assert Place.from_record(moved.record()) == moved
