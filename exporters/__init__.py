"""What leaves TIM in other formats: one module per format. Tilesets leave through ``tiling.archive``.

A format's module has one verb, ``write(path, job)``: all that the :class:`exporters.job.Job` gives, into a file that is not there yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from tim.errors import UsageError

__all__ = ["FORMATS", "Format", "format_of", "writer"]


@dataclass(frozen=True, slots=True)
class Format:
    """One format."""

    suffixes: tuple[str, ...]
    """Of files, lower case, the longest first."""
    module: str
    solid: bool = False
    """Whether it can hold the surfaces of a body."""
    placed: bool = True
    """Whether it can be in another CRS than WGS 84."""


FORMATS: Mapping[str, Format] = {
    "cityjson": Format((".city.json", ".cityjson"), "exporters.cityjson", solid=True),
    "csv": Format((".csv",), "exporters.csvtable", solid=True),
    "geojsonseq": Format((".geojsonseq", ".geojsons", ".geojsonl"), "exporters.geojsonseq", placed=False),
    "gpkg": Format((".gpkg",), "exporters.geopackage", solid=True),
    "geoparquet": Format((".geoparquet", ".parquet"), "exporters.geoparquet", solid=True),
}
"""By the name a user gives."""


def format_of(out: Path, name: str = "") -> str | None:
    """The format of a file: as it is named, otherwise by its suffix; ``None`` where the suffix is of none. Raises UsageError."""
    if name:
        if name not in FORMATS:
            raise UsageError("export.no-format", name=name, known=", ".join(FORMATS))
        return name
    lower = out.name.lower()
    return next((known for known, one in FORMATS.items() if lower.endswith(one.suffixes)), None)


def writer(name: str) -> ModuleType:
    """The module of a format, with its verb ``write``."""
    return import_module(FORMATS[name].module)
