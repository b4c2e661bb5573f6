"""Small zones in a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tim.model import Blob, Dataset, ObjectRecord, Representation, dataset_uid
from tim.place import Datum, Frame, Height, Place
from tim.shape import FORMAT, Polygon, build
from tim.store import Changeset, Put
from tim.workspace import Workspace

PLACE = Place("EPSG:4490", Height("ellipsoid", "ellipsoid"), Datum("equivalent", "CGCS2000 = WGS 84", 0.1))
FRAME = Frame(114.3, 30.5, 20.0, 2**-10)


def square(
    west: float, south: float, size: float = 0.01, height: float = 20.0, *, down: bool = False
) -> np.ndarray[Any, Any]:
    """A ring seen from above or from below."""
    ring = np.array([[0, 0, 0], [size, 0, 0], [size, size, 0], [0, size, 0]]) + [west, south, height]
    return ring[::-1] if down else ring


def zone(
    key: str, rings: Sequence[Sequence[np.ndarray[Any, Any]]], attributes: dict[str, Any], class_id: str = "planning.zone.height",
    valid: tuple[str | None, str | None] = (None, None), **more: Any,
) -> tuple[ObjectRecord, bytes]:  # fmt: skip
    """An object whose body is made of polygons, each a hull and its holes."""
    (built,) = build([[Polygon(list(one)) for one in rings]], PLACE)
    shown = Representation("body", "1", FORMAT, Blob(built.blob).content)
    record = ObjectRecord(
        key,
        class_id,
        key,
        "zones",
        attributes,
        built.box,
        valid_from=valid[0],
        valid_to=valid[1],
        representations=(shown,),
        **more,
    )
    return record, built.blob


def keep(workspace: Workspace, slug: str, *zones: tuple[ObjectRecord, bytes], private: bool = False) -> int:
    """Put them into a dataset, made where it is not there; the sequence number."""
    with workspace.store() as store:
        made = Dataset(slug, slug, "objects", dataset_uid(slug), FRAME, private)
        new = all(dataset.slug != slug for dataset in store.datasets())

        def operations() -> Any:
            for record, blob in zones:
                store.put_blob(blob)
                yield Put(record)

        return store.apply(Changeset(slug, operations(), make=made if new else None)).seq
