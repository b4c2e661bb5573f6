"""不动产单元代码 (GB/T 37346-2019 §8): the code of a parcel of land or sea, and of the unit on it.

28 characters, written in four groups; the first 19 are the code of the parcel (宗地代码, 宗海代码)::

    340123  002 004  GB 00011  F 00010001
    county  区  子区  特征 number  定着物 number

The first letter after the districts says who owns the land, the second what right the parcel is of; the letter of the fixture says what
stands there. There is no check digit.
"""

from __future__ import annotations

from dataclasses import dataclass

from tim.errors import UsageError

PARCEL_SCHEME, UNIT_SCHEME, EDITION = "cn.parcel", "cn.real-estate-unit", "GB/T 37346-2019"
PARCEL_LENGTH, UNIT_LENGTH = 19, 28
OWNERSHIP = {"G": "国家所有", "J": "集体所有", "Z": "所有权未确定或有争议"}
RIGHT = {
    "A": "集体土地所有权", "B": "建设用地使用权(地表)", "S": "建设用地使用权(地上)", "X": "建设用地使用权(地下)", "C": "宅基地使用权",
    "D": "土地承包经营权(耕地)", "E": "土地承包经营权(林地)", "F": "土地承包经营权(草地)", "H": "海域使用权", "G": "无居民海岛使用权",
    "W": "使用权未确定或有争议", "Y": "其他",
}  # fmt: skip
FIXTURES = {"F": "房屋等建筑物、构筑物", "L": "森林或林木", "Q": "其他定着物", "W": "无定着物"}
_ONLY = {"A": "J", "C": "J", "H": "GZ", "G": "GZ"}
"""Rights that go with some ownership only: what is collective with J; sea and islands, which no collective owns, with others."""
_PROVINCES = {
    "11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34", "35", "36", "37", "41", "42", "43", "44", "45",
    "46", "50", "51", "52", "53", "54", "61", "62", "63", "64", "65", "71", "81", "82",
}  # fmt: skip
"""GB/T 2260: how the code of a county may begin."""


@dataclass(frozen=True, slots=True)
class RealEstateCode:
    """The fields of a code."""

    county: str
    """县级行政区划代码, 6 digits."""
    district: str
    """地籍区, 3 digits."""
    subdistrict: str
    """地籍子区, 3 digits."""
    ownership: str
    """First letter of 宗地(宗海)特征码: a key of :data:`OWNERSHIP`."""
    right: str
    """Second letter: a key of :data:`RIGHT`."""
    parcel_number: str
    """宗地(宗海)顺序号, 5 digits."""
    fixture: str = ""
    """定着物特征码: a key of :data:`FIXTURES`; empty where the code is that of a parcel."""
    unit_number: str = ""
    """定着物单元号, 8 digits."""

    @property
    def groups(self) -> tuple[str, ...]:
        """As it is printed: county; districts; parcel; unit, where there is one."""
        parcel = (
            self.county,
            self.district + self.subdistrict,
            f"{self.ownership}{self.right}{self.parcel_number}",
        )
        return (*parcel, self.fixture + self.unit_number) if self.fixture else parcel

    @property
    def text(self) -> str:
        """The code without spaces: what is stored."""
        return "".join(self.groups)

    @property
    def parcel(self) -> str:
        """The 19 characters of the parcel."""
        return "".join(self.groups[:3])

    def __str__(self) -> str:
        return " ".join(self.groups)


def parse(text: str) -> RealEstateCode:
    """The fields of a code of a unit (28 characters) or a parcel (19), in one piece or in its groups with a space between them.

    Raises UsageError ``codes.unit-*`` naming the field that is not right.
    """
    packed = text.replace(" ", "")
    if len(packed) not in (PARCEL_LENGTH, UNIT_LENGTH):
        raise UsageError("codes.unit-length", field="length", value=text, length=len(packed))
    code = RealEstateCode(
        packed[:6], packed[6:9], packed[9:12], packed[12], packed[13], packed[14:19], packed[19:20], packed[20:]
    )
    if text not in (packed, str(code)):
        raise UsageError("codes.unit-groups", field="groups", value=text, groups=str(code))
    _check(code, text)
    return code


def parse_parcel(text: str) -> RealEstateCode:
    """As :func:`parse`, of a parcel only."""
    code = parse(text)
    if code.fixture:
        raise UsageError("codes.parcel-length", field="length", value=text, length=len(code.text))
    return code


def parse_unit(text: str) -> RealEstateCode:
    """As :func:`parse`, of a unit only."""
    code = parse(text)
    if not code.fixture:
        raise UsageError("codes.unit-length", field="length", value=text, length=len(code.text))
    return code


def _check(code: RealEstateCode, text: str) -> None:
    if not _digits(code.county) or code.county[:2] not in _PROVINCES:
        raise UsageError("codes.unit-county", field="county", value=text, part=code.county)
    for field, part in (("district", code.district), ("subdistrict", code.subdistrict)):
        if not _digits(part):
            raise UsageError("codes.unit-district", field=field, value=text, part=part)
    if code.ownership not in OWNERSHIP:
        raise UsageError("codes.unit-ownership", field="ownership", value=text, part=code.ownership, known=_named(OWNERSHIP))  # fmt: skip
    if code.right not in RIGHT:
        raise UsageError("codes.unit-right", field="right", value=text, part=code.right, known=_named(RIGHT))
    if code.ownership not in _ONLY.get(code.right, "GJZ"):
        only = " | ".join(_ONLY[code.right])
        raise UsageError("codes.unit-combination", field="right", value=text, part=code.ownership + code.right, right=code.right, known=only)  # fmt: skip
    if not _digits(code.parcel_number) or int(code.parcel_number) == 0:
        raise UsageError("codes.unit-parcel-number", field="parcel_number", value=text, part=code.parcel_number)
    if not code.fixture:
        return
    if code.fixture not in FIXTURES:
        raise UsageError("codes.unit-fixture", field="fixture", value=text, part=code.fixture, known=_named(FIXTURES))
    if not _digits(code.unit_number) or (code.fixture == "W") != (int(code.unit_number) == 0):
        raise UsageError("codes.unit-number", field="unit_number", value=text, part=code.unit_number)


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _named(table: dict[str, str]) -> str:
    return ", ".join(f"{letter} {name}" for letter, name in table.items())
