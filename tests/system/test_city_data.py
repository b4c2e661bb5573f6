"""All city data at once: an inventory names every file, and what second readers count is what is imported."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import ifcopenshell
import pytest

from importers.plan import Options, make_plan
from importers.run import run_import
from tim.place.resolve import PlaceOptions
from tim.workspace import Workspace

NAMED = {".ifc": "ifc", ".inp": "epanet"}
DUTCH = PlaceOptions(crs="EPSG:28992", vertical="ellipsoid", datum="EPSG:15934", override_vertical=True)


@pytest.fixture(scope="module")
def city(real_data: Path) -> Path:
    return real_data / "city"


def test_every_file_is_claimed_or_named(city: Path):
    plan = make_plan([city])
    formats = {delivery.probe.key: delivery.probe.format for delivery in plan.deliveries}
    for path in sorted(p for p in city.rglob("*") if p.suffix in {*NAMED, ".json"}):
        key = path.relative_to(city).as_posix()
        if path.suffix in NAMED:
            assert formats[key] == NAMED[path.suffix]
        elif json.loads(path.read_text(encoding="utf-8")).get("type") == "CityJSON":
            assert formats[key] == "cityjson"
    unknown = Counter(
        {item.fields["suffix"]: item.fields["count"] for item in plan.left_out if item.code == "import.unknown-type"}
    )
    files = Counter(path.suffix for path in city.rglob("*") if path.is_file())
    assert not unknown - files
    claimed = Counter(Path(key).suffix for key in formats)
    for suffix in {".ifc", ".inp", ".json"}:
        assert claimed[suffix] + unknown[suffix] == files[suffix]


def test_an_imported_folder_of_cityjson_is_whole(city: Path, tmp_path: Path):
    """Every CityObject is in the store, under the layer of its file."""
    folder = city / "cityjson"
    workspace = Workspace.create(tmp_path / "ws")
    report = run_import(workspace, make_plan([folder], Options(dataset="city", place=DUTCH)))
    expected = sum(len(json.loads(path.read_text(encoding="utf-8"))["CityObjects"]) for path in folder.rglob("*.json"))
    (done,) = report.datasets
    assert done.objects == {"created": expected, "updated": 0, "unchanged": 0}


def test_products_of_ifc_are_probed(city: Path):
    """Every sample opens in the second reader and is one delivery."""
    keys = {d.probe.key for d in make_plan([city / "ifc"]).deliveries if not d.probe.fatal}
    assert keys == {p.name for p in (city / "ifc").glob("*.ifc") if ifcopenshell.open(p).by_type("IfcProject")}
