"""Pipe networks: what is reached from a place through open pipes.

A pipe (pump, valve) states ``connectsTo`` for both its nodes, the one it begins at first. *Downstream* is from its beginning to its end, as it
was drawn; water may flow otherwise.
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from tim.relations.walk import Condition, Graph, walk
from tim.store import AsOf, Link, ObjectStore, ObjectVersion

Flow = Literal["downstream", "upstream", "both"]
CONNECTS = "connectsTo"
CLOSED = Condition(("pipeline",), attributes={"status": "CLOSED"})
"""A pipe or valve that is shut, as EPANET says it."""


def trace(
    store: ObjectStore, start: UUID, flow: Flow = "both", *, closed: Condition = CLOSED, hops: int = 10_000, as_of: AsOf | None = None,
    scenario: str = "", limit: int = 100_000, seconds: float = 30.0,
) -> Graph:  # fmt: skip
    """Nodes and pipes that are reached from one of them. What is ``closed`` is met and not passed; where one starts at it, it is.

    Other options as of :func:`tim.relations.traverse`.
    """

    def go(here: ObjectVersion, link: Link, there: ObjectVersion) -> bool:
        if here.tim_id != start and closed(here):
            return False
        if flow == "both":
            return True
        entering = link.source == there.tim_id
        pipe, node = (there, here) if entering else (here, there)
        ends = [relation.target for relation in pipe.object.relations if relation.kind == CONNECTS]
        # Downstream one enters a pipe where it begins, and leaves it where it ends.
        return ends[0 if entering == (flow == "downstream") else -1] == node.tim_id

    return walk(
        store, {start}, go, hops=hops, kinds=(CONNECTS,), direction="both", as_of=as_of, scenario=scenario, limit=limit, seconds=seconds
    ).graph()  # fmt: skip
