"""Which deliveries are in the store already: what an interrupted or repeated import need not read again.

One file per dataset, written after its changeset. A delivery counts as done while its files, the user's options and the dataset are as
they were then; anything else, and any doubt, means reading it again, which changes nothing that is unchanged.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from importers.plan import Delivery
from importers.reading import Imported
from tim import __version__
from tim.errors import PlaceError
from tim.model import Rejected
from tim.place import Place
from tim.place.files import DatumFile
from tim.place.resolve import PlaceOptions
from tim.store import ObjectStore
from tim.workspace import Workspace

VERSION = 1
_PROBLEMS = 100
"""A delivery with more problems than this is read again each time."""
_FILES = ("mapping",)
"""Settings that are paths of files."""

File = tuple[str, int, int]
"""Name, bytes, modification time (ns)."""


@dataclass(slots=True)
class Stamps:
    """What tells that a delivery is as it was: names, sizes and times of its files, and what the user says about it.

    Of a delivery that is a file, its neighbours of the same stem count as well (``.dbf``, ``.prj``); other files that only its format
    knows of (textures) do not.
    """

    defaults: PlaceOptions
    _folders: dict[Path, dict[str, list[File]]] = field(default_factory=dict)

    def of(self, delivery: Delivery) -> str:
        """A hash; empty where nothing can be told."""
        path = Path(delivery.probe.uri)
        if delivery.probe.kind == "meshes" and not path.is_dir():
            return ""  # its finer levels lie in files of other names
        try:
            files = sorted(_below(path)) if path.is_dir() else self._beside(path)
            places = [_place(options) for options in (delivery.place, self.defaults)]
            settings = dict(delivery.settings)
            read = {name: _sha256(Path(settings[name])) for name in _FILES if name in settings}
        except (OSError, PlaceError):
            return ""
        said = [__version__, delivery.probe.format, delivery.probe.uri, files, places, settings, read]
        return hashlib.blake2b(json.dumps(said, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()[:32]

    def _beside(self, path: Path) -> list[File]:
        """The file and its neighbours; each folder is listed once."""
        if path.parent not in self._folders:
            stems: dict[str, list[File]] = {}
            for entry in os.scandir(path.parent):
                if entry.is_file():
                    stat = entry.stat()
                    stems.setdefault(_stem(entry.name), []).append((entry.name, stat.st_size, stat.st_mtime_ns))
            self._folders[path.parent] = stems
        files = sorted(self._folders[path.parent].get(_stem(path.name), []))
        if path.name not in [name for name, _, _ in files]:
            raise FileNotFoundError(path)
        return files


class Done:
    """The deliveries of one dataset that are in the store."""

    def __init__(self, workspace: Workspace, dataset: str) -> None:
        """Nothing is read yet."""
        self.path = workspace.imports / f"{dataset}.json"
        self._dataset = dataset

    def of(self, store: ObjectStore, stamps: Mapping[tuple[str, str], str]) -> dict[tuple[str, str], Imported]:
        """Those of some deliveries, by format and key, that are as they were, with what they gave; none where anything else changed the dataset since."""
        try:
            record = json.loads(self.path.read_text(encoding="utf-8"))
            if record["version"] != VERSION or record["seq"] != _newest(store, self._dataset):
                return {}
            return {
                (one["format"], one["key"]): _imported(self._dataset, one)
                for one in record["deliveries"]
                if one["stamp"] and stamps.get((one["format"], one["key"])) == one["stamp"]
            }
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def write(self, store: ObjectStore, deliveries: Sequence[Imported], stamps: Mapping[tuple[str, str], str]) -> None:
        """Note what is in the store now, in one step that a kill cannot tear."""
        lines = [
            {
                "format": one.format, "key": one.key, "stamp": stamps[one.format, one.key], "uri": one.uri, "sources": one.sources,
                "objects": one.objects, "count": one.count, "layers": list(one.layers), "place": one.place.record(),
                "rejected": [[r.where, r.code, dict(r.fields)] for r in one.rejected],
            }
            for one in deliveries
            if stamps.get((one.format, one.key)) and len(one.rejected) <= _PROBLEMS
        ]  # fmt: skip
        record = {"version": VERSION, "seq": _newest(store, self._dataset), "deliveries": lines}
        self.path.parent.mkdir(exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(record, ensure_ascii=True, default=str), encoding="utf-8")
        part.replace(self.path)


def _imported(dataset: str, one: Mapping[str, Any]) -> Imported:
    return Imported(
        one["key"], one["format"], one["uri"], dataset, one["sources"], one["objects"], one["count"], tuple(one["layers"]),
        Place.from_record(one["place"]), tuple(Rejected(where, code, fields, one["key"]) for where, code, fields in one["rejected"]), known=True,
    )  # fmt: skip


def _newest(store: ObjectStore, dataset: str) -> int:
    """The sequence number of the dataset's newest changeset; 0 where it has none."""
    return next((record.seq for record in store.log(dataset, 1)), 0)


def _below(folder: Path) -> Iterator[File]:
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in files:
            path = Path(root, name)
            stat = path.stat()
            yield path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns


def _stem(name: str) -> str:
    return name.split(".", 1)[0].lower()


def _place(options: PlaceOptions) -> dict[str, Any]:
    """The options, with the content of the files they name."""
    record = asdict(options)
    for name, prefix in (("crs", "@"), ("datum", "@"), ("vertical", "grid:")):
        value = record[name]
        if value is not None and value.startswith(prefix):
            record[f"{name} file"] = DatumFile.named(re.split("[#,]", value.removeprefix(prefix))[0]).sha256
    return record


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
