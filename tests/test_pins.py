"""The pins: whole, free of addresses, and to be had as wheels for every platform that is promised."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NoReturn

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CORE = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and line[0] != "#"
]
PLATFORMS = ["x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "x86_64-pc-windows-msvc"]
UNREACHABLE = re.compile(r"connect|dns|network|timed? ?out|offline|unreachable|error sending request", re.IGNORECASE)


def test_no_addresses():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "@" not in text
    assert "--" not in text


def test_every_direct_dependency_is_pinned_within_its_bounds():
    optional = [text for extra in PROJECT["project"]["optional-dependencies"].values() for text in extra]
    asked = [*CORE, *map(Requirement, optional), *map(Requirement, PROJECT["dependency-groups"]["dev"])]
    environment = {**default_environment(), "sys_platform": "linux"}
    for requirement in asked:
        pins = [p for p in PINS if canonicalize_name(p.name) == canonicalize_name(requirement.name)]
        assert pins, f"{requirement.name} is not pinned"
        for pin in pins:
            (version,) = (s.version for s in pin.specifier)
            assert str(pin.specifier) == f"=={version}"
            assert requirement.specifier.contains(version), f"{pin} is outside {requirement}"
        assert sum(pin.marker is None or pin.marker.evaluate(environment) for pin in pins) == 1


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.13"])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_core_has_wheels(platform: str, python: str, tmp_path: Path):
    """With nothing built from source, the core resolves to exactly the pins."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        cannot("uv is not there to resolve for other platforms")
    core = tmp_path / "core.in"
    core.write_text("".join(f"{requirement}\n" for requirement in CORE), encoding="utf-8")
    said = subprocess.run(
        [uv, "pip", "compile", str(core), "--constraint", str(ROOT / "constraints.txt"), "--python-platform", platform, "--python-version", python,
         "--only-binary", ":all:", "--no-header", "--no-annotate", "--quiet"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    if said.returncode and UNREACHABLE.search(said.stderr):
        cannot(f"no package registry is reachable: {said.stderr.strip().splitlines()[-1]}")
    assert said.returncode == 0, said.stderr
    resolved = {Requirement(line) for line in said.stdout.splitlines() if line}
    pinned = {(canonicalize_name(p.name), str(p.specifier)) for p in PINS}
    assert {canonicalize_name(r.name) for r in CORE if not (r.name == "uvloop" and "windows" in platform)} <= {
        r.name for r in resolved
    }
    assert {(canonicalize_name(r.name), str(r.specifier)) for r in resolved} <= pinned


def cannot(reason: str) -> NoReturn:
    """Skip, except where everything must run."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
