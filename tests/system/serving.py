"""A real server in a process of its own, on a free port of the loopback, for as long as a block lasts."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.system.command import environment


@contextmanager
def served(
    workspace: Path,
    *options: str,
    command: Sequence[str] = (sys.executable, "-m", "cli"),
    env: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """The URL of ``tim serve`` over a workspace, ending with a slash."""
    server = subprocess.Popen(
        [*command, "serve", "-w", str(workspace), "--port", "0", *options],
        env=environment() if env is None else dict(env), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8",
    )  # fmt: skip
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(server.stderr or []), daemon=True)
    reader.start()
    try:
        yield _url(server, said)
    finally:
        server.terminate()
        assert server.wait(30) in (0, -15), "".join(said)
        reader.join(10)
        assert server.stderr is not None
        server.stderr.close()


def _url(server: subprocess.Popen[str], said: list[str]) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        for line in list(said):
            if "http://" in line:
                return line[line.index("http://") :].split()[0]
        time.sleep(0.05)
    raise AssertionError("the server said no address: " + "".join(said))
