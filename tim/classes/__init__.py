"""What kinds of things there are: a tree of classes as data (``classes.toml``), replaceable without code.

An id is lower-case words joined by dots; what stands before the last dot is the parent.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from tim.errors import StoreError, UsageError

__all__ = ["ObjectClass", "all_classes", "children", "get", "parse"]

_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9]+(?:-[a-z0-9]+)*)*")


@dataclass(frozen=True, slots=True)
class ObjectClass:
    """One class."""

    id: str
    en: str
    """Name in English."""
    zh: str
    """Name in Chinese."""

    @property
    def parent(self) -> str | None:
        """Id of the class above; ``None`` for a domain."""
        return self.id.rpartition(".")[0] or None

    @property
    def domain(self) -> str:
        """Id of the class at the top."""
        return self.id.partition(".")[0]


def all_classes() -> Mapping[str, ObjectClass]:
    """Every class by id, parents before children."""
    return _shipped()


def get(class_id: str) -> ObjectClass:
    """One class. Raises UsageError naming those nearby."""
    known = _shipped()
    if class_id not in known:
        above = class_id.rpartition(".")[0]
        near = [c.id for c in known.values() if c.parent == (above if above in known else None)]
        raise UsageError("classes.unknown", id=class_id, known=", ".join(near))
    return known[class_id]


def children(class_id: str | None = None) -> list[ObjectClass]:
    """The classes directly below one, or the domains."""
    if class_id is not None:
        get(class_id)
    return [c for c in _shipped().values() if c.parent == class_id]


def parse(text: str) -> dict[str, ObjectClass]:
    """A class table in TOML, by id. Raises StoreError naming the first class that is not right."""
    table = tomllib.loads(text)
    classes: dict[str, ObjectClass] = {}
    for class_id in sorted(table):
        names = table[class_id]
        parent = class_id.rpartition(".")[0]
        if not _ID.fullmatch(class_id) or (parent and parent not in table):
            raise StoreError("classes.bad-id", id=class_id)
        if not (
            isinstance(names, dict)
            and set(names) == {"en", "zh"}
            and all(isinstance(n, str) and n for n in names.values())
        ):
            raise StoreError("classes.bad-names", id=class_id)
        classes[class_id] = ObjectClass(class_id, names["en"], names["zh"])
    return classes


@cache
def _shipped() -> dict[str, ObjectClass]:
    return parse(resources.files("tim.classes").joinpath("classes.toml").read_text(encoding="utf-8"))
