// What is under a pixel: the place, the collection, and the properties of the feature there. Values per point cannot be read back
// (CesiumJS picks property tables, not property attributes).

import { Cartesian2, Cartesian3, Cartesian4, Cartographic, Cesium3DTileFeature, Cesium3DTileset, Math as CesiumMath, type Scene } from "cesium";
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
  /** What is shown there. */
  readonly collection: Collection | null;
  /** Id of the dataset whose tile was hit: of a composed one, the part. */
  readonly dataset: string | null;
  readonly properties: readonly (readonly [string, string | number | boolean])[];
  /** Metres; of the tile that was hit. */
  readonly geometricError: number | null;
}

/** Characters of a list or an object. */
const LONGEST = 300;

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
  if (!collection) return [{ id: null, place, collection: null, dataset: null, properties: [], geometricError: null }, null];
  const feature = hit instanceof Cesium3DTileFeature ? hit : null;
  const properties = feature ? featureProperties(feature) : [];
  const id: unknown = feature?.getProperty(TIM_ID);
  const dataset = datasetOf(hit) ?? collection.id;
  return [{ id: typeof id === "string" ? id : null, place, collection, dataset, properties, geometricError: geometricErrorOf(hit) }, feature];
}

function tilesetOf(hit: unknown): Cesium3DTileset | null {
  if (hit instanceof Cesium3DTileFeature) return hit.tileset;
  if (typeof hit !== "object" || hit === null || !("primitive" in hit)) return null;
  return hit.primitive instanceof Cesium3DTileset ? hit.primitive : null;
}

/** Contents lie below the dataset they belong to, whichever tileset led to them. */
function datasetOf(hit: unknown): string | null {
  const url = member(member(hit, "content"), "url");
  const below = new URL("tiles/", document.baseURI).href;
  return typeof url === "string" && url.startsWith(below) ? (url.slice(below.length).split("/")[0] ?? null) : null;
}

function featureProperties(feature: Cesium3DTileFeature): Picked["properties"] {
  return feature.getPropertyIds().map((id) => [id, shown(feature.getProperty(id))] as const);
}

function geometricErrorOf(hit: unknown): number | null {
  const error = member(member(member(hit, "content"), "tile"), "geometricError");
  return typeof error === "number" ? error : null;
}

/** A value as it can be read: lists and objects, which batch tables may have, as short JSON. */
function shown(value: unknown): string | number | boolean {
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return value;
  if (value === null || value === undefined) return "—";
  const isVector = value instanceof Cartesian2 || value instanceof Cartesian3 || value instanceof Cartesian4;
  const text = JSON.stringify(isVector ? Object.values(value) : value, (_, item: unknown) => (typeof item === "bigint" ? String(item) : item));
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>)[name] : undefined;
}
