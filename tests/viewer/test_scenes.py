"""The whole way in a browser: the demo and the real sets, imported, tiled, served by the real server and looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from tests.system.command import ok
from tests.system.serving import served
from tests.viewer.driver import open_viewer

pytestmark = pytest.mark.browser
SHOTS = os.environ.get("TIM_SHOTS")
"""A folder to keep the pictures in, for people to look at."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, static: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("demo")
    ok("demo", "--dir", folder, "--no-serve", timeout=600)
    with served(folder / "workspace") as url:
        yield url


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, static: Path, real_data: Path) -> Iterator[str]:
    workspace = tmp_path_factory.mktemp("real") / "ws"
    ok("init", workspace)
    ok("import", real_data / "oblique", "-w", workspace, "--vertical", "ellipsoid")
    ok(
        "import",
        real_data / "points/terrain_3M.laz",
        "-w",
        workspace,
        "--dataset",
        "terrain",
        "--crs",
        "EPSG:26910",
        "--vertical",
        "ellipsoid",
    )
    ok(
        "import",
        real_data / "points/lone-star.copc.laz",
        "-w",
        workspace,
        "--dataset",
        "star",
        "--crs",
        "EPSG:26912",
        "--vertical",
        "ellipsoid",
    )
    ok("tile", "-w", workspace, timeout=600)
    with served(workspace) as url:
        yield url


def look(browser: Browser, url: str, name: str) -> np.ndarray:
    """The map as drawn, after checking that nothing left the machine and the console is silent."""
    with open_viewer(browser, url) as viewer:
        viewer.wait_ready()
        if SHOTS:
            viewer.screenshot(Path(SHOTS) / f"{name}.png")
        pixels = viewer.pixels()
        assert viewer.problems == []
    return pixels.astype(int)


def share(mask: np.ndarray) -> float:
    return float(mask.mean())


def test_the_demo_looks_like_a_coast(browser: Browser, demo: str):
    pixels = look(browser, demo, "demo")
    red, green, blue = np.moveaxis(pixels, -1, 0)
    assert share((blue > red + 40) & (blue > 90)) > 0.08, "no sea"
    assert share((green > blue + 20) & (green > red + 5)) > 0.04, "no woods"
    assert share((red > 150) & (red > blue + 25) & (abs(red - green) < 45)) > 0.003, "no sand"


def test_the_demo_has_a_point_cloud_by_class(browser: Browser, demo: str):
    plain = look(browser, f"{demo}?at=122.2985,29.9085,260,0,-50", "hills")
    classes = look(browser, f"{demo}?at=122.2985,29.9085,260,0,-50&colour=class", "hills-class")
    assert share((abs(plain - classes) > 24).any(axis=-1)) > 0.1


def test_real_oblique_photography(browser: Browser, real: str):
    pixels = look(browser, f"{real}?at=113.3805,22.5045,260,0,-32", "oblique")
    assert pixels.std(axis=(0, 1)).min() > 25, "only background"


def test_real_point_clouds(browser: Browser, real: str):
    for name, at in (("terrain", "-122.88,46.806,2600,0,-38"), ("star", "-110.80675,44.41795,2350,0,-20")):
        pixels = look(browser, f"{real}?at={at}", name)
        empty = np.median(pixels.reshape(-1, 3), axis=0)
        assert share((abs(pixels - empty) > 40).any(axis=-1)) > 0.05, name
