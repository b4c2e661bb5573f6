"""What the server knows: datasets, keys and the archive's state, held in memory and looked at again at most twice a second.

The hot path reads plain dictionaries; SQL runs in a thread, once for all requests that wait for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from server.access import Guard, Keys
from server.errors import report
from server.foreign import Mounts
from tiling.archive import Reader
from tiling.foreign.mount import mount_id
from tim.classes import Registry
from tim.errors import TimError, UsageError
from tim.model import Dataset
from tim.observations import Observations
from tim.sources import SourceRef
from tim.store import ObjectStore

FRESH_SECONDS = 0.5
"""A look at the archive holds this long; then the next request starts another, without waiting for it."""
APART_SECONDS = 0.02
"""Looks are at least this far apart: a flood of requests for what does not exist must not keep a core busy."""
STALE_SECONDS = 2.0
"""After this long (a quiet server) requests wait for the new look: a revoked key must not open anything an hour later."""

READERS = 4
"""Questions to the object store that are worked on at once."""
T = TypeVar("T")


class Catalog:
    """Datasets by slug, the guard of the private ones, and the archive, kept fresh. Belongs to one event loop."""

    def __init__(
        self, archive: Reader, store: Callable[[], ObjectStore], keys: Keys, observations: Observations, classes: Registry, fresh: float = FRESH_SECONDS,
    ) -> None:  # fmt: skip
        """``store`` opens the object store; that, and all use of it, happens in a thread of its own."""
        self.observations = observations
        self.classes = classes
        self.archive = archive
        self.guard = Guard()
        self.datasets: dict[str, Dataset] = {}
        self.mounts = Mounts()
        self.hidden = False
        """Whether anything here is not public, so that what is missing must look like what is hidden."""
        self._open = store
        self._store: ObjectStore | None = None
        self._store_seq = -1
        self._keys = keys
        self._keys_stamp: tuple[int, int] | None = None
        self.fresh = fresh
        self._looked = float("-inf")
        self._look: asyncio.Task[None] | None = None
        self._behind: set[asyncio.Task[None]] = set()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="catalog")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store")

    @property
    def due(self) -> bool:
        """Whether it is time for another look; checked on every request."""
        return time.monotonic() - self._looked > self.fresh

    async def ensure(self, live: bool) -> None:
        """Start a look; wait for it where the answer depends on the newest state, or ours is old."""
        task = self._start()
        if live or time.monotonic() - self._looked > STALE_SECONDS:
            await asyncio.shield(task)

    async def look_again(self) -> None:
        """Wait for a look that began after this call, e.g. because something is missing that another process may just have published."""
        if self._look is not None:
            await asyncio.shield(self._look)
        await asyncio.shield(self._start())

    async def sources(self, datasets: Sequence[str]) -> dict[str, list[SourceRef]]:
        """The bulk sources of each dataset, from the store. Raises StoreError, WorkspaceError."""
        return await asyncio.get_running_loop().run_in_executor(
            self._worker, lambda: {dataset: self._opened().sources(dataset) for dataset in datasets}
        )

    async def ask(self, question: Callable[[ObjectStore], T]) -> T:
        """The answer of the object store to a question, worked out in a thread of its own; several at once. Raises what the question does."""
        loop = asyncio.get_running_loop()
        store = await loop.run_in_executor(self._worker, self._opened) if self._store is None else self._store
        return await loop.run_in_executor(self._readers, partial(question, store))

    def authorize(self, dataset: str, secret: str | None, link: str | None) -> Dataset:
        """The dataset, if it exists and this caller may see it. Raises AccessError, UsageError ``server.no-dataset``."""
        record = self.datasets.get(dataset)
        if record is None or record.private:
            if record is not None or self.hidden:
                self.guard.check(dataset[:64], secret, link)
            if record is None:
                raise UsageError("server.no-dataset", dataset=dataset[:64])
        return record

    def shows(self, secret: str | None) -> Callable[[str], bool]:
        """Whether a dataset, by its slug, is there for a caller with this key."""

        def may(slug: str) -> bool:
            dataset = self.datasets.get(slug)
            return dataset is not None and (not dataset.private or self.guard.visible(slug, secret))

        return may

    def keep(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Let work go on behind an answer; :meth:`close` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)
        return task

    async def close(self) -> None:
        """Let go of threads and files, after the work that still goes on."""
        await asyncio.gather(*self._behind)
        if self._look is not None:
            await self._look
        await asyncio.get_running_loop().run_in_executor(self._worker, self._close_store)
        self._worker.shutdown()
        self._readers.shutdown()
        self.archive.close()
        self.observations.close()

    def _look_around(self) -> None:
        """Look at datasets, keys and archive. Where one fails, what was known of it stays in force, and the failure is logged."""
        for part in (self._look_at_datasets, self._look_at_keys, self.archive.refresh):
            try:
                part()
            except (TimError, OSError) as error:
                report(error)
        self.hidden = self.guard.any or any(dataset.private for dataset in self.datasets.values())
        self._looked = time.monotonic()

    def _look_at_datasets(self) -> None:
        try:
            store = self._opened()
            self.datasets = {dataset.slug: dataset for dataset in store.datasets()}
            if store.seq != self._store_seq:
                self.mounts.sources = {
                    slug: {mount_id(source.key): source for source in store.sources(slug)}
                    for slug, dataset in self.datasets.items() if dataset.kind == "tiles"
                }  # fmt: skip
                self._store_seq = store.seq
        except TimError:
            self._close_store()
            raise

    def _look_at_keys(self) -> None:
        try:
            stat = self._keys.path.stat()
            stamp: tuple[int, int] | None = (stat.st_mtime_ns, stat.st_ino)
        except FileNotFoundError:
            stamp = None
        if stamp != self._keys_stamp:
            self.guard.replace(self._keys.load())
            self._keys_stamp = stamp

    def _opened(self) -> ObjectStore:
        if self._store is None:
            self._store = self._open().__enter__()
        return self._store

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.__exit__(None, None, None)
            self._store = None

    def _start(self) -> asyncio.Task[None]:
        if self._look is None:
            self._look = asyncio.get_running_loop().create_task(self._run())
        return self._look

    async def _run(self) -> None:
        try:
            await asyncio.sleep(max(0.0, self._looked + APART_SECONDS - time.monotonic()))
            await asyncio.get_running_loop().run_in_executor(self._worker, self._look_around)
        finally:
            self._look = None
