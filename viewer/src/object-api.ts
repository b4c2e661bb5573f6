// What the server says about single objects: their attributes and relations, search, coordinates, and models placed in schemes.

import { type Box, type Language, type Localized, request } from "./api";

export interface ObjectClass {
  readonly id: string;
  readonly en: string;
  readonly zh: string;
}

/** A class of some objects: how many, and the colour of those that have none of their own. */
export interface ClassCount extends ObjectClass {
  readonly count: number;
  readonly colour: string;
}

export interface ObjectRelation {
  readonly kind: string;
  /** tim_id of the other object. */
  readonly target: string;
  readonly name: string | null;
  readonly class: ObjectClass | null;
}

/** One object, as `/api/objects/{tim_id}` tells it. */
export interface ObjectInfo {
  readonly id: string;
  readonly dataset: string;
  readonly class: ObjectClass;
  readonly name: string | null;
  readonly stage: string;
  readonly scenario: string;
  readonly validFrom: string | null;
  readonly validTo: string | null;
  readonly version: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly codes: readonly { readonly scheme: string; readonly edition: string; readonly value: string }[];
  readonly relations: readonly ObjectRelation[];
  readonly sources: readonly { readonly key: string; readonly format: string; readonly title: string | null }[];
  readonly bbox: Box | null;
}

export interface SearchResult {
  readonly id: string;
  readonly dataset: string;
  readonly name: string | null;
  readonly class: ObjectClass;
  /** The code that was found, where a code was. */
  readonly code: string | null;
  readonly bbox: Box | null;
}

export interface Coordinates {
  readonly crs: string;
  readonly name: string;
  /** Codes of what the CRS has to say against this place. */
  readonly warnings?: readonly string[];
  readonly x: number;
  readonly y: number;
  readonly h: number;
  /** Names of x, y, h, and their units. */
  readonly axes: readonly string[];
  readonly units: readonly string[];
}

export interface Crs {
  readonly code: string;
  readonly name: string;
}

/** A model file and where it stands; heading clockwise from north, in degrees. */
export interface Placement {
  readonly scenario: string;
  readonly name: string;
  readonly file: File;
  readonly longitude: number;
  readonly latitude: number;
  readonly height: number;
  readonly heading: number;
  readonly scale: number;
}

const SEARCH_LIMIT = 20;

/** The classes a collection's objects have, by id. */
export async function fetchClasses(collection: string, key: string): Promise<readonly ClassCount[]> {
  return (await request<{ classes: ClassCount[] }>(`api/collections/${encodeURIComponent(collection)}/classes`, key)).classes;
}

export function fetchObject(id: string, key: string): Promise<ObjectInfo> {
  return request(`api/objects/${encodeURIComponent(id)}`, key);
}

export async function searchObjects(text: string, key: string): Promise<readonly SearchResult[]> {
  const asked = new URLSearchParams({ q: text, limit: String(SEARCH_LIMIT) });
  return (await request<{ results: SearchResult[] }>(`api/search?${asked}`, key)).results;
}

/** A place (degrees, metres above the ellipsoid) in another CRS. */
export function fetchCoordinates(place: readonly [number, number, number], crs: string, vertical: string, key: string): Promise<Coordinates> {
  const [lon, lat, h] = place.map(String) as [string, string, string];
  return request(`api/coordinates?${new URLSearchParams({ lon, lat, h, crs, vertical })}`, key);
}

/** CRSs by code or name; those made for `near` (longitude, latitude) first. */
export async function searchCrs(text: string, near: readonly [number, number] | null, key: string): Promise<readonly Crs[]> {
  const place = near ? { lon: String(near[0]), lat: String(near[1]) } : {};
  return (await request<{ results: Crs[] }>(`api/crs?${new URLSearchParams({ q: text, ...place })}`, key)).results;
}

/** What placing a model would do. */
export interface Foreseen {
  readonly objects: number;
  readonly bbox: Box | null;
  /** The file says itself where it stands. */
  readonly fixed: boolean;
  readonly problems: readonly { readonly code: string; readonly count: number; readonly message: Localized }[];
}

export function placeModel(model: Placement, key: string): Promise<{ readonly id: string; readonly dataset: string }> {
  return sendModel(model, {}, key);
}

export function foreseeModel(model: Placement, key: string): Promise<Foreseen> {
  return sendModel(model, { dryRun: "true" }, key);
}

function sendModel<T>(model: Placement, more: Readonly<Record<string, string>>, key: string): Promise<T> {
  const { scenario, name, file, longitude, latitude, height, heading, scale } = model;
  const numbers = { lon: longitude, lat: latitude, h: height, heading, scale };
  const asked = new URLSearchParams({ name, ...Object.fromEntries(Object.entries(numbers).map(([field, value]) => [field, String(value)])), ...more });
  const type = isIfc(file) ? "application/x-step" : "model/gltf-binary";
  return request(`api/scenarios/${encodeURIComponent(scenario)}/models?${asked}`, key, { method: "POST", body: file, headers: { "content-type": type } });
}

export function removeObject(id: string, key: string): Promise<void> {
  return request(`api/objects/${encodeURIComponent(id)}`, key, { method: "DELETE" });
}

export function isIfc(file: File): boolean {
  return file.name.toLowerCase().endsWith(".ifc");
}

export function className(found: ObjectClass, language: Language): string {
  return found[language] || found.id;
}
