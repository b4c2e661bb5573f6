"""Step (b): from a CRS's own datum to WGS 84, by an explicit table or by an operation somebody names; never by a
default.

PROJ's default for a datum without grids is the first operation it finds: Beijing 1954 in Hubei gets a shift made for
an offshore basin and lands 53 m off, without a word.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from pyproj.transformer import TransformerGroup

from tim.errors import PlaceError
from tim.place.crs import SourceCrs, shape_of, whole_pipeline
from tim.place.files import DatumFile, whole
from tim.place.parameters import kind_of
from tim.place.place import Datum

Box2 = tuple[float, float, float, float]
"""West, south, east, north (degrees) on the CRS's own datum."""


@dataclass(frozen=True, slots=True)
class Equivalent:
    """A datum whose coordinates are taken as WGS 84's, and how far that may be wrong."""

    name: str
    accuracy: float
    """Metres: what the EPSG dataset states for its null transformation; for CGCS2000 and ITRF see
    :data:`EQUIVALENT`."""
    pattern: str
    """Regular expression for the whole normalised datum name: lower case, letters and digits only, a leading ``d`` of
    ESRI dropped."""


EQUIVALENT = (
    Equivalent("WGS 84", 0.0, r"(wgs1984|wgs84|worldgeodeticsystem(19)?84)(ensemble|g\d+|transit)?"),
    # ITRF97 at epoch 2000.0: centimetres by definition; the ground of China has moved up to 1 m since.
    Equivalent(
        "CGCS2000", 1.0, r"(china2000(geodeticreferenceframe)?|cgcs2000|china(geodetic)?(coordinatesystem|datum)2000)"
    ),
    Equivalent("ITRF", 0.5, r"(internationalterrestrialreferenceframe|itrf)\d+|ig[sb]\d+|igs"),
    Equivalent("ETRS89", 1.0, r"(europeanterrestrialreferencesystem(of)?1989|etrs(19)?89|etrf\d+)(ensemble)?"),
    Equivalent("RGF93", 1.0, r"(reseaugeodesiquefrancais1993|rgf(19)?93)(v\d\w?)?"),
    Equivalent("SWEREF99", 1.0, r"sweref99"),
    Equivalent("RDN2008", 1.0, r"retedinamicanazionale2008|rdn2008"),
    Equivalent("NAD83", 4.0, r"northamerican(datum)?(of)?1983|nad(19)?83"),
    Equivalent(
        "NAD83",
        2.0,
        r"(northamerican(datum)?1983|nad(19)?83)(\w*highaccuracy\w*|\w*nationalspatialreferencesystem\w*|nsrs\w*|harn|"
        r"highaccuracyreferencenetwork|csrs\w*|canadianspatialreferencesystem\w*|2011|pa11|ma11|cors96|"
        r"continuouslyoperatingreferencestation1996)",
    ),
    Equivalent("JGD2000", 1.0, r"japanesegeodeticdatum2000|jgd2000"),
    Equivalent("JGD2011", 1.0, r"japanesegeodeticdatum2011|jgd2011"),
    Equivalent("KGD2002", 1.0, r"koreangeodeticdatum2002|kgd2002|korea2000|koreandatum2002"),
    Equivalent("TWD97", 1.0, r"taiwandatum1997|twd(19)?97"),
    Equivalent("GDA94", 3.0, r"geocentricdatumofaustralia1994|gda(19)?94"),
    Equivalent("GDA2020", 3.0, r"geocentricdatumofaustralia2020|gda2020"),
    Equivalent("NZGD2000", 1.0, r"newzealandgeodeticdatum2000|nzgd2000"),
    Equivalent("SIRGAS 2000", 1.0, r"sistemadereferenciageocentricoparalasamericas2000|sirgas2000"),
    Equivalent("Hartebeesthoek94", 1.0, r"hartebeesthoek(19)?94"),
)


def datum_name(crs: CRS) -> str:
    """The name of a CRS's datum as the CRS gives it."""
    datum = crs.datum or (crs.geodetic_crs.datum if crs.geodetic_crs else None)
    return str(datum.name) if datum is not None else str(crs.name)


def equivalent(crs: CRS) -> Equivalent | None:
    """The table's entry for a CRS's datum; ``None`` where it has none, or where the ellipsoid gives the name the
    lie."""
    major, inverse = shape_of(crs)
    if abs(major - 6378137) > 1e-3 or abs(inverse - 298.2572) > 1e-3:
        return None
    plain = re.sub(r"[^a-z0-9]", "", datum_name(crs).lower())
    for name in (plain, plain.removeprefix("d")):
        for entry in EQUIVALENT:
            if re.fullmatch(entry.pattern, name):
                return entry
    return None


def same_datum(one: CRS, other: CRS) -> bool:
    """Whether two CRSs have one datum, under one name or two spellings of the table."""
    return datum_name(one) == datum_name(other) or (
        equivalent(one) is not None and equivalent(one) == equivalent(other)
    )


def datum_step(source: SourceCrs, named: str | None, box: Box2) -> Datum:
    """The datum step of a source whose data lie in ``box``.

    ``named``: an operation the user names (see :func:`operation`); ``None`` asks the table.
    Raises PlaceError ``place.datum-needs-operation``, ``place.operation-unknown``, ``place.operation-elsewhere``.
    """
    if named is not None:
        return operation(source, named, box)
    if source.kind == "pipeline":
        return Datum("equivalent", "WGS 84, where the pipeline ends", None)
    if source.crs is None:
        return Datum("equivalent", "WGS 84", 0.0)
    entry = equivalent(source.crs)
    if entry is None:
        raise PlaceError(
            "place.datum-needs-operation",
            crs=source.name,
            datum=datum_name(source.crs),
            operations=_listed(source, box),
        )
    name = entry.name if entry.name == "WGS 84" else f"{entry.name} = WGS 84"
    return Datum("equivalent", name, entry.accuracy)


def datum_remarks(source: SourceCrs, datum: Datum) -> list[tuple[str, dict[str, Any]]]:
    """Warnings about a datum step: an assumption that may be metres wrong, TOWGS84 parameters that are not used."""
    remarks: list[tuple[str, dict[str, Any]]] = []
    if datum.method == "equivalent":
        if datum.accuracy is not None and datum.accuracy >= 2:
            remarks.append(("place.datum-assumed", {"datum": datum.name, "accuracy": datum.accuracy}))
        if any(source.towgs84):
            remarks.append(("place.towgs84-unused", {"crs": source.name, "datum": datum.name}))
    return remarks


def operation(source: SourceCrs, named: str, box: Box2) -> Datum:
    """A datum step by name: ``EPSG:n`` or the name of a coordinate operation, a PROJ operation, or ``@file`` with one.

    Raises PlaceError ``place.operation-unknown``, ``place.operation-elsewhere`` (its area of use does not hold the
    data).
    """
    if source.crs is None:
        raise PlaceError("place.operation-unknown", operation=named, crs=source.name, operations="-")
    if named.startswith("@"):
        file = DatumFile.parameters(named[1:]) or DatumFile.named(named[1:])
        if file.part and kind_of(file.name, whole(file), file.part) != "helmert-3d":
            raise PlaceError("place.set-no-datum", set=file.shown)
        _tried(whole_pipeline(source.definition, file.text()), file.shown)
        return Datum("operation", file.shown, None, file=file)
    if named.lower() == "towgs84" and source.towgs84:
        _tried(whole_pipeline(source.definition, "towgs84"), "towgs84")
        return Datum("operation", "TOWGS84 of the source", None, operation="towgs84")
    if "proj=" in named:
        pipeline = whole_pipeline(source.definition, named)
        _tried(pipeline, "PROJ operation")
        return Datum("operation", "PROJ operation as given", None, operation=pipeline)
    for candidate in _candidates(source.crs):
        for name, code in _steps(candidate):
            if named.lower() not in (name.lower(), code.lower()):
                continue
            area = candidate.area_of_use
            if area is not None and not _inside(box, area.bounds):
                lon, lat = round((box[0] + box[2]) / 2, 5), round((box[1] + box[3]) / 2, 5)
                raise PlaceError("place.operation-elsewhere", operation=name, area=area.name, lon=lon, lat=lat)
            accuracy = candidate.accuracy if candidate.accuracy >= 0 else None
            return Datum("operation", name, accuracy, operation=candidate.definition)
    raise PlaceError("place.operation-unknown", operation=named, crs=source.name, operations=_listed(source, box))


def _tried(pipeline: str, shown: str) -> None:
    try:
        Transformer.from_pipeline(pipeline)
    except ProjError:
        raise PlaceError("place.operation-unknown", operation=shown, crs="-", operations="-") from None


def _candidates(crs: CRS) -> list[Transformer]:
    assert crs.geodetic_crs is not None
    with warnings.catch_warnings():
        # PROJ remarks that the best operation lacks its grid; here operations are asked for by name.
        warnings.simplefilter("ignore")
        group = TransformerGroup(crs.geodetic_crs.to_2d(), 4326, always_xy=True, allow_ballpark=False)
    return list(group.transformers)


def _steps(candidate: Transformer) -> list[tuple[str, str]]:
    """Name and code of the datum operations in a candidate, without the changes of axis order around them."""
    steps = []
    for op in candidate.operations or ():
        identity = op.to_json_dict().get("id") or {}
        if "axis order" not in op.name:
            steps.append((op.name, f"{identity.get('authority')}:{identity.get('code')}"))
    return steps


def _listed(source: SourceCrs, box: Box2) -> str:
    """The operations whose area of use holds the data, for messages."""
    assert source.crs is not None
    fitting = [c for c in _candidates(source.crs) if c.area_of_use is None or _inside(box, c.area_of_use.bounds)]
    shown = [f"{code} ({name})" for c in fitting for name, code in _steps(c)]
    return ", ".join(dict.fromkeys(["towgs84"] * bool(source.towgs84) + shown)) or "-"


def _inside(box: Box2, area: Box2) -> bool:
    return area[0] <= box[0] and area[1] <= box[1] and box[2] <= area[2] and box[3] <= area[3]
