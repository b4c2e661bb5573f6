"""Identity: ids are what RFC 9562 says, the same everywhere, and free of paths."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from tim.model import Stage, dataset_uid, derived_id, new_id

ROOT = Path(__file__).resolve().parents[2]
texts = st.text(st.characters(codec="utf-8"), max_size=20)


@given(texts, texts, texts)
def test_derived_ids_are_version_8(slug: str, layer: str, key: str):
    uid = dataset_uid(slug)
    for value in (uid, derived_id(uid, layer, key)):
        assert value.version == 8
        assert value.variant == RFC_4122
    assert derived_id(uid, layer, key) == derived_id(dataset_uid(slug), layer, key)


@given(st.tuples(texts, texts), st.tuples(texts, texts))
def test_different_keys_have_different_ids(a: tuple[str, str], b: tuple[str, str]):
    uid = dataset_uid("town")
    assert (derived_id(uid, *a) == derived_id(uid, *b)) == (a == b)


def test_the_parts_of_a_key_do_not_run_together():
    uid = dataset_uid("town")
    assert (
        len(
            {
                derived_id(uid, "ab", "c"),
                derived_id(uid, "a", "bc"),
                derived_id(uid, "", "abc"),
                derived_id(uid, "abc", ""),
            }
        )
        == 4
    )
    assert len({dataset_uid("a"), dataset_uid("a", "site"), dataset_uid("", "a"), dataset_uid("site", "a")}) == 4


def test_ids_are_fixed_for_ever():
    """Golden values: ids in delivered tiles must still be found by every later version."""
    assert dataset_uid("town") == UUID("c0218f4a-dcc2-8276-b7dd-41210f40ab22")
    assert derived_id(dataset_uid("town"), "建筑", "block/7") == UUID("cacd0dcd-5214-8951-8799-b62054d1efc0")


def test_another_process_derives_the_same_ids(tmp_path: Path):
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tim.model import *; print(derived_id(dataset_uid('t', 'n'), 'l', 'k'))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert said.stdout.strip() == str(derived_id(dataset_uid("t", "n"), "l", "k"))


def test_new_ids_are_version_7_and_carry_the_time():
    before = time.time_ns() // 1_000_000
    ids = [new_id() for _ in range(1000)]
    after = time.time_ns() // 1_000_000
    assert all(i.version == 7 and i.variant == RFC_4122 for i in ids)
    assert len(set(ids)) == 1000
    assert all(before <= i.int >> 80 <= after for i in ids)
    assert len({i.int & (1 << 62) - 1 for i in ids}) == 1000, "random below the variant"
    assert len({i.int >> 64 & 0xFFF for i in ids}) > 500, "random below the version"


def test_stages_are_the_whole_life():
    assert [s.value for s in Stage] == [
        "surveyed",
        "planned",
        "approved",
        "permitted",
        "building",
        "as-built",
        "registered",
        "retired",
    ]
