"""History in CityGML: versions of one feature are one object, what stands at a moment is what the file says, relations are those it states."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from importers.plan import Options, make_plan
from importers.run import ImportReport, diff_import, run_import
from tests.importers.citygml.samples import house, imported, model
from tim.model import Code, ObjectRecord, Rejected, derived_id
from tim.place.resolve import PlaceOptions
from tim.store import AsOf, Filter
from tim.workspace import Workspace

SAMPLE = "city/citygml3/historicalSuccession_CityGML_3.0_LOD2_Versioning.gml"
SPACE = "https://data.grandlyon.com/"


def objects(items: list[object]) -> dict[str, ObjectRecord]:
    return {item.source_key: item for item in items if isinstance(item, ObjectRecord)}


def version_of(name: str, identifier: str, lon: float, begin: str = "", end: str = "") -> str:
    """A house as it was for a time."""
    extra = f'<gml:identifier codeSpace="urn:town">{identifier}</gml:identifier>'
    extra += f"<creationDate>{begin}</creationDate>" if begin else ""
    extra += f"<terminationDate>{end}</terminationDate>" if end else ""
    return house(name, lon, extra)


def snapshot(name: str, *features: str, begin: str = "", end: str = "") -> str:
    dates = f"<validFrom>{begin}</validFrom>" if begin else ""
    dates += f"<validTo>{end}</validTo>" if end else ""
    links = "".join(f'<versionMember xlink:href="#{feature}"/>' for feature in features)
    return f'<versionMember><Version gml:id="{name}">{dates}<tag>{name}!</tag>{links}</Version></versionMember>'


def transition(
    *transactions: tuple[str, str], kind: str = "", before: str = "", after: str = "", clone: str = ""
) -> str:
    """From one version to another; of each transaction the old and the new feature."""
    inner = f'<from xlink:href="#{before}"/><to xlink:href="#{after}"/>' if before else ""
    inner += f"<clonePredecessor>{clone}</clonePredecessor>" if clone else ""
    for old, new in transactions:
        links = (f'<oldFeature xlink:href="#{old}"/>' if old else "") + (
            f'<newFeature xlink:href="#{new}"/>' if new else ""
        )
        inner += f"<transaction><Transaction><type>replace</type>{links}</Transaction></transaction>"
    why = "<reason>fire</reason>" + (f"<type>{kind}</type>" if kind else "")
    return f"<versionTransitionMember><VersionTransition>{why}{inner}</VersionTransition></versionTransitionMember>"


def deliver(workspace: Workspace, path: Path) -> ImportReport:
    return run_import(workspace, make_plan([path], Options(dataset="town", place=PlaceOptions(vertical="+36m"))))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "workspace")


@pytest.mark.parametrize("day", ["1990-01-01", "2000-01-01", "2010-06-01", "2014-12-31", "2015-01-01", "2020-01-01"])
def test_what_stands_is_what_the_file_says(real_data: Path, workspace: Workspace, day: str) -> None:
    """By creationDate and terminationDate of the buildings as XPath reads them; a part stands as long as its building."""
    path = real_data / SAMPLE
    deliver(workspace, path)
    expected, parts = {}, set()
    for building in etree.parse(str(path)).xpath("//*[local-name()='Building']"):
        begin, end = (
            (building.findtext(f"{{*}}{name}") or "9999")[:10] for name in ("creationDate", "terminationDate")
        )
        if begin <= day < end:
            expected[building.findtext("{*}identifier")] = building.xpath("string(@*[local-name()='id'])")
            parts |= set(building.xpath(".//*[local-name()='BuildingPart']/@*[local-name()='id']"))
    with workspace.store() as store:
        found = [v.object for v in store.query(Filter("town", class_id="building"), AsOf(valid=day)).items]
        houses = {o.source_key: o for o in found if o.class_id == "building.house"}
        assert {o.codes[0].value: o.attributes["gmlId"] for o in houses.values()} == expected
        assert {o.source_key for o in found if o.class_id == "building.part"} == parts
        for identifier in expected:
            code = Filter("town", code=Code(SPACE, "", identifier))
            assert [v.object.source_key for v in store.query(code, AsOf(valid=day)).items] == [f"{SPACE} {identifier}"]


def test_versions_of_a_feature_are_one_object(real_data: Path, workspace: Workspace) -> None:
    (report,) = deliver(workspace, real_data / SAMPLE).datasets
    with workspace.store() as store:
        dataset = store.dataset("town")
        layer = store.query(Filter("town")).items[0].object.layer
        name = derived_id(dataset.uid, layer, f"{SPACE} BU_69381AL49")
        history = store.history(name)
        assert [(v.object.valid_from, v.object.valid_to) for v in history] == [
            ("2000-01-01", "2015-01-01"),
            ("2015-01-01", None),
        ]
        assert len({v.seq for v in history}) == 1
        assert not [r for v in history for r in v.object.relations if r.kind == "replaces"]
        first, second = (v.object for v in store.query(Filter("town", class_id="survey.version")).items)
        first, second = (first, second) if first.name == "v1.0" else (second, first)
        old, new = (derived_id(dataset.uid, layer, one.source_key) for one in (first, second))
        assert [(r.kind, r.target) for r in second.relations if r.kind == "replaces"] == [("replaces", old)]
        assert {link.source for link in store.related([name], inverse=True, kinds=["versionMember"])} == {old, new}
    assert report.objects["created"] == 11
    again = diff_import(
        workspace, make_plan([real_data / SAMPLE], Options(dataset="town", place=PlaceOptions(vertical="+36m")))
    )
    diff = again.datasets[0].diff
    assert diff is not None
    assert (diff.created, diff.changed, diff.unchanged, diff.absent) == (0, 0, 11, 0)


def test_another_identifier_is_another_object(tmp_path: Path) -> None:
    members = [
        version_of("a", "A", 0.0, "2000-01-01", "2010-01-01"), version_of("b", "B", 0.001, "2010-01-01"),
        transition(("a", "b"), kind="planned"),
    ]  # fmt: skip
    path = tmp_path / "a.gml"
    path.write_text(model(*members))
    found = objects(imported(path))
    assert set(found) == {"urn:town A", "urn:town B"}
    (relation,) = found["urn:town B"].relations
    assert (relation.kind, relation.target) == ("replaces", derived_id(UUID(int=0), "town", "urn:town A"))
    assert relation.evidence == "planned: fire"
    assert found["urn:town A"].relations == ()


def test_dates_of_versions_hold_where_features_have_none(tmp_path: Path) -> None:
    """A version ends where the next begins, unless that one takes over what is not named."""
    members = [version_of(name, name, i * 0.001) for i, name in enumerate("abcd")]
    versions = snapshot("v1", "a", "b", "c", begin="2000-01-01"), snapshot("v2", "b", "d", begin="2010-01-01")
    path = tmp_path / "a.gml"
    steps = ("a", ""), ("", "d")

    def spans(clone: str) -> dict[str, tuple[str | None, str | None]]:
        path.write_text(model(*members, *versions, transition(*steps, before="v1", after="v2", clone=clone)))
        return {
            o.attributes["gmlId"]: (o.valid_from, o.valid_to)
            for o in objects(imported(path)).values()
            if "gmlId" in o.attributes
        }

    assert spans("false") == {
        "a": ("2000-01-01", "2010-01-01"), "b": ("2000-01-01", None), "c": ("2000-01-01", "2010-01-01"), "d": ("2010-01-01", None),
    }  # fmt: skip
    steps = (("a", ""),)
    path.write_text(model(*members, snapshot("v1", "a", begin="2000-01-01", end="2005-01-01"), transition(*steps)))
    ended = {
        o.attributes["gmlId"]: (o.valid_from, o.valid_to)
        for o in objects(imported(path)).values()
        if "gmlId" in o.attributes
    }
    assert ended["a"] == ("2000-01-01", "2005-01-01")
    steps = ("a", ""), ("", "d")
    assert spans("true")["c"] == ("2000-01-01", None)
    assert spans("true")["a"] == ("2000-01-01", "2010-01-01")


def test_an_unknown_beginning_is_open(tmp_path: Path) -> None:
    """A zone in force since an unknown day is not one that begins when its record was made."""
    path = tmp_path / "a.gml"
    path.write_text(model(house("a", extra="<creationDate>2023-03-22</creationDate><validFrom>0001-01-01</validFrom>")))
    assert objects(imported(path))["a"].valid_from is None


def test_versions_at_the_same_time_are_quarantined(tmp_path: Path, workspace: Workspace) -> None:
    path = tmp_path / "a.gml"
    path.write_text(model(
        version_of("a1", "A", 0.0, "2000-01-01", "2010-01-01"), version_of("a2", "A", 0.0, "2009-01-01"),
        version_of("a3", "A", 0.0, "2010-01-01"), version_of("b1", "B", 0.001), version_of("b2", "B", 0.002),
    ))  # fmt: skip
    report = deliver(workspace, path)
    lost = [(r.code, r.fields["key"]) for r in report.rejected if r.code.startswith("import.")]
    assert lost == [("import.versions-overlap", "urn:town A"), ("import.object-twice", "urn:town B")]
    assert report.datasets[0].objects["created"] == 3
    with workspace.store() as store:
        (one,) = store.query(Filter("town", code=Code("urn:town", "", "A")), AsOf(valid="2009-06-01")).items
    assert one.object.attributes["gmlId"] == "a1"


@st.composite
def lives(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Disjoint spans of years, each with what it says."""
    years = sorted(draw(st.sets(st.integers(1950, 1999), min_size=2, max_size=8)))
    pairs = draw(st.lists(st.sampled_from(range(len(years) - 1)), min_size=1, unique=True))
    order = draw(st.permutations(pairs))
    return [(years[i], years[i + 1], draw(st.integers(0, 2))) for i in order]


@settings(max_examples=30)
@given(lives(), lives())
def test_a_history_that_is_told_anew(tmp_path_factory: pytest.TempPathFactory, first: list[tuple[int, int, int]], second: list[tuple[int, int, int]]) -> None:  # fmt: skip
    """Whatever was told of an object before, after a delivery of several versions what they say stands at their times."""
    folder = tmp_path_factory.mktemp("told")
    workspace, path = Workspace.create(folder / "workspace"), folder / "a.gml"

    def tell(life: list[tuple[int, int, int]]) -> ImportReport:
        path.write_text(model(*(
            version_of(f"a{n}", "A", said * 0.001, f"{begin}-01-01", f"{end}-01-01") for n, (begin, end, said) in enumerate(life)
        )))  # fmt: skip
        return deliver(workspace, path)

    tell(first)
    tell(second)
    with workspace.store() as store:
        asked = Filter("town", code=Code("urn:town", "", "A"))
        for n, (begin, end, _) in enumerate(second):
            for year in (begin, end - 1):
                (one,) = store.query(asked, AsOf(valid=f"{year}-12-31" if year == begin else f"{year}-01-02")).items
                assert one.object.attributes["gmlId"] == f"a{n}"
        seq = store.seq
    again = tell(second)
    assert again.datasets[0].seq is None
    with workspace.store() as store:
        assert store.seq == seq


def test_groups_and_relations_of_a_file(tmp_path: Path) -> None:
    """In the forms of CityGML 2 and 3."""
    related = (
        '<relatedTo><CityObjectRelation><relationType codeSpace="urn:kinds">urn:kinds:touches</relationType>'
        '<relatedTo xlink:href="#b"/></CityObjectRelation></relatedTo><generalizesTo xlink:href="#c"/>'
    )
    groups = (
        '<cityObjectMember><grp:CityObjectGroup xmlns:grp="g" gml:id="g2"><grp:groupMember role="gate" xlink:href="#a"/>'
        '<grp:groupMember xlink:href="#gone"/></grp:CityObjectGroup></cityObjectMember>'
        '<cityObjectMember><grp:CityObjectGroup xmlns:grp="g" gml:id="g3"><grp:groupMember><grp:Role><grp:role>wing</grp:role>'
        '<grp:groupMember xlink:href="#b"/></grp:Role></grp:groupMember></grp:CityObjectGroup></cityObjectMember>'
    )
    path = tmp_path / "a.gml"
    path.write_text(model(groups, house("a", extra=related), house("b", 0.001), house("c", 0.002)))
    items = imported(path)
    found = objects(items)
    ids = {derived_id(UUID(int=0), "town", key): key for key in found}
    stated = {key: [(r.kind, ids[r.target], r.evidence) for r in o.relations] for key, o in found.items()}
    assert stated == {
        "a": [("partOf", "g2", "gate"), ("touches", "b", "urn:kinds:touches"), ("generalizesTo", "c", "")],
        "b": [("partOf", "g3", "wing")], "c": [], "g2": [], "g3": [],
    }  # fmt: skip
    assert [r.fields for r in items if isinstance(r, Rejected)] == [{"file": "a.gml", "count": 1, "first": "gone"}]


@pytest.mark.parametrize(
    "entity", ['<!ENTITY x SYSTEM "file:///etc/hostname">', '<!ENTITY a "aaaa"><!ENTITY x "&a;&a;&a;">']
)
def test_entities_in_identifiers_are_refused(tmp_path: Path, entity: str) -> None:
    path = tmp_path / "a.gml"
    path.write_text(f"<!DOCTYPE CityModel [{entity}]>" + model(version_of("a", "&x;", 0.0)))
    assert [r.code for r in imported(path) if isinstance(r, Rejected)] == ["citygml.doctype"]
