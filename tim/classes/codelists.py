"""Code lists: which values a code may have, and what each means.

A value alone means nothing: ``05`` is 湿地 (wetland) in one list of land uses and 商服用地 (commerce) in another. So every entry carries its
scheme and edition and differs from the entry of any other list, and nothing here looks a value up without naming both.

The file of a list is TOML::

    scheme = "cn.land-use"
    edition = "GB/T 21010-2017"
    en = "Current land use classification"
    zh = "土地利用现状分类"
    nested = true        # a value that begins with another is below it
    complete = false     # there are values that this file does not have
    [entries]
    "05" = { zh = "商服用地", en = "Commercial and service land" }   # certain = false: no source confirms it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tim.errors import StoreError, UsageError


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of a list."""

    scheme: str
    edition: str
    value: str
    zh: str
    en: str = ""
    """Empty where there is no settled English name."""
    certain: bool = True
    """False where no source at hand confirms it."""
    parent: str | None = None
    """The value above, in the same list."""


@dataclass(frozen=True, slots=True)
class CodeList:
    """The values of one edition of one scheme."""

    scheme: str
    edition: str
    en: str
    zh: str
    entries: Mapping[str, Entry]
    """By value."""
    complete: bool = True
    """False where the edition has values that are not here."""

    @property
    def key(self) -> str:
        """``scheme@edition``: how an attribute names its list."""
        return f"{self.scheme}@{self.edition}"

    def __contains__(self, value: object) -> bool:
        return value in self.entries

    def entry(self, value: str) -> Entry:
        """What a value means here. Raises UsageError ``classes.not-in-list``."""
        found = self.entries.get(value)
        if found is None:
            raise UsageError("classes.not-in-list", value=value, scheme=self.scheme, edition=self.edition)
        return found

    def children(self, value: str | None = None) -> list[Entry]:
        """The entries directly below one, or those at the top."""
        if value is not None:
            self.entry(value)
        return [entry for entry in self.entries.values() if entry.parent == value]


_HEAD = {"scheme": str, "edition": str, "en": str, "zh": str, "nested": bool, "complete": bool, "entries": dict}
_ROW = {"zh": str, "en": str, "certain": bool}


def parse(table: Mapping[str, Any], file: str) -> CodeList:
    """A list from its file's content. Raises StoreError ``classes.bad-list`` naming the file and what of it is not right."""
    for name, kind in _HEAD.items():
        if not isinstance(table.get(name), kind) or table[name] in ("", {}):
            raise StoreError("classes.bad-list", file=file, name=name)
    if unknown := sorted(set(table) - set(_HEAD)):
        raise StoreError("classes.bad-list", file=file, name=unknown[0])
    scheme, edition = table["scheme"], table["edition"]
    if "@" in scheme:
        raise StoreError("classes.bad-list", file=file, name="scheme")
    entries = {}
    for value, row in sorted(table["entries"].items()):
        if (
            not isinstance(row, dict)
            or not row.get("zh")
            or any(not isinstance(content, _ROW.get(name, ())) for name, content in row.items())
        ):
            raise StoreError("classes.bad-list", file=file, name=f"entries.{value}")
        parent = _above(value, table["entries"]) if table["nested"] else None
        entries[value] = Entry(scheme, edition, value, row["zh"], row.get("en", ""), row.get("certain", True), parent)
    return CodeList(scheme, edition, table["en"], table["zh"], entries, table["complete"])


def _above(value: str, values: Mapping[str, Any]) -> str | None:
    return next((value[:end] for end in range(len(value) - 1, 0, -1) if value[:end] in values), None)
