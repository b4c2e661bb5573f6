"""What a dataset says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tim.errors import UsageError
from tim.model import Dataset, dataset_uid
from tim.place import Frame
from tim.quality import DatasetRecord, read_record, record_of

YAML = """
title: 海滨市建筑
authority: 海滨市自然资源和规划局
standard: CH/T 9015-2012
currency: 2025-06-30
extent: [120, 30, 121.5, 31]
horizontalAccuracy: 0.3
classification: internal
update: 每季度
"""


def test_round_trip_through_a_file(tmp_path: Path):
    (tmp_path / "a.yaml").write_text(YAML, encoding="utf-8")
    found = read_record(tmp_path / "a.yaml")
    assert (found.currency, found.horizontal_accuracy, found.vertical_accuracy) == ("2025-06-30", 0.3, None)
    assert found.extent == (120.0, 30.0, float("-inf"), 121.5, 31.0, float("inf"))
    text = json.dumps(found.record(), ensure_ascii=False, allow_nan=False)
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    assert read_record(tmp_path / "a.json") == found == DatasetRecord.from_record(json.loads(text))
    dataset = Dataset("a", "A", "objects", dataset_uid("a"), Frame(0, 0, 0, 1), settings={"record": json.loads(text)})
    assert record_of(dataset) == found
    assert record_of(Dataset("a", "A", "objects", dataset_uid("a"), Frame(0, 0, 0, 1))) is None


def test_heights_of_the_extent():
    full = {"title": "t", "authority": "a", "extent": [170, -10, -50, -170, 10, 900]}
    assert DatasetRecord.from_record(full).extent == (170.0, -10.0, -50.0, -170.0, 10.0, 900.0)
    assert DatasetRecord.from_record(full).record() == full


GOOD = {"title": "t", "authority": "a"}


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"title": "t"}, "authority"),
        ({"authority": "a"}, "title"),
        ({**GOOD, "title": " "}, "title"),
        ({**GOOD, "owner": "x"}, "owner"),
        ({**GOOD, "currency": "June"}, "currency"),
        ({**GOOD, "currency": 2025}, "currency"),
        ({**GOOD, "extent": [1, 2, 3]}, "extent"),
        ({**GOOD, "extent": [1, 5, 2, 4]}, "extent"),
        ({**GOOD, "extent": [1, 2, 500, 4]}, "extent"),
        ({**GOOD, "extent": [1, 2, "3", 4]}, "extent"),
        ({**GOOD, "extent": [1, 2, float("nan"), 4]}, "extent"),
        ({**GOOD, "horizontalAccuracy": 0}, "horizontalAccuracy"),
        ({**GOOD, "verticalAccuracy": True}, "verticalAccuracy"),
        ({**GOOD, "classification": "top"}, "classification"),
    ],
)
def test_what_is_not_right_is_named(said: dict[str, Any], field: str):
    with pytest.raises(UsageError) as caught:
        DatasetRecord.from_record(said)
    assert caught.value.code == "quality.bad-record"
    assert caught.value.fields["field"] == field


@pytest.mark.parametrize("content", [b"title: [", b"\xff\xfe\x00", b"- 1", b"", b"title: !!python/object:os.system {}"])
def test_files_that_are_no_records(tmp_path: Path, content: bytes):
    (tmp_path / "r.yaml").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_record(tmp_path / "r.yaml")
    assert "r.yaml" in str(caught.value)
    with pytest.raises(UsageError):
        read_record(tmp_path / "none.yaml")
