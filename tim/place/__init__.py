"""Where things are: CRS, datum and height as one typed, stored record, and the frame tiles are built in.

Three steps, each shown in the placing report: (a) source CRS to its own datum, (b) own datum to WGS 84, (c) height to
the WGS 84 ellipsoid, by us alone. Targets are EPSG:4979 (degrees, metres) and EPSG:4978 (geocentric metres).
"""

from tim.place.boxes import Box3
from tim.place.frame import Frame
from tim.place.height import Height
from tim.place.local import LocalMap, local_map
from tim.place.place import Datum, Place
from tim.place.resolve import FoundCrs, PlaceOptions, resolve

__all__ = ["Box3", "Datum", "FoundCrs", "Frame", "Height", "LocalMap", "Place", "PlaceOptions", "local_map", "resolve"]
