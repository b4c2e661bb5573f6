"""IFC models keep the contract of object importers."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from importers.contract import ObjectImporterContract
from tests.importers.ifc.houses import house, written
from tim.place.resolve import PlaceOptions


class TestIfcContract(ObjectImporterContract):
    format: ClassVar[str] = "ifc"
    options: ClassVar[PlaceOptions] = PlaceOptions(crs="ENU:30.5,114.3,20")

    def source(self, folder: Path) -> Path:
        return written(folder, house())
