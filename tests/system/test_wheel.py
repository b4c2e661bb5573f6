"""The wheel carries the built viewer, installs in a clean environment and serves there without Node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

from tests.system.command import ROOT
from tests.system.serving import served


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ROOT / "server/static/index.html").is_file():
        if os.environ.get("CI") == "true":
            pytest.fail("the viewer is not built (make viewer), and CI must have it")
        pytest.skip("the viewer is not built (make viewer)")
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return next(out.glob("*.whl"))


def test_the_wheel_is_whole_and_small(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    assert "server/static/index.html" in names
    assert any(n.endswith("LICENSES.txt") for n in names)
    assert "tim/py.typed" in names
    assert any(n.startswith("tim/messages/") for n in names)
    assert not [n for n in names if n.startswith(("tests/", "viewer/", "benchmarks/")) or "node_modules" in n]
    assert wheel.stat().st_size < 12_000_000


@pytest.mark.slow
def test_it_serves_in_a_clean_environment_without_node(wheel: Path, tmp_path: Path):
    environment = tmp_path / "env"
    venv.create(environment, with_pip=True)
    binaries = environment / ("Scripts" if sys.platform == "win32" else "bin")
    install = [
        binaries / "python",
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "-c",
        ROOT / "constraints.txt",
        wheel,
    ]
    done = subprocess.run(list(map(str, install)), capture_output=True, text=True, check=False)
    if done.returncode and os.environ.get("CI") != "true":
        pytest.skip(f"no package index: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    clean = {"PATH": str(binaries), "TIM_LANG": "en", "HOME": str(tmp_path)}
    subprocess.run(
        [binaries / "tim", "init", tmp_path / "ws"], env=clean, cwd=tmp_path, check=True, capture_output=True
    )
    with served(tmp_path / "ws", command=[str(binaries / "tim")], env=clean) as url:
        with urllib.request.urlopen(url) as page:
            assert b"<tim-app" in page.read()
        with urllib.request.urlopen(url + "api/collections") as answer:
            assert json.load(answer)["collections"] == []
