"""Objects in the viewer, in a real browser: asked, found, measured, read in a CRS, planned."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Browser, Locator, expect
from pyproj import Transformer

from tests.viewer import objects, sample
from tests.viewer.driver import Viewer, open_viewer
from tests.viewer.stub import Stub, collection, serve
from tests.viewer.test_viewer import SIZE, axe, changed

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SHOTS = os.environ.get("TIM_SHOTS")
"""A folder to keep the pictures in, for people to look at."""
HOME = "113.95,22.4972,330,0,-42"
"""Camera of a link that has the quarter in view."""
METRES = np.array([1 / (111_320 * np.cos(np.radians(sample.LATITUDE))), 1 / 110_743])
"""Degrees of longitude and latitude per metre, good to a centimetre over the quarter."""


@pytest.fixture(scope="module")
def stub(static: Path, tiles: Path) -> Iterator[Stub]:
    layers = [collection("quarter", "校园建筑", "objects"), collection("town", "旧城瓦片", "meshes")]
    with serve(static, tiles, collections=layers, can_edit=True) as running:
        yield running


@pytest.fixture(scope="module")
def viewer(browser: Browser, stub: Stub) -> Iterator[Viewer]:
    """One page shared by the tests, which leave it as they found it: the quarter shown, nothing selected."""
    with open_viewer(
        browser, f"{stub.url}?lang=en&on=quarter&at={HOME}", size=SIZE,
        permissions=["clipboard-read", "clipboard-write"],
    ) as opened:  # fmt: skip
        opened.wait_ready()
        yield opened


def pixel(viewer: Viewer, east: float, north: float, up: float) -> tuple[float, float]:
    """Where metres from the sample's place are on the page."""
    lon, lat = np.array([sample.LONGITUDE, sample.LATITUDE]) + METRES * [east, north]
    place = {"longitude": lon, "latitude": lat, "height": sample.HEIGHT + up}
    x, y = viewer.page.evaluate("place => document.querySelector('tim-app').stage.project(place)", place)
    box = viewer.page.locator("tim-app canvas").bounding_box()
    assert box is not None
    return box["x"] + x, box["y"] + y


def click(viewer: Viewer, east: float, north: float, up: float) -> None:
    viewer.wait_ready()
    viewer.page.mouse.click(*pixel(viewer, east, north, up))


def panel(viewer: Viewer) -> Locator:
    return viewer.page.get_by_label("What is here")


def close(viewer: Viewer) -> None:
    viewer.page.locator("tim-app canvas").focus()
    viewer.page.keyboard.press("Escape")
    expect(panel(viewer)).to_have_count(0)
    # Without the mark of the focus, pictures before and after compare.
    viewer.page.evaluate("document.querySelector('tim-app').stage.canvas.blur()")


def orange(viewer: Viewer) -> float:
    """The share of the map in the colour of what is selected."""
    image = viewer.pixels().astype(int)
    return float(((image[..., 0] > image[..., 2] + 90) & (image[..., 1] > image[..., 2] + 30)).mean())


def shot(viewer: Viewer, name: str) -> None:
    if SHOTS:
        viewer.wait_ready()
        viewer.screenshot(Path(SHOTS) / f"{name}.png")


def test_a_click_answers_with_the_object(viewer: Viewer) -> None:
    page, found = viewer.page, panel(viewer)
    before = viewer.pixels()
    assert orange(viewer) == 0
    click(viewer, -60, -40, 27)
    expect(found.get_by_role("heading", level=2)).to_have_text("教学楼")
    for text in (
        "Building",
        "building.house",
        "校园建筑",
        "440305001001GB00000F",
        "GB/T 37346-2019",
        "滨海大学",
        "校园普查 2021",
    ):
        expect(found).to_contain_text(text)
    assert viewer.state["sel"] == objects.object_id("教学楼")
    assert orange(viewer) > 0.005
    shot(viewer, "object")

    found.get_by_label("Search attributes").fill("phones")
    expect(found.locator("tim-attributes .leaf")).to_have_count(1)
    found.get_by_role("button", name="Copy attributes as JSON").click()
    assert json.loads(page.evaluate("navigator.clipboard.readText()"))["owner"]["contact"]["phones"] == [
        "0755-100",
        "0755-200",
    ]
    found.get_by_label("Search attributes").fill("")
    found.locator("summary", has_text="owner").focus()
    page.keyboard.press("Enter")
    expect(found.get_by_text("滨海大学")).to_be_hidden()
    assert axe(viewer) == []
    page.get_by_role("button", name="Dismiss").click()

    found.get_by_role("button", name=re.compile("part of")).click()
    expect(found.get_by_role("heading", level=2)).to_have_text("440305001001")
    expect(found.get_by_role("button", name=re.compile("has part"))).to_have_count(len(objects.HOUSES))
    page.go_back()
    expect(found.get_by_role("heading", level=2)).to_have_text("教学楼")
    close(viewer)
    assert "sel" not in viewer.state
    page.evaluate(f"document.querySelector('tim-app').stage.place([{HOME}])")
    assert changed(before, viewer.pixels()) == 0, "the colours are as they were"
    assert viewer.problems == []


def test_a_class_can_be_hidden(viewer: Viewer) -> None:
    page, before = viewer.page, viewer.pixels()
    legend = page.get_by_role("group", name="Object classes")
    for name, count in (("Building", 4), ("Parcel", 1), ("Tree", 9)):
        expect(legend.locator("label", has_text=name)).to_contain_text(str(count))
    legend.get_by_label("Building").uncheck()
    assert viewer.state["without"] == "building.house"
    assert changed(before, viewer.pixels()) > 0.02
    shot(viewer, "classes")
    click(viewer, -60, -40, 27)
    expect(panel(viewer).get_by_role("heading", level=2)).to_have_text("Globe surface")
    click(viewer, *objects.TREES[4], 8.0)
    expect(panel(viewer).get_by_role("heading", level=2)).to_have_text("Tree")
    assert axe(viewer) == []
    close(viewer)

    page.go_back()  # the selections
    page.goto(page.url)
    viewer.wait_ready()
    expect(legend.get_by_label("Building")).not_to_be_checked()
    search = page.get_by_role("combobox", name="Search objects")
    search.fill("教学楼")
    page.get_by_role("option", name=re.compile("教学楼")).click()
    expect(legend.get_by_label("Building")).to_be_checked()
    assert "without" not in viewer.state, "what is gone to is shown"
    close(viewer)
    legend.get_by_label("Tree").uncheck()
    viewer.wait_ready()
    page.get_by_role("button", name="Show all").click()
    search.fill("")
    page.evaluate(f"document.querySelector('tim-app').stage.place([{HOME}])")
    page.mouse.move(2, 2)
    assert changed(before, viewer.pixels()) == 0
    assert viewer.problems == []


def test_instances_are_objects_too(viewer: Viewer) -> None:
    click(viewer, *objects.TREES[4], 8.0)
    expect(panel(viewer).get_by_role("heading", level=2)).to_have_text("Tree")
    expect(panel(viewer)).to_contain_text("榕树")
    assert viewer.state["sel"] == objects.object_id("tree 4")
    assert 0.0001 < orange(viewer) < 0.003, "one tree of nine is tinted"
    close(viewer)
    assert viewer.problems == []


def test_the_highlight_outlives_its_tile(browser: Browser, stub: Stub) -> None:
    """A link selects an object; from afar the coarse tile has it tinted, from near the fine tile that replaces it."""
    link = f"{stub.url}?lang=en&on=quarter&sel={objects.object_id('教学楼')}"
    stub.requests.clear()
    with open_viewer(browser, f"{link}&at=113.95,22.4845,1700,0,-42", size=SIZE) as viewer:
        viewer.wait_ready()
        expect(panel(viewer).get_by_role("heading", level=2)).to_have_text("教学楼")
        assert orange(viewer) > 0.0003
        assert "tiles/quarter/fine.glb" not in stub.requests
        viewer.page.evaluate(f"document.querySelector('tim-app').stage.place([{HOME}])")
        assert orange(viewer) > 0.01
        assert "tiles/quarter/fine.glb" in stub.requests
        assert viewer.problems == []
    with open_viewer(browser, link, size=SIZE) as viewer:
        viewer.wait_ready()
        expect(panel(viewer)).to_contain_text("教学楼")
        viewer.wait_ready()
        assert viewer.camera[2] < 400, "without a camera in the link, the view goes to the object"
        assert viewer.problems == []


def test_a_newer_snapshot_takes_the_place_of_the_older(viewer: Viewer, stub: Stub) -> None:
    before = viewer.pixels()
    click(viewer, -60, -40, 27)
    expect(panel(viewer)).to_contain_text("教学楼")
    tinted = orange(viewer)
    stub.requests.clear()
    stub.collections[0]["tim"]["snapshot"] |= {"seq": 2, "hash": "77aa" * 16}
    viewer.page.evaluate("document.querySelector('tim-app').session.load()")
    assert orange(viewer) == pytest.approx(tinted), "what is selected is tinted in the new tiles as well"
    assert "tiles/quarter/tileset.json" in stub.requests
    close(viewer)
    assert changed(before, viewer.pixels()) == 0
    assert viewer.problems == []


def test_foreign_tiles_show_what_they_carry(viewer: Viewer) -> None:
    page = viewer.page
    page.get_by_role("checkbox", name="Show 旧城瓦片").check()
    page.get_by_role("checkbox", name="Show 校园建筑").uncheck()
    click(viewer, 110, 0, 24)
    expect(panel(viewer).get_by_role("heading", level=2)).to_have_text("旧城瓦片")
    expect(panel(viewer)).to_contain_text(re.compile("name\\s*丁楼\\s*floors\\s*8"))
    assert "sel" not in viewer.state
    tinted = viewer.pixels()
    close(viewer)
    assert changed(tinted, viewer.pixels()) > 0.005
    page.get_by_role("checkbox", name="Show 校园建筑").check()
    page.get_by_role("checkbox", name="Show 旧城瓦片").uncheck()
    assert viewer.problems == []


def test_unknown_objects_and_failures_are_told(viewer: Viewer, stub: Stub) -> None:
    gone = objects.object_id("食堂")
    kept = stub.objects.pop(gone)
    click(viewer, -50, 60, 15)
    expect(panel(viewer)).to_contain_text("The server has no object with this id")
    close(viewer)
    stub.objects[gone] = kept
    stub.broken.add(f"api/objects/{gone}")
    click(viewer, -50, 60, 15)
    expect(panel(viewer)).to_contain_text("It broke.")
    stub.broken.clear()
    panel(viewer).get_by_role("button", name="Try again").click()
    expect(panel(viewer).get_by_role("heading", level=2)).to_have_text("食堂")
    close(viewer)
    told = [error for error in viewer.errors if "404" in error or "500" in error]
    assert len(told) == 2, "the browser itself reports what failed"
    for error in told:
        viewer.errors.remove(error)
    assert viewer.problems == []


def test_search_by_name_and_code(viewer: Viewer, stub: Stub) -> None:
    page = viewer.page
    page.locator("tim-app canvas").focus()
    page.keyboard.press("s")
    asked = len([r for r in stub.requests if r.startswith("api/search")])
    page.keyboard.type("gb0000", delay=20)
    options = page.locator("tim-search").get_by_role("option")
    expect(options).to_have_count(len(objects.HOUSES))
    assert len([r for r in stub.requests if r.startswith("api/search")]) == asked + 1, "typing asks once"
    expect(options.nth(1)).to_contain_text("440305001001GB00001F")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    assert axe(viewer) == []
    shot(viewer, "search")
    before = viewer.camera
    page.keyboard.press("Enter")
    expect(options).to_have_count(0)
    expect(panel(viewer).get_by_role("heading", level=2)).to_have_text("图书馆")
    page.wait_for_timeout(1500)
    viewer.wait_ready()
    assert viewer.state["sel"] == objects.object_id("图书馆")
    assert np.abs(viewer.camera - before)[:2].max() > 1e-5
    box = page.get_by_role("combobox", name="Search objects")
    box.fill("no such thing")
    expect(page.get_by_text("No object has this name or code.")).to_be_visible()
    box.fill("")
    close(viewer)
    page.evaluate(f"document.querySelector('tim-app').stage.place([{HOME}])")
    assert viewer.problems == []


def measured(viewer: Viewer, term: str) -> float:
    result = viewer.page.locator("tim-measure dl")
    expect(result).to_be_visible()
    text = result.inner_text()
    found = re.search(rf"{term}\s*(-?[\d,.]+) (m|km)", text)
    assert found, text
    return float(found[1].replace(",", "")) * (1000 if found[2] == "km" else 1)


def test_measuring_agrees_with_what_was_built(viewer: Viewer) -> None:
    """Roofs of the quarter are at known places; a pixel is about 0.4 m here."""
    page = viewer.page
    page.locator("tim-app canvas").focus()
    page.keyboard.press("m")
    click(viewer, -60, -40, 27)
    click(viewer, 40, -60, 43)
    east, north, up = 100, -20, 16
    flat = float(np.hypot(east, north))
    assert measured(viewer, "Straight line") == pytest.approx(np.hypot(flat, up), abs=1)
    assert measured(viewer, "Horizontal") == pytest.approx(flat, abs=1)
    assert measured(viewer, "Height difference") == pytest.approx(up, abs=0.5)
    click(viewer, 60, 50, 21)
    assert measured(viewer, "Last leg") == pytest.approx(np.linalg.norm([20, 110, -22]), abs=1.5)
    page.mouse.move(*pixel(viewer, 0, 0, 0))
    shot(viewer, "measure-distance")
    page.keyboard.press("Backspace")
    assert measured(viewer, "Straight line") == pytest.approx(np.hypot(flat, up), abs=1)
    assert axe(viewer) == []

    page.get_by_role("radio", name="Height").check()
    click(viewer, 40, -60, 43)
    click(viewer, 40, -110, 0)
    assert measured(viewer, "Height difference") == pytest.approx(-43, abs=14), (
        "the ground is the ellipsoid, 12 m below"
    )
    shot(viewer, "measure-height")

    page.get_by_role("radio", name="Area").check()
    corners = [(40 + x * 20, -60 + y * 20) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    for x, y in corners:
        click(viewer, x, y, 43)
    text = page.locator("tim-measure dl").inner_text()
    square_metres = float(re.search(r"Map area\s*([\d,.]+) m²", text)[1].replace(",", ""))  # type: ignore[index]
    assert square_metres == pytest.approx(1600, rel=0.04)
    assert float(re.search(r"ha · ([\d.]+) mu", text)[1]) == pytest.approx(square_metres / 666.667, rel=0.01)  # type: ignore[index]
    assert float(re.search(r"Slope of the plane\s*([\d.]+)°", text)[1]) < 2  # type: ignore[index]
    shot(viewer, "measure-area")
    assert (page.locator("tim-drawing text").text_content() or "").endswith("m²")
    page.locator("tim-app canvas").focus()
    page.keyboard.press("Escape")
    expect(page.locator("tim-measure")).to_have_count(0)
    expect(page.locator("tim-drawing svg")).to_have_count(0)
    click(viewer, -60, -40, 27)
    expect(panel(viewer)).to_be_visible()
    close(viewer)
    assert viewer.problems == []


def test_coordinates_in_a_chosen_crs(viewer: Viewer, stub: Stub) -> None:
    page = viewer.page
    page.get_by_role("button", name="WGS 84 / CGCS2000").click()
    page.get_by_label("Search by code or name").fill("4526")
    page.get_by_role("radio", name=re.compile("EPSG:4526")).check()
    page.get_by_label("Heights").select_option("offset")
    page.get_by_label("Offset (m)").fill("-3.5")
    assert axe(viewer) == []
    shot(viewer, "crs-dialog")
    page.get_by_role("button", name="Use", exact=True).click()
    assert (viewer.state["crs"], viewer.state["vertical"]) == ("EPSG:4526", "-3.5m")

    asked = len([r for r in stub.requests if r.startswith("api/coordinates")])
    x, y = pixel(viewer, -60, -40, 27)
    started = page.evaluate("performance.now()")
    for step in range(15):
        page.mouse.move(x - 30 + 2 * step, y)
        page.wait_for_timeout(40)
    page.mouse.move(x, y)
    page.wait_for_timeout(900)
    seconds = (page.evaluate("performance.now()") - started) / 1000
    assert len([r for r in stub.requests if r.startswith("api/coordinates")]) - asked <= 5 * seconds + 1
    text = page.get_by_role("group", name="Cursor position").inner_text()
    shown = [float(value.replace(",", "")) for value in re.findall(r"\b[ENh]\s+(-?[\d,.]+\.\d{3})", text)]
    lon, lat = np.array([sample.LONGITUDE, sample.LATITUDE]) + METRES * [-60, -40]
    east, north = Transformer.from_crs(4326, 4526, always_xy=True).transform(lon, lat)
    assert shown == pytest.approx([east, north, sample.HEIGHT + 27 - 3.5], abs=1)
    shot(viewer, "crs-readout")
    stub.broken.add("api/coordinates")
    page.mouse.move(x + 9, y)
    expect(page.get_by_role("group", name="Cursor position")).to_contain_text("The server refused: It broke.")
    stub.broken.clear()
    viewer.errors[:] = [error for error in viewer.errors if "500" not in error]
    page.get_by_role("button", name="CGCS2000 / 3-degree").click()
    page.get_by_role("radio", name=re.compile("Longitude and latitude only")).check()
    page.get_by_role("button", name="Use", exact=True).click()
    assert "crs" not in viewer.state
    assert viewer.problems == []


def test_an_ifc_is_foreseen_as_the_box_it_fills(viewer: Viewer, stub: Stub, tmp_path: Path) -> None:
    page, sent = viewer.page, len(stub.sent)
    ifc = tmp_path / "tower.ifc"
    ifc.write_text("ISO-10303-21;", encoding="utf-8")
    page.get_by_role("button", name="Place a model").click()
    form = page.get_by_label("Place a scheme model")
    form.get_by_label("Model (GLB or IFC)").set_input_files(ifc)
    click(viewer, 40, -60, 43)
    expect(form).to_contain_text("12 objects · 40.0 × 20.0 × 15.0 m")
    expect(form).to_contain_text("Two walls have no shape. × 2")
    edges = page.locator("tim-drawing polyline")
    expect(edges).to_have_count(6)

    def corners(index: int) -> np.ndarray:
        return np.array([pair.split(",") for pair in (edges.nth(index).get_attribute("points") or "").split()], float)

    canvas = page.locator("tim-app canvas").bounding_box()
    assert canvas is not None

    def seen(places: list[tuple[float, float, float]]) -> np.ndarray:
        return np.array([pixel(viewer, *place) for place in places]) - [canvas["x"], canvas["y"]]

    top = [(40, -60, 58), (80, -60, 58), (80, -40, 58), (40, -40, 58), (40, -60, 58)]
    assert abs(corners(1) - seen(top)).max() < 4
    form.get_by_role("slider", name="Heading").fill("90")
    turned = [(40, -60, 58), (40, -100, 58), (60, -100, 58), (60, -60, 58), (40, -60, 58)]
    viewer.wait_ready()
    assert abs(corners(1) - seen(turned)).max() < 4, "clockwise, around the place"
    shot(viewer, "scheme-ifc")
    assert len(stub.sent) == sent + 1, "asked once, turned here"
    assert "dryRun=true" in stub.sent[-1][0]
    form.get_by_role("button", name="Cancel").click()
    stub.sent[:] = stub.sent[:sent]
    assert viewer.problems == []


def test_a_model_is_placed_switched_and_removed(viewer: Viewer, stub: Stub, tiles: Path) -> None:
    page = viewer.page
    before = viewer.pixels()
    page.get_by_role("button", name="Place a model").click()
    form = page.get_by_label("Place a scheme model")
    form.get_by_label("Model (GLB or IFC)").set_input_files(tiles / "model.glb")
    form.get_by_label("Scheme").fill("方案A")
    expect(form.get_by_label("Name")).to_have_value("model")
    form.get_by_label("Name").fill("新塔楼")
    click(viewer, 40, -60, 43)
    expect(form.locator("p[role=status]")).to_contain_text(re.compile(r"5[45]\.\d\d m"))
    page.wait_for_timeout(600)
    preview = viewer.pixels()
    assert changed(before, preview) > 0.01, "the model stands where it was put"
    form.get_by_role("slider", name="Heading").fill("90")
    form.get_by_role("slider", name="Scale").fill("0.1")
    assert changed(preview, viewer.pixels()) > 0.002
    assert axe(viewer) == []
    shot(viewer, "scheme-preview")
    form.get_by_role("button", name="Save in the scheme").click()
    expect(form).to_have_count(0)
    expect(panel(viewer).get_by_role("heading", level=2)).to_have_text("新塔楼")
    (target, kind, body) = stub.sent[-1]
    assert target.startswith("api/scenarios/%E6%96%B9%E6%A1%88A/models?")
    assert kind == "model/gltf-binary"
    assert body == (tiles / "model.glb").read_bytes()
    asked: dict[str, Any] = dict(part.split("=") for part in target.split("?")[1].split("&"))
    assert (asked["heading"], float(asked["scale"])) == ("90", pytest.approx(1.259, abs=0.001))
    assert float(asked["h"]) == pytest.approx(sample.HEIGHT + 43, abs=0.5)

    scheme = page.get_by_role("checkbox", name="Show scheme 方案A")
    expect(scheme).to_be_checked()
    expect(page.get_by_text("planned", exact=True).first).to_be_visible()
    close(viewer)
    standing = viewer.pixels()
    shot(viewer, "scheme")
    scheme.uncheck()
    assert "scheme" not in viewer.state["on"]
    assert changed(standing, viewer.pixels()) > 0.004
    page.get_by_role("combobox", name="Search objects").fill("新塔")
    page.locator("tim-search").get_by_role("option").click()
    expect(scheme).to_be_checked()
    panel(viewer).get_by_role("button", name="Remove from the scheme").click()
    panel(viewer).get_by_role("button", name="Remove now").click()
    expect(scheme).to_have_count(0)
    expect(panel(viewer)).to_have_count(0)
    page.get_by_role("button", name="Dismiss").click()
    page.get_by_role("combobox", name="Search objects").fill("")
    page.evaluate(f"document.querySelector('tim-app').stage.place([{HOME}])")
    page.evaluate("document.querySelector('tim-app').stage.canvas.blur()")
    assert changed(before, viewer.pixels()) == 0
    assert viewer.problems == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_on_a_phone_nothing_is_out_of_reach(browser: Browser, stub: Stub, language: str) -> None:
    url = f"{stub.url}?lang={language}&on=quarter&at={HOME}"
    with open_viewer(browser, url, size=(390, 844), has_touch=True, is_mobile=True) as phone:
        phone.wait_ready()
        page = phone.page
        page.locator("tim-search input").fill("楼")
        page.locator("tim-search [role=option]").first.wait_for()
        controls = page.locator(
            "tim-top-bar :is(button, input, select), tim-status-bar button, tim-tools button, tim-search [role=option]"
        )
        assert controls.count() >= 10
        for index in range(controls.count()):
            box = controls.nth(index).bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 390
            assert box["y"] + box["height"] <= 844
        page.locator("tim-search [role=option]").first.click()
        page.locator("tim-object").wait_for()
        sheet, canvas = page.locator("tim-info-panel").bounding_box(), page.locator("tim-app canvas").bounding_box()
        assert sheet is not None
        assert canvas is not None
        assert sheet["y"] > canvas["y"] + 0.5 * canvas["height"], "most of the map stays in sight"
        shot(phone, f"phone-{language}")
        assert axe(phone) == []
        assert phone.problems == []
