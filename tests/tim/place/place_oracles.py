"""Independent ways to the same places: closed formulas that share no code with PROJ or with tim.place.

Transverse Mercator: Krüger's series in the third flattening (Krüger 1912; coefficients as in Karney 2011, eqs. 35 and
36).
"""

from __future__ import annotations

from math import asin, asinh, atan, atan2, atanh, cos, cosh, degrees, hypot, radians, sin, sinh, sqrt, tan

CGCS2000 = (6378137.0, 298.257222101)
WGS84 = (6378137.0, 298.257223563)


def _series(rf: float):
    n = 1 / (2 * rf - 1)
    alpha = (
        n / 2 - 2 * n**2 / 3 + 5 * n**3 / 16 + 41 * n**4 / 180,
        13 * n**2 / 48 - 3 * n**3 / 5 + 557 * n**4 / 1440,
        61 * n**3 / 240 - 103 * n**4 / 140,
        49561 * n**4 / 161280,
    )
    beta = (
        n / 2 - 2 * n**2 / 3 + 37 * n**3 / 96 - n**4 / 360,
        n**2 / 48 + n**3 / 15 - 437 * n**4 / 1440,
        17 * n**3 / 480 - 37 * n**4 / 840,
        4397 * n**4 / 161280,
    )
    return n, alpha, beta


def _rectifying(a: float, n: float) -> float:
    return a / (1 + n) * (1 + n**2 / 4 + n**4 / 64)


def tm_forward(lon, lat, lon0, fe, fn, k0=1.0, shape=CGCS2000):
    a, rf = shape
    n, alpha, _ = _series(rf)
    e = sqrt((2 - 1 / rf) / rf)
    phi, lam = radians(lat), radians(lon - lon0)
    t = sinh(asinh(tan(phi)) - e * atanh(e * sin(phi)))
    xi, eta = atan2(t, cos(lam)), asinh(sin(lam) / hypot(t, cos(lam)))
    north = xi + sum(c * sin(2 * j * xi) * cosh(2 * j * eta) for j, c in enumerate(alpha, 1))
    east = eta + sum(c * cos(2 * j * xi) * sinh(2 * j * eta) for j, c in enumerate(alpha, 1))
    radius = k0 * _rectifying(a, n)
    return fe + radius * east, fn + radius * north


def tm_inverse(x, y, lon0, fe, fn, k0=1.0, shape=CGCS2000):
    a, rf = shape
    n, _, beta = _series(rf)
    e = sqrt((2 - 1 / rf) / rf)
    radius = k0 * _rectifying(a, n)
    xi, eta = (y - fn) / radius, (x - fe) / radius
    xi, eta = (
        xi - sum(c * sin(2 * j * xi) * cosh(2 * j * eta) for j, c in enumerate(beta, 1)),
        eta - sum(c * cos(2 * j * xi) * sinh(2 * j * eta) for j, c in enumerate(beta, 1)),
    )
    chi = asin(sin(xi) / cosh(eta))
    isometric = asinh(tan(chi))
    phi = chi
    for _ in range(8):
        phi = atan(sinh(isometric + e * atanh(e * sin(phi))))
    return lon0 + degrees(atan2(sinh(eta), cos(xi))), degrees(phi)


def geocentric(lon, lat, h, shape=WGS84):
    a, rf = shape
    e2 = (2 - 1 / rf) / rf
    phi, lam = radians(lat), radians(lon)
    normal = a / sqrt(1 - e2 * sin(phi) ** 2)
    return (
        (normal + h) * cos(phi) * cos(lam),
        (normal + h) * cos(phi) * sin(lam),
        (normal * (1 - e2) + h) * sin(phi),
    )


def geodetic(x, y, z, shape=WGS84):
    """By fixed-point iteration on the latitude, to the last bit."""
    a, rf = shape
    e2 = (2 - 1 / rf) / rf
    p = hypot(x, y)
    phi = atan2(z, p * (1 - e2))
    for _ in range(30):
        normal = a / sqrt(1 - e2 * sin(phi) ** 2)
        phi = atan2(z + e2 * normal * sin(phi), p)
    return degrees(atan2(y, x)), degrees(phi), p * cos(phi) + z * sin(phi) - a * sqrt(1 - e2 * sin(phi) ** 2)
