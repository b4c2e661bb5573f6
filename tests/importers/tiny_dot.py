"""Format ``dot``, kind points: a text file ``lon lat height scale [word]``; ``bare`` has no CRS, ``broken`` cannot be read, ``warn`` warns, ``hole`` loses a record."""

from __future__ import annotations

from importers import ImportContext, Probe
from tim.model import ObjectRecord, Rejected, Representation
from tim.place.resolve import FoundCrs
from tim.sources import SourceRef, fingerprint


def probe(path, key=""):
    if not path.is_file() or path.suffix.lower() != ".dot":
        return []
    lon, lat, height, scale, *words = path.read_text(encoding="utf-8").split()
    low = (float(lon), float(lat), float(height))
    high = (low[0] + 1e-4, low[1] + 1e-4, low[2] + 10)
    problems = (
        [Rejected(key, "import.unknown-type", {"suffix": "-", "count": 1, "example": key})] if "warn" in words else []
    )
    problems += [Rejected(key, "las.empty", {"file": key})] if "broken" in words else []
    crs = None if "bare" in words else "EPSG:4979"
    return [
        Probe(
            str(path), "dot", "points", key or path.name, 1, path.stat().st_size, 7, low, high, FoundCrs(crs, where=key),
            tuple(problems), "broken" in words, {"scale": [float(scale)] * 3},
        )
    ]  # fmt: skip


def read(found: Probe, context: ImportContext):
    from pathlib import Path

    path = Path(found.uri)
    if "hole" in path.read_text(encoding="utf-8"):
        yield Rejected(f"{found.key}#3", "las.empty", {"file": found.key})
    west, south, bottom = found.low
    east, north, top = found.high
    box = (west, south, bottom, east, north, top)
    yield ObjectRecord(
        found.key,
        "survey.dot",
        name=path.stem,
        box=box,
        representations=(Representation("bulk", "", "dot", found.key),),
    )
    yield SourceRef(found.uri, "dot", "points", found.key, context.place, fingerprint(path), box, 7)
