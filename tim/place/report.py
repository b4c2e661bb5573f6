"""The placing report: what was done to the coordinates of a source, step by step, for people and machines.

Definitions from named files (often confidential) appear by file name only, and so do the parameters of a datum
operation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tim.errors import LANGUAGES, render
from tim.place.crs import parse
from tim.place.datum import datum_name
from tim.place.files import whole
from tim.place.parameters import SOURCE, Residuals, residuals
from tim.place.place import Place


def report(place: Place) -> dict[str, Any]:
    """``{"crs", "steps": [conversion, datum, height], "warnings"}``; each step and warning has code, fields and text
    in ``en`` and ``zh``."""
    source = parse(place.definition, place.file)
    datum = datum_name(source.crs) if source.crs is not None else "WGS 84"
    conversion = {"crs": source.name, "kind": source.kind, "datum": datum, "origin": _origin(place)}
    step = f"place.datum-{place.datum.method}"
    accuracy = "?" if place.datum.accuracy is None else f"{place.datum.accuracy:g}"
    fitted = None
    if place.file is not None and place.file.part:
        fitted = residuals(place.file.name, whole(place.file), place.file.part.removesuffix(SOURCE))
    return {
        "crs": place.crs if place.file is None else place.file.shown,
        "steps": [
            {"step": "conversion", **_told("place.step-conversion", conversion)},
            *([{"step": "control", **_told("place.control-residuals", _residuals(fitted))}] if fitted else []),
            {"step": "datum", **_told(step, {"name": place.datum.name, "accuracy": accuracy})},
            {"step": "height", **_told(_height_code(place), _height(place))},
        ],
        "warnings": [_told(code, fields) for code, fields in place.warnings],
    }


def _residuals(fitted: Residuals) -> dict[str, Any]:
    rms, worst = f"{fitted.rms:.4f}", f"{fitted.worst:.4f}"
    return {
        "points": fitted.points,
        "redundancy": fitted.redundancy,
        "rms": rms,
        "max": worst,
        "worst": fitted.worst_name,
    }


def _height_code(place: Place) -> str:
    if place.height.method == "grid" and place.height.offset:
        return "place.height-grid-offset"
    return f"place.height-{place.height.method}"


def _height(place: Place) -> dict[str, Any]:
    height = place.height
    fields: dict[str, Any] = {"name": height.name, "unit": height.unit, "offset": height.offset}
    if height.grid is not None:
        fields |= {"grid": height.grid.name, "sha256": height.grid.sha256}
    return fields


def _origin(place: Place) -> str:
    return ", ".join(f"{value:.15g}" for value in place.origin)


def _told(code: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "code": code,
        "fields": dict(fields),
        "text": {language: render(code, fields, language) for language in LANGUAGES},
    }
