"""Our own checks of 3D Tiles 1.1: structure, links, subtrees, glb, containment, error monotony, place on Earth, counts.

What general validators do not check is the point: whether children lie in their parents, contents in their tiles, errors fall towards
the leaves, bounds say the truth, and the whole thing lies where it should. Works on foreign tilesets too; broken input gives a report.
"""

from tiling.validate.check import validate
from tiling.validate.files import Archived, Files, Folder, Packed
from tiling.validate.report import Issue, Report

__all__ = ["Archived", "Files", "Folder", "Issue", "Packed", "Report", "validate"]
