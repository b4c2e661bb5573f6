"""What kinds of things there are, and what their codes may be: trees of classes and code lists as data, replaceable without code.

An id is lower-case words joined by dots; what stands before the last dot is the parent. :class:`Registry` is read from folders, the ones
shipped here and a workspace's own upon them (:mod:`tim.classes.registry` says what the files look like). The functions below ask the
shipped one, for those who know no workspace.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

from tim.classes.codelists import CodeList, Entry
from tim.classes.registry import LEVELS, TYPES, Attribute, ObjectClass, Registry
from tim.classes.schema import queryables, schema

__all__ = [
    "LEVELS", "TYPES", "Attribute", "CodeList", "Entry", "ObjectClass", "Registry", "all_classes", "children", "get", "queryables", "schema",
    "shipped",
]  # fmt: skip


@cache
def shipped() -> Registry:
    """The registry that comes with the product."""
    return Registry.load([resources.files("tim.classes")])


def all_classes() -> Mapping[str, ObjectClass]:
    """Every shipped class by id, parents before children."""
    return shipped().classes


def get(class_id: str) -> ObjectClass:
    """One shipped class. Raises UsageError naming those nearby."""
    return shipped().get(class_id)


def children(class_id: str | None = None) -> list[ObjectClass]:
    """The shipped classes directly below one, or the domains."""
    return shipped().children(class_id)
