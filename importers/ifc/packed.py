"""``.ifczip``: one model in a zip. It is unpacked into a folder of ours, by a name of ours, within bounds."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tim.errors import CorruptSource

_LARGEST = 8 << 30
"""Bytes of the model."""
_STEEPEST, _ALWAYS = 100, 64 << 20
"""How many times larger than packed it may be, and the size up to which any may."""


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The ``.ifc`` file of a delivery: the file itself, or what is in the ``.ifczip``, as long as the context lasts.

    Raises OSError, CorruptSource: ``ifc.zip-broken``, ``ifc.zip-models``, ``ifc.zip-refused``, ``ifc.xml-form``.
    """
    if path.suffix.lower() == ".ifcxml":
        raise CorruptSource("ifc.xml-form")
    if path.suffix.lower() != ".ifczip":
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="tim-ifczip-") as folder:
        out = Path(folder) / f"{path.stem}.ifc"
        try:
            with zipfile.ZipFile(path) as archive, archive.open(_model(archive)) as stream, out.open("wb") as target:
                shutil.copyfileobj(stream, target, 1 << 20)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
            raise CorruptSource("ifc.zip-broken", reason=str(error)[:200]) from None
        yield out


def _model(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The one model of a zip."""
    models = [i for i in archive.infolist() if PurePosixPath(i.filename.lower()).suffix in (".ifc", ".ifcxml")]
    if len(models) != 1:
        raise CorruptSource("ifc.zip-models", count=len(models))
    (model,) = models
    name = PurePosixPath(model.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
        raise CorruptSource("ifc.zip-refused", entry=model.filename[:200], reason="path")
    if model.flag_bits & 1 or model.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CorruptSource("ifc.zip-refused", entry=model.filename[:200], reason="packing")
    if model.file_size > min(_LARGEST, max(model.compress_size * _STEEPEST, _ALWAYS)):
        raise CorruptSource("ifc.zip-refused", entry=model.filename[:200], reason="size")
    if name.suffix.lower() == ".ifcxml":
        raise CorruptSource("ifc.xml-form")
    return model
