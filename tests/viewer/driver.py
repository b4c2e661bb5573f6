"""Drives the viewer in headless Chromium, for tests and for screenshots.

Use::

    with chromium() as browser, open_viewer(browser, "http://127.0.0.1:8000/") as viewer:
        viewer.wait_ready()
        viewer.screenshot(Path("view.png"))
        assert viewer.problems == []
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = [
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--force-color-profile=srgb",
]
READY_MS = 90_000


def chromium_path() -> str | None:
    """The browser to drive: ``TIM_CHROMIUM``, else the first one on the path."""
    if named := os.environ.get("TIM_CHROMIUM"):
        return named
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium that draws in software and calls nobody. Raises RuntimeError where there is none."""
    path = chromium_path()
    if path is None:
        raise RuntimeError("no Chromium found: install one or name it in TIM_CHROMIUM")
    root = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS, *root])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Viewer:
    """One open page. ``errors``: from the console, or uncaught; ``external``: requests that left the origin."""

    page: Page
    errors: list[str] = field(default_factory=list)
    external: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """What must be empty after any session."""
        return self.errors + [f"left the origin: {url}" for url in self.external]

    @property
    def state(self) -> dict[str, str]:
        """The view as the address bar says it."""
        return {
            name: values[-1] for name, values in parse_qs(urlsplit(self.page.url).query, keep_blank_values=True).items()
        }

    @property
    def camera(self) -> np.ndarray:
        """Longitude, latitude, height, heading, pitch, as the address bar says it."""
        return np.array(self.state["at"].split(","), float)

    def wait_ready(self) -> None:
        """Until all visible tiles are loaded and drawn."""
        self.page.wait_for_function("Boolean(document.querySelector('tim-app')?.settled)", timeout=READY_MS)
        self.page.set_default_timeout(READY_MS)
        self.page.evaluate("document.querySelector('tim-app').settled()")

    def screenshot(self, path: Path) -> None:
        """The whole page as PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path)

    def pixels(self) -> np.ndarray:
        """The map as drawn, uint8 [height, width, 3]."""
        self.wait_ready()
        shot = self.page.locator("tim-app canvas").screenshot()
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))

    def click_map(self, across: float = 0.5, down: float = 0.5) -> None:
        """Click at a share of the map's width and height."""
        box = self.page.locator("tim-app canvas").bounding_box()
        assert box is not None
        self.page.mouse.click(box["x"] + box["width"] * across, box["y"] + box["height"] * down)


@contextmanager
def open_viewer(
    browser: Browser, url: str, *, locale: str = "en-GB", size: tuple[int, int] = (1280, 800), **context: Any
) -> Iterator[Viewer]:
    """Open the viewer at ``url`` in a fresh profile; requests to any other origin are recorded and refused."""
    with browser.new_context(locale=locale, viewport={"width": size[0], "height": size[1]}, **context) as profile:
        page = profile.new_page()
        viewer = Viewer(page)
        origin = "{0.scheme}://{0.netloc}/".format(urlsplit(url))
        page.route(
            lambda target: target.startswith("http") and not target.startswith(origin), lambda route: route.abort()
        )
        page.on("request", lambda request: _note_external(viewer, request.url, origin))
        page.on(
            "console",
            lambda message: viewer.errors.append(message.text) if message.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: viewer.errors.append(str(error)))
        page.goto(url)
        yield viewer


def _note_external(viewer: Viewer, url: str, origin: str) -> None:
    if not url.startswith((origin, "data:", "blob:")):
        viewer.external.append(url)
