"""Format ``parcels``, kind objects: a text file with a line ``key name floors`` per object; a line of another form is rejected."""

from __future__ import annotations

from pathlib import Path

from importers import ImportContext, Probe
from tim.model import Blob, ObjectRecord, Rejected, Representation
from tim.place.resolve import FoundCrs
from tim.sources import SourceRef, fingerprint

BOX = (114.0, 30.0, 0.0, 114.01, 30.01, 20.0)
SUFFIXES = (".parcels",)
FOLDERS = False
reads: list[str] = []
"""Keys of the deliveries read, in order."""


def probe(path, key=""):
    if not path.is_file() or path.suffix != ".parcels":
        return []
    low, high = BOX[:3], BOX[3:]
    size = path.stat().st_size
    return [Probe(str(path), "parcels", "objects", key or path.name, 1, size, None, low, high, FoundCrs("EPSG:4979"))]


def read(found: Probe, context: ImportContext):
    reads.append(found.key)
    path = Path(found.uri)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if len(words) != 3:
            yield Rejected(f"{found.key}#{number}", "las.empty", {"file": found.key})
            continue
        key, name, floors = words
        body = Blob(f"{key}{floors}".encode())
        yield body
        yield ObjectRecord(
            key, "building.house", name=name, layer=context.layer, attributes={"floors": int(floors)}, box=BOX,
            representations=(Representation("body", "", "tim-shape", body.content),),
        )  # fmt: skip
    yield SourceRef(
        found.uri, "parcels", "objects", found.key, context.place, fingerprint(path), BOX, options={"layers": [context.layer]}
    )  # fmt: skip
