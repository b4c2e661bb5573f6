"""Closed formulas on the WGS 84 ellipsoid: geodetic to geocentric and back.

Forward: OGP Guidance Note 7-2, method 9602. Back: Bowring (1985) start and two Newton steps, below 1 nm for heights
within ±1,000 km.
"""

from __future__ import annotations

import numpy as np

from tim.geometry import F64

A = 6378137.0
F = 1 / 298.257223563
B = A * (1 - F)
E2 = F * (2 - F)
EP2 = E2 / (1 - E2)


def to_ecef(geographic: F64) -> F64:
    """float64[n, 3] longitude, latitude (degrees), ellipsoidal height (m) to geocentric metres (EPSG:4978)."""
    lon, lat = np.radians(geographic[:, 0]), np.radians(geographic[:, 1])
    h = geographic[:, 2]
    sin_lat, cos_lat = np.sin(lat), np.cos(lat)
    n = A / np.sqrt(1 - E2 * sin_lat * sin_lat)
    out = np.empty((len(geographic), 3))
    out[:, 0] = (n + h) * cos_lat * np.cos(lon)
    out[:, 1] = (n + h) * cos_lat * np.sin(lon)
    out[:, 2] = (n * (1 - E2) + h) * sin_lat
    return out


def to_geographic(ecef: F64) -> F64:
    """float64[n, 3] geocentric metres (EPSG:4978) to longitude, latitude (degrees), ellipsoidal height (m)."""
    x, y, z = ecef[:, 0], ecef[:, 1], ecef[:, 2]
    p = np.hypot(x, y)
    beta = np.arctan2(z * A, p * B)
    for _ in range(3):
        lat = np.arctan2(z + EP2 * B * np.sin(beta) ** 3, p - E2 * A * np.cos(beta) ** 3)
        beta = np.arctan2((1 - F) * np.sin(lat), np.cos(lat))
    n = A / np.sqrt(1 - E2 * np.sin(lat) ** 2)
    # p·cosφ + z·sinφ − a²/n is stable at the poles and on the equator alike.
    h = p * np.cos(lat) + z * np.sin(lat) - A * A / n
    return np.column_stack([np.degrees(np.arctan2(y, x)), np.degrees(lat), h])
