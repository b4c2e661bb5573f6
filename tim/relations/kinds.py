"""Kinds of relations (``kinds.toml``). A store takes any kind; one that is not here has no names and is reported."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class RelationKind:
    """One kind."""

    id: str
    en: str
    zh: str
    inverse_en: str
    """As the target tells it of the object that states it."""
    inverse_zh: str
    symmetric: bool = False
    transitive: bool = False


@cache
def all_kinds() -> Mapping[str, RelationKind]:
    """Every kind by id."""
    table = tomllib.loads(resources.files("tim.relations").joinpath("kinds.toml").read_text(encoding="utf-8"))
    return {name: RelationKind(name, **entry) for name, entry in table.items()}


def unknown_kinds(kinds: Iterable[str]) -> list[str]:
    """Those that are not registered, once each, by name."""
    return sorted(set(kinds) - all_kinds().keys())
