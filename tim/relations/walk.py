"""Walks along relations, breadth first, in batches: each object once, however relations run in circles; bounded in objects and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from tim.model import Stage
from tim.relations.kinds import unknown_kinds
from tim.store import AsOf, Link, ObjectStore, ObjectVersion
from tim.store.canonical import dumps

Direction = Literal["out", "in", "both"]
Go = Callable[[ObjectVersion, Link, ObjectVersion], bool]
"""Whether to go from an object along a link, whichever way it was stated, to another."""

_BATCH = 200
_LINKS = 10
"""Links that are kept for each object that may be."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What an object must be; all of it, what is empty says nothing. A callable, as :func:`traverse` takes any."""

    classes: tuple[str, ...] = ()
    """Of one of these classes, or below it."""
    stages: tuple[Stage, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Equal as JSON has it."""

    def __call__(self, version: ObjectVersion) -> bool:
        """Whether it holds."""
        record = version.object
        return (
            (not self.classes or any(f"{record.class_id}.".startswith(f"{c}.") for c in self.classes))
            and (not self.stages or record.stage in self.stages)
            and all(
                n in record.attributes and dumps(record.attributes[n], n) == dumps(v, n)
                for n, v in self.attributes.items()
            )
        )


@dataclass(frozen=True, slots=True)
class Node:
    """An object that was met."""

    version: ObjectVersion
    hops: int
    """The fewest from any start."""


@dataclass(frozen=True, slots=True)
class Graph:
    """What a walk met."""

    nodes: Mapping[UUID, Node]
    """In the order they were met, the starts first."""
    links: Sequence[Link]
    """The links that were gone along; both ends are among the nodes."""
    complete: bool
    """False where the limit of objects or of time came first."""
    absent: frozenset[UUID]
    """What was started from, or related to, but is not there at that moment."""

    @property
    def unknown_kinds(self) -> list[str]:
        """Kinds of its links that are not registered."""
        return unknown_kinds(link.kind for link in self.links)


@dataclass(frozen=True, slots=True)
class Path:
    """A chain of objects."""

    nodes: Sequence[ObjectVersion]
    """From one end to the other; empty where none was found."""
    links: Sequence[Link]
    """One fewer than nodes, each as it is stated."""
    complete: bool
    """False where none was found because a limit came first."""


def traverse(
    store: ObjectStore, start: Iterable[UUID], *, hops: int, kinds: Sequence[str] = (), direction: Direction = "out",
    where: Callable[[ObjectVersion], bool] | None = None, stop: Callable[[ObjectVersion], bool] | None = None, as_of: AsOf | None = None,
    scenario: str = "", limit: int = 10_000, seconds: float = 10.0,
) -> Graph:  # fmt: skip
    """Everything within ``hops`` of some objects, along relations of some ``kinds`` (empty: all), as they are stated (``out``), against it
    (``in``), or both ways.

    where: others are not met. stop: these are met, but nothing beyond them, unless they are starts. With a scenario: upon the common line.
    limit: objects that are met at most; ``seconds`` are looked at between batches.
    """
    first = set(start)

    def go(here: ObjectVersion, _: Link, there: ObjectVersion) -> bool:
        return (stop is None or here.tim_id in first or not stop(here)) and (where is None or where(there))

    return walk(store, first, go, hops=hops, kinds=kinds, direction=direction, as_of=as_of, scenario=scenario, limit=limit, seconds=seconds).graph()  # fmt: skip


def shortest_path(
    store: ObjectStore, start: UUID, end: UUID, *, kinds: Sequence[str] = (), direction: Direction = "both",
    where: Callable[[ObjectVersion], bool] | None = None, hops: int = 1000, as_of: AsOf | None = None, scenario: str = "",
    limit: int = 100_000, seconds: float = 10.0,
) -> Path:  # fmt: skip
    """The shortest chain of relations from one object to another, through objects for which ``where`` holds; options as of :func:`traverse`."""

    def go(_: ObjectVersion, __: Link, there: ObjectVersion) -> bool:
        return there.tim_id == end or where is None or where(there)

    met = walk(
        store, {start}, go, hops=hops, kinds=kinds, direction=direction, as_of=as_of, scenario=scenario, limit=limit, seconds=seconds, until=end
    )  # fmt: skip
    if end not in met.nodes:
        return Path((), (), met.complete)
    links: list[Link] = []
    ids = [end]
    while (step := met.came.get(ids[-1])) is not None:
        ids.append(step[0])
        links.append(step[1])
    return Path([met.nodes[i].version for i in reversed(ids)], links[::-1], complete=True)


def walk(
    store: ObjectStore, start: Iterable[UUID], go: Go, *, hops: int, kinds: Sequence[str], direction: Direction, as_of: AsOf | None, scenario: str,
    limit: int, seconds: float, until: UUID | None = None,
) -> _Walk:  # fmt: skip
    """The walk all others are made of. ``until``: end with the hop that meets it."""
    met = _Walk(_View(store, as_of, scenario), go, kinds, direction, limit, time.monotonic() + seconds)
    frontier = met.begin(sorted(start))
    for hop in range(1, hops + 1):
        if not frontier or until in met.nodes:
            break
        frontier = met.step(frontier, hop)
    return met


class _View:
    """A store at one moment, a scenario upon the common line."""

    def __init__(self, store: ObjectStore, as_of: AsOf | None, scenario: str) -> None:
        moment = as_of or AsOf()
        self._store, self._scenario = store, scenario
        self._at = AsOf(moment.valid, store.seq if moment.seq is None else moment.seq)

    def read(self, ids: Sequence[UUID]) -> dict[UUID, ObjectVersion]:
        found = {v.tim_id: v for v in self._store.read(ids, self._at)}
        if self._scenario:
            found |= {v.tim_id: v for v in self._store.read(ids, self._at, self._scenario)}
            found = {i: v for i, v in found.items() if not (v.object.scenario and v.object.stage is Stage.RETIRED)}
        return found

    def links(self, ids: Sequence[UUID], kinds: Sequence[str], *, inverse: bool) -> list[Link]:
        found = self._store.related(ids, kinds, inverse=inverse, as_of=self._at)
        if not self._scenario:
            return found
        own = self._store.related(ids, kinds, inverse=inverse, as_of=self._at, scenario=self._scenario)
        spoken = self._store.standing([i.bytes for i in {link.source for link in found}], self._at, self._scenario)
        return sorted([*own, *(link for link in found if link.source.bytes not in spoken)], key=lambda link: link[:3])


class _Walk:
    def __init__(
        self, view: _View, go: Go, kinds: Sequence[str], direction: Direction, limit: int, deadline: float
    ) -> None:
        self._view, self._go, self._kinds, self._direction = view, go, kinds, direction
        self._limit, self._deadline = limit, deadline
        self.nodes: dict[UUID, Node] = {}
        self.came: dict[UUID, tuple[UUID, Link]] = {}
        self.complete = True
        self._links: dict[Link, None] = {}
        self._absent: set[UUID] = set()

    def begin(self, ids: Sequence[UUID]) -> list[UUID]:
        """The starts that are there."""
        there = self._view.read(ids[: self._limit])
        self.complete = len(ids) <= self._limit
        self._absent.update(i for i in ids[: self._limit] if i not in there)
        self.nodes = {i: Node(there[i], 0) for i in ids if i in there}
        return list(self.nodes)

    def step(self, frontier: Sequence[UUID], hop: int) -> list[UUID]:
        """One hop from some objects; those that are met for the first time."""
        new: list[UUID] = []
        for at in range(0, len(frontier), _BATCH):
            if time.monotonic() > self._deadline:
                self.complete = False
                break
            found = self._found(frontier[at : at + _BATCH])
            unread = {there for _, there, _ in found} - self.nodes.keys() - self._absent
            versions = self._view.read(sorted(unread))
            self._absent |= unread - versions.keys()
            for here, there, link in found:
                known = self.nodes.get(there)
                version = known.version if known else versions.get(there)
                if version is None or not self._go(self.nodes[here].version, link, version):
                    continue
                if (known is None and len(self.nodes) >= self._limit) or len(self._links) >= _LINKS * self._limit:
                    self.complete = False
                    continue
                self._links[link] = None
                if known is None:
                    self.nodes[there] = Node(version, hop)
                    self.came[there] = here, link
                    new.append(there)
        return new

    def graph(self) -> Graph:
        """What was met."""
        return Graph(self.nodes, list(self._links), self.complete, frozenset(self._absent))

    def _found(self, ids: Sequence[UUID]) -> list[tuple[UUID, UUID, Link]]:
        """Links from objects to others: here, there."""
        found: list[tuple[UUID, UUID, Link]] = []
        if self._direction != "in":
            found += [(k.source, k.target, k) for k in self._view.links(ids, self._kinds, inverse=False)]
        if self._direction != "out":
            found += [(k.target, k.source, k) for k in self._view.links(ids, self._kinds, inverse=True)]
        return found
