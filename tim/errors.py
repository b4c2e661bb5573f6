"""The one tree of errors, and how they become text.

::

    TimError                    anything we refuse or could not finish; exit code 1
    ├── UsageError              the call itself is wrong (options, names); exit code 2
    ├── PlaceError              coordinates, CRS, datum, height
    ├── SourceError             a file we were asked to read
    │   └── CorruptSource       the file breaks its own format
    ├── WorkspaceError          the workspace folder (missing, read-only, full, of another version)
    ├── StoreError              the object store
    │   └── Conflict            somebody else changed it first
    ├── TilingError             building, archiving or validating tiles
    └── AccessError             a key is missing, wrong or too weak

An error carries a ``code`` (``"place.crs-missing"``) and ``fields``; text is made only at the edge by :func:`render`, from
``tim/messages/<room>.toml``, in English or Chinese. A code's first word names its catalogue. Every message says what and where,
and its ``help`` says what to do.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")


class TimError(Exception):
    """A refusal or failure a user can act on: a message code and its fields, never ready-made text."""

    exit_code = 1

    def __init__(self, code: str, **fields: Any) -> None:
        super().__init__(code, fields)
        self.code = code
        self.fields = fields

    def __str__(self) -> str:
        return render(self.code, self.fields, "en")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by code and fields, so that an error crosses process boundaries whole."""
        return _rebuild, (type(self), self.code, self.fields)

    def record(self) -> dict[str, Any]:
        """The error as a JSON-able record: code, fields, and the text in both languages."""
        texts = {language: render(self.code, self.fields, language) for language in LANGUAGES}
        return {"code": self.code, "fields": {k: _plain(v) for k, v in self.fields.items()}, "text": texts}


def _rebuild(kind: type[TimError], code: str, fields: dict[str, Any]) -> TimError:
    return kind(code, **fields)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else str(value)


class UsageError(TimError):
    """The call itself is wrong: options that contradict, a name that does not exist."""

    exit_code = 2


class PlaceError(TimError):
    """Coordinates cannot be placed: CRS, datum or height unknown, or contradicted by the coordinates."""


class SourceError(TimError):
    """A file or folder we were asked to read cannot be used."""


class CorruptSource(SourceError):
    """A file breaks the rules of its own format: truncated, garbled, inconsistent."""


class WorkspaceError(TimError):
    """The workspace folder cannot be used: missing, read-only, full, locked, of another version."""


class StoreError(TimError):
    """The object store refused or failed."""


class Conflict(StoreError):
    """A concurrent change came first; read again, then repeat."""


class TilingError(TimError):
    """Tiles could not be built, archived or validated."""


class AccessError(TimError):
    """A key is missing, wrong or not enough."""


def language_from_environment() -> Language:
    """``TIM_LANG`` if set, otherwise the locale: ``zh`` for any Chinese locale, else ``en``."""
    chosen = (
        os.environ.get("TIM_LANG")
        or os.environ.get("LC_ALL")
        or os.environ.get("LC_MESSAGES")
        or os.environ.get("LANG")
        or ""
    )
    return "zh" if chosen.lower().startswith("zh") else "en"


def render(code: str, fields: Mapping[str, Any], language: Language | None = None) -> str:
    """The message of ``code`` with its help, in one language; the environment's where none is given.

    A field may be an error itself; it is rendered in the same language. An unknown code or a missing field still gives readable text: an
    error about an error helps nobody.
    """
    entry = catalogue(code.split(".", 1)[0]).get(code.split(".", 1)[-1])
    if entry is None:
        return f"{code}: {dict(fields)}"
    language = language or language_from_environment()
    text = entry[language]
    if help_text := entry.get(f"{language}_help"):
        text = f"{text} {help_text}" if language == "en" else text + help_text
    inner = {
        name: render(value.code, value.fields, language)
        for name, value in fields.items()
        if isinstance(value, TimError)
    }
    return text.format_map(_Fields({**fields, **inner}))


def is_warning(code: str) -> bool:
    """Whether a message only asks for attention (``severity = "warning"`` in its catalogue): nothing was left out because of it."""
    entry = catalogue(code.split(".", 1)[0]).get(code.split(".", 1)[-1], {})
    return entry.get("severity") == "warning"


class _Fields(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return f"{{{key}}}"


@cache
def catalogue(room: str) -> dict[str, dict[str, str]]:
    """The messages of one room: ``{code without room: {"en", "en_help", "zh", "zh_help"[, "severity"]}}``; empty where there is none."""
    try:
        text = resources.files("tim").joinpath("messages", f"{room}.toml").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return {}
    return tomllib.loads(text)
