"""Real city models go out as they came: every surface of every object where the source has it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely

from exporters.job import Options
from importers.plan import Options as ImportOptions
from importers.plan import make_plan
from importers.run import run_import
from tests.exporters.towns import SLUG, export_to
from tim.place import PlaceOptions
from tim.workspace import Workspace

RD = PlaceOptions(crs="EPSG:28992", vertical="+43.2m", datum="EPSG:15934")


@pytest.fixture(scope="module")
def delft(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> tuple[Workspace, Path]:
    workspace = Workspace.create(tmp_path_factory.mktemp("delft") / "workspace")
    source = real_data / "city" / "cityjson" / "delft.json"
    run_import(
        workspace,
        make_plan([source], ImportOptions(dataset=SLUG, place=PlaceOptions(vertical="+43.2m", datum="EPSG:15934"))),
    )
    return workspace, source


def surfaces(boundaries: Any) -> list[Any]:
    """Surfaces (lists of rings) in nested lists."""
    if isinstance(boundaries[0][0], int):
        return [boundaries]
    return [surface for inner in boundaries for surface in surfaces(inner)]


def corners(document: Any) -> dict[str, tuple[Any, int]]:
    """Of each object with geometry: its box in the file's own coordinates, and how many surfaces it has."""
    vertices = np.array(document["vertices"]) * document["transform"]["scale"] + document["transform"]["translate"]
    out = {}
    for name, one in document["CityObjects"].items():
        rings = [ring for g in one.get("geometry", []) for surface in surfaces(g["boundaries"]) for ring in surface]
        at = vertices[[i for ring in rings for i in ring]]
        out[name] = (
            np.concatenate([at.min(axis=0), at.max(axis=0)]),
            sum(len(surfaces(g["boundaries"])) for g in one["geometry"]),
        )
    return out


def test_delft_as_cityjson_lies_where_it_lay(delft: tuple[Workspace, Path], tmp_path: Path):
    workspace, source = delft
    done = export_to(workspace, tmp_path / "delft.city.json", Options(RD))
    before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (source, tmp_path / "delft.city.json"))
    assert done.objects == len(before["CityObjects"]) == 570
    assert {n: o["type"] for n, o in after["CityObjects"].items()} == {
        n: o["type"] for n, o in before["CityObjects"].items()
    }
    old, new = corners(before), corners(after)
    # 28992's heights and the constant cancel; what remains are a lattice of a quarter and a grid of a whole millimetre.
    assert max(np.abs(old[name][0] - new[name][0]).max() for name in old) < 2e-3
    lost = {code: fields["count"] for code, fields in done.problems}.get("export.degenerate", 0)
    assert (
        sum(count for _, count in old.values()) - sum(count for _, count in new.values()) == 4 + lost
    )  # 4 have no area
    for name, one in before["CityObjects"].items():
        own = {k: v for k, v in after["CityObjects"][name]["attributes"].items() if k not in ("tim", "featureType")}
        assert own == one.get("attributes", {})
    # What the source calls Solids is open below: edges that only one face has.
    shells = [g["boundaries"][0] for o in before["CityObjects"].values() for g in o["geometry"] if g["type"] == "Solid"]
    assert len(shells) == 160
    assert all(open_edges(shell) for shell in shells)
    assert {g["type"] for o in after["CityObjects"].values() for g in o["geometry"]} == {"MultiSurface"}


def open_edges(shell: Any) -> set[frozenset[int]]:
    """Edges that not exactly two rings of a shell have."""
    rings = [ring for face in shell for ring in face]
    edges = Counter(frozenset(edge) for ring in rings for edge in zip(ring, [*ring[1:], ring[0]], strict=True))
    return {edge for edge, count in edges.items() if count != 2}


def test_delft_as_geopackage_has_its_footprints(delft: tuple[Workspace, Path], tmp_path: Path):
    workspace, source = delft
    export_to(workspace, tmp_path / "delft.gpkg", Options(RD), class_id="building")
    meta, _, wkb, (keys,) = pyogrio.raw.read(tmp_path / "delft.gpkg", layer=SLUG, columns=["source_key"])
    assert meta["crs"] == "EPSG:28992"
    shapes = dict(zip(keys.tolist(), shapely.from_wkb(wkb).tolist(), strict=True))
    old = corners(json.loads(source.read_text(encoding="utf-8")))
    assert len(shapes) == 160
    for name, shape in shapes.items():
        assert np.abs(np.array(shape.bounds) - old[name][0][[0, 1, 3, 4]]).max() < 0.6
        assert shape.area > 0
