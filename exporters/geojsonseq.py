"""GeoJSON text sequences (RFC 8142) of features (RFC 7946): one object a record, longitude, latitude, ellipsoidal height.

Each record begins with the separator of RFC 8142, but in files called ``.geojsonl``, where each is a line and nothing more. Equal
content gives equal bytes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import shapely

from exporters.job import Job

SEPARATOR = b"\x1e"
MEDIA_TYPE = "application/geo+json-seq"


def write(path: Path, job: Job) -> None:
    """Every version of the job as a feature. Raises OSError."""
    columns = job.columns()
    mark = b"" if path.suffix.lower() == ".geojsonl" else SEPARATOR
    with path.open("wb") as stream:
        for versions, shapes in job.batches():
            for version, geometry in zip(versions, shapely.to_geojson(shapes).tolist(), strict=True):
                own, cells = columns.row(version)
                said = {name: value for name, value in own.items() if value not in (None, [], {})}
                stream.write(mark + feature(own["tim_id"], geometry, said | cells) + b"\n")


def feature(name: str, geometry: str | None, properties: dict[str, Any]) -> bytes:
    """A feature as UTF-8. geometry: JSON."""
    said = json.dumps(properties, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f'{{"type":"Feature","id":"{name}","geometry":{geometry or "null"},"properties":{said}}}'.encode()
