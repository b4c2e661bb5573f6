// What is under a pixel: the place, the collection, and the properties of the feature there. Values per point cannot be read back
// (CesiumJS picks property tables, not property attributes).

import { Cartographic, Cesium3DTileFeature, Cesium3DTileset, type Cartesian2, type Cartesian3, Math as CesiumMath, type Scene } from "cesium";
import type { Collection } from "../api";
import { TIM_ID } from "./highlight";
import type { Layers } from "./layers";

export interface Place {
  readonly longitude: number;
  readonly latitude: number;
  /** Metres above the ellipsoid. */
  readonly height: number;
}

export interface Picked {
  /** tim_id of the object; null where the tile names none. */
  readonly id: string | null;
  readonly place: Place | null;
  readonly collection: Collection | null;
  readonly properties: readonly (readonly [string, string | number | boolean])[];
  /** Metres; of the tile that was hit. */
  readonly geometricError: number | null;
}

/** Where a pixel meets what is drawn, or the globe. */
export function placeAt(scene: Scene, pixel: Cartesian2): Place | null {
  const position: Cartesian3 | undefined = scene.pickPositionSupported ? scene.pickPosition(pixel) : undefined;
  const onGlobe = position ?? scene.camera.pickEllipsoid(pixel);
  if (!onGlobe) return null;
  const { longitude, latitude, height } = Cartographic.fromCartesian(onGlobe);
  return { longitude: CesiumMath.toDegrees(longitude), latitude: CesiumMath.toDegrees(latitude), height };
}

/** What is under a pixel, and its feature where it has one. */
export function pickAt(scene: Scene, pixel: Cartesian2, layers: Layers): [Picked, Cesium3DTileFeature | null] {
  const hit: unknown = scene.pick(pixel, 5, 5);
  const place = placeAt(scene, pixel);
  const tileset = tilesetOf(hit);
  const collection = tileset ? layers.collectionOf(tileset) : null;
  if (!collection) return [{ id: null, place, collection: null, properties: [], geometricError: null }, null];
  const feature = hit instanceof Cesium3DTileFeature ? hit : null;
  const properties = feature ? featureProperties(feature) : [];
  const id = properties.find(([name]) => name === TIM_ID)?.[1];
  return [{ id: id === undefined ? null : String(id), place, collection, properties, geometricError: geometricErrorOf(hit) }, feature];
}

function tilesetOf(hit: unknown): Cesium3DTileset | null {
  if (hit instanceof Cesium3DTileFeature) return hit.tileset;
  if (typeof hit !== "object" || hit === null || !("primitive" in hit)) return null;
  return hit.primitive instanceof Cesium3DTileset ? hit.primitive : null;
}

function featureProperties(feature: Cesium3DTileFeature): Picked["properties"] {
  return feature.getPropertyIds().flatMap((id) => {
    const value: unknown = feature.getProperty(id);
    return isPlain(value) ? [[id, value] as const] : [];
  });
}

function geometricErrorOf(hit: unknown): number | null {
  if (typeof hit !== "object" || hit === null || !("content" in hit)) return null;
  const content = hit.content;
  if (typeof content !== "object" || content === null || !("tile" in content)) return null;
  const tile = content.tile;
  if (typeof tile !== "object" || tile === null || !("geometricError" in tile)) return null;
  return typeof tile.geometricError === "number" ? tile.geometricError : null;
}

function isPlain(value: unknown): value is string | number | boolean {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}
