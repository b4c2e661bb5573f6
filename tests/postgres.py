"""A PostgreSQL server of one's own with PostGIS, for tests: on loopback, in a folder that goes with it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

DATABASE = "tim"


class Server:
    """One that runs. It may be stopped and started again."""

    def __init__(self, folder: Path, programs: Path, memory: str) -> None:
        self.folder, self.programs, self.memory = folder, programs, memory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    @property
    def url(self) -> str:
        """Of the database that has PostGIS."""
        return f"postgresql://tim@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def local_url(self) -> str:
        """The same over its Unix socket."""
        return f"postgresql://tim@/{DATABASE}?host={quote(str(self.folder), safe='')}&port={self.port}"

    def start(self) -> None:
        settings = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self.folder} -c fsync=off -c shared_buffers={self.memory}"
        self.run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", settings, "start")

    def stop(self, how: str = "fast") -> None:
        self.run("pg_ctl", "-w", "-m", how, "stop")

    def run(self, program: str, *arguments: str) -> None:
        """As the user that owns the server: it refuses to be root."""
        switch = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        said = subprocess.run(
            [*switch, self.programs / program, "-D", self.folder / "data", *arguments],
            cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        assert said.returncode == 0, said.stderr


def missing() -> str:
    """Why there can be no server here; empty where there can."""
    found = programs()
    if found is None:
        return "PostgreSQL is absent"
    share = subprocess.run([found / "pg_config", "--sharedir"], capture_output=True, text=True, check=False)
    folder = Path(share.stdout.strip() or "/") if share.returncode == 0 else found.parent
    if share.returncode == 0 and not (folder / "extension" / "postgis.control").exists():
        return "PostGIS is absent"
    return ""


def programs() -> Path | None:
    """The folder of ``initdb`` and ``pg_ctl``, of the newest version there is."""
    if there := shutil.which("initdb"):
        return Path(there).resolve().parent
    return max(
        (p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        default=None,
        key=lambda p: float(p.parent.name),
    )


@contextmanager
def running(memory: str = "128MB") -> Iterator[Server]:
    """A new server, stopped and gone afterwards. ``memory``: what it keeps pages in."""
    where = programs()
    assert where is not None
    folder = Path(tempfile.mkdtemp(prefix="tim-postgres-"))
    try:
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        server = Server(folder, where, memory)
        server.run("initdb", "-A", "trust", "-U", "tim", "-E", "UTF8", "--locale=C", "-N")
        server.start()
        try:
            root = server.url.removesuffix(DATABASE) + "postgres"
            with psycopg.connect(root, autocommit=True) as db:
                db.execute(f"CREATE DATABASE {DATABASE}".encode())
            with psycopg.connect(server.url, autocommit=True) as db:
                db.execute("CREATE EXTENSION postgis")
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder)
