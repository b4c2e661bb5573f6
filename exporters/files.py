"""A file that is there when it is whole: written beside its place, then renamed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tim.errors import UsageError, WorkspaceError


@contextmanager
def whole(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A path to write to, which becomes ``out`` at the end; what was begun is removed where it does not come to that.

    Raises UsageError ``export.exists`` where there is a file and ``overwrite`` is not given or where there is a folder,
    WorkspaceError where nothing can be written there.
    """
    if out.is_dir() or (out.exists() and not overwrite):
        raise UsageError("export.exists", path=str(out))
    name, dot, suffix = out.name.partition(".")
    part = out.with_name(f"{name}.part-{os.getpid()}{dot}{suffix}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(out)
    except OSError as error:
        raise _refused(out, error) from None
    finally:
        for left in (part, *(part.with_name(part.name + more) for more in ("-journal", "-wal", "-shm"))):
            with suppress(OSError):
                left.unlink(missing_ok=True)


def _refused(out: Path, error: OSError) -> WorkspaceError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return WorkspaceError("export.disk-full", path=str(out))
    return WorkspaceError("export.cannot-write", path=str(out), reason=error.strerror or str(error))
