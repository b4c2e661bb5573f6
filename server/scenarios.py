"""Schemes: planned objects in a scenario, put where they are meant to stand and taken away again.

A scenario is a dataset of its own, ``scheme-{name}``, whose objects live on the scenario's line and never on the common one; so it is tiled,
listed, shown and hidden like any other dataset. A model comes as a glb or an IFC file and goes the way of every import.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated
from uuid import UUID

import numpy as np
from fastapi import FastAPI, Query, Request, Response

from importers.plan import Options, Plan, make_plan, slug_of
from importers.run import run_import
from server.catalog import Catalog
from server.edit import Editor, body_of_request
from server.features import Json
from server.follow import draw
from server.parameters import scenario_name
from tim.errors import SourceError, TimError, UsageError
from tim.model import Stage, new_id
from tim.place.resolve import PlaceOptions
from tim.store import Changeset, Retire
from tim.workspace import Workspace

LIMIT = 200_000_000
"""Bytes of a model."""
_KINDS = ((b"glTF", ".glb"), (b"ISO-10303-21", ".ifc"))
_NAME = re.compile(r"[^\w .()\-]+")
Degrees = Annotated[float, Query(ge=-360, le=360)]


def register(api: FastAPI, catalog: Catalog, editor: Editor) -> None:
    """Add the routes that change things."""

    @api.post(
        "/api/scenarios/{scenario}/models",
        status_code=201,
        summary="Place a model (glb or IFC) in a scenario; dryRun: only say what would stand where",
        tags=["Scenarios"],
    )
    async def place_model(
        scenario: str, request: Request, response: Response, name: Annotated[str, Query(min_length=1, max_length=100)], lon: Degrees,
        lat: Annotated[float, Query(ge=-90, le=90)], h: Annotated[float, Query(ge=-12_000, le=100_000)], heading: Degrees = 0.0,
        scale: Annotated[float, Query(gt=0, le=10_000)] = 1.0, dry_run: Annotated[bool, Query(alias="dryRun")] = False,
    ) -> Json:  # fmt: skip
        await catalog.ensure(live=True)
        editor.require(request)
        line = scenario_name(scenario)
        data = await body_of_request(request, LIMIT)
        settings = {
            "at": f"{lon!r},{lat!r},{h!r}",
            "heading": heading,
            "scale": scale,
            "scenario": line,
            "stage": Stage.PLANNED.value,
        }
        if dry_run:
            response.status_code = 200
            return await editor.do(lambda: _foresee(line, name, data, settings))
        made = await editor.do(lambda: _place(editor.workspace, line, name, data, settings))
        await catalog.look_again()
        return made

    @api.delete(
        "/api/objects/{tim_id}",
        status_code=204,
        summary="Take a planned object out of its scenario",
        tags=["Scenarios"],
    )
    async def remove(tim_id: UUID, request: Request) -> Response:
        await catalog.ensure(live=True)
        editor.require(request)
        await editor.do(lambda: _remove(editor.workspace, tim_id))
        await catalog.look_again()
        return Response(status_code=204)


def _place(workspace: Workspace, scenario: str, name: str, data: bytes, settings: dict[str, object]) -> Json:
    """Import one model and tile its scenario."""
    dataset = _dataset(scenario)
    with tempfile.TemporaryDirectory(prefix="scheme-") as folder:
        plan = _plan(Path(folder), scenario, name, data, settings)
        with workspace.store() as store:
            before = store.seq
        run_import(workspace, plan)
    with workspace.store() as store:
        made = store.changed(dataset, before).touched
    draw(workspace, dataset)
    return {
        "id": str(made[0].tim_id),
        "ids": [str(one.tim_id) for one in made],
        "dataset": dataset,
        "scenario": scenario,
    }


def _foresee(scenario: str, name: str, data: bytes, settings: dict[str, object]) -> Json:
    """What placing a model would do, found out in a workspace that is thrown away: how many objects, where, and what is to be said of them.

    ``fixed``: the file says itself where it stands, so that the place asked for is not heeded.
    """
    with tempfile.TemporaryDirectory(prefix="scheme-") as folder:
        trial = Workspace.create(Path(folder) / "trial")
        plan = _plan(Path(folder), scenario, name, data, settings)
        report = run_import(trial, plan)
        with trial.store() as store:
            outlines = [o for d in report.datasets for o in store.outline(d.dataset, scenario=scenario)]
    boxes = np.vstack([np.empty((0, 6)), *(outline.boxes for outline in outlines)])
    known = boxes[np.isfinite(boxes[:, 0])]
    bbox = [*known[:, :3].min(axis=0).tolist(), *known[:, 3:].max(axis=0).tolist()] if len(known) else None
    remarks = {r.code: TimError(r.code, **r.fields).record()["text"] for r in reversed(report.rejected)}
    counts = Counter(r.code for r in report.rejected)
    return {
        "scenario": scenario, "dataset": _dataset(scenario), "objects": len(boxes), "bbox": bbox,
        "fixed": any(delivery.probe.found.horizontal is not None for delivery in plan.deliveries),
        "problems": [{"code": code, "count": count, "message": remarks[code]} for code, count in sorted(counts.items())],
    }  # fmt: skip


def _plan(folder: Path, scenario: str, name: str, data: bytes, settings: dict[str, object]) -> Plan:
    """How a model is imported, which is put into ``folder``. Raises SourceError ``server.model-kind``."""
    suffix = next((suffix for magic, suffix in _KINDS if data.startswith(magic)), None)
    if suffix is None:
        raise SourceError("server.model-kind", kinds="glb, IFC")
    path = folder / f"{_NAME.sub('_', name).strip(' .') or 'model'}~{new_id().hex[-12:]}{suffix}"
    path.write_bytes(data)
    at = str(settings["at"]).split(",")
    place = PlaceOptions(crs=f"ENU:{at[1]},{at[0]},{at[2]}") if suffix == ".glb" else PlaceOptions()
    settings = {**settings, "name": name, "layer": path.stem}
    return make_plan([path], Options(_dataset(scenario), scenario, "objects", place, settings))


def _remove(workspace: Workspace, tim_id: UUID) -> None:
    with workspace.store() as store:
        versions = [v for v in store.history(tim_id) if v.db_to is None and v.object.scenario]
        if not versions:
            raise UsageError("server.no-object", id=str(tim_id))
        found = versions[-1]
        store.apply(
            Changeset(
                found.dataset,
                [Retire(tim_id, if_version=found.version, scenario=found.object.scenario)],
                reason="remove",
            )
        )
    draw(workspace, found.dataset)


def _dataset(scenario: str) -> str:
    return f"scheme-{slug_of(scenario)}"[:63].rstrip("-")
