"""The workspace: one folder that holds everything of one installation.

::

    workspace.json          format version, namespace, defaults
    store.sqlite            objects, datasets, sources, history; not there where they are in PostgreSQL
    observations.sqlite     readings of sensors on objects; there from the first series on
    tiles/                  the tile archive: index.sqlite and packs/
    jobs/{dataset}/         ledger and scratch of tiling
    quarantine/{dataset}/   what could not be taken, one file per run
    imports/{dataset}.json  deliveries that are in the store, so that they are not read again
    reports/                what each import did: one page and one JSON document
    locks/                  who writes what just now
    classes/                classes and code lists upon the shipped ones (may be absent)
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from tim.classes import Registry, shipped
from tim.errors import StoreError, WorkspaceError
from tim.model import Rejected
from tim.observations import Observations
from tim.store import ObjectStore
from tim.store.sqlite import SqliteStore

FORMAT = 2
"""Version of the folder's layout. A workspace whose objects are in PostgreSQL has 2, so that programs that do not know of it refuse; others have 1."""

STORE_URL = "TIM_STORE_URL"
"""Environment variable: the address of the store with its password; it counts where it is otherwise the address the workspace has."""

REPAIRS, LAYER = "tim:repairs", "tim:layer"
"""Properties of quarantined records that are given out to be repaired: which record it is, and the layer of its object."""

_RECORD = "workspace.json"
_STORE = "store.sqlite"
_OBSERVATIONS = "observations.sqlite"
_FOLDERS = ("tiles", "jobs", "quarantine", "imports", "reports", "locks")
_LOCKED_BYTE = 1 << 30
"""Beyond the holder's name, so that others may read it while the byte is locked (Windows)."""
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


class Workspace:
    """An open workspace folder. Cheap; holds nothing open."""

    def __init__(self, path: Path, namespace: str, defaults: Mapping[str, Any], store_url: str | None = None) -> None:
        """Use :meth:`create` or :meth:`open`."""
        self.path = path
        self.namespace = namespace
        """Enters the uids of datasets, so that two installations may or may not share ids; fixed when made."""
        self.defaults = defaults
        """Options used where a command gives none, e.g. ``vertical``; JSON values."""
        self.store_url = store_url
        """Where the objects are (:mod:`tim.store.postgis`), without a password; ``None``: in the folder."""

    @classmethod
    def create(
        cls, path: Path | str, namespace: str = "", defaults: Mapping[str, Any] | None = None, store_url: str | None = None,
    ) -> Workspace:  # fmt: skip
        """Make a workspace in a new or empty folder; one whose making was interrupted is made anew.

        ``store_url``: keep the objects in PostgreSQL, in a new store or the one that is there. Its password is not written down.

        Raises WorkspaceError where there is one already, something else is there, or it cannot be written; what opening a store raises.
        """
        path = Path(path)
        if (path / _RECORD).exists():
            raise WorkspaceError("workspace.exists", path=str(path))
        workspace = cls(path, namespace, dict(defaults or {}))
        try:
            path.mkdir(parents=True, exist_ok=True)
            foreign = sorted(
                item.name for item in path.iterdir() if not item.name.startswith((_STORE, _RECORD, *_FOLDERS))
            )
            if foreign:
                raise WorkspaceError("workspace.not-empty", path=str(path), found=foreign[0])
            for name in _FOLDERS:
                (path / name).mkdir(exist_ok=True)
            for left in path.glob(f"{_STORE}*"):
                left.unlink()
            if store_url is None:
                SqliteStore.create(path / _STORE).close()
            else:
                workspace.store_url = _make_store(store_url)
            workspace._save()
        except OSError as error:
            raise _unwritable(path, error) from error
        return workspace

    @classmethod
    def open(cls, path: Path | str) -> Workspace:
        """Open the workspace at ``path``. Raises WorkspaceError where there is none, or one of a newer version."""
        path = Path(path)
        try:
            record = json.loads((path / _RECORD).read_text(encoding="utf-8"))
            version, namespace, defaults = int(record["format"]), record["namespace"], record["defaults"]
            store_url = record.get("store")
        except (FileNotFoundError, NotADirectoryError):
            code = "workspace.missing" if not path.exists() else "workspace.foreign"
            raise WorkspaceError(code, path=str(path)) from None
        except OSError as error:
            raise WorkspaceError("workspace.unreadable", path=str(path), reason=error.strerror or str(error)) from error
        except (ValueError, KeyError, TypeError):
            raise WorkspaceError("workspace.garbled", path=str(path / _RECORD)) from None
        if version > FORMAT:
            raise WorkspaceError("workspace.newer", path=str(path), version=version, known=FORMAT)
        return cls(path, namespace, defaults, store_url)

    @property
    def archive_root(self) -> Path:
        """Folder of the tile archive."""
        return self.path / "tiles"

    def jobs(self, dataset: str) -> Path:
        """Folder of one dataset's ledger and scratch; made where it is not there."""
        folder = self.path / "jobs" / dataset
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(folder, error) from error
        return folder

    @property
    def imports(self) -> Path:
        """Folder of the notes on what is imported already; may not be there."""
        return self.path / "imports"

    @property
    def reports(self) -> Path:
        """Folder of the import reports; may not be there."""
        return self.path / "reports"

    @property
    def quarantine(self) -> Quarantine:
        """What could not be taken."""
        return Quarantine(self.path / "quarantine")

    def classes(self) -> Registry:
        """The classes and code lists that hold here: those shipped, with what the folder ``classes`` changes. Raises StoreError ``classes.*``."""
        own = self.path / "classes"
        return Registry.load([resources.files("tim.classes"), own]) if own.is_dir() else shipped()

    def store(self) -> ObjectStore:
        """The object store, opened; close it (it is a context manager)."""
        if self.store_url is None:
            return SqliteStore(self.path / _STORE)
        from tim.store.postgis import PostgisStore, address

        told = os.environ.get(STORE_URL)
        same = told and address(told).name == self.store_url
        return PostgisStore(told if told and same else self.store_url)

    def observations(self) -> Observations:
        """The observations; close them (a context manager). Nothing is opened or made before it is needed."""
        return Observations(self.path / _OBSERVATIONS)

    def set_defaults(self, defaults: Mapping[str, Any]) -> None:
        """Replace the defaults, in one step that a kill cannot tear."""
        changed = Workspace(self.path, self.namespace, dict(defaults), self.store_url)
        try:
            changed._save()
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self.defaults = changed.defaults

    def require_writable(self) -> None:
        """Raise WorkspaceError now, before any work, where files cannot be made here."""
        probe = self.path / f".probe-{os.getpid()}"
        try:
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def require_space(self, needed: int) -> None:
        """Raise WorkspaceError now, before any work, where the disk has fewer than ``needed`` bytes free."""
        free = shutil.disk_usage(self.path).free
        if free < needed:
            raise WorkspaceError(
                "workspace.no-space", path=str(self.path), needed_mb=-(-needed // 1_000_000), free_mb=free // 1_000_000
            )

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Be the only one who does ``name`` (``import-{dataset}``, ``tile-{dataset}``) here; the system lets go when the process ends, however it ends.

        Raises WorkspaceError naming the holder's process id; never waits.
        """
        path = self.path / "locks" / f"{quote(name, safe='')}.lock"
        try:
            path.parent.mkdir(exist_ok=True)
            file = path.open("a+b")
        except OSError as error:
            raise _unwritable(path, error) from error
        with file:
            if not _try_lock(file):
                file.seek(0)
                raise WorkspaceError(
                    "workspace.busy",
                    path=str(self.path),
                    what=name,
                    pid=file.read(20).decode("ascii", "replace") or "?",
                )
            try:
                file.truncate(0)
                file.write(str(os.getpid()).encode("ascii"))
                file.flush()
                yield
            finally:
                _unlock(file)

    def _save(self) -> None:
        record: dict[str, Any] = {"format": 1, "namespace": self.namespace, "defaults": self.defaults}
        if self.store_url is not None:
            record |= {"format": FORMAT, "store": self.store_url}
        _write_atomically(self.path / _RECORD, json.dumps(record, ensure_ascii=False, indent=2) + "\n")


def _make_store(url: str) -> str:
    """Make a store in PostgreSQL, or see that one is there; its address without the password."""
    from tim.store.postgis import PostgisStore, address

    try:
        PostgisStore.create(url).close()
    except StoreError as error:
        if error.code != "store.pg-exists":
            raise
        PostgisStore(url).close()
    return address(url).name


class Quarantine:
    """Records that could not be taken, as JSON lines, by dataset and step (``import``, ``tile``): a log that only grows, of what was left out
    and of what is settled since.

    A record is open until its delivery is read again, which lists anew what is still wrong with it, or until another delivery repairs it.
    """

    def __init__(self, path: Path) -> None:
        """Below the folder ``path``."""
        self.path = path

    def add(
        self, dataset: str, rejected: Iterable[Rejected], step: str = "import", *,
        read: Iterable[str] = (), repaired: Iterable[str] = (),
    ) -> int:  # fmt: skip
        """Append one run: a file of its own, none where there is nothing to say. Streams; returns how many were rejected.

        ``read``: keys of the deliveries that were read anew, ``repaired``: records (:attr:`tim.model.Rejected.where`) that are in the store
        by now; what earlier runs say of them is settled.
        """
        settled = self._settled(dataset, read, repaired)
        lines = itertools.chain([settled] if settled else [], map(_line, rejected))
        first = next(lines, None)
        if first is None:
            return 0
        folder = self.path / dataset
        count = -1 if settled else 0
        try:
            with _next_run(folder, step) as file:
                for line in itertools.chain([first], lines):
                    file.write(line)
                    count += 1
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _unwritable(folder, error) from error
        return count

    def replace(self, dataset: str, rejected: Iterable[Rejected], step: str) -> int:
        """The present state of a step that looks at everything each time: earlier runs of it go."""
        old = self.runs(dataset, step)
        count = self.add(dataset, rejected, step)
        try:
            for path in old:
                path.unlink()
        except OSError as error:
            raise _unwritable(self.path / dataset, error) from error
        return count

    def runs(self, dataset: str, step: str = "*") -> list[Path]:
        """The files of a dataset, by step and age."""
        return sorted((self.path / dataset).glob(f"{step}-[0-9]*.jsonl"))

    def records(self, dataset: str) -> Iterator[Rejected]:
        """Each different record that is open once, oldest first; what a kill tore off the end of a file is left out."""
        for line in self._open(dataset):
            said = json.loads(line)
            yield Rejected(said["where"], said["code"], said["fields"], said.get("source", ""), said.get("record"))

    def count(self, dataset: str) -> int:
        """How many different records are open."""
        return len(self._open(dataset))

    def export(self, dataset: str, path: Path) -> int:
        """Write the open records that could be read as GeoJSON text sequence (one feature a line), to be repaired and imported again into the
        same dataset with the options of the first time; how many there are.

        Coordinates are as the source has them. The properties ``tim:repairs`` and ``tim:layer`` tell the import which record a feature
        stands for, and in which layer it belongs. Raises WorkspaceError where the file cannot be written.
        """
        count = 0
        try:
            with path.open("w", encoding="utf-8", newline="\n") as file:
                for one in self.records(dataset):
                    if one.record is not None:
                        properties = {**one.record["properties"], REPAIRS: one.where}
                        feature = {**one.record, "properties": properties}
                        file.write(json.dumps(feature, ensure_ascii=False, default=str) + "\n")
                        count += 1
        except OSError as error:
            raise _unwritable(path, error) from error
        return count

    def _open(self, dataset: str) -> list[str]:
        """The lines of open records, each once."""
        lines: dict[str, tuple[str, str]] = {}
        for path in self.runs(dataset):
            with path.open(encoding="utf-8") as file:
                for line in file:
                    if not line.endswith("\n"):
                        continue
                    said = json.loads(line)
                    if "where" in said:
                        lines.setdefault(line, (said["where"], said.get("source", "")))
                        continue
                    read, repaired = set(said["read"]), set(said["repaired"])
                    lines = {
                        line: (where, source)
                        for line, (where, source) in lines.items()
                        if source not in read and where not in read and where not in repaired
                    }
        return list(lines)

    def _settled(self, dataset: str, read: Iterable[str], repaired: Iterable[str]) -> str:
        """The line that settles open records; empty where there is none to settle."""
        read, repaired = set(read), set(repaired)
        if not (read or repaired) or not any(
            one.source in read or one.where in read or one.where in repaired for one in self.records(dataset)
        ):
            return ""
        return json.dumps({"read": sorted(read), "repaired": sorted(repaired)}, ensure_ascii=True) + "\n"


def _next_run(folder: Path, step: str) -> IO[str]:
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(path.stem.rpartition("-")[2]) for path in folder.glob(f"{step}-[0-9]*.jsonl")), default=0)
    while True:
        try:
            return (folder / f"{step}-{number:05}.jsonl").open("x", encoding="utf-8", newline="\n")
        except FileExistsError:
            number += 1


def _line(record: Rejected) -> str:
    content: dict[str, Any] = {"where": record.where, "code": record.code, "fields": dict(record.fields)}
    if record.source:
        content["source"] = record.source
    if record.record is not None:
        content["record"] = dict(record.record)
    return json.dumps(content, ensure_ascii=True, sort_keys=False, default=str) + "\n"


def _write_atomically(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _unwritable(path: Path, error: OSError) -> WorkspaceError:
    if error.errno in _FULL:
        return WorkspaceError("workspace.full", path=str(path))
    return WorkspaceError("workspace.read-only", path=str(path), reason=error.strerror or str(error))


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[bytes]) -> bool:
        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(file: IO[bytes]) -> None:
        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
