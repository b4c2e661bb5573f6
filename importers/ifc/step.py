"""Exchange files (ISO 10303-21) as text: single instances by type or number, without reading the model.

Enough for a header, units and georeferencing in a file of any size; who wants the model uses a STEP library.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

MAGIC = b"ISO-10303-21"
_END = b"END-ISO-10303-21"
_TAIL = 4096
_LONGEST = 1 << 20
"""Bytes of one instance that are looked at."""
_TOKEN = re.compile(
    rb"\s+|/\*.*?\*/|(?P<string>'(?:[^']|'')*')|(?P<ref>\#\d+)|(?P<number>[+-]?\d+(?:\.\d*)?(?:[Ee][+-]?\d+)?)"
    rb"|(?P<enum>\.\w+\.)|(?P<word>[A-Za-z_]\w*)|(?P<mark>[(),$*;])|(?P<binary>\"[0-9A-Fa-f]*\")",
    re.DOTALL,
)
_UNICODE = re.compile(
    r"\\X2\\((?:[0-9A-Fa-f]{4})*)\\X0\\|\\X4\\((?:[0-9A-Fa-f]{8})*)\\X0\\|\\X\\([0-9A-Fa-f]{2})|\\S\\(.)|\\P[A-I]\\|\\\\"
)
_TYPE = re.compile(rb"\s*([A-Za-z]\w*)\s*(?=\()")
_BEFORE = (b";", b"\n", b"\r", b" ", b"\t", b"/")
_DEEPEST = 32


class Ref(NamedTuple):
    """A reference to an instance."""

    number: int


class Instance(NamedTuple):
    """One line of the data section. Values: str, float, int, :class:`Ref`, ``None`` ($ and *), lists; enumerations as ``.NAME.``."""

    number: int
    type: str
    values: list[Any]


class StepError(ValueError):
    """Text that is no instance."""


class StepFile:
    """A file, mapped; use as a context manager. Raises OSError where it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("rb")
        self._map = mmap.mmap(self._stream.fileno(), 0, access=mmap.ACCESS_READ)

    def __enter__(self) -> StepFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._map.close()
        self._stream.close()

    @property
    def complete(self) -> bool:
        """Whether the file has its end."""
        return self._map.rfind(_END, max(0, len(self._map) - _TAIL)) >= 0

    @property
    def schema(self) -> str:
        """The first name in FILE_SCHEMA; empty where there is none."""
        match = re.search(rb"FILE_SCHEMA\s*\(\s*\(\s*'([^']*)'", self._map[: 64 << 10])
        return match[1].decode("ascii", "replace") if match else ""

    def of_type(self, name: str) -> Iterator[Instance]:
        """Instances of exactly this type (upper case), in file order; garbled ones are passed over."""
        word, at = name.encode(), 0
        while (at := self._map.find(word, at)) >= 0:
            start, at = at, at + len(word)
            head = re.search(rb"#(\d+)\s*=\s*$", self._map[max(0, start - 64) : start])
            if head and self._map[at : at + 64].lstrip()[:1] == b"(":
                try:
                    yield Instance(int(head[1]), name, self._values(at))
                except StepError:
                    continue

    def instance(self, ref: Any) -> Instance | None:
        """The instance behind a reference; ``None`` where the value is no reference or leads nowhere."""
        if not isinstance(ref, Ref):
            return None
        for sign in (b"#%d=", b"#%d ="):
            at = -1
            while (at := self._map.find(sign % ref.number, at + 1)) > 0:
                head = _TYPE.match(self._map[at + len(sign % ref.number) : at + 160])
                if head is not None and self._map[at - 1 : at] in _BEFORE:
                    try:
                        start = at + len(sign % ref.number) + head.end()
                        return Instance(ref.number, head[1].decode().upper(), self._values(start))
                    except StepError:
                        return None
        return None

    def points(self, limit: int) -> Iterator[tuple[float, ...]]:
        """Coordinates of the Cartesian points in the first ``limit`` bytes."""
        for match in re.finditer(rb"IFCCARTESIANPOINT\s*\(\s*\(([-+0-9.,Ee\s]*)\)", memoryview(self._map)[:limit]):
            try:
                yield tuple(float(v) for v in match[1].split(b","))
            except ValueError:
                continue

    def _values(self, at: int) -> list[Any]:
        return _list(_tokens(self._map[at : at + _LONGEST]), 0)


def _tokens(text: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise StepError(text[at : at + 20])
        at = match.end()
        if match.lastgroup:
            yield match.lastgroup, match[0]


def _list(tokens: Iterator[tuple[str, bytes]], depth: int, opened: bool = False) -> list[Any]:
    """The values between parentheses."""
    if depth > _DEEPEST:
        raise StepError("nested too deep")
    if not opened and next(tokens, None) != ("mark", b"("):
        raise StepError("no parenthesis")
    out: list[Any] = []
    for kind, text in tokens:
        match kind, text:
            case "mark", b")":
                return out
            case "mark", b"(":
                out.append(_list(tokens, depth + 1, opened=True))
            case "mark", b"$" | b"*":
                out.append(None)
            case "mark", b",":
                continue
            case "mark", _:
                raise StepError("ends early")
            case "string", _:
                out.append(text_of(text[1:-1].decode("utf-8", "replace").replace("''", "'")))
            case "ref", _:
                out.append(Ref(int(text[1:])))
            case "number", _:
                out.append(float(text) if any(c in text for c in b".Ee") else int(text))
            case "word", _:  # a typed value, IFCLENGTHMEASURE(2.5): the value alone
                inner = _list(tokens, depth + 1)
                out.append(inner[0] if len(inner) == 1 else inner)
            case _:
                out.append(text.decode())
    raise StepError("ends early")


def text_of(raw: str) -> str:
    """A string with its directives resolved (ISO 10303-21 §6.4.3)."""

    def resolved(match: re.Match[str]) -> str:
        if match[1] is not None:
            return bytes.fromhex(match[1]).decode("utf-16-be", "replace")
        if match[2] is not None:
            return bytes.fromhex(match[2]).decode("utf-32-be", "replace")
        if match[3] is not None:
            return chr(int(match[3], 16))
        if match[4] is not None:
            return chr(ord(match[4]) + 128)
        return "\\" if match[0] == "\\\\" else ""

    return _UNICODE.sub(resolved, raw)
