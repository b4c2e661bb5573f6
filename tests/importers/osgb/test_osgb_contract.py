from __future__ import annotations

from pathlib import Path

from importers.contract import MeshTreeContract
from tests.importers.osgb.scenes import production


class TestOsgb(MeshTreeContract):
    format = "osgb"

    def source(self, folder: Path) -> Path:
        return production(folder / "delivery")
