"""A small house as IFC text, with what a test wants to say about its place."""

from __future__ import annotations

from pathlib import Path

WALL, SLAB, SPACE, OPENING, STOREY, BUILDING, SITE = ("2O2Fr$t4X7Zf8NOew3FNr2", "2O2Fr$t4X7Zf8NOew3FNr3", "2O2Fr$t4X7Zf8NOew3FNr4", "2O2Fr$t4X7Zf8NOew3FNr5",
                                                     "2O2Fr$t4X7Zf8NOew3FNr6", "2O2Fr$t4X7Zf8NOew3FNr7", "2O2Fr$t4X7Zf8NOew3FNr8")  # fmt: skip
WIDTH, DEPTH, HEIGHT = 10.0, 0.2, 3.0
"""Of the wall, metres: along x, along y, upwards from its placement."""


def box(first: int, size: tuple[float, float, float], unit: float) -> str:
    """A representation #first of a box with its corner at its placement."""
    x, y, z = (v / unit for v in size)
    return f"""
#{first}=IFCPRODUCTDEFINITIONSHAPE($,$,(#{first + 1}));
#{first + 1}=IFCSHAPEREPRESENTATION(#10,'Body','SweptSolid',(#{first + 2}));
#{first + 2}=IFCEXTRUDEDAREASOLID(#{first + 3},#12,#14,{z!r});
#{first + 3}=IFCRECTANGLEPROFILEDEF(.AREA.,$,#{first + 4},{x!r},{y!r});
#{first + 4}=IFCAXIS2PLACEMENT2D(#{first + 5},$);
#{first + 5}=IFCCARTESIANPOINT(({x / 2!r},{y / 2!r}));"""


def house(
    more: str = "",
    *,
    schema: str = "IFC4",
    milli: bool = True,
    site: str = "$,$,$",
    north: str = "$",
    at: tuple[float, float, float] = (0, 0, 0),
) -> str:
    """A site, a building, a storey, a red wall with an opening, a slab and a room. ``more``: further instances, from #1000.
    ``site``: latitude, longitude, elevation. ``north``: true north as a reference. ``at``: where the site stands in the model (metres)."""
    unit = 0.001 if milli else 1.0
    where = ",".join(repr(float(v) / unit) for v in at)
    return f"""ISO-10303-21;
HEADER;
FILE_DESCRIPTION(('ViewDefinition [ReferenceView]'),'2;1');
FILE_NAME('house.ifc','2026-01-01T00:00:00',(''),(''),'','','');
FILE_SCHEMA(('{schema}'));
ENDSEC;
DATA;
#1=IFCPROJECT('2O2Fr$t4X7Zf8NOew3FNr0',$,'\\X2\\793A8303\\X0\\',$,$,$,$,(#10),#2);
#2=IFCUNITASSIGNMENT((#3,#4));
#3=IFCSIUNIT(*,.LENGTHUNIT.,{".MILLI." if milli else "$"},.METRE.);
#4=IFCSIUNIT(*,.PLANEANGLEUNIT.,$,.RADIAN.);
#10=IFCGEOMETRICREPRESENTATIONCONTEXT($,'Model',3,1.E-5,#12,{north});
#12=IFCAXIS2PLACEMENT3D(#13,$,$);
#13=IFCCARTESIANPOINT((0.,0.,0.));
#14=IFCDIRECTION((0.,0.,1.));
#20=IFCSITE('{SITE}',$,'Site',$,$,#21,$,$,.ELEMENT.,{site},$,$);
#21=IFCLOCALPLACEMENT($,#22);
#22=IFCAXIS2PLACEMENT3D(#23,$,$);
#23=IFCCARTESIANPOINT(({where}));
#30=IFCBUILDING('{BUILDING}',$,'House',$,$,#31,$,$,.ELEMENT.,$,$,$);
#31=IFCLOCALPLACEMENT(#21,#12);
#40=IFCBUILDINGSTOREY('{STOREY}',$,'\\X2\\4E005C42\\X0\\',$,$,#41,$,$,.ELEMENT.,0.);
#41=IFCLOCALPLACEMENT(#31,#12);
#50=IFCRELAGGREGATES('2O2Fr$t4X7Zf8NOew3FNrA',$,$,$,#1,(#20));
#51=IFCRELAGGREGATES('2O2Fr$t4X7Zf8NOew3FNrB',$,$,$,#20,(#30));
#52=IFCRELAGGREGATES('2O2Fr$t4X7Zf8NOew3FNrC',$,$,$,#30,(#40));
#53=IFCRELAGGREGATES('2O2Fr$t4X7Zf8NOew3FNrD',$,$,$,#40,(#300));
#54=IFCRELCONTAINEDINSPATIALSTRUCTURE('2O2Fr$t4X7Zf8NOew3FNrE',$,$,$,(#100,#200),#40);
#100=IFCWALL('{WALL}',$,'Wall-1',$,$,#101,#110,'W1',.SOLIDWALL.);
#101=IFCLOCALPLACEMENT(#41,#12);{box(110, (WIDTH, DEPTH, HEIGHT), unit)}
#120=IFCSTYLEDITEM(#112,(#121),$);
#121=IFCSURFACESTYLE('red',.BOTH.,(#122));
#122=IFCSURFACESTYLERENDERING(#123,0.25,$,$,$,$,$,$,.NOTDEFINED.);
#123=IFCCOLOURRGB($,1.,0.,0.);
#130=IFCPROPERTYSET('2O2Fr$t4X7Zf8NOew3FNrF',$,'Pset_WallCommon',$,(#131,#132));
#131=IFCPROPERTYSINGLEVALUE('FireRating',$,IFCLABEL('EI60'),$);
#132=IFCPROPERTYSINGLEVALUE('IsExternal',$,IFCBOOLEAN(.T.),$);
#133=IFCRELDEFINESBYPROPERTIES('2O2Fr$t4X7Zf8NOew3FNrG',$,$,$,(#100),#130);
#134=IFCELEMENTQUANTITY('2O2Fr$t4X7Zf8NOew3FNrH',$,'Qto_WallBaseQuantities',$,$,(#135));
#135=IFCQUANTITYLENGTH('Length',$,$,{WIDTH / unit!r},$);
#136=IFCRELDEFINESBYPROPERTIES('2O2Fr$t4X7Zf8NOew3FNrI',$,$,$,(#100),#134);
#137=IFCMATERIAL('Concrete',$,$);
#138=IFCRELASSOCIATESMATERIAL('2O2Fr$t4X7Zf8NOew3FNrJ',$,$,$,(#100),#137);
#140=IFCOPENINGELEMENT('{OPENING}',$,'Hole',$,$,#141,#150,$,$);
#141=IFCLOCALPLACEMENT(#101,#12);{box(150, (1.0, DEPTH, 1.0), unit)}
#142=IFCRELVOIDSELEMENT('2O2Fr$t4X7Zf8NOew3FNrK',$,$,$,#100,#140);
#200=IFCSLAB('{SLAB}',$,'Slab',$,$,#101,#210,$,.FLOOR.);{box(210, (WIDTH, 8.0, 0.2), unit)}
#300=IFCSPACE('{SPACE}',$,'101',$,$,#101,#310,'Office',.ELEMENT.,.INTERNAL.,$);{box(310, (4.0, 4.0, 2.5), unit)}
{more}
ENDSEC;
END-ISO-10303-21;
"""


def conversion(
    values: str,
    crs: str = "'EPSG:4547',$,$,$,$,$,#1002",
    kind: str = "IFCMAPCONVERSION",
    target: str = "IFCPROJECTEDCRS",
) -> str:
    """Instances of a map conversion and its target."""
    return f"#1000={kind}(#10,#1001,{values});\n#1001={target}({crs});\n#1002=IFCSIUNIT(*,.LENGTHUNIT.,$,.METRE.);"


def written(folder: Path, text: str | bytes, name: str = "house.ifc") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path
