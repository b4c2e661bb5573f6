"""What goes into a tile of objects and what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from tiling.spec.glb import Buffer
from tim.classes.registry import PLAIN
from tim.geometry import F64
from tim.shape import Problem

Kind = Literal["STRING", "FLOAT64", "INT64", "BOOLEAN"]


@dataclass(frozen=True, slots=True)
class Column:
    """An attribute that tiles carry besides ``tim_id``, ``class`` and ``name``.

    A value of another kind counts as missing; a STRING column takes any, as JSON.
    """

    name: str
    type: Kind


@dataclass(frozen=True, slots=True)
class Model:
    """A model where it stands."""

    content: str
    """Content hash of its blob."""
    format: str
    """``tim-shape`` (east, north, up metres) or ``glb`` (y up)."""
    at: tuple[float, float, float]
    """Longitude, latitude (degrees), ellipsoidal height (m)."""
    heading: float = 0.0
    """Degrees clockwise from north."""
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """East, north, up, before turning."""


@dataclass(slots=True)
class Drawn:
    """One object as a tile shows it. Not frozen, which is three times as fast to make, and there are very many."""

    tim_id: bytes
    """16 of them."""
    class_id: str
    name: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Those asked for; JSON values."""
    shapes: Sequence[bytes | memoryview] = ()
    """Blobs of :mod:`tim.shape` that lie where they are."""
    models: Sequence[Model] = ()
    rgba: int = PLAIN << 8 | 255
    """Of its class: sRGB and opacity, a byte each."""


@dataclass(frozen=True, slots=True)
class Content:
    """A finished tile content."""

    chunks: list[Buffer]
    """Empty where nothing can be drawn."""
    low: F64
    """float64[3]: lower corner of all that is drawn, frame metres."""
    high: F64
    counts: Mapping[str, int]
    """``vertices``, ``triangles``, ``features`` as they are drawn: those of a model as often as it stands there."""
    problems: tuple[Problem, ...] = ()
    deviations: F64 = field(default_factory=lambda: np.zeros(0))
    """float64[objects]: of proxies, metres by which each object's surface may differ from what is drawn, in the order given."""
