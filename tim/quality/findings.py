"""What checks find: gathered by kind, counted in full, with a few examples each, in a fixed order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tim.errors import TimError, is_warning

CHECKS = (
    "classes", "attributes", "codes", "duplicates", "geometry", "extent", "heights", "relations", "validity", "stages",
)  # fmt: skip
"""All there are, in the order they are told in."""
EXAMPLES = 100
"""Objects that are named for each kind of finding; the others are counted."""
Problem = tuple[str, Mapping[str, Any]]
"""A message code and its fields."""


@dataclass(frozen=True, slots=True)
class Example:
    """One object of which something was found."""

    where: str
    """Layer and source key, or the ``tim_id`` of what was made here."""
    tim_id: UUID | None
    """``None`` where the object is not in the store yet."""
    fields: Mapping[str, Any]
    """Of the message."""


@dataclass(slots=True)
class Finding:
    """What was found of one kind."""

    check: str
    """One of :data:`CHECKS`."""
    code: str
    """Message code."""
    count: int = 0
    examples: list[Example] = field(default_factory=list)
    """The first :data:`EXAMPLES`."""

    @property
    def severity(self) -> str:
        """``error``, or ``warning`` for what only asks for attention."""
        return "warning" if is_warning(self.code) else "error"

    def record(self) -> dict[str, Any]:
        """JSON-able record."""
        examples = [
            {"where": e.where, "id": None if e.tim_id is None else str(e.tim_id), **TimError(self.code, **e.fields).record()}
            for e in self.examples
        ]  # fmt: skip
        return {"check": self.check, "code": self.code, "severity": self.severity, "count": self.count, "examples": examples}  # fmt: skip


@dataclass(slots=True)
class Findings:
    """A gathering of findings."""

    by_kind: dict[tuple[str, str], Finding] = field(default_factory=dict)

    def add(self, check: str, problem: Problem, where: str, tim_id: UUID | None = None) -> None:
        """Note one."""
        code, fields = problem
        found = self.by_kind.setdefault((check, code), Finding(check, code))
        found.count += 1
        if len(found.examples) < EXAMPLES:
            found.examples.append(Example(where, tim_id, fields))

    def all(self) -> Sequence[Finding]:
        """By check, then by code."""
        return sorted(self.by_kind.values(), key=lambda f: (CHECKS.index(f.check), f.code))
