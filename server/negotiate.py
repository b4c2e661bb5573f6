"""What request headers ask for, by RFC 9110: coding (§12.5.3), conditions (§13.1.2), ranges (§14.2). Nothing malformed raises."""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.requests import Request

_ETAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_TAGS = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)
_QUALITY = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.ASCII)


def accepts_gzip(value: bytes | None) -> bool:
    """Whether a gzip coding may be sent: named with a quality above zero, or covered by ``*``. No header: no."""
    if value is None:
        return False
    if value.startswith((b"gzip, ", b"gzip,")) or value == b"gzip":
        return True
    found: dict[str, bool] = {}
    for item in value.decode("latin-1").lower().split(","):
        coding, *parameters = (part.strip() for part in item.split(";"))
        found[coding] = all(_positive(parameter) for parameter in parameters)
    for name in ("gzip", "x-gzip", "*"):
        if name in found:
            return found[name]
    return False


def _positive(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    value = value.strip()
    return name.strip() != "q" or (_QUALITY.fullmatch(value) is not None and value.strip("0.") != "")


def matched_tag(value: bytes, name: str) -> str | None:
    """The opaque part of the entity tag in ``If-None-Match`` that is one of this content's, so that 304 is the answer; ``None``: send it.

    Entity tags are ``"{name}"``, and ``"{name}.gzip"`` for the gzip variant; the comparison is weak, and ``*`` matches whatever exists.
    """
    text = value.decode("latin-1").strip()
    if text == "*":
        return name
    return next((tag for tag in _ETAG.findall(text) if tag in (name, f"{name}.gzip")), None)


def every_tag(value: str) -> list[str]:
    """The entity tags of ``If-Match``, without quotes, or ``*``. The comparison is strong, so weak tags match nothing (RFC 9110 §13.1.1)."""
    text = value.strip()
    return ["*"] if text == "*" else [tag for weak, tag in _TAGS.findall(text) if not weak]


def byte_range(value: bytes | None, condition: bytes | None, etag: bytes, size: int) -> tuple[int, int] | None:
    """First and past-the-last byte of a single satisfiable range; ``None``: send everything; ``(0, 0)``: 416.

    ``condition`` is ``If-Range``: only a strong match keeps the range. Several ranges, other units and nonsense are ignored, as §14.2 allows.
    """
    if value is None or (condition is not None and condition.strip() != etag):
        return None
    match = _RANGE.fullmatch(value.decode("latin-1").strip())
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        if not last:
            return None
        start = max(0, size - int(last)) if int(last) else size
        stop = size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    return (start, stop) if start < stop else (0, 0)


def secret_of(request: Request) -> str | None:
    """The key a framework request carries."""
    return credential(dict(request.scope["headers"]), request.scope["query_string"])


def credential(headers: Mapping[bytes, bytes], query: bytes) -> str | None:
    """The key a request carries: ``Authorization: Bearer``, ``X-API-Key`` or ``?token=``, in this order."""
    if (value := headers.get(b"authorization")) is not None:
        scheme, _, key = value.decode("latin-1").partition(" ")
        if scheme.lower() == "bearer" and key.strip():
            return key.strip()
    if (value := headers.get(b"x-api-key")) is not None:
        return value.decode("latin-1").strip() or None
    for item in query.decode("latin-1").split("&"):
        name, _, key = item.partition("=")
        if name == "token" and key:
            return key
    return None
