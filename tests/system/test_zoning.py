"""Zoning of real cities as rules: at any place and day exactly the zones that pyogrio reads and shapely finds there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from lxml import etree

from importers.plan import Options, make_plan
from importers.run import run_import
from tim.place.resolve import PlaceOptions
from tim.rules import rules_at, rules_of
from tim.store import AsOf, Filter
from tim.workspace import Workspace

DAYS = ("1960-01-01", "1975-03-11", "2005-10-07", "2009-09-17", "2009-11-11", "2011-03-29", "2024-01-01")
FOLDERS = ("kawasaki-shi/udx/urf", "numazu-shi/udx/urf", "numazu-shi/udx/lsld")


@dataclass(frozen=True)
class Zone:
    """A zone as pyogrio reads it."""

    name: str
    type: str
    area: shapely.Geometry
    valid_from: str
    said: dict[str, object]


@pytest.fixture(scope="module")
def folders(real_data: Path) -> list[Path]:
    return [real_data / "city" / "plateau" / name for name in FOLDERS]


@pytest.fixture(scope="module")
def zones(folders: list[Path]) -> list[Zone]:
    """Longitude first, whatever the reader makes of the order of axes."""
    found = []
    for path in sorted(path for folder in folders for path in folder.glob("*.gml")):
        for layer, _ in pyogrio.list_layers(path):
            meta, _, geometry, columns = pyogrio.raw.read(path, layer=layer)
            for i, wkb in enumerate(geometry):
                said = {name: column[i] for name, column in zip(meta["fields"], columns, strict=True)}
                area = shapely.force_2d(shapely.from_wkb(wkb))
                if area.bounds[0] < 90:
                    area = shapely.transform(area, lambda places: places[:, ::-1])
                found.append(
                    Zone(
                        str(said["gml_id"]),
                        layer,
                        shapely.make_valid(area),
                        str(said["validFrom"])[:10].replace("/", "-"),
                        said,
                    )
                )
    return found


@pytest.fixture(scope="module")
def city(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace.create(tmp_path_factory.mktemp("city") / "workspace")
    for folder in folders:
        slug = folder.parts[-3].split("-")[0] + "-" + folder.name
        run_import(workspace, make_plan([folder], Options(dataset=slug, place=PlaceOptions(vertical="+36m"))))
    return workspace


def test_the_oracle_has_every_zone(zones: list[Zone], folders: list[Path], city: Workspace) -> None:
    """As many as XPath counts, and as there are in the store."""
    expected = {
        str(name)
        for folder in folders
        for path in folder.glob("*.gml")
        for name in etree.parse(str(path)).xpath("/*/*[local-name()='cityObjectMember']/*/@*[local-name()='id']")
    }
    assert {zone.name for zone in zones} == expected
    with city.store() as store:
        assert sum(store.count(dataset.slug) for dataset in store.datasets()) == len(expected)


def test_rules_at_random_places_and_days(zones: list[Zone], city: Workspace) -> None:
    """Half of the places are inside of some zone, half anywhere around one. A zone of an unknown beginning (year 1) is in force since ever."""
    random = np.random.default_rng(4)
    hits = 0
    with city.store() as store:
        for number in range(300):
            zone = zones[random.integers(len(zones))]
            west, south, east, north = zone.area.bounds
            lon, lat = random.uniform((west, south), (east, north))
            if number % 2 and not zone.area.contains(shapely.Point(lon, lat)):
                inside = zone.area.representative_point()
                lon, lat = inside.x, inside.y
            day = DAYS[number % len(DAYS)]
            point = shapely.Point(lon, lat)
            expected = {one.name for one in zones if one.area.contains(point) and one.valid_from <= day}
            found = rules_at(store, lon, lat, day)
            keys = {version.object.source_key for version in store.read([rule.tim_id for rule in found], AsOf(day))}
            assert keys == expected, (lon, lat, day)
            hits += len(expected)
    assert hits > 200


def test_ratios_and_notices_are_those_of_the_files(zones: list[Zone], city: Workspace) -> None:
    by_name = {zone.name: zone for zone in zones}
    seen = {
        "floor-area-ratio": 0,
        "building-coverage": 0,
        "use": 0,
        "height-limit": 0,
        "fire": 0,
        "scenic": 0,
        "hazard": 0,
    }
    with city.store() as store:
        for dataset in store.datasets():
            for version in store.query(Filter(dataset.slug), limit=10_000).items:
                said = by_name[version.object.source_key].said
                rules = {rule.kind: rule for rule in rules_of(version)}
                assert rules
                for kind, rule in rules.items():
                    seen[kind] = seen.get(kind, 0) + 1
                    notice = said.get("notificationNumber")
                    assert rule.basis.get("notice") == (None if notice == "不明" else notice)
                    assert not rule.unread
                assert ("floor-area-ratio" in rules) == (
                    said.get("floorAreaRate") is not None and not _nan(said["floorAreaRate"])
                )
                if "floor-area-ratio" in rules:
                    assert rules["floor-area-ratio"].parameters["max_floor_area_ratio"] == float(
                        str(said["floorAreaRate"])
                    )
                if "building-coverage" in rules:
                    assert rules["building-coverage"].parameters["max_coverage_ratio"] == float(
                        str(said["buildingCoverageRate"])
                    )
    assert all(seen.values())


def _nan(value: object) -> bool:
    return isinstance(value, float) and value != value
