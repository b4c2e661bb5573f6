"""Every finding has its text, and every text its finding."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tim.errors import catalogue

ROOT = Path(__file__).resolve().parents[3]
SOURCES = {"validate": ["tiling/validate"], "archive": ["tiling/archive", "tiling/spec/tileset.py"]}


@pytest.mark.parametrize("room", SOURCES)
def test_texts_and_codes_agree(room):
    files = [f for s in SOURCES[room] for f in ([ROOT / s] if s.endswith(".py") else sorted((ROOT / s).glob("*.py")))]
    text = "\n".join(f.read_text("utf-8") for f in files)
    entries = catalogue(room)
    for slug in entries:
        assert re.search(rf'"(validate\.|archive\.)?{re.escape(slug)}"', text), slug
    for slug in re.findall(rf'"{room}\.([a-z0-9-]+)"', text):
        assert slug in entries
    for entry in entries.values():
        assert entry.keys() == {"en", "en_help", "zh", "zh_help"}
        fields = [set(re.findall(r"\{(\w+)\}", entry[k] + entry[f"{k}_help"])) for k in ("en", "zh")]
        assert fields[0] == fields[1]


def test_warnings_are_codes():
    from tiling.validate.report import WARNINGS

    with (ROOT / "tim/messages/validate.toml").open("rb") as file:
        assert tomllib.load(file).keys() >= WARNINGS
