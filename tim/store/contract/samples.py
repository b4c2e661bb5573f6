"""What the suite puts into stores, and how it asks."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tim.model import Code, Dataset, ObjectRecord, Relation, Representation, Stage, dataset_uid
from tim.place import Datum, Frame, Height, Place
from tim.sources import Fingerprint, SourceRef
from tim.store import Applied, AsOf, Changeset, Filter, ObjectStore, ObjectVersion, Put

FRAME = Frame(120.0, 30.0, 0.0, 2**-10)
TOWN = Dataset("town", "海滨小镇", "objects", dataset_uid("town"), FRAME, settings={"attributes": ["owner"]})
HILLS = Dataset("hills", "Western hills", "points", dataset_uid("hills"), FRAME, private=True)
FULL = ObjectRecord(
    "block/7", "building.house", name="七号楼 “A”", layer="建筑", attributes={"floors": 7, "用途": "居住", "nested": {"b": [1, 2.5, None, True]}},
    box=(120.1, 30.1, -3.5, 120.2, 30.2, 21.25), stage=Stage.AS_BUILT, valid_from="2020-01-01", valid_to="2030-06-30T12:00:00Z",
    codes=(Code("cn.real-estate-unit", "GB/T 37346-2019", "340123002004GB00011", "2020-01-01", None), Code("cn.address", "2021", "七号")),
    relations=(Relation("partOf", UUID(int=77), "2020-01-01", "2025-01-01", "deed 12"),),
    representations=(Representation("body", "2", "tim-mesh", "ab" * 32, {"faces": 64}), Representation("bulk", "", "osgb", "Tile_7")),
)  # fmt: skip
NOW = AsOf()


def put(store: ObjectStore, *records: ObjectRecord) -> Applied:
    """One changeset of the town."""
    return store.apply(Changeset("town", [Put(record) for record in records]))


def box(key: str, i: int) -> ObjectRecord:
    """A record whose name and box tell ``i``."""
    x = float(i % 90)
    return ObjectRecord(key, "building", name=f"{key}{i}", attributes={"i": i}, box=(x, x, 0.0, x + 0.5, x + 0.5, 1.0))


def source(key: str) -> SourceRef:
    """A bulk source."""
    place = Place(
        crs="EPSG:4547", height=Height("ellipsoid", "ellipsoid"), datum=Datum("equivalent", "CGCS2000 = WGS 84", 0.1)
    )
    return SourceRef(
        f"/data/{key}", "las", "points", key, place, Fingerprint(10, 1, "ab"), (120, 30, 0, 121, 31, 9), 5, {"a": 1}
    )


def key_of(items: Any) -> list[str]:
    """Source keys, in order."""
    return [item.object.source_key for item in items]


def some(version: ObjectVersion | None) -> ObjectVersion:
    """The version there must be."""
    assert version is not None
    return version


def walk(store: ObjectStore, wanted: Filter, limit: int) -> tuple[list[int], list[UUID]]:
    """Sizes of all pages, and all ids in order."""
    sizes: list[int] = []
    ids: list[UUID] = []
    cursor = None
    while True:
        page = store.query(wanted, cursor=cursor, limit=limit)
        sizes.append(len(page.items))
        ids += [v.tim_id for v in page.items]
        if (cursor := page.cursor) is None:
            return sizes, ids
