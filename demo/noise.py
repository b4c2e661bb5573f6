"""Smooth random fields that are the same for the same place, whatever window they are asked for in."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tim.geometry import F32, F64

Array = F32 | F64 | NDArray[np.bool_]


def f32(values: ArrayLike) -> F32:
    """Anything array-like as float32."""
    return np.asarray(values, np.float32)


def hashed(ix: NDArray[np.int64], iy: NDArray[np.int64], seed: int) -> F32:
    """A uniform number in [0, 1) for each integer lattice point (a 32-bit mixing hash)."""
    seeds = np.uint32(seed * 0x27D4EB2F & 0xFFFFFFFF)
    h = (
        (np.atleast_1d(ix).astype(np.uint32) * np.uint32(0x9E3779B1))
        ^ (np.atleast_1d(iy).astype(np.uint32) * np.uint32(0x85EBCA77))
        ^ seeds
    )
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x2C1B3C6D)
    h ^= h >> np.uint32(12)
    h *= np.uint32(0x297A2D39)
    h ^= h >> np.uint32(15)
    return (h.astype(np.float32) * np.float32(2**-32)).reshape(np.shape(ix))


def value_noise(x: Array, y: Array, size: float, seed: int) -> F32:
    """Value noise in [0, 1] with cells of ``size`` metres, smoothly interpolated."""
    fx, fy = x / size, y / size
    ix, iy = np.floor(fx).astype(np.int64), np.floor(fy).astype(np.int64)
    tx, ty = (fx - ix).astype(np.float32), (fy - iy).astype(np.float32)
    tx, ty = tx * tx * (3 - 2 * tx), ty * ty * (3 - 2 * ty)
    low = hashed(ix, iy, seed) * (1 - tx) + hashed(ix + 1, iy, seed) * tx
    high = hashed(ix, iy + 1, seed) * (1 - tx) + hashed(ix + 1, iy + 1, seed) * tx
    return (low * (1 - ty) + high * ty).astype(np.float32)


def fractal(x: Array, y: Array, size: float, octaves: int, seed: int) -> F32:
    """A sum of octaves of value noise in about [0, 1], each half as large and half as strong."""
    total = np.zeros(np.broadcast(x, y).shape, np.float32)
    weight = 0.0
    for octave in range(octaves):
        amplitude = 0.5**octave
        total += np.float32(amplitude) * value_noise(x, y, size * amplitude, seed + octave)
        weight += amplitude
    return total / np.float32(weight)


def smoothstep(low: float, high: float, x: Array) -> F32:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1).astype(np.float32)
    return t * t * (3 - 2 * t)
