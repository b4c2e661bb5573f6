"""From the Earth back to the coordinates of a CRS, by the thousand: what :meth:`tim.place.Place.to_geographic` does, undone.

There is one way from native coordinates to the Earth. A guess by the CRS's own projection misses by the datum step and the height grid,
which hardly change from one place to the next: adding what was missed to the guess comes ten thousand times closer with each step.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tim.errors import PlaceError
from tim.geometry import F64
from tim.place.crs import SourceCrs, parse
from tim.place.place import Place
from tim.place.readout import guess
from tim.place.resolve import FoundCrs, PlaceOptions, resolve

_STEPS = 8
_NEAR = np.array([1e-11, 1e-11, 1e-6])
"""Degrees and metres: as good as there."""


def place_in(options: PlaceOptions, near: F64) -> Place:
    """The place of coordinates to be written in a CRS. near: float64[n, 3], EPSG:4979: where they are.

    Heights are ellipsoidal unless the CRS or the options say otherwise.

    Raises PlaceError as :func:`tim.place.resolve` does; ``place.crs-unreadable`` for an ``ENU`` frame, which is no CRS others know.
    """
    source = _known(options.crs or "")
    if options.vertical is None and source.vertical is None and source.kind != "geocentric":
        options = replace(options, vertical="ellipsoid")
    start = guess(source, near)
    return resolve(FoundCrs(), options, start.min(axis=0), start.max(axis=0))


def to_native(place: Place, geographic: F64) -> F64:
    """float64[n, 3] longitude, latitude, ellipsoidal height (EPSG:4979) to the place's coordinates, east (longitude) first.

    Raises PlaceError ``place.outside-domain`` with the row for a point that the CRS, its datum operation or its height grid do not reach.
    """
    source = _known(place.definition)
    aim = geographic.copy()
    for _ in range(_STEPS):
        native = guess(source, aim)
        if source.kind != "geocentric":
            native[:, 2] /= place.height.unit
        native -= np.asarray(place.origin)
        miss = geographic - place.to_geographic(native)
        miss[:, 0] = (miss[:, 0] + 180) % 360 - 180
        if (np.abs(miss) < _NEAR).all():
            return native
        aim = aim + miss
    row = int(np.argmax(np.abs(miss / _NEAR).max(axis=1)))
    x, y, z = (float(v) for v in geographic[row])
    raise PlaceError("place.outside-domain", row=row, x=x, y=y, z=z)


def _known(text: str) -> SourceCrs:
    source = parse(text)
    if source.kind not in ("projected", "geographic", "geocentric"):
        raise PlaceError("place.crs-unreadable", crs=text[:60], reason="EPSG:n, EPSG:n+m")
    return source
