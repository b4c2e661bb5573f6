"""One export: what goes out, where it lies, and what the format could not hold."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from exporters import FORMATS, writer
from exporters.columns import Columns, columns_of
from exporters.files import whole
from exporters.records import Selection, batches
from exporters.shapes import Shapes, Wanted, geometries
from tim.errors import UsageError
from tim.geometry import F64
from tim.place import Place, PlaceOptions
from tim.place.inverse import place_in, to_native
from tim.store import ObjectStore, ObjectVersion

WGS84 = "EPSG:4979"


@dataclass(frozen=True, slots=True)
class Options:
    """How it goes out."""

    place: PlaceOptions = field(default_factory=PlaceOptions)
    """The CRS to write in, its datum and its heights, as an import of the file would be told; longitude, latitude and ellipsoidal height in
    WGS 84 where there is none."""
    geometry: Wanted = "footprint"
    spreadsheet: bool = False
    """CSV: a byte order mark, and an apostrophe before text that a spreadsheet would run as a formula."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote."""

    out: str
    format: str
    objects: int
    """Versions, where all of them went out."""
    bytes: int
    problems: Sequence[tuple[str, Mapping[str, Any]]]
    """What the format does not hold, as message codes with a ``count`` of objects."""
    seconds: float


@dataclass
class Job:
    """What a format's writer asks."""

    store: ObjectStore
    selection: Selection
    options: Options
    left: Counter[str] = field(default_factory=Counter)
    """What does not go out, by message code."""
    objects: int = 0
    place: Place | None = None
    """What is written in; ``None`` for :data:`WGS84`, longitude first."""

    @property
    def crs(self) -> str:
        """The authority code, or the text the user gave."""
        return self.options.place.crs or WGS84

    @cached_property
    def degrees(self) -> bool:
        """Whether coordinates are longitude and latitude."""
        from pyproj import CRS

        return bool(CRS.from_user_input(self.crs).is_geographic)

    @property
    def dataset(self) -> str:
        """Slug."""
        assert self.selection.filter.dataset is not None
        return self.selection.filter.dataset

    def columns(self) -> Columns:
        """Of the dataset's attributes."""
        return columns_of(self.store, self.dataset)

    def versions(self) -> Iterator[list[ObjectVersion]]:
        """Some thousand at a time."""
        for batch in batches(self.store, self.selection):
            self.objects += len(batch)
            yield batch

    def batches(self) -> Iterator[tuple[list[ObjectVersion], Shapes]]:
        """Some thousand at a time, with their geometry in the CRS that is written, rounded to a tenth of a millimetre."""
        for batch in self.versions():
            shapes = geometries(self.store, batch, self.options.geometry, self.left)
            yield batch, shapely.transform(shapes, self.coordinates, include_z=True)

    def coordinates(self, geographic: F64) -> F64:
        """float64[n, 3], EPSG:4979, to the CRS that is written."""
        written = geographic if self.place is None or not len(geographic) else to_native(self.place, geographic)
        return np.column_stack([np.round(written[:, :2], 9 if self.degrees else 4), np.round(written[:, 2:], 4)])


def export(
    store: ObjectStore,
    selection: Selection,
    out: Path,
    name: str,
    options: Options | None = None,
    *,
    overwrite: bool = False,
) -> Exported:
    """Write a selection to one file, in the format ``name``; the file is there when it is whole.

    Raises UsageError for a file that is there, an option the format does not have, or what the store cannot be asked; PlaceError for a CRS
    that cannot be written; WorkspaceError where the disk is full or nothing can be written.
    """
    began = time.monotonic()
    options = options or Options()
    form = FORMATS[name]
    job = Job(store, selection, options)
    if options.place.crs is not None:
        if not form.placed:
            raise UsageError("export.no-crs", format=name)
        frame = store.dataset(job.dataset).frame
        job.place = place_in(options.place, np.array([[frame.lon, frame.lat, frame.height]]))
    if options.geometry == "body" and not form.solid:
        raise UsageError("export.no-body", format=name)
    with whole(out, overwrite=overwrite) as part:
        writer(name).write(part, job)
        size = part.stat().st_size
    problems = [(code, {"count": count, "file": out.name}) for code, count in sorted(job.left.items()) if count]
    return Exported(str(out), name, job.objects, size, problems, time.monotonic() - began)
