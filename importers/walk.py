"""What lies at a place: a file or a folder, walked once, every delivery claimed by the format that knows it.

A folder that is one delivery is claimed whole; what else lies inside it is still offered to the other formats, so that a point cloud
next to a mesh production is not overlooked. Everything that is not claimed is counted.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from importers import FORMATS, Probe, importer, offered
from tim.errors import SourceError
from tim.model import Rejected

_SYSTEM = {"thumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "__macosx", "lost+found", "@eadir"}
_MISSES = 3
"""Inside a claimed folder a file suffix is offered to another format until it said no this often."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was found, in a fixed order."""

    probes: tuple[Probe, ...]
    rejected: tuple[Rejected, ...]
    """Files of unknown type by suffix, folders that cannot be read, links that lead in circles."""


def probe(path: Path, key: str = "") -> Inventory:
    """Walk ``path``. Source keys are relative to it; ``key`` is put before them. A file's key is its name.

    Raises SourceError ``import.no-such-path``, and ``import.nothing-found`` where no file or folder is of a known format.
    """
    path = Path(path)
    if not path.exists():
        raise SourceError("import.no-such-path", path=str(path))
    walk = _Walk()
    if path.is_dir():
        walk.folder(path.absolute(), key)
    else:
        walk.file(path.absolute(), _join(key, path.name), list(FORMATS))
    if not walk.probes:
        seen = ", ".join(f"{suffix or '-'} ({count})" for suffix, (count, _) in sorted(walk.unknown.items())) or "-"
        raise SourceError("import.nothing-found", path=str(path), seen=seen, formats=", ".join(FORMATS))
    unknown = [
        Rejected(example, "import.unknown-type", {"suffix": suffix or "-", "count": count, "example": example})
        for suffix, (count, example) in sorted(walk.unknown.items())
    ]
    owned = {os.path.normpath(Path(p.uri).parent / name) for p in walk.probes for name in p.options.get("owned", ())}
    return Inventory(tuple(p for p in walk.probes if p.uri not in owned), tuple(walk.rejected + unknown))


@dataclass(slots=True)
class _Walk:
    probes: list[Probe] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    unknown: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Suffix to how many and the first of them."""
    folders: set[tuple[int, int]] = field(default_factory=set)
    """Folders walked, by device and inode."""

    def file(self, path: Path, key: str, formats: list[str]) -> None:
        if not self.claim(path, key, formats) and not _companion(path):
            count, example = self.unknown.get(path.suffix.lower(), (0, key))
            self.unknown[path.suffix.lower()] = (count + 1, example)

    def folder(self, path: Path, key: str, inside: str = "", misses: dict[tuple[str, str], int] | None = None) -> None:
        """``inside`` is the format that has claimed a folder around this one."""
        try:
            stat = path.stat()
            with os.scandir(path) as listed:
                entries = sorted((entry.name, entry.is_dir()) for entry in listed)
        except OSError as error:
            self.rejected.append(
                Rejected(
                    key or path.name,
                    "import.folder-unreadable",
                    {"path": key or str(path), "reason": error.strerror or ""},
                )
            )
            return
        if (stat.st_dev, stat.st_ino) in self.folders:
            self.rejected.append(Rejected(key, "import.folder-twice", {"path": key}))
            return
        self.folders.add((stat.st_dev, stat.st_ino))
        if not inside and (inside := self.claim(path, key, _offered(path, folder=True))):
            misses = {}
        for name, is_folder in self.visible(entries, key):
            child, child_key = path / name, _join(key, name)
            if is_folder:
                self.folder(child, child_key, inside, misses)
            elif misses is None:
                self.file(child, child_key, _offered(child, folder=False))
            else:
                self.others(child, child_key, inside, misses)

    def others(self, path: Path, key: str, inside: str, misses: dict[tuple[str, str], int]) -> None:
        for format_name in _offered(path, folder=False):
            kind = (format_name, path.suffix.lower())
            if format_name != inside and misses.get(kind, 0) < _MISSES and not self.claim(path, key, [format_name]):
                misses[kind] = misses.get(kind, 0) + 1

    def claim(self, path: Path, key: str, formats: list[str]) -> str:
        """The first format that knows it; empty where none does."""
        for format_name in formats:
            found = importer(format_name).probe(path, key)
            if found:
                self.probes += [replace(one, uri=str(Path(one.uri).absolute())) for one in found]
                return format_name
        return ""

    def visible(self, entries: list[tuple[str, bool]], key: str) -> Iterator[tuple[str, bool]]:
        for name, is_folder in entries:
            if name.startswith(".") or name.lower() in _SYSTEM:
                continue
            try:
                name.encode()
            except UnicodeEncodeError:
                shown = os.fsencode(name).decode("gb18030", "replace")
                self.rejected.append(
                    Rejected(_join(key, shown), "import.name-undecodable", {"name": _join(key, shown)})
                )
                continue
            yield name, is_folder


def _offered(path: Path, *, folder: bool) -> list[str]:
    return [name for name in FORMATS if offered(name, path, folder=folder)]


def _companion(path: Path) -> bool:
    """Whether it belongs to a file next to it, as its importer says: the ``.dbf`` of a ``.shp``."""
    name = path.name.lower()
    for module in map(importer, FORMATS):
        for suffix, sides in getattr(module, "COMPANIONS", {}).items():
            for side in sides:
                stem = path.name[: -len(side)]
                if name.endswith(side) and any((path.parent / (stem + s)).exists() for s in (suffix, suffix.upper())):
                    return True
    return False


def _join(key: str, name: str) -> str:
    # Composed form: the same disk read on another system gives the same keys.
    name = unicodedata.normalize("NFC", name)
    return f"{key}/{name}" if key else name
