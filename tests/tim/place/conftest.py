"""Fixtures for placing: small height grids, and places made by hand."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _no_datum_folder(monkeypatch):
    """What lies in a developer's datum folder must not decide a test."""
    monkeypatch.delenv("TIM_DATUM_DIR", raising=False)


def write_gtx(path: Path, south: float, west: float, step: float, values: np.ndarray) -> Path:
    head = struct.pack(">4d2i", south, west, step, step, *values.shape)
    path.write_bytes(head + values.astype(">f4").tobytes())
    return path


@pytest.fixture
def gtx():
    return write_gtx


@pytest.fixture
def small_grid(tmp_path):
    """A grid over 113..115 E, 29..31 N with the separation -20 + 2 (lon - 113) + 3 (lat - 29) m: bilinear is exact on
    it."""
    lat, lon = np.meshgrid(np.arange(29, 31.01, 0.5), np.arange(113, 115.01, 0.5), indexing="ij")
    return write_gtx(tmp_path / "small.gtx", 29, 113, 0.5, -20 + 2 * (lon - 113) + 3 * (lat - 29))
