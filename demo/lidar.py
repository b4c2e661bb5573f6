"""The sheet west of the photographs as an airborne laser scan would give it: classified LAS 1.4 points with colour and intensity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import laspy
import numpy as np
from pyproj import CRS

from demo import paint, town
from demo.noise import f32, hashed
from tim.geometry import F32, F64

DENSITY = 6.0
"""Pulses a square metre."""
GROUND, LOW, HIGH, BUILDING, WATER = 2, 3, 5, 6, 9
REFLECTANCE = {GROUND: 0.42, LOW: 0.5, HIGH: 0.36, BUILDING: 0.55, WATER: 0.08}


def write_sheet(path: Path) -> int:
    """Write the sheet as LAZ; the number of points."""
    west, east, south, north = -town.HALF - 400, -town.HALF, -town.HALF, town.HALF
    random = np.random.default_rng(11)
    n = int((east - west) * (north - south) * DENSITY)
    # A scanner swings across the flight line: scan lines 0.55 m apart, pulses jittered along them.
    x = west + np.sort(np.round(random.uniform(0, east - west, n) / 0.55) * 0.55 + random.normal(0, 0.03, n))
    y = random.uniform(south, north, n)
    z, kind, returns = echoes(x, y, random)
    colour = paint.albedo(x, y, 0.3)
    facts = paint.relief().sample(x, y)
    colour[kind == HIGH] = f32([78, 104, 56]) * random.uniform(0.7, 1.3, (int((kind == HIGH).sum()), 1)).astype(
        np.float32
    )
    roofs = kind == BUILDING
    colour[roofs] = roof_colours(x[roofs], y[roofs])
    light = np.where(roofs | (kind == HIGH), 0.95, np.where(kind == WATER, 0.9, facts.light))
    keep = (kind != WATER) | (random.random(n) < 0.6)
    write(path, np.column_stack([x, y, z])[keep], kind[keep], returns[keep], paint.lit(colour, light)[keep], random)
    return int(keep.sum())


def echoes(x: F64, y: F64, random: np.random.Generator) -> tuple[F64, np.ndarray, np.ndarray]:
    """Height, class and number of returns of one pulse each."""
    facts = paint.relief().sample(x, y)
    above = facts.surface - np.maximum(facts.height, 0)
    kind = np.full(len(x), GROUND, np.uint8)
    kind[facts.height <= 0] = WATER
    crown = (above > 1.0) & (facts.height > 0)
    through = random.random(len(x)) < 0.22
    kind[crown & ~through] = HIGH
    z = np.where(
        crown & ~through,
        np.maximum(facts.height, 0) + above * random.uniform(0.55, 1.0, len(x)),
        np.maximum(facts.height, 0),
    ).astype(np.float64)
    for b in nearby():
        around = np.flatnonzero(np.hypot(x - b.x, y - b.y) < np.hypot(b.length, b.width) / 2 + 4)
        eaves, _ = paint.in_building(replace(b, length=b.length + 4, width=b.width + 4), x[around], y[around])
        beside = around[eaves]
        kind[beside], z[beside] = GROUND, facts.height[beside]
        inside, across = paint.in_building(b, x[around], y[around])
        hit = around[inside]
        kind[hit], z[hit] = BUILDING, b.base + b.eaves + b.ridge * (1 - across[inside])
    brush = (kind == GROUND) & (facts.woods > 0.3) & (random.random(len(x)) < 0.3)
    kind[brush] = LOW
    z[brush] += random.uniform(0.2, 1.4, int(brush.sum()))
    z += random.normal(0, 0.025, len(x))
    return z, kind, np.where(crown, 2, 1).astype(np.uint8)


def nearby() -> list[town.Building]:
    """The buildings that reach into the sheet."""
    return [b for b in town.buildings() if b.x < -town.HALF + 20]


def roof_colours(x: F64, y: F64) -> F32:
    """The roof under each point."""
    colours = np.full((len(x), 3), 150, np.float32)
    for b in nearby():
        inside, _ = paint.in_building(b, x, y)
        colours[inside] = b.roof
    return colours


def write(
    path: Path, xyz: F64, kind: np.ndarray, returns: np.ndarray, rgb: paint.Rgb, random: np.random.Generator
) -> None:
    """One LAZ file of point format 7 with its CRS as WKT."""
    header = laspy.LasHeader(point_format=7, version="1.4")
    header.scales = np.full(3, 0.01)
    header.offsets = np.array([town.ORIGIN[0], town.ORIGIN[1], 0.0])
    header.add_crs(CRS.from_user_input(town.CRS))
    header.system_identifier = "made up"
    header.generating_software = "TIM engine demo"
    header.creation_date = None
    las = laspy.LasData(header)
    las.x, las.y, las.z = (xyz + town.ORIGIN).T
    las.classification = kind
    reflectance = np.array([REFLECTANCE.get(k, 0.4) for k in range(32)])[kind]
    las.intensity = np.clip(reflectance * random.normal(1, 0.12, len(kind)) * 40_000, 0, 65535).astype(np.uint16)
    las.number_of_returns = returns
    las.return_number = np.where((returns > 1) & (kind != HIGH), 2, 1)
    las.red, las.green, las.blue = rgb.astype(np.uint16).T * 257
    strip = hashed(np.floor(xyz[:, 0] / 140).astype(np.int64), np.zeros(len(xyz), np.int64), 2)
    las.gps_time = 3.2e8 + np.arange(len(xyz)) * 4e-6 + np.floor(strip * 4)
    las.point_source_id = (xyz[:, 0] // 140 % 7 + 1).astype(np.uint16)
    las.write(str(path), laz_backend=laspy.LazBackend.Lazrs)
