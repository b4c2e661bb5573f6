"""Tables of text whose geometry is in their columns: CSV in any encoding, and what an XLSX sheet gives."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from importers.vector import encoding
from importers.vector.encoding import Encoding
from importers.vector.recognise import X, Y, Z, recognise, wkt_column
from tim.geometry import F64

_HEAD = 1 << 18
_DELIMITERS = ",\t;|"
_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d{0,14})(?:\.\d+)?(?:[eE][+-]?\d{1,3})?")
"""Text that means a number: a code like 0701 does not."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a CSV file is written."""

    encoding: Encoding
    delimiter: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns hold the geometry: ``wkt``, or ``x`` and ``y`` and perhaps ``z``."""

    x: str = ""
    y: str = ""
    z: str = ""
    wkt: str = ""

    def __bool__(self) -> bool:
        return bool(self.wkt or (self.x and self.y))

    @property
    def used(self) -> set[str]:
        """Their names."""
        return {name for name in (self.x, self.y, self.z, self.wkt) if name}


def columns_of(names: Sequence[str], said: Mapping[str, str] | None = None) -> Columns:
    """The columns that are named, or that have a usual name (``x``, ``lon``, ``经度``, ``东坐标``, ``wkt``, …)."""
    if said:
        return Columns(**{what: name if name in names else "" for what, name in said.items()})
    wkt = wkt_column(names)
    return Columns(wkt=wkt) if wkt else Columns(recognise(names, X), recognise(names, Y), recognise(names, Z))


def dialect(path: Path, said: str | None = None) -> Dialect | None:
    """Encoding, delimiter and column names; ``None`` where the file is no table. Raises OSError."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    found = Encoding(said) if said else _encoding(head)
    try:
        text = codecs.getincrementaldecoder(found.name)("replace").decode(head)
    except LookupError:
        return None
    first = text.lstrip("\ufeff").split("\n", 1)[0].rstrip("\r")
    if not first.strip() or "\0" in first:
        return None
    delimiter = max(_DELIMITERS, key=lambda mark: (first.count(mark), -_DELIMITERS.index(mark)))
    names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
    if not all(names) or len(set(names)) != len(names):
        names = [f"{name or 'column'}_{i}" if not name or name in names[:i] else name for i, name in enumerate(names)]
    return Dialect(found, delimiter, tuple(names))


def rows(path: Path, form: Dialect, size: int) -> Iterator[list[tuple[int, list[str] | str]]]:
    """``size`` rows at a time, with their numbers (the names are row 1); instead of a row that is broken, the reason."""
    csv.field_size_limit(1 << 30)
    with path.open("r", encoding=form.encoding.name, errors="surrogateescape", newline="") as stream:
        lines = _checked(csv.reader(stream, delimiter=form.delimiter), len(form.names))
        next(lines, None)
        while batch := list(islice(lines, size)):
            yield batch


def geometries(columns: Mapping[str, Sequence[Any]], chosen: Columns) -> tuple[Any, list[str]]:
    """object[n] of shapely geometries, ``None`` where there is none, and per row why."""
    if chosen.wkt:
        texts = [str(text or "") for text in columns[chosen.wkt]]
        shapes: Any = shapely.from_wkt(texts, on_invalid="ignore")
        return shapes, ["" if shape is not None else text[:40] for shape, text in zip(shapes, texts, strict=True)]
    names = [chosen.x, chosen.y, *([chosen.z] if chosen.z else [])]
    xyz = np.column_stack([_numbers(columns[name]) for name in names])
    good = np.isfinite(xyz[:, 0]) & np.isfinite(xyz[:, 1])
    placed: Any = np.full(len(xyz), None, object)
    if chosen.z:
        xyz[:, 2] = np.nan_to_num(xyz[:, 2])
    placed[good] = shapely.points(xyz[good])
    why = ["" if ok else ", ".join(str(columns[n][i]) for n in names[:2]) for i, ok in enumerate(good)]
    return placed, why


def value(text: str) -> Any:
    """A cell: a number where it is written as one, text, or ``None``."""
    text = text.strip()
    if not text:
        return None
    if _NUMBER.fullmatch(text):
        number = float(text)
        if re.fullmatch(r"[+-]?\d+", text):
            return int(text)
        return number if np.isfinite(number) else text
    return text


def _numbers(values: Sequence[Any]) -> F64:
    def number(value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError):
            return np.nan

    return np.array([number(value) for value in values])


def _encoding(head: bytes) -> Encoding:
    if head.startswith(codecs.BOM_UTF8):
        return Encoding("utf-8-sig")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Encoding("utf-16")
    return encoding.decide([head] if encoding.decodes([head], "utf-8") else head.split(b"\n"))


def _checked(reader: Iterator[list[str]], width: int) -> Iterator[tuple[int, list[str] | str]]:
    for number in count(1):
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, str(error)
            continue
        if not row:
            continue
        text = "".join(row)
        if not text.isprintable() and any("\udc80" <= char <= "\udcff" for char in text):
            yield number, "encoding"
        elif len(row) != width and any(cell.strip() for cell in row[width:]):
            yield number, f"{len(row)} / {width}"
        else:
            yield number, (row + [""] * width)[:width]
