"""Three tiny formats for the tests of walking, planning and importing."""

from __future__ import annotations

from typing import Any, cast

import pytest

import importers


@pytest.fixture
def tiny_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    formats = cast("dict[str, Any]", importers.FORMATS)
    monkeypatch.setitem(formats, "dot", "tests.importers.tiny_dot")
    monkeypatch.setitem(formats, "town", "tests.importers.tiny_town")
    monkeypatch.setitem(formats, "parcels", "tests.importers.tiny_parcels")
