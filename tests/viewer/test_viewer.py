"""The viewer in a real browser, against a stand-in server: it draws, tells, remembers, and never leaves the origin."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Browser, expect

from tests.viewer.conftest import VIEWER, cannot
from tests.viewer.driver import Viewer, open_viewer
from tests.viewer.stub import KEY, Stub, collection, serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]
AXE = VIEWER / "node_modules" / "axe-core" / "axe.min.js"
FOCUSED = """(() => {
  let element = document.activeElement;
  while (element.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
  return element.getAttribute('aria-label') || element.textContent.trim();
})()"""
SIZE = (1060, 640)
"""Small, as pixels are drawn by the processor; the map keeps the proportions of the default window."""


@pytest.fixture(scope="module")
def stub(static: Path, tiles: Path) -> Iterator[Stub]:
    with serve(static, tiles) as running:
        yield running


@pytest.fixture(scope="module")
def viewer(browser: Browser, stub: Stub) -> Iterator[Viewer]:
    """One page shared by the tests that leave it as they found it."""
    with open_viewer(browser, f"{stub.url}?lang=en", size=SIZE) as opened:
        opened.wait_ready()
        yield opened


def changed(one: np.ndarray, other: np.ndarray) -> float:
    """The share of pixels that differ visibly."""
    return float((np.abs(one.astype(int) - other).max(axis=2) > 16).mean())


def near(image: np.ndarray, colour: str) -> float:
    """The share of pixels close to a colour in hue (depth shading darkens)."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], float)
    pixels = image.reshape(-1, 3).astype(float)
    scale = (pixels.max(axis=1, keepdims=True) / wanted.max()).clip(0.75)
    return float((np.abs(pixels - wanted * scale).max(axis=1) < 14).mean())


def axe(viewer: Viewer) -> list[str]:
    """Violations of the rules of axe-core, best practices included."""
    viewer.page.evaluate(f"() => {{ {AXE.read_text(encoding='utf-8')} }}")
    result = viewer.page.evaluate("axe.run({ resultTypes: ['violations'] })")
    return [f"{v['id']}: {node['html'][:120]}" for v in result["violations"] for node in v["nodes"]]


def test_draws_both_kinds_and_stays_within_the_origin(viewer: Viewer) -> None:
    both = viewer.pixels()
    page = viewer.page
    boxes = page.get_by_role("checkbox", name=re.compile("^Show "))
    assert boxes.count() == 2
    shares = []
    for box in (boxes.nth(0), boxes.nth(1)):
        box.uncheck()
        shares.append(changed(both, viewer.pixels()))
        box.check()
    assert min(shares) > 0.03, "each layer is a visible part of the picture"
    assert changed(both, viewer.pixels()) == 0, "the same view draws the same picture"
    assert viewer.problems == []


def test_point_colours_follow_the_mode(viewer: Viewer) -> None:
    page = viewer.page
    page.get_by_role("checkbox", name=re.compile("倾斜")).uncheck()
    seen = {}
    for mode in ("Colour", "Class", "Intensity", "Height"):
        page.get_by_role("radio", name=mode).check()
        seen[mode] = viewer.pixels()
    pairs = [(a, b) for a in seen for b in seen if a < b]
    assert min(changed(seen[a], seen[b]) for a, b in pairs) > 0.03
    water, building = "#3f8fdb", "#e4713c"
    assert near(seen["Class"], water) > 0.02
    assert near(seen["Class"], building) > 0.001
    assert near(seen["Class"], water) > 10 * near(seen["Height"], water)
    grey = seen["Intensity"].max(axis=2).astype(int) - seen["Intensity"].min(axis=2)
    assert (grey < 6).mean() > (seen["Colour"].max(axis=2).astype(int) - seen["Colour"].min(axis=2) < 6).mean() + 0.03

    page.get_by_role("radio", name="Class").check()
    page.get_by_role("checkbox", name="Water").uncheck()
    assert near(seen["Class"], water) > 10 * near(viewer.pixels(), water), "a hidden class is not drawn"
    assert viewer.state["hide"] == "9"
    page.get_by_role("checkbox", name="Water").check()
    assert changed(seen["Class"], viewer.pixels()) == 0
    page.get_by_role("radio", name="Colour").check()
    page.get_by_role("checkbox", name=re.compile("倾斜")).check()
    assert viewer.problems == []


def test_click_tells_what_is_there(viewer: Viewer) -> None:
    page = viewer.page
    page.get_by_role("checkbox", name=re.compile("点云")).uncheck()
    viewer.wait_ready()
    for across, down in ((0.58, 0.53), (0.64, 0.65), (0.5, 0.5)):
        viewer.click_map(across, down)
        panel = page.get_by_label("What is here")
        expect(panel).to_contain_text("城区倾斜摄影")
        if "floors" in panel.inner_text():
            break
    expect(panel).to_contain_text(re.compile("name\\s*(甲楼|乙楼|丙楼|丁楼|North tower|South tower|Ground)"))
    height = float(re.search(r"Ellipsoidal height\s*([\d.]+) m", panel.inner_text())[1])
    assert 11 < height < 76
    page.get_by_role("checkbox", name=re.compile("点云")).check()
    page.get_by_role("checkbox", name=re.compile("倾斜")).uncheck()
    viewer.wait_ready()
    viewer.click_map(0.24, 0.6)
    expect(panel).to_contain_text("山体机载点云")
    height = float(re.search(r"Ellipsoidal height\s*([\d.]+) m", panel.inner_text())[1])
    assert 11.5 < height < 14, "the water's points lie half a metre above the sample's 12 m"
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)
    page.get_by_role("checkbox", name=re.compile("倾斜")).check()
    viewer.wait_ready()
    assert viewer.problems == []


def test_keyboard_alone_is_enough(viewer: Viewer) -> None:
    page = viewer.page
    canvas = page.locator("tim-app canvas")
    canvas.focus()
    page.keyboard.press("h")
    page.wait_for_timeout(1500)
    viewer.wait_ready()
    home = viewer.camera
    for key, moved in (("+", 2), ("e", 3), ("r", 4), ("ArrowRight", 0)):
        before = viewer.camera
        page.keyboard.press(key)
        page.wait_for_function("before => !location.search.includes(before)", arg=viewer.state["at"])
        viewer.wait_ready()
        assert abs(viewer.camera[moved] - before[moved]) > 1e-6, key
    page.keyboard.press("h")
    page.wait_for_timeout(1500)
    viewer.wait_ready()
    offset = np.abs(viewer.camera - home) % 360
    assert np.minimum(offset, 360 - offset).max() < 0.05
    page.keyboard.press("Enter")
    expect(page.get_by_label("What is here")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("u")
    assert viewer.state["under"] == "1"
    page.keyboard.press("u")
    assert "under" not in viewer.state
    page.get_by_role("button", name="Show or hide the layer panel").focus()
    order = []
    for _ in range(13):
        page.keyboard.press("Tab")
        order.append(page.evaluate(FOCUSED))
    assert order[:4] == ["Search objects", "Base map", "Share", "中文"]
    assert order.index("Show 城区倾斜摄影") < order.index("Fly to 城区倾斜摄影") < order.index("Show 山体机载点云")
    assert viewer.problems == []


def test_resize_keeps_everything_in_place(viewer: Viewer) -> None:
    page = viewer.page
    for width, height in ((1600, 1000), (900, 560), SIZE):
        page.set_viewport_size({"width": width, "height": height})
        viewer.wait_ready()
        first = page.locator("tim-app canvas").bounding_box()
        viewer.wait_ready()
        canvas, bar = page.locator("tim-app canvas").bounding_box(), page.locator("tim-status-bar").bounding_box()
        assert canvas == first, "the canvas does not creep from frame to frame"
        assert canvas is not None
        assert bar is not None
        assert canvas["x"] + canvas["width"] == width
        assert canvas["y"] + canvas["height"] <= bar["y"] + 0.5
        assert bar["y"] + bar["height"] == height
        assert page.evaluate("document.scrollingElement.scrollHeight") <= height


def test_below_ground_is_seen(viewer: Viewer) -> None:
    before = viewer.pixels()
    viewer.page.get_by_role("checkbox", name="See below ground").check()
    assert changed(before, viewer.pixels()) > 0.2
    viewer.page.get_by_role("checkbox", name="See below ground").uncheck()
    assert changed(before, viewer.pixels()) < 0.001
    assert viewer.problems == []


def test_no_accessibility_violations(viewer: Viewer) -> None:
    if not AXE.is_file():
        cannot("axe-core is not installed (npm ci in viewer/)")
    page = viewer.page
    found = axe(viewer)
    page.get_by_role("button", name=re.compile("^Details of")).first.click()
    page.get_by_role("radio", name="Class").check()
    viewer.click_map(0.5, 0.6)
    expect(page.get_by_label("What is here")).to_be_visible()
    found += axe(viewer)
    page.get_by_role("button", name="Dark appearance").click()
    page.get_by_role("button", name="中文").click()
    found += axe(viewer)
    page.get_by_role("button", name="键盘与鼠标操作").click()
    found += axe(viewer)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="访问密钥").click()
    found += axe(viewer)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="浅色外观").click()
    page.get_by_role("button", name="EN", exact=True).click()
    page.get_by_role("radio", name="Colour").check()
    page.get_by_role("button", name="Close").click()
    assert found == []


def test_a_link_brings_the_same_view_elsewhere(browser: Browser, stub: Stub) -> None:
    with open_viewer(
        browser, stub.url, locale="zh-CN", size=SIZE, permissions=["clipboard-read", "clipboard-write"]
    ) as one:
        one.wait_ready()
        page = one.page
        assert page.evaluate("document.documentElement.lang") == "zh-CN", "the browser's language is the first one"
        assert page.title() == "滨海新城国土空间信息模型"
        page.get_by_role("radio", name="高程").check()
        page.get_by_role("checkbox", name=re.compile("显示“城区")).uncheck()
        page.get_by_label("底图").select_option("natural-earth")
        page.get_by_role("slider", name="点大小").fill("5")
        page.locator("tim-app canvas").focus()
        for key in ("e", "+", "ArrowUp"):
            page.keyboard.press(key)
            one.wait_ready()
        page.wait_for_timeout(600)
        mine = one.pixels()
        page.get_by_role("button", name="分享").click()
        expect(page.get_by_text("链接已复制。")).to_be_visible()
        link = page.evaluate("navigator.clipboard.readText()")
        state = one.state
        assert (state["colour"], state["on"], state["base"], state["size"], state["lang"]) == (
            "height",
            "cloud",
            "natural-earth",
            "5",
            "zh",
        )
        with open_viewer(browser, link, locale="en-GB", size=SIZE) as other:
            other.wait_ready()
            assert other.state == state
            assert changed(mine, other.pixels()) < 0.02
            assert other.problems == []
        page.go_back()
        one.wait_ready()
        assert "base" not in one.state
        page.go_back()
        assert "on" not in one.state
        expect(page.get_by_role("checkbox", name=re.compile("显示“城区"))).to_be_checked()
        page.go_forward()
        expect(page.get_by_role("checkbox", name=re.compile("显示“城区"))).not_to_be_checked()
        page.get_by_role("button", name="EN", exact=True).click()
        assert page.title() == "Coastal town territory model"
        expect(page.get_by_role("button", name="Share")).to_be_visible()
        assert one.problems == []


def test_keys_and_prefix(browser: Browser, static: Path, tiles: Path) -> None:
    """Behind a gateway's path prefix: a key from the page's URL or from the dialog reaches API, tiles and base map."""
    base = {"id": "dom", "title": {"zh": "影像", "en": "Imagery"}, "url": "basemap/dom/{z}/{x}/{y}", "minZoom": 0,
            "maxZoom": 18, "attribution": "© Survey", "scheme": "xyz"}  # fmt: skip
    secret = collection("cloud", "保密点云", "points", private=True)
    with serve(
        static, tiles, prefix="/gate/tim/", collections=[collection("town", "Town", "meshes"), secret], base_maps=[base]
    ) as stub:
        with open_viewer(browser, f"{stub.url}?token={KEY}&base=dom", size=SIZE) as viewer:
            viewer.wait_ready()
            asked = [r for r in stub.requests if r.startswith(("api/", "tiles/", "basemap/"))]
            assert {r.split("?")[0] for r in asked} >= {
                "api/collections",
                "tiles/town/tile.glb",
                "tiles/cloud/tile.glb",
                "basemap/dom/0/0/0",
            }
            assert [r for r in asked if f"token={KEY}" not in r] == []
            assert viewer.state["token"] == KEY
            expect(viewer.page.get_by_text("© Survey")).to_be_visible()
            assert viewer.problems == []
        stub.requests.clear()
        with open_viewer(browser, f"{stub.url}?lang=en", size=SIZE) as viewer:
            viewer.wait_ready()
            page = viewer.page
            assert not [r for r in stub.requests if r.startswith("tiles/cloud")]
            page.get_by_label("Show 保密点云", exact=True).click()
            page.get_by_label("Key", exact=True).fill("wrong")
            page.get_by_role("button", name="Use key").click()
            expect(page.get_by_text("This key opens nothing")).to_be_visible()
            page.get_by_label("Show 保密点云", exact=True).click()
            page.get_by_label("Key", exact=True).fill(KEY)
            page.get_by_role("button", name="Use key").click()
            expect(page.get_by_label("Show 保密点云", exact=True)).to_be_checked()
            viewer.wait_ready()
            assert f"tiles/cloud/tile.glb?token={KEY}" in stub.requests
            assert KEY not in page.url, "a key from the dialog stays out of the address bar"
            assert [e for e in viewer.errors if "401" not in e] == []


def test_failures_are_told_in_words(browser: Browser, static: Path, tiles: Path) -> None:
    with serve(static, tiles, broken={"tiles/cloud/tileset.json", "tiles/town/tile.glb"}) as stub:
        with open_viewer(browser, f"{stub.url}?lang=en", size=SIZE) as viewer:
            viewer.wait_ready()
            page = viewer.page
            expect(page.get_by_text("“山体机载点云” could not be opened: HTTP 500")).to_be_visible()
            expect(page.get_by_text(re.compile("1 tiles? of “城区倾斜摄影” could not be loaded"))).to_be_visible()
            stub.broken.clear()
            before = viewer.pixels()
            page.get_by_role("button", name="Try again").click()
            expect(page.get_by_text("could not be opened")).to_have_count(0)
            assert changed(before, viewer.pixels()) > 0.03
        stub.broken.add("api/collections")
        with open_viewer(browser, f"{stub.url}?lang=zh", size=SIZE) as viewer:
            expect(viewer.page.get_by_text("服务器拒绝了请求：出了故障。")).to_be_visible()
            stub.broken.clear()
            viewer.page.get_by_role("button", name="重试").click()
            expect(viewer.page.get_by_label("显示“山体机载点云”")).to_be_visible()
            viewer.wait_ready()
            assert "at" in viewer.state


def test_many_collections_can_be_searched(browser: Browser, static: Path, tiles: Path) -> None:
    many: list[dict[str, Any]] = [collection("town", "Town", "meshes")]
    many += [collection("town", f"Block {n:03d} 街区", "meshes") | {"id": f"block-{n:03d}"} for n in range(200)]
    with (
        serve(static, tiles, collections=many) as stub,
        open_viewer(browser, f"{stub.url}?lang=en", size=SIZE) as viewer,
    ):
        viewer.wait_ready()
        page = viewer.page
        assert page.locator("tim-layer-panel li").count() == 201
        assert len([r for r in stub.requests if r.endswith("tileset.json")]) == 1, "a first visit opens one of many"
        page.locator("tim-app canvas").focus()
        page.keyboard.press("/")
        page.keyboard.type("街区 17")
        expect(page.locator("tim-layer-panel li")).to_have_count(12)
        page.keyboard.type("zzz")
        expect(page.get_by_text("No layer matches.")).to_be_visible()
        assert viewer.problems == []
