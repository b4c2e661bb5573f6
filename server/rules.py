"""Planning rules over HTTP: which apply at a place on a day, which to an object, and under which notice.

Only rules of datasets that the caller may see are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import FastAPI, Query, Request

from server.catalog import Catalog
from server.features import Json, class_document
from server.negotiate import secret_of
from server.parameters import Moment, read_moment
from tim.classes import Registry
from tim.errors import UsageError
from tim.rules import Rule, Table, rules_at, rules_for, shipped
from tim.rules.table import Named
from tim.store import AsOf, ObjectStore, ObjectVersion

Kinds = Annotated[list[str] | None, Query(description="Kinds of rules, e.g. height-limit; all where left out")]


def register(api: FastAPI, catalog: Catalog, table: Table | None = None) -> None:
    """Add the routes."""
    known = table or shipped()

    def shown(request: Request) -> list[str]:
        return list(filter(catalog.shows(secret_of(request)), catalog.datasets))

    @api.get(
        "/api/rules", summary="The rules in force at a place on a day: height limits, uses, ratios, …", tags=["Rules"]
    )
    async def at(
        request: Request,
        lon: Annotated[float, Query(ge=-180, le=180)],
        lat: Annotated[float, Query(ge=-90, le=90)],
        day: Moment = None,
        kind: Kinds = None,
        h: Annotated[float | None, Query(description="Ellipsoidal height, metres", allow_inf_nan=False)] = None,
        seq: Annotated[
            int | None, Query(ge=0, description="As the database was after the changeset of this number")
        ] = None,
    ) -> Json:
        await catalog.ensure(live=True)
        seen, moment = shown(request), read_moment(day)
        found = await catalog.ask(lambda store: rules_at(store, lon, lat, moment, kind or (), h, seen, seq, known))
        return {"rules": [_document(rule, known, catalog.classes) for rule in found]}

    @api.get("/api/objects/{tim_id}/rules", summary="The rules whose areas share ground with an object", tags=["Rules"])
    async def of(tim_id: UUID, request: Request, day: Moment = None, kind: Kinds = None) -> Json:
        await catalog.ensure(live=True)
        seen, moment = shown(request), read_moment(day)

        def look(store: ObjectStore) -> Sequence[Rule]:
            version = store.get(tim_id, AsOf(moment)) or _planned(store, tim_id)
            if version is None or version.dataset not in seen:
                raise UsageError("server.no-object", id=str(tim_id))
            return rules_for(store, tim_id, moment, kind or (), seen, known, version.object.scenario)

        return {"rules": [_document(rule, known, catalog.classes) for rule in await catalog.ask(look)]}


def _planned(store: ObjectStore, tim_id: UUID) -> ObjectVersion | None:
    """An object that is not on the common line, in the scenario it is in."""
    return next((v for v in reversed(store.history(tim_id)) if v.db_to is None and v.object.scenario), None)


def _document(rule: Rule, table: Table, classes: Registry) -> Json:
    parameters = [_parameter(table.parameters[name], value) for name, value in rule.parameters.items()]
    return {
        **rule.record(),
        "kind": _names(table.kinds[rule.kind]),
        "class": class_document(rule.class_id, classes),
        "parameters": parameters,
    }


def _parameter(named: Named, value: Any) -> Json:
    return {**_names(named), "unit": named.unit or None, "value": dict(value) if isinstance(value, Mapping) else value}


def _names(named: Named) -> Json:
    return {"id": named.id, "en": named.en, "zh": named.zh}
