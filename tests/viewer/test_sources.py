"""What can be said about the viewer without a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.viewer.conftest import VIEWER, cannot


def _catalogue(language: str) -> dict[str, str]:
    text = (VIEWER / "src" / "i18n" / f"{language}.ts").read_text(encoding="utf-8")
    return dict(re.findall(r'^  "([\w.-]+)": "(.*)",$', text, re.MULTILINE))


def test_both_languages_have_the_same_texts_with_the_same_fields() -> None:
    en, zh = _catalogue("en"), _catalogue("zh")
    assert len(en) > 80
    assert list(en) == list(zh)
    fields = re.compile(r"\{\w+\}")
    assert {key: set(fields.findall(en[key])) for key in en} == {key: set(fields.findall(zh[key])) for key in zh}
    same = {key for key in en if en[key] == zh[key]}
    assert same == set(), "texts that were not translated"
    assert all(re.search(r"[\u4e00-\u9fff]", text) for key, text in zh.items() if key != "top.language")


def test_every_text_is_used() -> None:
    sources = "\n".join(
        path.read_text(encoding="utf-8") for path in (VIEWER / "src").rglob("*.ts") if path.parent.name != "i18n"
    )
    composed = ("kind.", "display.", "base.", "stage.", "relation.", "measure.", "code.")
    unused = [key for key in _catalogue("en") if f'"{key}"' not in sources and not key.startswith(composed)]
    assert unused == []


def test_lock_file_names_no_host_and_exact_versions() -> None:
    lock = (VIEWER / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    manifest = json.loads((VIEWER / "package.json").read_text(encoding="utf-8"))
    versions = {**manifest["dependencies"], **manifest["devDependencies"]}
    assert [v for v in versions.values() if not re.fullmatch(r"\d+\.\d+\.\d+(-[\w.]+)?", v)] == []
    locked = json.loads(lock)["packages"]
    assert {name: locked[f"node_modules/{name}"]["version"] for name in versions} == versions


def test_sources_name_no_other_host() -> None:
    for path in [*(VIEWER / "src").rglob("*"), *(VIEWER / "public").rglob("*"), VIEWER / "index.html"]:
        if path.is_file():
            hosts = re.findall(r"https?://[\w.-]+", path.read_text(encoding="utf-8"))
            assert [host for host in hosts if host != "http://www.w3.org"] == [], path


def test_build_is_self_contained(static: Path) -> None:
    page = (static / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'(?:src|href)="(?!\./)[^"]*"', page) == [], "links must be relative to work under any prefix"
    assert "<script>" not in page, "inline scripts do not pass the content security policy"
    needed = [
        "approximateTerrainHeights.json",
        "Textures/NaturalEarthII/tilemapresource.xml",
        "IAU2006_XYS/IAU2006_XYS_0.json",
    ]
    needed = [f"Assets/{name}" for name in needed] + ["Workers/decodeDraco.js", "ThirdParty/draco_decoder.wasm"]
    assert [name for name in needed if not (static / "cesium" / name).is_file()] == []
    licences = (static / "LICENSES.txt").read_text(encoding="utf-8")
    for name in ("cesium 1.145.0", "lit 3.3.3", "lit-html", "@cesium/engine", "dompurify", "Apache License", "BSD"):
        assert name in licences, name


@pytest.mark.slow
def test_types_and_lint_are_clean() -> None:
    npm = shutil.which("npm")
    if npm is None or not (VIEWER / "node_modules").is_dir():
        cannot("the viewer's packages are not installed (npm ci in viewer/)")
        return
    done = subprocess.run([npm, "run", "--silent", "check"], cwd=VIEWER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
