"""What validation found, as records: codes of ``tim/messages/validate.toml``, and where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tim.errors import LANGUAGES, Language, render

Severity = Literal["error", "warning"]
WARNINGS = frozenset({
    "content-kind", "content-not-decoded", "duplicate-uri", "error-order", "extension-unknown", "leaves-folder", "legacy-content",
    "remote", "transform-scales", "unreferenced",
})  # fmt: skip
"""Codes that do not make a tileset invalid; all others are errors."""
KEPT = 100
"""Issues kept of each code; all are counted."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One finding."""

    code: str
    """Without the room: ``box-outside-parent``."""
    file: str
    """Path below the tileset's folder."""
    tile: str = ""
    """JSON pointer of the tile in its page, or ``level/x/y/z`` of an implicit one."""
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def severity(self) -> Severity:
        """``error`` or ``warning``, by the code."""
        return "warning" if self.code in WARNINGS else "error"

    def text(self, language: Language | None = None) -> str:
        """The finding for people."""
        return render(f"validate.{self.code}", {"file": self.file, "tile": self.tile, **self.fields}, language)

    def record(self) -> dict[str, Any]:
        """JSON-able."""
        texts = {language: self.text(language) for language in LANGUAGES}
        return {
            "code": f"validate.{self.code}", "severity": self.severity, "file": self.file, "tile": self.tile,
            "fields": dict(self.fields), "text": texts,
        }  # fmt: skip


@dataclass(slots=True)
class Report:
    """All findings on a tileset."""

    target: str
    errors: list[Issue] = field(default_factory=list)
    """At most ``KEPT`` of each code."""
    warnings: list[Issue] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)
    """Findings by code, all of them."""
    counts: dict[str, int] = field(default_factory=dict)
    """``pages``, ``subtrees``, ``tiles``, ``contents``, ``bytes``, ``points``, ``vertices``, ``triangles``."""
    extent: tuple[float, ...] | None = None
    """West, south, lowest, east, north, highest of all contents: degrees and ellipsoidal metres (EPSG:4979); ``None`` without contents.
    West is above east where the contents cross the antimeridian."""

    @property
    def ok(self) -> bool:
        """No errors."""
        return not self.errors

    def add(self, issues: Iterable[Issue]) -> None:
        """Take findings in."""
        for issue in issues:
            number = self.totals[issue.code] = self.totals.get(issue.code, 0) + 1
            if number <= KEPT:
                (self.errors if issue.severity == "error" else self.warnings).append(issue)

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to the counts."""
        for name, value in counts.items():
            self.counts[name] = self.counts.get(name, 0) + value

    def record(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "target": self.target, "ok": self.ok, "errors": [i.record() for i in self.errors],
            "warnings": [i.record() for i in self.warnings], "totals": dict(sorted(self.totals.items())),
            "counts": dict(sorted(self.counts.items())), "extent": None if self.extent is None else list(self.extent),
        }  # fmt: skip
