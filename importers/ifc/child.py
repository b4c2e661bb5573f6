"""The process that reads one IFC file: ``python -m importers.ifc.child FILE OUT``; OUT becomes a run of pickles, ended by ``None``.

A crash of the geometry kernel ends this process and not the import; a file without its end is not used.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from importers.ifc.model import Product, Summary, products
from tim.errors import CorruptSource


def read_apart(path: Path, out: Path, timeout: float) -> None:
    """Read ``path`` in a process of its own into ``out``. Raises CorruptSource ``ifc.unreadable``, ``ifc.crashed``, ``ifc.too-slow``."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", "importers.ifc.child", str(path), str(out)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise CorruptSource("ifc.too-slow", seconds=timeout) from None
    if done.returncode == 1:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["-"]
        raise CorruptSource("ifc.unreadable", reason=lines[-1][:300].replace(str(path), path.name))
    if done.returncode != 0:
        raise CorruptSource("ifc.crashed", exit=done.returncode)


def records(out: Path) -> Iterator[Summary | Product]:
    """What :func:`read_apart` wrote."""
    with out.open("rb") as stream:
        while (record := pickle.load(stream)) is not None:
            yield record


def main(path: str, out: str) -> None:
    """Write the records of a file."""
    with Path(out).open("wb") as stream:
        for record in products(Path(path)):
            pickle.dump(record, stream, pickle.HIGHEST_PROTOCOL)
        pickle.dump(None, stream)


if __name__ == "__main__":
    main(*sys.argv[1:3])
