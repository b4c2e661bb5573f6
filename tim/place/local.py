"""Fast placing: native coordinates to the dataset frame by a polynomial whose error is measured, or exactly where it is not small.

A map projection followed by a rigid motion is smooth at the scale of the Earth: over a kilometre a cubic polynomial in east, north
and up follows it to micrometres, at the price of one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

from tim.geometry import F64
from tim.place.frame import Frame
from tim.place.place import Place


@dataclass(frozen=True, slots=True)
class LocalMap:
    """Native to frame coordinates within one box, with a bound on the error."""

    error: float
    """Metres: the largest difference to the exact way over the check points; 0 for the exact way."""

    def __call__(self, xyz: F64) -> F64:
        """float64[n, 3] native (without ``Place.origin`` added) to float64[n, 3] frame metres."""
        raise NotImplementedError


def local_map(place: Place, frame: Frame, low: F64, high: F64, tolerance: float = 1e-4) -> LocalMap:
    """The cheapest map from ``place`` to ``frame`` good to ``tolerance`` metres over the native box ``low``..``high``.

    The polynomial is fitted on a Chebyshev lattice and checked on another; where it misses the tolerance the map is exact.
    It depends only on the arguments, so two workers that share a box share the map.
    """
    raise NotImplementedError
