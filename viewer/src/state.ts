// What a link carries: the view as a value, and the value as URL parameters. Parameters that say the default are left out.

import type { Language } from "./api";

export const COLOUR_MODES = ["colour", "class", "intensity", "height"] as const;
export type ColourMode = (typeof COLOUR_MODES)[number];

/** Longitude, latitude, metres above the ellipsoid, heading, pitch; angles in degrees. */
export type CameraPlace = readonly [number, number, number, number, number];

export interface View {
  readonly camera: CameraPlace | null;
  /** Ids of what is shown; null: what the viewer shows when nobody has chosen. */
  readonly layers: readonly string[] | null;
  readonly language: Language;
  readonly colour: ColourMode;
  /** Largest size of a point, in pixels. */
  readonly pointSize: number;
  readonly eyeDome: boolean;
  /** LAS class numbers that are not drawn. */
  readonly hiddenClasses: readonly number[];
  /** Classes of objects that are not drawn, by id. */
  readonly hiddenKinds: readonly string[];
  readonly baseMap: string;
  readonly underground: boolean;
  /** The tim_id of the selected object. */
  readonly selected: string | null;
  /** The CRS that coordinates are read in, as the server names it; null: longitude and latitude. */
  readonly crs: string | null;
  /** Its heights: `ellipsoid`, `egm96`, or metres added to the ellipsoidal height, as `+12.3m`. */
  readonly vertical: string;
}

export const ELLIPSOID = "ellipsoid";

export const POINT_SIZES = { least: 1, most: 10, default: 4 } as const;
export const NO_BASE_MAP = "none";

export function defaultView(language: Language): View {
  return {
    camera: null,
    layers: null,
    language,
    colour: "colour",
    pointSize: POINT_SIZES.default,
    eyeDome: true,
    hiddenClasses: [],
    hiddenKinds: [],
    baseMap: NO_BASE_MAP,
    underground: false,
    selected: null,
    crs: null,
    vertical: ELLIPSOID,
  };
}

/** Reads a view from URL parameters; what is missing or makes no sense is the default. */
export function parseView(params: URLSearchParams, language: Language): View {
  const view = defaultView(language);
  const asked = params.get("lang");
  const layers = params.get("on");
  const colour = params.get("colour");
  const size = Number(params.get("size") ?? NaN);
  return {
    camera: parseCamera(params.get("at")),
    layers: layers === null ? null : layers.split(",").filter(Boolean),
    language: asked === "zh" || asked === "en" ? asked : language,
    colour: COLOUR_MODES.find((mode) => mode === colour) ?? view.colour,
    pointSize: size >= POINT_SIZES.least && size <= POINT_SIZES.most ? size : view.pointSize,
    eyeDome: params.get("edl") !== "0",
    hiddenClasses: (params.get("hide") ?? "").split(",").filter(Boolean).map(Number).filter(isClass),
    hiddenKinds: (params.get("without") ?? "").split(",").filter(Boolean),
    baseMap: params.get("base") ?? view.baseMap,
    underground: params.get("under") === "1",
    selected: params.get("sel") || null,
    crs: params.get("crs") || null,
    vertical: params.get("vertical") || view.vertical,
  };
}

/** The view as URL parameters, in a fixed order. The language is always said: a link opens as its sender saw it. */
export function formatView(view: View): URLSearchParams {
  const plain = defaultView(view.language);
  const params = new URLSearchParams({ lang: view.language });
  if (view.camera) params.set("at", formatCamera(view.camera));
  if (view.layers) params.set("on", view.layers.join(","));
  if (view.colour !== plain.colour) params.set("colour", view.colour);
  if (view.pointSize !== plain.pointSize) params.set("size", String(view.pointSize));
  if (!view.eyeDome) params.set("edl", "0");
  if (view.hiddenClasses.length > 0) params.set("hide", view.hiddenClasses.join(","));
  if (view.hiddenKinds.length > 0) params.set("without", view.hiddenKinds.join(","));
  if (view.baseMap !== plain.baseMap) params.set("base", view.baseMap);
  if (view.underground) params.set("under", "1");
  if (view.selected) params.set("sel", view.selected);
  if (view.crs) params.set("crs", view.crs);
  if (view.crs && view.vertical !== plain.vertical) params.set("vertical", view.vertical);
  return params;
}

/** Readable in the address bar: commas and colons stay what they are. */
export function toQuery(params: URLSearchParams): string {
  return `?${params.toString().replaceAll("%2C", ",").replaceAll("%3A", ":")}`;
}

function parseCamera(text: string | null): CameraPlace | null {
  const numbers = (text ?? "").split(",").map((part) => (part.trim() ? Number(part) : NaN));
  if (numbers.length !== 5 || !numbers.every(Number.isFinite)) return null;
  const place = numbers as unknown as CameraPlace;
  return Math.abs(place[0]) <= 360 && Math.abs(place[1]) <= 90 ? place : null;
}

function formatCamera([lon, lat, height, heading, pitch]: CameraPlace): string {
  const round = (value: number, digits: number): number => Number(value.toFixed(digits)) + 0;
  return [round(lon, 7), round(lat, 7), round(height, 2), round(heading, 4) % 360, round(pitch, 4)].join(",");
}

function isClass(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 255;
}
