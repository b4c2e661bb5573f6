"""EPANET networks keep the contract of object importers."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from importers.contract import ObjectImporterContract

NETWORK = "[JUNCTIONS]\nA 10\nB 12\n[PIPES]\nP A B 100 300 100\n[OPTIONS]\nUNITS LPS\n[COORDINATES]\nA 500000 3370000\nB 500100 3370000\n[END]\n"


class TestEpanetContract(ObjectImporterContract):
    format: ClassVar[str] = "epanet"

    def source(self, folder: Path) -> Path:
        path = folder / "net.inp"
        path.write_text(NETWORK)
        return path
