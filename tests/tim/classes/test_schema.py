"""Classes as JSON Schema, judged by a validator."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from tim.classes import queryables, schema, shipped
from tim.errors import UsageError

REGISTRY = shipped()


@pytest.mark.parametrize("class_id", sorted(REGISTRY.classes))
def test_every_class_makes_valid_schemas(class_id: str):
    for document in (schema(REGISTRY, class_id), queryables(REGISTRY, class_id, "zh")):
        Draft202012Validator.check_schema(document)


def test_a_validator_finds_what_is_wrong():
    judge = Draft202012Validator(schema(REGISTRY, "planning.plot"), format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert judge.is_valid({"territorialUse": "0701", "floorAreaRatio": 2.5, "anything": [1]})
    assert not judge.is_valid({"floorAreaRatio": 2.5})
    assert not judge.is_valid({"territorialUse": "0701", "floorAreaRatio": "2.5"})
    dated = Draft202012Validator(
        schema(REGISTRY, "pipeline.pipe.gas"), format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    assert dated.is_valid({"installed": "2019-05-01"})
    assert not dated.is_valid({"installed": "May 2019"})


def test_titles_units_and_lists():
    plot = schema(REGISTRY, "planning.plot", "zh")
    assert plot["title"] == "规划地块"
    assert plot["properties"]["maxHeight"] == {
        "type": "number", "title": "建筑限高", "x-titles": {"en": "Highest permitted height", "zh": "建筑限高"}, "x-ogc-unit": "m",
    }  # fmt: skip
    use = plot["properties"]["territorialUse"]
    assert use["x-codelist"] == {"scheme": "cn.territorial-use", "edition": "2023", "complete": False}
    assert {"const": "05", "title": "湿地"} in use["x-values"]
    assert "oneOf" not in use


def test_queryables_ask_for_nothing():
    assert "required" in schema(REGISTRY, "geology.borehole")
    assert "required" not in queryables(REGISTRY, "geology.borehole")
    with pytest.raises(UsageError):
        schema(REGISTRY, "nothing")
