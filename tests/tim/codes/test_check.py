"""Any code of an object: looked at with its scheme and edition, or kept as it is."""

from __future__ import annotations

import pytest

from tim.classes import Registry, shipped
from tim.codes import OPAQUE, check, schemes
from tim.errors import is_warning
from tim.model import Code

GB = "GB/T 37346-2019"
CASES = [
    (Code("cn.real-estate-unit", GB, "340123002004GB00011F00010001"), None),
    (Code("cn.real-estate-unit", GB, "340123002004GB00011"), "codes.unit-length"),
    (Code("cn.parcel", GB, "340123002004GB00011"), None),
    (Code("cn.parcel", GB, "340123002004GC00011"), "codes.unit-combination"),
    (Code("cn.parcel", "2012", "340123002004GB00011"), "codes.unknown-edition"),
    (Code("cn.beidou-grid", "GB/T 39409-2020", "N50J475"), None),
    (Code("cn.beidou-grid", "GB/T 39409-2020", "N50J476"), "codes.beidou-field"),
    (Code("cn.space-identity", "", "任意-0001"), None),
    (Code("cn.space-identity", "anything", " "), "codes.empty"),
    (Code("cn.use-control-supervision", "", "3301012024000000019"), None),
    (Code("cn.territorial-use", "2023", "05"), None),
    (Code("cn.land-use", "GB/T 21010-2017", "05"), None),
    (Code("cn.land-use", "2023", "05"), "codes.unknown-edition"),
    (Code("cn.territorial-use", "2023", "9999"), "codes.not-in-part"),
    (Code("tim.stage", "1", "dreamt"), "codes.not-in-list"),
    (Code("xx.own", "1", "A"), "codes.unknown-scheme"),
]


@pytest.mark.parametrize(("code", "problem"), CASES)
def test_check(code: Code, problem: str | None):
    found = check(code)
    assert (found.code if found else None) == problem
    if found is not None and code.value.strip():
        assert code.value in str(found)


def test_what_nobody_can_tell_is_a_warning():
    warned = {c.value for c, problem in CASES if problem and is_warning(problem)}
    assert warned == {"05", "9999", "A", "340123002004GB00011"}


def test_05_without_its_scheme_is_not_looked_up():
    assert check(Code("", "", "05")).code == "codes.unknown-scheme"  # type: ignore[union-attr]
    assert check(Code("cn.land-use", "", "05")).code == "codes.unknown-edition"  # type: ignore[union-attr]


def test_lists_of_a_workspace_count():
    own = Registry(shipped().classes, {})
    assert check(Code("cn.territorial-use", "2023", "05"), own).code == "codes.unknown-scheme"  # type: ignore[union-attr]


def test_issued_codes_are_opaque():
    opaque = {s.id for s in schemes().values() if s.check == OPAQUE}
    assert {
        "cn.space-identity",
        "cn.use-control-supervision",
        "cn.land-supply-supervision",
        "cn.feature-class",
    } <= opaque
    assert all(s.en.isascii() and not s.zh.isascii() for s in schemes().values())
