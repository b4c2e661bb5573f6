"""How CityGML names things: elements without their namespaces, ids, links."""

from __future__ import annotations

from typing import Any

Element = Any
"""An lxml element."""

HREF = "{http://www.w3.org/1999/xlink}href"


def local(element: Element) -> str:
    """Name without namespace; empty for comments and instructions."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def gml_id(element: Element) -> str:
    """Of GML 3.1 or 3.2."""
    return str(element.get("{http://www.opengis.net/gml}id") or element.get("{http://www.opengis.net/gml/3.2}id") or "")
