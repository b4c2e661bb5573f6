"""Datum files: geoid grids and transform definitions, named by file name and hash so that a place means the same on
every machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pyproj import datadir

from tim.errors import PlaceError
from tim.place import parameters


@dataclass(frozen=True, slots=True)
class DatumFile:
    """A file that a place depends on. Two are equal when name and hash are; the path is only where to look first."""

    name: str
    """File name without folders; what reports show."""
    sha256: str
    """Hex."""
    path: str = field(default="", compare=False)
    part: str = ""
    """The parameter set in the file (:mod:`tim.place.parameters`) that is meant; empty where the whole file is."""

    @classmethod
    def of(cls, path: Path) -> DatumFile:
        """The file at ``path``. Raises PlaceError ``place.file-missing`` where it cannot be read."""
        try:
            return cls(path.name, _sha256(str(path), path.stat().st_mtime_ns), str(path.resolve()))
        except OSError as error:
            raise PlaceError(
                "place.file-missing", file=path.name, folders=shown_folders(), reason=error.strerror
            ) from None

    @classmethod
    def named(cls, text: str) -> DatumFile:
        """The file at a path, or of that name in a datum folder (:func:`folders`). Raises PlaceError ``place.file-missing``."""
        path = Path(text)
        if not path.exists() and (found := find((text,))) is not None:
            return found
        return cls.of(path)

    @classmethod
    def parameters(cls, text: str) -> DatumFile | None:
        """The parameter set named ``FILE[#set]``; ``None`` where the file is of another kind. Raises PlaceError as :meth:`named`, and for unknown sets."""
        name, _, wanted = text.partition("#")
        if Path(name).suffix.lower() not in parameters.SUFFIXES:
            return None
        file = cls.named(name)
        return replace(file, part=parameters.name_of(Path(file.name), file.text(), wanted))

    @property
    def shown(self) -> str:
        """What reports call it."""
        return f"@{self.name}#{self.part.removesuffix(parameters.SOURCE)}" if self.part else f"@{self.name}"

    def locate(self) -> Path:
        """Where the file is on this machine: the path it was found at, or a datum folder. Its bytes are checked
        against the hash.

        Raises PlaceError ``place.file-missing`` or ``place.file-changed``.
        """
        other = False
        for path in [Path(self.path)] * bool(self.path) + [folder / self.name for folder in folders()]:
            if path.is_file():
                if _sha256(str(path), path.stat().st_mtime_ns) == self.sha256:
                    return path
                other = True
        raise PlaceError(
            "place.file-changed" if other else "place.file-missing", file=self.name, folders=shown_folders(), reason=""
        )

    def text(self) -> str:
        """What the file holds, as UTF-8 text with plain line ends; of a parameter set, the definition it stands for."""
        text = _text(str(self.locate()), self.sha256)
        return parameters.definition(self.name, text, self.part) if self.part else text

    def record(self) -> dict[str, Any]:
        """JSON-able record; ``DatumFile(**record)`` reads it back."""
        part = {"part": self.part} if self.part else {}
        return {"name": self.name, "sha256": self.sha256, "path": self.path, **part}


def whole(file: DatumFile) -> str:
    """All that a file holds, whichever part is meant."""
    return replace(file, part="").text()


def folders() -> Iterator[Path]:
    """Where datum files are looked for: ``$TIM_DATUM_DIR`` (several, as in PATH), PROJ's user folder, PROJ's data
    folders."""
    for text in os.environ.get("TIM_DATUM_DIR", "").split(os.pathsep):
        if text:
            yield Path(text)
    yield Path(datadir.get_user_data_dir())  # type: ignore[attr-defined]
    for text in datadir.get_data_dir().split(os.pathsep):
        yield Path(text)


def find(names: tuple[str, ...]) -> DatumFile | None:
    """The first of ``names`` that lies in a datum folder; ``None`` where none does."""
    for folder in folders():
        for name in names:
            if (folder / name).is_file():
                return DatumFile.of(folder / name)
    return None


def shown_folders() -> str:
    """The folders that hold datum files, for messages."""
    return os.environ.get("TIM_DATUM_DIR") or "$TIM_DATUM_DIR"


@lru_cache(maxsize=64)
def _sha256(path: str, mtime_ns: int) -> str:  # noqa: ARG001 - the time is part of the cache's key
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=64)
def _text(path: str, sha256: str) -> str:  # noqa: ARG001 - the hash is part of the cache's key
    return Path(path).read_text(encoding="utf-8-sig", errors="replace").replace("\r\n", "\n").strip()
