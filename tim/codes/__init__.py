"""The codes objects are known by: which schemes there are, and whether a value is one of its scheme's.

A value means nothing without scheme and edition, so :class:`tim.model.Code` carries both and :func:`check` looks at all three. Some schemes
are checked field by field (:mod:`tim.codes.real_estate`, :mod:`tim.codes.beidou`), some against a code list (:mod:`tim.classes`), and what
others issue by rules of their own is opaque: it is kept as it is.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from tim.classes import Registry, shipped
from tim.codes import beidou, real_estate
from tim.errors import UsageError
from tim.model import Code

__all__ = ["OPAQUE", "Scheme", "check", "schemes"]

OPAQUE = "opaque"
_CHECKS: Mapping[str, Callable[[str], object]] = {
    "beidou-grid": beidou.decode,
    "parcel": real_estate.parse_parcel,
    "real-estate-unit": real_estate.parse_unit,
    OPAQUE: lambda value: value,
}


@dataclass(frozen=True, slots=True)
class Scheme:
    """A scheme of codes."""

    id: str
    en: str
    zh: str
    editions: tuple[str, ...]
    """Empty where none is told from another."""
    check: str
    """What checks a value; :data:`OPAQUE` where nothing does."""


@cache
def schemes() -> Mapping[str, Scheme]:
    """The schemes that are known, by id; those that are code lists are in a registry's ``lists``."""
    text = resources.files("tim.codes").joinpath("schemes.toml").read_text(encoding="utf-8")
    return {
        name: Scheme(name, row["en"], row["zh"], tuple(row["editions"]), row["check"])
        for name, row in tomllib.loads(text).items()
    }


def check(code: Code, registry: Registry | None = None) -> UsageError | None:
    """What is wrong with a code: the error its parser would raise; ``None`` for nothing.

    A scheme or edition that is not known is a warning (:func:`tim.errors.is_warning`), and so is a value that an incomplete list lacks.
    """
    lists = (registry or shipped()).lists
    if (found := lists.get(f"{code.scheme}@{code.edition}")) is not None:
        if code.value in found:
            return None
        return UsageError(
            "codes.not-in-list" if found.complete else "codes.not-in-part",
            value=code.value,
            scheme=code.scheme,
            edition=code.edition,
        )
    scheme = schemes().get(code.scheme)
    editions = [e.edition for e in lists.values() if e.scheme == code.scheme] if scheme is None else scheme.editions
    if scheme is None and not editions:
        return UsageError("codes.unknown-scheme", scheme=code.scheme, value=code.value)
    if editions and code.edition not in editions:
        return UsageError("codes.unknown-edition", scheme=code.scheme, edition=code.edition, value=code.value, known=", ".join(editions))  # fmt: skip
    if not code.value.strip():
        return UsageError("codes.empty", scheme=code.scheme)
    try:
        _CHECKS[scheme.check if scheme else OPAQUE](code.value)
    except UsageError as error:
        return error
    return None
