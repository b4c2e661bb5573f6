"""A real city model: what is open there by the file's own vertex numbers is what the check finds in the store."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from importers.plan import Options, make_plan
from importers.run import run_import
from tim.place.resolve import PlaceOptions
from tim.quality import check, findings
from tim.workspace import Workspace


def rings(boundaries: Any) -> Iterator[list[int]]:
    """All rings of a geometry, however deep."""
    if boundaries and isinstance(boundaries[0], int):
        yield boundaries
    else:
        for part in boundaries:
            yield from rings(part)


def open_edges(geometry: dict[str, Any]) -> int:
    """How many edges belong to an odd number of rings."""
    edges = Counter(frozenset(e) for r in rings(geometry["boundaries"]) for e in pairwise([*r, r[0]]) if e[0] != e[1])
    return sum(count % 2 for count in edges.values())


def test_open_buildings_of_a_city(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = real_data / "city" / "cityjson" / "delft.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    wanted = {
        k: sum(map(open_edges, o["geometry"]))
        for k, o in document["CityObjects"].items()
        if o["type"].startswith("Building")
    }
    assert len(set(wanted.values())) > 10
    monkeypatch.setattr(findings, "EXAMPLES", len(wanted))
    workspace = Workspace.create(tmp_path / "w")
    place = PlaceOptions(datum="EPSG:4833", vertical="+43.0m")
    run_import(workspace, make_plan([path], Options(dataset="delft", place=place)))
    with workspace.store() as store:
        report = check(store, "delft", workspace.classes(), ["geometry"])
    assert {f.code for f in report.findings} == {"quality.unclosed"}
    found = {e.where.partition("#")[2]: e.fields["edges"] for f in report.findings for e in f.examples}
    assert found == {k: count for k, count in wanted.items() if count}
