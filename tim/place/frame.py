"""The dataset frame: a local east-north-up Cartesian frame in which tiles are built, and its lattice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tim.geometry import F64
from tim.place import ellipsoid


@dataclass(frozen=True, slots=True)
class Frame:
    """A right-handed Cartesian frame tangent to the ellipsoid: x east, y north, z up, metres; fixed when a dataset is
    made.

    It is Cartesian, not a map: 100 km from the origin the ground lies 785 m below z = 0, and nothing is distorted.
    """

    lon: float
    """Degrees of the origin."""
    lat: float
    height: float
    """Ellipsoidal metres of the origin."""
    step: float
    """The lattice: a power of two in metres. Positions in tiles are whole multiples of it, so neighbours meet
    exactly."""

    def __post_init__(self) -> None:
        mantissa, _ = np.frexp(self.step)
        if mantissa != 0.5:
            raise ValueError(f"the lattice step must be a power of two, not {self.step}")

    @property
    def axes(self) -> F64:
        """float64[3, 3]: rows are the east, north and up unit vectors in ECEF."""
        lon, lat = np.radians(self.lon), np.radians(self.lat)
        sl, cl, sp, cp = np.sin(lon), np.cos(lon), np.sin(lat), np.cos(lat)
        return np.array([[-sl, cl, 0.0], [-sp * cl, -sp * sl, cp], [cp * cl, cp * sl, sp]])

    @property
    def origin(self) -> F64:
        """float64[3]: ECEF metres of the origin."""
        origin: F64 = ellipsoid.to_ecef(np.array([[self.lon, self.lat, self.height]]))[0]
        return origin

    @property
    def transform(self) -> list[float]:
        """The 3D Tiles ``transform`` of the dataset root: 16 numbers, column-major, frame to ECEF."""
        axes, origin = self.axes, self.origin
        return [*axes[0], 0.0, *axes[1], 0.0, *axes[2], 0.0, *origin, 1.0]

    def from_ecef(self, ecef: F64) -> F64:
        """float64[n, 3] ECEF metres to frame metres; the same bits for a point whatever batch it comes in."""
        return _turned(ecef - self.origin, self.axes)

    def to_ecef(self, local: F64) -> F64:
        """float64[n, 3] frame metres to ECEF metres."""
        return _turned(local, self.axes.T) + self.origin

    def record(self) -> dict[str, Any]:
        """JSON-able record; ``Frame(**record)`` reads it back."""
        return {"lon": self.lon, "lat": self.lat, "height": self.height, "step": self.step}


def _turned(xyz: F64, rows: F64) -> F64:
    """``xyz @ rows.T`` by elementwise operations: a matrix product rounds differently from batch size to batch size."""
    x, y, z = xyz[:, 0], xyz[:, 1], xyz[:, 2]
    return np.column_stack([x * row[0] + y * row[1] + z * row[2] for row in rows])
