"""Asking for objects: one and what there is to say of it, many, by search, by code.

What a caller may not see is not there: an object of a private dataset answers like one that never was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Body, FastAPI, Query, Request, Response

from server.catalog import Catalog
from server.describe import answers
from server.features import Json, brief_document, object_document, version_document
from server.negotiate import secret_of
from server.parameters import Limit, Moment, Scenario, Seq, read_moment, scenario_name
from tim.classes import Registry
from tim.errors import UsageError
from tim.model import Code, Stage
from tim.relations import traverse
from tim.store import AsOf, Filter, ObjectStore, ObjectVersion

MOST_IDS = 1000
MOST_CLAIMS = 100
"""Objects that a code may lead to."""
MOST_HOPS = 100
SECONDS = 10.0
"""How long a walk along relations may take."""
Direction = Literal["out", "in", "both"]


@dataclass(frozen=True, slots=True)
class Look:
    """When, and on which line, objects are looked at. No line named: the common one, or for what is not on it a scenario it is in."""

    as_of: AsOf
    scenario: str | None

    @classmethod
    def of(cls, moment: str | None, seq: int | None, scenario: str | None) -> Look:
        """As query parameters say."""
        return cls(AsOf(read_moment(moment), seq), None if scenario is None else scenario_name(scenario))


NOW = Look(AsOf(), None)
May = Callable[[str], bool]


def register(api: FastAPI, catalog: Catalog) -> None:
    """Add the routes."""

    @api.get(
        "/api/objects/{tim_id}", summary="One object: class, attributes, codes, relations, sources", tags=["Objects"], responses=answers("Object")
    )  # fmt: skip
    async def one(
        tim_id: UUID, request: Request, response: Response, moment: Moment = None, seq: Seq = None, scenario: Scenario = None
    ) -> Json:  # fmt: skip
        may, look = await ready(catalog, request), Look.of(moment, seq, scenario)

        def answer(store: ObjectStore) -> tuple[Json, int]:
            found = object_seen(store, tim_id, may, look)
            related = _visible(store, [r.target for r in found.object.relations[:MOST_IDS]], may, look)
            return object_document(found, store.sources(found.dataset, seq), related, catalog.classes), found.version

        document, version = await catalog.ask(answer)
        response.headers["etag"] = f'"v{version}"'
        return document

    @api.get(
        "/api/objects/{tim_id}/history", summary="All its versions, oldest first, and the changesets that made them", tags=["Objects"],
        responses=answers("History"),
    )  # fmt: skip
    async def history(tim_id: UUID, request: Request) -> Json:
        may = await ready(catalog, request)

        def answer(store: ObjectStore) -> Json:
            versions = store.history(tim_id)
            if not versions or not may(versions[0].dataset):
                raise UsageError("server.no-object", id=str(tim_id))
            made = store.changesets({version.seq for version in versions})
            return {
                "id": str(tim_id),
                "dataset": versions[0].dataset,
                "versions": [version_document(version, made.get(version.seq), catalog.classes) for version in versions],
            }

        return await catalog.ask(answer)

    @api.get(
        "/api/objects/{tim_id}/relations", summary="How it hangs together with others, step by step", tags=["Objects"],
        responses=answers("Relations"),
    )  # fmt: skip
    async def relations(
        tim_id: UUID, request: Request, direction: Direction = "both",
        kind: Annotated[list[str] | None, Query(max_length=20, description="Only relations of these kinds")] = None,
        hops: Annotated[int, Query(ge=1, le=MOST_HOPS)] = 1, moment: Moment = None, seq: Seq = None, scenario: Scenario = None,
    ) -> Json:  # fmt: skip
        may, look = await ready(catalog, request), Look.of(moment, seq, scenario)

        def answer(store: ObjectStore) -> Json:
            found = object_seen(store, tim_id, may, look)
            met = traverse(
                store, [tim_id], hops=hops, kinds=kind or (), direction=direction, where=lambda version: may(version.dataset), as_of=look.as_of,
                scenario=found.object.scenario or look.scenario or "", limit=MOST_IDS, seconds=SECONDS,
            )  # fmt: skip
            return {
                "id": str(tim_id), "complete": met.complete, "unknownKinds": met.unknown_kinds,
                "links": [
                    {
                        "source": str(link.source), "kind": link.kind, "target": str(link.target), "validFrom": link.valid_from,
                        "validTo": link.valid_to, "evidence": link.evidence,
                    } for link in met.links
                ],
                "objects": [{**brief_document(node.version, catalog.classes), "hops": node.hops} for node in met.nodes.values()],
                "absent": sorted(str(i) for i in met.absent),
            }  # fmt: skip

        return await catalog.ask(answer)

    @api.get(
        "/api/objects/{tim_id}/codes",
        summary="The codes it is known by, and who else claims them",
        tags=["Objects"],
        responses=answers("Claims"),
    )
    async def codes(
        tim_id: UUID, request: Request, moment: Moment = None, seq: Seq = None, scenario: Scenario = None
    ) -> Json:  # fmt: skip
        may, look = await ready(catalog, request), Look.of(moment, seq, scenario)

        def answer(store: ObjectStore) -> Json:
            found = object_seen(store, tim_id, may, look)
            return {"claims": [_claim(c, _claimants(store, c, may, look), catalog.classes) for c in found.object.codes]}

        return await catalog.ask(answer)

    @api.get("/api/codes", summary="All objects that claim a code", tags=["Objects"], responses=answers("Claims"))
    async def claims(
        value: Annotated[str, Query(min_length=1, max_length=200)], request: Request, scheme: Annotated[str | None, Query(max_length=200)] = None,
        moment: Moment = None, seq: Seq = None, scenario: Scenario = None,
    ) -> Json:  # fmt: skip
        may, look = await ready(catalog, request), Look.of(moment, seq, scenario)
        shown = [slug for slug in catalog.datasets if may(slug)]

        def answer(store: ObjectStore) -> Json:
            if scheme is not None:
                found = _claimants(store, Code(scheme, "", value), may, look)
            else:
                found = store.search(value, shown, MOST_CLAIMS)
            grouped: dict[Code, list[ObjectVersion]] = {}
            for version in found:
                for code in version.object.codes:
                    if code.value == value and scheme in (None, code.scheme):
                        grouped.setdefault(Code(code.scheme, code.edition, value), []).append(version)
            return {
                "claims": [
                    _claim(code, grouped[code], catalog.classes)
                    for code in sorted(grouped, key=lambda c: (c.scheme, c.edition))
                ]
            }

        return await catalog.ask(answer)

    @api.post("/api/objects/batch", summary="Many objects by their ids", tags=["Objects"])
    async def many(ids: Annotated[list[UUID], Body(embed=True, max_length=MOST_IDS)], request: Request) -> Json:
        may = await ready(catalog, request)

        def look(store: ObjectStore) -> Json:
            found = _visible(store, ids, may)
            sources = {slug: store.sources(slug) for slug in {version.dataset for version in found.values()}}
            related = _visible(
                store, [r.target for f in found.values() for r in f.object.relations][:MOST_IDS], may, NOW
            )
            return {
                "objects": [
                    object_document(found[i], sources[found[i].dataset], related, catalog.classes)
                    for i in dict.fromkeys(ids)
                    if i in found
                ],
                "missing": [str(i) for i in dict.fromkeys(ids) if i not in found],
            }

        return await catalog.ask(look)

    @api.get("/api/search", summary="Objects by a code, or by (a part of) their name", tags=["Objects"])
    async def search(
        q: Annotated[str, Query(min_length=1, max_length=200)], request: Request, limit: Limit = 20
    ) -> Json:
        may = await ready(catalog, request)
        shown = [slug for slug in catalog.datasets if may(slug)]
        found = await catalog.ask(lambda store: store.search(q.strip(), shown, min(limit, 100)))
        return {"results": [brief_document(item, catalog.classes, q.strip()) for item in found]}


async def ready(catalog: Catalog, request: Request) -> May:
    """What this caller may see, after a look at what there is."""
    await catalog.ensure(live=True)
    return catalog.shows(secret_of(request))


def object_seen(store: ObjectStore, tim_id: UUID, may: May, look: Look) -> ObjectVersion:
    """Raises UsageError ``server.no-object``."""
    found = _visible(store, [tim_id], may, look).get(tim_id)
    if found is None:
        raise UsageError("server.no-object", id=str(tim_id))
    return found


def _visible(store: ObjectStore, ids: Sequence[UUID], may: May, look: Look = NOW) -> dict[UUID, ObjectVersion]:
    """Those of the objects that this caller may see, where and when he looks."""
    found = {version.tim_id: version for version in store.read(ids, look.as_of, look.scenario or "")}
    missing = [i for i in ids if i not in found]
    if look.scenario:
        found |= {version.tim_id: version for version in store.read(missing, look.as_of)}
        found = {
            i: version
            for i, version in found.items()
            if version.object.stage is not Stage.RETIRED or not version.object.scenario
        }
    elif look.scenario is None:
        for tim_id in missing:
            lines = dict.fromkeys(v.object.scenario for v in reversed(store.history(tim_id)) if v.object.scenario)
            in_scenarios = (store.get(tim_id, look.as_of, line) for line in lines)
            if (version := next((v for v in in_scenarios if v is not None), None)) is not None:
                found[tim_id] = version
    return {tim_id: version for tim_id, version in found.items() if may(version.dataset)}


def _claimants(store: ObjectStore, code: Code, may: May, look: Look) -> list[ObjectVersion]:
    """The objects that claim a code, whatever dataset they are of."""
    wanted = Filter(code=code, scenario=look.scenario or "", upon=bool(look.scenario))
    return [version for version in store.query(wanted, look.as_of, limit=MOST_CLAIMS).items if may(version.dataset)]


def _claim(code: Code, objects: Sequence[ObjectVersion], classes: Registry) -> Json:
    return {
        "scheme": code.scheme, "edition": code.edition, "value": code.value, "validFrom": code.valid_from, "validTo": code.valid_to,
        "duplicate": len(objects) > 1, "objects": [brief_document(found, classes, code.value) for found in objects],
    }  # fmt: skip
