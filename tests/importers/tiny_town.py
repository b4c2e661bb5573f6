"""Format ``town``, kind meshes: a folder with a file ``town`` is one delivery; each of its ``.house`` files is a source."""

from __future__ import annotations

from pathlib import Path

from importers import ImportContext, Probe
from tim.place.resolve import FoundCrs
from tim.sources import SourceRef, fingerprint

LOW, HIGH = (114.0, 30.0, 0.0), (114.01, 30.01, 40.0)


def probe(path, key=""):
    if not (path / "town").is_file():
        return []
    return [
        Probe(str(path), "town", "meshes", key, len(list(path.iterdir())), 100, None, LOW, HIGH, FoundCrs("EPSG:4979"))
    ]


def read(found: Probe, context: ImportContext):
    for path in sorted(Path(found.uri).glob("*.house")):
        key = f"{found.key}/{path.stem}" if found.key else path.stem
        yield SourceRef(str(path), "town", "meshes", key, context.place, fingerprint(path), (*LOW, *HIGH))
