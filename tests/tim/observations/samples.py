"""A well whose level is observed, a year of its readings, and any moments and numbers."""

from __future__ import annotations

import math
from uuid import UUID

import numpy as np
from hypothesis import strategies as st

from tim.observations import Series, rows

WELL, PUMP = UUID(int=1), UUID(int=2)
LEVEL = Series(WELL, "water_level", "m", title={"en": "Water level", "zh": "水位"})
DAY = 86_400_000_000
START = 1_700_000_000_000_000

moments = st.one_of(
    st.integers(0, 60), st.integers(START, START + 3 * DAY), st.sampled_from([rows.BEGINNING, rows.END - 1])
)
numbers = st.one_of(
    st.just(math.nan),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-50_000, 50_000).map(lambda n: n / 100),
)


def year(count: int = 40_000, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return START + 30_000_000 * np.arange(count), np.round(10 + np.cumsum(random.normal(0, 0.01, count)), 3)
