"""The builder end to end: nothing lost, nothing moved, the same bytes every time."""

from __future__ import annotations

from multiprocessing import get_context
from pathlib import Path

import laspy
import numpy as np
import pyproj
import pytest

from tests.importers.las import clouds
from tests.tiling.points import driving
from tests.validator import gltf_errors
from tiling.points import PointBuilder, grow
from tim.errors import TilingError
from tim.sources import SourceRef

SMALL = {"part_points": 60_000, "chunk_points": 45_000, "tile_points": 32_768}
"""Many shards and all stages from few points."""


@pytest.fixture(scope="module")
def refs(tmp_path_factory: pytest.TempPathFactory) -> list[SourceRef]:
    """Two overlapping files, LAS and LAZ, of 230,000 points."""
    folder = tmp_path_factory.mktemp("clouds")
    random = np.random.default_rng(3)
    made = []
    for number, (suffix, count) in enumerate([("laz", 140_000), ("las", 90_000)]):
        plane = random.uniform(0, 400, (count, 2)) + np.array([number * 150, 0])
        height = 20 * np.sin(plane[:, :1] / 40) + random.normal(0, 0.2, (count, 1))
        path = folder / f"strip-{number}.{suffix}"
        clouds.write(path, xyz=np.hstack([plane, height]) + clouds.CORNER, colour_max=255, seed=number)
        made.append(clouds.source(path))
    return made


def as_read(built: driving.Built) -> np.ndarray:
    """int64[n, 3 + attributes], sorted by the attributes: what the tiles hold, for comparing whole clouds."""
    rows = []
    for _, points in built.decoded():
        position = np.rint(points.position / built.job.frame.step).astype(np.int64)
        rest = [
            np.asarray(points.attributes[name]).reshape(len(position), -1)
            for name in ("rgb", "intensity", "classification")
        ]
        rows.append(np.hstack([position, *rest]).astype(np.int64))
    whole = np.concatenate(rows)
    return whole[np.lexsort(whole.T)]


def as_written(refs: list[SourceRef], built: driving.Built) -> np.ndarray:
    """The same from the files, through laspy and pyproj alone."""
    rows = []
    for ref in refs:
        data = laspy.read(ref.uri, laz_backend=laspy.LazBackend.Lazrs)
        position = np.rint(independent(data, "EPSG:32650", built.job.frame) / built.job.frame.step).astype(np.int64)
        colour = linear(np.column_stack([data.red, data.green, data.blue]))
        rows.append(np.column_stack([position, colour, data.intensity, data.classification]))
    whole = np.concatenate(rows)
    return whole[np.lexsort(whole.T)]


def linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB bytes as linear light, rounded to bytes (IEC 61966-2-1)."""
    value = srgb / 255
    return np.rint(255 * np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)).astype(np.int64)


def independent(data: laspy.LasData, crs: str, frame) -> np.ndarray:
    """float64[n, 3]: positions in the frame by one PROJ transformation, and the textbook rotation."""
    transformer = pyproj.Transformer.from_crs(pyproj.CRS(crs).to_3d(), "EPSG:4978", always_xy=True)
    ecef = np.column_stack(transformer.transform(np.asarray(data.x), np.asarray(data.y), np.asarray(data.z)))
    origin = np.array(
        pyproj.Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True).transform(
            frame.lon, frame.lat, frame.height
        )
    )
    lon, lat = np.radians([frame.lon, frame.lat])
    east = [-np.sin(lon), np.cos(lon), 0]
    north = [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)]
    up = [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    return (ecef - origin) @ np.array([east, north, up]).T


def assert_tree(built: driving.Built) -> None:
    """Parents first, one root, content inside its box, children's boxes inside and errors not above their parents'."""
    seen = {}
    for tile in built.tiles:
        if tile.parent is None:
            assert tile.key == "oct/0/0/0/0"
            assert not seen
        else:
            parent = seen[tile.parent]
            assert parent.geometric_error >= tile.geometric_error > 0
            centre, half = np.array(tile.box[:3]), tile.box[3]
            assert (np.abs(centre - parent.box[:3]) + half <= parent.box[3] * (1 + 1e-12)).all()
        assert tile.key not in seen
        seen[tile.key] = tile
    for tile, points in built.decoded():
        assert len(points.position) == tile.counts["points"]
        assert (np.abs(points.position - tile.box[:3]) <= tile.box[3]).all(), tile.key


@pytest.mark.parametrize("compression", ["meshopt", "none"])
def test_every_point_is_there_once_where_it_belongs(refs, tmp_path, compression):
    built = driving.build(refs, tmp_path, compression=compression, **SMALL)
    assert_tree(built)
    assert all(len(results) > 0 for results in built.results.values())
    mine, theirs = as_read(built), as_written(refs, built)
    # Colour, intensity and class together tell the points apart.
    np.testing.assert_array_equal(mine[:, 3:], theirs[:, 3:])
    assert np.abs(mine[:, :3] - theirs[:, :3]).max() <= 1


def test_tiles_hold_at_most_their_number_and_are_valid(refs, tmp_path):
    built = driving.build(refs, tmp_path / "scratch", **SMALL)
    assert max(tile.counts["points"] for tile in built.tiles) <= SMALL["tile_points"]
    built.save(tmp_path)
    assert gltf_errors(tmp_path) == []


def test_the_same_bytes_in_any_order_and_process(refs, tmp_path):
    first = driving.build(refs, tmp_path / "a", **SMALL)
    with get_context("spawn").Pool(1) as pool:
        results = [
            pool.apply(driving.build, (refs, tmp_path / str(seed)), {"shuffle": seed, **SMALL}) for seed in (1, 2)
        ]
    for other in results:
        assert other.tiles == first.tiles
        assert other.sink.contents == first.sink.contents


def test_moved_files_give_the_same_bytes(tmp_path):
    contents = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        clouds.write(tmp_path / folder / "cloud.laz", 40_000)
        built = driving.build([clouds.source(tmp_path / folder / "cloud.laz")], tmp_path / folder / "scratch")
        contents.append(built.sink.contents)
    assert contents[0] == contents[1]


def test_a_shard_done_again_leaves_the_same(refs, tmp_path):
    first = driving.build(refs, tmp_path, **SMALL)
    for file in tmp_path.iterdir():
        file.write_bytes(b"left by a killed attempt")
    again = driving.build(refs, tmp_path, **SMALL)
    assert again.tiles == first.tiles


def test_many_points_in_one_place_are_kept(tmp_path):
    """Where the deepest cell holds more than a tile may, its tile takes them all: there is no finer place to put them."""
    path = tmp_path / "cloud.laz"
    random = np.random.default_rng(1)
    spread = random.uniform(0, 50, (60_000, 3))
    xyz = np.concatenate([spread, np.full((150_000, 3), 25.0)]) + clouds.CORNER
    clouds.write(path, xyz=xyz, colour_max=255)
    ref = clouds.source(path)
    built = driving.build([ref], tmp_path / "scratch", **SMALL)
    assert_tree(built)
    np.testing.assert_array_equal(np.sort(as_read(built)[:, 6]), np.sort(as_written([ref], built)[:, 6]))
    largest = max(built.tiles, key=lambda tile: tile.counts["points"])
    assert largest.counts["points"] >= 150_000 - SMALL["tile_points"] * 2
    assert sorted(tile.counts["points"] for tile in built.tiles)[-2] <= SMALL["tile_points"]


def test_one_point_and_a_flat_line(tmp_path):
    for name, xyz in {"one": np.zeros((1, 3)), "line": np.linspace([0, 0, 0], [90, 0, 0], 50_000)}.items():
        path = tmp_path / f"{name}.las"
        clouds.write(path, xyz=xyz + clouds.CORNER)
        built = driving.build([clouds.source(path)], tmp_path / name)
        assert_tree(built)
        assert len(built.positions()) == len(xyz)


def test_wide_tiles_are_exact(tmp_path):
    """A tile wider than 65,535 steps keeps lattice positions, as integers in floats."""
    path = tmp_path / "cloud.laz"
    clouds.write(path, 20_000, size=9000.0, colour_max=255, scale=0.001)
    ref = clouds.source(path)
    frame = driving.frame_of([ref], 2.0**-10)
    built = driving.build([ref], tmp_path / "scratch", frame)
    (tile,) = [tile for tile in built.tiles if tile.content]
    assert tile.counts["points"] == 20_000
    data = laspy.read(path, laz_backend=laspy.LazBackend.Lazrs)
    truth = independent(data, "EPSG:32650", frame)
    found = built.decoded()[0][1].position
    assert np.abs(np.sort(found[:, 0]) - np.sort(truth[:, 0])).max() <= frame.step
    steps = found / frame.step
    np.testing.assert_array_equal(steps, np.rint(steps))


def test_further_attributes_are_carried(tmp_path):
    path = tmp_path / "cloud.laz"
    extra = [
        laspy.ExtraBytesParams("amplitude", "f4"),
        laspy.ExtraBytesParams("pulse", "u4"),
        laspy.ExtraBytesParams("normal", "3i2"),
    ]
    data = clouds.write(path, 5000, extra=extra)
    wanted = ["gps_time", "return_number", "amplitude", "pulse", "normal", "scan_angle"]
    built = driving.build([clouds.source(path)], tmp_path / "scratch", attributes=wanted)
    attributes = built.decoded()[0][1].attributes
    assert set(attributes) == {"rgb", "intensity", "classification", *wanted}
    time = np.asarray(data.gps_time)
    assert np.abs(np.sort(attributes["gps_time"]) - np.sort(time)).max() <= np.ptp(time) * 2**-24
    np.testing.assert_array_equal(np.sort(attributes["amplitude"]), np.sort(data.amplitude))
    np.testing.assert_array_equal(np.sort(attributes["return_number"]), np.sort(data.return_number))
    np.testing.assert_allclose(np.sort(attributes["pulse"]), np.sort(data.pulse), atol=2**32 * 2**-24)
    assert attributes["normal"].shape == (5000, 3)
    built.save(tmp_path)
    assert gltf_errors(tmp_path) == []


def test_sources_without_colour_are_white_beside_coloured_ones(tmp_path):
    clouds.write(tmp_path / "colour.laz", 1000, point_format=7)
    clouds.write(tmp_path / "plain.laz", 500, point_format=6)
    built = driving.build(
        [clouds.source(tmp_path / name) for name in ("colour.laz", "plain.laz")], tmp_path / "scratch"
    )
    rgb = np.concatenate([points.attributes["rgb"] for _, points in built.decoded()])
    assert len(rgb) == 1500
    assert 500 <= (rgb == 255).all(axis=1).sum() <= 502


def test_unknown_attributes_and_tiny_tiles_are_refused(tmp_path):
    clouds.write(tmp_path / "cloud.laz", 100)
    ref = clouds.source(tmp_path / "cloud.laz")
    with pytest.raises(TilingError) as caught:
        driving.build([ref], tmp_path / "scratch", attributes=["reflectance"])
    assert caught.value.code == "points.no-attribute"
    assert "gps_time" in str(caught.value)
    with pytest.raises(TilingError) as caught:
        driving.build([ref], tmp_path / "scratch", tile_points=1000)
    assert caught.value.code == "points.tile-too-small"


def test_damaged_chunks_are_left_out_and_counted(tmp_path):
    path = tmp_path / "cloud.laz"
    clouds.write(path, 150_000, colour_max=255)
    ref = clouds.source(path)
    from importers import las
    from tim.sources import fingerprint

    start, end = las.open(ref).chunks.offsets[1:3].tolist()
    data = bytearray(path.read_bytes())
    data[start + 40 : start + 44] = b"\xff\xff\xff\xff"
    data[start + 44 : end] = bytes(end - start - 44)
    path.write_bytes(data)
    ref = SourceRef.from_record(
        {**ref.record(), "fingerprint": {**ref.record()["fingerprint"], "sample": fingerprint(path).sample}}
    )
    built = driving.build([ref], tmp_path / "scratch", part_points=50_000)
    problems = [problem for result in built.results["sort"] for problem in result.problems]
    assert [code for code, _ in problems] == ["las.undecodable"]
    assert len(built.positions()) == 100_000
    assert sum(result.counts["left_out"] for result in built.results["sort"]) == 50_000


def test_points_beyond_a_wrong_header_are_left_out_and_counted(tmp_path):
    path = tmp_path / "cloud.las"
    clouds.write(
        path, xyz=np.vstack([np.random.default_rng(1).uniform(0, 100, (5000, 3)), [[90_000.0, 0, 0]]]) + clouds.CORNER
    )
    data = bytearray(path.read_bytes())
    data[179:187] = np.float64(clouds.CORNER[0] + 100).tobytes()  # largest x, as if the far point were not there
    path.write_bytes(data)
    built = driving.build([clouds.source(path)], tmp_path / "scratch")
    assert len(built.positions()) == 5000
    assert [code for result in built.results["sort"] for code, _ in result.problems] == ["points.outside"]


def test_lost_points_are_noticed(refs, tmp_path):
    built = driving.build(refs, tmp_path, **SMALL)
    results = {stage: list(found) for stage, found in built.results.items()}
    results["build"].remove(next(result for result in results["build"] if result.tiles))
    with pytest.raises(TilingError) as caught:
        PointBuilder().finish(built.job, results)
    assert caught.value.code == "points.count"


def test_real_terrain(real_data: Path, tmp_path):
    path = real_data / "points" / "terrain_3M.laz"
    ref = clouds.source(path)
    frame = driving.frame_of([ref], 2.0**-10)
    built = driving.build([ref], tmp_path, frame)
    assert sum(tile.counts["points"] for tile in built.tiles) == 2_882_422
    assert_tree(built)
    data = laspy.read(path, laz_backend=laspy.LazBackend.Lazrs)
    sample = np.random.default_rng(1).choice(len(data.x), 2000, replace=False)
    # NAD83 is taken for WGS 84 here as in the place record: the same ellipsoid to a tenth of a millimetre.
    truth = independent(data[sample], "EPSG:32610", frame)
    position = np.concatenate([points.position for _, points in built.decoded()])
    position = position[np.argsort(position[:, 0])]
    for point in truth:
        low, high = np.searchsorted(position[:, 0], [point[0] - 0.01, point[0] + 0.01])
        assert np.linalg.norm(position[low:high] - point, axis=1).min() <= 2 * frame.step
    size = sum(len(content) for content in built.sink.contents.values())
    assert size / 2_882_422 <= 8


def test_a_crowded_corner_of_a_wide_cloud_stays_within_memory(tmp_path, monkeypatch):
    """One stray point far away puts all others into one coarse cell: it is still cut, and read in pieces."""
    path = tmp_path / "cloud.laz"
    random = np.random.default_rng(8)
    xyz = np.concatenate([random.uniform(0, 60, (260_000, 3)) * [1, 1, 0.05], [[60_000.0, 0.0, 0.0]]]) + clouds.CORNER
    clouds.write(path, xyz=xyz, colour_max=255)
    ref = clouds.source(path)
    held: list[int] = []
    allocate = grow.allocate
    monkeypatch.setattr(grow, "allocate", lambda layout, count: held.append(count) or allocate(layout, count))
    built = driving.build([ref], tmp_path / "scratch", **SMALL)
    assert max(held) <= 2 * SMALL["chunk_points"]
    assert_tree(built)
    assert max(tile.counts["points"] for tile in built.tiles) <= SMALL["tile_points"]
    mine, theirs = as_read(built), as_written([ref], built)
    np.testing.assert_array_equal(mine[:, 3:], theirs[:, 3:])
    assert np.abs(mine[:, :3] - theirs[:, :3]).max() <= 1
