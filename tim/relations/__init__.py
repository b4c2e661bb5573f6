"""How objects hang together: kinds of relations as data, walks along them, and two worked walks.

:func:`traverse` goes from objects along relations for some hops; :func:`shortest_path` finds the chain between two; :func:`holding` tells parcel,
buildings and units of one another (地-楼-房); :func:`trace` follows a pipe network.
"""

from __future__ import annotations

from tim.relations.kinds import RelationKind, all_kinds, unknown_kinds
from tim.relations.pipes import CLOSED, Flow, trace
from tim.relations.property import Holding, holding
from tim.relations.walk import Condition, Direction, Graph, Node, Path, shortest_path, traverse

__all__ = [
    "CLOSED", "Condition", "Direction", "Flow", "Graph", "Holding", "Node", "Path", "RelationKind", "all_kinds", "holding", "shortest_path", "trace",
    "traverse", "unknown_kinds",
]  # fmt: skip
