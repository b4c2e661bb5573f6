"""Real-estate unit codes: every field is read, and every wrong one is named."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tim.codes.real_estate import FIXTURES, OWNERSHIP, RIGHT, RealEstateCode, parse, parse_parcel, parse_unit
from tim.errors import UsageError

UNIT = "340123002004GB00011F00010001"


def test_the_fields():
    assert parse(UNIT) == RealEstateCode("340123", "002", "004", "G", "B", "00011", "F", "00010001")
    assert parse(UNIT).parcel == UNIT[:19]
    assert parse(UNIT[:19]) == RealEstateCode("340123", "002", "004", "G", "B", "00011")
    assert (parse(UNIT).text, parse(UNIT[:19]).text) == (UNIT, UNIT[:19])


def test_groups():
    assert str(parse(UNIT)) == "340123 002004 GB00011 F00010001"
    assert parse("340123 002004 GB00011 F00010001") == parse(UNIT)
    assert str(parse(UNIT[:19])) == "340123 002004 GB00011"


@pytest.mark.parametrize("letters", ["GB", "GS", "GX", "GD", "GE", "GH", "GG", "JA", "JC", "JB", "ZW", "GY", "JF"])
def test_feature_codes_that_there_are(letters: str):
    assert parse(f"340123002004{letters}00011W00000000").right == letters[1]


def replaced(start: int, part: str) -> str:
    return UNIT[:start] + part + UNIT[start + len(part) :]


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("", "codes.unit-length", "length"),
        (UNIT[:-1], "codes.unit-length", "length"),
        (UNIT + "0", "codes.unit-length", "length"),
        ("340123 002004 GB00011F00010001", "codes.unit-groups", "groups"),
        ("340123  002004 GB00011 F00010001", "codes.unit-groups", "groups"),
        (" " + UNIT, "codes.unit-groups", "groups"),
        (replaced(0, "99"), "codes.unit-county", "county"),
        (replaced(0, "34X"), "codes.unit-county", "county"),
        (replaced(0, "３４"), "codes.unit-county", "county"),
        (replaced(6, "0A2"), "codes.unit-district", "district"),
        (replaced(9, "O04"), "codes.unit-district", "subdistrict"),
        (replaced(12, "X"), "codes.unit-ownership", "ownership"),
        (replaced(12, "g"), "codes.unit-ownership", "ownership"),
        (replaced(13, "Q"), "codes.unit-right", "right"),
        (replaced(12, "GA"), "codes.unit-combination", "right"),
        (replaced(12, "GC"), "codes.unit-combination", "right"),
        (replaced(12, "ZA"), "codes.unit-combination", "right"),
        (replaced(12, "JH"), "codes.unit-combination", "right"),
        (replaced(12, "JG"), "codes.unit-combination", "right"),
        (replaced(14, "00000"), "codes.unit-parcel-number", "parcel_number"),
        (replaced(14, "0001A"), "codes.unit-parcel-number", "parcel_number"),
        (replaced(19, "H"), "codes.unit-fixture", "fixture"),
        (replaced(19, "W"), "codes.unit-number", "unit_number"),
        (replaced(20, "00000000"), "codes.unit-number", "unit_number"),
        (replaced(20, "0001000B"), "codes.unit-number", "unit_number"),
    ],
)
def test_a_wrong_field_is_named(text: str, code: str, field: str):
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert (caught.value.code, caught.value.fields["field"]) == (code, field)
    assert text in str(caught.value)


def test_a_parcel_is_no_unit():
    with pytest.raises(UsageError, match="28"):
        parse_unit(UNIT[:19])
    with pytest.raises(UsageError, match="19"):
        parse_parcel(UNIT)
    assert parse_parcel(UNIT[:19]) == parse(UNIT[:19])
    assert parse_unit(UNIT).fixture == "F"


digits = {n: st.text("0123456789", min_size=n, max_size=n) for n in (3, 4)}
numbers = st.integers(1, 99999).map("{:05}".format)


@given(
    digits[4],
    digits[3],
    digits[3],
    st.sampled_from([*OWNERSHIP]),
    st.sampled_from([*RIGHT]),
    numbers,
    st.sampled_from([*FIXTURES]),
    st.integers(1, 99_999_999),
)
def test_round_trip(county: str, district: str, sub: str, owner: str, right: str, number: str, fixture: str, unit: int):
    last = "00000000" if fixture == "W" else f"{unit:08}"
    code = RealEstateCode(f"44{county}", district, sub, owner, right, number, fixture, last)
    allowed = {"A": "J", "C": "J", "H": "GZ", "G": "GZ"}.get(right, "GJZ")
    if owner in allowed:
        assert parse(code.text) == parse(str(code)) == code
    else:
        with pytest.raises(UsageError):
            parse(code.text)


@given(st.text(max_size=30))
def test_any_text_is_a_code_or_refused(text: str):
    with contextlib.suppress(UsageError):
        assert parse(text).text == text.replace(" ", "")
