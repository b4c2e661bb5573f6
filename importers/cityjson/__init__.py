"""CityJSON 1.0, 1.1, 2.0 and CityJSONSeq: every CityObject is an object, its levels of detail are its representations.

A CityJSON file is one JSON text and is read whole (up to :data:`importers.cityjson.document.LARGEST`); a CityJSONSeq file is read line
by line, however large it is. Children name their parents (``partOf``); the reverse is not written down a second time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from importers import ImportContext, Probe
from importers.city import Draft, finished
from importers.cityjson.document import Document, Problem, documents, overview, sniffed
from importers.cityjson.objects import Reader
from importers.crsname import crs_text, swapped_axes
from tim.errors import SourceError
from tim.model import Blob, ObjectRecord, Rejected
from tim.place.resolve import FoundCrs
from tim.sources import SourceRef, fingerprint

__all__ = ["open", "probe", "read"]

SUFFIXES = (".json", ".jsonl", ".cityjson", ".cityjsonl")
FOLDERS = False


def probe(path: Path, key: str = "") -> list[Probe]:
    """Version, extent and CRS of one CityJSON or CityJSONSeq file; empty for anything else."""
    path = Path(path)
    key = key or path.name
    if not path.is_file() or not sniffed(path):
        return []
    size = path.stat().st_size
    try:
        view = overview(path)
    except Problem as problem:
        rejected = Rejected(key, problem.code, {"file": key, **problem.fields})
        found = FoundCrs(where=key)
        return [Probe(str(path), "cityjson", "objects", key, 1, size, None, None, None, found, (rejected,), fatal=True)]
    low, high, swap = view.low, view.high, False
    if view.crs and low is not None and high is not None and swapped_axes(view.crs, low, high):
        low, high, swap = (low[1], low[0], low[2]), (high[1], high[0], high[2]), True
    found = FoundCrs(crs_text(view.crs) if view.crs else None, where=key)
    options = {"version": view.version, "lines": view.lines, "swap": swap}
    return [Probe(str(path), "cityjson", "objects", key, 1, size, None, low, high, found, options=options)]


def read(probe: Probe, context: ImportContext) -> Iterator[ObjectRecord | Blob | SourceRef | Rejected]:
    """The objects in the order of the file, then the reference; a text that is broken is a rejected record that says where."""
    yield from probe.problems
    if probe.fatal or probe.low is None or probe.high is None:
        return
    path = Path(probe.uri)
    reader = Reader(path, probe.key, context, bool(probe.options.get("swap")))
    try:
        print_ = fingerprint(path)
        yield from context.told(probe, finished(_drafts(path, probe, reader), context.place), print_)
    except OSError as error:
        raise SourceError("cityjson.unreadable", file=probe.key, reason=error.strerror or str(error)) from None


def open(ref: SourceRef) -> NoReturn:  # noqa: A001
    """Raises SourceError: objects are in the store, there is nothing to open."""
    raise SourceError("cityjson.not-bulk", file=ref.key)


def _drafts(path: Path, probe: Probe, reader: Reader) -> Iterator[Draft | Blob | Rejected]:
    for item in documents(path, bool(probe.options.get("lines"))):
        if isinstance(item, Document):
            yield from reader.drafts(item)
        else:
            where = f"{probe.key}:{item.fields['line']}" if "line" in item.fields else probe.key
            yield Rejected(where, item.code, {"file": probe.key, **item.fields})
