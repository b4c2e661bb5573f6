"""The class registry."""

from __future__ import annotations

import re

import pytest

from tim import classes
from tim.errors import StoreError, UsageError


def test_classes_of_bulk_data():
    cloud = classes.get("survey.point-cloud")
    assert (cloud.parent, cloud.domain, cloud.zh) == ("survey", "survey", "点云")
    assert {c.id for c in classes.children("survey")} == {
        "survey.point-cloud",
        "survey.oblique-model",
        "survey.tileset",
        "survey.version",
    }


def test_domains():
    domains = classes.children()
    assert all(c.parent is None for c in domains)
    assert {
        "land",
        "mineral",
        "water",
        "sea",
        "substrate",
        "geology",
        "terrain",
        "building",
        "transport",
        "pipeline",
    } <= {c.id for c in domains}


def test_every_class_hangs_together_and_has_both_names():
    table = classes.all_classes()
    for class_id, known in table.items():
        assert known.parent is None or known.parent in table
        assert re.search("[\u4e00-\u9fff]", known.zh), class_id
        assert known.en.isascii()


def test_unknown_class_names_its_neighbours():
    with pytest.raises(UsageError, match=r"survey\.point-cloud"):
        classes.get("survey.pointcloud")
    with pytest.raises(UsageError, match="survey"):
        classes.children("nothing.at.all")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('"A" = {en = "x", zh = "y"}', "classes.bad-id"),
        ('"a.b" = {en = "x", zh = "y"}', "classes.bad-id"),
        ('"a." = {en = "x", zh = "y"}', "classes.bad-id"),
        ('a = {en = "x"}', "classes.bad-names"),
        ('a = {en = "", zh = "y"}', "classes.bad-names"),
        ('a = "x"', "classes.bad-names"),
    ],
)
def test_bad_tables_are_refused(text: str, code: str):
    with pytest.raises(StoreError) as caught:
        classes.parse(text)
    assert caught.value.code == code
