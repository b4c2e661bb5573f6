"""Fast placing: native coordinates to the dataset frame by a polynomial whose error is measured, or exactly where it
is not small.

A map projection followed by a rigid motion is smooth at the scale of the Earth, and linear in height: a place on the
ellipsoid plus the height times the normal there. So frame = P(x, y) + z·Q(x, y), and over a few kilometres P of
degree 2 or 3 and Q of degree 1 follow it to micrometres.

The polynomial is evaluated by elementwise products and sums in a fixed order, never by a matrix product: each IEEE
operation rounds one way only, so with the same coefficients a vertex gives the same bits in every batch, on every
worker and on every machine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from tim.geometry import F64, I32
from tim.place.frame import Frame
from tim.place.place import Place

_BLOCK = 8192
"""Points evaluated at once: a dozen columns of them stay in the second-level cache, and the cost of a numpy call is
spread."""
_DEGREES = ((1, 0), (2, 1), (3, 1), (3, 2), (4, 2), (5, 3), (6, 4))
"""Degrees of P and Q, cheapest first."""
_GRAINS = 32
"""Coefficients are multiples of a power of two just below tolerance / _GRAINS: the last bits of the exact way, which
may differ from processor to processor, hardly ever reach them."""

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class LocalMap(ABC):
    """Native to frame coordinates within one box, with a bound on the error. Picklable."""

    error: float
    """Metres: the largest difference to the exact way over the check points; 0 for the exact way."""

    def __call__(self, xyz: F64) -> F64:
        """float64[n, 3] native (without ``Place.origin`` added) to float64[n, 3] frame metres."""
        return self.from_raw(xyz, np.ones(3), np.zeros(3))

    @abstractmethod
    def from_raw(self, raw: I32 | F64, scale: F64, offset: F64) -> F64:
        """The frame metres of native = raw * scale + offset: int32[n, 3] with float64[3] each, as LAS stores it."""


def local_map(place: Place, frame: Frame, low: F64, high: F64, tolerance: float = 1e-4) -> LocalMap:
    """The cheapest map from ``place`` to ``frame`` good to ``tolerance`` metres over the native box ``low``..``high``.

    The polynomial is fitted on a Chebyshev lattice and checked on another; where it misses the tolerance the map is
    exact. It depends only on the arguments, so two workers that share a box share the map.
    Raises PlaceError where a corner of the box has no place.
    """
    centre = (np.asarray(low, float) + np.asarray(high, float)) / 2
    half = np.maximum((np.asarray(high, float) - np.asarray(low, float)) / 2, 1e-3)

    def exact(lattice: F64) -> F64:
        return frame.from_ecef(place.to_ecef(lattice * half + centre))

    at = _check_lattice()
    truth = exact(at)
    order = max(max(d) for d in _DEGREES) + 1
    samples = exact(_chebyshev_lattice(order))
    grain = 2.0 ** np.floor(np.log2(tolerance / _GRAINS))
    for p, q in _DEGREES:
        found = Polynomial(
            0.0,
            _triple(1 / half), _triple(-centre / half),
            _coefficients(samples, order, p, q, grain),
            p, q,
        )  # fmt: skip
        error = float(np.linalg.norm(found(at * half + centre) - truth, axis=1).max())
        if error <= tolerance:
            return Polynomial(error, found.scale, found.shift, found.coefficients, p, q)
    return Exact(0.0, place, frame)


@dataclass(frozen=True, slots=True)
class Polynomial(LocalMap):
    """frame = P(u, v) + w·Q(u, v), where u, v, w are native coordinates mapped to -1..1 over the box."""

    scale: Triple
    shift: Triple
    """u = native * scale + shift."""
    coefficients: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]
    """For each frame axis: P's and Q's monomials in the order of :func:`_monomials`, metres."""
    p: int
    q: int
    """Degrees of P and Q."""

    def from_raw(self, raw: I32 | F64, scale: F64, offset: F64) -> F64:
        """See :meth:`LocalMap.from_raw`."""
        a = np.asarray(scale) * self.scale
        b = np.asarray(offset) * self.scale + self.shift
        out = np.empty((len(raw), 3))
        powers = _monomials(self.p)
        work = np.empty((len(powers) + 3, min(_BLOCK, len(raw))))
        for start in range(0, len(raw), _BLOCK):
            block = raw[start : start + _BLOCK]
            self._block(block, a, b, work[:, : len(block)], powers, out[start : start + _BLOCK])
        return out

    def _block(self, raw: I32 | F64, a: F64, b: F64, work: F64, powers: list[tuple[int, int]], out: F64) -> None:
        m = len(powers)
        w, total, term = work[m], work[m + 1], work[m + 2]
        # Row 0 of the work space is the constant 1 and is never touched: sums start from the coefficient itself.
        for axis, row in ((0, work[1]), (1, work[2]), (2, w)):
            np.multiply(raw[:, axis], a[axis], out=row)
            np.add(row, b[axis], out=row)
        for k in range(3, m):
            i, j = powers[k]
            lower, factor = (powers.index((i - 1, j)), 1) if i else (powers.index((i, j - 1)), 2)
            np.multiply(work[lower], work[factor], out=work[k])
        for axis, (ps, qs) in enumerate(self.coefficients):
            _sum(qs, work, total, term)
            np.multiply(total, w, out=total)
            for k in range(1, len(ps)):
                np.multiply(work[k], ps[k], out=term)
                np.add(total, term, out=total)
            np.add(total, ps[0], out=out[:, axis])


def _sum(coefficients: tuple[float, ...], work: F64, total: F64, term: F64) -> None:
    if len(coefficients) == 1:
        total[:] = coefficients[0]
        return
    np.multiply(work[1], coefficients[1], out=total)
    np.add(total, coefficients[0], out=total)
    for k in range(2, len(coefficients)):
        np.multiply(work[k], coefficients[k], out=term)
        np.add(total, term, out=total)


@dataclass(frozen=True, slots=True)
class Exact(LocalMap):
    """The way through the CRS, datum and height steps for every point."""

    place: Place
    frame: Frame

    def from_raw(self, raw: I32 | F64, scale: F64, offset: F64) -> F64:
        """See :meth:`LocalMap.from_raw`."""
        return self.frame.from_ecef(self.place.to_ecef(raw * scale + offset))


def _triple(values: F64) -> Triple:
    x, y, z = (float(v) for v in values)
    return x, y, z


def _monomials(degree: int) -> list[tuple[int, int]]:
    """Exponents of u and v by rising degree: 1, u, v, u², uv, v², …"""
    return [(total - j, j) for total in range(degree + 1) for j in range(total + 1)]


def _chebyshev_lattice(order: int) -> F64:
    """float64[order · order · 2, 3]: Chebyshev nodes in u and v, both ends in w."""
    nodes = np.cos((np.arange(order) + 0.5) * np.pi / order)
    u, v, w = np.meshgrid(nodes, nodes, [-1.0, 1.0], indexing="ij")
    return np.column_stack([u.ravel(), v.ravel(), w.ravel()])


def _check_lattice() -> F64:
    """float64[867, 3]: an even lattice with the corners, edges and mid-height of the box."""
    even = np.linspace(-1, 1, 17)
    u, v, w = np.meshgrid(even, even, [-1.0, 0.0, 1.0], indexing="ij")
    return np.column_stack([u.ravel(), v.ravel(), w.ravel()])


def _coefficients(
    samples: F64, order: int, p: int, q: int, grain: float
) -> tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]:
    """Of each frame axis the mean over w (P) and half the difference (Q), as rounded monomials."""
    grid = samples.reshape(order, order, 2, 3)
    mean, half = (grid[:, :, 1] + grid[:, :, 0]) / 2, (grid[:, :, 1] - grid[:, :, 0]) / 2
    return tuple(
        (_truncated(mean[:, :, k], order, p, grain), _truncated(half[:, :, k], order, q, grain)) for k in range(3)
    )


def _truncated(values: F64, order: int, degree: int, grain: float) -> tuple[float, ...]:
    """Discrete Chebyshev transform of values[u, v] at the nodes, cut off above the degree, as rounded monomials."""
    theta = (np.arange(order) + 0.5) * np.pi / order
    basis = np.cos(np.outer(np.arange(degree + 1), theta)) * (2 / order)
    basis[0] /= 2
    chebyshev = basis @ values @ basis.T
    total = np.add.outer(np.arange(degree + 1), np.arange(degree + 1))
    chebyshev[total > degree] = 0.0
    to_power = np.zeros((degree + 1, degree + 1))
    for k in range(degree + 1):
        power = np.polynomial.chebyshev.cheb2poly(np.eye(degree + 1)[k])
        to_power[: len(power), k] = power
    monomial = to_power @ chebyshev @ to_power.T
    return tuple(float(np.round(monomial[i, j] / grain) * grain) for i, j in _monomials(degree))
