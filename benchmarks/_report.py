"""What all benchmarks share: measuring a command, and printing rows as one JSON document or as a table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, with the bar it has to reach and the peer measured in the same run."""

    metric: str
    value: float
    unit: str
    bar: float | None = None
    peer: str | None = None
    peer_value: float | None = None
    at_least: bool = True
    """Whether the bar is a lower bound; otherwise an upper one."""
    ratio: float | None = None
    """Ours by the peer's, where a metric is not itself a ratio."""

    @property
    def meets(self) -> bool | None:
        if self.bar is None:
            return None
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def record(self) -> dict[str, Any]:
        ratio = self.ratio
        if ratio is None and self.peer_value:
            ratio = self.value / self.peer_value
        return {
            "metric": self.metric, "value": _rounded(self.value), "unit": self.unit, "peer": self.peer,
            "peer_value": _rounded(self.peer_value), "ratio": _rounded(ratio), "bar": self.bar, "meets": self.meets,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Usage:
    """What a command cost, over all its processes."""

    cpu_s: float
    """User + system."""
    wall_s: float
    peak_rss_mb: float
    """The largest sum of resident memory at one moment (sampled)."""
    peak_child_mb: float
    """The largest resident memory of any one process below the command's own."""
    output: str
    """Standard output."""


def run(command: Sequence[str], env: Mapping[str, str] | None = None, timeout: float = 1800.0) -> Usage:
    """Run a command to its end. Raises CalledProcessError with its output where it fails, TimeoutExpired where it hangs. POSIX only."""
    started = time.perf_counter()
    process = subprocess.Popen(
        list(command), env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        encoding="utf-8", start_new_session=True,
    )  # fmt: skip
    memory = _Memory(process.pid)
    timed_out = threading.Event()

    def kill() -> None:
        timed_out.set()
        os.killpg(process.pid, 9)

    timer = threading.Timer(timeout, kill)
    errors: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    stderr = process.stderr
    reader = threading.Thread(target=lambda: errors.append(stderr.read()))
    for thread in (memory, timer, reader):
        thread.start()
    try:
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        timer.cancel()
        memory.stop()
        reader.join()
        process.stdout.close()
        stderr.close()
    if timed_out.is_set():
        raise subprocess.TimeoutExpired(command, timeout)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output, "".join(errors))
    wall = time.perf_counter() - started
    return Usage(usage.ru_utime + usage.ru_stime, wall, memory.peak, memory.peak_child, output)


def emit(name: str, rows: Iterable[Row], as_json: bool, notes: Sequence[str] = ()) -> None:
    """Print the rows of one benchmark to stdout: DESIGN's JSON document, or a table for people."""
    records = [row.record() for row in rows]
    if as_json:
        document = {"benchmark": name, "machine": machine(), "rows": records}
        if notes:
            document["notes"] = list(notes)
        print(json.dumps(document, ensure_ascii=False))
        return
    print(f"{name}  ({machine()['cpu']}, {machine()['cores']} cores)")
    for r in records:
        verdict = "" if r["meets"] is None else "  meets" if r["meets"] else "  MISSES"
        bar = "" if r["bar"] is None else f"  bar {r['bar']:g}"
        peer = (
            "" if r["peer"] is None else f"  {r['peer']} {r['peer_value']:g}" if r["peer_value"] else f"  ({r['peer']})"
        )
        print(f"  {r['metric']:<28} {r['value']:>12,.4g} {r['unit']:<16}{bar}{peer}{verdict}")
    for note in notes:
        print(f"  note: {note}")


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = models[0] if models else cpu
    return {
        "cpu": cpu, "cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(), "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }  # fmt: skip


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser with the option every benchmark has: ``--json``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


class _Memory(threading.Thread):
    """Samples the resident memory of a process and everything below it, twenty times a second, from /proc."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.peak = 0.0
        self.peak_child = 0.0
        self._done = threading.Event()

    def run(self) -> None:
        page = os.sysconf("SC_PAGE_SIZE") / 1e6
        while not self._done.wait(0.05):
            sizes = {pid: pages * page for pid, pages in _tree(self.pid).items()}
            self.peak = max(self.peak, sum(sizes.values()))
            self.peak_child = max([self.peak_child, *(size for pid, size in sizes.items() if pid != self.pid)])

    def stop(self) -> None:
        self._done.set()
        self.join()


def _tree(root: int) -> dict[int, int]:
    """Resident pages by process id, of a process and its descendants."""
    found: dict[int, int] = {}
    queue = [root]
    while queue:
        pid = queue.pop()
        try:
            found[pid] = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            for task in Path(f"/proc/{pid}/task").iterdir():
                queue.extend(int(child) for child in (task / "children").read_text().split())
        except (OSError, IndexError, ValueError):
            continue
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
