"""A tileset of others beside objects of ours: mounted, not copied; one scene, and a click answers for both."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Browser, expect

from tests.system.command import ok
from tests.system.serving import served
from tests.tiles1 import LAT, LON, NAMES, b3dm, tileset
from tests.viewer.driver import Viewer, open_viewer

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SHOTS = os.environ.get("TIM_SHOTS")
"""A folder to keep the pictures in, for people to look at."""
METRES = np.array([1 / (111_320 * np.cos(np.radians(LAT))), 1 / 110_850])
"""Degrees of longitude and latitude per metre."""
HEIGHT = 20.0
ROOT_PAGE = 200_000
"""Bytes a mounted tileset may add to ``tiles/``: a page and its row in the index, whatever lies behind it."""


@dataclass(frozen=True)
class Scene:
    url: str
    added: int
    """Bytes that mounting and composing put into ``tiles/``."""
    foreign: int
    """Bytes of the mounted tileset."""


def place(east: float, north: float) -> list[float]:
    return [float(v) for v in np.array([LON, LAT]) + METRES * [east, north]]


def houses(path: Path) -> Path:
    """Six houses of 20 m, 40 m apart, west of where the others' boxes stand."""
    features = []
    for i in range(6):
        east, north = -140.0 + 40 * (i % 3), -20.0 + 40 * (i // 3)
        ring = [place(east + x, north + y) for x, y in ((0, 0), (20, 0), (20, 20), (0, 20), (0, 0))]
        features.append(
            {
                "type": "Feature",
                "id": f"H{i}",
                "properties": {"name": f"{i}号楼", "height": 25.0, "elevation": HEIGHT},
                "geometry": {"type": "Polygon", "coordinates": [[[*point, HEIGHT] for point in ring]]},
            }
        )
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path


def size(folder: Path) -> int:
    return sum(
        path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, static: Path) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("beside")
    workspace = folder / "ws"
    ok("init", workspace)
    ok("import", houses(folder / "buildings.geojson"), "-w", workspace, "--dataset", "ours")
    ok("tile", "-w", workspace)
    before = size(workspace / "tiles")
    # Megabytes that nobody needs: a pass-through must not grow with them.
    old = tileset(folder / "old", {"a.b3dm": b3dm(), "#spare.bin": bytes(4 << 20)}, transform=None)
    lon, lat = place(0, 0)
    ok("import", old, "-w", workspace, "--dataset", "theirs", "--at", f"{lon},{lat},{HEIGHT}")
    ok("tile", "-w", workspace)
    ok("compose", "both", "ours", "theirs", "-w", workspace)
    added = size(workspace / "tiles") - before
    with served(workspace) as url:
        yield Scene(url, added, size(old))


@pytest.fixture(scope="module")
def viewer(browser: Browser, scene: Scene) -> Iterator[Viewer]:
    lon, lat = place(-20, -330)
    with open_viewer(browser, f"{scene.url}?lang=en&on=both&at={lon},{lat},260,0,-36", size=(1000, 700)) as opened:
        opened.wait_ready()
        yield opened


def click(viewer: Viewer, east: float, north: float, up: float) -> None:
    viewer.wait_ready()
    lon, lat = place(east, north)
    target = {"longitude": lon, "latitude": lat, "height": HEIGHT + up}
    x, y = viewer.page.evaluate("place => document.querySelector('tim-app').stage.project(place)", target)
    box = viewer.page.locator("tim-app canvas").bounding_box()
    assert box is not None
    viewer.page.mouse.click(box["x"] + x, box["y"] + y)


def own_problems(viewer: Viewer) -> list[str]:
    """What the console says, but for what CesiumJS thinks of the spelling of 3D Tiles 1.0 (lower-case refinement, ``url``)."""
    return [
        p
        for p in viewer.problems
        if not ("refine" in p or "uses deprecated" in p or "content.url" in p or "deprecat" in p.lower())
    ]


def test_a_mounted_tileset_is_not_copied(scene: Scene) -> None:
    assert scene.foreign > 4 << 20
    assert 0 < scene.added < ROOT_PAGE


def test_one_scene_shows_both(viewer: Viewer) -> None:
    pixels = viewer.pixels().astype(int)
    if SHOTS:
        viewer.screenshot(Path(SHOTS) / "beside.png")
    red, green, blue = np.moveaxis(pixels, -1, 0)
    theirs = (red > 210) & (red > green + 100) & (blue < 140)
    assert theirs.mean() > 0.01, "their red boxes"
    across = np.nonzero(theirs)[1]
    west = pixels[:, : across.min() - 5]
    ground = np.median(west.reshape(-1, 3), axis=0)
    assert (abs(west - ground) > 40).any(axis=-1).mean() > 0.01, "our houses, west of them"
    assert own_problems(viewer) == []


def test_a_click_on_theirs_shows_their_batch_table(viewer: Viewer) -> None:
    click(viewer, 50, -10, 40)  # the top of the second box
    panel = viewer.page.get_by_label("What is here")
    heading, *shown = "theirs", NAMES[1], "30", "[2,3]", '{"floors":1}', "Shown in the composition “both”"
    expect(panel.get_by_role("heading", level=2)).to_have_text(heading)
    for text in shown:
        expect(panel).to_contain_text(text)
    if SHOTS:
        viewer.wait_ready()
        viewer.screenshot(Path(SHOTS) / "beside-theirs.png")
    assert own_problems(viewer) == []


def test_a_click_on_ours_asks_the_server(viewer: Viewer) -> None:
    click(viewer, -90, -10, 25)  # the roof of the second house
    panel = viewer.page.get_by_label("What is here")
    for text in ("1号楼", "buildings.geojson", "version 1", "Shown in the composition “both”"):
        expect(panel).to_contain_text(text)
    expect(panel.locator("dd").filter(has_text="ours")).to_have_text("ours")
    assert viewer.state["on"] == "both", "its part is shown already"
    assert own_problems(viewer) == []


def test_a_class_of_ours_is_hidden_in_the_composition(viewer: Viewer) -> None:
    building = viewer.page.get_by_role("group", name="Object classes").locator("label")
    expect(building).to_have_text(re.compile(r"Building\s*6"))
    building.get_by_role("checkbox").uncheck()
    click(viewer, -90, -10, 25)
    heading = viewer.page.get_by_label("What is here").get_by_role("heading", level=2)
    expect(heading).to_have_text("Globe surface")
    click(viewer, 50, -10, 40)
    expect(heading).to_have_text("theirs")
    building.get_by_role("checkbox").check()
    click(viewer, -90, -10, 25)
    expect(heading).to_have_text("1号楼")
    assert own_problems(viewer) == []


def test_the_composition_can_be_flown_to_and_nothing_is_drawn_twice_at_first(browser: Browser, scene: Scene) -> None:
    with open_viewer(browser, f"{scene.url}?lang=en", size=(1000, 700)) as opened:
        opened.wait_ready()
        panel = opened.page.get_by_label("Layers", exact=True)
        for title, shown in (("both", False), ("ours", True), ("theirs", True)):
            expect(panel.get_by_role("checkbox", name=f"Show {title}")).to_be_checked(checked=shown)
        panel.get_by_role("button", name="Fly to both").click()
        opened.wait_ready()
        assert abs(opened.camera[:2] - place(-20, 0)).max() < 0.01
        assert own_problems(opened) == []
