"""CPU per tile request against nginx with the same files: ``python -m benchmarks.http [--nginx PATH] [--json]``.

1,000 contents of 50 kB (incompressible, as JPEG and meshopt payloads are), asked for in random order by ``wrk -t1 -c32`` on loopback
with a browser's ``Accept-Encoding``. CPU is user + system of the server's processes from ``/proc``, by the requests wrk counted. Rounds
of the servers alternate, and the median counts: a loaded machine slows all of them alike. Needs Linux, nginx and wrk.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks._report import Row, arguments, emit

TILES = 1000
BYTES = 50_000
SECONDS = 2
ROUNDS = 5

_NGINX = """
worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; daemon off; {user}
events {{ worker_connections 256; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; default_type application/octet-stream;
  types {{ model/gltf-binary glb; }}
  etag on; add_header Cache-Control "public, max-age=31536000, immutable";
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{port}; root {root}; }} }}
"""
_WRK = """
local names = {{}}
for line in io.lines("{names}") do names[#names + 1] = line end
math.randomseed(7)
request = function()
  return wrk.format("GET", "{prefix}" .. names[math.random(#names)] .. ".glb", {{ ["Accept-Encoding"] = "gzip, deflate, br"{header} }})
end
done = function(summary, latency, requests)
  local bad = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format("RESULT %d %d %d %d\\n", summary.requests, summary.duration, summary.errors.status, bad))
end
"""


@dataclass(frozen=True)
class Target:
    """What one series of requests goes to."""

    name: str
    port: int
    pids: tuple[int, ...]
    prefix: str
    header: str = ""
    """Lua table entries of further request headers."""


@dataclass(frozen=True)
class Sample:
    cpu_us: float
    """Per request."""
    rate: float
    """Requests per second."""


def measure(nginx: str, seconds: int = SECONDS, rounds: int = ROUNDS) -> dict[str, Sample]:
    """Medians by target."""
    with tempfile.TemporaryDirectory(prefix="tim-http-") as name:
        folder = Path(name)
        prefixes = _make(folder)
        names = folder / "names.txt"
        with _nginx(nginx, folder) as (nginx_port, nginx_pids), _server(folder / "workspace") as (port, pid):
            known = '["If-None-Match"] = "*"'
            targets = [
                Target("nginx", nginx_port, nginx_pids, "/"),
                Target("tim", port, (pid,), prefixes["public"]),
                Target("keyed", port, (pid,), prefixes["keyed"]),
                Target("nginx 304", nginx_port, nginx_pids, "/", ', ["If-Modified-Since"] = "Fri, 01 Jan 2100 00:00:00 GMT"'),
                Target("tim 304", port, (pid,), prefixes["public"], f", {known}"),
            ]  # fmt: skip
            samples: dict[str, list[Sample]] = {target.name: [] for target in targets}
            for _ in range(rounds):
                for target in targets:
                    samples[target.name].append(_round(target, folder, names, seconds))
    return {
        name: Sample(statistics.median(s.cpu_us for s in found), statistics.median(s.rate for s in found))
        for name, found in samples.items()
    }


def rows(samples: dict[str, Sample]) -> Iterator[Row]:
    """The figures of the design, and the costs behind them."""
    peer = samples["nginx"].cpu_us
    yield Row("cpu_ratio", samples["tim"].cpu_us / peer, "x nginx", 2.5, "nginx", 1.0, at_least=False)
    yield Row("cpu_ratio_keyed", samples["keyed"].cpu_us / peer, "x nginx", 3.5, "nginx", 1.0, at_least=False)
    yield Row("cpu_us", samples["tim"].cpu_us, "µs/request", peer="nginx", peer_value=peer)
    yield Row("cpu_us_keyed", samples["keyed"].cpu_us, "µs/request", peer="nginx", peer_value=peer)
    yield Row(
        "cpu_us_304", samples["tim 304"].cpu_us, "µs/request", peer="nginx", peer_value=samples["nginx 304"].cpu_us
    )
    yield Row("rate", samples["tim"].rate, "requests/s", peer="nginx", peer_value=samples["nginx"].rate)
    yield Row("rate_304", samples["tim 304"].rate, "requests/s", peer="nginx", peer_value=samples["nginx 304"].rate)


def main() -> int:
    parser = arguments("CPU per tile request against nginx.")
    parser.add_argument(
        "--nginx", default=shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin"), help="path of nginx"
    )
    parser.add_argument("--seconds", type=int, default=SECONDS, help="per round and target")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    if not options.nginx or not shutil.which("wrk"):
        print("nginx and wrk are needed: apt-get install nginx-light wrk", file=sys.stderr)
        return 1
    emit("http", rows(measure(options.nginx, options.seconds, options.rounds)), options.json)
    return 0


def _make(folder: Path) -> dict[str, str]:
    """A workspace with a public and a private dataset of the same contents, and these as files; path prefixes by name."""
    from server.access import Keys
    from tiling.archive import Archive, TilesetInfo
    from tiling.builder import TileEntry
    from tim.model import Dataset, dataset_uid
    from tim.place import Frame
    from tim.workspace import Workspace

    workspace = Workspace.create(folder / "workspace")
    frame = Frame(114.3, 30.5, 0.0, 2**-10)
    box = (0.0, 0.0, 0.0, 50.0, 0.0, 0.0, 0.0, 50.0, 0.0, 0.0, 0.0, 10.0)
    (folder / "www").mkdir()
    noise = random.Random(1)
    with Archive(workspace.archive_root) as archive:
        writer = archive.writer("benchmark")
        refs = []
        for _ in range(TILES):
            data = noise.randbytes(BYTES)
            refs.append(writer.put(data))
            (folder / "www" / f"{refs[-1].hash}.glb").write_bytes(data)
        archive.add(writer.close())
        tiles = [TileEntry(f"quad/0/{i}/0", None, box, 0.0, "ADD", ref) for i, ref in enumerate(refs)]
        for slug, private in (("public", False), ("hidden", True)):
            with workspace.store() as store:
                store.put_dataset(Dataset(slug, slug, "objects", dataset_uid(slug), frame, private))
            archive.publish(slug, tiles, TilesetInfo(frame, 1))
    (folder / "names.txt").write_text("\n".join(ref.hash for ref in refs) + "\n", encoding="ascii")
    keys = Keys(workspace.path)
    keys.create("benchmark")
    return {"public": "/tiles/public/c/", "keyed": f"/{keys.sign('benchmark', 'hidden', days=1)}/tiles/hidden/c/"}


@contextmanager
def _nginx(nginx: str, folder: Path) -> Iterator[tuple[int, tuple[int, ...]]]:
    import socket

    folder.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=port, root=folder / "www", user=user), encoding="utf-8")
    process = subprocess.Popen([nginx, "-p", str(folder), "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        _wait_for(lambda: _answers(port))
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield port, (process.pid, *map(int, children))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@contextmanager
def _server(workspace: Path) -> Iterator[tuple[int, int]]:
    code = (
        "import sys; from pathlib import Path; from server.run import serve; from tim.workspace import Workspace;"
        "serve(Workspace.open(Path(sys.argv[1])), port=0, on_ready=lambda url: print(url, flush=True))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(workspace)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r":(\d+)/", process.stdout.readline())
        if found is None:
            raise RuntimeError("the server did not start")
        yield int(found[1]), process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _round(target: Target, folder: Path, names: Path, seconds: int) -> Sample:
    script = folder / "wrk.lua"
    script.write_text(_WRK.format(names=names, prefix=target.prefix, header=target.header), encoding="utf-8")
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{target.port}"]
    before = sum(map(_cpu_seconds, target.pids))
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    spent = sum(map(_cpu_seconds, target.pids)) - before
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+)", output)
    if found is None or int(found[3]) or int(found[4]):
        raise RuntimeError(f"{target.name}: failed requests\n{output}")
    requests = int(found[1])
    return Sample(spent / requests * 1e6, requests / (int(found[2]) / 1e6))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _answers(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_for(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
