"""How far a run is: events for a callback, a few per second, and an estimate of what is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tiling.engine.ledger import Totals

Step = Literal["plan", "build", "finish", "publish"]
SLOW_SECONDS = 900.0
"""Shards last seconds; one that runs this long is named in every event."""
_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at a run."""

    dataset: str
    step: Step
    stage: str
    """The builder's name for it; empty after the last."""
    number: int
    """Which stage it is, from 1."""
    stages: int
    done: int
    """Shards of this stage."""
    total: int
    fraction: float
    """Of this stage, weighted by cost."""
    eta: float | None
    """Seconds until this stage ends; ``None`` until something was finished in this run."""
    seconds: float
    """Since the run began."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Summed over the shards finished in this run: points, triangles, …"""
    slow: tuple[str, ...] = ()
    """Names of shards that run longer than :data:`SLOW_SECONDS`."""


Listener = Callable[[Progress], None]


class Meter:
    """Turns what happens into events."""

    def __init__(self, dataset: str, stages: Sequence[str], listener: Listener | None) -> None:
        self.began = time.monotonic()
        self.counts: dict[str, int] = {}
        self._dataset, self._stages, self._listener = dataset, stages, listener
        self._stage, self._number = "", 0
        self._totals = Totals(0, 0, 0.0, 0.0)
        self._start, self._cost_before, self._told = self.began, 0.0, 0.0

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self.began

    def step(self, step: Step, stage: str = "", totals: Totals | None = None) -> None:
        """A new step begins; for ``build``, where it stands."""
        self._stage = stage
        self._number = self._stages.index(stage) + 1 if stage else len(self._stages)
        if totals is not None:
            self._totals, self._start, self._cost_before = totals, time.monotonic(), totals.cost_done
        self._tell(step)

    def shard(self, cost: float, counts: Mapping[str, int]) -> None:
        """One more shard is finished."""
        was = self._totals
        self._totals = Totals(was.shards, was.done + 1, was.cost, was.cost_done + cost)
        for name, value in counts.items():
            self.counts[name] = self.counts.get(name, 0) + value
        if time.monotonic() - self._told >= _PAUSE or self._totals.done == self._totals.shards:
            self._tell("build")

    def watch(self, running: Sequence[tuple[Any, float]]) -> None:
        """The executor's heartbeat."""
        if time.monotonic() - self._told >= 1.0:
            self._tell("build", tuple(task.shard.name for task, seconds in running if seconds > SLOW_SECONDS))

    def _tell(self, step: Step, slow: tuple[str, ...] = ()) -> None:
        self._told = now = time.monotonic()
        if self._listener is None:
            return
        totals, building = self._totals, step == "build"
        won = totals.cost_done - self._cost_before
        eta = (now - self._start) * (totals.cost - totals.cost_done) / won if building and won > 0 else None
        self._listener(
            Progress(
                self._dataset, step, self._stage, self._number, len(self._stages),
                totals.done if building else 0, totals.shards if building else 0,
                (totals.cost_done / totals.cost if totals.cost else 1.0) if building else 0.0,
                eta, now - self.began, dict(self.counts), slow,
            )
        )  # fmt: skip
