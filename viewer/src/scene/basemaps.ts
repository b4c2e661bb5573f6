// The ground: a plain globe with a grid, the small world texture that comes with the viewer, or an image service of the server.

import {
  Color,
  GeographicTilingScheme,
  GridImageryProvider,
  type ImageryLayerCollection,
  type ImageryProvider,
  Resource,
  TileMapServiceImageryProvider,
  UrlTemplateImageryProvider,
  WebMercatorTilingScheme,
  buildModuleUrl,
} from "cesium";
import type { BaseMap } from "../api";

export const NATURAL_EARTH = "natural-earth";

/** How the plain globe looks. */
export interface GroundColours {
  readonly globe: string;
  readonly grid: string;
}

/** Replaces the imagery; `failed` is called at most once per base map when tiles cannot be had. */
export async function setBaseMap(
  layers: ImageryLayerCollection,
  id: string,
  known: readonly BaseMap[],
  colours: GroundColours,
  key: string,
  failed: () => void,
): Promise<void> {
  const provider = await makeProvider(id, known, colours, key);
  layers.removeAll();
  layers.addImageryProvider(provider);
  let told = false;
  provider.errorEvent.addEventListener(() => {
    if (!told) failed();
    told = true;
  });
}

async function makeProvider(id: string, known: readonly BaseMap[], colours: GroundColours, key: string): Promise<ImageryProvider> {
  if (id === NATURAL_EARTH) return TileMapServiceImageryProvider.fromUrl(buildModuleUrl("Assets/Textures/NaturalEarthII"));
  const map = known.find((candidate) => candidate.id === id);
  return map ? serverMap(map, key) : grid(colours);
}

function serverMap(map: BaseMap, key: string): ImageryProvider {
  const geographic = /geographic|4326|4490/i.test(map.scheme);
  const row = /tms/i.test(map.scheme) ? "{reverseY}" : "{y}";
  const template = map.url.replace("{y}", row);
  const url = /^[a-z]+:/i.test(template) ? template : `${new URL(".", document.baseURI).href}${template}`;
  return new UrlTemplateImageryProvider({
    url: new Resource({ url, queryParameters: key ? { token: key } : {} }),
    tilingScheme: geographic ? new GeographicTilingScheme() : new WebMercatorTilingScheme(),
    minimumLevel: 0,
    maximumLevel: map.maxZoom,
  });
}

function grid({ globe, grid: line }: GroundColours): ImageryProvider {
  return new GridImageryProvider({
    tilingScheme: new GeographicTilingScheme(),
    cells: 2,
    color: Color.fromCssColorString(line),
    glowColor: Color.TRANSPARENT,
    glowWidth: 0,
    backgroundColor: Color.fromCssColorString(globe),
    tileWidth: 256,
    tileHeight: 256,
    canvasSize: 256,
  });
}
