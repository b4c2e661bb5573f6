"""A made-up coastal town, delivered as a data centre would get it: an OSGB production and a LAZ sheet.

Everything is computed from a seed: no data files, no network. Coordinates are local metres, x east and y north of a point on the coast;
:data:`demo.town.CRS` and :data:`demo.town.ORIGIN` say where that is.
"""
