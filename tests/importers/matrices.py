"""Transformations of templates and implicit geometries: what stays in a placed model, and what does not."""

from __future__ import annotations

import numpy as np

_TURN = np.radians(30)
UPRIGHT = np.array(
    [
        [2 * np.cos(_TURN), -3 * np.sin(_TURN), 0, 1],
        [2 * np.sin(_TURN), 3 * np.cos(_TURN), 0, 2],
        [0, 0, 1.5, 3],
        [0, 0, 0, 1],
    ]
)
"""Scaled, turned by 30 degrees, moved."""
SHEARED = np.array([[1, 0.5, 0, 0], [0, 1, 0.2, 0], [0.1, 0, 1, 0], [0, 0, 0, 1.0]])
MIRRORED = np.diag([-1.0, 1.0, 1.0, 1.0])
