"""Placed models keep the contract of object importers."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from importers.contract import ObjectImporterContract
from tests.importers.glb.test_glb import house
from tim.place.resolve import PlaceOptions


class TestGlbContract(ObjectImporterContract):
    format: ClassVar[str] = "glb"
    options: ClassVar[PlaceOptions] = PlaceOptions(crs="ENU:30.5,114.3,20")

    def source(self, folder: Path) -> Path:
        path = folder / "house.glb"
        path.write_bytes(house())
        return path
