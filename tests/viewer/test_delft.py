"""A real city model on its whole way: every object of the file is one feature on the screen, and a click on a roof names it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Browser, expect
from pyproj import Transformer

from tests.system.command import ok
from tests.system.serving import served
from tests.viewer.driver import Viewer, open_viewer
from tim.store import Filter, ObjectVersion
from tim.workspace import Workspace

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SHOTS = os.environ.get("TIM_SHOTS")
"""A folder to keep the pictures in, for people to look at."""
COUNT = 570
"""City objects of the file."""
SAMPLE = 24
"""Buildings that are picked."""
Roofs = dict[str, tuple[float, float, float]]
FEATURES = """() => {
  const { scene } = document.querySelector("tim-app").stage.widget;
  const found = [];
  const tilesets = [];
  for (let i = 0; i < scene.primitives.length; i++) {
    const one = scene.primitives.get(i);
    if (one.root !== undefined && one.maximumScreenSpaceError !== undefined) tilesets.push(one);
  }
  const visit = (tile) => {
    const content = tile.content;
    if (tile.children.length === 0 && tile.contentReady && content)
      for (let i = 0; i < content.featuresLength; i++) found.push(content.getFeature(i).getProperty("tim_id"));
    tile.children.forEach(visit);
  };
  tilesets.forEach((one) => visit(one.root));
  return found;
}"""
"""The tim_id of every feature of every leaf that is loaded."""
FINEST = """() => {
  const { scene } = document.querySelector("tim-app").stage.widget;
  for (let i = 0; i < scene.primitives.length; i++) {
    const one = scene.primitives.get(i);
    if (one.maximumScreenSpaceError !== undefined) one.maximumScreenSpaceError = 0;
  }
}"""
"""Nothing but leaves is fine enough."""
PICK = """([x, y]) => {
  const { scene } = document.querySelector("tim-app").stage.widget;
  const hit = scene.pick({ x, y }, 1, 1);
  return hit?.getProperty?.("tim_id") ?? null;
}"""


@pytest.fixture(scope="module")
def delft(tmp_path_factory: pytest.TempPathFactory, static: Path, real_data: Path) -> Iterator[tuple[Workspace, str]]:
    folder = tmp_path_factory.mktemp("delft") / "ws"
    ok("init", folder)
    source = real_data / "city/cityjson/delft.json"
    ok("import", source, "-w", folder, "--datum", "EPSG:4833", "--vertical", "+43.2m")
    ok("tile", "-w", folder)
    with served(folder) as url:
        yield Workspace.open(folder), url


@pytest.fixture(scope="module")
def objects(delft: tuple[Workspace, str]) -> dict[str, ObjectVersion]:
    """What the store has, by id."""
    with delft[0].store() as store:
        return {str(item.tim_id): item for item in store.query(Filter("delft"), limit=COUNT + 1).items}


@pytest.fixture(scope="module")
def roofs(real_data: Path) -> Roofs:
    """By the file's keys: longitude, latitude and height of the middle of the largest triangle on top of each building.

    Read by hand and placed by PROJ: the models of this file are triangles and have flat roofs.
    """
    document = json.loads((real_data / "city/cityjson/delft.json").read_text())
    scale, shift = (np.array(document["transform"][name]) for name in ("scale", "translate"))
    points = np.array(document["vertices"]) * scale + shift
    found = {}
    for key, item in document["CityObjects"].items():
        if item["type"] != "Building":
            continue
        [shell] = item["geometry"][0]["boundaries"]
        faces = points[np.array([face[0] for face in shell])]
        on_top = faces[(faces[..., 2] > faces[..., 2].max() - 0.01).all(axis=1)]
        sides = on_top[:, 1:, :2] - on_top[:, :1, :2]
        found[key] = on_top[np.abs(np.linalg.det(sides)).argmax()].mean(axis=0)
    middles = np.array(list(found.values()))
    lon, lat = Transformer.from_crs(28992, 4289, always_xy=True).transform(middles[:, 0], middles[:, 1])
    lat, lon = Transformer.from_pipeline("EPSG:4833").transform(lat, lon)
    return dict(zip(found, zip(lon, lat, middles[:, 2] + 43.2, strict=True), strict=True))


@pytest.fixture(scope="module")
def viewer(browser: Browser, delft: tuple[Workspace, str], objects: dict[str, ObjectVersion]) -> Iterator[Viewer]:
    """One page above the middle of the town, everything in view."""
    boxes = [item.object.box for item in objects.values() if item.object.box]
    lon = (min(b[0] for b in boxes) + max(b[3] for b in boxes)) / 2
    lat = (min(b[1] for b in boxes) + max(b[4] for b in boxes)) / 2
    with open_viewer(browser, f"{delft[1]}?lang=en&at={lon},{lat},1100,0,-90", size=(720, 600)) as opened:
        opened.wait_ready()
        yield opened


def drawn(objects: dict[str, ObjectVersion]) -> set[str]:
    return {i for i, item in objects.items() if item.object.box is not None and item.object.representations}


def test_every_object_is_one_feature(viewer: Viewer, objects: dict[str, ObjectVersion]) -> None:
    assert len(objects) == COUNT
    viewer.page.evaluate(FINEST)
    viewer.wait_ready()
    found = Counter(viewer.page.evaluate(FEATURES))
    assert set(found) == drawn(objects)
    assert set(found.values()) == {1}
    if SHOTS:
        viewer.screenshot(Path(SHOTS) / "delft.png")
    assert viewer.problems == []


def test_roofs_are_picked_by_their_ids(viewer: Viewer, objects: dict[str, ObjectVersion], roofs: Roofs) -> None:
    """From straight above, the pixel over a building's roof, where PROJ puts it, is that building's."""
    houses = sorted(i for i, item in objects.items() if item.object.class_id == "building.house")
    wrong = {}
    for name in houses[:: len(houses) // SAMPLE][:SAMPLE]:
        point = aim(viewer, roofs[objects[name].object.source_key])
        picked = viewer.page.evaluate(PICK, point)
        if picked != name:
            wrong[name] = picked
    assert wrong == {}


def test_a_click_tells_what_the_store_has(viewer: Viewer, objects: dict[str, ObjectVersion], roofs: Roofs) -> None:
    name = min(i for i, item in objects.items() if item.object.class_id == "building.house")
    x, y = aim(viewer, roofs[objects[name].object.source_key])
    box = viewer.page.locator("tim-app canvas").bounding_box()
    assert box is not None
    viewer.page.mouse.click(box["x"] + x, box["y"] + y)
    panel = viewer.page.get_by_label("What is here")
    record = objects[name].object
    # The source and the version are in no tile: they come from the server.
    for text in (name, str(record.attributes["lokaalid"]), "delft.json", "version 1"):
        expect(panel).to_contain_text(text)
    assert viewer.state["sel"] == name
    if SHOTS:
        viewer.wait_ready()
        viewer.screenshot(Path(SHOTS) / "delft-click.png")
    assert viewer.problems == []


def aim(viewer: Viewer, place: tuple[float, float, float]) -> list[float]:
    """Move above a place; where it is on the map."""
    lon, lat, height = place
    viewer.page.evaluate(f"document.querySelector('tim-app').stage.place([{lon}, {lat}, {height + 120}, 0, -90])")
    viewer.wait_ready()
    target = {"longitude": lon, "latitude": lat, "height": height}
    point: list[float] = viewer.page.evaluate("place => document.querySelector('tim-app').stage.project(place)", target)
    return point
