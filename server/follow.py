"""Tiles that follow changes: brought up to what the store has, in the request where it makes a scheme, behind the answer where it changes one object.

An update of a million objects takes some 30 ms, but a dataset whose notes do not hold is tiled as a whole: no request should wait for that.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from server.catalog import Catalog
from server.errors import report
from tiling import engine
from tiling.archive import Archive
from tim.errors import TimError, WorkspaceError
from tim.store import Filter

if TYPE_CHECKING:
    from tim.workspace import Workspace

_BUSY_SECONDS = 60.0
"""How long the background waits for another process that tiles the dataset."""


def draw(workspace: Workspace, dataset: str) -> None:
    """Bring the tiles of a dataset of objects up to date; an empty one has none."""
    with workspace.store() as store:
        scenario = str(store.dataset(dataset).settings.get("scenario", ""))
        left = bool(store.query(Filter(dataset, scenario=scenario), limit=1).items)
    if left:
        engine.update(workspace, dataset)
        return
    with Archive(workspace.archive_root) as archive:
        archive.drop(dataset)


class Follower:
    """Draws what changed, behind the answers. Belongs to one event loop."""

    def __init__(self, workspace: Workspace, catalog: Catalog) -> None:
        self._workspace, self._catalog = workspace, catalog
        self._running: dict[str, asyncio.Task[None]] = {}
        self._waiting: set[str] = set()

    def changed(self, dataset: str) -> None:
        """Something in a dataset changed: where it has tiles, they follow. Changes that come meanwhile are drawn together, next."""
        if self._catalog.archive.latest(dataset) is None:
            return
        self._waiting.add(dataset)
        if dataset not in self._running:
            self._running[dataset] = self._catalog.keep(self._follow(dataset))

    async def _follow(self, dataset: str) -> None:
        try:
            while dataset in self._waiting:
                self._waiting.discard(dataset)
                await run_in_threadpool(self._patiently, dataset)
        except (TimError, OSError) as error:  # the next change, or tim tile, brings them up to date
            report(error)
        finally:
            del self._running[dataset]

    def _patiently(self, dataset: str) -> None:
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                return draw(self._workspace, dataset)
            except WorkspaceError as error:
                if error.code != "workspace.busy" or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
