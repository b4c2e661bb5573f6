"""The measuring arithmetic of the viewer against PROJ, without a browser."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import Geod, Transformer

from tests.viewer.conftest import VIEWER, cannot

GEOD = Geod(ellps="WGS84")
EARTH_FIXED = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
PROGRAM = """
const ts = require("typescript"), fs = require("node:fs");
const source = fs.readFileSync("src/measure.ts", "utf8");
const { outputText } = ts.transpileModule(source, { compilerOptions: { module: "ESNext", target: "ES2022" } });
import("data:text/javascript;base64," + Buffer.from(outputText).toString("base64")).then((measure) => {
  const asked = JSON.parse(fs.readFileSync(0, "utf8"));
  const place = ([longitude, latitude, height]) => ({ longitude, latitude, height });
  console.log(JSON.stringify(asked.map(([verb, places]) => measure[verb](places.map(place)))));
});
"""

Places = list[tuple[float, float, float]]


def ask(*questions: tuple[str, Places]) -> list[Any]:
    """``path`` or ``area`` of each list of (longitude, latitude, height)."""
    node = shutil.which("node")
    if node is None or not (VIEWER / "node_modules").is_dir():
        cannot("the viewer's packages are not installed (npm ci in viewer/)")
    done = subprocess.run(
        [node or "node", "-e", PROGRAM],
        cwd=VIEWER,
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        check=True,
    )
    answers: list[Any] = json.loads(done.stdout)
    return answers


def ring(lon: float, lat: float, height: float, radius: float, corners: int) -> Places:
    """A polygon whose corners lie on a geodesic circle."""
    turns = [360 * i / corners for i in range(corners)]
    ends = [GEOD.fwd(lon, lat, turn, radius)[:2] for turn in turns]
    return [(float(x), float(y), height) for x, y in ends]


def test_distances_agree_with_proj() -> None:
    random = np.random.default_rng(3)
    pairs: list[tuple[float, Places]] = []
    for metres in (0.5, 30.0, 1_000.0, 20_000.0, 100_000.0):
        for _ in range(8):
            lon, lat, azimuth = random.uniform(-179, 179), random.uniform(-70, 70), random.uniform(0, 360)
            low, high = random.uniform(-50, 3000, 2)
            east, north, _ = GEOD.fwd(lon, lat, azimuth, metres)
            pairs.append((metres, [(lon, lat, low), (float(east), float(north), high)]))
    for (metres, places), answer in zip(pairs, ask(*(("path", places) for _, places in pairs)), strict=True):
        ends = np.array([EARTH_FIXED.transform(*place) for place in places])
        assert answer["slope"] == pytest.approx(float(np.linalg.norm(ends[1] - ends[0])), abs=1e-6)
        assert answer["vertical"] == pytest.approx(places[1][2] - places[0][2], abs=1e-9)
        raised = metres * (1 + (places[0][2] + places[1][2]) / 2 / 6_371_000)
        # The radius along the azimuth differs from the mean radius by up to 0.34 %, which the height multiplies.
        assert answer["horizontal"] == pytest.approx(raised, rel=4e-6, abs=1e-3)


def test_lengths_of_a_path_add_up() -> None:
    corners: Places = [(113.95, 22.5, 10.0), (113.951, 22.5, 40.0), (113.951, 22.501, 20.0)]
    whole, first, second = ask(("path", corners), ("path", corners[:2]), ("path", corners[1:]))
    assert whole["slope"] == pytest.approx(first["slope"] + second["slope"])
    assert whole["horizontal"] < whole["slope"]
    assert whole["vertical"] == pytest.approx(10)


@pytest.mark.parametrize(("lon", "lat"), [(113.95, 22.5), (-60.2, -51.7), (179.9995, 68.0)])
@pytest.mark.parametrize("radius", [20.0, 800.0, 20_000.0])
def test_map_areas_agree_with_proj(lon: float, lat: float, radius: float) -> None:
    corners = ring(lon, lat, 0.0, radius, 24)
    expected = abs(GEOD.polygon_area_perimeter(*zip(*[c[:2] for c in corners], strict=True))[0])
    raised = [(x, y, 1500.0) for x, y, _ in corners]
    low, high = ask(("area", corners), ("area", raised))
    assert low["horizontal"] == pytest.approx(expected, rel=2e-6)
    assert high["horizontal"] / low["horizontal"] == pytest.approx((1 + 1500 / 6_371_000) ** 2, rel=3e-6)
    assert low["plane"] == pytest.approx(expected, rel=1e-5)
    assert not low["crossed"]


def test_a_roof_of_60_degrees_has_twice_its_map_area() -> None:
    rise = 10 * math.tan(math.radians(60))
    north = GEOD.fwd(113.95, 22.5, 0, 10)[:2]
    east = GEOD.fwd(113.95, 22.5, 90, 30)[:2]
    corners: Places = [
        (113.95, 22.5, 5.0),
        (east[0], east[1], 5.0),
        (east[0], north[1], 5.0 + rise),
        (113.95, north[1], 5.0 + rise),
    ]
    (roof,) = ask(("area", corners))
    assert roof["slope"] == pytest.approx(60, abs=0.01)
    assert roof["horizontal"] == pytest.approx(300, rel=1e-4)
    assert roof["plane"] == pytest.approx(600, rel=1e-4)


def test_crossing_edges_are_noticed() -> None:
    square: Places = [(0.0, 0.0, 0.0), (0.001, 0.0, 0.0), (0.001, 0.001, 0.0), (0.0, 0.001, 0.0)]
    bow = [square[0], square[2], square[1], square[3]]
    assert [answer["crossed"] for answer in ask(("area", square), ("area", bow))] == [False, True]


def test_the_arithmetic_has_no_dependencies() -> None:
    source = Path(VIEWER / "src" / "measure.ts").read_text(encoding="utf-8")
    assert [
        line for line in source.splitlines() if line.startswith("import ") and not line.startswith("import type")
    ] == []
