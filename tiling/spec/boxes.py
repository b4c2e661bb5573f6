"""Boxes along the axes of a frame, as 3D Tiles writes them (3D Tiles 1.1 §6.7.1.4): a centre and three half axes."""

from __future__ import annotations

import numpy as np

from tiling.builder import Box12
from tim.geometry import F64


def box_around(low: F64, high: F64) -> Box12:
    """A 3D Tiles box along the frame's axes."""
    centre, half = (low + high) / 2, (high - low) / 2
    x, y, z = (float(v) for v in half)
    return (*(float(v) for v in centre), x, 0.0, 0.0, 0.0, y, 0.0, 0.0, 0.0, z)


def corners(box: Box12) -> tuple[F64, F64]:
    """Lower and upper corner of a box along the axes."""
    values = np.array(box)
    centre, half = values[:3], values[[3, 7, 11]]
    return centre - half, centre + half
