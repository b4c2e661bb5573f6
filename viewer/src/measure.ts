// Lengths and areas between places, computed in Earth-fixed coordinates (WGS 84, which CGCS2000 equals to 0.1 mm). No dependencies, so that
// the numbers can be held against geodetic software without a browser.

import type { Place } from "./scene/pick";

type Vector = readonly [number, number, number];

export interface Leg {
  /** Straight through space, in metres. */
  readonly slope: number;
  /** Along the curved Earth at the mean height of both ends. */
  readonly horizontal: number;
  /** Difference of ellipsoidal heights, second minus first. */
  readonly vertical: number;
}

export interface Area {
  /** On the plane that fits best, in square metres. */
  readonly plane: number;
  /** As a map has it: looked at from above, at the mean height. */
  readonly horizontal: number;
  /** Degrees between that plane and the horizontal, at the middle. */
  readonly slope: number;
  /** Whether edges cross, which makes an area meaningless. */
  readonly crossed: boolean;
}

const SEMI_MAJOR = 6378137;
const FLATTENING = 1 / 298.257223563;
const E2 = FLATTENING * (2 - FLATTENING);
const E = Math.sqrt(E2);
const RADIANS = Math.PI / 180;

export function leg(from: Place, to: Place): Leg {
  const slope = length(minus(earthFixed(to), earthFixed(from)));
  const vertical = to.height - from.height;
  // On a sphere slope² = vertical² + chord² exactly, where the chord lies at the mean height; the arc over it is what is walked.
  const chord = Math.sqrt(Math.max(slope * slope - vertical * vertical, 0));
  const radius = meanRadius((from.latitude + to.latitude) / 2) + (from.height + to.height) / 2;
  return { slope, horizontal: 2 * radius * Math.asin(Math.min(chord / (2 * radius), 1)), vertical };
}

/** Along all places in turn; `vertical` is last minus first. */
export function path(places: readonly Place[]): Leg {
  const legs = places.slice(1).map((to, index) => leg(places[index] ?? to, to));
  const sum = (value: (one: Leg) => number): number => legs.reduce((total, one) => total + value(one), 0);
  return { slope: sum((one) => one.slope), horizontal: sum((one) => one.horizontal), vertical: sum((one) => one.vertical) };
}

/** Of the polygon with these corners, three or more. */
export function area(places: readonly Place[]): Area {
  const centre = middle(places);
  const origin = earthFixed(centre);
  const corners = places.map((place) => minus(earthFixed(place), origin));
  // Half the sum of cross products is the area as a vector (Newell), normal to the plane that fits best.
  const twice = corners.reduce<Vector>((sum, corner, index) => plus(sum, cross(corner, next(corners, index))), [0, 0, 0]);
  const plane = length(twice) / 2;
  const upward = Math.abs(dot(twice, up(centre))) / 2;
  const flat = places.map((place) => equalArea(place, centre));
  return {
    plane,
    horizontal: Math.abs(shoelace(flat)) * (1 + centre.height / meanRadius(centre.latitude)) ** 2,
    slope: plane > 0 ? Math.acos(Math.min(upward / plane, 1)) / RADIANS : 0,
    crossed: crossesItself(flat),
  };
}

/** Mean of longitudes, latitudes and heights; longitudes are taken the short way round. */
export function middle(places: readonly Place[]): Place {
  const first = places[0]?.longitude ?? 0;
  const mean = (value: (place: Place) => number): number => places.reduce((sum, place) => sum + value(place), 0) / places.length;
  return {
    longitude: first + mean(({ longitude }) => around(longitude - first)),
    latitude: mean(({ latitude }) => latitude),
    height: mean(({ height }) => height),
  };
}

function earthFixed({ longitude, latitude, height }: Place): Vector {
  const [lon, lat] = [longitude * RADIANS, latitude * RADIANS];
  const n = SEMI_MAJOR / Math.sqrt(1 - E2 * Math.sin(lat) ** 2);
  return [(n + height) * Math.cos(lat) * Math.cos(lon), (n + height) * Math.cos(lat) * Math.sin(lon), (n * (1 - E2) + height) * Math.sin(lat)];
}

/** Gaussian mean radius of curvature at a latitude. */
function meanRadius(latitude: number): number {
  return (SEMI_MAJOR * Math.sqrt(1 - E2)) / (1 - E2 * Math.sin(latitude * RADIANS) ** 2);
}

/** Lambert's azimuthal equal-area projection around `centre`, on the sphere of authalic latitudes (Snyder 1987, pp. 16, 187). */
function equalArea({ longitude, latitude }: Place, centre: Place): readonly [number, number] {
  const lon = around(longitude - centre.longitude) * RADIANS;
  const [lat, lat0] = [authalic(latitude), authalic(centre.latitude)];
  const scale = Math.sqrt(2 / (1 + Math.sin(lat0) * Math.sin(lat) + Math.cos(lat0) * Math.cos(lat) * Math.cos(lon))) * SEMI_MAJOR * Math.sqrt(authalicQ(90) / 2);
  return [scale * Math.cos(lat) * Math.sin(lon), scale * (Math.cos(lat0) * Math.sin(lat) - Math.sin(lat0) * Math.cos(lat) * Math.cos(lon))];
}

function authalic(latitude: number): number {
  return Math.asin(Math.max(-1, Math.min(1, authalicQ(latitude) / authalicQ(90))));
}

function authalicQ(latitude: number): number {
  const sine = Math.sin(latitude * RADIANS);
  return (1 - E2) * (sine / (1 - E2 * sine * sine) + Math.atanh(E * sine) / E);
}

function shoelace(corners: readonly (readonly [number, number])[]): number {
  return corners.reduce((sum, [x, y], index) => {
    const [nextX, nextY] = next(corners, index);
    return sum + (x * nextY - nextX * y) / 2;
  }, 0);
}

function crossesItself(corners: readonly (readonly [number, number])[]): boolean {
  type Point = readonly [number, number];
  const side = (a: Point, b: Point, c: Point): number => Math.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]));
  const edges = corners.map((corner, index) => [corner, next(corners, index)] as const);
  return edges.some(([a, b], i) =>
    edges.some(([c, d], j) => j > i + 1 && !(i === 0 && j === edges.length - 1) && side(a, b, c) !== side(a, b, d) && side(c, d, a) !== side(c, d, b)),
  );
}

function up({ longitude, latitude }: Place): Vector {
  const [lon, lat] = [longitude * RADIANS, latitude * RADIANS];
  return [Math.cos(lat) * Math.cos(lon), Math.cos(lat) * Math.sin(lon), Math.sin(lat)];
}

function around(degrees: number): number {
  return ((((degrees + 180) % 360) + 360) % 360) - 180;
}

function next<T>(items: readonly T[], index: number): T {
  return items[(index + 1) % items.length] as T;
}

function plus(a: Vector, b: Vector): Vector {
  return [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
}

function minus(a: Vector, b: Vector): Vector {
  return [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
}

function cross(a: Vector, b: Vector): Vector {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

function dot(a: Vector, b: Vector): number {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

function length(a: Vector): number {
  return Math.hypot(...a);
}
