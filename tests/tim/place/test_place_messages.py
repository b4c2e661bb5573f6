"""Every code raised or warned with in tim.place has its four texts, and every text is used."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import tim.place
from tim.errors import catalogue

SOURCES = "\n".join(p.read_text(encoding="utf-8") for p in Path(tim.place.__file__).parent.glob("*.py"))


def test_codes_and_texts_match():
    used = set(re.findall(r'"place\.([a-z0-9-]+)"', SOURCES))
    used |= {f"datum-{m}" for m in ("equivalent", "operation")} | {
        f"height-{m}" for m in ("ellipsoid", "constant", "grid")
    }
    assert used == set(catalogue("place"))


def test_languages_have_the_same_fields():
    def fields(text):
        return {name for _, name, _, _ in Formatter().parse(text) if name}

    for slug, entry in catalogue("place").items():
        assert set(entry) == {"en", "en_help", "zh", "zh_help"}, slug
        assert fields(entry["en"]) == fields(entry["zh"]), slug
        assert fields(entry["en_help"]) == fields(entry["zh_help"]), slug
