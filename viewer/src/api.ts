// What the server says: collections and viewer settings, with its errors as typed values. The shapes follow the server's OpenAPI.

export type Language = "zh" | "en";
export type Localized = Readonly<Record<Language, string>>;
export const KINDS = ["meshes", "points", "objects", "tiles", "terrain", "volume", "grid", "other"] as const;
/** `tiles`: a tileset of others, served as it is; `other`: what this viewer has no word for. */
export type Kind = (typeof KINDS)[number];

/** Degrees and metres above the ellipsoid: west, south, lowest, east, north, highest. */
export type Box = readonly [number, number, number, number, number, number];

export interface Attribute {
  readonly name: string;
  readonly title: string;
  readonly minimum?: number;
  readonly maximum?: number;
  /** The values that occur, where they are few: classes. */
  readonly values?: readonly number[];
}

export interface Snapshot {
  readonly seq: number;
  readonly hash: string;
  readonly created: string;
  readonly tiles: number;
  readonly bytes: number;
  readonly counts: Readonly<Record<string, number>>;
}

export interface Collection {
  readonly id: string;
  readonly title: string;
  readonly description: string;
  readonly kind: Kind;
  readonly private: boolean;
  readonly box: Box | null;
  readonly snapshot: Snapshot | null;
  readonly attributes: readonly Attribute[];
  readonly tileset: string;
  /** The scheme that its objects are planned in; empty: what exists. */
  readonly scenario: string;
  /** Ids of the datasets that a composed one shows; empty: it has data of its own. */
  readonly parts: readonly string[];
}

export interface BaseMap {
  readonly id: string;
  readonly title: Localized;
  readonly url: string;
  readonly minZoom: number;
  readonly maxZoom: number;
  readonly attribution: string;
  readonly scheme: string;
}

export interface ViewerSettings {
  readonly title: Localized;
  readonly version: string;
  readonly baseMaps: readonly BaseMap[];
  readonly defaultLanguage: Language | null;
  /** Whether models may be placed and removed with the present key. */
  readonly canEdit: boolean;
}

/** A refusal of the server, or no answer at all (`status` 0, `text` null). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly text: Localized | null,
  ) {
    super(code);
  }
}

interface CollectionJson {
  id: string;
  title?: string;
  description?: string;
  extent?: { spatial?: { bbox?: number[][] } };
  tim: {
    kind: string;
    private?: boolean;
    snapshot?: Snapshot | null;
    attributes?: Attribute[];
    tileset?: string | null;
    scenario?: string;
    parts?: string[];
  };
}

export async function fetchCollections(key: string): Promise<Collection[]> {
  const { collections } = await request<{ collections: CollectionJson[] }>("api/collections", key);
  return collections.map((item) => ({
    id: item.id,
    title: item.title ?? item.id,
    description: item.description ?? "",
    kind: KINDS.find((kind) => kind === item.tim.kind) ?? "other",
    private: item.tim.private ?? false,
    box: toBox(item.extent?.spatial?.bbox?.[0]),
    snapshot: item.tim.snapshot ?? null,
    attributes: item.tim.attributes ?? [],
    tileset: item.tim.tileset ?? `tiles/${item.id}/tileset.json`,
    scenario: item.tim.scenario ?? "",
    parts: item.tim.parts ?? [],
  }));
}

export async function fetchSettings(key: string): Promise<ViewerSettings> {
  const json = await request<Partial<ViewerSettings>>("api/viewer", key);
  return {
    title: json.title ?? { zh: "TIM", en: "TIM" },
    version: json.version ?? "",
    baseMaps: json.baseMaps ?? [],
    defaultLanguage: json.defaultLanguage ?? null,
    canEdit: json.canEdit ?? false,
  };
}

interface Request {
  readonly method?: string;
  readonly body?: Blob;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One exchange with the server; the answer's JSON, or undefined where it has no content. Throws ApiError. */
export async function request<T>(path: string, key: string, init: Request = {}): Promise<T> {
  const url = new URL(path, document.baseURI);
  if (key) url.searchParams.set("token", key);
  let response: Response;
  try {
    response = await fetch(url, { ...init, headers: { accept: "application/json", ...init.headers } });
  } catch {
    throw new ApiError(0, "viewer.no-answer", null);
  }
  if (!response.ok) throw await refusal(response);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

async function refusal(response: Response): Promise<ApiError> {
  try {
    const body = (await response.json()) as { code?: string; message?: Localized };
    return new ApiError(response.status, body.code ?? `http.${response.status}`, body.message ?? null);
  } catch {
    return new ApiError(response.status, `http.${response.status}`, null);
  }
}

/** OGC API boxes have four or six numbers. */
function toBox(bbox: number[] | undefined): Box | null {
  if (bbox?.length === 6) return bbox as unknown as Box;
  if (bbox?.length !== 4) return null;
  const [west, south, east, north] = bbox as unknown as readonly [number, number, number, number];
  return [west, south, 0, east, north, 0];
}
