"""Point clouds to tiles: points per CPU-second against py3dtiles and against bare decoding, bytes a point, memory of a worker.

``python -m benchmarks.points --peer ENV/bin/python`` where that environment has py3dtiles 12.1; without it the peer's columns stay empty.

The input is real terrain where ``../shared/data`` is there, set side by side nine times (26 million points) and coloured by its own
intensity and slope, because the original is black; otherwise a made-up one. Both tools read the same file, place it on the globe and keep
colour, classification and intensity; both end with tiles ready to be served. CPU-seconds are user + system over all processes, start-up included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._report import Row, Usage, arguments, emit, run

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
COPIES = 3
"""Along each side."""
BARS = {"las_ratio": 10.0, "laz_ratio": 7.0, "laz_of_decode": 0.4, "bytes_per_point": 8.0, "rss_per_worker_mb": 350.0}
PEER = "py3dtiles 12.1"


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--peer", metavar="PYTHON", help="python of an environment with py3dtiles")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the real data sets")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--ours", nargs=2, metavar=("FILE", "OUT"), help="import and tile one file (what this script measures)"
    )
    parser.add_argument("--decode", metavar="FILE", help="decode one file with bare lazrs (what this script measures)")
    options = parser.parse_args()
    if options.ours:
        return convert(Path(options.ours[0]), Path(options.ours[1]), options.workers)
    if options.decode:
        return decode(Path(options.decode))
    with tempfile.TemporaryDirectory(prefix="tim-points-") as folder:
        rows, notes = measure(Path(folder), options.data / "points" / "terrain_3M.laz", options.peer, options.workers)
    emit("points", rows, options.json, notes)
    return None


def measure(folder: Path, terrain: Path, peer: str | None, workers: int) -> tuple[list[Row], list[str]]:
    """All rows, and what to know about them."""
    files = {"las": folder / "cloud.las", "laz": folder / "cloud.laz"}
    count = make_input(terrain, files["las"], files["laz"])
    notes = [
        f"{count:,} points, {workers} workers; " + ("real terrain, coloured" if terrain.exists() else "made-up terrain")
    ]
    me = [sys.executable, "-m", "benchmarks.points"]
    # Both tools start with their modules compiled, as installed ones do.
    environment = {
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(folder / "pycache"),
    }
    warm_up(me, environment, peer, folder)
    rows: list[Row] = []
    used: dict[str, Usage] = {}
    for kind, file in files.items():
        out = folder / f"ours-{kind}"
        used[kind] = run([*me, "--ours", str(file), str(out), "--workers", str(workers)], environment)
        notes.append(
            f"{kind}: {used[kind].cpu_s:.1f} CPU-s, {used[kind].wall_s:.1f} s, {used[kind].peak_rss_mb:.0f} MB in all processes"
        )
        theirs = run_peer(peer, environment, file, folder / f"peer-{kind}") if peer else None
        if theirs:
            notes.append(
                f"{PEER}, {kind}: {theirs.cpu_s:.1f} CPU-s, {theirs.wall_s:.1f} s, {theirs.peak_rss_mb:.0f} MB"
            )
        rows += rates(kind, count, used[kind], theirs)
    best = max(float(json.loads(run([*me, "--decode", str(files["laz"])], environment).output)) for _ in range(2))
    mine = count / used["laz"].cpu_s / 1e6
    rows.append(
        Row(
            "laz_of_decode",
            mine / best,
            "of lazrs",
            BARS["laz_of_decode"],
            "lazrs, Mpts/CPU-s",
            best,
            ratio=mine / best,
        )
    )
    stored = int(used["laz"].output)
    theirs_stored = sum(path.stat().st_size for path in (folder / "peer-laz").rglob("*") if path.is_file())
    rows.append(
        Row(
            "bytes_per_point",
            stored / count,
            "bytes",
            BARS["bytes_per_point"],
            PEER if peer else None,
            theirs_stored / count or None,
            at_least=False,
        )
    )
    child = max(usage.peak_child_mb for usage in used.values())
    rows.append(Row("rss_per_worker_mb", child, "MB", BARS["rss_per_worker_mb"], at_least=False))
    return rows, notes if peer else [*notes, "no --peer given: the ratios are missing"]


def rates(kind: str, count: int, ours: Usage, theirs: Usage | None) -> list[Row]:
    """Points per CPU-second, and the ratio where there is a peer."""
    mine = count / ours.cpu_s / 1e6
    if theirs is None:
        return [Row(f"{kind}_rate", mine, "Mpts/CPU-s")]
    peer = count / theirs.cpu_s / 1e6
    return [
        Row(f"{kind}_rate", mine, "Mpts/CPU-s", None, PEER, peer),
        Row(f"{kind}_ratio", mine / peer, "times", BARS[f"{kind}_ratio"], PEER, 1.0),
    ]


def warm_up(me: list[str], environment: dict[str, str], peer: str | None, folder: Path) -> None:
    """Tile a small cloud with both."""
    small = folder / "small.las"
    write_cloud(small, _made_up(20_000), np.full(3, 0.001), MADE_UP_CORNER, 1)
    run([*me, "--ours", str(small), str(folder / "ours-small")], environment)
    if peer:
        run_peer(peer, environment, small, folder / "peer-small")


def run_peer(python: str, environment: dict[str, str], file: Path, out: Path) -> Usage:
    """py3dtiles with the same attributes. Without ``--color_scale`` it hangs on LAZ for ever, hence also the time limit."""
    command = [
        str(Path(python).with_name("py3dtiles")), "convert", str(file), "--out", str(out), "--overwrite", "--srs_out", "4978",
        "--spec-version", "1.1", "--pyproj-always-xy", "--color_scale", "1",
        "--extra-fields", "classification", "--extra-fields", "intensity",
    ]  # fmt: skip
    return run(command, {**environment, "PYTHONPATH": ""}, timeout=1200)


def convert(file: Path, folder: Path, workers: int) -> None:
    """What ``tim import FILE --vertical ellipsoid`` and ``tim tile`` do; prints the bytes of all tiles as they are stored and sent."""
    from importers.plan import Options, make_plan
    from importers.run import run_import
    from tiling.engine import tile
    from tim.place.resolve import PlaceOptions
    from tim.workspace import Workspace

    workspace = Workspace.create(folder)
    imported = run_import(workspace, make_plan([file], Options(place=PlaceOptions(vertical="ellipsoid"))))
    print(tile(workspace, imported.datasets[0].dataset, workers=workers).snapshot.bytes)


def decode(file: Path) -> None:
    """Decode all points with lazrs, single-threaded, and nothing else; print million points per CPU-second."""
    import laspy
    import lazrs

    with laspy.open(file) as reader:
        header = reader.header
        record = next(v for v in header.vlrs if v.record_id == 22204).record_data
    with file.open("rb") as source:
        source.seek(header.offset_to_point_data)
        started = time.process_time()
        decoder = lazrs.LasZipDecompressor(source, record)
        left = header.point_count
        while left:
            count = min(left, 250_000)
            decoder.decompress_many(bytearray(count * header.point_format.size))
            left -= count
        print(header.point_count / (time.process_time() - started) / 1e6)


MADE_UP_CORNER = np.array([505999.0, 5184492.0, 800.0])


def make_input(terrain: Path, las: Path, laz: Path) -> int:
    """Write the same points as LAS and as LAZ (format 7); returns how many."""
    import laspy

    if terrain.exists():
        tile = laspy.read(terrain, laz_backend=laspy.LazBackend.Lazrs)
        crs = next(v for v in tile.header.vlrs if v.record_id == 2112)
        raw = np.column_stack([tile.X, tile.Y, tile.Z]).astype(np.int64)
        values = (raw, np.asarray(tile.intensity), np.asarray(tile.classification), np.asarray(tile.gps_time), crs)
        scales, offsets = tile.header.scales, tile.header.offsets
    else:
        values = _made_up(2_900_000)
        scales, offsets = np.full(3, 0.001), MADE_UP_CORNER
    for path in (las, laz):
        write_cloud(path, values, scales, offsets, COPIES)
    return len(values[0]) * COPIES * COPIES


def write_cloud(path: Path, values: Any, scales: Any, offsets: Any, copies: int) -> None:
    """``copies`` times ``copies`` of a cloud side by side, coloured."""
    import laspy

    raw, intensity, classes, gps_time, crs = values
    colour = _colour(raw, intensity)
    side = raw[:, :2].max(axis=0) - raw[:, :2].min(axis=0)
    header = laspy.LasHeader(version="1.4", point_format=7)
    header.scales, header.offsets = scales, offsets
    header.vlrs.append(crs)
    with laspy.open(path, mode="w", header=header, laz_backend=laspy.LazBackend.Lazrs) as writer:
        for i in range(copies * copies):
            points: Any = laspy.ScaleAwarePointRecord.zeros(len(raw), header=header)
            shift = np.array([i % copies, i // copies]) * side
            points.X, points.Y = (raw[:, k] + shift[k] for k in (0, 1))
            points.Z, points.intensity, points.classification, points.gps_time = raw[:, 2], intensity, classes, gps_time
            points.red, points.green, points.blue = (colour * np.uint16(257)).T
            writer.write_points(points)


def _colour(raw: Any, intensity: Any) -> Any:
    """uint16[n, 3], 8 bits used: brown to green by height, as bright as the laser found it."""
    height = (raw[:, 2] - raw[:, 2].min()) / max(1, int(np.ptp(raw[:, 2])))
    light = 0.55 + 0.45 * intensity / max(1, int(intensity.max()))
    tone = np.column_stack([150 - 60 * height, 130 - 10 * height, 95 - 30 * height])
    return (tone * light[:, None]).clip(0, 255).astype(np.uint16)


def _made_up(count: int) -> Any:
    """Flight strips over hills, in EPSG:26910."""
    from laspy.vlrs.known import WktCoordinateSystemVlr
    from pyproj import CRS

    random = np.random.default_rng(7)
    y = np.sort(random.uniform(0, 2100, count))
    x = random.uniform(0, 3500, count)
    z = 80 * np.sin(x / 300) * np.cos(y / 250) + random.normal(0, 0.05, count) + 200
    raw = np.rint(np.column_stack([x, y, z]) * 1000).astype(np.int64)
    intensity = random.integers(20, 255, count).astype(np.uint16)
    classes = random.choice([1, 2, 5], count).astype(np.uint8)
    return raw, intensity, classes, np.arange(count) * 1e-5, WktCoordinateSystemVlr(CRS.from_epsg(26910).to_wkt())


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        print(error.stderr, file=sys.stderr)
        raise
