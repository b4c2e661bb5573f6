"""Which of an object's representations are drawn."""

from __future__ import annotations

import pytest

from tiling.objects.drawing import shown
from tim.model import Representation
from tim.shape import FORMAT


def body(lod: str) -> Representation:
    return Representation("body", lod, FORMAT, f"body{lod}")


def placed(lod: str, form: str = FORMAT) -> Representation:
    return Representation("model", lod, form, f"model{lod}", {"at": [114.0, 30.0, 0.0]})


FOOT = Representation("footprint", "0", FORMAT, "foot")


@pytest.mark.parametrize(
    ("given", "wanted", "bodies", "models"),
    [
        ([body("1"), body("2")], "", ["body2"], []),
        ([body("1"), body("2")], "1", ["body1"], []),
        ([placed("1"), placed("2"), placed("3")], "", [], ["model3"]),
        ([placed("1"), placed("2"), placed("3")], "2", [], ["model2"]),
        ([body("1"), placed("2")], "", [], ["model2"]),
        ([body("3"), placed("2")], "", ["body3"], []),
        ([body("2"), placed("2")], "", ["body2"], ["model2"]),
        ([body("2"), placed("", "glb")], "", ["body2"], ["model"]),
        ([placed("", "glb")], "2", [], ["model"]),
        ([FOOT, body("1")], "", ["body1"], []),
        ([FOOT, placed("1")], "", [], ["model1"]),
        ([FOOT], "", ["foot"], []),
        ([], "", [], []),
    ],
)
def test_one_level_of_detail_is_drawn(given: list[Representation], wanted: str, bodies: list[str], models: list[str]):
    """Whether it is surfaces or placed models; what says no level is drawn with any."""
    assert tuple([one.content for one in part] for part in shown(given, wanted)) == (bodies, models)
