"""Which encoding text has: what is declared, held against the bytes themselves.

Chinese deliveries say nothing, or say what is wrong: GBK without a ``.cpg``, UTF-8 under a ``.dbf`` that declares cp1252.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass

_LANGUAGE_DRIVERS = {
    0x01: "cp437", 0x02: "cp850", 0x03: "cp1252", 0x13: "cp932", 0x4D: "gb18030", 0x4E: "cp949", 0x4F: "cp950", 0x65: "cp866",
    0x78: "cp950", 0x79: "cp949", 0x7A: "gb18030", 0x7B: "cp932", 0xC8: "cp1250", 0xC9: "cp1251",
}  # fmt: skip
"""The dBASE language driver byte. 0x57 (ANSI) only says "whatever the machine had"."""
_CHINESE = {"936", "gbk", "gb2312", "gb18030", "cp936", "ansi936", "euccn"}


@dataclass(frozen=True, slots=True)
class Encoding:
    """What text is decoded with."""

    name: str
    """A Python codec, in lower case."""
    declared: str = ""
    """What the file says, where that is not true."""
    where: str = ""
    """What says it: ``.cpg``, ``.dbf``."""


def named(text: str) -> str | None:
    """The codec of a ``.cpg`` text or an option (``GBK``, ``936``, ``ANSI 936``, ``ISO 88591``); ``None`` where it names none."""
    plain = re.sub(r"[\s_-]", "", text.strip().strip("\0").lower())
    if plain in _CHINESE:
        return "gb18030"
    if plain in {"65001", "utf8", "cp65001"}:
        return "utf-8"
    for name in (plain, f"cp{plain}", re.sub(r"^(iso)?8859(\d+)$", r"iso8859-\2", plain)):
        try:
            return codecs.lookup(name).name
        except (LookupError, ValueError):
            continue
    return None


def driver(byte: int) -> str | None:
    """The codec of a dBASE language driver byte."""
    return _LANGUAGE_DRIVERS.get(byte)


def decide(samples: Sequence[bytes], declared: str | None = None, where: str = "") -> Encoding:
    """The encoding of some texts, each of which may be cut within its last character.

    What is declared counts unless the bytes contradict it: they do where they are UTF-8 with characters of three bytes, which no
    other encoding gives by chance, where they do not decode, and where a page of single bytes is made of GB 2312 pairs.
    """
    telling = [text for text in samples if not text.isascii()]
    if not telling:
        return Encoding(declared or "utf-8")
    if declared == "utf-8" and decodes(telling, "utf-8"):
        return Encoding("utf-8")
    if decodes(telling, "utf-8") and (declared is None or any(_long(text) for text in telling)):
        return _corrected("utf-8", declared, where)
    if declared is not None and decodes(telling, declared):
        pairs = sum(decodes([text], "gb2312") for text in telling)
        if not (_single(declared) and pairs >= 0.8 * len(telling) and decodes(telling, "gb18030")):
            return Encoding(declared)
    if decodes(telling, "gb18030"):
        return _corrected("gb18030", declared, where)
    if declared is not None:
        return Encoding(declared)
    # Some texts are broken: the one that reads more of them; those it cannot read are quarantined later.
    readable = {name: sum(decodes([text], name) for text in telling) for name in ("utf-8", "gb18030")}
    return Encoding(max(readable, key=lambda name: readable[name]))


def decodes(samples: Sequence[bytes], name: str) -> bool:
    """Whether all of these are text in this encoding; a last character may be cut."""
    try:
        for text in samples:
            codecs.getincrementaldecoder(name)().decode(text)
    except (UnicodeDecodeError, LookupError):
        return False
    return True


def cut_decode(text: bytes, name: str) -> str:
    """Text of a field of fixed width, without the character its end cuts. Raises UnicodeDecodeError."""
    return codecs.getincrementaldecoder(name)().decode(text)


def _corrected(name: str, declared: str | None, where: str) -> Encoding:
    return Encoding(name) if declared in (None, name) else Encoding(name, str(declared), where)


def _long(text: bytes) -> bool:
    return any(char >= "\u0800" for char in cut_decode(text, "utf-8"))


def _single(name: str) -> bool:
    return len("\u00e9".encode(name, "replace")) == 1 and name not in {"gb18030", "cp932", "cp949", "cp950"}
