"""CityGML keeps the contract of object importers."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from importers.contract import ObjectImporterContract
from tests.importers.citygml.samples import house, model
from tim.place.resolve import PlaceOptions


class TestCityGmlContract(ObjectImporterContract):
    format: ClassVar[str] = "citygml"
    options: ClassVar[PlaceOptions] = PlaceOptions(vertical="ellipsoid", override_vertical=True)

    def source(self, folder: Path) -> Path:
        path = folder / "town.gml"
        path.write_text(model(house("a"), house("b", 0.001)), encoding="utf-8")
        return path
