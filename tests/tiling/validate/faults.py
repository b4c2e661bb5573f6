"""Planting faults in copies of sound tilesets."""

from __future__ import annotations

import json
import struct

from tiling.spec import glb

MESH, OCTREE = "mesh", "octree"


def edit(path, change):
    """Change a page in place."""
    document = json.loads(path.read_text("utf-8"))
    change(document)
    path.write_text(json.dumps(document), "utf-8")


def at(document, *path):
    for step in path:
        document = document[step]
    return document


def setting(*path_and_value):
    *path, last, value = path_and_value

    def change(document):
        at(document, *path)[last] = value

    return change


def deleting(*path):
    def change(document):
        del at(document, *path[:-1])[path[-1]]

    return change


def rewrite(path, change):
    """Change a glb's JSON or binary in place, keeping the container sound."""
    document = glb.parse(path.read_bytes())
    binary = bytearray(document.binary)
    change(document.json, binary)
    contain(path, document.json, bytes(binary))


def contain(path, document, binary):
    """Write a sound container around any JSON."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<5I", glb.MAGIC, 2, 28 + len(text) + len(binary), len(text), glb.JSON_CHUNK)
    path.write_bytes(head + text + struct.pack("<2I", len(binary), glb.BIN_CHUNK) + binary)
