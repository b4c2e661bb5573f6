"""The built viewer, one browser per worker, and the sample tilesets."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VIEWER = ROOT / "viewer"
STATIC = ROOT / "server" / "static"


def cannot(reason: str) -> None:
    """Skip, or fail where continuous integration must have everything."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def static() -> Path:
    """The built viewer; built here where it is absent or older than its sources."""
    import fcntl

    ROOT.joinpath("server").mkdir(exist_ok=True)
    with (VIEWER / ".build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _fresh():
            _build()
    return STATIC


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """Headless Chromium."""
    pytest.importorskip("playwright")
    from tests.viewer.driver import chromium, chromium_path

    if chromium_path() is None:
        cannot("no Chromium: install one, or name it in TIM_CHROMIUM")
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample tilesets."""
    from tests.viewer import objects, sample

    folder = tmp_path_factory.mktemp("tiles")
    sample.write(folder)
    objects.write(folder)
    return folder


def _fresh() -> bool:
    built = STATIC / "LICENSES.txt"
    sources = [VIEWER / name for name in ("index.html", "package-lock.json", "vite.config.ts", "tsconfig.json")]
    sources += [
        path for folder in ("src", "public", "scripts") for path in (VIEWER / folder).rglob("*") if path.is_file()
    ]
    return built.is_file() and max(path.stat().st_mtime for path in sources) <= built.stat().st_mtime


def _build() -> None:
    npm = shutil.which("npm")
    if npm is None:
        cannot("no npm: the viewer is built with Node 20 or newer")
        return
    commands = [["run", "build"]] if (VIEWER / "node_modules").is_dir() else [["ci"], ["run", "build"]]
    for command in commands:
        done = subprocess.run([npm, *command], cwd=VIEWER, capture_output=True, text=True, check=False)
        if done.returncode:
            cannot(f"npm {' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
