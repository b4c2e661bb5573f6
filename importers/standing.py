"""How a model that is not georeferenced stands, and in which plan: the settings ``at``, ``heading``, ``scale``, ``scenario``, ``stage``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tim.errors import UsageError
from tim.model import Stage
from tim.place.resolve import PlaceOptions


@dataclass(frozen=True, slots=True)
class Standing:
    """What the user says about a model."""

    heading: float = 0.0
    """Degrees clockwise from north."""
    scale: float | tuple[float, float, float] = 1.0
    """A factor, or three for east, north, up."""
    scenario: str = ""
    stage: Stage = Stage.PLANNED


def standing(settings: Mapping[str, Any], where: str, stage: Stage = Stage.PLANNED) -> Standing:
    """The settings of a model; ``stage`` where they name none. Raises UsageError ``import.bad-standing`` naming the setting."""
    named = settings.get("stage", stage)
    try:
        return Standing(
            _numbers(settings.get("heading", 0.0), where, "heading", (1,))[0], _scale(settings.get("scale", 1.0), where),
            str(settings.get("scenario", "")), Stage(named),
        )  # fmt: skip
    except ValueError:
        raise UsageError("import.bad-standing", where=where, setting="stage", value=str(named)) from None


def placed(options: PlaceOptions, settings: Mapping[str, Any]) -> PlaceOptions:
    """Place options in which ``at`` ("lon,lat,h" or three numbers; h on the ellipsoid) has become a local frame there.

    An explicit CRS goes first. Raises UsageError ``import.bad-standing``.
    """
    if "at" not in settings or options.crs is not None:
        return options
    at = settings["at"]
    lon, lat, *height = _numbers(at, "at", "at", (2, 3))
    if abs(lon) > 180 or abs(lat) > 90:
        raise UsageError("import.bad-standing", where="at", setting="at", value=str(at))
    return replace(options, crs=",".join([f"ENU:{lat!r}", repr(lon), *map(repr, height)]))


def _scale(value: Any, where: str) -> float | tuple[float, float, float]:
    numbers = _numbers(value, where, "scale", (1, 3))
    if min(numbers) <= 0:
        raise UsageError("import.bad-standing", where=where, setting="scale", value=str(value))
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1], numbers[2])


def _numbers(value: Any, where: str, setting: str, counts: tuple[int, ...]) -> list[float]:
    parts = value.split(",") if isinstance(value, str) else list(value) if isinstance(value, Sequence) else [value]
    try:
        numbers = [float(part) for part in parts]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in counts or not all(map(math.isfinite, numbers)):
        raise UsageError("import.bad-standing", where=where, setting=setting, value=str(value))
    return numbers
